"""The official ndjson formats: full/simplified/<category>.ndjson and full/raw/<category>.ndjson.

One JSON object a line with word, countrycode, timestamp, recognized, key_id and drawing
(github.com/googlecreativelab/quickdraw-dataset). A simplified stroke is `[[x..], [y..]]`, integers from 0 to 255;
a raw stroke is `[[x..], [y..], [t..]]`, t in milliseconds. Other programs write points, `[[x, y], ..]` for simplified
and `[[x, y, t], ..]` for raw strokes: both are read (`layouts`). Only `drawing` is needed to recognise one.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from quickstroke.drawings.categories import canonical_word
from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, UNKNOWN_COUNTRY, Drawing, check_simplified
from quickstroke.drawings.layouts import Layout, decide, shape_of
from quickstroke.errors import FormatError, OnInvalid, leaving_out, located, shown
from quickstroke.formats.input import InputFile, refuse_html, refuse_utf16
from quickstroke.formats.scanning import MAX_STROKES
from quickstroke.utils.files import atomic_write

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(path: Path, layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawings of one file, simplified or raw, in the layout of each; empty lines are passed over.

    Args:
        on_invalid: called with the error of each line that is no drawing, which is left out.

    Raises:
        FormatError: a line that is not JSON or not a drawing, a truncated last line; with its number.
    """
    with InputFile(path) as file:
        for number, line in file.lines(MAX_DRAWING_BYTES, on_invalid):
            yield from read_line(line, number, path, layout, on_invalid)


def read_line(line: bytes, number: int, path: Path, layout: str, on_invalid: OnInvalid) -> Iterator[Drawing]:
    """The drawing of a line, if it has any.

    Raises:
        FormatError: as `read`.
    """
    if number == 1:
        refuse_html(line, path)
        refuse_utf16(line, path)
    if not line.strip():
        return
    with leaving_out(on_invalid):
        try:
            drawing = parse_line(line, layout)
        except FormatError as error:
            cut = "" if line.endswith(b"\n") else "; it is the last line and has no line end: truncated?"
            raise FormatError(error.reason + cut, path, line=number) from error
        yield drawing


def parse_line(line: bytes | str, layout: str = "auto") -> Drawing:
    """One line of an official ndjson file; `layout` as `parse_strokes`.

    Raises:
        FormatError: it is not JSON, not an object, or a value is missing, of the wrong type or out of range.
    """
    record = load(line)
    if not isinstance(record, dict):
        hint = "; JSON of another form is read from a file that ends in .json" if isinstance(record, list) else ""
        raise FormatError(f"expected a JSON object with a key 'drawing', got {type(record).__name__}{hint}")
    return drawing_of(record, layout)


