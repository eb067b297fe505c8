"""Opening a prepared dataset, whatever was done to its files, and reading it."""

import hashlib
import json
import math
import pickle
import shutil
from collections.abc import Iterator
from contextlib import suppress
from copy import copy as copied
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepared import ARRAYS, as_lists, dot, save
from quickstroke.artifacts.runs import describe_data
from quickstroke.data import manifest
from quickstroke.data.batches import batch_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.data.selection import check_counts
from quickstroke.errors import CategoryError, ConfigError, DatasetError
from quickstroke.preparation.prepare import prepare


def test_a_dataset_goes_to_another_process_by_its_folder(binary_folder: Path, tmp_path: Path) -> None:
    prepare(binary_folder, tmp_path / "out")
    data = PreparedDataset(tmp_path / "out")
    pickled = pickle.dumps(data)
    assert len(pickled) < 3000
    for other in (pickle.loads(pickled), copied(data), deepcopy(data)):
        assert np.array_equal(other.points, data.points) and np.array_equal(other.n_points, data.n_points)
        assert other.manifest == data.manifest and other.manifest_sha256 == data.manifest_sha256


def test_a_dataset_that_was_opened_by_a_relative_path_is_found_from_elsewhere(
    binary_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(binary_folder, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    data = PreparedDataset("out")
    monkeypatch.chdir("/")
    assert len(copied(data)) == len(data)


def test_accents_of_an_older_dataset_are_composed(tmp_path: Path) -> None:
    prepare(save(tmp_path / "in", café=[dot(k, 1) for k in range(40)]), tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("\u00e9", "e\u0301"))
    data = PreparedDataset(tmp_path / "out")
    assert data.classes == ("caf\u00e9",)
    assert data.n_trained(data.classes)[0] == len(data.indices("train")) > 0


@pytest.fixture
def copy(dataset: PreparedDataset, tmp_path: Path) -> Path:
    """A copy of a dataset, to be damaged."""
    shutil.copytree(dataset.path, tmp_path / "copy")
    return tmp_path / "copy"


def change_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for key, value in changes.items():
        if key in manifest["arrays"]:
            manifest["arrays"][key] |= value
        else:
            manifest[key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_folder_without_a_manifest_is_refused_with_a_way_out(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetError, match=r"no prepared dataset there .*quickstroke prepare") as caught:
            PreparedDataset(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "5", '"x"', "{}", "[" * 100_000, '{"format": "quickstroke prepared dataset"}', "\udcff"],
)
def test_damaged_manifest_is_refused(text: str, copy: Path) -> None:
    (copy / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=r"manifest\.json: (damaged manifest: |version None)"):
        PreparedDataset(copy)


def counts(reserved: int = 0, train: int = 40, val: int = 10, test: int = 10) -> dict[str, int]:
    return {"reserved": reserved, "train": train, "val": val, "test": test}


def source(**changes: Any) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"name": "x", "bytes": 3, "sha256": "0" * 64} | changes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "something else"}, "not the manifest of a prepared dataset"),
        ({"version": 2}, "version 2, this program reads version 1"),
        ({"version": "1"}, "version '1', this program"),
        ({"version": True}, "version True, this program"),
        ({"version": None}, "version None"),
        ({"classes": "abc"}, "classes is 'abc', expected a list of words"),
        ({"classes": ["circle", 5, "star"]}, r"classes is \['circle', 5, 'star'\], expected a list of words"),
        ({"classes": ["circle", "star", "Circle"]}, "expected a list of words: classes: 'circle' is listed twice"),
        ({"classes": ["circle", "st\x1bar", "house"]}, "class 2 has a name that cannot be printed"),
        ({"classes": []}, "no class is listed"),
        (
            {"classes": ["circle", "star"]},
            r"n_by_class is .*, expected each of the classes, and no other word \('house'\)",
        ),
        ({"n": -1}, "n is -1, expected a count of 0 or more"),
        ({"n": 181}, "n is 181, expected 180, the sum of n_by_split"),
        ({"n": 180.0}, r"n is 180\.0, expected a count"),
        (
            {"n_by_split": None},
            "n_by_split is None, expected a count of 0 or more for each of reserved, train, val, test",
        ),
        ({"n_by_split": counts()}, "n_by_split.train is 40, expected 120, the sum of n_by_class"),
        (
            {"n": 181, "n_by_split": counts(train=121, val=30, test=30)},
            "n_by_split.train is 121, expected 120, the sum of n_by_class",
        ),
        (
            {"n_by_class": dict.fromkeys(("circle", "house"), counts())},
            r"each of the classes, and no other word \('star'",
        ),
        (
            {"n_by_class": dict.fromkeys(("circle", "house", "star", "Star"), counts())},
            r"each of the classes, and no other word \('one twice'\)",
        ),
        (
            {"n_by_class": {"circle": counts(), "house": counts(), "star": {}}},
            "n_by_class.star is {}, expected a count",
        ),
        (
            {"n_by_class": {"circle": counts(), "house": counts(val=-10), "star": counts(val=30)}},
            "n_by_class.house is .*, expected a count",
        ),
        (
            {"n_by_class": {"circle": counts(), "house\x1d": {}, "star": counts()}},
            r"n_by_class.house\? is {}, expected a count",
        ),
        ({"n_by_class": {"circle": counts(), f"house{1000 * ' '}": {}, "star": counts()}}, "n_by_class.house +is {}, "),
        ({"sources": [1]}, r"sources\[0\] is 1, expected an object"),
        ({"sources": {}}, "sources is {}, expected a list"),
        ({"sources": [{"name": "x", "bytes": 3}]}, r"sources\[0\]\.'sha256' is missing, expected a SHA-256"),
        ({"sources": [source(sha256="0" * 65)]}, r"sources\[0\]\.sha256 is '0+\.\.\.0+', expected a SHA-256"),
        ({"sources": [source(sha256="A" * 64)]}, r"sources\[0\]\.sha256 is 'A+\.\.\.A+', expected a SHA-256"),
        ({"sources": [source(), source(train_only=False)]}, r"sources\[1\]\.train_only is False, expected true"),
        ({"sources": [source(val_only=1)]}, r"sources\[0\]\.val_only is 1, expected true"),
        ({"sources": [source(test_only=None)]}, r"sources\[0\]\.test_only is None, expected true"),
        ({"split": {"rule": "chance"}}, "split is {'rule': 'chance'}, expected a rule"),
        ({"split": {"rule": "position", "n_train": 40, "n_val": 10, "n_test": 10}}, "a part is missing"),
        ({"split": {"rule": "hash of key_id", "train": 1, "val": 1, "test": 1}}, "add up to 1"),
        (
            {"split": {"rule": "position", "n_train": 4, "n_val": 1, "n_test": 1, "n_test_reserved": 0}},
            "n_by_class.circle is .*, expected what PositionSplit",
        ),
        *(
            (
                {"options": {"limit": limit, "recognized_only": False, "drop_duplicates": False}},
                r"options\.limit is .*or more",
            )
            for limit in (0, True, 2**63)
        ),
        (
            {"options": {"limit": None, "recognized_only": False, "drop_duplicates": False, "leave_out": "x"}},
            r"options\.leave_out is 'x', expected a SHA-256",
        ),
        ({"left_out": {"\ud800": 1}}, "left_out is .*, expected an object of reasons and counts"),
        ({"left_out": {"over the limit": -1}}, "left_out is .*, expected an object of reasons and counts"),
        ({"arrays": {}}, "arrays.'points' is missing, expected an object"),
        ({"arrays": []}, r"arrays is \[\], expected an object"),
        ({"points": {"dtype": "<u2"}}, r"arrays\.points\.dtype is '<u2', expected <u1"),
        ({"points": {"dtype": "O"}}, r"arrays\.points\.dtype is 'O'"),
        ({"points": {"dtype": ["<u1"]}}, r"arrays\.points\.dtype is \['<u1'\]"),
        ({"points": {"shape": [-1, 2]}}, r"arrays\.points\.shape is \[-1, 2\], expected a list of counts"),
        ({"points": {"shape": [10**30, 2]}}, r"arrays\.points\.shape is"),
        ({"points": {"shape": [10**15, 2]}}, r"arrays\.pen_up\.shape is \[\d+\], expected \[125000000000000\]"),
        ({"points": {"shape": [float("inf"), 2]}}, r"arrays\.points\.shape is \[inf, 2\]"),
        ({"points": {"shape": None}}, r"arrays\.points\.shape is None"),
        ({"points": {"shape": []}}, r"arrays\.points\.shape is \[\], expected \[0, 2\]"),
        ({"offsets": {"dtype": "<u8"}}, r"offsets\.bin: has 724 bytes, its manifest says 1448"),
        ({"splits": {"shape": [5]}}, r"arrays\.splits\.shape is \[5\], expected \[180\]: it has n = 180 drawings"),
        ({"splits": {"shape": [90, 2]}}, r"arrays\.splits\.shape is \[90, 2\]"),
        ({"labels": {"shape": [2, 90]}}, r"arrays\.labels\.shape is \[2, 90\]"),
        ({"labels": {"shape": [0]}, "splits": {"shape": [0]}}, r"arrays\.labels\.shape is \[0\], expected \[180\]"),
    ],
)
def test_manifest_that_says_what_cannot_be_is_refused(changes: dict[str, Any], reason: str, copy: Path) -> None:
    change_manifest(copy, **changes)
    with pytest.raises(DatasetError, match=reason) as caught:
        PreparedDataset(copy)
    assert str(caught.value).startswith(f"{copy}/") and str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_manifest_is_known_by_the_hash_of_all_its_bytes(copy: Path) -> None:
    file = copy / "manifest.json"
    file.write_bytes(file.read_bytes() + b" \n")
    assert PreparedDataset(copy).manifest_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


