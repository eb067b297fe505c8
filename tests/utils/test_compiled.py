"""Compiled functions are kept where a folder can be written, and work where none can; what is small is not compiled."""

import atexit
import errno
import importlib.util
import os
import re
import subprocess
import sys
import threading
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import caching

import quickstroke
from quickstroke.utils import compiled, numba_classes
from quickstroke.utils.compiled import FEW_STEPS, beside, compiling, jit


def twice(value: float) -> float:
    return 2 * value


def test_a_function_is_compiled_and_kept() -> None:
    function = jit(error_model="numpy")(twice)
    assert function(4) == 8
    assert function.dispatcher.stats.cache_path  # type: ignore[attr-defined]


def test_without_a_folder_to_keep_it_in_a_function_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(compiled, "_on_compile", None)
    monkeypatch.setattr(compiled, "_is_kept", True)
    function = jit()(twice)
    with pytest.warns(RuntimeWarning, match="no folder for compiled code can be written.*NUMBA_CACHE_DIR"):
        assert function(4) == 8
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter("error")
        assert jit()(twice)(4) == 8


def test_another_fault_of_what_keeps_a_function_is_not_taken_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def cache(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(numba_classes, "Cache", cache)
    with pytest.raises(RuntimeError, match="something else"):
        jit()(twice)(4)


def square(value: Any) -> Any:
    if value < 0:
        raise ValueError("below zero")
    return value * value


def squares(values: Any, out: Any) -> None:
    for k in range(len(values)):
        out[k] = INNER(values[k])


INNER = jit()(square)


def test_what_compiled_code_calls_is_a_part_of_it_and_python_calls_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    outer, values, out = jit()(squares), np.arange(5.0), np.empty(5)
    outer(values, out)
    assert out.tolist() == [0, 1, 4, 9, 16]
    assert not INNER.is_compiled and len(list(tmp_path.rglob("*.nbc"))) == 1  # type: ignore[attr-defined]
    assert INNER(3.0) == 9 and INNER.is_compiled and len(list(tmp_path.rglob("*.nbc"))) == 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="below zero"):
        INNER(-1.0)
    with pytest.raises(ValueError, match="below zero"):
        outer(-values, out)
    again = jit()(squares)  # from the disk
    out[:] = 0
    again(values, out)
    assert out.tolist() == [0, 1, 4, 9, 16]
    with pytest.raises(ValueError, match="below zero"):
        again(-values, out)


def total(values: Any) -> Any:
    sum_so_far = np.float32(0)
    for k in range(len(values)):
        sum_so_far += values[k]
    return sum_so_far


TOTAL = jit()(total)


def mean_of(values: Any) -> Any:
    return TOTAL(values) / np.float32(len(values))


def test_a_part_of_a_function_whose_sums_may_be_reordered_does_not_reorder_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    values, fast = np.random.default_rng(0).random(1000, np.float32), jit(fastmath={"reassoc", "contract"})
    exact = total(values)
    assert fast(mean_of)(values) == exact / np.float32(1000)
    assert fast(total)(values) != exact


def test_numbas_own_functions_that_were_parts_serve_others_as_well() -> None:
    def filled(n: int) -> Any:
        return np.full(n, 2.5, np.float32)

    assert jit()(filled)(3).tolist() == [2.5] * 3
    own = numba.njit(filled)
    assert own(3).tolist() == [2.5] * 3
    assert numba.njit(lambda n: own(n) + np.zeros(n, np.float32))(3).tolist() == [2.5] * 3


def test_python_takes_the_first_steps_and_what_is_compiled_the_rest() -> None:
    function = jit(steps=lambda value: value)(twice)
    assert function(FEW_STEPS - 1) == 2 * FEW_STEPS - 2 and not function.is_compiled  # type: ignore[attr-defined]
    assert function(1) == 2 and not function.is_compiled  # type: ignore[attr-defined]
    assert function(1) == 2 and function.is_compiled  # type: ignore[attr-defined]
    function.function = None  # type: ignore[attr-defined]
    assert function(0) == 0


