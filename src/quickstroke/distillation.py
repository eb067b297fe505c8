"""Distillation: what one or several teachers say of the drawings that a student learns from.

A teacher is any model whose classes include the student's. Teachers are costly beside a small student, so what they say
of a *view* (`augmentation`) of each drawing of an epoch is kept in a file: epoch e of a training sees the drawings and
views of number e modulo `n_views`, and trainings with the same data, teachers, augmentation and balance share the files
of one folder.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke import augmentation, batches, cards, evaluation, published, threads
from quickstroke import config as configs
from quickstroke.augmentation import Augmentation, Kin
from quickstroke.dataset import PreparedDataset
from quickstroke.errors import ConfigError
from quickstroke.files import atomic_write, sha256_of
from quickstroke.on_device import put
from quickstroke.parallel import ALONE, Group

# Batch norm's statistics of a padded teacher are estimated again over so many drawings a class: those that the 2020
# project published are of the last classes that it validated.
_DRAWINGS_A_CLASS = 50
_BATCH_SIZE = 512
_CPU = torch.device("cpu")
# Of what is asked and kept: it changes with what an augmentation does.
_VERSION = 11


@dataclass(frozen=True, slots=True)
class Targets:
    """What teachers say of drawings of a dataset, for K classes.

    Attributes:
        teachers: for each one its name, file hash and licence, for the run and the card.
        group: processes that share the work; the first of them writes the files.
    """

    models: tuple[published.LoadedModel, ...]
    teachers: list[dict[str, Any]]
    data: PreparedDataset
    classes: tuple[str, ...]
    augmentation: Augmentation
    kin: Kin
    folder: Path
    device: torch.device
    group: Group = ALONE

    def of(
        self, number: int, drawings: NDArray[np.int64], on_batch: Callable[[int], None] = lambda n: None
    ) -> NDArray[np.float16]:
        """Logarithms of probabilities, float16 (N, K), of views of some drawings, computed where no file has them.

        Of several teachers it is their geometric mean, normalized: what only one of them believes counts for little.

        Args:
            number: of the views, from 0 on.
            drawings: int64 (N,), any of them more than once, each time in a view of its own.
            on_batch: called with the number of drawings after each batch that is computed.
        """
        path = self.folder / f"{number}-{hashlib.sha256(drawings.tobytes()).hexdigest()[:16]}.npy"
        shape = len(drawings), len(self.classes)
        known = _read(path, shape)
        if not self.group.any(known is None):
            return cast(NDArray[np.float16], known)
        view_seeds = seeds_of_views(number, np.arange(len(drawings)))
        values = np.zeros(shape, dtype=np.float16)
        # Nothing here depends on the order; drawings of one length go together.
        order = batches.by_length(np.arange(len(drawings)), self.data.n_points[drawings], _BATCH_SIZE)[::-1]

        def ask(rows: NDArray[np.int64]) -> int:
            values[rows] = self._mean(drawings[rows], view_seeds[rows])
            return len(rows)

        with threads.undisturbed():
            for n in threads.each(ask, self.group.part(order), self.device):
                on_batch(n)
        self.group.fill(values)
        if self.group.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                # Not by `np.save`, which says nothing of a full disk that a user understands.
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
                file.write(values.data)
        return values

    def _mean(self, indices: NDArray[np.int64], view_seeds: NDArray[np.uint64]) -> NDArray[np.float64]:
        total = torch.zeros((len(indices), len(self.classes)), dtype=torch.float64)
        for loaded in self.models:
            config = loaded.model.config
            points, lengths = augmentation.gather(
                self.data,
                indices,
                view_seeds,
                None,
                self.augmentation,
                config.max_padding,
                config.preprocessing,
                self.kin,
            )
            columns = [loaded.classes.index(word) for word in self.classes]
            logits = loaded.model(put(points, self.device), put(lengths, self.device))
            total += logits.cpu()[:, columns].double().log_softmax(1)  # (B, K)
        return (total / len(self.models)).log_softmax(1).numpy()


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """What a file has; None where there is none, or it is damaged."""
    try:
        known = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return np.asarray(known) if known.shape == shape and known.dtype == np.float16 else None


def seeds_of_views(number: int, places: NDArray[Any]) -> NDArray[np.uint64]:
    """Seeds (B,) of the views at `places` (B,) of those that teachers are asked about: the same for every training."""
    return augmentation.seeds((number,), places)


def open_targets(
    paths: Sequence[str],
    data: PreparedDataset,
    classes: tuple[str, ...],
    change: Augmentation,
    folder: Path,
    precision: torch.dtype,
    device: torch.device = _CPU,
    group: Group = ALONE,
) -> Targets:
    """Loads teachers; their files are in a folder inside `folder` that is named by all that they depend on.

    Raises:
        WeightsError, CategoryError, ModelNameError: a teacher that cannot be loaded.
        ConfigError: one that does not know all of `classes`.
    """
    models, facts = [], []
    label_map = data.label_map(classes)
    trained = data.indices("train")
    known = trained[label_map[data.labels[trained]] >= 0]
    for path in paths:
        loaded = published.load_model(cards.find_model(path))
        missing = [word for word in classes if word not in loaded.classes]
        if missing:
            raise ConfigError(f"teacher {path}: does not know {len(missing)} of the classes, such as {missing[0]!r}")
        model = loaded.model.requires_grad_(False).to(device)
        if model.config.reading == "padded":
            labels = data.labels[known]
            few = np.concatenate([known[labels == label][:_DRAWINGS_A_CLASS] for label in np.unique(labels)])
            evaluation.reestimate_batchnorm(model, data, few)
        model.precision = model.precision_without_gradient = precision
        models.append(loaded)
        facts.append(_facts(loaded))
    key = {
        "version": _VERSION,
        "dataset": data.manifest_sha256,
        "classes": list(classes),
        "teachers": [
            [fact["sha256"], configs.to_json(loaded.model.config), list(loaded.classes)]
            for fact, loaded in zip(facts, models, strict=True)
        ],
        "precision": str(precision),
        "augmentation": change.of_view,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    kin = augmentation.kin(data, trained, label_map)
    return Targets(tuple(models), facts, data, classes, change, kin, folder / name, device, group)


def _facts(loaded: published.LoadedModel) -> dict[str, Any]:
    """What a run and a card say of a teacher."""
    card = loaded.card or {}
    # A bare file comes without a card, but where its licence is beside it that can be said.
    licence = loaded.path.parent / "LICENSE"
    beside = licence.read_text(encoding="utf-8", errors="replace").strip() if licence.is_file() else ""
    trained_on: Any = card.get("data", "")
    if not card and loaded.model.config.reading == "padded":
        trained_on = "the 2020 project's drawings: 20,000 of each of its 100 categories of Quick, Draw!"
    return {
        "name": loaded.name,
        "sha256": sha256_of(loaded.path),
        "licence": card.get("licence") or (beside.splitlines() or [""])[0],
        "trained_on": trained_on,
    }


def soften(
    said: NDArray[Any],
    labels: NDArray[np.int64],
    teacher_weight: float,
    label_odds: float,
    temperature: float,
    label_smoothing: float,
) -> Tensor:
    """Targets float32 (B, K): logarithms (B, K) of what teachers say, and beside it the label (B,), -1 for none."""
    targets = np.exp(said.astype(np.float32) / temperature)
    known = np.flatnonzero(labels >= 0)
    targets[known, labels[known]] *= label_odds
    targets /= targets.sum(1, keepdims=True)
    targets[known] *= teacher_weight
    n_classes = targets.shape[1]
    targets[known] += (1 - teacher_weight) * label_smoothing / n_classes
    targets[known, labels[known]] += (1 - teacher_weight) * (1 - label_smoothing)
    return torch.from_numpy(targets)
