"""Training: batch, loss, step, log, save."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch

from quickstroke.artifacts import environment, runs, weight_files
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, selection
from quickstroke.data.augmentation import change_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.on_device import on_device
from quickstroke.data.selection import resolve_classes
from quickstroke.errors import ConfigError, RunError, expect, expect_list, expect_path
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.models.classifier import StrokeClassifier, n_parameters, threads_for
from quickstroke.models.statistics import reestimate_batchnorm
from quickstroke.runtime.device import pick_device, pick_precision
from quickstroke.runtime.distributed import ALONE, Group, seed_of_step
from quickstroke.training import checkpoint, schedule
from quickstroke.training.checkpoint import State
from quickstroke.training.distillation import open_targets
from quickstroke.training.feed import Feeder, epoch_batches, epoch_drawings, view
from quickstroke.training.optimizer import Adam, optimizer_of
from quickstroke.training.pretrained import begin_with
from quickstroke.training.step import Losses, accumulate_gradients, diverged, update_weights

# A long epoch is saved this often, so that a kill loses minutes; when it is saved changes no result.
CHECKPOINT_EVERY_S = 300.0

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
        teacher_cache: the folder of cached teacher log-probabilities, which trainings may share; by default in `into`.
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
    train_indices, val_indices = (selection.select(data, split, label_map) for split in ("train", "val"))
    targets = None
    if config.teacher:
        if config.other_class_fraction:
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
            sees_views=config.n_cached_epochs > 0,
        )
    teachers = tuple(targets.facts) if targets else ()
    candidates = targets.candidates if targets else None
    if not candidates and config.augment != "none":
        candidates = augmentation.mixup_candidates(data, train_indices, label_map)
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
    averaged = copy.deepcopy(model).requires_grad_(False) if config.ema_decay else None
    kept = averaged or model  # what is validated, saved and published
    state, resumed = group.first(lambda: _open(folder, run, model, optimizer, averaged, resume, command, group))
    group.share(
        [*model.state_dict().values(), *optimizer.tensors, *(averaged.state_dict().values() if averaged else ())]
    )
    shared_model = group.wrap(model)
    model.bn.group = group
    there = on_device(data, device)
    feeder = Feeder(config, model_config, data, there, device, label_map, candidates, group)
    watcher.on_start(state, resumed)
    saved_at = time.monotonic()

    def save() -> None:
        watcher.on_write()
        if group.rank == 0:
            checkpoint.save_checkpoint(folder, state, model, optimizer, averaged)

    while not has_ended(state, config):
        started = time.perf_counter() - state.seconds
        drawings = epoch_drawings(config, data, train_indices, label_map, state.epoch)
        order = epoch_batches(config, data.n_points[drawings], state.epoch)
        n_train, done = len(drawings), sum(map(len, order[: state.step]))

        teacher_log_probs = None
        if targets:
            teacher_log_probs = targets.of(
                view(config, state.epoch), drawings, partial(_on_teacher, watcher, state, save)
            )
        model.train()
        model.bn.train(config.normalization == "batch")
        losses = Losses(state, device, group)
        with threads_for(model):
            for rows in order[state.step :]:
                progress = (state.epoch + done / n_train) / config.n_epochs
                schedule.set_learning_rate(optimizer, config, progress, len(rows) / n_train / config.n_epochs)
                statistics = [buffer.clone() for buffer in model.buffers()]
                if group.size > 1:
                    torch.manual_seed(seed_of_step(config.seed, state.epoch, state.step, group.rank))
                shares = feeder.shares(state, drawings, rows, teacher_log_probs)
                own_loss = accumulate_gradients(config, shared_model, optimizer, shares, device, group)
                losses.add(own_loss, len(rows))
                for buffer, before in zip(model.buffers(), statistics, strict=True):
                    buffer.copy_(torch.where(losses.are_lost, before, buffer))
                if losses.are_due:
                    losses.settle(folder, save)
                n_steps = state.epoch * len(order) + state.step
                update_weights(config, model, optimizer, averaged, losses.are_lost, n_steps)
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
            raise diverged(f"the validation loss of epoch {state.epoch + 1} is {honest.loss}", folder, save)
        seconds = time.perf_counter() - started
        as_published = score(protocol="published", batch_size=config.batch_size)
        line = _metrics_line(state, n_train, honest, as_published) | {
            "seconds": seconds,
            "train_seconds": train_seconds,
            "learning_rate": optimizer.learning_rate,
        }
        metrics = [*state.metrics, line]
        best = runs.best_line(metrics, config.select_by)
        state = State(epoch=state.epoch + 1, best=best["val_top1"], best_epoch=best["epoch"], metrics=metrics)
        watcher.on_write()
        if group.rank == 0:
            if state.best_epoch == state.epoch:
                weight_files.save_weights(folder / "best.model", kept.state_dict())
            weight_files.save_weights(folder / "last.model", kept.state_dict())
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
            state = checkpoint.load_checkpoint(folder, model, optimizer, averaged)
            for leftover in folder.glob(".*.tmp"):  # of a kill in the middle of writing
                leftover.unlink(missing_ok=True)
            runs.write_config(folder, run)
            # A kill may have left lines of an epoch that the checkpoint does not know.
            runs.write_metrics(folder, state.metrics)
            if not has_ended(state, run.train):
                environment.write_environment(folder, command, group.size)
            return state, True
    runs.write_config(folder, run)
    environment.write_environment(folder, command, group.size)
    return State(), False
