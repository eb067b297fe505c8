"""From the bytes of a request to simplified drawings, refusing what is too large, too slow or not as it should be."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request

from quickstroke.drawings.layouts import Layout, decide, shape_of
from quickstroke.drawings.simplification import simplify
from quickstroke.errors import FormatError, MissingExtra
from quickstroke.formats.pictures import trace
from quickstroke.serve.batching import Given
from quickstroke.serve.limits import Limits, Refused
from quickstroke.serve.schemas import PictureQuery, RecognizeBatchRequest, RecognizeRequest, Strokes

Kind = TypeVar("Kind", bound=BaseModel)
Checked = TypeVar("Checked")

PICTURES = ("image/png", "image/jpeg", "image/webp")
_MOST_NAMES = 100
_STROKES: TypeAdapter[list[list[list[float]]]] = TypeAdapter(Strokes)
# What is wrong with a drawing, by pydantic's name for it.
_MESSAGES = {
    "list_type": (
        "expected a list of strokes",
        "expected a stroke: columns [[x..], [y..]] or points [[x, y], ..]",
        "expected numbers x and y, or all x or all y; one stroke alone has to be put into a list",
    ),
    "too_short": tuple(f"expected at least one {what}" for what in ("stroke", "point", "number")),
}
# `[301.5,120.25],`
_BYTES_OF_A_POINT = 15


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        drawings: in simplified form, strokes uint8 (n, 2), each with how its strokes were read; of a batch also what
            is wrong with a drawing.
        top: how many words for each.
        words: those to choose among; None for all.
    """

    drawings: list[tuple[Given, Layout] | Refused]
    top: int
    words: list[str] | None


class Bodies:
    """Reads bodies, all those held at one time within a common limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request, *, is_picture: bool = False) -> AsyncIterator[bytearray]:
        """The body of a request, JSON or a picture, held while the context lasts.

        Raises:
            Refused: it is none by its headers, too large, too slow or cut off, or too much is held already.
        """
        limit = self._limits.picture_bytes if is_picture else self._limits.body_bytes
        self._check_headers(request, limit, is_picture=is_picture)
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._limits.body_s):
                    await self._fill(body, request, limit)
            except TimeoutError:
                limit_s = self._limits.body_s
                message = f"the body did not arrive within {limit_s:g} seconds"
                raise Refused(408, "slow_body", message, is_reading=True, limit=limit_s) from None
            yield body
        finally:
            self._held_bytes -= len(body)

    def _check_headers(self, request: Request, limit: int, *, is_picture: bool) -> None:
        kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
        charset = parameters.replace(" ", "").replace('"', "")
        is_right = kind.strip() in PICTURES if is_picture else kind.strip() == "application/json"
        if not is_right or not (is_picture or charset in ("", "charset=utf-8")):
            message = "the body should be JSON in UTF-8, with the header Content-Type: application/json"
            if is_picture:
                message = f"the body should be a picture, with the header Content-Type: {', '.join(PICTURES)}"
            raise Refused(415, "unsupported_media_type", message, is_reading=True)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "unsupported_encoding", "the body should not be compressed", is_reading=True)
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit():
            _check_size(int(announced[:20]), limit)  # with so many digits too many anyway

    async def _fill(self, body: bytearray, request: Request, limit: int) -> None:
        more = True
        while more:
            message = await request.receive()
            if message["type"] != "http.request":
                raise Refused(400, "incomplete_body", "the body was cut off")
            chunk, more = message.get("body", b""), message.get("more_body", False)
            _check_size(len(body) + len(chunk), limit, is_reading=more)
            if self._held_bytes + len(chunk) > self._limits.held_bytes:
                raise Refused(503, "busy", "too many requests at once; try again", is_reading=more)
            self._held_bytes += len(chunk)
            body += chunk


def _check_size(n_bytes: int, limit: int, is_reading: bool = True) -> None:
    if n_bytes > limit:
        message = f"the body is larger than {limit} bytes"
        raise Refused(413, "body_too_large", message, is_reading=is_reading, limit=limit)


def take_picture(body: bytearray, query: QueryParams, limits: Limits) -> Asked:
    """Reads the strokes of a picture.

    Raises:
        Refused: what is wrong with it or with the query, or what reads pictures is not installed.
    """
    given = {name: query.getlist(name) if name == "words" else query[name] for name in query}
    asked = _checked(lambda: PictureQuery.model_validate(given))
    try:
        drawing = trace(bytes(body), max_pixels=limits.picture_pixels)
    except FormatError as error:
        raise Refused(422, "invalid_picture", f"the picture {error.reason.removeprefix('the picture ')}") from error
    except MissingExtra as error:
        raise Refused(501, "not_installed", str(error)) from error
    return Asked([(drawing, "points")], asked.top, asked.words)


def take(
    body: bytes | bytearray, kind: type[RecognizeRequest | RecognizeBatchRequest], limits: Limits, deadline: float
) -> Asked:
    """Parses a body and simplifies its drawings.

    Args:
        body: the body.
        kind: what it should be.
        limits: what it may ask for.
        deadline: the `time.monotonic()` at which to give up.

    Raises:
        Refused: which value is wrong and how, or what there is too much of; what is wrong with one drawing of a batch
            is told in its place.
    """
    # A list of a few bytes takes a hundred, and twice. Written in columns a stroke has up to four, a drawing one; in
    # points there is one more for each: as many of them as a body has room for when it has numbers as pens give them.
    in_columns = limits.drawings * (4 * limits.strokes + 1) + 2
    in_points = limits.drawings * (limits.strokes + limits.points + 1) + 2
    most = max(in_columns, min(in_points, limits.body_bytes // _BYTES_OF_A_POINT))
    n = body.count(b"[") + body.count(b"{")
    if n > most:
        message = f"{n} lists and objects, at most {most} are taken"
        raise Refused(422, "too_many_strokes", message, field="the body", limit=most)
    # No request has more than five names, and no word a colon: what has many is refused before each costs as much.
    if body.count(b":") > _MOST_NAMES + body.count(b"{"):
        raise Refused(422, "invalid_request", f"more than {_MOST_NAMES} names of values", limit=_MOST_NAMES)
    request = parse(body, kind)

    def taken(strokes: list[list[list[float]]], field: str) -> tuple[Given, Layout]:
        if time.monotonic() > deadline:
            raise Refused(503, "too_slow", f"the work took longer than {limits.work_s:g} seconds")
        layout = _layout(strokes, field, request.layout)
        return _simplified(strokes, field, limits, layout, is_simplified=request.simplified), layout

    if isinstance(request, RecognizeRequest):
        return Asked([taken(request.strokes, "strokes")], request.top, request.words)
    _check_count("drawings", len(request.drawings), limits.drawings, "drawings")
    drawings: list[tuple[Given, Layout] | Refused] = []
    for i, value in enumerate(request.drawings):
        field = f"drawings[{i}]"
        try:
            strokes = _checked(partial(_STROKES.validate_python, value, strict=True), field)
            drawings.append(taken(strokes, field))
        except Refused as refused:
            if refused.status != 422:
                raise
            drawings.append(refused)
    return Asked(drawings, request.top, request.words)


def parse(body: bytes | bytearray, kind: type[Kind]) -> Kind:
    """A body as the request that it should be.

    Raises:
        Refused: it is no JSON, or not that request.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is no UTF-8") from error
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise _malformed("it is nested too deeply") from error
    except ValueError as error:
        raise _malformed("a number has too many digits") from error
    if not isinstance(value, dict):
        raise Refused(422, "invalid_request", "the body should be a JSON object")
    return _checked(lambda: kind.model_validate(value))


