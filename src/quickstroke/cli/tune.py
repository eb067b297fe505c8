"""`quickstroke tune`."""

import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from quickstroke.cli.answers import Answer, answer, counted, note, say
from quickstroke.cli.options import Json, TrainClasses, optional, parse
from quickstroke.cli.running import StopOnSignal, import_torch, progress
from quickstroke.config import schema
from quickstroke.config.training import TrainConfig
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import QuickstrokeError
from quickstroke.tuning import space as spaces

if TYPE_CHECKING:
    from quickstroke.tuning.study import Search, Trial

_DEFAULT = "; ".join(
    f"{key} {domain}" for key, domain in spaces.declare(["simple_lay1_sz64"], spaces.DEFAULT, {}, "").tuned.items()
)
N_SHOWN = 10


@dataclass(frozen=True)
class Options:
    """Search for better options: many trainings, of which Optuna chooses the values and cuts the hopeless ones short.

    A trial's value is the validation top-1 of its best epoch, or its balanced accuracy with --select-by balanced_loss.
    Test drawings are not touched. STUDY holds trials/N, an ordinary run folder each, study.db, and study.md with tables
    and pictures of what came out. Options of a training that are given here are the same for all trials; the space says
    what is tried.

    Ctrl-C or a kill lose nothing: the same command with --resume continues, also to more trials. In another terminal,
    and on another machine, too, where --storage is a server, it is one more worker.

    Attributes:
        names: a model name such as simple_lay1_sz64; of several, one is chosen for each trial
        data: the prepared dataset
        into: the folder to make
        n_trials: trials in all, those before --resume included
        workers: processes on this machine, which share its threads
        pruner: how trials are cut short: `median` where one is worse than the median of the complete ones was after as
            many epochs; `hyperband` is for some 40 trials or more of many epochs; `none` trains all to their end
        storage: a database for workers on several machines, such as postgresql://USER:PASSWORD@HOST/NAME (default: the
            SQLite file STUDY/study.db, for workers on one machine)
        resume: go on with the study in STUDY, or join it; without one, start anew
        teacher_cache: where teachers' log-probabilities are cached, for trials to share (default: STUDY/teacher)
    """

    names: Annotated[Positional[tuple[str, ...]], optional("NAME...")]
    data: Annotated[str, arg(metavar="DIR")]
    into: Annotated[str, arg(metavar="STUDY")]
    space: Annotated[
        str | None,
        optional(
            "FILE.toml",
            "what is tried, as TOML: `learning_rate = { low = 0.001, high = 0.01, log = true }` is a range (also "
            "`step`), `batch_size = [64, 128]` are choices, `n_epochs = 5` is the same for all; keys are the options "
            f"of a training and {', '.join(spaces.SIZES)} of the model (default: {_DEFAULT})",
        ),
    ] = None
    n_trials: int = 20
    workers: int = 1
    pruner: Literal["median", "hyperband", "none"] = "median"
    storage: Annotated[str | None, optional("URL")] = None
    resume: bool = False
    train_classes: TrainClasses = None
    teacher_cache: Annotated[str | None, optional("DIR")] = None
    train: OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    json: Json = False


def main(args: Sequence[str]) -> int:
    options = parse(Options, "tune", args)
    return answer(options.json, partial(_tune, options, args))


def _tune(options: Options, args: Sequence[str]) -> Answer:
    for key in ("n_trials", "workers"):
        schema.check_positive({key: getattr(options, key)})
    declared = spaces.DEFAULT if options.space is None else schema.read_toml(Path(options.space))
    searched = spaces.declare(options.names, declared, _given(options, args), options.space or "the default space")

    import matplotlib  # noqa: F401 - what is missing is told before hours of training
    import optuna

    import_torch(trains_padded=options.train.recipe == "2020")
    from quickstroke.tuning import report as tuning_report
    from quickstroke.tuning import study

    search = study.Search(
        space=searched,
        data=options.data,
        classes=None if options.train_classes is None else tuple(parse_classes(options.train_classes)),
        folder=Path(options.into),
        storage=options.storage,
        n_trials=options.n_trials,
        pruner=options.pruner,
        seed=options.train.seed,
        teacher_cache=options.teacher_cache,
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search, existed = study.start(search, options.resume)
    if options.resume:
        ended = sum(trial.state in tuning_report.STATES[:3] for trial in study.trials(search))
        going_on = f"{ended} of {options.n_trials} trials have ended"
        note(going_on if existed else f"no study in {options.into} yet: starting anew")

    try:
        was_stopped = _work(search) if options.workers == 1 else _work_together(search, options)
    except KeyboardInterrupt:
        was_stopped = True
    trials = study.trials(search)
    document = tuning_report.write_study(search, trials, study.importances(search))
    best = tuning_report.best(trials)
    table = tuning_report.format_table(tuning_report.rows(search, tuning_report.ranked(trials)[:N_SHOWN]))
    print(f"\n{table}")
    print(f"{tuning_report.told_counts(trials)}; all of them and pictures: {document}")
    if best:
        print(f"The best for four times the epochs:\n{tuning_report.longer(search, best)}", flush=True)
    values = {
        "study": options.into,
        "document": str(document),
        "metric": search.metric,
        "counts": tuning_report.counts(trials),
        "best": best and _as_json(best, search),
        "command": best and tuning_report.longer(search, best),
        "trials": [_as_json(trial, search) for trial in trials],
    }
    n_left = sum(trial.state in ("waiting", "running") for trial in trials)
    if was_stopped:
        note(f"interrupted; the study is in {options.into}: the same command with --resume goes on")
        return Answer(values, 130)
    wrong = ""
    if n_left:
        wrong = f"{n_left} trials have not ended; the same command with --resume goes on"
    elif best is None and trials[0].state == "failed":
        wrong = f"no trial came to its end; the first failed: {trials[0].reason}"
    if wrong:
        note(f"quickstroke tune: {options.into}: {wrong}")
    return Answer(values, 2 if wrong else 0)


def _as_json(trial: "Trial", search: "Search") -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "value": trial.value,
        "epochs": len(trial.curve),
        "values": trial.values,
        "run": str(search.run_folder(trial.number)),
        "reason": trial.reason,
    }


