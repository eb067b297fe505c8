"""Sketch-RNN's files: rows to strokes, pickles of every age, and pickles that mean harm."""

import io
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from record_files import save_pickle

from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import FormatError
from quickstroke.formats import npz, read_file

ROWS = np.array([[10, 0, 0], [0, 20, 1], [5, -5, 0], [-1, -2, 1]], np.int16)
STROKES = [[[0, 0], [10, 0], [10, 20]], [[15, 15], [14, 13]]]
reconstruct = np.empty(0).__reduce__()[0]


def objects(items: list[Any]) -> NDArray[Any]:
    """An array (n,) of objects, of whatever shapes."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def save(folder: Path, **parts: Any) -> Path:
    """A file as numpy writes it."""
    path = folder / "cat.npz"
    arrays: dict[str, Any] = {name: objects(items) for name, items in parts.items()}
    np.savez(path, **arrays)
    return path


class Call:
    """Pickles as a call of a function, and perhaps a state for what it returns."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def as_lists(path: Path) -> list[list[Any]]:
    return [[stroke.tolist() for stroke in drawing.strokes] for drawing in read_file(path)]


def refusal(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        list(read_file(path))
    assert caught.value.path == path
    return caught.value.reason


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npz_format")


def test_rows_are_offsets_and_the_pen_lifted_after_them(tmp_path: Path) -> None:
    (drawing,) = read_file(save(tmp_path, train=[ROWS]))
    assert [stroke.tolist() for stroke in drawing.strokes] == STROKES
    assert drawing.is_simplified
    assert (drawing.word, drawing.key_id, drawing.countrycode, drawing.recognized) == ("cat", 0, "ZZ", True)


@pytest.mark.parametrize("last_flag", [0, 1])
def test_pen_after_the_last_point_does_not_matter(last_flag: int, tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[-1, 2] = last_flag
    assert as_lists(save(tmp_path, train=[rows])) == [STROKES]


def test_one_row_is_one_line(tmp_path: Path) -> None:
    assert as_lists(save(tmp_path, train=[np.array([[-3, 4, 1]], np.int16)])) == [[[[3, 0], [0, 4]]]]


@given(
    st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(2))), min_size=1, max_size=5).filter(
        lambda strokes: len(strokes[0]) > 1
    )
)
def test_any_strokes_come_back_moved_to_the_top_left(folder: Path, strokes: list[NDArray[np.uint8]]) -> None:
    points = np.concatenate(strokes).astype(np.int16)
    lifted = np.zeros(len(points), np.int16)
    lifted[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    rows = np.column_stack([np.diff(points, axis=0), lifted[1:]])
    moved = [(stroke - points.min(axis=0)).tolist() for stroke in strokes]
    assert as_lists(save(folder, train=[rows])) == [moved]


def test_drawing_larger_than_255_is_scaled_and_keeps_its_proportions(tmp_path: Path) -> None:
    rows = np.array([[510, 0, 0], [0, -100, 1]], np.int16)
    assert as_lists(save(tmp_path, train=[rows])) == [[[[0, 50], [255, 50], [255, 0]]]]


def test_parts_are_read_in_their_order(tmp_path: Path) -> None:
    def line(length: int) -> NDArray[np.int16]:
        return np.array([[length, 0, 1]], np.int16)

    path = save(tmp_path, test=[line(5)], other=[line(9)], valid=[line(3), line(4)], train=[line(1), line(2)])
    assert [drawing[0][1][0] for drawing in as_lists(path)] == [1, 2, 3, 4, 5]


def test_part_that_is_absent_or_empty_is_no_mistake(tmp_path: Path) -> None:
    assert as_lists(save(tmp_path, valid=[ROWS], test=[])) == [STROKES]


def test_word_is_the_name_of_the_file(tmp_path: Path) -> None:
    save(tmp_path, train=[ROWS]).rename(tmp_path / "power_outlet.full.npz")
    assert [drawing.word for drawing in read_file(tmp_path / "power_outlet.full.npz")] == ["power outlet"]


def test_compressed_archive_says_the_same(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "cat.npz", train=objects([ROWS, ROWS]))
    assert as_lists(tmp_path / "cat.npz") == [STROKES, STROKES]


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_every_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    # no shared objects, and a second drawing that is not contiguous
    pickled = pickle.dumps(objects([ROWS.copy(), np.asfortranarray(ROWS)]), protocol)
    assert as_lists(save_pickle(tmp_path, pickled, 2)) == [STROKES, STROKES]


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "i1", "u1", "<i4", "<i8", ">f4", "<f8", "<f2"])
def test_numbers_of_any_size_and_byte_order_are_read(dtype: str, tmp_path: Path) -> None:
    rows = np.abs(ROWS).astype(dtype)
    assert as_lists(save(tmp_path, train=[rows])) == as_lists(save(tmp_path, train=[np.abs(ROWS)]))


