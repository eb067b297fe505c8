"""The LSTM on a CPU: forward and backward over the true steps of a batch only.

`torch.lstm` is fast forward, but its backward reaches a third of the processor's matrix rate, and padded steps cost as
much as true ones. Here the steps of a batch lie packed one after the other, each step is one matrix product over the
drawings that still go on, the gates are one pass of compiled code over what that product left in the cache, and the
gradient of the weights is one product over all steps. Compiled code goes through all steps without Python.

Dimensions: B batch, S packed rows (the sum of the lengths), C inputs, H hidden units, K = C + H + 1 columns that one
product reads (input, hidden state, 1 for the bias), rounded up.
"""

import functools
import itertools
import mmap
import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickstroke.kernels import gemm, lstm_steps, mkl, threads
from quickstroke.kernels.bfloat16 import bits_as_array

Part = tuple[int, tuple[int, ...]]
Parts = tuple[Part, ...]


@dataclass(frozen=True)
class Packing:
    """Where the steps of a batch lie when they are packed.

    The batch is dealt into parts. A part has its drawings in order of length, the longest first,
    and its rows in order of step, so that each step of it is one block of rows.

    Attributes:
        n_steps: T, how many steps the longest drawing may have.
        index: int64 (S,), for each packed row its row in (B * T,).
        last: int64 (B,), the packed row of each drawing's last step.
        drawing: int64 (S,), for each packed row its drawing.
        parts: for each part its first row and, for each step, how many drawings have it.
    """

    n_steps: int
    index: Tensor
    last: Tensor
    drawing: Tensor
    parts: Parts

    @functools.cached_property
    def reverse(self) -> Tensor:
        """Int64 (S,), for each packed row that of the step as far from the other end of its drawing."""
        index, last, drawing = self.index.numpy(), self.last.numpy(), self.drawing.numpy()
        packed = np.empty(len(last) * self.n_steps, dtype=np.int64)  # (B * T,)
        packed[index] = np.arange(len(index))
        ends = index[last] + np.arange(len(last)) * self.n_steps  # (B,) of both ends, their sum
        return torch.from_numpy(packed[ends[drawing] - index])


def pack(lengths: Tensor, n_steps: int, n_parts: int) -> Packing:
    """The packing of B drawings with `lengths` int64 (B,), each from 1 to `n_steps`, in `n_parts` parts."""
    ends = lengths.numpy()
    assert len(ends) and ends.min() >= 1 and ends.max() <= n_steps, (ends, n_steps)
    sizes = np.zeros((min(n_parts, len(ends)), n_steps), dtype=np.int64)  # (P, T)
    index, drawing = np.empty((2, ends.sum()), dtype=np.int64)  # (S,) each
    last = np.empty(len(ends), dtype=np.int64)  # (B,)
    lstm_steps.lay_out(ends, np.argsort(-ends, kind="stable"), n_steps, sizes, index, drawing, last)
    n_rows = sizes.sum(1)  # (P,)
    begins = np.cumsum(n_rows) - n_rows
    steps = [own[: np.count_nonzero(own)] for own in sizes]
    parts = tuple((int(begin), tuple(own.tolist())) for begin, own in zip(begins, steps, strict=True))
    return Packing(n_steps, torch.from_numpy(index), torch.from_numpy(last), torch.from_numpy(drawing), parts)


def lstm(x: Tensor, weights: tuple[Tensor, Tensor, Tensor, Tensor], packing: Packing, is_last: bool = False) -> Tensor:
    """One direction of one layer.

    Args:
        x: packed (S, C), float32 or bfloat16. The operands and results of the matrix products have that type, the
            sums inside them and all between them are float32.
        weights: `weight_ih` (4H, C), `weight_hh` (4H, H), `bias_ih` and `bias_hh` (4H,) as `nn.LSTM` has them, float32.
        is_last: whether only the last step of each drawing is asked for.

    Returns:
        The hidden state after each step, packed (S, H), in the type of `x`; (B, H) of last steps.
    """
    # `ctx.needs_input_grad` says what requires a gradient also where none is taken.
    needs_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights))
    result: Tensor = _Direction.apply(x, *weights, packing, is_last, needs_grad)  # type: ignore[no-untyped-call]
    return result


