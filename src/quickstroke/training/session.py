"""What a training works with, set up before its first epoch: data, teachers, model, optimizer, run folder."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quickstroke.artifacts import environment, runs
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, batches, selection
from quickstroke.data.augmentation import change_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.on_device import on_device
from quickstroke.data.selection import LabelledDrawings, resolve_classes
from quickstroke.errors import ArgumentTypeError, ConfigError, RunError, expect, expect_list, expect_path, shown
from quickstroke.kernels import threads
from quickstroke.models.classifier import StrokeClassifier, n_parameters
from quickstroke.models.statistics import reestimate_batchnorm
from quickstroke.runtime.device import pick_device
from quickstroke.runtime.distributed import Group
from quickstroke.runtime.precision import pick_precision
from quickstroke.training import checkpoint
from quickstroke.training.checkpoint import State
from quickstroke.training.distillation import Targets, open_targets
from quickstroke.training.feed import Feeder
from quickstroke.training.optimizer import Adam, optimizer_of
from quickstroke.training.pretrained import begin_with
from quickstroke.utils.compiled import calls_of
from quickstroke.utils.compiling import compile_calls

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
        on_remark: called with a sentence about the weights that it begins with, or what was not logged.
    """

    on_start: Callable[[State, bool], None] = lambda state, resumed: None
    on_step: Callable[[int, int, int], None] = lambda epoch, done, total: None
    on_teacher: Callable[[int, int], None] = lambda epoch, n: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None
    should_stop: Callable[[], bool] = lambda: False
    on_write: Callable[[], None] = lambda: None
    on_remark: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not callable(getattr(self, name)):
                raise ArgumentTypeError(f"{name} should be a function, got {shown(getattr(self, name))}")


@dataclass(slots=True)
class Session:
    """A training under way: what its epochs work with.

    Attributes:
        feeder: has configuration, data, device and group as well.
        train_indices: int64 or int32 (N,), drawings to train on.
        val: drawings to validate on.
        model: what the optimizer moves.
        averaged: the exponential moving average of the weights, None without.
        saved_at: when the last checkpoint was written, by `time.monotonic`.
    """

    folder: Path
    feeder: Feeder
    train_indices: NDArray[np.int64]
    val: LabelledDrawings
    watcher: Watcher
    targets: Targets | None
    model: StrokeClassifier
    averaged: StrokeClassifier | None
    optimizer: Adam
    state: State
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def kept(self) -> StrokeClassifier:
        """What is validated, saved and published."""
        return self.averaged or self.model

    def save(self) -> None:
        """Writes the checkpoint."""
        self.watcher.on_write()
        if self.feeder.group.rank == 0:
            checkpoint.save_checkpoint(self.folder, self.state, self.model, self.optimizer, self.averaged)
        self.saved_at = time.monotonic()


def set_up(
    model_config: ModelConfig,
    config: TrainConfig,
    data: PreparedDataset,
    folder: Path,
    train_classes: Sequence[str] | None,
    teacher_cache: Path | str | None,
    resume: bool,
    command: Sequence[str],
    watcher: Watcher,
    group: Group,
) -> Session:
    """Opens data, teachers, model and run folder, as `train` takes them."""
    classes = resolve_classes(data, train_classes)
    device = pick_device(config, group)
    if device.index is not None:
        torch.cuda.set_device(device)
    config = group.run_on_first(lambda: _resolved(config, device, folder if resume else None))
    model_config = replace(model_config, n_classes=len(classes), reading=config.reading, max_padding=config.max_padding)
    label_map = data.label_map(classes)
    # Of millions of drawings int32 takes half the memory.
    is_short = not config.teacher and config.augment == "none" and len(data) < 2**31
    train_indices = selection.select(data, "train", label_map, np.int32 if is_short else np.int64)
    val = LabelledDrawings.of_split(data, "val", classes)
    if config.teacher and config.other_class_fraction:
        train_indices = data.indices("train")
    cache = folder / "teacher" if teacher_cache is None else expect_path(teacher_cache, "teacher_cache")
    targets = None
    if config.teacher:
        targets = open_targets(
            config.teacher,
            data,
            classes,
            change_of(config),
            cache,
            getattr(torch, config.precision),
            device,
            group,
            pool=train_indices,
            augmented=config.n_cached_epochs > 0,
        )
    candidates = targets.candidates if targets else None
    if not candidates and config.augment != "none":
        candidates = augmentation.mixup_candidates(data, train_indices, label_map)
    facts = tuple(targets.facts) if targets else ()
    run = RunConfig(model_config, config, classes, runs.describe_data(data, classes), facts)

    feeder = Feeder(config, model_config, data, on_device(data, device), device, label_map, candidates, group)
    model, begun = _new_model(model_config, config, device, group), None
    goes_on = group.run_on_first(lambda: _goes_on(folder, resume))
    if not goes_on:
        if config.pretrained:
            begun = begin_with(model, classes, config.pretrained)
        group.run_on_first(lambda: runs.make_folder(folder))
        _compile(feeder, model, train_indices)
        if config.normalization == "fixed":
            reestimate_batchnorm(model, data, train_indices)
    optimizer = optimizer_of(config, model)
    averaged = copy.deepcopy(model).requires_grad_(False) if config.ema_decay else None
    state, resumed = group.run_on_first(lambda: _open(folder, run, model, optimizer, averaged, resume, command, group))
    group.broadcast(
        [*model.state_dict().values(), *optimizer.tensors, *(averaged.state_dict().values() if averaged else ())]
    )
    if goes_on and not has_ended(state, config):
        _compile(feeder, model, train_indices)
    if begun:
        watcher.on_remark(
            f"begins with {len(begun.copied)} of its {begun.n_tensors} tensors from {' and '.join(config.pretrained)} "
            f"({begun.source}); of its output layer with {begun.n_words} of {len(classes)} words"
        )
    watcher.on_start(state, resumed)
    return Session(folder, feeder, train_indices, val, watcher, targets, model, averaged, optimizer, state)


