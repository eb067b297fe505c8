"""Two workers that wait for a signal: `python idle_workers.py` prints the port once they do.

With the path of a file they close their socket at SIGTERM, and end when that file is there.
"""

import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from quickstroke.serve.workers import run_workers


def wait(until: str | None, sock: socket.socket, ready: Callable[[], None]) -> None:
    asked = []
    if until is not None:
        signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    ready()
    while not asked:  # to pause would be for ever where the signal came just before
        time.sleep(0.05)
    sock.close()
    while not Path(str(until)).exists():
        time.sleep(0.05)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        run_workers(2, sock, partial(wait, next(iter(sys.argv[1:]), None)), lambda: print(port, flush=True))
