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
_HALVED = tuple(is_halved for *_, is_halved in raster.LAYERS)
# Pixels of a tile's side, and those that it sees.
_TILE, _SEEN = 4, 6
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
    (S / 2, S / 2, F), maxima over two by two pixels of it. The filters are `_in_one`.

    A drawing leaves much of its image empty: of each column only the pixels from the first to the last that see
    something are multiplied.
    """
    (side, _, n_channels), n = image.shape, n_filters
    width = int(np.sqrt(packed.shape[1] // n_channels))
    rows, n_seen, around = _framed(image, width // 2), width * n_channels, width // 2
    # Of each column what all rows see of it: the windows of a column's pixels overlap in memory.
    seen = np.empty((side, len(rows), n_seen), np.float32)
    first, behind = np.empty(side, np.int64), np.zeros(side, np.int64)
    for j in range(side):
        first[j] = side
        for i in range(len(rows)):
            for k in range(n_seen):
                seen[j, i, k] = rows[i, j * n_channels + k]
        for i in range(side):
            for c in range(n_channels):
                if image[i, j, c] != 0:
                    first[j], behind[j] = min(first[j], i), i + 1
    n_columns, n_out = 1 + is_halved, side // (1 + is_halved)
    made, out = np.empty((n_columns, side, n), np.float32), np.empty((n_out, n_out, n), np.float32)
    for j in range(side):
        begin, end = side, 0
        for k in range(max(j - around, 0), min(j + around + 1, side)):
            begin, end = min(begin, max(first[k] - around, 0)), max(end, min(behind[k] + around, side))
        own = made[j % n_columns]
        own[:] = 0
        if begin < end:
            gemm.multiply_overlapping(seen[j, begin:], n_seen, packed, own[begin:end])
        for i in range(0 if is_halved else side):  # what would say that two shapes differ takes seconds to compile
            for f in range(n):
                out[i, j, f] = own[i, f]
        if is_halved and j % 2:
            for i in range(n_out):
                for f in range(n):
                    above = max(made[0, 2 * i, f], made[1, 2 * i, f])
                    out[i, j // 2, f] = max(above, max(made[0, 2 * i + 1, f], made[1, 2 * i + 1, f]))
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
    """The same for filters three pixels wide and S a multiple of four, in a quarter of the multiplications.

    Of the six by six pixels that a tile of four by four sees, and of the filters (`_tiled`), sums are multiplied
    (Winograd's minimal filtering: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). Columns
    that are four apart lie together, so that sums are of rows of tiles.
    """
    side, _, n_channels = image.shape
    n, columns = side // _TILE, _columns(image)
    at_a_time = min(max(_TILES // n, 1), n)
    down = np.empty((_TILE, _SEEN, (n + 1) * n_channels), np.float32)
    seen = np.empty((_SEEN, _SEEN, at_a_time, n * n_channels), np.float32)
    made = np.empty((_SEEN, _SEEN, at_a_time, n * n_filters), np.float32)
    half = np.empty((_TILE, _SEEN, n * n_filters), np.float32)
    whole = np.empty((_TILE, _TILE, n * n_filters), np.float32)
    out = np.empty((side // (1 + is_halved), side // (1 + is_halved), n_filters), np.float32)
    for begin in range(0, n, at_a_time):
        for own in range(at_a_time):
            i = _TILE * (begin + own)
            for c in range(_TILE):
                x, y = columns[c], down[c]
                x0, x1, x2, x3, x4, x5 = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5]
                _sums_seen(x0, x1, x2, x3, x4, x5, y[0], y[1], y[2], y[3], y[4], y[5])
            for a in range(_SEEN):
                y = seen[a]
                x0, x1, x2, x3 = down[0, a], down[1, a], down[2, a], down[3, a]
                y0, y1, y2, y3, y4, y5 = y[0, own], y[1, own], y[2, own], y[3, own], y[4, own], y[5, own]
                _sums_seen(x0, x1, x2, x3, x0[n_channels:], x1[n_channels:], y0, y1, y2, y3, y4, y5)
        for a in range(_SEEN):
            for b in range(_SEEN):
                target = made[a, b].reshape(at_a_time * n, n_filters)
                gemm.multiply_here(seen[a, b].reshape(at_a_time * n, n_channels), packed[a, b], target)
        for own in range(at_a_time):
            i = _TILE * (begin + own)
            for b in range(_SEEN):
                x0, x1, x2 = made[0, b, own], made[1, b, own], made[2, b, own]
                x3, x4, x5 = made[3, b, own], made[4, b, own], made[5, b, own]
                _sums_made(x0, x1, x2, x3, x4, x5, half[0, b], half[1, b], half[2, b], half[3, b])
            for a in range(_TILE):
                x, y = half[a], whole[a]
                _sums_made(x[0], x[1], x[2], x[3], x[4], x[5], y[0], y[1], y[2], y[3])
            if is_halved:
                for a in range(0, _TILE, 2):
                    for b in range(0, _TILE, 2):
                        for j in range(n):
                            for f in range(n_filters):
                                k = j * n_filters + f
                                above = max(whole[a, b, k], whole[a, b + 1, k])
                                below = max(whole[a + 1, b, k], whole[a + 1, b + 1, k])
                                out[(i + a) // 2, (_TILE * j + b) // 2, f] = max(above, below)
            else:
                for a in range(_TILE):
                    for b in range(_TILE):
                        for j in range(n):
                            for f in range(n_filters):
                                out[i + a, _TILE * j + b, f] = whole[a, b, j * n_filters + f]
    return out


@_jit
def _columns(image: Any) -> Any:
    """An image (S, S, C) in a frame of zeros, its columns that are four apart together: (4, S + 2, (S / 4 + 1) * C)."""
    side, _, n_channels = image.shape
    n = side // _TILE + 1
    out = np.zeros((_TILE, side + 2, n, n_channels), np.float32)
    for i in range(side):
        for j in range(side):
            own = out[(j + 1) % _TILE, i + 1, (j + 1) // _TILE]
            for c in range(n_channels):
                own[c] = image[i, j, c]
    return out.reshape(_TILE, side + 2, n * n_channels)


@_jit
def _sums_seen(
    x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, y0: Any, y1: Any, y2: Any, y3: Any, y4: Any, y5: Any
) -> None:
    for k in range(len(y0)):
        near, far = x4[k] - _F(4) * x2[k], x3[k] - _F(4) * x1[k]
        odd, even = _F(2) * (x3[k] - x1[k]), x4[k] - x2[k]
        y0[k] = _F(4) * (x0[k] - x2[k]) + even
        y1[k] = near + far
        y2[k] = near - far
        y3[k] = even + odd
        y4[k] = even - odd
        y5[k] = _F(4) * (x1[k] - x3[k]) + x5[k] - x3[k]


@_jit
def _sums_made(x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, y0: Any, y1: Any, y2: Any, y3: Any) -> None:
    for k in range(len(y0)):
        near, far = x1[k] + x2[k], x3[k] + x4[k]
        odd_near, odd_far = x1[k] - x2[k], x3[k] - x4[k]
        y0[k] = x0[k] + near + far
        y1[k] = odd_near + _F(2) * odd_far
        y2[k] = near + _F(4) * far
        y3[k] = odd_near + _F(8) * odd_far + x5[k]


def _in_one(kernel: Tensor) -> Any:
    """Filters (F, C, W, W), as `_convolve_image` multiplies by them, packed: (...)."""
    return gemm.pack_here(array_of(kernel.permute(2, 3, 1, 0).flatten(0, 2)))  # (W * W * C, F)


# The sums of a filter's three numbers that are multiplied.
_SUMS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def _tiled(kernel: Tensor) -> Any:
    """Filters (F, C, 3, 3), as `_convolve_tiles` multiplies by them, packed: (6, 6, ...)."""
    sums = torch.tensor(_SUMS, dtype=torch.float64)
    tiles = torch.einsum("ay,bx,fcyx->abcf", sums, sums, kernel.double()).float()  # (6, 6, C, F)
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


@_jit
def _features(points: Any, ends: Any, tiled: Any, after: Any, halved: Any) -> Any:
    """Features of the image of points (T, 5), without Python in between, for which this thread would have to wait.

    `ends` has the filters of the first convolution and of the last, `tiled` those of the others, `after` bias and norm
    of each, and `halved` whether it halves the image.
    """
    drawn = raster.draw(points.reshape(1, *points.shape), np.full(1, len(points)))[0]
    n_channels, side, _ = drawn.shape
    x = np.empty((side, side, n_channels), np.float32)
    for i in range(side):
        for j in range(side):
            for c in range(n_channels):
                x[i, j, c] = drawn[c, i, j]
    for k in range(len(after)):
        bias, scale, shift = after[k]
        if 0 < k <= len(tiled):
            x = _convolve_tiles(x, tiled[k - 1], len(bias), halved[k])
        else:
            x = _convolve_image(x, ends[min(k, 1)], len(bias), halved[k])
        _normalize_image(x, bias, scale, shift)
    return _read(x)


class SingleImageReader:
    """Weights of an `ImageReader`, packed for one drawing at a time. They are copies."""

    def __init__(self, reader: ImageReader) -> None:
        kernels = [cast(Tensor, convolution.weight) for convolution in reader.convs]  # (F, C, width, width)
        # The first filters are five pixels wide; the last image is one tile, whose products would be of single rows.
        ends, tiled = tuple(map(_in_one, (kernels[0], kernels[-1]))), tuple(map(_tiled, kernels[1:-1]))
        after = tuple(
            tuple(array_of(cast(Tensor, each)) for each in (convolution.bias, norm.weight, norm.bias))
            for convolution, norm in zip(reader.convs, reader.norms, strict=True)
        )
        self._weights = in_one_block((ends, tiled, after))

    def features(self, points: Array) -> Array:
        """Features float32 (`raster.n_features`,) of the image of the points float32 (T, 5) of a drawing."""
        ends, tiled, after = self._weights
        read: Array = _features(points, ends, tiled, after, _HALVED)
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
