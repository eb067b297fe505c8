"""SVG: what becomes a stroke, what is passed over or refused and where, and drawings that come back."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quickstroke as qs
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.render import to_svg
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import FormatError
from quickstroke.formats import find_sources, read_drawings, svg
from quickstroke.formats.svg_paths import MAX_POINTS, TOLERANCE

LINE = 'stroke="black" fill="none"'


def read(tmp_path: Path, text: str | bytes) -> list[Drawing]:
    path = tmp_path / "cat" / "1.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_drawings(path))


def strokes(tmp_path: Path, shapes: str, **attributes: str) -> list[np.ndarray]:
    told = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    (drawing,) = read(tmp_path, f'<svg xmlns="http://www.w3.org/2000/svg"><g {LINE} {told}>{shapes}</g></svg>')
    assert drawing.word == "cat" and not drawing.is_simplified
    return drawing.strokes


def points(tmp_path: Path, data: str) -> list[list[list[float]]]:
    return [stroke.tolist() for stroke in strokes(tmp_path, f'<path d="{data}"/>')]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("M1 2L3 4 5,6", [[[1, 2], [3, 4], [5, 6]]]),
        ("M1 2 3 4m1 1 2 2", [[[1, 2], [3, 4]], [[4, 5], [6, 7]]]),
        ("m1,2l3-4.5.5.5", [[[1, 2], [4, -2.5], [4.5, -2]]]),
        ("M1 1h2v3H0V-1e1", [[[1, 1], [3, 1], [3, 4], [0, 4], [0, -10]]]),
        ("M0 0h2v2zl1 1", [[[0, 0], [2, 0], [2, 2], [0, 0]], [[0, 0], [1, 1]]]),
        ("M0 0h2v2h-2v-2z", [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]),
        ("M5 5zz", [[[5, 5]]]),
        ("M5 5 5 5", [[[5, 5], [5, 5]]]),
        ("M0 0M1 1h1", [[[1, 1], [2, 1]]]),
        ("M0 0A0 5 0 0 1 9 9", [[[0, 0], [9, 9]]]),
    ],
)
def test_lines_of_a_path_are_exact(data: str, expected: list, tmp_path: Path) -> None:
    assert points(tmp_path, data) == expected


def test_curves_are_no_farther_than_the_tolerance(tmp_path: Path) -> None:
    t = np.linspace(0, 1, 5000)[:, None]
    (cubic,) = strokes(tmp_path, '<path d="M0 0C0 90 100 -50 100 40"/>')
    controls = np.array([[0, 0], [0, 90], [100, -50], [100, 40]], float)
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3]
    curve = sum(weight * point for weight, point in zip(weights, controls, strict=True))
    ab = cubic[1:] - cubic[:-1]
    along = np.clip(((curve[:, None] - cubic[:-1]) * ab).sum(2) / (ab**2).sum(1), 0, 1)
    off = np.hypot(*(curve[:, None] - cubic[:-1] - along[..., None] * ab).transpose(2, 0, 1)).min(axis=1)
    assert 0 < off.max() <= 100 * TOLERANCE and len(cubic) < 60
    assert cubic[-1].tolist() == [100, 40]
    (ring,) = strokes(tmp_path, '<circle cx="3" cy="4" r="50"/>')
    middles = (ring[1:] + ring[:-1]) / 2
    assert np.abs(np.hypot(*(np.concatenate([ring, middles]) - [3, 4]).T) - 50).max() < 100 * TOLERANCE
    assert len(ring) < 80 and ring[0].tolist() == ring[-1].tolist()


def test_smooth_curves_go_on_as_the_last_one_ended(tmp_path: Path) -> None:
    for short, long in (
        ("M0 0C0 1 1 2 2 2S4 3 4 4", "M0 0C0 1 1 2 2 2C3 2 4 3 4 4"),
        ("M0 0Q3 6 9 3", "M0 0C2 4 5 5 9 3"),  # a quadratic curve is a cubic one
        ("M0 0S4 3 4 4", "M0 0C0 0 4 3 4 4"),
        ("M0 0Q1 2 2 2T4 4 8 8", "M0 0Q1 2 2 2Q3 2 4 4Q5 6 8 8"),
        ("m1 1q1 2 2 2l1 1t2 2", "M1 1Q2 3 3 3L4 4Q4 4 6 6"),
        ("M0 0c0 1 1 2 2 2c0 0 1 1 2 2", "M0 0C0 1 1 2 2 2C2 2 3 3 4 4"),
    ):
        np.testing.assert_allclose(points(tmp_path, short)[0], points(tmp_path, long)[0], atol=1e-12)


@pytest.mark.parametrize(("large", "sweep", "middle"), [(0, 0, -1), (0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_an_arc_takes_the_side_and_way_that_its_flags_say(large: int, sweep: int, middle: int, tmp_path: Path) -> None:
    # From (0, 0) to (6, 0) on a circle of radius 5, whose middle is 4 above or below; flags need no gaps.
    (arc,) = strokes(tmp_path, f'<path d="M0 0a5 5 30 {large}{sweep}6 0"/>')
    np.testing.assert_allclose(np.hypot(*(arc - [3, 4 * middle]).T), 5, rtol=0.0003)
    below = arc[:, 1].mean() > 0
    assert below == (not sweep) and arc[-1].tolist() == [6, 0]
    assert (np.abs(arc[:, 1]).max() > 5) == bool(large)


def test_an_arc_that_is_too_small_grows_and_turns(tmp_path: Path) -> None:
    (arc,) = strokes(tmp_path, '<path d="M0 0A2 1 90 0 1 0 8"/>')  # radii 4 and 2, the long one upright
    assert np.ptp(arc, axis=0) == pytest.approx([2, 8], abs=0.02) and arc[:, 0].min() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("shape", "n", "extent"),
    [
        ('<line x2="3" y1="1" y2="5"/>', 2, (3, 4)),
        ('<polyline points="0,0 4,0 4,2"/>', 3, (4, 2)),
        ('<polygon points="0,0 4,0 4,2"/>', 4, (4, 2)),
        ('<rect x="1" y="1" width="4" height="2"/>', 5, (4, 2)),
        ('<rect width="1in" height="24pt"/>', 5, (96, 32)),
        ('<rect width="8" height="4" rx="9"/>', None, (8, 4)),
        ('<ellipse cx="1" rx="4" ry="1"/>', None, (8, 2)),
    ],
)
def test_basic_shapes(shape: str, n: int | None, extent: tuple[float, float], tmp_path: Path) -> None:
    (stroke,) = strokes(tmp_path, shape)
    assert n is None or len(stroke) == n
    np.testing.assert_allclose(np.ptp(stroke, axis=0), extent, rtol=1e-12)


def test_transforms_are_applied_from_the_inside_out(tmp_path: Path) -> None:
    shape = '<g transform="scale(2, 3)"><path transform="rotate(90) translate(1)" d="M0 0L1 0"/></g>'
    (stroke,) = strokes(tmp_path, shape, transform="translate(10,20)")
    np.testing.assert_allclose(stroke, [[10, 23], [10, 26]], atol=1e-12)
    for transform, expected in (
        ("matrix(1 2 3 4 5 6)", [6 + 2 * 3, 2 + 8 + 6]),
        ("rotate(180 5 5)", [9, 8]),
        ("skewX(45)", [3, 2]),
        ("skewY(45)", [1, 3]),
        ("scale(2)", [2, 4]),
    ):
        (stroke,) = strokes(tmp_path, f'<path transform="{transform}" d="M1 2h0"/>')
        np.testing.assert_allclose(stroke[0], expected, atol=1e-12)


def counted(tmp_path: Path, inside: str) -> int:
    return len(read(tmp_path, f"<svg>{inside}</svg>")[0].strokes)


def test_lines_are_strokes_and_fills_only_where_there_are_no_lines(tmp_path: Path) -> None:
    fill, line = '<path d="M0 0h1"/>', f'<path {LINE} d="M0 0h2"/>'
    assert counted(tmp_path, fill + line + fill) == 1
    assert counted(tmp_path, fill + fill) == 2
    assert counted(tmp_path, f'<g stroke="red">{fill}<g style="stroke:none">{fill}</g></g>') == 1
    assert counted(tmp_path, f'<rect width="100%" height="100%"/>{fill}') == 1
    style = "<style>/* .a{display:none} */ .a, #b { fill:none; stroke: #000 !important } .c{display:none}</style>"
    classes = '<path class="x a" d="M0 0h1"/><path id="b" d="M0 0h1"/><path class="c" d="M0 0h1"/>'
    assert counted(tmp_path, style + classes + fill) == 2
    hidden = f'<g display="none">{line}</g><g visibility="hidden">{line}<path visibility="visible" d="M0 0h1"/></g>'
    assert counted(tmp_path, hidden) == 1
    others = f"<defs>{line}</defs><clipPath>{line}</clipPath><text>x</text><script>{line}</script><image href='file:///etc/passwd'/>"
    assert counted(tmp_path, line + others) == 1


def test_a_picture_of_render_and_a_doctype_are_read(tmp_path: Path) -> None:
    (drawing,) = synthetic_drawings(1, words=("house",))
    (again,) = read(tmp_path, to_svg([drawing], ["house"]))
    assert [len(stroke) for stroke in again.strokes] == [len(stroke) for stroke in drawing.strokes]
    doctype = (
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://localhost/a">'
    )
    assert (
        len(read(tmp_path, f'{doctype}<svg:svg xmlns:svg="a"><svg:path d="M0 0h1"/></svg:svg>'.encode("utf-16"))) == 1
    )


@pytest.mark.parametrize(
    ("inside", "line", "reason"),
    [
        ('\n<path d="L1 1"/>', 2, "'d' begins with 'L'; expected 'M' or 'm'"),
        ('\n\n<path\n d="M1"/>', 3, "'d' has its end at character 3; expected a number"),
        ('<path d="M1 1 L 2 x"/>', 1, "'d' has 'x' at character 10; expected a number"),
        ('<path d="M1 1 foo"/>', 1, "'d' has 'foo' at character 6; expected a command"),
        ('<path d="M1 1a1 1 0 2 1 3 3"/>', 1, "'d' has '2 1 3 3' at character 12; expected 0 or 1"),
        ('<path d="M1e400 1"/>', 1, "the number '1e400'; expected at most"),
        ('<path d="M0 0a1e-300 1 0 0 0 1 1"/>', 1, "radius is too small"),
        ('<path d="M0 0h1" transform="spin(1)"/>', 1, "expected a function such as 'translate('"),
        ('<path d="M0 0h1" transform="scale(1 2 3)"/>', 1, "'transform' has scale of 3 numbers"),
        ('<rect width="wide"/>', 1, "'width' is 'wide'; expected a length"),
        ('<polyline points="1 2 3"/>', 1, "'points' has its end"),
        ('<use href="http://localhost/a.svg#b"/>', 1, "<use> repeats another element"),
        ("<path>", 1, "not well-formed XML (mismatched tag)"),
        (f'<g>{"<g>" * 300}', 1, "more than 200 levels"),
        ('<path d="M0 0h1M0 0h1"/>' * 101, 1, "more than 200 strokes"),
        (f'<path d="M0 0{"1 1 " * 100_001}"/>', 1, "more than 400000 bytes"),
        (f'<style>{"a" * 200_000}</style>', 1, "style sheet of more than"),
        ('<text>only</text>', None, "draws no line; expected a path or another shape"),
        ('<path d="M0 0h1" transform="%s"/>' % ("scale(1e15)" * 30), None, "coordinates that are too large"),
        ('<g data-quickstroke="1" data-key-id="-1"><path d="M0 0h1"/></g>', 1, "'key_id' should be an integer"),
        ('<g data-quickstroke="1" data-recognized="x"/>', 1, "'data-recognized' should be true or false"),
        ('<g data-quickstroke="1"/>', 1, "draws no line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(
    inside: str, line: int | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svg, "MAX_STROKES", 200)
    with pytest.raises(FormatError) as caught:
        read(tmp_path, f"<svg {LINE}>{inside}</svg>")
    assert (caught.value.path, caught.value.line) == (tmp_path / "cat" / "1.svg", line)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no element found"),
        ("<!doctype html><html><p>", "is a web page; expected <svg>"),
        ("<ink/>", "is <ink>; expected <svg>"),
        (b"\x1f\x8b".decode("latin-1"), "not well-formed"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg/>', "declares the entity 'a'; entities are not read"),
        ('<!DOCTYPE svg [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><svg/>', "declares the entity 'a'"),
        ("<svg>&a;</svg>", "undefined entity"),
        ('<?xml version="1.0" encoding="rot13"?><svg/>', "an encoding that is not read"),
        ("<svg><image href='%s" % ("a" * 20_000_000), "a tag of more than 16777216 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_svg_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=reason):
        read(tmp_path, text)


def test_too_many_points_are_refused_before_they_are_there(tmp_path: Path, is_small) -> None:
    # Every curve is as large as the drawing, so that each becomes many lines.
    text = f'<svg><path d="M0 0{"c90 9 -90 9 0 0" * 2500}"/></svg>'

    def read_it() -> None:
        with pytest.raises(FormatError, match=f"more than {MAX_POINTS:,} points"):
            read(tmp_path, text)

    assert is_small(read_it, len(text))


def facts(drawing: Drawing) -> tuple[object, ...]:
    told = (drawing.word, drawing.key_id, drawing.countrycode, drawing.timestamp_us, drawing.recognized)
    return (*told, drawing.is_simplified, [stroke.tolist() for stroke in drawing.strokes])


DOT = Drawing(
    "t-shirt & <more>",
    [np.array([[3, 4]], np.uint8)],
    key_id=2**64 - 1,
    countrycode="DE",
    timestamp_us=1_488_396_096_707_250,
    recognized=False,
)


def test_drawings_come_back_as_they_were_written(tmp_path: Path) -> None:
    drawings = [*synthetic_drawings(25, words=("house",)), replace(DOT, word=""), DOT]
    path = tmp_path / "sheet.svg"
    assert svg.write(path, iter(drawings)) == len(drawings)
    assert list(map(facts, read_drawings(path))) == list(map(facts, drawings))
    head = path.read_text().splitlines()[0]
    assert 'width="5740" height="574"' in head and svg.write(path, [DOT]) == 1
    # An editor that moves it leaves its facts, and it is simplified anew.
    moved = (
        path.read_text()
        .replace("<path", '<path transform="translate(0.5)"')
        .replace("</svg>", f'<path {LINE} d="M0 0h1"/></svg>')
    )
    (again,) = read(tmp_path, moved)
    assert (again.key_id, again.word, again.is_simplified) == (DOT.key_id, DOT.word, False)


@pytest.mark.parametrize(
    ("drawings", "reason"),
    [
        ([], "there is no drawing to write"),
        ([DOT, Drawing("cat", [[(0.5, 1), (2, 3)]])], "drawing 2: the drawing is raw"),
        ([replace(DOT, word="a\x07b")], "drawing 1: the word 'a\\x07b' or the country has a letter"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(drawings: list[Drawing], reason: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        svg.write(tmp_path / "a.svg", drawings)
    assert reason in str(caught.value) and not list(tmp_path.iterdir())


def test_a_folder_of_svg_files_is_a_word_and_gives_way_to_files_of_strokes(tmp_path: Path) -> None:
    for word in ("cat", "my_own"):
        (tmp_path / word).mkdir()
        for i in range(4):
            (tmp_path / word / f"{i}.svg").write_text(f'<svg {LINE}><path d="M0 0L{i} {9 - i}h{5 + i}"/></svg>')
        (tmp_path / word / "preview.png").touch()
    made = qs.prepare([tmp_path / "cat", tmp_path / "my_own"], tmp_path / "data")
    assert qs.PreparedDataset(tmp_path / "data").classes == ("cat", "my own") and made.n == 8
    assert made.ignored_files == ("preview.png",) * 2
    (tmp_path / "cat" / "all.ndjson").touch()
    assert [path.name for path in find_sources(tmp_path / "cat").files] == ["all.ndjson"]


def test_pieces_of_a_file_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = io.BytesIO()
    svg.write_to(whole, [*synthetic_drawings(3, words=("star",)), DOT], "a.svg")
    expected = list(map(facts, read(tmp_path, whole.getvalue())))
    monkeypatch.setattr("quickstroke.formats.xml._PIECE_BYTES", 7)
    monkeypatch.setattr("quickstroke.formats.xml._MOST_PIECE_BYTES", 9)
    assert list(map(facts, read(tmp_path, whole.getvalue()))) == expected and len(expected) == 4


def test_a_point_alone_is_a_dot(tmp_path: Path) -> None:
    found = strokes(tmp_path, '<path d="M2 3"/><polyline points="4,5"/><path d="M0 0L9 9M7 7"/><path d="M1 1 M6 6z"/>')
    assert [{tuple(point) for point in stroke.tolist()} for stroke in found] == [
        {(2.0, 3.0)},
        {(4.0, 5.0)},
        {(0.0, 0.0), (9.0, 9.0)},
        {(6.0, 6.0)},
    ]
