"""Training: batch, loss, step, log, save."""

import contextlib
import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray
from torch import Tensor, nn

from quickstroke import augmentation, batches, cards, published, runs
from quickstroke.augmentation import Augmentation
from quickstroke.categories import check_classes, closest_words
from quickstroke.config import ModelConfig, Precision, TrainConfig
from quickstroke.dataset import PreparedDataset
from quickstroke.distillation import open_targets, seeds_of_views, soften
from quickstroke.errors import (
    CategoryError,
    ConfigError,
    DatasetError,
    RunError,
    TrainingError,
    WeightsError,
    expect,
    expect_list,
    expect_path,
)
from quickstroke.evaluation import Evaluation, evaluate, reestimate_batchnorm
from quickstroke.manifest import SPLITS
from quickstroke.models import StrokeClassifier, n_parameters, threads_for
from quickstroke.on_device import OnDevice, on_device, put
from quickstroke.optimizer import Adam, Muon
from quickstroke.parallel import ALONE, Group, seed_of_step
from quickstroke.runs import RunConfig, State

# A long epoch is saved this often, so that a kill loses minutes; when it is saved changes no result.
CHECKPOINT_EVERY_S = 300.0

# Steps whose losses are read together where a GPU has to be waited for.
_STEPS_AT_ONCE = 64

# Weights, gradients and Adam's two averages of so many take 16 GB.
MAX_PARAMETERS = 1_000_000_000


