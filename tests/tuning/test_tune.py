"""A search: what may be declared, what is tried and by whom, what a kill leaves, and what is told at the end."""

import contextlib
import json
import multiprocessing
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from quickstroke.artifacts import environment, runs
from quickstroke.cli import main
from quickstroke.config.recipes import RECIPES
from quickstroke.data.splits import PositionSplit
from quickstroke.errors import ConfigError, ModelNameError, RunError, TrainingError
from quickstroke.preparation.prepare import prepare
from quickstroke.reports import plots
from quickstroke.training import loop, session
from quickstroke.training.checkpoint import State
from quickstroke.tuning import report as tuning_report
from quickstroke.tuning import space
from quickstroke.tuning import storage as storage_module
from quickstroke.tuning import study as study_module
from quickstroke.tuning.study import Search, Trial, WorkerWatcher
from quickstroke.utils.files import write_text

MODEL = "simple_lay1_sz8"
# Of another process, on a machine that has much else to do.
TIMEOUT_S = 600
ROOT = Path(__file__).resolve().parents[2]
SPACE = "learning_rate = { low = 0.001, high = 0.1, log = true }\nbatch_size = [16, 32]\n"


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Drawing takes longer than a search as short as these: only searches of `study` draw."""
    if "study" not in request.fixturenames:
        monkeypatch.setattr(plots, "write_picture", lambda path, draw: write_text(path, ""))


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line in this process: exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def go(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


@pytest.fixture(scope="module")
def space_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(SPACE)
    return path


def tune(dataset, into, *options, space_file=None) -> list[str]:
    """The words of a short search."""
    declared = [] if space_file is None else ["--space", space_file]
    words = ["tune", MODEL, "--data", dataset.path, "--into", into, "--n-epochs", 1, "--device", "cpu", *declared]
    return [str(word) for word in (*words, *options)]


@pytest.fixture(scope="module")
def study(dataset, space_file, tmp_path_factory) -> Path:
    """A study of three trials of an epoch, trained."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    assert main(tune(dataset, folder, "--n-trials", 3, space_file=space_file)) == 0
    return folder


