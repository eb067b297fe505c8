"""The official ndjson formats, with every way in which a line can be wrong."""

import dataclasses
import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from told import refusal, said

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import ndjson, read_file
from quickstroke.formats.ndjson import parse_line

STROKES = [[[1, 2, 3], [4, 5, 6]], [[7], [8]]]
LINE = json.dumps(
    {
        "word": "cat",
        "countrycode": "DE",
        "timestamp": "2017-03-01 20:41:36.70725 UTC",
        "recognized": False,
        "key_id": "5201136883597312",
        "drawing": STROKES,
    }
)


def line_with(**changes: Any) -> str:
    return json.dumps({**json.loads(LINE), **changes})


def drawing_with(strokes: Any) -> Drawing:
    return parse_line(json.dumps({"drawing": strokes}))


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Anything that the format can hold, its word written canonically."""
    stroke = hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.just(2)))
    year_1, year_9999 = -62_135_596_800_000_000, 253_402_300_799_999_999
    return Drawing(
        word=" ".join(unicodedata.normalize("NFC", draw(st.text())).replace("_", " ").split()) + "!",
        strokes=draw(st.lists(stroke, min_size=1, max_size=6)),
        key_id=draw(st.one_of(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))),
        countrycode=draw(st.text(min_size=1)),
        timestamp_us=draw(st.one_of(st.sampled_from([0, year_1, year_9999]), st.integers(year_1, year_9999))),
        recognized=draw(st.booleans()),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ndjson_format")


def save(folder: Path, content: bytes | str, name: str = "cat.ndjson") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_line_says_all_of_a_drawing() -> None:
    drawing = parse_line(LINE)
    assert (drawing.word, drawing.countrycode, drawing.recognized) == ("cat", "DE", False)
    assert drawing.key_id == 5201136883597312
    assert drawing.timestamp_us == 1_488_400_896_707_250
    assert [stroke.tolist() for stroke in drawing.strokes] == [[[1, 4], [2, 5], [3, 6]], [[7, 8]]]
    assert {stroke.dtype for stroke in drawing.strokes} == {np.dtype(np.uint8)}
    assert drawing.times_ms is None


def test_raw_line_has_times() -> None:
    drawing = drawing_with([[[1.5, -2], [3, 1e4], [0, 17]], [[1], [1], [40.25]]])
    assert not drawing.is_simplified
    assert [stroke.tolist() for stroke in drawing.strokes] == [[[1.5, 3], [-2, 10_000]], [[1, 1]]]
    assert {stroke.dtype for stroke in drawing.strokes} == {np.dtype(np.float64)}
    assert drawing.times_ms is not None
    assert [times.tolist() for times in drawing.times_ms] == [[0, 17], [40.25]]


def test_drawing_alone_is_enough() -> None:
    drawing = drawing_with(STROKES)
    assert said(drawing)[:5] == ("", 0, "ZZ", 0, True)


@pytest.mark.parametrize("packed", [False, True])
def test_real_simplified_files_are_written_to_the_same_bytes(packed: bool, shared: Path, tmp_path: Path) -> None:
    sources = sorted((shared / "data/quickdraw/simplified").glob("*.ndjson"))
    assert len(sources) == 344
    for source in sources[:20] if packed else sources:
        content = source.read_bytes()
        path = source
        if packed:
            path = save(tmp_path, gzip.compress(content), f"{source.name}.gz")
        copy = tmp_path / ("copy.ndjson.gz" if packed else "copy.ndjson")
        assert ndjson.write(copy, read_file(path)) == 25
        written = copy.read_bytes()
        assert (gzip.decompress(written) if packed else written) == content, source.name


def test_real_raw_drawings_are_read_to_the_last_number(shared: Path) -> None:
    n = 0
    for source in sorted((shared / "data/quickdraw/raw").glob("*.ndjson")):
        for line, drawing in zip(source.read_text().splitlines(), read_file(source), strict=True):
            record = json.loads(line)
            assert drawing.times_ms is not None
            rows = [
                [*stroke.T.tolist(), times.tolist()]
                for stroke, times in zip(drawing.strokes, drawing.times_ms, strict=True)
            ]
            assert rows == record["drawing"]
            assert (drawing.word, str(drawing.key_id)) == (record["word"], record["key_id"])
            assert ndjson.format_timestamp(drawing.timestamp_us) == record["timestamp"]
            n += 1
    assert n == 755


def test_real_drawings_are_the_same_in_both_formats(shared: Path) -> None:
    n = 0
    for word in ("cat", "sun", "The Eiffel Tower", "zebra"):
        data = shared / "data/quickdraw"
        in_binary = {drawing.key_id: drawing for drawing in read_file(data / f"binary/{word}.bin")}
        for drawing in read_file(data / f"simplified/{word}.ndjson"):
            twin = in_binary.get(drawing.key_id)
            if twin is None or twin.timestamp_us == 0:
                continue
            assert (twin.word, twin.countrycode, twin.recognized) == (
                drawing.word,
                drawing.countrycode,
                drawing.recognized,
            )
            assert twin.timestamp_us == drawing.timestamp_us // 1_000_000 * 1_000_000
            assert [s.tolist() for s in twin.strokes] == [s.tolist() for s in drawing.strokes]
            n += 1
    assert n >= 50


@given(st.lists(drawings(), max_size=4))
def test_any_drawing_is_read_as_it_was_written(folder: Path, items: list[Drawing]) -> None:
    path = folder / "any.ndjson"
    assert ndjson.write(path, items) == len(items)
    assert list(map(said, read_file(path))) == list(map(said, items))


def test_blank_lines_line_ends_and_byte_order_marks_do_not_matter(tmp_path: Path) -> None:
    expected = [said(parse_line(LINE))] * 2
    for content in (
        f"{LINE}\n{LINE}\n",
        f"{LINE}\n{LINE}",
        f"{LINE}\r\n{LINE}\r\n",
        f"\n\n{LINE}\n  \t\n\r\n{LINE}\n\n",
        f"\ufeff{LINE}\n{LINE}\n",
        f"  {LINE}  \n\t{LINE}\n",
    ):
        assert list(map(said, read_file(save(tmp_path, content)))) == expected


def test_empty_file_holds_no_drawing(tmp_path: Path) -> None:
    assert list(read_file(save(tmp_path, b""))) == []
    assert list(read_file(save(tmp_path, b"\n\n"))) == []


def test_wrong_line_is_refused_with_its_number(tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, f"{LINE}\n\n{LINE}\n{line_with(key_id=-1)}\n{LINE}\n"))
    assert len(found) == 2
    assert error.line == 4
    assert "line 4" in str(error)
    assert "truncated" not in error.reason


def test_file_cut_in_its_last_line_is_called_truncated(tmp_path: Path) -> None:
    content = f"{LINE}\n{LINE}\n".encode()
    for cut in range(len(LINE) + 2, len(content) - 2):
        found, error = refusal(save(tmp_path, content[:cut]))
        assert len(found) == 1
        assert error.line == 2
        assert "truncated?" in error.reason


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(f"{LINE}\n".encode() * 100)[:-9]
    assert "gzip" in refusal(save(tmp_path, content, "cat.ndjson.gz"))[1].reason


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html>\n<html></html>",
        b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>",
    ],
)
def test_web_page_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "web page" in refusal(save(tmp_path, content))[1].reason


def test_line_of_any_length_is_refused_before_it_fills_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_DRAWING_BYTES", len(LINE) + 1)
    found, error = refusal(save(tmp_path, f"{LINE}\n{LINE} \n"))
    assert len(found) == 1
    assert (error.line, "a line of more than" in error.reason) == (2, True)


@pytest.mark.parametrize(
    "repeated", ["[[1],[2]],", "[[1],[2],[3]],", "[],", "{},", '{"":[]},', "1.5,", '"\\ud83d\\ude00",', "😀_a"]
)
@pytest.mark.parametrize("line", ['{"drawing":[%s[[1],[2]]]}\n', '{"drawing":[[[%s1],[2]]]}\n', '{"word":"%s"}\n'])
def test_no_line_takes_much_more_memory_than_it_has_bytes(
    line: str, repeated: str, tmp_path: Path, is_small: Any
) -> None:
    text = line % (repeated * (390_000 // len(repeated.encode())))
    path = tmp_path / "cat.ndjson.gz"
    path.write_bytes(gzip.compress(text.encode() * 2))
    assert is_small(lambda: list(read_file(path)), path.stat().st_size)


def test_more_strokes_than_a_line_may_have_are_refused_in_reading_and_writing(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has 10001 strokes; expected at most 10000"):
        drawing_with([[[1], [2]]] * 10_001)
    drawing = drawing_with([[[1], [2]]] * 10_000)
    assert parse_line(ndjson.format_line(drawing)).n_points == 10_000
    for strokes in ([*drawing.strokes, drawing.strokes[0]], [np.zeros((100_000, 2), np.uint8)]):
        with pytest.raises(FormatError, match=r"takes \d+ bytes for \d+ strokes; expected at most 400000 and 10000"):
            ndjson.write(tmp_path / "cat.ndjson", [dataclasses.replace(drawing, strokes=strokes)])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "nonsense",
        LINE[:-1],
        LINE + LINE,
        LINE + "]",
        LINE.replace('"', "'"),
        "{'drawing': []}",
        b"\xff\xfe" + LINE.encode("utf-16-le"),
        b'{"word": "caf\xe9", "drawing": [[[1], [2]]]}',
        b"\0" * 50,
        '{"key_id": ' + "9" * 5000 + ', "drawing": [[[1],[2]]]}',
    ],
)
def test_what_is_no_json_is_refused(line: str | bytes) -> None:
    with pytest.raises(FormatError, match=r"not valid JSON|expected a JSON object"):
        parse_line(line)


@pytest.mark.parametrize("line", ["[]", "5", "null", '"drawing"', "[[[[1],[2]]]]", "true"])
def test_json_that_is_no_object_is_refused(line: str) -> None:
    with pytest.raises(FormatError, match="expected a JSON object with a key 'drawing'"):
        parse_line(line)


def test_line_without_a_drawing_is_refused() -> None:
    with pytest.raises(FormatError, match="has no key 'drawing'"):
        parse_line('{"word": "cat", "Drawing": [[[1],[2]]]}')


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_what_json_does_not_know_is_refused(name: str) -> None:
    for line in (f'{{"drawing": [[[{name}],[2]]]}}', f'{{"drawing": [[[1],[2]]], "more": {name}}}'):
        with pytest.raises(FormatError, match=f"^{name} is not a finite number$"):
            parse_line(line)


def test_nesting_of_any_depth_is_refused() -> None:
    for depth in (*range(20, 1100, 9), 20_000, 1_000_000):
        nested = "[" * depth + "]" * depth
        for line in (f'{{"drawing": {nested}}}', f'{{"drawing": [[[1],[2]]], "word": {nested}}}', nested):
            with pytest.raises(FormatError) as caught:
                parse_line(line)
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize("key", ["word", "countrycode", "recognized", "key_id", "timestamp", "drawing"])
@pytest.mark.parametrize("value", [1.5, [], {}, ["DE"], {"a": 1}, -1, True, False, "no such thing", 0])
def test_value_of_the_wrong_type_is_refused_by_its_key(key: str, value: object) -> None:
    kinds = {"word": str, "countrycode": str, "recognized": bool}
    right = type(value) is kinds.get(key) or (key == "key_id" and type(value) is int and value == 0)
    if right:
        assert parse_line(line_with(**{key: value})).n_points == 4
    else:
        with pytest.raises(FormatError, match="drawing|stroke 1" if key == "drawing" else f"'{key}' should be"):
            parse_line(line_with(**{key: value}))


@pytest.mark.parametrize("key", ["countrycode", "timestamp"])
def test_null_is_unknown_where_the_binary_format_knows_unknown(key: str) -> None:
    drawing = parse_line(line_with(**{key: None}))
    assert {"countrycode": drawing.countrycode == "ZZ", "timestamp": drawing.timestamp_us == 0}[key]


@pytest.mark.parametrize("key", ["word", "recognized", "key_id", "drawing"])
def test_null_elsewhere_is_refused(key: str) -> None:
    with pytest.raises(FormatError, match=key):
        parse_line(line_with(**{key: None}))


def test_half_a_character_is_refused_in_reading_and_writing(tmp_path: Path) -> None:
    for key in ("word", "countrycode"):
        with pytest.raises(FormatError, match=f"'{key}' has half a character"):
            parse_line(LINE.replace('"cat"' if key == "word" else '"DE"', r'"a\ud800"'))
        drawing = Drawing("cat", [np.zeros((1, 2), np.uint8)])
        drawing = dataclasses.replace(drawing, **{key: "a\ud800"})  # type: ignore[arg-type]
        with pytest.raises(FormatError, match=f"drawing 1: '{key}' has half a character"):
            ndjson.write(tmp_path / "cat.ndjson", [drawing])
    assert list(tmp_path.iterdir()) == []


def test_whole_character_written_in_two_halves_is_read() -> None:
    assert parse_line(LINE.replace('"cat"', r'"\ud83d\ude00"')).word == "😀"


def test_numbers_of_a_datasets_arrays_are_written() -> None:
    strokes = [np.array([[1, 4], [2, 5]], np.uint8)]
    values: Any = {"key_id": np.uint64(2**64 - 1), "recognized": np.bool_(False), "timestamp_us": np.int64(7)}
    drawing = Drawing("cat", strokes, **values)
    plain = Drawing("cat", strokes, key_id=2**64 - 1, recognized=False, timestamp_us=7)
    assert ndjson.format_line(drawing) == ndjson.format_line(plain)


def test_word_is_written_canonically() -> None:
    assert parse_line(line_with(word="the_eiffel_tower")).word == "The Eiffel Tower"


def test_of_a_key_given_twice_the_last_counts() -> None:
    line = '{"word": "dog", "drawing": 5, "word": "cat", "drawing": [[[1],[2]]]}'
    assert said(parse_line(line))[0] == "cat"


@pytest.mark.parametrize(
    ("value", "key_id"),
    [("0", 0), (0, 0), ("18446744073709551615", 2**64 - 1), (2**64 - 1, 2**64 - 1), ("007", 7), (5, 5)],
)
def test_key_id_is_a_number_or_its_digits(value: object, key_id: int) -> None:
    assert parse_line(line_with(key_id=value)).key_id == key_id


@pytest.mark.parametrize(
    "value",
    [-1, "-1", 2**64, str(2**64), "", " 5", "5 ", "+5", "5.0", 5.0, "0x5", "1e3", "٣", "²", "9" * 4000, True, "cat"],
)
def test_any_other_key_id_is_refused(value: object) -> None:
    with pytest.raises(FormatError, match="'key_id' should be an integer from 0 to") as caught:
        parse_line(line_with(key_id=value))
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("text", "timestamp_us"),
    [
        ("1970-01-01 00:00:00 UTC", 0),
        ("1970-01-01 00:00:00.000001 UTC", 1),
        ("1969-12-31 23:59:59.5 UTC", -500_000),
        ("2017-03-01 20:41:36.70725 UTC", 1_488_400_896_707_250),
        ("2017-03-01 20:41:36.70725", 1_488_400_896_707_250),
        ("2017-03-01T20:41:36.70725Z", 1_488_400_896_707_250),
        ("2017-03-01 22:41:36.70725+02:00", 1_488_400_896_707_250),
        ("0001-01-01 00:00:00 UTC", -62_135_596_800_000_000),
        ("9999-12-31 23:59:59.999999 UTC", 253_402_300_799_999_999),
    ],
)
def test_timestamp_is_read(text: str, timestamp_us: int) -> None:
    assert parse_line(line_with(timestamp=text)).timestamp_us == timestamp_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UTC",
        " UTC",
        "2017",
        "2017-13-01 00:00:00 UTC",
        "2017-02-30 00:00:00 UTC",
        "2017-03-01 25:00:00 UTC",
        "2017-03-01 20:41:36 CET",
        "0001-01-01 00:00:00+05:00",
        "01.03.2017 20:41",
        "1488400896",
        "now",
    ],
)
def test_any_other_timestamp_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="'timestamp' should be like '2017-03-01 "):
        parse_line(line_with(timestamp=text))


@pytest.mark.parametrize(
    ("strokes", "reason"),
    [
        ([], "the drawing has no strokes"),
        ("[[[1],[2]]]", "'drawing' should be a list of strokes, got str"),
        ([[]], r"stroke 1 should be \[\[x"),
        ([[[1], [2], [3], [4]]], r"stroke 1 has 4 rows of 1 number; expected points \[\[x, y\], ..\] or columns"),
        ([[[1, 2]], [[1], [2]]], r"stroke 2 has 2 rows of 1 number; expected points .*, since stroke 1 is written so"),
        ([[1, 2], [3, 4]], r"stroke 1 should be \[\[x"),
        ([STROKES[0], "12"], r"stroke 2 should be \[\[x"),
        ([STROKES[0], None], r"stroke 2 should be \[\[x"),
        ([{"x": [1], "y": [2]}], r"stroke 1 should be \[\[x"),
        ([["12", "34"]], r"stroke 1 should be \[\[x"),
        ([[[], []]], "stroke 1 has no points"),
        ([STROKES[0], [[], []]], "stroke 2 has no points"),
        ([[[1, 2], [3]]], r"stroke 1 has rows of unequal length: \[2, 1\]"),
        ([[[1, 2], [3, 4], [5]]], r"stroke 1 has rows of unequal length: \[2, 2, 1\]"),
        ([STROKES[0], [[1], [2], [3]]], "stroke 2 has 3 rows where the first stroke has 2"),
        ([[[1], [2], [3]], STROKES[0]], "stroke 2 has 2 rows where the first stroke has 3"),
        ([[[True], [1]]], "no number: True"),
        ([[[1], [None]]], "no number: None"),
        ([[["1"], ["2"]]], "no number: '1'"),
        ([[[[1]], [2]]], r"no number: \[1\]"),
        ([[[1], [256]]], "no integer from 0 to 255"),
        ([[[-1], [0]]], "no integer from 0 to 255"),
        ([[[0.5], [0]]], "no integer from 0 to 255"),
        ([[[1e300], [0]]], "no integer from 0 to 255"),
        ([[[10**40], [0]]], "no integer from 0 to 255"),
        ([[[10**400], [0], [0]]], "too large for a float"),
    ],
)
def test_wrong_strokes_are_refused_with_the_first_of_them(strokes: object, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        drawing_with(strokes)


def test_number_beyond_a_float_is_refused() -> None:
    with pytest.raises(FormatError, match="stroke 1 has a coordinate that is not finite"):
        parse_line('{"drawing": [[[1e999], [1], [1]]]}')


def test_whole_numbers_may_be_written_as_floats() -> None:
    assert said(drawing_with([[[1.0, 255.0], [-0.0, 2e1]]])) == said(drawing_with([[[1, 255], [0, 20]]]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


@given(st.sampled_from(["word", "countrycode", "recognized", "key_id", "timestamp", "drawing"]), json_values)
def test_any_json_is_a_drawing_or_refused(key: str, value: object) -> None:
    try:
        drawing = parse_line(line_with(**{key: value}))
    except FormatError as error:
        assert error.reason
        assert "\n" not in error.reason
    else:
        assert drawing.n_points > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"strokes": []}, "no strokes"),
        ({"strokes": [np.zeros((0, 2), np.uint8)]}, "stroke 1 has the shape"),
        ({"strokes": [np.zeros((2, 2))]}, "raw"),
        ({"key_id": -1}, "'key_id' should be"),
        ({"key_id": 2**64}, "'key_id' should be"),
        ({"timestamp_us": 10**30}, "timestamp"),
        ({"timestamp_us": 253_402_300_800_000_000}, "timestamp"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    good = Drawing("cat", [np.zeros((1, 2), np.uint8)])
    values = {"word": "cat", "strokes": good.strokes} | change
    with pytest.raises(FormatError, match=f"cat.ndjson: drawing 2: .*{reason}"):
        ndjson.write(tmp_path / "cat.ndjson", [good, Drawing(**values)])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
