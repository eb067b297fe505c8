"""Figures of a result: confusions, accuracies of words, the worst mistakes."""

import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from quickstroke.reports.results import Result

if TYPE_CHECKING:
    from quickstroke.evaluation.metrics import Evaluation

N_MISTAKES = 20
N_MISTAKES_A_PAIR = 2


def figures(result: Result) -> dict[str, Any]:
    """The figures of a section, as JSON values: fractions, seconds, and None for what is not known."""
    accuracies = {
        line.epoch: line.validation_accuracy for line in result.log if math.isfinite(line.validation_accuracy)
    }
    run = result.run
    seconds = [line.seconds for line in result.log if math.isfinite(line.seconds)]
    seconds_per_epoch = run.seconds / run.n_epochs if run else statistics.fmean(seconds) if seconds else None
    best_epoch = run.best_epoch if run else max(accuracies, key=lambda epoch: accuracies[epoch], default=None)
    best = accuracies.get(best_epoch or 0)
    if result.ended:
        best = result.ended.best_validation_accuracy
    best_top1 = run.stated["val"]["top1"] if run else None if best is None else best / 100
    classes = result.config.get("train_classes") if result.config else None
    measured = run.measured if run else None
    names = ("top1", "top3", "top5", "top1_low", "top1_high", "loss", "n")
    return {
        "model": result.name,
        "recipe": run.config.train.recipe if run else None,
        "headings": list(result.path),
        "source": str(result.source),
        "n_classes": len(run.config.classes) if run else len(classes) if isinstance(classes, tuple) else None,
        "parameters": run.n_parameters if run else None,
        "epochs": run.n_epochs if run else len(result.log),
        "best_epoch": best_epoch,
        "best_val_top1": best_top1 if best_top1 is not None and math.isfinite(best_top1) else None,
        "seconds_per_epoch": seconds_per_epoch,
        "split": run.split if run and measured else None,
        **(measured.figures() if measured else dict.fromkeys(names)),
    }


def confused_pairs(measured: "Evaluation") -> list[tuple[str, str, int, float]]:
    """Mistakes as (word drawn, word it was taken for, how often, share of the drawn word), most frequent first."""
    confusion = measured.confusion()
    totals = confusion.sum(axis=1)
    np.fill_diagonal(confusion, 0)
    truths, guesses = np.nonzero(confusion)
    pairs = [
        (measured.classes[i], measured.classes[j], int(confusion[i, j]), float(confusion[i, j] / totals[i]))
        for i, j in zip(truths.tolist(), guesses.tolist(), strict=True)
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def words_by_accuracy(measured: "Evaluation") -> list[tuple[str, int, int, float | None]]:
    """Each word with (drawings recognised, drawings, accuracy), the worst first; a word without drawings comes last."""
    words = [(word, right, n, right / n if n else None) for word, (right, n) in measured.per_class().items()]
    return sorted(words, key=lambda word: math.inf if word[3] is None else word[3])


def worst_mistakes(measured: "Evaluation") -> list[int]:
    """Rows of an evaluation that are wrong with the highest probability, a few of each pair of words."""
    wrong = np.flatnonzero(measured.predicted != measured.labels)
    taken: Counter[tuple[int, int]] = Counter()
    rows = []
    for row in wrong[np.argsort(-measured.probability[wrong], kind="stable")].tolist():
        pair = int(measured.labels[row]), int(measured.predicted[row])
        taken[pair] += 1
        if taken[pair] <= N_MISTAKES_A_PAIR:
            rows.append(row)
    return rows[:N_MISTAKES]
