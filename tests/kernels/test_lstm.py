"""The LSTM of training against nn.LSTM: values and gradients, whatever the lengths, parts and precision."""

import copy
import itertools
import os
import signal
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from quickstroke.config.model import ModelConfig
from quickstroke.kernels import lstm, lstm_steps, threads
from quickstroke.models.classifier import StrokeClassifier

NAMES = (
    "simple_lay1_sz16",
    "simple_lay3_sz5",
    "bilstm_lay1_sz7",
    "bilstm_lay2_sz16",
    "lstm_cv1_6_5_lay2_sz9",
    "bilstm_cv1_6_3_cv2_5_4_lay2_sz8",
)


def reference(layer, points, lengths):
    """The outputs of nn.LSTM, each drawing run by itself at its own length."""
    return [layer(row[None, :length])[0][0] for row, length in zip(points, lengths.tolist(), strict=True)]


def packed(layer, points, lengths, n_parts=1, dtype=torch.float32):
    packing = lstm.pack(lengths, points.shape[1], n_parts)
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    return lstm.lstm(points.flatten(0, 1)[packing.index].to(dtype), weights, packing), packing


def relative_error(value, expected):
    """Of what is smaller than 0.01 the error is mostly that of the numbers which cancel each other out."""
    return float((value - expected).norm() / expected.norm().clamp(min=0.01))


def problem(n_inputs, n_hidden, lengths, seed=0):
    torch.manual_seed(seed)
    layer = nn.LSTM(n_inputs, n_hidden, batch_first=True)
    points = torch.randn(len(lengths), max(lengths) + 2, n_inputs, requires_grad=True)
    return layer, points, torch.tensor(lengths)


@given(
    n_inputs=st.integers(1, 20),
    n_hidden=st.integers(1, 40),
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=12),
    n_parts=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_are_those_of_nn_lstm(n_inputs, n_hidden, lengths, n_parts, seed):
    layer, points, lengths = problem(n_inputs, n_hidden, lengths, seed)
    wanted = reference(layer, points, lengths)
    factors = torch.randn(len(lengths), n_hidden)
    # Every step is read, with a weight of its own, so that every gradient has all its parts.
    sum((h * h.detach().cos() * factor).sum() for h, factor in zip(wanted, factors, strict=True)).backward()
    expected = [points.grad.clone(), *(parameter.grad.clone() for parameter in layer.parameters())]
    points.grad = None
    layer.zero_grad()

    h, packing = packed(layer, points, lengths, n_parts)
    drawing, step = packing.index // points.shape[1], packing.index % points.shape[1]
    for i, target in enumerate(wanted):
        own = h[drawing == i][step[drawing == i].argsort()]
        assert own.shape == target.shape
        assert torch.allclose(own, target, rtol=1e-5, atol=1e-6)
    (h * h.detach().cos() * factors[drawing]).sum().backward()
    actual = [points.grad, *(parameter.grad for parameter in layer.parameters())]
    for value, target in zip(actual, expected, strict=True):
        assert relative_error(value, target) < 1e-5


@given(
    n_inputs=st.integers(1, 40),
    n_hidden=st.integers(1, 10).map(lambda quarter: 4 * quarter),  # rows of whole cache lines, as MKL wants them
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=12),
    n_parts=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_without_gradients_the_values_are_the_same_to_the_last_bit(n_inputs, n_hidden, lengths, n_parts, dtype):
    layer, points, lengths = problem(n_inputs, n_hidden, lengths)
    expected, _ = packed(layer, points, lengths, n_parts, dtype)
    layer.requires_grad_(False)
    h, _ = packed(layer, points.detach(), lengths, n_parts, dtype)
    assert not h.requires_grad
    assert torch.equal(h, expected)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), n_parts=st.integers(1, 5))
