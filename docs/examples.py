"""The example drawings of the drawing page, src/quickstroke/serve/static/examples.json; generate.py writes them.

They are made by a program. Which of its drawings are shown is chosen by eye.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings

TARGET = Path(__file__).resolve().parent.parent / "src/quickstroke/serve/static/examples.json"

# The longer side, and the least distance between two points: finer is not seen.
SIDE = 255
LEAST_MOVE = 7

# Word: the places of two drawings among those of seed 0.
CHOSEN = {
    "bicycle": (2, 10),
    "circle": (8, 5),
    "cloud": (3, 9),
    "envelope": (5, 11),
    "face": (2, 5),
    "fish": (0, 5),
    "house": (0, 9),
    "ladder": (8, 6),
    "square": (1, 11),
    "star": (10, 4),
    "sun": (2, 8),
    "triangle": (8, 4),
}


def rows(drawing: Drawing) -> list[list[list[int]]]:
    """Strokes `[[x..], [y..], [t..]]` from (0, 0) and 0 ms, with no more points than are seen."""
    assert drawing.times_ms is not None
    low = np.concatenate(drawing.strokes).min(axis=0)
    scale = SIDE / (np.concatenate(drawing.strokes) - low).max()
    strokes: list[Any] = []
    for stroke, times_ms in zip(drawing.strokes, drawing.times_ms, strict=True):
        points = np.rint((stroke - low) * scale)
        kept = [0]
        for i in range(1, len(points)):
            if np.hypot(*(points[i] - points[kept[-1]])) >= LEAST_MOVE or i == len(points) - 1:
                kept.append(i)
        strokes.append([*points[kept].T.astype(int).tolist(), times_ms[kept].astype(int).tolist()])
    return strokes


def examples_text() -> str:
    """The file's text, one drawing a line."""
    words = []
    for word, places in CHOSEN.items():
        drawings = list(synthetic_drawings(max(places) + 1, words=(word,), simplified=False))
        lines = ",\n".join(json.dumps(rows(drawings[place]), separators=(",", ":")) for place in places)
        words.append(f"{json.dumps(word)}: [\n{lines}\n]")
    return '{"made_by": "docs/examples.py, a program", "drawings": {\n' + ",\n".join(words) + "\n}}\n"
