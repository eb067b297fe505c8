"""Plain JSON: a drawing or a list of them, in both layouts; what is refused and where."""

import json
from pathlib import Path
from typing import Any

import pytest

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import find_sources, read_drawings

COLUMNS = [[[0.5, 900, 3], [1, 2, 4]], [[7], [8]]]
POINTS = [[[0.5, 1], [900, 2], [3, 4]], [[7, 8]]]


def read(tmp_path: Path, value: Any, **options: str) -> list[Drawing]:
    path = tmp_path / "cat" / "power_outlet.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), "utf-8", "surrogateescape")
    return list(read_drawings(path, **options))


def strokes(drawing: Drawing) -> list[list[list[float]]]:
    return [stroke.tolist() for stroke in drawing.strokes]


def test_one_drawing_in_every_form(tmp_path: Path) -> None:
    for layout, value in (("columns", COLUMNS), ("points", POINTS)):
        for form in (value, {"strokes": value, "top": 3}):
            (drawing,) = read(tmp_path, form)
            assert strokes(drawing) == POINTS and drawing.source_layout == layout
            assert (drawing.word, drawing.is_simplified, drawing.times_ms) == ("cat", False, None)
    (drawing,) = read(tmp_path, [[[1, 2, 0], [3, 4, 9], [5, 6, 20], [7, 8, 30]]])
    assert drawing.times_ms is not None and drawing.times_ms[0].tolist() == [0, 9, 20, 30]
    (drawing,) = read(tmp_path, [[[1, 2], [3, 4]]])
    assert strokes(drawing) == [[[1, 3], [2, 4]]]
    (drawing,) = read(tmp_path, [[[1, 2], [3, 4]]], layout="points")
    assert strokes(drawing) == [[[1, 2], [3, 4]]]


def test_simplified_drawings_say_so(tmp_path: Path) -> None:
    value = [[[1, 2, 3], [4, 5, 6]]]
    for form in ({"strokes": value, "simplified": True}, {"drawing": value, "word": "dog", "key_id": "5"}):
        (drawing,) = read(tmp_path, form)
        assert drawing.is_simplified and strokes(drawing) == [[[1, 4], [2, 5], [3, 6]]]
        assert (drawing.word, drawing.key_id) == ((form.get("word", "cat")), int(form.get("key_id", 0)))


def test_a_list_of_drawings_is_named_after_the_file(tmp_path: Path) -> None:
    odd = {"strokes": COLUMNS, "word": 'a ",]}\\', "note": ["[", {"x": "}"}]}
    found = read(tmp_path, [POINTS, odd, COLUMNS])
    assert [drawing.word for drawing in found] == ["power outlet", 'a ",]}\\', "power outlet"]
    assert [strokes(drawing) for drawing in found] == [POINTS] * 3
    assert [drawing.word for drawing in read(tmp_path, [{"drawing": [[[1], [2]]]}])] == ["power outlet"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "not valid JSON"),
        ("[[[1,2],[3,4,5]]]", 1, "stroke 1 has rows of unequal length"),
        ('{"version": 1}', 1, "expected strokes, or an object with 'strokes' or 'drawing'"),
        ("[]", 1, "the drawing has no strokes"),
        ("5", 1, "is 5; expected strokes"),
        ("[[[NaN],[1]]]", 1, "NaN is not a finite number"),
        ('[{"drawing":[[[1],[2]]]},\n\n{"drawing":\n[[[1],[2]] x]}]', 4, "not valid JSON"),
        ('[{"drawing":[[[1],[2]]]},\n{"drawing":[[[1],[256]]]}]', 2, "stroke 1 has two rows (simplified) but"),
        ('[{"drawing":[[[1],[2]]]},\n]', 2, "not valid JSON"),
        ('[{"drawing":[[[1],[2]]]}', None, "truncated: its list has no end"),
        ('[{"drawing":[[[1],[2]]]}] x', None, "has 'x' after its end"),
        ("[[[[1],[2]]],\n[[[1" + ",1" * 200_000 + "]]]]", 2, "more than 400000 bytes"),
        ("[" * 300_000, None, "truncated: its list has no end"),
        ('[{"' + '\\"' * 100_000, None, "truncated: its list has no end"),
        ("<html>", None, "is a web page"),
        ('{"word": "caf\udce9"}', None, "not UTF-8 text"),  # the bytes of Latin-1
        ('[{"drawing":[[[1],[2]]]},{"drawing":[]}]', 1, "drawing 2: "),
    ],
)
def test_what_is_no_drawing_is_refused_with_its_line(text: str, line: int | None, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text)
    assert caught.value.path == tmp_path / "cat" / "power_outlet.json"
    assert (caught.value.line, reason in caught.value.reason) == (line, True), caught.value


def test_json_gives_way_to_any_other_drawing_file(tmp_path: Path) -> None:
    read(tmp_path, POINTS)
    folder = tmp_path / "cat"
    assert [path.name for path in find_sources(folder).files] == ["power_outlet.json"]
    (folder / "a.png").touch()
    assert [path.name for path in find_sources(folder).files] == ["a.png"]
    (folder / "a.inkml").touch()
    assert [path.name for path in find_sources(folder).files] == ["a.inkml"]
