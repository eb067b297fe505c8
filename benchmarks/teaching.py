"""How well is a word known that was taught by a few drawings, and what do the old words lose?

    python benchmarks/teaching.py DATA MODEL

MODEL, a published model, was trained on a part of the words of DATA, a prepared dataset; the others are taught:

    python benchmarks/unknown.py DATA --split 0 > words300.txt
    quickstroke train NAME --data DATA --train-classes words300.txt --into RUN
    quickstroke publish RUN --into FOLDER

Words are taught by drawings of the split `train` and measured on the split `test` (the constants of
`inference/prototypes.py` were chosen on `val`). All figures are macro-averaged over words, and means over EPISODES
draws of words and drawings, with 95% intervals over these draws.

- *20 new*: the choice among twenty new words alone, by the nearest prototype.
- *all*: of all held-out words taught at once, drawings of these recognised among them and the old words.
- *new*, *lost, new*: the same where twenty are taught, and how many points the old words lose by them.

The other way to new words is to train on: --fine-tune FOLDER goes on with MODEL (`train --pretrained`) for EPOCHS, on
OLD_EACH drawings of each old word and the same few of the held-out words, and measures that.

--alone FOLDER measures the choice among twenty held-out words alone, for N_ALONE drawings of each: *taught*, as above;
*trained on*, `train NAME --pretrained MODEL --learning-rate 0.008`, 20 epochs; *from random weights*, `train NAME
--recipe strong`, 60 epochs; NAME is that of MODEL, and the last epoch is taken. One choice of words and drawings;
intervals are those of the drawings that are measured.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from quickstroke.artifacts.discriminant import Discriminant
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import FractionSplit
from quickstroke.drawings.drawing import Drawing
from quickstroke.formats import binary
from quickstroke.inference import prototypes
from quickstroke.inference.recognizer import Model, Recognizer, load
from quickstroke.preparation.prepare import prepare
from quickstroke.training.loop import train

N_NEW, EPISODES, SEED = 20, 20, 0
SHOTS: tuple[int, ...] = (1, 5, 20)
N_ALONE: tuple[int, ...] = (5, 20, 50, 100)
FINE_TUNE_SHOTS, OLD_EACH, EPOCHS = (5, 20), 20, 3


def outputs_of(
    model: Model, data: PreparedDataset, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What prototypes are compared with (N, D), and probabilities (N, K), of drawings `rows` (N,)."""
    rule = Discriminant.of_card(model.card, model.path) if model.card else None
    compared, probabilities = [], []
    order = np.argsort(data.n_points[rows], kind="stable")
    label_map = np.arange(len(data.classes))
    for own in batches.cut(rows[order], 256):
        batch = batches.batch_of(data, own, label_map, model.max_padding, model.preprocessing)
        outputs = model.outputs(batch.points, batch.lengths)
        compared.append(prototypes.compared(outputs, rule, model.path))
        probabilities.append(outputs.probabilities)
    back = np.argsort(order)
    return np.concatenate(compared)[back], np.concatenate(probabilities)[back]


