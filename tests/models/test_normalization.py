"""Batch norm over the true rows of a batch, and its statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_classifiers import POOLED, SMALL, assert_same, batch_of, build, gradients, random_drawing
from torch import nn

from quickstroke.models.normalization import RowBatchNorm

pytestmark = pytest.mark.usefixtures("one_thread")


def numpy_batch_norm(rows, weight, bias, eps=1e-5):
    """Batch norm of rows (R, C) in float64 with their own statistics."""
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    return (rows - mean) / np.sqrt(var + eps) * weight + bias, mean, var


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda lengths: sum(lengths) > 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_batch_norm_counts_true_rows_only(lengths, seed):
    rng = np.random.default_rng(seed)
    bn = build("simple_lay1_sz5").bn
    old_mean, old_var = bn.running_mean.double().numpy(), bn.running_var.double().numpy()
    points, n = batch_of([random_drawing(length, rng) for length in lengths], 9)
    mask = torch.arange(9) < n[:, None]
    points[~mask] = 77.0  # what stands in the padding must not count
    out = bn(points, mask).detach().double().numpy()
    rows = points[mask].double().numpy()
    expected, mean, var = numpy_batch_norm(rows, bn.weight.tolist(), bn.bias.tolist())
    np.testing.assert_allclose(out[mask.numpy()], expected, rtol=1e-4, atol=1e-4)
    unbiased = var * len(rows) / (len(rows) - 1)
    np.testing.assert_allclose(bn.running_mean.numpy(), 0.9 * old_mean + 0.1 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bn.running_var.numpy(), 0.9 * old_var + 0.1 * unbiased, rtol=1e-5, atol=1e-6)
    assert int(bn.num_batches_tracked) == 1


def test_running_statistics_move_as_torchs_do():
    torch.manual_seed(8)
    ours, theirs = RowBatchNorm(3), nn.BatchNorm1d(3)
    for rows in (4, 1000, 2, 37):
        x = torch.randn(rows, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, -3.0, 0.2])
        torch.testing.assert_close(ours(x[None])[0], theirs(x), rtol=1e-4, atol=1e-5)
    assert_same(dict(ours.named_buffers()), dict(theirs.named_buffers()), 1e-6)


def test_a_single_true_row_has_no_variance():
    bn = RowBatchNorm(3)
    row = torch.tensor([[[0.5, -0.25, 1.0]]])
    out = bn(row, torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(out, torch.zeros(1, 1, 3))
    torch.testing.assert_close(bn.running_mean, 0.1 * row[0, 0])
    torch.testing.assert_close(bn.running_var, torch.full((3,), 0.9))


@pytest.mark.parametrize("name", SMALL + POOLED)
def test_a_batch_of_dots_keeps_the_statistics(name):
    model = build(name).train()
    before = {key: value.clone() for key, value in model.bn.named_buffers()}
    logits = model(torch.zeros(4, 0, model.bn.num_features), torch.zeros(4, dtype=torch.int64))
    grads = gradients(model, logits, torch.tensor([0, 1, 2, 3]))
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert all(torch.equal(value, before[key]) for key, value in model.bn.named_buffers())


def test_evaluation_mode_keeps_the_statistics():
    for reading in ("padded", "length-aware"):
        model = build("simple_lay1_sz5", reading).eval()
        before = {key: value.clone() for key, value in model.bn.named_buffers()}
        model(*batch_of([random_drawing(5, np.random.default_rng(9))]))
        assert all(torch.equal(value, before[key]) for key, value in model.bn.named_buffers())


def test_an_evaluation_leaves_the_model_as_it_was():
    model = build("simple_lay1_sz5").train()
    batch = batch_of([random_drawing(5, np.random.default_rng(9))])
    before = {key: value.clone() for key, value in model.bn.named_buffers()}
    with torch.no_grad():
        with model.evaluating():
            exact = model(*batch)
            assert not model.training and not model.bn.training
        with model.evaluating(torch.bfloat16):
            assert 0 < float((model(*batch) - exact).abs().max()) < 0.02
        with pytest.raises(RuntimeError, match="amid"), model.evaluating(batch_statistics=True):
            assert not model.training and model.bn.training
            assert not torch.allclose(model(*batch), exact)
            raise RuntimeError("amid it")
        assert model.training and model.bn.training
        assert all(torch.equal(value, before[key]) for key, value in model.bn.named_buffers())
        assert torch.equal(model.eval()(*batch), exact)
