"""Where a picture has ink: a scan, a screenshot, a photo of paper, or one of Google's bitmaps.

Ink may be darker or lighter than what it lies on. A picture of an even background has one threshold. In any other, such
as a photo, ink is what differs from the background around it, so that shadows do not count.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.errors import FormatError

# A picture is looked at with its longer side between these, in pixels; ink is traced at the first.
SIDE, MOST_SIDE = 256, 640
# What differs less from the background, of 255, is no ink.
_LEAST_CONTRAST = 24.0
# In an even picture so much is within this of the background or the ink, and half of it has less grain.
_NEARLY_ALL, _BAND, _GRAIN = 0.8, 16.0, 1.5
# Pixels of one brightness, such as a screen's, differ by less than the first. Of a framed picture and of its rows the
# second is paper; the frame's brightness differs from that by the third.
_SAME, _PAPER, _FRAME = 1.5, 0.4, 4.0
# Part of the ink's contrast from which a pixel of an even picture is ink.
_THRESHOLD = 0.45
# The same of a picture of at most so many pixels, after this multiple of its fine details was added.
_TINY, _MORE, _MORE_THRESHOLD = 32, 2.0, 1.2
# In a photo: how far beside a point a line is over, as parts of the side, and the blur against noise, in pixels.
_ASIDE, _BLUR = (0.01, 0.02, 0.04), 1.0
# In a photo, parts of ink's contrast: what is ink for sure, and what is if it touches that; and the same as multiples
# of the noise.
_SURE, _TOUCHING = 0.5, 0.25
_SURE_NOISE, _TOUCHING_NOISE = 8.0, 4.0
# Where more is ink nothing is drawn, and a speck of a photo is less than this part of all ink.
_MOST_INK, _SPECK = 0.7, 0.004


def find_ink(grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The ink of a picture, float32 (H, W) from 0 to 255: bool (h, w), cut to what is ink, its longer side `SIDE`.

    Raises:
        FormatError: there is no ink, or nearly everything is.
    """
    from scipy import ndimage

    pixel = SIDE / (max(grey.shape) + 2) if max(grey.shape) <= _TINY else 1.0
    grey = _without_frame(_sized(grey))
    ink = _even(grey, pixel) if pixel > 1 or _is_even(grey) else _uneven(grey)
    share = float(ink.mean())
    if not share:
        raise FormatError("has no ink: no line in it differs from its background")
    if share > _MOST_INK:
        raise FormatError(f"is nearly all ink: {share:.0%} of the picture is no background; expected lines on paper")
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = SIDE / max(ink.shape)
    if abs(scale - 1) > 0.1:
        padded = np.pad(ink, 2).astype(np.float32)
        if scale < 1:
            padded = ndimage.gaussian_filter(padded, 0.4 / scale)
        ink = ndimage.zoom(padded, scale, order=1) > 0.5
    return np.pad(ink, 2)


