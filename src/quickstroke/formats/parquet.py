"""Parquet as the mirrors of Quick, Draw! on the Hugging Face Hub have it, by pyarrow (extra `parquet`).

A row is a drawing. Its column `drawing` or `strokes` has one of these types:

| type | example |
|---|---|
| struct of lists of lists | `{"x": [[..], ..], "y": [[..], ..]}`, raw with `"t"`, as google/quickdraw has them |
| list of structs of lists | `[{"x": [..], "y": [..]}, ..]` |
| list of lists of lists, or JSON of it | as `drawing` in ndjson files, in either layout |
| list of lists of three integers | sketch-rnn's rows: dx, dy, pen lifted after this point |

The column `word` or `label` is text, or a number where the file names its classes, as the package `datasets` does it.
`key_id`, `countrycode`, `recognized` and `timestamp` are read where they are.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, UNKNOWN_COUNTRY, Drawing, check_simplified
from quickstroke.errors import FormatError, MissingExtra, OnInvalid, first_line, leaving_out, located, shown
from quickstroke.formats.input import check_archive
from quickstroke.formats.ndjson import drawing_of, facts_of, format_timestamp, load
from quickstroke.formats.npz import strokes_of_rows
from quickstroke.utils.files import atomic_write

_DRAWINGS, _WORDS = ("drawing", "strokes"), ("word", "label")
_FACTS = ("key_id", "countrycode", "recognized", "timestamp")
_ROWS_AT_A_TIME, _MAX_ROW_BYTES = 100, 8 * MAX_DRAWING_BYTES
# What a file may say of itself: more is no file of drawings.
_MAX_INFLATION, _FREE_BYTES, _MAX_ITEMS = 100, 1 << 20, 100_000
_ROWS_OF_A_GROUP = 5000


def read(path: Path, layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawings of a parquet file, a row each.

    Args:
        on_invalid: called with the error of each row that is no drawing, which is left out.

    Raises:
        FormatError: no parquet file, one without these columns, or a row that is no drawing; with its number.
        MissingExtra: pyarrow is not installed.
    """
    check_archive(path)
    names: list[str] = []
    for number, row in enumerate(_rows(path, names), start=1):
        with leaving_out(on_invalid), located(path, f"row {number}"):
            yield _drawing(row, names, layout)


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("reading and writing parquet", "parquet") from error
    return pyarrow, pyarrow.parquet


