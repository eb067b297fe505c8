"""Small trainings, what of two runs has to be equal, and ways to stop one; for the tests of this folder."""

from dataclasses import replace
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.training import step as step_module
from quickstroke.training.loop import train
from quickstroke.training.session import Watcher

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


# Two layers, so that dropout has its place between them.
POOL_MODEL = ModelConfig.from_name("bipool_cv1_4_3_2_img2_lay2_sz5")
