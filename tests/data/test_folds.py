"""Folds of a dataset: every drawing is judged once, by what has not learnt it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.folds import check_folds, open_fold
from quickstroke.errors import ConfigError, DatasetError


def test_every_drawing_is_in_one_fold_and_trained_on_in_the_others(dataset, tmp_path):
    folds = [open_fold(dataset, fold, 3, tmp_path / str(fold)) for fold in range(3)]
    tested = np.concatenate([fold.indices("test") for fold in folds])
    assert np.array_equal(np.sort(tested), np.arange(len(dataset)))
    for number, fold in enumerate(folds):
        assert len(fold.indices("train")) > len(dataset) / 2 and len(fold.indices("val"))
        assert np.array_equal(fold.points, dataset.points) and np.array_equal(fold.labels, dataset.labels)
        assert np.array_equal(open_fold(dataset, number, 3, fold.path).splits, fold.splits)  # made once
    first = PreparedDataset(tmp_path / "0")  # all that a dataset is checked for
    assert np.array_equal(first.splits, folds[0].splits)


def test_what_was_begun_otherwise_is_refused(dataset, tmp_path):
    into = tmp_path / "fold"
    open_fold(dataset, 0, 3, into)
    other = PreparedDataset(dataset.path)
    other.manifest = other.manifest | {"n": 1}
    for data, fold, n_folds in ((dataset, 0, 2), (dataset, 1, 3), (other, 0, 3)):
        with pytest.raises(DatasetError, match="fold: was begun with another dataset or number of folds"):
            open_fold(data, fold, n_folds, into)
    assert len(open_fold(dataset, 0, 3, into)) == len(dataset)


def test_what_cannot_be_dealt_is_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="folds should be 2 or more, got 1"):
        open_fold(dataset, 0, 1, tmp_path / "one")
    few = PreparedDataset(dataset.path)
    few.labels = np.append(np.zeros(len(few) - 1, np.uint16), np.uint16(1))
    few.key_ids = np.zeros(len(few), np.uint64)
    with pytest.raises(DatasetError, match="has too few drawings for 2 folds"):
        for fold in range(2):
            open_fold(few, fold, 2, tmp_path / f"few{fold}")
    few = PreparedDataset(dataset.path)
    few.labels, few.key_ids = np.zeros(4, np.uint16), np.arange(4, dtype=np.uint64)
    few.classes = few.classes[:1]
    with pytest.raises(DatasetError, match=r"drawings are too few for 2 folds; expected some hundreds in each"):
        check_folds(few, 2)
    check_folds(dataset, 3)


def test_a_dataset_that_was_prepared_anew_is_another(dataset, tmp_path):
    shutil.copytree(dataset.path, tmp_path / "data")
    open_fold(PreparedDataset(tmp_path / "data"), 0, 3, tmp_path / "fold")
    points = tmp_path / "data" / "points.bin"
    points.write_bytes(points.read_bytes() + b"\0\0")
    other = PreparedDataset(dataset.path)
    other.manifest = other.manifest | {"n": 1}
    with pytest.raises(DatasetError, match="fold: was begun with another dataset"):
        open_fold(other, 0, 3, tmp_path / "fold")


def test_a_folder_of_something_else_is_no_fold(dataset, tmp_path):
    (tmp_path / "fold").mkdir()
    with pytest.raises(DatasetError, match="fold: no prepared dataset there"):
        open_fold(dataset, 0, 5, tmp_path / "fold")


def test_where_no_links_can_be_made_arrays_are_copied(dataset, tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    fold = open_fold(dataset, 0, 3, tmp_path / "fold")
    assert np.array_equal(fold.points, dataset.points) and not (fold.path / "points.bin").is_symlink()