def _rows(path: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file as Python has them; `names` becomes its classes, where it has such."""
    _, parquet = _arrow()
    try:
        limits = {"thrift_string_size_limit": 1 << 22, "thrift_container_size_limit": _MAX_ITEMS}
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16, **limits) as file:
            schema = file.schema_arrow
            drawing, word = (next((name for name in some if name in schema.names), "") for some in (_DRAWINGS, _WORDS))
            if not drawing:
                raise FormatError(f"has no column 'drawing'; got {shown(schema.names)}", path)
            _check_size(file.metadata, path)
            names += _names(schema.metadata or {}, word)
            columns = [name for name in (drawing, word, *_FACTS) if name in schema.names]
            for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False):
                step = len(batch) if batch.nbytes <= _MAX_ROW_BYTES else 1
                for part in (batch.slice(i, step) for i in range(0, len(batch), step)):
                    if part.nbytes > _MAX_ROW_BYTES:
                        raise FormatError(f"has a row of more than {_MAX_ROW_BYTES} bytes", path)
                    for row in part.to_pylist():
                        yield {"drawing": row.pop(drawing), "word": row.pop(word, None), **row}
    except FormatError:
        raise
    except Exception as error:  # a damaged file raises anything
        raise FormatError(f"not a parquet file, damaged or truncated ({first_line(error)})", path) from error


def _check_size(metadata: Any, path: Path) -> None:
    # Columns are not looked at: pyarrow 26 ends the process on some that are damaged. So a page may still claim 2 GB,
    # which pyarrow takes before it finds that they are not there.
    n_bytes = path.stat().st_size
    said = sum(max(metadata.row_group(i).total_byte_size, 0) for i in range(metadata.num_row_groups))
    if metadata.num_rows > n_bytes or said > _MAX_INFLATION * n_bytes + _FREE_BYTES:
        raise FormatError(
            f"claims {metadata.num_rows} rows of {said} bytes, far more than a file of its size has", path
        )


def _names(metadata: dict[bytes, bytes], column: str) -> list[str]:
    """The words that numbers stand for, as `datasets` writes them into a file."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _drawing(row: dict[str, Any], names: list[str], layout: str) -> Drawing:
    record = {key: value for key, value in row.items() if value is not None}
    word = record.get("word")
    if isinstance(word, int):
        if not 0 <= word < len(names):
            raise FormatError(f"the word is {word}; expected a text, or the number of one of {len(names)} classes")
        record["word"] = names[word]
    if isinstance(record.get("timestamp"), datetime):
        record["timestamp"] = record["timestamp"].isoformat()
    value, own_layout = _strokes(record.get("drawing"))
    if isinstance(value, np.ndarray):
        return Drawing(strokes=strokes_of_rows(value), **facts_of(record))
    return drawing_of(record | {"drawing": value}, own_layout or layout)


def _strokes(value: Any) -> tuple[Any, str]:
    """Strokes as JSON has them, and the layout that they must be in; or sketch-rnn's rows (n, 3)."""
    if isinstance(value, str):
        if len(value) > MAX_DRAWING_BYTES:
            raise FormatError(f"has more than {MAX_DRAWING_BYTES} bytes")
        return load(value), ""
    try:
        if isinstance(value, dict):
            axes = [value[key] for key in ("x", "y", "t") if value.get(key) is not None or key != "t"]
            return [list(rows) for rows in zip(*axes, strict=True)], "columns"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [[part[key] for key in ("x", "y", "t") if key in part] for part in value], "columns"
    except (TypeError, ValueError, KeyError) as error:
        raise FormatError(f"'drawing' is {shown(value)}; expected lists 'x' and 'y' of one length") from error
    if isinstance(value, list) and all(
        isinstance(row, list) and len(row) == 3 and all(type(number) is int for number in row) for row in value
    ):
        return np.array(value, np.float64).reshape(-1, 3), ""
    return value, ""


def write(path: Path | str, drawings: Iterable[Drawing]) -> int:
    """Writes simplified drawings as google/quickdraw has them, with words as text; what is unknown is null.

    Returns:
        How many were written.

    Raises:
        FormatError: a drawing that is raw, has no strokes, an empty one, or a value that the format cannot hold;
            nothing is left under `path` then.
        MissingExtra: pyarrow is not installed.
    """
    arrow, parquet = _arrow()
    axis = arrow.list_(arrow.list_(arrow.uint8()))
    schema = arrow.schema(
        [
            ("key_id", arrow.string()),
            ("word", arrow.string()),
            ("recognized", arrow.bool_()),
            ("timestamp", arrow.timestamp("us", tz="UTC")),
            ("countrycode", arrow.string()),
            ("drawing", arrow.struct([("x", axis), ("y", axis)])),
        ]
    )
    n = 0
    with atomic_write(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for n, drawing in enumerate(drawings, start=1):
            with located(path, f"drawing {n}"):
                rows.append(_row(drawing))
            if len(rows) == _ROWS_OF_A_GROUP:
                writer.write_table(arrow.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(arrow.Table.from_pylist(rows, schema))
    return n


def _row(drawing: Drawing) -> dict[str, Any]:
    check_simplified(drawing)
    format_timestamp(int(drawing.timestamp_us))
    return {
        "key_id": str(drawing.key_id) if drawing.key_id else None,
        "word": drawing.word,
        "recognized": bool(drawing.recognized),
        "timestamp": int(drawing.timestamp_us) or None,
        "countrycode": None if drawing.countrycode == UNKNOWN_COUNTRY else drawing.countrycode,
        "drawing": {axis: [stroke[:, i].tolist() for stroke in drawing.strokes] for i, axis in enumerate("xy")},
    }
