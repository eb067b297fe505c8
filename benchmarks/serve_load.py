"""How many drawings a second `quickstroke serve` names, and how long each waits, beside an endpoint that does nothing.

    python benchmarks/serve_load.py MODEL --drawings FILE... [--clients 50] [--seconds 30]

Starts the real server on a free port. Each client keeps one connection and sends its next raw drawing as soon as it has
the answer to the last. Prints a table and, as the last line, one JSON object.

Where there is more than one core the load comes from one of its own, the first or that of --generator-core, and the
server has the others. Before the drawings the same clients ask for as long for what the same server answers with a
constant, `/api/v1/healthz`: `to_constant` is the ratio of both in requests a second. The end of the table says how busy
the generator was: only where it was mostly idle do the figures speak of the server. It also says how much of the cores
other programs took: `requests per cpu second` of the server's own hardly depends on them.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from quickstroke import formats
from quickstroke.drawings.drawing import Drawing

WARM_UP_S = 2.0
# A generator that is busy, or waits for a core that it shares, for more of the time than this may be what is measured.
MOST_BUSY = 0.7


def request(drawing: Drawing) -> bytes:
    """The bytes of a request to recognise a drawing."""
    strokes = [np.asarray(stroke)[:, :2].T.tolist() for stroke in drawing.strokes]
    body = json.dumps({"strokes": strokes, "simplified": drawing.is_simplified, "top": 5}, separators=(",", ":"))
    head = (
        "POST /api/v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


CONSTANT = b"GET /api/v1/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client(asyncio.Protocol):
    """Asks again as soon as it is answered, until `stop`; reads no more of an answer than it must, to stay cheap.

    Attributes:
        answers: (when it was asked, seconds until the answer, whether it was one with guesses or the constant).
        done: set when there is nothing more to wait for.
    """

    def __init__(self, requests: Iterator[bytes], stop: float) -> None:
        self.answers: list[tuple[float, float, bool]] = []
        self.done = asyncio.get_running_loop().create_future()
        self._requests, self._stop = requests, stop
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        found = re.search(rb"content-length: (\d+)", head)
        if found is None or len(body) < int(found[1]):
            return
        self._answered(head.startswith(b"HTTP/1.1 200 ") and body.startswith((b'{"guesses":[{', b'{"status":"ok"')))
        self._received = b""
        if time.perf_counter() < self._stop:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked:
            self._answered(False)
        self.done.set_result(None)

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(next(self._requests))

    def _answered(self, is_good: bool) -> None:
        self.answers.append((self._asked, time.perf_counter() - self._asked, is_good))
        self._asked = 0.0


@contextmanager
def server(model: str, cores: set[int] | None) -> Iterator[str]:
    """The real server on a free port; gives its address."""
    command = [sys.executable, "-m", "quickstroke", "serve", model, "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise SystemExit("the server did not start")
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def counts(url: str) -> dict[str, float]:
    """The server's metrics without labels."""
    with urllib.request.urlopen(f"{url}api/v1/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, value in (line.split(" ") for line in lines if line[0] != "#" and "{" not in line)
    }


def own_time() -> NDArray[np.float64]:
    """Seconds for which this process computed, and for which it waited for a core; not all systems tell the latter."""
    schedstat = Path("/proc/self/schedstat")
    waited_s = int(schedstat.read_text().split()[1]) / 1e9 if schedstat.exists() else np.nan
    return np.array([time.process_time(), waited_s])


