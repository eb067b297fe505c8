"""The graph of an exported model, as plain values: what `export.onnx` writes, and all that `onnx_model` runs.

Dimensions: B batch, T steps, C channels (3 or 5), F filters, H hidden units, D directions (1 or 2), K classes; of an
image (B, F, H, W) H is the height and W the width.

    inputs   points   float32 (B, T, C), zero after each drawing's end; any B, and any T from 0
             lengths  int64 (B,), true rows of each drawing, 0 for a dot
    outputs  probabilities  float32 (B, K), of each word, given that the drawing shows one of them
             unknown        float32 (B,), probability that it shows none of them; only of a model whose card has it;
                            from version 3 on with a weight for each word, where the card has them
             features       float32 (B, R), what the output layer reads; from version 2 on

Padding, both readings, both readouts and the image branch are inside. ONNX's LSTM reads each direction at its
own end by itself (`sequence_lens`), so length-aware reading needs none of the reversing that PyTorch does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import prod
from typing import Any, NamedTuple

from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.config.model import ModelConfig
from quickstroke.data.points import n_channels
from quickstroke.kernels import raster

# Changes with the operators; a card says with which version its file was written. All from 1 on are read.
VERSION = 3

# ONNX's numbers of the types that are used (github.com/onnx/onnx, onnx.proto, TensorProto.DataType).
FLOAT32, INT8, INT32, INT64 = 1, 3, 6, 7
_ITEM_BYTES = {FLOAT32: 4, INT8: 1, INT64: 8}


# Adds weights by name, shape and, with 8 bits, the shape of their scale.
Matrix = Callable[..., str]


class Operator(NamedTuple):
    """One operator with the names of what it reads and writes; attributes are an int, a str or a tuple of ints."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class Constant(NamedTuple):
    """A tensor in the file; `values` are those that belong to the graph, None for weights."""

    dtype: int
    shape: tuple[int, ...]
    values: tuple[int, ...] | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes that its numbers take."""
        return _ITEM_BYTES[self.dtype] * prod(self.shape)


@dataclass
class Graph:
    """Operators in order, and the constants that they read by name."""

    operators: list[Operator] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)

    def add(self, kind: str, *inputs: str, into: tuple[str, ...] = (), **attributes: Any) -> str:
        """Adds an operator and returns the name of its first output."""
        outputs = into or (f"{kind.lower()}_{len(self.operators)}",)
        self.operators.append(Operator(kind, inputs, outputs, attributes))
        return outputs[0]

    def integers(self, name: str, values: int | tuple[int, ...]) -> str:
        """Adds integers of the graph, one or a row of them."""
        row = values if isinstance(values, tuple) else (values,)
        self.constants[name] = Constant(INT64, (len(row),) if isinstance(values, tuple) else (), row)
        return name

    def floats(self, name: str, *shape: int) -> str:
        """Adds weights."""
        self.constants[name] = Constant(FLOAT32, shape)
        return name


def graph_of(config: ModelConfig, int8: bool, score: UnknownScore | None, version: int = VERSION) -> Graph:
    """The graph of a model; `int8` stores its matrices in 8 bits, a `score` adds the output `unknown`."""
    g = Graph()
    matrix = partial(_matrix, g, int8)
    padded, pooled = config.reading == "padded", config.readout == "pool"

    # Zeros after the longest drawing: for one that is shorter than the convolutions, or up to `max_padding`.
    n_more = config.max_padding if padded else config.receptive_field
    n_inputs = n_channels(config.preprocessing)
    x = all_points = g.add("Pad", "points", g.integers("pads", (0, 0, 0, 0, n_more, 0)))  # (B, T, C)
    if padded:
        x = g.add(
            "Slice", x, g.integers("from", (0,)), g.integers("to", (n_more,)), g.integers("axes", (1,))
        )  # (B, max_padding, 3)
    x = g.add("Mul", x, g.floats("bn.scale", n_inputs))
    x = g.add("Add", x, g.floats("bn.shift", n_inputs))  # (B, T, C)
    true_ends = ""
    if pooled:
        x, true_ends, n_inputs = _normalized_convolutions(g, matrix, config, x)  # (B, T', F), (B,)
        ends = g.add("Cast", true_ends, to=INT32)
        x = g.add("Transpose", x, perm=(1, 0, 2))  # (T', B, F)
    else:
        x, n_inputs = _convolutions(g, matrix, config, x)  # (T', B, F)
    if padded:
        ends = ""  # no `sequence_lens`: all steps
    elif not pooled:
        ends = g.add("Sub", "lengths", g.integers("field", config.receptive_field - 1))
        ends = g.add("Max", ends, g.integers("one", 1))
        ends = g.add("Cast", ends, to=INT32)  # (B,) steps of each drawing in x
    x, steps, last = _lstm(g, matrix, config, x, ends, n_inputs)  # (T', B, D * H), (T', D, B, H), (D, B, H)
    width = (1 + config.bidirectional) * config.hidden_size
    if pooled:
        x = _pooled(g, x, true_ends, width)  # (B, 3 * D * H)
        width *= 3
        if config.image:
            x = g.add("Concat", x, _look(g, matrix, all_points, config.image), axis=1)
            width += raster.n_features(config.image)
    else:
        x = last  # (D, B, H)
        if padded:  # the backward half is read at the last step, too, which is its first
            x = g.add("Gather", steps, g.integers("last", -1), axis=0)  # (D, B, H)
        x = g.add("Transpose", x, perm=(1, 0, 2))  # (B, D, H)
        x = g.add("Reshape", x, g.integers("width", (0, width)))  # (B, D * H)
    if version > 1:
        g.add("Identity", x, into=("features",))
    weight = matrix("linear.weight", config.n_classes, width, scale=(config.n_classes, 1))
    logits = g.add("Gemm", x, weight, g.floats("linear.bias", config.n_classes), transB=1)  # (B, K)
    g.add("Softmax", logits, axis=1, into=("probabilities",))  # (B, K)
    if score:
        total = g.add("ReduceLogSumExp", logits, axes=(1,), keepdims=0)  # (B,)
        mean = g.add("ReduceSum", g.add("Mul", "probabilities", logits), g.integers("words", (1,)), keepdims=0)  # (B,)
        entropy = g.add("Mul", g.add("Sub", total, mean), g.floats("unknown.entropy"))  # (B,)
        x = g.add("Sub", g.floats("unknown.intercept"), g.add("Mul", total, g.floats("unknown.slope")))
        if score.words:
            raised = g.add("Max", logits, g.floats("unknown.floor"))  # (B, K)
            weighed = g.add("MatMul", raised, g.floats("unknown.words", config.n_classes))  # (B,)
            x = g.add("Add", x, weighed)
        g.add("Sigmoid", g.add("Add", x, entropy), into=("unknown",))  # (B,)
    return g


def _matrix(g: Graph, int8: bool, name: str, *shape: int, scale: tuple[int, ...]) -> str:
    """Adds weights, or their 8 bits and what these are multiplied by, of shape `scale`."""
    if not int8:
        return g.floats(name, *shape)
    g.constants[f"{name}:int8"] = Constant(INT8, shape)
    # onnxruntime does this once, when it loads the file.
    x = g.add("Cast", f"{name}:int8", to=FLOAT32)
    return g.add("Mul", x, g.floats(f"{name}:scale", *scale))


def _drawn(g: Graph, lengths: str, steps: str, name: str) -> str:
    """Whether each of the steps that `steps` (B, T, F) has is within `lengths` (B,): bool (B, T, 1)."""
    shape = g.add("Shape", steps)
    n_steps = g.add("Gather", shape, g.integers(f"{name}_axis", 1), axis=0)
    numbers = g.add("Range", g.integers(f"{name}_from", 0), n_steps, g.integers(f"{name}_by", 1))  # (T,)
    column = g.add("Unsqueeze", lengths, g.integers(f"{name}_column", (1,)))  # (B, 1)
    within = g.add("Less", numbers, column)  # (B, T)
    return g.add("Unsqueeze", within, g.integers(f"{name}_last", (2,)))  # (B, T, 1)


def _masked(g: Graph, x: str, lengths: str, name: str) -> str:
    """`x` (B, T, F) with zeros from `lengths` (B,) on."""
    return g.add("Mul", x, g.add("Cast", _drawn(g, lengths, x, name), to=FLOAT32))


def _normalized_convolutions(g: Graph, matrix: Matrix, config: ModelConfig, x: str) -> tuple[str, str, int]:
    """The convolutions of readout `pool` over (B, T, C): (B, T', F), the true steps (B,) of each drawing in it, F."""
    n_inputs = n_channels(config.preprocessing)
    x = _masked(g, x, "lengths", "input")
    ends = g.add("Max", "lengths", g.integers("one", 1))  # (B,) steps of each drawing in x
    for name, convolution in (("1", config.conv1), ("2", config.conv2)):
        if convolution:
            n_filters, size, stride = (*convolution, 1)[:3]
            kernel = matrix(f"conv{name}.weight", n_filters, n_inputs, size, scale=(n_filters, 1, 1))
            bias = g.floats(f"conv{name}.bias", n_filters)
            pads = (size // 2, (size - 1) // 2)
            x = g.add("Transpose", x, perm=(0, 2, 1))  # (B, C, T)
            x = g.add("Conv", x, kernel, bias, pads=pads, strides=(stride,))  # (B, F, T')
            x = g.add("Transpose", x, perm=(0, 2, 1))  # (B, T', F)
            norm = (g.floats(f"norm{name}.weight", n_filters), g.floats(f"norm{name}.bias", n_filters))
            x = g.add("Relu", g.add("LayerNormalization", x, *norm))
            n_inputs = n_filters
            if stride > 1:
                ends = g.add("Add", ends, g.integers(f"before_{name}", stride - 1))
                ends = g.add("Div", ends, g.integers(f"stride_{name}", stride))
            x = _masked(g, x, ends, f"steps{name}")
    return x, ends, n_inputs


def _convolutions(g: Graph, matrix: Matrix, config: ModelConfig, x: str) -> tuple[str, int]:
    """The convolutions of readout `last`, if any, over (B, T, C): (T', B, F), and F."""
    n_inputs = n_channels(config.preprocessing)
    if not config.conv1:
        return g.add("Transpose", x, perm=(1, 0, 2)), n_inputs
    x = g.add("Transpose", x, perm=(0, 2, 1))  # (B, C, T)
    for name, convolution in (("conv1", config.conv1), ("conv2", config.conv2)):
        if convolution:
            n_filters, size = convolution[:2]
            kernel = matrix(f"{name}.weight", n_filters, n_inputs, size, scale=(n_filters, 1, 1))
            x = g.add("Conv", x, kernel, g.floats(f"{name}.bias", n_filters))  # (B, F, T')
            n_inputs = n_filters
    return g.add("Transpose", x, perm=(2, 0, 1)), n_inputs


def _lstm(g: Graph, matrix: Matrix, config: ModelConfig, x: str, ends: str, n_inputs: int) -> tuple[str, str, str]:
    """The layers over (T, B, F): the last one's steps as (T, B, D * H), where they are pooled, and as (T, D, B, H);
    and each direction's last output (D, B, H)."""
    n_directions, n_hidden = 1 + config.bidirectional, config.hidden_size
    for layer in range(config.n_layers):
        scale = (n_directions, 4 * n_hidden, 1)
        steps = g.add(
            "LSTM",
            x,
            matrix(f"lstm{layer}.W", n_directions, 4 * n_hidden, n_inputs, scale=scale),
            matrix(f"lstm{layer}.R", n_directions, 4 * n_hidden, n_hidden, scale=scale),
            g.floats(f"lstm{layer}.B", n_directions, 8 * n_hidden),
            ends,
            into=(f"steps_{layer}", f"last_{layer}"),  # (T, D, B, H), (D, B, H)
            direction="bidirectional" if config.bidirectional else "forward",
            hidden_size=n_hidden,
        )
        n_inputs = n_directions * n_hidden
        if config.readout == "pool" or layer < config.n_layers - 1:
            x = g.add("Transpose", steps, perm=(0, 2, 1, 3))  # (T, B, D, H)
            x = g.add("Reshape", x, g.integers(f"width_{layer}", (0, 0, n_inputs)))  # (T, B, D * H)
    return x, steps, f"last_{layer}"


def _pooled(g: Graph, x: str, ends: str, width: int) -> str:
    """Mean, maximum and attention (B, 3 * W) over the true steps, of which drawings have `ends` (B,), of (T, B, W)."""
    x = g.add("Transpose", x, perm=(1, 0, 2))  # (B, T, W), 0 beyond each drawing's end
    is_drawn = _drawn(g, ends, x, "pool")
    lowest = g.add("Cast", g.integers("lowest", -(10**9)), to=FLOAT32)
    over = g.integers("over_steps", (1,))
    n_steps = g.add("Unsqueeze", g.add("Cast", ends, to=FLOAT32), over)  # (B, 1)
    mean = g.add("Div", g.add("ReduceSum", x, over, keepdims=0), n_steps)  # (B, W)
    highest = g.add("ReduceMax", g.add("Where", is_drawn, x, lowest), axes=(1,), keepdims=0)  # (B, W)
    scores = g.add("MatMul", x, g.floats("attention.weight", width, 1))  # (B, T, 1)
    attention = g.add("Softmax", g.add("Where", is_drawn, scores, lowest), axis=1)
    attended = g.add("ReduceSum", g.add("Mul", x, attention), over, keepdims=0)  # (B, W)
    return g.add("Concat", mean, highest, attended, axis=1)


def _look(g: Graph, matrix: Matrix, points: str, n_filters: int) -> str:
    """What is read of the images of points (B, T, 5), T at least 1: (B, `raster.n_features`)."""
    x = _image(g, points)  # (B, 2, H, W)
    one, zero = (g.add("Cast", _row(g, value), to=FLOAT32) for value in (1, 0))
    n_inputs, side = raster.N_CHANNELS, raster.SIDE
    for i, (multiple, size, is_halved) in enumerate(raster.LAYERS):
        n = multiple * n_filters
        kernel = matrix(f"image.convs.{i}.weight", n, n_inputs, size, size, scale=(n, 1, 1, 1))
        x = g.add("Conv", x, kernel, g.floats(f"image.convs.{i}.bias", n), pads=(size // 2,) * 4)  # (B, F, H, W)
        if is_halved:
            side //= 2
            x = g.add("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))
        # With its own epsilon, which is `raster.EPSILON`.
        x = g.add("InstanceNormalization", g.add("Reshape", x, _row(g, 0, 1, -1)), one, zero)
        x = g.add("Reshape", x, _row(g, 0, n, side, side))
        x = g.add("Mul", x, g.floats(f"image.norms.{i}.weight", n, 1, 1))
        x = g.add("Relu", g.add("Add", x, g.floats(f"image.norms.{i}.bias", n, 1, 1)))
        n_inputs = n
    x = g.add("Reshape", x, _row(g, 0, n_inputs, -1))
    mean, highest = (g.add(kind, x, axes=(2,), keepdims=0) for kind in ("ReduceMean", "ReduceMax"))
    return g.add("Concat", mean, highest, axis=1)


def _image(g: Graph, points: str) -> str:
    """The images (B, 2, H, W) of points (B, T, 5), T at least 1, each pixel for each point as in `raster.draw`."""
    add = g.add

    def ratio(value: float) -> str:
        over, under = Fraction(value).limit_denominator(10**12).as_integer_ratio()
        return add("Div", add("Cast", _row(g, over), to=FLOAT32), add("Cast", _row(g, under), to=FLOAT32))

    def column(x: str, begin: int, end: int) -> str:
        return add("Slice", x, _row(g, begin), _row(g, end), _row(g, 2))

    def before(x: str, first: str = "") -> str:
        """Of each step what `x` (B, T, C) has at the step before."""
        x = add("Pad", x, _row(g, 0, 1, 0, 0, 0, 0), *((first,) if first else ()))
        return add("Slice", x, _row(g, 0), _row(g, -1), _row(g, 1))

    zero, one, half = (ratio(value) for value in (0, 1, raster.PEN_UP))
    middle, length, reach, tiny = (ratio(value) for value in (raster.MIDDLE, raster.LENGTH, raster.REACH, raster.TINY))
    scalar = g.integers("image_scalar", ())
    low, high = (add("Reshape", value, scalar) for value in (zero, one))
    to = add("Add", add("Mul", column(points, 2, 4), length), middle)  # (B, T, 2)
    is_new = add("Greater", before(column(points, 4, 5), high), half)  # (B, T, 1)
    begin = add("Where", is_new, to, before(to))  # (B, T, 2)
    way = add("Sub", to, begin)  # (B, T, 2)
    (dx, dy), (from_x, from_y) = ((column(x, 0, 1), column(x, 1, 2)) for x in (way, begin))  # (B, T, 1) each
    bounds = g.integers("image_from", 0), g.integers("image_to", raster.SIDE), g.integers("image_by", 1)
    pixels = add("Cast", add("Range", *bounds), to=FLOAT32)  # (W,)
    to_x, to_y = (add("Sub", pixels, x) for x in (from_x, from_y))  # (B, T, W), (B, T, H)
    across, down = _row(g, 2), _row(g, 3)
    square = add(
        "Unsqueeze", add("Max", add("Add", add("Mul", dx, dx), add("Mul", dy, dy)), tiny), down
    )  # (B, T, 1, 1)
    along = add("Add", add("Unsqueeze", add("Mul", to_x, dx), across), add("Unsqueeze", add("Mul", to_y, dy), down))
    part = add("Clip", add("Div", along, square), low, high)  # (B, T, H, W)
    off_x = add("Sub", add("Unsqueeze", to_x, across), add("Mul", part, add("Unsqueeze", dx, down)))
    off_y = add("Sub", add("Unsqueeze", to_y, down), add("Mul", part, add("Unsqueeze", dy, down)))
    distance = add("Sqrt", add("Add", add("Mul", off_x, off_x), add("Mul", off_y, off_y)))
    ink = add("Clip", add("Sub", reach, distance), low, high)  # (B, T, H, W)
    there = add("Cast", _drawn(g, "lengths", points, "seen"), to=FLOAT32)  # (B, T, 1)
    n_true = add("Cast", add("Max", "lengths", _row(g, 1)), to=FLOAT32)
    so_far = add("CumSum", there, g.integers("image_axis", 1))  # (B, T, 1)
    late = add("Mul", there, add("Div", so_far, add("Unsqueeze", n_true, _row(g, 1, 2))))
    channels = [
        add("ReduceMax", add("Mul", ink, add("Unsqueeze", factor, down)), axes=(1,), keepdims=1)
        for factor in (there, late)
    ]
    return add("Concat", *channels, axis=1)


def _row(g: Graph, *values: int) -> str:
    """A row of integers under a name of its own."""
    return g.integers(f"row_{len(g.constants)}", values)
