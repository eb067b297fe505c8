"""Drawings as pictures: SVG, PNG and animated replays.

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
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.bitmap import NO_DRAWING, draw_stroke
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import ConfigError, FormatError, MissingExtra
from quickstroke.utils.files import write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float64]

PICTURE_ENDINGS = (".svg", ".png", ".gif")
# A picture's frame in its own units: a simplified drawing fits in unscaled, with a margin.
FRAME = 288
_DRAWN = 255
_LINE_WIDTH = 5
SIZE = 192
SIZES = range(32, 4097)
_INK, _WORD, _GUESS, _CARD, _PAGE = 0x11, 0x33, 0x76, 0xFF, 0xEE
# The mean width of a letter in the fonts of common systems, of the font's size; SVG cannot measure text.
_LETTER = 0.56
# Pillow's own font has ASCII alone. These, where a system has them, have accents, Hebrew, Arabic, or Japanese.
_FONTS: tuple[str, ...] = ("DejaVuSans.ttf", "Arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc")
_FONTS += ("ipaexg.ttf", "msgothic.ttc", "Hiragino Sans GB.ttc")
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
        raise ConfigError(NO_DRAWING)
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
        f"<title>{xml_text(title)}</title>",
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
                lines.append(f'<text x="{left:g}" y="{baseline:g}" fill="{_hex(grey)}">{xml_text(text)}</text>')
        lines.append("</g>")
    return "\n".join((*lines, "</svg>", ""))


def _hex(grey: int) -> str:
    return "#" + 3 * f"{grey:02x}"


def xml_text(text: str) -> str:
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


def check_picture(path: Path | str) -> None:
    """Raises ConfigError unless `write_picture` knows the ending of a file's name."""
    if Path(path).suffix.lower() not in PICTURE_ENDINGS:
        raise ConfigError(f"{path} should end in {', '.join(PICTURE_ENDINGS[:-1])} or {PICTURE_ENDINGS[-1]}")


def write_picture(
    path: Path | str, drawings: Sequence[Drawing], captions: Sequence[str] | None = None, **options: Any
) -> None:
    """Writes drawings as a picture in the form that the file's ending says; `options` as `to_svg` has them.

    Raises:
        FormatError, ConfigError, MissingExtra: as `to_svg`, `to_png` and `to_gif`; or the ending is none of theirs.
    """
    check_picture(path)
    ending = Path(path).suffix.lower()
    if ending == ".svg":
        picture = to_svg(drawings, captions, **options).encode()
    else:
        picture = (to_png if ending == ".png" else to_gif)(drawings, captions, **options)
    write_bytes(path, picture)


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
    fonts: list[Any] = [ImageFont.load_default(sheet.font)]
    for name in _FONTS if not all(map(str.isascii, captions or ())) else ():
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, sheet.font))
    for i in range(sheet.n if sheet.gap else 0):
        x, y = sheet.corner(i)
        width, height = sheet.card
        draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), sheet.radius, _CARD)
        font = min(fonts, key=partial(_n_missing, captions[i] if captions else ""))
        for left, baseline, text, grey in sheet.lines(i, captions[i], font.getlength) if captions else ():
            draw.text((left, baseline), text, grey, font, anchor="ls")
    return np.array(page)


def _n_missing(text: str, font: Any) -> int:
    """How many letters of a caption a font has not: it draws them as it draws what is no letter."""
    no_letter = bytes(font.getmask("\U0010fffe"))
    return sum(bytes(font.getmask(letter)) == no_letter for letter in set(text) if not letter.isascii())


def _ink(page: NDArray[np.uint8], sheet: _Sheet, i: int, strokes: Iterable[Floats]) -> None:
    """Draws strokes (n, 2), in units of the frame, into card `i`, wherever that makes it darker."""
    x, y = sheet.corner(i)
    scale = sheet.size / FRAME
    for stroke in strokes:
        card = page[y : y + sheet.size, x : x + sheet.size]
        covered = np.zeros_like(card)
        draw_stroke(stroke * scale, _LINE_WIDTH * scale / 2, covered)
        np.minimum(card, _CARD - np.rint(covered * ((_CARD - _INK) / 255)).astype(np.uint8), out=card)
