"""The folder for the browser: whole or not at all, with the onnxruntime-web that is expected and no other."""

import base64
import hashlib
import http.server
import io
import json
import re
import resource
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quickstroke.cli import main
from quickstroke.errors import DownloadError, WeightsError
from quickstroke.export import onnx, ort, web
from quickstroke.inference.onnx_model import OnnxModel
from quickstroke.utils import files as files_module

CONTENTS = {name: f"{name} ".encode() * 400 for name in ort.FILES}
WEB_JSON = ("format", "version", "name", "classes", "preprocessing", "reading", "min_rows")


def tarball(files=CONTENTS, folder="package/dist/"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in {"other.js": b"x", **files}.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def integrity(data):
    return f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"


class Registry:
    """A server that gives one file, and counts how often."""

    def __init__(self, data: bytes) -> None:
        self.data, self.status, self.cut, self.n_requests = data, 200, 0, 0
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.n_requests += 1
                self.send_response(registry.status)
                self.send_header("Content-Length", str(len(registry.data)))
                self.end_headers()
                self.wfile.write(registry.data[: len(registry.data) - registry.cut])

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/onnxruntime-web-0.tgz"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def registry(monkeypatch) -> Iterator[Registry]:
    """A server with a small tarball, which `ort` takes for the real one."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    registry = Registry(tarball())
    for key, value in (("url", registry.url), ("integrity", integrity(registry.data))):
        monkeypatch.setitem(ort.ort_files.__kwdefaults__, key, value)
    yield registry
    registry.server.shutdown()
    registry.server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setattr(ort, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(params=["bilstm_cv1_4_3_lay1_sz4", "bipool_cv1_4_3_2_img2_lay1_sz4"])
def model(request, publish):
    loaded = publish(request.param, reading="length-aware", max_padding=40)
    return loaded, onnx.export(loaded)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- onnxruntime-web


def test_it_is_fetched_once_and_verified_each_time(registry, cache):
    seen = []
    files = ort.ort_files(on_bytes=lambda n, total: seen.append((n, total)))
    assert {name: files[name] for name in ort.FILES} == CONTENTS
    assert b"MIT License" in files["LICENSE"] and b"Microsoft" in files["LICENSE"]
    assert seen[-1] == (len(registry.data), len(registry.data))
    assert names(cache) == ["onnxruntime-web-0.tgz"]
    assert ort.ort_files() == files and registry.n_requests == 1
    (cache / "onnxruntime-web-0.tgz").write_bytes(registry.data[:-1])  # damaged: it comes again
    assert ort.ort_files() == files and registry.n_requests == 2
    assert ort.ort_files() == files and registry.n_requests == 2


def test_what_is_not_expected_is_refused(registry, cache):
    registry.data = tarball(CONTENTS | {ort.FILES[0]: b"alert()"})
    with pytest.raises(
        DownloadError, match=r"onnxruntime-web-0.tgz: not onnxruntime-web .* whose sha512 is .* expected"
    ):
        ort.ort_files()
    assert not cache.exists()


@pytest.mark.parametrize("failure", ["status", "cut", "gone", "long"])
def test_what_cannot_be_fetched(registry, cache, monkeypatch, failure):
    if failure == "status":
        registry.status = 503
    elif failure == "cut":
        registry.cut = 1
    elif failure == "long":
        monkeypatch.setattr(ort, "_MOST_BYTES", 100)
    else:
        registry.server.shutdown()
        registry.server.server_close()
    with pytest.raises(DownloadError, match="with --ort FILE") as error:
        ort.ort_files()
    assert registry.url in str(error.value) and not cache.exists()


def test_a_cache_that_cannot_be_written_costs_only_time(registry, cache):
    cache.write_bytes(b"a file where a folder should be")
    assert ort.ort_files()[ort.FILES[0]] == CONTENTS[ort.FILES[0]]
    assert cache.read_bytes() == b"a file where a folder should be"


def test_a_tarball_that_is_there_already(registry, tmp_path, cache):
    path = tmp_path / "ort.tgz"
    path.write_bytes(registry.data)
    assert ort.ort_files(path) == ort.ort_files(str(path))
    assert registry.n_requests == 0 and not cache.exists()
    path.write_bytes(registry.data + b"\0")
    with pytest.raises(DownloadError, match=r"ort.tgz: not onnxruntime-web"):
        ort.ort_files(path)
    with pytest.raises(DownloadError, match=r"no\.tgz: cannot be read: No such file"):
        ort.ort_files(tmp_path / "no.tgz")


@pytest.mark.parametrize(
    "data",
    [
        b"no tarball",
        tarball({}),
        tarball(folder="dist/"),
        tarball(CONTENTS)[:-300],
        tarball(dict([*CONTENTS.items()][1:])),
    ],
)
def test_another_package_under_a_right_hash(tmp_path, data):
    path = tmp_path / "ort.tgz"
    path.write_bytes(data)
    with pytest.raises(DownloadError, match="not the npm package onnxruntime-web"):
        ort.ort_files(path, integrity=integrity(data))


def test_the_real_package_is_pinned():
    assert f"/onnxruntime-web-{ort.VERSION}.tgz" in ort.URL and ort.URL.startswith("https://registry.npmjs.org/")
    algorithm, _, value = ort.INTEGRITY.partition("-")
    assert algorithm == "sha512" and len(base64.b64decode(value)) == 64


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ort.cache_folder() == tmp_path / "quickstroke"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert ort.cache_folder() == Path.home() / ".cache" / "quickstroke"
    monkeypatch.setattr("sys.platform", "darwin")
    assert ort.cache_folder() == Path.home() / "Library" / "Caches" / "quickstroke"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert ort.cache_folder() == tmp_path / "local" / "quickstroke"


# --- the folder


def write(into, exported, replace=False):
    files = {**CONTENTS, "LICENSE": b"MIT"}
    return web.write_folder(into, exported.data, exported.model.card, files, replace=replace)


def test_what_is_in_the_folder(model, tmp_path):
    loaded, exported = model
    into = tmp_path / "new" / "page"
    n_bytes = write(into, exported)
    assert n_bytes == sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
    description = json.loads((into / "model.json").read_text())
    assert tuple(description) == WEB_JSON
    assert description["format"] == "quickstroke web model" and description["version"] == 1
    assert (description["name"], description["classes"]) == (loaded.name, list(loaded.classes))
    assert description["preprocessing"] == {"name": loaded.preprocessing, "max_padding": 40}
    assert description["reading"] == "length-aware" and description["min_rows"] == 1
    assert OnnxModel.load(into / "model.onnx").classes == loaded.classes
    assert {path.name: path.read_bytes() for path in (into / "ort").iterdir() if path.name in CONTENTS} == CONTENTS
    assert (into / "ort" / "LICENSE").is_file() and "MIT License" in (into / "LICENSE").read_text()
    assert names(into.parent) == ["page"]


def test_the_page_recognises_by_itself_and_its_files_are_unchanged(model, tmp_path):
    write(tmp_path / "page", model[1])
    static = Path(web.__file__).parent.parent / "serve" / "static"
    for path in static.iterdir():
        written = (tmp_path / "page" / path.name).read_text(encoding="utf-8")
        expected = path.read_text(encoding="utf-8")
        if path.name == "index.html":
            expected = expected.replace(
                'name="quickstroke-mode" content="served"', 'name="quickstroke-mode" content="offline"'
            )
            assert 'content="offline"' in written
        assert written == expected


def test_every_file_that_the_page_names_is_there(model, tmp_path):
    into = tmp_path / "page"
    write(into, model[1])
    imported = {
        path.parent / name
        for path in into.glob("*.js")
        for name in re.findall(r'(?:from|import\(|Worker\()\s*"(\.?/?[\w./-]+)"', path.read_text(encoding="utf-8"))
    }
    linked = re.findall(r'(?:src|href)="([\w./-]+)"', (into / "index.html").read_text(encoding="utf-8"))
    assert into / "ort/ort.wasm.min.mjs" in imported and len(imported) > 5 and len(linked) > 3
    assert [str(path) for path in imported | {into / name for name in linked} if not path.is_file()] == []


def test_an_earlier_export_is_replaced_only_when_that_is_asked_for(model, tmp_path):
    into = tmp_path / "page"
    write(into, model[1])
    (into / "left over").touch()
    (into / "ort" / "of another version").touch()
    (into / ".git").mkdir()
    (into / ".git" / "HEAD").symlink_to("nowhere")
    with pytest.raises(WeightsError, match="exists already; give --replace"):
        write(into, model[1])
    assert (into / "left over").exists()
    write(into, model[1], replace=True)
    assert (into / "left over").exists() and (into / ".git" / "HEAD").is_symlink()  # they are not ours
    assert not (into / "ort" / "of another version").exists() and names(tmp_path) == ["lstm", "page"]


@pytest.mark.parametrize("what", ["folder", "file", "other json"])
def test_nothing_else_is_ever_replaced(model, tmp_path, what):
    into = tmp_path / "page"
    if what == "file":
        into.write_text("mine")
    else:
        into.mkdir()
        (into / ("model.json" if what == "other json" else "thesis.txt")).write_text('{"format": "mine"}')
    before = into.read_text() if what == "file" else names(into)
    for replace in (False, True):
        with pytest.raises(WeightsError, match="exists and is no folder of `quickstroke export`"):
            write(into, model[1], replace=replace)
    assert (into.read_text() if what == "file" else names(into)) == before


def test_what_a_link_leads_to_is_replaced_not_the_link(model, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "page").symlink_to("served")
    for _ in range(2):
        write(tmp_path / "page", model[1], replace=True)
        assert (tmp_path / "page").is_symlink() and (tmp_path / "served" / "model.onnx").is_file()
    assert names(tmp_path) == ["lstm", "page", "served"]


def test_an_empty_folder_is_taken(model, tmp_path):
    (tmp_path / "page").mkdir()
    write(tmp_path / "page", model[1])
    assert (tmp_path / "page" / "model.onnx").is_file() and names(tmp_path) == ["lstm", "page"]


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """No file may be longer: a write beyond that fails as on a full disk, with another number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_full_disk_names_the_file_and_leaves_what_was(model, tmp_path, is_there):
    into = tmp_path / "page"
    if is_there:
        write(into, model[1])
        before = contents(into)
    largest = next(name for name, data in CONTENTS.items() if name.endswith(".wasm"))
    ort_files = CONTENTS | {largest: bytes(3_000_000)}
    with files_of_at_most(2_000_000), pytest.raises(OSError, match="too large") as caught:
        web.write_folder(into, model[1].data, model[1].model.card, ort_files, replace=True)
    assert caught.value.filename == str(into / "ort" / largest)
    assert names(tmp_path) == (["lstm", "page"] if is_there else ["lstm"])
    assert not is_there or contents(into) == before


def test_a_full_disk_names_the_file_that_was_there_beside_the_export(model, tmp_path):
    into = tmp_path / "page"
    write(into, model[1])
    (into / "data").mkdir()
    (into / "data" / "large").write_bytes(bytes(3_000_000))
    before = contents(into)
    with files_of_at_most(2_000_000), pytest.raises(OSError, match="too large") as caught:
        write(into, model[1], replace=True)
    assert caught.value.filename == str(into / "data" / "large")
    assert names(tmp_path) == ["lstm", "page"] and contents(into) == before


@pytest.mark.parametrize("after", [False, True])
def test_there_is_a_whole_folder_at_every_moment(model, tmp_path, monkeypatch, after):
    """What is interrupted before or after the two folders exchange their names."""
    into = tmp_path / "page"
    write(into, model[1])
    (into / "ort" / "of another version").touch()
    before = contents(into)

    def interrupted(one, other):
        if after:
            exchange(one, other)
        raise KeyboardInterrupt

    exchange = files_module.exchange
    monkeypatch.setattr(files_module, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(into, model[1], replace=True)
    if after:
        del before["ort/of another version"]
    assert names(tmp_path) == ["lstm", "page"] and contents(into) == before


# --- the command


def test_the_command(registry, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    loaded, exported = model
    assert main(["export", str(loaded.path), "--to", "web", "--json"]) == 0
    into = Path(f"{loaded.name}-web")
    values = json.loads(capsys.readouterr().out)
    assert values["path"] == str(into) and values["model"] == loaded.name
    assert values["bytes"] == sum(path.stat().st_size for path in into.rglob("*") if path.is_file())
    assert values["model_bytes"] == len(exported.data) and 0 <= values["max_difference"] < 1e-5
    assert main(["export", str(loaded.path), "--to", "web"]) == 2
    assert "exists already; give --replace" in capsys.readouterr().err
    # From an .onnx file, which needs no PyTorch.
    assert main(["export", str(into / "model.onnx"), "--to", "web", "--into", "again"]) == 0
    assert Path("again/model.onnx").read_bytes() == exported.data
    assert Path("again/model.json").read_bytes() == (into / "model.json").read_bytes()
    assert registry.n_requests == 1


def test_the_command_with_a_wrong_package(registry, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    registry.data += b"\0"
    assert main(["export", str(model[0].path), "--to", "web", "--into", "page"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("quickstroke export: http://127.0.0.1:") and "not onnxruntime-web" in line
    assert names(tmp_path) == ["lstm"]
