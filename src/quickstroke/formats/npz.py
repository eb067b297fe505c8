"""Sketch-RNN's files: sketchrnn/<category>.npz (arxiv.org/abs/1704.03477, appendix; magenta.tensorflow.org/sketch_rnn).

Object arrays `train`, `valid` and `test`; each element is int16 (n, 3) with rows (dx, dy, pen lifted after this
point), the first row the offset from the first point. The arrays are pickled: the unpickler here admits numpy's
arrays and dtypes and nothing else, so no code in a file runs. The word is the file's name; key_ids, countries and
times are not in the format.
"""

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.files import InputFile, refuse_html

# The function that numpy's own pickles name; read off one, since its home has moved between releases.
_reconstruct = np.empty(0).__reduce__()[0]
_PARTS = ("train", "valid", "test")
# One drawing of the format has at most some 3,000 points; this bounds what a file may claim.
_MAX_ROWS = 1_000_000


class _ArrayUnpickler(pickle.Unpickler):
    """Knows how to rebuild numpy arrays and dtypes and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        # Protocol 2 pickles of Python 3 carry bytes as latin-1 text through this function.
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(f"it names {module}.{name}; only numpy arrays are admitted")


def _encode(text: str, encoding: str = "latin-1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"unexpected encoding {encoding!r}")
    return text.encode("latin-1")


def read(path: Path, word: str) -> Iterator[Drawing]:
    """The drawings of `train`, then `valid`, then `test`, moved to the top left.

    The format holds differences only; where the sides exceed 255 the drawing is scaled down to fit, as Google's
    simplification does. The first point has no pen flag of its own and joins the first stroke.

    Raises:
        FormatError: not such a file, a pickle that names anything but numpy arrays, or rows that are no drawing.
    """
    with InputFile(path) as file:
        refuse_html(file.read(64), path)
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise FormatError(f"not an .npz archive, or truncated ({error})", path) from error
    with archive:
        names = [part for part in _PARTS if f"{part}.npy" in archive.namelist()]
        if not names:
            raise FormatError(f"has none of the arrays {', '.join(_PARTS)}; got {archive.namelist()[:5]}", path)
        for part in names:
            for i, rows in enumerate(_object_array(archive, part, path)):
                try:
                    strokes = _strokes(rows)
                except FormatError as error:
                    raise FormatError(f"drawing {i + 1} of {part!r}: {error.reason}", path) from error
                yield Drawing(word=word, strokes=strokes)


def _object_array(archive: zipfile.ZipFile, part: str, path: Path) -> NDArray[Any]:
    try:
        with archive.open(f"{part}.npy") as file:
            version = np.lib.format.read_magic(file)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_header_2
            shape, _, dtype = read_header(file)
            if dtype == object:
                array = _ArrayUnpickler(_Whole(file), encoding="latin1").load()
            else:
                raise FormatError(
                    f"array {part!r} should hold one int16 (n, 3) array a drawing, got {dtype}", path
                )
    except FormatError:
        raise
    except pickle.UnpicklingError as error:
        raise FormatError(f"array {part!r} is refused: {error}", path) from error
    except Exception as error:  # a damaged pickle or archive raises anything
        raise FormatError(
            f"array {part!r} is damaged or truncated ({type(error).__name__}: {error})", path
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype != object or array.ndim != 1 or array.shape != shape:
        raise FormatError(f"array {part!r} should be a list of drawings of shape {shape}", path)
    return array


def _read_header_2(file: IO[bytes]) -> Any:
    return np.lib.format.read_array_header_2_0(file)


class _Whole:
    """A zip member for the unpickler, which wants exact reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) < n:
            raise EOFError("ends inside the pickle")
        return data

    def readline(self) -> bytes:
        return self._file.readline()


def _strokes(rows: Any) -> list[NDArray[np.uint8]]:
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "iuf":
        raise FormatError(f"expected int16 (n, 3) rows, got {getattr(rows, 'shape', type(rows).__name__)}")
    if not 1 <= len(rows) <= _MAX_ROWS:
        raise FormatError(f"has {len(rows)} rows; expected 1 to {_MAX_ROWS}")
    values = rows.astype(np.float64)
    if not np.isfinite(values).all() or not np.isin(values[:, 2], (0, 1)).all():
        raise FormatError("has a value that is not finite, or a pen flag other than 0 and 1")
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(values[:, :2], axis=0)])
    points -= points.min(axis=0)
    longer = points.max()
    if longer > 255:
        points *= 255 / longer
    ends = np.flatnonzero(values[:-1, 2]) + 2
    return np.split(np.rint(points).astype(np.uint8), ends)
