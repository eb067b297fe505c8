"""Work that a thread does behind the reading."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

# Blocks, and the ends of classes, that wait to be written.
_MOST_BEHIND = 2


class InTurn:
    """A thread that does one thing after the other, a few of them behind; where one fails, none after it is done.

    Leaving the context waits for all, and raises what one of them did.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._under_way = deque[tuple[Future[None], Callable[[], None]]]()

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *error: object) -> None:
        with self._pool:
            if error[0] is None:
                self._wait(0)

    def do(self, task: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
        """Does it after those before it, and `then` some time after it, here; raises what one of them did."""
        self._wait(_MOST_BEHIND)
        before = self._under_way[-1][0] if self._under_way else None

        def run() -> None:
            if before is not None:
                before.result()
            task()

        self._under_way.append((self._pool.submit(run), then))

    def _wait(self, n_behind: int) -> None:
        while len(self._under_way) > n_behind:
            future, then = self._under_way.popleft()
            future.result()
            then()