def python_2_pickle(arrays: list[NDArray[np.int16]]) -> bytes:
    """What numpy under Python 2 wrote at protocol 2: bytes as short strings, none of the later codes."""

    def dtype(code: bytes, order: bytes, flags: int) -> bytes:
        made = b"cnumpy\ndtype\n" + b"U" + bytes([len(code)]) + code + b"K\0K\1\x87R"
        return made + b"(K\3U\1" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" + bytes([flags]) + b"tb"

    def array(shape: bytes, kind: bytes, data: bytes) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"
        return made + b"(K\1" + shape + kind + b"\x89" + data + b"tb"

    inner = b""
    for rows in arrays:
        raw = rows.tobytes()
        data = b"T" + struct.pack("<i", len(raw)) + raw
        inner += array(b"K" + bytes([len(rows)]) + b"K\3\x86", dtype(b"i2", b"<", 0), data)
    return b"\x80\2" + array(b"K" + bytes([len(arrays)]) + b"\x85", dtype(b"O8", b"|", 63), b"](" + inner + b"e") + b"."


def test_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    # 0x80 and above is where text and bytes part
    rows = np.array([[0x7F80, -1, 0], [-0x7F80, 200, 1]], np.int16)
    pickled = python_2_pickle([ROWS, rows])
    assert [array.tolist() for array in pickle.loads(pickled, encoding="latin1")] == [ROWS.tolist(), rows.tolist()]
    assert as_lists(save_pickle(tmp_path, pickled, 2)) == as_lists(save(tmp_path, train=[ROWS, rows]))


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_would_run_code_is_refused_before_it_does(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    harmful = Call(os.mkdir, (str(marker),))
    for pickled in (
        pickle.dumps(harmful, protocol),
        pickle.dumps([harmful], protocol),
        pickle.dumps(objects([ROWS, harmful]), protocol),
        pickle.dumps(Call(reconstruct, (np.ndarray, (0,), harmful)), protocol),
        pickle.dumps(Call(eval, (f"__import__('os').mkdir({str(marker)!r})",)), protocol),
    ):
        assert "only numpy arrays are admitted" in refusal(save_pickle(tmp_path, pickled, 2))
        assert not marker.exists()


@pytest.mark.parametrize(
    "named",
    [
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"c__builtin__\ngetattr\n",
        b"cnumpy\nload\n",
        b"cnumpy\nmemmap\n",
        b"cnumpy.testing._private.utils\nrunstring\n",
        b"cnumpy.core.multiarray\nfromfile\n",
        b"c_codecs\ndecode\n",
        b"ccopyreg\n_reconstructor\n",
    ],
)
def test_name_that_is_no_array_is_refused(named: bytes, tmp_path: Path) -> None:
    assert "only numpy arrays are admitted" in refusal(save_pickle(tmp_path, named + b"."))


def test_persistent_and_registered_objects_are_refused(tmp_path: Path) -> None:
    for pickled in (b"Pname\n.", b"\x80\2K\1Q.", b"\x80\2\x82\1."):
        assert refusal(save_pickle(tmp_path, pickled))


@pytest.mark.parametrize("flags", [0, 1, 63])
@pytest.mark.parametrize("code", ["O8", "i8", "V8"])
def test_numbers_are_never_taken_for_pointers(code: str, flags: int, tmp_path: Path) -> None:
    # numpy itself would believe such a dtype and end in a segmentation fault
    dtype = Call(np.dtype, (code, False, True), (3, "|", None, None, None, -1, -1, flags))
    raw = np.full(12, 0x4141414141414141, np.int64).tobytes()
    for shape in ((12,), (4, 3)):
        array = Call(reconstruct, (np.ndarray, (0,), b"b"), (1, shape, dtype, False, raw))
        assert refusal(save_pickle(tmp_path, pickle.dumps(array, 2), 12))
        whole = pickle.dumps(objects([array]), 2)
        assert refusal(save_pickle(tmp_path, whole))


@pytest.mark.parametrize("shape", [(2**62, 3), (10**12, 3), (2, 3), (5, 3), (-4, 3), (4, -3), (4.0, 3), "ab", None, 12])
def test_array_that_claims_other_sizes_than_it_has_is_refused(shape: Any, tmp_path: Path) -> None:
    dtype = Call(np.dtype, ("i2", False, True), (3, "<", None, None, None, -1, -1, 0))
    array = Call(reconstruct, (np.ndarray, (0,), b"b"), (1, shape, dtype, False, ROWS.tobytes()))
    reason = refusal(save_pickle(tmp_path, pickle.dumps(objects([array]), 2)))
    assert reason.startswith("drawing 1 of 'train': expected int16 (n, 3) rows, got an array")


def test_huge_empty_arrays_take_no_memory(tmp_path: Path) -> None:
    for array in (Call(reconstruct, (np.ndarray, (10**13,), "O")), Call(np.ndarray, ((10**13,), "O"))):
        assert refusal(save_pickle(tmp_path, pickle.dumps(objects([array]), 2)))


def text(n: int) -> bytes:
    return b"X" + struct.pack("<I", n) + b"a" * n


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"(" + b"]" * 999_999 + b"l.", "far more memory than it has bytes"),
        (b"Nr\xff\xff\xff\x7f.", "far more memory than it has bytes"),
        (b"Np1999999999\n.", "far more memory than it has bytes"),
        (b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.", "TypeError"),
        (b"(c_codecs\nencode\nq\0" + text(9999) + b"q\1" + b"h\0h\1\x85R" * 999 + b"l.", "more bytes than it has"),
        (b"\x96" + b"\xff" * 5 + b"\0\0\0.", "cut off"),
        (b"\x8e" + b"\xff" * 7 + b"\x7f.", "cut off"),
        (b"N" + b"\x85" * 299_999 + b"q\0}h\0Ns.", "has 299999 tuples"),
        (b"(" * 9_999_999 + b"N.", "far more memory than it has bytes|cut off|damaged"),
    ],
)
def test_pickle_that_would_fill_memory_or_the_stack_is_refused(
    pickled: bytes, reason: str, tmp_path: Path, memory_limit: Any
) -> None:
    list(read_file(save(tmp_path, train=[ROWS])))
    with memory_limit(256 << 20):
        assert re.search(reason, refusal(save_pickle(tmp_path, pickled)))


