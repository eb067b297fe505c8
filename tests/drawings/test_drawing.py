"""Drawings as objects and as flat arrays say the same."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from quickstroke.drawings.drawing import Drawing, DrawingBlock, check_simplified, split_strokes
from quickstroke.drawings.render import to_svg
from quickstroke.errors import FormatError

Strokes = list[NDArray[np.uint8]]

strokes_of = st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(2))), min_size=1, max_size=5)


def block_of(word: str, drawings: list[Strokes], first_key: int = 1) -> DrawingBlock:
    """A block whose metadata are told by the position of each drawing."""
    strokes = [stroke for drawing in drawings for stroke in drawing]
    pen_up = [np.eye(1, len(stroke), len(stroke) - 1, dtype=np.uint8)[0] for stroke in strokes]
    n = len(drawings)
    return DrawingBlock(
        word=word,
        points=np.concatenate([np.empty((0, 2), np.uint8), *strokes]),
        pen_up=np.concatenate([np.empty(0, np.uint8), *pen_up]),
        offsets=np.cumsum([0, *(sum(map(len, drawing)) for drawing in drawings)], dtype=np.int64),
        key_ids=np.arange(first_key, first_key + n, dtype=np.uint64),
        countrycodes=np.full((n, 2), ord("A"), np.uint8),
        timestamps_s=np.arange(n, dtype=np.uint32),
        recognized=(np.arange(n) % 2).astype(np.uint8),
    )


def as_lists(strokes: object) -> list[object]:
    return [stroke.tolist() for stroke in strokes]  # type: ignore[attr-defined]


@given(strokes_of)
def test_points_are_cut_into_the_strokes_they_came_from(strokes: Strokes) -> None:
    block = block_of("cat", [strokes])
    assert as_lists(split_strokes(block.points, block.pen_up)) == as_lists(strokes)


@given(st.lists(st.lists(strokes_of, max_size=4), min_size=1, max_size=4))
def test_blocks_one_after_the_other_are_one_block(parts: list[list[Strokes]]) -> None:
    blocks = [block_of("cat", drawings, 100 * i) for i, drawings in enumerate(parts)]
    whole = DrawingBlock.concatenate(blocks)
    apart = [drawing for block in blocks for drawing in block.drawings()]
    together = list(whole.drawings())
    assert len(whole) == len(together) == len(apart)
    for one, other in zip(together, apart, strict=True):
        assert as_lists(one.strokes) == as_lists(other.strokes)
        assert dataclasses.replace(one, strokes=[]).key_id == other.key_id
        assert (one.word, one.countrycode, one.timestamp_us) == (other.word, other.countrycode, other.timestamp_us)
        assert one.recognized is other.recognized
    for field in dataclasses.fields(DrawingBlock)[1:]:
        assert getattr(whole, field.name).dtype == getattr(block_of("cat", []), field.name).dtype, field.name


def test_block_gives_each_drawing_its_metadata() -> None:
    dot = [np.array([[3, 4]], np.uint8)]
    first, second = block_of("cat", [dot, dot], first_key=2**63).drawings()
    assert (first.key_id, second.key_id) == (2**63, 2**63 + 1)
    assert (first.timestamp_us, second.timestamp_us) == (0, 1_000_000)
    assert (first.recognized, second.recognized) == (False, True)
    assert first.countrycode == "AA"
    assert first.word == "cat"


def test_drawing_knows_its_size_and_form() -> None:
    simplified = Drawing("cat", [np.zeros((3, 2), np.uint8), np.zeros((1, 2), np.uint8)])
    raw = Drawing("cat", [np.zeros((3, 2))])
    assert simplified.n_points == 4
    assert simplified.is_simplified
    assert not raw.is_simplified
    assert (repr(simplified), repr(raw)) == (
        "<Drawing 'cat', simplified: strokes 2, points 4>",
        "<Drawing 'cat', raw: strokes 1, points 3>",
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        raw.word = "dog"  # type: ignore[misc]


def test_a_notebook_shows_the_picture_of_a_drawing() -> None:
    pixels = Drawing("cat & dog", [np.array([[0, 0], [255, 9]], np.uint8)])
    assert pixels._repr_svg_() == to_svg([pixels], ["cat & dog"])
    assert Drawing("", [[(0, 0), (5, 1)]])._repr_svg_().startswith("<svg")  # type: ignore[union-attr, list-item]
    assert Drawing("nothing", [])._repr_svg_() is None


@pytest.mark.parametrize(
    ("strokes", "reason"),
    [
        ([], "no strokes"),
        ([np.zeros((2, 2))], "raw"),
        ([np.zeros((2, 2), np.int64)], "raw"),
        ([np.zeros((2, 2), np.uint8), np.zeros((2, 2))], "raw"),
        ([np.zeros((2, 2), np.uint8), np.zeros((0, 2), np.uint8)], r"stroke 2 has the shape \(0, 2\)"),
        ([np.zeros(2, np.uint8)], r"strokes\[0\]\[0\] is .*one stroke alone has to be put into a list"),
    ],
)
def test_what_is_no_simplified_drawing_is_refused(strokes: Strokes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        check_simplified(Drawing("cat", strokes))
