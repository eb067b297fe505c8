"""Convolutions on a CPU, normalised and activated, over the true steps of a batch only.

The rows of a batch lie drawing after drawing. What an output step sees is one piece of memory, so that a convolution is
a copy, a matrix product and one pass for bias, layer norm and activation. The type of the
products is that of the input, float32 or bfloat16; all between them is float32.

Dimensions: B drawings, R input rows, S output rows, C channels, F filters, W steps that a filter sees, K = W * C
columns, rounded up.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickstroke.kernels import gemm, lstm, threads
from quickstroke.kernels.arrays import bits_of, empty
from quickstroke.kernels.bfloat16 import bits_as_array, narrow, widen
from quickstroke.utils.compiled import jit

# As in `lstm`, but sums may be taken in any order, so that loops over columns become vectors.
_jit = jit(error_model="numpy", fastmath={"contract", "reassoc"})
_F = np.float32
_EPSILON = _F(1e-5)  # of nn.LayerNorm
# So many output rows go through all of it together, while caches hold them.
_N_TOGETHER = 512


class _Places(NamedTuple):
    """Where each drawing begins in the input rows and in the output rows, int64 (B + 1,) each, the most rows that one
    of them has there; and filters' steps."""

    starts: NDArray[np.int64]
    out_starts: NDArray[np.int64]
    longest: int
    out_longest: int
    stride: int
    width: int


@_jit
def im2col(x: Any, begin: Any, end: Any, stride: Any, width: Any, out: Any) -> None:
    """What each output step sees of one drawing, the rows `begin` to `end` of `x`: its rows of `out` (S, K).

    The row in the middle of what a step sees is one of the drawing's.
    """
    n_channels = x.shape[1]
    flat = x.reshape(x.size)
    for s in range(len(out)):
        row = out[s]
        at = begin + s * stride - width // 2
        low, high = max(begin - at, 0) * n_channels, min(end - at, width) * n_channels
        row[:low] = 0
        seen = flat[at * n_channels + low : at * n_channels + high]
        target = row[low:high]
        for j in range(len(target)):
            target[j] = seen[j]
        row[high:] = 0


@_jit
def _col2im(columns: Any, begin: Any, end: Any, stride: Any, width: Any, dx: Any) -> None:
    """The gradient of what `im2col` gave, added up in the drawing's rows of `dx`, the first one at 0."""
    n_channels = dx.shape[1]
    flat = dx.reshape(dx.size)
    for s in range(len(columns)):
        at = begin + s * stride - width // 2
        low, high = max(begin - at, 0), min(end - at, width)
        own = columns[s, low * n_channels : high * n_channels]
        target = flat[(at + low - begin) * n_channels : (at + high - begin) * n_channels]
        for j in range(len(target)):
            target[j] += own[j]


@_jit
def normalize(
    rows: Any, begin: Any, end: Any, bias: Any, scale: Any, shift: Any, mean: Any, deviation: Any, y: Any
) -> None:
    """Adds the bias to `rows`, and writes them normalised, scaled, shifted and activated to `y`."""
    n = rows.shape[1]
    out = empty(n, np.float32)
    bits = bits_of(out)
    for r in range(begin, end):
        row = rows[r]
        total = _F(0)
        for j in range(n):
            row[j] += bias[j]
            total += row[j]
        middle = total / _F(n)
        squares = _F(0)
        for j in range(n):
            squares += (row[j] - middle) * (row[j] - middle)
        inverse = _F(1) / np.sqrt(squares / _F(n) + _EPSILON)
        mean[r], deviation[r] = middle, inverse
        for j in range(n):
            value = (row[j] - middle) * inverse * scale[j] + shift[j]
            out[j] = value if value > _F(0) or value != value else _F(0)
        narrow(out, bits, y[r])


