"""How long does preparing millions of drawings take, and how much memory?

    python benchmarks/prepare_scale.py FOLDER [--into docs/scale.md]

Makes official files from the real drawings of FOLDER, official binary files: their drawings again and again with jitter
and key_ids of their own, spread over all of its words alike. `quickstroke prepare` brings them into a dataset, in a
process of its own: 5,000,000 drawings from binary files, fewer from ndjson, in files of --n-a-file drawings; and from
binary files once more, killed and resumed.

Memory is the largest sum over its processes, looked at every few milliseconds (/proc, Linux): RssAnon is their own, Rss
has what they map of files, too. With --into the table is written there.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jittered_copies import write_copies
from quickstroke import formats
from quickstroke.data.dataset import PreparedDataset
from quickstroke.formats import ndjson
from quickstroke.utils.files import write_text
from quickstroke.utils.system import n_cores

SAMPLE_EVERY_S = 0.005
MANY = 50_000_000


def write_ndjson(source: Path, target: Path, n: int, rng: np.random.Generator) -> None:
    """As `write_copies`, as simplified ndjson."""
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        same = Path(temporary) / source.name
        write_copies(source, same, n, rng)
        ndjson.write(target, formats.read_file(same))


def resident(process: int) -> tuple[int, int]:
    """Rss and RssAnon of a process and its children, in bytes."""
    rss = anon = 0
    try:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in status)
        rss, anon = (int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "RssAnon"))
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                rss, anon = (a + b for a, b in zip((rss, anon), resident(int(child)), strict=True))
    except (OSError, KeyError):
        pass  # it has ended
    return rss, anon


def run(arguments: Sequence[str], kill_after_s: float | None = None) -> dict[str, float]:
    """Runs `quickstroke` and watches it; seconds, processor seconds and memory."""
    print(f"$ quickstroke {' '.join(Path(word).name for word in arguments)}", file=sys.stderr, flush=True)
    before = os.times()
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "quickstroke", *arguments], stdout=subprocess.DEVNULL)
    rss = anon = 0
    while process.poll() is None:
        now = resident(process.pid)
        rss, anon = max(rss, now[0]), max(anon, now[1])
        if kill_after_s is not None and time.perf_counter() - started > kill_after_s:
            process.send_signal(signal.SIGKILL)
        time.sleep(SAMPLE_EVERY_S)
    after = os.times()
    if process.returncode and kill_after_s is None:
        raise SystemExit(f"quickstroke ended with {process.returncode}")
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": after[2] + after[3] - before[2] - before[3],
        "rss_mb": rss / 1e6,
        "anon_mb": anon / 1e6,
    }


def n_bytes_of(folder: Path) -> int:
    """The bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir())


def facts(what: str, sources: Path, made: Path, measured: dict[str, float]) -> dict[str, Any]:
    """A row of the table."""
    n, n_bytes = len(PreparedDataset(made)), n_bytes_of(made)
    return {
        "what": what,
        "n": n,
        "n_files": len(list(sources.iterdir())),
        "source_bytes": n_bytes_of(sources),
        **measured,
        "drawings_per_s": n / measured["seconds"],
        "bytes": n_bytes,
        "bytes_a_drawing": n_bytes / n,
    }


