"""Plain JSON of strokes: a drawing, or a list of drawings, each in either layout (`layouts`).

A drawing is a list of strokes, or an object with `strokes` as the HTTP API takes it, or with `drawing` as a line of an
ndjson file. Strokes are raw, with or without times, unless the object says `"simplified": true` or names them
`drawing`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES, Drawing
from quickstroke.errors import FormatError, OnInvalid, leaving_out, shown
from quickstroke.formats.input import InputFile, refuse_html, refuse_utf16
from quickstroke.formats.ndjson import drawing_of, load

# A string, even without its end, or what divides values.
_TOKEN = re.compile(r'"(?:[^"\\]|\\[\s\S])*+(?:"|\\?\Z)|[\[\]{},]')
_IS_LIST = re.compile(r"\s*\[\s*(\{|\[\s*\[\s*\[)")


def read(path: Path, words: tuple[str, str], layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawings of a JSON file.

    Args:
        words: what is drawn, where a drawing does not say it, in a file of one and in a file with a list of drawings.
        on_invalid: called with the error of each item that is no drawing, which is left out.

    Raises:
        FormatError: it is not JSON or no drawing, or a drawing has more than 400,000 bytes; with the line.
    """
    with InputFile(path) as file:
        data = file.read(-1)
    refuse_html(data[:64], path)
    refuse_utf16(data[:64], path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 text ({error.reason})", path, offset=error.start) from error
    del data
    is_list = _IS_LIST.match(text) is not None
    items = _items(text, path) if is_list else [(0, len(text))]
    for number, (begin, end) in enumerate(items, start=1):
        item = text[begin:end].lstrip()
        with leaving_out(on_invalid):
            try:
                if len(item) > MAX_DRAWING_BYTES:
                    raise FormatError(f"a drawing of more than {MAX_DRAWING_BYTES} bytes")
                drawing = _drawing(load(item), words[is_list], layout)
            except FormatError as error:
                line = text.count("\n", 0, end - len(item)) + (error.line or 1)
                reason = f"drawing {number}: {error.reason}" if is_list else error.reason
                raise FormatError(reason, path, line=line) from error
            yield drawing


def _items(text: str, path: Path) -> Iterator[tuple[int, int]]:
    """Where the items of the list that a text is begin and end, if it is JSON."""
    depth, begin = 0, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "[{":
            depth += 1
            begin = match.end() if depth == 1 else begin
        elif token in "]}":
            depth -= 1
            if not depth:
                yield begin, match.start()
                if rest := text[match.end() :].strip():
                    raise FormatError(f"has {shown(rest[:20])} after its end", path)
                return
        elif token == "," and depth == 1:
            yield begin, match.start()
            begin = match.end()
    raise FormatError("truncated: its list has no end", path)


def _drawing(value: Any, word: str, layout: str) -> Drawing:
    if isinstance(value, list):
        value = {"strokes": value}
    if not isinstance(value, dict) or not {"drawing", "strokes"} & value.keys():
        is_card = isinstance(value, dict) and {"format", "sha256"} <= value.keys()
        got = "the card of a model" if is_card else f"{shown(value):.80}"
        raise FormatError(f"is {got}; expected strokes, or an object with 'strokes' or 'drawing'")
    return drawing_of({"word": word, **value}, layout)
