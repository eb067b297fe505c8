"""Does `unknown` tell drawings of none of a model's words from those of its words?

    pip install Hershey-Fonts
    python benchmarks/unknown.py DATA MODEL

MODEL, a published model or a run, is asked about the test drawings of DATA, a prepared dataset, that are of its words,
and about what is none of them:

- *other words*: the test drawings of the words of DATA that MODEL does not know. For words that it has never seen,
  train it on a part of DATA's: `--split SEED` writes a list of all words but 45, chosen by SEED, and ends:

      python benchmarks/unknown.py DATA --split 0 > words300.txt
      quickstroke train NAME --data DATA --train-classes words300.txt --into RUN

- *letters*: letters and digits of 20 Hershey fonts (Allen V. Hershey, 1967), slanted, stretched and with pen noise;
  without those that look like a circle, a line or a zigzag, which are words of the set: I, l, N, O, o, S, s, Z, z, 0
  and 1.
- *scribbles*: random walks, loops and zigzag strokes of one to four strokes.
- *mixtures*: strokes of two test drawings of different words, over each other.

Dots alone are unknown by a rule and not measured.

The score is fitted to validation drawings of the model's own words and to drawings put together of these, as mixtures
are; letters, scribbles and other words have no part in that. The share of unknown drawings that `fit_unknown` assumes,
though, was chosen by `sure` of a model of 300 words, and three constants by other words' validation drawings. A
run's score is fitted here, as `publish` does it. AUROC is the probability that such a drawing has the higher
`unknown`; *refused* is the fraction of them above the score that 95% of the known drawings stay below; *sure* the
fraction whose first word has probability x (1 - unknown) above 0.75, and *sure without it* that whose probability alone
is above 0.75. In brackets 95% intervals: Hanley and McNeil's of AUROC, Wilson's of the fractions.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from quickstroke.artifacts.loading import LoadedModel, load_model
from quickstroke.artifacts.unknown import UnknownScore, outputs_of
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.memory import from_drawings
from quickstroke.data.selection import LabelledDrawings
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.errors import QuickstrokeError
from quickstroke.evaluation.calibration import fit_calibration, logits_on
from quickstroke.evaluation.metrics import wilson_interval
from quickstroke.evaluation.unknown import fit_unknown, jumbled, refusals
from quickstroke.inference.recognizer import SURE

Strokes = list[NDArray[np.float64]]

N_HELD_OUT, N_EACH, SEED = 45, 2000, 1
CHARACTERS = "ABCDEFGHJKLMPQRTUVWXYabcdefghijkmnpqrtuvwxy23456789"


def letters(rng: np.random.Generator, n: int) -> list[Strokes]:
    """Letters and digits as the fonts' strokes, each bent in its own way."""
    from HersheyFonts import HersheyFonts

    fonts = HersheyFonts()
    latin = ("cursive", "future", "gothic", "roman", "script", "times", "row")
    names = [name for name in fonts.default_font_names if name.startswith(latin)]
    drawn: list[Strokes] = []
    while len(drawn) < n:
        fonts.load_default_font(names[rng.integers(len(names))])
        paths = [np.array(path, float) for path in fonts.strokes_for_text(CHARACTERS[rng.integers(len(CHARACTERS))])]
        bent = np.eye(2) + rng.normal(0, 0.12, (2, 2))
        drawn.append([(path + rng.normal(0, 0.4, path.shape)) @ bent for path in paths if len(path)])
    return [strokes for strokes in drawn if strokes]


def scribble(rng: np.random.Generator) -> Strokes:
    """One to four strokes without a meaning."""
    strokes = []
    for _ in range(rng.integers(1, 5)):
        n = int(rng.integers(8, 60))
        match rng.integers(3):
            case 0:  # a walk
                path = np.cumsum(rng.normal(0, 1, (n, 2)), 0)
            case 1:  # long loops
                path = np.cumsum(np.cumsum(rng.normal(0, 0.3, (n, 2)), 0), 0)
            case _:  # coils
                angle = np.cumsum(rng.normal(0.5, 0.6, n))
                path = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.2, 1, (n, 1)), 0)
        path = path / max(np.ptp(path, axis=0).max(), 1e-9) * rng.uniform(0.4, 1)
        strokes.append(path + rng.uniform(0, 0.6, 2))
    return strokes


def mixtures(data: PreparedDataset, rows: NDArray[np.int64], rng: np.random.Generator, n: int) -> list[Strokes]:
    """The strokes of two drawings of different words, the second one shifted and scaled."""
    mixed: list[Strokes] = []
    while len(mixed) < n:
        a, b = rng.choice(rows, 2, replace=False).tolist()
        if data.labels[a] != data.labels[b]:
            first, second = (data.strokes(i) for i in (a, b))
            scale, shift = rng.uniform(0.6, 1.2), rng.uniform(-60, 60, 2)
            mixed.append([*map(np.float64, first), *(np.float64(stroke) * scale + shift for stroke in second)])
    return mixed


