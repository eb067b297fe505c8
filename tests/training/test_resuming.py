"""A run goes on from wherever it was cut, to the same end; what does not belong to it is refused."""

import importlib
import json
from dataclasses import replace

import pytest
import torch
from small_runs import (
    CONFIG,
    MODEL,
    RECIPES,
    assert_equal_weights,
    assert_same_run,
    count_stops,
    patch_loss,
    stop_at,
    weights_of,
)

from quickstroke.artifacts import environment as environment_module
from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import PositionSplit
from quickstroke.errors import RunError
from quickstroke.preparation.prepare import prepare
from quickstroke.training.loop import train
from quickstroke.training.session import Interrupted, Watcher
from quickstroke.utils import files

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_cut_anywhere_goes_on_to_the_same_end(dataset, finished, tmp_path, recipe):
    """At every step of every epoch, and at every batch of every validation."""
    config = replace(CONFIG, recipe=recipe)
    asks = count_stops(dataset, config, tmp_path / "counted")
    assert asks == 2 * (4 + 1)
    for n in range(1, asks + 1):
        folder = tmp_path / str(n)
        with pytest.raises(Interrupted, match=r"interrupted in epoch [12], after [1-4] steps") as interrupted:
            train(MODEL, config, dataset, folder, watcher=stop_at(n))
        epoch, ask = divmod(n - 1, 4 + 1)
        assert (interrupted.value.state.epoch, interrupted.value.state.step) == (epoch, min(ask + 1, 4))
        starts = []
        watcher = Watcher(on_start=lambda state, resumed, to=starts: to.append((state.epoch, state.step, resumed)))
        state = train(MODEL, config, dataset, folder, resume=True, watcher=watcher)
        assert starts == [(epoch, min(ask + 1, 4), True)]
        assert state.epoch == 2
        assert_same_run(folder, finished[recipe])


def test_a_run_cut_again_and_again_comes_to_the_same_end(dataset, finished, tmp_path):
    folder = tmp_path / "run"
    for _ in range(30):
        try:
            train(MODEL, CONFIG, dataset, folder, resume=True, watcher=stop_at(3))
        except Interrupted:
            continue
        break
    else:
        pytest.fail("it never ended")
    assert_same_run(folder, finished["default"])


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


