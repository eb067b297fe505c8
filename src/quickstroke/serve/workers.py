"""Several processes that answer at one address, each with the model for itself."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from types import FrameType

Work = Callable[[socket.socket, Callable[[], None]], None]


def run_workers(n: int, sock: socket.socket, work: Work, ready: Callable[[], None]) -> None:
    """Runs `work` in `n` processes until a signal; one that ends by itself is begun anew.

    Args:
        n: processes.
        sock: bound and listening; each process takes connections from it. It is closed in the end.
        work: can be pickled; serves until SIGTERM, and calls what it is given once it does.
        ready: called when all serve.

    Raises:
        RuntimeError: a worker ended before it served.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    workers: list[multiprocessing.process.BaseProcess] = []
    serving: set[int] = set()
    stopping = is_told = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    def begin() -> multiprocessing.process.BaseProcess:
        worker = context.Process(target=_work, args=(work, sock, sender), daemon=True)
        worker.start()
        return worker

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        workers += [begin() for _ in range(n)]
        while not stopping:
            wait([receiver, *(worker.sentinel for worker in workers)], timeout=0.2)
            while receiver.poll():
                serving.add(receiver.recv())
            if len(serving) == n and not is_told:
                is_told = True
                ready()
            for i, worker in enumerate(workers):
                if stopping or worker.is_alive():
                    continue
                if worker.pid not in serving:
                    raise RuntimeError(f"a worker ended before it served, with exit code {worker.exitcode}")
                workers[i] = begin()
    finally:
        sock.close()  # who comes while workers end what they have begun would be let wait, and cut off
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(work: Work, sock: socket.socket, sender: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    work(sock, lambda: sender.send(os.getpid()))


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    """A worker whose parent was killed would answer for ever, and nobody would know it."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
