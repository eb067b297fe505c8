"""Rules by which drawings are taken and split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.schema import check_types, fits, plain
from quickstroke.data.manifest import SPLITS
from quickstroke.errors import ConfigError, DatasetError, first_line, shown
from quickstroke.utils import splitmix


@dataclass(frozen=True, slots=True)
class FractionSplit:
    """Each drawing goes to a split by a hash of its key_id, so that the same drawing always goes to the same one.

    The hash is splitmix64 of the key_id, as a fraction of 2^64; the fractions add up to 1 and 0 is allowed. Each `seed`
    gives another split: with one above 0 the hash is of the key_id's bits that differ from those of the seed's hash.
    Each `fold` from 0 to below 1 / `test` tests on other drawings, and all of them on each drawing at most once: for
    cross-validation.
    """

    train: float = 0.8
    val: float = 0.1
    test: float = 0.1
    seed: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            object.__setattr__(self, name, plain(value))
        if not fits(self.seed, int) or not 0 <= self.seed < 2**63:
            given = f"{self.seed!r:.60}"
            raise ConfigError(
                f"the seed of a split, --split-seed, should be a whole number from 0 to below 2^63, got {given}"
            )
        values = (self.train, self.val, self.test)
        if (
            not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values)
            or abs(sum(values) - 1) > 1e-9
        ):
            raise ConfigError(
                f"fractions should be three numbers from 0 to 1 (train, val, test) that add up to 1, got {values}"
            )
        n_folds = int(min(1 / self.test, 2.0**62) + 1e-9) if self.test else 1  # rounding takes no fold away
        if not fits(self.fold, int) or not 0 <= self.fold < n_folds:
            expected = f"a whole number from 0 to {n_folds - 1}, since {self.test} of the drawings are to test on"
            raise ConfigError(f"the fold of a split should be {expected}, got {self.fold!r:.60}")

    def assign(self, key_ids: NDArray[np.uint64], n_before: int = 0) -> NDArray[np.uint8]:
        """The split (N,) of each drawing, an index into SPLITS, whatever was `n_before` them in their class."""
        if self.seed:
            key_ids = key_ids ^ splitmix.hashed(np.array([self.seed], np.uint64))
        position = splitmix.hashed(key_ids) / 2.0**64
        if self.fold:
            position = (position + self.fold * self.test) % 1
        bounds = np.cumsum([self.train, self.val])
        # A split of fraction 0 gets nothing, whatever the rounding of the sums.
        parts = [i for i, part in enumerate((self.train, self.val, self.test), start=1) if part > 0]
        taken = np.array([i if i in parts else parts[-1] for i in range(1, 4)], dtype=np.uint8)
        return taken[np.searchsorted(bounds, position, side="right")]

    def shortage(self, counts: Sequence[int]) -> str:
        """What a class with `counts` drawings a split lacks, empty if nothing."""
        if not self.train or counts[1]:
            return ""
        others = " and ".join(f"{n} to {name}" for name, n in zip(SPLITS, counts, strict=True) if n)
        return "asked for at least one to train on" + (f"; by their key_ids went {others}" if others else "")


@dataclass(frozen=True, slots=True)
class PositionSplit:
    """Of each class's drawings in source order, so many are reserved, then train, validate and test."""

    n_train: int
    n_val: int
    n_test: int
    n_test_reserved: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        for key, value in asdict(self).items():
            if value < 0:
                raise ConfigError(f"{key} should be 0 or more, got {value}")
        if self.total == 0:
            raise ConfigError("a position split should ask for at least one drawing")

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Drawings a class, in the order of SPLITS."""
        return self.n_test_reserved, self.n_train, self.n_val, self.n_test

    @property
    def total(self) -> int:
        """Drawings that each class needs."""
        return sum(self.counts)

    def assign(self, key_ids: NDArray[np.uint64], n_before: int = 0) -> NDArray[np.uint8]:
        """The split, an index into SPLITS, of those that are among the class's first `total`; `n_before` are before."""
        places = np.arange(n_before, min(n_before + len(key_ids), self.total))
        ends = [min(end, 2**62) for end in accumulate(self.counts)]
        return np.searchsorted(ends, places, side="right").astype(np.uint8)

    def shortage(self, counts: Sequence[int]) -> str:
        """What a class with `counts` drawings a split lacks, empty if nothing."""
        if sum(counts) == self.total:
            return ""
        asked = " + ".join(f"{n} {name}" for name, n in zip(SPLITS, self.counts, strict=True) if n)
        return f"asked for {self.total} ({asked})"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which drawings are taken, and how they are split; `held_out` is the hash of another dataset's manifest,
    `leave_out` that of a list of drawings; `skip_invalid` whether what is no drawing is left out."""

    split: FractionSplit | PositionSplit
    limit: int | None
    recognized_only: bool
    drop_duplicates: bool
    held_out: str | None
    leave_out: str | None = None
    skip_invalid: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a manifest has them."""
        rule = next(rule for rule, kind in RULES.items() if isinstance(self.split, kind))
        values = asdict(self.split)
        # As versions write it that know neither seeds nor folds.
        values = {key: value for key, value in values.items() if value or key not in ("seed", "fold")}
        return {
            "split": {"rule": rule, **values},
            "options": {
                "limit": self.limit,
                "recognized_only": self.recognized_only,
                "drop_duplicates": self.drop_duplicates,
                **({"held_out": self.held_out} if self.held_out is not None else {}),
                **({"leave_out": self.leave_out} if self.leave_out is not None else {}),
                **({"skip_invalid": True} if self.skip_invalid else {}),
            },
        }


# The split rules as a manifest names them.
RULES: dict[str, type[FractionSplit] | type[PositionSplit]] = {
    "hash of key_id": FractionSplit,
    "position": PositionSplit,
}


def split_of(described: Mapping[str, Any]) -> FractionSplit | PositionSplit:
    """The split rule that a manifest describes."""
    values = dict(described)
    return RULES[values.pop("rule")](**values)


def check_split(told: Mapping[str, Any], file: Path) -> None:
    """Raises DatasetError where a manifest describes no split rule, or other counts than the rule gives."""
    described = told.get("split")
    try:
        split = split_of(described)  # type: ignore[arg-type]
        if Rules(split, None, False, False, None).to_json()["split"] != described:
            raise ValueError("a part is missing")
        if any(isinstance(value, bool) for value in described.values()):
            raise ValueError("expected numbers")
    except (ConfigError, ValueError, TypeError, LookupError) as error:
        raise DatasetError(
            f"{file}: damaged manifest: split is {shown(described)}, expected a rule ({' or '.join(RULES)}) with its "
            f"numbers: {first_line(error)}"
        ) from error
    for word, counts in told["n_by_class"].items():
        if split.shortage([counts[name] for name in SPLITS]):
            raise DatasetError(f"{file}: damaged manifest: n_by_class.{word} is {counts}, expected what {split} gives")
