"""Kaggle's CSV, and the line of whatever is wrong in it."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import refusal, said

from quickstroke.errors import FormatError
from quickstroke.formats import read_file
from quickstroke.formats.csv import plain_columns

COLUMNS = ("countrycode", "drawing", "key_id", "recognized", "timestamp", "word")
STROKES = "[[[1, 2, 3], [4, 5, 6]], [[7], [8]]]"
ROW = {
    "countrycode": "DE",
    "drawing": STROKES,
    "key_id": "5201136883597312",
    "recognized": "False",
    "timestamp": "2017-03-01 20:41:36.707250",
    "word": "ice cream",
}


def table(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    """Rows as pandas writes them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def save(folder: Path, content: str | bytes, name: str = "any.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


EXPECTED = (
    "ice cream",
    5201136883597312,
    "DE",
    1_488_400_896_707_250,
    False,
    True,
    [[[1, 4], [2, 5], [3, 6]], [[7, 8]]],
    None,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv_format")


def test_row_says_all_of_a_drawing(tmp_path: Path) -> None:
    assert list(map(said, read_file(save(tmp_path, table(ROW, ROW))))) == [EXPECTED, EXPECTED]


@given(st.permutations([*COLUMNS, "", "more"]))
def test_columns_come_in_any_order_and_with_others(folder: Path, columns: list[str]) -> None:
    row = {**ROW, "": "0", "more": '"x,\ny"'}
    path = save(folder, table(row, columns=tuple(columns)))
    assert list(map(said, read_file(path))) == [EXPECTED]


def test_drawing_and_word_are_enough(tmp_path: Path) -> None:
    (drawing,) = read_file(save(tmp_path, table(ROW, columns=("word", "drawing"))))
    assert said(drawing)[:5] == ("ice cream", 0, "ZZ", 0, True)


def test_kaggles_test_file_has_drawings_without_a_word(tmp_path: Path) -> None:
    (drawing,) = read_file(save(tmp_path, table(ROW, columns=("key_id", "countrycode", "drawing"))))
    assert said(drawing)[:5] == ("", 5201136883597312, "DE", 0, True)
    assert said(drawing)[5:] == EXPECTED[5:]


def test_a_column_label_is_the_word_where_there_is_no_other(tmp_path: Path) -> None:
    columns = (*COLUMNS[:-1], "label")
    rows = [{**ROW, "label": word} for word in ("ice cream", "cat")]
    assert [drawing.word for drawing in read_file(save(tmp_path, table(*rows, columns=columns)))] == [
        "ice cream",
        "cat",
    ]
    assert plain_columns(b"drawing,label\n") == plain_columns(b"drawing,word\n")
    path = save(tmp_path, table({**ROW, "label": "7"}, columns=(*COLUMNS, "label")))
    assert [drawing.word for drawing in read_file(path)] == ["ice cream"]


def test_raw_row_has_times(tmp_path: Path) -> None:
    (drawing,) = read_file(save(tmp_path, table({**ROW, "drawing": "[[[1.5, 20, 3], [4, 5, 6], [0, 16, 33]]]"})))
    assert not drawing.is_simplified
    assert drawing.strokes[0].tolist() == [[1.5, 4], [20, 5], [3, 6]]
    assert drawing.times_ms is not None
    assert drawing.times_ms[0].tolist() == [0, 16, 33]


def test_empty_values_are_unknown(tmp_path: Path) -> None:
    (drawing,) = read_file(save(tmp_path, table({**ROW, "countrycode": "", "key_id": "", "timestamp": ""})))
    assert said(drawing)[:5] == ("ice cream", 0, "ZZ", 0, False)


def test_same_drawings_as_in_official_ndjson(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/quickdraw/simplified/cat.ndjson"
    rows = []
    for line in source.read_text().splitlines():
        record = json.loads(line)
        record["timestamp"] = record["timestamp"].removesuffix(" UTC")
        rows.append({key: str(value) for key, value in record.items()})
    path = save(tmp_path, table(*rows))
    assert list(map(said, read_file(path))) == list(map(said, read_file(source)))


@pytest.mark.parametrize("name", ["any.csv", "any.csv.gz"])
def test_line_ends_byte_order_marks_and_blank_lines_do_not_matter(name: str, tmp_path: Path) -> None:
    for text in (
        table(ROW, ROW),
        table(ROW, ROW).replace("\n", "\r\n"),
        "\ufeff" + table(ROW, ROW),
        table(ROW, ROW).removesuffix("\n"),
        table(ROW, ROW).replace("\n", "\n\n") + "\r\n\n",
    ):
        content = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
        assert list(map(said, read_file(save(tmp_path, content, name)))) == [EXPECTED, EXPECTED]


def test_header_alone_holds_no_drawing(tmp_path: Path) -> None:
    assert list(read_file(save(tmp_path, table()))) == []


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_empty_file_has_no_header(content: bytes, tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, content))
    assert not found
    assert "header" in error.reason
    assert "drawing" in error.reason


def test_needed_column_that_is_missing_is_named(tmp_path: Path) -> None:
    columns = tuple(column for column in COLUMNS if column != "drawing")
    _, error = refusal(save(tmp_path, table(ROW, columns=columns)))
    assert error.line == 1
    assert "no column 'drawing'" in error.reason
    assert "countrycode" in error.reason


def test_column_twice_is_refused(tmp_path: Path) -> None:
    _, error = refusal(save(tmp_path, f'word,drawing,word\ncat,"{STROKES}",dog\n'))
    assert (error.line, error.reason) == (1, "header has 2 columns 'word'")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drawing": ""}, "'drawing' is not valid JSON"),
        ({"drawing": "[[[1,2],[3,4]]"}, "'drawing' is not valid JSON"),
        ({"drawing": "[" * 100_000}, "'drawing' is not valid JSON"),
        ({"drawing": "[]"}, "no strokes"),
        ({"drawing": "{}"}, "should be a list of strokes"),
        ({"drawing": "[[[1,256],[3,4]]]"}, "no integer from 0 to 255"),
        ({"drawing": "[[[1,NaN],[3,4]]]"}, "not finite"),
        ({"drawing": "[[[1],[3,4]]]"}, "unequal length"),
        ({"key_id": "-1"}, "'key_id'"),
        ({"key_id": "5.2e15"}, "'key_id'"),
        ({"key_id": str(2**64)}, "'key_id'"),
        ({"recognized": ""}, "'recognized' should be True or False"),
        ({"recognized": "true"}, "'recognized' should be True or False, got 'true'"),
        ({"recognized": "1"}, "'recognized' should be True or False"),
        ({"timestamp": "yesterday"}, "'timestamp' should be like"),
    ],
)
def test_wrong_value_is_refused_with_its_line(change: dict[str, str], reason: str, tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, table(ROW, ROW, {**ROW, **change}, ROW)))
    assert (len(found), error.line) == (2, 4)
    assert reason in error.reason
    assert "line 4" in str(error)


