"""What follows a convolution over images: maxima over two by two pixels, a norm over all of an image, ReLU.

PyTorch goes over memory for each of them, forward and backward, which takes longer than the convolutions do where a
processor multiplies bfloat16 in tiles. Here a drawing goes through all of it at once, while a cache holds it.

Compiled code gets flat arrays of the numbers of (B, S, S, F), filters side by side, or (B, P, F) where images may have
been halved: float32, or uint16 for bfloat16. *Bits* are the same memory as whole numbers, uint32 or uint16.

Dimensions: B drawings, S pixels of an image's side, P pixels of what is left of it, F filters.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.kernels.arrays import bits_of, empty
from quickstroke.kernels.bfloat16 import bits_as_array, narrow, widen
from quickstroke.utils.compiled import jit

# Sums may be taken in any order, so that loops become vectors.
_jit = jit(error_model="numpy", fastmath={"contract", "reassoc"})
# Numba allows for negative positions where they are not unsigned, and LLVM makes no vectors then.
_F, _U = np.float32, np.uintp


class Kept(NamedTuple):
    """What the backward pass needs: maxima (B, F, H, W), or what there was where nothing is halved; which of four
    pixels each was, uint8 (B * H * W * F,); of each drawing the mean and what it was multiplied by, float32 (B,); and
    whether images were halved."""

    maxima: Tensor
    where: NDArray[np.uint8]
    mean: NDArray[np.float32]
    inverse: NDArray[np.float32]
    is_halved: bool


@_jit
def _halve(bits: Any, begin: Any, side: Any, n_filters: Any, maxima: Any, where: Any, first: Any) -> None:
    """Maxima of the image that begins at `begin`, by bits, and which pixel each was: written from `first` on.

    The bits of floating-point numbers are in the order of these, but for negative ones. Here they follow each other
    from minus infinity on upwards, and NaNs of either sign come last.
    """
    of = bits.dtype.type
    zero, top = of(0), of(np.iinfo(bits.dtype).max >> 1)
    lowest = of((0x7F80 << (8 * bits.itemsize - 16)) + 1)
    for i in range(side // 2):
        for j in range(side // 2):
            a = _U(begin + (2 * i * side + 2 * j) * n_filters)
            b, c = a + _U(n_filters), a + _U(side * n_filters)
            d, to = c + _U(n_filters), _U(first + (i * (side // 2) + j) * n_filters)
            for f in range(_U(n_filters)):
                p, q, r, s = bits[a + f], bits[b + f], bits[c + f], bits[d + f]
                p = of((p ^ (top if p > top else zero)) + lowest)
                q = of((q ^ (top if q > top else zero)) + lowest)
                r = of((r ^ (top if r > top else zero)) + lowest)
                s = of((s ^ (top if s > top else zero)) + lowest)
                above, below = q if q > p else p, s if s > r else r
                highest = of((below if below > above else above) - lowest)
                maxima[to + f] = highest ^ (top if highest > top else zero)
                at_above, at_below = np.uint8(q > p), np.uint8(s > r) + np.uint8(2)
                where[to + f] = at_below if below > above else at_above


@_jit
def _unhalve(dmaxima: Any, where: Any, first: Any, side: Any, n_filters: Any, dmade: Any, begin: Any) -> None:
    """Gradients of one drawing's maxima go to where these were, in the image that begins at `begin`."""
    zero = dmade.dtype.type(0)
    for i in range(side // 2):
        for j in range(side // 2):
            a = _U(begin + (2 * i * side + 2 * j) * n_filters)
            b, c = a + _U(n_filters), a + _U(side * n_filters)
            d, of = c + _U(n_filters), _U((i * (side // 2) + j) * n_filters)
            at = _U(first) + of
            for f in range(_U(n_filters)):
                dmade[a + f] = dmaxima[of + f] if where[at + f] == 0 else zero
                dmade[b + f] = dmaxima[of + f] if where[at + f] == 1 else zero
            for f in range(_U(n_filters)):  # of one loop LLVM makes no vectors: it writes to too many places
                dmade[c + f] = dmaxima[of + f] if where[at + f] == 2 else zero
                dmade[d + f] = dmaxima[of + f] if where[at + f] == 3 else zero


@_jit
def _forward(bits: Any, maxima: Any, maxima_bits: Any, kept: Any, sizes: Any, norm: Any, out: Any) -> None:
    """`forward`; where nothing is halved `maxima` are what there is."""
    (where, mean, inverse, is_halved), (n_drawings, side, n_left, n_filters) = kept, sizes
    scale, shift, epsilon = norm
    n = n_left * n_filters
    room, times, plus = empty(n, np.float32), empty(n_filters, np.float32), empty(n_filters, np.float32)
    room_bits = bits_of(room)
    for b in range(n_drawings):
        if is_halved:
            _halve(bits, b * 4 * n, side, n_filters, maxima_bits, where, b * n)
        widen(maxima[b * n : (b + 1) * n], room, room_bits)
        total, squares = _F(0), _F(0)
        for k in range(n):
            total += room[k]
        middle = total / _F(n)
        for k in range(n):
            squares += (room[k] - middle) * (room[k] - middle)
        mean[b], inverse[b] = middle, _F(1) / np.sqrt(squares / _F(n) + _F(epsilon))
        for f in range(n_filters):
            times[f] = inverse[b] * scale[f]
            plus[f] = shift[f] - middle * times[f]
        for p in range(n_left):
            for f in range(n_filters):
                value = room[p * n_filters + f] * times[f] + plus[f]
                room[p * n_filters + f] = value if value > _F(0) or value != value else _F(0)
        narrow(room, room_bits, out[b * n : (b + 1) * n])


@_jit
def _backward(
    maxima: Any, kept: Any, sizes: Any, norm: Any, dout: Any, dmaxima: Any, dmade: Any, dscale: Any, dshift: Any
) -> None:
    """`backward`; `dmaxima` is room for one drawing's."""
    (where, mean, inverses, is_halved), (n_drawings, side, n_left, n_filters) = kept, sizes
    scale, shift, _ = norm
    n = n_left * n_filters
    values, given = empty(n, np.float32), empty(n, np.float32)
    times, plus = empty(n_filters, np.float32), empty(n_filters, np.float32)
    total, along = empty(n_filters, np.float32), empty(n_filters, np.float32)
    value_bits, given_bits = bits_of(values), bits_of(given)
    for b in range(n_drawings):
        middle, inverse = mean[b], inverses[b]
        for f in range(n_filters):
            times[f] = inverse * scale[f]
            plus[f] = shift[f] - middle * times[f]
            total[f], along[f] = _F(0), _F(0)
        widen(maxima[b * n : (b + 1) * n], values, value_bits)
        widen(dout[b * n : (b + 1) * n], given, given_bits)
        for p in range(n_left):
            for f in range(n_filters):
                at = p * n_filters + f
                gradient = given[at] if values[at] * times[f] + plus[f] > _F(0) else _F(0)
                given[at] = gradient
                total[f] += gradient
                along[f] += gradient * values[at]
        of_mean, of_deviation = _F(0), _F(0)
        for f in range(n_filters):
            normal = (along[f] - middle * total[f]) * inverse
            dscale[f] += normal
            dshift[f] += total[f]
            of_mean += scale[f] * total[f]
            of_deviation += scale[f] * normal
        # Of a value v: times * gradient, less the means of that and of its product with the normalised value.
        slope = -inverse * inverse * of_deviation / _F(n)
        level = -inverse * of_mean / _F(n) - middle * slope
        for p in range(n_left):
            for f in range(n_filters):
                at = p * n_filters + f
                given[at] = times[f] * given[at] + slope * values[at] + level
        if is_halved:
            narrow(given, given_bits, dmaxima)
            _unhalve(dmaxima, where, b * n, side, n_filters, dmade, b * 4 * n)
        else:
            narrow(given, given_bits, dmade[b * n : (b + 1) * n])


def _images(n: int, n_filters: int, side: int, kind: torch.dtype) -> Tensor:
    return torch.empty(n, n_filters, side, side, dtype=kind, memory_format=torch.channels_last)


def _flat(images: Tensor) -> NDArray[Any]:
    return bits_as_array(images.permute(0, 2, 3, 1)).reshape(-1)


def _as_bits(flat: NDArray[Any]) -> NDArray[Any]:
    return flat.view(f"u{flat.itemsize}")


def forward(
    made: Tensor, is_halved: bool, scale: NDArray[np.float32], shift: NDArray[np.float32], epsilon: float
) -> tuple[Tensor, Kept]:
    """Maxima over two by two pixels where `is_halved`, a norm over all of each image, and ReLU.

    Args:
        made: results of a convolution, (B, F, S, S), float32 or bfloat16, in memory format `channels_last`. S is even.
        scale: of each filter, float32 (F,), as is `shift`.
        epsilon: what variances are raised by.

    Returns:
        (B, F, H, W) of the same type and memory format, and what `backward` needs.
    """
    n, n_filters, side, _ = made.shape
    n_left = side // 2 if is_halved else side
    out = _images(n, n_filters, n_left, made.dtype)
    maxima = torch.empty_like(out) if is_halved else made
    where = np.empty(maxima.numel() if is_halved else 0, np.uint8)
    kept = Kept(maxima, where, np.empty(n, np.float32), np.empty(n, np.float32), is_halved)
    flat, sizes = _flat(maxima), (n, side, n_left * n_left, n_filters)
    _forward(_as_bits(_flat(made)), flat, _as_bits(flat), kept[1:], sizes, (scale, shift, epsilon), _flat(out))
    return out, kept


def backward(
    kept: Kept, dout: Tensor, scale: NDArray[np.float32], shift: NDArray[np.float32]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `made`, `scale` and `shift` of `forward`, of the gradient (B, F, H, W) of what it gave."""
    n, n_filters, n_left, _ = dout.shape
    side = 2 * n_left if kept.is_halved else n_left
    dmade = _images(n, n_filters, side, dout.dtype)
    dout = dout.contiguous(memory_format=torch.channels_last)
    dscale, dshift = (torch.zeros(n_filters, dtype=torch.float32) for _ in range(2))
    flat, sizes = _flat(dmade), (n, side, n_left * n_left, n_filters)
    room = np.empty(n_left * n_left * n_filters, flat.dtype)
    norm, sums = (scale, shift, 0.0), (dscale.numpy(), dshift.numpy())
    _backward(_flat(kept.maxima), kept[1:], sizes, norm, _flat(dout), room, flat, *sums)
    return dmade, dscale, dshift
