"""What does each part of the recommended recipe give? One change a row.

    python benchmarks/experiments.py FOLDER --teachers BETTER WORSE OURS --into runs/experiments

FOLDER has the official binary files, BETTER and WORSE are simple_lay2_sz256.model and simple_lay1_sz256.model of the
2020 project, OURS is a base model of this one. Every row is a training by the command beside it; those that are there
already are not run again. The table in docs/experiments.md gets the lines of those that are there; its other lines
stay as they are. What is measured is the validation split, and the drawings that the published models are scored on are
in none of these trainings.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickstroke.artifacts.loading import load_model
from quickstroke.artifacts.runs import read_config
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation.calibration import fit_calibration
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.metrics import Evaluation

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "experiments.md"
# Around the table in the document.
BEGIN, END = "<!-- experiments: written by benchmarks/experiments.py -->", "<!-- end of experiments -->"
WORDS = Path(__file__).resolve().parent / "sample46.txt"
SMALL = "bipool_cv1_48_5_cv2_64_5_2_lay2_sz48"
QUICK = "bipool_cv1_48_5_2_cv2_96_5_2_lay1_sz64"
# What the recipe `strong` was when the first of these trainings ran; options of a row come after it and count.
STRONG = ["--recipe", "strong", "--optimizer", "adam", "--learning-rate", "0.003", "--batch-size", "512"]
# What `default` was then: the options of the recipe `2020` with each drawing read to its own end.
_PLAIN = (
    "--recipe default --optimizer adam --learning-rate 0.001 --batch-size 256 --initialization uniform "
    "--normalization batch --schedule constant --warmup 0 --weight-decay 0 --max-grad-norm 0 --max-padding 100"
)


@dataclass(frozen=True)
class Row:
    """One training: its folder, what is changed, the model, and options after those of its group."""

    folder: str
    change: str
    name: str
    options: str = ""


class Scores(NamedTuple):
    """Of validation drawings, and of the first halves of their points."""

    whole: Evaluation
    half: Evaluation


# With the optimizer and the learning rate that the recipes have now.
_MUON = "--optimizer muon --learning-rate 0.01"
# 46 categories, labels only.
LABELS = (
    Row("all", "the recipe with Adam", SMALL),
    Row("default", "plain Adam: no augmentation, no schedule, no EMA", SMALL, _PLAIN),
    Row("last", "type `bilstm`: last step, no normalisation, no activation", "bilstm_cv1_48_5_cv2_64_5_lay2_sz48"),
    Row("no-stride", "no stride", "bipool_cv1_48_5_cv2_64_5_lay2_sz48"),
    Row("no-convolution", "no convolutions", "bipool_lay2_sz48"),
    Row("no-augmentation", "no augmentation", SMALL, "--augment none"),
    Row("geometric-only", "geometric augmentation only", SMALL, "--augment geometric"),
    Row("half", "half of the geometric magnitude", SMALL, "--geometric-magnitude 0.5"),
    Row("random-rotation", "a quarter rotated by any angle", SMALL, "--random-rotation 0.25"),
    Row("uniform", "PyTorch's initial weights", SMALL, "--initialization uniform"),
    Row("batch", "batch norm on the points", SMALL, "--normalization batch"),
    Row("constant", "constant learning rate", SMALL, "--schedule constant"),
    Row("no-average", "no EMA of the weights", SMALL, "--ema-decay 0"),
    Row("no-dropout", "no dropout", SMALL, "--dropout 0"),
    Row("no-smoothing", "no label smoothing", SMALL, "--label-smoothing 0"),
    Row("batch-256", "batches of 256", SMALL, "--batch-size 256"),
    Row("batch-128", "batches of 128, learning rate 0.0015", SMALL, "--batch-size 128 --learning-rate 0.0015"),
    Row("muon-512", "Muon", SMALL, f"{_MUON} --batch-size 512"),
    Row("muon", "Muon, batches of 256", SMALL, f"{_MUON} --batch-size 256"),
    Row("lay1-64", "a plain LSTM", "simple_lay1_sz64"),
    Row("lay1-64-muon", "a plain LSTM, Muon, batches of 256", "simple_lay1_sz64", f"{_MUON} --batch-size 256"),
)
# All 345 categories, labels only; what the trainings of the next table begin with.
PRETRAINED = Row("all345-labels", "", SMALL)
N_EPOCHS_PRETRAINED = 8
# 100 categories, with teachers.
N_CACHED = 2
TAUGHT = "--pretrained {pretrained} --teacher {better} {ours} --other-class-fraction 0.25 --geometric-magnitude 0.5"
TEACHERS = (
    Row("taught", "labels, two teachers, a quarter of other-class drawings", SMALL),
    Row("far", "full geometric magnitude", SMALL, "--geometric-magnitude 1"),
    Row("one", "one teacher, of 2020", SMALL, "--teacher {better}"),
    Row("two", "two teachers, both of 2020", SMALL, "--teacher {better} {worse}"),
    Row("own-words", "no other-class drawings", SMALL, "--other-class-fraction 0"),
    Row("labels", "labels alone", SMALL, "--other-class-fraction 0 --teacher"),
    Row("teachers-only", "teachers alone", SMALL, "--distillation-weight 1"),
    Row("temperature", "distillation temperature 2", SMALL, "--distillation-temperature 2"),
    Row("anew", "from random weights", SMALL, "--pretrained"),
    Row("top1", "select the epoch by top-1", SMALL, "--select-by top1"),
)
# The same with the better teacher, for longer.
N_CACHED_LONG, N_EPOCHS_LONG = 6, 18
TAUGHT_LONG = (
    "--pretrained {pretrained} --teacher {better} --other-class-fraction 0.25 --geometric-magnitude 0.5 "
    "--random-rotation 0.25"
)
LONGER = (
    Row("long-random-rotation", "one teacher, 18 epochs, a quarter rotated by any angle", SMALL),
    Row("long", "no random rotation", SMALL, "--random-rotation 0"),
    Row("long-prefix-truncation", "prefix truncation of two thirds", SMALL, "--prefix-truncation 0.65"),
    Row("long-muon", "Muon, batches of 256", SMALL, f"{_MUON} --batch-size 256"),
)
# Four epochs, labels alone.
QUICKLY_ADAM = "--recipe default --n-epochs 4 --optimizer adam --learning-rate 0.006"
_QUICKLY_MUON = "--optimizer muon --learning-rate 0.009"
QUICKLY = (
    Row("quick-adam", "small batches and a cosine, with Adam", QUICK),
    Row("quick", "Muon", QUICK, _QUICKLY_MUON),
    Row("quick-256-adam", "a plain LSTM", "simple_lay1_sz256"),
    Row("quick-256", "a plain LSTM, Muon", "simple_lay1_sz256", _QUICKLY_MUON),
)
# With labels alone and the recipe as it is now.
NOW = "--recipe strong"
IMAGES = (
    Row("now", "the recipe with Muon: points alone", SMALL),
    Row("image", "an image beside the points", "bipool_cv1_48_5_cv2_64_5_2_img16_lay2_sz48"),
    Row("wider", "points alone, as many parameters as that", "bipool_cv1_48_5_cv2_64_5_2_lay2_sz66"),
    Row("image-small", "an image, as many parameters as the first", "bipool_cv1_32_5_cv2_48_5_2_img14_lay2_sz32"),
)


def main() -> None:
    """Runs what is missing and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--teachers", nargs=3, metavar=("BETTER", "WORSE", "OURS"), help="without them, labels only")
    parser.add_argument("--into", type=Path, default=Path("runs/experiments"))
    parser.add_argument("--only", nargs="*", metavar="ROW", help="rows to run; by default all")
    parser.add_argument("--n-epochs", type=int, default=20, help="of the trainings with labels only")
    parser.add_argument("--n-epochs-taught", type=int, default=6, help="of those with teachers")
    args = parser.parse_args()
    words, kept, everything = args.into / "sample46", args.into / "kept", args.into / "all345"
    prepare(args.folder, words, "--classes", str(WORDS), "--n-train", "340", "--n-val", "80", "--n-test", "80")
    prepare(args.folder, kept, "--classes", str(WORDS), "--n-train", "420", "--n-val", "0", "--n-test", "80")
    prepare(args.folder, everything, "--fractions", "0.9", "0.05", "0.05", "--held-out", str(kept))

    common: tuple[str, ...] = ("--train-classes", "classes2020", "--class-balance", "0.8")
    common += ("--select-by", "balanced_loss", "--teacher-cache", str(args.into / "teacher"))
    short = (*common, "--n-epochs", str(args.n_epochs_taught), "--n-cached-epochs", str(N_CACHED), *TAUGHT.split())
    long = (*common, "--n-epochs", str(N_EPOCHS_LONG), "--n-cached-epochs", str(N_CACHED_LONG), *TAUGHT_LONG.split())
    labels = ("--n-epochs", str(args.n_epochs))
    if args.teachers:
        train(args, PRETRAINED, everything, ("--n-epochs", str(N_EPOCHS_PRETRAINED)))
    now, quickly = (*NOW.split(), *labels), tuple(QUICKLY_ADAM.split())
    groups = [("A", LABELS, words, labels), ("B", IMAGES, words, now), ("C", QUICKLY, words, quickly)]
    groups += [("D", TEACHERS, everything, short), ("E", LONGER, everything, long)]
    every: dict[str, Scores] = {}
    lines: list[tuple[str, str]] = []
    for letter, rows, data, options in groups:
        asked = rows if args.teachers or data == words else ()
        runs = {row.folder: train(args, row, data, options) for row in asked}
        own = {folder: scored for folder, run in runs.items() if (scored := score(run))}
        first = own.get(rows[0].folder)
        for row in rows:
            name = f" (`{row.name}`)" if row.name not in (SMALL, QUICK) else ""
            begin = f"| {letter} | {row.change}{name} |"
            lines.append((begin, line(begin, own[row.folder], first) if row.folder in own else ""))
        every |= own
    DOCUMENT.write_text(with_lines(DOCUMENT.read_text(encoding="utf-8"), lines), encoding="utf-8")
    print(json.dumps({name: scored.whole.figures() for name, scored in every.items()}))


