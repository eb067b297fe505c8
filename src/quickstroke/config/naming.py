"""The model name of the 2020 project and the shape it stands for.

name  = <type>[_cv1_<n_filters>_<filter_size>[_cv2_<n_filters>_<filter_size>]][_img<n_filters>]
        _lay<n_layers>_sz<hidden_size>
type  = simple   one direction, no convolution
      | lstm     one direction, one or two convolutions
      | bilstm   two directions, with or without convolutions
      | bipool   two directions, with or without convolutions; every step is read, not the last alone

Type `bipool` is not that project's. Its convolutions may skip steps, which a third number says: cv2_128_5_2 computes
every second one. With `img<n_filters>` it also looks at the image of the drawing, by convolutions of which the first
has so many filters.
"""

import re
from dataclasses import dataclass
from typing import Literal

from quickstroke.errors import ModelNameError

TYPES = ("simple", "lstm", "bilstm", "bipool")
FORM = (
    "<type>[_cv1_<n_filters>_<filter_size>[_cv2_<n_filters>_<filter_size>]][_img<n_filters>]"
    "_lay<n_layers>_sz<hidden_size>"
)

# (n_filters, filter_size), or with the stride as a third where it is not 1.
Convolution = tuple[int, int] | tuple[int, int, int]
Readout = Literal["last", "pool"]

# Far above any published model; a name beyond it asks for memory rather than for a model.
MAX_SIZE = 65_536
MAX_LAYERS = 64
MAX_STRIDE = 64
MAX_IMAGE = 1024

_NUMBER = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model name says: fields of `ModelConfig`, where each is described."""

    bidirectional: bool
    conv1: Convolution | None
    conv2: Convolution | None
    n_layers: int
    hidden_size: int
    readout: Readout = "last"
    image: int | None = None


def format_name(shape: Shape) -> str:
    """The name of a shape; `ModelConfig` knows which shapes there are."""
    one_way = "lstm" if shape.conv1 else "simple"
    kind = "bipool" if shape.readout == "pool" else "bilstm" if shape.bidirectional else one_way
    convolutions = [convolution for convolution in (shape.conv1, shape.conv2) if convolution]
    parts = "".join(
        f"_cv{position}_{'_'.join(map(str, convolution))}" for position, convolution in enumerate(convolutions, start=1)
    )
    if shape.image:
        parts += f"_img{shape.image}"
    return f"{kind}{parts}_lay{shape.n_layers}_sz{shape.hidden_size}"


def parse_name(name: str) -> Shape:
    """The shape that a name stands for; the inverse of `format_name`.

    Raises:
        ModelNameError: the name has another form; the message says which part is wrong.
    """
    if name.endswith(".model"):
        raise _wrong(name, "'.model' belongs to the file, not to the name")
    parts = name.split("_")
    kind = parts.pop(0)
    if kind not in TYPES:
        raise _wrong(name, f"type {kind!r} should be one of {', '.join(TYPES)}")
    pooled = kind == "bipool"
    conv1 = _convolution(name, parts, "cv1", pooled)
    conv2 = _convolution(name, parts, "cv2", pooled)
    image = None
    if parts and parts[0].startswith("img"):
        if not pooled:
            raise _wrong(name, f"type {kind!r} looks at no image ('img'): only type 'bipool' does")
        image = _prefixed(name, parts, "img", MAX_IMAGE)
    n_layers = _prefixed(name, parts, "lay", MAX_LAYERS)
    hidden_size = _prefixed(name, parts, "sz", MAX_SIZE)
    if parts:
        raise _wrong(name, f"{'_'.join(parts)!r} stands after the end of the name")
    if conv2 and not conv1:
        raise _wrong(name, "'cv2' needs 'cv1' before it")
    if kind == "simple" and conv1:
        raise _wrong(name, "type 'simple' has no convolution: with 'cv1' the type is 'lstm' or 'bilstm'")
    if kind == "lstm" and not conv1:
        raise _wrong(name, "type 'lstm' needs a convolution ('cv1'): without one the type is 'simple'")
    readout: Readout = "pool" if pooled else "last"
    return Shape(kind in ("bilstm", "bipool"), conv1, conv2, n_layers, hidden_size, readout, image)


def _wrong(name: str, reason: str) -> ModelNameError:
    return ModelNameError(f"{name!r:.120} is no model name: {reason}; expected {FORM}")


def _convolution(name: str, parts: list[str], prefix: str, has_stride: bool) -> Convolution | None:
    if not parts or parts[0] != prefix:
        return None
    del parts[0]
    n_filters = _number(name, parts.pop(0) if parts else "", f"number of filters after {prefix!r}", MAX_SIZE)
    filter_size = _number(name, parts.pop(0) if parts else "", f"filter size after {prefix!r}", MAX_SIZE)
    if has_stride and parts and parts[0].isdigit():
        stride = _number(name, parts.pop(0), f"stride after {prefix!r}", MAX_STRIDE)
        if stride == 1:
            raise _wrong(name, f"the stride 1 after {prefix!r} is left out of a name")
        return n_filters, filter_size, stride
    return n_filters, filter_size


def _prefixed(name: str, parts: list[str], prefix: str, top: int) -> int:
    part = parts.pop(0) if parts else ""
    if not part.startswith(prefix):
        raise _wrong(name, f"{part!r} stands where '{prefix}<number>' is expected")
    return _number(name, part.removeprefix(prefix), f"number after {prefix!r}", top)


def _number(name: str, text: str, what: str, top: int) -> int:
    if not _NUMBER.fullmatch(text) or len(text) > 9 or int(text) > top:
        raise _wrong(name, f"the {what} should be a whole number from 1 to {top}, got {text!r:.40}")
    return int(text)
