"""Throws damaged files, names and requests at every reader.

    python fuzz/fuzz.py TARGET [--compiled] [--n N] [--seed N] [--into DIR]

Without --compiled numba's functions run as plain Python, and atheris chooses inputs by the code of quickstroke they
reach. With it everything runs as for a user, on changes of the seeds that depend on --seed alone. Seeds are made
here, by quickstroke's own writers.

An input is good when it is read, or refused by an error of quickstroke. A finding is everything else: another
exception, a drawing that does not come back from what a writer writes of it, more than 2 seconds of processor time, or
more memory, touched or not, than ten times the input and 16 MB. Its input is written to --into, and the exit code is 1.
Text goes to stderr; the last line of stdout is JSON.
"""

import argparse
import ctypes
import faulthandler
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

# Each is a function of targets.py.
TARGETS = ("binary", "ndjson", "npz", "csv", "svg", "inkml", "json", "parquet")
TARGETS += ("picture", "name", "document", "model", "api")
LIMIT_S = 2.0
FREE_BYTES, TIMES = 16_000_000, 10
# A call that never comes back ends the process, and its input is the last that the target wrote.
_HANG_S, _WATCHED = 300, 256
_M_ARENA_MAX = -8  # malloc.h of glibc

# Libraries start threads of their own when they like, each with a stack.
_STACK_BYTES = 9_000_000
_MEMORY = re.compile(rb"VmPeak:\s*(\d+) kB\nVmSize:\s*(\d+) kB.*\nThreads:\s*(\d+)", re.DOTALL)

One = Callable[[bytes], None]


def memory() -> tuple[int, int, int]:
    """Bytes that this process had at most, and has, every page that it was given by any allocator; and its threads."""
    found = _MEMORY.search(Path("/proc/self/status").read_bytes())
    assert found
    return int(found[1]) << 10, int(found[2]) << 10, int(found[3])


class Judge:
    """Runs inputs and counts what becomes of them.

    Attributes:
        counts: inputs by outcome: read, refused, finding.
        findings: a traceback or sentence for each kind of finding.
    """

    def __init__(self, target: str, one: One, into: Path) -> None:
        from quickstroke.errors import QuickstrokeError

        self._target, self._one, self._into, self._good = target, one, into, QuickstrokeError
        self.counts: Counter[str] = Counter()
        self.findings: dict[str, str] = {}
        # A thread's own heap, such as that of the watch below, would count as memory of an input.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
        self._memory = 0, 0, 0

    def __call__(self, data: bytes) -> None:
        n = self.counts.total()
        if n % _WATCHED == 0:
            faulthandler.dump_traceback_later(_HANG_S, exit=True)
            self._memory = memory()
        if n % 100_000 == 0 and n:
            print(f"{self._target}: {n:,} inputs, {len(self.findings)} findings", file=sys.stderr, flush=True)
        begin = time.process_time()
        try:
            self._one(data)
            outcome = "read"
        except self._good:
            outcome = "refused"
        except Exception as error:
            outcome = "finding"
            at = traceback.extract_tb(error.__traceback__)[-1]
            self._found(data, f"{type(error).__name__} in {at.name}", traceback.format_exc())
        seconds = time.process_time() - begin
        if seconds > LIMIT_S:
            outcome = "finding"
            self._found(data, "slow", f"{seconds:.1f} s for {len(data)} bytes")
        (peak_before, before, threads_before), self._memory = self._memory, memory()
        peak, _, threads = self._memory
        allowed = TIMES * len(data) + FREE_BYTES + _STACK_BYTES * max(threads - threads_before, 0)
        if peak > max(peak_before, before + allowed):
            outcome = "finding"
            self._found(data, "memory", f"{peak - before:,} bytes for {len(data)}")
        self.counts[outcome] += 1

    def _found(self, data: bytes, kind: str, text: str) -> None:
        if kind in self.findings:
            return
        self.findings[kind] = text
        self._into.mkdir(parents=True, exist_ok=True)
        path = self._into / f"{self._target}-{len(self.findings)}"
        path.write_bytes(data)
        print(f"{self._target}: {kind}: {path}\n{text}", file=sys.stderr, flush=True)