def search_of(dataset, folder, declared=None, n_trials=4, **changes) -> Search:
    declared = declared or {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": 3}
    return Search(
        space=space.declare([MODEL], declared, {}, "x"),
        data=str(dataset.path),
        classes=None,
        folder=folder,
        **{"storage": None, "n_trials": n_trials, "pruner": "median", "seed": 0, **changes},
    )


def follow(curve):
    """A `loop.train` that trains nothing: its validation top-1 follows `curve(config, epoch)`."""

    def train(model_config, config, data, into, *, watcher, **_):
        metrics = []
        watcher.on_start(State(), False)
        for epoch in range(1, config.n_epochs + 1):
            metrics.append({"epoch": epoch, "val_top1": curve(config, epoch)})
            if watcher.should_stop():
                raise session.Interrupted(State())
            watcher.on_epoch(metrics[-1])
        return State(epoch=config.n_epochs, best=max(line["val_top1"] for line in metrics))

    return train


def wait_for(process, is_true) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def one_line(result, *parts: str) -> None:
    code, _, err = result
    lines = err.strip().splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("quickstroke tune: "), err
    for part in parts:
        assert part in lines[0]


# --- the space


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"lr": 1}, "x.toml: unknown key 'lr'; expected augment, augment_magnitude"),
        ({"bidirectional": [True, False]}, "unknown key 'bidirectional'"),
        ({"batch_size": "many"}, "x.toml: batch_size should be int, got 'many'"),
        ({"batch_size": {"low": 1.5, "high": 3}}, "x.toml: batch_size: low should be int, got 1.5"),
        ({"dropout": {"low": 0.3, "high": 0.1}}, "dropout: an empty range: low should be below high, got 0.3 and 0.1"),
        ({"dropout": {"low": 0.3}}, "dropout: a range needs 'high'"),
        ({"dropout": {"low": 0, "high": float("nan")}}, "dropout: high should be a finite number"),
        ({"dropout": {"low": 0, "high": 0.5, "lgo": True}}, "dropout: unknown 'lgo' in a range"),
        ({"dropout": {"low": 0, "high": 0.5, "log": 1}}, "dropout: log should be true or false"),
        ({"dropout": {"low": 0, "high": 0.5, "log": True}}, "dropout: low should be above 0 where log = true"),
        ({"dropout": {"low": 0, "high": 0.5, "step": 0.6}}, "dropout: step should be above 0 and at most"),
        ({"dropout": {"low": 0.1, "high": 0.5, "step": 0.1, "log": True}}, "dropout: step does not go with log"),
        ({"dropout": {"low": 0, "high": 1.5}}, "x.toml: dropout should be from 0 to below 1, got 1.5"),
        ({"dropout": [0.1, 2]}, "x.toml: dropout should be from 0 to below 1, got 2"),
        ({"dropout": []}, "dropout: an empty list"),
        ({"dropout": [0.1, 0.1]}, "dropout: 0.1 stands there twice"),
        ({"dropout": [0.1, "much"]}, "dropout: should be a finite number, got 'much'"),
        ({"schedule": {"low": 1, "high": 2}}, "schedule: a range is for numbers"),
        ({"n_layers": {"low": 0, "high": 2}}, "n_layers should be above 0, got 0"),
        ({"conv1": [[8, 5], [8]]}, "conv1: should be"),
        ({"image": [8, 16]}, "x.toml: image = 8: an image needs readout 'pool'"),
        ({"batch_size": [64, 128], "dropout": 2}, "x.toml: dropout should be from 0 to below 1, got 2"),
        ({"batch_size": 64}, "x.toml: every value is fixed"),
        ({}, "every value is fixed"),
    ],
)
def test_a_space_that_cannot_be_is_refused(declared, message):
    with pytest.raises(ConfigError) as error:
        space.declare([MODEL], declared, {}, "x.toml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_space_needs_models():
    with pytest.raises(ConfigError, match="no model to try"):
        space.declare([], space.DEFAULT, {}, "x")
    with pytest.raises(ModelNameError, match="'nonsense'"):
        space.declare([MODEL, "nonsense"], space.DEFAULT, {}, "x")
    with pytest.raises(ConfigError, match="twice"):
        space.declare([MODEL, MODEL], space.DEFAULT, {}, "x")


def test_values_make_a_model_and_a_training():
    declared = {
        "recipe": ["default", "strong"],
        "n_layers": {"low": 1, "high": 3},
        "conv1": [[8, 5], [16, 5]],
        "dropout": {"low": 0, "high": 0.45, "step": 0.1},
        "batch_size": {"low": 16, "high": 64},
        "max_grad_norm": 1,
    }
    searched = space.declare(["simple_lay1_sz8", "bilstm_lay1_sz16"], declared, {"batch_size": 7}, "x")
    assert searched.fixed == {"max_grad_norm": 1, "batch_size": 7}  # given on the command line, so no longer tried
    assert set(searched.tuned) == {"model", "recipe", "n_layers", "conv1", "dropout"}
    assert searched.tuned["dropout"].high == pytest.approx(0.4)
    values = {"model": "bilstm_lay1_sz16", "recipe": "strong", "n_layers": 2, "conv1": (16, 5), "dropout": 0.1}
    model_config, config = searched.trial(values)
    assert model_config.name == "bilstm_cv1_16_5_lay2_sz16"
    assert (config.batch_size, config.max_grad_norm, config.dropout) == (7, 1, 0.1)
    assert config.ema_decay == RECIPES["strong"]["ema_decay"]


def test_an_image_may_be_of_several_sizes():
    searched = space.declare(["bipool_lay1_sz8"], {"image": [8, 16]}, {}, "x")
    model_config, _ = searched.trial({"image": 16})
    assert model_config.name == "bipool_img16_lay1_sz8"


def test_a_study_of_another_version_with_other_recipes_is_not_gone_on_with():
    spec = space.declare([MODEL], space.DEFAULT, {}, "x").to_json()
    assert spec["recipes"] == {"default": RECIPES["default"]}
    before = {key: value for key, value in spec.items() if key != "recipes"}
    with pytest.raises(RunError, match=r"was started with recipes = None, cannot go on with \{'default'"):
        study_module._check_same(Path("study"), spec, before)


def test_a_space_may_name_a_former_recipe():
    for former, now, n_layers in (("seed", "2020", 1), ("quick", "default", 2)):
        searched = space.declare(["simple_lay1_sz8"], {"recipe": former, "n_layers": [1, 2]}, {}, "x")
        model_config, config = searched.trial({"n_layers": n_layers})
        assert (config.recipe, config.n_epochs, model_config.n_layers) == (now, 10 if now == "2020" else 4, n_layers)


def test_the_default_space_fits_every_recipe():
    for recipe in RECIPES:
        assert space.declare([MODEL], space.DEFAULT, {"recipe": recipe}, "x").tuned.keys() == space.DEFAULT.keys()


@pytest.mark.parametrize("text", ["batch_size = [", "batch_size = [16, 32]\nbatch_size = 1\n"])
def test_a_file_that_is_no_toml_is_named(run, dataset, tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    one_line(run(*tune(dataset, tmp_path / "study", space_file=path)), "space.toml: cannot be read as TOML")
    one_line(run(*tune(dataset, tmp_path / "study", space_file=tmp_path / "no.toml")), "no.toml", "No such file")
    assert not (tmp_path / "study").exists()


# --- a study by the command line


def test_trials_are_runs_that_report_and_publish_take(run, study, tmp_path):
    assert sorted(path.name for path in (study / "trials").iterdir()) == ["0", "1", "2"]
    for folder in (study / "trials").iterdir():
        assert len(runs.read_metrics(folder)) == 1
        command = environment.command_of(folder)
        assert command.startswith(f"quickstroke train {MODEL} --data ") and f"--into {folder}" in command
    assert run("report", study / "trials" / "1", "--into", tmp_path / "r.md", "--no-mistakes")[0] == 0
    assert run("publish", study / "trials" / "1", "--into", tmp_path / "set")[0] == 0
    card = json.loads((tmp_path / "set" / f"{MODEL}.json").read_text())
    assert card["command"].startswith(f"quickstroke train {MODEL} ")


def test_what_is_told_at_the_end(run, study, dataset, space_file):
    code, out, err = run(*tune(dataset, study, "--n-trials", 3, "--resume", "--json", space_file=space_file))
    assert code == 0 and err.startswith("3 of 3 trials have ended\n")
    told = json.loads(out)
    assert told["counts"] == {"complete": 3, "pruned": 0, "failed": 0}
    best = told["best"]
    assert best["val_top1"] == max(trial["val_top1"] for trial in told["trials"])
    assert best["val_top1"] == pytest.approx(runs.read_metrics(Path(best["run"]))[0]["val_top1"], rel=1e-5)
    table = [line.split() for line in err.splitlines()[2:6]]
    assert table[0] == ["trial", "val", "top-1", "epochs", "state", "learning_rate", "batch_size"]
    assert table[1][:2] == [str(best["number"]), f"{best['val_top1']:.2%}"]
    assert "3 complete, 0 pruned, 0 failed" in err

    document = (study / "study.md").read_text()
    for name in ("history.svg", "slices.svg"):
        assert (study / "study_files" / name).read_bytes().startswith(b"<?xml")
        assert f"(study_files/{name})" in document
    assert "| `learning_rate` | 0.001 to 0.1 (log) |" in document and told["command"] in document
    assert str(table[1][5]) in document


def test_the_command_repeats_the_best_trial(run, study, dataset, space_file, tmp_path):
    told = json.loads(run(*tune(dataset, study, "--n-trials", 3, "--resume", "--json", space_file=space_file))[1])
    words = shlex.split(told["command"])
    assert words[:2] == ["quickstroke", "train"]
    words[words.index("--into") + 1] = str(tmp_path / "again")
    assert words[words.index("--n-epochs") + 1] == "4"
    words[words.index("--n-epochs") + 1] = "1"  # a cosine over four begins otherwise
    assert run(*words[1:])[0] == 0
    assert runs.read_metrics(tmp_path / "again")[0]["val_top1"] == pytest.approx(told["best"]["val_top1"], rel=1e-5)


def test_a_study_goes_on_to_more_trials_as_if_it_had_never_ended(run, dataset, space_file, study, tmp_path):
    whole = tmp_path / "whole"
    assert run(*tune(dataset, whole, "--n-trials", 2, space_file=space_file))[0] == 0
    code, out, err = run(*tune(dataset, whole, "--n-trials", 3, "--resume", space_file=space_file))
    assert code == 0 and "2 of 3 trials have ended" in err
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("Trial")] == ["Trial 2"]
    for number in range(3):
        first, again = (runs.read_config(folder / "trials" / str(number)).train for folder in (study, whole))
        assert first == again
    other = tmp_path / "other"
    assert run(*tune(dataset, other, "--n-trials", 1, "--seed", 1, space_file=space_file))[0] == 0
    assert runs.read_config(other / "trials" / "0").train.learning_rate != first.learning_rate


def test_only_the_same_search_goes_on(run, dataset, binary_folder, study, space_file, tmp_path):
    start = tune(dataset, study, "--n-trials", 3, space_file=space_file)
    one_line(run(*start), "has a study already; give --resume")
    one_line(run(*start, "--resume", "--dropout", 0.1), "was started with fixed dropout = None, cannot go on with 0.1")
    one_line(run(*start, "--resume", "--pruner", "none"), "pruner = 'median', cannot go on with 'none'")
    one_line(run(*start, "--resume", "--train-classes", "star", "house"), "classes = ['circle', 'house', 'star']")
    one_line(run(*tune(dataset, study, "--resume")), "was started with tuned batch_size = [16, 32]")
    prepare(binary_folder, tmp_path / "data", split=PositionSplit(30, 10, 10))
    start[start.index("--data") + 1] = str(tmp_path / "data")
    one_line(run(*start, "--resume"), "manifest_sha256 of the dataset")
    one_line(run(*tune(dataset, tmp_path, space_file=space_file)), "exists already and holds no study")


def test_wrong_options_are_one_line(run, dataset, tmp_path):
    into = tmp_path / "study"
    one_line(run(*tune(dataset, into, "--n-trials", 0)), "n_trials should be above 0")
    one_line(run(*tune(dataset, into, "--workers", 0)), "workers should be above 0")
    one_line(run(*tune(dataset, into, "--train-classes", "tsar")), "'tsar'")
    one_line(run("tune", "--data", dataset.path, "--into", into), "no model to try")
    one_line(run("tune", "nonsense", "--data", dataset.path, "--into", into), "'nonsense' is no model name")
    one_line(run("tune", MODEL, "--data", tmp_path / "none", "--into", into), "none")
    assert not into.exists()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("nonsense", ["--storage: the storage cannot be used", "URL"]),
        ("sqlite://", ["sqlite://: a study needs a file"]),
        ("sqlite:////no/such/folder/study.db", ["unable to open database file"]),
        ("postgresql+nodriver://me:secret@localhost/db", ["storage"]),
        ("mysql+pymysql://me:secret@localhost/db", ["mysql+pymysql", "not installed", "pymysql"]),
    ],
)
def test_a_storage_that_cannot_be_used_is_named_without_its_password(run, dataset, tmp_path, url, parts):
    result = run(*tune(dataset, tmp_path / "study", "--storage", url))
    one_line(result, *parts)
    assert "secret" not in result[2]


