"""Training repeats itself bit for bit, equals a plain loop, and learns.

`python tests/training/test_loop.py` writes the golden loss curves again, after a change that is meant to change them.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import CONFIG, MODEL, NAME, RECIPES, assert_same_run, patch_loss, weights_of
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.formats import binary
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.preparation.prepare import prepare
from quickstroke.training import checkpoint as checkpoint_module
from quickstroke.training import loop
from quickstroke.training.loop import train
from quickstroke.training.session import Watcher

GOLDEN = Path(__file__).parents[1] / "golden" / "loss_curve.json"


pytestmark = pytest.mark.usefixtures("one_thread")


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
            order = batches.shuffled(indices.copy(), CONFIG.batch_size, rng)
        else:
            order = batches.shuffled_by_length(indices.copy(), dataset.n_points.__getitem__, CONFIG.batch_size, rng)
        total = 0.0
        for rows in order:
            points, lengths, truth = map(torch.from_numpy, batches.batch_of(dataset, rows, labels, CONFIG.max_padding))
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
