"""The one preprocessing, against its definition written plainly and against golden points.

`python tests/data/test_points.py` writes the golden file anew: do so only when the preprocessing is meant to change.
"""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.data.batches import batch_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.memory import MemoryDataset
from quickstroke.data.points import n_channels, n_rows, to_points
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.formats import read_file

PREPROCESSINGS = get_args(Preprocessing)

GOLDEN = Path(__file__).parents[1] / "golden" / "points.json"

Strokes = list[NDArray[np.uint8]]


def plainly(strokes: Strokes, max_padding: int = 100, preprocessing: Preprocessing = "delta3") -> NDArray[np.float64]:
    """The definition: `delta3` is scaled side by side and is all differences, `pos5` keeps its shape and has places."""
    points = np.concatenate(strokes).astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    last = np.concatenate([np.arange(1, len(stroke) + 1) == len(stroke) for stroke in strokes])
    if preprocessing == "delta3":
        scaled = (points - low) / np.where(high == low, 1, high - low)
        return np.column_stack([np.diff(scaled, axis=0), last[1:]])[:max_padding]
    scaled = (points - (low + high) / 2) / max(*(high - low), 1)
    return np.column_stack([np.diff(scaled, axis=0, prepend=scaled[:1]), scaled, last])[:max_padding]


def golden_drawings() -> list[Strokes]:
    """Synthetic drawings, and three that no one draws well: a dot, a level line, and one beyond 100 points."""
    drawings: list[Any] = [
        list(drawing.strokes) for drawing in synthetic_drawings(1, seed=5, words=("house", "star", "circle"))
    ]
    spiral = [(128 + r * np.cos(r), 128 + r * np.sin(r)) for r in np.linspace(0, 120, 130)]
    by_hand = [[[[200, 3]]], [[[255, 9], [0, 9], [40, 9]], [[7, 9]]], [np.rint(spiral).tolist(), [[0, 255]]]]
    return drawings + [[np.array(stroke, np.uint8) for stroke in strokes] for strokes in by_hand]


def write_golden() -> None:
    records = [
        {"drawing": [stroke.T.tolist() for stroke in strokes]}
        | {name: to_points(strokes, preprocessing=name).tolist() for name in PREPROCESSINGS}
        for strokes in golden_drawings()
    ]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(f"[\n{lines}\n]\n")


any_strokes = st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.just(2))), min_size=1, max_size=6)
few_places = st.lists(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(2)), elements=st.sampled_from([0, 7, 255])),
    min_size=1,
    max_size=4,
)
long_strokes = st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(40, 70), st.just(2))), min_size=1, max_size=4)
drawings_of = st.one_of(any_strokes, few_places, long_strokes)
for_both = pytest.mark.parametrize("preprocessing", PREPROCESSINGS)


@for_both
@given(strokes=drawings_of, max_padding=st.integers(0, 120))
@example(strokes=[np.array([[5, 5]], np.uint8)], max_padding=100)
@example(strokes=[np.array([[5, 5]], np.uint8)] * 3, max_padding=100)
@example(strokes=[np.array([[0, 9], [255, 9], [0, 9]], np.uint8)], max_padding=100)
@example(strokes=[np.zeros((100, 2), np.uint8)], max_padding=100)
@example(strokes=[np.zeros((101, 2), np.uint8)], max_padding=100)
@example(strokes=[np.zeros((102, 2), np.uint8)], max_padding=100)
def test_points_are_those_of_the_definition(preprocessing: Preprocessing, strokes: Strokes, max_padding: int) -> None:
    points = to_points(strokes, max_padding, preprocessing)
    expected = plainly(strokes, max_padding, preprocessing)
    n_rows_of = {"delta3": sum(map(len, strokes)) - 1, "pos5": sum(map(len, strokes))}
    assert points.dtype == np.float32
    assert points.shape == expected.shape == (min(n_rows_of[preprocessing], max_padding), n_channels(preprocessing))
    np.testing.assert_allclose(points, expected, rtol=0, atol=2e-7)


@given(drawings_of)
def test_places_are_within_half_a_side_and_differences_lead_from_one_to_the_next(strokes: Strokes) -> None:
    points = to_points(strokes, 1000, "pos5").astype(np.float64)
    assert np.abs(points[:, 2:4]).max() <= 0.5
    np.testing.assert_allclose(points[0, 2:4] + np.cumsum(points[:, :2], axis=0), points[:, 2:4], rtol=0, atol=2e-5)