def markdown(found: dict[str, Any]) -> str:
    """docs/scale.md."""
    head = (
        "from|drawings|files|MB of files|seconds|processor s|drawings/s|Rss, MB|RssAnon, MB|dataset, MB|bytes a drawing"
    )
    lines = [head.split("|"), ["---", *["---:"] * head.count("|")]]
    for row in found["rows"]:
        lines.append(
            [
                row["what"],
                f"{row['n']:,}",
                f"{row['n_files']:,}",
                f"{row['source_bytes'] / 1e6:,.0f}",
                f"{row['seconds']:.1f}",
                f"{row['processor_seconds']:.1f}",
                f"{row['drawings_per_s']:,.0f}",
                f"**{row['rss_mb']:.0f}**",
                f"{row['anon_mb']:.0f}",
                f"{row['bytes'] / 1e6:,.0f}",
                f"{row['bytes_a_drawing']:.1f}",
            ]
        )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    paper = "\n".join(
        f"- from {row['what']} files: {MANY * row['source_bytes'] / row['n'] / 1e9:.1f} GB of files, "
        f"{MANY * row['processor_seconds'] / row['n'] / 60:,.1f} minutes of processor time "
        f"({MANY / row['drawings_per_s'] / 60:,.1f} minutes of time), "
        f"and a dataset of {MANY * row['bytes_a_drawing'] / 1e9:.1f} GB"
        for row in found["rows"]
        if row["what"] in ("binary", "ndjson")
    )
    machine = found["machine"]
    same = "equal" if found["resumed_is_same"] else "NOT EQUAL"
    return f"""# Preparing at scale

How much time, memory and disk space does `quickstroke prepare` need for millions of drawings?

Command: `{found["command"]}`

FOLDER has the official binary files. The benchmark makes many drawings from them, by copying them with jitter, and
measures `quickstroke prepare` in a process of its own. Processor seconds say how much work it is; seconds also depend
on other work of the machine.

Machine: {machine["processor"]}, {machine["cores"]} cores; mean load by other work {found["load"]:.1f}.

{table}

- *Rss* is the highest memory of all processes of the command together, with mapped files such as Python's own.
  *RssAnon* is the part without mapped files.
- *Killed*: the command was killed (SIGKILL) after half of its time, and `--resume` did the rest. The dataset is {same},
  byte for byte.

## 50 million drawings

Time and disk space grow in proportion to the number of drawings; memory does not grow. So the whole of *Quick, Draw!*
needs, by calculation:

{paper}

`prepare` keeps a few blocks of drawings in memory at a time. It also remembers the key_ids, 8 bytes for each drawing,
to find duplicates: at most 32 MiB of them in memory, the rest on disk.
"""


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--n", type=int, default=5_000_000, help="drawings from binary files")
    parser.add_argument("--n-ndjson", type=int, default=1_000_000, help="drawings from ndjson files")
    parser.add_argument("--n-a-file", type=int, default=25_000, help="drawings of an ndjson file")
    parser.add_argument("--into", type=Path, help="where the table is written")
    parser.add_argument("--work", type=Path, help="folder for what is made and removed again, with room for it")
    options = parser.parse_args()
    paths = sorted(options.folder.glob("*.bin"))
    load = []
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as temporary:
        work = Path(temporary)
        rows = []
        for label, path in enumerate(paths):
            n = options.n // len(paths) + (label < options.n % len(paths))
            write_copies(path, work / "binary" / path.name, n, np.random.default_rng([0, label]))
        (work / "ndjson").mkdir()
        for label, path in enumerate(paths[: options.n_ndjson // options.n_a_file]):
            target = work / "ndjson" / f"{path.stem}.ndjson"
            write_ndjson(path, target, options.n_a_file, np.random.default_rng([1, label]))

        def prepare(name: str, into: str, *more: str, kill_after_s: float | None = None) -> dict[str, float]:
            load.append(os.getloadavg()[0])
            return run(["prepare", name, "--into", str(work / into), *more], kill_after_s)

        def manifest(name: str) -> bytes:
            return (work / name / "manifest.json").read_bytes()

        compiled = [str(options.folder), *map(str, sorted((work / "ndjson").iterdir())[:1])]
        for i, name in enumerate(compiled):  # compiles once
            prepare(name, f"small{i}")
        first = prepare(str(work / "binary"), "one")
        rows.append(facts("binary", work / "binary", work / "one", first))
        cut = prepare(str(work / "binary"), "two", kill_after_s=first["seconds"] / 2)
        rest = prepare(str(work / "binary"), "two", "--resume")
        both = {key: max(cut[key], rest[key]) if key.endswith("mb") else cut[key] + rest[key] for key in cut}
        rows.append(facts("binary, killed", work / "binary", work / "two", both))
        if options.n_ndjson >= options.n_a_file:
            rows.append(facts("ndjson", work / "ndjson", work / "text", prepare(str(work / "ndjson"), "text")))
        is_same = manifest("one") == manifest("two")
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "")
    shown = {"--n": options.n, "--n-ndjson": options.n_ndjson, "--n-a-file": options.n_a_file}
    asked = "".join(f" {key} {n}" for key, n in shown.items() if n != parser.get_default(key[2:].replace("-", "_")))
    found = {
        "command": f"python benchmarks/prepare_scale.py FOLDER{asked} --into docs/scale.md",
        "machine": {"processor": processor, "cores": n_cores(), "python": platform.python_version()},
        "load": sum(load) / len(load),
        "rows": rows,
        "resumed_is_same": is_same,
    }
    text = markdown(found)
    print(text)
    if options.into:
        write_text(options.into, text)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
