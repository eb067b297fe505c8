"""Mixup: a drawing goes a part of the way to a similar one."""

from typing import Any

import numpy as np
import pytest
from augmented import DIAGONAL, HOUSE, Strokes, any_seed, any_strokes, memory, near, placed, places, words
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from quickstroke.data.augmentation import Augmentation, augmented_points, mixup_candidates
from quickstroke.data.dataset import PreparedDataset


def mixed(strokes: Strokes, other: Strokes, seed: int) -> list[Any]:
    """The places of a drawing that is mixed with another one, stroke by stroke."""
    data, own = memory(strokes, other), np.array([seed], np.uint64)
    candidates = mixup_candidates(data, np.array([1]), np.array([0]))
    points, _ = augmented_points(data, np.array([0]), own, None, Augmentation(mixup=1.0), 1000, "pos5", candidates)
    return placed(points[0])


@given(stroke=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(2))), seed=any_seed)
def test_mixed_with_itself_a_drawing_stays(stroke: NDArray[np.uint8], seed: int) -> None:
    assert near(mixed([stroke], [stroke], seed)[0], places([stroke])[0])
    assert near(np.concatenate(mixed(HOUSE, HOUSE, seed)), np.concatenate(places(HOUSE)))


@given(one=any_strokes, other=any_strokes, seed=any_seed)
def test_mixup_keeps_how_many_strokes_and_points_there_are(one: Strokes, other: Strokes, seed: int) -> None:
    new = mixed(one, other, seed)
    assert list(map(len, new)) == list(map(len, one)) and np.isfinite(np.concatenate(new)).all()


SQUARE = np.array([[0, 0], [200, 0], [200, 200], [0, 200], [0, 0]], np.uint8)
BEND = np.array([[20, 20], [90, 40], [180, 160]], np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_minds_neither_direction_nor_order_nor_where_a_closed_stroke_begins(seed: int) -> None:
    elsewhere = np.roll(SQUARE[:-1], 2, axis=0)
    elsewhere = np.concatenate([elsewhere, elsewhere[:1]])
    for other in (
        [SQUARE[::-1], BEND],
        [SQUARE, BEND[::-1]],
        [BEND, SQUARE],
        [elsewhere, BEND],
        [elsewhere[::-1], BEND],
    ):
        assert near(np.concatenate(mixed([SQUARE, BEND], other, seed)), np.concatenate(places([SQUARE, BEND])))


def test_each_stroke_goes_a_part_of_the_way_of_its_own_all_its_points_alike() -> None:
    # Side by side in a box of the same middle and size: heights alone differ.
    line, hill = (
        [DIAGONAL, *(np.array([[x, y], [x + 40, y], [x + 100, y]], np.uint8) for x in (0, 120))] for y in (80, 180)
    )
    parts = []
    for seed in range(300):
        new = mixed(line, hill, seed * 7919)
        assert near(new[0], places(line)[0])
        own = []
        for before, after in zip(places(line)[1:], new[1:], strict=True):
            moved = (after[:, 1] - before[:, 1]) * 255 / 100
            assert np.allclose(moved, moved[0], atol=1e-4) and near(after[:, 0], before[:, 0])
            own.append(moved[0])
        parts.append(own)
    assert 0 <= np.min(parts) < 0.05 and 0.65 < np.max(parts) <= 0.7
    assert np.mean(parts, axis=0) == pytest.approx([0.35, 0.35], abs=0.05)
    assert abs(np.corrcoef(np.transpose(parts))[0, 1]) < 0.2


def test_the_most_similar_of_four_is_the_one_to_mix_with() -> None:
    similar, other = [SQUARE, BEND + np.array([0, 8], np.uint8)], [BEND // 4, SQUARE // 3]
    data = memory([SQUARE, BEND], similar, other, other, other)
    candidates = mixup_candidates(data, np.arange(1, 5), np.array([0]))
    same = np.concatenate(places([SQUARE, BEND]))
    near_ones = 0
    for seed in range(500):
        own = np.array([seed * 7919], np.uint64)
        points, _ = augmented_points(data, np.array([0]), own, None, Augmentation(mixup=1.0), 1000, "pos5", candidates)
        near_ones += bool(np.abs(np.concatenate(placed(points[0])) - same).max() < 0.04)
    assert near_ones / 500 == pytest.approx(1 - 0.75**4, abs=0.07)


def test_of_few_kin_a_drawing_may_find_itself_alone() -> None:
    data = memory([SQUARE, BEND], HOUSE)
    candidates = mixup_candidates(data, np.array([0]), np.array([0]))
    own = np.array([7], np.uint64)
    points, _ = augmented_points(data, np.array([0]), own, None, Augmentation(mixup=1.0), 1000, "pos5", candidates)
    assert near(np.concatenate(placed(points[0])), np.concatenate(places([SQUARE, BEND])))


def test_kin_of_unsorted_labels_are_sorted_by_class() -> None:
    data = memory([SQUARE], [BEND], [SQUARE], [BEND])
    data.labels = np.array([1, 0, 1, 0], np.uint16)
    order, begins, ends = mixup_candidates(data, np.arange(4), np.array([0, 1]))
    assert [order[begin:end].tolist() for begin, end in zip(begins, ends, strict=True)] == [[1, 3], [0, 2]]


def test_so_many_are_mixed() -> None:
    data, candidates = memory([SQUARE, BEND], [BEND, BEND + 40]), None
    same = places([SQUARE, BEND])
    candidates = mixup_candidates(data, np.array([1]), np.array([0]))
    often = 0
    for seed in range(500):
        own = np.array([seed * 7919], np.uint64)
        points, _ = augmented_points(data, np.array([0]), own, None, Augmentation(mixup=0.3), 1000, "pos5", candidates)
        often += not near(np.concatenate(placed(points[0])), np.concatenate(same))
    assert often / 500 == pytest.approx(0.3, abs=0.07)


def test_mixup_candidates_are_drawings_of_ones_own_class_and_for_unknown_classes_all(dataset: PreparedDataset) -> None:
    trained = dataset.indices("train")
    order, begins, ends = mixup_candidates(dataset, trained, np.array([1, -1, 0]))
    for label in (0, 2):
        own = order[begins[label] : ends[label]]
        assert sorted(own) == trained[dataset.labels[trained] == label].tolist()
    assert sorted(order[begins[1] : ends[1]]) == trained.tolist()


def test_without_candidates_there_is_no_mixup(dataset: PreparedDataset) -> None:
    indices, own = np.arange(40), words(40, 1)
    plain = augmented_points(dataset, indices, own, None, Augmentation(), 100, "pos5")[0]
    assert np.array_equal(augmented_points(dataset, indices, own, None, Augmentation(mixup=1.0), 100, "pos5")[0], plain)
