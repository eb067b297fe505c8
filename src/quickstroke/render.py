"""Drawings as pictures: SVG, PNG, animated replays, and the 28x28 bitmaps of Google's numpy files.

    simplified drawing -> 28x28 bitmap
    drawing -> fitted into a square frame -> SVG | pixels -> PNG, GIF

Several drawings lie on one sheet, a card each, with a caption below. Only PNG and GIF need Pillow. The same input
gives the same bytes.
"""

import bisect
import html
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.compiled import jit
from quickstroke.drawing import Drawing, check_simplified
from quickstroke.errors import ConfigError, FormatError, MissingExtra
from quickstroke.files import atomic_write
from quickstroke.simplification import simplify

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float64]

# https://github.com/googlecreativelab/quickdraw-dataset/issues/19: the bitmaps' side in pixels; line and padding in
# units of the simplified drawing, which lies in a square of 256.
BITMAP_SIDE = 28
_LINE_DIAMETER = 16
_PADDING = 16
_SQUARE = 256
_SCALE = BITMAP_SIDE / (_SQUARE + 2 * _PADDING + _LINE_DIAMETER)

# Cairo, which drew Google's bitmaps, measures what a line covers along so many sample rows a pixel.
_SAMPLE_ROWS = 15

# A picture's frame in its own units: a simplified drawing fits in unscaled, with a margin.
FRAME = 288
_DRAWN = 255
_LINE_WIDTH = 5

SIZE = 192
SIZES = range(32, 4097)
_INK, _WORD, _GUESS, _CARD, _PAGE = 0x11, 0x33, 0x76, 0xFF, 0xEE
# The mean width of a letter in the fonts of common systems, of the font's size; SVG cannot measure text.
_LETTER = 0.56
# Pillow warns of a "decompression bomb" when it opens anything larger.
MAX_PIXELS = 89_478_485
# Pillow holds a GIF's frames until it writes them.
MAX_ANIMATED_PIXELS = 4 * MAX_PIXELS

# Medians of the official raw drawings, 255 units being a drawing's longer side.
_PEN_UNITS_PER_S = 220
_PEN_UP_S = 0.4
# The game stops after 20 seconds; what took longer than a minute is replayed faster.
_MAX_REPLAY_S = 60
_LEAD_S, _HOLD_S = 0.3, 2.0
# Browsers take a shorter delay between a GIF's frames than 0.02 s for 0.1 s; this is 12.5 frames a second.
_GIF_FRAME_S = 0.08

_NO_DRAWING = "there is no drawing; expected at least one"


# --- pixels


@jit()
def _span(ax: float, ay: float, bx: float, by: float, radius: float, y: float) -> tuple[float, float]:
    """Where a thick line from a to b with round ends begins and ends at the height `y`, which it reaches."""
    begin, end = np.inf, -np.inf
    for cx, cy in ((ax, ay), (bx, by)):
        square = radius * radius - (y - cy) * (y - cy)
        if square >= 0:
            half = math.sqrt(square)
            begin, end = min(begin, cx - half), max(end, cx + half)
    if ay != by:
        length = math.sqrt((bx - ax) * (bx - ax) + (by - ay) * (by - ay))
        for side in (-radius / length, radius / length):
            t = (y - ay + side * (bx - ax)) / (by - ay)
            if 0 <= t <= 1:
                x = ax + side * (by - ay) + t * (bx - ax)
                begin, end = min(begin, x), max(end, x)
    return begin, end


@jit()
def _draw_stroke(points: Any, radius: float, out: Any) -> None:
    """Draws one stroke, float64 (n, 2) in pixels, n at least 1, in white over `out`, uint8 (H, W)."""
    height, width = out.shape
    n = max(len(points) - 1, 1)
    begins, ends, covered = np.empty(n), np.empty(n), np.empty(width)
    top = max(math.floor(points[:, 1].min() - radius), 0)
    bottom = min(math.ceil(points[:, 1].max() + radius), height)
    for row in range(top, bottom):
        covered[:] = 0.0
        for sample in range(_SAMPLE_ROWS):
            y = row + (sample + 0.5) / _SAMPLE_ROWS
            m = 0
            for i in range(n):
                ax, ay = points[i]
                bx, by = points[min(i + 1, len(points) - 1)]
                if min(ay, by) - radius < y < max(ay, by) + radius:
                    begins[m], ends[m] = _span(ax, ay, bx, by, radius, y)
                    m += 1
            # What several lines of the stroke cover counts once.
            reached = 0.0
            for i in np.argsort(begins[:m]):
                begin, end = max(begins[i], reached), min(ends[i], float(width))
                if begin < end:
                    for column in range(int(begin), math.ceil(end)):
                        covered[column] += min(end, column + 1.0) - max(begin, float(column))
                    reached = end
        for column in range(width):
            white = out[row, column]
            out[row, column] = np.uint8(np.rint(white + (255 - white) * covered[column] / _SAMPLE_ROWS))


