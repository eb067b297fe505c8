"""Augmentation: the drawings of a batch as other hands, pens and moments would have left them.

What happens to a drawing comes in two stages, each a function of its own seed. Its *view* has another shape, and is
what a teacher sees as well:

    blended with a similar drawing, of the same category or (some of them) of any, turned (some of them by any angle),
    sheared, stretched, each stroke a little apart from the others, bent by a slow wave, each point moved a little

Then the student alone sees another way of drawing it, by which a teacher that reads strokes in order is misled:

    turned and stretched a little more, left and right exchanged, points left out, strokes in another order, drawn
    backwards, one left out, one drawn over again, the pen lifted in the middle of them, long lines given a point in the
    middle, the drawing unfinished: its first points only, and all of it drawn by a hand that trembles
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.config.schema import check_types
from quickstroke.config.training import TrainConfig
from quickstroke.data.augmentation_kernels import fill_across, fill_augmented
from quickstroke.data.batches import Drawings
from quickstroke.data.points import n_channels
from quickstroke.errors import ConfigError
from quickstroke.utils import splitmix

# Points that one becomes at most, before a hand trembles: with one in the middle before it, once more where the pen is
# lifted, and all again.
_MOST_POINTS = 6
_VIEW = ("blend", "turn", "shear", "stretch", "loosen", "wave", "jitter", "spin", "blend_across")
_HOW_OFTEN = ("blend", "spin", "blend_across")


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far drawings are changed. Lengths are fractions of a drawing's longer side; 0 leaves a change out.

    Attributes:
        blend: probability that each stroke goes some part of the way, its own, to the most similar one of another
            drawing, itself the most similar of a few.
        turn: standard deviation of the angle, in radians.
        shear: standard deviation of the shear.
        stretch: standard deviation of the logarithm of width over height.
        loosen: standard deviation of the logarithm of each stroke's own size, of its own turn in radians, and of three
            times its own shift.
        wave: standard deviation of the height of a wave of about one period over the drawing.
        jitter: standard deviation of each coordinate of each point, at most; a drawing has its own from 0 up to it.
        spin: probability that a drawing is turned by any angle, not by one of about `turn`.
        blend_across: probability that the other drawing of a blend is one of any category.
        mirror: probability that left and right are exchanged.
        drop_points: probability that a point inside a stroke that is no corner is left out, at most; a drawing has its
            own.
        drop_stroke: probability that one stroke is left out of a drawing of three or more.
        reorder: probability that the strokes come in random order.
        backwards: probability that a drawing has strokes drawn backwards, each with probability 1/2.
        midpoints: probability that a line is given a point in the middle, at most; a drawing has its own.
        lift: probability that the pen is lifted at points inside strokes, each with a probability of up to 1/4; what
            follows begins where it was lifted.
        retrace: probability that strokes are drawn over, each with probability 1/2, nearly where they were.
        unfinished: probability that only a first part of the points is there, from 1/4 to 4/5 of them.
        tremble: probability that the hand trembles, or that what it draws on is coarse; the drawing is simplified anew.
        askew: standard deviation of an angle in radians, and of the logarithm of width over height, that the student
            alone sees: where it is small, what a teacher says of the drawing as it was is the better answer.
    """

    blend: float = 0.0
    turn: float = 0.0
    shear: float = 0.0
    stretch: float = 0.0
    loosen: float = 0.0
    wave: float = 0.0
    jitter: float = 0.0
    spin: float = 0.0
    blend_across: float = 0.0
    mirror: float = 0.0
    drop_points: float = 0.0
    drop_stroke: float = 0.0
    reorder: float = 0.0
    backwards: float = 0.0
    midpoints: float = 0.0
    unfinished: float = 0.0
    lift: float = 0.0
    retrace: float = 0.0
    tremble: float = 0.0
    askew: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ConfigError(f"augmentation {field.name} should be from 0 to 1, got {value}")

    @property
    def of_view(self) -> list[float]:
        """The values that a view depends on."""
        return [getattr(self, name) for name in _VIEW]

    def with_view(self, strength: float) -> "Augmentation":
        """The same with the values of views that say how far, not how often, times `strength`."""
        return replace(self, **{key: strength * getattr(self, key) for key in _VIEW if key not in _HOW_OFTEN})

    @property
    def parameters(self) -> NDArray[np.float64]:
        """The values in order, for compiled code."""
        return np.array([getattr(self, field.name) for field in fields(self)], dtype=np.float64)