@_jit
def _normalize_back(made: Any, begin: Any, end: Any, norm: Any, dy: Any, drows: Any, sums: Any) -> None:
    """Gradients of `normalize`; those of rows from `begin` on go to `drows` from 0 on.

    `made` are rows, mean and deviation, `norm` are scale and shift. `sums` (3, F) gets the gradients of bias, scale and
    shift, added to what is there.
    """
    (rows, mean, deviation), (scale, shift) = made, norm
    dbias, dscale, dshift = sums[0], sums[1], sums[2]
    n = rows.shape[1]
    given, exact = empty(n, np.float32), empty(n, np.float32)
    given_bits, bits = bits_of(given), bits_of(exact)
    for r in range(begin, end):
        row, middle, inverse = rows[r], mean[r], deviation[r]
        widen(dy[r], given, given_bits)
        total, along = _F(0), _F(0)
        for j in range(n):
            normal = (row[j] - middle) * inverse
            gradient = given[j] if normal * scale[j] + shift[j] > _F(0) else _F(0)
            dscale[j] += gradient * normal
            dshift[j] += gradient
            gradient *= scale[j]
            given[j] = gradient
            total += gradient
            along += gradient * normal
        total, along = total / _F(n), along / _F(n)
        for j in range(n):
            exact[j] = inverse * (given[j] - total - (row[j] - middle) * inverse * along)
            dbias[j] += exact[j]
        narrow(exact, bits, drows[r - begin])


@_jit
def _group(out_starts: Any, first: Any, last: Any) -> Any:
    """One behind the last of the drawings from `first` on that go together."""
    end = first + 1
    while end < last and out_starts[end + 1] - out_starts[first] <= _N_TOGETHER:
        end += 1
    return end


@_jit
def _forward(x: Any, places: Any, first: Any, last: Any, weight: Any, bias: Any, norm: Any, made: Any, y: Any) -> None:
    """The drawings `first` to `last`, of which each has the rows from its start to the next one's.

    `norm` are scale and shift. `made` are rows, mean and deviation, which the backward pass needs.
    """
    starts, out_starts, _, out_longest, stride, width = places
    (scale, shift), (rows, mean, deviation) = norm, made
    columns = empty((max(out_longest, _N_TOGETHER), len(weight)), x.dtype)
    packed = gemm.pack(weight)
    while first < last:
        end = _group(out_starts, first, last)
        begin_row, end_row = out_starts[first], out_starts[end]
        for b in range(first, end):
            own = columns[out_starts[b] - begin_row : out_starts[b + 1] - begin_row]
            im2col(x, starts[b], starts[b + 1], stride, width, own)
        gemm.multiply(columns[: end_row - begin_row], packed, rows[begin_row:end_row])
        normalize(rows, begin_row, end_row, bias, scale, shift, mean, deviation, y)
        first = end


@_jit
def _backward(
    x: Any, places: Any, first: Any, last: Any, transposed: Any, norm: Any, made: Any, dy: Any, dx: Any, sums: Any
) -> None:
    """As `_forward`; `transposed` is the weight (F, K), `dx` may have no rows where nobody asks for it.

    `sums` (K + 3, F) gets the gradients of weight, bias, scale and shift, added to what is there.
    """
    starts, out_starts, longest, out_longest, stride, width = places
    n_columns, most = transposed.shape[1], max(out_longest, _N_TOGETHER)
    packed = gemm.pack(transposed)
    columns, dcolumns = empty((most, n_columns), x.dtype), empty((most, n_columns), np.float32)
    drows = empty((most, len(transposed)), x.dtype)
    exact = empty((longest, x.shape[1]), np.float32)
    bits = bits_of(exact)
    while first < last:
        end = _group(out_starts, first, last)
        begin_row, end_row = out_starts[first], out_starts[end]
        n = end_row - begin_row
        _normalize_back(made, begin_row, end_row, norm, dy, drows, sums[n_columns:])
        for b in range(first, end):
            own = columns[out_starts[b] - begin_row : out_starts[b + 1] - begin_row]
            im2col(x, starts[b], starts[b + 1], stride, width, own)
        gemm.multiply_transposed(columns[:n], drows[:n], sums[:n_columns], True)
        if len(dx):
            gemm.multiply(drows[:n], packed, dcolumns[:n])
            for b in range(first, end):
                own = dcolumns[out_starts[b] - begin_row : out_starts[b + 1] - begin_row]
                exact[: starts[b + 1] - starts[b]] = 0
                _col2im(own, starts[b], starts[b + 1], stride, width, exact)
                for r in range(starts[b + 1] - starts[b]):
                    narrow(exact[r], bits[r], dx[starts[b] + r])
        first = end


