"""Training: it repeats itself bit for bit, goes on from wherever it was cut, learns, and stops when it cannot go on.

`python tests/training/test_loop.py` writes the golden loss curves again, after a change that is meant to change them.
"""

import hashlib
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from quickstroke.artifacts import environment as environment_module
from quickstroke.artifacts import loading, runs
from quickstroke.artifacts.loading import load_model
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, batches, selection
from quickstroke.data.augmentation import Augmentation
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings, check_counts
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import CategoryError, ConfigError, DatasetError, RunError, TrainingError, WeightsError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.formats import binary
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.models.statistics import reestimate_batchnorm
from quickstroke.preparation.prepare import prepare
from quickstroke.runtime import device
from quickstroke.runtime.distributed import ALONE
from quickstroke.training import checkpoint as checkpoint_module
from quickstroke.training import distillation, feed, loop, schedule
from quickstroke.training import optimizer as optimizer_module
from quickstroke.training import step as step_module
from quickstroke.training.loop import train
from quickstroke.training.optimizer import Adam, Muon
from quickstroke.training.pretrained import begin_with
from quickstroke.training.schedule import set_learning_rate
from quickstroke.training.session import Interrupted, Watcher
from quickstroke.training.step import average

GOLDEN = Path(__file__).parents[1] / "golden" / "loss_curve.json"
NAME = "lstm_cv1_4_3_lay1_sz5"
MODEL = ModelConfig.from_name(NAME)
RECIPES = ("2020", "default")
# 120 drawings make 4 steps, the last of them short; validation takes one batch by each protocol.
# Plain Adam, so that plain loops can be compared with it; with another `recipe` in its place the values stay.
CONFIG = replace(
    TrainConfig(recipe="2020", n_epochs=2, batch_size=32, learning_rate=0.01, max_padding=30),
    recipe="default",
    device="cpu",
    precision="float32",
)
TIMES = ("seconds", "train_seconds")


pytestmark = pytest.mark.usefixtures("one_thread")


def weights_of(path):
    return torch.load(path, weights_only=True)


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def without_times(metrics):
    return [{key: value for key, value in line.items() if key not in TIMES} for line in metrics]


def assert_same_run(one, other):
    """Everything that two run folders say, but for times and paths, is equal to the last bit."""
    for name in ("best.model", "last.model"):
        assert_equal_weights(weights_of(one / name), weights_of(other / name))
    assert without_times(runs.read_metrics(one)) == without_times(runs.read_metrics(other))
    a, b = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other))
    assert_equal_weights(a["model"], b["model"])
    assert_equal_weights(a.get("averaged", {}), b.get("averaged", {}))
    assert a["optimizer"]["param_groups"] == b["optimizer"]["param_groups"]
    for key, values in a["optimizer"]["state"].items():
        assert_equal_weights(values, b["optimizer"]["state"][key])
    for state in (a["state"], b["state"]):
        state["metrics"] = without_times(state["metrics"])
    assert a["state"] == b["state"]
    assert runs.read_config(one) == runs.read_config(other)


def stop_at(n):
    """A watcher that asks to stop at the n-th time that it is asked, counted from 1."""
    asked = iter(range(1, 10**9))
    return Watcher(should_stop=lambda: next(asked) == n)


def count_stops(dataset, config, folder, model=MODEL):
    """How often a whole training asks whether to stop."""
    asked = []
    train(model, config, dataset, folder, watcher=Watcher(should_stop=lambda: bool(asked.append(1))))
    return len(asked)


