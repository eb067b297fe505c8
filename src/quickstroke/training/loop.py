"""Training: batch, loss, step, log, save."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quickstroke.artifacts import runs, weight_files
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import LoggerName, TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.errors import expect_path
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.models.classifier import threads_for
from quickstroke.runtime.device import deterministic
from quickstroke.runtime.distributed import ALONE, Group, seed_of_step
from quickstroke.training import schedule
from quickstroke.training.checkpoint import State
from quickstroke.training.feed import cached_epoch, epoch_batches, epoch_drawings
from quickstroke.training.logs import logging_to
from quickstroke.training.session import Interrupted, Session, Watcher, check_arguments, has_ended, set_up
from quickstroke.training.step import Losses, accumulate_gradients, diverged, update_weights

# A long epoch is saved this often, so that a kill loses minutes; when it is saved changes no result.
CHECKPOINT_EVERY_S = 300.0


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
    log: Sequence[LoggerName] = (),
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
        watcher: what is called meanwhile, such as `Watcher(on_epoch=print)`; by default nothing.
        log: loggers that are told of each epoch, too, among `tensorboard`, `wandb` and `mlflow`; each is an extra.
        group: the processes that share each batch, all of which call this with the same arguments; the first of them
            alone writes. Their number changes a step's loss in its last digits, and by what dropout leaves out.

    Returns:
        The final state; its `metrics` are the lines of metrics.jsonl.

    Raises:
        ArgumentTypeError: an argument of another type, such as one in another's place.
        RunError: the folder exists and `resume` is false, or it holds a run with another configuration.
        CategoryError: a training class that the dataset has not.
        DatasetError: the dataset has nothing to train or validate on.
        ConfigError: no such device or logger.
        MissingExtra: what a logger needs is not installed.
        TrainingError: a loss or a weight is not finite, and the checkpoint is of the last state whose weights are; or
            another process of the group has gone.
        Interrupted: `watcher.should_stop` said so.
    """
    check_arguments(model_config, config, data, resume, command, watcher, group)
    folder = expect_path(into, "into")
    with (
        deterministic(config.deterministic),
        logging_to(() if group.rank else log, folder, watcher or Watcher()) as watcher,
    ):
        session = set_up(
            model_config, config, data, folder, train_classes, teacher_cache, resume, command, watcher, group
        )
        while not has_ended(session.state, session.feeder.config):
            n_train = _train_epoch(session)
            _validate(session, n_train)
    return session.state


def _train_epoch(session: Session) -> int:
    """Trains from the state's step to the end of its epoch; returns how many drawings the epoch has."""
    feeder, state, model = session.feeder, session.state, session.model
    config, group, device = feeder.config, feeder.group, feeder.device
    started = time.perf_counter() - state.seconds
    drawings = epoch_drawings(config, feeder.data, session.train_indices, feeder.label_map, state.epoch)
    order = epoch_batches(config, feeder.data, drawings, state.epoch)
    n_train, done = len(drawings), sum(map(len, order[: state.step]))
    teacher_log_probs = None
    if session.targets:
        teacher_log_probs = session.targets.of(
            cached_epoch(config, state.epoch), drawings, partial(_on_teacher, session)
        )
    model.train()
    model.bn.train(config.normalization == "batch")
    losses = Losses(state, device, group, session.folder, session.save)
    with threads_for(model):
        for rows in order[state.step :]:
            progress = (state.epoch + done / n_train) / config.n_epochs
            schedule.set_learning_rate(session.optimizer, config, progress, len(rows) / n_train / config.n_epochs)
            if group.size > 1:
                torch.manual_seed(seed_of_step(config.seed, state.epoch, state.step, group.rank))
            statistics = [buffer.clone() for buffer in model.buffers()]
            micro_batches = feeder.micro_batches(state, drawings, rows, teacher_log_probs)
            loss = accumulate_gradients(config, model, session.optimizer, micro_batches, device, group)
            losses.add(loss, len(rows))
            for buffer, before in zip(model.buffers(), statistics, strict=True):
                buffer.copy_(torch.where(losses.are_lost, before, buffer))
            if losses.are_due:
                losses.settle()
            n_steps = state.epoch * len(order) + state.step
            update_weights(config, model, session.optimizer, session.averaged, losses.are_lost, n_steps)
            state.step += 1
            done += len(rows)
            session.watcher.on_step(state.epoch, done, n_train)
            stop = group.any(session.watcher.should_stop())
            if stop or time.monotonic() - session.saved_at > CHECKPOINT_EVERY_S:
                losses.settle()
                state.seconds = time.perf_counter() - started
                session.save()
            if stop:
                raise Interrupted(state)
        losses.settle()
    state.seconds = time.perf_counter() - started
    # A validation that is cut short begins again on resuming: its epoch's last step is saved before it.
    session.save()
    return n_train


def _validate(session: Session, n_train: int) -> None:
    """Ends an epoch: validates, keeps the best weights, writes metrics and checkpoint, and begins the next state."""
    feeder, state, folder = session.feeder, session.state, session.folder
    started = time.perf_counter()
    scores = evaluate(
        session.kept,
        session.val,
        on_batch=partial(_check_stop, session.watcher, state),
        group=feeder.group,
        device_data=feeder.device_data,
    )
    if not np.isfinite(scores.loss):
        what = f"the validation loss of epoch {state.epoch + 1} is {scores.loss}"
        raise diverged(what, folder, session.save)
    line = _metrics_line(state, n_train, scores) | {
        "seconds": state.seconds + time.perf_counter() - started,
        "train_seconds": state.seconds,
        "learning_rate": session.optimizer.learning_rate,
    }
    metrics = [*state.metrics, line]
    best = runs.best_line(metrics, feeder.config.select_by)
    session.state = State(epoch=state.epoch + 1, best=best["val_top1"], best_epoch=best["epoch"], metrics=metrics)
    session.watcher.on_write()
    if feeder.group.rank == 0:
        if session.state.best_epoch == session.state.epoch:
            weight_files.save_weights(folder / "best.model", session.kept.state_dict())
        weight_files.save_weights(folder / "last.model", session.kept.state_dict())
        runs.write_metrics(folder, metrics)
    session.save()
    session.watcher.on_epoch(line)


def _on_teacher(session: Session, n: int) -> None:
    session.watcher.on_teacher(session.state.epoch, n)
    if session.watcher.should_stop():
        session.save()
        raise Interrupted(session.state)


def _metrics_line(state: State, n_train: int, scores: Evaluation) -> dict[str, Any]:
    return {
        "epoch": state.epoch + 1,
        "loss": state.loss_sum / n_train,
        "val_loss": scores.loss,
        "val_top1": scores.top(1),
        "val_top3": scores.top(3),
        "val_top5": scores.top(5),
        "val_balanced_accuracy": scores.balanced_accuracy(),
        "val_balanced_loss": scores.balanced_loss(),
        "n_train": n_train,
        "n_val": scores.n,
    }


def _check_stop(watcher: Watcher, state: State, n: int) -> None:
    if watcher.should_stop():
        raise Interrupted(state)