def convolve(
    x: Tensor, starts: NDArray[np.int64], convolution: nn.Conv1d, norm: nn.LayerNorm, n_parts: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """A convolution, layer norm and ReLU of packed rows, each output step in the middle of what it sees.

    Args:
        x: (R, C), float32 or bfloat16, one drawing after the other.
        starts: int64 (B + 1,), where each begins and, last, R.
        n_parts: how many threads share the drawings.

    Returns:
        Rows (S, F) in the type of `x`, and where each drawing begins in them, int64 (B + 1,).
    """
    stride, n_rows = convolution.stride[0], np.diff(starts)
    n_steps = (n_rows + stride - 1) // stride
    longest = int(n_rows.max()), int(n_steps.max())
    places = _Places(starts, np.concatenate([[0], np.cumsum(n_steps)]), *longest, stride, convolution.kernel_size[0])
    y: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        x, convolution.weight, convolution.bias, norm.weight, norm.bias, places, n_parts
    )
    return y, places.out_starts


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        places: _Places,
        n_parts: int,
    ) -> Tensor:
        n_filters, n_channels, width = weight.shape
        x = x.contiguous()
        n_columns = gemm.n_columns(n_channels * width, x.dtype)
        matrix = torch.zeros(n_columns, n_filters, dtype=x.dtype)  # (K, F)
        matrix[: n_channels * width] = weight.permute(2, 1, 0).reshape(-1, n_filters)
        n_rows = int(places.out_starts[-1])
        rows, y = (torch.empty(n_rows, n_filters, dtype=kind) for kind in (torch.float32, x.dtype))
        mean, deviation = np.empty(n_rows, np.float32), np.empty(n_rows, np.float32)
        made, norm = (rows.numpy(), mean, deviation), (scale.numpy(), shift.numpy())
        x_all, matrix_all, y_all = map(bits_as_array, (x, matrix, y))

        def run(first: int, last: int) -> None:
            _forward(x_all, places, first, last, matrix_all, bias.numpy(), norm, made, y_all)

        parts = lstm.shares(places.out_starts, n_parts)
        threads.in_threads(run, parts)
        ctx.save_for_backward(x, matrix, scale, shift, rows)
        ctx.kept = places, mean, deviation, parts
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix, scale, shift, rows = ctx.saved_tensors
        places, mean, deviation, parts = ctx.kept
        n_columns, n_filters = matrix.shape
        n_channels = x.shape[1]
        dx = torch.empty(len(x) if ctx.needs_input_grad[0] else 0, n_channels, dtype=x.dtype)
        # Of one filter `contiguous` would leave the steps between rows, which mean nothing to it, as they are.
        transposed = bits_as_array(matrix.t().clone(memory_format=torch.contiguous_format))
        x_all, dy_all, dx_all = bits_as_array(x), bits_as_array(dy.contiguous()), bits_as_array(dx)
        made, norm = (rows.numpy(), mean, deviation), (scale.numpy(), shift.numpy())

        def run(first: int, last: int) -> Tensor:
            sums = torch.zeros(n_columns + 3, n_filters, dtype=torch.float32)  # of the weight, bias, scale and shift
            _backward(x_all, places, first, last, transposed, norm, made, dy_all, dx_all, sums.numpy())
            return sums

        # In a fixed order, so that the same threads give the same bits.
        sums = functools.reduce(Tensor.add_, threads.in_threads(run, parts))
        dweight = sums[: n_channels * places.width].view(places.width, n_channels, n_filters).permute(2, 1, 0)
        dbias, dscale, dshift = sums[n_columns:]
        return dx if len(dx) else None, dweight, dbias, dscale, dshift, None, None
