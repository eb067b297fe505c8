"""The image of a drawing: what a model looks at beside its points. It needs no PyTorch.

What is near in an image may be far apart among the points, and the image is the same in whatever order and direction
somebody drew: with few drawings of a word that tells more than they do. Its side is `SIDE` pixels and shows what the
points show, from the middle of their bounding box.

Dimensions: B batch, T steps.
"""

from typing import Any

import numpy as np

from quickstroke.utils.compiled import jit

SIDE = 32
# 0: how much of a pixel the pen covers. 1: the same times how late that was, up to 1 at the last point.
N_CHANNELS = 2
# The longer side of the drawing in pixels, and half the width of the pen with its soft edge.
LENGTH, REACH = SIDE - 4, 1.25
MIDDLE = (SIDE - 1) / 2
# A stroke shorter than the root of it is a dot.
TINY = 1e-12

# Of each convolution: filters as a multiple of the first one's, side of a filter, and whether it halves the image.
LAYERS = ((1, 5, True), (2, 3, False), (2, 3, True), (3, 3, False), (3, 3, True), (4, 3, False))
# A pen that is up, of a number between 0 and 1; and what a norm divides by is at least the root of this, which is what
# ONNX takes by itself.
PEN_UP, EPSILON = 0.5, 1e-5


def at_a_time(n_steps: int) -> int:
    """How many images of drawings of `n_steps` points to draw at once where that takes all pixels for each point."""
    return max(2**13 // max(n_steps, 1), 1)


def n_features(n_filters: int) -> int:
    """What convolutions of which the first has `n_filters` read of an image: a mean and a maximum of each filter."""
    return 2 * LAYERS[-1][0] * n_filters


@jit(error_model="numpy")
def draw(points: Any, lengths: Any, out: Any) -> None:
    """Draws on `out`, zeros float32 (B, 2, SIDE, SIDE), the points float32 (B, T, 5) of preprocessing `pos5`, `lengths`
    int64 (B,) of them.
    """
    reach, one = np.float32(REACH), np.float32(1)
    for b in range(len(points)):
        is_new = True
        from_x = from_y = np.float32(0)
        for t in range(min(lengths[b], points.shape[1])):
            x = np.float32(MIDDLE) + np.float32(LENGTH) * points[b, t, 2]
            y = np.float32(MIDDLE) + np.float32(LENGTH) * points[b, t, 3]
            if is_new:
                from_x, from_y = x, y
            late = np.float32(t + 1) / np.float32(lengths[b])
            dx, dy = x - from_x, y - from_y
            square = max(dx * dx + dy * dy, np.float32(TINY))
            left = max(int(np.ceil(min(from_x, x) - reach)), 0)
            right = min(int(np.floor(max(from_x, x) + reach)), SIDE - 1)
            top = max(int(np.ceil(min(from_y, y) - reach)), 0)
            bottom = min(int(np.floor(max(from_y, y) + reach)), SIDE - 1)
            for i in range(top, bottom + 1):
                for j in range(left, right + 1):
                    to_x, to_y = np.float32(j) - from_x, np.float32(i) - from_y
                    part = min(max((to_x * dx + to_y * dy) / square, np.float32(0)), one)
                    to_x, to_y = to_x - part * dx, to_y - part * dy
                    ink = min(reach - np.sqrt(to_x * to_x + to_y * to_y), one)
                    if ink > 0:
                        out[b, 0, i, j] = max(out[b, 0, i, j], ink)
                        out[b, 1, i, j] = max(out[b, 1, i, j], ink * late)
            from_x, from_y, is_new = x, y, points[b, t, 4] > PEN_UP
