"""Drawings as callers give them: in Google's simplified form, or simplified to it."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import NoneType
from typing import TypeGuard, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.drawings.drawing import NEAR_END, Drawing
from quickstroke.drawings.layouts import Layout, check_choice
from quickstroke.drawings.simplification import gather, simplify_gathered
from quickstroke.errors import ConfigError, FormatError, expect, expect_items


def all_in_simplified_form(
    drawings: Iterable[Sequence[ArrayLike] | Drawing], simplified: bool | None, layout: str
) -> list[tuple[list[NDArray[np.uint8]], Layout | None]]:
    """As `in_simplified_form`, of each drawing; an error says which one it is, counted from 1."""
    prepared = []
    for number, strokes in enumerate(expect_items(drawings, "drawings", "a list of drawings"), start=1):
        try:
            prepared.append(in_simplified_form(strokes, simplified, layout))
        except FormatError as error:
            raise FormatError(f"drawing {number}: {error.reason}") from error
        except ConfigError as error:
            raise ConfigError(f"drawing {number}: {error}") from error
    return prepared


def in_simplified_form(
    strokes: Sequence[ArrayLike] | Drawing, simplified: bool | None, layout: str
) -> tuple[list[NDArray[np.uint8]], Layout | None]:
    """The strokes, uint8 (n, 2), in Google's form, and the layout that they were read in."""
    expect(simplified, (bool, np.bool_, NoneType), "simplified", "True, False or None")
    read: Layout | None
    if isinstance(strokes, Drawing):
        check_choice(layout)
        is_simplified = strokes.is_simplified
        if simplified not in (None, is_simplified):
            said = "simplified" if is_simplified else "raw"
            raise ConfigError(f"simplified = {simplified} was given with a Drawing that is {said}; leave it out")
        simplified, read = is_simplified, strokes.source_layout
        if is_simplified and _are_points_of_bytes(strokes.strokes):
            return [stroke.copy() for stroke in strokes.strokes], read
        points, offsets, _ = gather(strokes.strokes, "points")
    elif (
        layout in ("auto", "points")
        and _are_points_of_bytes(strokes)
        and (simplified or (simplified is None and _fill_the_range(strokes)))
    ):
        return [stroke.copy() for stroke in strokes], "points"
    else:
        points, offsets, read = gather(strokes, layout)
    return (checked if simplified else simplify_gathered)(points, offsets), read


def _are_points_of_bytes(strokes: object) -> TypeGuard[Sequence[NDArray[np.uint8]]]:
    """Whether there is nothing to convert or to refuse: a list of arrays uint8 (n, 2) with n at least 1."""
    return (
        isinstance(strokes, list | tuple)
        and bool(strokes)
        and all(
            type(stroke) is np.ndarray and stroke.dtype == np.uint8 and stroke.shape[1:] == (2,) and len(stroke)
            for stroke in strokes
        )
    )


def _fill_the_range(strokes: Sequence[ArrayLike]) -> bool:
    """Whether arrays uint8 (n, 2) begin near 0 and reach nearly 255, as what simplifying leaves does; others may be
    pixels of a canvas."""
    points = np.concatenate(cast("Sequence[NDArray[np.uint8]]", strokes))  # to make the type takes a microsecond
    return max(points.min(0).tolist()) <= NEAR_END and int(points.max()) >= 255 - NEAR_END


def checked(points: NDArray[np.float64], offsets: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """The strokes, uint8 (n, 2), of points (P, 2) that are said to be simplified.

    Raises:
        FormatError: one is no pair of integers from 0 to 255.
    """
    # All at once, since each call takes as long as a stroke's numbers.
    with np.errstate(invalid="ignore"):
        simplified = points.astype(np.uint8)
    is_wrong = (simplified != points).any(axis=1)
    if is_wrong.any():
        at = int(np.argmax(is_wrong))
        stroke = int(np.searchsorted(offsets, at, side="right")) - 1
        x, y = points[at].tolist()
        raise FormatError(
            f"strokes[{stroke}][{at - int(offsets[stroke])}] is at ({x:g}, {y:g}); expected integers from 0 to 255 of "
            "a drawing that is said to be simplified"
        )
    return [simplified[begin:end] for begin, end in pairwise(offsets.tolist())]


def positions_of(words: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Where words (W,) are among the known ones."""
    at = {word: position for position, word in enumerate(known)}
    return np.array([at[word] for word in words])