WRITERS = {
    "write_config": "quickstroke.artifacts.runs",
    "write_environment": "quickstroke.artifacts.environment",
    "save_weights": "quickstroke.artifacts.weight_files",
    "save_checkpoint": "quickstroke.training.checkpoint",
    "write_metrics": "quickstroke.artifacts.runs",
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_run_killed_at_any_write_goes_on_to_the_same_end(dataset, finished, tmp_path, monkeypatch, writer, when):
    calls = []
    write = getattr(importlib.import_module(WRITERS[writer]), writer)

    def killing(at):
        def wrapped(*args):
            calls.append(at)
            if when == "before" and len(calls) == at:
                raise Killed
            write(*args)
            if when == "after" and len(calls) == at:
                raise Killed

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(f"{WRITERS[writer]}.{writer}", killing(None))
        train(MODEL, CONFIG, dataset, tmp_path / "counted")
    n_calls = len(calls)
    assert n_calls >= (1 if writer in ("write_config", "write_environment") else 2)
    for at in range(1, n_calls + 1):
        folder = tmp_path / str(at)
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(f"{WRITERS[writer]}.{writer}", killing(at))
            with pytest.raises(Killed):
                train(MODEL, CONFIG, dataset, folder)
        train(MODEL, CONFIG, dataset, folder, resume=True)
        assert_same_run(folder, finished["default"])


def test_what_a_kill_leaves_half_written_is_no_harm(dataset, finished, tmp_path):
    """A kill amid a write leaves the temporary file behind, and the file before it whole."""
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(MODEL, CONFIG, dataset, folder, watcher=stop_at(5))
    for name in ("last.ckpt", "best.model", "metrics.jsonl", "config.json"):
        (folder / f".{name}.{files._machine()}.01234567.tmp").write_bytes(b"half of it")
    (folder / ".notes.tmp").write_bytes(b"of somebody else")
    (folder / ".folder.tmp").mkdir()
    (folder / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')  # of an epoch without its checkpoint
    seen = []
    watcher = Watcher(on_start=lambda state, resumed: seen.append(len(runs.read_metrics(folder))))
    train(MODEL, CONFIG, dataset, folder, resume=True, watcher=watcher)
    assert seen == [0]
    assert {path.name for path in folder.glob(".*")} == {".notes.tmp", ".folder.tmp"}
    assert_same_run(folder, finished["default"])


def test_resuming_a_finished_run_does_nothing(dataset, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(MODEL, CONFIG, dataset, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    patch_loss(monkeypatch, lambda step, loss: pytest.fail("it trained"))
    starts = []
    watcher = Watcher(on_start=lambda state, resumed: starts.append((state.epoch, resumed)))
    state = train(MODEL, CONFIG, dataset, folder, resume=True, watcher=watcher)
    assert starts == [(2, True)] and state.epoch == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("recipe", RECIPES)
def test_more_epochs_go_on_from_the_end(dataset, finished, tmp_path, recipe):
    config = replace(CONFIG, recipe=recipe)
    train(MODEL, replace(config, n_epochs=1), dataset, tmp_path / "run")
    train(MODEL, config, dataset, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", finished[recipe])


def test_resuming_without_a_checkpoint_starts_anew(dataset, finished, tmp_path):
    for name in ("missing", "empty"):
        folder = tmp_path / name
        if name == "empty":
            folder.mkdir()
        starts = []
        watcher = Watcher(on_start=lambda state, resumed, to=starts: to.append((state, resumed)))
        with pytest.raises(Interrupted):
            train(MODEL, CONFIG, dataset, folder, resume=True, watcher=replace(watcher, should_stop=lambda: True))
        assert [resumed for _, resumed in starts] == [False]
        (folder / "last.ckpt").unlink()
        train(MODEL, CONFIG, dataset, folder, resume=True, watcher=watcher)
        assert [resumed for _, resumed in starts] == [False, False]
        assert_same_run(folder, finished["default"])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"batch_size": 16}, "batch_size"),
        ({"learning_rate": 0.5}, "learning_rate"),
        ({"recipe": "2020"}, "reading|recipe"),
        ({"seed": 3}, "seed"),
        ({"max_padding": 20}, "max_padding"),
        ({"n_epochs": 1}, "n_epochs"),
    ],
)
def test_other_options_do_not_resume(dataset, finished, change, key):
    folder = finished["default"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match=f"was started with ({key}) = "):
        train(MODEL, replace(CONFIG, **change), dataset, folder, resume=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_all_options_that_differ_from_the_run_are_told_at_once(dataset, finished):
    other = replace(CONFIG, batch_size=16, optimizer="muon", seed=5)
    told = "batch_size = 32, optimizer = 'adam', seed = 0, cannot resume with 16, 'muon', 5"
    with pytest.raises(RunError, match=f"was started with {told}"):
        train(MODEL, other, dataset, finished["default"], resume=True)


def test_what_patience_ended_goes_on_with_more_of_it(dataset, tmp_path):
    config = replace(CONFIG, n_epochs=4, patience=1, learning_rate=1e-12)
    assert train(MODEL, config, dataset, tmp_path / "run").epoch == 2
    assert train(MODEL, replace(config, patience=2), dataset, tmp_path / "run", resume=True).epoch == 3
    assert runs.read_config(tmp_path / "run").train.patience == 2
    assert train(MODEL, replace(config, patience=0), dataset, tmp_path / "run", resume=True).epoch == 4


def test_another_model_other_classes_or_data_do_not_resume(dataset, finished, binary_folder, tmp_path):
    folder = finished["default"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match="model name"):
        train(ModelConfig.from_name("simple_lay1_sz5"), CONFIG, dataset, folder, resume=True)
    with pytest.raises(RunError, match="model name"):
        train(ModelConfig.from_name("bipool_img2_lay1_sz4"), CONFIG, dataset, folder, resume=True)
    with pytest.raises(RunError, match="classes"):
        train(MODEL, CONFIG, dataset, folder, resume=True, train_classes=("star", "house", "circle"))
    prepare(binary_folder, tmp_path / "other", split=PositionSplit(39, 10, 10))
    with pytest.raises(RunError, match="dataset"):
        train(MODEL, CONFIG, PreparedDataset(tmp_path / "other"), folder, resume=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_same_dataset_prepared_elsewhere_resumes(dataset, finished, binary_folder, tmp_path):
    prepare(binary_folder, tmp_path / "moved", split=PositionSplit(40, 10, 10))
    with pytest.raises(Interrupted):
        train(MODEL, CONFIG, dataset, tmp_path / "run", watcher=stop_at(3))
    train(MODEL, CONFIG, PreparedDataset(tmp_path / "moved"), tmp_path / "run", resume=True)
    assert_equal_weights(weights_of(tmp_path / "run" / "last.model"), weights_of(finished["default"] / "last.model"))
    assert runs.read_config(tmp_path / "run").data["path"] == str(tmp_path / "moved")


def test_an_existing_run_is_not_touched_without_resume(dataset, finished):
    folder = finished["default"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match="exists already; give --resume"):
        train(MODEL, CONFIG, dataset, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_is_no_run_folder(dataset, tmp_path):
    path = tmp_path / "run"
    path.write_text("precious")
    for resume in (False, True):
        with pytest.raises(RunError, match="is a file"):
            train(MODEL, CONFIG, dataset, path, resume=resume)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("damage", ["half", "newer", "no config", "damaged config"])
def test_a_damaged_run_does_not_resume(dataset, tmp_path, damage):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(MODEL, CONFIG, dataset, folder, watcher=stop_at(2))
    path = folder / "last.ckpt"
    if damage == "half":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "newer":
        torch.save(torch.load(path, weights_only=True) | {"version": 2}, path)
    elif damage == "no config":
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text("{")
    expected = {
        "half": "damaged checkpoint",
        "newer": "version 2",
        "no config": r"no config\.json",
        "damaged config": r"config\.json: damaged",
    }
    with pytest.raises(RunError, match=expected[damage]):
        train(MODEL, CONFIG, dataset, folder, resume=True)


def test_a_run_keeps_the_precision_that_it_began_with(dataset, tmp_path):
    """What `auto` means may be another thing where a run is resumed; the run's own choice holds."""
    config = replace(CONFIG, precision="bfloat16")
    train(MODEL, config, dataset, tmp_path / "whole")
    train(MODEL, replace(config, n_epochs=1), dataset, tmp_path / "cut")
    train(MODEL, replace(config, precision="auto"), dataset, tmp_path / "cut", resume=True)
    assert runs.read_config(tmp_path / "cut").train.precision == "bfloat16"
    assert_equal_weights(weights_of(tmp_path / "cut" / "last.model"), weights_of(tmp_path / "whole" / "last.model"))


def test_resuming_tells_both_commands_and_removes_what_a_kill_left(dataset, tmp_path):
    train(MODEL, replace(CONFIG, n_epochs=1), dataset, tmp_path / "run", command=["quickstroke", "train", "first"])
    leftover = tmp_path / "run" / f".last.ckpt.{files._machine()}.01234567.tmp"
    leftover.write_bytes(b"half")
    train(MODEL, CONFIG, dataset, tmp_path / "run", resume=True, command=["quickstroke", "train", "second"])
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["command"] == ["quickstroke", "train", "second"]
    assert environment["earlier_commands"] == [["quickstroke", "train", "first"]]
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        (["train a --n-epochs 2"], "train a --n-epochs 2"),
        (["train a --n-epochs 2", "train a --n-epochs 2 --resume"], "train a --n-epochs 2"),
        (["train a --n-epochs 2 --resume", "train a --resume --n-epochs 2"], "train a --n-epochs 2"),
        (["train a --dropout 0.2", "train a --resume"], "train a --dropout 0.2 && train a --resume"),
        (
            ["train a --dropout 0.2", "train a --resume --n-epochs 3", "train a --dropout 0.2 --resume"],
            "train a --dropout 0.2 && train a --resume --n-epochs 3",
        ),
    ],
)
def test_commands_that_went_on_with_other_options_are_told(tmp_path, commands, told):
    for command in commands:
        environment_module.write_environment(tmp_path, command.split())
    assert environment_module.command_of(tmp_path) == told


def test_commands_before_a_training_without_one_are_kept(tmp_path):
    for command in (["quickstroke", "train", "a"], [], ["quickstroke", "train", "b"]):
        environment_module.write_environment(tmp_path, command)
    assert environment_module.read_environment(tmp_path)["earlier_commands"] == [["quickstroke", "train", "a"]]


def test_a_training_from_python_has_no_command(dataset, tmp_path, monkeypatch):
    """A notebook's own command line is none that trains the same, and tells where its user's files are."""
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "/home/somebody/kernel.json"])
    train(MODEL, replace(CONFIG, n_epochs=1), dataset, tmp_path / "run")
    assert environment_module.command_of(tmp_path / "run") == ""
