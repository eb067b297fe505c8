"""A stand-in for the Hugging Face Hub on this machine, for what huggingface_hub's own client asks of it."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_ada"


class LocalHub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        commits: of each repository its states, the newest last, each the contents of its files.
        private: repositories that only `TOKEN` opens.
        asked: what was asked, such as "GET /ada/doodles/resolve/main/model.onnx", with who asked for it.
        refuses: whether nothing can be uploaded.
    """

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.refuses = False
        self.large: dict[str, bytes] = {}  # by SHA-256
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


class Handler(BaseHTTPRequestHandler):
    server: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, code: int, body: bytes | dict[str, Any] = b"", **headers: str) -> None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_one(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((f"{self.command} {path}", self.headers.get("User-Agent", "")))
        for pattern, reply in (
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
            (r"/api/whoami-v2", self.whoami),
            (r"/api/repos/create", self.create),
            (r"/api/validate-yaml", self.validate),
            (r"/api/models/([^/]+/[^/]+)/preupload/main", self.preupload),
            (r"/([^/]+/[^/]+).git/info/lfs/objects/batch", self.batch),
            (r"/large/(\w+)", self.large),
            (r"/api/models/([^/]+/[^/]+)/commit/main", self.commit),
        ):
            if found := re.fullmatch(pattern, path):
                if self.command in ("POST", "PUT") and not self.is_ada and "large" not in path:
                    return self.answer(401, {"error": "Invalid username or password."})
                return reply(body, *found.groups())
        return self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one

    @property
    def is_ada(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def resolve(self, body: bytes, repo: str, revision: str, name: str) -> None:
        commits = self.server.commits.get(repo, [])
        revisions = {hashlib.sha1(b"%d" % i).hexdigest(): files for i, files in enumerate(commits)}
        if not commits or (repo in self.server.private and not self.is_ada):
            return self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Invalid username or password.")
        commit = list(revisions)[-1] if revision == "main" else revision
        if commit not in revisions:
            return self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        if name not in revisions[commit]:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        data = revisions[commit][name]
        return self.answer(200, data, ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Repo_Commit=commit)

    def whoami(self, body: bytes) -> None:
        self.answer(200, {"type": "user", "name": "ada"}) if self.is_ada else self.answer(401)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'ada'}/{asked['name']}"
        self.server.commits.setdefault(repo, [])
        self.answer(200, {"url": f"{self.server.url}/{repo}", "name": repo, "id": repo})

    def validate(self, body: bytes) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, repo: str) -> None:
        if self.server.refuses:
            return self.answer(403, X_Error_Message="the storage of ada is full")
        kinds = {path: "regular" if path.endswith(".md") else "lfs" for path in names(body)}
        files = [{"path": path, "uploadMode": kind, "shouldIgnore": False} for path, kind in kinds.items()]
        return self.answer(200, {"files": files})

    def batch(self, body: bytes, repo: str) -> None:
        objects = json.loads(body)["objects"]
        for each in objects:
            each["actions"] = {"upload": {"href": f"{self.server.url}/large/{each['oid']}", "header": {}}}
        self.answer(200, {"transfer": "basic", "objects": objects})

    def large(self, body: bytes, sha256: str) -> None:
        assert hashlib.sha256(body).hexdigest() == sha256
        self.server.large[sha256] = body
        self.answer(200)

    def commit(self, body: bytes, repo: str) -> None:
        files = dict(self.server.commits[repo][-1]) if self.server.commits[repo] else {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
        self.server.commits[repo].append(files)
        oid = hashlib.sha1(b"%d" % (len(self.server.commits[repo]) - 1)).hexdigest()
        self.answer(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.server.url}/{repo}/commit/{oid}"})


def names(body: bytes) -> list[str]:
    return [file["path"] for file in json.loads(body)["files"]]
