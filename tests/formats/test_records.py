"""Text files as records by compiled code, and the same by the readers of drawings: bytes, words, errors and places."""

import gzip
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_files import converted, outcome, plain

from quickstroke import formats
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import csv, input, ndjson, records, scanning

FACTS = {
    "word": "cat",
    "countrycode": "DE",
    "timestamp": "2017-03-01 20:41:36.70725 UTC",
    "recognized": False,
    "key_id": "5201136883597312",
}
SIMPLIFIED = [[[1, 2, 3], [4, 5, 255]], [[7, 8], [8, 0]]]
RAW = [
    [[1.5, 83.81900024414062, 3e2], [4, -5.25, 212.2239990234375], [0, 10, 20]],
    [[7, 126.21399688720703], [8, 0], [30, 31]],
]


def lines() -> list[bytes]:
    """Lines of many kinds, most of them right."""
    points = [[[1, 2], [3, 4], [5, 6], [7, 8]], [[0, 9], [9, 0]]]
    told = [
        {**FACTS, "drawing": SIMPLIFIED},
        {**FACTS, "drawing": RAW},
        {"drawing": points, "word": "dog"},
        {"drawing": [[[*point, 0.5] for point in stroke] for stroke in points], "word": "dog"},
        {"word": "sun", "drawing": [[[1, 2], [3, 4]]], "key_id": 17, "more": "x", "other": None, "n": -1.5},
        {**FACTS, "word": "The_Eiffel Tower", "key_id": "18446744073709551615", "drawing": SIMPLIFIED},
        {**FACTS, "timestamp": None, "countrycode": None, "recognized": True, "key_id": "0", "drawing": SIMPLIFIED},
        {**FACTS, "word": "grüße", "drawing": SIMPLIFIED},
        {**FACTS, "timestamp": "2016-02-29 00:00:00 UTC", "drawing": [[[0], [0]]]},
        {**FACTS, "drawing": [[[0, 256], [0, 1]]]},
        {**FACTS, "drawing": [[[0, 1], [0, 1]], [[0, 1], [0, 1], [0, 1]]]},
        {**FACTS, "key_id": "18446744073709551616", "drawing": SIMPLIFIED},
        {**FACTS, "word": "", "drawing": SIMPLIFIED},
    ]
    compact = [json.dumps(line, separators=(",", ":")).encode() for line in told]
    return [*compact, *(json.dumps(line).encode() for line in told), b"", b" \t", b"\x0b", b"{}", b"[]"]


def rows() -> list[bytes]:
    texts = [
        b'US,"[[[1, 2, 3], [4, 5, 6]], [[7], [8]]]",5201136883597312,True,2017-03-01 20:41:36.70725,cat',
        b'US,"[[[1.5,2,3],[4,5,6],[0,1,2]]]",1,False,2017-03-01 20:41:36.70725 UTC,"hot dog"',
        b',"[[[1,2],[3,4],[5,6]]]",,True,,dog',
        b'US,"[[[1,2],[3,4]]]",5,true,,dog',
        b'US,"[[[1,2],[3,4]]]",5,True,2017,dog',
        b'US,"[[[1,2],[3,4]]]",5,True,,"two ""dogs"""',
        b'US,"[[[1,2],\n[3,4]]]",5,True,,dog',
        b'"US","[[[1,2],[3,4]]]","5","True","","dog"',
        b"",
        b" ",
    ]
    return [text.replace(b"36.70725,", b"36.70725 UTC,") for text in texts]


def changed(line: bytes, rng: random.Random) -> bytes:
    """A line with a few bytes taken out, repeated or replaced."""
    letters = b'0123456789-.eE,:[]{}" \\\t\r\x00\xc3aTnul'
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        at = rng.randrange(len(line) + 1)
        n = rng.choice((0, 1, 1, 5))
        line = line[:at] + bytes(rng.choices(letters, k=rng.choice((0, 1, 1, 2)))) + line[at + n :]
    return line