def _sized(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture, smaller or larger where its longer side is outside what is looked at."""
    from scipy import ndimage

    side = max(grey.shape)
    if side > MOST_SIDE:
        k = -(-side // MOST_SIDE)
        whole = np.pad(grey, [(0, max(k - n, 0)) for n in grey.shape], mode="edge")
        height, width = (n // k for n in whole.shape)
        blocks = whole[: height * k, : width * k].reshape(height, k, width, k)
        smaller: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
        return smaller
    if side < SIDE:
        made: NDArray[np.float32] = ndimage.zoom(np.pad(grey, 1, mode="edge"), SIDE / side, order=3)
        return made.clip(0, 255)
    return grey


def _without_frame(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """What lies inside a frame, such as a screenshot's margin of another colour: all of a picture without one.

    Inside it is the most frequent brightness of the picture, along the whole frame too, and something is drawn there.
    """
    level = _most_frequent(grey)
    near = np.abs(grey - level) < _SAME
    if abs(_margin(grey) - level) < _FRAME or near.mean() < _PAPER:
        return grey
    rows, columns = np.flatnonzero(near.mean(1) > _PAPER), np.flatnonzero(near.mean(0) > _PAPER)
    if not len(rows) or not len(columns):
        return grey
    inside = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    is_drawn_on = abs(_margin(inside) - level) < _SAME and (np.abs(inside - level) > _LEAST_CONTRAST).any()
    return inside if is_drawn_on else grey


def _is_even(grey: NDArray[np.float32]) -> bool:
    """Whether nearly all of a picture is as bright as its margin or as its ink, without grain; or it is no photo, as
    nearly all pixels are of one brightness."""
    from scipy import ndimage

    if (np.abs(grey - _margin(grey)) < _SAME).mean() >= _NEARLY_ALL:
        return True
    grain = np.abs(grey - ndimage.gaussian_filter(grey, 1.5))
    level = _margin(grey)
    ink = max(np.percentile(grey, (0.5, 99.5)), key=lambda found: abs(float(found) - level))
    near = np.minimum(np.abs(grey - level), np.abs(grey - ink)) < _BAND
    return float(near.mean()) >= _NEARLY_ALL and float(np.median(grain)) < _GRAIN


def _most_frequent(grey: NDArray[np.float32]) -> float:
    """The brightness that most pixels have."""
    return float(np.bincount(grey.astype(np.int64).ravel()).argmax())


def _margin(grey: NDArray[np.float32]) -> float:
    """How bright the background is, which the picture's margin shows."""
    margin = np.ones(grey.shape, np.bool_)
    margin[2:-2, 2:-2] = False
    return float(np.median(grey[margin]))


def _even(grey: NDArray[np.float32], pixel: float) -> NDArray[np.bool_]:
    """Ink on an even background: one threshold, on the side where more contrast is.
    `pixel` is how many of its pixels each one of a tiny picture was, else 1."""
    from scipy import ndimage

    level = _margin(grey)
    contrast = np.abs(grey - level)
    darker = np.where(grey < level, contrast, 0)
    lighter = np.where(grey > level, contrast, 0)
    own = darker if (darker > _LEAST_CONTRAST).sum() >= (lighter > _LEAST_CONTRAST).sum() else lighter
    seen = own[own > _LEAST_CONTRAST]
    if not len(seen):
        return np.zeros(grey.shape, np.bool_)
    own = own / float(np.percentile(seen, 80))
    if pixel == 1:
        found: NDArray[np.bool_] = own > max(_THRESHOLD, _LEAST_CONTRAST / 255)
        return found
    # Where few pixels show two lines close together they run into one; with more contrast they come apart.
    own += _MORE * (own - ndimage.gaussian_filter(own, pixel))
    return own > _MORE_THRESHOLD


def _uneven(grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Ink in a photo: lines that differ from what is on both sides of them, by more than noise. A shadow's edge has the
    shadow on one side."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grey, _BLUR)

    def contrast_of(picture: NDArray[np.float32]) -> tuple[NDArray[Any], float]:
        """What is darker than both sides of it, as part of these; and the mean of the squares of by how much."""
        found, differs = np.zeros_like(picture), np.zeros_like(picture)
        for part in _ASIDE:
            away = max(part * max(grey.shape), 2.5)
            sides = ndimage.gaussian_filter(picture, away / 3, mode="nearest")
            for angle in np.arange(4) * np.pi / 4:
                dy, dx = round(away * np.sin(angle)), round(away * np.cos(angle))
                padded = np.pad(sides, ((abs(dy), abs(dy)), (abs(dx), abs(dx))), mode="edge")
                height, width = picture.shape
                one = padded[abs(dy) + dy :, abs(dx) + dx :][:height, :width]
                other = padded[abs(dy) - dy :, abs(dx) - dx :][:height, :width]
                darker = np.minimum(one, other)
                np.maximum(found, 1 - picture / np.maximum(darker, 1), out=found)
                np.maximum(differs, darker - picture, out=differs)
        return 255 * found, float(np.square(differs).mean())

    # Compared by differences: as parts of what is around it, the noise of bright paper is a strong light line. Their
    # squares let thin lines count on a large sheet, and a reflection, which has few pixels, not decide.
    (dark, of_dark), (light, of_light) = contrast_of(smooth), contrast_of(255 - smooth)
    contrast = dark if of_dark >= of_light else light
    level, high = np.percentile(contrast, (50, 84))
    contrast -= level
    noise = float(high - level)  # a standard deviation, of the half that most of the ink is not in
    sure_noise = max(_SURE_NOISE * noise, _LEAST_CONTRAST / 2)
    if not (contrast > sure_noise).any():
        return np.zeros(grey.shape, np.bool_)
    full = float(np.percentile(contrast[contrast > sure_noise], 75))
    sure = contrast > max(_SURE * full, sure_noise)
    labels, n = ndimage.label(contrast > max(_TOUCHING * full, _TOUCHING_NOISE * noise), np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=n + 1)
    is_ink = np.zeros(n + 1, np.bool_)
    is_ink[np.unique(labels[sure])] = True
    is_ink[0] = False
    is_ink &= areas >= _SPECK * areas[is_ink].sum()
    found: NDArray[np.bool_] = is_ink[labels]
    return found
