"""The official binary format: full/binary/<category>.bin.

Little-endian records without a file header (github.com/googlecreativelab/quickdraw-dataset,
examples/binary_file_parser.py): key_id uint64, countrycode 2 bytes, recognized int8, timestamp uint32 (seconds),
n_strokes uint16, and for each stroke n_points uint16, n_points x bytes, n_points y bytes. The word is the file's name.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, Drawing, DrawingBlock, check_simplified
from quickstroke.errors import FormatError, located
from quickstroke.formats.input import InputFile, refuse_html
from quickstroke.utils.compiled import jit
from quickstroke.utils.files import atomic_write

_HEADER = struct.Struct("<Q2sbIH")
# A file is read in one piece where it is not large: as many bytes as it has on the disk, but from so many to so many.
_CHUNK_BYTES = 1 << 19
_MAX_CHUNK_BYTES = 8 << 20

# How a scan ended: at the end of a record, inside one (three ways), or at a record that cannot be.
_WHOLE, _HEADER_CUT, _COUNT_CUT, _POINTS_CUT, _NO_STROKES, _NO_POINTS, _NOT_A_FLAG, _TOO_LONG = range(8)


@jit(steps=lambda data: data.size)
def _scan(data: Any) -> tuple[int, int, int, int, int]:
    """Counts the whole records at the beginning of `data` (uint8).

    Returns:
        (records, points, position after the last whole record, status, position where the status arose).
    """
    size = data.size
    n_drawings = n_points = position = 0
    while position < size:
        at = position
        if at + 17 > size:
            return n_drawings, n_points, position, _HEADER_CUT, at
        if data[at + 10] > 1:
            return n_drawings, n_points, position, _NOT_A_FLAG, at + 10
        n_strokes = int(data[at + 15]) | int(data[at + 16]) << 8
        if n_strokes == 0:
            return n_drawings, n_points, position, _NO_STROKES, at + 15
        at += 17
        n = 0
        for _ in range(n_strokes):
            if at + 2 > size:
                return n_drawings, n_points, position, _COUNT_CUT, at
            stroke_points = int(data[at]) | int(data[at + 1]) << 8
            if stroke_points == 0:
                return n_drawings, n_points, position, _NO_POINTS, at
            if at + 2 + 2 * stroke_points - position > MAX_DRAWING_BYTES:
                return n_drawings, n_points, position, _TOO_LONG, at
            if at + 2 + 2 * stroke_points > size:
                return n_drawings, n_points, position, _POINTS_CUT, at
            n += stroke_points
            at += 2 + 2 * stroke_points
        n_points += n
        n_drawings += 1
        position = at
    return n_drawings, n_points, position, _WHOLE, position


@jit(steps=lambda data, *_: data.size)
def _fill(data: Any, arrays: Any) -> None:
    """Spreads the records that `_scan` counted over the arrays of a DrawingBlock; `pen_up` is all zero before."""
    points, pen_up, offsets, key_ids, countries, times, recognized = arrays
    # Where an index might be negative, each access looks whether it is, and no loop becomes vectors.
    u = np.uint64
    coordinates = points.reshape(points.size)
    at = p = u(0)
    for i in range(key_ids.size):
        key = u(0)
        for b in range(8):
            key |= u(data[at + u(b)]) << u(8 * b)
        key_ids[i] = key
        countries[i, 0] = data[at + u(8)]
        countries[i, 1] = data[at + u(9)]
        recognized[i] = data[at + u(10)]
        time = u(0)
        for b in range(4):
            time |= u(data[at + u(11 + b)]) << u(8 * b)
        times[i] = time
        n_strokes = u(data[at + u(15)]) | u(data[at + u(16)]) << u(8)
        at += u(17)
        offsets[i] = p
        for _ in range(n_strokes):
            n = u(data[at]) | u(data[at + u(1)]) << u(8)
            at += u(2)
            for k in range(n):
                coordinates[u(2) * (p + k)] = data[at + k]
                coordinates[u(2) * (p + k) + u(1)] = data[at + n + k]
            p += n
            pen_up[p - u(1)] = 1
            at += u(2) * n
    offsets[key_ids.size] = p


def _error(status: int, data: NDArray[np.uint8], at: int, begin: int, n_before: int, path: Path) -> FormatError:
    left = data.size - at
    reason = {
        _HEADER_CUT: f"truncated: its header needs {_HEADER.size} bytes, {left} are left",
        _COUNT_CUT: f"truncated: the point count of its next stroke needs 2 bytes, {left} are left",
        _POINTS_CUT: "truncated, or a wrong count: ",
        _NO_STROKES: "has no strokes; expected at least one",
        _NO_POINTS: "has a stroke without points; expected at least one",
        _NOT_A_FLAG: f"has recognized = {data[at] if left else 0}; expected 0 or 1 (is it a Quick, Draw! binary file?)",
        _TOO_LONG: f"has more than {MAX_DRAWING_BYTES} bytes",
    }[status]
    if status == _POINTS_CUT:
        n = int(data[at]) | int(data[at + 1]) << 8
        reason += f"a stroke of {n} points needs {2 * n} bytes, {left - 2} are left"
    return FormatError(f"drawing {n_before + 1} {reason}", path, offset=begin + at)


def read_blocks(path: Path, word: str, max_bytes: int = _MAX_CHUNK_BYTES) -> Iterator[DrawingBlock]:
    """Blocks of at most some 8 MiB, or `max_bytes`, each record read exactly once.

    Raises:
        FormatError: a truncated record, a drawing without strokes or of more than 400,000 bytes, a stroke without
            points, or bytes that are no binary drawing file; with the byte offset.
    """
    with InputFile(path) as file:
        rest, begin, n_before = b"", 0, 0
        n_bytes = min(max(path.stat().st_size, _CHUNK_BYTES), max_bytes)
        while chunk := file.read(max(n_bytes, len(rest))):
            if begin == 0 and not rest:
                refuse_html(chunk, path)
            data = np.frombuffer(rest + chunk if rest else chunk, dtype=np.uint8)
            n, n_points, end, status, at = _scan(data)
            if n:
                yield _block(data, n, n_points, word)
            if status > _POINTS_CUT:
                raise _error(status, data, at, begin, n_before + n, path)
            rest, begin, n_before = data[end:].tobytes(), begin + end, n_before + n
        if rest:
            data = np.frombuffer(rest, dtype=np.uint8)
            *_, status, at = _scan(data)
            raise _error(status, data, at, begin, n_before, path)


def _block(data: NDArray[np.uint8], n: int, n_points: int, word: str) -> DrawingBlock:
    arrays = (
        np.empty((n_points, 2), dtype=np.uint8),
        np.zeros(n_points, dtype=np.uint8),
        np.empty(n + 1, dtype=np.int64),
        np.empty(n, dtype=np.uint64),
        np.empty((n, 2), dtype=np.uint8),
        np.empty(n, dtype=np.uint32),
        np.empty(n, dtype=np.uint8),
    )
    _fill(data, arrays)
    return DrawingBlock(word, *arrays)


def count(path: Path) -> int:
    """Number of drawings in a binary file.

    Raises:
        FormatError: as `read_blocks`.
    """
    return sum(len(block) for block in read_blocks(path, ""))


def encode(drawing: Drawing) -> bytes:
    """One drawing as a binary record; the fraction of a second of its timestamp is dropped.

    Raises:
        FormatError: the drawing is raw, has no strokes or an empty one, takes more than 400,000 bytes, or has a value
            that the format cannot hold.
    """
    check_simplified(drawing)
    try:
        country = drawing.countrycode.encode("latin-1")
    except UnicodeEncodeError:
        country = b""
    seconds = drawing.timestamp_us // 1_000_000
    for what, value, top in (
        ("key_id", drawing.key_id, 2**64 - 1),
        ("timestamp in seconds", seconds, 2**32 - 1),
        ("number of strokes", len(drawing.strokes), 2**16 - 1),
        ("number of points in a stroke", max(len(stroke) for stroke in drawing.strokes), 2**16 - 1),
    ):
        if not 0 <= value <= top:
            raise FormatError(f"{what} {value} does not fit the binary format (0 to {top})")
    if len(country) != 2:
        raise FormatError(f"countrycode {drawing.countrycode!r} does not fit the binary format (two letters)")
    parts = [_HEADER.pack(drawing.key_id, country, drawing.recognized, seconds, len(drawing.strokes))]
    for stroke in drawing.strokes:
        parts.append(struct.pack("<H", len(stroke)) + stroke.T.tobytes())
    record = b"".join(parts)
    if len(record) > MAX_DRAWING_BYTES:
        raise FormatError(f"the drawing takes {len(record)} bytes; expected at most {MAX_DRAWING_BYTES}")
    return record


def write(path: Path | str, drawings: Iterable[Drawing]) -> int:
    """Writes drawings as an official binary file (compressed when the name ends in `.gz`).

    Returns:
        How many were written.

    Raises:
        FormatError: a drawing that the format cannot hold; nothing is left under `path` then.
    """
    n = 0
    with atomic_write(path) as file:
        for n, drawing in enumerate(drawings, start=1):
            with located(path, f"drawing {n}"):
                file.write(encode(drawing))
    return n