def logits_of(model: LoadedModel, drawings: list[Strokes]) -> NDArray[np.float64]:
    """Float64 (N, K) of raw strokes."""
    items = [Drawing(model.classes[0], simplify([200 * path for path in strokes])) for strokes in drawings]
    data, _ = from_drawings(items, model.classes)
    part = LabelledDrawings(data, np.arange(len(data)), model.classes, np.arange(len(model.classes)))
    return logits_on(model.model, part).numpy()


def score_of(model: LoadedModel, data: PreparedDataset) -> UnknownScore:
    """That of the card, or one that is fitted to the validation drawings after calibration."""
    if score := UnknownScore.of_card(model.card, model.path):
        return score
    part, n_trained = LabelledDrawings.of_split(data, "val", model.classes), data.n_trained(model.classes)
    fit_calibration(model.model, part, n_trained).apply(model.model, n_trained)
    nothing = jumbled(data, part)
    assert nothing
    score = fit_unknown(logits_on(model.model, part), torch.from_numpy(part.labels), logits_on(model.model, nothing))
    assert score
    return score


def measure(model: LoadedModel, data: PreparedDataset) -> dict[str, dict[str, float]]:
    """The figures for each kind of drawing."""
    score, rng = score_of(model, data), np.random.default_rng(SEED)
    known = LabelledDrawings.of_split(data, "test", model.classes)
    others = [word for word in data.classes if word not in model.classes]
    kinds: dict[str, Callable[[], NDArray[np.float64]]] = {
        "known words": lambda: logits_on(model.model, known).numpy(),
        "letters": lambda: logits_of(model, letters(rng, N_EACH)),
        "scribbles": lambda: logits_of(model, [scribble(rng) for _ in range(N_EACH)]),
        "mixtures": lambda: logits_of(model, mixtures(data, known.indices, rng, N_EACH)),
    }
    if others:
        rows = data.indices("test")
        rows = rows[~np.isin(data.labels[rows], [data.classes.index(word) for word in model.classes])]
        # The labels are of no account, but each drawing needs one of the model's.
        part = LabelledDrawings(data, rows, model.classes, np.zeros(len(data.classes), np.int64))
        kinds["other words"] = lambda: logits_on(model.model, part).numpy()
    figures: dict[str, dict[str, float]] = {}
    known_scores = np.empty(0)
    for kind, ask in kinds.items():
        outputs = outputs_of(ask(), score)
        assert outputs.unknown is not None
        first = outputs.probabilities.max(1)
        own = {"n": len(first), "sure": float((first * (1 - outputs.unknown) > SURE).mean())}
        own |= {"sure_without": float((first > SURE).mean()), "above_half": float((outputs.unknown > 0.5).mean())}
        if kind == "known words":
            known_scores = outputs.unknown
        else:
            told = refusals(known_scores, outputs.unknown)
            own |= {"auroc": told.auroc, "refused": told.refused}
        figures[kind] = own
    return figures


def auroc_interval(auroc: float, n_known: int, n_unknown: int) -> tuple[float, float]:
    """95% interval by Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve (1982)."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (n_unknown - 1) * (q1 - auroc**2) + (n_known - 1) * (q2 - auroc**2)
    reach = 1.96 * np.sqrt(variance / (n_known * n_unknown))
    return auroc - reach, min(auroc + reach, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--split", type=int, metavar="SEED", help="write the words that are not held out, and end")
    options = parser.parse_args()
    data = PreparedDataset(options.data)
    if options.split is not None:
        held_out = np.random.default_rng(options.split).choice(len(data.classes), N_HELD_OUT, replace=False).tolist()
        print("\n".join(word for i, word in enumerate(data.classes) if i not in held_out))
        return
    if options.model is None:
        parser.error("MODEL is missing")
    try:
        model = load_model(options.model)
        figures = measure(model, data)
    except QuickstrokeError as error:
        parser.exit(2, f"{error}\n")
    table = Table("drawings", "n", "AUROC", "refused", "sure", "sure without it", title=f"{model.name}, {options.data}")
    n_known = int(figures["known words"]["n"])
    for kind, own in figures.items():
        n = int(own["n"])
        cells = [kind, f"{n:,}", "", ""]
        if "auroc" in own:
            low, high = auroc_interval(own["auroc"], n_known, n)
            cells[2:] = [f"{own['auroc']:.3f} ({low:.3f} to {high:.3f})", _fraction(own["refused"], n)]
        table.add_row(*cells, _fraction(own["sure"], n), _fraction(own["sure_without"], n))
    Console(stderr=True, width=150).print(table)
    print(json.dumps({"benchmark": "unknown", "model": model.name, "words": len(model.classes), "figures": figures}))


def _fraction(value: float, n: int) -> str:
    low, high = wilson_interval(round(value * n), n)
    return f"{100 * value:.1f}% ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