def test_header_of_python_2_is_read_without_a_warning(tmp_path: Path, recwarn: Any) -> None:
    data = save(tmp_path, train=[ROWS]).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(tmp_path / "cat.npz", "w") as new:
        new.writestr("train.npy", old.read("train.npy").replace(b"(1,), } ", b"(1L,), }"))
    assert as_lists(tmp_path / "cat.npz") == [STROKES]
    assert not recwarn.list


def test_archive_that_claims_a_long_entry_is_refused(tmp_path: Path, memory_limit: Any) -> None:
    data = bytearray(save(tmp_path, train=[ROWS]).read_bytes())
    at = data.rindex(b"PK\1\2") + 20  # its size, compressed, in the directory
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    (tmp_path / "cat.npz").write_bytes(data)
    with memory_limit(256 << 20):
        assert "it claims 2147483647 bytes of" in refusal(tmp_path / "cat.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archive_that_inflates_without_bound_is_refused(method: int, tmp_path: Path, is_small: Any) -> None:
    path = tmp_path / "cat.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("train.npy", bytes(9_999_999))
    reason = refusal(path)
    assert "far more than such arrays are compressed from" in reason or "not compressed as numpy does it" in reason
    assert is_small(lambda: list(read_file(path)), path.stat().st_size)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (np.zeros((4, 2), np.int16), r"got (4, 2)"),
        (np.zeros((4, 5), np.int16), r"got (4, 5)"),
        (np.zeros(12, np.int16), "not two dimensions"),
        (np.zeros((2, 2, 3), np.int16), "not two dimensions"),
        (np.zeros((0, 3), np.int16), "has 0 rows"),
        (np.zeros((4, 3), bool), "got dtype 'b1'"),
        (np.zeros((4, 3), np.complex64), "got dtype 'c8'"),
        (np.zeros((4, 3), "M8[s]"), "got dtype 'M8'"),
        (np.zeros((4, 3), "U2"), "got dtype 'U2'"),
        (np.zeros((4, 3), object), "got dtype 'O8'"),
        (np.zeros(4, "i2,i2,i2"), "got dtype 'V6'"),
        ([[1, 2, 0]], "got list"),
        (5, "got int"),
        (None, "got NoneType"),
        (b"abc", "got bytes"),
        ([1, 2, 2], "got list"),
        (np.array([[1, 1, 2]], np.int16), "pen flag other than 0 and 1"),
        (np.array([[1, 1, -1]], np.int16), "pen flag other than 0 and 1"),
        (np.array([[1, 1, 0.5]]), "pen flag other than 0 and 1"),
        (np.array([[np.nan, 1, 0]]), "not finite"),
        (np.array([[1, np.inf, 0]]), "not finite"),
        (np.array([[1, -np.inf, 0], [1, np.inf, 0]]), "not finite"),
        (np.array([[1, 1, np.nan]]), "pen flag"),
        (np.array([[1e308, 1, 0], [1e308, 1, 0]]), "not finite"),
        (np.array([[1e308, 1, 0], [-1e308, 1, 0], [-1e308, 1, 0]]), "not finite"),
    ],
)
def test_what_is_no_drawing_is_refused_with_its_place(item: Any, reason: str, tmp_path: Path) -> None:
    found = []
    with pytest.raises(FormatError) as caught:
        for drawing in read_file(save(tmp_path, train=[ROWS], valid=[ROWS, item])):
            found.append(drawing)
    assert len(found) == 2
    assert caught.value.reason.startswith("drawing 2 of 'valid': ")
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 4, 3), np.int16),
        np.zeros(5),
        np.zeros((2, 4, 3), object),
        np.array(None, object),
    ],
)
def test_array_that_is_no_list_of_drawings_is_refused(array: NDArray[Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "cat.npz", train=array)
    reason = refusal(tmp_path / "cat.npz")
    assert "array 'train' should hold one int16 (n, 3) array a drawing" in reason
    assert str(array.shape) in reason


def test_file_with_none_of_the_arrays_is_refused_and_says_what_it_has(tmp_path: Path) -> None:
    reason = refusal(save(tmp_path, images=[ROWS], labels=[ROWS]))
    assert "has none of the arrays train, valid, test" in reason
    assert "images.npy" in reason


def test_header_and_pickle_have_to_agree(tmp_path: Path) -> None:
    pickled = pickle.dumps(objects([ROWS, ROWS]), 2)
    assert "2 drawings where its header says 3" in refusal(save_pickle(tmp_path, pickled, 3))
    assert "bytes follow its pickle" in refusal(save_pickle(tmp_path, pickled + b"more", 2))
    assert "holds no array" in refusal(save_pickle(tmp_path, pickle.dumps([ROWS, ROWS], 2), 2))
    assert "expected an array of drawings" in refusal(save_pickle(tmp_path, pickle.dumps(ROWS, 2), 4))


def test_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path, train=[ROWS]).read_bytes()
    for cut in range(0, len(whole), 3):
        (tmp_path / "cut.npz").write_bytes(whole[:cut])
        assert refusal(tmp_path / "cut.npz")


