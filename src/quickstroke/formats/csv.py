"""Kaggle's train and test CSV, simplified or raw (Quick, Draw! Doodle Recognition Challenge, 2018).

Columns countrycode, drawing (JSON `[[[x..],[y..]],..]`, raw with `[t..]` as well), key_id, recognized, timestamp, word,
in any order; points `[[[x,y],..],..]` are read as well (`layouts`). Only drawing is needed: of the test files' drawings
nobody is told the word. A column strokes in its place has raw strokes, also without times. Without a column word its
place is taken by one that is called label.
"""

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, Drawing
from quickstroke.errors import FormatError, OnInvalid, leaving_out, located
from quickstroke.formats.input import InputFile, refuse_html, refuse_utf16
from quickstroke.formats.ndjson import drawing_of
from quickstroke.formats.scanning import NAMES, UNKNOWN

_COLUMNS = ("countrycode", "drawing", "key_id", "recognized", "timestamp", "word")
_MAX_COLUMNS = 100
_limit_is_ours = threading.Lock()


def read(path: Path, layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawings of one CSV file, in the layout of each.

    Args:
        on_invalid: called with the error of each row that is no drawing, which is left out.

    Raises:
        FormatError: no header with a column `drawing`, or a row that is no drawing; with its line.
    """
    with InputFile(path) as file:
        last = n_bytes = 0

        def text_lines() -> Iterator[str]:
            nonlocal last, n_bytes
            for last, line in file.lines(MAX_DRAWING_BYTES):
                if last == 1:
                    refuse_utf16(line, path)
                n_bytes += len(line)
                if n_bytes > MAX_DRAWING_BYTES:
                    raise FormatError(f"a row of more than {MAX_DRAWING_BYTES} bytes", path, line=first)
                # What is no UTF-8 is told of its row, of which the reader alone knows where it begins.
                yield line.decode("utf-8-sig" if last == 1 else "utf-8", "surrogateescape")

        rows = csv.reader(text_lines(), strict=True)
        names: list[str] | None = None
        while True:
            first, n_bytes = last + 1, 0  # a quoted value may hold line ends: a row is where it begins
            try:
                row = _next(rows)
            except csv.Error as error:
                raise FormatError(f"not valid CSV ({error})", path, line=first) from error
            if row is None:
                break
            with leaving_out(on_invalid if names else None), located(path, line=first):
                _check_text(row)
                if names is None:
                    refuse_html(row[0].encode() if row else b"", path)
                    names = _header(row)
                elif row:
                    if len(row) != len(names):
                        raise FormatError(f"{len(row)} values where the header has {len(names)} columns")
                    yield drawing_of(_record(dict(zip(names, row, strict=True))), layout)
        if names is None:
            raise FormatError("is empty; expected a header line with " + ", ".join(_COLUMNS), path)


def _next(rows: Iterator[list[str]]) -> list[str] | None:
    """The next row, or None. How long a value may be is one limit for all who read CSV in this process: ours holds only
    meanwhile."""
    with _limit_is_ours:
        before = csv.field_size_limit(MAX_DRAWING_BYTES)
        try:
            return next(rows, None)
        finally:
            csv.field_size_limit(before)


def _check_text(row: list[str]) -> None:
    """Raises FormatError for values that were no UTF-8."""
    for value in row:
        try:
            value.isascii() or value.encode("utf-8", "surrogateescape").decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"not UTF-8 text ({error.reason})") from error


def plain_columns(line: bytes) -> list[int] | None:
    """The columns of a plain header, as `lines` takes them; None for one that the reader has to look at."""
    try:
        text = line.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
        if '"' in text or not text.isprintable():
            return None
        names = _header(text.split(","))
        if "drawing" not in names:
            return None
    except (FormatError, UnicodeDecodeError):
        return None
    return [NAMES.index(name) if name in NAMES else UNKNOWN for name in names]


def _header(row: list[str]) -> list[str]:
    if len(row) > _MAX_COLUMNS:
        raise FormatError(f"header has {len(row)} columns; expected at most {_MAX_COLUMNS}")
    names = [name.strip() for name in row]
    if not {"drawing", "strokes"} & set(names):
        hint = "; expected commas between columns" if {";", "\t"} & set("".join(names)) else ""
        raise FormatError(f"header has no column 'drawing' or 'strokes'; got {','.join(names)!r:.80}{hint}")
    if "word" not in names and names.count("label") == 1:
        names = ["word" if name == "label" else name for name in names]
    for name in _COLUMNS:
        if names.count(name) > 1:
            raise FormatError(f"header has {names.count(name)} columns {name!r}")
    return names


def _record(row: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {name: row[name] for name in _COLUMNS if row.get(name)}
    name = "drawing" if "drawing" in row else "strokes"
    try:
        record[name] = json.loads(row[name])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name!r} is not valid JSON ({error})") from error
    recognized = row.get("recognized", "True")
    if recognized not in ("True", "False"):
        raise FormatError(f"'recognized' should be True or False, got {recognized!r:.40}")
    record["recognized"] = recognized == "True"
    return record