def prepare(folder: Path, into: Path, *options: str) -> None:
    """Makes a prepared dataset unless it is there."""
    if not into.exists():
        quickstroke("prepare", str(folder), "--into", str(into), *options)


def train(args: Any, row: Row, data: Path, options: Sequence[str]) -> Path:
    """The run of a row, trained to its end if it is asked for."""
    run: Path = args.into / row.folder
    places = dict(zip(("better", "worse", "ours"), args.teachers or (), strict=False))
    places["pretrained"] = args.into / PRETRAINED.folder
    own = [option.format(**places) for option in (*options, *row.options.split())]
    if args.only is None or row.folder in args.only:
        recipe = [] if "--recipe" in own else STRONG
        quickstroke("train", row.name, "--data", str(data), "--into", str(run), "--resume", *recipe, *own)
    return run


def quickstroke(*args: str) -> None:
    """Runs a command of quickstroke, or ends with it."""
    print("quickstroke", *args, file=sys.stderr)
    subprocess.run([sys.executable, "-m", "quickstroke", *args], check=True, stdout=sys.stderr)


def score(run: Path) -> Scores | None:
    """Of a run's validation drawings, calibrated as a published model is; None where there is no such run.

    Runs differ in temperature with what they are taught with, and then in losses that say nothing of what was learnt.
    """
    if not (run / "best.model").exists():
        return None
    loaded = load_model(run)
    data = PreparedDataset(read_config(run).data["path"])
    drawings, n_trained = LabelledDrawings.of_split(data, "val", loaded.classes), data.n_trained(loaded.classes)
    fit_calibration(loaded.model, drawings, n_trained).apply(loaded.model, n_trained)
    return Scores(evaluate(loaded.model, drawings), evaluate(loaded.model, drawings.first_points(0.5)))


