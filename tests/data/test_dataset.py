"""Preparing drawings: nothing lost, nothing twice, no drawing in two splits, and the same bytes every time."""

import dataclasses
import gzip
import hashlib
import json
import math
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy as copied
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quickstroke.artifacts.runs import describe_data
from quickstroke.config.model import Preprocessing
from quickstroke.data import layout
from quickstroke.data.batches import gather
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.data.memory import MemoryDataset, first_points, first_strokes, from_drawings
from quickstroke.data.selection import check_counts
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.categories import CATEGORIES, SEED_CATEGORIES
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import CategoryError, ConfigError, DatasetError, FormatError, QuickstrokeError
from quickstroke.formats import binary, ndjson, read_drawings, read_file
from quickstroke.preparation import convert
from quickstroke.preparation.prepare import prepare

PREPROCESSINGS = get_args(Preprocessing)

ARRAYS = ("points", "pen_up", "offsets", "labels", "key_ids", "splits")
ALL_TRAIN = FractionSplit(1, 0, 0)


def dot(key_id: int, x: int = 0, recognized: bool = True) -> Drawing:
    """A drawing of one point, told apart by `x` alone."""
    return Drawing("", [np.array([[x, 7]], np.uint8)], key_id=key_id, recognized=recognized)


def save(folder: Path, **words: Iterable[Drawing]) -> Path:
    """A folder of binary files."""
    for word, drawings in words.items():
        binary.write(folder / f"{word}.bin", drawings)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def as_lists(strokes: Sequence[NDArray[Any]]) -> list[Any]:
    return [stroke.tolist() for stroke in strokes]


def split_of(data: PreparedDataset) -> dict[int, set[str]]:
    """The splits in which each key_id is."""
    found: dict[int, set[str]] = {}
    for key_id, split in zip(data.key_ids.tolist(), data.splits.tolist(), strict=True):
        found.setdefault(key_id, set()).add(SPLITS[split])
    return found


