"""The drawings by people that the drawing page ships, src/quickstroke/serve/static/people.bin, and how hard words are.

    python docs/people.py [SHARED]

SHARED (default: $QUICKSTROKE_SHARED) has `data/quickdraw` with official files: `simplified/WORD.ndjson`, of which the
drawings are, and `more/WORD.bin`, on whose drawings the default model is measured.

The file has one line of JSON and then drawings as records of Google's binary format, in the order of its words:

    {"licence": .., "source": .., "measured": {"model": .., "n": ..}, "words": {WORD: [drawings, percent], ..}}

`percent` says of how many of `n` drawings of the word the default model thinks first of it, with at least half of the
probability: these would win a round of the game.
"""

import argparse
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np

import quickstroke as qs
from quickstroke.drawings.drawing import Drawing
from quickstroke.formats import binary

TARGET = Path(__file__).resolve().parent.parent / "src/quickstroke/serve/static/people.bin"
N_SHOWN = 4
N_MEASURED = 60
# Fewer points show little, more take room.
LEAST_POINTS, MOST_POINTS = 8, 90


def n_points(drawing: Drawing) -> int:
    return sum(map(len, drawing.strokes))


def chosen(drawings: list[Drawing], probabilities: list[float]) -> list[Drawing]:
    """Some that the model knows, the plainest last; where it knows too few, its best."""
    ranked = sorted(range(len(drawings)), key=lambda i: (probabilities[i] < 0.5, -probabilities[i]))
    known = [i for i in ranked if probabilities[i] >= 0.5]
    pool = sorted(known if len(known) >= N_SHOWN else ranked[:N_SHOWN], key=lambda i: n_points(drawings[i]))
    places = np.linspace(0, len(pool) - 1, N_SHOWN).round().astype(int)
    return [drawings[pool[place]] for place in np.roll(places, -1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", nargs="?", type=Path, default=os.environ.get("QUICKSTROKE_SHARED"))
    folder = parser.parse_args().shared / "data" / "quickdraw"
    recognizer = qs.load()
    recognizer.compile()
    words, records = {}, b""

    def of_word(drawings: list[Drawing], word: str) -> list[float]:
        """The probability of the word where it is the first guess, else 0."""
        firsts = [recognizer.predict(drawing, top=1)[0] for drawing in drawings]
        return [first.probability if first.word == word else 0.0 for first in firsts]

    for word in recognizer.classes:
        more = folder / "more" / f"{word}.bin"
        shown = folder / "simplified" / f"{word}.ndjson"
        candidates = [
            drawing
            for drawing in islice(qs.read_drawings([shown if shown.exists() else more]), 60)
            if drawing.recognized and LEAST_POINTS <= n_points(drawing) <= MOST_POINTS
        ]
        picked = chosen(candidates, of_word(candidates, word))
        measured = of_word(list(islice(qs.read_drawings([more]), N_MEASURED)), word)
        words[word] = [len(picked), round(100 * float(np.mean([p >= 0.5 for p in measured])))]
        records += b"".join(map(binary.encode, picked))
        print(f"{word}: {words[word][1]}%", flush=True)
    header = {
        "licence": "CC BY 4.0",
        "source": "The Quick, Draw! Dataset, made available by Google, Inc.",
        "measured": {"model": recognizer.name, "n": N_MEASURED},
        "words": words,
    }
    TARGET.write_bytes(json.dumps(header, separators=(",", ":")).encode() + b"\n" + records)
    n_drawings = sum(n for n, _ in words.values())
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, {n_drawings} drawings of {len(words)} words")


if __name__ == "__main__":
    main()
