"""What is compiled while PyTorch is imported is what a training calls then."""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from small_runs import CONFIG

from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.training import ahead, session
from quickstroke.training.loop import train


@pytest.fixture
def begun(monkeypatch):
    """The calls that were begun with before PyTorch was there."""
    begun = []

    def compile_ahead(lists):
        begun.extend(call for calls in lists for call in calls())

    monkeypatch.setattr(ahead, "compile_ahead", compile_ahead)
    monkeypatch.setattr(ahead, "sys", SimpleNamespace(modules={}))
    return begun


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_is_what_a_training_calls(dataset, tmp_path, monkeypatch, begun, precision):
    listed = []
    monkeypatch.setattr(session, "compile_calls", lambda *calls: listed.extend(map(set, calls)))
    config = replace(CONFIG, n_epochs=1, precision=precision)
    ahead.compile_what_trains(config)
    train(ModelConfig.from_name("simple_lay1_sz5"), config, dataset, tmp_path / "run")
    assert set(begun) < listed[0] and len(set(begun)) == len(begun) == 4
    assert len(listed[1]) == (precision == "bfloat16")  # validated in float32


def test_nothing_is_begun_where_a_training_calls_none_of_it(monkeypatch, begun):
    for config in (TrainConfig(recipe="2020"), TrainConfig(device="cuda")):
        ahead.compile_what_trains(config)
    with monkeypatch.context() as shared:
        shared.setenv("WORLD_SIZE", "2")
        ahead.compile_what_trains(TrainConfig())
    with monkeypatch.context() as later:
        later.setattr(ahead, "sys", sys)  # PyTorch is there
        ahead.compile_what_trains(TrainConfig())
    assert begun == []
    ahead.compile_what_trains(TrainConfig())
    assert begun


LISTING = """
import sys
from quickstroke.config.training import TrainConfig
from quickstroke.training import ahead

ahead.compile_ahead = lambda lists: print(*(len(calls()) for calls in lists))
ahead.compile_what_trains(TrainConfig(precision="bfloat16"))
print("torch" in sys.modules)
"""


def test_to_list_it_needs_no_pytorch():
    listed = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["2", "1", "1", "False"]


def test_a_first_training_keeps_each_function_once(dataset, tmp_path):
    words = [sys.executable, "-m", "quickstroke", "train", "simple_lay1_sz5", "--data", str(dataset.path)]
    words += ["--into", str(tmp_path / "run"), "--n-epochs", "1", "--precision", "bfloat16"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    first, second = (
        subprocess.run([*words, *more], env=environment, capture_output=True, text=True, check=True)
        for more in ([], ["--n-epochs", "2", "--resume"])
    )
    kept = [path.name.split(".")[1].split("-")[0] for path in (tmp_path / "kept").rglob("*.nbc")]
    assert sorted(kept) == ["add_moments", "backward", "fill_points", "forward", "forward", "lay_out"]
    assert "compiling for this processor" in first.stderr and "compiling" not in second.stderr
