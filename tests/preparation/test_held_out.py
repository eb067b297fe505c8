"""Drawings that are held out, as another dataset does not train on them, and drawings to train on alone."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepared import dot, save
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.errors import ConfigError, DatasetError, FormatError
from quickstroke.formats import ndjson
from quickstroke.preparation.prepare import prepare


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


def test_a_benchmark_keeps_the_splits_of_its_files(tmp_path: Path) -> None:
    parts = {
        "train": save(tmp_path / "train", star=[dot(key) for key in range(1, 31)], sun=[dot(101)]),
        "val": save(tmp_path / "val", star=[dot(key) for key in range(25, 41)]),
        "test": save(tmp_path / "test", star=[dot(key) for key in range(36, 46)], sun=[dot(102)]),
    }
    given = {f"{split}_only": folder for split, folder in parts.items()}
    done = prepare([], tmp_path / "out", **given)
    data = PreparedDataset(tmp_path / "out")
    # Of drawings that two parts have, the one that judges stays.
    kept = {"test": range(36, 46), "val": range(25, 36), "train": range(1, 25)}
    for split, of_sun in (("test", {("sun", 102)}), ("val", set()), ("train", {("sun", 101)})):
        assert by_split(data, split) == {("star", key) for key in kept[split]} | of_sun
    assert done.left_out == {"repeated key_id": 5 + 6}
    told = [[key for key in source if key.endswith("_only")] for source in data.manifest["sources"]]
    assert told == [["test_only"], ["test_only"], ["val_only"], ["train_only"], ["train_only"]]
    assert prepare([], tmp_path / "out", **given, resume=True) == done
    with pytest.raises(DatasetError, match="exists already, from other sources or with other options"):
        prepare(parts["val"], tmp_path / "out", **(given | {"val_only": ()}), resume=True)


def test_a_limit_is_of_each_part(tmp_path: Path) -> None:
    folders = [
        save(tmp_path / name, star=[dot(key + 1000 * i) for key in range(1, 41)]) for i, name in enumerate("abc")
    ]
    prepare(
        folders[0], tmp_path / "out", split=FractionSplit(1, 0, 0), limit=7, test_only=folders[1], val_only=folders[2]
    )
    assert PreparedDataset(tmp_path / "out").manifest["n_by_split"] == {"reserved": 0, "train": 7, "val": 7, "test": 7}


def test_a_dataset_may_have_drawings_to_test_on_alone(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", star=[dot(key) for key in range(1, 41)])
    prepare((), tmp_path / "out", test_only=folder)
    assert PreparedDataset(tmp_path / "out").manifest["n_by_split"]["test"] == 40
    with pytest.raises(DatasetError, match="star has 40, asked for at least one to train on"):
        prepare([], tmp_path / "asked", test_only=folder, split=FractionSplit(0.5, 0, 0.5))


def test_a_file_is_for_one_split(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", star=[dot(key) for key in range(1, 41)])
    with pytest.raises(ConfigError, match=r"star\.bin: is given both as test_only and as val_only; give it once"):
        prepare([], tmp_path / "out", val_only=folder / "star.bin", test_only=folder)
    with pytest.raises(ConfigError, match="val_only needs a split by fractions"):
        prepare(folder, tmp_path / "out", split=PositionSplit(5, 1, 1), val_only=folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("nothing", ["nowhere", ["nowhere.bin"]])
def test_what_to_train_on_alone_has_to_be_there(nothing: Any, binary_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file or folder"):
        prepare(binary_folder, tmp_path / "out", train_only=nothing)
    with pytest.raises(ConfigError, match="train_only needs a split by fractions"):
        prepare(binary_folder, tmp_path / "out", split=PositionSplit(5, 1, 1), train_only=binary_folder)
    assert list(tmp_path.iterdir()) == []