def test_who_asks_for_it_compiles_at_once() -> None:
    function = jit(steps=lambda value: 0)(twice)
    with compiling():
        with compiling():
            pass
        assert function(4) == 8
    assert function.is_compiled  # type: ignore[attr-defined]


def test_compiled_code_calls_what_python_would_have_taken() -> None:
    inner = jit(steps=lambda value: 0)(twice)

    def outer(value: float) -> float:
        return inner(value) + 1

    assert jit(steps=lambda value: 0)(outer)(4) == 9 and not inner.is_compiled  # type: ignore[attr-defined]
    assert jit()(outer)(4) == 9 and inner.part.signatures  # type: ignore[attr-defined]


def test_compiling_is_told_but_not_what_is_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    jit(error_model="numpy")(twice)(4)
    monkeypatch.setattr(compiled, "_on_compile", told.append)
    monkeypatch.setattr(compiled, "_is_kept", True)
    jit(error_model="numpy")(twice)(4)
    assert told == []
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # nothing is kept
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who is told needs no warning
        jit()(twice)(4)
    assert told == [False]


def test_code_is_compiled_anew_where_what_it_calls_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    told: list[bool] = []
    jit(error_model="numpy")(twice)(4)
    monkeypatch.setattr(compiled, "_on_compile", told.append)
    monkeypatch.setattr(compiled, "_sources", lambda: "of another module, other ones")
    jit(error_model="numpy")(twice)(4)
    assert len(told) == 1
    jit(error_model="numpy")(twice)(4)
    assert len(told) == 1


@pytest.mark.parametrize("content", [b"", b"\x00" * 300, b"damaged"], ids=["empty", "zeros", "other"])
def test_what_is_kept_and_damaged_is_compiled_anew_and_kept_whole(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert jit()(twice)(4) == 8
    (file,) = tmp_path.rglob("*.nb*")
    file.write_bytes(content)
    told: list[bool] = []
    monkeypatch.setattr(compiled, "_on_compile", told.append)
    assert jit()(twice)(4) == 8 and len(told) == 1
    assert jit()(twice)(4) == 8 and len(told) == 1


def test_a_full_disk_keeps_nothing_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", write)
    monkeypatch.setattr(compiled, "_on_compile", None)
    monkeypatch.setattr(compiled, "_is_kept", True)
    with pytest.warns(RuntimeWarning, match="no folder for compiled code can be written"):
        assert jit()(twice)(4) == 8


def test_what_two_processes_keep_at_once_both_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    one, other = (jit(error_model="numpy")(twice) for _ in range(2))
    file = one.dispatcher._cache._cache_file  # type: ignore[attr-defined]
    save = file._save_data

    def save_after_the_other(*given: object) -> None:
        other(2.5)
        save(*given)

    monkeypatch.setattr(file, "_save_data", save_after_the_other)
    assert one(4) == 8
    told: list[bool] = []
    monkeypatch.setattr(compiled, "_on_compile", told.append)
    again = jit(error_model="numpy")(twice)
    assert (again(4), again(2.5)) == (8, 5.0) and told == []


def test_of_changed_sources_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    jit()(twice)(4)
    (before,) = tmp_path.rglob("*.nbc")
    name, line, rest = re.fullmatch(r"(.*)-(\d+)\.(py\d+.*)", before.name).groups()  # type: ignore[union-attr]
    before.with_name(f"{name}-{int(line) + 1}.{rest}").touch()  # it was at another line
    others = [before.with_name(other) for other in (f"{name}_more-{line}.{rest}", f"{name}-{line}.other_{rest}")]
    for other in others:
        other.touch()
    monkeypatch.setattr(caching._SourceFileBackedLocatorMixin, "get_source_stamp", lambda self: (0.0, 1))
    monkeypatch.setattr(compiled, "_sources", lambda: "changed")
    jit()(twice)(4)
    (now,) = set(tmp_path.rglob("*.nb*")) - set(others)
    assert now.name != before.name and all(other.exists() for other in others)


def test_of_another_numba_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    jit()(twice)(4)
    told: list[bool] = []
    monkeypatch.setattr(compiled, "_on_compile", told.append)
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    jit()(twice)(4)
    assert len(told) == 1


def test_modules_that_compile_and_the_version_and_pytorch_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels").mkdir()
    compiles, other = tmp_path / "kernels" / "gates.py", tmp_path / "prose.py"
    compiles.write_text("@jit()\ndef gates(): ...\n")
    other.write_text("\n")
    sources = compiled._sources.__wrapped__
    before = sources(tmp_path)
    other.write_text("what is not compiled\n")
    assert sources(tmp_path) == before
    compiles.write_text("@jit()\ndef gates(): return 1\n")
    changed = sources(tmp_path)
    assert changed != before and sources(tmp_path) == changed
    other.write_text("from numba.extending import intrinsic\n")
    assert sources(tmp_path) != changed
    other.write_text("what is not compiled\n")
    monkeypatch.setattr(quickstroke, "__version__", "0.0.1")
    older = sources(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = sources(tmp_path)
    assert len({changed, older, without}) == 3
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))  # a folder of that name
    assert sources(tmp_path) == without


