"""What an epoch trains on: its drawings, their order, and the points of a step on their device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, batches
from quickstroke.data.augmentation import change_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.on_device import DeviceData
from quickstroke.runtime.device import to_device
from quickstroke.runtime.distributed import Group
from quickstroke.training.checkpoint import State
from quickstroke.training.distillation import augmentation_seeds, mix_targets


def epoch_drawings(config: TrainConfig, data: PreparedDataset, indices: Any, label_map: Any, epoch: int) -> Any:
    """The drawings int64 (N,) of an epoch, ascending, some more than once: a function of seed and epoch alone.

    With teachers not of the seed either, so that trainings share their cached log-probabilities.
    """
    if not (config.class_balance or config.other_class_fraction):
        return indices
    rng = np.random.default_rng(
        [cached_epoch(config, epoch)] if _teachers_augmented(config) else [config.seed, epoch, 1]
    )
    labels = data.labels[indices]
    own = label_map[labels] >= 0
    n_other = 0 if own.all() else round(config.other_class_fraction * len(indices))
    parts = ((own, len(indices) - n_other), (~own, n_other))
    taken = [batches.rebalanced(indices[part], labels[part], config.class_balance, n, rng) for part, n in parts]
    return np.sort(np.concatenate(taken))


def epoch_batches(config: TrainConfig, data: PreparedDataset, drawings: NDArray[Any], epoch: int) -> list[Any]:
    """The batches of an epoch, as places among its drawings: a function of seed and epoch alone.

    So resuming finds the same.
    """
    rng = np.random.default_rng([config.seed, epoch])
    # Millions of drawings take half the memory so.
    places = np.arange(len(drawings), dtype=np.int32 if len(drawings) < 2**31 else np.int64)
    if config.recipe == "2020":
        return batches.shuffled(places, config.batch_size, rng)
    return batches.shuffled_by_length(
        places, lambda part: batches.n_points_of(data, drawings[part]), config.batch_size, rng
    )


class MicroBatch(NamedTuple):
    """Drawings of a batch that one process computes together.

    Attributes:
        points: float32 (B, T, C), on the device as all are.
        lengths: int64 (B,).
        goal: classes int64 (B,), or probabilities float32 (B, K).
        part: of the batch.
    """

    points: Tensor
    lengths: Tensor
    goal: Tensor
    part: float


@dataclass(frozen=True, slots=True)
class Feeder:
    """What brings the drawings of a step to the device.

    Attributes:
        device_data: the same data on the device, if they are there.
        label_map: the model's label of each label of the data, -1 where a drawing is of another class.
        candidates: for mixup; None without augmentation.
    """

    config: TrainConfig
    model_config: ModelConfig
    data: PreparedDataset
    device_data: DeviceData | None
    device: torch.device
    label_map: NDArray[np.int64]
    candidates: augmentation.MixupCandidates | None
    group: Group

    def micro_batches(
        self,
        state: State,
        drawings: NDArray[np.int64],
        places: NDArray[Any],
        teacher_log_probs: NDArray[np.float16] | None,
    ) -> Iterator[MicroBatch]:
        """This process's micro-batches of a batch, one after the other.

        Args:
            drawings: int64 (M,), those of the epoch.
            places: int32 or int64 (N,), where those of the batch are among them.
            teacher_log_probs: (M, K), of the drawings of the epoch.
        """
        config = self.config
        for own in _parts(len(places), config.grad_accum_steps, self.group):
            here = places[own]
            rows = drawings[here].astype(np.int64)
            labels = self.label_map[self.data.labels[rows]]
            if config.augment == "none" and self.device_data:
                points, lengths = self.device_data.points_of(rows, config.max_padding, self.model_config.preprocessing)
            else:
                points, lengths = (to_device(array, self.device) for array in self._points(state, rows, here, own))
            goal: NDArray[np.int64] | Tensor = labels
            if teacher_log_probs is not None:
                goal = mix_targets(
                    teacher_log_probs[here],
                    labels,
                    config.distillation_weight,
                    config.distillation_temperature,
                    config.label_smoothing,
                )
            yield MicroBatch(points, lengths, to_device(goal, self.device), len(own) / len(places))

    def _points(
        self, state: State, rows: NDArray[np.int64], places: NDArray[Any], own: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Points (B, T, C) and lengths (B,) of drawings `rows` (B,), augmented as configured.

        Their `places` (B,) are those in the epoch, `own` int64 (B,) those in the batch.
        """
        config, preprocessing = self.config, self.model_config.preprocessing
        if config.augment == "none":
            return batches.points_of(self.data, rows, config.max_padding, preprocessing)
        here = config.seed, state.epoch, state.step
        if _teachers_augmented(config):
            geometric_seeds = augmentation_seeds(cached_epoch(config, state.epoch), places)
        else:
            geometric_seeds = augmentation.seeds((*here, 0), own)
        stroke_seeds = augmentation.seeds((*here, 1), own) if config.augment == "strokes" else None
        change = change_of(config)
        return augmentation.augmented_points(
            self.data, rows, geometric_seeds, stroke_seeds, change, config.max_padding, preprocessing, self.candidates
        )


def _teachers_augmented(config: TrainConfig) -> bool:
    """Whether teachers are asked about the augmented drawings that the student sees."""
    return bool(config.teacher) and config.n_cached_epochs > 0


def cached_epoch(config: TrainConfig, epoch: int) -> int:
    """Which cached answers an epoch uses: its number, counted anew every `n_cached_epochs` epochs."""
    return epoch % config.n_cached_epochs if config.n_cached_epochs else epoch


def _parts(n: int, n_parts: int, group: Group) -> Iterator[NDArray[np.int64]]:
    """Which of `n` drawings of a batch this process computes together, part after part.

    Every process has as many parts; where drawings are fewer than processes, one may be empty.
    """
    own = group.part(np.arange(n))
    n_parts = min(n_parts, -(-n // group.size))
    for i in range(n_parts):
        yield own[i::n_parts]
