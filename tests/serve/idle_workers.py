"""Two workers that wait for a signal: `python idle_workers.py` prints a line when they do."""

import signal
import socket
from collections.abc import Callable

from quickstroke.serve.workers import run_workers


def wait(sock: socket.socket, ready: Callable[[], None]) -> None:
    ready()
    signal.pause()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as sock:
        run_workers(2, sock, wait, lambda: print("they wait", flush=True))
