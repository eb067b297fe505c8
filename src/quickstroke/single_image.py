"""The image of one drawing at a time on a CPU, as `single.py` reads its points.

Dimensions: T steps, S pixels of an image's side, C channels, F filters.
"""

from typing import Any, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke import image_reader, images, products
from quickstroke.image_reader import ImageReader

_F = np.float32
# Sums may be taken in any order, so that loops become vectors.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})

Array = NDArray[np.float32]


@_jit
def _convolve_image(x: Any, laid: Any, n_filters: Any, width: Any) -> Any:
    """A convolution (S, S, F) of an image (S, S, C) with zeros around it, each pixel in the middle of what it sees."""
    side, _, n_channels = x.shape
    rows, n_seen = _framed(x, width // 2), width * n_channels
    columns, out = np.empty((side, width, n_seen), np.float32), np.empty((side, side, n_filters), np.float32)
    for i in range(side):
        for j in range(side):
            for down in range(width):
                target, seen = columns[j, down], rows[i + down, j * n_channels :]
                for k in range(n_seen):
                    target[k] = seen[k]
        products.multiply(columns.reshape(side, width * n_seen), laid, out[i], False)
    return out


@_jit
def _framed(x: Any, n: Any) -> Any:
    """Rows (S + 2n, (S + 2n) * C) of an image (S, S, C) with `n` pixels of zeros on each side."""
    side, _, n_channels = x.shape
    out = np.zeros((side + 2 * n, side + 2 * n, n_channels), np.float32)
    out[n : n + side, n : n + side] = x
    return out.reshape(side + 2 * n, (side + 2 * n) * n_channels)


@_jit
def _convolve_tiles(image: Any, laid: Any, n_filters: Any) -> Any:
    """The same for filters three pixels wide and an even S, in 4/9 of the multiplications.

    Two by two pixels at a time: of the four by four that they see, and of the filters (`_tiled`), sums are multiplied
    (Winograd's minimal filtering: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015).
    """
    side, _, n_channels = image.shape
    rows, n = _framed(image, 1), side // 2
    half, seen = np.empty((4, side + 2, n_channels), np.float32), np.empty((4, 4, n * n, n_channels), np.float32)
    flat = half.reshape(4, (side + 2) * n_channels)
    for i in range(n):
        _sums_seen(rows[2 * i], rows[2 * i + 1], rows[2 * i + 2], rows[2 * i + 3], flat[0], flat[1], flat[2], flat[3])
        for a in range(4):
            for j in range(n):
                x0, x1, x2, x3 = half[a, 2 * j], half[a, 2 * j + 1], half[a, 2 * j + 2], half[a, 2 * j + 3]
                t = i * n + j
                _sums_seen(x0, x1, x2, x3, seen[a, 0, t], seen[a, 1, t], seen[a, 2, t], seen[a, 3, t])
    made = np.empty((4, 4, n * n, n_filters), np.float32)
    for a in range(4):
        for b in range(4):
            products.multiply(seen[a, b], laid[a, b], made[a, b], False)
    out = np.empty((side, side, n_filters), np.float32)
    pair = np.empty((2, 4, n, n_filters), np.float32)
    for i in range(n):
        for b in range(4):
            for j in range(n):
                t = i * n + j
                _sums_made(made[0, b, t], made[1, b, t], made[2, b, t], made[3, b, t], pair[0, b, j], pair[1, b, j])
        for a in range(2):
            row = out[2 * i + a]
            for j in range(n):
                _sums_made(pair[a, 0, j], pair[a, 1, j], pair[a, 2, j], pair[a, 3, j], row[2 * j], row[2 * j + 1])
    return out


@_jit
def _sums_seen(x0: Any, x1: Any, x2: Any, x3: Any, y0: Any, y1: Any, y2: Any, y3: Any) -> None:
    for c in range(len(x0)):
        y0[c] = x0[c] - x2[c]
        y1[c] = x1[c] + x2[c]
        y2[c] = x2[c] - x1[c]
        y3[c] = x1[c] - x3[c]


@_jit
def _sums_made(x0: Any, x1: Any, x2: Any, x3: Any, y0: Any, y1: Any) -> None:
    for f in range(len(x0)):
        y0[f] = x0[f] + x1[f] + x2[f]
        y1[f] = x1[f] - x2[f] - x3[f]


def _tiled(kernel: Tensor) -> Any:
    """Filters (F, C, 3, 3), as `_convolve_tiles` multiplies by them, laid out: (4, 4, ...)."""
    sums = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    tiles = torch.einsum("ay,bx,fcyx->abcf", sums, sums, kernel.double()).float()  # (4, 4, C, F)
    return np.stack([np.stack([products.lay_out(array_of(matrix)) for matrix in row]) for row in tiles])


@_jit
def _halve(x: Any) -> Any:
    """Maxima (S / 2, S / 2, F) over two by two pixels."""
    side, _, n = x.shape
    out = np.empty((side // 2, side // 2, n), np.float32)
    for i in range(side // 2):
        for j in range(side // 2):
            above, below, own = x[2 * i], x[2 * i + 1], out[i, j]
            for f in range(n):
                own[f] = max(max(above[2 * j, f], above[2 * j + 1, f]), max(below[2 * j, f], below[2 * j + 1, f]))
    return out


@_jit
def _normalize_image(x: Any, bias: Any, scale: Any, shift: Any) -> None:
    """Adds the bias, and a norm over all of an image (S, S, F) and ReLU, in its place."""
    flat, n = x.reshape(x.size), len(bias)
    rows = flat.reshape(x.size // n, n)
    for row in rows:
        for f in range(n):
            row[f] += bias[f]
    total, squares = _F(0), _F(0)
    for k in range(len(flat)):
        total += flat[k]
    middle = total / _F(len(flat))
    for k in range(len(flat)):
        squares += (flat[k] - middle) * (flat[k] - middle)
    inverse = _F(1) / np.sqrt(squares / _F(len(flat)) + _F(images.EPSILON))
    for row in rows:
        for f in range(n):
            value = (row[f] - middle) * inverse * scale[f] + shift[f]
            row[f] = value if value > _F(0) or value != value else _F(0)


class SingleImageReader:
    """Weights of an `ImageReader`, laid out for one drawing at a time. They are copies."""

    def __init__(self, reader: ImageReader) -> None:
        self._layers: list[tuple[Any, ...]] = []
        for convolution, norm, (_, width, is_halved) in zip(reader.convs, reader.norms, images.LAYERS, strict=True):
            kernel = cast(Tensor, convolution.weight)  # (F, C, width, width)
            convolve: Any = _convolve_tiles
            if width == 3:
                laid: tuple[Any, ...] = _tiled(kernel), len(kernel)
            else:
                matrix = array_of(kernel.permute(2, 3, 1, 0).flatten(0, 2))  # (width * width * C, F)
                convolve, laid = _convolve_image, (products.lay_out(matrix), len(kernel), width)
            after = [array_of(cast(Tensor, each)) for each in (convolution.bias, norm.weight, norm.bias)]
            self._layers.append((convolve, laid, is_halved, after))

    def features(self, points: Array) -> Array:
        """Features float32 (`images.n_features`,) of the image of the points float32 (T, 5) of a drawing."""
        drawn = image_reader.drawn(torch.from_numpy(points).unsqueeze(0), torch.tensor([len(points)]))
        x = array_of(drawn[0].permute(1, 2, 0))  # (S, S, 2)
        for convolve, laid, is_halved, after in self._layers:
            x = convolve(x, *laid)
            if is_halved:
                x = _halve(x)
            _normalize_image(x, *after)
        x = x.reshape(-1, x.shape[2])
        return np.concatenate([x.mean(0), x.max(0)])


def array_of(tensor: Tensor) -> Array:
    """A copy, side by side."""
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32).copy()
