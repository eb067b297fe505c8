"""A folder that any static host serves: the page of `quickstroke serve`, recognising in the browser by itself.

What is in it, and what the page expects of it, stands in serve/static/onnx-recognizer.js.
"""

import json
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from quickstroke.errors import WeightsError
from quickstroke.utils.files import atomic_folder, followed, write_to_disk
from quickstroke.utils.telemetry import import_onnxruntime

FORMAT = "quickstroke web model"
VERSION = 1

_STATIC = Path(__file__).parent.parent / "serve" / "static"
_MODE = re.compile(r'(<meta name="quickstroke-mode" content=")served(">)')


def write_folder(into: Path, onnx: bytes, card: dict[str, Any], ort: dict[str, bytes], *, replace: bool) -> int:
    """Writes the folder, whole or not at all; what else is in it, such as `.git`, stays.

    Args:
        into: the folder; made where it is missing.
        onnx: the `.onnx` file.
        card: its card.
        ort: files of onnxruntime-web by name.
        replace: whether an earlier export may be replaced.

    Returns:
        The size of the folder in bytes.

    Raises:
        WeightsError: `into` holds something else than an earlier export, or one that may not be replaced.
        OSError: a file cannot be written; it names it.
    """
    check_free(into, replace=replace)
    files = {path.name: path.read_bytes() for path in sorted(_STATIC.iterdir()) if path.is_file()}
    page, n_modes = _MODE.subn(r"\1offline\2", files["index.html"].decode())
    assert n_modes == 1, "index.html tells its mode in another form"
    files |= {
        "index.html": page.encode(),
        "model.onnx": onnx,
        "model.json": json.dumps(_description(card), ensure_ascii=False).encode(),
        **{f"ort/{name}": data for name, data in ort.items()},
        **_notices(),
    }
    into = followed(into)
    ours = {Path(name).parts[0] for name in files}
    with atomic_folder(into) as fresh:
        for name, data in files.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            write_to_disk(fresh / name, data)
        for path in into.iterdir() if into.exists() else ():
            if path.name not in ours:
                _copy(path, fresh / path.name)
    return sum(map(len, files.values()))


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
    try:
        is_ours = json.loads((into / "model.json").read_bytes())["format"] == FORMAT
    except (OSError, ValueError, LookupError, TypeError):
        is_ours = False
    if not is_ours:
        raise WeightsError(f"{into}: exists and is no folder of `quickstroke export`; give another --into")
    if not replace:
        raise WeightsError(f"{into}: exists already; give --replace to replace it, or another --into")


def _description(card: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": card["name"],
        "classes": card["classes"],
        "preprocessing": card["preprocessing"],
        "reading": card["config"]["reading"],
        "min_rows": 1,  # the graph pads by itself
    }


def _notices() -> dict[str, bytes]:
    """Licences that go along with the page and with what onnxruntime is made of."""
    notices = {}
    third_party = Path(import_onnxruntime().__file__).parent / "ThirdPartyNotices.txt"
    if third_party.is_file():
        notices["ort/ThirdPartyNotices.txt"] = third_party.read_bytes()
    licence = metadata.distribution("quickstroke").read_text("licenses/LICENSE")
    if licence:
        notices["LICENSE"] = licence.encode()
    return notices
