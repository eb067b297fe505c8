"""What is going to be called is compiled by several processes, which leave nothing behind but compiled code."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import caching

from quickstroke.utils import compiled, compiling
from quickstroke.utils.compiled import Call, Compiled, calls_of, jit

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="other processes are forked on Linux only")


def add(values: Any, out: Any) -> None:
    for k in range(len(values)):
        out[k] += values[k]


def count(values: Any, out: Any) -> None:
    out[0] = len(values)


def total(values: Any) -> Any:
    return values.sum()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where code is kept; there are three cores."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "n_cores", lambda: 3)
    return tmp_path


@pytest.fixture
def calls(folder: Path) -> list[Call]:
    """Of functions of three modules."""

    def run() -> None:
        for kind in (np.float32, np.float64, np.int64):
            function = jit()(add)
            function.__module__ = kind.__name__
            function(np.ones(3, kind), np.zeros(3, kind))

    return calls_of(run)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes that were forked; at the end none is left."""
    others: list[int] = []
    fork = os.fork

    def noted() -> int:
        if other := fork():
            others.append(other)
        return other

    monkeypatch.setattr(os, "fork", noted)
    yield others
    for other in others:
        with pytest.raises(ChildProcessError):
            os.waitpid(other, os.WNOHANG)


def kept(folder: Path) -> int:
    return len(list(folder.rglob("*.nbc")))


def test_functions_that_only_write_are_listed_and_not_called() -> None:
    function, steering, giving = jit()(add), jit(steers=True)(count), jit()(total)
    ones, out, number = np.ones(3), np.zeros(3), np.zeros(1)

    def run() -> None:
        function(ones, out)
        function(2 * ones, out)
        steering(ones, number)
        function(np.ones(2, np.float32), np.zeros(int(number[0]), np.float32))
        assert giving(ones) == 3  # others may need what it gives

    listed = calls_of(run)
    assert [(each.function, each.types[0].dtype) for each in listed] == [
        (function, numba.float64),
        (steering, numba.float64),
        (function, numba.float32),
    ]
    assert out.tolist() == [0, 0, 0] and number[0] == 3
    assert not function.is_compiled and not steering.is_compiled  # type: ignore[attr-defined]
    function(ones, out)
    assert out.tolist() == [1, 1, 1]


def test_after_an_error_functions_are_called_again() -> None:
    function, out = jit()(add), np.zeros(3)

    def run() -> None:
        raise ValueError("no such drawing")

    with pytest.raises(ValueError, match="no such drawing"):
        calls_of(run)
    function(np.ones(3), out)
    assert out.tolist() == [1, 1, 1]


@only_linux
def test_processes_share_what_has_to_be_compiled(folder: Path, calls: list[Call], forked: list[int]) -> None:
    assert not any(each.is_kept for each in calls)
    compiling.compile_calls(calls)
    assert len(forked) == 2 and kept(folder) == 3 and all(each.is_kept for each in calls)
    assert all(each.function.is_compiled for each in calls)
    out = np.ones(3, np.float32)
    calls[0].function(np.ones(3, np.float32), out)
    assert out.tolist() == [2, 2, 2]
    compiling.compile_calls(calls)  # there is nothing left to do
    assert len(forked) == 2


@only_linux
def test_what_is_kept_is_loaded(folder: Path, calls: list[Call], forked: list[int]) -> None:
    calls[0].compile()
    compiling.compile_calls(calls[1:])
    assert len(forked) == 1 and kept(folder) == 3
    again = jit()(add)
    compiling.compile_calls([Call(again, each.types) for each in calls])  # type: ignore[arg-type]
    assert len(forked) == 1
    assert sum(again.dispatcher.stats.cache_hits.values()) == 3  # type: ignore[attr-defined]


@only_linux
def test_one_process_compiles_all_of_a_module(calls: list[Call], forked: list[int]) -> None:
    for each in calls[1:]:
        each.function.__module__ = calls[0].function.__module__
    compiling.compile_calls(calls)
    assert forked == [] and all(each.function.is_compiled for each in calls)


@only_linux
def test_what_takes_longest_is_begun_with(calls: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Call] = []

    def no_process(numbers: int, lists: compiling.Lists, is_beside: bool) -> int:
        begun.extend(call for each in lists for call in each())
        raise OSError("none is left")

    monkeypatch.setattr(compiling, "_fork", no_process)
    calls[1].function.takes_long = True
    compiling.compile_calls(calls)
    assert begun[0] == calls[1] and len(begun) == 3


@only_linux
def test_where_others_fail_this_process_does_all(
    folder: Path, calls: list[Call], forked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, compile_here = os.getpid(), Call.compile

    def fail(self: Call) -> None:
        if os.getpid() != own:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)  # the others take something, too
        compile_here(self)

    monkeypatch.setattr(Call, "compile", fail)
    compiling.compile_calls(calls)
    assert len(forked) == 2 and kept(folder) == 3
    assert all(each.function.is_compiled for each in calls)


