"""What follows a convolution over images, against plain PyTorch: values, gradients, and what is no number."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from quickstroke.kernels import image_norm

pytestmark = pytest.mark.usefixtures("one_thread")

EPSILON = 1e-5


def images(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape).to(kind).contiguous(memory_format=torch.channels_last)


def plainly(made: Tensor, is_halved: bool, scale: Tensor, shift: Tensor) -> Tensor:
    x = F.max_pool2d(made, 2) if is_halved else made
    return F.relu(F.group_norm(x, 1, scale, shift, EPSILON))


def ours(made: Tensor, is_halved: bool, scale: Tensor, shift: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
    """What comes out, and the gradients of `made`, `scale` and `shift`."""
    norm = scale.detach().numpy(), shift.detach().numpy()
    out, kept = image_norm.forward(made.detach(), is_halved, *norm, EPSILON)
    return out, *image_norm.backward(kept, dout, *norm)


def relative_error(value: Tensor, expected: Tensor) -> float:
    value, expected = value.detach().double(), expected.detach().double()
    return float((value - expected).norm() / expected.norm().clamp(min=1e-30))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@given(
    n=st.integers(1, 4),
    n_filters=st.integers(1, 70),
    half=st.integers(1, 5),
    is_halved=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_are_those_of_pytorch(
    kind: torch.dtype, n: int, n_filters: int, half: int, is_halved: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    n_left = half if is_halved else 2 * half
    assume(n_filters * n_left * n_left > 8)  # what a norm leaves of a few numbers may be rounding alone
    made, dout = images(n, n_filters, 2 * half, 2 * half, kind=kind), images(n, n_filters, n_left, n_left, kind=kind)
    scale, shift = torch.randn(n_filters), torch.randn(n_filters)
    own = ours(made, is_halved, scale, shift, dout)
    assert own[0].is_contiguous(memory_format=torch.channels_last)
    assert [each.dtype for each in own] == [kind, kind, torch.float32, torch.float32]
    # The reference has the same numbers, but computes in float64.
    inputs = [each.double().requires_grad_() for each in (made, scale, shift)]
    expected = plainly(inputs[0], is_halved, *inputs[1:])
    gradients = torch.autograd.grad(expected, inputs, dout.double())
    for value, target in zip(own, (expected, *gradients), strict=True):
        assert value.shape == target.shape
        assert relative_error(value, target) < (2e-4 if kind == torch.float32 else 0.02)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradients_are_nearer_than_those_of_pytorch_or_as_near(kind: torch.dtype) -> None:
    torch.manual_seed(1)
    made, dout = images(8, 32, 16, 16, kind=kind), images(8, 32, 8, 8, kind=kind)
    scale, shift = torch.randn(32).to(kind).float(), torch.randn(32).to(kind).float()
    own = ours(made, True, scale, shift, dout)[1:]

    def gradients(kind: torch.dtype) -> tuple[Tensor, ...]:
        inputs = [each.to(kind).requires_grad_() for each in (made, scale, shift)]
        return torch.autograd.grad(plainly(inputs[0], True, *inputs[1:]), inputs, dout.to(kind))

    for value, usual, exact in zip(own, gradients(kind), gradients(torch.float64), strict=True):
        assert relative_error(value, exact) <= 1.1 * relative_error(usual, exact)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("special", [math.inf, -math.inf, math.nan, -math.nan, 0.0, -0.0, 1e-40, -1e-40, 3e38])
def test_maxima_are_those_of_pytorch(special: float, kind: torch.dtype) -> None:
    """A NaN of either sign is greater than all others, as there."""
    torch.manual_seed(2)
    made = images(3, 5, 6, 6)
    made[torch.rand(made.shape) < 0.5] = torch.copysign(torch.tensor(abs(special)), torch.tensor(special))
    if special < 0:
        made -= made.clamp(min=0)  # so that the special one may be the greatest
    made = made.to(kind)
    scale, shift = np.ones(5, np.float32), np.zeros(5, np.float32)
    _, kept = image_norm.forward(made, True, scale, shift, EPSILON)
    maxima, at = F.max_pool2d(made, 2, return_indices=True)
    torch.testing.assert_close(kept.maxima, maxima, rtol=0, atol=0, equal_nan=True)
    if special and not math.isnan(special):  # of two zeros or two NaNs either is as good
        where = torch.from_numpy(kept.where.reshape(3, 3, 3, 5)).permute(0, 3, 1, 2)
        assert torch.equal(at // 6 % 2 * 2 + at % 2, where.to(at.dtype))


@pytest.mark.parametrize("is_halved", [False, True])
def test_what_is_not_finite_comes_through(is_halved: bool) -> None:
    made = images(2, 3, 4, 4)
    made[0, 1, 2, 3] = math.nan
    out, _ = image_norm.forward(made, is_halved, np.ones(3, np.float32), np.zeros(3, np.float32), EPSILON)
    assert out[0].isnan().all() and out[1].isfinite().all()


def test_of_equal_pixels_the_first_gets_the_gradient() -> None:
    made, dout = torch.zeros(1, 2, 2, 2).contiguous(memory_format=torch.channels_last), images(1, 2, 1, 1)
    made[:, 1] = 1
    _, dmade, _, _ = ours(made, True, torch.ones(2), torch.ones(2), dout)
    assert dmade[0, :, 0, 0].count_nonzero() == 2 and dmade.count_nonzero() == 2


def test_of_no_drawings_there_is_nothing() -> None:
    out, dmade, dscale, dshift = ours(images(0, 3, 4, 4), True, torch.ones(3), torch.ones(3), images(0, 3, 2, 2))
    assert out.shape == (0, 3, 2, 2) and dmade.shape == (0, 3, 4, 4)
    assert not dscale.any() and not dshift.any()


def test_no_drawing_changes_with_those_beside_it() -> None:
    made, dout = images(5, 7, 4, 4, kind=torch.bfloat16), images(5, 7, 2, 2, kind=torch.bfloat16)
    scale, shift = torch.randn(7), torch.randn(7)
    together = ours(made, True, scale, shift, dout)[:2]
    for i in range(5):
        alone = ours(made[i : i + 1], True, scale, shift, dout[i : i + 1])[:2]
        assert all(torch.equal(own[0], all_[i]) for own, all_ in zip(alone, together, strict=True))