class _Direction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        packing: Packing,
        is_last: bool,
        needs_grad: bool,
    ) -> Tensor:
        n_rows, n_inputs = x.shape
        n_hidden = weight_hh.shape[1]
        n_columns = gemm.n_columns(n_inputs + n_hidden + 1, x.dtype)
        weight = torch.zeros(4 * n_hidden, n_columns, dtype=x.dtype)  # (4H, K)
        weight[:, :n_inputs] = weight_ih
        weight[:, n_inputs : n_inputs + n_hidden] = weight_hh
        weight[:, n_inputs + n_hidden] = bias_ih + bias_hh
        is_narrow = x.dtype == torch.bfloat16
        kind = torch.uint16 if is_narrow else torch.float32  # of gates, whose gradients come in their place
        groups = _groups(packing)
        # Without a backward pass each step writes over the step before the last, in memory that caches hold.
        most = [max(sizes[0] for _, sizes in group) for group in groups]
        n_kept, n_sums = n_rows if needs_grad else 2 * sum(most), sum(most) if is_narrow else 0
        shapes = (  # of z, gates, c and tanh_c, which the backward pass reads, and of sums
            (n_kept, n_columns, x.dtype),
            (n_kept, 4 * n_hidden, kind),
            (n_kept + 1, n_hidden, torch.float32),
            (n_kept, n_hidden, kind),
            (n_sums, 4 * n_hidden, torch.float32),
        )
        arena = _Arena(sum(_n_bytes(*shape) for shape in shapes))
        z, gates, c, tanh_c, sums = (arena.take(*shape) for shape in shapes)
        c[-1] = 0
        sums = sums if is_narrow else gates
        h = torch.empty(len(packing.last) if is_last else n_rows, n_hidden, dtype=x.dtype)
        owner = packing.drawing.numpy()
        transposed = weight.t().contiguous()
        x_all, z_all, weight_all, sums_all, h_all = map(bits_as_array, (x.contiguous(), z, transposed, sums, h))
        made = tuple(map(bits_as_array, (gates, c, tanh_c)))
        one = bits_as_array(torch.ones(1, dtype=x.dtype))[0]

        def run(group: Parts, before: int) -> None:
            first, room = -1 if needs_grad else 2 * before, before if is_narrow else -1
            for begin, sizes in group:
                own = owner[begin : begin + sizes[0] if is_last else begin]  # all drawings have a first step
                rows = own, np.array(sizes), begin, first, room
                lstm_steps.forward(x_all, z_all, one, weight_all, sums_all, made, h_all, *rows)

        threads.in_threads(run, [(group, sum(most[:k])) for k, group in enumerate(groups)])
        if not needs_grad:
            arena.give_back()
            return h
        ctx.save_for_backward(weight)
        ctx.packing, ctx.is_last, ctx.n_inputs, ctx.arena = packing, is_last, n_inputs, arena
        ctx.kept = z, gates, c, tanh_c
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        if ctx.kept is None:
            raise RuntimeError("the gradient of an LSTM can be taken once; its memory is in use again")
        z, gates, c, tanh_c = ctx.kept
        n_inputs, n_hidden = ctx.n_inputs, c.shape[1]
        packing: Packing = ctx.packing
        dx = torch.empty(len(z), n_inputs if ctx.needs_input_grad[0] else 0, dtype=z.dtype)
        own_weight = weight[:, n_inputs - dx.shape[1] : n_inputs + n_hidden].contiguous()
        dh_all, dx_all, weight_all, z_all = map(bits_as_array, (dh.contiguous(), dx, own_weight, z))
        made = tuple(map(bits_as_array, (gates, c, tanh_c)))
        owner = packing.drawing.numpy()

        def run(*group: Part) -> Tensor:
            # Transposed: its columns, and not its rows, fill whole blocks of a product.
            dweight = torch.empty(weight.shape[1], 4 * n_hidden, dtype=torch.float32)
            for k, (begin, sizes) in enumerate(group):
                end = begin + sum(sizes)
                own = owner[begin : begin + sizes[0] if ctx.is_last else begin]
                product = np.empty((sizes[0], own_weight.shape[1]), np.float32)
                room = np.zeros((sizes[0], n_hidden), np.float32), product, product.view(np.uint32)
                sums, steps = dweight.numpy(), np.array(sizes)
                lstm_steps.backward(dh_all, dx_all, z_all, weight_all, made, room, own, steps, end, sums, k)
            return dweight

        partial = threads.in_threads(run, _groups(packing))
        total = functools.reduce(Tensor.add_, partial)  # in a fixed order, so that the same threads give the same bits
        ctx.kept = None
        ctx.arena.give_back()
        dweight = total.t().contiguous()  # (4H, K)
        dbias = dweight[:, n_inputs + n_hidden]
        dweight_hh = dweight[:, n_inputs : n_inputs + n_hidden]
        return dx if dx.shape[1] else None, dweight[:, :n_inputs], dweight_hh, dbias, dbias, None, None, None


