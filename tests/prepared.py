"""Drawings to prepare, and what is in a prepared dataset or any folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.data.splits import FractionSplit
from quickstroke.drawings.drawing import Drawing
from quickstroke.formats import binary

PREPROCESSINGS = get_args(Preprocessing)
ARRAYS = ("points", "pen_up", "offsets", "labels", "key_ids", "splits")
ALL_TRAIN = FractionSplit(1, 0, 0)


def dot(key_id: int, x: int = 0, recognized: bool = True) -> Drawing:
    """A drawing of one point, told apart by `x` alone."""
    return Drawing("", [np.array([[x, 7]], np.uint8)], key_id=key_id, recognized=recognized)


def save(folder: Path, **words: Iterable[Drawing]) -> Path:
    """A folder of binary files."""
    for word, drawings in words.items():
        binary.write(folder / f"{word}.bin", drawings)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a folder and of those in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def as_lists(strokes: Sequence[NDArray[Any]]) -> list[Any]:
    return [stroke.tolist() for stroke in strokes]


def split_of(data: PreparedDataset) -> dict[int, set[str]]:
    """The splits in which each key_id is."""
    found: dict[int, set[str]] = {}
    for key_id, split in zip(data.key_ids.tolist(), data.splits.tolist(), strict=True):
        found.setdefault(key_id, set()).add(SPLITS[split])
    return found
