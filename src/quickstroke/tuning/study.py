"""A search for better options with Optuna: many trainings, the hopeless ones cut short, by any number of workers.

    STUDY/trials/N     the run folder of trial N
    STUDY/study.db     what Optuna knows of them, unless another storage was given
    STUDY/study.md     what came out, with pictures in study_files/

A study of n trials has the numbers 0 to n - 1, each of which waits in the storage until a worker claims it. A worker
says every few seconds that it lives; the trial of one that does not is claimed by another, which goes on from its
checkpoint. What a trial tries depends on the seed, its number and the trials that have ended, so that a study with one
worker is the same however often it was interrupted.
"""

import contextlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from quickstroke.artifacts import runs
from quickstroke.config import former, serialize, training
from quickstroke.data import selection
from quickstroke.data.dataset import PreparedDataset
from quickstroke.errors import ConfigError, RunError, TrainingError, is_out_of_memory
from quickstroke.training import loop, session
from quickstroke.training.checkpoint import State
from quickstroke.tuning.space import Choices, Metric, Range, Space
from quickstroke.tuning.storage import open_storage
from quickstroke.tuning.stored import Stored, as_begun, of_today
from quickstroke.utils.files import one_at_a_time

Pruner = Literal["median", "hyperband", "none"]
# A worker says this often that it lives, and is taken for dead after as long as `LOST_S`: compiled code can keep a
# process from saying anything for a while.
BEAT_S = 10.0
LOST_S = 60.0
# How often a worker without a trial looks for one.
POLL_S = 1.0
# With fewer complete trials nothing is said of what mattered.
MIN_IMPORTANCE = 10

# Where a study keeps what it searches, and a trial who runs it, when that was last heard of, and why it failed.
_SPEC, _WORKER, _ALIVE, _REASON = "search", "worker", "alive", "reason"
# The key of the dataset in what a study searches.
_DATASET = "manifest_sha256 of the dataset"
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search as it was asked for; each worker has its own copy.

    Attributes:
        space: what is tried.
        data: path of the prepared dataset.
        classes: words of the output layer, None for all of the dataset.
        folder: STUDY.
        storage: an SQLAlchemy URL, None for the SQLite file in `folder`.
        n_trials: trials in all.
        pruner: how trials are cut short.
        seed: of what is tried.
        metric: the validation figure that ranks trials; `start` says which: a study keeps the one it was begun with.
        teacher_cache: the folder of cached log-probabilities of teachers; by default one that all trials share.
    """

    space: Space
    data: str
    classes: tuple[str, ...] | None
    folder: Path
    storage: str | None
    n_trials: int
    pruner: Pruner
    seed: int
    metric: Metric = "top1"
    teacher_cache: str | None = None

    @property
    def study_name(self) -> str:
        """The name of the study in its storage, which others may use, too, unless it is our own file."""
        return self.folder.resolve().name if self.storage else "quickstroke"

    def run_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / "trials" / str(number)

    def command(self, values: dict[str, Any], into: Path, n_epochs: int | None = None) -> list[str]:
        """The words of the `quickstroke train` that trains as a trial with some values did, or for more epochs."""
        model_config, config = self.space.trial(values)
        options = serialize.to_json(config)
        if n_epochs:
            options["n_epochs"] = n_epochs
        defaults = serialize.to_json(training.TrainConfig(recipe=config.recipe))
        words = ["quickstroke", "train", model_config.name, "--data", self.data, "--into", str(into)]
        for key, value in options.items():
            if value != defaults[key] or (key == "recipe" and value != "default"):
                words.append(f"--{key.replace('_', '-')}")
                words += [] if value is True else map(str, value) if isinstance(value, list) else [str(value)]
        return words + (["--train-classes", *self.classes] if self.classes else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is known of a trial.

    Attributes:
        number: from 0.
        state: "complete", "pruned", "failed", "running" or "waiting" (also after an interruption).
        values: what it tries, by key of the space.
        curve: the figure that ranks trials, of its best epoch so far, after each of its epochs.
        reason: why it failed.
    """

    number: int
    state: str
    values: dict[str, Any]
    curve: tuple[float, ...] = ()
    reason: str | None = None

    @property
    def value(self) -> float | None:
        """The figure of its best epoch, None before the first has ended."""
        return self.curve[-1] if self.curve else None


