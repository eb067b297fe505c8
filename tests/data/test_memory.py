"""Drawings in memory are like prepared ones; the first points of drawings."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import typeof
from numpy.typing import NDArray

from prepared import PREPROCESSINGS, as_lists
from quickstroke.data.batches import batch_of, n_points_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.memory import MemoryDataset, first_points, first_strokes, from_drawings
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import QuickstrokeError
from quickstroke.formats import read_drawings


def test_drawings_in_memory_are_like_prepared_ones(
    drawings: dict[str, list[Drawing]], dataset: PreparedDataset
) -> None:
    items = [*drawings["star"], *drawings["circle"], *drawings["house"]]
    memory, left_out = from_drawings(iter(items), ("circle", "house", "star"))
    assert left_out == Counter()
    assert len(memory) == len(dataset)
    for name in ("points", "pen_up", "offsets", "labels"):
        assert getattr(memory, name).tolist() == getattr(dataset, name).tolist(), name
    order = np.array([100, 3, 179, 50])
    ours, theirs = (batch_of(one, order, np.arange(3), 60) for one in (memory, dataset))
    assert ours.points.tolist() == theirs.points.tolist()
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    assert ours.labels.tolist() == theirs.labels.tolist()


def test_drawings_of_other_words_are_counted(drawings: dict[str, list[Drawing]]) -> None:
    items = [*drawings["star"], *drawings["circle"][:7]]
    memory, left_out = from_drawings(items, ("house", "star"))
    assert memory.labels.tolist() == [1] * 60
    assert left_out == {"circle": 7}
    empty, left_out = from_drawings(items, ("cat",))
    assert (len(empty), empty.offsets.tolist(), empty.points.shape) == (0, [0], (0, 2))
    assert left_out == {"star": 60, "circle": 7}


def test_raw_drawings_in_memory_are_simplified() -> None:
    (raw,) = synthetic_drawings(1, words=("star",), simplified=False)
    memory, _ = from_drawings([raw], ("star",))
    assert memory.points.tolist() == np.concatenate(simplify(raw.strokes)).tolist()


@pytest.mark.parametrize(
    "strokes", [[], [np.zeros((0, 2), np.uint8)], [np.zeros((4, 4), np.uint8)], [np.zeros((0, 2))]]
)
def test_drawing_in_memory_that_is_none_is_refused(strokes: list[NDArray[Any]]) -> None:
    good = Drawing("cat", [np.zeros((1, 2), np.uint8)])
    with pytest.raises(QuickstrokeError):
        from_drawings([good, Drawing("cat", strokes)], ("cat",))


def test_drawings_read_are_those_prepared(binary_folder: Path, dataset: PreparedDataset) -> None:
    for i, drawing in enumerate(read_drawings(binary_folder)):
        assert as_lists(dataset.strokes(i)) == as_lists(drawing.strokes)


def first_points_of(strokes: list[list[Any]], fraction: float) -> list[list[Any]]:
    left = max(math.ceil(sum(map(len, strokes)) * fraction), 1)
    first: list[list[Any]] = []
    for stroke in strokes:
        if left > 0:
            first.append(stroke[:left])
        left -= len(stroke)
    return first


@given(
    drawn=st.lists(
        st.lists(st.lists(st.tuples(*[st.integers(0, 255)] * 2), min_size=1, max_size=7), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    ),
    fraction=st.sampled_from([0.01, 0.25, 0.5, 0.75, 1.0]),
    data=st.data(),
)
def test_first_points_are_those_of_plain_lists(
    drawn: list[list[list[Any]]], fraction: float, data: st.DataObject
) -> None:
    memory = MemoryDataset(("a",), [(0, [np.array(stroke, np.uint8) for stroke in strokes]) for strokes in drawn])
    order = np.array(data.draw(st.lists(st.integers(0, len(drawn) - 1), min_size=1, max_size=8)), np.int64)
    excerpt = first_points(memory, order, fraction)
    for i, index in enumerate(order):
        begin, end = int(excerpt.offsets[i]), int(excerpt.offsets[i + 1])
        expected = first_points_of(drawn[index], fraction)
        assert excerpt.points[begin:end].tolist() == [list(point) for stroke in expected for point in stroke]
        assert n_points_of(excerpt, np.array([i])).tolist() == [end - begin]
        ends = [int(excerpt.pen_up[at >> 3]) >> (at & 7) & 1 for at in range(begin, end)]
        assert ends == [int(at == len(stroke) - 1) for stroke in expected for at in range(len(stroke))]

    strokes = first_strokes(memory, order, 0.6)
    for i, index in enumerate(order):
        expected = drawn[index][: -(-6 * len(drawn[index]) // 10)]
        begin, end = int(strokes.offsets[i]), int(strokes.offsets[i + 1])
        assert strokes.points[begin:end].tolist() == [list(point) for stroke in expected for point in stroke]
        ends = [int(strokes.pen_up[at >> 3]) >> (at & 7) & 1 for at in range(begin, end)]
        assert ends == [int(at == len(stroke) - 1) for stroke in expected for at in range(len(stroke))]


def test_all_points_are_the_drawings_themselves(dataset: PreparedDataset) -> None:
    order = np.random.default_rng(8).permutation(len(dataset))
    excerpt = first_points(dataset, order, 1.0)
    for preprocessing in PREPROCESSINGS:
        ours = batch_of(excerpt, np.arange(len(order)), np.arange(3), 50, preprocessing)
        theirs = batch_of(dataset, order, np.arange(3), 50, preprocessing)
        assert np.array_equal(ours.points, theirs.points)
        assert np.array_equal(ours.lengths, theirs.lengths) and np.array_equal(ours.labels, theirs.labels)


def test_compiled_code_sees_the_arrays_of_a_prepared_dataset(dataset: PreparedDataset) -> None:
    """So that it is compiled once for both."""
    cut = first_points(dataset, dataset.indices("val"), 0.5)
    own = MemoryDataset(("a",), [(0, [np.array([[0, 0], [9, 9]], np.uint8)])])
    for other in (cut, own):
        for name in ("points", "pen_up", "offsets", "labels"):
            assert typeof(getattr(other, name)) == typeof(getattr(dataset, name))