# --- changes without coverage

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)
_WORDS = (
    *(b"[", b"]", b"{", b"}", b'"', b",", b":", b"_", b"null", b"true", b"NaN", b"1e999", b"-1", b"0.5", b"[[1],[2]],"),
    *(b"\n", b"\r", b"\\ud800", b"\xff", b"\0", b"```python\n", b"# ", b"(", b")", b"//", b"*", b"sz", b"lay", b"cv1_"),
    *(b"].", b")\x85", b"}", b"q\0", b"R", b"b.", b"Q", b"PK\x03\x04", b"\x80\x02", b"%s" % (b"9" * 400)),
)


def changed(seeds: list[bytes], rng: random.Random) -> bytes:
    """A seed with one to eight changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randint(0, len(data))
        end = min(at + int(rng.expovariate(0.1)), len(data))
        match rng.randrange(9):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.randrange(256)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * rng.randint(1, 20)
            case 4:
                data[at:at] = rng.choice(_WORDS)
            case 5:
                data[at:end] = rng.choice(_WORDS)
            case 6:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(_NUMBERS) % 256**size
                data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 7:
                other = rng.choice(seeds)
                begin = rng.randint(0, len(other))
                data[at:end] = other[begin : begin + end - at]
            case 8 if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


# --- running


def warm(seeds: list[bytes], one: One) -> None:
    """Reads each seed once: what is compiled and imported on first use is no memory of an input."""
    from quickstroke.errors import QuickstrokeError
    from quickstroke.utils.compiled import compiling

    for data in seeds:
        with suppress(QuickstrokeError), compiling():
            one(data)


def run(target: str, n: int, seed: int, into: Path) -> Judge:
    """Gives a target its seeds, then `n` changes of them."""
    import targets

    rng = random.Random(f"{target} {seed}")
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        seeds, one = getattr(targets, f"{target}_target")(Path(folder))
        warm(seeds, one)
        judge = Judge(target, one, into)
        for _ in range(n):
            judge(changed(seeds, rng))
    faulthandler.cancel_dump_traceback_later()
    return judge


def run_covered(target: str, n: int, seed: int, into: Path) -> NoReturn:
    """As `run`, on inputs that atheris makes of the seeds; ends the process, as libFuzzer does."""
    import atheris

    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        (Path(folder) / "corpus").mkdir()
        with atheris.instrument_imports(include=["quickstroke"]):
            import targets

            seeds, one = getattr(targets, f"{target}_target")(Path(folder))
            warm(seeds, one)
        for i, data in enumerate(seeds):
            (Path(folder) / "corpus" / str(i)).write_bytes(data)
        judge = Judge(target, one, into)
        begin = time.monotonic()

        def counted(data: bytes) -> None:
            judge(data)
            if judge.counts.total() >= n:
                report(judge, target, "plain", seed, time.monotonic() - begin)
                os._exit(bool(judge.findings))

        longest = f"-max_len={max(1024, *map(len, seeds))}"
        options = [f"-seed={seed + 1}", "-verbosity=0", longest, f"-timeout={_HANG_S}", "-rss_limit_mb=0"]
        atheris.Setup([sys.argv[0], *options, str(Path(folder) / "corpus")], counted)
        atheris.Fuzz()
    raise AssertionError("libFuzzer came back")


def report(judge: Judge, target: str, mode: str, seed: int, seconds: float) -> None:
    """Prints what a run found."""
    counts = {outcome: judge.counts[outcome] for outcome in ("read", "refused", "finding")}
    values = {"target": target, "mode": mode, "n": judge.counts.total(), **counts, "seed": seed}
    print(json.dumps({**values, "findings": sorted(judge.findings), "seconds": round(seconds, 1)}), flush=True)


def main() -> int:
    """Runs one target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--compiled", action="store_true", help="as for a user, without coverage")
    parser.add_argument("--n", type=int, default=1_000_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--into", type=Path, default=Path("findings"), help="where inputs of findings go")
    options = parser.parse_args()
    if not options.compiled:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        run_covered(options.target, options.n, options.seed, options.into)
    begin = time.monotonic()
    judge = run(options.target, options.n, options.seed, options.into)
    report(judge, options.target, "compiled", options.seed, time.monotonic() - begin)
    return bool(judge.findings)


if __name__ == "__main__":
    sys.exit(main())