@only_linux
def test_an_interrupt_ends_the_others(calls: list[Call], forked: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    own, began = os.getpid(), time.monotonic()

    def compile_long(self: Call) -> None:
        if os.getpid() == own:
            raise KeyboardInterrupt
        time.sleep(60)

    monkeypatch.setattr(Call, "compile", compile_long)
    with pytest.raises(KeyboardInterrupt):
        compiling.compile_calls(calls)
    assert len(forked) == 2 and time.monotonic() - began < 30


@only_linux
def test_others_begin_before(folder: Path, calls: list[Call], forked: list[int]) -> None:
    compiling.compile_ahead([partial(list, calls[:2]), partial(list, calls[2:])])
    assert len(forked) == 2
    compiling.compile_calls(calls)
    assert len(forked) == 2 and kept(folder) == 3


def test_of_what_was_begun_only_what_is_called_is_compiled_here(
    folder: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "n_cores", lambda: 1)
    compiling.compile_ahead([partial(list, calls)])
    compiling.compile_calls(calls[1:2])
    assert kept(folder) == 1 and calls[1].is_kept


@only_linux
def test_who_calls_what_others_still_compile_waits_for_them(
    folder: Path, calls: list[Call], forked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, go, compile_here = os.getpid(), folder / "go", Call.compile

    def compile_late(self: Call) -> None:
        while os.getpid() != own and self == calls[2] and not go.exists():
            time.sleep(0.01)
        compile_here(self)

    monkeypatch.setattr(Call, "compile", compile_late)
    compiling.compile_calls(calls[:2], calls[2:])
    function = calls[2].function
    assert forked and not calls[2].is_kept and not function.is_compiled
    out = np.zeros(3, np.int64)
    begin = threading.Timer(0.2, go.touch)
    begin.start()
    function(np.ones(3, np.int64), out)
    assert out.tolist() == [1, 1, 1] and kept(folder) == 3
    assert function.dispatcher.stats.cache_hits[calls[2].types] == 1


@only_linux
def test_nothing_stays_open(calls: list[Call]) -> None:
    compiling.compile_calls(calls[:1], calls[1:])
    compiling.wait_for_others()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        compiling.compile_calls(calls[:1], calls[1:])
        compiling.compile_calls(calls)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@only_linux
def test_where_no_process_can_be_forked_this_one_does_all(
    folder: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    compiling.compile_calls(calls[:2], calls[2:])
    assert kept(folder) == 3 and all(each.function.is_compiled for each in calls)


ENDING = """
import os, time
from quickstroke.utils import compiling

fork = os.fork
def noted():
    if other := fork():
        print(other)
    return other
os.fork = noted
compiling.n_cores = lambda: 2
compiling.compile_ahead([lambda: time.sleep(600)])
"""


@only_linux
def test_with_the_process_the_others_end() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


def test_one_process_does_all_where_there_is_one_core_or_nothing_is_kept(
    calls: list[Call], forked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without_folder:
        without_folder.setattr(caching.CacheImpl, "_locator_classes", [])
        without_folder.setattr(compiled, "_on_compile", None)
        without_folder.setattr(compiled, "_is_kept", True)
        with pytest.warns(RuntimeWarning, match="no folder for compiled code"):
            unkept = [Call(Compiled(add, None, False, False, {}), each.types) for each in calls]
            compiling.compile_calls(unkept)
    assert len(unkept[0].function.dispatcher.overloads) == 1
    monkeypatch.setattr(compiling, "n_cores", lambda: 1)
    compiling.compile_calls(calls)
    assert all(each.function.is_compiled for each in calls)
    assert forked == []


KILLED = """
import fcntl, os, sys, time
import numpy as np
from quickstroke.utils import compiled, compiling
from quickstroke.utils.compiled import Call, calls_of, jit

def add(values: object, out: object) -> None:
    out[0] = values[0]

function, own = jit()(add), os.getpid()
other = jit()(add)
other.__module__ = "other"
calls = calls_of(lambda: [each(np.ones(1), np.ones(1)) for each in (function, other)])
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
compiling.n_cores = lambda: 2

def compile_long(self: Call) -> None:
    if os.getpid() != own:
        os.write(2, b"nobody reads this")
        open(sys.argv[2], "w").write(str(os.getpid()))
        os.rename(sys.argv[2], sys.argv[3])
    time.sleep(600)

Call.compile = compile_long
compiling.compile_calls(calls)
"""


@only_linux
def test_of_a_killed_process_the_others_hold_nothing_open(tmp_path: Path) -> None:
    import fcntl

    lock, writing, number = (tmp_path / name for name in ("lock", "writing", "number"))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    (tmp_path / "killed.py").write_text(KILLED)
    words = [sys.executable, str(tmp_path / "killed.py"), *map(str, (lock, writing, number))]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        for _ in range(6000):
            assert process.poll() is None
            if number.exists():
                break
            time.sleep(0.01)
        with lock.open("a") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
        _, said = process.communicate()  # to the end: the other holds no pipe open
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert said == b""
    with suppress(ProcessLookupError):
        os.kill(int(number.read_text()), signal.SIGKILL)