# --- bitmaps


def to_bitmap(strokes: Sequence[ArrayLike]) -> NDArray[np.uint8]:
    """A drawing as in Google's numpy files: uint8 (28, 28), white lines on black.

    The recipe aligns by the largest x and y alone, as a simplified drawing begins at 0. It draws with cairo, which
    makes round ends polygons; here they are round. 99.9% of the pixels differ by 8 or less from cairo's, none by more
    than 18, the mean is 0.2 of 255.

    Args:
        strokes: as `simplify` takes them. If all are uint8, they are in Google's simplified form; others are raw and
            are simplified first.

    Raises:
        FormatError: as `simplify`.

    Source: https://github.com/googlecreativelab/quickdraw-dataset/issues/19.
    """
    simplified: Sequence[Any] = strokes
    if all(getattr(stroke, "dtype", None) == np.uint8 for stroke in strokes):
        drawing = Drawing("", simplified)
        check_simplified(drawing)
        simplified = drawing.strokes
    else:
        simplified = simplify(strokes)
    offset = (_SQUARE - np.concatenate(simplified, dtype=np.float64).max(axis=0)) / 2 + _PADDING + _LINE_DIAMETER / 2
    bitmap = np.zeros((BITMAP_SIDE, BITMAP_SIDE), np.uint8)
    for stroke in simplified:
        _draw_stroke((stroke + offset) * _SCALE, _SCALE * _LINE_DIAMETER / 2, bitmap)
    return bitmap


def write_bitmaps(path: Path | str, drawings: Iterable[Drawing]) -> int:
    """Writes drawings as one of Google's numpy files, uint8 (N, 784), one by one.

    Returns:
        N.

    Raises:
        FormatError: a drawing that `to_bitmap` refuses.
        ConfigError: there is none.
    """
    n = 0
    with atomic_write(path) as file:
        _write_npy_header(file, n)
        start = file.tell()
        for n, drawing in enumerate(drawings, start=1):
            try:
                file.write(to_bitmap(drawing.strokes).tobytes())
            except FormatError as error:
                raise FormatError(f"drawing {n}: {error.reason}") from error
        if not n:
            raise ConfigError(_NO_DRAWING)
        file.seek(0)
        _write_npy_header(file, n)
        assert file.tell() == start  # numpy leaves room for the first dimension to grow
    return n


def _write_npy_header(file: Any, n: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, BITMAP_SIDE**2)}
    np.lib.format.write_array_header_1_0(file, header)


# --- frames


def _fitted(drawing: Drawing) -> list[Floats]:
    """Strokes (n, 2) in the middle of a frame, in its units; raw ones are scaled to fill it.

    Raises:
        FormatError: no stroke, an empty one, or numbers that are not finite.
    """
    if not drawing.strokes:
        raise FormatError("the drawing has no strokes; expected at least one")
    for position, stroke in enumerate(drawing.strokes, start=1):
        if stroke.ndim != 2 or stroke.shape[1] != 2 or not len(stroke) or not np.isfinite(stroke).all():
            raise FormatError(f"stroke {position} should be finite numbers (n, 2), n at least 1, got {stroke.shape}")
    points = np.concatenate(drawing.strokes).astype(np.float64)
    if not drawing.is_simplified:
        points /= np.abs(points).max() or 1.0  # first, for a difference of two coordinates could leave float64
        points -= points.min(axis=0)
        points *= _DRAWN / (points.max() or 1.0)
    # Whole units keep what is whole so, and files small.
    points += np.floor((FRAME - points.min(axis=0) - points.max(axis=0)) / 2)
    return np.split(points.round(1), np.cumsum([len(stroke) for stroke in drawing.strokes])[:-1])


