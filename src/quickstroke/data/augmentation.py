"""Augmentation of the drawings of a batch, in two stages. Each stage is a function of a seed of its own.

The first is geometric. A teacher sees its result as well:

    mixup with a similar drawing of the same category, rotation (random rotation for some), shear, aspect jitter,
    per-stroke jitter, elastic deformation, point jitter

The second changes how a drawing is drawn, which the student alone sees; it would mislead a teacher that reads strokes
in order:

    affine jitter, horizontal flip, point dropout, stroke order, stroke direction, stroke dropout, retracing, pen lifts,
    midpoints, prefix truncation, pen noise
"""

from collections import namedtuple
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.config.schema import check_types
from quickstroke.config.training import TrainConfig
from quickstroke.data.augmentation_kernels import fill_augmented
from quickstroke.data.batches import Drawings, n_points_of
from quickstroke.data.points import n_channels
from quickstroke.errors import ConfigError
from quickstroke.utils import splitmix

# Points that one becomes at most, before pen noise: with a midpoint before it, once more where the pen is lifted, and
# all again.
_MOST_POINTS = 6
# The geometric augmentation, but for the probabilities of mixup and random rotation.
_DEVIATIONS = ("rotation", "shear", "aspect_jitter", "stroke_jitter", "elastic", "point_jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How much drawings are augmented. Lengths are fractions of a drawing's longer side; 0 leaves an augmentation out.

    Attributes:
        mixup: probability of mixup (Zhang et al., 2018) of strokes: each stroke goes towards the closest stroke of
            another drawing, by a weight of its own. The other drawing is the most similar of a few candidates.
        rotation: standard deviation of the angle, in radians.
        shear: standard deviation of the shear.
        aspect_jitter: standard deviation of the logarithm of width over height.
        stroke_jitter: per-stroke jitter: standard deviation of the logarithm of each stroke's scale, of its rotation in
            radians, and of three times its shift.
        elastic: elastic deformation: standard deviation of the height of a wave of about one period over the drawing.
        point_jitter: standard deviation of each coordinate of each point, at most; a drawing has its own from 0 up to
            it.
        random_rotation: probability that the angle is any, not one of about `rotation`.
        horizontal_flip: probability that left and right are exchanged.
        drop_points: point dropout: probability that a point inside a stroke that is no corner is left out, at most; a
            drawing has its own.
        drop_stroke: stroke dropout: probability that one stroke of a drawing of three or more is left out.
        reorder: probability that the strokes come in random order.
        backwards: probability that a drawing has strokes drawn backwards, each with probability 1/2.
        midpoints: probability that a line is given a point in the middle, at most; a drawing has its own.
        lift: probability that the pen is lifted at points inside strokes, each with a probability of up to 1/4; the
            next stroke begins where it was lifted.
        retrace: probability that strokes are drawn over, each with probability 1/2, nearly where they were.
        prefix_truncation: probability that only a prefix of the points is kept, from 1/4 to 4/5 of them.
        pen_noise: probability of noise of the pen, as from an unsteady hand or coarse pixels; the drawing is then
            simplified anew.
        affine_jitter: standard deviation of an angle in radians, and of the logarithm of width over height, which the
            student alone sees: where it is small, a teacher is more often right about the drawing without it.
    """

    mixup: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    aspect_jitter: float = 0.0
    stroke_jitter: float = 0.0
    elastic: float = 0.0
    point_jitter: float = 0.0
    random_rotation: float = 0.0
    horizontal_flip: float = 0.0
    drop_points: float = 0.0
    drop_stroke: float = 0.0
    reorder: float = 0.0
    backwards: float = 0.0
    midpoints: float = 0.0
    prefix_truncation: float = 0.0
    lift: float = 0.0
    retrace: float = 0.0
    pen_noise: float = 0.0
    affine_jitter: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"augmentation {name} should be from 0 to 1, got {value}")

    @property
    def geometric(self) -> list[float]:
        """The values of the geometric augmentation."""
        return [self.mixup, *(getattr(self, name) for name in _DEVIATIONS), self.random_rotation]

    def scaled(self, magnitude: float) -> "Augmentation":
        """The same with all values times `magnitude`."""
        return replace(self, **{name: magnitude * value for name, value in asdict(self).items()})

    def scaled_geometry(self, magnitude: float) -> "Augmentation":
        """The same with the geometric values that are no probabilities times `magnitude`."""
        return replace(self, **{name: magnitude * getattr(self, name) for name in _DEVIATIONS})

    @property
    def parameters(self) -> "Parameters":
        """The values for compiled code, all of them float."""
        return Parameters(*map(float, asdict(self).values()))


# The values of an `Augmentation`, of the same names, as compiled code takes them.
Parameters = namedtuple("Parameters", [field.name for field in fields(Augmentation)])  # type: ignore[misc]


# Of the recipe `strong`, beside what options say; chosen by eye, so that people still recognise the drawings.
STROKES = Augmentation(
    mixup=0.8,
    rotation=0.12,
    shear=0.1,
    aspect_jitter=0.18,
    stroke_jitter=0.1,
    elastic=0.015,
    point_jitter=0.012,
    horizontal_flip=0.25,
    drop_points=0.4,
    drop_stroke=0.05,
    reorder=0.2,
    backwards=0.2,
    midpoints=0.25,
    lift=0.15,
    retrace=0.1,
    pen_noise=0.15,
    affine_jitter=0.15,
)


class MixupCandidates(NamedTuple):
    """Which other drawings each one may be mixed with.

    Attributes:
        order: int64 (N,), drawings.
        begins, ends: int64 (K,): those for a drawing of data label k are `order[begins[k] : ends[k]]`.
    """

    order: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


def mixup_candidates(data: Drawings, indices: NDArray[np.int64], label_map: NDArray[np.int64]) -> MixupCandidates:
    """The drawings of `indices` of the same class, or all of them for a class that `label_map` does not know.

    A drawing without a label of the model has the teachers' probabilities as its target, and a mixture with any other
    drawing does as well.
    """
    labels = data.labels[indices]
    sizes = np.bincount(labels, minlength=len(label_map))
    ends = np.cumsum(sizes)
    begins = ends - sizes
    unknown = label_map < 0
    begins[unknown], ends[unknown] = 0, len(indices)
    # A prepared dataset has one class after the other.
    is_sorted = bool((labels[1:] >= labels[:-1]).all())
    return MixupCandidates(indices if is_sorted else indices[np.argsort(labels, kind="stable")], begins, ends)


def augmented_points(
    data: Drawings,
    indices: NDArray[np.int64],
    geometric_seeds: NDArray[np.uint64],
    stroke_seeds: NDArray[np.uint64] | None,
    augmentation: Augmentation,
    max_padding: int,
    preprocessing: Preprocessing,
    candidates: MixupCandidates | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Augmented points float32 (B, T, C), zero after each drawing's end, and their true rows int64 (B,).

    Args:
        indices: int64 (B,), which drawings.
        geometric_seeds: (B,), of each one's geometric augmentation.
        stroke_seeds: (B,), of what the student alone sees; None leaves that out.
        candidates: for mixup; None for no mixup.
    """
    longest = _MOST_POINTS * int(n_points_of(data, indices).max(initial=1))
    none, no_seeds = np.empty(0, np.int64), np.empty(0, np.uint64)
    n_rows = max_padding if augmentation.pen_noise else min(longest, max_padding)
    out = np.zeros((len(indices), n_rows, n_channels(preprocessing)), dtype=np.float32)
    lengths = np.ones(len(indices), dtype=np.int64)
    fill_augmented(
        (data.points, data.pen_up, data.offsets, data.labels),
        indices,
        candidates or MixupCandidates(none, none, none),
        (geometric_seeds, no_seeds if stroke_seeds is None else stroke_seeds),
        augmentation.parameters,
        longest,
        out,
        lengths,
    )
    # Of another layout the kernels that read them would be compiled once more.
    return np.ascontiguousarray(out[:, : int(lengths.max(initial=0))]), lengths


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
    change = STROKES.scaled(config.augment_magnitude).scaled_geometry(config.geometric_magnitude)
    return replace(change, random_rotation=config.random_rotation, prefix_truncation=config.prefix_truncation)
