"""How fast do official binary files become data to train on, against a plain reader?

    python benchmarks/reading_speed.py FOLDER

In turns, on one core, from files that the operating system holds in memory: `quickstroke.prepare` from files to
a dataset on disk, its reader alone, and what the plain recipe does (plain_recipe.py: `struct`, one padded float32
tensor a drawing), the last on the first drawings of the same files. `prepare` is also given all cores. A figure is the
median over the turns. Official files hold some 100,000 drawings each: smaller ones are first repeated with jitter
(jittered_copies.py), --n-copies times.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import plain_recipe
from jittered_copies import write_copies
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.categories import parse_classes
from quickstroke.formats import binary
from quickstroke.preparation.prepare import prepare
from quickstroke.utils.system import n_cores
from training_speed import timed

SAMPLE = str(Path(__file__).with_name("sample46.txt"))
PLAIN_BYTES = plain_recipe.MAX_PADDING * 3 * 4


def write_all_copies(source: Path, into: Path, words: Sequence[str], n: int, n_real: int | None = None) -> None:
    """Writes a binary file of `n` drawings for each word: its first `n_real` drawings, then these again with jitter."""
    for label, word in enumerate(words):
        name = f"{word}.bin"
        write_copies(source / name, into / name, n, np.random.default_rng([0, label]), n_real)


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this thread, and those it starts, on one core where the system can do that."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


def read_file(path: Path) -> int:
    """Reads a file with our reader; the number of drawings."""
    return sum(len(block) for block in binary.read_blocks(path, path.stem))


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--classes", nargs="+", default=[SAMPLE])
    parser.add_argument("--n", type=int, default=500, help="drawings of each file")
    parser.add_argument("--n-copies", type=int, default=40, help="how often they are repeated; 1 for as they are")
    parser.add_argument("--n-plain", type=int, default=100, help="drawings of each file for the plain recipe")
    parser.add_argument("--n-turns", type=int, default=15)
    options = parser.parse_args()
    words = parse_classes(options.classes)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "binary"
        write_all_copies(options.folder, source, words, options.n * options.n_copies, options.n)
        paths = [source / f"{word}.bin" for word in words]
        n_drawings = sum(map(read_file, paths))
        n_plain = min(options.n_plain, n_drawings // len(words))
        n_prepared = 0

        def prepare_anew() -> None:
            nonlocal n_prepared
            n_prepared += 1
            prepare(source, Path(temporary) / f"data{n_prepared}", classes=words)

        ways: dict[str, tuple[Callable[[], object], int]] = {
            "plain": (lambda: plain_recipe.read(source, words, n_plain), n_plain * len(words)),
            "prepare": (prepare_anew, n_drawings),
            "read": (lambda: sum(map(read_file, paths)), n_drawings),
        }
        rates: dict[str, list[float]] = {way: [] for way in (*ways, "prepare_all_cores")}
        for turn in range(options.n_turns + 1):
            with one_core():
                taken = {way: n / timed(function) for way, (function, n) in ways.items()}
            taken["prepare_all_cores"] = n_drawings / timed(prepare_anew)
            if turn:  # the first turn compiles and brings the files into memory
                for way, rate in taken.items():
                    rates[way].append(rate)
            for k in range(2, n_prepared + 1):  # a disk need not hold them all
                shutil.rmtree(Path(temporary) / f"data{k}", ignore_errors=True)
        made = Path(temporary) / "data1"
        n_bytes = sum(path.stat().st_size for path in made.iterdir()) / len(PreparedDataset(made))
        n_points = float(PreparedDataset(made).n_points.mean())

    medians = {way: statistics.median(values) for way, values in rates.items()}
    names = {
        "plain": "plain recipe, one core",
        "prepare": "read and prepare, one core",
        "prepare_all_cores": f"read and prepare, {n_cores()} cores",
        "read": "reader alone, one core",
    }
    table = Table("", "drawings/s", "ratio", title=f"Reading {n_drawings:,} drawings of {n_points:.1f} points")
    for way, name in names.items():
        table.add_row(name, f"{medians[way]:,.0f}", f"{medians[way] / medians['plain']:.1f}")
    Console(width=120).print(table)
    print(
        f"{n_bytes:.1f} bytes a prepared drawing, {PLAIN_BYTES} in the plain recipe: {PLAIN_BYTES / n_bytes:.1f} times."
    )
    result = {
        "n_drawings": n_drawings,
        "points_a_drawing": n_points,
        "n_cores": n_cores(),
        **{f"{way}_per_s": rate for way, rate in medians.items()},
        **{f"ratio_{way}": medians[way] / medians["plain"] for way in names if way != "plain"},
        "bytes_a_drawing": n_bytes,
        "plain_bytes": PLAIN_BYTES,
        "ratio_bytes": PLAIN_BYTES / n_bytes,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
