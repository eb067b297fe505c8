"""How many labels that were exchanged on purpose does `quickstroke audit` find?

    python benchmarks/label_errors.py DATA INTO

DATA is a folder of official binary files. Of each word of --words N_EACH drawings are taken that the game recognised,
so that few labels are wrong to begin with; 5% of all get the word of another one, chosen by SEED. `quickstroke audit`,
with its own defaults, then ranks all drawings: no model has learnt a drawing that it judges, but each has learnt from
exchanged labels of others.

*Found at 90% precision* is the largest part of the exchanged labels that is among the most doubted drawings while nine
of ten of these are exchanged; labels that were wrong before count against it. The interval is Wilson's.
"""

import argparse
import contextlib
import io
import json
from itertools import islice
from pathlib import Path

import numpy as np

from quickstroke import cli
from quickstroke.drawings.categories import read_classes
from quickstroke.drawings.drawing import Drawing
from quickstroke.evaluation.metrics import wilson_interval
from quickstroke.formats import binary, read_file

N_EACH, PART, PRECISION, SEED = 500, 0.05, 0.9, 0


def exchange(drawings: list[tuple[str, Drawing]], words: tuple[str, ...]) -> tuple[dict[str, list[Drawing]], set[str]]:
    """The drawings by word, some under another one; the key_ids of these."""
    rng = np.random.default_rng(SEED)
    chosen = set(rng.choice(len(drawings), round(PART * len(drawings)), replace=False).tolist())
    by_word: dict[str, list[Drawing]] = {word: [] for word in words}
    for i, (word, drawing) in enumerate(drawings):
        others = [other for other in words if other != word]
        by_word[others[rng.integers(len(others))] if i in chosen else word].append(drawing)
    return by_word, {str(drawings[i][1].key_id) for i in chosen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--words", type=Path, default=Path(__file__).parent / "sample46.txt")
    parser.add_argument("--each", type=int, default=N_EACH)
    options = parser.parse_args()
    words, drawings = read_classes(options.words), []
    for word in words:
        known = (drawing for drawing in read_file(options.data / f"{word}.bin") if drawing.recognized)
        drawings += [(word, drawing) for drawing in islice(known, options.each)]
    by_word, exchanged = exchange(drawings, words)
    options.into.mkdir(parents=True)
    for word, own in by_word.items():
        binary.write(options.into / "drawings" / f"{word}.bin", own)
    data = options.into / "data"
    assert cli.main(["prepare", str(options.into / "drawings"), "--into", str(data)]) == 0
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        code = cli.main(["audit", str(data), "--into", str(options.into / "audit"), "--part", "0.3", "--json"])
    assert code == 0
    doubtful = json.loads(told.getvalue())["doubtful"]
    right = np.array([each["key_id"] in exchanged for each in doubtful])
    found = np.cumsum(right)
    good = np.flatnonzero(found / np.arange(1, len(right) + 1) >= PRECISION)
    n = int(found[good[-1]]) if len(good) else 0
    relabelled = {drawing.key_id: word for word, drawing in drawings}
    to_truth = [
        each["guess"] == relabelled[int(each["key_id"])] for each in doubtful[: n or 1] if each["key_id"] in exchanged
    ]
    low, high = wilson_interval(n, len(exchanged))
    figures = {"n": len(drawings), "exchanged": len(exchanged), "found": n / len(exchanged), "interval": [low, high]}
    figures |= {"true_word_guessed": float(np.mean(to_truth)), "listed": int(good[-1]) + 1 if len(good) else 0}
    print(json.dumps({"benchmark": "audit", "words": len(words), "precision": PRECISION, **figures}))


if __name__ == "__main__":
    main()
