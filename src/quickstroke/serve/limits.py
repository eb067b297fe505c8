"""What one request may ask for, what the server holds at one time, and how it says no."""

from dataclasses import dataclass


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
