"""Sketch-RNN's files as records: rows that are found in a pickle without unpickling each."""

import itertools
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_files import converted, outcome, plain, save_pickle

from quickstroke.formats import npz, records


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
        assert outcome(converted(lambda path: records.read_npz(path, "cat"), path)) == expected


def sketches(n: int, rng: Any) -> Any:
    """Rows of `n` drawings, of so many each that their counts and their bytes are written by several opcodes."""
    array = np.empty(n, dtype=object)
    for i, size in enumerate(rng.choice([1, 2, 30, 42, 43, 255, 256, 300], n)):
        array[i] = np.column_stack([rng.integers(-90, 90, (size, 2)), rng.random(size) < 0.2]).astype(np.int16)
    return array


def of_python_2(array: Any) -> bytes:
    """A pickle as Python 2 wrote the official files."""
    notes = itertools.count()

    def noted(text: bytes) -> bytes:
        """With the note that comes after each `_`."""
        first, *others = text.split(b"_ ")
        return first + b"".join(note(next(notes)) + other for other in others)

    def note(number: int) -> bytes:
        return b"q" + bytes([number]) if number < 256 else b"r" + number.to_bytes(4, "little")

    def number(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + value.to_bytes(2, "little")

    made = noted(b"\x80\2cnumpy.core.multiarray\n_reconstruct\n_ cnumpy\nndarray\n_ K\0\x85_ U\1b_ \x87_ R_ (K\1")
    made += number(len(array)) + noted(b"\x85_ cnumpy\ndtype\n_ U\2O8_ K\0K\1\x87_ R_ (K\3U\1|_ ")
    made += noted(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?t_ b\x89]_ (")
    for i, rows in enumerate(array):
        data = rows.astype("<i2").tobytes()
        made += noted(b"h\0h\1K\0\x85_ h\3\x87_ R_ (K\1") + number(len(rows)) + noted(b"K\3\x86_ ")
        if i == 0:
            made += noted(b"h\7U\2i2_ K\0K\1\x87_ R")
            dtype = next(notes)
            made += note(dtype) + noted(b"(K\3U\1<_ NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t_ b")
        else:
            made += b"h" + bytes([dtype])
        made += b"\x89" + (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + len(data).to_bytes(4, "little"))
        made += data + noted(b"_ t_ b")
    return made + noted(b"et_ b.")


PICKLES = {
    "python 2": of_python_2,
    "3": lambda array: pickle.dumps(array, 3),
    "4": lambda array: pickle.dumps(array, 4),
    "by python": lambda array: pickle._dumps(array, 4),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_drawings_in_a_pickle_are_found_without_unpickling_each(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, path = sketches(2001 if kind == "4" else 40, np.random.default_rng(0)), tmp_path / "cat.npz"
    save_pickle(tmp_path, PICKLES[kind](array), len(array))
    expected = list(plain(lambda path: npz.read(path, "cat"), path))
    unpickled = []
    load = npz._Unpickler.load
    monkeypatch.setattr(npz._Unpickler, "load", lambda self: unpickled.append(self._left_bytes) or load(self))
    found = list(converted(lambda path: records.read_npz(path, "cat"), path))
    assert found == expected and len(found) == len(array)
    assert max(unpickled) < 4000 < path.stat().st_size


@pytest.mark.parametrize("kind", PICKLES)
def test_changed_pickles_are_what_their_reader_makes_of_them(kind: str, tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "cat.npz"
    array = sketches(6, np.random.default_rng(1))
    pickled, n_whole = PICKLES[kind](array), 0
    opcodes = b"q\0r\0\0\0\0h\1\x94(etba\x89\x85K\0M\0\0R.\x95C\3U\3"
    # What is not the rows of a drawing.
    places = [at for at in range(len(pickled)) if not any(begin <= at < end for begin, end in payloads(pickled, array))]
    for i in range(250):
        at, n = rng.choice(places), rng.choice((0, 1, 1, 2, 5))
        inserted = bytes(rng.choices(opcodes, k=rng.choice((0, 1, 1, 2))))
        changed = pickled[:at] + inserted + pickled[at + n :]
        save_pickle(tmp_path, changed if i else pickled, len(array))
        expected = outcome(plain(lambda path: npz.read(path, "cat"), path))
        assert outcome(converted(lambda path: records.read_npz(path, "cat"), path)) == expected, changed
        n_whole += not expected[1]
    assert 1 < n_whole < 250


def payloads(pickled: bytes, array: Any) -> list[tuple[int, int]]:
    begins = [pickled.index(rows.astype("<i2").tobytes()) for rows in array]
    return [(begin, begin + 6 * len(rows)) for begin, rows in zip(begins, array, strict=True)]


def test_a_note_under_the_number_of_a_name_is_seen(tmp_path: Path) -> None:
    array, path = sketches(8, np.random.default_rng(2)), tmp_path / "cat.npz"
    pickled = of_python_2(array)
    end = payloads(pickled, array)[5][1]
    # After the sixth drawing's rows their note takes the place of what the next ones are made by.
    changed = [pickled[:end] + b"q" + bytes([number]) + pickled[end + 2 :] for number in (0, 1, 3)]
    # MEMOIZE takes the number of how many there are.
    far = pickled.replace(b"_reconstruct\nq\0", b"_reconstruct\nq\xc8").replace(b"h\0h\1", b"h\xc8h\1")
    changed += [far, *(far.replace(b"q" + bytes([n]), b"\x94" * (202 - n), 1) for n in range(50, 60))]
    reasons = []
    for data in changed:
        save_pickle(tmp_path, data, len(array))
        expected = outcome(plain(lambda path: npz.read(path, "cat"), path))
        assert outcome(converted(lambda path: records.read_npz(path, "cat"), path)) == expected
        reasons.append(expected[1])
    assert reasons[0] and not reasons[1] and not reasons[3] and all(reasons[4:])
