"""A drawing: what one person drew for one word; and many of them as flat arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.errors import FormatError, expect, expect_list

Stroke = NDArray[np.uint8] | NDArray[np.float64]

# What the official binary files write where the country is unknown.
UNKNOWN_COUNTRY = "ZZ"

# A record or line that is longer is no drawing: the longest official raw lines have some 100,000 bytes. It bounds the
# memory that a file can take, however small it is compressed: JSON takes up to 35 times its bytes.
MAX_DRAWING_BYTES = 400_000


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One drawing with the metadata of Quick, Draw!.

    Attributes:
        word: the category, as Google writes it.
        strokes: one array (n, 2) a stroke, columns x and y with y growing downwards; uint8 when the drawing
            is in Google's simplified form (0 to 255), float64 in the pen's own units when it is raw.
        key_id: Google's identifier of the drawing, 64 bits unsigned; 0 where it is unknown.
        countrycode: two letters, `ZZ` where unknown.
        timestamp_us: microseconds since 1970 (UTC), 0 where unknown.
        recognized: whether the game recognised the drawing.
        times_ms: for raw drawings, one float64 array (n,) a stroke, milliseconds since the first point.

    Raises:
        ArgumentTypeError: `word` is no text, or `strokes` no list.
    """

    word: str
    strokes: Sequence[Stroke]
    key_id: int = 0
    countrycode: str = UNKNOWN_COUNTRY
    timestamp_us: int = 0
    recognized: bool = True
    times_ms: Sequence[NDArray[np.float64]] | None = None

    def __post_init__(self) -> None:
        expect(self.word, str, "word", "a text")
        if type(self.strokes) is not list:  # millions are made, of lists
            expect_list(self.strokes, "strokes", "a list of arrays")

    @property
    def is_simplified(self) -> bool:
        """Whether the strokes are in Google's simplified form."""
        return all(getattr(stroke, "dtype", None) == np.uint8 for stroke in self.strokes)

    @property
    def n_points(self) -> int:
        """Points of all strokes together."""
        return sum(len(stroke) for stroke in self.strokes)


@dataclass(frozen=True, slots=True, eq=False)
class DrawingBlock:
    """Many simplified drawings of one word as flat arrays: N drawings with P points in all.

    Attributes:
        word: the category of all of them.
        points: uint8 (P, 2), x and y.
        pen_up: uint8 (P,), 1 at the last point of each stroke, else 0.
        offsets: int64 (N + 1,); drawing i has the points from offsets[i] to offsets[i + 1].
        key_ids: uint64 (N,).
        countrycodes: uint8 (N, 2), Latin-1.
        timestamps_s: uint32 (N,), seconds since 1970.
        recognized: uint8 (N,), 0 or 1.
    """

    word: str
    points: NDArray[np.uint8]
    pen_up: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    key_ids: NDArray[np.uint64]
    countrycodes: NDArray[np.uint8]
    timestamps_s: NDArray[np.uint32]
    recognized: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.key_ids)

    @classmethod
    def concatenate(cls, word: str, blocks: Sequence["DrawingBlock"]) -> "DrawingBlock":
        """One block of the drawings of several, in order; of one alone, that one."""
        if len(blocks) == 1 and blocks[0].word == word:
            return blocks[0]

        def joined(name: str, empty: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([empty, *(getattr(block, name) for block in blocks)])

        starts = np.cumsum([0, *(len(block.points) for block in blocks)])
        ends = [block.offsets[1:] + start for block, start in zip(blocks, starts[:-1], strict=True)]
        return cls(
            word=word,
            points=joined("points", np.empty((0, 2), np.uint8)),
            pen_up=joined("pen_up", np.empty(0, np.uint8)),
            offsets=np.concatenate([np.zeros(1, np.int64), *ends]),
            key_ids=joined("key_ids", np.empty(0, np.uint64)),
            countrycodes=joined("countrycodes", np.empty((0, 2), np.uint8)),
            timestamps_s=joined("timestamps_s", np.empty(0, np.uint32)),
            recognized=joined("recognized", np.empty(0, np.uint8)),
        )

    def drawings(self) -> Iterator[Drawing]:
        """The drawings one by one; their strokes are views of `points`."""
        for i in range(len(self)):
            begin, end = int(self.offsets[i]), int(self.offsets[i + 1])
            yield Drawing(
                word=self.word,
                strokes=split_strokes(self.points[begin:end], self.pen_up[begin:end]),
                key_id=int(self.key_ids[i]),
                countrycode=self.countrycodes[i].tobytes().decode("latin-1"),
                timestamp_us=int(self.timestamps_s[i]) * 1_000_000,
                recognized=bool(self.recognized[i]),
            )


def check_simplified(drawing: Drawing) -> None:
    """Raises FormatError unless a drawing has strokes, and each of them is uint8 (n, 2) with n at least 1."""
    if not drawing.strokes:
        raise FormatError("the drawing has no strokes; expected at least one")
    if not drawing.is_simplified:
        raise FormatError("the drawing is raw; simplify it first")
    for position, stroke in enumerate(drawing.strokes, start=1):
        if stroke.ndim != 2 or stroke.shape[1] != 2 or not len(stroke):
            raise FormatError(f"stroke {position} has the shape {stroke.shape}; expected (n, 2) with n at least 1")


def split_strokes(points: NDArray[np.uint8], pen_up: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Points (P, 2) cut into strokes after each point whose `pen_up` (P,) is set."""
    ends = np.flatnonzero(pen_up[:-1]) + 1
    return np.split(points, ends)
