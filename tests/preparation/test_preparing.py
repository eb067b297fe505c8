"""Preparing drawings: nothing lost, nothing twice, the same bytes every time, and nothing left of what fails."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepared import ALL_TRAIN, ARRAYS, as_lists, contents, dot, save
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.categories import CATEGORIES, CATEGORIES_2020
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import CategoryError, ConfigError, DatasetError, FormatError
from quickstroke.formats import binary, ndjson, read_file, svg
from quickstroke.preparation.prepare import prepare


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


@pytest.mark.parametrize("n_bytes", [0, 100, 1 << 20])
def test_one_file_may_hold_more_words_than_files_can_be_open(
    n_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quickstroke.utils.files._KEPT_BYTES", n_bytes)
    words = [f"word {i:02}" for i in range(20)]
    items = [
        dataclasses.replace(dot(100 * turn + i + 1, turn), word=word) for turn in (0, 1) for i, word in enumerate(words)
    ]
    ndjson.write(tmp_path / "all.ndjson", items)
    prepare(tmp_path / "all.ndjson", tmp_path / "out", split=ALL_TRAIN)
    data = PreparedDataset(tmp_path / "out")
    assert data.classes == tuple(words)
    assert data.key_ids.tolist() == [100 * turn + i + 1 for i in range(20) for turn in (0, 1)]


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
        classes=CATEGORIES_2020,
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
    assert prepared.left_out == {"repeated strokes without key_id": 1}


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
        (lambda: {"split": PositionSplit(np.float64(5), 1, 1)}, "n_train should be int, got 5"),  # type: ignore[arg-type]
        (lambda: {"split": FractionSplit(1, 0, "0")}, "fractions should be three numbers from 0 to 1"),  # type: ignore[arg-type]
    ],
)
def test_rules_of_other_types_are_refused(
    binary_folder: Path, tmp_path: Path, rules: Callable[[], dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare(binary_folder, tmp_path / "out", **rules())
    assert not list(tmp_path.iterdir())


def test_any_number_may_be_asked_for(binary_folder: Path, tmp_path: Path) -> None:
    """Before any is counted: memory for one entry a drawing asked for would not be there."""
    for counts in ((10**23, 1, 1, 0), (1, 0, 0, 10**12)):
        with pytest.raises(DatasetError, match=f"asked for {sum(counts)} "):
            prepare(binary_folder, tmp_path / "out", split=PositionSplit(*counts))
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_followed(binary_folder: Path, tmp_path: Path, is_there: bool) -> None:
    store, link = tmp_path / "store", tmp_path / "link"
    if is_there:
        store.mkdir()
    link.symlink_to(store)
    prepare(binary_folder, link)
    assert link.is_symlink() and len(PreparedDataset(store).classes) == len(list(binary_folder.glob("*.bin")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "store"]


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


def test_all_wrong_files_of_one_drawing_each_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "star"
    for number, drawing in enumerate(synthetic_drawings(16, seed=0, words=("star",))):
        svg.write(folder / f"{number:02}.svg", [drawing])
    for number in (3, 5):
        (folder / f"{number:02}.svg").write_text("<svg>")
    with pytest.raises(FormatError) as told:
        prepare(folder, tmp_path / "out", split=ALL_TRAIN)
    assert str(told.value).startswith(f"2 files cannot be read: {folder / '03.svg'}")
    assert f"; {folder / '05.svg'}" in str(told.value)
    for number in range(16):
        (folder / f"{number:02}.svg").write_text("<svg>")
    with pytest.raises(FormatError, match=r"^16 files cannot be read: .*09\.svg.*; \.\.\.$") as told:
        prepare(folder, tmp_path / "other", split=ALL_TRAIN)
    assert "10.svg" not in str(told.value)