def _clock(drawing: Drawing, fitted: Sequence[Floats]) -> list[Floats]:
    """When each point is drawn in a replay, (n,) a stroke, in seconds: never decreasing, from `_LEAD_S`.

    That is the time that the pen took, or where it is not known one that grows with the lines.
    """
    ends = np.cumsum([len(stroke) for stroke in fitted])
    passed_s = np.zeros(ends[-1])
    if drawing.times_ms is not None:
        passed_s = np.maximum.accumulate(np.concatenate(drawing.times_ms)) / 1000
        passed_s -= passed_s[0]
    if passed_s[-1] <= 0:
        steps = _steps(np.concatenate(fitted)) / _PEN_UNITS_PER_S
        steps[ends[:-1]] = _PEN_UP_S
        passed_s = np.cumsum(steps)
    passed_s *= min(1.0, _MAX_REPLAY_S / max(passed_s[-1], 1e-9))
    return np.split(passed_s + _LEAD_S, ends[:-1])


def _steps(points: Floats) -> Floats:
    """The way to each of the points (n, 2) from the one before, (n,); to the first it is 0."""
    steps: Floats = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
    return steps


# --- sheets


@dataclass(frozen=True)
class _Sheet:
    """Where drawings and captions lie, in pixels; one drawing without a caption is all there is of its sheet."""

    n: int
    columns: int
    size: int
    gap: int
    font: float
    n_lines: int

    @property
    def line(self) -> float:
        return 1.3 * self.font

    @property
    def card(self) -> tuple[int, int]:
        """Width and height of a drawing with its caption."""
        return self.size, self.size + (math.ceil((self.n_lines + 0.3) * self.line) if self.n_lines else 0)

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height of it all."""
        n_rows = math.ceil(self.n / self.columns)
        width, height = self.card
        return self.columns * (width + self.gap) + self.gap, n_rows * (height + self.gap) + self.gap

    @property
    def radius(self) -> int:
        """Of a card's corners."""
        return self.size // 20

    def corner(self, i: int) -> tuple[int, int]:
        """The top left of card `i`."""
        row, column = divmod(i, self.columns)
        return self.gap + column * (self.card[0] + self.gap), self.gap + row * (self.card[1] + self.gap)

    def lines(self, i: int, caption: str, width_of: Callable[[str], float]) -> Iterator[tuple[float, float, str, int]]:
        """The lines of card `i`'s caption: left end and baseline, the text, cut where it is too long, and its grey."""
        x, y = self.corner(i)
        margin = self.size / 18
        for number, text in enumerate(caption.split("\n")):
            baseline = y + self.size + 0.6 * self.font + number * self.line
            yield x + margin, baseline, _cut(text, self.size - 2 * margin, width_of), _GUESS if number else _WORD


def _cut(text: str, width: float, width_of: Callable[[str], float]) -> str:
    """A text, or as much of its beginning as fits into a width with an ellipsis behind it."""
    # Only so much is measured, however long the text is: of the narrowest letters no more than these fit.
    most = int(width)
    if len(text) <= most and width_of(text) <= width:
        return text
    n = bisect.bisect_left(range(1, min(len(text), most) + 1), True, key=lambda k: width_of(_ended(text, k)) > width)
    return _ended(text, n)


def _ended(text: str, n: int) -> str:
    return text[:n].rstrip() + "…"


