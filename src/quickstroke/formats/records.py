"""Drawing files as records of the binary format, without a Python object a drawing.

A dataset is prepared from these. Compiled code converts what it knows (`lines`); the rest, with all that is
wrong, goes through the readers of drawings, which say what and where.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quickstroke.drawings.categories import canonical_word
from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, Drawing
from quickstroke.drawings.layouts import check_choice
from quickstroke.errors import OnInvalid, leave_out, leaving_out
from quickstroke.formats import csv, lines, ndjson, npz, scanning
from quickstroke.formats.input import InputFile

# Drawings of sketch-rnn that are converted at a time.
_SKETCHES = 1000
# Of lines that are converted at a time; mostly one is all of them.
_RUNS = 1000
_LAYOUTS = {"auto": scanning.AUTO, "points": scanning.POINTS, "columns": scanning.COLUMNS}


class Records(NamedTuple):
    """`n` drawings of one word, simplified, one after the other as the binary format has them.

    The strokes of `n_points` of them were written as points. Their country is unknown and their time 0, as a dataset
    has neither.
    """

    word: str
    data: bytes
    n: int
    n_points: int = 0


def read_ndjson(path: Path, layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Records | Drawing]:
    """The drawings of an ndjson file in order; `on_invalid` as `ndjson.read`.

    Raises:
        FormatError: as `ndjson.read`.
    """
    with InputFile(path) as file:
        for number, line, records in _converted(file, None, layout, on_invalid):
            if records is not None:
                yield records
            elif len(line) > MAX_DRAWING_BYTES:
                leave_out(file.too_long(MAX_DRAWING_BYTES, number), on_invalid)
            else:
                yield from ndjson.read_line(line, number, path, layout, on_invalid)


def read_csv(path: Path, layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Records | Drawing]:
    """The drawings of a CSV file in order; `on_invalid` as `csv.read`.

    Raises:
        FormatError: as `csv.read`.
    """
    n = 0
    with InputFile(path) as file:
        _, header = next(file.lines(MAX_DRAWING_BYTES), (1, b""))
        file.n_lines = 1
        if columns := csv.plain_columns(header):
            for _, _, records in _converted(file, columns, layout):
                if records is None:
                    break
                n += records.n
                yield records
            else:
                return
    # Python reads on from the first row that is not like the others: it alone knows where that ends.
    yield from islice(csv.read(path, layout, on_invalid), n, None)


def read_npz(path: Path, word: str, on_invalid: OnInvalid = None) -> Iterator[Records | Drawing]:
    """The drawings of a sketch-rnn file in order; `on_invalid` as `npz.read`.

    Raises:
        FormatError: as `npz.read`.
    """
    for part, items in npz.parts(path, compiled=True):
        if not isinstance(items, npz.PlainRows):
            for i, item in enumerate(items):
                with leaving_out(on_invalid):
                    yield npz.drawing_of(item, i, part, path, word)
            continue
        i = 0
        while i < len(items.begins):
            made = _of_sketches(word, items, slice(i, i + _SKETCHES))
            i += made.n
            if made.n:
                yield made
            else:
                with leaving_out(on_invalid):
                    yield npz.drawing_of(items.numbers(i), i, part, path, word)
                i += 1


def _of_sketches(word: str, plain: npz.PlainRows, some: slice) -> Records:
    """The records of some drawings, up to the first that is not as the official files have them."""
    begins, counts = plain.begins[some], plain.counts[some]
    out, ends = np.empty(4 * counts.sum() + 32 * len(counts), np.uint8), np.zeros(len(counts) + 1, np.int64)
    n = lines.convert_sketches(plain.data, begins, counts, out, ends[1:])
    return Records(word, out[: int(ends[n])].tobytes(), n)


def _converted(
    file: InputFile, columns: list[int] | None, layout: str, on_invalid: OnInvalid = None
) -> Iterator[tuple[int, bytes, Records | None]]:
    """The lines of a file: its number, the line, and the records of it and those after it.

    Lines of JSON, or rows with these columns. A line that was not converted has None in place of records.
    """
    convert, other = (
        (lines.convert_csv, lines.simplify_csv) if columns else (lines.convert_ndjson, lines.simplify_ndjson)
    )
    facts = np.array(columns or [], np.int64), _LAYOUTS[check_choice(layout)], scanning.memory()
    out, runs = np.empty(0, np.uint8), np.zeros((_RUNS, lines.N_COLUMNS), np.int64)
    for block, is_cut in file.blocks(MAX_DRAWING_BYTES, on_invalid):
        data = np.frombuffer(block.toreadonly(), np.uint8)
        if len(out) < 2 * len(data):
            out = np.empty(2 * len(data), np.uint8)
        at = 0
        while at < len(data):
            n_runs, n_lines, at = convert(data, at, *facts, out, runs)
            if not n_lines:  # the other one is for this line
                convert, other = other, convert
            out_begin = 0
            for what, position, begin, end, word_begin, word_end, n, n_points, out_end in runs[:n_runs].tolist():
                line = bytes(block[begin : end - (is_cut and end == len(block))])
                made = None
                if what == lines.RECORDS:
                    word = canonical_word(bytes(block[word_begin:word_end]).decode("ascii"))
                    made = Records(word, out[out_begin:out_end].tobytes(), n, n_points)
                yield file.n_lines + 1 + position, line, made
                out_begin = out_end
            file.n_lines += n_lines