class Interrupted(Exception):
    """The training stopped because it was asked to; its checkpoint is written."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state

    def __str__(self) -> str:
        return f"interrupted in epoch {self.state.epoch + 1}, after {self.state.step} steps"


@dataclass(frozen=True, slots=True)
class Watcher:
    """How a caller follows a training; the library itself prints nothing.

    Attributes:
        on_start: called once with the state that the training goes on from, and whether it was resumed.
        on_step: called with (epoch from 0, drawings done, drawings of the epoch).
        on_teacher: called with (epoch from 0, drawings) after each batch that teachers were asked about.
        on_epoch: called with the line for metrics.jsonl.
        should_stop: asked after each batch, of the validation too; when it says yes a checkpoint is there and
            `Interrupted` is raised.
        on_write: called before anything is written of what the training came to; what it raises ends the training.
    """

    on_start: Callable[[State, bool], None] = lambda state, resumed: None
    on_step: Callable[[int, int, int], None] = lambda epoch, done, total: None
    on_teacher: Callable[[int, int], None] = lambda epoch, n: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None
    should_stop: Callable[[], bool] = lambda: False
    on_write: Callable[[], None] = lambda: None


@contextlib.contextmanager
def _determinism_restored() -> Iterator[None]:
    """What PyTorch refuses afterwards is what it refused before."""
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


@_determinism_restored()
def train(
    model_config: ModelConfig,
    config: TrainConfig,
    data: PreparedDataset,
    into: Path | str,
    *,
    train_classes: Sequence[str] | None = None,
    teacher_cache: Path | str | None = None,
    resume: bool = False,
    command: Sequence[str] = (),
    watcher: Watcher | None = None,
    group: Group = ALONE,
) -> State:
    """Trains a model on the split `train` of a dataset, validates it on `val` after each epoch, keeps the best.

    Args:
        model_config: its reading, max_padding and n_classes are replaced by what `config` and the classes say.
        into: the run folder to make.
        train_classes: a subset of the dataset's classes, in the order of the output layer; by default all.
        teacher_cache: the folder of what teachers said, which trainings may share; by default one in `into`.
        resume: go on from the folder's last checkpoint; without one, start anew.
        command: the words of a command that trains the same, for environment.json, cards and reports.
        group: the processes that share each batch, all of which call this with the same arguments; the first of them
            alone writes. Their number changes no loss beyond its last digits, but for what dropout leaves out.

    Returns:
        The final state.

    Raises:
        ArgumentTypeError: an argument of another type, such as one in another's place.
        RunError: the folder exists and `resume` is false, or it holds a run with another configuration.
        CategoryError: a training class that the dataset has not.
        DatasetError: the dataset has nothing to train or validate on.
        ConfigError: no such device.
        TrainingError: a loss or a weight is not finite, and the checkpoint is of the last state whose weights are; or
            another process of the group has gone.
        Interrupted: `watcher.should_stop` said so.
    """
    _check_arguments(model_config, config, data, resume, command, watcher, group)
    watcher = watcher or Watcher()
    folder = expect_path(into, "into")
    classes = resolve_classes(data, train_classes)
    device = pick_device(config, group)
    config = group.first(lambda: _resolved(config, device, folder if resume else None))
    model_config = replace(model_config, n_classes=len(classes), reading=config.reading, max_padding=config.max_padding)
    label_map = data.label_map(classes)
    train_indices, val_indices = (select(data, split, label_map) for split in ("train", "val"))
    targets = None
    if config.teacher:
        if config.unlabelled:
            train_indices = data.indices("train")
        precision = getattr(torch, config.precision)
        cache = folder / "teacher" if teacher_cache is None else expect_path(teacher_cache, "teacher_cache")
        targets = open_targets(
            config.teacher,
            data,
            classes,
            change_of(config),
            cache,
            precision,
            device,
            group,
            pool=train_indices,
            sees_views=config.n_views > 0,
        )
    teachers = tuple(targets.facts) if targets else ()
    kin = targets.kin if targets else None
    if not kin and config.augment != "none":
        kin = augmentation.kin(data, train_indices, label_map)
    run = RunConfig(model_config, config, classes, runs.describe_data(data, classes), teachers)

    _check_size(model_config)
    torch.manual_seed(config.seed)
    model = StrokeClassifier(model_config, config.dropout).to(device)
    if config.initialization == "orthogonal":
        model.initialize_orthogonally()
    if not group.first(lambda: resume and (folder / "last.ckpt").exists()):
        if config.pretrained:
            begin_with(model, classes, config.pretrained)
        if config.normalization == "fixed":
            reestimate_batchnorm(model, data, train_indices)
    model.precision = getattr(torch, config.precision)
    optimizer = optimizer_of(config, model)
    averaged = copy.deepcopy(model).requires_grad_(False) if config.averaging else None
    kept = averaged or model  # what is validated, saved and published
    state, resumed = group.first(lambda: _open(folder, run, model, optimizer, averaged, resume, command, group))
    group.share(
        [*model.state_dict().values(), *optimizer.tensors, *(averaged.state_dict().values() if averaged else ())]
    )
    shared_model = group.wrap(model)
    model.bn.group = group
    there = on_device(data, device)
    feeder = _Feeder(config, model_config, data, there, device, label_map, kin, group)
    watcher.on_start(state, resumed)
    saved_at = time.monotonic()

    def save() -> None:
        watcher.on_write()
        if group.rank == 0:
            runs.save_checkpoint(folder, state, model, optimizer, averaged)

    while not has_ended(state, config):
        started = time.perf_counter() - state.seconds
        drawings = _drawings(config, data, train_indices, label_map, state.epoch)
        order = _order(config, data.n_points[drawings], state.epoch)
        n_train, done = len(drawings), sum(map(len, order[: state.step]))

        said = None
        if targets:
            said = targets.of(_view(config, state.epoch), drawings, partial(_on_teacher, watcher, state, save))
        model.train()
        model.bn.train(config.normalization == "batch")
        losses = _Losses(state, device, group)
        with threads_for(model):
            for rows in order[state.step :]:
                progress = (state.epoch + done / n_train) / config.n_epochs
                set_learning_rate(optimizer, config, progress, len(rows) / n_train / config.n_epochs)
                statistics = [buffer.clone() for buffer in model.buffers()]
                if group.size > 1:
                    torch.manual_seed(seed_of_step(config.seed, state.epoch, state.step, group.rank))
                shares = feeder.shares(state, drawings, rows, said)
                own_loss = _gradients(config, shared_model, optimizer, shares, device, group)
                losses.add(own_loss, len(rows))
                for buffer, before in zip(model.buffers(), statistics, strict=True):
                    buffer.copy_(torch.where(losses.are_lost, before, buffer))
                if losses.are_due:
                    losses.settle(folder, save)
                n_steps = state.epoch * len(order) + state.step
                _move(config, model, optimizer, averaged, losses.are_lost, n_steps)
                state.step += 1
                done += len(rows)
                watcher.on_step(state.epoch, done, n_train)
                stop = group.any(watcher.should_stop())
                if stop or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                    losses.settle(folder, save)
                    state.seconds = time.perf_counter() - started
                    save()
                    saved_at = time.monotonic()
                if stop:
                    raise Interrupted(state)
            losses.settle(folder, save)

        train_seconds = state.seconds = time.perf_counter() - started
        # A validation that is cut short begins again on resuming: its epoch's last step is saved before it.
        save()
        on_batch = partial(_check_stop, watcher, state)
        score = partial(
            evaluate, kept, data, val_indices, classes, label_map, on_batch=on_batch, group=group, there=there
        )
        honest = score()
        if not np.isfinite(honest.loss):
            raise _diverged(f"the validation loss of epoch {state.epoch + 1} is {honest.loss}", folder, save)
        seconds = time.perf_counter() - started
        as_published = score(protocol="published", batch_size=config.batch_size)
        line = _metrics_line(state, n_train, honest, as_published) | {
            "seconds": seconds,
            "train_seconds": train_seconds,
            "learning_rate": optimizer.learning_rate,
        }
        metrics = [*state.metrics, line]
        best = runs.best_line(metrics, config.criterion)
        state = State(epoch=state.epoch + 1, best=best["val_top1"], best_epoch=best["epoch"], metrics=metrics)
        watcher.on_write()
        if group.rank == 0:
            if state.best_epoch == state.epoch:
                runs.save_weights(folder / "best.model", kept.state_dict())
            runs.save_weights(folder / "last.model", kept.state_dict())
            runs.write_metrics(folder, state.metrics)
        save()
        saved_at = time.monotonic()
        watcher.on_epoch(line)
    return state


def _check_arguments(
    model_config: Any, config: Any, data: Any, resume: Any, command: Any, watcher: Any, group: Any
) -> None:
    expect(model_config, ModelConfig, "model_config", "a ModelConfig")
    expect(config, TrainConfig, "config", "a TrainConfig")
    expect(data, PreparedDataset, "data", "a PreparedDataset")
    expect(resume, bool, "resume", "True or False")
    expect_list(command, "command", "a list of words")
    expect(watcher, (Watcher, NoneType), "watcher", "a Watcher or None")
    expect(group, Group, "group", "a Group")


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


def pick_device(config: TrainConfig, group: Group = ALONE) -> torch.device:
    """The device that a configuration means; several processes of one machine have a GPU each.

    Raises:
        ConfigError: `cuda` where there is none.
    """
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("device 'cuda' was asked for, but PyTorch finds no CUDA device here")
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only with it
        torch.use_deterministic_algorithms(True)
    if not available or config.device == "cpu":
        return torch.device("cpu")
    if group.size > 1:
        n_devices = torch.cuda.device_count()
        if group.local_rank >= n_devices:
            raise ConfigError(
                f"process {group.local_rank} of this machine has no CUDA device of its own: there are {n_devices}; "
                "start fewer, or train with --device cpu"
            )
        torch.cuda.set_device(group.local_rank)
    return torch.device("cuda")


def pick_precision(config: TrainConfig, device: torch.device) -> Precision:
    """The precision that a configuration means on a device: `float32` or `bfloat16`."""
    if config.precision != "auto":
        return config.precision
    in_hardware = any(get_host_cpu_features().get(feature) for feature in ("avx512bf16", "amx-bf16"))
    return "bfloat16" if in_hardware and device.type == "cpu" and config.recipe != "2020" else "float32"


def _check_size(model_config: ModelConfig) -> None:
    with torch.device("meta"):
        n = n_parameters(StrokeClassifier(model_config))
    if n > MAX_PARAMETERS:
        raise ConfigError(f"{model_config.name} would have {n:,} parameters; at most {MAX_PARAMETERS:,} can be trained")


def _resolved(config: TrainConfig, device: torch.device, folder: Path | None) -> TrainConfig:
    """A configuration whose precision is what this machine has, or that of the run in `folder` to go on with."""
    if config.precision == "auto" and folder and (folder / "config.json").exists():
        config = replace(config, precision=runs.read_config(folder).train.precision)
    return replace(config, precision=pick_precision(config, device))


def _drawings(config: TrainConfig, data: PreparedDataset, indices: Any, label_map: Any, epoch: int) -> Any:
    """The drawings int64 (N,) of an epoch, ascending, some more than once: a function of seed and epoch alone.

    With teachers not of the seed either, so that trainings share what these say.
    """
    if not (config.balance or config.unlabelled):
        return indices
    rng = np.random.default_rng([_view(config, epoch)] if _shares_views(config) else [config.seed, epoch, 1])
    labels = data.labels[indices]
    own = label_map[labels] >= 0
    n_other = 0 if own.all() else round(config.unlabelled * len(indices))
    parts = ((own, len(indices) - n_other), (~own, n_other))
    taken = [batches.rebalanced(indices[part], labels[part], config.balance, n, rng) for part, n in parts]
    return np.sort(np.concatenate(taken))


def _order(config: TrainConfig, n_points: Any, epoch: int) -> list[Any]:
    """The batches of an epoch, as places among its drawings: a function of seed and epoch alone.

    So resuming finds the same.
    """
    rng = np.random.default_rng([config.seed, epoch])
    # Millions of drawings take half the memory so.
    places = np.arange(len(n_points), dtype=np.int32 if len(n_points) < 2**31 else np.int64)
    if config.recipe == "2020":
        return batches.shuffled(places, config.batch_size, rng)
    return batches.shuffled_by_length(places, n_points, config.batch_size, rng)


class _Share(NamedTuple):
    """Drawings of a batch that one process computes together.

    Attributes:
        points: float32 (B, T, C), on the device as all are.
        lengths: int64 (B,).
        goal: classes int64 (B,), or probabilities float32 (B, K).
        part: of the batch.
        is_last: of this process's.
    """

    points: Tensor
    lengths: Tensor
    goal: Tensor
    part: float
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Feeder:
    """What brings the drawings of a step to the device.

    Attributes:
        there: the same data on the device, if they are.
        label_map: the model's label of each label of the data, -1 where a drawing is of another class.
    """

    config: TrainConfig
    model_config: ModelConfig
    data: PreparedDataset
    there: OnDevice | None
    device: torch.device
    label_map: NDArray[np.int64]
    kin: augmentation.Kin | None
    group: Group

    def shares(
        self,
        state: State,
        drawings: NDArray[np.int64],
        places: NDArray[Any],
        said: NDArray[np.float16] | None,
    ) -> Iterator[_Share]:
        """This process's shares of a batch, one after the other.

        Args:
            drawings: int64 (M,), those of the epoch.
            places: int32 or int64 (N,), where those of the batch are among them.
            said: what teachers said of those of the epoch, (M, K).
        """
        config = self.config
        for own, is_last in _parts(len(places), config.accumulate, self.group):
            here = places[own]
            rows = drawings[here]
            labels = self.label_map[self.data.labels[rows]]
            if config.augment == "none" and self.there:
                points, lengths = self.there.gather(rows, config.max_padding, self.model_config.preprocessing)
            else:
                points, lengths = (put(array, self.device) for array in self._points(state, drawings, here, own))
            goal: NDArray[np.int64] | Tensor = labels
            if said is not None:
                if config.blend_across:
                    view_seeds = seeds_of_views(_view(config, state.epoch), here)
                    labels[augmentation.are_across(view_seeds, change_of(config))] = -1
                values = config.teacher_weight, config.label_odds, config.teacher_temperature, config.label_smoothing
                goal = soften(said[here], labels, *values)
            yield _Share(points, lengths, put(goal, self.device), len(own) / len(places), is_last)

    def _points(
        self, state: State, drawings: NDArray[np.int64], places: NDArray[Any], own: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Points (B, T, C) and lengths (B,), augmented as configured; `own` int64 (B,) are places in the batch."""
        config, preprocessing = self.config, self.model_config.preprocessing
        rows = drawings[places]
        if config.augment == "none":
            return batches.points_of(self.data, rows, config.max_padding, preprocessing)
        here = config.seed, state.epoch, state.step
        if _shares_views(config):
            view_seeds = seeds_of_views(_view(config, state.epoch), places)
        else:
            view_seeds = augmentation.seeds((*here, 0), own)
        stroke_seeds = augmentation.seeds((*here, 1), own) if config.augment == "strokes" else None
        change = change_of(config)
        return augmentation.gather(
            self.data, rows, view_seeds, stroke_seeds, change, config.max_padding, preprocessing, self.kin
        )