@dataclass(frozen=True, slots=True)
class WorkerWatcher:
    """How a caller follows a worker; the library itself prints nothing.

    Attributes:
        on_start: called with the trial and whether it had been begun before.
        on_step: called with (trial number, epoch from 0, epochs, drawings done, drawings of the epoch).
        on_end: called with the trial once it is complete, pruned or failed.
        on_wait: called once, with the numbers of the last trials, which other workers have.
        should_stop: asked after each batch; when it says yes the trial has a checkpoint and waits to be gone on with.
    """

    on_start: Callable[[Trial, bool], None] = lambda trial, resumed: None
    on_step: Callable[[int, int, int, int, int], None] = lambda number, epoch, n_epochs, done, total: None
    on_end: Callable[[Trial], None] = lambda trial: None
    on_wait: Callable[[list[int]], None] = lambda numbers: None
    should_stop: Callable[[], bool] = lambda: False


class _Lost(Exception):
    """Another worker has taken the trial over, because this one seemed to be dead."""


def start(search: Search, resume: bool) -> tuple[Search, bool]:
    """Makes the study, or checks that the one in the storage is the same search.

    Returns:
        The search, with its metric, and the values that its recipe had where version 0.1.0 began it; whether there was
        a study.

    Raises:
        RunError: there is one and `resume` is false, or it searches something else.
        ConfigError: the storage cannot be used.
        DatasetError, CategoryError: the dataset lacks what the search needs.
    """
    data = PreparedDataset(search.data)
    classes = selection.resolve_classes(data, search.classes)
    for split in ("train", "val"):
        selection.select(data, split, data.label_map(classes))
    folder = search.folder
    if search.storage is None and folder.is_dir() and any(folder.iterdir()) and not (folder / "study.db").exists():
        raise RunError(f"{folder}: exists already and holds no study; expected another folder")
    # Of workers that begin at once, each would make the tables, and the trials.
    alone = one_at_a_time(folder) if search.storage is None else nullcontext()
    with alone, open_storage(folder, search.storage) as storage:
        try:
            study = optuna.create_study(storage=storage, study_name=search.study_name, direction="maximize")
            existed = False
        except optuna.exceptions.DuplicatedStudyError as error:
            if not resume:
                raise RunError(f"{search.folder}: has a study already; give --resume to go on with it") from error
            study, existed = optuna.load_study(storage=storage, study_name=search.study_name), True
        began = study.user_attrs.get(_SPEC)
        search = replace(search, space=as_begun(search.space, began))
        search = replace(search, metric=began.get("metric", "top1") if began else search.space.metric)
        spec = {
            **search.space.to_json(),
            "classes": list(classes),
            _DATASET: data.manifest_sha256,
            "pruner": search.pruner,
            "seed": search.seed,
            "metric": search.metric,
        }
        if began:
            _check_same(search.folder, spec, of_today(began, spec, str(search.folder)))
        else:
            study.set_user_attr(_SPEC, spec)
        for _ in range(len(study.get_trials(deepcopy=False)), search.n_trials):
            study.enqueue_trial({})
    return search, existed


def work(search: Search, watcher: WorkerWatcher | None = None) -> None:
    """Runs trials until all have ended; several processes, on several machines, may do so at once.

    A trial whose training diverges, makes no sense or needs more memory than there is has failed. What else
    `loop.train` raises ends the work, and the trial waits.

    Raises:
        ConfigError: the storage cannot be used.
    """
    watcher = watcher or WorkerWatcher()
    data = PreparedDataset(search.data)
    has_waited = False
    with open_storage(search.folder, search.storage) as storage:
        study = optuna.load_study(storage=storage, study_name=search.study_name, pruner=_pruner(search))
        while not watcher.should_stop():
            _free_lost(study, storage)
            trial = _claim(study, storage, search.n_trials)
            if trial is not None:
                _run(trial, study, storage, search, data, watcher)
                continue
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            others = [other.number for other in running if other.number < search.n_trials]
            if not others:
                return
            if not has_waited:
                watcher.on_wait(others)
                has_waited = True
            time.sleep(POLL_S)


def trials(search: Search) -> list[Trial]:
    """The trials of a study by number."""
    with open_storage(search.folder, search.storage) as storage:
        study = optuna.load_study(storage=storage, study_name=search.study_name)
        stored = Stored(study.user_attrs[_SPEC])
        return [
            _told(trial, search.space, stored)
            for trial in study.get_trials(deepcopy=False)
            if trial.number < search.n_trials or trial.state != TrialState.WAITING
        ]


