"""InkML: traces in every notation, channels, groups and contexts; what is refused and where."""

from pathlib import Path

import pytest

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import read_drawings

FORMAT = '<traceFormat><channel name="X"/><channel name="Y"/><channel name="T" units="s"/></traceFormat>'


def read(tmp_path: Path, inside: str) -> Drawing:
    path = tmp_path / "cat" / "1.inkml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'<ink xmlns="http://www.w3.org/2003/InkML">{inside}</ink>')
    (drawing,) = read_drawings(path)
    assert drawing.word == "cat" and not drawing.is_simplified
    return drawing


def points(tmp_path: Path, inside: str) -> list[list[list[float]]]:
    return [stroke.tolist() for stroke in read(tmp_path, inside).strokes]


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ("10 0, 9 14.5,\n 8 28,", [[10, 0], [9, 14.5], [8, 28]]),
        # The example of the recommendation, section 3.3.2.
        ("1125 18432,'23'43,\"7\"-8,3-5", [[1125, 18432], [1148, 18475], [1178, 18510], [1211, 18540]]),
        ("5 6,'1'2,* *,!7!8,* 9", [[5, 6], [6, 8], [7, 10], [7, 8], [7, 9]]),
        ("#1F -.5e1,? 3", [[31, -5], [31, 3]]),
    ],
)
def test_notations_of_a_trace(trace: str, expected: list[list[float]], tmp_path: Path) -> None:
    assert points(tmp_path, f"<trace>{trace}</trace>") == [expected]


@pytest.mark.parametrize(("units", "half_ms"), [("s", 500), ("ms", 0.5), ("us", 0.0005)])
def test_channels_are_found_by_name_and_times_become_milliseconds(units: str, half_ms: float, tmp_path: Path) -> None:
    channels = f'<channel name="F"/><channel name="T" units="{units}"/><channel name="Y"/><channel name="X"/>'
    more = '<intermittentChannels><channel name="B1" type="boolean"/></intermittentChannels>'
    drawing = read(tmp_path, f"<traceFormat>{channels}{more}</traceFormat><trace>9 0 2 1 T, 9 .5 4 3</trace>")
    assert drawing.strokes[0].tolist() == [[1, 2], [3, 4]]
    assert drawing.times_ms is not None and drawing.times_ms[0].tolist() == [0, half_ms]


def test_groups_definitions_pens_in_the_air_and_continuations(tmp_path: Path) -> None:
    inside = (
        '<definitions><trace xml:id="d">9 9</trace></definitions><traceGroup><annotation type="truth">x</annotation>'
        '<trace>1 1</trace><traceGroup><trace xml:id="a" continuation="begin">2 2</trace></traceGroup></traceGroup>'
        '<trace type="penUp">8 8</trace><trace/><trace>3 3</trace>'
        '<trace xml:id="b" continuation="middle" priorRef="#a">4 4,5 5</trace>'
        '<trace continuation="end" priorRef="#b">6 6</trace>'
    )
    assert points(tmp_path, inside) == [[[1, 1]], [[2, 2], [4, 4], [5, 5], [6, 6]], [[3, 3]]]


@pytest.mark.parametrize(
    ("annotations", "word"),
    [
        ('<annotation type="truth">check_mark</annotation>', "check mark"),
        ('<annotation type="label">a</annotation><annotation type="truth">\n b\n</annotation>', "b"),
        ('<annotation type="truth"/><annotation type="label">shaky</annotation>', "cat"),
        ('<annotation type="writer">Ann</annotation><annotation>x</annotation>', "cat"),
        ('<traceGroup><annotation type="truth">part</annotation><trace>1 1</trace></traceGroup>', "cat"),
    ],
)
def test_the_word_is_what_the_file_is_annotated_with_else_its_folders_name(
    annotations: str, word: str, tmp_path: Path
) -> None:
    path = tmp_path / "cat" / "1.inkml"
    path.parent.mkdir()
    path.write_text(f"<ink>{annotations}<trace>1 1</trace></ink>")
    assert [drawing.word for drawing in read_drawings(path)] == [word]


def test_a_channel_of_negative_orientation_grows_the_other_way(tmp_path: Path) -> None:
    channels = '<channel name="X" orientation="+ve"/><channel name="Y" orientation="-ve"/>'
    assert points(tmp_path, f"<traceFormat>{channels}</traceFormat><trace>1 2,3 5</trace>") == [[[1, -2], [3, -5]]]


def test_a_trace_has_the_format_of_its_context(tmp_path: Path) -> None:
    source = f'<inkSource xml:id="s">{FORMAT}</inkSource>'
    yx = '<context xml:id="yx"><traceFormat><channel name="Y"/><channel name="X"/></traceFormat></context>'
    inside = (
        f'<definitions>{source}<context xml:id="c" inkSourceRef="#s"/>{yx}</definitions>'
        '<trace contextRef="#c">1 2 3</trace><traceGroup contextRef="#yx"><trace>1 2</trace></traceGroup>'
    )
    drawing = read(tmp_path, inside)
    assert [stroke.tolist() for stroke in drawing.strokes] == [[[1, 2]], [[2, 1]]] and drawing.times_ms is None


@pytest.mark.parametrize(
    ("inside", "line", "reason"),
    [
        ("", None, "has no trace"),
        ("\n<trace>1 2,\n3</trace>", 3, "point 2 of a trace has 1 values; expected 2"),
        ("<trace>1 2 3</trace>", 1, "point 1 of a trace has '3' where its end was expected"),
        ("<trace>1 x</trace>", 1, "point 1 of a trace has 'x' where a value was expected"),
        ("<trace>1e999 1</trace>", None, "has a value that is not finite"),
        ('<traceFormat><channel name="X"/></traceFormat>', 1, "its trace format has no channel Y, or several"),
        (f"<traceFormat>{'<channel/>' * 101}</traceFormat>", 1, "more than 100 channels"),
        ('<trace contextRef="http://localhost/a.inkml#c">1 2</trace>', 1, "which is not in this file"),
        (f"<trace>{'1 1,' * 100_001}</trace>", 1, "more than 400000 bytes"),
        (
            f'<trace xml:id="a">1 1</trace>{FORMAT}<trace continuation="end" priorRef="#a">2 2 0</trace>',
            1,
            "goes on with one that has other channels",
        ),
        ("<trace>1 1</trace>" * 10_001, 1, "more than 10000 traces"),
        ("<trace>1 1", 1, "not well-formed XML (mismatched tag)"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    inside: str, line: int | None, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, inside)
    assert (caught.value.path, caught.value.line) == (tmp_path / "cat" / "1.inkml", line)
    assert reason in caught.value.reason


def test_another_root_and_entities_are_refused(tmp_path: Path) -> None:
    for text, reason in (("<svg/>", "is <svg>; expected <ink>"), ('<!DOCTYPE ink [<!ENTITY a "b">]><ink/>', "entity")):
        (tmp_path / "a.inkml").write_text(text)
        with pytest.raises(FormatError, match=reason):
            list(read_drawings(tmp_path / "a.inkml"))
