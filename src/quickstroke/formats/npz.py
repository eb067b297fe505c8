"""Sketch-RNN's files: sketchrnn/<category>.npz (arxiv.org/abs/1704.03477, appendix; magenta.tensorflow.org/sketch_rnn).

Object arrays `train`, `valid` and `test`; each element is int16 (n, 3) with rows (dx, dy, pen lifted after this
point), the first row the offset from the first point. The arrays are pickled: the unpickler here admits the names
by which numpy's arrays are written, and what they say is only noted down, so that nothing in a file is run. The word
is the file's name; key_ids, countries and times are not in the format.
"""

import io
import math
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.drawing import Drawing, check_simplified
from quickstroke.errors import FormatError, OnInvalid, leaving_out, located
from quickstroke.formats import pickled_rows
from quickstroke.formats.input import check_archive, read_npy_header
from quickstroke.utils import pickles
from quickstroke.utils.files import atomic_write

_PARTS = ("train", "valid", "test")
# One drawing of the format has at most some 3,000 points; this bounds what a file may claim.
MAX_ROWS = 1_000_000
# Drawings of two points take 8 times their compressed bytes, longer ones less.
_MAX_INFLATION, _FREE_BYTES = 32, 1 << 20
# Where the second drawing has to end, and opcodes before it: mostly some hundred bytes, and 80.
_HEAD_BYTES, _MOST_OPCODES = 1 << 16, 500


class _PickledDtype:
    """What a pickle says of a dtype: a code such as `i2`, and a byte order."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code, self.order = str(code)[:8], ""

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])[:8]


class PickledArray:
    """What a pickle says of an array. numpy itself would believe it, and take numbers for pointers if told to."""

    _state: tuple[Any, _PickledDtype, Any, Any] = (None, _PickledDtype(), None, None)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _PickledDtype):
            raise ValueError("an array without a dtype")
        self._state = shape, dtype, fortran, data

    def items(self) -> list[Any]:
        """The elements of a list of objects.

        Raises:
            ValueError: the array is none.
        """
        shape, dtype, _, data = self._state
        if not dtype.code.startswith("O") or not isinstance(data, list) or shape != (len(data),):
            raise ValueError("expected an array of drawings")
        return data

    def numbers(self) -> NDArray[Any]:
        """The numbers of an array of two dimensions.

        Raises:
            ValueError: the array has another dtype or shape, or not as many numbers as it should.
        """
        shape, dtype, fortran, data = self._state
        if not re.fullmatch("([iu][1248]|f[248])[<>|]", dtype.code + dtype.order):
            raise ValueError(f"got dtype {dtype.code!r}")
        if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(n) is int and n >= 0 for n in shape)):
            raise ValueError("got an array that has not two dimensions")
        if isinstance(data, str):  # Python 2 wrote bytes so
            data = data.encode("latin-1")
        number = np.dtype(dtype.order + dtype.code)
        if not isinstance(data, bytes) or len(data) != math.prod(shape) * number.itemsize:
            raise ValueError(f"got an array {shape!r:.40} without its numbers")
        return np.frombuffer(data, number).reshape(shape, order="F" if fortran else "C")


class PlainRows(NamedTuple):
    """Drawings all of which are as the official files have them.

    Attributes:
        data: uint8, with the rows of all drawings, little-endian int16 (n, 3) each.
        begins: int64 (N,), where those of each begin.
        counts: int64 (N,), how many they are.
    """

    data: NDArray[np.uint8]
    begins: NDArray[np.int64]
    counts: NDArray[np.int64]

    def numbers(self, i: int) -> NDArray[np.int16]:
        """The rows (n, 3) of a drawing."""
        begin, n = int(self.begins[i]), int(self.counts[i])
        return self.data[begin : begin + 6 * n].view("<i2").reshape(n, 3)


class _Unpickler(pickle.Unpickler):
    """Knows the names in a pickled array of arrays and refuses every other."""

    def __init__(self, data: bytes | memoryview) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._left_bytes = len(data)

    def _bytes(self, text: str = "", *_: Any) -> bytes:
        # One text may be meant many times.
        self._left_bytes -= len(text)
        if self._left_bytes < 0:
            raise ValueError("its pickle claims more bytes than it has")
        return text.encode("latin-1")

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") | ("numpy", "ndarray"):
                return PickledArray
            case "numpy", "dtype":
                return _PickledDtype
            # In pickles of protocol 2, Python 3 writes bytes as latin-1 text, and empty ones as `bytes()`.
            case ("_codecs", "encode") | ("builtins", "bytes"):
                return self._bytes
        raise pickle.UnpicklingError(f"it names {f'{module}.{name}':.60}; only numpy arrays are admitted")


def read(path: Path, word: str, on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawings of `train`, then `valid`, then `test`, moved to the top left.

    The format holds differences only; where the sides exceed 255 the drawing is scaled down to fit, as Google's
    simplification does. The first point has no pen flag of its own and joins the first stroke.

    Args:
        on_invalid: called with the error of each item that is no drawing, which is left out.

    Raises:
        FormatError: not such a file, a pickle that names anything but numpy arrays, or rows that are no drawing.
    """
    for part, items in parts(path):
        for i, rows in enumerate(items):
            with leaving_out(on_invalid):
                yield drawing_of(rows, i, part, path, word)


