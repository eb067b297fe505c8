"""Which drawings of a dataset are meant: classes, splits, counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quickstroke.data.batches import Drawings
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.memory import first_points, first_strokes, from_drawings
from quickstroke.drawings.categories import check_classes, closest_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import CategoryError, ConfigError, DatasetError


def resolve_classes(
    data: PreparedDataset, words: Sequence[str] | None, where: str = "train_classes"
) -> tuple[str, ...]:
    """Some classes of a dataset, in order; all where none are given.

    Raises:
        CategoryError: a class twice, or one that the dataset has not; `where` says whose list it is.
    """
    if words is None:
        return data.classes
    classes = check_classes(words, where)
    for word in classes:
        if word not in data.classes:
            raise CategoryError(
                f"{where}: {word!r} is not among the {len(data.classes)} classes of {data.path}"
                f"{closest_words(word, data.classes)}"
            )
    return classes


def select(data: PreparedDataset, split: str, label_map: NDArray[np.int64], dtype: type[np.integer] = np.int64) -> Any:
    """Indices (N,) of the drawings of a split whose class is taken.

    Raises:
        DatasetError: there is none.
    """
    indices, is_taken = data.indices(split, dtype), label_map >= 0
    if not is_taken.all():
        indices = indices[is_taken[data.labels[indices]]]
    if not len(indices):
        raise DatasetError(f"{data.path}: split {split!r} has no drawing of the classes asked for")
    return indices


def n_among(
    key_ids: NDArray[np.uint64], labels: NDArray[np.int64], classes: Sequence[str], data: PreparedDataset, split: str
) -> Counter[str]:
    """How many drawings of each word a split of a dataset has, too, by word and key_id.

    Args:
        key_ids: uint64 (N,), of the drawings.
        labels: int64 (N,), which of `classes` each is of; others, of none of them, are not counted.

    Raises:
        DatasetError: the split has no drawing.
    """
    rows = data.indices(split)
    bounds = np.searchsorted(data.labels[rows], np.arange(len(data.classes) + 1))
    counts = Counter[str]()
    for label, word in enumerate(classes):
        if word in data.classes:
            begin, end = bounds[(at := data.classes.index(word)) : at + 2]
            counts[word] = int(np.isin(key_ids[labels == label], data.key_ids[rows[begin:end]]).sum())
    return +counts


@dataclass(frozen=True, slots=True, eq=False)
class LabelledDrawings:
    """Drawings of a dataset that a model is evaluated or calibrated on, with their classes.

    Attributes:
        data: the arrays of the dataset.
        indices: int64 (N,), which drawings of `data`; N at least 1.
        classes: the K words of the model in the order of its output layer.
        label_map: int64, for each label of `data` the position of its word in `classes`, -1 for a word that is not
            there; that of the drawings `indices` is 0 or more.
        outputs: int64 (K,), which outputs of the model its `classes` are, where it is told to choose among some of its
            words; None for all, in their order.
    """

    data: Drawings
    indices: NDArray[np.int64]
    classes: tuple[str, ...]
    label_map: NDArray[np.int64]
    outputs: NDArray[np.int64] | None = None

    @classmethod
    def of_split(cls, data: PreparedDataset, split: str, classes: Sequence[str]) -> Self:
        """The drawings of a split whose word is one of `classes`.

        Raises:
            DatasetError: there is none.
        """
        label_map = data.label_map(classes)
        return cls(data, select(data, split, label_map), tuple(classes), label_map)

    @classmethod
    def of_rows(cls, data: PreparedDataset, rows: NDArray[np.int64], classes: Sequence[str]) -> Self:
        """Those of some drawings (N,) of a dataset whose word is one of `classes`.

        Raises:
            DatasetError: there is none.
        """
        label_map = data.label_map(classes)
        rows = rows[label_map[data.labels[rows]] >= 0]
        if not len(rows):
            raise DatasetError(f"{data.path}: none of the drawings is of a word that the model knows")
        return cls(data, rows, tuple(classes), label_map)

    @classmethod
    def of_drawings(cls, drawings: Iterable[Drawing], classes: Sequence[str]) -> tuple[Self, Counter[str]]:
        """The drawings, raw or simplified, whose word is one of `classes`, perhaps none; how many of each other word.

        Raises:
            FormatError: as `from_drawings`.
        """
        data, left_out = from_drawings(drawings, classes)
        return cls(data, np.arange(len(data)), tuple(classes), np.arange(len(classes))), left_out

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each drawing, int64 (N,)."""
        return np.asarray(self.label_map[self.data.labels[self.indices]])

    def chosen_of(self, known: Sequence[str]) -> Self:
        """The same drawings for a model that knows the words `known`, and chooses among `classes` alone."""
        at = {word: position for position, word in enumerate(known)}
        return self if self.classes == tuple(known) else replace(self, outputs=np.array([at[w] for w in self.classes]))

    def by_class(self) -> Self:
        """The same drawings, ordered by class, then by index."""
        return replace(self, indices=self.indices[np.lexsort((self.indices, self.labels))])

    def first_points(self, fraction: float) -> Self:
        """The first part of each drawing: a fraction of its points, rounded up."""
        part = first_points(self.data, self.indices, fraction)
        return replace(self, data=part, indices=np.arange(len(self)))

    def first_strokes(self, fraction: float) -> Self:
        """The first part of each drawing: a fraction of its strokes, rounded up."""
        part = first_strokes(self.data, self.indices, fraction)
        return replace(self, data=part, indices=np.arange(len(self)))


def check_counts(data: PreparedDataset, counts: dict[str, int | None]) -> None:
    """Compares counts a class, such as {"n_train": 420}, with those that a dataset was prepared with.

    Raises:
        ConfigError: it was prepared with another count, or by fractions.
    """
    rule = data.manifest["split"]
    asked = {key: n for key, n in counts.items() if n is not None}
    is_counted = rule["rule"] == "position"
    wrong = [key for key, n in asked.items() if not is_counted or rule[key] != n]
    if not wrong:
        return
    told = f"{', '.join(f'{key} = {asked[key]}' for key in wrong)} {'was' if len(wrong) == 1 else 'were'} asked for"
    if not is_counted:
        raise ConfigError(f"{told}, but {data.path} was split by {rule['rule']}; prepare it with --n-train")
    own = ", ".join(f"{key} = {rule[key]}" for key in wrong)
    raise ConfigError(f"{told}, but {data.path} was prepared with {own} (drawings a class)")
