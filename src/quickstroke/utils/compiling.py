"""Compiling what is going to be called, by several processes, where it takes one of them many seconds."""

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from quickstroke.utils.compiled import Call, compiler_lock, tell
from quickstroke.utils.system import n_cores

# Each process takes a hundred megabytes, and there are few functions.
_MOST_OTHERS = 3
# After so many seconds in one function another process is taken to be stuck, and ends.
_PATIENCE_S = 120


def compile_calls(calls: Sequence[Call]) -> None:
    """Compiles what is not on disk yet, and loads the rest.

    On Linux processes forked from this one share the work and leave what they compile on disk.
    """
    missing = [call for call in calls if not call.is_kept]
    # What takes longest first, so that no process is left with it in the end: what has most to do with arrays.
    missing.sort(key=lambda call: len(str(call.types)), reverse=True)
    n_others = min(n_cores(), _MOST_OTHERS + 1, len(missing)) - 1
    if sys.platform == "linux" and n_others > 0 and all(call.can_be_kept for call in missing):
        _share_out(missing, n_others)
    for call in calls:
        call.compile()


def _share_out(calls: Sequence[Call], n_others: int) -> None:
    """Compiles all of them, each in the process that is free first: that one takes its number out of a pipe."""
    numbers, writing = os.pipe()
    os.write(writing, bytes(range(len(calls))))
    os.close(writing)
    calls[0].function.dispatcher.typingctx.refresh()  # what numba knows; otherwise each process would read it in
    others: list[int] = []
    try:
        for _ in range(n_others):
            others.append(_fork(numbers, calls))
        _take(numbers, calls)
        _wait(others)
    finally:
        os.close(numbers)
        for other in others:
            os.kill(other, signal.SIGKILL)
        _wait(others)


def _wait(others: list[int]) -> None:
    """Waits until each has ended, and forgets it."""
    while others:
        with suppress(ChildProcessError):  # somebody else has waited for it
            os.waitpid(others[-1], 0)
        others.pop()


def _take(numbers: int, calls: Sequence[Call]) -> None:
    while taken := os.read(numbers, 1):
        calls[taken[0]].compile()


def _fork(numbers: int, calls: Sequence[Call]) -> int:
    """Another process that compiles, and its number. It holds nothing open, nor any lock, that this one has."""
    own = os.getpid()
    with compiler_lock(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, whose locks it could wait for in vain
        if other := os.fork():
            return other
    try:
        for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if descriptor != numbers:
                with suppress(OSError):  # that of the folder itself
                    os.close(descriptor)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in {0, 1, 2} - {nothing, numbers}:
            os.dup2(nothing, descriptor)
        # Ctrl-C is for the process that was begun, which ends this one where it does not go on.
        for number, action in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_DFL)):
            signal.signal(number, action)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        tell(lambda _: None)
        while os.getppid() == own and (taken := os.read(numbers, 1)):
            signal.alarm(_PATIENCE_S)
            calls[taken[0]].compile()
    finally:
        os._exit(0)
