"""Compiling what is going to be called, by several processes, where it takes one of them many seconds."""

import atexit
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

from quickstroke.utils.compiled import Call, compiler_lock, tell
from quickstroke.utils.system import n_cores

# Each process takes a hundred megabytes, and there are few functions.
_MOST_OTHERS = 3
# After so many seconds in one function another process is taken to be stuck, and ends.
_PATIENCE_S = 120
# What is compiled beside other work takes the time that it leaves.
_NICE = 19
# Between two looks at what others have done.
_MOMENT_S = 0.005

# Each gives calls that one process compiles one after the other.
Lists = Sequence[Callable[[], Sequence[Call]]]


class _Team:
    """This process and `n_others` forked from it that compile, fewer where the system allows no more: whichever is free
    takes the number of a list out of a pipe.
    """

    def __init__(self, lists: Lists, n_others: int, is_beside: bool = False) -> None:
        self._lists = lists
        self._numbers, writing = os.pipe()
        os.write(writing, bytes(range(len(lists))))
        os.close(writing)
        self._others: list[int] = []
        with suppress(OSError):
            for _ in range(n_others):
                self._others.append(_fork(self._numbers, lists, is_beside))

    def calls(self) -> Iterable[Call]:
        """Compiled here or by others."""
        for calls in self._lists:
            yield from calls()

    def take(self, wanted: Container[Call]) -> None:
        """Compiles here what is wanted and no other has begun."""
        while taken := os.read(self._numbers, 1):
            for call in self._lists[taken[0]]():
                if call in wanted:
                    call.compile()

    def is_busy(self) -> bool:
        """Whether one of the others still compiles."""
        for other in list(self._others):
            with suppress(ChildProcessError):  # somebody else has waited for it
                if os.waitpid(other, os.WNOHANG) == (0, 0):
                    continue
            self._others.remove(other)
        return bool(self._others)

    def wait(self) -> None:
        """Waits until the others have ended."""
        while self.is_busy():
            time.sleep(_MOMENT_S)

    def end(self) -> None:
        """Ends the others, wherever they are."""
        for other in self._others:
            with suppress(ProcessLookupError):
                os.kill(other, signal.SIGKILL)
        self.wait()
        os.close(self._numbers)


# What `compile_calls` is going to take over, and what it has left to others.
_ahead: list[_Team] = []
_left: list[_Team] = []


def compile_ahead(lists: Lists) -> None:
    """On Linux, has other processes begin with what `compile_calls` is going to be given.

    They list the calls themselves, so that this process imports nothing for it. When it ends, they do.
    """
    if sys.platform == "linux":
        _ahead.append(_Team(lists, min(n_cores() - 1, _MOST_OTHERS, len(lists))))


def compile_calls(calls: Sequence[Call], later: Sequence[Call] = ()) -> None:
    """Compiles what is not on disk yet, and loads the rest.

    On Linux processes forked from this one share the work and leave what they compile on disk. Of what is called
    `later` they may still compile some when this returns; whoever calls it before they have waits for them.
    """
    teams = [_ahead.pop() for _ in list(_ahead)]
    try:
        for team in teams:
            team.take(calls)
        begun = {call for team in (*teams, *_left) for call in team.calls()}
        teams.append(_team_of([call for call in calls if call not in begun]))
        teams[-1].take(calls)
        # Only now, since where there are few cores it takes time from the others.
        teams.append(beside := _team_of(later, is_beside=True))
        for team in teams[:-1]:
            team.wait()
        teams.remove(beside)
    finally:
        for team in teams:
            team.end()
    for call in calls:
        call.compile()
    if is_left := beside.is_busy():
        _left.append(beside)
    else:
        beside.end()
    for call in later:
        if call.is_kept or not is_left:
            call.compile()


def _team_of(calls: Sequence[Call], is_beside: bool = False) -> _Team:
    """One that compiles what is not on disk; where it `is_beside`, this process takes no part and comes first."""
    by_module: dict[str, list[Call]] = {}  # what has parts in common takes one process less time than two
    for call in calls:
        if not call.is_kept:
            by_module.setdefault(call.function.__module__, []).append(call)
    # What takes longest first, so that no process is left with it in the end: by and large what has most arguments.
    groups = sorted(by_module.values(), key=_length, reverse=True)
    n_others = min(n_cores() - 1, _MOST_OTHERS, len(groups) - (not is_beside))
    if sys.platform != "linux" or n_others < 1 or not all(call.can_be_kept for call in calls):
        n_others = 0
    else:
        calls[0].function.dispatcher.typingctx.refresh()  # what numba knows; otherwise each would read it in
    return _Team([partial(list, group) for group in groups], n_others, is_beside)


def _length(calls: Sequence[Call]) -> tuple[bool, int]:
    return any(call.function.takes_long for call in calls), len(str([call.types for call in calls]))


def wait_for_others() -> None:
    """Waits for what `compile_calls` has left to other processes."""
    while _left:
        team = _left.pop()
        team.wait()
        team.end()


def _end() -> None:
    for team in (*_ahead, *_left):
        team.end()


atexit.register(_end)


def _forget() -> None:
    """In a forked process the others are those of its parent."""
    _ahead.clear()
    _left.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def _fork(numbers: int, lists: Lists, is_beside: bool) -> int:
    """Another process that compiles, and its number. It holds nothing open, nor any lock, that this one has."""
    own = os.getpid()
    # Before numba is imported nobody compiles, and there is no lock.
    with compiler_lock() if "numba" in sys.modules else nullcontext(), warnings.catch_warnings():
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
        if is_beside:
            os.nice(_NICE)
        while os.getppid() == own and (taken := os.read(numbers, 1)):
            signal.alarm(_PATIENCE_S)
            for call in lists[taken[0]]():
                if call.can_be_kept and not call.is_kept:
                    call.compile()
    finally:
        os._exit(0)