def patch_loss(monkeypatch, change):
    """Passes the loss of each training step through `change(step, loss)`; validation is as it was."""
    steps = iter(range(1, 10**9))

    def cross_entropy(logits, labels, **options):
        return change(next(steps), F.cross_entropy(logits, labels, **options))

    monkeypatch.setattr(step_module, "F", SimpleNamespace(cross_entropy=cross_entropy))


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """For each recipe the folder of a training that nothing interrupted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folders = {recipe: tmp_path_factory.mktemp("run") / recipe for recipe in RECIPES}
    for recipe, folder in folders.items():
        train(MODEL, replace(CONFIG, recipe=recipe), dataset, folder)
    torch.set_num_threads(before)
    return folders


# --- the same command gives the same result


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_repeats_itself_bit_for_bit(dataset, finished, tmp_path, recipe):
    torch.rand(7)  # whatever was drawn before
    np.random.seed(1)
    state = train(MODEL, replace(CONFIG, recipe=recipe), dataset, tmp_path / "run")
    assert_same_run(tmp_path / "run", finished[recipe])
    assert (state.epoch, state.step) == (2, 0)


def test_another_seed_gives_another_result(dataset, finished, tmp_path):
    train(MODEL, replace(CONFIG, seed=1), dataset, tmp_path / "run")
    one, other = weights_of(tmp_path / "run" / "last.model"), weights_of(finished["default"] / "last.model")
    assert not any(torch.equal(one[key], other[key]) for key in one if key != "bn.num_batches_tracked")


def test_what_a_run_folder_holds(dataset, finished):
    for recipe, folder in finished.items():
        names = ["best.model", "config.json", "environment.json", "last.ckpt", "last.model", "metrics.jsonl"]
        assert sorted(path.name for path in folder.iterdir()) == names
        config = runs.read_config(folder)
        assert config.model == replace(
            MODEL, n_classes=3, max_padding=30, reading="padded" if recipe == "2020" else "length-aware"
        )
        assert config.train == replace(CONFIG, recipe=recipe)
        assert config.classes == dataset.classes
        model = StrokeClassifier(config.model)
        model.load_state_dict(weights_of(folder / "best.model"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_metrics_are_those_of_the_weights(dataset, finished, recipe):
    folder = finished[recipe]
    metrics = runs.read_metrics(folder)
    assert [line["epoch"] for line in metrics] == [1, 2]
    state = torch.load(folder / "last.ckpt", weights_only=True)["state"]
    best = max(metrics, key=lambda line: line["val_top1"])
    assert (state["best"], state["best_epoch"]) == (best["val_top1"], best["epoch"])
    model = StrokeClassifier(runs.read_config(folder).model)
    indices, label_map = dataset.indices("val"), dataset.label_map(dataset.classes)
    for name, line in (("last.model", metrics[-1]), ("best.model", best)):
        model.load_state_dict(weights_of(folder / name))
        result = evaluate(model, LabelledDrawings(dataset, indices, dataset.classes, label_map))
        assert line["val_loss"] == pytest.approx(result.loss, rel=1e-6)
        assert [line[f"val_top{k}"] for k in (1, 3, 5)] == [result.top(k) for k in (1, 3, 5)]
        assert line["val_balanced_accuracy"] == result.balanced_accuracy()
        assert line["val_balanced_loss"] == pytest.approx(result.balanced_loss(), rel=1e-6)
        assert line.keys().isdisjoint({"val_balanced_top1", "val_top1_published_protocol"})
        assert (line["n_train"], line["n_val"], line["learning_rate"]) == (120, 30, 0.01)


def test_a_watcher_sees_every_step_and_changes_nothing(dataset, finished, tmp_path):
    seen = []
    watcher = Watcher(
        on_start=lambda state, resumed: seen.append(("start", state.epoch, state.step, resumed)),
        on_step=lambda epoch, done, total: seen.append((epoch, done, total)),
        on_epoch=lambda line: seen.append(line["epoch"]),
    )
    train(MODEL, CONFIG, dataset, tmp_path / "run", watcher=watcher)
    assert_same_run(tmp_path / "run", finished["default"])
    assert seen[0] == ("start", 0, 0, False)
    assert [entry for entry in seen if isinstance(entry, int)] == [1, 2] and seen[5] == 1 and seen[-1] == 2
    for epoch in (0, 1):
        done = [entry[1] for entry in seen[1:] if isinstance(entry, tuple) and entry[0] == epoch]
        assert done == sorted(done) and len(done) == 4 and done[-1] == 120
    assert all(entry[2] == 120 for entry in seen[1:] if isinstance(entry, tuple))


def test_checkpoints_in_between_change_nothing(dataset, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", -1.0)
    saved = []
    save = checkpoint_module.save_checkpoint
    monkeypatch.setattr(
        checkpoint_module, "save_checkpoint", lambda *args: (saved.append((args[1].epoch, args[1].step)), save(*args))
    )
    train(MODEL, CONFIG, dataset, tmp_path / "run")
    assert_same_run(tmp_path / "run", finished["default"])
    after_steps = [(epoch, step) for epoch in (0, 1) for step in (1, 2, 3, 4)]
    assert sorted(set(saved)) == sorted({*after_steps, (1, 0), (2, 0)})


# --- a plain loop over plain modules


class Plain(nn.Module):
    """The model of one convolution by PyTorch's own batch norm and packed sequences."""

    def __init__(self, n_filters, filter_size, hidden_size, n_classes, padded_to):
        super().__init__()
        self.bn = nn.BatchNorm1d(3)
        self.conv1 = nn.Conv1d(3, n_filters, filter_size)
        self.lstm = nn.LSTM(n_filters, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, n_classes)
        self.padded_to = padded_to

    def forward(self, points, lengths):
        if self.padded_to:
            points = F.pad(points, (0, 0, 0, self.padded_to - points.shape[1]))
            x = self.conv1(self.bn(points.mT)).mT
            return self.linear(self.lstm(x)[0][:, -1])
        true = torch.arange(points.shape[1]) < lengths[:, None]
        normed = points.clone()
        normed[true] = self.bn(points[true])
        ends = lengths - self.conv1.kernel_size[0] + 1
        packed = pack_padded_sequence(self.conv1(normed.mT).mT, ends, batch_first=True, enforce_sorted=False)
        return self.linear(self.lstm(packed)[1][0][-1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_plain_loop_gives_the_same_losses_and_weights(dataset, finished, recipe):
    indices, labels = dataset.indices("train"), np.arange(3)
    assert dataset.n_points[indices].min() > MODEL.receptive_field  # so that Plain needs no case for shorter ones
    torch.manual_seed(CONFIG.seed)
    model = Plain(4, 3, 5, 3, CONFIG.max_padding if recipe == "2020" else None)
    optimizer = torch.optim.Adam(model.parameters(), lr=CONFIG.learning_rate)
    losses = []
    for epoch in range(CONFIG.n_epochs):
        rng = np.random.default_rng([CONFIG.seed, epoch])
        if recipe == "2020":
            order = batches.shuffled(indices, CONFIG.batch_size, rng)
        else:
            order = batches.shuffled_by_length(indices, dataset.n_points, CONFIG.batch_size, rng)
        total = 0.0
        for rows in order:
            points, lengths, truth = map(torch.from_numpy, batches.gather(dataset, rows, labels, CONFIG.max_padding))
            loss = F.cross_entropy(model(points, lengths), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(indices))
    ours = weights_of(finished[recipe] / "last.model")
    assert [line["loss"] for line in runs.read_metrics(finished[recipe])] == pytest.approx(losses, rel=1e-5)
    assert ours.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-4, msg=lambda m, k=key: f"{k}: {m}")


# --- resuming


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
        (folder / f".{name}.1234567.tmp").write_bytes(b"half of it")
    (folder / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')  # of an epoch without its checkpoint
    seen = []
    watcher = Watcher(on_start=lambda state, resumed: seen.append(len(runs.read_metrics(folder))))
    train(MODEL, CONFIG, dataset, folder, resume=True, watcher=watcher)
    assert seen == [0]
    assert_same_run(folder, finished["default"])


def test_resuming_a_finished_run_does_nothing(dataset, finished, tmp_path, monkeypatch):
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
        ({"patience": 4}, "patience"),
        ({"n_epochs": 1}, "n_epochs"),
    ],
)
def test_other_options_do_not_resume(dataset, finished, change, key):
    folder = finished["default"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match=f"was started with ({key}) = "):
        train(MODEL, replace(CONFIG, **change), dataset, folder, resume=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


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


# --- a loss that is not finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_a_loss_that_is_not_finite_stops_before_the_update(dataset, finished, tmp_path, monkeypatch, step, bad):
    """The state before that step is kept: with the cause gone, the run goes on to the same end."""
    folder = tmp_path / "run"
    epoch, steps = divmod(step - 1, 4)
    with monkeypatch.context() as patch:
        patch_loss(patch, lambda now, loss: loss * bad if now == step else loss)
        with pytest.raises(TrainingError, match=rf"epoch {epoch + 1}, step {steps + 1} is (nan|inf)") as error:
            train(MODEL, CONFIG, dataset, folder)
    assert "\n" not in str(error.value) and "--learning-rate" in str(error.value) and str(folder) in str(error.value)
    state = torch.load(folder / "last.ckpt", weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == (epoch, steps)
    with pytest.raises(Interrupted):  # resuming meets exactly the state that an interruption there leaves
        train(MODEL, CONFIG, dataset, tmp_path / "cut", watcher=stop_at(step + 2 * epoch))
    train(MODEL, CONFIG, dataset, folder, resume=True)
    assert_same_run(folder, finished["default"])


def test_a_learning_rate_that_is_far_too_large(dataset, tmp_path):
    """Weights beyond float32 after the first step: no checkpoint, no model and no metrics of them are written."""
    folder = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"epoch 1.*learning-rate"):
        train(MODEL, replace(CONFIG, learning_rate=1e38), dataset, folder)
    assert not (folder / "best.model").exists() and not (folder / "metrics.jsonl").exists()
    if (folder / "last.ckpt").exists():
        model = torch.load(folder / "last.ckpt", weights_only=True)["model"]
        assert all(torch.isfinite(value).all() for value in model.values())


def test_weights_that_break_in_the_last_step_of_an_epoch(dataset, tmp_path, monkeypatch):
    """Their loss is never computed in training; they must not reach best.model, metrics or checkpoint."""
    folder = tmp_path / "run"
    step = Adam.step
    calls = []

    def breaking(self, is_skipped):
        step(self, is_skipped)
        calls.append(1)
        if len(calls) == 8:
            with torch.no_grad():
                self._parameters[-1].fill_(float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(Adam, "step", breaking)
        with pytest.raises(TrainingError, match="epoch 2 after step 4 are not finite"):
            train(MODEL, CONFIG, dataset, folder)
    assert len(runs.read_metrics(folder)) == 1
    for name in ("best.model", "last.model"):
        assert all(torch.isfinite(value).all() for value in weights_of(folder / name).values())
    state = torch.load(folder / "last.ckpt", weights_only=True)["state"]
    assert (state["epoch"], state["step"]) == (1, 0)


def test_a_validation_loss_that_is_not_finite(dataset, finished, tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def bad(*args, **kwargs):
        result = evaluate(*args, **kwargs)
        return replace(result, losses=np.full(result.n, np.nan))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", bad)
        with pytest.raises(TrainingError, match="validation loss of epoch 1 is nan"):
            train(MODEL, CONFIG, dataset, folder)
    assert not (folder / "best.model").exists() and not (folder / "metrics.jsonl").exists()
    train(MODEL, CONFIG, dataset, folder, resume=True)
    assert_same_run(folder, finished["default"])


# --- patience


def accuracies(monkeypatch, values):
    """Makes the validation of each epoch come out as given, by the ranks of 30 drawings."""
    epochs = iter(values)

    def scored(*args, **kwargs):
        result = evaluate(*args, **kwargs)
        right = next(epochs)
        return replace(result, ranks=(np.arange(result.n) >= right).astype(np.int64))

    monkeypatch.setattr(loop, "evaluate", scored)


@pytest.mark.parametrize(
    ("patience", "right", "epochs", "best_epoch"),
    [
        (0, [9, 5, 5, 5, 5, 5], 6, 1),
        (1, [9, 9, 30, 30, 30, 30], 2, 1),  # as good is not better
        (2, [9, 8, 10, 10, 9, 30], 5, 3),
        (2, [1, 2, 3, 4, 5, 6], 6, 6),
        (2, [0, 0, 0, 1, 1, 1], 3, 1),  # even no drawing right is better than no epoch
    ],
)
def test_patience(dataset, tmp_path, monkeypatch, patience, right, epochs, best_epoch):
    accuracies(monkeypatch, right)
    config = replace(CONFIG, n_epochs=6, patience=patience, batch_size=120)
    kept = {}
    watcher = Watcher(on_epoch=lambda line: kept.setdefault(line["epoch"], weights_of(tmp_path / "run/last.model")))
    state = train(MODEL, config, dataset, tmp_path / "run", watcher=watcher)
    assert (state.epoch, state.best_epoch, state.best) == (epochs, best_epoch, right[best_epoch - 1] / 30)
    assert_equal_weights(weights_of(tmp_path / "run" / "best.model"), kept[best_epoch])
    assert_equal_weights(weights_of(tmp_path / "run" / "last.model"), kept[epochs])
    again = train(MODEL, config, dataset, tmp_path / "run", resume=True)  # patience is remembered
    assert again.epoch == epochs


def test_a_loss_that_counts_every_class_alike_may_choose_the_epoch(dataset, tmp_path, monkeypatch):
    """Its least one is neither the highest accuracy nor the least mean loss; patience goes by it as well."""
    rows = dataset.indices("val")
    rows = rows[(dataset.labels[rows] > 0) | (np.arange(len(rows)) < 2)]  # the first class has two drawings
    monkeypatch.setattr(selection, "select", lambda data, split, _: rows if split == "val" else data.indices(split))
    by_class = iter([[9.0, 1.0, 1.0], [1.0, 2.0, 2.0], [5.0, 2.0, 2.0], [5.0, 2.0, 2.0], [1.0, 1.0, 1.0]])
    right = iter([9, 5, 9, 5, 9])

    def scored(*args, **kwargs):
        result = evaluate(*args, **kwargs)
        ranks = (np.arange(result.n) >= next(right)).astype(np.int64)
        return replace(result, ranks=ranks, losses=np.array(next(by_class))[result.labels])

    monkeypatch.setattr(loop, "evaluate", scored)
    config = replace(CONFIG, n_epochs=6, select_by="balanced_loss", patience=2, batch_size=120)
    kept = {}
    watcher = Watcher(on_epoch=lambda line: kept.setdefault(line["epoch"], weights_of(tmp_path / "run/last.model")))
    state = train(MODEL, config, dataset, tmp_path / "run", watcher=watcher)
    assert (state.epoch, state.best_epoch, state.best) == (4, 2, 5 / 22)
    assert [line["val_balanced_loss"] for line in state.metrics] == pytest.approx([11 / 3, 5 / 3, 3, 3])
    assert state.metrics[0]["val_loss"] < state.metrics[1]["val_loss"]
    assert_equal_weights(weights_of(tmp_path / "run" / "best.model"), kept[2])
    with pytest.raises(RunError, match="select_by = 'balanced_loss', cannot resume with 'top1'"):
        train(MODEL, replace(config, select_by="top1"), dataset, tmp_path / "run", resume=True)


# --- classes and data


def test_a_subset_of_the_classes_in_another_order(dataset, tmp_path):
    state = train(MODEL, CONFIG, dataset, tmp_path / "run", train_classes=("star", "circle"))
    config = runs.read_config(tmp_path / "run")
    assert config.classes == ("star", "circle") and config.model.n_classes == 2
    assert config.data["n_by_split"]["train"] == 80
    assert (state.metrics[0]["n_train"], state.metrics[0]["n_val"]) == (80, 20)
    model = StrokeClassifier(config.model)
    model.load_state_dict(weights_of(tmp_path / "run" / "last.model"))
    indices = dataset.indices("val")
    indices = indices[np.isin(dataset.labels[indices], [0, 2])]
    result = evaluate(model, LabelledDrawings(dataset, indices, config.classes, np.array([1, -1, 0])))
    assert result.n == 20 and state.metrics[-1]["val_top1"] == result.top(1)


def test_classes_are_written_as_one_likes(dataset, tmp_path):
    assert selection.resolve_classes(dataset, ["Star", "circle"]) == ("star", "circle")
    assert selection.resolve_classes(dataset, None) == ("circle", "house", "star")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("circle", "cat"), "'cat' is not among the 3 classes"),
        (("stars",), "did you mean 'star'"),
        (("star", "star"), "twice"),
        ((), "no class"),
        (("star", ""), "empty"),
    ],
)
def test_classes_that_cannot_be_trained(dataset, tmp_path, classes, message):
    with pytest.raises(CategoryError, match=message):
        train(MODEL, CONFIG, dataset, tmp_path / "run", train_classes=classes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("split", "missing"), [(PositionSplit(0, 10, 0), "train"), (PositionSplit(10, 0, 0), "val")])
