"""Packed rows: windows of them, their order, and readout `pool`, the mean, maximum and attention over them.

Dimensions: B batch, S packed rows, C columns.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickstroke.kernels.arrays import bits_of, empty, zeros
from quickstroke.kernels.bfloat16 import bits_as_array, narrow, widen
from quickstroke.kernels.lstm import Packing
from quickstroke.utils.compiled import jit

# As in `lstm`: the loops over columns are written so that LLVM makes vectors of them.
_jit = jit(error_model="numpy", fastmath={"contract", "reassoc"})
_F = np.float32


@_jit
def _pool(x: Any, weight: Any, drawing: Any, n_rows: Any, out: Any, where: Any, attention: Any) -> None:
    n = x.shape[1]
    row = empty(n, np.float32)
    bits = bits_of(row)
    highest = empty(len(out), np.float32)
    total = zeros(len(out), np.float32)
    for b in range(len(out)):
        highest[b] = _F(-np.inf)
    for r in range(len(x)):
        b = drawing[r]
        widen(x[r], row, bits)
        score = _F(0)
        for j in range(n):
            score += row[j] * weight[j]
        attention[r] = score
        highest[b] = max(highest[b], score)
        mean, top, at = out[b, :n], out[b, n : 2 * n], where[b]
        for j in range(n):
            mean[j] += row[j]
        for j in range(n):
            at[j] = np.int32(r) if row[j] > top[j] else at[j]
        for j in range(n):
            top[j] = max(top[j], row[j])
    for r in range(len(x)):
        b = drawing[r]
        attention[r] = np.exp(attention[r] - highest[b])
        total[b] += attention[r]
    for r in range(len(x)):
        b = drawing[r]
        attention[r] /= total[b]
        widen(x[r], row, bits)
        attended, share = out[b, 2 * n :], attention[r]
        for j in range(n):
            attended[j] += share * row[j]
    for b in range(len(out)):
        mean = out[b, :n]
        for j in range(n):
            mean[j] /= n_rows[b]


@_jit
def _pool_back(
    x: Any, weight: Any, drawing: Any, n_rows: Any, out: Any, where: Any, attention: Any, d: Any, dx: Any, dweight: Any
) -> None:
    n = x.shape[1]
    row, gradient = empty(n, np.float32), empty(n, np.float32)
    bits = bits_of(row)
    gradient_bits = bits_of(gradient)
    along = empty(len(out), np.float32)
    for b in range(len(out)):
        attended, dattended = out[b, 2 * n :], d[b, 2 * n :]
        product = _F(0)
        for j in range(n):
            product += attended[j] * dattended[j]
        along[b] = product
    for r in range(len(x)):
        b = drawing[r]
        widen(x[r], row, bits)
        dmean, dtop, dattended, at = d[b, :n], d[b, n : 2 * n], d[b, 2 * n :], where[b]
        product = _F(0)
        for j in range(n):
            product += row[j] * dattended[j]
        share = attention[r]
        dscore = share * (product - along[b])
        part = _F(1) / _F(n_rows[b])
        for j in range(n):
            gradient[j] = part * dmean[j] + share * dattended[j] + dscore * weight[j]
        for j in range(n):
            gradient[j] += dtop[j] if at[j] == np.int32(r) else _F(0)
        for j in range(n):
            dweight[j] += dscore * row[j]
        narrow(gradient, gradient_bits, dx[r])


def pool(x: Tensor, weight: Tensor, packing: Packing) -> Tensor:
    """Mean, maximum and attention float32 (B, 3 * C) of each drawing's rows.

    Args:
        x: packed (S, C), float32 or bfloat16.
        weight: float32 (C,), of the attention's scores: its softmax over a drawing's rows is what they weigh.
    """
    result: Tensor = _Pool.apply(x, weight, packing)  # type: ignore[no-untyped-call]
    return result


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, packing: Packing) -> Tensor:
        n_drawings, n_columns = len(packing.last), x.shape[1]
        out = torch.zeros(n_drawings, 3 * n_columns, dtype=torch.float32)
        out[:, n_columns : 2 * n_columns] = -torch.inf
        where = np.zeros((n_drawings, n_columns), dtype=np.int32)
        attention = np.empty(len(x), dtype=np.float32)
        drawing = packing.drawing.numpy()
        n_rows = np.bincount(drawing, minlength=n_drawings)
        x = x.contiguous()
        _pool(bits_as_array(x), weight.numpy(), drawing, n_rows, out.numpy(), where, attention)
        ctx.save_for_backward(x, weight, out)
        ctx.kept = drawing, n_rows, where, attention
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, out = ctx.saved_tensors
        dx, dweight = torch.empty_like(x), torch.zeros_like(weight)
        drawing, n_rows, where, attention = ctx.kept
        _pool_back(
            bits_as_array(x),
            weight.numpy(),
            drawing,
            n_rows,
            out.numpy(),
            where,
            attention,
            d.contiguous().numpy(),
            bits_as_array(dx),
            dweight.numpy(),
        )
        return dx, dweight, None


def swap(x: Tensor, packing: Packing) -> Tensor:
    """Packed rows (S, C) with those of each drawing in the opposite order."""
    return permute(x, packing.reverse, packing.reverse)


def permute(x: Tensor, index: Tensor, inverse: Tensor | None = None) -> Tensor:
    """The rows `index` (S,) of x (S, C), each of them once."""
    if inverse is None:
        inverse = torch.empty_like(index)
        inverse[index] = torch.arange(len(index))
    result: Tensor = _Permute.apply(x, index, inverse)  # type: ignore[no-untyped-call]
    return result


class _Permute(torch.autograd.Function):
    """As index_select, whose gradient adds where this only moves."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse
        return x.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        return d.index_select(0, ctx.inverse), None, None


@_jit
def add_moments(x: Any, mask: Any, out: Any) -> None:
    """Adds to `out`, float64 (2, C), the sums and the sums of squares of those rows of x (B, T, C) that are in the mask
    (B, T)."""
    for b in range(len(x)):
        for t in range(x.shape[1]):
            for j in range(x.shape[2] if mask[b, t] else 0):
                value = np.float64(x[b, t, j])
                out[0, j] += value
                out[1, j] += value * value


def windows(x: Tensor, index: Tensor, width: int, kind: torch.dtype) -> Tensor:
    """`width` rows of x (R, C) from each row `index` (S,) on, one after the other: (S, width * C) of type `kind`."""
    n_channels = x.shape[1]
    return x.flatten().unfold(0, width * n_channels, n_channels).index_select(0, index).to(kind)
