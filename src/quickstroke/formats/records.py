"""Drawing files as records of the binary format, without a Python object a drawing.

A dataset is prepared from these. Compiled code converts what it knows (`lines`); the rest, with all that is
wrong, goes through the readers of drawings, which say what and where.
"""

from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickstroke.drawings.categories import canonical_word
from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, Drawing
from quickstroke.drawings.layouts import check_choice
from quickstroke.errors import FormatError
from quickstroke.formats import csv, lines, ndjson, npz, scanning
from quickstroke.formats.input import InputFile
from quickstroke.formats.input import n_lines as count_lines

# Drawings of sketch-rnn that are converted at a time.
_SKETCHES = 10_000
_LAYOUTS = {"auto": lines.AUTO, "points": lines.POINTS, "columns": lines.COLUMNS}


class Records(NamedTuple):
    """`n` drawings of one word, simplified, one after the other as the binary format has them.

    Their country is unknown and their time 0, as a dataset has neither.
    """

    word: str
    data: bytes
    n: int


Check = Callable[[str], None]


def read_ndjson(path: Path, check: Check, layout: str = "auto") -> Iterator[Records | Drawing]:
    """The drawings of an ndjson file in order; `check` is called with each word, and its error told with the line.

    Raises:
        FormatError: as `ndjson.read`.
    """
    with InputFile(path) as file:
        for number, line, records in _converted(file, None, layout, 1):
            if records is None:
                if len(line) > MAX_DRAWING_BYTES:
                    raise file.too_long(MAX_DRAWING_BYTES, number)
                yield from ndjson.read_line(line, number, path, lambda drawing: check(drawing.word), layout)
                continue
            try:
                check(records.word)
            except FormatError as error:
                raise ndjson.of_line(error, line, number, path) from error
            yield records


def read_csv(path: Path, check: Check, layout: str = "auto") -> Iterator[Records | Drawing]:
    """The drawings of a CSV file in order; `check` as in `read_ndjson`.

    Raises:
        FormatError: as `csv.read`.
    """
    n = 0
    with InputFile(path) as file:
        _, header = next(file.lines(MAX_DRAWING_BYTES), (1, b""))
        columns = csv.plain_columns(header)
        for number, _, records in _converted(file, columns, layout, 2) if columns else ():
            if records is None:
                break
            try:
                check(records.word)
            except FormatError as error:
                raise FormatError(error.reason, path, line=number) from error
            n += records.n
            yield records
        else:
            if columns:
                return
    # Python reads on from the first row that is not like the others: it alone knows where that ends.
    yield from islice(csv.read(path, lambda drawing: check(drawing.word), layout), n, None)


def read_npz(path: Path, word: str) -> Iterator[Records | Drawing]:
    """The drawings of a sketch-rnn file in order.

    Raises:
        FormatError: as `npz.read`.
    """
    for part, items in npz.parts(path):
        plain = [item.plain_bytes() if isinstance(item, npz.PickledArray) else None for item in items]
        i = 0
        while i < len(items):
            n = next((k for k in range(i, len(items)) if plain[k] is None), len(items)) - i
            n = min(n, _SKETCHES)
            made = _of_sketches(word, [data for data in plain[i : i + n] if data is not None])
            i += made.n
            if made.n:
                yield made
            if made.n < n or not n:
                yield npz.drawing_of(items[i], i, part, path, word)
                i += 1


def _of_sketches(word: str, plain: list[bytes]) -> Records:
    """The records of drawings, up to the first that is not as the official files have them."""
    rows = np.frombuffer(b"".join(plain), "<i2").reshape(-1, 3)
    starts = np.concatenate([[0], np.cumsum([len(data) // 6 for data in plain])]).astype(np.int64)
    out, ends = np.empty(4 * len(rows) + 32 * len(plain), np.uint8), np.zeros(len(plain) + 1, np.int64)
    n = lines.convert_sketches(rows, starts, out, ends[1:]) if plain else 0
    return Records(word, out[: int(ends[n])].tobytes(), n)


def _converted(
    file: InputFile, columns: list[int] | None, layout: str, number: int
) -> Iterator[tuple[int, bytes, Records | None]]:
    """The lines of a file from line `number` on: its number, the line, and the records of it and those after it.

    Lines of JSON, or rows with these columns. A line that was not converted has None in place of records.
    """
    convert, simplify = (
        (lines.convert_csv, lines.simplify_csv) if columns else (lines.convert_ndjson, lines.simplify_ndjson)
    )
    facts = np.array(columns or [], np.int64), _LAYOUTS[check_choice(layout)], scanning.memory()
    out, about = np.empty(0, np.uint8), np.zeros((0, 5), np.int64)
    for block, is_cut in file.blocks(MAX_DRAWING_BYTES):
        data = np.frombuffer(block.toreadonly(), np.uint8)
        n_lines = count_lines(block)
        n_bytes = len(data) + lines.N_MORE_BYTES * n_lines
        if len(out) < n_bytes or len(about) <= n_lines:
            out, about = np.empty(2 * n_bytes, np.uint8), np.zeros((2 * n_lines + 1, 5), np.int64)
        n_lines = convert(data, *facts, out, about[1:])
        ends = about[1 : n_lines + 1, 4].tolist()
        what = about[1 : n_lines + 1, 0]
        begins = [0, *ends]
        breaks = np.flatnonzero((what != lines.SAME_WORD) & (what != lines.EMPTY)).tolist()
        for first, after in pairwise([*breaks, n_lines]):
            line = bytes(block[begins[first] : ends[first] - (is_cut and ends[first] == len(block))])
            if what[first] == lines.OTHER:
                yield number + first, line, None
            elif what[first] == lines.RAW:
                yield number + first, line, _simplified(simplify, data, begins[first], facts)
            n = int(np.isin(what[first:after], (lines.RECORD, lines.SAME_WORD)).sum())
            if n:
                begin_word, end_word = about[after, 2:4].tolist()
                made = out[int(about[first, 1]) : int(about[after, 1])].tobytes()
                yield number + first, line, Records(_word(bytes(block[begin_word:end_word])), made, n)
        number += n_lines


def _simplified(simplify: Any, data: Any, begin: int, facts: Any) -> Records | None:
    out = np.empty(2 * MAX_DRAWING_BYTES, np.uint8)
    end = simplify(data, begin, *facts, out)
    found: scanning.Found = facts[2]
    begin_word, end_word = found.facts[:2].tolist()
    return (
        None if end == scanning.NOWHERE else Records(_word(data[begin_word:end_word].tobytes()), out[:end].tobytes(), 1)
    )


def _word(text: bytes) -> str:
    return canonical_word(text.decode("ascii"))
