"""What the machine has, and how its system deals with this process."""

import functools
import os
import sys


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def lends_tiles() -> bool:
    """Whether Linux lets this process, which asks for it here, use the tiles of its processor (AMX)."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return False
    import ctypes  # here and below, as it takes a short command long to import

    arch_prctl, request, tile_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0)


def keep_freed_memory() -> None:
    """Has the C library, where it is glibc, keep for the next batch what one frees, up to 64 MB.

    By itself it gives most of it back to the system, and fresh pages take as long as the arithmetic on them. That holds
    for all of the process, so it is for commands.
    """
    import ctypes

    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return
    own_mapping, trim = -3, -1  # M_MMAP_THRESHOLD: from where on a block is a mapping of its own; M_TRIM_THRESHOLD
    library.mallopt(own_mapping, 2**25)
    library.mallopt(trim, 2**26)