def test_line_of_a_row_is_where_it_begins(tmp_path: Path) -> None:
    tall = {**ROW, "drawing": STROKES.replace(", ", ",\n")}
    height = table(tall).count("\n") - 1
    assert height > 3
    found, error = refusal(save(tmp_path, table(tall, tall, {**tall, "key_id": "x"}, tall)))
    assert (len(found), error.line) == (2, 2 + 2 * height)
    assert "'key_id'" in error.reason


@pytest.mark.parametrize(("row", "n_values"), [("DE,1,2\n", 3), ("a,b,c,d,e,f,g\n", 7), (" \n", 1)])
def test_row_with_too_few_or_many_values_is_refused(row: str, n_values: int, tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, table(ROW) + row))
    assert (len(found), error.line) == (1, 3)
    assert error.reason == f"{n_values} values where the header has 6 columns"


def test_quote_that_does_not_end_is_refused_where_it_begins(tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, table(ROW) + 'DE,"[[[1],\n[2]]],\n\n5,True,,cat\n'))
    assert (len(found), error.line) == (1, 3)
    assert "not valid CSV" in error.reason


def test_quote_in_a_wrong_place_is_refused(tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, table(ROW) + 'DE,"[]"x,5,True,,cat\n' + table(ROW)))
    assert (len(found), error.line) == (1, 3)
    assert "not valid CSV" in error.reason


