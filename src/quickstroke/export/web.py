"""A folder that any static host serves: the page of `quickstroke serve`, recognising in the browser by itself.

What is in it stands in serve/static/local-recognizer.js.
"""

import hashlib
import json
import re
import shutil
from importlib import metadata
from pathlib import Path

from quickstroke.artifacts import compact
from quickstroke.errors import WeightsError
from quickstroke.export.compact import Compacted
from quickstroke.utils.files import atomic_folder, followed, write_to_disk

MODEL = f"model{compact.SUFFIX}"
TEACHING = "teaching.json"

_STATIC = Path(__file__).parent.parent / "serve" / "static"
_MODE = '<meta name="quickstroke-mode" content="served">'
_BUNDLE = "quickstroke.js"  # has been made small already, and its comments say whose it is
_STYLE = "page.css"
# Which recogniser the page has: the export's needs no server.
_RECOGNIZER = ("recognizer.js", b'export { LocalRecognizer as PageRecognizer } from "./local-recognizer.js";\n')
_SERVED_ONLY = "http-recognizer.js"
_SHEETS = re.compile(r'(?:  <link rel="stylesheet" href="[\w.-]+">\n)+')
# Comments that have lines of their own, empty lines, and what lines are indented by; then comments at ends of lines.
_NEEDLESS = re.compile(rb"^[ ]*(?:(?:/\*.*?\*/[ ]*|//[^\n]*)?\n)?", re.MULTILINE | re.DOTALL)
_AT_ENDS = re.compile(rb"""(?<=[;,)]) (?://[^\n"'`]*|/\*[^\n"'`]*\*/)$""", re.MULTILINE)
_NEEDLESS_IN_HTML = re.compile(rb"^[ ]*(?:<!--[^\n]*-->\n)?", re.MULTILINE)
# What the browser asks for last; the page does not wait for it.
SERVICE_WORKER = "service-worker.js"
_LATER = (SERVICE_WORKER, "worker.js", "opened-as-file.js")


def write_folder(into: Path, exported: Compacted, *, replace: bool) -> int:
    """Writes the folder, whole or not at all; what else is in it, such as `.git`, stays.

    Args:
        into: the folder; made where it is missing.
        exported: the `.quickstroke` file.
        replace: whether an earlier export may be replaced.

    Returns:
        The size of the folder in bytes.

    Raises:
        WeightsError: `into` holds something else than an earlier export, or one that may not be replaced.
        OSError: a file cannot be written; it names it.
    """
    check_free(into, replace=replace)
    files = page_files() | model_files(exported) | _licence()
    # At once, and not one after the other as they name each other. The model is asked for with them.
    links = [f'<link rel="preload" href="{MODEL}" as="fetch" crossorigin>']
    links += [
        f'<link rel="modulepreload" href="{name}">' for name in files if name.endswith(".js") and name not in _LATER
    ]
    page = offline(files["index.html"].decode(), "\n".join(links)).encode()
    files["index.html"] = _NEEDLESS_IN_HTML.sub(b"", page)
    files[SERVICE_WORKER] = _listing(files).encode()
    into = followed(into)
    with atomic_folder(into) as fresh:
        for name, data in files.items():
            write_to_disk(fresh / name, data)
        for path in into.iterdir() if into.exists() else ():
            if path.name not in files:
                _copy(path, fresh / path.name)
    return sum(map(len, files.values()))


def page_files() -> dict[str, bytes]:
    """The page's files by name, as `quickstroke serve` has them, but with the recogniser that needs no server, without
    comments and indents, and with styles in one."""
    files = {path.name: path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.is_file()}
    del files[_SERVED_ONLY]
    files.update([_RECOGNIZER])
    page = files["index.html"].decode()
    links = _SHEETS.findall(page)
    assert len(links) == 1, "index.html names its style sheets in several places"
    sheets = re.findall('href="([^"]+)"', links[0])
    files["index.html"] = page.replace(links[0], f'  <link rel="stylesheet" href="{_STYLE}">\n').encode()
    files[_STYLE] = b"".join(files.pop(name) for name in sheets)
    for name in files.keys() - {_BUNDLE}:
        if name.endswith((".js", ".css")):
            files[name] = _AT_ENDS.sub(b"", _NEEDLESS.sub(b"", files[name]))
    return files


def model_files(exported: Compacted) -> dict[str, bytes]:
    """The model, and what teaching needs besides, which the page fetches once a word is taught."""
    teaching = {
        "format": "quickstroke teaching statistics",
        "version": 1,
        "model_sha256": (exported.model.card or {}).get("sha256"),
        "discriminant": exported.discriminant,
    }
    return {MODEL: exported.data, TEACHING: json.dumps(teaching).encode()}


def offline(page: str, head: str) -> str:
    """The page that recognises by itself, with some lines more in its head."""
    assert page.count(_MODE) == 1, "index.html tells its mode in another form"
    return page.replace(_MODE, f"{_MODE.replace('served', 'offline')}\n  {head}")


def _listing(files: dict[str, bytes]) -> str:
    """The service worker with the names of all files but its own, and a hash of them."""
    names = sorted(name for name in files if name != SERVICE_WORKER and not name.startswith("LICENSE"))
    version = hashlib.sha256(b"".join(hashlib.sha256(files[name]).digest() for name in names)).hexdigest()
    worker = files[SERVICE_WORKER].decode()
    for before, after in (
        ("const FILES = [];", f"const FILES = {json.dumps(names)};"),
        ('const VERSION = "";', f'const VERSION = "{version[:16]}";'),
    ):
        assert worker.count(before) == 1, f"{SERVICE_WORKER} has no line {before}"
        worker = worker.replace(before, after)
    return worker


def _copy(source: Path, target: Path) -> None:
    """Copies a file, link or folder; `shutil.copytree` would tell of all errors in one without a number."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        for path in source.iterdir():
            _copy(path, target / path.name)
        shutil.copystat(source, target)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def check_free(into: Path, *, replace: bool) -> None:
    """Raises WeightsError when a folder may not be written: nothing but an earlier export is ever replaced."""
    if not into.exists() or (into.is_dir() and not any(into.iterdir())):
        return
    if not _is_export(into):
        raise WeightsError(f"{into}: exists and is no folder of `quickstroke export`; give another --into")
    if not replace:
        raise WeightsError(f"{into}: exists already; give --replace to replace it, or another --into")


def _is_export(folder: Path) -> bool:
    try:
        with (folder / MODEL).open("rb") as file:
            return file.read(len(compact.MAGIC)) == compact.MAGIC
    except OSError:
        return False


def _licence() -> dict[str, bytes]:
    """The licence that goes along with the page."""
    licence = metadata.distribution("quickstroke").read_text("licenses/LICENSE")
    return {"LICENSE": licence.encode()} if licence else {}
