"""What files say: their drawings, and why they are refused; for the tests of this folder."""

from pathlib import Path

import pytest

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import read_file


def said(drawing: Drawing) -> tuple[object, ...]:
    """All that a drawing says, to compare."""
    strokes = [stroke.tolist() for stroke in drawing.strokes]
    times = None if drawing.times_ms is None else [times.tolist() for times in drawing.times_ms]
    head = (drawing.word, drawing.key_id, drawing.countrycode, drawing.timestamp_us, drawing.recognized)
    return (*head, drawing.is_simplified, strokes, times)


def refusal(path: Path) -> tuple[list[Drawing], FormatError]:
    """The drawings that a file gives before it is refused, and the refusal."""
    found = []
    with pytest.raises(FormatError) as caught:
        for drawing in read_file(path):
            found.append(drawing)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    return found, caught.value
