"""Which drawings stay, and in which split."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import SPLITS
from quickstroke.data.splits import PositionSplit, Rules
from quickstroke.drawings.drawing import DrawingBlock
from quickstroke.preparation.keys import KeySet, is_among
from quickstroke.preparation.leave_out import LISTED
from quickstroke.utils.compiled import jit

REPEATED = "repeated key_id"


@jit()
def hash_drawings(points: Any, pen_up: Any, offsets: Any) -> Any:
    """FNV-1a over the bytes of each drawing's points and pen flags, with the top bit set: uint64 (N,)."""
    out = np.empty(len(offsets) - 1, np.uint64)
    for i in range(out.size):
        value = np.uint64(0xCBF29CE484222325)
        for p in range(offsets[i], offsets[i + 1]):
            for byte in (np.uint64(points[p, 0]), np.uint64(points[p, 1]), np.uint64(pen_up[p])):
                value = (value ^ byte) * np.uint64(0x100000001B3)
        out[i] = value | np.uint64(1 << 63)
    return out


class Picker:
    """Chooses, class after class and block by block, which drawings stay, and in which split.

    Attributes:
        left_out: how many drawings were left out, by reason.
    """

    def __init__(
        self,
        rules: Rules,
        held_out: "PreparedDataset | None",
        leave_out: Mapping[str, NDArray[np.uint64]],
        folder: Path,
        has_own_splits: bool,
    ) -> None:
        """Takes drawings by `rules`, none of those whose ascending key_ids `leave_out` has under their word;
        `has_own_splits` says whether some go to a split without the rule's choice."""
        self.left_out: Counter[str] = Counter()
        self._rules, self._held_out, self._leave_out, self._folder = rules, held_out, leave_out, folder
        # A hash sends a drawing of two classes to one split; its position in them does not, nor does its source.
        self._one_class = isinstance(rules.split, PositionSplit) or has_own_splits
        self._placed = KeySet(folder / "placed")

    def go_on(self, left_out: Mapping[str, int], placed: Iterable[NDArray[np.uint64]]) -> None:
        """Takes up what was chosen before: what was left out, and the key_ids of what was not."""
        self.left_out = Counter(left_out)
        if self._one_class:
            for key_ids in placed:
                self._placed.add_new(key_ids)

    def begin(self, word: str) -> None:
        """Begins a class."""
        self._keys, self._hashes = KeySet(self._folder / "key_ids"), KeySet(self._folder / "strokes")
        self._away = self._held_out.key_ids_not_trained_on(word) if self._held_out else np.empty(0, np.uint64)
        self._listed = self._leave_out.get(word, np.empty(0, np.uint64))
        self._n = Counter[str | None]()  # of the class, before the split rule, and of each split that is given
        self._counts = np.zeros(len(SPLITS), dtype=np.int64)
        self._of_class: list[NDArray[np.uint64]] = []

    def pick(
        self, block: DrawingBlock, split: str | None
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint8]]:
        """Which drawings of the class's next block stay: their indices, key_ids and splits, (N,) each; all go to
        `split` where one is given."""
        rules = self._rules
        keys = block.key_ids
        if rules.drop_duplicates or (keys == 0).any():
            hashes = hash_drawings(block.points, block.pen_up, block.offsets)
            keys = np.where(keys == 0, hashes, keys)
        keep = np.arange(len(block))
        if rules.recognized_only:
            keep = self._drop(keep, block.recognized == 1, "not recognized")
        is_new, has_id = self._keys.add_new(keys[keep]), block.key_ids[keep] != 0
        keep = self._drop(keep, is_new | ~has_id, REPEATED)
        keep = self._drop(keep, is_new[is_new | ~has_id], "repeated strokes without key_id")
        if rules.drop_duplicates:
            keep = self._drop(keep, self._hashes.add_new(hashes[keep]), "duplicate strokes")
        keep = self._drop(keep, ~is_among(keys[keep], self._listed), LISTED)
        keep = self._drop(keep, ~is_among(keys[keep], self._away), "held out by another dataset")
        if self._one_class:
            keep = self._drop(keep, ~self._placed.among(keys[keep]), "key_id of another class")
        if rules.limit is not None:
            keep = self._drop(keep, np.arange(len(keep)) < rules.limit - self._n[split], "over the limit")
        splits = rules.split.assign(keys[keep], self._n[split])
        if split is not None:
            splits[:] = SPLITS.index(split)
        self._n[split] += len(keep)
        keep = self._drop(keep, np.arange(len(keep)) < len(splits), "beyond the split counts")
        self._counts += np.bincount(splits, minlength=len(SPLITS))
        if self._one_class:
            self._of_class.append(keys[keep])
        return keep, keys[keep], splits

    def end(self) -> list[int]:
        """Ends a class; its drawings in each split."""
        self._placed.add_new(np.concatenate([np.empty(0, np.uint64), *self._of_class]))
        return [int(n) for n in self._counts]

    def _drop(self, keep: NDArray[np.int64], mask: NDArray[np.bool_], reason: str) -> NDArray[np.int64]:
        n = int(np.count_nonzero(mask))
        self.left_out[reason] += len(keep) - n
        return keep if n == len(keep) else keep[mask]