def drawing_of(rows: Any, i: int, part: str, path: Path, word: str) -> Drawing:
    """The drawing of item `i` of a part.

    Raises:
        FormatError: it is none.
    """
    with located(path, f"drawing {i + 1} of {part!r}"):
        return Drawing(word=word, strokes=_strokes(rows))


def parts(path: Path, *, compiled: bool = False) -> Iterator[tuple[str, PlainRows | list[Any]]]:
    """Each part of a file and its items, mostly `PickledArray`; `PlainRows` where compiled code can read them all.

    Raises:
        FormatError: as `read`, but for what an item is.
    """
    check_archive(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged archive raises anything
        raise FormatError(f"not an .npz archive, or truncated ({error})", path) from error
    with archive:
        names = [part for part in _PARTS if f"{part}.npy" in archive.namelist()]
        if not names:
            raise FormatError(f"has none of the arrays {', '.join(_PARTS)}; got {archive.namelist()[:5]}", path)
        for part in names:
            yield part, _items(archive, part, path, compiled)


def _items(archive: zipfile.ZipFile, part: str, path: Path, compiled: bool) -> PlainRows | list[Any]:
    """The elements of an object array, as their pickle says them."""
    try:
        entry = archive.getinfo(f"{part}.npy")
        # Of the others one read may inflate to any size.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("not compressed as numpy does it")
        n_bytes = path.stat().st_size
        if entry.compress_size > n_bytes:
            raise ValueError(f"it claims {entry.compress_size} bytes of {n_bytes}")
        if entry.file_size > _MAX_INFLATION * n_bytes + _FREE_BYTES:
            raise ValueError(f"it claims {entry.file_size} bytes, far more than such arrays are compressed from")
        # At its end the archive compares its checksum.
        content = archive.read(entry)
        with io.BytesIO(content) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a header that Python 2 wrote
            shape, _, dtype = read_npy_header(file)
            if not dtype.hasobject or dtype.fields or len(shape) != 1:
                raise FormatError(
                    f"array {part!r} should hold one int16 (n, 3) array a drawing, got {dtype} {shape}", path
                )
            pickled = memoryview(content)[file.tell() :]
        if compiled and (rows := _plain_rows(pickled, shape[0])) is not None:
            return rows
        if pickles.check(pickled) != len(pickled):
            raise ValueError("bytes follow its pickle")
        array = _Unpickler(pickled).load()
        if not isinstance(array, PickledArray):
            raise ValueError("its pickle holds no array")
        items = array.items()
        if len(items) != shape[0]:
            raise ValueError(f"{len(items)} drawings where its header says {shape[0]}")
    except FormatError:
        raise
    except pickle.UnpicklingError as error:
        raise FormatError(f"array {part!r} is refused: {error}", path) from error
    except Exception as error:  # a damaged pickle or archive raises anything
        said = re.sub(r" object at 0x[0-9a-f]+", "", str(error))  # an address tells nothing, and is another each time
        raise FormatError(f"array {part!r} is damaged or truncated ({type(error).__name__}: {said})", path) from error
    return items


def _plain_rows(pickled: memoryview, n: int) -> PlainRows | None:
    """The `n` drawings of a pickle where all but the first are written by the same opcodes; None of any other pickle.

    That the first two are drawings, in the list of an array, the unpickler says: it gets the pickle without the rest.
    """
    data = np.zeros(len(pickled) + pickled_rows.N_MORE_BYTES, np.uint8)
    data[: len(pickled)] = np.frombuffer(pickled, np.uint8)
    head = bytes(pickled[:_HEAD_BYTES])
    noted = np.full(pickled_rows.N_NOTED + 1, -1)
    noted[-1] = True
    if not 2 <= n <= len(pickled) // 6:
        return None
    try:
        for opcode, _, at in islice(pickletools.genops(head), _MOST_OPCODES):
            noted[-1] &= "PUT" not in opcode.name
            if opcode.name == "BUILD":
                noted[:-1] = -1
                end, begin, _ = pickled_rows.read_drawing(data, (at or 0) + 1, noted)
                if end >= 0:
                    break
        else:
            return None
        # The frame that may begin after two bytes would be too long for it.
        behind = 11 if head[2:3] == b"\x95" else 2
        short = head[:2] + head[behind:end] + b"etb."
        is_framed = head[:1] == b"\x80" and pickled_rows.past_notes(data, 2, noted) == behind
        if not is_framed or pickles.check(short) != len(short):
            return None
        shape, dtype, _, items = _Unpickler(short).load()._state
        first = [item.numbers() for item in items]
    except Exception:  # a damaged pickle raises anything, and once more when it is read as a whole
        return None
    is_plain = all(
        rows.dtype == "<i2" and rows.shape[1] == 3 and len(rows) and rows.flags.c_contiguous for rows in first
    )
    if shape != (n,) or not dtype.code.startswith("O") or type(items) is not list or len(first) != 2 or not is_plain:
        return None
    begins, counts = np.zeros(n, np.int64), np.zeros(n, np.int64)
    begins[:2], counts[:2] = [head.index(first[0].tobytes()), begin], [len(rows) for rows in first]
    return PlainRows(data, begins, counts) if pickled_rows.read_drawings(data, end, noted, begins, counts) else None


def _strokes(rows: Any) -> list[NDArray[np.uint8]]:
    try:
        if not isinstance(rows, PickledArray | np.ndarray):
            raise ValueError(f"got {type(rows).__name__}")
        numbers = rows if isinstance(rows, np.ndarray) else rows.numbers()
    except ValueError as error:
        raise FormatError(f"expected int16 (n, 3) rows, {error}") from error
    return strokes_of_rows(numbers.astype(np.float64))


def strokes_of_rows(values: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """The strokes (n, 2) of a drawing's rows (dx, dy, pen lifted after this point), moved to the top left.

    Raises:
        FormatError: they are no drawing.
    """
    if values.shape[1] != 3:
        raise FormatError(f"expected int16 (n, 3) rows, got {values.shape}")
    if not 1 <= len(values) <= MAX_ROWS:
        raise FormatError(f"has {len(values)} rows; expected 1 to {MAX_ROWS}")
    # The sum of finite numbers may not be finite.
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.concatenate([np.zeros((1, 2)), np.cumsum(values[:, :2], axis=0)])
        points -= points.min(axis=0)
    longer = points.max()
    if not np.isfinite(longer) or not np.isin(values[:, 2], (0, 1)).all():
        raise FormatError("has a value that is not finite, or a pen flag other than 0 and 1")
    if longer > 255:
        points *= 255 / longer
    ends = np.flatnonzero(values[:-1, 2]) + 2
    return np.split(np.rint(points).astype(np.uint8), ends)


def write(path: Path | str, drawings: Iterable[Drawing]) -> int:
    """Writes simplified drawings as `train` of a sketch-rnn file, whose `valid` and `test` are empty; they are held in
    memory.

    Returns:
        How many were written.

    Raises:
        FormatError: a drawing that is raw, has no strokes or an empty one; nothing is left under `path` then.
    """
    rows = []
    for n, drawing in enumerate(drawings, start=1):
        with located(path, f"drawing {n}"):
            rows.append(_rows(drawing))
    train, empty = np.empty(len(rows), object), np.empty(0, object)
    for i, row in enumerate(rows):
        train[i] = row
    with atomic_write(path) as file:
        np.savez_compressed(file, train=train, valid=empty, test=empty)
    return len(rows)


def _rows(drawing: Drawing) -> NDArray[np.int16]:
    check_simplified(drawing)
    # The first point has no pen flag: alone in its stroke it is there twice.
    strokes = [drawing.strokes[0].repeat(1 + (len(drawing.strokes[0]) == 1), axis=0), *drawing.strokes[1:]]
    pen_up = np.zeros(sum(map(len, strokes)), np.int16)
    pen_up[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    return np.column_stack([np.diff(np.concatenate(strokes).astype(np.int16), axis=0), pen_up[1:]])
