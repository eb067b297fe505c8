"""A StrokeClassifier as an `.onnx` file, and the proof that it computes the same. Its graph: `onnx_graph.py`."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from quickstroke import __version__
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.data import batches
from quickstroke.data.points import n_channels
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import WeightsError
from quickstroke.export import card_of
from quickstroke.inference.onnx_graph import VERSION, Constant, graph_of
from quickstroke.inference.onnx_model import CARD_KEY, OnnxModel, seal
from quickstroke.inference.recognizer import Model
from quickstroke.models.classifier import StrokeClassifier

# Old enough for every onnxruntime that is supported, also in browsers, new enough for all operators here.
_OPSET, _IR_VERSION = 17, 8

# Sums of float32 in another order, and onnxruntime's own approximations of sigmoid and tanh, differ by far less.
MAX_DIFFERENCE = 1e-4
# What the file says of its inputs and outputs.
_MEANING = {
    "points": "The rows of each drawing by the card's preprocessing (docs/formats.md, Points), then zeros.",
    "lengths": "How many rows of each drawing are true, at most max_padding. The card is the metadata `quickstroke`.",
    "probabilities": "Of each of the card's classes, in their order, given that the drawing shows one of them.",
    "unknown": "The probability that a drawing shows none of the classes; of dots alone it is 1, whatever comes.",
    "features": "What the output layer reads.",
}
# What 8-bit weights may cost, as a fraction of the drawings.
MAX_LOSS = 0.005


@dataclass(frozen=True, slots=True)
class Exported:
    """An `.onnx` file in memory.

    Attributes:
        data: the file.
        model: the same, loaded.
        max_difference: largest difference of any output from PyTorch's, over the drawings of the check; where numbers
            of an output are above 1, as a part of its largest.
    """

    data: bytes
    model: OnnxModel
    max_difference: float


@dataclass(frozen=True, slots=True)
class Quantized:
    """What became of 8-bit weights.

    Attributes:
        exported: the file with them, its figures in its card.
        top1: fraction of `n` drawings that it recognises.
        top1_float32: the same, of the file with float32 weights.
        n: drawings measured.
        refusal: why they should not be kept; empty if nothing speaks against them.
    """

    exported: Exported
    top1: float
    top1_float32: float
    n: int
    refusal: str


def export(loaded: LoadedModel) -> Exported:
    """The `.onnx` file of a model, after onnxruntime gave the same probabilities as PyTorch for it.

    Raises:
        WeightsError: onnxruntime cannot run it, or gives other probabilities.
    """
    exported = _checked(loaded, _write(loaded, card_of(loaded), int8=False))
    if not exported.max_difference <= MAX_DIFFERENCE:
        raise WeightsError(
            f"{loaded.path}: not exported: onnxruntime gives probabilities that differ by up to "
            f"{exported.max_difference:.2g} from PyTorch's; at most {MAX_DIFFERENCE:g} is accepted"
        )
    return exported


def quantize(loaded: LoadedModel, exported: Exported, drawings: LabelledDrawings) -> Quantized:
    """The same with 8-bit weights, measured on N drawings.

    Weights of the LSTM, the convolutions and the output layer become integers with one scale for each row (for each
    filter), and float32 again when the file is loaded; what is computed stays float32. onnxruntime's own dynamic
    quantisation gives files of the same size, but scales what is computed by the largest value in a batch: of the 2020
    project's models it changed the answer for 1 to 7 of 100 drawings with the drawings that came beside them.

    Args:
        exported: what `export` gave.
    """
    card = card_of(loaded)
    figures = card.pop("figures", None)  # they are not these weights'
    top1_float32 = _top1(exported.model, drawings)
    top1 = _top1(OnnxModel.from_bytes(_write(loaded, card, int8=True), loaded.path), drawings)
    measured = {"weights": "int8", "top1": top1, "top1_float32": top1_float32, "n": len(drawings)}
    card |= {"quantization": measured, "figures_float32": figures or {}}
    result = _checked(loaded, _write(loaded, card, int8=True))
    refusal = ""
    if top1 < top1_float32 - MAX_LOSS:
        refusal = f"they lose {100 * (top1_float32 - top1):.2f} points, more than {100 * MAX_LOSS:g}"
    elif len(result.data) >= len(exported.data):
        refusal = f"the file would have {len(result.data):,} bytes, not fewer than {len(exported.data):,}"
    return Quantized(result, top1, top1_float32, len(drawings), refusal)


def _write(loaded: LoadedModel, card: dict[str, Any], *, int8: bool) -> bytes:
    config = loaded.model.config
    n_columns = n_channels(config.preprocessing)
    unknown = UnknownScore.of_card(loaded.card, loaded.path)
    graph, weights = graph_of(config, int8, unknown), _weights(loaded.model)
    if unknown:
        weights |= {f"unknown.{key}": torch.tensor(value) for key, value in unknown.entry().items()}
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(node.kind, node.inputs, node.outputs, f"{number}_{node.kind}", **node.attributes)
                for number, node in enumerate(graph.operators)
            ],
            config.name,
            [_value("points", TensorProto.FLOAT, "B", "T", n_columns), _value("lengths", TensorProto.INT64, "B")],
            [
                _value("probabilities", TensorProto.FLOAT, "B", config.n_classes),
                *([_value("unknown", TensorProto.FLOAT, "B")] if unknown else []),
                _value("features", TensorProto.FLOAT, "B", loaded.model.linear.in_features),
            ],
            [
                numpy_helper.from_array(_array(name, constant, weights), name)
                for name, constant in graph.constants.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="quickstroke",
        producer_version=__version__,
    )
    helper.set_model_props(proto, {CARD_KEY: json.dumps(card | {"graph": VERSION}, ensure_ascii=False)})
    return seal(proto.SerializeToString(deterministic=True))


def _value(name: str, dtype: int, *shape: str | int) -> Any:
    """An input or output of the graph, with its meaning."""
    return helper.make_tensor_value_info(name, dtype, shape, _MEANING[name])


def _weights(model: StrokeClassifier) -> dict[str, Tensor]:
    """The weights by the names of the graph's constants."""
    weights = {key: value.detach().cpu().float() for key, value in model.state_dict().items()}
    scale = weights["bn.weight"] * torch.rsqrt(weights["bn.running_var"] + model.bn.eps)
    weights |= {"bn.scale": scale, "bn.shift": weights["bn.bias"] - weights["bn.running_mean"] * scale}
    if model.config.readout == "pool":
        weights["attention.weight"] = weights["attention.weight"].T  # (D * H, 1)
    weights |= {key: value[:, None, None] for key, value in weights.items() if key.startswith("image.norms.")}
    for layer in range(model.config.n_layers):
        weights |= _lstm(weights, layer, ("", "_reverse") if model.config.bidirectional else ("",))
    return weights


