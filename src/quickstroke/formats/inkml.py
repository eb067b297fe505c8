"""InkML, as pens and tablets write it (w3.org/TR/InkML): a file is one drawing, and each trace of it a stroke.

Traces are taken wherever they stand, in trace groups too, but for those in definitions and those that the pen made in
the air. Of the channels X, Y and T count; others that a trace format names are passed over. `*` repeats a value, `'`
marks differences and `"` differences of differences, as the recommendation has it. References lead to the same file.
What an annotation of the whole file calls its truth is the word; one called label may be any remark.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quickstroke.drawings.categories import canonical_word
from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, Drawing
from quickstroke.errors import FormatError, shown
from quickstroke.formats import xml
from quickstroke.formats.scanning import MAX_STROKES

_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001, "ns": 1e-6}
_VALUE = re.compile(r"\s*([!'\"]?)\s*([*?TF]|#[0-9A-Fa-f]+|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
# Besides those of the drawing; a tablet has some ten.
_MAX_CHANNELS = 100


class _Channel(NamedTuple):
    """A channel by its name, whose values are multiplied by `scale`."""

    name: str
    scale: float
    is_intermittent: bool


_DEFAULT = [_Channel("X", 1.0, False), _Channel("Y", 1.0, False)]


class _Reader:
    """Collects the traces of a file."""

    def __init__(self) -> None:
        self.traces: list[list[list[float]]] = []  # rows x, y and, where there are times, t
        self.word = ""  # by the first annotation that has one
        self._by_id: dict[str, int] = {}
        self._formats: dict[str, list[_Channel]] = {}
        self._format = _DEFAULT  # of traces that refer to none
        self._open: list[tuple[str, dict[str, str]]] = []
        self._text: list[str] = []
        self._n_bytes = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._open.append((name, attributes))
        if name == "traceFormat":
            self._formats[""] = []
        elif name == "channel" and "" in self._formats:
            units = attributes.get("units", "ms")
            inside = any(outer == "intermittentChannels" for outer, _ in self._open)
            scale = _MS.get(units, 1.0) if attributes.get("name") == "T" else 1.0
            if attributes.get("name") in ("X", "Y") and attributes.get("orientation") == "-ve":
                scale = -1.0  # to the left or upwards
            self._formats[""].append(_Channel(attributes.get("name", ""), scale, inside))
            if len(self._formats[""]) > _MAX_CHANNELS:
                raise FormatError(f"has more than {_MAX_CHANNELS} channels")
        elif name in ("trace", "annotation"):
            self._text.clear()

    def text(self, text: str) -> None:
        if self._open[-1][0] in ("trace", "annotation"):
            self._text.append(text)
            self._n_bytes += len(text)
            if self._n_bytes > MAX_DRAWING_BYTES:
                raise FormatError(f"its traces and annotations have more than {MAX_DRAWING_BYTES} bytes")

    def end(self) -> None:
        name, attributes = self._open.pop()
        if name == "traceFormat":
            self._note_format(self._formats.pop("", _DEFAULT), attributes)
        elif name == "context" and (
            reference := next((attributes[key] for key in ("traceFormatRef", "inkSourceRef") if key in attributes), "")
        ):
            self._formats[f"#{attributes.get('xml:id', '')}"] = self._referred(reference)
        elif name == "annotation" and attributes.get("type") == "truth" and len(self._open) == 1:
            self.word = self.word or canonical_word("".join(self._text))
        elif name == "trace":
            is_defined = any(outer == "definitions" for outer, _ in self._open)
            if not is_defined and attributes.get("type") != "penUp":
                self._add(attributes)

    def _note_format(self, channels: list[_Channel], attributes: dict[str, str]) -> None:
        """Keeps a trace format under its name and under those of the elements that it is in."""
        for axis in "XY":
            if [channel.name for channel in channels].count(axis) != 1:
                raise FormatError(f"its trace format has no channel {axis}, or several")
        for _, outer in [("", attributes), *self._open]:
            if "xml:id" in outer or "id" in outer:
                self._formats[f"#{outer.get('xml:id', outer.get('id'))}"] = channels
        self._format = channels

    def _referred(self, reference: str) -> list[_Channel]:
        if not reference.startswith("#"):
            raise FormatError(f"refers to {shown(reference)}, which is not in this file")
        return self._formats.get(reference, self._format)

    def _add(self, attributes: dict[str, str]) -> None:
        contexts = [outer["contextRef"] for _, outer in [*self._open, ("", attributes)] if "contextRef" in outer]
        channels = self._referred(contexts[-1]) if contexts else self._format
        rows = _rows("".join(self._text), channels)
        before = self._by_id.get(attributes.get("priorRef", "").removeprefix("#"))
        if attributes.get("continuation") in ("middle", "end") and before is not None:
            if len(self.traces[before]) != len(rows):
                raise FormatError("a trace goes on with one that has other channels")
            for row, more in zip(self.traces[before], rows, strict=True):
                row.extend(more)
        elif rows[0]:
            before = len(self.traces)
            self.traces.append(rows)
            if len(self.traces) > MAX_STROKES:
                raise FormatError(f"has more than {MAX_STROKES} traces")
        identifier = attributes.get("xml:id", attributes.get("id"))
        if identifier is not None and before is not None:
            self._by_id[identifier] = before


def _rows(text: str, channels: list[_Channel]) -> list[list[float]]:
    """The values x, y and perhaps t of each point of a trace."""
    wanted = [next((i for i, channel in enumerate(channels) if channel.name == axis), None) for axis in "XYT"]
    places = [place for place in wanted if place is not None]
    rows: list[list[float]] = [[] for _ in places]
    order, last, speed = ["!"] * len(channels), [0.0] * len(channels), [0.0] * len(channels)
    n_regular = sum(not channel.is_intermittent for channel in channels)
    for number, point in enumerate(text.split(","), start=1):
        if not point.strip():
            continue
        at = i = 0
        while at < len(point.rstrip()):
            match = _VALUE.match(point, at)
            if match is None or i == len(channels):
                what = f"{shown(point[at:].strip())} where {'a value' if match is None else 'its end'}"
                raise FormatError(f"point {number} of a trace has {what} was expected")
            at = match.end()
            order[i] = match[1] or order[i]
            if match[2] not in "*?":
                value = _number(match[2])
                if order[i] == '"':
                    speed[i] += value
                    last[i] += speed[i]
                elif order[i] == "'":
                    speed[i] = value
                    last[i] += value
                else:
                    speed[i], last[i] = value - last[i], value
            elif match[2] == "*" and order[i] != "!":
                last[i] += speed[i]
            i += 1
        if i < n_regular:
            raise FormatError(f"point {number} of a trace has {i} values; expected {n_regular}")
        for row, place in zip(rows, places, strict=True):
            row.append(last[place] * channels[place].scale)
    return rows


def _number(text: str) -> float:
    if text in "TF":
        return float(text == "T")
    return float(int(text[1:20], 16)) if text.startswith("#") else float(text)


def read(path: Path, word: str) -> Iterator[Drawing]:
    """The drawing of an InkML file, raw, with times where all its traces have them.

    Raises:
        FormatError: XML that is not well-formed, declares entities or is no InkML; a trace that cannot be read, or too
            many of them, with the line; or no trace at all.
    """
    reader = _Reader()
    for _ in xml.parse(path, "ink", reader):
        pass
    if not reader.traces:
        raise FormatError("has no trace", path)
    arrays = [np.array(rows).T for rows in reader.traces]
    if not all(np.isfinite(array).all() for array in arrays):
        raise FormatError("has a value that is not finite", path)
    word = reader.word or word
    has_times = all(array.shape[1] == 3 for array in arrays)
    times_ms = [np.array(array[:, 2]) for array in arrays] if has_times else None
    yield Drawing(word, [np.ascontiguousarray(array[:, :2]) for array in arrays], times_ms=times_ms)
