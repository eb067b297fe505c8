"""The trials of a study: how they end, what a kill leaves of them, and several workers."""

import contextlib
import json
import mmap
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace

import optuna
import pytest
import torch
from optuna.trial import TrialState
from searches import MODEL, follow, search_of, started, stored_study, tune

from quickstroke.artifacts import runs
from quickstroke.cli import main
from quickstroke.errors import ConfigError, RunError, TrainingError
from quickstroke.training import loop, session
from quickstroke.training.checkpoint import State
from quickstroke.tuning import report, space
from quickstroke.tuning import storage as storage_module
from quickstroke.tuning import study as study_module
from quickstroke.tuning.study import Trial, WorkerWatcher
from quickstroke.utils.files import lock

# Of another process, on a machine that has much else to do.
TIMEOUT_S = 600


def wait_for(process, is_true) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


# --- how a study begins


@pytest.mark.skipif(os.name == "nt", reason="it opens no folder")
def test_workers_that_begin_at_once_make_the_study_one_after_the_other(dataset, tmp_path, monkeypatch):
    create = optuna.create_study

    def create_alone(**options):
        descriptor = os.open(tmp_path / "study", os.O_RDONLY)
        assert not lock(descriptor)  # another worker waits
        os.close(descriptor)
        return create(**options)

    monkeypatch.setattr(optuna, "create_study", create_alone)
    started(dataset, tmp_path / "study", n_trials=2)
    assert len(stored_study(tmp_path / "study").trials) == 2


# --- how trials end


def test_a_trial_worse_than_the_median_is_cut_short(dataset, tmp_path, monkeypatch):
    """The five first, all good, are complete; of those after them, each bad one ends with its first epoch."""
    search = started(dataset, tmp_path / "study", n_trials=16)
    numbers: list[int] = []
    bad = {6, 8, 13}
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: (0.1 if numbers[-1] in bad else 0.8) * epoch / 3))
    study_module.work(search, WorkerWatcher(lambda trial, resumed: numbers.append(trial.number)))
    states = {trial.number: (trial.state, len(trial.curve)) for trial in study_module.trials(search)}
    assert states == {n: ("pruned", 1) if n in bad else ("complete", 3) for n in range(16)}


def test_nothing_is_cut_short_without_a_pruner_or_in_the_last_epoch(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: config.learning_rate))
    for pruner, n_epochs in (("none", 3), ("median", 1)):
        declared = {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": n_epochs}
        search = started(dataset, tmp_path / pruner, declared, n_trials=12, pruner=pruner)
        study_module.work(search)
        assert {trial.state for trial in study_module.trials(search)} == {"complete"}


def test_hyperband_cuts_short(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: config.learning_rate * epoch))
    declared = {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": [9, 27]}
    search = started(dataset, tmp_path / "study", declared, n_trials=20, pruner="hyperband")
    study_module.work(search)
    assert Counter(trial.state for trial in study_module.trials(search))["pruned"] > 5


def test_the_value_is_the_best_of_the_epochs_and_is_maximised(dataset, tmp_path, monkeypatch):
    curve = [0.0, 0.2, 0.7, 0.4]
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: curve[epoch]))
    search = started(dataset, tmp_path / "study", n_trials=1)
    study_module.work(search)
    (trial,) = study_module.trials(search)
    assert trial.curve == (0.2, 0.7, 0.7) and trial.value == 0.7
    stored = stored_study(tmp_path / "study")
    assert stored.best_value == 0.7 and stored.direction == optuna.study.StudyDirection.MAXIMIZE