def splitmix64(value: int) -> int:
    """As published, in whole numbers."""
    mask = 2**64 - 1
    z = (value + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
    return z ^ z >> 31


def key_with_hash(wanted: int) -> int:
    """The key_id that splitmix64 takes to `wanted`."""

    def unshift(value: int, by: int) -> int:
        found = value
        for _ in range(64 // by):
            found = value ^ found >> by
        return found

    z = unshift(wanted, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    key = (unshift(z, 30) - 0x9E3779B97F4A7C15) % 2**64
    assert splitmix64(key) == wanted
    return key


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """All real drawings, split by the default rule."""
    path = tmp_path_factory.mktemp("real") / "dataset"
    prepare(shared / "data/quickdraw/binary", path)
    return PreparedDataset(path)


# The same bytes


def test_same_input_gives_the_same_bytes_wherever_it_lies(binary_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(binary_folder, tmp_path / "elsewhere" / "copy")
    outputs = [tmp_path / "one", tmp_path / "deep" / "er" / "other", tmp_path / "third"]
    sources: list[Path | str] = [binary_folder, tmp_path / "elsewhere/copy", f"{binary_folder}/*.bin"]
    for source, into in zip(sources, outputs, strict=True):
        prepare(source, into)
    assert contents(outputs[0]) == contents(outputs[1]) == contents(outputs[2])
    assert set(contents(outputs[0])) == {"manifest.json", *(f"{name}.bin" for name in ARRAYS)}
    assert str(tmp_path) not in (outputs[0] / "manifest.json").read_text()


def test_same_real_input_gives_the_same_bytes(real: PreparedDataset, shared: Path, tmp_path: Path) -> None:
    prepare(shared / "data/quickdraw/binary", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(real.path)


# What is in it


def test_real_drawings_are_all_there(real: PreparedDataset, shared: Path) -> None:
    lines = (shared / "data/quickdraw/counts.tsv").read_text().splitlines()[1:]
    counts = {line.split("\t")[0]: int(line.split("\t")[1]) for line in lines}
    assert len(real) == 110_307
    assert real.classes == CATEGORIES
    assert dict(zip(real.classes, np.bincount(real.labels).tolist(), strict=True)) == counts
    assert (np.diff(real.labels.astype(int)) >= 0).all()
    assert real.manifest["left_out"] == {}
    real.verify()


def test_strokes_of_real_drawings_are_those_of_their_files(real: PreparedDataset, shared: Path) -> None:
    n = 0
    for label, word in enumerate(real.classes):
        first = int(np.searchsorted(real.labels, label))
        for i, drawing in enumerate(read_file(shared / f"data/quickdraw/binary/{word}.bin")):
            index = first + i
            assert int(real.key_ids[index]) == drawing.key_id
            assert int(real.n_points[index]) == drawing.n_points
            if i % 23 == label % 23:
                assert as_lists(real.strokes(index)) == as_lists(drawing.strokes)
                n += 1
    assert n > 4000


def test_every_pen_bit_is_that_of_the_file(real: PreparedDataset, shared: Path) -> None:
    blocks = [
        block
        for word in real.classes
        for block in binary.read_blocks(shared / f"data/quickdraw/binary/{word}.bin", word)
    ]
    pen_up = np.concatenate([block.pen_up for block in blocks])
    assert np.array_equal(np.unpackbits(real.pen_up, bitorder="little")[: len(pen_up)], pen_up)
    assert np.array_equal(real.points, np.concatenate([block.points for block in blocks]))


def test_manifest_says_what_was_done(drawings: dict[str, list[Drawing]], tmp_path: Path) -> None:
    folder = save(tmp_path / "in", **drawings)
    (folder / "notes.txt").touch()
    done: list[tuple[str, int, int]] = []
    prepared = prepare(
        folder, tmp_path / "out", split=PositionSplit(20, 5, 4, 3), limit=40, on_class=lambda *args: done.append(args)
    )
    data = PreparedDataset(tmp_path / "out")
    counts = {"reserved": 3, "train": 20, "val": 5, "test": 4}
    totals = {name: 3 * n for name, n in counts.items()}
    assert data.manifest["format"] == "quickstroke prepared dataset"
    assert data.manifest["version"] == 1
    assert data.manifest["n"] == len(data) == 3 * 32
    assert data.manifest["classes"] == ["circle", "house", "star"]
    assert data.manifest["split"] == {
        "rule": "position", "n_train": 20, "n_val": 5, "n_test": 4, "n_test_reserved": 3
    }  # fmt: skip
    assert data.manifest["n_by_split"] == totals
    assert data.manifest["n_by_class"] == dict.fromkeys(data.classes, counts)
    assert data.manifest["left_out"] == {"over the limit": 3 * 20, "beyond the split counts": 3 * 8}
    assert data.manifest["options"] == {"limit": 40, "recognized_only": False, "drop_duplicates": False}
    assert [source["name"] for source in data.manifest["sources"]] == ["circle.bin", "house.bin", "star.bin"]
    for source in data.manifest["sources"]:
        content = (folder / source["name"]).read_bytes()
        assert (source["bytes"], source["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    for name in ARRAYS:
        described = data.manifest["arrays"][name]
        content = (tmp_path / "out" / f"{name}.bin").read_bytes()
        assert described["sha256"] == hashlib.sha256(content).hexdigest()
        assert int(np.prod(described["shape"])) * np.dtype(described["dtype"]).itemsize == len(content)
    assert (prepared.path, prepared.n, prepared.n_classes) == (tmp_path / "out", 96, 3)
    assert (prepared.splits, prepared.left_out) == (totals, data.manifest["left_out"])
    assert prepared.ignored_files == ("notes.txt",)
    assert done == [("circle", 1, 3), ("house", 2, 3), ("star", 3, 3)]


def test_formats_together_are_the_same_dataset(tmp_path: Path) -> None:
    words = ("circle", "house", "star")
    raw = list(synthetic_drawings(30, seed=3, words=words, simplified=False))
    simplified = [dataclasses.replace(one, strokes=simplify(one.strokes), times_ms=None) for one in raw]
    assert not any(one.is_simplified for one in raw)
    by_word = {word: [one for one in simplified if one.word == word] for word in words}
    plain = save(tmp_path / "plain", **by_word)

    mixed = tmp_path / "mixed"
    save(mixed, circle=by_word["circle"][:10])
    ndjson.write(mixed / "more.ndjson.gz", by_word["circle"][10:] + by_word["star"][:5])
    lines = []
    for one in (one for one in raw if one.word == "house"):
        assert one.times_ms is not None
        rows = [[*stroke.T.tolist(), times.tolist()] for stroke, times in zip(one.strokes, one.times_ms, strict=True)]
        lines.append(json.dumps({"word": one.word, "key_id": str(one.key_id), "drawing": rows}))
    (mixed / "raw.ndjson").write_text("\n".join(lines))
    table = ["word,key_id,drawing"]
    for one in by_word["star"][5:]:
        table.append(f'star,{one.key_id},"{json.dumps([stroke.T.tolist() for stroke in one.strokes])}"')
    (mixed / "star.csv").write_text("\n".join(table))

    order = [mixed / name for name in ("circle.bin", "more.ndjson.gz", "star.csv", "raw.ndjson")]
    prepare(plain, tmp_path / "a")
    prepare(order, tmp_path / "b")
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    for name in ARRAYS:
        assert a[f"{name}.bin"] == b[f"{name}.bin"], name


def test_raw_real_drawings_are_simplified(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/quickdraw/raw/cow.ndjson"
    prepare(source, tmp_path / "out", split=ALL_TRAIN)
    data = PreparedDataset(tmp_path / "out")
    expected = [as_lists(simplify(drawing.strokes)) for drawing in read_file(source)]
    assert [as_lists(data.strokes(i)) for i in range(len(data))] == expected


def test_country_and_time_do_not_keep_a_drawing_out(tmp_path: Path) -> None:
    head = '{"word": "cat", "key_id": 5, "drawing": [[[1],[2]]], '
    lines = ['"countrycode": "somewhere"}', '"timestamp": "1902-01-01 00:00:00 UTC"}', '"countrycode": "日本"}']
    (tmp_path / "cats.ndjson").write_text(
        "\n".join((head + line).replace("5", str(i)) for i, line in enumerate(lines, 1))
    )
    assert prepare(tmp_path / "cats.ndjson", tmp_path / "out", split=ALL_TRAIN).n == 3


@pytest.mark.parametrize("n_open", [1, 2, 200])
def test_one_file_may_hold_more_words_than_files_can_be_open(
    n_open: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "_MAX_OPEN_FILES", n_open)
    words = [f"word {i:02}" for i in range(20)]
    items = [
        dataclasses.replace(dot(100 * turn + i + 1, turn), word=word) for turn in (0, 1) for i, word in enumerate(words)
    ]
    ndjson.write(tmp_path / "all.ndjson", items)
    prepare(tmp_path / "all.ndjson", tmp_path / "out", split=ALL_TRAIN)
    data = PreparedDataset(tmp_path / "out")
    assert data.classes == tuple(words)
    assert data.key_ids.tolist() == [100 * turn + i + 1 for i in range(20) for turn in (0, 1)]


# Classes


def test_order_of_the_classes_is_that_of_the_labels(drawings: dict[str, list[Drawing]], tmp_path: Path) -> None:
    folder = save(tmp_path / "in", **drawings)
    prepare(folder, tmp_path / "out", classes=["star", "Circle"], split=ALL_TRAIN)
    data = PreparedDataset(tmp_path / "out")
    assert data.classes == ("star", "circle")
    for i in (0, 59, 60, 119):
        one = drawings[data.classes[data.labels[i]]][i % 60]
        assert as_lists(data.strokes(i)) == as_lists(one.strokes)
    assert data.manifest["left_out"] == {"other words": 60}


def test_without_a_list_classes_are_all_words_sorted(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", zebra=[dot(1)], the_mona_lisa=[dot(2)], my_word=[dot(3)], ant=[dot(4)])
    prepare(folder, tmp_path / "out", split=ALL_TRAIN)
    assert PreparedDataset(tmp_path / "out").classes == ("The Mona Lisa", "ant", "my word", "zebra")


def test_files_of_one_word_are_one_class_in_source_order(tmp_path: Path) -> None:
    one = save(tmp_path / "one", ice_cream=[dot(2), dot(1)])
    other = save(tmp_path / "other", **{"ice cream": [dot(3), dot(2)]})
    for i, sources in enumerate(([one, other], [other, one])):
        prepare(sources, tmp_path / f"out{i}", split=ALL_TRAIN)
    assert PreparedDataset(tmp_path / "out0").key_ids.tolist() == [2, 1, 3]
    assert PreparedDataset(tmp_path / "out1").key_ids.tolist() == [3, 2, 1]


def test_class_twice_is_refused(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CategoryError, match="'star' is listed twice, as class 1 and class 3"):
        prepare(binary_folder, tmp_path / "out", classes=["star", "house", "Star"])


def test_class_that_no_source_has_is_refused_with_a_hint(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CategoryError) as caught:
        prepare(binary_folder, tmp_path / "out", classes=["star", "cat", "umbrela"])
    message = str(caught.value)
    assert "no drawings of 'cat', 'umbrela' (not a Quick, Draw! category; did you mean 'umbrella'?)" in message
    assert "star" not in message


# Splits


def test_hash_is_splitmix64() -> None:
    # The first output of the published generator from the seed 0.
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    keys = [0, 1, 5201136883597312, 2**63, 2**64 - 1, key_with_hash(0), key_with_hash(2**64 - 1)]
    split = FractionSplit(0.25, 0.5, 0.25)
    expected = [1 if part < 0.25 else 2 if part < 0.75 else 3 for part in (splitmix64(key) / 2**64 for key in keys)]
    assert split.assign(np.array(keys, np.uint64)).tolist() == expected


@pytest.mark.parametrize(
    "fractions",
    [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (0.5, 0.5, 0),
        (0.5, 0, 0.5),
        (0, 0.5, 0.5),
        (0.9, 0.1, 0),
        (0.7, 0.3, 0),
        (0.1, 0.2, 0.7),
        (0.3, 0.7 - 1e-12, 1e-12),
        (1 / 3, 1 / 3, 1 / 3),
        (1e-10, 0, 1 - 1e-10),
    ],
)
def test_fraction_of_zero_is_empty_and_others_are_as_asked(
    fractions: tuple[float, float, float], real: PreparedDataset
) -> None:
    ends = np.array([key_with_hash(wanted) for wanted in (0, 1, 2**63, 2**64 - 600, 2**64 - 1)], np.uint64)
    split = FractionSplit(*fractions)
    assigned = split.assign(np.concatenate([ends, real.key_ids]))
    assert assigned.dtype == np.uint8
    counts = np.bincount(assigned, minlength=4) / len(assigned)
    assert counts[0] == 0
    for fraction, share in zip(fractions, counts[1:], strict=True):
        assert (share == 0) if fraction == 0 else abs(share - fraction) < 0.005


@pytest.mark.parametrize(
    "fractions",
    [
        (0.8, 0.1, 0.2),
        (0.8, 0.1, 0),
        (-0.1, 1, 0.1),
        (1.1, -0.1, 0),
        (float("nan"), 0.5, 0.5),
        (float("inf"), 0, 0),
        (0, 0, 0),
    ],
)
def test_fractions_that_are_none_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="fractions should be three numbers from 0 to 1"):
        FractionSplit(*fractions)


@pytest.mark.parametrize("counts", [(-1, 5, 5), (5, -1, 5), (5, 5, -1), (5, 5, 5, -1), (0, 0, 0), (0, 0, 0, 0)])
def test_counts_that_are_none_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"should be 0 or more|at least one drawing"):
        PositionSplit(*counts)


def test_no_real_drawing_is_in_two_splits_by_hash(real: PreparedDataset) -> None:
    found = split_of(real)
    assert len(found) == len(real)
    assert set(map(len, found.values())) == {1}
    assert {name for names in found.values() for name in names} == {"train", "val", "test"}


def test_no_real_drawing_is_in_two_splits_by_position(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/quickdraw"
    # the same drawings twice: the official lines are among the binary files
    sources = [source / "binary", source / "simplified"]
    prepared = prepare(sources, tmp_path / "out", classes=SEED_CATEGORIES, split=PositionSplit(20, 6, 6, 8))
    data = PreparedDataset(tmp_path / "out")
    found = split_of(data)
    assert len(found) == len(data) == 4000
    assert set(map(len, found.values())) == {1}
    assert prepared.left_out["repeated key_id"] > 1000
    assert prepared.splits == {"reserved": 800, "train": 2000, "val": 600, "test": 600}


@pytest.mark.parametrize("split", [FractionSplit(0.4, 0.3, 0.3), PositionSplit(12, 9, 9, 10)])
def test_planted_duplicates_are_in_one_split(split: FractionSplit | PositionSplit, tmp_path: Path) -> None:
    words = ("circle", "house", "star")
    items = {word: list(synthetic_drawings(50, seed=1, words=(word,))) for word in words}
    folder = save(
        tmp_path / "in", circle=items["circle"], house=items["circle"][:20] + items["house"], star=items["star"]
    )
    ndjson.write(folder / "more.ndjson", items["star"][::-1] + items["circle"][10:])
    (folder / "again.ndjson.gz").write_bytes(gzip.compress((folder / "more.ndjson").read_bytes()))
    prepared = prepare(folder, tmp_path / "out", split=split)
    data = PreparedDataset(tmp_path / "out")
    assert set(map(len, split_of(data).values())) == {1}
    # 50 + 70 + 50 in binary files and 90 lines twice
    assert prepared.n + sum(prepared.left_out.values()) == 50 + 70 + 50 + 2 * 90
    assert prepared.left_out["repeated key_id"] == 180
    assert ("key_id of another class" in prepared.left_out) == isinstance(split, PositionSplit)


@settings(deadline=None, max_examples=40)
@given(
    words=st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.booleans()), min_size=1, max_size=12),
        min_size=1,
        max_size=3,
    ),
    split=st.sampled_from(
        [FractionSplit(0, 0.5, 0.5), FractionSplit(0, 1, 0), PositionSplit(1, 0, 0), PositionSplit(0, 1, 1, 1)]
    ),
    recognized_only=st.booleans(),
    drop_duplicates=st.booleans(),
    limit=st.none() | st.integers(1, 5),
)
def test_every_drawing_is_in_one_split_or_left_out_for_one_reason(
    words: list[list[tuple[int, int, bool]]],
    split: FractionSplit | PositionSplit,
    recognized_only: bool,
    drop_duplicates: bool,
    limit: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    names = ("ant", "bee", "cat")[: len(words)]
    save(folder / "in", **{name: [dot(*one) for one in items] for name, items in zip(names, words, strict=True)})
    options = {"recognized_only": recognized_only, "drop_duplicates": drop_duplicates, "limit": limit}
    try:
        prepared = prepare(folder / "in", folder / "out", split=split, **options)  # type: ignore[arg-type]
    except DatasetError as error:
        assert "too few drawings" in str(error)
        return
    data = PreparedDataset(folder / "out")
    data.verify()
    assert prepared.n + sum(prepared.left_out.values()) == sum(map(len, words))
    assert all(n > 0 for n in prepared.left_out.values())
    assert len(data) == prepared.n == sum(prepared.splits.values())
    assert all(len(found) == 1 for found in split_of(data).values())
    per_class = [data.key_ids[data.labels == label].tolist() for label in range(len(words))]
    assert all(len(set(keys)) == len(keys) for keys in per_class)
    if limit:
        assert all(len(keys) <= limit for keys in per_class)


def test_hash_split_depends_on_nothing_but_the_key_id(drawings: dict[str, list[Drawing]], tmp_path: Path) -> None:
    split = FractionSplit(0.5, 0.3, 0.2)
    save(tmp_path / "all", **drawings)
    save(tmp_path / "some", star=drawings["star"][::-1][:30], circle=drawings["circle"][7:])
    prepare(tmp_path / "all", tmp_path / "a", split=split)
    prepare(tmp_path / "some", tmp_path / "b", classes=["star", "circle"], split=split, limit=25)
    a, b = split_of(PreparedDataset(tmp_path / "a")), split_of(PreparedDataset(tmp_path / "b"))
    assert len(b) == 50
    assert {key: a[key] for key in b} == b


def test_position_split_takes_each_class_in_the_order_of_its_file(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/quickdraw/binary"
    prepare(folder, tmp_path / "out", classes=["sun", "cat", "dog"], split=PositionSplit(20, 6, 5, 9))
    data = PreparedDataset(tmp_path / "out")
    for label, word in enumerate(data.classes):
        keys = [drawing.key_id for drawing in read_file(folder / f"{word}.bin")][:40]
        mine = data.labels == label
        assert data.key_ids[mine].tolist() == keys
        assert data.splits[mine].tolist() == [0] * 9 + [1] * 20 + [2] * 6 + [3] * 5


def test_too_few_drawings_names_every_class_with_what_it_has_and_what_was_asked(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "in",
        ant=map(dot, range(1, 10)),
        bee=map(dot, range(11, 40)),
        cat=map(dot, [50] * 30),
        dog=[],
    )
    with pytest.raises(DatasetError) as caught:
        prepare(folder, tmp_path / "out", split=PositionSplit(10, 3, 0, 7))
    asked = "asked for 20 (7 reserved + 10 train + 3 val)"
    assert str(caught.value) == f"too few drawings: ant has 9, {asked}; cat has 1, {asked}; dog has 0, {asked}"


def test_class_with_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "in", ant=map(dot, range(1, 50)), bee=[dot(1, recognized=False)])
    with pytest.raises(DatasetError, match=r"too few drawings: bee has 0, asked for at least one to train on$"):
        prepare(tmp_path / "in", tmp_path / "out", recognized_only=True)
    assert prepare(tmp_path / "in", tmp_path / "out", split=FractionSplit(0, 0, 1), recognized_only=True).n == 49


# What is left out


def test_reasons_come_in_their_order_and_the_first_one_counts(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "in",
        cat=[
            dot(1, 0),
            dot(2, 1, recognized=False),
            dot(2, 1),  # the first of this key_id that was recognised
            dot(2, 2),  # repeated key_id
            dot(3, 0),  # duplicate strokes
            dot(4, 3),
            dot(5, 4),  # over the limit
            dot(5, 5, recognized=False),
        ],
        dog=[dot(9)],
    )
    options: dict[str, Any] = {"recognized_only": True, "drop_duplicates": True, "limit": 3, "classes": ["cat"]}
    prepared = prepare(folder, tmp_path / "out", split=ALL_TRAIN, **options)
    assert PreparedDataset(tmp_path / "out").key_ids.tolist() == [1, 2, 4]
    assert prepared.left_out == {
        "not recognized": 2,
        "repeated key_id": 1,
        "duplicate strokes": 1,
        "over the limit": 1,
        "other words": 1,
    }


def test_duplicate_strokes_differ_in_any_point_or_pen(tmp_path: Path) -> None:
    one, other = np.array([[1, 2], [3, 4]], np.uint8), np.array([[1, 2], [3, 5]], np.uint8)
    strokes = [[one], [one.copy()], [other], [one[:1], one[1:]], [one, other], [other, one], [one[::-1]], [one, other]]
    folder = save(tmp_path / "in", cat=[Drawing("cat", s, key_id=i) for i, s in enumerate(strokes, start=1)])
    prepared = prepare(folder, tmp_path / "out", split=ALL_TRAIN, drop_duplicates=True)
    assert PreparedDataset(tmp_path / "out").key_ids.tolist() == [1, 3, 4, 5, 6, 7]
    assert prepared.left_out == {"duplicate strokes": 2}


def test_real_drawings_add_up_with_every_option(shared: Path, tmp_path: Path) -> None:
    prepared = prepare(
        [shared / "data/quickdraw/binary", shared / "data/quickdraw/simplified"],
        tmp_path / "out",
        classes=SEED_CATEGORIES,
        limit=200,
        recognized_only=True,
        drop_duplicates=True,
    )
    assert prepared.n + sum(prepared.left_out.values()) == 110_307 + 344 * 25
    assert set(prepared.left_out) >= {"not recognized", "repeated key_id", "over the limit", "other words"}
    data = PreparedDataset(tmp_path / "out")
    assert np.bincount(data.labels).max() == 200


def test_drawing_without_a_key_id_gets_a_hash_of_its_strokes(tmp_path: Path) -> None:
    def fnv(strokes: list[list[list[int]]]) -> int:
        value = 0xCBF29CE484222325
        for stroke in strokes:
            for i, (x, y) in enumerate(stroke):
                for byte in (x, y, int(i == len(stroke) - 1)):
                    value = (value ^ byte) * 0x100000001B3 % 2**64
        return value | 1 << 63

    strokes = [[[1, 2], [3, 4]], [[5, 6]]]
    cat = Drawing("cat", [np.array(stroke, np.uint8) for stroke in strokes])
    folder = save(tmp_path / "in", cat=[cat, dot(0, 3), dot(0, 4), dot(0, 3), dot(8, 3)])
    prepared = prepare(folder, tmp_path / "out", split=ALL_TRAIN)
    expected = [fnv(strokes), fnv([[[3, 7]]]), fnv([[[4, 7]]]), 8]
    assert PreparedDataset(tmp_path / "out").key_ids.tolist() == expected
    assert prepared.left_out == {"repeated key_id": 1}


def test_limit_has_to_be_a_drawing(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="limit should be a whole number of 1 or more, got 0"):
        prepare(binary_folder, tmp_path / "out", limit=0)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (lambda: {"limit": 2.5}, "limit should be a whole number of 1 or more, got 2.5"),
        (lambda: {"limit": "5"}, "limit should be a whole number of 1 or more, got '5'"),
        (lambda: {"limit": np.int64(5)}, "limit should be a whole number of 1 or more, got np.int64"),
        (lambda: {"split": (0.8, 0.1, 0.1)}, "split should be a FractionSplit or a PositionSplit, got"),
        (lambda: {"split": PositionSplit(np.int64(5), 1, 1)}, "n_train should be int, got np.int64"),  # type: ignore[arg-type]
        (lambda: {"split": FractionSplit(1, 0, np.float32(0))}, "fractions should be three numbers from 0 to 1"),
    ],
)
def test_rules_of_other_types_are_refused(
    binary_folder: Path, tmp_path: Path, rules: Callable[[], dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare(binary_folder, tmp_path / "out", **rules())
    assert not list(tmp_path.iterdir())


def test_a_text_is_no_list_of_classes(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CategoryError, match="classes: expected words, got the text 'cat'"):
        prepare(binary_folder, tmp_path / "out", classes="cat")
    assert not list(tmp_path.iterdir())


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


def test_any_number_may_be_asked_for(binary_folder: Path, tmp_path: Path) -> None:
    """Before any is counted: memory for one entry a drawing asked for would not be there."""
    for counts in ((10**23, 1, 1, 0), (1, 0, 0, 10**12)):
        with pytest.raises(DatasetError, match=f"asked for {sum(counts)} "):
            prepare(binary_folder, tmp_path / "out", split=PositionSplit(*counts))
        assert not list(tmp_path.iterdir())


def test_positions_are_counted_on(tmp_path: Path) -> None:
    split = PositionSplit(3, 0, 2, 1)
    whole = split.assign(np.zeros(9, np.uint64))
    assert whole.tolist() == [0, 1, 1, 1, 3, 3]
    assert whole.dtype == np.uint8
    for n in range(10):
        parts = [split.assign(np.zeros(n, np.uint64)), split.assign(np.zeros(9 - n, np.uint64), n)]
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_where_all_drawings_went_is_told(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", cat=[dot(key_with_hash(2**64 - 1))])
    with pytest.raises(
        DatasetError, match="cat has 1, asked for at least one to train on; by their key_ids went 1 to test"
    ):
        prepare(folder, tmp_path / "out")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_followed(binary_folder: Path, tmp_path: Path, is_there: bool) -> None:
    store, link = tmp_path / "store", tmp_path / "link"
    if is_there:
        store.mkdir()
    link.symlink_to(store)
    prepare(binary_folder, link)
    assert link.is_symlink() and len(PreparedDataset(store).classes) == len(list(binary_folder.glob("*.bin")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "store"]


# What goes wrong leaves nothing behind


def test_folder_that_exists_is_refused_and_left_as_it_is(binary_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("x")
    (tmp_path / "file").write_text("y")
    before = contents(tmp_path)
    for name in ("folder", "file"):
        with pytest.raises(DatasetError, match=f"{name}: exists already"):
            prepare(binary_folder, tmp_path / name)
    assert contents(tmp_path) == before


def test_empty_folder_is_filled(binary_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    prepare(binary_folder, tmp_path / "out")
    assert len(PreparedDataset(tmp_path / "out")) == 180
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("options", "failure"),
    [
        ({"split": PositionSplit(1000, 0, 0)}, DatasetError),
        ({"classes": ["circle", "cat"]}, CategoryError),
        ({"sources": "truncated"}, FormatError),
        ({"sources": "wrong line"}, FormatError),
        ({"sources": "no word"}, FormatError),
        ({"sources": "name"}, FormatError),
        ({"sources": "absent"}, FormatError),
        ({"sources": "nothing"}, DatasetError),
    ],
)
def test_failure_leaves_nothing_behind(
    options: dict[str, Any], failure: type[BaseException], binary_folder: Path, tmp_path: Path
) -> None:
    sources: list[Path] = [binary_folder]
    bad = tmp_path / "bad"
    bad.mkdir()
    match options.pop("sources", None):
        case "truncated":
            (bad / "apple.bin").write_bytes((binary_folder / "star.bin").read_bytes()[:-1])
            sources.append(bad / "apple.bin")
        case "wrong line":
            ndjson.write(bad / "x.ndjson", [dataclasses.replace(dot(1), word="cat")])
            with (bad / "x.ndjson").open("a") as file:
                file.write('{"word": "cat"}\n')
            sources.append(bad / "x.ndjson")
        case "no word":
            ndjson.write(bad / "x.ndjson", [dot(1)])
            sources.append(bad / "x.ndjson")
        case "name":
            binary.write(bad / "_.bin", [dot(1)])
            sources.append(bad / "_.bin")
        case "absent":
            sources.append(bad / "absent.bin")
        case "nothing":
            sources = []
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(failure):
        prepare(sources, out / "dataset", **options)
    assert list(out.iterdir()) == []


def test_name_of_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    name = b"caf\xe9.bin".decode("utf-8", "surrogateescape")
    try:
        binary.write(tmp_path / "in" / name, [dot(1)])
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    with pytest.raises(FormatError, match="its name is no UTF-8 text"):
        prepare(tmp_path / "in", tmp_path / "out", split=ALL_TRAIN)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


# An escape, nothing, the direction of writing and its isolation, no width three times, and a hyphen that is not seen.
UNPRINTABLE = ["\x1b", "\0", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad"]


def words_file(path: Path, words: Sequence[str]) -> Path:
    """An ndjson or CSV file of a drawing a word."""
    if path.suffix == ".csv":
        lines = ["word,drawing", *(f'"{word}","[[[0,9],[0,9]]]"' for word in words)]
    else:
        lines = [json.dumps({"word": word, "drawing": [[[0, 9], [0, 9]]]}) for word in words]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize(("name", "line"), [("x.ndjson", 3), ("x.csv", 4)])
def test_word_that_cannot_be_printed_is_refused_with_its_line(
    name: str, line: int, is_compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_compiled:
        monkeypatch.setattr(convert, "_FEW_BYTES", 0)
    for letter in UNPRINTABLE[:1] if is_compiled else UNPRINTABLE:
        path = words_file(tmp_path / "in" / name, ["cat", "dog", f"c{letter}at", "sun"])
        with pytest.raises(FormatError, match=rf"U\+{ord(letter):04X}, which cannot be printed") as caught:
            prepare(path, tmp_path / "out", split=ALL_TRAIN)
        assert (caught.value.path, caught.value.line) == (path, line) and str(caught.value).isprintable()
        assert not (tmp_path / "out").exists()
        # Of words that are not taken only the number is kept.
        assert prepare(path, tmp_path / "some", classes=["sun", "cat"], split=ALL_TRAIN).left_out == {"other words": 2}
        shutil.rmtree(tmp_path / "some")


@pytest.mark.parametrize("ending", [".bin", ".npz", ".bin.gz"])
def test_name_of_a_file_that_gives_a_word_that_cannot_be_printed_is_refused(ending: str, tmp_path: Path) -> None:
    for letter in UNPRINTABLE:
        if letter == "\0":  # in no name
            continue
        path = tmp_path / "in" / f"c{letter}at{ending}"
        save(path.parent, cat=[dot(1)])
        path.write_bytes(b"not read")
        with pytest.raises(FormatError, match=rf"gives the word .*U\+{ord(letter):04X}") as caught:
            prepare(path.parent, tmp_path / "out", split=ALL_TRAIN)
        assert caught.value.path == path
        assert [entry.name for entry in tmp_path.iterdir()] == ["in"]
        path.unlink()


def test_words_of_any_language_are_classes(tmp_path: Path) -> None:
    words = sorted(["cat", "Käse", "कमल", "قط", "猫", "😀", "2 + 2 = <4>"])
    for name in ("x.ndjson", "x.csv"):
        prepare(words_file(tmp_path / name, words), tmp_path / f"out {name}", split=ALL_TRAIN)
        assert list(PreparedDataset(tmp_path / f"out {name}").classes) == words


def test_a_preparation_that_an_older_version_began_makes_no_dataset_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = words_file(tmp_path / "in" / "x.ndjson", ["c\x1bat"])
    monkeypatch.setattr(convert, "unprintable", lambda word: "")
    with pytest.raises(CategoryError, match="cannot be printed"):
        prepare(path, tmp_path / "out", split=ALL_TRAIN)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


# Opening


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
        ({"sources": [1]}, r"sources\[0\] is 1, expected an object"),
        ({"sources": {}}, "sources is {}, expected a list"),
        ({"sources": [{"name": "x", "bytes": 3}]}, r"sources\[0\]\.'sha256' is missing, expected a SHA-256"),
        ({"split": {"rule": "chance"}}, "split is {'rule': 'chance'}, expected a rule"),
        ({"split": {"rule": "position", "n_train": 40, "n_val": 10, "n_test": 10}}, "a part is missing"),
        ({"split": {"rule": "hash of key_id", "train": 1, "val": 1, "test": 1}}, "add up to 1"),
        (
            {"split": {"rule": "position", "n_train": 4, "n_val": 1, "n_test": 1, "n_test_reserved": 0}},
            "n_by_class.circle is .*, expected what PositionSplit",
        ),
        ({"options": {"limit": 0, "recognized_only": False, "drop_duplicates": False}}, r"options\.limit is 0"),
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
            gather(data, data.indices(split), np.arange(3), 20)


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
        monkeypatch.setattr(layout, "WIDE_POINTS", limit)
        prepare(binary_folder, tmp_path / dtype.__name__)
        data = PreparedDataset(tmp_path / dtype.__name__)
        data.verify()
        assert data.offsets.dtype == dtype
        assert data.offsets.tolist() == narrow.offsets.tolist()
        assert [as_lists(data.strokes(i)) for i in range(180)] == [as_lists(narrow.strokes(i)) for i in range(180)]
        order = np.arange(180)[::-1].copy()
        ours, theirs = (gather(one, order, np.arange(3), 100) for one in (data, narrow))
        assert np.array_equal(ours.points, theirs.points)


# In memory


def test_drawings_in_memory_are_like_prepared_ones(
    drawings: dict[str, list[Drawing]], dataset: PreparedDataset
) -> None:
    items = [*drawings["star"], *drawings["circle"], *drawings["house"]]
    memory, left_out = from_drawings(iter(items), ("circle", "house", "star"))
    assert left_out == Counter()
    assert len(memory) == len(dataset)
    for name in ("points", "pen_up", "offsets", "labels", "n_points"):
        assert getattr(memory, name).tolist() == getattr(dataset, name).tolist(), name
    order = np.array([100, 3, 179, 50])
    ours, theirs = (gather(one, order, np.arange(3), 60) for one in (memory, dataset))
    assert ours.points.tolist() == theirs.points.tolist()
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    assert ours.labels.tolist() == theirs.labels.tolist()


def test_drawings_of_other_words_are_counted(drawings: dict[str, list[Drawing]]) -> None:
    items = [*drawings["star"], *drawings["circle"][:7]]
    memory, left_out = from_drawings(items, ("house", "star"))
    assert memory.labels.tolist() == [1] * 60
    assert left_out == {"circle": 7}
    empty, left_out = from_drawings(items, ("cat",))
    assert (len(empty), empty.offsets.tolist(), empty.points.shape) == (0, [0], (0, 2))
    assert left_out == {"star": 60, "circle": 7}


def test_raw_drawings_in_memory_are_simplified() -> None:
    (raw,) = synthetic_drawings(1, words=("star",), simplified=False)
    memory, _ = from_drawings([raw], ("star",))
    assert memory.points.tolist() == np.concatenate(simplify(raw.strokes)).tolist()


@pytest.mark.parametrize(
    "strokes", [[], [np.zeros((0, 2), np.uint8)], [np.zeros((4, 4), np.uint8)], [np.zeros((0, 2))]]
)
def test_drawing_in_memory_that_is_none_is_refused(strokes: list[NDArray[Any]]) -> None:
    good = Drawing("cat", [np.zeros((1, 2), np.uint8)])
    with pytest.raises(QuickstrokeError):
        from_drawings([good, Drawing("cat", strokes)], ("cat",))


def test_drawings_read_are_those_prepared(binary_folder: Path, dataset: PreparedDataset) -> None:
    for i, drawing in enumerate(read_drawings(binary_folder)):
        assert as_lists(dataset.strokes(i)) == as_lists(drawing.strokes)


# --- first points


def first_points_of(strokes: list[list[Any]], fraction: float) -> list[list[Any]]:
    left = max(math.ceil(sum(map(len, strokes)) * fraction), 1)
    first: list[list[Any]] = []
    for stroke in strokes:
        if left > 0:
            first.append(stroke[:left])
        left -= len(stroke)
    return first


@settings(deadline=None)
@given(
    drawn=st.lists(
        st.lists(st.lists(st.tuples(*[st.integers(0, 255)] * 2), min_size=1, max_size=7), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    ),
    fraction=st.sampled_from([0.01, 0.25, 0.5, 0.75, 1.0]),
    data=st.data(),
)
def test_first_points_are_those_of_plain_lists(
    drawn: list[list[list[Any]]], fraction: float, data: st.DataObject
) -> None:
    memory = MemoryDataset(("a",), [(0, [np.array(stroke, np.uint8) for stroke in strokes]) for strokes in drawn])
    order = np.array(data.draw(st.lists(st.integers(0, len(drawn) - 1), min_size=1, max_size=8)), np.int64)
    excerpt = first_points(memory, order, fraction)
    for i, index in enumerate(order):
        begin, end = int(excerpt.offsets[i]), int(excerpt.offsets[i + 1])
        expected = first_points_of(drawn[index], fraction)
        assert excerpt.points[begin:end].tolist() == [list(point) for stroke in expected for point in stroke]
        assert excerpt.n_points[i] == end - begin
        ends = [int(excerpt.pen_up[at >> 3]) >> (at & 7) & 1 for at in range(begin, end)]
        assert ends == [int(at == len(stroke) - 1) for stroke in expected for at in range(len(stroke))]

    strokes = first_strokes(memory, order, 0.6)
    for i, index in enumerate(order):
        expected = drawn[index][: -(-6 * len(drawn[index]) // 10)]
        begin, end = int(strokes.offsets[i]), int(strokes.offsets[i + 1])
        assert strokes.points[begin:end].tolist() == [list(point) for stroke in expected for point in stroke]
        ends = [int(strokes.pen_up[at >> 3]) >> (at & 7) & 1 for at in range(begin, end)]
        assert ends == [int(at == len(stroke) - 1) for stroke in expected for at in range(len(stroke))]


def test_all_points_are_the_drawings_themselves(dataset: PreparedDataset) -> None:
    order = np.random.default_rng(8).permutation(len(dataset))
    excerpt = first_points(dataset, order, 1.0)
    for preprocessing in PREPROCESSINGS:
        ours = gather(excerpt, np.arange(len(order)), np.arange(3), 50, preprocessing)
        theirs = gather(dataset, order, np.arange(3), 50, preprocessing)
        assert np.array_equal(ours.points, theirs.points)
        assert np.array_equal(ours.lengths, theirs.lengths) and np.array_equal(ours.labels, theirs.labels)


# --- held out


def by_split(data: PreparedDataset, *splits: str) -> set[tuple[str, int]]:
    found = np.flatnonzero(np.isin(data.splits, [SPLITS.index(split) for split in splits]))
    return {(data.classes[data.labels[i]], int(data.key_ids[i])) for i in found}


def test_what_another_dataset_does_not_train_on_is_held_out(binary_folder: Path, tmp_path: Path) -> None:
    prepare(binary_folder, tmp_path / "small", split=PositionSplit(20, 5, 10, n_test_reserved=3), limit=50)
    done = prepare(
        binary_folder, tmp_path / "all", split=FractionSplit(0.9, 0.05, 0.05), held_out=str(tmp_path / "small")
    )
    small, everything = PreparedDataset(tmp_path / "small"), PreparedDataset(tmp_path / "all")
    away = by_split(small, "val", "test", "reserved")
    assert len(away) == 3 * 18
    assert not by_split(everything, *SPLITS) & away
    assert by_split(small, "train") <= by_split(everything, *SPLITS)
    assert len(everything) == 180 - 54
    assert done.left_out["held out by another dataset"] == 54


def test_the_manifest_says_which_dataset_is_held_out(binary_folder: Path, tmp_path: Path) -> None:
    prepare(binary_folder, tmp_path / "first", split=PositionSplit(40, 10, 10))
    first = PreparedDataset(tmp_path / "first")
    prepare(binary_folder, tmp_path / "second", split=FractionSplit(1, 0, 0), held_out=tmp_path / "first")
    second = PreparedDataset(tmp_path / "second")
    assert "held_out" not in first.manifest["options"]
    assert second.manifest["options"]["held_out"] == first.manifest_sha256


def test_only_the_word_it_is_of_holds_a_drawing_out(tmp_path: Path) -> None:
    small = save(tmp_path / "small", star=[dot(key) for key in range(1, 11)])
    prepare(small, tmp_path / "held", split=PositionSplit(5, 0, 5))
    both = save(tmp_path / "both", star=[dot(key) for key in range(1, 21)], house=[dot(key) for key in range(1, 21)])
    prepare(both, tmp_path / "all", split=FractionSplit(1, 0, 0), held_out=tmp_path / "held")
    data = PreparedDataset(tmp_path / "all")
    kept = {word: sorted(key for of, key in by_split(data, *SPLITS) if of == word) for word in data.classes}
    assert kept == {"house": list(range(1, 21)), "star": [*range(1, 6), *range(11, 21)]}


def test_held_out_folder_that_is_none_is_refused_before_anything_is_made(binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        prepare(binary_folder, tmp_path / "all", split=FractionSplit(1, 0, 0), held_out=tmp_path / "nowhere")
    assert not (tmp_path / "all").exists()


# --- what may teach but not judge


def test_drawings_to_train_on_alone_judge_nothing(tmp_path: Path) -> None:
    judged = save(tmp_path / "judged", star=[dot(key) for key in range(1, 41)], sun=[dot(key) for key in range(41, 81)])
    restored = save(tmp_path / "restored", star=[dot(key) for key in [*range(31, 41), *range(101, 131)]])
    # Of another word, the first already judged there; a text file is converted first.
    ndjson.write(restored / "more.ndjson", [dataclasses.replace(dot(key), word="sun") for key in (1, 200, 201)])
    fractions = FractionSplit(0.4, 0.3, 0.3)
    prepare(judged, tmp_path / "plain", split=fractions)
    done = prepare(judged, tmp_path / "out", split=fractions, train_only=restored)
    plain, data = PreparedDataset(tmp_path / "plain"), PreparedDataset(tmp_path / "out")
    for split in ("val", "test"):
        assert by_split(data, split) == by_split(plain, split)
    added = {("star", key) for key in range(101, 131)} | {("sun", 200), ("sun", 201)}
    assert by_split(data, "train") == by_split(plain, "train") | added
    assert done.left_out == {"repeated key_id": 10, "key_id of another class": 1}
    told = {(source["name"], source.get("train_only", False)) for source in data.manifest["sources"]}
    assert told == {("star.bin", False), ("sun.bin", False), ("star.bin", True), ("more.ndjson", True)}
    assert "train_only" not in json.dumps(plain.manifest)
    assert prepare(judged, tmp_path / "out", split=fractions, train_only=[restored], resume=True) == done
    with pytest.raises(DatasetError, match="exists already, from other sources or with other options"):
        prepare([judged, restored], tmp_path / "out", split=fractions, resume=True)


def test_a_file_that_is_named_twice_is_to_train_on_alone(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", star=[dot(key) for key in range(1, 41)], sun=[dot(key) for key in range(41, 81)])
    prepare(folder, tmp_path / "out", split=FractionSplit(0.4, 0.3, 0.3), train_only=folder / "sun.bin")
    by_class = PreparedDataset(tmp_path / "out").manifest["n_by_class"]
    assert by_class["sun"] == {"reserved": 0, "train": 40, "val": 0, "test": 0} != by_class["star"]


@pytest.mark.parametrize("nothing", ["nowhere", ["nowhere.bin"]])
def test_what_to_train_on_alone_has_to_be_there(nothing: Any, binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file or folder"):
        prepare(binary_folder, tmp_path / "out", train_only=nothing)
    with pytest.raises(ConfigError, match="train_only needs a split by fractions"):
        prepare(binary_folder, tmp_path / "out", split=PositionSplit(5, 1, 1), train_only=binary_folder)
    assert list(tmp_path.iterdir()) == []
