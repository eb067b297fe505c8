"""A set of 64-bit keys in bounded memory, for telling which drawings are there twice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# 32 MiB a run.
_RUN_KEYS = 1 << 22


class KeySet:
    """A set of uint64: ascending runs, of which the last is in memory and full ones are files of a folder."""

    def __init__(self, folder: Path) -> None:
        """An empty set; the folder is made when the first run is full."""
        self._folder = folder
        self._runs: list[Path] = []
        self._last = np.empty(0, dtype=np.uint64)

    def among(self, values: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each value (N,) is in the set."""
        found = np.zeros(len(values), dtype=bool)
        for run in self._each_run():
            found |= is_among(values, run)
        return found

    def add(self, values: NDArray[np.uint64]) -> None:
        """Adds values that are not in the set, each once."""
        # Two ascending runs, which a stable sort merges.
        self._keep(np.sort(np.concatenate([self._last, np.sort(values)]), kind="stable"))

    def _keep(self, ascending: NDArray[np.uint64]) -> None:
        self._last = ascending
        if len(self._last) >= _RUN_KEYS:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._runs.append(self._folder / f"{len(self._runs)}.run")
            self._last.tofile(self._runs[-1])
            self._last = np.empty(0, dtype=np.uint64)

    def add_new(self, values: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Adds values (N,); whether each was neither in the set nor among those before it."""
        if not (self._runs or len(self._last)):  # as for nearly every class, whose drawings come in one block
            ascending = np.sort(values)
            if not _has_repeated(ascending):
                self._keep(ascending)
                return np.ones(len(values), dtype=bool)
        new = is_first(values) & ~self.among(values)
        self.add(values[new])
        return new

    def _each_run(self) -> Iterator[NDArray[np.uint64]]:
        for path in self._runs:
            yield np.fromfile(path, dtype=np.uint64)
        if len(self._last):
            yield self._last


def _has_repeated(ascending: NDArray[np.uint64]) -> bool:
    return bool((ascending[1:] == ascending[:-1]).any())


def is_first(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value appears for the first time."""
    if not _has_repeated(np.sort(values)):  # as nearly always, and found out in a fifth of the time
        return np.ones(len(values), dtype=bool)
    first = np.zeros(len(values), dtype=bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def is_among(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.equal(ascending[at], values)