def all_time() -> float:
    """Seconds for which all programs computed, on all cores; not all systems tell it."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return np.nan
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


async def load(url: str, requests: Sequence[bytes], n_clients: int, seconds: float) -> dict[str, float]:
    """Asks for so long and tells what came of it."""
    host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
    loop = asyncio.get_running_loop()
    endless = cycle(requests)
    begin = time.perf_counter() + WARM_UP_S
    clients = [
        (await loop.create_connection(lambda: Client(endless, begin + seconds), host, int(port)))[1]
        for _ in range(n_clients)
    ]
    await asyncio.sleep(begin - time.perf_counter())
    before, own_before, all_before = await asyncio.to_thread(counts, url), own_time(), all_time()
    await asyncio.gather(*(client.done for client in clients))
    elapsed_s = time.perf_counter() - begin
    after, own_after, all_after = await asyncio.to_thread(counts, url), own_time(), all_time()
    answers = [answer for client in clients for answer in client.answers if answer[0] >= begin]
    good_ms = 1000 * np.array([duration for _, duration, is_good in answers if is_good])
    if not len(good_ms):
        raise SystemExit(f"all of {len(answers)} requests failed")

    def grown(name: str) -> float:
        return after[name] - before[name]

    busy_s, waiting_s = own_after - own_before
    server_s = grown("process_cpu_seconds_total")
    return {
        "requests_per_s": len(good_ms) / elapsed_s,
        "p50_ms": float(np.percentile(good_ms, 50)),
        "p99_ms": float(np.percentile(good_ms, 99)),
        "failures": len(answers) - len(good_ms),
        "mean_batch": grown("quickstroke_batch_drawings_sum") / max(grown("quickstroke_batch_drawings_count"), 1),
        "requests_per_cpu_second": len(good_ms) / server_s,
        "requests": len(answers),
        "seconds": elapsed_s,
        "cores_used_by_server": server_s / elapsed_s,
        "cores_used_by_generator": busy_s / elapsed_s,
        "cores_waited_for_by_generator": waiting_s / elapsed_s,
        "cores_used_by_others": (all_after - all_before - busy_s - server_s) / elapsed_s,
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as for `quickstroke serve`")
    told = "files or folders in any official format; the first 1000 are sent"
    parser.add_argument("--drawings", nargs="+", required=True, help=told)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--generator-core", type=int, help="the core from which the load comes")
    options = parser.parse_args()

    files = formats.find_sources(options.drawings).files
    per_file = -(-1000 // len(files))
    drawings = [drawing for path in files for drawing in list(formats.read_file(path))[:per_file]]
    requests = [request(drawings[i]) for i in np.random.default_rng(0).permutation(len(drawings))[:1000]]

    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    generator_core = min(cores, default=0) if options.generator_core is None else options.generator_core
    server_cores = cores - {generator_core} if len(cores) > 1 else None
    if server_cores:
        os.sched_setaffinity(0, {generator_core})

    with server(options.model, server_cores) as url:
        constant = asyncio.run(load(url, [CONSTANT], options.clients, options.seconds))
        figures = asyncio.run(load(url, requests, options.clients, options.seconds))
    figures["to_constant"] = figures["requests_per_s"] / constant["requests_per_s"]
    by_cpu = "requests_per_cpu_second"
    figures["to_constant_by_cpu"] = figures[by_cpu] / constant[by_cpu]

    n_bytes = sum(map(len, requests)) // len(requests)
    name = Path(options.model).stem
    table = Table(Column(), Column(justify="right"), title=f"{name}, {options.clients} clients", title_justify="left")
    for key, value in figures.items():
        text = f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"
        table.add_row(key.replace("_per_s", "/s").replace("_", " "), text)
    Console().print(table)
    print(f"{n_bytes} bytes a request.")
    if server_cores:
        print(f"The load came from core {generator_core}, the server had {', '.join(map(str, sorted(server_cores)))}.")
    else:
        print("The load generator SHARES the server's only core: alone the server is faster than this.")
    if np.nansum([figures["cores_used_by_generator"], figures["cores_waited_for_by_generator"]]) > MOST_BUSY:
        print("The load generator was busy or waiting for its core most of the time: it may be what was measured.")
    placed = {"server_cores": sorted(server_cores) if server_cores else None, "generator_core": generator_core}
    rounded = {key: None if np.isnan(value) else round(value, 3) for key, value in figures.items()}
    print(json.dumps({"model": name, "clients": options.clients, **rounded, **placed}))


if __name__ == "__main__":
    main()
