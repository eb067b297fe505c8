"""The two ways to write a stroke, and which of them a drawing is written in.

Points are `[[x, y], ..]`, perhaps `[x, y, t]` each. Columns are Google's `[[x..], [y..]]`, perhaps with `[t..]`. By its
shape a stroke is

| rows | numbers in each | |
|---|---|---|
| 2 or 3 | 2 or 3 | either: ambiguous |
| any other | 2 or 3 | points |
| 2 or 3 | any other | columns |
| any other | any other | neither: refused |

One stroke that is not ambiguous decides for its drawing, and strokes that contradict each other are refused. Where all
are ambiguous, Python reads points, and files and the HTTP API read columns. Every drawing is decided for itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.errors import ConfigError, FormatError, shown

Layout = Literal["points", "columns"]
# What a caller asks for.
LayoutChoice = Literal["auto", "points", "columns"]

_FORMS = {"points": "points [[x, y], ..]", "columns": "columns [[x..], [y..]]"}
_EITHER = f"{_FORMS['points']} or {_FORMS['columns']}, perhaps with times"


def check_choice(layout: str) -> LayoutChoice:
    """Raises ConfigError for what is none of `LayoutChoice`."""
    if not isinstance(layout, str) or layout not in get_args(LayoutChoice):
        raise ConfigError(f"layout should be 'auto', 'points' or 'columns', got {shown(layout)}")
    return cast(LayoutChoice, layout)


def decide(
    shapes: Sequence[tuple[int, int] | None],
    default: Layout,
    layout: str = "auto",
    name: str = "strokes[{}]",
    first: int = 0,
) -> Layout:
    """The layout that the strokes of one drawing are read in.

    Args:
        shapes: of each stroke its rows and the numbers in each of them; None where these are not equally many, which
            tells nothing, and which the caller refuses.
        default: of a drawing whose strokes are all ambiguous.
        layout: `auto`, or the one that it has to be.
        name: of a stroke in messages, with its number in the braces.
        first: the number of the first stroke.

    Raises:
        FormatError: a stroke is in neither layout, in another one than an earlier stroke, or than it has to be; with
            `stroke` set.
        ConfigError: `layout` is no choice.
    """
    choice = check_choice(layout)
    found: Layout | None = None if choice == "auto" else choice
    witness: int | None = None
    for i, shape in enumerate(shapes):
        if shape is None:
            continue
        n_rows, n_numbers = shape
        may_be_points, may_be_columns = n_numbers in (2, 3), n_rows in (2, 3)
        if may_be_points and may_be_columns:
            continue
        if may_be_points or may_be_columns:
            own: Layout = "points" if may_be_points else "columns"
            if found is None:
                found, witness = own, i
            if own == found:
                continue
        what = f"{name.format(first + i)} has {_counted(n_rows, 'row')} of {_counted(n_numbers, 'number')}"
        if found is None:
            raise FormatError(f"{what}; expected {_EITHER}", stroke=i)
        why = f"layout is {found!r}" if witness is None else f"{name.format(first + witness)} is written so"
        raise FormatError(f"{what}; expected {_FORMS[found]}, since {why}", stroke=i)
    return found or default


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def shape_of(rows: Sequence[Sequence[Any]]) -> tuple[int, int] | None:
    """The shape of a stroke of one row or more; None where they are not equally long."""
    lengths = set(map(len, rows))
    return (len(rows), lengths.pop()) if len(lengths) == 1 else None


def listed(strokes: Iterable[ArrayLike]) -> list[ArrayLike]:
    """The strokes of a drawing as a list; FormatError where there are none."""
    try:
        if isinstance(strokes, str | bytes | Mapping):
            raise TypeError
        found = list(strokes)
    except TypeError:
        raise FormatError(f"the drawing is {shown(strokes)}; expected a list of strokes") from None
    if not found:
        raise FormatError("the drawing has no stroke; expected at least one")
    return found


def arrays_of(strokes: Iterable[ArrayLike], layout: str = "auto") -> tuple[list[NDArray[Any]], Layout]:
    """The strokes that a caller from Python gives, as arrays of points.

    Args:
        strokes: at least one, in either layout, each of at least one point.
        layout: as `decide`.

    Returns:
        (arrays (n, 2) or (n, 3) of integers or floats, the layout that they were read in).

    Raises:
        FormatError: no stroke, one without points, or something that is no array of points.
        ConfigError: `layout` is no choice.
    """
    arrays = []
    for i, stroke in enumerate(listed(strokes)):
        try:
            array = np.asarray(stroke)
        except (TypeError, ValueError, RuntimeError):  # the last by a tensor that needs its gradient
            _refuse(stroke, i)
        if array.ndim > 0 and not array.size:
            raise FormatError(f"strokes[{i}] has no point; expected at least one", stroke=i)
        if array.dtype.kind not in "iuf" or array.ndim != 2:
            _refuse(stroke, i)
        arrays.append(array)
    read = decide([array.shape for array in arrays], "points", layout)
    return [array.T for array in arrays] if read == "columns" else arrays, read


def layout_of(strokes: Iterable[ArrayLike], layout: str = "auto") -> Layout:
    """How the strokes of a drawing are read by `simplify` and `Recognizer.predict`: as points or as columns.

    Points are `[[x, y], ..]`, columns are Google's `[[x..], [y..]]`, both perhaps with times. A stroke of two or three
    rows of two or three numbers may be either; where all are so, they are read as points.

    Raises:
        FormatError: the strokes contradict each other or `layout`, or are none.
        ConfigError: `layout` is none of `auto`, `points` and `columns`.
    """
    return arrays_of(strokes, layout)[1]


def _refuse(stroke: Any, index: int) -> NoReturn:
    """Says what keeps a stroke from being an array of two dimensions."""
    name = f"strokes[{index}]"
    try:
        rows = list(stroke)
    except TypeError:
        rows = []
    lengths = []
    for j, row in enumerate(rows):
        try:
            array = np.asarray(row)
        except (TypeError, ValueError, RuntimeError):
            array = np.asarray(None)
        if array.dtype.kind not in "iuf" or array.ndim != 1:
            hint = "; one stroke alone has to be put into a list" * (array.dtype.kind in "iuf" and array.ndim == 0)
            raise FormatError(
                f"{name}[{j}] is {shown(row)}; expected numbers x and y, perhaps a time, or all x, y or times{hint}",
                stroke=index,
            )
        lengths.append(len(array))
    for j, length in enumerate(lengths):
        if length != lengths[0]:
            counts = f"{name}[{j}] has {_counted(length, 'number')} and {name}[0] has {lengths[0]}"
            raise FormatError(f"{counts}; expected the same of all", stroke=index)
    raise FormatError(f"{name} is {shown(stroke)}; expected {_EITHER}", stroke=index)