def test_pickle_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = pickle.dumps(objects([ROWS]), 4)
    for cut in range(0, len(whole), 2):
        assert refusal(save_pickle(tmp_path, whole[:cut]))


@pytest.mark.parametrize(("write", "step"), [(np.savez, 1), (np.savez_compressed, 3)])
def test_flipped_byte_changes_no_drawing_unseen(write: Any, step: int, tmp_path: Path) -> None:
    write(tmp_path / "cat.npz", train=objects([ROWS]))
    whole = (tmp_path / "cat.npz").read_bytes()
    path = tmp_path / "flipped.npz"
    n_refused = 0
    for at in range(0, len(whole), step):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert as_lists(path) == [STROKES], at
        except FormatError as error:
            assert error.path == path
            n_refused += 1
    assert n_refused > len(whole) // step // 3


@given(st.data())
def test_damaged_pickle_is_drawings_or_refused(folder: Path, data: st.DataObject) -> None:
    pickled = bytearray(python_2_pickle([ROWS, ROWS[:2]]))
    for _ in range(data.draw(st.integers(1, 4))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    found: list[Drawing] = []
    try:
        found.extend(read_file(save_pickle(folder, bytes(pickled), 2)))
    except FormatError as error:
        assert error.reason
    else:
        assert len(found) == 2
        assert all(drawing.n_points >= 2 for drawing in found)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"not a zip", b"\x93NUMPY\1\0"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cat.npz").write_bytes(content)
    assert "not an .npz archive, or truncated" in refusal(tmp_path / "cat.npz")


def test_web_page_and_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.npz").write_bytes(b"<!doctype html><html></html>")
    assert "web page" in refusal(tmp_path / "cat.npz")
    with pytest.raises(FormatError, match="cannot be opened"):
        list(npz.read(tmp_path / "absent.npz", "absent"))


def test_an_error_has_no_address_in_it(tmp_path: Path) -> None:
    """Numpy tells a header that is no literal by an object's address, which is another each time."""
    array = io.BytesIO()
    np.save(array, np.zeros(2))
    path = tmp_path / "cat.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.npy", array.getvalue().replace(b"False", b"Fal_e"))
    with pytest.raises(FormatError, match="array 'train' is damaged or truncated") as caught:
        list(read_file(path))
    assert "0x" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_what_is_read_from_its_end_is_no_pipe(ending: str, tmp_path: Path) -> None:
    pipe = tmp_path / f"cat.{ending}"
    os.mkfifo(pipe)
    with pytest.raises(FormatError, match="is a pipe or a device; this format is read from its end"):
        list(read_file(pipe))