def test_a_file_that_is_no_database_is_the_users_mistake(run, dataset, tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    one_line(run(*tune(dataset, tmp_path, "--resume")), "study.db: the storage cannot be used: file is not a database")


@pytest.mark.parametrize(("module", "extra"), [("optuna", "tune"), ("matplotlib", "report")])
def test_without_the_extra_it_is_told_how_to_install_it(run, dataset, tmp_path, monkeypatch, module, extra):
    for name in [name for name in sys.modules if name.partition(".")[0] in (module, "quickstroke") and "tun" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    one_line(run(*tune(dataset, tmp_path / "study")), f"pip install 'quickstroke[{extra}]'")
    assert run("tune", "--help")[0] == 0


def test_the_help_is_what_the_documentation_shows(run, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    code, out, _ = run("tune", "--help")
    documented = " ".join((ROOT / "docs" / "cli.md").read_text().split())  # which breaks long lines
    assert code == 0 and f"## quickstroke tune ```text {' '.join(out.split())} ```" in documented
    for key, domain in space.declare([MODEL], space.DEFAULT, {}, "x").tuned.items():
        assert f"{key} {domain}" in " ".join(out.replace("│", " ").split())


# --- how trials end


def test_a_trial_worse_than_the_median_is_cut_short(dataset, tmp_path, monkeypatch):
    """The five first, all good, are complete; of those after them, each bad one ends with its first epoch."""
    search = search_of(dataset, tmp_path / "study", n_trials=16)
    numbers: list[int] = []
    bad = {6, 8, 13}
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: (0.1 if numbers[-1] in bad else 0.8) * epoch / 3))
    study_module.start(search, resume=False)
    study_module.work(search, WorkerWatcher(lambda trial, resumed: numbers.append(trial.number)))
    states = {trial.number: (trial.state, len(trial.curve)) for trial in study_module.trials(search)}
    assert states == {n: ("pruned", 1) if n in bad else ("complete", 3) for n in range(16)}


def test_nothing_is_cut_short_without_a_pruner_or_in_the_last_epoch(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: config.learning_rate))
    for pruner, n_epochs in (("none", 3), ("median", 1)):
        declared = {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": n_epochs}
        search = search_of(dataset, tmp_path / pruner, declared, n_trials=12, pruner=pruner)
        study_module.start(search, resume=False)
        study_module.work(search)
        assert {trial.state for trial in study_module.trials(search)} == {"complete"}


def test_hyperband_cuts_short(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: config.learning_rate * epoch))
    declared = {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": [9, 27]}
    search = search_of(dataset, tmp_path / "study", declared, n_trials=20, pruner="hyperband")
    study_module.start(search, resume=False)
    study_module.work(search)
    assert Counter(trial.state for trial in study_module.trials(search))["pruned"] > 5


def test_the_value_is_the_best_of_the_epochs_and_is_maximised(dataset, tmp_path, monkeypatch):
    curve = [0.0, 0.2, 0.7, 0.4]
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: curve[epoch]))
    search = search_of(dataset, tmp_path / "study", n_trials=1)
    study_module.start(search, resume=False)
    study_module.work(search)
    (trial,) = study_module.trials(search)
    assert trial.curve == (0.2, 0.7, 0.7) and trial.value == 0.7
    stored = optuna.load_study(storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}", study_name="quickstroke")
    assert stored.best_value == 0.7 and stored.direction == optuna.study.StudyDirection.MAXIMIZE


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
    search = search_of(dataset, tmp_path / "study", declared, n_trials=8)
    study_module.start(search, resume=False)
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
    search = search_of(dataset, tmp_path / "study", n_trials=3)
    study_module.start(search, resume=False)
    url = f"sqlite:///{tmp_path / 'study' / 'study.db'}"
    other = optuna.load_study(storage=url, study_name="quickstroke").ask()
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
    search = search_of(dataset, tmp_path / "study", n_trials=3)
    study_module.start(search, resume=False)
    url = f"sqlite:///{tmp_path / 'study' / 'study.db'}"
    in_zone(zones[0])
    stored = optuna.load_study(storage=url, study_name="quickstroke")
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