def _groups(packing: Packing) -> list[Parts]:
    """The parts of each thread."""
    n = threads.n_threads()
    return [packing.parts[k::n] for k in range(min(n, len(packing.parts)))]


# --- Memory: fresh pages cost as much as the arithmetic on them, so that of a pass is kept for the next ---------------

_lock = threading.Lock()
_free: list[Tensor] = []
# Mappings of this process alone, where they would be shared with forked ones otherwise.
_OWN: Any = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class _Arena:
    """The memory of one forward and backward pass, one block that an earlier pass gave back if it is large enough.

    There are never more blocks than passes that were open at one time, one for each layer and direction.
    """

    def __init__(self, n_bytes: int) -> None:
        with _lock:
            block = _free.pop() if _free else None
        if block is None or block.numel() < n_bytes:
            block = None  # freed before the larger one is taken
            # A mapping of its own: a block that has become too small leaves no hole among other memory.
            block = torch.frombuffer(mmap.mmap(-1, n_bytes + n_bytes // 4 + 1, **_OWN), dtype=torch.uint8)
        self._block, self._used = block, 0

    def take(self, n_rows: int, n_columns: int, dtype: torch.dtype) -> Tensor:
        """A tensor (n_rows, n_columns) of anything."""
        begin = self._used
        self._used += _n_bytes(n_rows, n_columns, dtype)
        return self._block[begin : begin + n_rows * n_columns * dtype.itemsize].view(dtype).view(n_rows, n_columns)

    def give_back(self) -> None:
        """Offers the memory to the next pass; what was taken may not be used any more."""
        with _lock:
            _free.append(self._block)


def _n_bytes(n_rows: int, n_columns: int, dtype: torch.dtype) -> int:
    """Memory of a tensor, rounded up so that the next one begins on a cache line."""
    return -(-n_rows * n_columns * dtype.itemsize // 64) * 64


def _forget() -> None:
    """In a forked child a lock may be held for ever."""
    global _lock
    _lock = threading.Lock()
    _free.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget)


# --- Parts of a batch -------------------------------------------------------------------------------------------------


def n_parts(n_drawings: int, n_hidden: int) -> int:
    """How many parts a batch should be dealt into: as many for each thread, a step of which a cache holds."""
    n = threads.n_threads()
    # MKL takes less time for many rows together, and where it is, tiles are no slower.
    return n if mkl.IS_THERE else n * -(-n_drawings * n_hidden // (n * _IN_A_CACHE))


# Drawings times hidden units: beside their gates, 16 bytes each, there is room for the weights in a megabyte.
_IN_A_CACHE = 8192


def shares(starts: NDArray[np.int64], n_parts: int) -> list[tuple[int, int]]:
    """Drawings dealt into at most `n_parts` neighbourhoods of about as many rows: (first, one behind the last) of each.

    Args:
        starts: int64 (B + 1,), where each drawing's rows begin, and their number.
    """
    bounds = np.searchsorted(starts, starts[-1] * np.arange(1, n_parts) / n_parts)
    ends = [0, *bounds.tolist(), len(starts) - 1]
    return [(first, last) for first, last in itertools.pairwise(ends) if first < last]
