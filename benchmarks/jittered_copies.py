"""Makes a folder of official binary files as large as wanted, by repeating real drawings with jitter.

    python benchmarks/jittered_copies.py SOURCE INTO --n 48000 [--classes classes2020]

For tests of scale only: what a model learns from such copies says nothing about real drawings. The first copies are
the drawings themselves; later ones have every coordinate moved by a normal of 2 units, rounded, and key_ids of their
own.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quickstroke import formats
from quickstroke.drawings.categories import parse_classes
from quickstroke.formats import binary


def write_copies(source: Path, target: Path, n: int, rng: np.random.Generator, n_real: int | None = None) -> int:
    """Writes `n` drawings, the first `n_real` of a binary file again and again; returns how many these are."""
    records = [binary.encode(drawing) for drawing in islice(formats.read_file(source), n_real)]
    ends = np.cumsum([len(record) for record in records])
    begins = ends - [len(record) for record in records]
    content = b"".join(records)
    moved = _coordinates(content, begins)
    keys_at = (begins[:, None] + np.arange(8)).ravel()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for done in range(0, n, len(records)):
            copy = np.frombuffer(content, np.uint8).copy()
            if done:
                jitter = rng.standard_normal(int(moved.sum()), np.float32) * 2
                copy[moved] = np.clip(np.rint(copy[moved] + jitter), 0, 255).astype(np.uint8)
                copy[keys_at] = rng.integers(1, 2**63, len(records), np.uint64).astype("<u8").view(np.uint8)
            file.write(copy[: ends[min(n - done, len(records)) - 1]].data)
    return len(records)


def _coordinates(content: bytes, begins: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which bytes of a binary file, whose drawings are at `begins` (N,), are coordinates."""
    mask = np.zeros(len(content), dtype=bool)
    for begin in begins.tolist():
        at = begin + 17
        for _ in range(int.from_bytes(content[begin + 15 : begin + 17], "little")):
            n = int.from_bytes(content[at : at + 2], "little")
            mask[at + 2 : at + 2 + 2 * n] = True
            at += 2 + 2 * n
    return mask


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of official binary files")
    parser.add_argument("into", type=Path)
    parser.add_argument("--n", type=int, required=True, help="drawings a class")
    parser.add_argument("--classes", nargs="+", default=["classes2020"])
    options = parser.parse_args()
    for label, word in enumerate(parse_classes(options.classes)):
        name, rng = f"{word}.bin", np.random.default_rng([0, label])
        n_real = write_copies(options.source / name, options.into / name, options.n, rng)
        print(f"{word}: {options.n} drawings from {n_real}", flush=True)


if __name__ == "__main__":
    main()