def test_a_dataset_without_training_or_validation_drawings(binary_folder, tmp_path, split, missing):
    prepare(binary_folder, tmp_path / "data", split=split)
    with pytest.raises(DatasetError, match=f"no drawing in split '{missing}'"):
        train(MODEL, CONFIG, PreparedDataset(tmp_path / "data"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classes_without_validation_drawings(drawings, tmp_path):
    """Fractions of few drawings may leave a class without any to validate on: a run of that class alone says so."""
    split = FractionSplit(0.8, 0.2, 0)
    in_train = split.assign(np.array([drawing.key_id for drawing in drawings["star"]], dtype=np.uint64)) == 1
    few = drawings | {"star": [drawings["star"][i] for i in np.flatnonzero(in_train)]}
    (tmp_path / "files").mkdir()
    for word, items in few.items():
        binary.write(tmp_path / "files" / f"{word}.bin", items)
    prepare(tmp_path / "files", tmp_path / "data", split=split)
    data = PreparedDataset(tmp_path / "data")
    assert data.manifest["n_by_class"]["star"]["val"] == 0 < data.manifest["n_by_class"]["house"]["val"]
    state = train(MODEL, replace(CONFIG, n_epochs=1), data, tmp_path / "all")
    assert 0 <= state.best <= 1 and state.metrics[0]["n_val"] == data.manifest["n_by_split"]["val"]
    with pytest.raises(DatasetError, match="val"):
        train(MODEL, CONFIG, data, tmp_path / "star", train_classes=("star",))
    assert not (tmp_path / "star").exists()


def test_counts_are_checked_against_the_dataset(dataset, binary_folder, tmp_path):
    names = ("n_train", "n_val", "n_test", "n_test_reserved")
    counts = dict(zip(names, (40, 10, 10, 0), strict=True))
    assert check_counts(dataset, counts) is None
    assert check_counts(dataset, dict.fromkeys(names)) is None
    for key in names:
        with pytest.raises(ConfigError, match=rf"{key} = 7 was asked for.*prepared with {key} = {counts[key]}"):
            check_counts(dataset, counts | {key: 7})
    prepare(binary_folder, tmp_path / "data")
    with pytest.raises(ConfigError, match="split by hash of key_id"):
        check_counts(PreparedDataset(tmp_path / "data"), {"n_train": 40, "n_val": None})


def test_cuda_where_there_is_none(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds no CUDA device"):
        train(MODEL, replace(CONFIG, device="cuda"), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert device.pick_device(replace(CONFIG, device="auto")) == torch.device("cpu")


def test_deterministic_operations_give_the_same_result(dataset, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen = []
    watcher = Watcher(on_step=lambda *progress: seen.append(torch.are_deterministic_algorithms_enabled()))
    train(MODEL, replace(CONFIG, deterministic=True), dataset, tmp_path / "run", watcher=watcher)
    assert all(seen) and seen
    assert not torch.are_deterministic_algorithms_enabled()
    assert_equal_weights(weights_of(tmp_path / "run" / "last.model"), weights_of(finished["default"] / "last.model"))


# --- it learns


@pytest.mark.parametrize("recipe", RECIPES)
def test_both_recipes_learn(dataset, tmp_path, recipe):
    """Three words tell apart in seconds; a guess is right one time in three."""
    config = replace(CONFIG, recipe=recipe, n_epochs=30, batch_size=16)
    state = train(ModelConfig.from_name("simple_lay1_sz16"), config, dataset, tmp_path / "run")
    losses = [line["loss"] for line in state.metrics]
    assert losses[-1] < 0.5 * losses[0]
    assert state.best > 0.75
    test = dataset.indices("test")
    model = StrokeClassifier(runs.read_config(tmp_path / "run").model)
    model.load_state_dict(weights_of(tmp_path / "run" / "best.model"))
    assert evaluate(model, LabelledDrawings(dataset, test, dataset.classes, np.arange(3))).top(1) > 0.6


# --- resuming elsewhere


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
    leftover = tmp_path / "run" / ".last.ckpt.99999.tmp"
    leftover.write_bytes(b"half")
    train(MODEL, CONFIG, dataset, tmp_path / "run", resume=True, command=["quickstroke", "train", "second"])
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["command"] == ["quickstroke", "train", "second"]
    assert environment["earlier_commands"] == [["quickstroke", "train", "first"]]
    assert not leftover.exists()


def test_commands_before_a_training_without_one_are_kept(tmp_path):
    for command in (["quickstroke", "train", "a"], [], ["quickstroke", "train", "b"]):
        environment_module.write_environment(tmp_path, command)
    assert environment_module.read_environment(tmp_path)["earlier_commands"] == [["quickstroke", "train", "a"]]


def test_a_training_from_python_has_no_command(dataset, tmp_path, monkeypatch):
    """A notebook's own command line is none that trains the same, and tells where its user's files are."""
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "/home/somebody/kernel.json"])
    train(MODEL, replace(CONFIG, n_epochs=1), dataset, tmp_path / "run")
    assert environment_module.command_of(tmp_path / "run") == ""


def test_a_model_too_large_to_train_is_refused_before_memory_is_taken(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"simple_lay1_sz60000 would have .* parameters; at most 1,000,000,000"):
        train(ModelConfig.from_name("simple_lay1_sz60000"), CONFIG, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- recipe strong

# Two layers, so that dropout has its place between them.
POOL_MODEL = ModelConfig.from_name("bipool_cv1_4_3_2_img2_lay2_sz5")


@pytest.fixture(scope="module")
def strong(finished):
    """All that the recipe can do, on little: two teachers, one of them padded, two views in three epochs."""
    return TrainConfig(
        recipe="strong",
        n_epochs=3,
        batch_size=32,
        max_padding=30,
        ema_decay=0.9,
        optimizer="muon",
        teacher=tuple(str(folder) for folder in finished.values()),
        n_cached_epochs=2,
        device="cpu",
        precision="float32",
    )


@pytest.fixture(scope="module")
def strong_run(strong, dataset, tmp_path_factory):
    """Its run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("strong") / "run"
    train(POOL_MODEL, strong, dataset, folder)
    return folder


def test_the_recipe_strong_repeats_itself_bit_for_bit(dataset, strong, strong_run, tmp_path):
    torch.rand(7)
    train(POOL_MODEL, strong, dataset, tmp_path / "run")
    assert_same_run(tmp_path / "run", strong_run)


def test_a_strong_run_cut_anywhere_goes_on_to_the_same_end(dataset, strong, strong_run, tmp_path):
    """Augmentation, dropout, average, teachers and learning rate are all where they were."""
    asks = count_stops(dataset, strong, tmp_path / "counted", POOL_MODEL)
    assert asks > 3 * (4 + 1)  # teachers are asked, too
    for n in range(1, asks + 1, 2):
        folder = tmp_path / str(n)
        with pytest.raises(Interrupted):
            train(POOL_MODEL, strong, dataset, folder, watcher=stop_at(n))
        train(POOL_MODEL, strong, dataset, folder, resume=True)
        assert_same_run(folder, strong_run)


def test_stopping_while_teachers_are_asked_leaves_a_checkpoint(dataset, strong, strong_run, tmp_path):
    with pytest.raises(Interrupted, match="in epoch 1, after 0 steps"):
        train(POOL_MODEL, strong, dataset, tmp_path / "run", watcher=stop_at(1))
    assert (tmp_path / "run" / "last.ckpt").is_file()
    starts = []
    watcher = Watcher(on_start=lambda state, resumed: starts.append(resumed))
    train(POOL_MODEL, strong, dataset, tmp_path / "run", resume=True, watcher=watcher)
    assert starts == [True]
    assert_same_run(tmp_path / "run", strong_run)


def test_trainings_share_what_teachers_said(dataset, strong, strong_run, tmp_path):
    asked = []
    watcher = Watcher(on_teacher=lambda epoch, n: asked.append((epoch, n)))
    for name in ("one", "other"):
        train(POOL_MODEL, strong, dataset, tmp_path / name, teacher_cache=tmp_path / "cache", watcher=watcher)
        assert_same_run(tmp_path / name, strong_run)
    # By the first training alone, and in the epochs that see a new view.
    assert [sum(n for epoch, n in asked if epoch == k) for k in range(3)] == [120, 120, 0]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


def test_the_run_says_who_its_teachers_are(strong_run, finished):
    names = [(teacher["name"], teacher["sha256"]) for teacher in runs.read_config(strong_run).teachers]
    assert names == [(NAME, runs_sha256(folder / "best.model")) for folder in finished.values()]


def runs_sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_teachers_do_not_resume(dataset, strong, strong_run, finished):
    with pytest.raises(RunError, match="teacher"):
        train(POOL_MODEL, replace(strong, teacher=strong.teacher[:1]), dataset, strong_run, resume=True)


def test_what_is_validated_and_kept_is_the_average(dataset, strong_run):
    checkpoint = torch.load(strong_run / "last.ckpt", weights_only=True)
    kept = weights_of(strong_run / "last.model")
    assert_equal_weights(kept, checkpoint["averaged"])
    assert not torch.equal(kept["linear.weight"], checkpoint["model"]["linear.weight"])
    assert torch.equal(kept["bn.running_mean"], checkpoint["model"]["bn.running_mean"])
    model = load_model(strong_run / "last.model").model
    result = evaluate(model, LabelledDrawings(dataset, dataset.indices("val"), dataset.classes, np.arange(3)))
    assert runs.read_metrics(strong_run)[-1]["val_loss"] == pytest.approx(result.loss, rel=1e-6)


@pytest.mark.parametrize(
    "option", [{"ema_decay": 0.9}, {"dropout": 0.3}, {"augment": "strokes"}, {"class_balance": 0.5}]
)
def test_each_option_alone_resumes(dataset, tmp_path, option):
    config = replace(CONFIG, **option)
    train(POOL_MODEL, config, dataset, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(POOL_MODEL, config, dataset, tmp_path / "cut", watcher=stop_at(3))
    train(POOL_MODEL, config, dataset, tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_the_recipe_strong_learns(dataset, tmp_path):
    options = {"n_epochs": 25, "batch_size": 16, "learning_rate": 0.02, "ema_decay": 0.9}
    config = TrainConfig(recipe="strong", **options, device="cpu", precision="float32")
    state = train(ModelConfig.from_name("bipool_cv1_16_5_2_lay1_sz16"), config, dataset, tmp_path / "run")
    assert state.best > 0.75


def test_a_running_average_forgets_its_beginning():
    torch.manual_seed(0)
    averaged, model = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    expected = averaged.weight.detach().clone()
    for step in range(40):
        with torch.no_grad():
            model.weight.copy_(torch.randn(3))
            model.running_mean.copy_(torch.randn(3))
        before = averaged.weight.detach().clone()
        average(averaged, model, 0.6, step, torch.tensor(True))
        assert torch.equal(averaged.weight, before)
        average(averaged, model, 0.6, step, torch.tensor(False))
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        torch.testing.assert_close(averaged.weight.detach(), expected)
        assert torch.equal(averaged.running_mean, model.running_mean)  # the statistics are an average already


# --- options


@pytest.mark.parametrize(
    ("options", "progress", "factor"),
    [
        ({}, [0.0, 0.5, 1.0], [1, 1, 1]),
        ({"warmup": 0.2}, [0.0, 0.1, 0.2, 0.9], [0, 0.5, 1, 1]),
        ({"schedule": "cosine"}, [0.0, 0.25, 0.5, 0.75, 1.0], [1, 0.5 + 2**0.5 / 4, 0.5, 0.5 - 2**0.5 / 4, 0]),
        ({"schedule": "cosine", "warmup": 0.2}, [0.0, 0.1, 0.2, 0.6, 1.0], [0, 0.5, 1, 0.5, 0]),
    ],
)
def test_learning_rate_of_a_schedule(options, progress, factor):
    config = replace(CONFIG, learning_rate=0.01, **options)
    optimizer = Adam(nn.Linear(2, 2).parameters(), config.learning_rate)
    for done, expected in zip(progress, factor, strict=True):
        set_learning_rate(optimizer, config, done)
        assert optimizer.learning_rate == pytest.approx(0.01 * expected, abs=1e-12)


def test_a_run_follows_its_schedule_from_step_to_step(dataset, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(schedule, "set_learning_rate", lambda optimizer, config, progress, step: seen.append(progress))
    train(MODEL, replace(CONFIG, schedule="cosine"), dataset, tmp_path / "run")
    assert len(seen) == 8 and seen[0] == 0 and seen[4] == 0.5
    assert seen == sorted(set(seen)) and seen[-1] < 1


def test_the_first_step_of_a_warm_up_moves_the_weights(dataset, tmp_path, monkeypatch):
    rates = []

    def follow(optimizer, *progress):
        set_learning_rate(optimizer, *progress)
        rates.append(optimizer.learning_rate)

    monkeypatch.setattr(schedule, "set_learning_rate", follow)
    train(MODEL, replace(CONFIG, warmup=0.5), dataset, tmp_path / "run")  # its first epoch
    # One of the four batches, wherever it comes, has 24 of the 120 drawings.
    assert rates[0] in (pytest.approx(0.01 * 24 / 120), pytest.approx(0.01 * 32 / 120))
    assert sorted(rates) == rates and rates[3:] == [0.01] * 5


def test_a_gpu_takes_bfloat16_only_where_it_is_asked_for():
    gpu = torch.device("cuda")
    for asked, taken in (("auto", "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")):
        assert device.pick_precision(replace(CONFIG, precision=asked), gpu) == taken


def test_the_optimizer_is_the_one_asked_for():
    model = StrokeClassifier(POOL_MODEL)
    config = replace(CONFIG, weight_decay=0.1)
    assert type(optimizer_module.optimizer_of(config, model)) is Adam
    for precision in ("float32", "bfloat16"):
        muon = optimizer_module.optimizer_of(replace(config, optimizer="muon", precision=precision), model)
        assert (type(muon), muon.learning_rate) == (Muon, config.learning_rate)
        assert muon._precision == getattr(torch, precision)


@pytest.mark.parametrize("longest", [0.0, 0.01])
def test_gradients_are_no_longer_than_asked(dataset, tmp_path, monkeypatch, longest):
    norms, step = [], Adam.step

    def measured(self, is_skipped):
        norms.append(float(torch.cat([parameter.grad.flatten() for parameter in self._parameters]).norm()))
        step(self, is_skipped)

    monkeypatch.setattr(Adam, "step", measured)
    train(MODEL, replace(CONFIG, max_grad_norm=longest, n_epochs=1), dataset, tmp_path / "run")
    assert len(norms) == 4
    assert max(norms) > 0.05 if longest == 0 else norms == pytest.approx([0.01] * 4, rel=1e-3)


def goals(monkeypatch, dataset, config, folder, **options):
    """What each step compares the logits with: targets, and the smoothing of labels."""
    seen = []

    def cross_entropy(logits, goal, label_smoothing=0.0):
        seen.append((goal, label_smoothing))
        return F.cross_entropy(logits, goal, label_smoothing=label_smoothing)

    monkeypatch.setattr(step_module, "F", SimpleNamespace(cross_entropy=cross_entropy))
    train(MODEL, replace(config, n_epochs=1), dataset, folder, **options)
    return seen


def test_labels_are_smoothed_by_the_loss_or_with_what_teachers_say(dataset, finished, tmp_path, monkeypatch):
    config = replace(CONFIG, label_smoothing=0.1)
    for goal, smoothing in goals(monkeypatch, dataset, config, tmp_path / "alone"):
        assert goal.dtype == torch.int64 and smoothing == 0.1
    config = replace(config, teacher=(str(finished["default"]),), distillation_weight=0.0)
    for goal, smoothing in goals(monkeypatch, dataset, config, tmp_path / "taught"):
        assert smoothing == 0
        assert sorted({round(value, 5) for value in goal.flatten().tolist()}) == [0.03333, 0.93333]


def test_a_part_of_an_epoch_is_of_other_classes(dataset, finished, tmp_path, monkeypatch):
    """Drawings of `house` are for the teacher alone to say something of."""
    config = replace(CONFIG, teacher=(str(finished["default"]),), distillation_weight=0.0, other_class_fraction=0.25)
    seen = goals(monkeypatch, dataset, config, tmp_path / "run", train_classes=("star", "circle"))
    rows = torch.cat([goal for goal, _ in seen])
    assert rows.shape == (120, 2)
    is_labelled = ((rows == 0) | (rows == 1)).all(1)
    assert int((~is_labelled).sum()) == pytest.approx(30, abs=1)
    assert runs.read_metrics(tmp_path / "run")[0]["n_train"] == pytest.approx(120, abs=1)


def test_without_drawings_of_other_classes_an_epoch_has_all_of_its_own(dataset, finished, tmp_path):
    config = replace(CONFIG, n_epochs=1, teacher=(str(finished["default"]),), other_class_fraction=0.25)
    train(MODEL, config, dataset, tmp_path / "run")
    assert runs.read_metrics(tmp_path / "run")[0]["n_train"] == 120


def test_a_batch_in_parts_has_the_losses_of_the_whole(dataset, tmp_path):
    """Without batch norm's own statistics; the last part of the short last batch is smaller than the others."""
    config = replace(CONFIG, normalization="fixed")
    whole = train(MODEL, config, dataset, tmp_path / "whole").metrics
    parts = train(MODEL, replace(config, grad_accum_steps=5), dataset, tmp_path / "parts").metrics
    for line, other in zip(whole, parts, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
        assert other["val_loss"] == pytest.approx(line["val_loss"], rel=1e-5)


def test_balance_of_classes_in_an_epoch(dataset):
    indices = np.concatenate([dataset.indices("train")[:44]])  # 40 circles and 4 houses
    label_map = np.arange(3)
    for balance, expected in ((0.0, [40, 4]), (1.0, [22, 22])):
        drawings = feed.epoch_drawings(replace(CONFIG, class_balance=balance), dataset, indices, label_map, 0)
        assert np.bincount(dataset.labels[drawings]) == pytest.approx(expected, abs=1)


def test_a_student_sees_the_views_that_teachers_were_asked_about(dataset, finished, monkeypatch):
    monkeypatch.setattr(augmentation, "STROKES", Augmentation(mixup=0.5, rotation=0.3))
    config = replace(
        CONFIG, augment="strokes", prefix_truncation=0.0, teacher=(str(finished["default"]),), n_cached_epochs=2
    )
    drawings, model_config = dataset.indices("train"), replace(POOL_MODEL, max_padding=30)
    places = np.arange(40, 10, -1)
    rows = drawings[places]
    candidates = augmentation.mixup_candidates(dataset, drawings, np.arange(3))

    def seen(epoch):
        state = SimpleNamespace(epoch=epoch, step=0)
        feeder = feed.Feeder(config, model_config, dataset, None, torch.device("cpu"), np.arange(3), candidates, ALONE)
        (share,) = feeder.shares(state, drawings, places, None)
        return share.points.numpy(), share.lengths.numpy(), share.goal.numpy()

    for epoch in range(4):
        points, lengths, labels = seen(epoch)
        seeds = distillation.seeds_of_views(epoch % 2, places)
        asked = augmentation.gather(dataset, rows, seeds, None, augmentation.STROKES, 30, "pos5", candidates)
        np.testing.assert_allclose(points, asked[0], rtol=0, atol=1e-6)
        assert np.array_equal(lengths, asked[1]) and np.array_equal(labels, dataset.labels[rows])
    assert not np.allclose(seen(0)[0], seen(1)[0], atol=1e-3)


def test_strokes_truncates_as_many_drawings_as_asked(dataset, monkeypatch):
    monkeypatch.setattr(augmentation, "STROKES", Augmentation())
    drawings = dataset.indices("train")
    model_config = replace(POOL_MODEL, max_padding=30)

    def rows(fraction):
        config = replace(CONFIG, augment="strokes", prefix_truncation=fraction)
        feeder = feed.Feeder(config, model_config, dataset, None, torch.device("cpu"), np.arange(3), None, ALONE)
        (share,) = feeder.shares(SimpleNamespace(epoch=0, step=0), drawings, np.arange(len(drawings)), None)
        return share.lengths

    whole = rows(0.0)
    assert whole.tolist() == dataset.n_points[drawings].clip(max=30).tolist()
    some, most = ((rows(part) < whole).double().mean() for part in (0.3, 1.0))
    assert 0.1 < some < 0.4 < 0.7 < most


def test_without_teachers_every_epoch_and_step_is_augmented_anew(dataset):
    config, model_config = replace(CONFIG, augment="strokes"), replace(POOL_MODEL, max_padding=30)
    drawings, seen = dataset.indices("train")[:9], set()
    candidates = augmentation.mixup_candidates(dataset, drawings, np.arange(3))
    feeder = feed.Feeder(config, model_config, dataset, None, torch.device("cpu"), np.arange(3), candidates, ALONE)
    for epoch, step in ((0, 0), (0, 1), (1, 0), (16, 0), (0, 0)):
        state = SimpleNamespace(epoch=epoch, step=step)
        (share,) = feeder.shares(state, drawings, np.arange(9), None)
        points = share.points.numpy()
        seen.add(points.tobytes())
    assert len(seen) == 4


# --- weights to begin with


def test_rows_of_the_output_layer_are_copied_by_word(finished):
    folder = finished["default"]
    source = weights_of(folder / "best.model")  # circle, house, star
    model = StrokeClassifier(replace(MODEL, n_classes=4))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    copied = begin_with(model, ("star", "cat", "circle", "dog"), [str(folder)])
    weights = model.state_dict()
    assert set(copied) == set(weights)
    for key in ("linear.weight", "linear.bias"):
        assert torch.equal(weights[key][[0, 2]], source[key][[2, 0]])
        assert torch.equal(weights[key][[1, 3]], before[key][[1, 3]])
    for key in weights.keys() - {"linear.weight", "linear.bias"}:
        assert torch.equal(weights[key], source[key]), key


def test_what_has_another_shape_is_left_as_it_is(finished):
    model = StrokeClassifier(ModelConfig.from_name("lstm_cv1_4_5_lay1_sz5", n_classes=3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    copied = begin_with(model, ("circle", "house", "star"), [str(finished["default"])])
    left = model.state_dict().keys() - set(copied)
    assert left == {"conv1.weight"}
    assert torch.equal(model.state_dict()["conv1.weight"], before["conv1.weight"])


def test_a_model_without_a_layer_of_the_same_shape_is_refused(dataset, finished, tmp_path):
    config = replace(CONFIG, pretrained=(str(finished["default"]),))
    with pytest.raises(ConfigError, match=r"has no layer of the shape that .*lay1_sz7 has"):
        train(ModelConfig.from_name("simple_lay1_sz7"), config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_several_models_it_is_the_mean(dataset, finished, tmp_path):
    train(MODEL, replace(CONFIG, seed=5), dataset, tmp_path / "other")
    paths = [str(finished["default"]), str(tmp_path / "other")]
    one, other = (weights_of(Path(path) / "best.model") for path in paths)
    model = StrokeClassifier(replace(MODEL, n_classes=3))
    begin_with(model, ("circle", "house", "star"), paths)
    for key, value in model.state_dict().items():
        expected = (one[key] + other[key]) / 2 if value.is_floating_point() else one[key]
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    assert not torch.equal(one["linear.weight"], other["linear.weight"])


def test_the_temperature_of_a_published_model_is_taken_back(finished, tmp_path):
    loaded = loading.load_model(finished["default"])
    trained = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    loaded.model.adjust_logits(1 / 0.5, torch.zeros(3))
    path = loading.write_model(tmp_path, loaded, {"calibration": {"temperature": 0.5, "tau": 0.0}})
    assert not torch.equal(weights_of(path)["linear.weight"], trained["linear.weight"])
    model = StrokeClassifier(replace(MODEL, n_classes=3))
    begin_with(model, loaded.classes, [str(path)])
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained[key]), key
    for temperature in (0, -1.0, "hot", None, float("nan")):
        loading.write_model(tmp_path, loaded, {"calibration": {"temperature": temperature}})
        with pytest.raises(WeightsError, match=r"its card tells the temperature .*; expected one above 0"):
            begin_with(model, loaded.classes, [str(path)])


def test_models_of_different_names_or_classes_have_no_mean(dataset, finished, tmp_path):
    first, model = str(finished["default"]), StrokeClassifier(replace(MODEL, n_classes=3))
    train(ModelConfig.from_name("simple_lay1_sz7"), CONFIG, dataset, tmp_path / "wider")
    train(MODEL, CONFIG, dataset, tmp_path / "fewer", train_classes=("star", "house"))
    for folder, what in (("wider", r"simple_lay1_sz7 of 3 classes"), ("fewer", r".* of 2 classes")):
        match = rf"^pretrained {tmp_path / folder}: is {what}, and {first} is .* of 3; only models of one name"
        with pytest.raises(ConfigError, match=match):
            begin_with(model, ("circle", "house", "star"), [first, str(tmp_path / folder)])


def test_a_run_begins_with_the_weights_that_it_is_given(dataset, finished, tmp_path):
    config = replace(CONFIG, pretrained=(str(finished["default"]),), learning_rate=1e-12)
    train(MODEL, replace(config, n_epochs=1), dataset, tmp_path / "run")
    ours, theirs = weights_of(tmp_path / "run" / "last.model"), weights_of(finished["default"] / "best.model")
    for key in ours:
        if not key.startswith("bn."):
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=1e-9)


def test_a_run_that_began_with_other_weights_resumes(dataset, finished, tmp_path):
    config = replace(CONFIG, pretrained=(str(finished["default"]),))
    train(MODEL, config, dataset, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(MODEL, config, dataset, tmp_path / "cut", watcher=stop_at(3))
    train(MODEL, config, dataset, tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


# --- golden loss curves


def golden_curves(folder):
    """The loss of every step, and validation, of a few epochs by both recipes."""
    words = ("circle", "house", "star")
    for word in words:
        path = folder / "files" / f"{word}.bin"
        path.parent.mkdir(exist_ok=True)
        binary.write(path, list(synthetic_drawings(60, seed=7, words=(word,))))
    prepare(folder / "files", folder / "data", split=PositionSplit(40, 10, 10))
    data = PreparedDataset(folder / "data")
    curves = {}
    for recipe in RECIPES:
        for name in (NAME, "bilstm_lay2_sz4"):
            steps = []
            with pytest.MonkeyPatch.context() as patch:
                patch_loss(patch, lambda step, loss, to=steps: (to.append(loss.item()), loss)[1])
                state = train(
                    ModelConfig.from_name(name), replace(CONFIG, recipe=recipe), data, folder / f"{recipe}_{name}"
                )
            curves[f"{recipe} {name}"] = {
                "loss": [float(f"{loss:.7g}") for loss in steps],
                "val_loss": [float(f"{line['val_loss']:.7g}") for line in state.metrics],
            }
    return curves


def test_loss_curves_are_the_golden_ones(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    curves = golden_curves(tmp_path)
    assert curves.keys() == golden.keys() and len(golden) == 4
    for key, curve in curves.items():
        assert len(curve["loss"]) == 8
        assert curve["loss"] == pytest.approx(golden[key]["loss"], rel=1e-4), key
        assert curve["val_loss"] == pytest.approx(golden[key]["val_loss"], rel=1e-4), key


if __name__ == "__main__":
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(golden_curves(Path(temporary)), indent=1) + "\n")
    print(f"wrote {GOLDEN}", file=sys.stderr)


def test_fixed_normalization_is_that_of_all_training_drawings(dataset, tmp_path):
    config = replace(CONFIG, normalization="fixed")
    train(POOL_MODEL, config, dataset, tmp_path / "run")
    expected = StrokeClassifier(replace(POOL_MODEL, n_classes=3, max_padding=30))
    reestimate_batchnorm(expected, dataset, dataset.indices("train"))
    weights = weights_of(tmp_path / "run" / "last.model")
    for key in ("running_mean", "running_var"):
        assert torch.equal(weights[f"bn.{key}"], expected.bn.state_dict()[key])
    train(POOL_MODEL, CONFIG, dataset, tmp_path / "batch")
    assert not torch.equal(weights_of(tmp_path / "batch" / "last.model")["bn.running_mean"], expected.bn.running_mean)
