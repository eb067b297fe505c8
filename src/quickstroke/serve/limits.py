"""What one request may ask for, what the server holds at one time, and how it says no."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

# How long the rest of a refused body is read and dropped. A client that still sends would otherwise find its
# connection reset, and not see the answer.
_LINGER_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hold whatever a client sends.

    Attributes:
        body_bytes: bytes of one body; more are refused before they are parsed, or even read when they are announced.
        held_bytes: bytes of all bodies that are being read or waited for.
        picture_bytes: bytes of a picture, which is a body by itself.
        picture_pixels: its pixels; more are refused before they are decompressed.
        body_s: time for a body to arrive.
        drawings: drawings of one request, and of one run of the model.
        strokes: strokes of a drawing.
        points: points of a drawing.
        pending: requests that wait for their answer.
        work_s: time from the end of the body to the answer.
    """

    body_bytes: int = 2 << 20
    held_bytes: int = 64 << 20
    picture_bytes: int = 8 << 20
    picture_pixels: int = 16_000_000
    body_s: float = 10.0
    drawings: int = 64
    strokes: int = 500
    points: int = 20_000
    pending: int = 128
    work_s: float = 10.0


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        code: what is wrong, for programs.
        message: the same for people.
        facts: further entries of the answer, such as `field` or `limit`.
        is_reading: whether the client may still be sending its body.
    """

    def __init__(
        self, status: int, code: str, message: str, *, is_reading: bool = False, **facts: str | int | float
    ) -> None:
        self.status, self.code, self.message, self.facts, self.is_reading = status, code, message, facts, is_reading
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """What is said of it in JSON."""
        return {"error": {"code": self.code, "message": self.message, **self.facts}}

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """The answer, with some headers of its own."""
        headers = dict(headers or {})
        if self.status in (429, 503):
            headers["Retry-After"] = str(self.facts.get("retry_after", 1))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if not self.is_reading:
            return JSONResponse(self.body(), self.status, headers)
        return _Farewell(self.body(), self.status, {**headers, "Connection": "close"})


class _Farewell(JSONResponse):
    """The refusal of a body that is still being sent: answered at once, then the rest is dropped."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})
