"""Runs an exported `.onnx` file with onnxruntime; needs no PyTorch.

The file is an ONNX model with two entries of metadata. `quickstroke` is its card, as in `cards`. `quickstroke_sha256`
ends the file and is the SHA-256 of all bytes before that entry.

An ONNX model is a program. Before onnxruntime sees one it is held against the graph of its card's configuration, so
that whoever made the file, nothing else than that graph ever runs, on tensors of its sizes that lie in the file itself.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quickstroke.artifacts import cards
from quickstroke.artifacts.unknown import Outputs, UnknownScore
from quickstroke.config.model import ModelConfig, Preprocessing
from quickstroke.data.points import n_channels
from quickstroke.errors import WeightsError, first_line
from quickstroke.inference import onnx_graph
from quickstroke.inference.onnx_graph import Constant, Graph, Operator
from quickstroke.kernels import raster
from quickstroke.utils.telemetry import import_onnxruntime

onnxruntime = import_onnxruntime()

CARD_KEY, HASH_KEY = "quickstroke", "quickstroke_sha256"

# Field numbers of the messages of github.com/onnx/onnx, onnx/onnx.proto, and those that an export has.
_MODEL = {"ir_version": 1, "producer_name": 2, "producer_version": 3, "graph": 7, "opset_import": 8, "metadata": 14}
_GRAPH = {"node": 1, "name": 2, "initializer": 5, "input": 11, "output": 12}
_NODE = {"input": 1, "output": 2, "name": 3, "op_type": 4, "attribute": 5}
_ATTRIBUTE = {"name": 1, "i": 3, "s": 4, "ints": 8, "type": 20}
_TENSOR = {"dims": 1, "data_type": 2, "name": 8, "raw_data": 9}
_ENTRY = {"key": 1, "value": 2}
# Those of them that are numbers; all others are bytes.
_NUMBERS = frozenset(("ir_version", "i", "ints", "type", "dims", "data_type"))

# Of an attribute, AttributeProto.AttributeType.
_STRING, _INTS = 3, 7

# The hash's entry: field 14 of the model, a key and a value of known lengths.
_HASH_HEAD = b"\x72" + bytes([2 + len(HASH_KEY) + 2 + 64, 0x0A, len(HASH_KEY)]) + HASH_KEY.encode() + b"\x12\x40"


def seal(data: bytes) -> bytes:
    """A serialised ONNX model with the entry that proves later that it is unchanged."""
    return data + _HASH_HEAD + hashlib.sha256(data).hexdigest().encode()


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A loaded `.onnx` file, as `Recognizer` runs it.

    Attributes:
        classes: the words in the order of the output.
        card: the parsed card.
        path: the file.
        max_padding: rows to which a drawing is cut.
        preprocessing: of the points that it reads.
        note: empty: nothing has to be assumed.
    """

    classes: tuple[str, ...]
    card: dict[str, Any]
    path: Path
    max_padding: int
    preprocessing: Preprocessing
    _session: Any = field(repr=False)
    note: str = ""

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.card["name"])

    @classmethod
    def load(cls, path: Path | str, classes: Sequence[str] | Path | str | None = None) -> Self:
        """Reads a file.

        Args:
            path: the file.
            classes: if given, must be those of its card: the words, or the file that lists them.

        Raises:
            WeightsError: it is missing, damaged, changed since its export, or holds anything else than an export.
            CategoryError: a class list that cannot be used.
        """
        path, given = Path(path), cards.given_classes(classes)
        try:
            model = cls.from_bytes(path.read_bytes(), path)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
        cards.check_given(given, model.classes, path)
        return model

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> Self:
        """The model of a file's bytes; `path` says whose they are.

        Raises:
            WeightsError: as `load`.
        """
        graph, card = _parse(data, path)
        config, classes = cards.check_card(card, path)
        version = card.get("graph")
        if type(version) is not int or not 1 <= version <= onnx_graph.VERSION:
            raise WeightsError(
                f"{path}: graph version {version!r:.60}, this program reads up to version {onnx_graph.VERSION}; "
                "export the model again"
            )
        _check_graph(graph, config, UnknownScore.of_card(card, path), version, path)
        options = onnxruntime.SessionOptions()
        # A drawing is too small to be worth several threads, and sums never depend on how many there are.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised, too
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions have no common root
            raise _refused(path, error) from error
        model = cls(classes, card, path, config.max_padding, config.preprocessing, session)
        model._try()
        return model

    def compile(self) -> None:
        """Nothing: onnxruntime compiles nothing."""

    def for_pictures(self) -> Self:
        """Itself: its weights cannot be changed."""
        return self

    def outputs(self, points: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        """What the model says of points (B, T, C), zero after each drawing's end, of `lengths` (B,) rows."""
        names = ["probabilities"] + ["unknown"] * (self.card.get("unknown") is not None)
        names += ["features"] * (self.card["graph"] > 1)
        has_image = bool(self.card["config"].get("image"))
        at_a_time = raster.at_a_time(points.shape[1]) if has_image else max(len(points), 1)
        none = {"probabilities": (0, len(self.classes)), "unknown": (0,), "features": (0, self._n_features)}
        runs = [[np.empty(none[name], np.float32) for name in names]]
        for begin in range(0, len(points), at_a_time):
            own = slice(begin, begin + at_a_time)
            runs.append(self._session.run(names, {"points": points[own], "lengths": lengths[own]}))
        of = dict(zip(names, map(np.concatenate, zip(*runs, strict=True)), strict=True))
        unknown = of["unknown"].astype(np.float64) if "unknown" in of else None
        return Outputs(of["probabilities"].astype(np.float64), unknown, of.get("features"))

    @property
    def _n_features(self) -> int:
        return int(self._session.get_outputs()[-1].shape[1]) if self.card["graph"] > 1 else 0

    def _try(self) -> None:
        """Raises WeightsError unless a dot and a short drawing get probabilities of all classes."""
        n = n_channels(self.preprocessing)
        points, lengths = np.zeros((2, 3, n), dtype=np.float32), np.array([0, 3])
        points[1, :, :2], points[1, 2, -1] = [(0.5, -0.5), (0.5, 0.5), (-0.5, 0)], 1
        try:
            result, unknown, features = self.outputs(points, lengths)
        except Exception as error:
            raise _refused(self.path, error) from error
        if result.shape != (2, len(self.classes)) or not np.allclose(result.sum(axis=1), 1, atol=1e-3):
            raise WeightsError(
                f"{self.path}: gives no probabilities of its {len(self.classes)} classes; {result.shape} came"
            )
        if features is not None and not np.isfinite(features).all():
            raise WeightsError(f"{self.path}: its output `features` has numbers that are not finite")
        if unknown is not None and (unknown.shape != (2,) or not ((unknown >= 0) & (unknown <= 1)).all()):
            raise WeightsError(f"{self.path}: its output `unknown` is no probability of each drawing")


def _refused(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: onnxruntime cannot run it: {first_line(error)}")


def _parse(data: bytes, path: Path) -> tuple[Graph, dict[str, Any]]:
    """The graph and the card of a file's bytes, whose hash is checked first."""
    body, seal_ = data[: -len(_HASH_HEAD) - 64], data[-len(_HASH_HEAD) - 64 :]
    if not seal_.startswith(_HASH_HEAD):
        raise WeightsError(
            f"{path}: no .onnx file of `quickstroke export`, or cut off: the hash that ends it is missing"
        )
    if hashlib.sha256(body).hexdigest().encode() != seal_[-64:]:
        raise WeightsError(f"{path}: damaged or changed since its export: its hash is not the one that it states")
    try:
        parts = _message(memoryview(body), _MODEL, "model")
        graph = _graph(_one(parts, "graph"))
        entries = [_message(entry, _ENTRY, "metadata") for entry in parts["metadata"]]
        texts = {_text(_one(entry, "key")): _text(_one(entry, "value")) for entry in entries}
        if CARD_KEY not in texts:
            raise ValueError("it has no card")
    # Of bytes that are no protobuf message, or of one without a part that each export has.
    except (ValueError, LookupError) as error:
        raise WeightsError(f"{path}: not an ONNX model of `quickstroke export`: {error}") from error
    return graph, cards.parse_card(texts[CARD_KEY], path)


def _check_graph(graph: Graph, config: ModelConfig, score: UnknownScore | None, version: int, path: Path) -> None:
    """Raises WeightsError unless a graph is the one of this configuration, with weights in float32 or 8 bits."""
    is_int8 = any(constant.dtype == onnx_graph.INT8 for constant in graph.constants.values())
    expected = onnx_graph.graph_of(config, is_int8, score, version)
    if graph == expected:
        return
    wrong = next((operator for operator in graph.operators if operator not in expected.operators), None)
    what = f"the operator {wrong.kind!r:.40}" if wrong else "a constant or an order of its operators"
    raise WeightsError(f"{path}: its graph is not that of {config.name} as its card describes it: it has {what}")


def _graph(message: memoryview) -> Graph:
    parts = _message(message, _GRAPH, "graph")
    constants = dict(map(_constant, parts["initializer"]))
    if len(constants) != len(parts["initializer"]):
        raise ValueError("two of its tensors have the same name")
    return Graph(list(map(_operator, parts["node"])), constants)


def _operator(message: memoryview) -> Operator:
    parts = _message(message, _NODE, "operator")
    inputs, outputs = (tuple(map(_text, parts[key])) for key in ("input", "output"))
    return Operator(_text(_one(parts, "op_type")), inputs, outputs, dict(map(_attribute, parts["attribute"])))


def _attribute(message: memoryview) -> tuple[str, int | str | tuple[int, ...]]:
    parts = _message(message, _ATTRIBUTE, "attribute")
    key, kind = _text(_one(parts, "name")), _one(parts, "type")
    if kind == _INTS:
        return key, tuple(parts["ints"])
    return key, _text(_one(parts, "s")) if kind == _STRING else _one(parts, "i")


def _constant(message: memoryview) -> tuple[str, Constant]:
    parts = _message(message, _TENSOR, "tensor")
    dtype, data = _one(parts, "data_type"), _one(parts, "raw_data")
    values = tuple(np.frombuffer(data, "<i8").tolist()) if dtype == onnx_graph.INT64 else None
    constant = Constant(dtype, tuple(parts["dims"]), values)
    if constant.n_bytes != len(data):
        raise ValueError(f"a tensor has {len(data)} bytes, expected {constant.n_bytes}")
    return _text(_one(parts, "name")), constant


def _message(data: memoryview, known: dict[str, int], what: str) -> dict[str, list[Any]]:
    """The values of a protobuf message's fields, by name; ValueError for a field that is not known."""
    names = {number: name for name, number in known.items()}
    parts: dict[str, list[Any]] = {name: [] for name in known}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        name = names.get(tag >> 3)
        # How values are written: protobuf.dev, Encoding; 0 is a number, 2 are bytes of a stated length.
        if name is None or tag & 7 != (0 if name in _NUMBERS else 2):
            raise ValueError(f"the {what} has a field {tag >> 3} that no export writes")
        value: Any
        value, at = _varint(data, at)
        if name not in _NUMBERS:
            value, at = data[at : at + value], at + value
            if at > len(data):
                raise ValueError("it is cut off")
        parts[name].append(value)
    return parts


def _one(parts: dict[str, list[Any]], name: str) -> Any:
    if len(parts[name]) != 1:
        raise ValueError(f"it has {len(parts[name])} values of {name!r}, expected 1")
    return parts[name][0]


def _text(value: memoryview) -> str:
    return str(bytes(value), "utf-8")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError("it has a number of more than 64 bits")