def importances(search: Search) -> dict[str, float]:
    """The share of each key in what sets the better half of the complete trials apart, by PED-ANOVA, largest first.

    {} where so few are complete that it would mean nothing.
    """
    with open_storage(search.folder, search.storage) as storage:
        study = optuna.load_study(storage=storage, study_name=search.study_name)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < MIN_IMPORTANCE or len({trial.value for trial in complete}) == 1:
            return {}
        # The best tenth, its default, is one or two trials of most studies: what these have in common is chance.
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        return {former.RENAMED.get(name, name): share for name, share in shares.items()}


def _run(
    trial: optuna.Trial,
    study: optuna.Study,
    storage: optuna.storages.BaseStorage,
    search: Search,
    data: PreparedDataset,
    watcher: WorkerWatcher,
) -> None:
    """Trains a claimed trial and tells the study how it ended, or lets it wait where it was interrupted."""
    number = trial.number
    worker = f"{platform.node()} {os.getpid()} {uuid.uuid4().hex[:8]}"
    trial.set_user_attr(_WORKER, worker)

    def is_ours() -> bool:
        told = storage.get_trial(_id(storage, study, number))
        return told.state == TrialState.RUNNING and told.user_attrs[_WORKER] == worker

    try:
        with _alive(trial):
            best = _train(trial, study, search, data, watcher, is_ours)
    except _Lost:
        return
    except optuna.TrialPruned:
        ended = study.tell(trial, state=TrialState.PRUNED)
    except BaseException as error:
        if not (isinstance(error, (TrainingError, ConfigError)) or is_out_of_memory(error)):
            if is_ours():
                _let_wait(storage, study, number)
            if isinstance(error, session.Interrupted):
                return
            raise
        if not is_ours():
            return
        trial.set_user_attr(_REASON, " ".join(str(error).split())[:500] or type(error).__name__)
        ended = study.tell(trial, state=TrialState.FAIL)
    else:
        ended = study.tell(trial, best)
    watcher.on_end(_told(ended, search.space, Stored(study.user_attrs[_SPEC])))


def _train(
    trial: optuna.Trial,
    study: optuna.Study,
    search: Search,
    data: PreparedDataset,
    watcher: WorkerWatcher,
    is_ours: Callable[[], bool],
) -> float:
    """The validation figure of a trial's best epoch, after all of its epochs.

    Raises:
        optuna.TrialPruned: the epochs so far are worse than those of other trials.
        _Lost: the trial is no longer ours.
    """
    number, folder = trial.number, search.run_folder(trial.number)
    known = set(study.get_trials(deepcopy=False)[number].intermediate_values)
    # With a sampler of its own, a trial does not depend on how many were sampled in this process.
    (seed,) = np.random.SeedSequence([search.seed, number]).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(seed))
    stored = Stored(study.user_attrs[_SPEC])
    values = {key: _suggest(trial, key, domain, stored) for key, domain in search.space.tuned.items()}
    model_config, config = search.space.trial(values)
    metrics: list[dict[str, Any]] = []

    def value(n_epochs: int) -> float:
        return float(runs.best_line(metrics[:n_epochs], config.select_by)[f"val_{search.metric}"])

    def report(line: dict[str, Any]) -> None:
        if line["epoch"] not in known:
            trial.report(value(line["epoch"]), line["epoch"])

    def on_start(state: State, resumed: bool) -> None:
        metrics.extend(state.metrics)
        for line in metrics:
            report(line)
        watcher.on_start(Trial(number=number, state="running", values=values), resumed)

    def on_step(epoch: int, done: int, total: int) -> None:
        watcher.on_step(number, epoch, config.n_epochs, done, total)

    def on_write() -> None:
        if not is_ours():
            raise _Lost

    def on_epoch(line: dict[str, Any]) -> None:
        on_write()
        metrics.append(line)
        report(line)
        if line["epoch"] < config.n_epochs and trial.should_prune():
            raise optuna.TrialPruned

    loop.train(
        model_config,
        config,
        data,
        folder,
        train_classes=search.classes,
        teacher_cache=search.teacher_cache or search.folder / "teacher",
        resume=True,
        command=search.command(values, folder),
        watcher=session.Watcher(
            on_start, on_step, on_epoch=on_epoch, on_write=on_write, should_stop=watcher.should_stop
        ),
    )
    return value(len(metrics))