def _lstm(weights: dict[str, Tensor], layer: int, suffixes: tuple[str, ...]) -> dict[str, Tensor]:
    """W (D, 4H, F), R (D, 4H, H) and B (D, 8H) of ONNX, whose gates are i, o, f, c where PyTorch's are i, f, g, o."""

    def gates(key: str) -> Tensor:
        i, f, g, o = torch.stack([weights[f"lstm.{key}_l{layer}{suffix}"] for suffix in suffixes]).chunk(4, dim=1)
        return torch.cat([i, o, f, g], dim=1)

    return {
        f"lstm{layer}.W": gates("weight_ih"),
        f"lstm{layer}.R": gates("weight_hh"),
        f"lstm{layer}.B": torch.cat([gates("bias_ih"), gates("bias_hh")], dim=1),
    }


def _array(name: str, constant: Constant, weights: dict[str, Tensor]) -> NDArray[Any]:
    """The numbers of a constant of the graph."""
    if constant.values is not None:
        return np.array(constant.values, dtype=np.int64).reshape(constant.shape)
    whole, _, part = name.partition(":")
    array = weights[whole]
    if part:
        # One scale for each row, or filter, by which its largest weight is 127.
        axes = tuple(range(1, array.ndim)) if whole.startswith(("conv", "image")) else (-1,)
        scale = (array.abs().amax(axes, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        array = scale if part == "scale" else (array / scale).round().to(torch.int8)
    assert array.shape == constant.shape, name
    return array.numpy()


def _checked(loaded: LoadedModel, data: bytes) -> Exported:
    model = OnnxModel.from_bytes(data, loaded.path.with_suffix(".onnx"))
    return Exported(data, model, _largest_difference(loaded, model))


def _largest_difference(loaded: LoadedModel, model: Model) -> float:
    """The largest difference of any output over random points of many lengths, in batches of several sizes."""
    rng = np.random.default_rng(0)
    field, longest = loaded.model.config.receptive_field, loaded.max_padding
    largest = 0.0
    for n_steps in sorted({0, 1, 2, field - 1, field, min(field + 1, longest), longest // 2, longest}):
        for n in (1, 2, 5, 17):
            lengths = rng.integers(0, n_steps, n, endpoint=True)
            lengths[0], lengths[-1] = 0, n_steps
            points = random_points(loaded, rng, lengths, n_steps)
            for ours, theirs in zip(loaded.outputs(points, lengths), model.outputs(points, lengths), strict=True):
                if ours is not None and theirs is not None:
                    difference = np.abs(ours - theirs).max() / max(np.abs(ours).max(), 1)
                    largest = max(largest, float(difference)) if np.isfinite(difference) else float("inf")
    return largest


def random_points(loaded: LoadedModel, rng: np.random.Generator, lengths: NDArray[np.int64], n_steps: int) -> Any:
    """Points float32 (B, `n_steps`, C) of no drawings, of `lengths` (B,), by which an export is held to its model."""
    points = np.zeros((len(lengths), n_steps, n_channels(loaded.preprocessing)), np.float32)
    for row, length in zip(points, lengths, strict=True):
        row[:length, :-1] = rng.normal(0.0, 0.2, (length, row.shape[1] - 1)).clip(-1, 1)
        row[:length, -1] = rng.random(length) < 0.1
    return points


def _top1(model: Model, drawings: LabelledDrawings) -> float:
    n_right = 0
    for rows in batches.by_length(drawings.indices, batches.n_points_of(drawings.data, drawings.indices), 256):
        batch = batches.batch_of(drawings.data, rows, drawings.label_map, model.max_padding, model.preprocessing)
        probabilities = model.outputs(batch.points, batch.lengths).probabilities
        n_right += int((probabilities.argmax(axis=1) == batch.labels).sum())
    return n_right / len(drawings)