def test_file_cut_anywhere_gives_whole_rows_and_then_the_line(tmp_path: Path) -> None:
    content = table(ROW, ROW)
    enough, head, first = len("countrycode,drawing"), len(table()), len(table(ROW))
    word = len("ice cream\n")
    for cut in range(1, len(content), 2):
        path = save(tmp_path, content[:cut])
        # no end of line is needed, and a word that is cut is a word
        if cut < enough:
            assert refusal(path)[1].line == 1
        elif cut <= head:
            assert list(read_file(path)) == []
        elif first - word <= cut <= first:
            assert len(list(read_file(path))) == 1
        elif len(content) - word <= cut:
            assert len(list(read_file(path))) == 2
        else:
            found, error = refusal(path)
            assert (len(found), error.line) == ((0, 2) if cut < first else (1, 3))


def test_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    found, error = refusal(save(tmp_path, (table(ROW) + table(ROW)).encode() + b"caf\xe9\n"))
    assert len(found) <= 1
    found, error = refusal(save(tmp_path, table(ROW).encode() + b"caf\xe9\n"))
    assert (len(found), error.line, "not UTF-8" in error.reason) == (1, 3, True)


def test_web_page_and_truncated_gzip_are_refused(tmp_path: Path) -> None:
    page = '<!DOCTYPE html PUBLIC "-//W3C//DTD">\n<html lang="en">\n</html>'
    assert "web page" in refusal(save(tmp_path, page))[1].reason
    packed = gzip.compress(table(ROW, ROW).encode())[:-5]
    assert "gzip" in refusal(save(tmp_path, packed, "any.csv.gz"))[1].reason


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("," * 390_000, 1, "header has 390001 columns; expected at most 100"),
        (table(ROW) + '"a\n",' * 100_000, 3, "a row of more than 400000 bytes"),
        (table(ROW) + "a" * 400_001, 3, "a line of more than 400000 bytes"),
        (table(ROW) + "😀," * 70_000, 3, "70001 values where"),
        (table(ROW | {"drawing": f"[{'[[1],[2]],' * 38_000}[[1],[2]]]"}), 2, "has 38001 strokes; expected at most"),
    ],
    ids=["columns", "row", "line", "values", "strokes"],
)
def test_no_row_takes_much_more_memory_than_it_has_bytes(
    content: str, line: int, reason: str, tmp_path: Path, is_small: Any
) -> None:
    path = tmp_path / "any.csv.gz"
    path.write_bytes(gzip.compress(content.encode()))
    error = refusal(path)[1]
    assert error.line == line and reason in error.reason
    assert is_small(lambda: list(read_file(path)), path.stat().st_size)


@given(st.text(alphabet='",\n\r[]{}0123.eNaDE \ufeffé\0', max_size=80))
def test_any_text_under_the_header_is_drawings_or_refused(folder: Path, text: str) -> None:
    path = save(folder, table(ROW) + text)
    try:
        found = list(read_file(path))
    except FormatError as error:
        assert (error.line or 0) >= 3
    else:
        assert said(found[0]) == EXPECTED


def test_strokes_in_place_of_drawings_need_no_times(folder: Path) -> None:
    path = save(folder, 'word,strokes\ncat,"[[[301.5, 304.2], [120, 121.7]]]"\n')
    (drawing,) = read_file(path)
    assert not drawing.is_simplified and drawing.times_ms is None
    assert [stroke.tolist() for stroke in drawing.strokes] == [[[301.5, 120.0], [304.2, 121.7]]]
    error = refusal(save(folder, "word;drawing\ncat;[]\n"))[1]
    assert "has no column 'drawing' or 'strokes'; got 'word;drawing'; expected commas between columns" in error.reason


def test_a_callers_own_limit_of_a_value_stays(tmp_path: Path) -> None:
    before = csv.field_size_limit(100)
    try:
        strokes = json.dumps([[list(range(90)), [7] * 90]])
        drawings = read_file(save(tmp_path, table({**ROW, "drawing": strokes}, ROW)))
        assert next(drawings).strokes[0].shape == (90, 2)
        assert csv.field_size_limit() == 100  # while the file is open, too
        assert len(list(drawings)) == 1 and csv.field_size_limit() == 100
        with pytest.raises(FormatError, match="not valid CSV"):
            list(read_file(save(tmp_path, 'drawing\n"')))
        assert csv.field_size_limit() == 100
    finally:
        csv.field_size_limit(before)
