"""Loggers: a training's configuration and the figures of its epochs, sent to what people follow trainings with.

RUN/log.json says under which name each logger knows the run and how many epochs it has, so that a resumed run goes on
where it stopped, also when it was logged nowhere before.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, get_args

from quickstroke.artifacts import runs
from quickstroke.config import serialize
from quickstroke.config.training import LoggerName
from quickstroke.errors import ConfigError, MissingExtra, RunError, expect_items, first_line, shown
from quickstroke.training.session import Watcher
from quickstroke.utils.files import write_text
from quickstroke.utils.telemetry import import_mlflow, import_wandb

# Of the project at W&B and the experiment in MLflow, where their own variables name none.
PROJECT = "quickstroke"


class Logger(Protocol):
    """One logger. Making it imports what it needs, so that a training without that is refused before it begins."""

    def start(self, folder: Path, name: str | None, config: dict[str, Any]) -> str:
        """Begins to log a run, or goes on with that which it knows by a name, and returns the name."""
        ...

    def write(self, epoch: int, figures: dict[str, float]) -> None:
        """Logs the figures of an epoch, counted from 1."""
        ...

    def end(self, is_done: bool) -> None:
        """Ends a run that was started, because it is done or because it was stopped."""
        ...


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open: Any = SummaryWriter

    def start(self, folder: Path, name: str | None, config: dict[str, Any]) -> str:
        self._writer = self._open(str(folder / "tensorboard"))
        return "tensorboard"

    def write(self, epoch: int, figures: dict[str, float]) -> None:
        for key, value in figures.items():
            self._writer.add_scalar(key, value, epoch)
        self._writer.flush()

    def end(self, is_done: bool) -> None:
        self._writer.close()


class WandB:
    """A run at Weights & Biases, with its files in RUN/wandb; WANDB_MODE=offline sends nothing."""

    def __init__(self) -> None:
        self._wandb = import_wandb()
        if self._wandb.setup().settings.mode == "online":
            try:
                self._wandb.login()
            except Exception as error:
                raise ConfigError(f"wandb: {first_line(error)} (or WANDB_MODE=offline, which sends nothing)") from error

    def start(self, folder: Path, name: str | None, config: dict[str, Any]) -> str:
        name = name or uuid.uuid4().hex[:8]
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=folder.name,
            dir=folder.absolute(),
            id=name,
            resume="allow",
            config=config,
            allow_val_change=True,
        )
        return name

    def write(self, epoch: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=epoch)

    def end(self, is_done: bool) -> None:
        self._run.finish(exit_code=0 if is_done else 1)


class MLflow:
    """A run in the store that MLFLOW_TRACKING_URI names, by default mlflow.db in the working folder."""

    def __init__(self) -> None:
        self._mlflow = import_mlflow()

    def start(self, folder: Path, name: str | None, config: dict[str, Any]) -> str:
        self._client = self._mlflow.MlflowClient()
        if name is None:
            title = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
            experiment = self._client.get_experiment_by_name(title)
            number = experiment.experiment_id if experiment else self._client.create_experiment(title)
            name = str(self._client.create_run(number, run_name=folder.name).info.run_id)
            params = [self._mlflow.entities.Param(key, str(value)) for key, value in config.items()]
            self._client.log_batch(name, params=params)
        self._client.update_run(name, status="RUNNING")
        self._name = name
        return name

    def write(self, epoch: int, figures: dict[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [self._mlflow.entities.Metric(key, value, now, epoch) for key, value in figures.items()]
        self._client.log_batch(self._name, metrics=metrics)

    def end(self, is_done: bool) -> None:
        self._client.set_terminated(self._name, "FINISHED" if is_done else "KILLED")


_KINDS: dict[str, type[Logger]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


@contextmanager
def logging_to(names: Sequence[LoggerName], folder: Path, watcher: Watcher) -> Iterator[Watcher]:
    """A watcher that does what another does, and logs; a logger that fails later on stops no training.

    Raises:
        ConfigError: there is no such logger, or it has no account to log to.
        MissingExtra: its packages are not installed.
        RunError: it cannot begin.
    """
    loggers = {name: _made(name) for name in expect_items(names, "log", "a list of loggers")}
    running: dict[str, _Running] = {}
    metrics: list[dict[str, Any]] = []

    def on_start(state: Any, resumed: bool) -> None:
        metrics.extend(state.metrics)
        for name, logger in loggers.items():
            try:
                running[name] = _Running(name, logger, folder)
                running[name].catch_up(metrics)
            except Exception as error:  # whatever a network or a store has to say
                raise RunError(f"{folder}: {name} cannot log it: {first_line(error)}") from error
        watcher.on_start(state, resumed)

    def on_epoch(line: dict[str, Any]) -> None:
        metrics.append(line)
        for name, each in running.items():
            try:
                each.catch_up(metrics)
            except Exception as error:
                watcher.on_remark(f"{name} did not log epoch {line['epoch']}: {first_line(error)}")
        watcher.on_epoch(line)

    is_done = False
    try:
        yield replace(watcher, on_start=on_start, on_epoch=on_epoch)
        is_done = True
    finally:
        for name, each in running.items():
            try:
                each.logger.end(is_done)
            except Exception as error:
                watcher.on_remark(f"{name} did not end its log: {first_line(error)}")


class _Running:
    """A logger that has begun."""

    def __init__(self, name: str, logger: Logger, folder: Path) -> None:
        self.logger, self._kind, self._path = logger, name, folder / "log.json"
        run = runs.read_config(folder)
        config = {"model": run.model.name, "n_classes": run.model.n_classes, **serialize.to_json(run.train)}
        known = self._read().get(name, {})
        self._name = logger.start(folder, known.get("name"), config)
        self._epochs = int(known.get("epochs", 0))

    def catch_up(self, lines: Sequence[dict[str, Any]]) -> None:
        """Logs those of metrics.jsonl's lines that it has not."""
        for line in lines:
            if line["epoch"] > self._epochs:
                self.logger.write(line["epoch"], {key: value for key, value in line.items() if key != "epoch"})
                self._epochs = line["epoch"]
        told = {**self._read(), self._kind: {"name": self._name, "epochs": self._epochs}}
        write_text(self._path, json.dumps(told) + "\n")

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text(encoding="utf-8"))) if self._path.is_file() else {}


def _made(name: Any) -> Logger:
    if not isinstance(name, str) or name not in _KINDS:
        raise ConfigError(f"log: no logger {shown(name)}; expected {', '.join(get_args(LoggerName))}")
    try:
        return _KINDS[name]()
    except ModuleNotFoundError as error:
        raise MissingExtra(f"logging to {name}", name) from error
