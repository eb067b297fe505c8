"""One drawing at a time on a CPU, as it is guessed while somebody draws: compiled code in place of PyTorch.

PyTorch prepares so much for each of a model's many small operations that most of a guess is that. Here the weights are
packed once in the order that one drawing reads them in. All is float32. A guess waits for no other thread that has not
begun, which is why the products are never MKL's: where a core is idle, its thread reads the points beside the image.

Dimensions: T steps, C channels, F inputs of a layer, H hidden units, D directions, K classes, R inputs of the output
layer.
"""

from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.kernels import raster, threads, vectors
from quickstroke.kernels.arrays import empty, zeros
from quickstroke.kernels.conv import im2col, normalize
from quickstroke.kernels.gates import activate_rows
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.models.single_image import SingleImageReader, array_of, in_one_block
from quickstroke.utils.compiled import jit

_F = np.float32
_VERSION = attrgetter("_version")
# A literal is a type of its own to numba, for which it would compile once more what it is given to.
_BEGIN = np.int64(0)
# Sums may be taken in any order, so that loops over columns become vectors.
_jit = jit(error_model="numpy", fastmath={"contract", "reassoc"})

Array = NDArray[np.float32]


@_jit
def _add_rows(factors: Any, rows: Any, out: Any, upwards: Any = False) -> None:
    """Adds the rows, each times its factor, to `out`: eight at a time, so that `out` is seldom read and written.

    Rows that fill the second cache are best gone over `upwards` every other time: what was read last is there still.
    """
    n = len(factors)
    whole = n - n % 8
    for begin in range(0, whole, 8):
        k = whole - 8 - begin if upwards else begin
        r0, r1, r2, r3 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        r4, r5, r6, r7 = rows[k + 4], rows[k + 5], rows[k + 6], rows[k + 7]
        f0, f1, f2, f3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        f4, f5, f6, f7 = factors[k + 4], factors[k + 5], factors[k + 6], factors[k + 7]
        for j in range(len(out)):
            first = (r0[j] * f0 + r1[j] * f1) + (r2[j] * f2 + r3[j] * f3)
            out[j] += first + ((r4[j] * f4 + r5[j] * f5) + (r6[j] * f6 + r7[j] * f7))
    for k in range(whole, n):
        row, factor = rows[k], factors[k]
        for j in range(len(out)):
            out[j] += row[j] * factor


@_jit
def _convolve(x: Any, packed: Any, n_columns: Any, bias: Any, width: Any) -> Any:
    """A convolution (T - width + 1, F) without padding or activation, as types without readout `pool` have it."""
    n_steps, n_channels = len(x) - width + 1, x.shape[1]
    columns = empty((n_steps, n_columns), np.float32)
    flat = x.reshape(x.size)
    for s in range(n_steps):
        for k in range(width * n_channels):
            columns[s, k] = flat[s * n_channels + k]
    out = empty((n_steps, len(bias)), np.float32)
    vectors.multiply(columns, packed, out)
    return out + bias


@_jit
def _convolve_normalized(
    x: Any, packed: Any, n_columns: Any, bias: Any, scale: Any, shift: Any, stride: Any, width: Any
) -> Any:
    """A convolution, layer norm and ReLU (T / stride, F), each step in the middle of what it sees."""
    n_steps = (len(x) + stride - 1) // stride
    columns = empty((n_steps, n_columns), np.float32)
    im2col(x, _BEGIN, len(x), stride, width, columns)
    rows, y = empty((n_steps, len(bias)), np.float32), empty((n_steps, len(bias)), np.float32)
    vectors.multiply(columns, packed, rows)
    unused = empty(n_steps, np.float32)
    normalize(rows, _BEGIN, n_steps, bias, scale, shift, unused, unused, y)
    return y


@_jit
def _layer(x: Any, packed: Any, bias: Any, weight_hh: Any) -> Any:
    """Hidden states (T, D * H) of x (T, F), packed weights (F, D * 4H), `bias` (D * 4H,), `weight_hh` (D, H, 4H)."""
    n_directions, n, _ = weight_hh.shape
    gates = empty((len(x), len(bias)), np.float32)
    vectors.multiply(x, packed, gates)
    out = empty((len(x), n_directions * n), np.float32)
    # Of a step and the one before.
    activated, c, tanh_c = empty((2, 4 * n), np.float32), zeros((3, n), np.float32), empty((2, n), np.float32)
    no_owner = empty(0, np.int64)
    for direction in range(n_directions):
        weight, begin = weight_hh[direction], 4 * n * direction
        h = out[:, direction * n : (direction + 1) * n]
        before = 0
        for step in range(len(x)):
            t = len(x) - 1 - step if direction else step
            a = gates[t, begin : begin + 4 * n]
            for j in range(4 * n):
                a[j] += bias[begin + j]
            if step:
                _add_rows(out[before, direction * n : (direction + 1) * n], weight, a, step % 2 == 1)
            kept = step % 2
            own = gates[t : t + 1, begin : begin + 4 * n]
            activate_rows(own, activated, c, tanh_c, h, h, no_owner, t, kept, 1 - kept if step else -1, t, 0)
            before = t
    return out


