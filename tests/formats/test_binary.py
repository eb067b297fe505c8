"""The official binary format, byte by byte."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from told import refusal, said

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import binary, read_file

Rows = tuple[list[int], list[int]]

DOT: list[Rows] = [([7], [9])]
LINES: list[Rows] = [([0, 255], [3, 4]), ([1], [2]), ([5, 6, 7], [8, 9, 10])]


def record(
    strokes: list[Rows] = LINES, key_id: int = 1, country: bytes = b"ZZ", recognized: int = 1, seconds: int = 0
) -> bytes:
    """One drawing, as the parser that Google publishes beside its data reads it."""
    parts = [struct.pack("<Q2sbIH", key_id, country, recognized, seconds, len(strokes))]
    for xs, ys in strokes:
        parts.append(struct.pack("<H", len(xs)) + bytes(xs) + bytes(ys))
    return b"".join(parts)


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Anything that the format can hold."""
    stroke = hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.just(2)))
    return Drawing(
        word="a word",
        strokes=draw(st.lists(stroke, min_size=1, max_size=6)),
        key_id=draw(st.one_of(st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))),
        countrycode=draw(st.text(st.characters(max_codepoint=255), min_size=2, max_size=2)),
        timestamp_us=1_000_000 * draw(st.one_of(st.sampled_from([0, 2**32 - 1]), st.integers(0, 2**32 - 1))),
        recognized=draw(st.booleans()),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("binary_format")


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(content: bytes) -> Path:
        path = tmp_path / "cat.bin"
        path.write_bytes(content)
        return path

    return save


def test_record_is_laid_out_as_published() -> None:
    drawing = Drawing(
        "cat",
        [np.array([[1, 2], [3, 4]], np.uint8), np.array([[255, 0]], np.uint8)],
        key_id=0x0102030405060708,
        countrycode="DE",
        timestamp_us=0x0A0B0C0D * 1_000_000 + 999_999,
        recognized=True,
    )
    expected = b"\x08\7\6\5\4\3\2\1DE\1\x0d\x0c\x0b\x0a\2\0" + b"\2\0\1\3\2\4" + b"\1\0\xff\0"
    assert binary.encode(drawing) == expected


def test_real_files_hold_what_they_should_and_are_written_to_the_same_bytes(shared: Path) -> None:
    lines = (shared / "data/quickdraw/counts.tsv").read_text().splitlines()[1:]
    total = 0
    for line in lines:
        word, n, n_bytes = line.split("\t")
        path = shared / f"data/quickdraw/binary/{word}.bin"
        found = list(read_file(path))
        content = b"".join(map(binary.encode, found))
        assert (len(found), len(content)) == (int(n), int(n_bytes)), word
        assert content == path.read_bytes(), word
        assert {drawing.word for drawing in found} == {word}
        total += len(found)
    assert total == 110_307


def test_count_is_that_of_the_drawings(shared: Path) -> None:
    assert binary.count(shared / "data/quickdraw/binary/zigzag.bin") == len(
        list(read_file(shared / "data/quickdraw/binary/zigzag.bin"))
    )


def test_compressed_file_says_the_same_and_is_written_to_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/quickdraw/binary/zebra.bin"
    (tmp_path / "zebra.bin.gz").write_bytes(gzip.compress(source.read_bytes()))
    plain, packed = list(read_file(source)), list(read_file(tmp_path / "zebra.bin.gz"))
    assert list(map(said, packed)) == list(map(said, plain))
    assert binary.write(tmp_path / "again.bin.gz", packed) == len(plain)
    assert gzip.decompress((tmp_path / "again.bin.gz").read_bytes()) == source.read_bytes()


@given(st.lists(drawings(), max_size=5))
def test_any_drawing_is_read_as_it_was_written(folder: Path, items: list[Drawing]) -> None:
    path = folder / "a_word.bin"
    assert binary.write(path, items) == len(items)
    assert list(map(said, read_file(path))) == list(map(said, items))