def load(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        FormatError: it is not JSON, with the line in it.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise FormatError(f"not valid JSON ({error.msg} at column {error.colno})", line=error.lineno) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FormatError(f"not valid JSON ({error})", line=1) from error


def drawing_of(record: dict[str, Any], layout: str = "auto") -> Drawing:
    """A Drawing from the fields of an official JSON object or CSV row; `layout` as `parse_strokes`.

    Named `strokes`, as the HTTP API takes them, they are raw, with or without times, unless `simplified` is true.

    Raises:
        FormatError: a value is missing, of the wrong type or out of range.
    """
    if "drawing" not in record and "strokes" not in record:
        raise FormatError("has no key 'drawing'")
    key = "drawing" if "drawing" in record else "strokes"
    raw = key == "strokes" and record.get("simplified", False) is not True
    strokes, times_ms, read_as = parse_strokes(record[key], layout, raw=raw)
    return Drawing(strokes=strokes, times_ms=times_ms, source_layout=read_as, **facts_of(record))


def facts_of(record: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a Drawing that are neither its strokes nor their times, from fields that may be missing.

    Raises:
        FormatError: a value is of the wrong type or out of range.
    """
    word = record.get("word", "")
    country = record.get("countrycode")
    country = UNKNOWN_COUNTRY if country is None or country == "" else country
    recognized = record.get("recognized", True)
    for key, value, kind in (
        ("word", word, str),
        ("countrycode", country, str),
        ("recognized", recognized, bool),
    ):
        if not isinstance(value, kind):
            raise FormatError(f"{key!r} should be a {kind.__name__}, got {shown(value)}")
        if isinstance(value, str):
            check_text(key, value)
    return {
        "word": canonical_word(word),
        "key_id": _key_id(record.get("key_id", 0)),
        "countrycode": country,
        "timestamp_us": parse_timestamp(record.get("timestamp")),
        "recognized": recognized,
    }


def parse_strokes(value: Any, layout: str, *, raw: bool) -> tuple[list[Any], list[Any] | None, Layout]:
    """Strokes in JSON form, each of two rows or numbers a point (simplified) or three (raw), into arrays.

    Args:
        value: the strokes.
        layout: `points`, `columns`, or `auto`, which sees it, and reads columns where every stroke has two or three
            rows of two or three numbers.
        raw: whether strokes of two rows or numbers a point are raw, too, without times.

    Returns:
        (strokes, times_ms, layout): uint8 (n, 2) arrays and None for simplified strokes, float64 (n, 2) and (n,) for
        raw; the layout that was read.

    Raises:
        FormatError: which stroke is wrong and how.
    """
    if not isinstance(value, list):
        raise FormatError(f"'drawing' should be a list of strokes, got {type(value).__name__}")
    if not value:
        raise FormatError("the drawing has no strokes; expected at least one")
    if len(value) > MAX_STROKES:
        raise FormatError(f"the drawing has {len(value)} strokes; expected at most {MAX_STROKES}")
    shapes = list(map(_shape, value, range(1, len(value) + 1)))
    read_as = decide(shapes, "columns", layout, "stroke {}", first=1)
    form = "[[x..],[y..]] or [[x..],[y..],[t..]]" if read_as == "columns" else "[[x,y],..] or [[x,y,t],..]"
    what = "rows" if read_as == "columns" else "numbers a point"
    strokes: list[Any] = []
    times_ms: list[Any] = []
    n_rows = 0
    for position, (rows, shape) in enumerate(zip(value, shapes, strict=True), start=1):
        if shape is None:
            lengths = [len(row) for row in rows]
            raise FormatError(f"stroke {position} has rows of unequal length: {shown(lengths)}; expected {form}")
        if read_as == "points":
            rows = list(zip(*rows, strict=True))
        n_rows = n_rows or len(rows)
        if len(rows) != n_rows:
            is_ambiguous = layout == "auto" and all(len(row) in (2, 3) for rows in value for row in rows)
            hint = "; if they are points, say so by the layout 'points'" * (read_as == "columns" and is_ambiguous)
            raise FormatError(f"stroke {position} has {len(rows)} {what} where the first stroke has {n_rows}{hint}")
        array = _numbers(rows, position)
        if n_rows == 2 and not raw:
            if array.min() < 0 or array.max() > 255 or not np.array_equal(array, np.floor(array)):
                raise FormatError(
                    f"stroke {position} has two {what} (simplified) but a value that is no integer from 0 to 255; "
                    f"raw strokes have times as well: {form}"
                )
            strokes.append(np.ascontiguousarray(array.T.astype(np.uint8)))
        else:
            strokes.append(np.ascontiguousarray(array[:2].T))
            times_ms += [*array[2:]]
    return strokes, times_ms or None, read_as


def _shape(rows: Any, position: int) -> tuple[int, int] | None:
    """The shape of a stroke in JSON form; None where its rows are not equally long.

    Raises:
        FormatError: it is no list of lists, or has no point.
    """
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise FormatError(
            f"stroke {position} should be [[x..],[y..]] or [[x..],[y..],[t..]], or [[x,y],..] or [[x,y,t],..], got "
            f"{shown(rows)}"
        )
    if not any(rows):
        raise FormatError(f"stroke {position} has no points; expected at least one")
    return shape_of(rows)


def _numbers(rows: Sequence[Sequence[Any]], position: int) -> Any:
    for row in rows:
        for value in row:
            if type(value) is not int and type(value) is not float:
                raise FormatError(f"stroke {position} has a coordinate that is no number: {shown(value)}")
    try:
        array = np.array(rows, dtype=np.float64)
    except OverflowError as error:
        raise FormatError(f"stroke {position} has a coordinate too large for a float") from error
    if not np.isfinite(array).all():
        raise FormatError(f"stroke {position} has a coordinate that is not finite")
    return array


def _key_id(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, np.integer):  # of a dataset's arrays
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**64:
        raise FormatError(f"'key_id' should be an integer from 0 to 2^64 - 1, got {shown(value)}")
    return value


def parse_timestamp(value: Any) -> int:
    """Microseconds since 1970 of `2017-03-01 20:41:36.70725 UTC` (the zone may be left out), 0 for None.

    Raises:
        FormatError: the text has another form.
    """
    if value is None:
        return 0
    try:
        moment = datetime.fromisoformat(value.removesuffix(" UTC"))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise FormatError(f"'timestamp' should be like '2017-03-01 20:41:36.70725 UTC', got {shown(value)}") from error
    return (moment - _EPOCH) // timedelta(microseconds=1)


def format_timestamp(timestamp_us: int) -> str:
    """The official text of a timestamp: no zeros at the end of the fraction.

    Raises:
        FormatError: it is not in the years 1 to 9999.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=timestamp_us)
    except OverflowError as error:
        raise FormatError(f"timestamp {timestamp_us} (in microseconds) is not in the years 1 to 9999") from error
    text = moment.replace(tzinfo=None).isoformat(" ", "seconds")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{text}.{fraction} UTC" if fraction else f"{text} UTC"


def format_line(drawing: Drawing) -> str:
    """One line of an official simplified ndjson file, without its line end.

    Raises:
        FormatError: the drawing is raw, has no strokes or an empty one, is too large, or has a value that the format
            cannot hold.
    """
    check_simplified(drawing)
    check_text("word", drawing.word)
    check_text("countrycode", drawing.countrycode)
    record = {
        "word": drawing.word,
        "countrycode": drawing.countrycode,
        "timestamp": format_timestamp(int(drawing.timestamp_us)),
        "recognized": bool(drawing.recognized),
        "key_id": str(_key_id(drawing.key_id)),
        "drawing": [stroke.T.tolist() for stroke in drawing.strokes],
    }
    line = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    n_bytes = len(line.encode()) + 1
    if n_bytes > MAX_DRAWING_BYTES or len(drawing.strokes) > MAX_STROKES:
        raise FormatError(
            f"the drawing takes {n_bytes} bytes for {len(drawing.strokes)} strokes; expected at most "
            f"{MAX_DRAWING_BYTES} and {MAX_STROKES}"
        )
    return line


def write(path: Path | str, drawings: Iterable[Drawing]) -> int:
    """Writes drawings as an official simplified ndjson file (compressed when the name ends in `.gz`).

    Returns:
        How many were written.

    Raises:
        FormatError: a drawing that the format cannot hold; nothing is left under `path` then.
    """
    n = 0
    with atomic_write(path) as file:
        for n, drawing in enumerate(drawings, start=1):
            with located(path, f"drawing {n}"):
                file.write(format_line(drawing).encode("utf-8") + b"\n")
    return n


def check_text(key: str, text: str) -> None:
    """Raises FormatError for a text that is no Unicode; `key` names it."""
    # JSON can write one half of a surrogate pair, which UTF-8 cannot.
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise FormatError(f"{key!r} has half a character: {shown(text)}")


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"{name} is not a finite number")
