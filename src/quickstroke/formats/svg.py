"""SVG: shapes become strokes, and simplified drawings become SVG files that are read back to the same drawings.

A file is one drawing. Its strokes are the shapes that are drawn with a line; where there are none, the outlines of
what is filled. Of a shape's style only that is looked at: in attributes, `style` and plain rules of a style sheet.
Shapes that are hidden, and all elements but shapes, groups and links, are passed over with all that is in them:
scripts, texts, pictures, definitions. `<use>` is refused, as without what it stands for it would be another drawing.
No address is opened. viewBox and size do not matter, since a drawing is scaled.

What quickstroke writes has a group with `data-quickstroke` around each drawing, with its facts in attributes such as
`data-word` and `data-key-id`. Where there are such groups, they are the drawings of the file, in the coordinates within
them, whatever is around them; one that has integers from 0 to 255 alone is in Google's simplified form.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, UNKNOWN_COUNTRY, Drawing, check_simplified
from quickstroke.drawings.render import xml_text
from quickstroke.errors import FormatError, located, shown
from quickstroke.formats import xml
from quickstroke.formats.ndjson import facts_of, format_timestamp
from quickstroke.formats.scanning import MAX_STROKES
from quickstroke.formats.svg_paths import (
    IDENTITY,
    Floats,
    Matrix,
    chains_of,
    compose,
    flattened,
    mapped,
    matrix_of,
)
from quickstroke.utils.files import atomic_write

_GROUPS = ("svg", "g", "a", "switch")
_SHAPES = ("path", "line", "polyline", "polygon", "rect", "circle", "ellipse")
_PROPERTIES = ("stroke", "fill", "visibility", "display")
_INVISIBLE = ("none", "transparent")
_MARK = "data-quickstroke"
_FACTS = {
    "word": "data-word",
    "key_id": "data-key-id",
    "countrycode": "data-countrycode",
    "timestamp": "data-timestamp",
}
_MAX_CSS_BYTES = 100_000
# What is written: a drawing's side, what is free around it, and drawings in a row.
_SIDE, _MARGIN, _COLUMNS = 255, 16, 20


class _Scope(NamedTuple):
    """What an element hands down; `facts` where it is the group of a drawing."""

    matrix: Matrix
    style: Mapping[str, str]
    facts: dict[str, Any] | None = None


class _Lines:
    """The lines of one drawing: of shapes drawn with a line, and outlines of others."""

    def __init__(self) -> None:
        self.drawn: list[Floats] = []
        self.outlines: list[Floats] = []
        self._n_bytes = 0

    def add(self, name: str, attributes: Mapping[str, str], scope: _Scope) -> None:
        self._n_bytes += sum(map(len, attributes.values()))
        if self._n_bytes > MAX_DRAWING_BYTES:
            raise FormatError(f"the shapes of a drawing have more than {MAX_DRAWING_BYTES} bytes")
        is_drawn = scope.style.get("stroke", "none") not in _INVISIBLE
        if not is_drawn and (self.drawn or scope.style.get("fill") in _INVISIBLE):
            return
        lines = self.drawn if is_drawn else self.outlines
        lines += [mapped(chain, scope.matrix) for chain in chains_of(name, attributes)]
        if len(lines) > MAX_STROKES:
            raise FormatError(f"a drawing has more than {MAX_STROKES} strokes")

    def strokes(self) -> list[Floats]:
        lines = self.drawn or self.outlines
        if not lines:
            raise FormatError("draws no line; expected a path or another shape")
        return flattened(lines)


class _Reader:
    """Collects drawings from the elements of a file."""

    def __init__(self, word: str) -> None:
        self.done: list[Drawing] = []
        self.lines = _Lines()
        # Whether some group is marked as a drawing, and whether this place is in one.
        self.is_marked = self._is_inside = False
        self._word = word
        self._scopes = [_Scope(IDENTITY, {})]
        self._n_skipped = 0
        self._css: dict[str, dict[str, str]] = {}
        self._css_text: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._n_skipped or name not in (*_GROUPS, *_SHAPES, "use"):
            self._n_skipped += 1
            if name == "style":
                self._css_text = []
            return
        outer = self._scopes[-1]
        own = self._style_of(name, attributes)
        if own.pop("display", "") == "none":
            self._n_skipped = 1
            return
        style = {**outer.style, **own}
        if name == "use":
            raise FormatError("<use> repeats another element, which is not read; expected the shapes themselves")
        place = matrix_of(attributes.get("transform", ""))
        if name in _SHAPES:
            self._n_skipped = 1
            if style.get("visibility") not in ("hidden", "collapse") and self._is_inside == self.is_marked:
                self.lines.add(name, attributes, _Scope(compose(outer.matrix, place), style))
        elif _MARK in attributes and not self._is_inside:
            self.is_marked = self._is_inside = True
            self.lines = _Lines()
            self._scopes.append(_Scope(place, style, self._facts_of(attributes)))
        else:
            self._scopes.append(_Scope(compose(outer.matrix, place), style))

    def end(self) -> None:
        if self._n_skipped:
            self._n_skipped -= 1
            if self._css_text is not None:
                self._read_css("".join(self._css_text))
                self._css_text = None
            return
        facts = self._scopes.pop().facts
        if facts is not None:
            self.done.append(_drawing(self.lines, facts))
            self._is_inside = False

    def text(self, text: str) -> None:
        if self._css_text is not None:
            self._css_text.append(text)
            if sum(map(len, self._css_text)) > _MAX_CSS_BYTES:
                raise FormatError(f"has a style sheet of more than {_MAX_CSS_BYTES} bytes")

    def _facts_of(self, attributes: Mapping[str, str]) -> dict[str, Any]:
        record: dict[str, Any] = {key: attributes[name] for key, name in _FACTS.items() if name in attributes}
        recognized = attributes.get("data-recognized", "true")
        if recognized not in ("true", "false"):
            raise FormatError(f"'data-recognized' should be true or false, got {recognized!r:.40}")
        return facts_of({"word": self._word, **record, "recognized": recognized == "true"})

    def _style_of(self, name: str, attributes: Mapping[str, str]) -> dict[str, str]:
        """What an element itself says of these properties."""
        own = _declared(";".join(f"{key}:{attributes[key]}" for key in _PROPERTIES if key in attributes))
        names = [name, *("." + part for part in attributes.get("class", "").split()), f"#{attributes.get('id', '')}"]
        for selector in ("*", *names) if self._css else ():
            own |= self._css.get(selector, {})
        return own | _declared(attributes.get("style", ""))

    def _read_css(self, text: str) -> None:
        before, *parts = text.split("/*")
        for rule in "".join([before, *(part.partition("*/")[2] for part in parts)]).split("}"):
            selectors, _, body = rule.partition("{")
            declared = _declared(body)
            for selector in selectors.split(",") if declared else ():
                self._css.setdefault(selector.strip(), {}).update(declared)


def _declared(text: str) -> dict[str, str]:
    """The properties that matter in `name: value; ..`."""
    pairs = (part.partition(":") for part in text.split(";"))
    found = {key.strip(): value.replace("!important", "").strip() for key, _, value in pairs}
    return {key: value for key, value in found.items() if key in _PROPERTIES and value != "inherit"}


def _drawing(lines: _Lines, facts: Mapping[str, Any]) -> Drawing:
    strokes = lines.strokes()
    if all((stroke >= 0).all() and (stroke <= 255).all() and (stroke % 1 == 0).all() for stroke in strokes):
        return Drawing(strokes=[stroke.astype(np.uint8) for stroke in strokes], **facts)
    return Drawing(strokes=strokes, **facts)


def read(path: Path, word: str) -> Iterator[Drawing]:
    """The drawings of an SVG file: one, or those that quickstroke wrote.

    Raises:
        FormatError: XML that is not well-formed, declares entities or is no SVG; a shape that cannot be read, or a
            drawing that is too large, with the line; or no line at all.
    """
    reader = _Reader(word)
    for _ in xml.parse(path, "svg", reader):
        yield from reader.done
        reader.done.clear()
    if not reader.is_marked:
        with located(path):
            yield Drawing(word, reader.lines.strokes())


def _group(drawing: Drawing) -> str:
    """The group of a drawing.

    Raises:
        FormatError: the drawing is raw, or has no strokes or an empty one.
    """
    check_simplified(drawing)
    facts = {_MARK: "1", "data-word": drawing.word}
    if drawing.key_id:
        facts["data-key-id"] = str(drawing.key_id)
    if drawing.countrycode != UNKNOWN_COUNTRY:
        facts["data-countrycode"] = drawing.countrycode
    if drawing.timestamp_us:
        facts["data-timestamp"] = format_timestamp(int(drawing.timestamp_us))
    if not drawing.recognized:
        facts["data-recognized"] = "false"
    told = " ".join(f'{key}="{xml_text(value)}"' for key, value in facts.items())
    if told.count("\ufffd") > "".join(facts.values()).count("\ufffd"):
        raise FormatError(f"the word {shown(drawing.word)} or the country has a letter that XML cannot write")
    paths = (
        "M" + " ".join(f"{x},{y}" for x, y in stroke.tolist()) + "Z" * (len(stroke) == 1) for stroke in drawing.strokes
    )
    return f"<g {told}>" + "".join(f'<path d="{path}"/>' for path in paths) + "</g>"


def write(path: Path | str, drawings: Iterable[Drawing]) -> int:
    """Writes simplified drawings as one SVG file, in rows of twenty, a group with its facts each.

    Returns:
        How many were written.

    Raises:
        FormatError: a drawing that the format cannot hold, or none; nothing is left under `path` then.
    """
    with atomic_write(path) as file:
        return write_to(file, drawings, path)


def write_to(file: IO[bytes], drawings: Iterable[Drawing], path: Path | str) -> int:
    """As `write`, into an open file that is to be `path`."""
    cell, n = _SIDE + 2 * _MARGIN, 0
    _begin(file, "")  # its size is known once all drawings are written, which need not be kept so
    for n, drawing in enumerate(drawings, start=1):
        row, column = divmod(n - 1, _COLUMNS)
        with located(path, f"drawing {n}"):
            group = _group(drawing)
        place = f"translate({column * cell + _MARGIN} {row * cell + _MARGIN})"
        file.write(f'<g transform="{place}">{group}</g>\n'.encode())
    if not n:
        raise FormatError("there is no drawing to write", path)
    file.write(b"</svg>\n")
    file.seek(0)
    width, height = min(n, _COLUMNS) * cell, -(-n // _COLUMNS) * cell
    _begin(file, f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"')
    return n


def _begin(file: IO[bytes], size: str) -> None:
    pen = 'fill="none" stroke="#111" stroke-width="5" stroke-linecap="round" stroke-linejoin="round"'
    file.write(f'<svg xmlns="http://www.w3.org/2000/svg" {pen} {size:<60}>\n'.encode())
