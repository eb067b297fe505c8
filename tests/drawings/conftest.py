"""A server of drawing files on this machine."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bucket import Bucket, Getter


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("no_proxy", "*")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent_range = self.headers.get("Range")
            bucket.requests.append((self.path, sent_range))
            answers = bucket.answers.get(self.path)
            if not answers:
                self.send_error(404)
                return
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            body, status, first = answer.body, answer.status, 0
            if sent_range and answer.with_range and status == 200:
                match = re.fullmatch(r"bytes=(\d+)-(\d*)", sent_range)
                assert match
                first, last = int(match[1]), int(match[2] or len(body) - 1)
                if first >= len(body):
                    self.send_error(416)
                    return
                body, status = body[first : last + 1], 206
            self.send_response(status)
            if status == 206 and not any(name == "Content-Range" for name, _ in answer.headers):
                self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(answer.body)}")
            if answer.with_length:
                self.send_header("Content-Length", str(answer.announce or len(body)))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: answer.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that reads only the beginning hangs up on us."""

    server = Server(("127.0.0.1", 0), Handler)
    bucket = Bucket(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield bucket
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(bucket: Bucket, tmp_path: Path) -> Getter:
    return Getter(bucket.url, tmp_path)
