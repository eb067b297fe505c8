"""Pictures to strokes: where ink is, and which strokes its lines are."""

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("skimage")

from quickstroke.drawings.bitmap import draw_stroke
from quickstroke.drawings.ink import SIDE, find_ink
from quickstroke.drawings.tracing import trace_ink
from quickstroke.errors import FormatError


def inked(strokes: list[list[tuple[float, float]]], side: int = 200, pen: float = 6) -> NDArray[np.float32]:
    """How strokes look, dark on light."""
    page = np.zeros((side, side), np.uint8)
    for stroke in strokes:
        draw_stroke(np.array(stroke, float), pen / 2, page)
    return 255 - page.astype(np.float32)


def traced(strokes: list[list[tuple[float, float]]], **how: float) -> list[NDArray[np.float64]]:
    return trace_ink(find_ink(inked(strokes, **how)))  # type: ignore[arg-type]


def near(points: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return float(np.abs(points - other).max()) < 8


def test_a_cross_is_two_straight_strokes() -> None:
    strokes = traced([[(20, 20), (180, 180)], [(180, 20), (20, 180)]])
    assert len(strokes) == 2
    for stroke in strokes:
        lengths = np.hypot(*np.diff(stroke, axis=0).T).sum()
        assert lengths < 1.05 * np.hypot(*(stroke[-1] - stroke[0]))


def dense(stroke: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points of a stroke and many between them."""
    at = np.linspace(0, len(stroke) - 1, 2 * len(stroke) + 400)
    return np.stack([np.interp(at, np.arange(len(stroke)), column) for column in stroke.T], 1)


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How far a point of one stroke is at most from the other stroke (Hausdorff distance)."""
    distances = np.hypot(*(dense(a)[:, None] - dense(b)).transpose(2, 0, 1))
    return float(max(distances.min(0).max(), distances.min(1).max()))


def ring(x: float, radius: float) -> list[tuple[float, float]]:
    return [(x + radius * np.cos(angle), 100 + radius * np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 40)]


@pytest.mark.parametrize("pen", [6, 14])
@pytest.mark.parametrize(
    "drawn",
    [  # each in the order and the directions that are likely
        [[(70, 20), (70, 180)], [(130, 20), (130, 180)], [(20, 130), (180, 130)], [(20, 70), (180, 70)]],
        [[(60, 31), (140, 169)], [(140, 31), (60, 169)], [(20, 100), (180, 100)]],
        [[(100, 30), (100, 180)], [(20, 30), (180, 30)]],
        [[(100, 20), (100, 180)], [(60, 60), (60, 60)]],
        [[(40, 30), (40, 170), (160, 170)]],
        [ring(60, 35), ring(150, 35)],
        [[(100 + 6 * x * np.cos(2 * x), 100 + 6 * x * np.sin(2 * x)) for x in np.linspace(2, 13, 200)]],
    ],
    ids=["hash", "star", "T", "dot", "corner", "rings", "spiral"],
)
def test_strokes_are_those_that_were_drawn(drawn: list[list[tuple[float, float]]], pen: int) -> None:
    """Also with a pen so thick that the middle lines of strokes that cross meet in two places."""
    strokes = trace_ink(inked(drawn, pen=pen) < 128)
    assert len(strokes) == len(drawn)
    for stroke, own in zip(strokes, drawn, strict=True):
        assert apart(stroke, np.array(own, float)) < 2 + pen / 6


@pytest.mark.parametrize(
    "stroke",
    [
        [(20, 100), (180, 100)],
        [(100, 20), (100, 180)],
        [(20, 120), (180, 90)],  # rather to the right than down
        [(150, 20), (50, 180)],  # rather down than to the right
    ],
)
def test_a_stroke_begins_at_the_left_or_the_top(stroke: list[tuple[float, float]]) -> None:
    for drawn in (stroke, stroke[::-1]):
        (found,) = trace_ink(inked([drawn]) < 128)
        assert near(found[[0, -1]], np.array(stroke))


def test_a_stroke_between_down_and_right_begins_near_to_the_pen() -> None:
    slope: list[tuple[float, float]] = [(60, 190), (140, 122)]
    for post, begin in ((20, 0), (160, 1)):  # drawn first, downwards
        _, found = trace_ink(inked([[(post, 10), (post, 190)], slope]) < 128)
        assert near(found[0], np.array(slope[begin])) and near(found[-1], np.array(slope[1 - begin]))


def test_a_ring_is_one_closed_stroke() -> None:
    (found,) = traced([ring(100, 70)])
    assert near(found[0], found[-1])


def test_a_foot_on_a_line_is_a_stroke_of_its_own() -> None:
    strokes = traced([[(20, 50), (180, 50)], [(100, 50), (100, 180)]])
    assert sorted(round(float(np.ptp(stroke[:, 0]) / 100)) for stroke in strokes) == [0, 2]


def test_strokes_go_on_near_to_the_pen() -> None:
    strokes = traced([[(x, 20), (x, 180)] for x in (20, 180, 60, 140, 100)])
    lefts = [float(stroke[0, 0]) for stroke in strokes]
    assert lefts == sorted(lefts)


def test_what_is_filled_keeps_its_outline() -> None:
    disc = inked([[(100.0, 100.0), (100.0, 100.0)], [(20, 20), (180, 20)]], pen=6)
    y, x = np.mgrid[:200, :200]
    disc[np.hypot(y - 110, x - 100) < 60] = 0
    outline = max(trace_ink(find_ink(disc)), key=lambda stroke: float(np.ptp(stroke, axis=0).min()))
    assert np.ptp(outline, axis=0).min() > 110 * SIDE / 180


def test_light_on_dark_is_the_same_as_dark_on_light() -> None:
    grey = inked([[(20, 30), (180, 60), (90, 170)]])
    assert (find_ink(grey) == find_ink(255 - grey)).all()


def test_the_size_of_a_picture_hardly_matters() -> None:
    shape = [(0.1, 0.2), (0.9, 0.3), (0.4, 0.9)]
    found = []
    for side in (60, 200, 2000):
        (stroke,) = traced([[(side * x, side * y) for x, y in shape]], side=side, pen=0.05 * side)
        assert 0.9 * SIDE < np.ptp(stroke, axis=0).max() <= SIDE
        found.append(stroke)
    assert all(near(stroke[0], found[1][0]) and near(stroke[-1], found[1][-1]) for stroke in found)


def test_a_shadow_is_no_line() -> None:
    rng = np.random.default_rng(0)
    grey = inked([[(80, 100), (320, 120), (200, 330)]], side=400, pen=5)
    grey = 90 + 0.5 * grey  # a pencil
    grey[:, 210:] *= 0.6
    grey += rng.normal(0, 2.5, grey.shape).astype(np.float32)
    strokes = trace_ink(find_ink(grey.astype(np.float32)))
    points = np.concatenate(strokes)
    assert len(strokes) <= 3
    assert 0.85 < np.ptp(points[:, 0]) / np.ptp(points[:, 1]) < 1.25
    assert sum(np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in strokes) < 3 * SIDE


@pytest.mark.parametrize("is_inverted", [False, True])
def test_a_small_drawing_on_a_large_sheet_in_shadow_is_the_ink_not_the_light_beside_it(is_inverted: bool) -> None:
    rng = np.random.default_rng(0)
    grey = inked([[(100, 100), (100, 260)], [(30, 180), (190, 180)]], side=640, pen=3)
    shade = 1 - 0.5 / (1 + np.exp(-(np.arange(640) - 300) / 40))
    grey = (235 * (0.25 + 0.75 * grey / 255) * shade + rng.normal(0, 6, grey.shape)).clip(0, 255)
    found = find_ink((255 - grey if is_inverted else grey).astype(np.float32))
    assert len(trace_ink(found)) <= 4 and found.mean() < 0.1


@pytest.mark.parametrize("is_inverted", [False, True])
def test_a_reflection_on_paper_with_faint_lines_is_no_ink(is_inverted: bool) -> None:
    rng = np.random.default_rng(0)
    grey = inked([[(100, 100), (100, 400)], [(100, 400), (400, 400)]], side=512, pen=6)
    shade = 1 - 0.4 / (1 + np.exp(-(np.arange(512) - 256) / 40))
    grey = 170 * (0.8 + 0.2 * grey / 255) * shade + rng.normal(0, 4, grey.shape)
    y, x = np.mgrid[:512, :512] - 200
    grey = (grey + 80 * np.exp(-(x**2 + y**2) / (2 * 8**2))).clip(0, 255)
    found = find_ink((255 - grey if is_inverted else grey).astype(np.float32))
    assert found[:, :8].any(1).mean() > 0.9 and found[-8:].any(0).mean() > 0.9 and found.mean() < 0.1


@pytest.mark.parametrize("frame", [0, 128, 238, 250])
def test_a_frame_is_neither_paper_nor_ink(frame: int) -> None:
    plain = inked([[(40, 100), (360, 100)], [(200, 100), (200, 360)]], side=400, pen=9)
    framed = np.pad(plain, ((9, 30), (12, 12)), constant_values=frame)
    assert np.array_equal(find_ink(framed), find_ink(plain))


def test_a_frame_around_nothing_is_ink() -> None:
    square = np.full((200, 200), 255, np.float32)
    square[50:150, 50:150] = 0
    assert find_ink(square).mean() > 0.9


def test_squared_paper_is_no_ink() -> None:
    plain = inked([[(40, 105), (360, 105)], [(205, 105), (205, 360)]], side=400, pen=9)
    squared = plain.copy()
    squared[10::20], squared[:, 10::20] = np.minimum(plain[10::20], 215), np.minimum(plain[:, 10::20], 215)
    assert np.array_equal(find_ink(squared), find_ink(plain))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_has_no_ink(level: int) -> None:
    with pytest.raises(FormatError, match="no ink"):
        find_ink(np.full((50, 70), level, np.float32))


def test_noise_alone_is_no_ink() -> None:
    noise = np.random.default_rng(0).normal(200, 12, (300, 300)).clip(0, 255)
    with pytest.raises(FormatError, match="no ink"):
        find_ink(noise.astype(np.float32))


def test_a_blackened_picture_is_all_ink() -> None:
    grey = np.full((60, 60), 255, np.float32)
    grey[3:-3, 3:-3] = 0
    with pytest.raises(FormatError, match=r"nearly all ink: \d\d% of the picture is no background"):
        find_ink(grey)
