"""The learning rate of each step, and its gradients."""

from dataclasses import replace

import pytest
import torch
from small_runs import CONFIG, MODEL
from torch import nn

from quickstroke.training import schedule
from quickstroke.training.loop import train
from quickstroke.training.optimizer import Adam
from quickstroke.training.schedule import set_learning_rate

pytestmark = pytest.mark.usefixtures("one_thread")


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
    set_learning_rate(optimizer, replace(config, warmup=0.2), 0.15, step=0.1)  # a step beyond the warm-up's end
    assert optimizer.learning_rate == 0.01


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


def test_a_batch_in_parts_has_the_losses_of_the_whole(dataset, tmp_path):
    """Without batch norm's own statistics; the last part of the short last batch is smaller than the others."""
    config = replace(CONFIG, normalization="fixed")
    whole = train(MODEL, config, dataset, tmp_path / "whole").metrics
    parts = train(MODEL, replace(config, grad_accum_steps=5), dataset, tmp_path / "parts").metrics
    for line, other in zip(whole, parts, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
        assert other["val_loss"] == pytest.approx(line["val_loss"], rel=1e-5)