def difference(scored: Evaluation, first: Evaluation) -> tuple[float, float]:
    """By how much the balanced loss is above another's on the same drawings, and the standard error of that."""
    order, order_first = np.argsort(scored.indices), np.argsort(first.indices)
    weights = 1 / np.bincount(scored.labels)[scored.labels[order]]
    weights /= weights.sum()
    differences = scored.losses[order] - first.losses[order_first]
    mean = (weights * differences).sum()
    return float(mean), float(np.linalg.norm(weights * (differences - mean)))


def line(begin: str, scored: Scores, first: Scores | None) -> str:
    """The table's line of a training; the difference in loss is to the first of its group, where that is there."""
    whole, half = scored
    against = ""
    if first is not None and whole is not first.whole:
        mean, error = difference(whole, first.whole)
        against = f"{mean:+.3f} ± {error:.3f}"
    return f"{begin} {whole.balanced_accuracy():.1%} | {against} | {half.top(1):.1%} |\n"


def with_lines(text: str, lines: Sequence[tuple[str, str]]) -> str:
    """A document with new lines in its table, in their order: each with how it begins; empty to keep the old one."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    head, old = table.splitlines(keepends=True)[:3], table.splitlines(keepends=True)[3:]
    kept = {begin: next((one for one in old if one.startswith(begin)), "") for begin, _ in lines}
    return "".join([before, BEGIN, *head, *(new or kept[begin] for begin, new in lines), END, after])


if __name__ == "__main__":
    main()