# Values that none of a manifest's parts has, or most have not.
STRANGE: list[Any] = [None, True, -1, 0, 1, 2**63, 10**30, 0.5, math.nan, math.inf, "", "x", "\ud800", [], [1]]


STRANGE += [[[]], {}, {"x": 1}, {"x": {}}]


def changed(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The value with one part of it, at `way`, taken away, put twice, or replaced: each in its turn."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from ((way, strange) for strange in STRANGE)
    if isinstance(value, int):
        yield from ((way, value + step) for step in (-1, 1))
    if isinstance(value, str):
        yield from ((way, other) for other in (value[:-1], value + "0", value.upper(), "\x1b" + value[1:]))
    for key, part in parts:
        at, is_object = (*way, key), isinstance(value, dict)
        yield at, {k: v for k, v in value.items() if k != key} if is_object else value[:key] + value[key + 1 :]
        yield at, value | {f"{key}2": part} if is_object else [*value, part]
        for deeper, new in changed(part, at):
            yield deeper, value | {key: new} if is_object else [*value[:key], new, *value[key + 1 :]]


def known(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a dataset can be compared with."""
    arrays = {name: (manifest["arrays"][name]["dtype"], manifest["arrays"][name]["shape"]) for name in ARRAYS}
    counts = {key: manifest[key] for key in ("format", "version", "n", "n_by_split", "n_by_class", "classes")}
    return counts | {"arrays": arrays}


def used(data: PreparedDataset) -> None:
    """All that is done with a dataset once it is open."""
    data.verify()
    describe_data(data, data.classes)
    for word in data.classes:
        data.key_ids_not_trained_on(word)
    data.n_trained(data.classes), data.label_map(data.classes), data.strokes(len(data) - 1), repr(data)
    for split in SPLITS:
        with suppress(DatasetError, ConfigError):
            check_counts(data, {"n_train": 40})
            batch_of(data, data.indices(split), np.arange(3), 20)


def test_any_change_of_the_manifest_is_refused_as_such_or_does_no_harm(copy: Path) -> None:
    file = copy / "manifest.json"
    whole = json.loads(file.read_text())
    whole["sources"] = whole["sources"][:1]
    whole["options"]["held_out"] = "0" * 64
    n_refused = 0
    for way, value in changed(whole):
        file.write_text(json.dumps(value))
        if value == whole and json.dumps(value) == json.dumps(whole):
            continue
        try:
            data = PreparedDataset(copy)
        except DatasetError as error:
            n_refused += 1
            assert str(error).startswith(f"{copy}/") and str(error).isprintable() and len(str(error)) < 1000
            continue
        assert known(data.manifest) == known(whole), way
        try:
            used(data)
        except DatasetError as error:
            assert "not those that were prepared" in str(error)
        data.manifest["n"] + sum(data.manifest["left_out"].values()) + len(data.manifest["sources"])
        json.dumps(data.manifest, ensure_ascii=False).encode()
    assert n_refused > 1000


@pytest.mark.parametrize("name", ARRAYS)
def test_array_file_of_another_size_is_refused_by_name(name: str, copy: Path) -> None:
    path = copy / f"{name}.bin"
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(content)
        with pytest.raises(
            DatasetError, match=rf"{name}\.bin: has {len(content)} bytes, its manifest says {len(whole)}"
        ):
            PreparedDataset(copy)
    path.unlink()
    with pytest.raises(DatasetError, match=rf"{name}\.bin: has 0 bytes"):
        PreparedDataset(copy)


@pytest.mark.parametrize(
    ("at", "value"), [(0, 1), (1, 0), (1, 2**32 - 1), (50, 0), (180, 0), (180, 2**32 - 1), (100, 2**31)]
)
def test_offsets_that_point_elsewhere_are_refused(at: int, value: int, copy: Path) -> None:
    offsets = np.fromfile(copy / "offsets.bin", "<u4")
    offsets[at] = value
    offsets.tofile(copy / "offsets.bin")
    with pytest.raises(DatasetError, match=r"offsets\.bin: does not ascend"):
        PreparedDataset(copy)


@pytest.mark.parametrize("at", [0, 90, 179])
def test_a_drawing_without_an_end_is_refused(at: int, copy: Path) -> None:
    end = int(np.fromfile(copy / "offsets.bin", "<u4")[at + 1]) - 1
    bits = np.fromfile(copy / "pen_up.bin", np.uint8)
    bits[end >> 3] ^= 1 << (end & 7)
    bits.tofile(copy / "pen_up.bin")
    with pytest.raises(DatasetError, match=r"pen_up\.bin: has a drawing whose last point ends no stroke"):
        PreparedDataset(copy)


@pytest.mark.parametrize("name", ARRAYS)
def test_flipped_byte_is_found(name: str, copy: Path) -> None:
    PreparedDataset(copy).verify()
    path = copy / f"{name}.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{name}\.bin"):
        PreparedDataset(copy).verify()


def test_indices_of_a_split_ascend_and_cover_it(dataset: PreparedDataset) -> None:
    parts = [dataset.indices(name) for name in ("train", "val", "test")]
    assert list(map(len, parts)) == [120, 30, 30]
    assert sorted(np.concatenate(parts).tolist()) == list(range(180))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_split_that_is_unknown_or_empty_is_refused(dataset: PreparedDataset) -> None:
    with pytest.raises(DatasetError, match="no split 'Train'; expected reserved, train, val, test"):
        dataset.indices("Train")
    with pytest.raises(DatasetError, match="no drawing in split 'reserved'; it has train 120, val 30, test 30"):
        dataset.indices("reserved")


def test_drawing_outside_the_dataset_is_an_index_error(dataset: PreparedDataset) -> None:
    for index in (-1, len(dataset), 10**9):
        with pytest.raises(IndexError):
            dataset.strokes(index)


def test_drawings_of_a_split_are_those_of_its_indices(dataset: PreparedDataset) -> None:
    found, indices = list(dataset.drawings("val")), dataset.indices("val").tolist()
    assert [(drawing.word, drawing.key_id) for drawing in found] == [
        (dataset.classes[dataset.labels[i]], int(dataset.key_ids[i])) for i in indices
    ]
    for drawing, i in zip(found, indices, strict=True):
        assert drawing.is_simplified
        assert [stroke.tolist() for stroke in drawing.strokes] == [stroke.tolist() for stroke in dataset.strokes(i)]
    word = dataset.classes[1]
    assert {drawing.word for drawing in dataset.drawings("val", [word])} == {word}
    with pytest.raises(CategoryError, match="classes: 'whale' is not among the 3 classes"):
        dataset.drawings("val", ["whale"])
    with pytest.raises(DatasetError, match="no split 'Train'"):
        dataset.drawings("Train")


def test_training_drawings_are_counted_in_the_order_asked_for(dataset: PreparedDataset) -> None:
    trained = dataset.indices("train")
    expected = [int((dataset.labels[trained] == label).sum()) for label in (2, 0)]
    assert dataset.n_trained(("star", "circle")).tolist() == expected


def test_label_map_finds_words_in_another_order(dataset: PreparedDataset) -> None:
    assert dataset.label_map(("star", "cat", "circle")).tolist() == [2, -1, 0]


def test_arrays_cannot_be_written_to(dataset: PreparedDataset) -> None:
    for name in ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0] = 0


def test_wide_offsets_say_the_same(binary_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(binary_folder, tmp_path / "narrow")
    narrow = PreparedDataset(tmp_path / "narrow")
    n_points = int(narrow.offsets[-1])
    for limit, dtype in ((n_points + 1, np.uint32), (n_points, np.uint64)):
        monkeypatch.setattr(manifest, "WIDE_POINTS", limit)
        prepare(binary_folder, tmp_path / dtype.__name__)
        data = PreparedDataset(tmp_path / dtype.__name__)
        data.verify()
        assert data.offsets.dtype == dtype
        assert data.offsets.tolist() == narrow.offsets.tolist()
        assert [as_lists(data.strokes(i)) for i in range(180)] == [as_lists(narrow.strokes(i)) for i in range(180)]
        order = np.arange(180)[::-1].copy()
        ours, theirs = (batch_of(one, order, np.arange(3), 100) for one in (data, narrow))
        assert np.array_equal(ours.points, theirs.points)