def _suggest(trial: optuna.Trial, key: str, domain: Range | Choices, stored: Stored) -> Any:
    name = stored.names[key]
    if isinstance(domain, Choices):
        value = trial.suggest_categorical(name, stored.choices(key))
    elif domain.is_whole:
        value = trial.suggest_int(name, int(domain.low), int(domain.high), step=int(domain.step or 1), log=domain.log)
    else:
        value = trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)
    return stored.meant(key, value, domain)


def _told(trial: FrozenTrial, space: Space, stored: Stored) -> Trial:
    return Trial(
        number=trial.number,
        state=_STATES[trial.state],
        values={
            key: stored.meant(key, trial.params[stored.names[key]], domain)
            for key, domain in space.tuned.items()
            if stored.names[key] in trial.params
        },
        curve=tuple(value for _, value in sorted(trial.intermediate_values.items())),
        reason=trial.user_attrs.get(_REASON),
    )


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    if search.pruner == "none":
        return optuna.pruners.NopPruner()
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    tuned = search.space.tuned.get("n_epochs")
    some = {key: domain.extremes[0] for key, domain in search.space.tuned.items()}
    n_epochs = max(tuned.extremes) if tuned else search.space.trial(some)[1].n_epochs
    return optuna.pruners.HyperbandPruner(max_resource=int(n_epochs))


def _claim(study: optuna.Study, storage: optuna.storages.BaseStorage, n_trials: int) -> optuna.Trial | None:
    """The first trial that waits, None where none of the first `n_trials` does."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not any(trial.number < n_trials for trial in waiting):
        return None
    trial = study.ask()
    if trial.number < n_trials:
        return trial
    _let_wait(storage, study, trial.number)  # another worker was quicker with the last that is ours
    return None


def _let_wait(storage: optuna.storages.BaseStorage, study: optuna.Study, number: int) -> None:
    """Gives a running trial back, with its values and its epochs."""
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(_id(storage, study, number), state=TrialState.WAITING)


def _free_lost(study: optuna.Study, storage: optuna.storages.BaseStorage) -> None:
    """Lets the running trials wait whose worker was not heard of for long."""
    now_s = time.time()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # One that was lost and is taken up begins anew; its worker may not have had the time to say so.
        begun_s = _seconds(trial.datetime_start, now_s) if trial.datetime_start else 0.0
        if now_s - max(begun_s, trial.user_attrs.get(_ALIVE) or 0.0) > LOST_S:
            _let_wait(storage, study, trial.number)


def _seconds(local: datetime, now_s: float) -> float:
    """The seconds since 1970 of a local time as Optuna gives it, not later than now.

    When clocks are put back it may stand for two moments: it is the later one that has been.
    """
    both = [local.replace(fold=fold).timestamp() for fold in (0, 1)]
    return max((seconds for seconds in both if seconds <= now_s), default=min(both))


@contextmanager
def _alive(trial: optuna.Trial) -> Iterator[None]:
    """Says in the storage, again and again, that the trial has a worker."""
    ended = threading.Event()
    trial.set_user_attr(_ALIVE, time.time())

    def say() -> None:
        while not ended.wait(BEAT_S):
            with contextlib.suppress(Exception):  # a storage that is busy or away now may be there the next time
                trial.set_user_attr(_ALIVE, time.time())

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _id(storage: optuna.storages.BaseStorage, study: optuna.Study, number: int) -> int:
    study_id = storage.get_study_id_from_name(study.study_name)
    return storage.get_trial_id_from_study_id_trial_number(study_id, number)


def _check_same(folder: Path, given: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raises RunError where a study was started as another search."""
    for key in given:
        now, then = given[key], stored.get(key)
        if isinstance(now, dict) and isinstance(then, dict):
            for name in sorted(now.keys() | then.keys()):
                if now.get(name) != then.get(name):
                    key, now, then = f"{key} {name}", now.get(name), then.get(name)
                    break
        if now != then and key == _DATASET:
            raise RunError(f"{folder}: was started with another dataset, whose manifest.json has the SHA-256 {then}")
        if now != then:
            raise RunError(f"{folder}: was started with {key} = {then!r:.80}, cannot go on with {now!r:.80}")