def check(path: Path, is_csv: bool = False) -> None:
    read, fast = (csv.read, records.read_csv) if is_csv else (ndjson.read, records.read_ndjson)
    expected = outcome(plain(read, path))
    assert outcome(converted(fast, path)) == expected, path.read_bytes()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_each_line_alone_is_what_its_reader_makes_of_it(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    for line in lines():
        for text in (line + end, line):
            path.write_bytes(text)
            check(path)


def test_changed_lines_are_what_their_reader_makes_of_them(tmp_path: Path) -> None:
    rng, path, seeds = random.Random(0), tmp_path / "x.ndjson", lines()
    for _ in range(150):
        path.write_bytes(b"\n".join(changed(rng.choice(seeds), rng) for _ in range(4)))
        check(path)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_numbers_and_rows_of_all_lengths_are_read_anywhere(separators: tuple[str, str], tmp_path: Path) -> None:
    """Sixty-four bytes at a time are looked at: what is wrong may be the first or the last in them, or be cut."""
    rng, path, right = random.Random(0), tmp_path / "x.ndjson", []
    wrong = ("256", "260", "300", "999", "1000", "01", "", "-1", "1.5", "1e1", "1 2", "2,3", "1]", "[1")
    for n in range(1, 90):
        rows = [
            [rng.choice((0, 9, 10, 99, 100, 199, 249, 255)) for _ in range(m)] for m in (n, n, 1, 1, 90 - n, 90 - n)
        ]
        text = json.dumps({**FACTS, "drawing": [rows[k : k + 2] for k in (0, 2, 4)]}, separators=separators)
        right.append(text)
        number = rng.choice([match for match in re.finditer(r"\d+", text) if match.start() > text.index("[[[")])
        # The last line of a block others read.
        path.write_text((text[: number.start()] + rng.choice(wrong) + text[number.end() :] + "\n") * 2)
        check(path)
    path.write_text("\n".join(right) + "\n")
    check(path)
    assert [part.n for part in records.read_ndjson(path) if not isinstance(part, Drawing)] == [89]


def test_changed_rows_are_what_their_reader_makes_of_them(tmp_path: Path) -> None:
    rng, path, seeds = random.Random(0), tmp_path / "x.csv", rows()
    header = b"countrycode,drawing,key_id,recognized,timestamp,word"
    headers = [header] * 9 + [b'"drawing",word', b"word", b"", b"drawing,word,\xe1", "drawing,word,é".encode()]
    for _ in range(120):
        end = rng.choice((b"\n", b"\n", b"\r\n"))
        some = [changed(rng.choice(seeds), rng) if rng.random() < 0.5 else rng.choice(seeds[:2]) for _ in range(4)]
        path.write_bytes(end.join([rng.choice(headers), *some]))
        check(path, is_csv=True)


def test_most_lines_are_converted_and_runs_of_a_word_are_one(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"\n".join([*[lines()[0]] * 30, *[lines()[1]] * 2, *[lines()[0]] * 5, lines()[2]]) + b"\n")
    found = list(records.read_ndjson(path))
    assert [(part.word, part.n) for part in found if not isinstance(part, Drawing)] == [
        ("cat", 30),
        ("cat", 2),
        ("cat", 5),
        ("dog", 1),
    ]
    path = tmp_path / "x.csv"
    path.write_bytes(b"\n".join([b"countrycode,drawing,key_id,recognized,timestamp,word", *[rows()[0]] * 30]) + b"\n")
    assert [part.word for part in records.read_csv(path)] == ["cat"]


def left_out(convert: Callable[..., Any], read: Callable[..., Any], path: Path) -> tuple[Any, list[str]]:
    """What is read where what is no drawing is left out, and the errors of that."""
    errors: list[str] = []
    found = convert(lambda path: read(path, on_invalid=lambda error: errors.append(str(error))), path)
    return list(found), errors


@pytest.mark.parametrize("is_csv", [False, True])
def test_what_is_no_drawing_is_left_out_with_its_error(is_csv: bool, tmp_path: Path) -> None:
    path, rng = tmp_path / "x", random.Random(5)
    given = [b"countrycode,drawing,key_id,recognized,timestamp,word", *rows()[:4]] if is_csv else lines()
    given += [b'{"drawing":[]}', given[1], given[1]]
    read, fast = (csv.read, records.read_csv) if is_csv else (ndjson.read, records.read_ndjson)
    for _ in range(20):
        path.write_bytes(b"\n".join([given[0], *rng.sample(given[1:], len(given) - 1)]) + b"\n")
        found, errors = left_out(converted, fast, path)
        assert (found, errors) == left_out(plain, read, path)
        assert found
        assert outcome(converted(fast, path))[1] == errors[0]


def test_of_sketches_and_bitmaps_those_that_are_no_drawing_are_left_out(tmp_path: Path) -> None:
    items = [np.array([[1, 2, 0], [3, 4, 1]], np.int16), np.zeros((0, 3), np.int16), np.array([[5, 5, 1]], np.int16)]
    train = np.empty(len(items), object)
    train[:] = items
    np.savez(tmp_path / "cat.npz", train=train)
    bitmaps = np.zeros((3, 784), np.uint8)
    bitmaps[0, 300:320] = bitmaps[2, 400:410] = 255
    np.save(tmp_path / "cat.npy", bitmaps)
    for name, message in (("cat.npz", "drawing 2 of 'train'"), ("cat.npy", "bitmap 2")):
        errors: list[FormatError] = []
        assert len(list(formats.read_file(tmp_path / name, on_invalid=errors.append))) == 2
        (error,) = errors
        assert message in str(error)
        assert error.path == tmp_path / name
        parts = formats.read_records(tmp_path / name, on_invalid=errors.append)
        assert sum(getattr(part, "n", 1) for part in parts) == 2
        assert len(errors) == 2
        with pytest.raises(FormatError, match=message):
            list(formats.read_file(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.svg", b"<svg", "not well-formed XML"),
        ("a.inkml", b"<ink/>", "no trace"),
        ("a.json", b"[[", "not valid JSON"),
        ("a.png", b"no picture", "is no PNG"),
    ],
)
def test_a_file_of_one_drawing_is_left_out_as_a_whole(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    errors: list[FormatError] = []
    assert list(formats.read_drawings(path, on_invalid=errors.append)) == []
    (error,) = errors
    with pytest.raises(FormatError) as raised:
        list(formats.read_drawings(path))
    assert str(raised.value) == str(error)
    assert expected in str(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cat.bin", b"too short"),
        ("cat.npz", b"no archive"),
        ("a.csv", b"no,header\n1,2\n"),
        ("a.ndjson.gz", b"no gzip"),
        ("a.ndjson", b"<!doctype html>\n"),
        ("a.json", b'[{"drawing": [[[1, 2], [3, 4]]]},'),
    ],
)
def test_a_file_that_is_damaged_as_a_whole_is_refused_all_the_same(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    errors: list[FormatError] = []
    with pytest.raises(FormatError, match=re.escape(str(path))):
        list(formats.read_drawings(path, on_invalid=errors.append))
    assert errors == []


@pytest.mark.parametrize("size", [400_000, 400_001, 1_500_000])
def test_a_line_that_is_too_long_is_left_out_and_what_follows_is_read(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    good, long = lines()[0], b'{"drawing":' + b" " * size
    path.write_bytes(b"\n".join([good, long, good, b"", long, long, good]) + b"\n")
    found, errors = left_out(plain, ndjson.read, path)
    assert len(found) == 3
    assert [re.search(r"line (\d)", error)[1] for error in errors] == ["2", "5", "6"]  # type: ignore[index]
    assert (found, errors) == left_out(converted, records.read_ndjson, path)
    path.write_bytes(good + b"\n" + long)
    assert left_out(plain, ndjson.read, path) == left_out(converted, records.read_ndjson, path)


def test_a_gzip_that_ends_within_a_line_that_is_left_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson.gz"
    content = gzip.compress(lines()[0] + b'\n{"drawing":"' + random.Random(0).randbytes(900_000).hex().encode())
    path.write_bytes(content[: len(content) * 9 // 10])
    for read in (ndjson.read, records.read_ndjson):
        errors: list[FormatError] = []
        with pytest.raises(FormatError, match="damaged or truncated gzip file"):
            list(read(path, on_invalid=errors.append))
        assert [error.line for error in errors] == [2]


def test_points_and_columns_are_counted_by_compiled_code_too(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"\n".join(line for line in lines() if line) * 3)
    for layout in ("auto", "points", "columns"):
        errors: list[FormatError] = []
        parts = list(records.read_ndjson(path, layout, errors.append))
        counted = sum(part.source_layout == "points" if isinstance(part, Drawing) else part.n_points for part in parts)
        assert counted == sum(drawing.source_layout == "points" for drawing in ndjson.read(path, layout, errors.append))


def test_strokes_of_a_line_are_raw_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    strokes = [[[1.5, 9, 300, 7], [2, 8, 500, 7]]]
    path.write_text("".join(json.dumps({"word": "cat", "strokes": strokes} | more) + "\n" for more in ({}, {"a": 1})))
    first, _ = ndjson.read(path)
    assert not first.is_simplified
    assert first.strokes[0].tolist() == [[1.5, 2], [9, 8], [300, 500], [7, 7]]
    assert left_out(plain, ndjson.read, path) == left_out(converted, records.read_ndjson, path)
    simplified = {"strokes": [[[1, 2, 3, 4], [1, 2, 3, 4]]], "simplified": True}
    assert ndjson.parse_line(json.dumps(simplified)).is_simplified
    with pytest.raises(FormatError, match=r"simplified.* but a value that is no integer from 0 to 255"):
        ndjson.parse_line(json.dumps({"strokes": strokes, "simplified": True}))


@pytest.mark.parametrize("n_bytes", [1, 700, 1 << 20])
def test_blocks_of_any_size_hold_the_same_lines(n_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input, "_BLOCK_BYTES", n_bytes)
    path, text = tmp_path / "x.ndjson", b"\n".join(lines()[:8] * 3)
    path.write_bytes(text)
    check(path)
    path.write_bytes(text + b"\n{")
    check(path)


@pytest.mark.parametrize("n_cut", [1, 9, 40])
def test_what_comes_before_a_cut_in_gzip_is_read(n_cut: int, tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines()[:8] * 30))[:-n_cut])
    check(path)


@pytest.mark.parametrize("n_lines", [0, 3])
@pytest.mark.parametrize("size", [400_000, 400_001, 1_500_000])
def test_a_line_that_is_too_long_is_refused_with_its_number(n_lines: int, size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes((lines()[0] + b"\n") * n_lines + lines()[0].ljust(size - 1) + b"\n" + lines()[0])
    check(path)
    path = tmp_path / "x.csv"
    path.write_bytes(b"\n".join([b"drawing,word", *[b'"[[[1],[2]]]",cat'] * n_lines, b"1" * size, b""]))
    check(path, is_csv=True)


def test_a_web_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"<!DOCTYPE html>\n")
    check(path)


def test_numbers_are_python_s_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    texts = [repr(float(value)) for value in rng.normal(0, 300, 3000).astype(np.float32)]
    texts += [
        f"{rng.integers(10**k)}.{rng.integers(10**j):0{j}}"
        for k in range(1, 9)
        for j in range(1, 12)
        for _ in range(20)
    ]
    texts += [
        "0",
        "-0",
        "-0.0",
        "0.5",
        "999999999999999999",
        "0.30000000000000004",
        "9007199254740993",
        "8.5",
        "1e5",
        "01",
        "1.",
        "-",
    ]
    n_read = 0
    for text in texts:
        data = np.frombuffer(f"{text},\n".encode(), np.uint8)
        value, at = scanning.number(data, 0)
        if at == len(text):
            n_read += 1
            expected = np.float64(json.loads(text))
            assert value == expected and np.signbit(value) == np.signbit(expected), text
    assert n_read > 0.99 * len(texts)
