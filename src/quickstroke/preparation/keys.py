"""A set of 64-bit keys in bounded memory, for telling which drawings are there twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from quickstroke.utils.compiled import jit

# 16 MiB a run at most, 32 MiB in memory.
_RUN_KEYS = 1 << 21
_LEAST_PLACES = 1 << 10


class KeySet:
    """A set of uint64: a hash table in memory and, each time that one is full, a file of a folder, ascending."""

    def __init__(self, folder: Path) -> None:
        """An empty set; the folder is made when the first table is full."""
        self._folder = folder
        self._runs: list[Path] = []
        self._n, self._table = 0, _empty_table(0)

    def among(self, values: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each value (N,) is in the set."""
        found: NDArray[np.bool_] = _find(self._table, values)
        for run in self._each_run():
            found |= is_among(values, run)
        return found

    def add_new(self, values: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Adds values (N,); whether each was neither in the set nor among those before it."""
        new = np.ones(len(values), dtype=bool)
        for begin in range(0, len(values), _RUN_KEYS):
            self._add_piece(values[begin : begin + _RUN_KEYS], new[begin : begin + _RUN_KEYS])
        return new

    def _add_piece(self, values: NDArray[np.uint64], new: NDArray[np.bool_]) -> None:
        if self._n + len(values) > _RUN_KEYS:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._runs.append(self._folder / f"{len(self._runs)}.run")
            self._runs[-1].write_bytes(np.sort(_keys_of(self._table)).data)
            self._n, self._table = 0, _empty_table(0)
        for run in self._each_run():
            new &= ~is_among(values, run)
        if 2 * (self._n + len(values)) > len(self._table):
            before, self._table = self._table, _empty_table(self._n + len(values))
            _insert(self._table, _keys_of(before), np.ones(self._n, dtype=bool))
        self._n += _insert(self._table, values, new)

    def _each_run(self) -> Iterator[NDArray[np.uint64]]:
        for path in self._runs:
            yield np.fromfile(path, dtype=np.uint64)


def is_among(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.equal(ascending[at], values)


# --- The table: places, a power of two of them, for keys but 0, whose own place is behind these -----------------------


def _empty_table(n: int) -> NDArray[np.uint64]:
    """Places for `n` keys, at least half of which stay empty."""
    return np.zeros((1 << max(2 * n - 1, _LEAST_PLACES - 1).bit_length()) + 1, dtype=np.uint64)


def _keys_of(table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    keys = table[:-1][table[:-1] > 0]
    return np.append(keys, np.uint64(0)) if table[-1] else keys


@numba.njit(inline="always")
def _place_of(table: Any, key: Any) -> Any:
    """Where a key is or, where it is not, belongs: the first empty place from where its bits say."""
    u = np.uint64
    last = u(table.size - 2)
    if key == u(0):
        return last + u(1)
    place = ((key ^ (key >> u(32))) * u(0x9E3779B97F4A7C15) >> u(32)) & last
    while table[place] != u(0) and table[place] != key:
        place = (place + u(1)) & last
    return place


@jit()
def _insert(table: Any, values: Any, new: Any) -> Any:
    """Adds those `values` (N,) that are `new` (N,), which then says which were not there; returns how many."""
    n = 0
    for i in range(values.size):
        if new[i]:
            place = _place_of(table, values[i])
            new[i] = table[place] == 0
            table[place] = max(values[i], np.uint64(1))
            n += new[i]
    return n


@jit()
def _find(table: Any, values: Any) -> Any:
    found = np.empty(values.size, np.bool_)
    for i in range(values.size):
        found[i] = table[_place_of(table, values[i])] != 0
    return found
