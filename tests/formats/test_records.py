"""Text files as records by compiled code, and the same by the readers of drawings: bytes, words, errors and places."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import binary, csv, input, ndjson, npz, records, scanning
from quickstroke.preparation.convert import as_prepared

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


def plain(read: Callable[..., Any], path: Path) -> Any:
    for drawing in read(path):
        yield drawing.word, binary.encode(as_prepared(drawing))


def converted(read: Callable[..., Any], path: Path) -> Any:
    for part in read(path, lambda word: None):
        if isinstance(part, Drawing):
            yield part.word, binary.encode(as_prepared(part))
            continue
        data, blocks = part.data, 0
        while data:
            n = _record_bytes(data)
            yield part.word, data[:n]
            data, blocks = data[n:], blocks + 1
        assert blocks == part.n


def _record_bytes(data: bytes) -> int:
    at = 17
    for _ in range(int.from_bytes(data[15:17], "little")):
        at += 2 + 2 * int.from_bytes(data[at : at + 2], "little")
    return at


def outcome(items: Any) -> tuple[list[tuple[str, bytes]], str]:
    """What is read before an error, and the error."""
    found = []
    try:
        for item in items:
            found.append(item)
    except FormatError as error:
        return found, str(error)
    return found, ""


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


def test_changed_rows_are_what_their_reader_makes_of_them(tmp_path: Path) -> None:
    rng, path, seeds = random.Random(0), tmp_path / "x.csv", rows()
    headers = [b"countrycode,drawing,key_id,recognized,timestamp,word"] * 9 + [b'"drawing",word', b"word", b""]
    for _ in range(120):
        end = rng.choice((b"\n", b"\n", b"\r\n"))
        some = [changed(rng.choice(seeds), rng) if rng.random() < 0.5 else rng.choice(seeds[:2]) for _ in range(4)]
        path.write_bytes(end.join([rng.choice(headers), *some]))
        check(path, is_csv=True)


def test_most_lines_are_converted_and_runs_of_a_word_are_one(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"\n".join([*[lines()[0]] * 30, *[lines()[1]] * 2, *[lines()[0]] * 5, lines()[2]]) + b"\n")
    found = list(records.read_ndjson(path, lambda word: None))
    assert [(part.word, part.n) for part in found if not isinstance(part, Drawing)] == [
        ("cat", 30),
        ("cat", 1),
        ("cat", 1),
        ("cat", 5),
        ("dog", 1),
    ]
    path = tmp_path / "x.csv"
    path.write_bytes(b"\n".join([b"countrycode,drawing,key_id,recognized,timestamp,word", *[rows()[0]] * 30]) + b"\n")
    assert [part.word for part in records.read_csv(path, lambda word: None)] == ["cat"]


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


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4"])
def test_sketches_are_converted_as_they_are_read(dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def sketch(n: int) -> Any:
        return np.column_stack([rng.integers(-90, 90, (n, 2)), rng.random(n) < 0.2]).astype(dtype)

    wrong = sketch(5)
    wrong[2, 2] = 2
    for some in ([sketch(n) for n in (1, 2, 9, 90)], [sketch(3), wrong, sketch(3)], [sketch(9), sketch(0)], []):
        array = np.empty(len(some), dtype=object)
        array[:] = some
        np.savez(tmp_path / "cat.npz", train=array, test=array[:1])
        path = tmp_path / "cat.npz"
        expected = outcome(plain(lambda path: npz.read(path, "cat"), path))
        assert outcome(converted(lambda path, check: records.read_npz(path, "cat"), path)) == expected


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