def _new_model(model_config: ModelConfig, config: TrainConfig, device: torch.device, group: Group) -> StrokeClassifier:
    """A model with initial weights, on its device.

    Raises:
        ConfigError: it is too large.
    """
    with torch.device("meta"):
        n = n_parameters(StrokeClassifier(model_config))
    if n > MAX_PARAMETERS:
        raise ConfigError(f"{model_config.name} would have {n:,} parameters; at most {MAX_PARAMETERS:,} can be trained")
    torch.manual_seed(config.seed)
    model = StrokeClassifier(model_config, config.dropout, getattr(torch, config.precision), group).to(device)
    if config.initialization == "orthogonal":
        model.initialize_orthogonally()
    return model


def _compile(feeder: Feeder, model: StrokeClassifier, train_indices: NDArray[Any]) -> None:
    """Has the kernels of a step and of a validation compiled, before an epoch's clock starts; changes nothing."""
    if feeder.device.type != "cpu" or feeder.config.reading != "length-aware" or feeder.group.size > 1:
        return
    model, drawings = copy.deepcopy(model).train(), train_indices[:8]

    def train() -> None:
        micro_batch = next(feeder.micro_batches(State(), drawings, np.arange(len(drawings)), None))
        model(micro_batch.points, micro_batch.lengths, auxiliary=True).sum().backward()

    def validate() -> None:
        seen = batches.points_of(feeder.data, drawings, model.config.max_padding, model.config.preprocessing)
        with torch.inference_mode():
            model.eval()(*map(torch.from_numpy, seen))

    with torch.random.fork_rng(devices=[]):
        calls, later = (threads.alone(partial(calls_of, run)) for run in (train, validate))
    compile_calls(calls, [call for call in later if call not in calls])


def check_arguments(
    model_config: Any, config: Any, data: Any, resume: Any, command: Any, watcher: Any, group: Any
) -> None:
    expect(model_config, ModelConfig, "model_config", "a ModelConfig")
    expect(config, TrainConfig, "config", "a TrainConfig")
    expect(data, PreparedDataset, "data", "a PreparedDataset")
    expect(resume, bool, "resume", "True or False")
    expect_list(command, "command", "a list of words")
    expect(watcher, (Watcher, NoneType), "watcher", "a Watcher or None")
    expect(group, Group, "group", "a Group")


def _resolved(config: TrainConfig, device: torch.device, folder: Path | None) -> TrainConfig:
    """A configuration whose precision is what this machine has, or that of the run in `folder` to go on with."""
    if config.precision == "auto" and folder and (folder / "config.json").exists():
        config = replace(config, precision=runs.read_config(folder).train.precision)
    return replace(config, precision=pick_precision(config, device.type))


def has_ended(state: State, config: TrainConfig) -> bool:
    """Whether all epochs are done, or patience is."""
    is_out_of_patience = bool(config.patience) and state.epoch - state.best_epoch >= config.patience
    return state.epoch >= config.n_epochs or is_out_of_patience


def _goes_on(folder: Path, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from.

    Raises:
        RunError: there is something, and nobody said to go on with it.
    """
    if not resume and folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder}: exists already; give --resume to go on with it, or another folder")
    return resume and (folder / "last.ckpt").exists()


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
        if (folder / "config.json").exists():
            runs.check_same(run, runs.read_config(folder), folder)
        elif (folder / "last.ckpt").exists():
            raise RunError(f"{folder}: has a checkpoint but no config.json; it is no run of this program")
        if (folder / "last.ckpt").exists():
            state = checkpoint.load_checkpoint(folder, model, optimizer, averaged)
            runs.write_config(folder, run)
            # A kill may have left lines of an epoch that the checkpoint does not know.
            runs.write_metrics(folder, state.metrics)
            if not has_ended(state, run.train):
                environment.write_environment(folder, command, group.size)
            return state, True
    runs.write_config(folder, run)
    environment.write_environment(folder, command, group.size)
    return State(), False