@pytest.mark.parametrize("ago_s", [50, 70, 3599, 3650])
@pytest.mark.parametrize("begun", ["2025-10-26 00:30:00", "2025-10-26 01:30:00", "2025-10-26 03:00:00"])
def test_a_trial_taken_up_while_clocks_are_put_back_is_no_hour_old(
    dataset, tmp_path, monkeypatch, in_zone, begun, ago_s
):
    """Both of the first two times are half past two in Berlin."""
    search = search_of(dataset, tmp_path / "study", n_trials=1)
    study_module.start(search, resume=False)
    in_zone("CET-1CEST,M3.5.0,M10.5.0/3")
    trial = optuna.load_study(storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}", study_name="quickstroke").ask()
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
    search = search_of(dataset, tmp_path / "study", n_trials=1)
    study_module.start(search, resume=False)
    ended: list[Trial] = []

    def taken_over(config, epoch):
        if epoch == 2 and not ended:
            monkeypatch.setattr(loop, "train", follow(lambda config, epoch: 0.5))
            url = f"sqlite:///{tmp_path / 'study' / 'study.db'}"
            stored = optuna.load_study(storage=url, study_name="quickstroke")
            stored._storage.set_trial_state_values(stored.trials[0]._trial_id, state=optuna.trial.TrialState.WAITING)
            study_module.work(search, WorkerWatcher(on_end=ended.append))
        return 0.5

    monkeypatch.setattr(loop, "train", follow(taken_over))
    study_module.work(search, WorkerWatcher(on_end=ended.append))
    assert [trial.state for trial in ended] == ["complete"]