# What the recipe `strong` does, beside what options say; chosen by eye, so that people still name the drawings.
STROKES = Augmentation(
    blend=0.8,
    turn=0.12,
    shear=0.1,
    stretch=0.18,
    loosen=0.1,
    wave=0.015,
    jitter=0.012,
    mirror=0.25,
    drop_points=0.4,
    drop_stroke=0.05,
    reorder=0.2,
    backwards=0.2,
    midpoints=0.25,
    lift=0.15,
    retrace=0.1,
    tremble=0.15,
    askew=0.15,
)


class Kin(NamedTuple):
    """Which other drawing one may be blended with.

    Attributes:
        order: int64 (N,), drawings.
        begins, ends: int64 (K,): those for a drawing of data label k are `order[begins[k] : ends[k]]`.
    """

    order: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


def kin(data: Drawings, indices: NDArray[np.int64], label_map: NDArray[np.int64]) -> Kin:
    """For a drawing of a class that `label_map` knows the drawings of `indices` of its class, for others all of them.

    A drawing that has no label for a model stands for nothing but itself: blended with whatever else it is only
    another drawing of which teachers say what they see.
    """
    labels = data.labels[indices]
    sizes = np.bincount(labels, minlength=len(label_map))
    ends = np.cumsum(sizes)
    begins = ends - sizes
    unknown = label_map < 0
    begins[unknown], ends[unknown] = 0, len(indices)
    # A prepared dataset has one class after the other.
    is_sorted = bool((labels[1:] >= labels[:-1]).all())
    return Kin(indices if is_sorted else indices[np.argsort(labels, kind="stable")], begins, ends)


def gather(
    data: Drawings,
    indices: NDArray[np.int64],
    view_seeds: NDArray[np.uint64],
    stroke_seeds: NDArray[np.uint64] | None,
    augmentation: Augmentation,
    max_padding: int,
    preprocessing: Preprocessing,
    kin: Kin | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Augmented points float32 (B, T, C), zero after each drawing's end, and their true rows int64 (B,).

    Args:
        indices: int64 (B,), which drawings.
        view_seeds: (B,), of each one's view.
        stroke_seeds: (B,), of what the student alone sees; None leaves that out.
        kin: whom each is blended with; None blends none.
    """
    longest = _MOST_POINTS * int(data.n_points[indices].max(initial=1))
    others = np.empty(0, np.int64)
    n_rows = max_padding if augmentation.tremble else min(longest, max_padding)
    out = np.zeros((len(indices), n_rows, n_channels(preprocessing)), dtype=np.float32)
    lengths = np.empty(len(indices), dtype=np.int64)
    fill_augmented(
        data.points,
        data.pen_up,
        data.offsets,
        indices,
        data.labels,
        *(kin or Kin(others, others, others)),
        view_seeds,
        view_seeds if stroke_seeds is None else stroke_seeds,
        stroke_seeds is not None,
        augmentation.parameters,
        longest,
        out,
        lengths,
    )
    return out[:, : int(lengths.max(initial=0))], lengths


def are_across(view_seeds: NDArray[np.uint64], augmentation: Augmentation) -> NDArray[np.bool_]:
    """Which views (B,) are blends with a drawing of any category, whose label says little of what comes of it."""
    out = np.empty(len(view_seeds), dtype=np.bool_)
    fill_across(view_seeds, augmentation.parameters, out)
    return out


def seeds(base: tuple[int, ...], indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One seed (B,) for each of some drawings, of a few numbers and its index: the same wherever it stands."""
    first = np.random.SeedSequence(base).generate_state(1, np.uint64)[0]
    # Hashed: from states a step apart neighbours would draw the same numbers, one later.
    with np.errstate(over="ignore"):
        return splitmix.hashed(first + indices.astype(np.uint64) * splitmix.STEP)


def change_of(config: TrainConfig) -> Augmentation:
    """The augmentation of a configuration."""
    if config.augment == "none":
        return Augmentation()
    change = STROKES.with_view(config.view_strength)
    return replace(change, spin=config.spin, blend_across=config.blend_across, unfinished=config.unfinished)