def test_work_beside_compiles_and_ends_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    function, values = jit(steps=lambda value: 0)(twice), list[float]()
    thread = beside(lambda: values.append(function(4)))
    thread.join()
    assert values == [8] and function.is_compiled  # type: ignore[attr-defined]

    monkeypatch.setattr(compiled, "_is_kept", False)  # as was said before

    def work() -> None:
        jit(fastmath=True)(twice)(4)
        values.append(8)

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # nothing is kept
    monkeypatch.setattr(compiled, "_is_ending", True)
    beside(work).join()
    assert values == [8]


def test_what_is_compiled_by_others_is_compiled_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_is_kept", False)
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # nothing is kept
    monkeypatch.setattr(compiled, "_is_ending", True)
    assert jit(fastmath=True)(twice)(4) == 8


PRINTING_MEANWHILE = """
import sys, types

class Watched(types.ModuleType):
    def __setattr__(self, name, value):
        assert name not in ("stdout", "stderr")
        super().__setattr__(name, value)

import numpy as np
from quickstroke.kernels import raster
sys.__class__ = Watched
raster.draw(np.zeros((1, 3, 5), np.float32), np.full(1, 3), np.zeros((1, 2, 32, 32), np.float32))
assert raster.draw.is_compiled
"""


@pytest.mark.parametrize("before", ["", "import numba"])
def test_who_prints_while_something_is_compiled_is_not_disturbed(before: str, tmp_path: Path) -> None:
    pytest.importorskip("colorama")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    command = [sys.executable, "-c", before + PRINTING_MEANWHILE]
    subprocess.run(command, env={**environment, "NUMBA_CACHE_DIR": str(tmp_path)}, check=True, timeout=600)


def test_the_end_of_the_process_waits_for_work_beside_and_lets_it_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_is_ending", False)
    at_end: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *given: at_end.append(given))
    seen: list[bool] = []
    may_end = threading.Event()

    def work() -> None:
        assert may_end.wait(60)
        seen.append(compiled._is_ending)

    thread = beside(work)
    assert thread.daemon
    ((end, *given),) = at_end
    other = threading.Thread(target=end, args=given)
    other.start()
    while not compiled._is_ending and other.is_alive():
        other.join(0.001)
    may_end.set()
    other.join()
    assert seen == [True] and not thread.is_alive()


@pytest.mark.parametrize(
    ("message", "is_told"),
    [("cannot schedule new futures after interpreter shutdown", False), ("something else", True)],
)
def test_work_beside_that_comes_too_late_ends_in_silence(
    message: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def fail() -> None:
        raise RuntimeError(message)

    beside(fail).join()
    assert [str(each.exc_value) for each in told] == [message] * is_told
