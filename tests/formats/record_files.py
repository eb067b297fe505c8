"""Files as their readers and as compiled code read them; for the tests of this folder."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import binary
from quickstroke.preparation.convert import as_prepared


def save_pickle(folder: Path, pickled: bytes, n: int = 1) -> Path:
    """A file whose array has the header of an array (n,) of objects, and any bytes as its pickle."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (n,)})
    path = folder / "cat.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", head.getvalue() + pickled)
    return path


def plain(read: Callable[..., Any], path: Path) -> Any:
    for drawing in read(path):
        yield drawing.word, binary.encode(as_prepared(drawing))


def converted(read: Callable[..., Any], path: Path) -> Any:
    for part in read(path):
        if isinstance(part, Drawing):
            yield part.word, binary.encode(as_prepared(part))
            continue
        data, blocks = part.data, 0
        while data:
            n = _record_bytes(data)
            yield part.word, data[:n]
            data, blocks = data[n:], blocks + 1
        assert blocks == part.n


def _record_bytes(data: bytes) -> int:
    at = 17
    for _ in range(int.from_bytes(data[15:17], "little")):
        at += 2 + 2 * int.from_bytes(data[at : at + 2], "little")
    return at


def outcome(items: Any) -> tuple[list[tuple[str, bytes]], str]:
    """What is read before an error, and the error."""
    found = []
    try:
        for item in items:
            found.append(item)
    except FormatError as error:
        return found, str(error)
    return found, ""