def test_trials_that_select_by_the_balanced_loss_are_ranked_by_balanced_accuracy(dataset, tmp_path, monkeypatch):
    """It is that of the epoch with the lowest loss. A study begun by an earlier version keeps to top-1."""

    def train(model_config, config, data, into, *, watcher, **_):
        watcher.on_start(State(), False)
        lines = ((0.9, 0.3, 2.0), (0.5, 0.4, 1.0), (0.6, 0.6, 1.5))
        for epoch, (top1, balanced_accuracy, balanced_loss) in enumerate(lines, 1):
            figures = {"val_balanced_accuracy": balanced_accuracy, "val_balanced_loss": balanced_loss}
            watcher.on_epoch({"epoch": epoch, "val_top1": top1, **figures})
        return State(epoch=3, best=0.5)

    monkeypatch.setattr(loop, "train", train)
    declared = {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": 3, "select_by": "balanced_loss"}
    search = started(dataset, tmp_path / "study", declared, n_trials=1)
    assert search.metric == "balanced_accuracy"
    study_module.work(search)
    (trial,) = study_module.trials(search)
    assert trial.curve == (0.3, 0.4, 0.4)
    report.write_study(search, [trial], {})
    document = (tmp_path / "study" / "study.md").read_text()
    assert "the validation balanced accuracy of its best epoch" in document and "| val balanced accuracy |" in document

    stored = stored_study(tmp_path / "study")
    spec = stored.user_attrs["search"]
    stored.set_user_attr("search", {key: value for key, value in spec.items() if key != "metric"})
    again, existed = study_module.start(search_of(dataset, tmp_path / "study", declared, n_trials=2), resume=True)
    assert existed and again.metric == "top1"
    study_module.work(again)
    assert study_module.trials(again)[1].curve == (0.9, 0.5, 0.5)


def test_a_trial_that_diverges_fails_with_its_reason_and_the_study_goes_on(run, dataset, tmp_path):
    path = tmp_path / "space.toml"
    path.write_text("learning_rate = [1e30, 0.01]\n")
    code, out, _ = run(*tune(dataset, tmp_path / "study", "--n-trials", 6, "--n-epochs", 2, "--json", space_file=path))
    told = json.loads(out)
    assert code == 0
    for trial in told["trials"]:
        is_huge = trial["values"]["learning_rate"] > 1
        assert trial["state"] == ("failed" if is_huge else "complete")
        assert bool(trial["reason"]) == is_huge
    failed = next(trial for trial in told["trials"] if trial["state"] == "failed")
    assert "try a smaller --learning-rate" in failed["reason"]
    document = (tmp_path / "study" / "study.md").read_text()
    assert f"trial {failed['number']}: {failed['reason']}" in document

    path.write_text("learning_rate = [1e30, 1e31]\n")
    code, _, err = run(*tune(dataset, tmp_path / "none", "--n-trials", 2, "--n-epochs", 2, space_file=path))
    assert code == 2 and "no trial came to its end; the first failed: " in err


def test_values_that_do_not_go_together_fail_alone(dataset, tmp_path):
    """Each can be, but the convolution is longer than the drawing where both are at their ends."""
    declared = {"conv1": [[4, 3], [4, 40]], "max_padding": [30, 60], "n_epochs": 1}
    with pytest.raises(ConfigError, match="span 40 steps"):
        space.declare([MODEL], declared, {}, "x")
    declared["max_padding"] = [60, 30]
    search = started(dataset, tmp_path / "study", declared, n_trials=8)
    study_module.work(search)
    ended = study_module.trials(search)
    assert {trial.state for trial in ended} == {"complete", "failed"}
    for trial in ended:
        assert (trial.state == "failed") == (trial.values == {"conv1": (4, 40), "max_padding": 30})
        assert trial.state == "complete" or "span 40 steps" in trial.reason


# --- interruptions


def test_ctrl_c_keeps_the_study(run, dataset, space_file, tmp_path, monkeypatch):
    real = loop.train
    calls = []

    def train(*args, watcher, **options):
        calls.append(args)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*args, watcher=watcher, **options)

    monkeypatch.setattr(loop, "train", train)
    start = tune(dataset, tmp_path / "study", "--n-trials", 3, space_file=space_file)
    code, out, err = run(*start, "--json")
    assert code == 130 and "the same command with --resume goes on" in err
    told = json.loads(out)
    assert told["counts"] == {"complete": 1, "pruned": 0, "failed": 0, "waiting": 2}
    assert (tmp_path / "study" / "study.md").exists()

    code, out, err = run(*start, "--resume", "--json")
    assert code == 0 and "trial 1 goes on from its checkpoint" in err, err
    again = json.loads(out)
    assert again["counts"] == {"complete": 3, "pruned": 0, "failed": 0}
    assert again["trials"][1]["values"] == told["trials"][1]["values"]