@pytest.mark.parametrize(
    "strokes",
    [
        [np.zeros((1, 2), np.uint8)] * 65_535,
        [np.stack([np.arange(65_535) % 256, np.arange(65_535) % 251], axis=1).astype(np.uint8)],
    ],
    ids=["strokes", "points"],
)
def test_largest_counts_are_read_as_they_were_written(strokes: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "cat.bin"
    binary.write(path, [Drawing("cat", strokes)])
    (drawing,) = read_file(path)
    assert [stroke.tolist() for stroke in drawing.strokes] == [stroke.tolist() for stroke in strokes]


def test_layout_of_strokes_in_memory_does_not_matter() -> None:
    stroke = np.arange(12, dtype=np.uint8).reshape(6, 2)
    plain = binary.encode(Drawing("cat", [stroke[::2]]))
    assert plain == binary.encode(Drawing("cat", [np.asfortranarray(stroke[::2])]))
    assert plain == binary.encode(Drawing("cat", [np.ascontiguousarray(stroke[::2])]))


def test_empty_file_holds_no_drawing(save: Callable[[bytes], Path], tmp_path: Path) -> None:
    assert list(read_file(save(b""))) == []
    assert binary.count(save(b"")) == 0
    assert binary.write(tmp_path / "none.bin.gz", []) == 0
    assert list(read_file(tmp_path / "none.bin.gz")) == []


def test_file_cut_anywhere_gives_its_whole_drawings_and_then_the_place(save: Callable[[bytes], Path]) -> None:
    records = [record(LINES, key_id=1), record(DOT, key_id=2), record(LINES, key_id=3)]
    whole = b"".join(records)
    starts = np.cumsum([0, *map(len, records)]).tolist()
    for cut in range(len(whole) + 1):
        path = save(whole[:cut])
        n_whole = sum(end <= cut for end in starts[1:])
        if cut in starts:
            assert len(list(read_file(path))) == n_whole
            continue
        found, error = refusal(path)
        assert [drawing.key_id for drawing in found] == [1, 2, 3][:n_whole]
        assert error.offset is not None
        assert starts[n_whole] <= error.offset <= cut
        assert f"drawing {n_whole + 1} truncated" in error.reason
        assert f"byte {error.offset}" in str(error)


@pytest.mark.parametrize("size", [1, 2, 16, 17, 18, 40, 1000])
def test_chunks_of_any_size_give_the_same_drawings(
    size: int, save: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"".join(record(strokes, key_id) for key_id, strokes in enumerate([LINES, DOT, LINES * 20, DOT, LINES]))
    path = save(content)
    expected = list(map(said, read_file(path)))
    monkeypatch.setattr(binary, "_CHUNK_BYTES", size)
    monkeypatch.setattr(binary, "_MAX_CHUNK_BYTES", size)
    assert list(map(said, read_file(path))) == expected
    found, error = refusal(save(content + record(recognized=2)))
    assert list(map(said, found)) == expected
    assert (error.offset, "drawing 6" in error.reason) == (len(content) + 10, True)


@pytest.mark.parametrize("size", [1 << 20, 8])
@pytest.mark.parametrize(
    ("wrong", "offset", "reason"),
    [
        (record([]), 15, "no strokes"),
        (record([([], [])]), 17, "a stroke without points"),
        (record([([1], [1]), ([], [])]), 21, "a stroke without points"),
        (record(recognized=7), 10, "recognized = 7; expected 0 or 1"),
        (record(recognized=-1), 10, "recognized = 255"),
        (record()[:17] + b"\xff\xff" + bytes(1000), 17, "a stroke of 65535 points needs 131070 bytes, 1000 are left"),
        (record()[:15] + b"\xff\xff" + b"\1\0\1\1" * 3, 29, "point count of its next stroke needs 2 bytes, 0 are left"),
        (b"\0" * 16, 0, "its header needs 17 bytes, 16 are left"),
        (b"\0" * 17, 15, "no strokes"),
        (record([([0] * 65_535,) * 2] * 4), 393233, "drawing 3 has more than 400000 bytes"),
        (record([([0] * 65_535,) * 2] * 3)[:15] + b"\xff\xff" + b"\xff\xff" * 9, 17, "truncated"),
    ],
)
def test_impossible_record_is_refused_with_its_place(
    wrong: bytes, offset: int, reason: str, size: int, save: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "_CHUNK_BYTES", size)
    monkeypatch.setattr(binary, "_MAX_CHUNK_BYTES", size)
    found, error = refusal(save(record() + record() + wrong))
    assert len(found) == 2
    assert error.offset == 2 * len(record()) + offset
    assert "drawing 3" in error.reason
    assert reason in error.reason


@given(st.binary(max_size=200))
@example(b"\xff" * 100)
def test_any_bytes_are_drawings_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "noise.bin"
    path.write_bytes(content)
    found = []
    try:
        for drawing in read_file(path):
            found.append(drawing)
    except FormatError as error:
        assert error.path == path
        # what was read before stands there
        assert content.startswith(b"".join(map(binary.encode, found)))
    else:
        assert b"".join(map(binary.encode, found)) == content


@pytest.mark.parametrize(
    "content",
    [record(DOT) * 100_000, record([([0] * 60_000,) * 2]) * 100, record([([0] * 60_000,) * 2] * 200)],
    ids=["dots", "long", "too long"],
)
def test_what_inflates_to_megabytes_takes_no_more_memory_than_any_file(
    content: bytes, tmp_path: Path, is_small: Any
) -> None:
    path = tmp_path / "cat.bin.gz"
    path.write_bytes(gzip.compress(content))
    assert is_small(lambda: binary.count(path), path.stat().st_size)


@pytest.mark.parametrize("name", ["cat.bin", "cat.bin.gz"])
def test_web_page_is_refused(name: str, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html><body>404</body></html>"
    path = tmp_path / name
    path.write_bytes(gzip.compress(page) if name.endswith("gz") else page)
    found, error = refusal(path)
    assert found == []
    assert "web page" in error.reason


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cat.bin.gz"
    path.write_bytes(gzip.compress(record() * 100)[:-9])
    assert "gzip" in refusal(path)[1].reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key_id": -1}, "key_id -1"),
        ({"key_id": 2**64}, "key_id 18446744073709551616"),
        ({"timestamp_us": -1}, "timestamp in seconds -1"),
        ({"timestamp_us": 2**32 * 1_000_000}, "timestamp in seconds 4294967296"),
        ({"countrycode": "D"}, "countrycode 'D'"),
        ({"countrycode": "DEU"}, "countrycode 'DEU'"),
        ({"countrycode": "日本"}, "countrycode '日本'"),
        ({"strokes": []}, "no strokes"),
        ({"strokes": [np.zeros((0, 2), np.uint8)]}, "stroke 1 has the shape"),
        ({"strokes": [np.zeros((2, 2))]}, "raw"),
        ({"strokes": [np.zeros((1, 2), np.uint8)] * 65_536}, "number of strokes 65536"),
        ({"strokes": [np.zeros((65_536, 2), np.uint8)]}, "number of points in a stroke 65536"),
        ({"strokes": [np.zeros((65_535, 2), np.uint8)] * 4}, "takes 524305 bytes; expected at most 400000"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    good = Drawing("cat", [np.zeros((1, 2), np.uint8)])
    values = {"word": "cat", "strokes": good.strokes} | change
    path = tmp_path / "cat.bin"
    with pytest.raises(FormatError, match=f"cat.bin: drawing 2: .*{reason}"):
        binary.write(path, [good, Drawing(**values)])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