def _given(options: Options, args: Sequence[str]) -> dict[str, Any]:
    """The options of a training that the command line names, which no space overrides."""
    named = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in args if word.startswith("--")}
    return {key.name: getattr(options.train, key.name) for key in fields(TrainConfig) if key.name in named}


def _work(search: "Search") -> bool:
    """Runs trials in this process, with a bar; True where it was asked to stop."""
    from quickstroke.tuning import study

    stop = StopOnSignal()
    with progress("drawings") as bar, stop:
        task = bar.add_task("", total=None)

        def on_step(number: int, epoch: int, n_epochs: int, done: int, total: int) -> None:
            bar.update(task, description=f"trial {number}, epoch {epoch + 1}/{n_epochs}", completed=done, total=total)

        def on_end(trial: "Trial") -> None:
            _show(trial)
            bar.reset(task)

        study.work(search, study.WorkerWatcher(_show_start, on_step, on_end, _show_wait, lambda: stop.asked))
    return stop.asked


def _work_together(search: "Search", options: Options) -> bool:
    """Runs trials in processes of their own; True where they were asked to stop."""
    import torch

    context = multiprocessing.get_context("spawn")
    n_threads = max(1, torch.get_num_threads() // options.workers)
    arguments = (search, n_threads, options.json)
    workers = [context.Process(target=_worker, args=arguments) for _ in range(options.workers)]

    def end() -> None:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()

    with StopOnSignal() as stop:
        # Ctrl-C reaches all processes of a terminal: workers ignore it from their beginning, and are told by us.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for worker in workers:
            worker.start()
        signal.signal(signal.SIGINT, before)
        try:
            while any(worker.is_alive() for worker in workers) and not stop.asked:
                time.sleep(0.1)
            end()
        except BaseException:  # asked once more, to stop at once
            end()
            raise
    for worker in workers:
        if worker.exitcode and worker.exitcode < 0 and not stop.asked:
            note(f"a worker was killed by signal {-worker.exitcode}")
    return stop.asked


def _worker(search: "Search", n_threads: int, as_json: bool) -> None:
    import optuna
    import torch

    from quickstroke.tuning import study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(n_threads)
    parent = multiprocessing.parent_process()
    with StopOnSignal((signal.SIGTERM,), "") as stop, redirect_stdout(sys.stderr if as_json else sys.stdout):

        def should_stop() -> bool:
            return stop.asked or (parent is not None and not parent.is_alive())

        watcher = study.WorkerWatcher(_show_start, on_end=_show, on_wait=_show_wait, should_stop=should_stop)
        try:
            study.work(search, watcher)
        except QuickstrokeError as error:
            note(f"quickstroke tune: {error}")
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)


def _show_start(trial: "Trial", resumed: bool) -> None:
    if resumed:
        note(f"trial {trial.number} goes on from its checkpoint")


def _show_wait(numbers: list[int]) -> None:
    from quickstroke.tuning.study import LOST_S

    which = f"trial{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"
    note(f"waiting for {which} of other workers; a trial that a dead one has left is resumed after {LOST_S:.0f} s")


def _show(trial: "Trial") -> None:
    from quickstroke.tuning.report import shown

    values = ", ".join(f"{key} {shown(value)}" for key, value in trial.values.items())
    value = "" if trial.value is None else f"{trial.value:.2%} "
    epochs = counted(len(trial.curve), "epoch")
    ended = {
        "complete": f"{value}in {epochs}",
        "pruned": f"{value}pruned after {epochs}",
        "failed": f"failed: {trial.reason}",
    }[trial.state]
    say(f"Trial {trial.number}: {ended} ({values})")
