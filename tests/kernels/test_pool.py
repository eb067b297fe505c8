"""The readout of training on a CPU against plain PyTorch: values, gradients, parts and precision."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quickstroke.kernels.lstm import Packing, pack
from quickstroke.kernels.pool import add_moments, pool, swap

pytestmark = pytest.mark.usefixtures("one_thread")

some_lengths = st.lists(st.integers(1, 25), min_size=1, max_size=12)


def problem(lengths: list[int], n_columns: int, n_parts: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Packing]:
    """Packed rows (S, C), weights (C,) of the attention, and how the rows lie."""
    torch.manual_seed(seed)
    packing = pack(torch.tensor(lengths), max(lengths) + 2, n_parts)
    x = torch.randn(len(packing.index), n_columns, requires_grad=True)
    return x, torch.randn(n_columns, requires_grad=True), packing


def plainly(x: Tensor, weight: Tensor, packing: Packing) -> Tensor:
    """Mean, maximum and attention of each drawing's rows (B, 3 * C)."""
    results = []
    for drawing in range(len(packing.last)):
        own = x[packing.drawing == drawing]
        attention = (own @ weight).softmax(0)
        results.append(torch.cat([own.mean(0), own.amax(0), attention @ own]))
    return torch.stack(results)


def gradients(out: Tensor, *parameters: Tensor) -> list[Tensor]:
    """Of a sum in which every number counts with a weight of its own."""
    weights = torch.linspace(-1, 1.3, out.numel()).reshape(out.shape)
    return list(torch.autograd.grad((out * weights).sum(), parameters))


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm().clamp(min=1e-30))


@given(
    lengths=some_lengths,
    n_columns=st.integers(1, 40),
    n_parts=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_are_those_of_plain_torch(
    lengths: list[int], n_columns: int, n_parts: int, seed: int
) -> None:
    x, weight, packing = problem(lengths, n_columns, n_parts, seed)
    out, expected = pool(x, weight, packing), plainly(x, weight, packing)
    assert out.shape == (len(lengths), 3 * n_columns) and out.dtype == torch.float32
    assert relative_error(out.detach(), expected.detach()) < 1e-5
    for value, target in zip(gradients(out, x, weight), gradients(expected, x, weight), strict=True):
        # A softmax over one row has no gradient: what is left is rounding.
        assert relative_error(value, target) < 1e-5 or float((value - target).abs().max()) < 1e-5


def test_bfloat16_is_near_and_its_gradients_are_of_its_type() -> None:
    x, weight, packing = problem([20, 7, 1, 13], 32, 2)
    rounded = x.detach().bfloat16().requires_grad_()
    out, exact = pool(rounded, weight, packing), plainly(x, weight, packing)
    assert out.dtype == torch.float32
    assert 0 < relative_error(out.detach(), exact.detach()) < 0.01
    # Rounding changes which row is the highest, so gradients are compared on the rounded numbers.
    x = rounded.detach().float().requires_grad_()
    (dx, dweight), (wanted, wanted_dweight) = (
        gradients(out, rounded, weight),
        gradients(pool(x, weight, packing), x, weight),
    )
    assert (dx.dtype, dweight.dtype) == (torch.bfloat16, torch.float32)
    assert 0 < relative_error(dx.float(), wanted) < 0.005
    assert relative_error(dweight, wanted_dweight) < 1e-5


def test_bfloat16_values_are_those_of_the_same_numbers_in_float32() -> None:
    x, weight, packing = problem([20, 7, 1, 13], 32, 2)
    rounded = x.detach().bfloat16()
    assert torch.equal(pool(rounded, weight, packing), pool(rounded.float(), weight, packing))


@pytest.mark.parametrize("n_parts", [2, 3, 9])
def test_parts_make_no_difference(n_parts: int) -> None:
    lengths = [9, 4, 4, 17, 1, 1, 6]
    torch.manual_seed(3)
    padded, weight = torch.randn(7, 19, 5), torch.randn(5)
    one, other = (pack(torch.tensor(lengths), 19, n) for n in (1, n_parts))
    results = [pool(padded.flatten(0, 1)[packing.index], weight, packing) for packing in (one, other)]
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-6)


def test_the_highest_of_equal_numbers_takes_the_whole_gradient_once() -> None:
    x, weight, packing = problem([3, 2], 2)
    same = torch.ones_like(x).requires_grad_()
    (dx,) = torch.autograd.grad(pool(same, weight, packing)[:, 2:4].sum(), same)
    assert [float(dx[packing.drawing == drawing].sum()) for drawing in range(2)] == [2.0, 2.0]
    assert set(dx.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("large", [1e3, -1e3, 1e30])
def test_large_scores_stay_finite(large: float) -> None:
    x, weight, packing = problem([9, 1, 4], 6)
    out = pool(x, weight.detach() * large, packing)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, plainly(x, weight.detach() * large, packing), rtol=1e-4, atol=1e-4)


def test_what_is_not_finite_shows_in_its_own_drawing_alone() -> None:
    x, weight, packing = problem([5, 4], 3)
    with torch.no_grad():
        x[packing.last[1], 0] = float("nan")
        out = pool(x, weight, packing)
    assert torch.isfinite(out[0]).all()
    assert torch.isnan(out[1]).any()


@given(lengths=some_lengths, n_parts=st.integers(1, 4))
def test_swap_turns_each_drawing_round(lengths: list[int], n_parts: int) -> None:
    packing = pack(torch.tensor(lengths), max(lengths), n_parts)
    step = packing.index % max(lengths)
    swapped = swap(step[:, None].float(), packing)[:, 0]
    assert swapped.tolist() == (torch.tensor(lengths)[packing.drawing] - 1 - step).tolist()


@given(lengths=some_lengths, n_parts=st.integers(1, 4))
def test_swap_is_its_own_inverse_and_its_gradient_swaps_back(lengths: list[int], n_parts: int) -> None:
    x, _, packing = problem(lengths, 3, n_parts)
    assert torch.equal(swap(swap(x, packing), packing), x)
    ours, plain = swap(x, packing), x[packing.reverse]
    assert torch.equal(ours, plain)
    assert torch.equal(*[gradients(out, x)[0] for out in (ours, plain)])


def test_moments_are_of_rows_in_the_mask_and_exact() -> None:
    x, out = np.array([[[4097, -1], [5, 7]], [[3, 2], [0, 0.5]]], np.float32), np.ones((2, 2))
    add_moments(x, np.array([[True, False], [True, True]]), out)
    assert out.tolist() == [[4101, 2.5], [4097**2 + 10, 6.25]]  # float32 has no 4097 squared