def _gradients(
    config: TrainConfig, model: nn.Module, optimizer: Adam, shares: Iterable[_Share], device: torch.device, group: Group
) -> Tensor:
    """Computes the gradients of a batch; returns this process's part of its mean loss, float64 ()."""
    optimizer.zero_grad()
    own_loss = torch.zeros((), dtype=torch.float64, device=device)
    for share in shares:
        with group.adding_up(model, share.is_last):
            with _autocast(config, device):
                logits = model(share.points, share.lengths, apart=True).float()  # (B, K) or (B, 3, K)
            together, *alone = logits.unbind(1) if logits.ndim == 3 else (logits,)
            # Of the mean over the batch; the gradients are averaged over the processes.
            part = share.part * group.size
            loss = _loss(config, together, share.goal) * part
            # Points and image also learn what they would say alone, half as much each, so that neither leaves the
            # other nothing to learn. The loss that is told is that of both together.
            apart = [_loss(config, each, share.goal) * (part / len(alone)) for each in alone]
            sum(apart, loss).backward()  # type: ignore[no-untyped-call]
        own_loss += loss.detach() / group.size
    return own_loss


def _move(
    config: TrainConfig,
    model: nn.Module,
    optimizer: Adam,
    averaged: nn.Module | None,
    is_skipped: Tensor,
    n_steps: int,
) -> None:
    """Moves the weights, after `n_steps` steps, along their gradients, and their average; see `Adam.step`."""
    if config.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step(is_skipped)
    if averaged is not None:
        average(averaged, model, config.averaging, n_steps, is_skipped)