def _sheet(drawings: Sequence[Drawing], captions: Sequence[str] | None, columns: int | None, size: int) -> _Sheet:
    """The layout of a sheet.

    Raises:
        ConfigError: as `to_svg`.
    """
    n = len(drawings)
    if not n:
        raise ConfigError(_NO_DRAWING)
    if size not in SIZES:
        raise ConfigError(f"size={size}: expected {SIZES[0]} to {SIZES[-1]} pixels for the side of a drawing")
    if columns is not None and columns < 1:
        raise ConfigError(f"columns={columns}: expected 1 or more")
    if captions is not None and len(captions) != n:
        raise ConfigError(f"{len(captions)} captions for {n} drawings; expected one each")
    sheet = _Sheet(
        n=n,
        columns=min(columns or max(6, math.ceil(math.sqrt(n))), n),
        size=size,
        gap=max(size // 14, 2) if n > 1 or captions else 0,
        font=max(size / 14, 11.0),
        n_lines=max((caption.count("\n") + 1 for caption in captions or ()), default=0),
    )
    width, height = sheet.extent
    if width * height > MAX_PIXELS:
        raise ConfigError(
            f"a sheet of {n:,} drawings would have {width:,} x {height:,} pixels; expected at most {MAX_PIXELS:,} in "
            "all: show fewer, or at a smaller size"
        )
    return sheet


# --- SVG


def to_svg(
    drawings: Sequence[Drawing],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    size: int = SIZE,
    animate: bool = False,
) -> str:
    """Drawings as one SVG picture.

    Animated, all are drawn anew at once, over and over, in the time that the pens took, a minute at most, or where
    that is not known in one that grows with the lines. Where nothing moves, or people ask for less motion, the whole
    drawings are seen.

    Args:
        drawings: at least one. Simplified ones are drawn as they are, in the middle of a square; raw ones are scaled
            to fill it.
        captions: a text of one or more lines below each; lines that are too long are cut.
        columns: cards a row; by default six, or as many as rows.
        size: the side of a drawing in pixels.
        animate: whether to replay how they were drawn.

    Raises:
        FormatError: a drawing without strokes, or with an empty one or numbers that are not finite.
        ConfigError: no drawings, not as many captions, a value out of range, or a picture of too many pixels.
    """
    sheet = _sheet(drawings, captions, columns, size)
    fitted = [_fitted(drawing) for drawing in drawings]
    clocks = [_clock(drawing, strokes) for drawing, strokes in zip(drawings, fitted, strict=True)] if animate else []
    cycle_s = max((clock[-1][-1] for clock in clocks), default=0.0) + _HOLD_S
    width, height = sheet.extent
    title = f"{sheet.n} drawings" if sheet.n > 1 else drawings[0].word or "a drawing"
    still = "path{opacity:1!important;stroke-dashoffset:0!important}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img">',
        f"<title>{_text(title)}</title>",
        *([f"<style>@media(prefers-reduced-motion:reduce){{{still}}}</style>"] if animate else []),
        f'<rect width="{width}" height="{height}" fill="{_hex(_PAGE if sheet.gap else _CARD)}"/>',
        f'<g fill="none" stroke="{_hex(_INK)}" stroke-width="{_LINE_WIDTH}" stroke-linecap="round" '
        'stroke-linejoin="round">',
    ]
    for i, strokes in enumerate(fitted):
        x, y = sheet.corner(i)
        if sheet.gap:
            card_width, card_height = sheet.card
            lines.append(
                f'<rect x="{x}" y="{y}" width="{card_width}" height="{card_height}" rx="{sheet.radius}" '
                f'fill="{_hex(_CARD)}" stroke="none"/>'
            )
        if clocks:
            paths = [_animated_path(*stroke, cycle_s) for stroke in zip(strokes, clocks[i], strict=True)]
        else:
            paths = [f'<path d="{"".join(map(_path, strokes))}"/>']
        lines.append(f'<g transform="translate({x} {y}) scale({size / FRAME:g})">{"".join(paths)}</g>')
    lines.append("</g>")
    if captions:
        lines.append(f'<g font-family="system-ui,sans-serif" font-size="{sheet.font:g}">')
        for i, caption in enumerate(captions):
            for left, baseline, text, grey in sheet.lines(i, caption, lambda text: _LETTER * sheet.font * len(text)):
                lines.append(f'<text x="{left:g}" y="{baseline:g}" fill="{_hex(grey)}">{_text(text)}</text>')
        lines.append("</g>")
    return "\n".join((*lines, "</svg>", ""))


def _hex(grey: int) -> str:
    return "#" + 3 * f"{grey:02x}"


def _text(text: str) -> str:
    """Text for XML, which has no way to write some characters."""
    return html.escape(re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))


def _path(stroke: Floats) -> str:
    """A stroke (n, 2) as path data; of one point, a dot."""
    return "M" + " ".join(f"{x:g},{y:g}" for x, y in stroke.tolist()) + ("h0" if len(stroke) == 1 else "")


def _animated_path(stroke: Floats, clock: Floats, cycle_s: float) -> str:
    """A stroke (n, 2) whose points appear at `clock` (n,), in seconds, in every cycle."""
    animate = f'<animate dur="{cycle_s:.2f}s" repeatCount="indefinite" attributeName='
    drawn = np.cumsum(_steps(stroke))
    if drawn[-1] == 0:
        return (
            f'<path d="{_path(stroke)}">{animate}"opacity" calcMode="discrete" values="0;1" '
            f'keyTimes="0;{clock[0] / cycle_s:.4g}"/></path>'
        )
    # The line is one dash, pulled into view; what is left of it hides in a gap that is longer than the line, and
    # while nothing is drawn yet, so far away that the dash's round end does not show either.
    length = math.ceil(drawn[-1]) + 1
    hidden = length + 2 * _LINE_WIDTH
    offsets = [hidden, hidden, *(length - drawn), 0, 0]
    times = np.array([0, clock[0], *clock, clock[-1], cycle_s]) / cycle_s
    return (
        f'<path d="{_path(stroke)}" stroke-dasharray="{length} {hidden}">{animate}"stroke-dashoffset" '
        f'values="{";".join(f"{offset:.0f}" for offset in offsets)}" '
        f'keyTimes="{";".join(f"{time:.4g}" for time in times)}"/></path>'
    )


