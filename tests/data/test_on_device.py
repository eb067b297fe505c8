"""The way of a GPU, without one.

What is gathered there is compared with what the CPU gathers, on a CPU. That a step waits for nothing is tested on the
device `meta`, whose tensors have no numbers: whatever asks for one, as `.item()` or a mask as index, is refused there.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, batches, on_device
from quickstroke.data.on_device import DeviceData
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import TrainingError
from quickstroke.evaluation import evaluate as evaluation
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.models.normalization import RowBatchNorm
from quickstroke.runtime.device import to_device
from quickstroke.runtime.distributed import ALONE
from quickstroke.training import feed, session, step
from quickstroke.training import optimizer as optimizer_module
from quickstroke.training.checkpoint import State
from quickstroke.training.loop import train
from quickstroke.training.session import Interrupted, Watcher

CPU, META = torch.device("cpu"), torch.device("meta")
CONFIG = TrainConfig(n_epochs=2, batch_size=16, learning_rate=0.01, max_padding=30, device="cpu", precision="float32")
MODEL = ModelConfig.from_name("bilstm_lay1_sz5")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Datasets are brought to the CPU as to a GPU, and losses are read as rarely."""
    monkeypatch.setattr(evaluation, "on_device", DeviceData)
    monkeypatch.setattr(session, "on_device", DeviceData)
    monkeypatch.setattr(step, "_steps_at_once", lambda device, group: 5)


@pytest.mark.parametrize("preprocessing", ["delta3", "pos5"])
@pytest.mark.parametrize("max_padding", [1, 7, 100])
def test_what_is_gathered_there_is_what_the_cpu_gathers(dataset, preprocessing, max_padding):
    there = DeviceData(dataset, CPU)
    rng = np.random.default_rng(5)
    for indices in (rng.integers(len(dataset.labels), size=40), np.arange(3), np.array([4, 4])):
        expected = batches.points_of(dataset, indices, max_padding, preprocessing)
        for ours, theirs in zip(there.points_of(indices, max_padding, preprocessing), expected, strict=True):
            assert ours.dtype == torch.from_numpy(theirs).dtype
            np.testing.assert_array_equal(ours.numpy(), theirs)


def test_a_dot_has_no_row_there_either():
    class Dots:
        points = np.array([[9, 9], [3, 4], [3, 8]], np.uint8)
        pen_up = np.array([0b101], np.uint8)
        offsets = np.array([0, 1, 3])
        labels = np.zeros(2, np.uint16)
        n_points = np.array([1, 2], np.int32)

    there = DeviceData(Dots, CPU)
    for preprocessing in ("delta3", "pos5"):
        for indices in (np.array([0]), np.array([0, 1])):
            expected = batches.points_of(Dots, indices, 100, preprocessing)
            for ours, theirs in zip(there.points_of(indices, 100, preprocessing), expected, strict=True):
                np.testing.assert_array_equal(ours.numpy(), theirs)


def test_a_dataset_comes_in_blocks(dataset, monkeypatch):
    whole = DeviceData(dataset, CPU)._points
    monkeypatch.setattr(on_device, "_BLOCK", 100)
    assert torch.equal(DeviceData(dataset, CPU)._points, whole)
    assert torch.equal(whole, torch.from_numpy(np.array(dataset.points)))


