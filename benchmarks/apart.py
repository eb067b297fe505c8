"""Things that are compared run in processes of their own: threads of one would take time or memory from another."""

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

from quickstroke.utils.system import keep_freed_memory

# Threads that wait for work by spinning have stopped after it.
_PAUSE_S = 0.02


class Apart:
    """What `make(*arguments)` gives, a function, in a process of its own.

    It is called like it; `make` is at the top of a module, or `partial` for such a function with its first arguments.
    Calls to several of these go one after the other.
    """

    def __init__(self, make: Callable[..., Callable[..., Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, *arguments: Any) -> Any:
        time.sleep(_PAUSE_S)
        self._connection.send(arguments)
        return self._connection.recv()  # ends with EOFError where the process ended, which said why

    def end(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join()


def _serve(connection: Any, make: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    keep_freed_memory()  # as our commands do: both sides have it
    function = make(*arguments)
    while True:
        try:
            given = connection.recv()
        except EOFError:
            return
        connection.send(function(*given))