def test_a_packing_holds_every_true_step_once(lengths, n_parts):
    lengths = torch.tensor(lengths)
    n_steps = int(lengths.max()) + 3
    packing = lstm.pack(lengths, n_steps, n_parts)
    true_rows = [i * n_steps + t for i, n in enumerate(lengths.tolist()) for t in range(n)]
    assert sorted(packing.index.tolist()) == true_rows
    drawing, step = packing.index // n_steps, packing.index % n_steps
    assert torch.equal(packing.reverse[packing.reverse], torch.arange(len(true_rows)))
    assert torch.equal(packing.drawing, drawing)
    assert torch.equal(drawing[packing.reverse], drawing)
    assert torch.equal(step[packing.reverse], lengths[drawing] - 1 - step)
    assert torch.equal(drawing[packing.last], torch.arange(len(lengths)))
    assert torch.equal(step[packing.last], lengths - 1)
    # The rows of each step of a part are one block, in which the drawings keep their places.
    assert sum(sum(sizes) for _, sizes in packing.parts) == len(true_rows)
    for begin, sizes in packing.parts:
        assert list(sizes) == sorted(sizes, reverse=True) and sizes[-1] > 0
        blocks = torch.split(drawing[begin : begin + sum(sizes)], list(sizes))
        for before, after in itertools.pairwise(blocks):
            assert torch.equal(before[: len(after)], after)


@given(
    n_hidden=st.integers(1, 40),
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=12),
    n_parts=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_last_steps_alone_and_their_gradients_are_those_among_all(n_hidden, lengths, n_parts, dtype):
    layer, points, lengths = problem(3, n_hidden, lengths)
    packing = lstm.pack(lengths, points.shape[1], n_parts)
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    x, factors = points.flatten(0, 1)[packing.index].to(dtype), torch.randn(len(lengths), n_hidden).to(dtype)
    results = []
    for h in (lstm.lstm(x, weights, packing)[packing.last], lstm.lstm(x, weights, packing, is_last=True)):
        results.append([h.detach(), *torch.autograd.grad((h * factors).sum(), [points, *weights], retain_graph=True)])
        with torch.no_grad():
            assert torch.equal(lstm.lstm(x, weights, packing, is_last=True), h)
    for among_all, alone in zip(*results, strict=True):
        assert torch.equal(among_all, alone)


def test_bfloat16_is_near_and_its_gradients_point_the_same_way():
    layer, points, lengths = problem(12, 32, [20, 18, 18, 3, 1])
    exact, packing = packed(layer, points, lengths)
    exact[packing.last].sum().backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    rounded, _ = packed(layer, points, lengths, dtype=torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).detach().abs().max()) < 0.02
    rounded[packing.last].float().sum().backward()
    for parameter, target in zip(layer.parameters(), expected, strict=True):
        assert parameter.grad.dtype == torch.float32
        assert 0 < relative_error(parameter.grad, target) < 0.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_swallowed(dtype, bad):
    layer, points, lengths = problem(3, 8, [6, 4])
    with torch.no_grad():
        layer.bias_ih_l0[16] = float("nan")  # of the gate g
        h, packing = packed(layer, points, lengths, dtype=dtype)
        assert torch.isnan(h[packing.last][:, 0]).all()
        layer.bias_ih_l0[16] = 0
        points[1, 0, 0] = bad
        h, packing = packed(layer, points, lengths, dtype=dtype)
    assert bool(torch.isnan(h[packing.last][1]).any()) == np.isnan(bad)  # gates of +-inf are 0 or 1, as they should be
    assert torch.isfinite(h[packing.last][0]).all()