def balanced(hits: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """The mean over words of the part of their drawings that are hit."""
    n = np.bincount(labels)
    return float((np.bincount(labels, hits)[n > 0] / n[n > 0]).mean())


def measure(recognizer: Recognizer, data: PreparedDataset, split: str) -> dict[str, dict[str, tuple[float, float]]]:
    """For each number of drawings, each figure and the half width of its interval."""
    model, rng = recognizer._model, np.random.default_rng(SEED)
    position = data.label_map(model.classes)
    new = np.flatnonzero(position < 0)
    train, tested = data.indices("train"), data.indices(split)
    pool = {c: rng.permutation(train[data.labels[train] == c])[: 2 * max(SHOTS)] for c in new.tolist()}
    taught, _ = outputs_of(model, data, np.concatenate(list(pool.values())))
    by_word = dict(zip(pool, np.split(taught, np.cumsum([len(own) for own in pool.values()])[:-1]), strict=True))
    rule = recognizer._discriminant
    compared, probabilities = outputs_of(model, data, tested)
    labels = np.asarray(data.labels[tested]).astype(np.int64)
    is_old, log_p, first = position[labels] >= 0, np.log(probabilities.max(1)), probabilities.argmax(1)
    before = balanced(first[is_old] == position[labels[is_old]], labels[is_old])
    figures: dict[str, dict[str, tuple[float, float]]] = {"0": {"old words": (before, 0.0)}}
    for n in SHOTS:
        found: list[dict[str, float]] = []
        for _ in range(EPISODES):
            made = {
                c: prototypes.prototype(own[rng.choice(len(own), n, replace=False)], rule) for c, own in by_word.items()
            }
            own: dict[str, float] = {}
            for name, words in (("all", new), ("new", rng.choice(new, N_NEW, replace=False))):
                known_by = np.stack([made[c] for c in words.tolist()])
                odds = prototypes.log_odds(compared, known_by, np.full(len(words), n), rule)
                nearest = words[odds.argmax(1)]
                is_taken, is_new = odds.max(1) > log_p, np.isin(labels, words)
                known = np.where(is_taken, nearest == labels, first == position[labels])
                own[name] = balanced(known[is_new], labels[is_new])
                own[f"lost, {name}"] = before - balanced(known[is_old], labels[is_old])
                own["20 new" if name == "new" else "45 new"] = balanced((nearest == labels)[is_new], labels[is_new])
                if name == "all":
                    own["all 345"] = balanced(known, labels)
            found.append(own)
        values = {key: np.array([each[key] for each in found]) for key in found[0]}
        figures[str(n)] = {k: (float(v.mean()), float(1.96 * v.std(ddof=1) / EPISODES**0.5)) for k, v in values.items()}
    return figures


def prepared(data: PreparedDataset, rows: list[int], drawings: Path, into: Path) -> PreparedDataset:
    """A dataset of these drawings of another, split as they are there, its files in the folder `drawings`."""
    for label in sorted(set(data.labels[rows].tolist())):
        own, word = [i for i in rows if data.labels[i] == label], data.classes[label]
        binary.write(
            drawings / f"{word}.bin", [Drawing(word, data.strokes(i), key_id=int(data.key_ids[i])) for i in own]
        )
    prepare([drawings], into, split=FractionSplit(0.9, 0.1, 0.0))
    return PreparedDataset(into)


def fine_tune(recognizer: Recognizer, data: PreparedDataset, split: str, folder: Path) -> dict[str, dict[str, float]]:
    """For each number of drawings, the figures of a model that was trained on with them."""
    rng, train_rows, val_rows = np.random.default_rng(SEED), data.indices("train"), data.indices("val")
    new = data.label_map(recognizer._model.classes) < 0
    tested = data.indices(split)
    labels = np.asarray(data.labels[tested]).astype(np.int64)
    old = data.label_map(recognizer._model.classes)[labels]
    _, probabilities = outputs_of(recognizer._model, data, tested)
    before = balanced(probabilities.argmax(1)[old >= 0] == old[old >= 0], labels[old >= 0])
    figures = {}
    for n in FINE_TUNE_SHOTS:
        chosen = []
        for label in range(len(data.classes)):
            rows = train_rows[data.labels[train_rows] == label]
            chosen += rng.choice(rows, n if new[label] else OLD_EACH, replace=False).tolist()
            chosen += val_rows[data.labels[val_rows] == label][:1].tolist()
        # The dataset's own rule; validation on a drawing of each word chooses nothing: the last epoch is taken.
        own = prepared(data, chosen, folder / f"{n}-drawings", folder / f"{n}-data")
        config = TrainConfig(n_epochs=EPOCHS, learning_rate=0.002, pretrained=(str(recognizer._model.path),))
        train(ModelConfig.from_name(recognizer.name), config, own, folder / f"{n}-run")
        tuned = load(folder / f"{n}-run" / "last.model")._model
        hits = outputs_of(tuned, data, tested)[1].argmax(1) == data.label_map(tuned.classes)[labels]
        lost = before - balanced(hits[old >= 0], labels[old >= 0])
        figures[str(n)] = {"all": balanced(hits[old < 0], labels[old < 0]), "lost, all": lost}
        figures[str(n)]["all 345"] = balanced(hits, labels)
    return figures


def half_width(hits: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Half of the 95% interval of `balanced`."""
    n = np.bincount(labels)
    rate = np.bincount(labels, hits) / n
    return float(1.96 * (rate * (1 - rate) / n).sum() ** 0.5 / len(n))


def alone(
    recognizer: Recognizer, data: PreparedDataset, split: str, folder: Path
) -> dict[str, dict[str, tuple[float, float]]]:
    """For each number of drawings, the accuracy of each way and the half width of its interval."""
    model, rule, rng = recognizer._model, recognizer._discriminant, np.random.default_rng(SEED)
    train_rows, val_rows, tested = (data.indices(part) for part in ("train", "val", split))
    words = np.sort(rng.choice(np.flatnonzero(data.label_map(model.classes) < 0), N_NEW, replace=False))
    tested = tested[np.isin(data.labels[tested], words)]
    labels = np.searchsorted(words, data.labels[tested])
    compared, _ = outputs_of(model, data, tested)
    pools = [rng.permutation(train_rows[data.labels[train_rows] == c]) for c in words.tolist()]
    one_each = [int(val_rows[data.labels[val_rows] == c][0]) for c in words.tolist()]
    ways = {
        "trained on": TrainConfig(learning_rate=0.008, pretrained=(str(model.path),)),
        "from random weights": TrainConfig(recipe="strong"),
    }
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for n in N_ALONE:
        few = [pool[:n] for pool in pools]
        made = np.stack([prototypes.prototype(outputs_of(model, data, rows)[0], rule) for rows in few])
        guessed = {"taught": prototypes.log_odds(compared, made, np.full(N_NEW, n), rule).argmax(1)}
        rows = [*np.concatenate(few).tolist(), *one_each]  # which choose nothing, as in `fine_tune`
        own = prepared(data, rows, folder / f"{n}-drawings", folder / f"{n}-data")
        for name, config in ways.items():
            train(ModelConfig.from_name(recognizer.name), config, own, folder / f"{n}, {name}")
            tuned = load(folder / f"{n}, {name}" / "last.model")._model
            position = [tuned.classes.index(data.classes[c]) for c in words.tolist()]
            guessed[name] = outputs_of(tuned, data, tested)[1][:, position].argmax(1)
        found[str(n)] = {
            name: (balanced(guess == labels, labels), half_width(guess == labels, labels))
            for name, guess in guessed.items()
        }
        print(f"{n} drawings: {found[str(n)]}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--fine-tune", type=Path, metavar="FOLDER")
    parser.add_argument("--alone", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    recognizer, data = load(options.model), PreparedDataset(options.data)
    if options.fine_tune:
        tuned = fine_tune(recognizer, data, options.split, options.fine_tune)
        print(json.dumps({"benchmark": "fine-tuning", "split": options.split, "figures": tuned}))
        return
    if options.alone:
        name, shots, figures = "own words", N_ALONE, alone(recognizer, data, options.split, options.alone)
    else:
        name, shots, figures = "teaching", SHOTS, measure(recognizer, data, options.split)
    keys = list(figures[str(shots[0])])
    table = Table("drawings", *keys, title=f"{recognizer.name}, {options.split} of {options.data}")
    for n in map(str, shots):
        table.add_row(n, *(f"{100 * v:.1f} ± {100 * w:.1f}" for v, w in figures[n].values()))
    if not options.alone:
        table.caption = f"old words alone: {100 * figures['0']['old words'][0]:.2f}%"
    Console(stderr=True, width=150).print(table)
    print(json.dumps({"benchmark": name, "split": options.split, "figures": figures}))


if __name__ == "__main__":
    main()
