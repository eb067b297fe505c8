"""What the machine has, and how its system deals with this process."""

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from quickstroke.utils import system


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
def test_tiles_are_asked_for_where_linux_lends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    given = [0, -1]

    def library(name: None) -> SimpleNamespace:
        return SimpleNamespace(syscall=lambda *numbers: (asked.append(numbers), given[len(asked) - 1])[1])

    monkeypatch.setattr(ctypes, "CDLL", library)
    ask = system.lends_tiles.__wrapped__
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    assert not ask() and not asked
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    assert ask() and not ask()
    assert asked == [(158, 0x1023, 18)] * 2


ROUNDS = """
import resource
from quickstroke.utils.system import keep_freed_memory
{}
for _ in range(20):
    batch = [b"x" * 2**23 for _ in range(4)]
    del batch
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc is asked"
)
def test_what_a_batch_frees_is_there_for_the_next_one() -> None:
    fresh_pages = [
        int(subprocess.run([sys.executable, "-c", ROUNDS.format(call)], capture_output=True, check=True).stdout)
        for call in ("", "keep_freed_memory()")
    ]
    assert fresh_pages[1] < fresh_pages[0] / 5


def test_a_process_has_a_core() -> None:
    assert 1 <= system.n_cores() <= (os.cpu_count() or 1)
