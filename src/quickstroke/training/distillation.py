"""Knowledge distillation (Hinton et al., 2015): a student learns the probabilities of one or several teachers.

A teacher is any model whose classes include the student's, or one that knows some of them beside another that knows
all, or a public network that reads bitmaps (`bitmap_teacher`). Teachers are costly beside a small student, so their
log-probabilities for the augmented drawings of an epoch are cached in a file: epoch e of a training sees the drawings
and geometric augmentations of number e modulo `n_cached_epochs`. Trainings with the same data, teachers, augmentation
and class balance share the files of one folder. With `n_cached_epochs` 0 teachers are asked once about each drawing as
it stands.
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

from quickstroke.artifacts import cards, loading, runs
from quickstroke.config import serialize
from quickstroke.config.model import MAX_PADDING, Preprocessing
from quickstroke.data import augmentation, batches
from quickstroke.data.augmentation import Augmentation, MixupCandidates
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.drawing import split_strokes
from quickstroke.errors import ConfigError
from quickstroke.kernels import threads
from quickstroke.models import statistics
from quickstroke.runtime.device import to_device
from quickstroke.runtime.distributed import ALONE, Group
from quickstroke.utils.files import atomic_write, first_line_of, sha256_of

# Batch norm's statistics of a padded teacher are estimated again over so many drawings a class: those that the 2020
# project published are of the last classes that it validated.
_DRAWINGS_A_CLASS = 50
_BATCH_SIZE = 512
_CPU = torch.device("cpu")
# Of what is asked and cached: it changes with what an augmentation does.
_VERSION = 11

_PointsOf = Callable[
    [NDArray[np.int64], NDArray[np.uint64] | None, int, Preprocessing], tuple[NDArray[np.float32], NDArray[np.int64]]
]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher as it is asked.

    Attributes:
        path: where it was asked for.
        facts: what a run and a card tell of it: its name, its file's hash and licence, and what it was trained on.
        key: what its answers depend on.
        known: int64 (S,), which of the K classes it knows.
        ask: logarithms of probabilities (B, S), up to a constant, of augmented drawings: indices int64 (B,) and seeds
            uint64 (B,), or None for the drawings as they stand.
        loaded: the model that it is, None for a bitmap network.
    """

    path: str
    facts: dict[str, Any]
    key: list[Any]
    known: NDArray[np.int64]
    ask: Callable[[NDArray[np.int64], NDArray[np.uint64] | None], NDArray[Any]]
    loaded: loading.LoadedModel | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """Log-probabilities of teachers for drawings of a dataset and K classes.

    Attributes:
        teachers: those that know all classes come first.
        facts: those of each one, in the order in which they were asked for.
        labels: int64 (N_dataset,), the class of each drawing, -1 for none of them.
        pool: int64 (M,), ascending, the drawings that may be asked about.
        candidates: for mixup.
        augmented: whether teachers are asked about the augmented drawings that the student learns from, or about
            drawings as they stand.
        folder: where the log-probabilities are cached.
        group: processes that share the work; the first of them writes the files.
    """

    teachers: tuple[Teacher, ...]
    facts: list[dict[str, Any]]
    data: PreparedDataset
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    pool: NDArray[np.int64]
    candidates: MixupCandidates
    augmented: bool
    folder: Path
    device: torch.device
    group: Group = ALONE

    def of(
        self, number: int, drawings: NDArray[np.int64], on_batch: Callable[[int], None] = lambda n: None
    ) -> NDArray[np.float16]:
        """Log-probabilities float16 (N, K) of some augmented drawings, computed where no file has them.

        Of several teachers it is their geometric mean, normalized: it suppresses any class that one teacher rejects.
        A teacher that knows some of the classes only counts where the drawing's word is one of these, and there says
        how the probability that the others give to its words is shared among them.

        Args:
            number: of the cached epoch, from 0 on.
            drawings: int64 (N,), of `pool`, any of them more than once, each time augmented anew.
            on_batch: called with the number of drawings after each batch that a teacher is asked about.
        """
        geometric_seeds = augmentation_seeds(number, np.arange(len(drawings)))
        # Nothing here depends on the order; drawings of one length go together.
        order = batches.by_length(np.arange(len(drawings)), batches.n_points_of(self.data, drawings), _BATCH_SIZE)[::-1]
        shape = len(drawings), len(self.classes)
        if self.augmented:
            digest = hashlib.sha256(drawings.tobytes()).hexdigest()[:16]
            path = self.folder / f"{number}-{digest}.npy"
            return self._asked(
                path, shape, order, lambda rows: self._mean(drawings[rows], geometric_seeds[rows]), on_batch
            )
        of_pool = [self._as_they_stand(teacher, on_batch) for teacher in self.teachers]
        values = np.empty(shape, np.float16)
        for rows in order:
            values[rows] = self._mean(drawings[rows], geometric_seeds[rows], of_pool)
        return values

    def _as_they_stand(self, teacher: Teacher, on_batch: Callable[[int], None]) -> NDArray[np.float16]:
        """A teacher's log-probabilities (M, S) of the drawings of `pool` as they stand; 0 where it is not asked."""
        digest = hashlib.sha256(self.pool.tobytes()).hexdigest()[:16]
        path = self.folder / f"{teacher.facts['name']}-{teacher.facts['sha256'][:16]}-{digest}.npy"
        places = np.flatnonzero(self._counts(teacher, self.pool))
        order = batches.by_length(places, batches.n_points_of(self.data, self.pool[places]), _BATCH_SIZE)[::-1]
        shape = len(self.pool), len(teacher.known)
        return self._asked(path, shape, order, lambda rows: teacher.ask(self.pool[rows], None), on_batch)

    def _asked(
        self,
        path: Path,
        shape: tuple[int, int],
        order: Sequence[NDArray[Any]],
        ask: Callable[[NDArray[Any]], NDArray[Any]],
        on_batch: Callable[[int], None],
    ) -> NDArray[np.float16]:
        """The answers that a file holds, or those of `ask` for each batch of rows, which are written there."""
        known = _read(path, shape)
        if not self.group.any(known is None):
            return cast(NDArray[np.float16], known)
        values = np.zeros(shape, dtype=np.float16)

        def fill(rows: NDArray[Any]) -> int:
            values[rows] = ask(rows)
            return len(rows)

        with threads.undisturbed():
            for n_asked in threads.each(fill, self.group.part(order), self.device):
                on_batch(n_asked)
        self.group.all_reduce(values)
        if self.group.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                # Not by `np.save`, which says nothing of a full disk that a user understands.
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
                file.write(values.data)
        return values

    def _counts(self, teacher: Teacher, drawings: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether (B,) a teacher has a say about each drawing: it knows all classes, or that of the drawing."""
        if len(teacher.known) == len(self.classes):
            return np.ones(len(drawings), np.bool_)
        return np.isin(self.labels[drawings], teacher.known)

    def _mean(
        self, drawings: NDArray[np.int64], geometric_seeds: NDArray[np.uint64], of_pool: Sequence[NDArray[Any]] = ()
    ) -> NDArray[np.float64]:
        """Logarithms (B, K) of the geometric mean; `of_pool` has each one's answers about the pool, or is empty.

        A teacher of S classes leaves their probability together as it is.
        """
        places = np.searchsorted(self.pool, drawings)
        mean = torch.zeros((len(drawings), len(self.classes)), dtype=torch.float64).log_softmax(1)  # (B, K)
        n_before = torch.zeros((len(drawings), 1), dtype=torch.float64)
        for i, teacher in enumerate(self.teachers):
            rows = np.flatnonzero(self._counts(teacher, drawings))  # (R,)
            if not len(rows):
                continue
            log_probs = of_pool[i][places[rows]] if of_pool else teacher.ask(drawings[rows], geometric_seeds[rows])
            cells = np.ix_(rows, teacher.known)
            own = mean[cells]  # (R, S)
            n = n_before[rows]  # (R, 1)
            other = torch.from_numpy(log_probs).double().log_softmax(1)
            shares = ((n * own.log_softmax(1) + other) / (n + 1)).log_softmax(1)
            mean[cells] = own.logsumexp(1, keepdim=True) + shares
            n_before[rows] += 1
        return mean.log_softmax(1).numpy()


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """What a file has; None where there is none, or it is damaged."""
    try:
        known = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return np.asarray(known) if known.shape == shape and known.dtype == np.float16 else None


def augmentation_seeds(number: int, places: NDArray[Any]) -> NDArray[np.uint64]:
    """Seeds (B,) of the augmentations at `places` (B,) that teachers are asked about: the same for every training."""
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
    *,
    pool: NDArray[np.int64] | None = None,
    augmented: bool = True,
) -> Targets:
    """Loads teachers; their files are in a folder inside `folder` that is named by all that they depend on.

    Args:
        paths: models and runs, and `.onnx` files of bitmap teachers.
        pool: int64 (M,), ascending, the drawings that may be asked about; by default all training drawings.
        augmented: whether teachers see what `change` makes of the drawings; else they see them as they stand.

    Raises:
        WeightsError, CategoryError, ModelNameError: a teacher that cannot be loaded.
        ConfigError: one that knows none of `classes`, or that there is none that knows them all.
    """
    label_map = data.label_map(classes)
    trained = data.indices("train")
    candidates = augmentation.mixup_candidates(data, trained, label_map)

    def points_of(
        indices: NDArray[np.int64],
        geometric_seeds: NDArray[np.uint64] | None,
        max_padding: int,
        preprocessing: Preprocessing,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What teachers see of drawings: points (B, T, C) and their rows (B,)."""
        if geometric_seeds is None:
            return batches.points_of(data, indices, max_padding, preprocessing)
        return augmentation.augmented_points(
            data, indices, geometric_seeds, None, change, max_padding, preprocessing, candidates
        )

    opened = [
        _bitmap_teacher(path, data, classes, points_of, augmented)
        if path.endswith(".onnx")
        else _stroke_teacher(path, data, classes, points_of, precision, device)
        for path in paths
    ]
    teachers = tuple(sorted(opened, key=lambda teacher: -len(teacher.known)))
    if len(teachers[0].known) < len(classes):
        missing = [word for k, word in enumerate(classes) if k not in teachers[0].known]
        raise ConfigError(
            f"teacher {teachers[0].path}: does not know {len(missing)} of the classes, such as {missing[0]!r}; one "
            "that knows only some needs one beside it that knows all"
        )
    key = {
        "version": _VERSION,
        "dataset": data.manifest_sha256,
        "classes": list(classes),
        "teachers": [teacher.key for teacher in opened],
        "precision": str(precision),
        # The 0 was the probability of mixup across classes: caches made without it are still of use.
        # About drawings as they stand they answer the same whatever the augmentation.
        "augmentation": [*(change if augmented else Augmentation()).geometric, 0.0],
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    pool = trained if pool is None else pool
    facts, labels = [teacher.facts for teacher in opened], label_map[data.labels]
    return Targets(teachers, facts, data, classes, labels, pool, candidates, augmented, folder / name, device, group)


def _bitmap_teacher(
    path: str, data: PreparedDataset, classes: tuple[str, ...], points_of: _PointsOf, augmented: bool
) -> Teacher:
    from quickstroke.training.bitmap_teacher import BitmapTeacher

    network = BitmapTeacher(path)
    known, columns = _columns(path, classes, network.classes)

    def ask(indices: NDArray[np.int64], geometric_seeds: NDArray[np.uint64] | None) -> NDArray[np.float32]:
        if geometric_seeds is None:
            drawings = [data.strokes(i) for i in indices]
        else:
            points, lengths = points_of(indices, geometric_seeds, MAX_PADDING, "pos5")
            drawings = [_simplified(rows[:n]) for rows, n in zip(points, lengths, strict=True)]
        return network.log_probabilities(drawings)[:, columns]

    # Otherwise named than the answers of older versions, which were about drawings as they stand everywhere.
    key = [network.sha256, "augmented bitmaps" if augmented else "bitmaps", list(network.classes)]
    return Teacher(path, network.facts(), key, known, ask)


def _stroke_teacher(
    path: str,
    data: PreparedDataset,
    classes: tuple[str, ...],
    points_of: _PointsOf,
    precision: torch.dtype,
    device: torch.device,
) -> Teacher:
    loaded = loading.load_model(cards.find_model(path))
    known, columns = _columns(path, classes, loaded.classes)
    model = loaded.model.frozen(precision).to(device)
    if model.config.reading == "padded":
        trained = data.indices("train")
        labels = data.label_map(classes)[data.labels[trained]]
        few = [trained[labels == k][:_DRAWINGS_A_CLASS] for k in known]
        statistics.reestimate_batchnorm(model, data, np.concatenate(few))

    def ask(indices: NDArray[np.int64], geometric_seeds: NDArray[np.uint64] | None) -> NDArray[np.float32]:
        points, lengths = points_of(indices, geometric_seeds, model.config.max_padding, model.config.preprocessing)
        with torch.inference_mode():
            logits = model(to_device(points, device), to_device(lengths, device))
        return cast(NDArray[np.float32], logits.cpu()[:, columns].numpy())

    facts = _facts(loaded)
    key = [facts["sha256"], serialize.to_json(model.config), list(loaded.classes)]
    return Teacher(path, facts, key, known, ask, loaded)


def _columns(path: str, classes: Sequence[str], words: Sequence[str]) -> tuple[NDArray[np.int64], list[int]]:
    """Which of `classes` a teacher of `words` knows (S,), and where they are among its own.

    Raises:
        ConfigError: it knows none.
    """
    known = np.array([k for k, word in enumerate(classes) if word in words], np.int64)
    if not len(known):
        raise ConfigError(f"teacher {path}: does not know {len(classes)} of the classes, such as {classes[0]!r}")
    return known, [words.index(classes[k]) for k in known]


def _simplified(rows: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Strokes of a drawing whose longer side is 255, of its points float32 (T, 5) by `pos5`."""
    xy = rows[:, 2:4] - rows[:, 2:4].min(axis=0)
    return split_strokes(np.rint(xy * (255 / max(float(xy.max()), 1e-9))).astype(np.uint8), rows[:, 4].astype(np.uint8))


def _facts(loaded: loading.LoadedModel) -> dict[str, Any]:
    """What a run and a card say of a teacher."""
    folder = loaded.path.parent
    trained_on: Any = ""
    if loaded.card:
        licence, trained_on = loaded.card.get("licence", ""), loaded.card.get("data", "")
    elif (folder / "config.json").is_file():
        licence, trained_on = cards.LICENCE, runs.data_facts(runs.read_config(folder).data)
    else:
        # A bare file comes without a card, but where its licence is beside it that can be said.
        licence = first_line_of(folder / "LICENSE")
        if loaded.model.config.reading == "padded":
            trained_on = "the 2020 project's drawings: 20,000 of each of its 100 categories of Quick, Draw!"
    return {"name": loaded.name, "sha256": sha256_of(loaded.path), "licence": licence, "trained_on": trained_on}


def mix_targets(
    teacher_log_probs: NDArray[Any],
    labels: NDArray[np.int64],
    distillation_weight: float,
    temperature: float,
    label_smoothing: float,
) -> Tensor:
    """Targets float32 (B, K): teachers' probabilities mixed with the smoothed labels.

    Args:
        teacher_log_probs: (B, K).
        labels: int64 (B,), -1 for none: there the target is the teachers' probabilities alone.
        distillation_weight: of the teachers' probabilities; the label has the rest.
        temperature: divides the log-probabilities.
        label_smoothing: part of a label that is spread over all classes.
    """
    targets = np.exp(teacher_log_probs.astype(np.float32) / temperature)
    targets /= targets.sum(1, keepdims=True)
    known = np.flatnonzero(labels >= 0)
    targets[known] *= distillation_weight
    n_classes = targets.shape[1]
    targets[known] += (1 - distillation_weight) * label_smoothing / n_classes
    targets[known, labels[known]] += (1 - distillation_weight) * (1 - label_smoothing)
    return torch.from_numpy(targets)
