"""What `lstm` has compiled: all steps of a part of a batch, forward and backward, and how a batch is dealt into parts.

It needs no PyTorch, so that a first training can compile it before PyTorch is imported. The dimensions are those of
`lstm`.
"""

from typing import Any

import numpy as np

from quickstroke.kernels import gemm
from quickstroke.kernels.arrays import clear, copy, row_at
from quickstroke.kernels.bfloat16 import narrow
from quickstroke.kernels.gates import activate_rows, activate_rows_backward
from quickstroke.utils.compiled import jit

# The loops below are written so that LLVM makes vectors of them: from 0 on, over one output array, without branches.
_jit = jit(error_model="numpy")
# There is no step before. A literal is a type of its own to numba, for which it would compile all that it is given to.
_NONE = np.int64(-1)


@_jit
def forward(
    x: Any,
    z: Any,
    one: Any,
    weight: Any,
    sums: Any,
    made: Any,
    h: Any,
    owner: Any,
    sizes: Any,
    begin: Any,
    first: Any,
    room: Any,
) -> None:
    """All steps of a part; where `first` is not negative only two are kept, from that row on.

    `one` is 1 in the type of `z`. `made` are gates, cell states, with a row of zeros behind them, and their tanh.
    `sums` are those of one step, from the row `room` on; where that is negative they are the gates. `owner` is as in
    `activate_rows`.
    """
    (gates, c, tanh_c), n_inputs, n_hidden = made, x.shape[1], h.shape[1]
    packed = gemm.pack(weight)
    state = z[:, n_inputs : n_inputs + n_hidden]
    of_inputs, of_state = z.itemsize * n_inputs, z.itemsize * n_hidden  # bytes of a row
    of_rest = z.strides[0] - of_inputs - of_state
    kept, before = begin if first < 0 else first, _NONE
    for r in range(sizes[0]):
        clear(row_at(state, kept + r), of_state)
    for step in range(len(sizes)):
        size = sizes[step]
        n_next = sizes[step + 1] if step + 1 < len(sizes) else 0
        for r in range(size):
            copy(row_at(z, kept + r), row_at(x, begin + r), of_inputs)
            clear(row_at(state, kept + r) + np.uintp(of_state), of_rest)
            z[kept + r, n_inputs + n_hidden] = one
        at = kept if room < 0 else room
        own = sums[at : at + size]
        gemm.multiply(z[kept : kept + size], packed, own)
        after = begin + size if first < 0 else 2 * first + sizes[0] - kept
        activate_rows(own, gates, c, tanh_c, h, state, owner, begin, kept, before, after, n_next)
        before, kept = kept, after
        begin += size


@_jit
def backward(
    dh: Any, dx: Any, z: Any, weight: Any, made: Any, room: Any, owner: Any, sizes: Any, end: Any, dweight: Any, k: Any
) -> None:
    """Gradients of the gates of all steps of part `k` in the place of `gates`; of its inputs, if any, into `dx`; of the
    weights, transposed, into `dweight`, added to those of the parts before.

    `weight` (4H, K) is that of the inputs, as many as `dx` has, and of the hidden state. `made` is as in `_forward`.
    `room` are zeros float32 (R, H), and float32 (R, K) as numbers and as bits, for the R drawings of the first step.
    `owner` is as in `activate_rows`.
    """
    (gates, c, tanh_c), (dc, product, bits) = made, room
    n, n_inputs = c.shape[1], dx.shape[1]
    packed = gemm.pack(weight)
    last, n_next = end, np.int64(0)  # the first rows of `product` are of the step after
    for step in range(len(sizes) - 1, -1, -1):
        size = sizes[step]
        begin = end - size
        before = begin - sizes[step - 1] if step else _NONE
        following = product[:, n_inputs : n_inputs + n]
        activate_rows_backward(gates, dh, following, tanh_c, dc, c, owner, begin, end, before, n_next)
        if step or n_inputs:
            gemm.multiply(gates[begin:end], packed, product[:size])
        for r in range(size if n_inputs else 0):
            narrow(product[r, :n_inputs], bits[r, :n_inputs], dx[begin + r])
        end, n_next = begin, size
    gemm.multiply_transposed(z[end:last], gates[end:last], dweight, k > 0)


@jit(error_model="numpy", steers=True)
def lay_out(ends: Any, order: Any, n_steps: Any, sizes: Any, index: Any, drawing: Any, last: Any) -> None:
    """Deals drawings with `ends` (B,) in `order`, the longest first, into parts, so that these take the same time: for
    each part its row of `sizes` (P, T), of zeros, and for each packed row what `Packing` has of it.
    """
    row, n_parts = 0, len(sizes)
    for part in range(n_parts):
        size = (len(order) - part + n_parts - 1) // n_parts
        for step in range(n_steps):
            while size and ends[order[part + (size - 1) * n_parts]] <= step:
                size -= 1
            sizes[part, step] = size
            for r in range(size):
                b = order[part + r * n_parts]
                index[row], drawing[row] = b * n_steps + step, b
                if ends[b] == step + 1:
                    last[b] = row
                row += 1