@_jit
def _pool(x: Any, attention: Any) -> Any:
    """Mean, maximum and attention, one after the other, of the rows of `x`."""
    n = x.shape[1]
    out = zeros(3 * n, np.float32)
    mean, highest, attended = out[:n], out[n : 2 * n], out[2 * n :]
    for j in range(n):
        highest[j] = x[0, j]
    scores, top, total = empty(len(x), np.float32), -_F(np.inf), _F(0)
    for t in range(len(x)):
        row, score = x[t], _F(0)
        for j in range(n):
            score += row[j] * attention[j]
            mean[j] += row[j]
            highest[j] = max(highest[j], row[j])
        scores[t], top = score, max(top, score)
    for t in range(len(x)):
        scores[t] = np.exp(scores[t] - top)
        total += scores[t]
    _add_rows(scores, x, attended)
    for j in range(n):
        attended[j] /= total
        mean[j] /= _F(len(x))
    return out


@_jit
def _output(x: Any, weight: Any, bias: Any) -> Any:
    out = bias.copy()
    _add_rows(x, weight, out)
    return out


class SingleReader:
    """A model's weights, packed for one drawing at a time. They are copies: a model that changes needs a new one.

    Attributes:
        is_outdated: whether a weight had been changed in place when the last drawing was read; one that was replaced
            by another is not seen.
    """

    is_outdated = False

    @threads.undisturbed()  # a forked process would wait for ever for the threads that PyTorch had in its parent
    def __init__(self, model: StrokeClassifier) -> None:
        config = model.config
        tensors = (*model.parameters(), *model.buffers())
        # PyTorch counts what is done to a tensor, unless it was made in inference mode.
        self._copied = [tensor for tensor in tensors if not tensor.is_inference()]
        self._versions = list(map(_VERSION, self._copied))
        self._config = config
        bn = model.bn
        scale = bn.weight * torch.rsqrt(cast(Tensor, bn.running_var) + bn.eps)  # (C,)
        self._scale, self._shift = array_of(scale), array_of(bn.bias - cast(Tensor, bn.running_mean) * scale)
        self._convolutions: list[tuple[Any, ...]] = []
        for convolution, norm in model.convolutions:
            n_filters, n_channels, width = convolution.weight.shape
            matrix = convolution.weight.permute(2, 1, 0).reshape(width * n_channels, n_filters)  # (W * C, F)
            packed = vectors.pack(array_of(matrix))
            arrays: tuple[Any, ...] = packed, len(matrix), array_of(cast(Tensor, convolution.bias))
            if config.readout == "pool":
                arrays += array_of(norm.weight), array_of(norm.bias), convolution.stride[0]
            self._convolutions.append((*arrays, width))
        suffixes = ("", "_reverse")[: 1 + config.bidirectional]
        self._layers: list[tuple[Array, Array, Array]] = []
        for layer in range(config.n_layers):
            weights = [
                [getattr(model.lstm, f"{key}_l{layer}{suffix}") for suffix in suffixes]
                for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            weight_ih, bias = torch.cat(weights[0]).t(), torch.cat(weights[2]) + torch.cat(weights[3])
            weight_hh = torch.stack([weight.t() for weight in weights[1]])  # (D, H, 4H)
            self._layers.append((vectors.pack(array_of(weight_ih)), array_of(bias), array_of(weight_hh)))
        self._image = SingleImageReader(model.image) if model.image is not None else None
        self._attention = array_of(model.attention.weight[0]) if config.readout == "pool" else None
        self._linear = array_of(model.linear.weight.t()), array_of(model.linear.bias)
        self._convolutions, self._layers, self._linear = in_one_block((self._convolutions, self._layers, self._linear))

    def read(self, points: Array) -> tuple[Array, Array]:
        """What the output layer reads of the points float32 (T, C) of a drawing, without padding, and the logits of it:
        float32 (R,) and (K,)."""
        if self._image is None:
            features = self._of_points(points)
            return features, _output(features, *self._linear)
        weight, bias = self._linear
        image, n_pooled = self._image, len(weight) - raster.n_features(cast(int, self._config.image))

        def of_image() -> Array:
            features: Array = image.features(points[None], np.array([len(points)]))[0]
            return features

        def of_points() -> tuple[Array, Array]:
            pooled = self._of_points(points)
            return pooled, _output(pooled, weight[:n_pooled], bias)

        seen, (pooled, of_pooled) = threads.both(of_image, of_points)
        return np.concatenate([pooled, seen]), _output(seen, weight[n_pooled:], of_pooled)

    def logits(self, points: Array) -> Array:
        """Logits float32 (K,) as of `read`."""
        return self.read(points)[1]

    def _of_points(self, points: Array) -> Array:
        """What is read beside the image; meanwhile there is time to look whether the weights were changed."""
        self.is_outdated = list(map(_VERSION, self._copied)) != self._versions
        config = self._config
        n_steps = config.max_padding if config.reading == "padded" else max(len(points), config.receptive_field)
        x = np.zeros((n_steps, points.shape[1]), np.float32)
        x[: len(points)] = points
        x = x * self._scale + self._shift
        if self._attention is not None:
            x[len(points) :] = 0.0
        convolve = _convolve if self._attention is None else _convolve_normalized
        for convolution in self._convolutions:
            x = convolve(x, *convolution)
        for layer in self._layers:
            x = _layer(x, *layer)  # (T, D * H)
        if self._attention is not None:
            pooled: Array = _pool(x, self._attention)
            return pooled
        if config.reading == "padded" or not config.bidirectional:
            last: Array = x[-1]
            return last
        # The backward half has read all at the first step.
        return np.concatenate([x[-1, : config.hidden_size], x[0, config.hidden_size :]])
