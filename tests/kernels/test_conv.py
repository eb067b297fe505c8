"""The convolutions of training on a CPU against plain PyTorch: values, gradients, parts and precision."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from quickstroke.config.model import ModelConfig
from quickstroke.kernels import lstm
from quickstroke.kernels.conv import convolve
from quickstroke.models.classifier import StrokeClassifier

pytestmark = pytest.mark.usefixtures("one_thread")

some_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=9)


def layers(n_channels: int, n_filters: int, width: int, stride: int) -> tuple[nn.Conv1d, nn.LayerNorm]:
    """A convolution and a norm whose every parameter counts."""
    convolution, norm = nn.Conv1d(n_channels, n_filters, width, stride), nn.LayerNorm(n_filters)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter += 0.3 * torch.randn(n_filters)
    return convolution, norm


def plainly(x: Tensor, lengths: list[int], convolution: nn.Conv1d, norm: nn.LayerNorm) -> Tensor:
    """The same of each drawing by itself, between zeros."""
    stride, width = convolution.stride[0], convolution.kernel_size[0]
    results = []
    for own in x.split(lengths):
        n_steps = -(-len(own) // stride)
        out = nn.functional.conv1d(own.t()[None], convolution.weight, convolution.bias, stride, width // 2)
        results.append(nn.functional.relu(norm(out[0].t()[:n_steps])))
    return torch.cat(results)


def starts_of(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float(((value - expected).norm() / expected.norm().clamp(min=0.01)).detach())


@given(
    lengths=some_lengths,
    n_channels=st.integers(1, 20),
    n_filters=st.integers(8, 20),  # a norm over two numbers makes 1 and -1 of them, whatever they are
    width=st.integers(1, 8),
    stride=st.integers(1, 4),
    n_parts=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_are_those_of_plain_torch(
    lengths: list[int], n_channels: int, n_filters: int, width: int, stride: int, n_parts: int, seed: int
) -> None:
    torch.manual_seed(seed)
    convolution, norm = layers(n_channels, n_filters, width, stride)
    x = torch.randn(sum(lengths), n_channels, requires_grad=True)
    out, starts = convolve(x, starts_of(lengths), convolution, norm, n_parts)
    assert starts.tolist() == starts_of([-(-n // stride) for n in lengths]).tolist()
    expected = plainly(x, lengths, convolution, norm)
    assert out.shape == expected.shape and out.dtype == torch.float32
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=2e-5)
    weights = torch.randn(out.shape)
    parameters = [x, *convolution.parameters(), *norm.parameters()]
    actual, wanted = (torch.autograd.grad((y * weights).sum(), parameters) for y in (out, expected))
    for value, target in zip(actual, wanted, strict=True):
        assert relative_error(value, target) < 1e-4


def test_at_the_size_of_published_models_errors_are_of_float32() -> None:
    torch.manual_seed(0)
    lengths = torch.randint(1, 120, (60,)).tolist()
    convolution, norm = layers(64, 128, 5, 2)
    x = torch.randn(sum(lengths), 64, requires_grad=True)
    out, _ = convolve(x, starts_of(lengths), convolution, norm, 2)
    expected = plainly(x, lengths, convolution, norm)
    assert relative_error(out, expected) < 1e-5
    weights = torch.randn(out.shape)
    parameters = [x, *convolution.parameters(), *norm.parameters()]
    actual, wanted = (torch.autograd.grad((y * weights).sum(), parameters) for y in (out, expected))
    assert max(map(relative_error, actual, wanted)) < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
def test_a_drawing_of_more_rows_than_go_together(stride: int) -> None:
    torch.manual_seed(0)
    lengths = [3, 1500, 4]
    convolution, norm = layers(2, 8, 3, stride)
    x = torch.randn(sum(lengths), 2, requires_grad=True)
    out, _ = convolve(x, starts_of(lengths), convolution, norm, 1)
    expected = plainly(x, lengths, convolution, norm)
    weights = torch.randn(out.shape)
    parameters = [x, *convolution.parameters(), *norm.parameters()]
    actual, wanted = (torch.autograd.grad((y * weights).sum(), parameters) for y in (out, expected))
    assert max(map(relative_error, (out, *actual), (expected, *wanted))) < 1e-5


def test_what_is_0_before_the_activation_has_no_gradient() -> None:
    convolution, norm = layers(5, 8, 3, 1)
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    x = torch.randn(20, 5, requires_grad=True)
    out, _ = convolve(x, starts_of([7, 13]), convolution, norm, 1)
    out.sum().backward()
    for parameter in (x, *convolution.parameters(), *norm.parameters()):
        assert parameter.grad is not None and not parameter.grad.any()


def test_one_filter_whose_norm_leaves_nothing_has_no_gradient() -> None:
    torch.manual_seed(0)
    convolution, norm = layers(8, 1, 3, 1)
    x = torch.randn(24, 8, requires_grad=True)
    out, _ = convolve(x, starts_of([20, 4]), convolution, norm, 1)
    gradient, of_weights = torch.autograd.grad(out.sum(), [x, convolution.weight])
    assert not gradient.any() and not of_weights.any()


def test_bfloat16_is_near_and_its_gradients_are_of_the_parameters_type() -> None:
    torch.manual_seed(0)
    lengths = [40, 3, 17]
    convolution, norm = layers(16, 32, 5, 2)
    x = torch.randn(60, 16).bfloat16().requires_grad_()
    out, _ = convolve(x, starts_of(lengths), convolution, norm, 1)
    assert out.dtype == torch.bfloat16
    expected = plainly(x.float(), lengths, convolution, norm)
    assert relative_error(out.float(), expected) < 0.01
    out.float().square().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
    for parameter in (*convolution.parameters(), *norm.parameters()):
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32


def test_without_a_gradient_for_the_input_the_others_are_the_same() -> None:
    torch.manual_seed(0)
    convolution, norm = layers(5, 8, 3, 1)
    found = []
    for needs_grad in (True, False):
        x = torch.linspace(-1, 1, 100).reshape(20, 5).requires_grad_(needs_grad)
        out, _ = convolve(x, starts_of([7, 13]), convolution, norm, 1)
        found.append(torch.autograd.grad(out.square().sum(), list(convolution.parameters())))
    assert all(map(torch.equal, *found))


def test_rows_and_gradients_with_gaps_between_their_numbers_are_read_as_others() -> None:
    torch.manual_seed(0)
    convolution, norm = layers(5, 8, 3, 2)
    wide, weights = torch.randn(20, 10), torch.randn(8, 11)
    found = []
    for copied in (torch.Tensor.contiguous, torch.Tensor.detach):
        x = copied(wide[:, ::2]).requires_grad_()
        out, _ = convolve(x, starts_of([7, 13]), convolution, norm, 1)
        found.append([out, *torch.autograd.grad(out, [x, *convolution.parameters()], copied(weights.t()))])
    assert all(map(torch.equal, *found))


def test_what_is_not_finite_shows_in_its_own_drawing_alone() -> None:
    convolution, norm = layers(5, 8, 3, 1)
    x = torch.ones(20, 5)
    x[3] = torch.nan
    out, starts = convolve(x, starts_of([7, 13]), convolution, norm, 1)
    assert out[: starts[1]].isnan().any() and out[starts[1] :].isfinite().all()


@given(lengths=some_lengths, n_parts=st.integers(1, 12))
def test_shares_are_all_drawings_once_in_order(lengths: list[int], n_parts: int) -> None:
    shares = lstm.shares(starts_of(lengths), n_parts)
    assert 1 <= len(shares) <= n_parts
    assert [b for first, last in shares for b in range(first, last)] == list(range(len(lengths)))


@pytest.mark.parametrize("name", ["bipool_cv1_8_5_cv2_12_4_3_lay2_sz8", "bipool_cv1_6_5_2_lay1_sz7", "bipool_lay1_sz5"])
def test_a_model_learns_as_by_pytorch(name: str) -> None:
    torch.manual_seed(0)
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=4, max_padding=40))
    lengths = torch.randint(1, 41, (25,))
    points = torch.randn(25, 40, 5) * (torch.arange(40) < lengths[:, None]).unsqueeze(2)
    found = []
    for each, x in ((model, points), (copy.deepcopy(model).double(), points.double())):  # which nobody but PyTorch has
        logits = each(x, lengths)
        gradients = torch.autograd.grad(logits.square().sum(), list(each.parameters()))
        found.append([value.double() for value in (logits, *gradients)])
    assert max(map(relative_error, *found)) < 2e-5