@pytest.mark.parametrize("large", [50.0, 1e4, 1e30])
def test_saturated_gates(large):
    layer, points, lengths = problem(3, 8, [6, 4])
    with torch.no_grad():
        points *= large
        h, packing = packed(layer, points, lengths)
        wanted = torch.stack([rows[-1] for rows in reference(layer, points, lengths)])
    assert torch.allclose(h[packing.last], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_model_has_the_same_logits_and_gradients_either_way(name, n_threads, monkeypatch):
    """With gradients a float32 model takes this path on a CPU, one of float64 takes torch.lstm."""
    torch.manual_seed(3)
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=5)).train()
    points, lengths = torch.randn(9, 30, 3), torch.tensor([30, 30, 17, 12, 5, 2, 1, 0, 29])
    points *= torch.arange(30)[None, :, None] < lengths[:, None, None]
    labels = torch.arange(9) % 5
    monkeypatch.setattr(threads, "n_threads", lambda: n_threads)
    results = []
    for either, x in ((model, points), (copy.deepcopy(model).double(), points.double())):
        logits = either(x, lengths)
        nn.functional.cross_entropy(logits, labels).backward()
        results.append((logits.detach().float(), [parameter.grad.float() for parameter in either.parameters()]))
    (logits, gradients), (plain_logits, plain_gradients) = results
    assert torch.allclose(logits, plain_logits, rtol=1e-5, atol=1e-6)
    scale = max(float(gradient.norm()) for gradient in plain_gradients)
    for gradient, expected in zip(gradients, plain_gradients, strict=True):
        assert float((gradient - expected).norm()) < 1e-5 * scale


def test_training_steps_follow_those_of_torch_lstm():
    """The same drawings, the same steps: the weights stay together."""
    ends = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(5)
        model = StrokeClassifier(ModelConfig.from_name("bilstm_lay2_sz12", n_classes=4)).train()
        points, lengths, labels = torch.randn(16, 20, 3), torch.randint(1, 21, (16,)), torch.randint(0, 4, (16,))
        model, points = model.to(dtype), points.to(dtype)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        losses = []
        for _ in range(20):
            loss = nn.functional.cross_entropy(model(points, lengths), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        ends.append((losses, model.state_dict()))
    (losses, weights), (plain_losses, plain_weights) = ends
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    assert losses[-1] < losses[0]
    for key, value in weights.items():
        assert torch.allclose(value, plain_weights[key].to(value.dtype), atol=1e-4), key


def test_the_same_parts_give_the_same_bits_whatever_memory_is_reused():
    layer, points, lengths = problem(5, 16, [25, 20, 11, 7, 7, 3])
    results = []
    for _ in range(3):
        layer.zero_grad()
        h, packing = packed(layer, points, lengths, n_parts=2)
        other, _ = packed(layer, points, lengths, n_parts=2)  # a second pass is open at the same time
        (h[packing.last].sum() + 2 * other[packing.last].sum()).backward()
        results.append([h.detach().clone(), *(parameter.grad.clone() for parameter in layer.parameters())])
        del h, other
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("is_last", [False, True])
def test_rows_and_gradients_with_gaps_between_their_numbers_are_read_as_others(is_last):
    layer, _, lengths = problem(5, 16, [9, 4, 4, 1])
    packing = lstm.pack(lengths, 9, 2)
    weights = [parameter.detach().requires_grad_() for parameter in layer.parameters()]
    wide, dh = torch.randn(len(packing.index), 10), torch.randn(16, len(packing.index))
    results = []
    for copied in (torch.Tensor.contiguous, torch.Tensor.detach):
        x = copied(wide[:, ::2]).requires_grad_()
        h = lstm.lstm(x, weights, packing, is_last)
        gradient = copied(dh[:, : len(h)].t())
        results.append([h, *torch.autograd.grad(h, [x, *weights], gradient)])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_share_no_rows(dtype, monkeypatch):
    """What is kept of two steps where there are no gradients, and the sums of one step."""
    layer, points, lengths = problem(3, 4, [5, 2, 2, 9, 1, 1, 7, 3, 3, 6, 4])
    monkeypatch.setattr(threads, "n_threads", lambda: 3)
    forward, kept, summed = lstm_steps.forward, [], []

    def record(*given):
        sizes, _, first, room = given[-4:]
        for rows, begin, n in ((kept, first, 2 * sizes[0]), (summed, room, sizes[0] if room >= 0 else 0)):
            rows[-1].update(range(begin, begin + n))
        forward(*given)

    def in_turn(run, parts):
        for part in parts:
            kept.append(set())
            summed.append(set())
            run(*part)

    monkeypatch.setattr(lstm_steps, "forward", record)
    monkeypatch.setattr(threads, "in_threads", in_turn)
    with torch.no_grad():
        packed(layer, points, lengths, 5, dtype)
    assert len(kept) == 3 and all(kept)
    for rows in (kept, summed):
        assert sum(map(len, rows)) == len(set.union(*rows))


def test_precision_changes_training_only():
    config = ModelConfig.from_name("bilstm_lay1_sz8", n_classes=3)
    model = StrokeClassifier(replace(config, max_padding=20)).eval()
    points, lengths = torch.randn(4, 20, 3), torch.tensor([20, 9, 4, 1])
    exact = model(points, lengths)
    with torch.no_grad():
        without = model(points, lengths)
    trained = StrokeClassifier(model.config, precision=torch.bfloat16).eval()
    trained.load_state_dict(model.state_dict())
    rounded = trained(points, lengths)
    assert rounded.dtype == torch.float32
    assert 1e-6 < float((rounded - exact).detach().abs().max()) < 0.02
    with torch.no_grad():
        assert torch.equal(trained(points, lengths), without)


def test_a_gradient_is_taken_once():
    layer, points, lengths = problem(3, 4, [5, 2])
    h, _ = packed(layer, points, lengths)
    h.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="can be taken once"):
        h.sum().backward()