def change_of(config: TrainConfig) -> Augmentation:
    """The augmentation of a configuration."""
    if config.augment == "none":
        return Augmentation()
    change = augmentation.STROKES.with_view(config.view_strength)
    return replace(change, spin=config.spin, blend_across=config.blend_across, unfinished=config.unfinished)


def optimizer_of(config: TrainConfig, model: nn.Module) -> Adam:
    """The optimizer of a configuration, for a model's weights."""
    if config.optimizer == "muon":
        return Muon(model, config.learning_rate, config.weight_decay, getattr(torch, config.precision))
    return Adam(model.parameters(), config.learning_rate, config.weight_decay)


def set_learning_rate(optimizer: Adam, config: TrainConfig, progress: float, step: float = 0.0) -> None:
    """Sets the learning rate of the next step.

    Args:
        optimizer: whose it is.
        config: of the training.
        progress: the part of all epochs that is done, 0 to 1.
        step: the part of all epochs that the step is; the warm-up counts it, so that its first step moves the weights.
    """
    factor = 1.0
    if progress < config.warmup:
        factor = min(1.0, (progress + step) / config.warmup)
    elif config.schedule == "cosine":
        factor = 0.5 + 0.5 * math.cos(math.pi * (progress - config.warmup) / (1 - config.warmup))
    optimizer.learning_rate = config.learning_rate * factor


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float, n_steps: int, is_skipped: Tensor) -> None:
    """Moves the running average of the weights towards them; early steps weigh more, so that the start is forgotten.

    Where `is_skipped`, bool () on their device, says so, it stays where it is.
    """
    decay = min(decay, (1 + n_steps) / (10 + n_steps))
    part = torch.where(is_skipped, 0.0, 1 - decay).float()
    for parameter, moved in zip(averaged.parameters(), model.parameters(), strict=True):
        parameter.lerp_(moved, part)
    for buffer, newest in zip(averaged.buffers(), model.buffers(), strict=True):
        buffer.copy_(newest)


