"""Augmentation: each change alone is what it says, and all together depend on nothing but their seeds."""

from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest
from augmented import (
    DIAGONAL,
    HOUSE,
    Points,
    Strokes,
    any_seed,
    any_strokes,
    changed,
    memory,
    near,
    placed,
    places,
    words,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.config.training import TrainConfig
from quickstroke.data import batches
from quickstroke.data.augmentation import STROKES, Augmentation, augmented_points, change_of, seeds
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.points import to_points
from quickstroke.errors import ConfigError

NAMES = tuple(field.name for field in fields(Augmentation))
VIEW = ("mixup", "rotation", "shear", "aspect_jitter", "stroke_jitter", "elastic", "point_jitter", "random_rotation")
PREPROCESSINGS = get_args(Preprocessing)
some_drawings = st.lists(any_strokes, min_size=1, max_size=6)


# --- all together


@pytest.mark.parametrize("with_strokes", [False, True])
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@given(drawings=some_drawings, max_padding=st.sampled_from([1, 5, 100]), seed=st.integers(0, 99))
def test_without_a_change_the_points_are_those_of_batches(
    with_strokes: bool, preprocessing: Preprocessing, drawings: list[Strokes], max_padding: int, seed: int
) -> None:
    data, n = memory(*drawings), len(drawings)
    order = np.random.default_rng(seed).permutation(n)
    expected = batches.batch_of(data, order, np.zeros(1, np.int64), max_padding, preprocessing)
    stroke_seeds = words(n, seed + 1) if with_strokes else None
    points, lengths = augmented_points(
        data, order, words(n, seed), stroke_seeds, Augmentation(), max_padding, preprocessing
    )
    assert points.dtype == np.float32 and lengths.dtype == np.int64
    assert lengths.tolist() == expected.lengths.tolist()
    np.testing.assert_allclose(points, expected.points, rtol=0, atol=1e-6)


@pytest.mark.parametrize("with_strokes", [False, True])
@given(drawings=some_drawings, seed=st.integers(0, 99))
def test_a_drawing_depends_on_its_own_seeds_alone(with_strokes: bool, drawings: list[Strokes], seed: int) -> None:
    data, n = memory(*drawings), len(drawings)
    geometric_seeds, stroke_seeds = words(n, seed), words(n, seed + 1)

    def gathered(order: NDArray[np.int64]) -> tuple[Points, NDArray[np.int64]]:
        own = stroke_seeds[order] if with_strokes else None
        change = replace(STROKES, random_rotation=0.3, prefix_truncation=0.3)
        return augmented_points(data, order, geometric_seeds[order], own, change, 30, "pos5")

    order = np.random.default_rng(seed).permutation(n)
    together, lengths = gathered(order)
    for row, length, index in zip(together, lengths, order, strict=True):
        alone, own_length = gathered(np.array([index]))
        assert own_length[0] == length
        assert np.array_equal(alone[0], row[:length])


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@given(
    drawings=some_drawings,
    values=st.fixed_dictionaries({name: st.floats(0, 1) for name in NAMES}),
    max_padding=st.sampled_from([1, 5, 100]),
    seed=st.integers(0, 99),
)
def test_any_augmentation_is_finite_and_no_longer_than_asked(
    preprocessing: Preprocessing, drawings: list[Strokes], values: dict[str, float], max_padding: int, seed: int
) -> None:
    n = len(drawings)
    points, lengths = augmented_points(
        memory(*drawings),
        np.arange(n),
        words(n, seed),
        words(n, seed + 1),
        Augmentation(**values),
        max_padding,
        preprocessing,
    )
    assert np.isfinite(points).all()
    assert lengths.max() == points.shape[1] <= max_padding
    assert lengths.min() >= (preprocessing == "pos5")
    assert not points[np.arange(points.shape[1]) >= lengths[:, None]].any()
    assert set(points[..., -1].ravel().tolist()) <= {0.0, 1.0}


def test_no_drawing_is_an_empty_batch(dataset: PreparedDataset) -> None:
    none = np.empty(0, np.uint64)
    points, lengths = augmented_points(dataset, np.empty(0, np.int64), none, none, STROKES, 100, "pos5")
    assert points.shape == (0, 0, 5) and len(lengths) == 0


def test_a_view_does_not_depend_on_the_seeds_of_strokes(dataset: PreparedDataset) -> None:
    indices, geometric_seeds = np.arange(40), words(40, 1)
    view = Augmentation(**{name: getattr(STROKES, name) for name in VIEW})
    expected, lengths = augmented_points(dataset, indices, geometric_seeds, None, STROKES, 100, "pos5")
    for change, stroke_seeds in ((view, None), (view, words(40, 2)), (view, words(40, 3))):
        points, own = augmented_points(dataset, indices, geometric_seeds, stroke_seeds, change, 100, "pos5")
        assert np.array_equal(own, lengths) and np.array_equal(points, expected)


def test_the_way_of_drawing_does_not_depend_on_the_seeds_of_the_geometry(dataset: PreparedDataset) -> None:
    indices, stroke_seeds = np.arange(40), words(40, 1)
    change = replace(STROKES, prefix_truncation=0.3, **dict.fromkeys(VIEW, 0.0))
    one, other = (
        augmented_points(dataset, indices, words(40, k), stroke_seeds, change, 100, "pos5")[0] for k in (2, 3)
    )
    assert np.array_equal(one, other)


def test_other_seeds_make_another_drawing(dataset: PreparedDataset) -> None:
    indices = np.arange(40)
    one, other = (augmented_points(dataset, indices, words(40, k), None, STROKES, 100, "pos5")[0] for k in (2, 3))
    n = min(one.shape[1], other.shape[1])
    assert (np.abs(one[:, :n] - other[:, :n]).max(axis=(1, 2)) > 1e-3).all()


def test_seeds_go_by_index_and_base() -> None:
    indices = np.arange(1000)
    first = seeds((3, 5), indices)
    assert first.dtype == np.uint64 and len(set(first.tolist())) == 1000
    order = np.random.default_rng(0).permutation(1000)
    assert np.array_equal(seeds((3, 5), indices[order]), first[order])
    for base in ((5, 3), (3, 6), (3,)):
        assert not set(seeds(base, indices).tolist()) & set(first.tolist())


def test_neighbours_are_changed_independently() -> None:
    """How far one drawing is turned says nothing of the next one, which may be another view of the same drawing."""
    angles = np.array([angle_of(int(seed)) for seed in seeds((0,), np.arange(3000))])
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(angles[:-lag], angles[lag:])[0, 1]) < 0.08  # over four standard errors