def _checked(validate: Callable[[], Checked], begin: str = "") -> Checked:
    """What pydantic makes of a value that stands at `begin` in the body.

    Raises:
        Refused: it is not as the schema says.
    """
    try:
        return validate()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = _field([*([begin] if begin else []), *first["loc"]])
        code = "not_finite" if first["type"] == "finite_number" else "invalid_request"
        # How deep in a drawing: in the drawing itself, a stroke, a row or a point.
        depth = sum(isinstance(part, int) for part in first["loc"])
        is_drawing = bool(begin) or first["loc"][:1] == ("strokes",)
        message = first["msg"][0].lower() + first["msg"][1:]
        if first["type"] == "too_short":
            message = "expected at least one item"
        if is_drawing and depth < 3:
            message = _MESSAGES.get(first["type"], (message,) * 3)[depth]
        raise Refused(422, code, f"{field}: {message}", field=field) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _malformed("an object has a key twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is no JSON number")


def _malformed(reason: str) -> Refused:
    return Refused(400, "malformed_json", f"the body is no valid JSON: {reason}")


def _field(path: Sequence[str | int]) -> str:
    """`strokes[0][1][3]`; a key of the client's own may be long or no text at all."""
    names = "".join(f"[{part}]" if isinstance(part, int) else part for part in path)
    return ascii(names[:80])[1:-1] or "the body"


def _check_count(name: str, n: int, limit: int, field: str) -> None:
    if n > limit:
        message = f"{field}: {n} {name}, at most {limit} are taken"
        raise Refused(422, f"too_many_{name}", message, field=field, limit=limit)


def _layout(strokes: list[list[list[float]]], field: str, layout: str) -> Layout:
    """How the strokes of a drawing are written, all of them.

    Raises:
        Refused: one of them is written in another way than the others or than the client says, or in no way.
    """
    shapes = [shape_of(rows) for rows in strokes]
    try:
        read = decide(shapes, "columns", layout, field + "[{}]")
    except FormatError as error:
        raise Refused(422, "invalid_stroke", error.reason, field=f"{field}[{error.stroke}]") from error
    if None in shapes:
        where = f"{field}[{shapes.index(None)}]"
        what = "rows of equal length" if read == "columns" else "points of as many numbers each"
        raise Refused(422, "invalid_stroke", f"{where}: its lists differ in length; expected {what}", field=where)
    return read


def _simplified(
    strokes: list[list[list[float]]], field: str, limits: Limits, layout: Layout, *, is_simplified: bool
) -> Given:
    _check_count("strokes", len(strokes), limits.strokes, field)
    _check_count(
        "points", sum(len(rows[0]) if layout == "columns" else len(rows) for rows in strokes), limits.points, field
    )
    arrays = []
    for rows in strokes:
        array = np.array(rows)
        arrays.append(np.ascontiguousarray((array.T if layout == "columns" else array)[:, :2]))
    if is_simplified:
        return [_as_bytes(array, f"{field}[{i}]") for i, array in enumerate(arrays)]
    try:
        return simplify(arrays)
    except FormatError as error:  # everything else that it refuses is refused above
        raise Refused(422, "too_winding", f"{field}: {error}", field=field) from error


def _as_bytes(array: NDArray[np.float64], field: str) -> NDArray[np.uint8]:
    if not ((array >= 0) & (array <= 255) & (array == np.floor(array))).all():
        message = f"{field}: said to be simplified, but has a number that is no integer from 0 to 255"
        raise Refused(422, "not_simplified", message, field=field)
    return array.astype(np.uint8)
