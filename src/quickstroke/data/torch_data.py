"""A split of a prepared dataset as `torch.utils.data.Dataset`, for training loops of one's own."""

from collections.abc import Sequence
from functools import cached_property
from operator import index as as_index
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, batches
from quickstroke.data.points import n_channels
from quickstroke.data.selection import resolve_classes, select
from quickstroke.errors import ArgumentTypeError, expect, expect_items, shown

if TYPE_CHECKING:
    from quickstroke.data.dataset import PreparedDataset


class Sample(NamedTuple):
    """One drawing.

    Attributes:
        points: float32 (T, C), as `points` of this package describes them; T is 0 for a single point by `delta3`.
        label: index into `SplitDataset.classes`.
    """

    points: Tensor
    label: int


class PaddedBatch(NamedTuple):
    """B drawings, padded to the longest of them.

    Attributes:
        points: float32 (B, T, C), zero after each drawing's end; T is at least 1.
        lengths: int64 (B,), true rows of each drawing.
        labels: int64 (B,).
    """

    points: Tensor
    lengths: Tensor
    labels: Tensor


def collate(samples: Sequence[Sample]) -> PaddedBatch:
    """The `collate_fn` of a DataLoader over a SplitDataset, or over what gives such pairs of points and label.

    Raises:
        ArgumentTypeError: something else than one or more pairs of points and label.
    """
    if not (given := expect_items(samples, "samples", "a list of samples")):
        raise ArgumentTypeError("samples should be one sample or more, got none")
    items = [sample if isinstance(sample, Sample) else _sample(sample) for sample in given]
    if len(widths := {sample.points.shape[1] for sample in items}) > 1:
        raise ArgumentTypeError(f"points should have the same columns in all samples, got {sorted(widths)}")
    lengths = torch.tensor([len(sample.points) for sample in items])
    first = items[0].points  # (T, C)
    points = first.new_zeros(len(items), max(int(lengths.max()), 1), first.shape[1])  # (B, T, C)
    for row, sample in zip(points, items, strict=True):
        row[: len(sample.points)] = sample.points
    return PaddedBatch(points, lengths, torch.tensor([sample.label for sample in items]))


def _sample(given: Any) -> Sample:
    """A pair of points and label, as what changes the points of a Sample may return it."""
    if isinstance(given, tuple | list) and len(given) == 2:
        points, label = given
        if isinstance(label, Tensor) and label.numel() == 1:
            label = label.item()
        is_label = isinstance(label, int | np.integer) and not isinstance(label, bool)
        if isinstance(points, Tensor) and points.ndim == 2 and is_label:
            return Sample(points, int(label))
    raise ArgumentTypeError(f"a sample should be (points, label), a tensor (T, C) and an integer, got {shown(given)}")


class SplitDataset(Dataset[Sample]):
    """The drawings of one split, in the order of the labels, then of the sources; each is a `Sample`.

    `dataset[i]` takes negative places, too; `dataset[10:20]` is a SplitDataset of these drawings. Points are made when
    they are asked for, from the memory map: a worker of a DataLoader, forked or spawned, maps the same files.

    Attributes:
        data: the prepared dataset.
        name: the split.
        config: of the model whose preprocessing and `max_padding` the points have.
        classes: the K words, in the order of the labels.
        augment: what options drawings are augmented by, None for none.
        indices: int64 (N,), which drawings of `data` they are.
        collate: the `collate_fn` of a DataLoader.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        data: "PreparedDataset",
        name: str,
        config: ModelConfig | None = None,
        classes: Sequence[str] | None = None,
        augment: TrainConfig | None = None,
    ) -> None:
        """As `PreparedDataset.split`."""
        config = ModelConfig() if config is None else config
        expect(config, ModelConfig, "config", "a ModelConfig")
        expect(name, str, "the split", "a name such as 'train'")
        if augment is not None:
            expect(augment, TrainConfig, "augment", "a TrainConfig")
        self.augment = None if augment is None or augment.augment == "none" else augment
        self.data, self.name, self.config = data, name, config
        self.classes = resolve_classes(data, classes, "classes")
        n = len(select(data, name, data.label_map(self.classes)))
        self._places = range(n)  # of those of the split; a slice has some of them

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """int64 (N,), which drawings of `data` they are."""
        found, places = select(self.data, self.name, self.data.label_map(self.classes)), self._places
        whole = len(places) == len(found) and places.step == 1
        return np.asarray(found if whole else found[np.array(places, dtype=np.int64)])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,), the label of each drawing, such as for the weights of a sampler."""
        return np.asarray(self.data.label_map(self.classes)[self.data.labels[self.indices]])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        """The Sample at a place from -N to below N, or a SplitDataset of those of a slice.

        Raises:
            IndexError: there is no such place.
            ArgumentTypeError: neither a whole number nor a slice.
        """
        if isinstance(place, slice):
            part = SplitDataset.__new__(SplitDataset)
            vars(part).update(self.__getstate__() | {"_places": self._places[place]})
            return part
        try:
            i = as_index(place)
        except TypeError:
            raise ArgumentTypeError(f"a place should be a whole number or a slice, got {shown(place)}") from None
        if not -len(self) <= i < len(self):
            raise IndexError(f"no drawing {i}: the split {self.name!r} has {len(self)} here")
        i %= len(self)
        row, shape = self.indices[i : i + 1], (self.config.max_padding, self.config.preprocessing)
        if self.augment is None:
            points, _ = batches.points_of(self.data, row, *shape)
        else:
            # Those of PyTorch: each worker of a DataLoader has its own, and `torch.manual_seed` repeats them.
            seeds = torch.randint(2**63 - 1, (2, 1)).numpy().astype(np.uint64)
            strokes = seeds[1] if self.augment.augment == "strokes" else None
            change = augmentation.change_of(self.augment)
            points, _ = augmentation.augmented_points(
                self.data, row, seeds[0], strokes, change, *shape, self._candidates
            )
        return Sample(torch.from_numpy(points[0]), int(self.labels[i]))

    @cached_property
    def _candidates(self) -> augmentation.MixupCandidates:
        return augmentation.mixup_candidates(self.data, self.indices, self.data.label_map(self.classes))

    def __getstate__(self) -> dict[str, Any]:
        """All but what is found again in the files."""
        found = ("indices", "labels", "_candidates")
        return {key: value for key, value in vars(self).items() if key not in found}

    def __repr__(self) -> str:
        return (
            f"<SplitDataset {self.name} of {self.data.path}: {len(self):,} drawings of {len(self.classes)} words; "
            f"points (T, {n_channels(self.config.preprocessing)}), T up to {self.config.max_padding}>"
        )