@pytest.mark.parametrize("end", ["write", "interrupted", "diverged"])
def test_a_worker_that_was_asleep_leaves_what_another_does_with_its_trial(dataset, tmp_path, monkeypatch, end):
    search = search_of(dataset, tmp_path / "study", n_trials=1)
    study_module.start(search, resume=False)
    url = f"sqlite:///{tmp_path / 'study' / 'study.db'}"
    begun, written = [], []

    def asleep(model_config, config, data, into, *, watcher, **_):
        begun.append(into)
        watcher.on_start(State(), False)
        watcher.on_write()  # the trial is its own still
        stored = optuna.load_study(storage=url, study_name="quickstroke")
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


def test_an_error_that_is_not_the_trials_ends_the_work_and_the_trial_waits(dataset, tmp_path, monkeypatch):
    def full(*args, **options):
        raise RunError("no room")

    monkeypatch.setattr(loop, "train", full)
    search = search_of(dataset, tmp_path / "study", n_trials=2)
    study_module.start(search, resume=False)
    with pytest.raises(RunError, match="no room"):
        study_module.work(search)
    assert [trial.state for trial in study_module.trials(search)] == ["waiting", "waiting"]


# --- several workers


def test_workers_on_one_storage_run_each_trial_once(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", follow(lambda config, epoch: config.learning_rate))
    monkeypatch.setattr(study_module, "POLL_S", 0.01)
    search = search_of(dataset, tmp_path / "study", {"learning_rate": [0.1, 0.2], "n_epochs": 1}, n_trials=16)
    study_module.start(search, resume=False)
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
    stored = optuna.load_study(storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}", study_name="quickstroke")
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
        stored = optuna.load_study(storage=f"sqlite:///{study / 'study.db'}", study_name="quickstroke")
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


# --- tables


def test_tables_put_the_best_first():
    trials = [
        Trial(number=0, state="pruned", values={}, curve=(0.9,)),
        Trial(number=1, state="complete", values={}, curve=(0.1, 0.2)),
        Trial(number=2, state="failed", values={}, reason="nan"),
        Trial(number=3, state="complete", values={}, curve=(0.3,)),
        Trial(number=4, state="waiting", values={}),
    ]
    assert [trial.number for trial in tuning_report.ranked(trials)] == [3, 1, 0, 2, 4]
    assert tuning_report.best(trials).number == 3 and tuning_report.best(trials[2:3]) is None
    assert tuning_report.told_counts(trials) == "2 complete, 1 pruned, 1 failed, 1 waiting"
    assert tuning_report.format_table([("a", "bb"), ("ccc", "d")]) == "  a  bb\nccc   d"
