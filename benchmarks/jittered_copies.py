"""Makes a folder of official binary files as large as wanted, by repeating real drawings with jitter.

    python benchmarks/jittered_copies.py SOURCE INTO --n 48000 [--classes classes2020]

For tests of scale only: what a model learns from such copies says nothing about real drawings. The first copies are
the drawings themselves; later ones have every coordinate moved by a normal of 2 units, rounded, and key_ids of their
own.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from quickstroke import formats
from quickstroke.drawings.categories import parse_classes
from quickstroke.drawings.drawing import Drawing
from quickstroke.formats import binary


def jittered(drawing: Drawing, copy: int, rng: np.random.Generator) -> Drawing:
    """A copy of a drawing with jitter and a key_id of its own."""
    strokes = [
        np.clip(np.rint(stroke + rng.normal(0, 2, stroke.shape)), 0, 255).astype(np.uint8) for stroke in drawing.strokes
    ]
    return replace(drawing, strokes=strokes, key_id=int(rng.integers(1, 2**63))) if copy else drawing


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of official binary files")
    parser.add_argument("into", type=Path)
    parser.add_argument("--n", type=int, required=True, help="drawings a class")
    parser.add_argument("--classes", nargs="+", default=["classes2020"])
    options = parser.parse_args()
    for label, word in enumerate(parse_classes(options.classes)):
        rng = np.random.default_rng([0, label])
        real = list(formats.read_file(options.source / f"{word}.bin"))
        copies = (jittered(real[i % len(real)], i // len(real), rng) for i in range(options.n))
        binary.write(options.into / f"{word}.bin", copies)
        print(f"{word}: {options.n} drawings from {len(real)}", flush=True)


if __name__ == "__main__":
    main()
