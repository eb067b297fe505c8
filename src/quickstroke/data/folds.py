"""Folds of a prepared dataset: the same drawings with other splits, for models that judge what they did not learn."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import ARRAYS, SPLITS, read_manifest
from quickstroke.data.splits import FractionSplit
from quickstroke.errors import ConfigError, DatasetError
from quickstroke.utils import splitmix
from quickstroke.utils.files import atomic_folder, write_text

# Of the drawings that are not of the fold; epochs are chosen by them.
_VAL_FRACTION = 0.05


def open_fold(data: PreparedDataset, fold: int, n_folds: int, into: Path) -> PreparedDataset:
    """A dataset in the folder `into`, made where it is missing, with links to the arrays of `data`.

    Its split `test` is fold number `fold`, from 0, of `n_folds`: every drawing is in one of them, by a hash of its
    key_id, whatever its split was. All others are in `train`, but for some in `val`.

    Raises:
        ConfigError: fewer than 2 folds.
        DatasetError: a word has too few drawings, so that a fold leaves none to train on, or there are too few in all
            to choose an epoch by; or what is there is of another dataset or another fold.
    """
    rule, splits = _split(data, fold, n_folds)
    manifest = _manifest(data, rule, splits, n_folds)
    if not into.exists():
        _write(data, splits, manifest, into)
    if read_manifest(into)[0] != manifest:  # before its arrays, which may be those of another dataset
        raise DatasetError(
            f"{into}: was begun with another dataset or number of folds; remove it, or give another folder"
        )
    return PreparedDataset(into)


def check_folds(data: PreparedDataset, n_folds: int) -> None:
    """Raises ConfigError for fewer than 2 folds, and DatasetError where drawings are too few for one of them."""
    for fold in range(max(n_folds, 1)):
        _manifest(data, *_split(data, fold, n_folds), n_folds)


def _split(data: PreparedDataset, fold: int, n_folds: int) -> tuple[FractionSplit, NDArray[np.uint8]]:
    if n_folds < 2:
        raise ConfigError(f"folds should be 2 or more, got {n_folds}")
    part = 1 / n_folds
    rule = FractionSplit(train=(1 - part) * (1 - _VAL_FRACTION), val=(1 - part) * _VAL_FRACTION, test=part)
    # Hashed once more, since `test` of the dataset itself is a part of the first hash.
    position = (splitmix.hashed(splitmix.hashed(data.key_ids)) / 2.0**64 + fold * part) % 1
    splits = np.where(position < part, SPLITS.index("test"), SPLITS.index("train")).astype(np.uint8)
    splits[(position >= part) & (position < part + rule.val)] = SPLITS.index("val")
    return rule, splits


def _manifest(data: PreparedDataset, rule: FractionSplit, splits: NDArray[np.uint8], n_folds: int) -> dict[str, Any]:
    counts = np.zeros((len(data.classes), len(SPLITS)), np.int64)
    np.add.at(counts, (data.labels, splits), 1)
    lacking = [word for word, row in zip(data.classes, counts, strict=True) if not row[1]]
    if lacking:
        raise DatasetError(f"{data.path}: {lacking[0]!r:.60} has too few drawings for {n_folds} folds")
    if not counts[:, SPLITS.index("val")].any():
        raise DatasetError(
            f"{data.path}: {len(data):,} drawings are too few for {n_folds} folds; expected some hundreds in each"
        )
    by_class: Mapping[str, Any] = {
        word: dict(zip(SPLITS, row, strict=True)) for word, row in zip(data.classes, counts.tolist(), strict=True)
    }
    arrays = data.manifest["arrays"]
    sha256 = hashlib.sha256(splits.tobytes()).hexdigest()
    return data.manifest | {
        "split": {"rule": "hash of key_id", "train": rule.train, "val": rule.val, "test": rule.test},
        "n_by_split": dict(zip(SPLITS, counts.sum(0).tolist(), strict=True)),
        "n_by_class": by_class,
        "arrays": arrays | {"splits": arrays["splits"] | {"sha256": sha256}},
    }


def _write(data: PreparedDataset, splits: NDArray[np.uint8], manifest: Mapping[str, Any], into: Path) -> None:
    with atomic_folder(into) as folder:
        for name in ARRAYS:
            if name != "splits":
                source, target = (data.path / f"{name}.bin").absolute(), folder / f"{name}.bin"
                try:
                    target.symlink_to(source)
                except OSError:  # a file system without links, or Windows, which asks for a right to make them
                    shutil.copyfile(source, target)
        splits.tofile(folder / "splits.bin")
        write_text(folder / "manifest.json", json.dumps(manifest, ensure_ascii=False))