# --- each change alone: of shape


@given(strokes=any_strokes, seed=any_seed)
def test_mirrored_is_left_for_right(strokes: Strokes, seed: int) -> None:
    mirrored = [np.column_stack([255 - stroke[:, 0], stroke[:, 1]]) for stroke in strokes]
    assert near(changed(strokes, seed, horizontal_flip=1.0), to_points(mirrored, 1000, "pos5"))


def matrix_of(strokes: Strokes, seed: int, **changes: float) -> NDArray[np.float64]:
    """The matrix (2, 2) that leads from the old places to the new ones; there has to be one."""
    old, new = np.concatenate(places(strokes)), changed(strokes, seed, **changes)[:, 2:4]
    solution = np.linalg.lstsq(np.column_stack([old, np.ones(len(old))]), new, rcond=None)[0]
    np.testing.assert_allclose(np.column_stack([old, np.ones(len(old))]) @ solution, new, rtol=0, atol=1e-5)
    matrix: NDArray[np.float64] = solution[:2].T.astype(np.float64)
    return matrix


def angle_of(seed: int) -> float:
    a = matrix_of(HOUSE, seed, rotation=0.1)
    return float(np.arctan2(a[1, 0], a[0, 0]))


@pytest.mark.parametrize("seed", range(9))
def test_turned_keeps_angles(seed: int) -> None:
    a = matrix_of(HOUSE, seed, rotation=0.3)
    assert np.allclose(a.T @ a, np.eye(2) * (a.T @ a)[0, 0], atol=1e-5)
    assert np.linalg.det(a) > 0 and abs(a[0, 1]) > 1e-4