def test_the_trial_of_a_worker_that_lives_is_left_alone(dataset, tmp_path, monkeypatch):
    """A worker takes the trial that another has only once nothing was heard of that for long."""
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: 0.5))
    monkeypatch.setattr(study_module, "POLL_S", 0.01)
    search = started(dataset, tmp_path / "study", n_trials=3)
    other = stored_study(tmp_path / "study").ask()
    other.set_user_attr("alive", time.time())
    waits: list[list[int]] = []
    until = time.monotonic() + 1
    study_module.work(
        search, WorkerWatcher(on_wait=waits.append, should_stop=lambda: bool(waits) and time.monotonic() > until)
    )
    assert waits == [[0]]
    assert [trial.state for trial in study_module.trials(search)] == ["running", "complete", "complete"]
    # Nor is one lost that was just taken up, whatever its last worker said.
    other.set_user_attr("alive", time.time() - study_module.LOST_S - 1)
    study_module.work(search, WorkerWatcher(should_stop=lambda: True))
    assert study_module.trials(search)[0].state == "running"
    monkeypatch.setattr(study_module, "LOST_S", 0.5)
    study_module.work(search)
    assert [trial.state for trial in study_module.trials(search)] == ["complete"] * 3


@pytest.fixture
def in_zone(monkeypatch) -> Iterator[Callable[[str], None]]:
    """Moves this process to a time zone, by its TZ."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


WEST, EAST = "west+12", "east-14"  # of Greenwich, by POSIX's sign


@pytest.mark.parametrize("zones", [(WEST, EAST), (EAST, WEST)])
def test_a_worker_in_another_time_zone_takes_lost_trials_alone(dataset, tmp_path, monkeypatch, in_zone, zones):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: 0.5))
    search = started(dataset, tmp_path / "study", n_trials=3)
    in_zone(zones[0])
    stored = stored_study(tmp_path / "study")
    lives, is_new, is_lost = (stored.ask() for _ in range(3))
    for trial, ago_s in ((lives, 0), (is_new, 1000), (is_lost, 1000)):  # the new one by a worker that lost it before
        trial.set_user_attr("alive", time.time() - ago_s)
    # Taken up so long ago; there is no other way to say it.
    with contextlib.closing(sqlite3.connect(tmp_path / "study" / "study.db")) as database, database:
        told = "UPDATE trials SET datetime_start = datetime(datetime_start, '-1000 seconds') WHERE number != 1"
        assert database.execute(told).rowcount == 2
    in_zone(zones[1])
    waits: list[list[int]] = []
    study_module.work(search, WorkerWatcher(on_wait=waits.append, should_stop=lambda: bool(waits)))
    assert waits == [[0, 1]]
    assert [trial.state for trial in study_module.trials(search)] == ["running", "running", "complete"]


def test_only_the_file_in_the_folder_needs_a_name_of_utf_8(tmp_path):
    folder = tmp_path / "\udce9"
    with pytest.raises(ConfigError, match="the name is no UTF-8"), storage_module.open_storage(folder, None):
        pass
    with storage_module.open_storage(folder, f"sqlite:///{tmp_path / 'study.db'}") as storage:
        assert not storage.get_all_studies()


@pytest.mark.parametrize("ago_s", [50, 70, 3599, 3650])
@pytest.mark.parametrize("begun", ["2025-10-26 00:30:00", "2025-10-26 01:30:00", "2025-10-26 03:00:00"])
def test_a_trial_taken_up_while_clocks_are_put_back_is_no_hour_old(
    dataset, tmp_path, monkeypatch, in_zone, begun, ago_s
):
    """Both of the first two times are half past two in Berlin."""
    search = started(dataset, tmp_path / "study", n_trials=1)
    in_zone("CET-1CEST,M3.5.0,M10.5.0/3")
    trial = stored_study(tmp_path / "study").ask()
    begun_s = datetime.fromisoformat(f"{begun}+00:00").timestamp()
    trial.set_user_attr("alive", begun_s - 1000)  # by the worker that lost it before
    with contextlib.closing(sqlite3.connect(tmp_path / "study" / "study.db")) as database, database:
        database.execute("UPDATE trials SET datetime_start = ?", (f"{begun}.000000",))
    monkeypatch.setattr(study_module, "time", SimpleNamespace(time=lambda: begun_s + ago_s))
    with storage_module.open_storage(search.folder, search.storage) as storage:
        study_module._free_lost(optuna.load_study(storage=storage, study_name="quickstroke"), storage)
    # Half past two summer time, an hour later, may be half past two for the minute until it is lost.
    is_again = begun.endswith("00:30:00") and ago_s == 3650
    assert study_module.trials(search)[0].state == ("running" if ago_s < study_module.LOST_S or is_again else "waiting")


def test_a_trial_killed_in_the_middle_is_gone_on_with_in_another_time_zone(
    run, dataset, space_file, tmp_path, monkeypatch, in_zone
):
    study = tmp_path / "study"
    start = tune(dataset, study, "--n-trials", 2, "--n-epochs", 20, "--pruner", "none", space_file=space_file)
    metrics = study / "trials" / "0" / "metrics.jsonl"
    in_zone(WEST)
    # Nice, so that it cannot be at its end before it is seen to have begun.
    command = ["nice", "-n", "19", sys.executable, "-m", "quickstroke", *start]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(process, lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 3)
        finally:
            process.kill()
    killed = runs.read_metrics(study / "trials" / "0")
    assert len(killed) < 20

    in_zone(EAST)
    monkeypatch.setattr(study_module, "LOST_S", 0.5)
    code, out, err = run(*start, "--resume", "--json")
    assert code == 0 and "trial 0 goes on from its checkpoint" in err
    told = json.loads(out)
    assert told["counts"] == {"complete": 2, "pruned": 0, "failed": 0}
    assert [trial["epochs"] for trial in told["trials"]] == [20, 20]
    assert sorted(path.name for path in (study / "trials").iterdir()) == ["0", "1"]
    after = runs.read_metrics(study / "trials" / "0")
    # The last line may be of an epoch that the checkpoint did not know yet: it was trained again, to the same losses.
    assert after[: len(killed) - 1] == killed[:-1] and len(after) == 20
    assert after[len(killed) - 1]["loss"] == killed[-1]["loss"]


def test_a_worker_whose_trial_was_taken_over_leaves_it(dataset, tmp_path, monkeypatch):
    search = started(dataset, tmp_path / "study", n_trials=1)
    ended: list[Trial] = []

    def taken_over(config, epoch):
        if epoch == 2 and not ended:
            monkeypatch.setattr(loop, "train", follow(lambda config, epoch: 0.5))
            stored = stored_study(tmp_path / "study")
            stored._storage.set_trial_state_values(stored.trials[0]._trial_id, state=optuna.trial.TrialState.WAITING)
            study_module.work(search, WorkerWatcher(on_end=ended.append))
        return 0.5

    monkeypatch.setattr(loop, "train", follow(taken_over))
    study_module.work(search, WorkerWatcher(on_end=ended.append))
    assert [trial.state for trial in ended] == ["complete"]


@pytest.mark.parametrize("end", ["write", "interrupted", "diverged"])
def test_a_worker_that_was_asleep_leaves_what_another_does_with_its_trial(dataset, tmp_path, monkeypatch, end):
    search = started(dataset, tmp_path / "study", n_trials=1)
    begun, written = [], []

    def asleep(model_config, config, data, into, *, watcher, **_):
        begun.append(into)
        watcher.on_start(State(), False)
        watcher.on_write()  # the trial is its own still
        stored = stored_study(tmp_path / "study")
        stored._storage.set_trial_user_attr(stored.trials[0]._trial_id, "worker", "another")
        if end == "interrupted":
            raise session.Interrupted(State())
        if end == "diverged":
            raise TrainingError("the loss is nan")
        watcher.on_write()
        written.append(into)

    monkeypatch.setattr(loop, "train", asleep)
    study_module.work(search, WorkerWatcher(should_stop=lambda: bool(begun)))
    assert begun and not written
    assert [trial.state for trial in study_module.trials(search)] == ["running"]


@pytest.mark.parametrize("take", [lambda: mmap.mmap(-1, 2**55), lambda: torch.empty(2**55, dtype=torch.uint8)])
def test_a_trial_without_memory_fails_and_the_search_goes_on(dataset, tmp_path, monkeypatch, take):
    monkeypatch.setattr(loop, "train", lambda *_, **__: take())
    search = started(dataset, tmp_path / "study", n_trials=2)
    study_module.work(search)
    assert [trial.state for trial in study_module.trials(search)] == ["failed", "failed"]


def test_an_error_that_is_not_the_trials_ends_the_work_and_the_trial_waits(dataset, tmp_path, monkeypatch):
    def full(*args, **options):
        raise RunError("no room")

    monkeypatch.setattr(loop, "train", full)
    search = started(dataset, tmp_path / "study", n_trials=2)
    with pytest.raises(RunError, match="no room"):
        study_module.work(search)
    assert [trial.state for trial in study_module.trials(search)] == ["waiting", "waiting"]


# --- several workers


def test_workers_on_one_storage_run_each_trial_once(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: config.learning_rate))
    monkeypatch.setattr(study_module, "POLL_S", 0.01)
    search = started(dataset, tmp_path / "study", {"learning_rate": [0.1, 0.2], "n_epochs": 1}, n_trials=16)
    begun: list[int] = []
    watcher = WorkerWatcher(lambda trial, resumed: begun.append(trial.number))
    workers = [threading.Thread(target=study_module.work, args=(search, watcher)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(begun) == list(range(16))
    assert [trial.number for trial in study_module.trials(search)] == list(range(16))


def test_two_workers_end_with_as_many_trials_as_asked_for(dataset, space_file, tmp_path, capfd):
    start = tune(dataset, tmp_path / "study", "--n-trials", 5, "--workers", 2, space_file=space_file)
    assert main([*start, "--json"]) == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert told["counts"]["complete"] == len(told["trials"]) == 5
    assert out.count("\n") == 1 and err.count("\nTrial ") + err.startswith("Trial ") == 5
    assert sorted(path.name for path in (tmp_path / "study" / "trials").iterdir()) == list("01234")
    stored = stored_study(tmp_path / "study")
    # Where both want the last trial at once Optuna makes another, which waits for a longer search.
    ended = [trial for trial in stored.trials if trial.state != TrialState.WAITING]
    assert [trial.number for trial in ended] == list(range(5))
    # Either may have had all of them: the first to be ready can be done before the other one is.
    workers = {int(trial.user_attrs["worker"].split()[1]) for trial in ended}
    assert len(workers) <= 2 and os.getpid() not in workers


def test_ctrl_c_stops_all_workers(dataset, space_file, tmp_path, capfd):
    study = tmp_path / "study"
    start = tune(dataset, study, "--n-trials", 4, "--n-epochs", 5000, "--workers", 2, space_file=space_file)
    seen: list[set[str]] = []

    def press() -> None:
        """Ctrl-C, which a terminal sends to all of its processes, once each worker has a trial."""
        deadline = time.monotonic() + TIMEOUT_S
        while not all((study / "trials" / n / "metrics.jsonl").exists() for n in "01") and time.monotonic() < deadline:
            time.sleep(0.02)
        stored = stored_study(study)
        seen.append({trial.user_attrs["worker"].split()[1] for trial in stored.trials[:2]})
        for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
            os.kill(process.pid, signal.SIGINT)

    hand = threading.Thread(target=press)
    hand.start()
    code = main(start)
    hand.join()
    out, err = capfd.readouterr()
    assert len(seen[0]) == 2
    assert code == 130 and "Traceback" not in err and "goes on" in err, err
    assert "0 complete, 0 pruned, 0 failed, 4 waiting" in out