def test_only_a_gpu_with_room_gets_a_dataset(dataset, monkeypatch):
    assert on_device.on_device(dataset, CPU) is None
    needed = dataset.points.nbytes + dataset.pen_up.nbytes + 8 * len(dataset.offsets)
    monkeypatch.setattr(on_device, "DeviceData", lambda data, device: (data, device))
    for free, is_there in ((2 * needed, False), (2 * needed + 2, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        there = on_device.on_device(dataset, torch.device("cuda"))
        assert there == ((dataset, torch.device("cuda")) if is_there else None)


def test_a_training_is_the_same_that_way(dataset, tmp_path, request):
    config = replace(CONFIG, max_grad_norm=0.5, ema_decay=0.9)
    train(MODEL, config, dataset, tmp_path / "usual")
    request.getfixturevalue("as_on_a_gpu")
    train(MODEL, config, dataset, tmp_path / "there")
    usual, there = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("usual", "there"))
    for key in ("model", "averaged"):
        for name, values in usual[key].items():
            assert torch.equal(values, there[key][name]), name
    for ours, theirs in zip(*(runs.read_metrics(tmp_path / name) for name in ("usual", "there")), strict=True):
        for key in ours.keys() - {"seconds", "train_seconds"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-12), key


@pytest.mark.parametrize("protocol", ["standard", "2020"])
def test_an_evaluation_is_the_same_that_way(dataset, protocol, as_on_a_gpu, monkeypatch):
    torch.manual_seed(2)
    model = StrokeClassifier(replace(MODEL, n_classes=3))
    arguments = model, LabelledDrawings.of_split(dataset, "train", dataset.classes)
    there = evaluate(*arguments, protocol=protocol, batch_size=16)
    monkeypatch.setattr(evaluation, "on_device", lambda data, device: None)
    usual = evaluate(*arguments, protocol=protocol, batch_size=16)
    assert usual.figures() == there.figures()
    np.testing.assert_array_equal(usual.ranks, there.ranks)


def broken_at(monkeypatch, n):
    """The n-th loss that is computed, from 1, is not a number."""
    loss, calls = step._loss, []

    def breaking(*arguments):
        calls.append(1)
        return loss(*arguments) * (float("nan") if len(calls) == n else 1)

    monkeypatch.setattr(step, "_loss", breaking)


@pytest.mark.parametrize("n", [1, 3, 5, 8])
def test_a_loss_that_is_read_late_is_found_where_it_was(dataset, tmp_path, as_on_a_gpu, monkeypatch, n):
    config = replace(CONFIG, ema_decay=0.9)
    asked = iter(range(1, 100))
    if n > 1:
        with pytest.raises(Interrupted):
            watcher = Watcher(should_stop=lambda: next(asked) == n - 1)
            train(MODEL, config, dataset, tmp_path / "before", watcher=watcher)
    broken_at(monkeypatch, n)
    with pytest.raises(TrainingError, match=f"the loss of epoch 1, step {n} is nan"):
        train(MODEL, config, dataset, tmp_path / "broken")
    broken = torch.load(tmp_path / "broken" / "last.ckpt", weights_only=True)
    assert broken["state"]["step"] == n - 1
    if n > 1:
        before = torch.load(tmp_path / "before" / "last.ckpt", weights_only=True)
        assert before["state"]["loss_sum"] == pytest.approx(broken["state"]["loss_sum"])
        for name, values in before["model"].items():
            assert torch.equal(values, broken["model"][name]), name
        for i, values in before["optimizer"]["state"].items():
            for name in values:
                assert torch.equal(values[name], broken["optimizer"]["state"][i][name]), name


def test_an_array_stays_in_the_same_memory_on_a_cpu():
    array = np.zeros(3, np.float32)
    to_device(array, CPU)[1] = 7
    assert array.tolist() == [0, 7, 0]


def test_the_device_of_these_tests_refuses_to_be_waited_for():
    there = torch.zeros(4, device=META)
    with pytest.raises(RuntimeError, match="meta"):
        there.sum().item()
    with pytest.raises(NotImplementedError, match="nonzero"):
        there[there > 0]


@pytest.mark.parametrize(
    ("name", "normalization", "optimizer"),
    [
        ("simple_lay1_sz8", "batch", "adam"),
        ("simple_lay2_sz8", "fixed", "muon"),
        ("bilstm_lay2_sz8", "fixed", "adam"),
        ("lstm_cv1_6_5_lay1_sz8", "fixed", "muon"),
        ("bipool_cv1_8_5_2_img2_lay2_sz8", "batch", "muon"),
        ("bipool_cv1_8_5_2_img2_lay2_sz8", "fixed", "adam"),
    ],
)
def test_a_step_waits_for_nothing(dataset, tmp_path, name, normalization, optimizer):
    """All that is done between two settlings, on tensors that have no numbers to wait for."""
    config = replace(CONFIG, optimizer=optimizer, max_grad_norm=1.0, ema_decay=0.9, dropout=0.1, weight_decay=0.01)
    model_config = replace(ModelConfig.from_name(name), n_classes=3, reading="length-aware", max_padding=30)
    model = StrokeClassifier(model_config, 0.1).to(META).train()
    model.bn.train(normalization == "batch")
    averaged, optimizer = copy.deepcopy(model), optimizer_module.optimizer_of(config, model)
    state, there, drawings = State(), DeviceData(dataset, META), dataset.indices("train")
    losses = step.Losses(state, META, ALONE, tmp_path, lambda: None)
    label_map = dataset.label_map(dataset.classes)
    candidates = augmentation.mixup_candidates(dataset, drawings, label_map)
    feeder = feed.Feeder(config, model_config, dataset, there, META, label_map, candidates, ALONE)
    for places in np.arange(48).reshape(3, 16):
        micro_batches = feeder.micro_batches(state, drawings, places, None)
        losses.add(step.accumulate_gradients(config, model, optimizer, micro_batches, META, ALONE), 16)
        step.update_weights(config, model, optimizer, averaged, losses.are_lost, state.step)
        state.step += 1
    assert not losses.are_due
    with pytest.raises(RuntimeError, match="meta"):
        losses.settle()


@pytest.mark.parametrize("lengths", [[5, 3, 0, 1], [0, 0], [1]])
def test_batch_norm_that_does_not_wait_is_the_same(lengths):
    torch.manual_seed(4)
    norms = [RowBatchNorm(3) for _ in range(2)]
    x, rows = torch.randn(len(lengths), 6, 3), torch.tensor(lengths)
    mask = torch.arange(6) < rows.unsqueeze(1)
    for _ in range(2):
        usual = norms[0](x, mask)
        mean, var = norms[1]._without_waiting(x, mask)
        scale = norms[1].weight * torch.rsqrt(var + norms[1].eps)
        torch.testing.assert_close(x * scale + (norms[1].bias - mean * scale), usual)
        for one, other in zip(norms[0].buffers(), norms[1].buffers(), strict=True):
            torch.testing.assert_close(one, other)


def test_batch_norm_of_all_rows_waits_for_no_device():
    """As a padded model has it; `meta` refuses whatever would wait."""
    scale, shift = RowBatchNorm(3).to("meta").train().scale_and_shift(torch.zeros(2, 6, 3, device="meta"))
    assert scale.shape == shift.shape == (3,)