def test_spun_is_turned_by_any_angle() -> None:
    quarters = set()
    for seed in range(40):
        a = matrix_of(HOUSE, seed, random_rotation=1.0)
        assert np.allclose(a.T @ a, np.eye(2) * (a.T @ a)[0, 0], atol=1e-5) and np.linalg.det(a) > 0
        quarters.add(int(np.arctan2(a[1, 0], a[0, 0]) // (np.pi / 2)))
    assert quarters == {-2, -1, 0, 1}
    # Some of them are; the others stay as they are.
    kept = [np.allclose(matrix_of(HOUSE, seed, random_rotation=0.5), np.eye(2), atol=1e-5) for seed in range(40)]
    assert 10 <= sum(kept) <= 30


@pytest.mark.parametrize("seed", range(9))
def test_sheared_keeps_heights(seed: int) -> None:
    a = matrix_of(HOUSE, seed, shear=0.3)
    assert a[1, 0] == pytest.approx(0, abs=1e-5) and a[0, 0] == pytest.approx(a[1, 1], abs=1e-5)
    assert abs(a[0, 1]) > 1e-4


@pytest.mark.parametrize("seed", range(9))
def test_stretched_keeps_both_axes(seed: int) -> None:
    a = matrix_of(HOUSE, seed, aspect_jitter=0.3)
    assert np.allclose([a[0, 1], a[1, 0]], 0, atol=1e-5)
    assert abs(np.log(a[0, 0] / a[1, 1])) > 1e-4


def test_stretch_is_the_deviation_of_the_logarithm_of_width_over_height() -> None:
    ratios = []
    for seed in range(400):
        a = matrix_of(HOUSE, seed * 7919, aspect_jitter=0.2)
        ratios.append(np.log(a[0, 0] / a[1, 1]))
    assert np.std(ratios) == pytest.approx(0.2, rel=0.15)
    assert np.mean(ratios) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("seed", range(9))
def test_strokes_with_jitter_of_their_own_keep_their_shapes(seed: int) -> None:
    strokes = [HOUSE[0], np.array([[40, 120], [90, 200], [120, 130], [60, 110]], np.uint8)]
    new, old = placed(changed(strokes, seed, stroke_jitter=0.1)), places(strokes)
    sizes = []
    for ours, theirs in zip(new, old, strict=True):
        ours, theirs = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
        matrix = np.linalg.lstsq(theirs, ours, rcond=None)[0]
        np.testing.assert_allclose(theirs @ matrix, ours, rtol=0, atol=1e-5)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(2) * np.linalg.det(matrix), rtol=0, atol=1e-4)
        sizes.append(np.linalg.det(matrix))
    assert abs(np.log(sizes[0] / sizes[1])) > 1e-3


@pytest.mark.parametrize("seed", range(9))
def test_a_wave_bends_places_not_points(seed: int) -> None:
    line = np.column_stack([np.arange(0, 256, 5), np.arange(0, 256, 5)]).astype(np.uint8)
    points = changed([line, line], seed, elastic=0.05)
    there, again = placed(points)
    assert near(there, again)
    assert np.abs(there - line / 255 + 0.5).max() > 1e-3
    # smooth: neighbours stay neighbours
    assert np.abs(np.diff(there, axis=0)).max() < 0.05


@pytest.mark.parametrize("seed", range(9))
def test_jitter_moves_each_point_a_little(seed: int) -> None:
    stroke = np.array([[50, 60]] * 40, np.uint8)
    new = changed([DIAGONAL, stroke], seed, point_jitter=0.01)[2:, 2:4]
    old = to_points([DIAGONAL, stroke], preprocessing="pos5")[2:, 2:4]
    moved = np.abs(new - old)
    assert 0 < moved.max() < 3.5 * 0.01 * 2.1  # the corners have moved, too
    assert len(np.unique(new, axis=0)) == 40


@given(strokes=any_strokes, part=st.floats(0, 1), seed=any_seed)
def test_only_points_inside_strokes_are_left_out(strokes: Strokes, part: float, seed: int) -> None:
    new = placed(changed([DIAGONAL, *strokes], seed, drop_points=part))
    old = places([DIAGONAL, *strokes])
    assert len(new) == len(old)
    for ours, theirs in zip(new, old, strict=True):
        assert near(ours[[0, -1]], theirs[[0, -1]])
        left = iter(theirs)
        assert all(any(near(point, other) for other in left) for point in ours)  # in their order


def test_points_are_left_out_at_most_as_often_as_asked() -> None:
    stroke = np.array([[k % 256, k // 4] for k in range(402)], np.uint8)
    kept = [len(changed([stroke], seed * 7919, drop_points=0.5)) - 2 for seed in range(200)]  # no corner but one
    assert min(kept) > 400 * 0.4 and max(kept) > 380
    assert np.mean(kept) == pytest.approx(300, rel=0.05)


# --- each change alone: of strokes


def as_keys(strokes: list[Any]) -> list[Any]:
    return [tuple(map(tuple, np.round(stroke, 5) + 0.0)) for stroke in strokes]


def numbered(n: int) -> Strokes:
    """Strokes that are told apart by place and direction, in a fixed bounding box."""
    return [DIAGONAL, *[np.array([[20, 10 * k], [40, 10 * k + 3], [90, 10 * k]], np.uint8) for k in range(1, n)]]


def test_reordered_has_every_stroke_once_in_any_order() -> None:
    strokes = numbered(4)
    wanted, seen = as_keys(places(strokes)), set()
    for seed in range(200):
        new = as_keys(placed(changed(strokes, seed * 7919, reorder=1.0)))
        assert sorted(new) == sorted(wanted)
        seen.add(tuple(wanted.index(stroke) for stroke in new))
    assert len(seen) == 24


def test_backwards_turns_some_strokes_round_in_place() -> None:
    strokes = numbered(4)
    wanted, turned = places(strokes), np.zeros(4)
    for seed in range(300):
        for k, (ours, theirs) in enumerate(
            zip(placed(changed(strokes, seed * 7919, backwards=1.0)), wanted, strict=True)
        ):
            is_turned = not near(ours, theirs)
            assert near(ours, theirs[::-1] if is_turned else theirs)
            turned[k] += is_turned
    assert turned / 300 == pytest.approx(0.5, abs=0.1)


@given(strokes=any_strokes, seed=any_seed)
def test_one_stroke_is_left_out_of_three_or_more(strokes: Strokes, seed: int) -> None:
    new = changed(strokes, seed, drop_stroke=1.0)
    if len(strokes) < 3:
        assert near(new, to_points(strokes, 1000, "pos5"))
    else:
        without = (to_points(strokes[:k] + strokes[k + 1 :], 1000, "pos5") for k in range(len(strokes)))
        assert any(near(new, points) for points in without)


def test_every_stroke_may_be_the_one_left_out() -> None:
    strokes = numbered(4)
    without = [to_points(strokes[:k] + strokes[k + 1 :], 1000, "pos5") for k in range(4)]
    drawn = [changed(strokes, seed * 7919, drop_stroke=1.0) for seed in range(60)]
    assert [sum(near(points, each) for points in drawn) > 0 for each in without] == [True] * 4


@given(strokes=any_strokes, part=st.floats(0, 1), seed=any_seed)
def test_midpoints_are_between_two_points_and_at_most_one_there(strokes: Strokes, part: float, seed: int) -> None:
    new = placed(changed(strokes, seed, midpoints=part))
    old = places(strokes)
    assert len(new) == len(old) and sum(map(len, new)) <= 2 * sum(map(len, old))
    for ours, theirs in zip(new, old, strict=True):
        ends = {0}  # how many of the new points may stand for the old ones so far
        for before, point in zip([theirs[0], *theirs[:-1]], theirs, strict=True):
            ends |= {at + 1 for at in ends if near(ours[at : at + 1], [(before + point) / 2])}
            ends = {at + 1 for at in ends if near(ours[at : at + 1], [point])}
        assert len(ours) in ends


def test_midpoints_are_as_many_as_asked() -> None:
    stroke = np.array([[k % 256, k // 4] for k in range(401)], np.uint8)
    added = [len(changed([stroke], seed * 7919, midpoints=0.5)) - 401 for seed in range(200)]
    assert min(added) >= 0 and max(added) < 400 * 0.6
    assert np.mean(added) == pytest.approx(100, rel=0.15)


@given(strokes=any_strokes, seed=any_seed)
def test_lifted_strokes_go_on_where_the_pen_was_lifted(strokes: Strokes, seed: int) -> None:
    new = placed(changed(strokes, seed, lift=1.0))
    for old in places(strokes):
        ours = new.pop(0)
        while len(ours) < len(old):
            piece = new.pop(0)
            assert len(ours) > 1 and near(ours[-1:], piece[:1])
            ours = np.concatenate([ours, piece[1:]])
        assert near(ours, old)
    assert not new


def test_pens_are_lifted_as_often_as_asked() -> None:
    stroke = np.array([[k % 256, k // 4] for k in range(401)], np.uint8)
    lifted = [len(placed(changed([stroke], seed * 7919, lift=1.0))) - 1 for seed in range(200)]
    assert max(lifted) < 400 * 0.32
    assert np.mean(lifted) == pytest.approx(400 / 8, rel=0.15)


def test_retraced_strokes_come_once_more_and_nearly_where_they_were() -> None:
    strokes = numbered(4)
    again = []
    for seed in range(200):
        new = placed(changed(strokes, seed * 7919, retrace=1.0))
        for old in places(strokes):
            assert np.allclose(new.pop(0), old, atol=0.05)
            is_again = bool(new) and len(new[0]) == len(old) and np.allclose(new[0], old[::-1], atol=0.05)
            again.append(is_again)
            if is_again:
                new.pop(0)
        assert not new
    assert np.mean(again) == pytest.approx(0.5, abs=0.07)


@given(strokes=any_strokes, seed=any_seed)
def test_unfinished_is_the_first_points(strokes: Strokes, seed: int) -> None:
    new = changed(strokes, seed, prefix_truncation=1.0)
    n, left = sum(map(len, strokes)), len(new)
    assert np.ceil(0.25 * n) <= left <= np.ceil(0.8 * n)
    first = []
    for stroke in strokes:
        if left > 0:
            first.append(stroke[:left])
        left -= len(stroke)
    assert near(new, to_points(first, 1000, "pos5"))


def test_affine_jitter_rotates_and_changes_the_aspect_about_so_much() -> None:
    corner = [np.array([[100, 0], [0, 0], [0, 100]], np.uint8)]
    angles, logarithms = [], []
    for seed in range(400):
        (stroke,) = placed(changed(corner, seed * 7919, affine_jitter=0.2))
        across, down = stroke[0] - stroke[1], stroke[2] - stroke[1]
        assert abs(across @ down) < 1e-6
        angles.append(np.arctan2(across[1], across[0]))
        logarithms.append(np.log(np.hypot(*across) / np.hypot(*down)))
    for values in (angles, logarithms):
        assert np.std(values) == pytest.approx(0.2, rel=0.12) and abs(np.mean(values)) < 0.04


def test_pen_noise_leaves_the_same_strokes_roughly() -> None:
    strokes, sizes = numbered(4), []
    for seed in range(200):
        new = placed(changed(strokes, seed * 7919, pen_noise=1.0))
        for ours, theirs in zip(new, places(strokes), strict=True):
            at = np.linspace(0, 1, 100)[:, None, None]
            line = (theirs[:-1] + at * np.diff(theirs, axis=0)).reshape(-1, 2)
            assert np.hypot(*(ours[:, None] - line[None]).transpose(2, 0, 1)).min(1).max() < 0.1
            assert np.hypot(*(ours[[0, -1]] - theirs[[0, -1]]).T).max() < 0.1
        sizes.append(len(new[0]))
    assert min(sizes) == 2 and np.mean(sizes) > 6 and max(sizes) > 25  # points of a straight line


def test_pen_noise_makes_a_dot_two_points_of_one_stroke() -> None:
    for seed in range(20):
        (stroke,) = placed(changed([np.array([[7, 9]], np.uint8)], seed * 7919, pen_noise=1.0))
        assert len(stroke) == 2 and not stroke.any()


@pytest.mark.parametrize(
    "name", ["horizontal_flip", "reorder", "backwards", "drop_stroke", "prefix_truncation", "pen_noise"]
)
def test_what_has_a_probability_happens_so_often(name: str) -> None:
    strokes = numbered(9)
    same = to_points(strokes, 1000, "pos5")
    often = np.mean([not near(changed(strokes, seed * 7919, **{name: 0.3}), same) for seed in range(500)])
    assert often == pytest.approx(0.3, abs=0.07)


@pytest.mark.parametrize(
    ("name", "value"),
    [("point_jitter", 0.05), ("elastic", 0.05), ("stroke_jitter", 0.05), ("retrace", 1.0), ("pen_noise", 1.0)],
)
def test_a_tall_drawing_is_changed_as_much_as_a_wide_one(name: str, value: float) -> None:
    line = np.column_stack([np.arange(0, 256, 5), np.full(52, 9)]).astype(np.uint8)
    wide, tall = (
        np.mean([np.ptp(changed([own], seed * 7919, **{name: value})[:, across]) for seed in range(300)])
        for own, across in ((line, 3), (line[:, ::-1], 2))
    )
    assert wide > 0.002 and tall == pytest.approx(wide, rel=0.25)


# --- values


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.1, 1.1, 2, float("nan"), float("inf"), "0.5", None, True])
def test_impossible_value_is_refused_by_its_key(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{name} should be "):
        Augmentation(**{name: value})


def test_parameters_have_the_names_of_the_values() -> None:
    values = [round(0.01 * k, 2) for k in range(1, len(NAMES) + 1)]
    parameters = Augmentation(**dict(zip(NAMES, values, strict=True))).parameters
    assert parameters._asdict() == dict(zip(NAMES, values, strict=True))
    assert {type(value) for value in Augmentation(mixup=1).parameters} == {float}
    assert not any(Augmentation().parameters)
    assert [name for name in NAMES if not getattr(STROKES, name)] == ["random_rotation", "prefix_truncation"]
    assert Augmentation(**dict(zip(NAMES, values, strict=True))).geometric == values[: len(VIEW)]
    assert NAMES[: len(VIEW)] == VIEW


def test_magnitude_is_of_all_that_has_no_option_of_its_own() -> None:
    half = STROKES.scaled(0.5)
    assert [getattr(half, name) for name in NAMES] == [0.5 * getattr(STROKES, name) for name in NAMES]
    assert STROKES.scaled(1.0) == STROKES
    config = TrainConfig(augment="strokes", augment_magnitude=0.5, random_rotation=0.3, prefix_truncation=0.2)
    assert change_of(config) == replace(half, random_rotation=0.3, prefix_truncation=0.2)


def test_geometric_magnitude_leaves_how_often_as_it_is() -> None:
    change = replace(STROKES, random_rotation=0.3)
    half = change.scaled_geometry(0.5)
    assert half.geometric == [STROKES.mixup, *(0.5 * value for value in STROKES.geometric[1:-1]), 0.3]
    changed = {name for name in NAMES if getattr(half, name) != getattr(change, name)}
    assert changed == set(VIEW) - {"mixup", "random_rotation"}
    assert change_of(TrainConfig(augment="strokes", geometric_magnitude=0.5, prefix_truncation=0.0)) == replace(
        STROKES.scaled_geometry(0.5), random_rotation=0.0
    )


def test_a_corner_is_never_left_out() -> None:
    square = np.array([[0, 0], [100, 2], [200, 0], [200, 200], [0, 200], [0, 0]], np.uint8)
    sizes = {len(changed([square], seed * 7919, drop_points=1.0)) for seed in range(100)}
    assert sizes == {5, 6}  # without the point in the middle of a side, or with it
