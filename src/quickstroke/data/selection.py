"""Which drawings of a dataset are meant: classes, splits, counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.drawings.categories import check_classes, closest_words
from quickstroke.errors import CategoryError, ConfigError, DatasetError


def resolve_classes(data: PreparedDataset, train_classes: Sequence[str] | None) -> tuple[str, ...]:
    """The classes of the output layer, in order.

    Raises:
        CategoryError: a class twice, or one that the dataset has not.
    """
    if train_classes is None:
        return data.classes
    classes = check_classes(train_classes, "train_classes")
    for word in classes:
        if word not in data.classes:
            raise CategoryError(
                f"train_classes: {word!r} is not among the {len(data.classes)} classes of {data.path}"
                f"{closest_words(word, data.classes)}"
            )
    return classes


def select(data: PreparedDataset, split: str, label_map: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    """Indices int64 (N,) of the drawings of a split whose class is taken.

    Raises:
        DatasetError: there is none.
    """
    indices = data.indices(split)
    is_taken = (label_map >= 0)[data.labels[indices]]
    taken = indices if is_taken.all() else indices[is_taken]
    if not len(taken):
        raise DatasetError(f"{data.path}: split {split!r} has no drawing of the classes asked for")
    return taken


def check_counts(data: PreparedDataset, counts: dict[str, int | None]) -> None:
    """Compares counts a class, such as {"n_train": 420}, with those that a dataset was prepared with.

    Raises:
        ConfigError: it was prepared with another count, or by fractions.
    """
    names = {f"n_{'test_reserved' if split == 'reserved' else split}": split for split in SPLITS}
    for key, asked in counts.items():
        if asked is None:
            continue
        rule = data.manifest["split"]
        if rule["rule"] != "position":
            raise ConfigError(
                f"{key} = {asked} was asked for, but {data.path} was split by {rule['rule']}; prepare it with --n-train"
            )
        if rule[key] != asked:
            raise ConfigError(
                f"{key} = {asked} was asked for, but {data.path} was prepared with {key} = {rule[key]} "
                f"({names[key]} drawings a class)"
            )
