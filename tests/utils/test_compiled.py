"""Compiled functions are kept where a folder can be written, and work where none can."""

import warnings

import pytest
from numba.core import caching

from quickstroke.utils.compiled import jit


def twice(value: float) -> float:
    return 2 * value


def test_a_function_is_compiled_and_kept() -> None:
    compiled = jit(error_model="numpy")(twice)
    assert compiled(4) == 8
    assert compiled.stats.cache_path  # type: ignore[attr-defined]


def test_without_a_folder_to_keep_it_in_a_function_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.warns(RuntimeWarning, match="no folder for compiled code can be written.*NUMBA_CACHE_DIR"):
        compiled = jit()(twice)
    assert compiled(4) == 8
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter("error")
        jit()(twice)
