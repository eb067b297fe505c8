"""A loss or a weight that is not finite stops a training before it is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import CONFIG, MODEL, assert_same_run, patch_loss, weights_of

from quickstroke.artifacts import runs
from quickstroke.errors import TrainingError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.training import loop
from quickstroke.training.loop import train
from quickstroke.training.optimizer import Adam

pytestmark = pytest.mark.usefixtures("one_thread")


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
