"""The images of one drawing or some on a CPU, as `single.py` reads the points of one.

Dimensions: B drawings, T steps, S pixels of an image's side, C channels, F filters.
"""

from typing import Any, cast

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.kernels import raster, vectors
from quickstroke.kernels.arrays import compiled, empty, unpack, zeros
from quickstroke.models.image_branch import ImageReader
from quickstroke.utils.compiled import jit

_F = np.float32
_HALVED = tuple(is_halved for *_, is_halved in raster.LAYERS)
# Pixels of a tile's side, and those that it sees.
_TILE, _SEEN = 4, 6
# So many tiles are multiplied at a time, and so many images read together: what is between stays in a cache.
_TILES, _TOGETHER = 32, 8
# Rows of a convolution that are under way at a time: at least as many as a filter has and one more, for a maximum.
_ROWS = 8
# Numbers in a line of a cache, and in a large page.
_LINE, _LARGE_PAGE = 16, 2**19
# Sums may be taken in any order, so that loops become vectors.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}
_jit = jit(**_OPTIONS)

_I64 = ir.IntType(64)

Array = NDArray[np.float32]


@compiled  # type: ignore[untyped-decorator]
def _add_products(context: Any, factors: Any, weights: Any, target: Any, n: Any) -> Any:
    """Compiled: adds to `n` numbers, whole registers of them, from the address `target` on the products of each factor
    and its own `n` weights, in the order of the factors."""
    signature = types.void(vectors.UniTuple(types.float32, len(factors)), types.uintp, types.uintp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factors, weights, target, n = args
        factors = [vectors.splat(builder, factor) for factor in unpack(builder, factors)]
        row, register = builder.mul(n, _I64(4)), factors[0].type.as_pointer()
        with cgutils.for_range_slice(builder, _I64(0), row, _I64(4 * vectors.LANES)) as (at, _):
            place = builder.inttoptr(builder.add(target, at), register)
            total, own = builder.load(place, align=4), builder.add(weights, at)
            for factor in factors:
                weight = builder.load(builder.inttoptr(own, register), align=4)
                total, own = vectors.fused(builder, factor, weight, total), builder.add(own, row)
            builder.store(total, place, align=4)
        return context.get_dummy_value()

    return signature, generate


@_jit
def _convolve_drawn(image: Any, weights: Any, out: Any) -> None:
    """Maxima over two by two pixels, `out` (S / 2, S / 2, F), of a convolution of an image (2, S, S) with zeros around
    it, each pixel in the middle of what it sees. The filters are `_spread`.

    A drawing leaves most of its image empty: each pixel that it does not leave empty goes to all that see it, which in
    a row lie side by side. Products are added in the order in which the filters have them.
    """
    side, n_filters = image.shape[1], out.shape[2]
    width, n = len(weights), weights.shape[2]
    around = width // 2
    # Rows that are not done yet, each with what is beyond the image on both sides, and beyond the last register.
    rows = zeros((_ROWS, (side + width) * n_filters + vectors.LANES), np.float32)
    row_bytes, weights_at, rows_at = np.uintp(rows.strides[0]), weights.ctypes.data, rows.ctypes.data
    for i in range(side + around):
        inks, lates = image[0, min(i, side - 1)], image[1, min(i, side - 1)]
        for j in range(side if i < side else 0):
            ink, late = inks[j], lates[j]
            if ink == 0 and late == 0:
                continue
            target = rows_at + np.uintp(4 * j * n_filters)
            for row in range(width):
                to = i + around - row
                if 0 <= to < side:
                    own = weights_at + np.uintp(row * weights.strides[0])
                    _add_products((ink, late), own, target + np.uintp(to % _ROWS) * row_bytes, n)
        done = i - around
        if done < 0 or done % 2 == 0:
            continue
        above, below = rows[(done - 1) % _ROWS], rows[done % _ROWS]
        for k in range(len(above)):
            above[k] = below[k] if below[k] > above[k] else above[k]
            below[k] = _F(0)
        for j in range(side // 2):
            begin = (around + 2 * j) * n_filters
            left, right, highest = above[begin:], above[begin + n_filters :], out[done // 2, j]
            for f in range(n_filters):
                highest[f] = right[f] if right[f] > left[f] else left[f]
        above[:] = 0


@_jit
def _framed(x: Any, n: Any) -> Any:
    """Rows (S + 2n, (S + 2n) * C) of an image (S, S, C) with `n` pixels of zeros on each side."""
    side, _, n_channels = x.shape
    out = zeros((side + 2 * n, side + 2 * n, n_channels), np.float32)
    for i in range(side):
        for j in range(side):
            for c in range(n_channels):
                out[n + i, n + j, c] = x[i, j, c]
    return out.reshape(side + 2 * n, (side + 2 * n) * n_channels)


@_jit
def _convolve_at_once(images: Any, packed: Any, n_filters: Any) -> Any:
    """A convolution (B, S, S, F) of small images (B, S, S, C) by one product: many filters are read once for all
    pixels."""
    n_images, side, _, n_channels = images.shape
    width = int(np.sqrt(packed.shape[1] // n_channels))
    n_seen = width * n_channels
    seen = empty((n_images * side * side, width * n_seen), np.float32)
    out = empty((n_images, side, side, n_filters), np.float32)
    for b in range(n_images):
        rows = _framed(images[b], width // 2)
        for i in range(side):
            for j in range(side):
                own = seen[(b * side + i) * side + j]
                for row in range(width):
                    for k in range(n_seen):
                        own[row * n_seen + k] = rows[i + row, j * n_channels + k]
    vectors.multiply(seen, packed, out.reshape(len(seen), n_filters))
    return out


@_jit
def _convolve_tiles(images: Any, packed: Any, n_filters: Any, is_halved: Any) -> Any:
    """A convolution of images (B, S, S, C), or maxima over two by two pixels of it, for filters three pixels wide and S
    a multiple of four, in a quarter of the multiplications.

    Of the six by six pixels that a tile of four by four sees, and of the filters (`_tiled`), sums are multiplied
    (Winograd's minimal filtering: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015). Columns
    that are four apart lie together, so that sums are of rows of tiles, of which some are multiplied together.
    """
    n_images, side, _, n_channels = images.shape
    n = side // _TILE
    n_rows, n_seen, n_made = n_images * n, n * n_channels, n * n_filters
    at_a_time = max(min(_TILES // n, n_rows), 1)
    wide = n_seen + n_channels
    columns = zeros(_TILE * (side + 2) * wide, np.float32)
    down = empty(_TILE * _SEEN * wide, np.float32)
    seen = empty(_SEEN * _SEEN * at_a_time * n_seen, np.float32)
    made = empty(_SEEN * _SEEN * at_a_time * n_made, np.float32)
    half, whole = empty(_TILE * _SEEN * n_made, np.float32), empty(_TILE * _TILE * n_made, np.float32)
    out = empty((n_images, side // (1 + is_halved), side // (1 + is_halved), n_filters), np.float32)
    for begin in range(0, n_rows, at_a_time):
        n_own = min(at_a_time, n_rows - begin)
        for own in range(n_own):
            i = (begin + own) % n * _TILE
            if i == 0:
                _lay_out(images[(begin + own) // n], columns)
            for c in range(_TILE):
                at = (c * (side + 2) + i) * wide
                _sums_seen(columns, at, wide, at + 4 * wide, down, c * _SEEN * wide, wide, wide)
            for a in range(_SEEN):
                at, into = a * wide, (a * _SEEN * at_a_time + own) * n_seen
                _sums_seen(down, at, _SEEN * wide, at + n_channels, seen, into, at_a_time * n_seen, n_seen)
        # The last time perhaps of more tiles than there are.
        tiles_seen, tiles_made = (_SEEN * _SEEN, at_a_time * n, n_channels), (_SEEN * _SEEN, at_a_time * n, n_filters)
        vectors.multiply_each(seen.reshape(tiles_seen), packed, made.reshape(tiles_made))
        for own in range(n_own):
            for b in range(_SEEN):
                at = (b * at_a_time + own) * n_made
                _sums_made(made, at, _SEEN * at_a_time * n_made, half, b * n_made, _SEEN * n_made, n_made)
            for a in range(_TILE):
                _sums_made(half, a * _SEEN * n_made, n_made, whole, a * _TILE * n_made, n_made, n_made)
            i, image = (begin + own) % n * _TILE, out[(begin + own) // n]
            tiles = whole.reshape(_TILE, _TILE, n, n_filters)
            if is_halved:
                for a in range(0, _TILE, 2):
                    for b in range(0, _TILE, 2):
                        for j in range(n):
                            for f in range(n_filters):
                                above = max(tiles[a, b, j, f], tiles[a, b + 1, j, f])
                                below = max(tiles[a + 1, b, j, f], tiles[a + 1, b + 1, j, f])
                                image[(i + a) // 2, (_TILE * j + b) // 2, f] = max(above, below)
            else:
                for a in range(_TILE):
                    for b in range(_TILE):
                        for j in range(n):
                            for f in range(n_filters):
                                image[i + a, _TILE * j + b, f] = tiles[a, b, j, f]
    return out


@_jit
def _lay_out(image: Any, columns: Any) -> None:
    """An image (S, S, C) in a frame of zeros, its columns that are four apart together: (4, S + 2, (S / 4 + 1) * C)."""
    side, _, n_channels = image.shape
    framed = columns.reshape(_TILE, side + 2, side // _TILE + 1, n_channels)
    for i in range(side):
        for j in range(side):
            own = framed[(j + 1) % _TILE, i + 1, (j + 1) // _TILE]
            for c in range(n_channels):
                own[c] = image[i, j, c]


@_jit
def _sums_seen(x: Any, at: Any, row: Any, beyond: Any, y: Any, into: Any, out_row: Any, n: Any) -> None:
    """Of six rows of `n` numbers of `x`, four from `at` on and two from `beyond` on, six of `y` from `into` on.

    A row is no argument of its own: to count who has it would take several times as long as the sums.
    """
    x0, x1, x2, x3 = x[at:], x[at + row :], x[at + 2 * row :], x[at + 3 * row :]
    x4, x5 = x[beyond:], x[beyond + row :]
    y0, y1, y2 = y[into:], y[into + out_row :], y[into + 2 * out_row :]
    into += 3 * out_row
    y3, y4, y5 = y[into:], y[into + out_row :], y[into + 2 * out_row :]
    for k in range(n):
        near, far = x4[k] - _F(4) * x2[k], x3[k] - _F(4) * x1[k]
        odd, even = _F(2) * (x3[k] - x1[k]), x4[k] - x2[k]
        y0[k] = _F(4) * (x0[k] - x2[k]) + even
        y1[k] = near + far
        y2[k] = near - far
        y3[k] = even + odd
        y4[k] = even - odd
        y5[k] = _F(4) * (x1[k] - x3[k]) + x5[k] - x3[k]


@_jit
def _sums_made(x: Any, at: Any, row: Any, y: Any, into: Any, out_row: Any, n: Any) -> None:
    """Of six rows of `n` numbers of `x` four of `y`."""
    x0, x1, x2 = x[at:], x[at + row :], x[at + 2 * row :]
    at += 3 * row
    x3, x4, x5 = x[at:], x[at + row :], x[at + 2 * row :]
    y0, y1 = y[into:], y[into + out_row :]
    into += 2 * out_row
    y2, y3 = y[into:], y[into + out_row :]
    for k in range(n):
        near, far = x1[k] + x2[k], x3[k] + x4[k]
        odd_near, odd_far = x1[k] - x2[k], x3[k] - x4[k]
        y0[k] = x0[k] + near + far
        y1[k] = odd_near + _F(2) * odd_far
        y2[k] = near + _F(4) * far
        y3[k] = odd_near + _F(8) * odd_far + x5[k]


def _spread(kernel: Tensor) -> Array:
    """Filters (F, C, W, W), as `_convolve_drawn` multiplies by them, (W, C, n): of each row of theirs the W pixels that
    see one pixel, from left to right, and zeros up to whole registers."""
    of_rows = kernel.flip(3).permute(2, 1, 3, 0).flatten(2)  # (W, C, W * F)
    return array_of(torch.nn.functional.pad(of_rows, (0, -of_rows.shape[2] % vectors.LANES)))


def _in_one(kernel: Tensor) -> Any:
    """Filters (F, C, W, W), as `_convolve_at_once` multiplies by them, packed: (...)."""
    return vectors.pack(array_of(kernel.permute(2, 3, 1, 0).flatten(0, 2)))  # (W * W * C, F)


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
    """Filters (F, C, 3, 3), as `_convolve_tiles` multiplies by them, packed: (36, ...)."""
    sums = torch.tensor(_SUMS, dtype=torch.float64)
    tiles = torch.einsum("ay,bx,fcyx->abcf", sums, sums, kernel.double()).float()  # (6, 6, C, F)
    return np.stack([vectors.pack(array_of(matrix)) for matrix in tiles.flatten(0, 1)])


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
def _read(x: Any, out: Any) -> None:
    """Mean and maximum (2 * F,) over all of an image (S, S, F)."""
    n = x.shape[2]
    rows = x.reshape(x.size // n, n)
    mean, highest = out[:n], out[n:]
    for f in range(n):
        mean[f], highest[f] = _F(0), rows[0, f]
    for i in range(len(rows)):
        for f in range(n):
            mean[f] += rows[i, f]
            highest[f] = max(highest[f], rows[i, f])
    mean /= _F(len(rows))


@jit(takes_long=True, **_OPTIONS)
def _features(points: Any, lengths: Any, ends: Any, tiled: Any, after: Any, halved: Any, out: Any) -> None:
    """Writes features, `out` (B, 2 * F), of the images of points (B, T, 5), without Python in between, for which this
    thread would have to wait.

    `ends` has the filters of the first convolution and of the last, `tiled` those of the others, `after` bias and norm
    of each, and `halved` whether it halves the image.
    """
    n_images, side = len(points), raster.SIDE
    drawn = zeros((n_images, raster.N_CHANNELS, side, side), np.float32)
    raster.draw(points, lengths, drawn)
    x = empty((n_images, side // 2, side // 2, len(after[0][0])), np.float32)
    for b in range(n_images):
        _convolve_drawn(drawn[b], ends[0], x[b])
    for k in range(len(after)):
        bias, scale, shift = after[k]
        if 0 < k <= len(tiled):
            x = _convolve_tiles(x, tiled[k - 1], len(bias), halved[k])
        elif k:
            x = _convolve_at_once(x, ends[1], len(bias))
        for b in range(n_images):
            _normalize_image(x[b], bias, scale, shift)
    for b in range(n_images):
        _read(x[b], out[b])


class SingleImageReader:
    """Weights of an `ImageReader`, packed for one drawing or some at a time. They are copies."""

    def __init__(self, reader: ImageReader) -> None:
        kernels = [cast(Tensor, convolution.weight) for convolution in reader.convs]  # (F, C, width, width)
        # The first filters are five pixels wide; the last image is one tile, whose products would be of single rows.
        ends, tiled = (_spread(kernels[0]), _in_one(kernels[-1])), tuple(map(_tiled, kernels[1:-1]))
        after = tuple(
            tuple(array_of(cast(Tensor, each)) for each in (convolution.bias, norm.weight, norm.bias))
            for convolution, norm in zip(reader.convs, reader.norms, strict=True)
        )
        self._weights = in_one_block((ends, tiled, after))

    def features(self, points: Array, lengths: NDArray[np.int64]) -> Array:
        """Features float32 (B, `raster.n_features`) of the images of the points float32 (B, T, 5) of drawings, of which
        `lengths` (B,) are true. Those of a drawing do not depend on the others."""
        ends, tiled, after = self._weights
        out = np.empty((len(points), 2 * len(after[-1][0])), np.float32)
        for begin in range(0, len(points), _TOGETHER):
            own = slice(begin, begin + _TOGETHER)
            _features(points[own], lengths[own], ends, tiled, after, _HALVED, out[own])
        return out


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
