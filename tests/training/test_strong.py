"""All that the recipe `strong` can do, on little: augmentation, dropout, EMA, teachers."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import (
    CONFIG,
    NAME,
    POOL_MODEL,
    assert_equal_weights,
    assert_same_run,
    count_stops,
    stop_at,
    weights_of,
)
from torch import nn

from quickstroke.artifacts import runs
from quickstroke.artifacts.loading import load_model
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import RunError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.training.loop import train
from quickstroke.training.session import Interrupted, Watcher
from quickstroke.training.step import average

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def strong(finished):
    """All that the recipe can do, on little: two teachers, one of them padded, two cached epochs in three."""
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


def test_the_recipe_strong_repeats_itself_bit_for_bit_and_trainings_share_what_teachers_said(
    dataset, strong, strong_run, tmp_path
):
    asked = []
    watcher = Watcher(on_teacher=lambda epoch, n: asked.append((epoch, n)))
    for name in ("one", "other"):
        torch.rand(7)
        train(POOL_MODEL, strong, dataset, tmp_path / name, teacher_cache=tmp_path / "cache", watcher=watcher)
        assert_same_run(tmp_path / name, strong_run)
    # By the first training alone, and in the epochs that see new augmentations.
    assert [sum(n for epoch, n in asked if epoch == k) for k in range(3)] == [120, 120, 0]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


def test_the_run_says_who_its_teachers_are(strong_run, finished):
    names = [(teacher["name"], teacher["sha256"]) for teacher in runs.read_config(strong_run).teachers]
    assert names == [(NAME, runs_sha256(folder / "best.model")) for folder in finished.values()]


def runs_sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_teachers_do_not_resume(dataset, strong, strong_run):
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
