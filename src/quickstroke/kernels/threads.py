"""Threads that share work on a CPU: parts of one batch side by side, or batches.

Compiled code and PyTorch's let other threads run meanwhile. On each thread of the pool PyTorch has one thread, so that
there are no more of them than cores.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import torch

from quickstroke.kernels import mkl
from quickstroke.utils.system import n_cores

Item = TypeVar("Item")
Value = TypeVar("Value")
Other = TypeVar("Other")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_here = threading.local()


def _the_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = _new_pool()
    return _pool


def _new_pool() -> ThreadPoolExecutor:
    # One thread for the products of each part: the parts are what runs side by side. PyTorch gives a thread the number
    # that was set last when it first asks, so each asks before it sets its own; the caller's is set again afterwards.
    n = os.cpu_count() or 1
    barrier = threading.Barrier(n)

    def begin() -> None:
        _here.is_of_pool = True
        torch.get_num_threads()
        torch.set_num_threads(1)
        for set_number in mkl.one_thread_each:
            set_number(1)
        barrier.wait()

    n_before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n, "quickstroke")
    list(pool.map(lambda _: begin(), range(n)))
    torch.set_num_threads(n_before)
    return pool


def _forget() -> None:
    """In a forked child there is one thread, and a lock may be held for ever."""
    global _pool, _offers, _lock, _n_threads, _n_undisturbed
    _pool, _offers, _lock = None, None, threading.Lock()
    _n_undisturbed = int(getattr(_here, "is_undisturbed", False))
    if not _n_undisturbed:
        _n_threads = None


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forget)


_n_threads: int | None = None
_n_undisturbed = 0  # threads that are in `undisturbed`


def n_threads() -> int:
    """How many threads share the work: as many as PyTorch has, or had before `undisturbed`; of a batch that `each` has
    given to one thread, 1.
    """
    if getattr(_here, "is_of_pool", False):
        return 1
    return _n_threads or torch.get_num_threads()


@contextmanager
def undisturbed() -> Iterator[None]:
    """PyTorch has one thread: several wait for work by spinning, in the time of those that have some here.

    Several threads may be in here, in whatever order they come and go. A thread takes over PyTorch's number from
    whoever set it last; if that is one in here, it gets the number from before.
    """
    global _n_threads, _n_undisturbed
    if getattr(_here, "is_undisturbed", False) or getattr(_here, "is_of_pool", False):
        yield
        return
    with _lock:
        n = torch.get_num_threads()
        if _n_undisturbed and n == 1 and _n_threads:  # taken over from another thread that is in here
            n = _n_threads
        _n_threads = _n_threads or n
        _n_undisturbed += 1
    _here.is_undisturbed = True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _here.is_undisturbed = False
        torch.set_num_threads(n)
        with _lock:
            _n_undisturbed -= 1
            if not _n_undisturbed:
                _n_threads = None


def in_threads(run: Callable[..., Value], parts: Sequence[tuple[Any, ...]]) -> list[Value]:
    """What `run(*part)` gives for each part, each on a thread of its own, the first on the caller's."""
    if len(parts) == 1:
        return [run(*parts[0])]

    def run_here(part: tuple[Any, ...]) -> Value:
        with torch.no_grad():  # the mode belongs to a thread
            return run(*part)

    others = [_the_pool().submit(run_here, part) for part in parts[1:]]
    before = [set_number(1) for set_number in mkl.one_thread_each]
    try:
        first = run_here(parts[0])
    finally:
        for other in others:
            other.exception()  # waits, in less time than `wait` takes
        for set_number, number in zip(mkl.one_thread_each, before, strict=True):
            set_number(number)
    return [first, *(other.result() for other in others)]


def alone(run: Callable[[], Value]) -> Value:
    """What `run()` gives on one thread of the pool, which shares the work with no other."""
    return _the_pool().submit(run).result()


def each(run: Callable[[Item], Value], items: Iterable[Item], device: torch.device) -> Iterator[Value]:
    """What `run(item)` gives for each item, without gradients, in the order in which they are done.

    On a CPU as many at a time as there are threads, on another device one after the other. Where the caller stops
    early, what has been begun is done first.
    """
    n, left = n_threads() if device.type == "cpu" else 1, iter(items)

    def run_here(item: Item) -> Value:
        with torch.inference_mode():  # it belongs to a thread
            return run(item)

    if n == 1:
        yield from map(run_here, left)
        return
    pool = _the_pool()
    running: set[Future[Value]] = {pool.submit(run_here, item) for item in islice(left, n)}
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            values = [future.result() for future in done]  # after an error nothing more is begun
            running |= {pool.submit(run_here, item) for item in islice(left, len(done))}
            yield from values
    finally:
        wait(running)


# --- Two things that take a fraction of a millisecond -----------------------------------------------------------------


class _Offer(Generic[Value]):
    """Work that two threads may take; the first one does it."""

    def __init__(self, work: Callable[[], Value]) -> None:
        self._work, self._taken, self._done = work, threading.Lock(), threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None

    def take(self) -> None:
        """Does the work, where nobody has taken it."""
        if not self._taken.acquire(blocking=False):
            return
        try:
            self._value = self._work()
        except BaseException as error:  # its owner gets it
            self._error = error
        finally:
            self._done.release()

    def value(self) -> Value:
        """What the work gives, which is waited for where the other thread has begun."""
        self.take()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._value


_offers: "SimpleQueue[_Offer[Any]] | None" = None


def both(here: Callable[[], Value], there: Callable[[], Other]) -> tuple[Value, Other]:
    """What two functions give that need no PyTorch: the second one's on another thread, if that gets to it in time.

    Where other programs keep all cores busy, it does not, and nobody waits for it.
    """
    if n_cores() == 1:
        return here(), there()
    offer = _Offer(there)
    _the_offers().put(offer)
    return here(), offer.value()


def _the_offers() -> "SimpleQueue[_Offer[Any]]":
    global _offers
    with _lock:
        if _offers is None:
            _offers = SimpleQueue()
            threading.Thread(target=_take_all, args=(_offers,), name="quickstroke-offers", daemon=True).start()
    return _offers


def _take_all(offers: "SimpleQueue[_Offer[Any]]") -> None:
    while True:
        offers.get().take()