def begin_with(model: StrokeClassifier, classes: tuple[str, ...], paths: Sequence[str]) -> list[str]:
    """Copies the weights of a published model or a run, or the mean of several, where names and shapes are the same.

    Rows of the output layer go by their word. The temperature that a published model was calibrated by is taken back:
    a training makes logits of its own size, and models have a mean where theirs are alike.

    Returns:
        The names of what was copied, whole or in part.

    Raises:
        ConfigError: nothing but the output layer would be, or several are not of one name and the same classes.
        WeightsError: a model cannot be loaded.
    """
    loaded, *others = [_uncalibrated(published.load_model(cards.find_model(path))) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if (other.name, other.classes) != (loaded.name, loaded.classes):
            raise ConfigError(
                f"pretrained {path}: is {other.name} of {len(other.classes)} classes, and {paths[0]} is "
                f"{loaded.name} of {len(loaded.classes)}; only models of one name and the same classes have a mean"
            )
    source = _mean_weights([each.model.state_dict() for each in (loaded, *others)])
    copied = []
    with torch.no_grad():
        for name, target in model.state_dict().items():
            if name.startswith("linear."):
                pairs = [(i, loaded.classes.index(word)) for i, word in enumerate(classes) if word in loaded.classes]
                if pairs and source[name].shape[1:] == target.shape[1:]:
                    ours, theirs = map(list, zip(*pairs, strict=True))
                    target[ours] = source[name][theirs].to(target.device)
                    copied.append(name)
            elif name in source and source[name].shape == target.shape:
                target.copy_(source[name])
                copied.append(name)
    if not any(name.startswith("lstm.") for name in copied):
        raise ConfigError(
            f"pretrained {paths[0]}: {loaded.name} has no layer of the shape that {model.config.name} has"
        )
    return copied


def _uncalibrated(loaded: published.LoadedModel) -> published.LoadedModel:
    """The model as it was before its calibration, but for the preference of classes, which is no matter of size.

    Raises:
        WeightsError: the card's temperature is none.
    """
    temperature = ((loaded.card or {}).get("calibration") or {}).get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise WeightsError(f"{loaded.path}: its card tells the temperature {temperature!r:.60}; expected one above 0")
    loaded.model.adjust_logits(temperature, torch.zeros(1))
    return loaded


def _mean_weights(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts of the same names and shapes; of counts, which are integers, the first."""
    return {
        name: torch.stack([each[name].double() for each in weights]).mean(0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in weights[0].items()
    }


def _shares_views(config: TrainConfig) -> bool:
    """Whether teachers are asked about the views that the student sees."""
    return bool(config.teacher) and config.n_views > 0


def _view(config: TrainConfig, epoch: int) -> int:
    """The number of an epoch's views: that of the epoch, counted anew every `n_views` epochs."""
    return epoch % config.n_views if config.n_views else epoch


def _parts(n: int, n_parts: int, group: Group) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """Which of `n` drawings of a batch this process computes together, part after part, and whether it is the last.

    Every process has as many parts; where drawings are fewer than processes, one may be empty.
    """
    own = group.part(np.arange(n))
    n_parts = min(n_parts, -(-n // group.size))
    for i in range(n_parts):
        yield own[i::n_parts], i == n_parts - 1


def _loss(config: TrainConfig, logits: Tensor, goal: Tensor) -> Tensor:
    """The mean loss () over drawings, of logits (B, K) and what is in `_Share.goal`, which is softened already."""
    if not len(goal):
        return logits.sum()
    return F.cross_entropy(logits, goal, label_smoothing=0.0 if config.teacher else config.label_smoothing)


class _Losses:
    """The losses of an epoch, added to a state.

    To read a number waits until a GPU has done all that was asked of it, so there they are read now and then only. What
    follows a loss that is not finite is left out meanwhile: batch norm's statistics, the weights, the sum.

    Attributes:
        are_lost: bool (), on the device: whether one was not finite.
    """

    def __init__(self, state: State, device: torch.device, group: Group) -> None:
        self._state, self._group = state, group
        self._at_once = _steps_at_once(device, group)
        self._zero = torch.zeros((), dtype=torch.float64, device=device)
        self.are_lost = self._zero > 0
        self._forget()

    def _forget(self) -> None:
        self._sum, self._n_lost, self._lost = (self._zero.clone() for _ in range(3))
        self._steps: list[int] = []

    @property
    def are_due(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self._steps) == self._at_once

    def add(self, own: Tensor, n: int) -> None:
        """The loss () of the step that the state is at, this process's part of it, a mean over `n` drawings."""
        if self._group.size > 1:
            own = self._zero + self._group.sum(own.item())
        self._lost = torch.where(self.are_lost, self._lost, own)
        self.are_lost = self.are_lost | ~own.isfinite()
        self._sum += torch.where(self.are_lost, 0.0, own * n)
        self._n_lost += self.are_lost
        self._steps.append(self._state.step)

    def settle(self, folder: Path, save: Callable[[], None]) -> None:
        """Adds them to the state.

        Raises:
            TrainingError: one was not finite; the state is that before it.
        """
        if not self._steps:
            return
        self._state.loss_sum += self._sum.item()
        n_lost = int(self._n_lost.item())
        if n_lost:
            self._state.step = self._steps[-n_lost]
            what = f"the loss of epoch {self._state.epoch + 1}, step {self._state.step + 1} is {self._lost.item()}"
            raise _diverged(what, folder, save)
        self._forget()


def _steps_at_once(device: torch.device, group: Group) -> int:
    """How many steps' losses are read together: one where that waits for nothing, or several processes add them up."""
    return 1 if device.type == "cpu" or group.size > 1 else _STEPS_AT_ONCE


def _autocast(config: TrainConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """On a GPU, the products in the precision that is asked for; on a CPU the model sees to that."""
    if device.type == "cuda" and config.precision == "bfloat16":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def _on_teacher(watcher: Watcher, state: State, save: Callable[[], None], n: int) -> None:
    watcher.on_teacher(state.epoch, n)
    if watcher.should_stop():
        save()
        raise Interrupted(state)


def _metrics_line(state: State, n_train: int, honest: Evaluation, published: Evaluation) -> dict[str, Any]:
    return {
        "epoch": state.epoch + 1,
        "loss": state.loss_sum / n_train,
        "val_loss": honest.loss,
        "val_top1": honest.top(1),
        "val_top3": honest.top(3),
        "val_top5": honest.top(5),
        "val_balanced_top1": honest.balanced(),
        "val_balanced_loss": honest.balanced_loss(),
        "val_top1_published_protocol": published.top(1),
        "n_train": n_train,
        "n_val": honest.n,
    }


def _check_stop(watcher: Watcher, state: State, n: int) -> None:
    if watcher.should_stop():
        raise Interrupted(state)


def _diverged(what: str, folder: Path, save: Callable[[], None]) -> TrainingError:
    """The error for a loss that is not finite; the state before it is saved, unless its weights are not finite."""
    with contextlib.suppress(TrainingError):
        save()
    return TrainingError(f"{what}; what was good before it is kept in {folder}; try a smaller --learning-rate")


def has_ended(state: State, config: TrainConfig) -> bool:
    """Whether all epochs are done, or patience is."""
    is_out_of_patience = bool(config.patience) and state.epoch - state.best_epoch >= config.patience
    return state.epoch >= config.n_epochs or is_out_of_patience


def _open(
    folder: Path,
    run: RunConfig,
    model: StrokeClassifier,
    optimizer: Adam,
    averaged: StrokeClassifier | None,
    resume: bool,
    command: Sequence[str],
    group: Group,
) -> tuple[State, bool]:
    """Makes the run folder, or takes up the run in it: the state to go on from, and whether it was resumed."""
    runs.make_folder(folder)
    if any(folder.iterdir()):
        if not resume:
            raise RunError(f"{folder}: exists already; give --resume to go on with it, or another folder")
        if (folder / "config.json").exists():
            runs.check_same(run, runs.read_config(folder), folder)
        elif (folder / "last.ckpt").exists():
            raise RunError(f"{folder}: has a checkpoint but no config.json; it is no run of this program")
        if (folder / "last.ckpt").exists():
            state = runs.load_checkpoint(folder, model, optimizer, averaged)
            for leftover in folder.glob(".*.tmp"):  # of a kill in the middle of writing
                leftover.unlink(missing_ok=True)
            runs.write_config(folder, run)
            # A kill may have left lines of an epoch that the checkpoint does not know.
            runs.write_metrics(folder, state.metrics)
            if not has_ended(state, run.train):
                runs.write_environment(folder, command, group.size)
            return state, True
    runs.write_config(folder, run)
    runs.write_environment(folder, command, group.size)
    return State(), False