# --- PNG and GIF


def to_png(
    drawings: Sequence[Drawing],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    size: int = SIZE,
) -> bytes:
    """As `to_svg`, as a PNG file in greys.

    Raises:
        FormatError, ConfigError: as `to_svg`.
        MissingExtra: Pillow is not installed.
    """
    sheet = _sheet(drawings, captions, columns, size)
    page = _page(sheet, captions)
    for i, drawing in enumerate(drawings):
        _ink(page, sheet, i, _fitted(drawing))
    file = io.BytesIO()
    _image(page).save(file, format="png", optimize=True)
    return file.getvalue()


def to_gif(
    drawings: Sequence[Drawing],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    size: int = SIZE,
) -> bytes:
    """As `to_svg` with `animate`, as a GIF file in 16 greys.

    Raises:
        FormatError, ConfigError: as `to_svg`; all frames together may have `MAX_ANIMATED_PIXELS`.
        MissingExtra: Pillow is not installed.
    """
    sheet = _sheet(drawings, captions, columns, size)
    fitted = [_fitted(drawing) for drawing in drawings]
    clocks = [_clock(drawing, strokes) for drawing, strokes in zip(drawings, fitted, strict=True)]
    n_frames = math.ceil(max(clock[-1][-1] for clock in clocks) / _GIF_FRAME_S) + 1
    width, height = sheet.extent
    if width * height * n_frames > MAX_ANIMATED_PIXELS:
        raise ConfigError(
            f"a replay of {n_frames} frames of {width:,} x {height:,} pixels is too large; expected at most "
            f"{MAX_ANIMATED_PIXELS:,} pixels in all: show fewer drawings, or at a smaller size, or write an SVG"
        )
    page = _page(sheet, captions)

    def frames() -> Iterator["Image"]:
        for frame in range(1, n_frames):
            for i, (strokes, clock) in enumerate(zip(fitted, clocks, strict=True)):
                _ink(page, sheet, i, _drawn_in(frame, strokes, clock))
            yield _image(page // 16 * 17)

    file = io.BytesIO()
    durations_ms = [*[round(1000 * _GIF_FRAME_S)] * (n_frames - 1), round(1000 * _HOLD_S)]
    first = _image(page // 16 * 17)  # nothing is drawn yet
    first.save(file, format="gif", save_all=True, append_images=frames(), duration=durations_ms, loop=0)
    return file.getvalue()


def _drawn_in(frame: int, strokes: Sequence[Floats], clock: Sequence[Floats]) -> Iterator[Floats]:
    """The strokes (n, 2) that grow in a frame, as far as they are drawn then."""
    now_s = frame * _GIF_FRAME_S
    for stroke, times_s in zip(strokes, clock, strict=True):
        if times_s[0] <= now_s and times_s[-1] > now_s - _GIF_FRAME_S:
            tip = [[np.interp(now_s, times_s, column) for column in stroke.T]]
            yield np.concatenate([stroke[times_s <= now_s], tip])


def _image(pixels: NDArray[np.uint8]) -> "Image":
    from PIL import Image

    return Image.fromarray(pixels)


def _page(sheet: _Sheet, captions: Sequence[str] | None) -> NDArray[np.uint8]:
    """A sheet of empty cards with their captions, in greys (H, W)."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError as error:
        raise MissingExtra("drawing PNG and GIF files", "render") from error
    page = Image.new("L", sheet.extent, _PAGE if sheet.gap else _CARD)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(sheet.font)
    for i in range(sheet.n if sheet.gap else 0):
        x, y = sheet.corner(i)
        width, height = sheet.card
        draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), sheet.radius, _CARD)
        for left, baseline, text, grey in sheet.lines(i, captions[i], font.getlength) if captions else ():
            draw.text((left, baseline), text, grey, font, anchor="ls")
    return np.array(page)


def _ink(page: NDArray[np.uint8], sheet: _Sheet, i: int, strokes: Iterable[Floats]) -> None:
    """Draws strokes (n, 2), in units of the frame, into card `i`, wherever that makes it darker."""
    x, y = sheet.corner(i)
    scale = sheet.size / FRAME
    for stroke in strokes:
        card = page[y : y + sheet.size, x : x + sheet.size]
        covered = np.zeros_like(card)
        _draw_stroke(stroke * scale, _LINE_WIDTH * scale / 2, covered)
        np.minimum(card, _CARD - np.rint(covered * ((_CARD - _INK) / 255)).astype(np.uint8), out=card)
