"""The image of one drawing at a time on a CPU, as `single.py` reads its points.

Dimensions: T steps, S pixels of an image's side, C channels, F filters.
"""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.kernels import gemm, raster
from quickstroke.models.image_branch import ImageReader
from quickstroke.utils.compiled import jit

_F = np.float32
# So many tiles are multiplied at a time: what is between stays in a cache, and is not new memory every time.
_TILES = 16
# Numbers in a line of a cache, and in a large page.
_LINE, _LARGE_PAGE = 16, 2**19
# Sums may be taken in any order, so that loops become vectors.
_jit = jit(error_model="numpy", fastmath={"contract", "reassoc"})

Array = NDArray[np.float32]


@_jit
def _convolve_image(image: Any, packed: Any, n_filters: Any, is_halved: Any) -> Any:
    """A convolution (S, S, F) of an image (S, S, C) with zeros around it, each pixel in the middle of what it sees; or
    (S / 2, S / 2, F), maxima over two by two pixels of it. The filters are `_in_rows`.
    """
    (side, _, n_channels), width, n = image.shape, len(packed), n_filters
    rows, n_seen = _framed(image, width // 2), width * n_channels
    seen = np.empty((len(rows), side, n_seen), np.float32)
    for i in range(len(rows)):
        for k in range(n_seen):
            for j in range(side):
                seen[i, j, k] = rows[i, j * n_channels + k]
    n_rows, n_out = 1 + is_halved, side // (1 + is_halved)
    made, out = np.empty((n_rows, side, n), np.float32), np.empty((n_out, n_out, n), np.float32)
    flat = made.reshape(n_rows * side, n)
    for i in range(n_out):
        for down in range(width):
            own = seen[n_rows * i + down : n_rows * (i + 1) + down].reshape(n_rows * side, n_seen)
            gemm.multiply_here(own, packed[down], flat, down > 0)
        if is_halved:
            for j in range(n_out):
                for f in range(n):
                    above = max(made[0, 2 * j, f], made[0, 2 * j + 1, f])
                    out[i, j, f] = max(above, max(made[1, 2 * j, f], made[1, 2 * j + 1, f]))
        else:
            for j in range(n_out):
                for f in range(n):
                    out[i, j, f] = made[0, j, f]
    return out


@_jit
def _framed(x: Any, n: Any) -> Any:
    """Rows (S + 2n, (S + 2n) * C) of an image (S, S, C) with `n` pixels of zeros on each side."""
    side, _, n_channels = x.shape
    out = np.zeros((side + 2 * n, side + 2 * n, n_channels), np.float32)
    for i in range(side):
        for j in range(side):
            for c in range(n_channels):
                out[n + i, n + j, c] = x[i, j, c]
    return out.reshape(side + 2 * n, (side + 2 * n) * n_channels)


@_jit
def _convolve_tiles(image: Any, packed: Any, n_filters: Any, is_halved: Any) -> Any:
    """The same for filters three pixels wide and S a power of two, in 4/9 of the multiplications.

    A tile is two by two pixels: of the four by four that it sees, and of the filters (`_tiled`), sums are multiplied
    (Winograd's minimal filtering: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). The even
    columns lie apart from the odd ones, so that sums are of rows of tiles.
    """
    side, _, n_channels = image.shape
    n, wide, (even, odd) = side // 2, (side // 2 + 1) * n_channels, _columns(image)
    at_a_time = min(max(_TILES // n, 1), n)
    e, o = np.empty((4, wide), np.float32), np.empty((4, wide), np.float32)
    seen = np.empty((4, 4, at_a_time, n * n_channels), np.float32)
    made = np.empty((4, 4, at_a_time, n * n_filters), np.float32)
    half, whole = np.empty((2, 4, n * n_filters), np.float32), np.empty((2, 2, n * n_filters), np.float32)
    out = np.empty((n, n, n_filters) if is_halved else (side, side, n_filters), np.float32)
    for begin in range(0, n, at_a_time):
        for own in range(at_a_time):
            i = 2 * (begin + own)
            _sums_seen(even[i], even[i + 1], even[i + 2], even[i + 3], e[0], e[1], e[2], e[3])
            _sums_seen(odd[i], odd[i + 1], odd[i + 2], odd[i + 3], o[0], o[1], o[2], o[3])
            for a in range(4):
                x2, x3 = e[a, n_channels:], o[a, n_channels:]
                _sums_seen(e[a], o[a], x2, x3, seen[a, 0, own], seen[a, 1, own], seen[a, 2, own], seen[a, 3, own])
        for a in range(4):
            for b in range(4):
                target = made[a, b].reshape(at_a_time * n, n_filters)
                gemm.multiply_here(seen[a, b].reshape(at_a_time * n, n_channels), packed[a, b], target, False)
        for own in range(at_a_time):
            i = begin + own
            for b in range(4):
                _sums_made(made[0, b, own], made[1, b, own], made[2, b, own], made[3, b, own], half[0, b], half[1, b])
            for a in range(2):
                _sums_made(half[a, 0], half[a, 1], half[a, 2], half[a, 3], whole[a, 0], whole[a, 1])
            if is_halved:
                for j in range(n):
                    for f in range(n_filters):
                        k = j * n_filters + f
                        out[i, j, f] = max(max(whole[0, 0, k], whole[0, 1, k]), max(whole[1, 0, k], whole[1, 1, k]))
            else:
                for a in range(2):
                    for j in range(n):
                        for f in range(n_filters):
                            k = j * n_filters + f
                            out[2 * i + a, 2 * j, f], out[2 * i + a, 2 * j + 1, f] = whole[a, 0, k], whole[a, 1, k]
    return out


@_jit
def _columns(image: Any) -> Any:
    """The even and the odd columns (S + 2, (S / 2 + 1) * C) each of an image (S, S, C) in a frame of zeros."""
    side, _, n_channels = image.shape
    n = side // 2
    even, odd = np.zeros((side + 2, n + 1, n_channels), np.float32), np.zeros((side + 2, n + 1, n_channels), np.float32)
    for i in range(side):
        for j in range(n):
            for c in range(n_channels):
                odd[i + 1, j, c] = image[i, 2 * j, c]
                even[i + 1, j + 1, c] = image[i, 2 * j + 1, c]
    return even.reshape(side + 2, (n + 1) * n_channels), odd.reshape(side + 2, (n + 1) * n_channels)


@_jit
def _sums_seen(x0: Any, x1: Any, x2: Any, x3: Any, y0: Any, y1: Any, y2: Any, y3: Any) -> None:
    for k in range(len(y0)):
        y0[k] = x0[k] - x2[k]
        y1[k] = x1[k] + x2[k]
        y2[k] = x2[k] - x1[k]
        y3[k] = x1[k] - x3[k]


@_jit
def _sums_made(x0: Any, x1: Any, x2: Any, x3: Any, y0: Any, y1: Any) -> None:
    for k in range(len(y0)):
        y0[k] = x0[k] + x1[k] + x2[k]
        y1[k] = x1[k] - x2[k] - x3[k]


def _in_rows(kernel: Tensor) -> Any:
    """Filters (F, C, W, W), as `_convolve_image` multiplies by them, packed: (W, ...)."""
    rows = kernel.permute(2, 3, 1, 0).flatten(1, 2)  # (W, W * C, F)
    return np.stack([gemm.pack_here(array_of(row)) for row in rows])


def _tiled(kernel: Tensor) -> Any:
    """Filters (F, C, 3, 3), as `_convolve_tiles` multiplies by them, packed: (4, 4, ...)."""
    sums = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    tiles = torch.einsum("ay,bx,fcyx->abcf", sums, sums, kernel.double()).float()  # (4, 4, C, F)
    return np.stack([np.stack([gemm.pack_here(array_of(matrix)) for matrix in row]) for row in tiles])


@_jit
def _normalize_image(x: Any, bias: Any, scale: Any, shift: Any) -> None:
    """Adds the bias, and a norm over all of an image (S, S, F) and ReLU, in its place."""
    flat, n = x.reshape(x.size), len(bias)
    rows = flat.reshape(x.size // n, n)
    for i in range(len(rows)):
        for f in range(n):
            rows[i, f] += bias[f]
    total, squares = _F(0), _F(0)
    for k in range(len(flat)):
        total += flat[k]
    middle = total / _F(len(flat))
    for k in range(len(flat)):
        squares += (flat[k] - middle) * (flat[k] - middle)
    inverse = _F(1) / np.sqrt(squares / _F(len(flat)) + _F(raster.EPSILON))
    for i in range(len(rows)):
        for f in range(n):
            value = (rows[i, f] - middle) * inverse * scale[f] + shift[f]
            rows[i, f] = _F(0) if value <= _F(0) else value


@_jit
def _read(x: Any) -> Any:
    """Mean and maximum (2 * F,) over all of an image (S, S, F)."""
    n = x.shape[2]
    rows, out = x.reshape(x.size // n, n), np.zeros(2 * n, np.float32)
    mean, highest = out[:n], out[n:]
    for f in range(n):
        highest[f] = rows[0, f]
    for i in range(len(rows)):
        for f in range(n):
            mean[f] += rows[i, f]
            highest[f] = max(highest[f], rows[i, f])
    mean /= _F(len(rows))
    return out


class SingleImageReader:
    """Weights of an `ImageReader`, packed for one drawing at a time. They are copies."""

    def __init__(self, reader: ImageReader) -> None:
        self._layers: list[tuple[Any, ...]] = []
        for convolution, norm, (_, width, is_halved) in zip(reader.convs, reader.norms, raster.LAYERS, strict=True):
            kernel = cast(Tensor, convolution.weight)  # (F, C, width, width)
            convolve: Any = _convolve_tiles if width == 3 else _convolve_image
            packed = _tiled(kernel) if width == 3 else _in_rows(kernel)
            after = [array_of(cast(Tensor, each)) for each in (convolution.bias, norm.weight, norm.bias)]
            self._layers.append((convolve, packed, is_halved, after))
        self._layers = in_one_block(self._layers)

    def features(self, points: Array) -> Array:
        """Features float32 (`raster.n_features`,) of the image of the points float32 (T, 5) of a drawing."""
        drawn = raster.draw(points[None], np.array([len(points)]))[0]
        x = np.ascontiguousarray(drawn.transpose(1, 2, 0))  # (S, S, 2)
        for convolve, packed, is_halved, after in self._layers:
            x = convolve(x, packed, len(after[0]), is_halved)
            _normalize_image(x, *after)
        read: Array = _read(x)
        return read


def in_one_block(weights: Any) -> Any:
    """The float32 arrays in tuples and lists, and those in these, copied side by side into one block of memory.

    A guess reads every weight, and between two guesses caches forget most of them. For a block as large as a base model
    numpy asks the system for large pages, within which a processor fetches by itself what comes next.
    """

    def n_floats(part: Any) -> int:
        if isinstance(part, tuple | list):
            return sum(map(n_floats, part))
        return -(-part.size // _LINE) * _LINE if isinstance(part, np.ndarray) else 0

    block = np.empty(n_floats(weights) + _LARGE_PAGE, np.float32)
    begin = -block.ctypes.data // 4 % _LARGE_PAGE

    def moved(part: Any) -> Any:
        nonlocal begin
        if isinstance(part, tuple | list):
            return type(part)(map(moved, part))
        if not isinstance(part, np.ndarray):
            return part
        own = block[begin : begin + part.size].reshape(part.shape)
        own[:] = part
        begin += n_floats(part)
        return own

    return moved(weights)


def array_of(tensor: Tensor) -> Array:
    """A copy, side by side."""
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32).copy()
