"""A drawing: what one person drew for one word; and many of them as flat arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.drawings.layouts import Layout, arrays_of, listed
from quickstroke.errors import FormatError, expect, shown

Stroke = NDArray[np.uint8] | NDArray[np.float64]

# What the official binary files write where the country is unknown.
UNKNOWN_COUNTRY = "ZZ"

# A record or line that is longer is no drawing: the longest official raw lines have some 100,000 bytes. It bounds the
# memory that a file can take, however small it is compressed: JSON takes up to 35 times its bytes.
MAX_DRAWING_BYTES = 400_000

# How far from 0 and 255 the ends of 998 of 1,000 official simplified drawings are at most.
NEAR_END = 4


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Drawing:
    """One drawing with the metadata of Quick, Draw!.

    Strokes may be given in any form and layout that `simplify` takes; what is no array (n, 2) becomes one. Lists of
    numbers become float64, raw; times, where all strokes have them, become `times_ms`. Where every stroke has two or
    three rows of two or three numbers they are read as points; `from_strokes` takes a layout.

    Attributes:
        word: the category, as Google writes it.
        strokes: one array (n, 2) a stroke, columns x and y with y growing downwards; uint8 when the drawing
            is in Google's simplified form (0 to 255), float64 in the pen's own units when it is raw.
        key_id: Google's identifier of the drawing, 64 bits unsigned; 0 where it is unknown.
        countrycode: two letters, `ZZ` where unknown.
        timestamp_us: microseconds since 1970 (UTC), 0 where unknown.
        recognized: whether the game recognised the drawing.
        times_ms: for raw drawings, one float64 array (n,) a stroke, milliseconds since the first point.
        source_layout: how the strokes were written that a text file or a caller gave, `points` or `columns`; None
            where there was no choice.
        is_traced: whether the strokes were traced from a picture, which tells their order and directions only roughly.

    Raises:
        ArgumentTypeError: `word` is no text.
        FormatError: a stroke that is no array of points.
    """

    word: str
    strokes: Sequence[Stroke]
    key_id: int = 0
    countrycode: str = UNKNOWN_COUNTRY
    timestamp_us: int = 0
    recognized: bool = True
    times_ms: Sequence[NDArray[np.float64]] | None = None
    source_layout: Layout | None = None
    is_traced: bool = False

    def __post_init__(self) -> None:
        expect(self.word, str, "word", "a text")
        if isinstance(self.strokes, list | tuple) and all(
            isinstance(stroke, np.ndarray) and stroke.ndim == 2 and stroke.shape[1] == 2 for stroke in self.strokes
        ):
            return
        strokes, times_ms, layout = _taken(self.strokes, "auto")
        object.__setattr__(self, "strokes", strokes)
        object.__setattr__(self, "source_layout", layout)
        if self.times_ms is None:
            object.__setattr__(self, "times_ms", times_ms)

    @classmethod
    def from_strokes(cls, word: str, strokes: Iterable[ArrayLike], *, layout: str = "auto", **facts: Any) -> Self:
        """A drawing of strokes in either layout.

        Args:
            word: the category.
            strokes: as `simplify` takes them.
            layout: `points`, `columns`, or `auto`, which sees it, and reads points where every stroke has two or three
                rows of two or three numbers.
            facts: other attributes.

        Raises:
            FormatError: no stroke, one that is no array of points, or strokes in both layouts.
            ConfigError: `layout` is none of these.
        """
        arrays, times_ms, read = _taken(strokes, layout)
        return cls(word, arrays, **{"times_ms": times_ms, "source_layout": read, **facts})

    def __repr__(self) -> str:
        kind = "simplified" if self.is_simplified else "raw"
        return f"<Drawing {shown(self.word)}, {kind}: strokes {len(self.strokes)}, points {self.n_points}>"

    def _repr_svg_(self) -> str | None:
        """The picture that a notebook shows."""
        from quickstroke.drawings import render

        try:
            return render.to_svg([self], [self.word] if self.word else None)
        except FormatError:  # nothing to be seen
            return None

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
    def concatenate(cls, blocks: Sequence["DrawingBlock"]) -> "DrawingBlock":
        """One block of the drawings of several of one word, in order; of one alone, that one."""
        if len(blocks) == 1:
            return blocks[0]
        names = [field.name for field in fields(cls)]
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(block, name) for block in blocks]) for name in names[1:]
        }
        begins = np.cumsum([0, *(len(block.points) for block in blocks)])
        ends = [block.offsets[1:] + begin for block, begin in zip(blocks, begins[:-1], strict=True)]
        return cls(blocks[0].word, **joined | {"offsets": np.concatenate([begins[:1], *ends])})

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


def _taken(strokes: Iterable[ArrayLike], layout: str) -> tuple[list[Stroke], list[NDArray[np.float64]] | None, Layout]:
    """Strokes of any form and layout as arrays (n, 2), their times where they are raw and all have some, the layout."""
    strokes = listed(strokes)
    arrays, read = arrays_of(strokes, layout)
    # What a list holds is in the pen's own units, whatever it looks like.
    arrays = [
        array if isinstance(stroke, np.ndarray) else array.astype(np.float64)
        for stroke, array in zip(strokes, arrays, strict=True)
    ]
    has_times = all(array.shape[1] == 3 and array.dtype != np.uint8 for array in arrays)
    times_ms = [np.array(array[:, 2], np.float64) for array in arrays] if has_times else None
    return [np.ascontiguousarray(array[:, :2]) for array in arrays], times_ms, read


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


def n_unscaled(points: NDArray[np.uint8], begins: NDArray[np.int64]) -> int:
    """How many drawings, from `begins` (N,) of points (P, 2) on, do not fill 0 to 255 as what simplifying leaves does.

    They may be pixels of a canvas or millimetres. A drawing of one point alone is none of them.
    """
    low, high = np.minimum.reduceat(points, begins), np.maximum.reduceat(points, begins)
    fills = (low.max(axis=1) <= NEAR_END) & (high.max(axis=1) >= 255 - NEAR_END)
    return int(np.count_nonzero(~fills & (low != high).any(axis=1)))