@pytest.mark.parametrize(("preprocessing", "same"), [("delta3", True), ("pos5", False)])
def test_only_places_keep_the_aspect_ratio(preprocessing: Preprocessing, same: bool) -> None:
    wide, high = (np.array([[0, 0], [200, y], [100, y // 2]], np.uint8) for y in (50, 100))
    one, other = (to_points([stroke], preprocessing=preprocessing) for stroke in (wide, high))
    assert np.array_equal(one, other) == same


@for_both
@given(
    items=st.lists(st.tuples(st.integers(0, 2), drawings_of), min_size=1, max_size=7),
    data=st.data(),
    max_padding=st.sampled_from([1, 5, 100, 300]),
)
def test_gathered_points_are_those_of_the_definition(
    preprocessing: Preprocessing, items: list[tuple[int, Strokes]], data: st.DataObject, max_padding: int
) -> None:
    memory = MemoryDataset(("a", "b", "c"), items)
    order = np.array(data.draw(st.lists(st.integers(0, len(items) - 1), min_size=1, max_size=9)), np.int64)
    batch = batch_of(memory, order, np.array([5, -1, 0]), max_padding, preprocessing)
    rows = [plainly(items[i][1], max_padding, preprocessing) for i in order]
    longest = max(map(len, rows))
    assert batch.points.dtype == np.float32
    assert batch.points.shape == (len(order), longest, n_channels(preprocessing))
    assert batch.lengths.dtype == batch.labels.dtype == np.int64
    assert batch.lengths.tolist() == list(map(len, rows))
    assert batch.labels.tolist() == [(5, -1, 0)[items[i][0]] for i in order]
    for points, expected in zip(batch.points, rows, strict=True):
        np.testing.assert_allclose(points[: len(expected)], expected, rtol=0, atol=2e-7)
        assert not points[len(expected) :].any()


@for_both
@given(strokes=drawings_of)
def test_gathering_and_one_drawing_agree_to_the_last_bit(preprocessing: Preprocessing, strokes: Strokes) -> None:
    before = [np.array([[1, 2]] * 3, np.uint8)]  # the pen bits do not begin at a byte
    memory = MemoryDataset(("a",), [(0, before), (0, strokes)])
    batch = batch_of(memory, np.array([1]), np.zeros(1, np.int64), 100, preprocessing)
    assert np.array_equal(batch.points[0], to_points(strokes, 100, preprocessing))


def test_gathering_reads_a_prepared_dataset(dataset: PreparedDataset, binary_folder: Path) -> None:
    drawings = [drawing for word in dataset.classes for drawing in read_file(binary_folder / f"{word}.bin")]
    order = np.random.default_rng(3).permutation(len(dataset))
    batch = batch_of(dataset, order, np.arange(3), 100)
    for points, length, label, i in zip(*batch, order, strict=True):
        assert np.array_equal(points[:length], to_points(list(drawings[i].strokes)))
        assert not points[length:].any()
        assert dataset.classes[label] == drawings[i].word


@for_both
def test_no_drawing_is_an_empty_batch(preprocessing: Preprocessing, dataset: PreparedDataset) -> None:
    batch = batch_of(dataset, np.empty(0, np.int64), np.arange(3), 100, preprocessing)
    assert batch.points.shape == (0, 0, n_channels(preprocessing))
    assert len(batch.lengths) == len(batch.labels) == 0


def test_example_worked_by_hand() -> None:
    strokes = [np.array([[10, 50], [30, 50], [20, 90]], np.uint8), np.array([[15, 70]], np.uint8)]
    assert to_points(strokes).tolist() == [[1, 0, 0], [-0.5, 1, 1], [-0.25, -0.5, 1]]
    assert to_points(strokes, preprocessing="pos5").tolist() == [
        [0, 0, -0.25, -0.5, 0],
        [0.5, 0, 0.25, -0.5, 0],
        [-0.25, 1, 0, 0.5, 1],
        [-0.125, -0.5, -0.125, 0, 1],
    ]
    assert to_points([np.array([[7, 9], [8, 9]], np.uint8)]).tolist() == [[1, 0, 1]]  # a side of 1, and a flat one


def test_place_and_order_of_memory_do_not_matter() -> None:
    stroke = np.array([[0, 0], [3, 200], [90, 17], [255, 1]], np.uint8)
    expected = to_points([stroke, stroke[::-1]])
    assert np.array_equal(to_points([np.asfortranarray(stroke), np.ascontiguousarray(stroke[::-1])]), expected)
    assert np.array_equal(to_points((stroke, stroke[::-1])), expected)


@pytest.mark.parametrize(
    ("n_points", "delta3", "pos5"),
    [(0, 0, 0), (1, 0, 1), (2, 1, 2), (99, 98, 99), (100, 99, 100), (101, 100, 100), (102, 100, 100)],
)
def test_rows_are_points_or_one_fewer_and_no_more_than_asked(n_points: int, delta3: int, pos5: int) -> None:
    assert (n_rows(n_points, 100), n_rows(n_points, 100, "delta3"), n_rows(n_points, 100, "pos5")) == (
        delta3,
        delta3,
        pos5,
    )
    assert n_rows(np.array([n_points]), 100, "pos5").tolist() == [pos5]


def golden_records() -> list[Any]:
    return json.loads(GOLDEN.read_text())  # type: ignore[no-any-return]


@for_both
@pytest.mark.parametrize("record", golden_records(), ids=lambda record: f"{len(record['delta3'])}-rows")
def test_golden_points(preprocessing: Preprocessing, record: dict[str, Any]) -> None:
    strokes = [np.array(rows, np.uint8).T for rows in record["drawing"]]
    expected = np.array(record[preprocessing], np.float32).reshape(-1, n_channels(preprocessing))
    assert np.array_equal(to_points(strokes, preprocessing=preprocessing), expected)
    np.testing.assert_allclose(expected, plainly(strokes, preprocessing=preprocessing), rtol=0, atol=2e-7)


def test_golden_file_holds_the_hard_cases() -> None:
    records = golden_records()
    for name, fewest in (("delta3", 0), ("pos5", 1)):
        rows = [len(record[name]) for record in records]
        assert (min(rows), max(rows)) == (fewest, 100)
    assert max(sum(len(xs) for xs, _ in record["drawing"]) for record in records) > 101
    assert any(len(set(record["drawing"][0][1])) == 1 and len(record["delta3"]) > 1 for record in records)


def test_the_preprocessings_are_two() -> None:
    assert PREPROCESSINGS == ("delta3", "pos5")


if __name__ == "__main__":
    write_golden()
