"""XML of drawing files, read in pieces by expat: nothing is fetched, and no entity is ever expanded.

A DOCTYPE is passed over, since editors write one; what it refers to is not opened. A file that declares entities is
refused.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol
from xml.parsers import expat

from quickstroke.errors import FormatError, located
from quickstroke.formats.input import InputFile

# Of a file at a time: few, so that what is made of them is small; more of a tag that has no end yet, since expat looks
# at it from its beginning each time.
_PIECE_BYTES, _MOST_PIECE_BYTES = 1 << 16, 1 << 20
# An embedded picture is one tag.
_MAX_TAG_BYTES = 16 << 20
_MAX_DEPTH = 200


class Handler(Protocol):
    """What is done with a file; names are without prefixes, and a FormatError gets its line."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """A tag that opens an element."""

    def end(self) -> None:
        """A tag that closes the element that was opened last."""

    def text(self, text: str) -> None:
        """A part of the text between tags."""


def parse(path: Path, root: str, handler: Handler) -> Iterator[None]:
    """Gives a file whose first element is `root` to a handler, piece by piece.

    Raises:
        FormatError: no such file, XML that is not well-formed, an entity, too many levels; or what the handler raises.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = 0

    def refuse(reason: str) -> NoReturn:
        raise FormatError(reason, path, line=parser.CurrentLineNumber)

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        name = name.rpartition(":")[2]
        if not depth and name != root:
            refuse(f"is <{name:.40}>; expected <{root}>")
        depth += 1
        if depth > _MAX_DEPTH:
            refuse(f"has more than {_MAX_DEPTH} levels of elements")
        told(handler.start, name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        told(handler.end)

    def told(call: Callable[..., None], *given: object) -> None:
        with located(path, line=parser.CurrentLineNumber):
            call(*given)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = partial(told, handler.text)
    parser.EntityDeclHandler = lambda name, *_: refuse(f"declares the entity {name!r:.40}; entities are not read")
    with InputFile(path) as file:
        n, n_given = _PIECE_BYTES, 0
        while True:
            piece = file.read(n)
            if not n_given and piece.lstrip()[:14].lower().startswith((b"<html", b"<!doctype html")):
                raise FormatError(f"is a web page; expected <{root}> (a failed download?)", path)
            try:
                parser.Parse(piece, not piece)
            except expat.ExpatError as error:
                reason = expat.ErrorString(error.code)
                raise FormatError(f"not well-formed XML ({reason})", path, line=error.lineno) from error
            except (ValueError, LookupError) as error:
                if depth:
                    raise
                raise FormatError(f"has an encoding that is not read ({error})", path) from error
            yield
            if not piece:
                return
            n_given += len(piece)
            n_open = n_given - parser.CurrentByteIndex
            if n_open > _MAX_TAG_BYTES:
                refuse(f"has a tag of more than {_MAX_TAG_BYTES} bytes")
            n = max(_PIECE_BYTES, min(n_open, _MOST_PIECE_BYTES))