def test_memory_that_is_kept_is_that_of_the_passes_at_one_time(monkeypatch):
    monkeypatch.setattr(lstm, "_free", [])
    layer, points, lengths = problem(3, 16, [9] * 20)
    sizes = []
    for n_drawings in (3, 20, 11, 3, 20):
        passes = [packed(layer, points[:n_drawings], lengths[:n_drawings])[0] for _ in range(2)]
        sum(h.sum() for h in passes).backward()
        assert len(lstm._free) == 2
        sizes.append(sum(block.numel() for block in lstm._free))
    assert sizes[0] < sizes[1] == sizes[2] == sizes[3] == sizes[4]


def test_without_gradients_two_steps_are_kept(monkeypatch):
    monkeypatch.setattr(lstm, "_free", [])
    layer, points, lengths = problem(3, 16, [90] * 20)
    sizes = []
    for needs_grad in (False, True):
        h, _ = packed(layer.requires_grad_(needs_grad), points.detach(), lengths)
        if needs_grad:
            h.sum().backward()
        sizes.append(sum(block.numel() for block in lstm._free))
    assert 0 < sizes[0] < sizes[1] / 3


def test_a_padded_teacher_in_bfloat16_is_near():
    model = StrokeClassifier(ModelConfig.from_name("lstm_cv1_6_5_lay2_sz9", n_classes=3, reading="padded")).eval()
    points, lengths = torch.randn(4, 20, 3), torch.tensor([20, 9, 4, 1])
    with torch.no_grad():
        exact = model(points, lengths)
        rounded = model.frozen(torch.bfloat16)(points, lengths)
    assert rounded.dtype == torch.float32
    assert 1e-6 < float((rounded - exact).abs().max()) < 0.02


def test_threads_of_the_caller_stay_as_they_were():
    before = torch.get_num_threads()
    layer, points, lengths = problem(3, 4, [5, 2, 2])
    packed(layer, points, lengths, n_parts=3)[0].sum().backward()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *seen] == [before, before]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_goes_on():
    layer, points, lengths = problem(3, 4, [5, 2, 2])
    packed(layer, points, lengths, n_parts=2)[0].sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which is what this is about
        lock = lstm._lock
        lock.acquire()  # as a thread may have it, which the child has not
        child = os.fork()
    if child:
        lock.release()
    else:
        # Where it failed, it would wait for threads that the child has not.
        signal.alarm(60)
        packed(layer, points, lengths, n_parts=2)[0].sum().backward()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_batch_has_parts_for_each_thread_and_as_caches_hold(monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: 2)
    monkeypatch.setattr(lstm.mkl, "IS_THERE", False)
    assert [lstm.n_parts(*shape) for shape in ((1, 1), (64, 256), (65, 256), (512, 256))] == [2, 2, 4, 16]
    monkeypatch.setattr(lstm.mkl, "IS_THERE", True)
    assert lstm.n_parts(512, 256) == 2
