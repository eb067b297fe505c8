"""Bitmaps of drawings: against cairo's own, and against coverage counted plainly.

`python tests/drawings/test_bitmap.py` writes the golden bitmaps anew; it needs cairocffi, which is no dependency.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pictured import CAT, HUGE, RAW, golden_drawings, simplified

from quickstroke.drawings.bitmap import BITMAP_SIDE, to_bitmap, write_bitmaps
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.errors import ConfigError, FormatError

GOLDEN = Path(__file__).parents[1] / "golden" / "render.json"

# The recipe of Google's bitmaps: 28 pixels for a square of 256 with a padding of 16 and half a line of 16 around it.
SCALE = 28 / (256 + 2 * 16 + 16)


def by_cairo(drawing: Drawing) -> NDArray[np.uint8]:
    """The recipe of Google's bitmaps, drawn by cairo: uint8 (28, 28)."""
    import cairocffi as cairo

    surface = cairo.ImageSurface(cairo.FORMAT_ARGB32, 28, 28)
    context = cairo.Context(surface)
    context.set_source_rgb(0, 0, 0)
    context.paint()
    context.set_source_rgb(1, 1, 1)
    context.set_antialias(cairo.ANTIALIAS_BEST)
    context.set_line_cap(cairo.LINE_CAP_ROUND)
    context.set_line_join(cairo.LINE_JOIN_ROUND)
    context.set_line_width(16)
    context.scale(SCALE, SCALE)
    middle = (256 - np.concatenate(drawing.strokes).max(axis=0).astype(float)) / 2
    for stroke in drawing.strokes:
        for x, y in stroke + middle + 24:
            context.line_to(x, y)
        if len(stroke) == 1:
            context.line_to(x, y)
        context.stroke()
    surface.flush()
    return np.array(surface.get_data()).reshape(28, 28, 4)[:, :, 0].astype(np.uint8)


def write_golden() -> None:
    records = [
        {"drawing": [stroke.T.tolist() for stroke in drawing.strokes], "cairo": by_cairo(drawing).tobytes().hex()}
        for drawing in golden_drawings()
    ]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    GOLDEN.write_text(f"[\n{lines}\n]\n")


def by_counting(stroke: NDArray[np.float64], radius: float, n: int = 32) -> NDArray[np.float64]:
    """The share of each pixel, float64 (28, 28), that lies within a radius of a stroke (n, 2): n x n places counted."""
    places = (np.arange(28 * n) + 0.5) / n
    x, y = np.meshgrid(places, places)
    nearest = np.full(x.shape, np.inf)
    for (ax, ay), (bx, by) in zip(stroke, [*stroke[1:], stroke[-1]], strict=True):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        nearest = np.minimum(nearest, (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2)
    return (nearest <= radius**2).reshape(28, n, 28, n).mean(axis=(1, 3))


def test_bitmaps_are_nearly_those_of_cairo():
    records = json.loads(GOLDEN.read_text())
    assert len(records) == len(golden_drawings())
    differences = []
    for record in records:
        strokes = [np.array(rows, np.uint8).T for rows in record["drawing"]]
        expected = np.frombuffer(bytes.fromhex(record["cairo"]), np.uint8).reshape(28, 28)
        assert expected.any()
        differences.append(np.abs(to_bitmap(strokes).astype(int) - expected))
    assert np.max(differences) <= 18
    assert np.mean(differences) < 0.4
    assert np.mean(np.array(differences) <= 8) > 0.99


@settings(max_examples=30)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(2))))
def test_a_pixel_is_as_white_as_the_line_covers_it(stroke):
    points = (stroke + (256 - stroke.max(axis=0).astype(float)) / 2 + 24) * SCALE
    expected = 255 * by_counting(points, 8 * SCALE)
    # A level edge lies between two of a pixel's 15 sample rows.
    np.testing.assert_allclose(to_bitmap([stroke]), expected, atol=255 / 15 + 1)


def test_what_one_stroke_covers_twice_counts_once_and_strokes_add_up():
    line = [[0, 0], [255, 0]]
    once = to_bitmap(simplified(line).strokes)
    assert (to_bitmap(simplified([*line, *line[::-1]]).strokes) == once).all()
    # The line lies between two rows and covers 11 of the 15 sample rows of each.
    assert once[13].max() == once[14].max() == 255 * 11 / 15
    assert to_bitmap(simplified(line, line).strokes)[13].max() == round(255 * (1 - (4 / 15) ** 2))


def test_raw_strokes_are_simplified_first():
    expected = to_bitmap(simplify(RAW.strokes))
    assert (to_bitmap(RAW.strokes) == expected).all()
    assert (to_bitmap([stroke.tolist() for stroke in RAW.strokes]) == expected).all()
    assert to_bitmap(HUGE.strokes).any()


def test_the_edge_of_a_bitmap_stays_black():
    for drawing in [*golden_drawings(), CAT]:
        bitmap = to_bitmap(drawing.strokes)
        assert bitmap.dtype == np.uint8
        assert bitmap.max() > 100
        assert not bitmap[[0, -1]].any()
        assert not bitmap[:, [0, -1]].any()


@pytest.mark.parametrize(
    "strokes",
    [[], [np.empty((0, 2), np.uint8)], [np.zeros((4, 4), np.uint8)], [[[1.0, np.nan]]], [["a"]], [[[1, 2], [3]]]],
)
def test_to_bitmap_refuses_what_is_no_drawing(strokes):
    with pytest.raises(FormatError, match="stroke"):
        to_bitmap(strokes)


def test_write_bitmaps_writes_what_numpy_would(tmp_path):
    drawings = golden_drawings()
    expected = np.stack([to_bitmap(drawing.strokes).ravel() for drawing in drawings])
    by_numpy = io.BytesIO()
    np.save(by_numpy, expected)

    assert write_bitmaps(tmp_path / "cat.npy", iter(drawings)) == len(drawings)

    assert (tmp_path / "cat.npy").read_bytes() == by_numpy.getvalue()
    assert np.load(tmp_path / "cat.npy", mmap_mode="r").shape == (len(drawings), BITMAP_SIDE**2)


def test_write_bitmaps_leaves_nothing_half_done(tmp_path):
    path = tmp_path / "cat.npy"
    with pytest.raises(FormatError, match=r"drawing 2: .*strokes"):
        write_bitmaps(path, [CAT, Drawing("cat", [])])
    with pytest.raises(ConfigError, match="no drawing"):
        write_bitmaps(path, [])
    assert list(tmp_path.iterdir()) == []


if __name__ == "__main__":
    write_golden()
