"""Parquet in the forms that the Hugging Face Hub has, and files that are damaged or none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quickstroke.cli import main
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import FormatError
from quickstroke.formats import parquet, read_drawings
from quickstroke.preparation.prepare import prepare

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COLUMNS = [[[1, 2, 3], [4, 5, 6]], [[7], [8]]]
POINTS = [[[1, 4], [2, 5], [3, 6]], [[7, 8]]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a table of one row or more."""

    def written(values: dict[str, Any], types: dict[str, Any] | None = None, metadata: Any = None) -> Path:
        arrays = {key: pa.array(value, (types or {}).get(key)) for key, value in values.items()}
        path = tmp_path / "any.parquet"
        pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), path)
        return path

    return written


def only(path: Path, layout: str = "auto") -> Drawing:
    (drawing,) = read_drawings(path, layout=layout)
    return drawing


def test_the_form_of_google_quickdraw(write) -> None:
    axis = pa.list_(pa.list_(pa.uint8()))
    names = {"info": {"features": {"word": {"names": ["ant", "power_outlet"], "_type": "ClassLabel"}}}}
    path = write(
        {
            "key_id": ["5475678961008640", None],
            "word": [1, 0],
            "recognized": [False, True],
            "timestamp": [datetime(2017, 3, 28, 13, 28, 0, 851730, UTC), None],
            "countrycode": ["MY", None],
            "drawing": [{"x": [[1, 2, 3], [7]], "y": [[4, 5, 6], [8]]}, {"x": [[1, 2]], "y": [[3, 4]]}],
        },
        {"drawing": pa.struct([("x", axis), ("y", axis)]), "timestamp": pa.timestamp("us", "UTC")},
        {"huggingface": json.dumps(names)},
    )
    first, second = read_drawings(path)
    assert [stroke.tolist() for stroke in first.strokes] == POINTS and first.is_simplified
    told = (first.word, first.key_id, first.countrycode, first.timestamp_us, first.recognized)
    assert told == ("power outlet", 5475678961008640, "MY", 1490707680851730, False)
    assert (second.word, second.key_id, second.countrycode, second.timestamp_us) == ("ant", 0, "ZZ", 0)


@pytest.mark.parametrize(
    "drawing",
    [
        COLUMNS,
        POINTS,
        json.dumps(COLUMNS),
        [{"x": x, "y": y} for x, y in COLUMNS],
        {"x": [x for x, _ in COLUMNS], "y": [y for _, y in COLUMNS]},
    ],
)
def test_every_form_of_a_simplified_drawing(drawing: Any, write) -> None:
    for column in ("drawing", "strokes"):
        read = only(write({column: [drawing], "label": ["ice_cream"]}))
        assert [stroke.tolist() for stroke in read.strokes] == POINTS
        assert (read.word, read.is_simplified) == ("ice cream", True)


def test_raw_drawings_have_times(write) -> None:
    raw = {"x": [[0.5, 900.0]], "y": [[1.0, 2.0]], "t": [[0, 30]]}
    drawing = only(write({"drawing": [raw], "word": ["cat"]}))
    assert (drawing.strokes[0].tolist(), drawing.is_simplified) == ([[0.5, 1], [900, 2]], False)
    assert drawing.times_ms is not None and drawing.times_ms[0].tolist() == [0, 30]


def test_rows_of_sketch_rnn(write) -> None:
    drawing = only(write({"drawing": [[[10, 0, 0], [0, 20, 1], [5, -5, 1]]], "word": ["cat"]}))
    assert [stroke.tolist() for stroke in drawing.strokes] == [[[0, 0], [10, 0], [10, 20]], [[15, 15]]]


def test_layout_decides_where_both_are_possible(write) -> None:
    path = write({"drawing": [[[[1, 2], [3, 4]]]]})
    assert only(path).strokes[0].tolist() == [[1, 3], [2, 4]]
    assert only(path, "points").strokes[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"image": [b""], "word": ["cat"]}, "has no column 'drawing'; got ['image', 'word']"),
        ({"drawing": [COLUMNS, [[[1], [2]], [[1, 2], [3]]]]}, "row 2: stroke 2 has rows of unequal length"),
        ({"drawing": [COLUMNS], "word": [3]}, "row 1: the word is 3; expected a text, or the number of one of 0"),
        ({"drawing": [None]}, "row 1: 'drawing' should be a list of strokes, got NoneType"),
        ({"drawing": ["[[["]}, "row 1: not valid JSON"),
        ({"drawing": ["[" * 300_000]}, "row 1: not valid JSON"),
        ({"drawing": [" " * 500_000]}, "row 1: has more than 400000 bytes"),
        ({"drawing": [{"x": [[1]], "y": [[1], [2]]}]}, "row 1: 'drawing' is {'x': [[1]], 'y': [[1], [2]]}; expected"),
        ({"drawing": [[{"x": [1]}]]}, "row 1: stroke 1 has"),
        ({"drawing": [5]}, "row 1: 'drawing' should be a list of strokes, got int"),
        ({"drawing": [[[[0.5], [300.0]]]]}, "row 1: stroke 1 has two rows (simplified) but a value"),
        ({"drawing": [COLUMNS], "key_id": [-1]}, "row 1: 'key_id' should be"),
        ({"drawing": [COLUMNS], "recognized": ["yes"]}, "row 1: 'recognized' should be a bool"),
        ({"drawing": [[[[1] * 4_000_000] * 2]]}, "has a row of more than 3200000 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_drawing_is_refused_with_its_row(values: dict[str, Any], reason: str, write) -> None:
    path = write(values)
    with pytest.raises(FormatError) as caught:
        list(read_drawings(path))
    assert caught.value.path == path and caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"", "not a parquet file"),
        (lambda data: data[:-9], "not a parquet file"),
        (lambda data: b"<!doctype html>" + data, "is a web page"),
        (lambda data: data[:90] + bytes(40) + data[130:], "not a parquet file, damaged or truncated"),
    ],
)
def test_a_damaged_file_is_refused(change: Callable[[bytes], bytes], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write(path, synthetic_drawings(3, words=("star",)))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match=reason) as caught:
        list(read_drawings(path))
    assert caught.value.path == path


def test_a_dataset_is_the_same_from_parquet(tmp_path: Path) -> None:
    drawings = [drawing for word in ("star", "circle") for drawing in synthetic_drawings(20, words=(word,))]
    assert parquet.write(tmp_path / "all.parquet", drawings) == 40
    assert main(["convert", str(tmp_path / "all.parquet"), "--to", "binary", "--into", str(tmp_path / "binary")]) == 0
    for name in ("all.parquet", "binary"):
        prepare(tmp_path / name, tmp_path / "data" / name)
    one, two = (tmp_path / "data" / name for name in ("all.parquet", "binary"))
    for path in one.glob("*.bin"):
        assert path.read_bytes() == (two / path.name).read_bytes()
    assert np.fromfile(one / "points.bin", np.uint8).size == 2 * sum(drawing.n_points for drawing in drawings)


def test_without_pyarrow_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(Exception, match=r"pip install 'quickstroke\[parquet\]'"):
        list(read_drawings(tmp_path / "a.parquet"))
