"""Two processes train as one does, divide the work without a rest, and go on when one of them is lost."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import workers
from small_runs import assert_same_run

from quickstroke.artifacts import environment as environment_module
from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import ConfigError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.runtime import distributed
from quickstroke.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

TORCHRUN = "torch.distributed.run --standalone --nproc-per-node=2 --max-restarts=1"


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    """What one process and two have made of the same dataset."""
    folder = tmp_path_factory.mktemp("parallel")
    shutil.copytree(dataset.path, folder / "data")
    for key in ("length-aware", *workers.CONFIGS):
        if not (folder / "one" / key).exists():
            model_config, config = workers.config_of(key, folder)
            train(model_config, config, workers.PreparedDataset(folder / "data"), folder / "one" / key)
    command = [sys.executable, "-m", *TORCHRUN.split(), workers.__file__, folder]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600)
    (folder / "torchrun.txt").write_text(process.stderr)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("key", workers.CONFIGS)
def test_two_processes_have_the_losses_of_one(folder, key):
    one, two = (runs.read_metrics(folder / kind / key) for kind in ("one", "two"))
    assert len(one) == len(two) == 2
    for line, other in zip(one, two, strict=True):
        for name in ("loss", "val_loss"):
            assert other[name] == pytest.approx(line[name], rel=2e-5), name
        for name in ("val_top1", "val_top3", "n_train", "n_val", "learning_rate"):
            assert other[name] == line[name], name
    weights = [torch.load(folder / kind / key / "last.model", weights_only=True) for kind in ("one", "two")]
    for name, value in weights[0].items():
        assert torch.allclose(weights[1][name].double(), value.double(), rtol=1e-3, atol=1e-4), name


def test_the_last_batch_leaves_one_process_without_a_drawing(dataset):
    n_train = len(dataset.indices("train"))
    assert all(n_train % config.batch_size == 1 for _, config in workers.CONFIGS.values())


def test_a_run_says_how_many_processes_it_had(folder):
    environments = [json.loads((folder / kind / "padded" / "environment.json").read_text()) for kind in ("one", "two")]
    assert [values["n_processes"] for values in environments] == [1, 2]
    assert "n_processes: 1, now 2" in environment_module.differences(
        folder / "one" / "padded", folder / "two" / "padded"
    )


@pytest.mark.parametrize("protocol", ["standard", "2020"])
def test_evaluation_counts_every_drawing_once_and_to_the_last_bit(folder, dataset, protocol):
    torch.manual_seed(3)
    classes, label_map = dataset.classes, dataset.label_map(dataset.classes)
    model = StrokeClassifier(ModelConfig.from_name(workers.SHORT, n_classes=len(classes), max_padding=30))
    indices = np.arange(len(dataset))
    whole = evaluate(model, LabelledDrawings(dataset, indices, classes, label_map), protocol=protocol, batch_size=17)
    for rank in range(2):
        with np.load(folder / f"{protocol}-{rank}.npz") as shared:
            for key in shared.files:
                assert np.array_equal(shared[key], getattr(whole, key)), (rank, key)


def test_processes_agree(found):
    for own in found:
        assert own["sum"] == 3
        assert own["any"] == [False, True]
        assert own["filled"] == [[0.5 + row % 2] * 3 for row in range(5)]
        assert own["log_probs"]


def test_an_error_of_the_first_is_everyones(found, folder):
    (first, text), (other, same) = (own["error"] for own in found)
    assert (first, other) == ("RunError", "Elsewhere")
    assert text == same
    assert "exists already" in text


def test_what_teachers_say_is_written_by_the_first_alone(folder):
    assert [len(list((folder / f"asked-{rank}").rglob("*.npy"))) for rank in range(2)] == [1, 0]


def test_a_killed_process_is_started_again_and_the_end_is_the_same(folder):
    said = (folder / "torchrun.txt").read_text()
    assert "SIGKILL" in said or "-9" in said
    assert_same_run(folder / "killed", folder / "two" / "with dropout")


def test_from_the_command_line_one_process_speaks(folder):
    first, other = (json.loads((folder / f"by command-{rank}.json").read_text()) for rank in range(2))
    assert first["code"] == other["code"] == 0, first["err"]
    assert first["out"].count("Epoch:") == 2 and "Training ended" in first["out"]
    assert other["out"] == ""
    first, other = (json.loads((folder / f"padded-{rank}.json").read_text()) for rank in range(2))
    assert first["code"] == other["code"] == 2
    assert "exists already; give --resume" in first["err"]
    assert other["err"] == first["out"] == other["out"] == ""


def test_alone_nothing_is_said_to_anybody(monkeypatch):
    for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(key, raising=False)
    assert distributed.join() is distributed.ALONE
    assert not distributed.is_restart()
    array = np.arange(3)
    distributed.ALONE.all_reduce(array)
    assert array.tolist() == [0, 1, 2]
    assert distributed.ALONE.part([1, 2, 3]) == [1, 2, 3]
    assert distributed.ALONE.run_on_first(lambda: 5) == 5


def test_an_environment_that_is_not_torchruns_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE should be"):
        distributed.join()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for key in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(ConfigError, match="process 0 of 2 cannot join the others"):
        distributed.join()


def test_every_drawing_of_a_batch_is_in_one_part_of_one_process():
    from quickstroke.training.feed import _parts

    for n, n_parts, size in ((17, 3, 2), (1, 3, 2), (2, 1, 4), (512, 4, 8), (5, 9, 2)):
        parts = [list(_parts(n, n_parts, distributed.Group(rank, size))) for rank in range(size)]
        assert len({len(own) for own in parts}) == 1  # or they would wait for each other
        taken = np.concatenate([rows for own in parts for rows in own])
        assert sorted(taken.tolist()) == list(range(n))


def test_a_lost_process_is_told_of_and_other_errors_are_as_they_were():
    group = distributed.Group(0, 2)
    with pytest.raises(distributed.Lost, match="process 0 of 2 has lost the others"), distributed.losing(group):
        raise RuntimeError("Connection closed by peer [127.0.0.1]")
    with pytest.raises(RuntimeError, match="shapes"), distributed.losing(group):
        raise RuntimeError("shapes")
    with pytest.raises(RuntimeError, match="gloo"), distributed.losing(distributed.ALONE):
        raise RuntimeError("gloo")
