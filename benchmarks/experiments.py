"""What does each part of the recommended recipe give? One change a row.

    python benchmarks/experiments.py FOLDER --teachers BETTER WORSE OURS --into runs/experiments

FOLDER has the official binary files, BETTER and WORSE are simple_lay2_sz256.model and simple_lay1_sz256.model of the
2020 project, OURS is a base model of this one. Every row is a training by the command beside it; those that are there
already are not run again. The tables go to docs/experiments.md, where a section stays as it is until all its
trainings are there: what is measured there is the validation split, and the drawings that the published models are
scored on are in none of these trainings.
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

from quickstroke.dataset import PreparedDataset
from quickstroke.evaluation import Evaluation, evaluate, first_points, fit_calibration
from quickstroke.published import load_model
from quickstroke.runs import read_config
from quickstroke.training import select

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "experiments.md"
WORDS = Path(__file__).resolve().parent / "sample46.txt"
SMALL = "bipool_cv1_48_5_cv2_64_5_2_lay2_sz48"
QUICK = "bipool_cv1_48_5_2_cv2_96_5_2_lay1_sz64"
# What the recipe `strong` was when the first of these trainings ran; options of a row come after it and count.
STRONG = ["--recipe", "strong", "--optimizer", "adam", "--learning-rate", "0.003", "--batch-size", "512"]
# What `default` was then: the options of the recipe `2020` with each drawing read to its own end.
_PLAIN = (
    "--recipe default --optimizer adam --learning-rate 0.001 --batch-size 256 --initialization uniform "
    "--normalization batch --schedule constant --warmup 0 --weight-decay 0 --clip-norm 0 --max-padding 100"
)


@dataclass(frozen=True)
class Row:
    """One training: its folder, what is changed, the model, and options after the common ones."""

    folder: str
    change: str
    name: str
    options: str = ""


class Scores(NamedTuple):
    """Of validation drawings, and of the first halves of their points."""

    whole: Evaluation
    half: Evaluation


# 46 categories, labels only.
LABELS = (
    Row("all", "the recipe with Adam", SMALL),
    Row("default", "plain Adam: no augmentation, no schedule, no average", SMALL, _PLAIN),
    Row("last", "type `bilstm`: last step, no norm, no activation, no position", "bilstm_cv1_48_5_cv2_64_5_lay2_sz48"),
    Row("no-stride", "no stride", "bipool_cv1_48_5_cv2_64_5_lay2_sz48"),
    Row("no-convolution", "no convolutions", "bipool_lay2_sz48"),
    Row("no-augmentation", "no augmentation", SMALL, "--augment none"),
    Row("view", "only the shape augmented, not how it is drawn", SMALL, "--augment view"),
    Row("half", "the shape changed half as far", SMALL, "--view-strength 0.5"),
    Row("uniform", "PyTorch's initial weights", SMALL, "--initialization uniform"),
    Row("batch", "points normalised batch by batch", SMALL, "--normalization batch"),
    Row("constant", "constant learning rate", SMALL, "--schedule constant"),
    Row("no-average", "no average of the weights", SMALL, "--averaging 0"),
    Row("no-dropout", "no dropout", SMALL, "--dropout 0"),
    Row("no-smoothing", "no label smoothing", SMALL, "--label-smoothing 0"),
    Row("batch-128", "batches of 128, learning rate 0.0015", SMALL, "--batch-size 128 --learning-rate 0.0015"),
)
# All 345 categories, labels only; what the trainings of the next table begin with.
PRETRAINED = Row("all345-labels", "", SMALL)
N_EPOCHS_PRETRAINED = 8
N_VIEWS = 2
# 100 categories, with teachers.
_START = "--pretrained {pretrained}"
_HALF = "--view-strength 0.5"
_TEACHERS = "--teacher {better} {ours}"
_TAUGHT = f"{_START} {_TEACHERS} --unlabelled 0.25 {_HALF}"
TEACHERS = (
    Row("taught", "labels, teachers, drawings of other words too", SMALL, _TAUGHT),
    Row("far", "the shape changed twice as far", SMALL, f"{_START} {_TEACHERS} --unlabelled 0.25"),
    Row("one", "one teacher, of 2020", SMALL, f"{_START} --teacher {{better}} --unlabelled 0.25 {_HALF}"),
    Row("two", "two, both of 2020", SMALL, f"{_START} --teacher {{better}} {{worse}} --unlabelled 0.25 {_HALF}"),
    Row("own-words", "no drawings of other words", SMALL, f"{_START} {_TEACHERS} {_HALF}"),
    Row("labels", "labels alone", SMALL, f"{_START} {_HALF}"),
    Row("teachers-only", "teachers alone", SMALL, f"{_TAUGHT} --teacher-weight 1"),
    Row("temperature", "teachers at temperature 2", SMALL, f"{_TAUGHT} --teacher-temperature 2"),
    Row("anew", "from random weights", SMALL, f"{_TEACHERS} --unlabelled 0.25 {_HALF}"),
    Row("top1", "the epoch with the highest top-1", SMALL, f"{_TAUGHT} --criterion top1"),
)
# The same with the better teacher, for longer.
N_VIEWS_LONG, N_EPOCHS_LONG = 6, 18
_LONG = f"{_START} --teacher {{better}} --unlabelled 0.25 {_HALF}"
_SPUN = f"{_LONG} --spin 0.25"
LONGER = (
    Row("long-spun", "a quarter turned by any angle", SMALL, _SPUN),
    Row("long", "drawings as they stand", SMALL, _LONG),
    Row("long-odds", "labels as evidence", SMALL, f"{_SPUN} --teacher-weight 1 --label-odds 10"),
    Row("long-across", "half of the blends with any word", SMALL, f"{_SPUN} --blend-across 0.5"),
    Row("long-unfinished", "more drawings unfinished", SMALL, f"{_SPUN} --unfinished 0.65"),
)
TURNED_LABELS = (LABELS[0], Row("spun", "a quarter turned by any angle", SMALL, "--spin 0.25"))
# With the optimizer and the learning rate that the recipes have now.
_MUON = "--optimizer muon --learning-rate 0.01"
# The recipe `quick` of version 0.1.0.
_QUICK = "--recipe default --n-epochs 4 --learning-rate 0.009"
_QUICK_ADAM = "--recipe default --n-epochs 4 --optimizer adam --learning-rate 0.006"
MUON_LABELS = (
    LABELS[0],
    Row("batch-256", "batches of 256", SMALL, "--batch-size 256"),
    Row("muon-512", "Muon", SMALL, f"{_MUON} --batch-size 512"),
    Row("muon", "both, which is the recipe now", SMALL, f"{_MUON} --batch-size 256"),
    Row("lay1-64", "a plain LSTM", "simple_lay1_sz64"),
    Row("lay1-64-muon", "both, with a plain LSTM", "simple_lay1_sz64", f"{_MUON} --batch-size 256"),
)
MUON_QUICK = (
    Row("quick-adam", "small batches and a cosine, with Adam", QUICK, _QUICK_ADAM),
    Row("quick", "the same with Muon", QUICK, _QUICK),
    Row("quick-256-adam", "small batches and a cosine, with Adam", "simple_lay1_sz256", _QUICK_ADAM),
    Row("quick-256", "the same with Muon", "simple_lay1_sz256", _QUICK),
)
MUON_LONGER = (
    LONGER[0],
    Row("long-muon", "Muon, batches of 256", SMALL, f"{_SPUN} {_MUON} --batch-size 256"),
)
# With labels alone and the recipe as it is now.
_NOW = "--recipe strong"
IMAGES = (
    Row("now", "points alone", SMALL, _NOW),
    Row("image", "an image beside them", "bipool_cv1_48_5_cv2_64_5_2_img16_lay2_sz48", _NOW),
    Row("wider", "points alone, as many parameters as that", "bipool_cv1_48_5_cv2_64_5_2_lay2_sz66", _NOW),
    Row("image-small", "an image, as many parameters as the first", "bipool_cv1_32_5_cv2_48_5_2_img14_lay2_sz32", _NOW),
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

    common: tuple[str, ...] = ("--train-classes", "classes2020", "--balance", "0.8", "--criterion", "balanced_loss")
    common += ("--teacher-cache", str(args.into / "teacher"))
    short = (*common, "--n-epochs", str(args.n_epochs_taught), "--n-views", str(N_VIEWS))
    long = (*common, "--n-epochs", str(N_EPOCHS_LONG), "--n-views", str(N_VIEWS_LONG))
    labels = ("--n-epochs", str(args.n_epochs))
    if args.teachers:
        train(args, PRETRAINED, everything, ("--n-epochs", str(N_EPOCHS_PRETRAINED)))
    groups = [(LABELS, words, labels), (TEACHERS, everything, short)]
    groups += [(LONGER, everything, long), (TURNED_LABELS, words, labels)]
    groups += [(MUON_LABELS, words, labels), (MUON_QUICK, words, ()), (MUON_LONGER, everything, long)]
    groups += [(IMAGES, words, labels)]
    tables: list[list[tuple[Row, Scores]]] = []
    for rows, data, options in groups:
        asked = rows if args.teachers or data == words else ()
        runs = [(row, train(args, row, data, options)) for row in asked]
        tables.append([(row, scored) for row, run in runs if (scored := score(run))])
    DOCUMENT.write_text(document(args, tables, words, everything), encoding="utf-8")
    every = {row.folder: scored for rows in tables for row, scored in rows}
    print(json.dumps({name: scored.whole.figures() for name, scored in every.items()}))


def prepare(folder: Path, into: Path, *options: str) -> None:
    """Makes a prepared dataset unless it is there."""
    if not into.exists():
        quickstroke("prepare", str(folder), "--into", str(into), *options)


def train(args: Any, row: Row, data: Path, options: Sequence[str]) -> Path:
    """The run of a row, trained to its end if it is asked for."""
    run: Path = args.into / row.folder
    places = dict(zip(("better", "worse", "ours"), args.teachers or (), strict=False))
    own = row.options.format(pretrained=args.into / PRETRAINED.folder, **places).split()
    if args.only is None or row.folder in args.only:
        recipe = [] if "--recipe" in own else STRONG
        quickstroke("train", row.name, "--data", str(data), "--into", str(run), "--resume", *recipe, *options, *own)
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
    label_map, n_trained = data.label_map(loaded.classes), data.n_trained(loaded.classes)
    indices = select(data, "val", label_map)
    fit_calibration(loaded.model, data, indices, label_map, n_trained).apply(loaded.model, n_trained)
    half = first_points(data, indices, 0.5)
    return Scores(
        evaluate(loaded.model, data, indices, loaded.classes, label_map),
        evaluate(loaded.model, half, np.arange(len(indices)), loaded.classes, label_map),
    )


def difference(scored: Evaluation, first: Evaluation) -> tuple[float, float]:
    """By how much the balanced loss is above another's on the same drawings, and the standard error of that."""
    order, order_first = np.argsort(scored.indices), np.argsort(first.indices)
    weights = 1 / np.bincount(scored.labels)[scored.labels[order]]
    weights /= weights.sum()
    differences = scored.losses[order] - first.losses[order_first]
    mean = (weights * differences).sum()
    return float(mean), float(np.linalg.norm(weights * (differences - mean)))


def table(rows: Sequence[tuple[Row, Scores]]) -> str:
    """The markdown table of some trainings, differences against the first."""
    text = "| change | model | options | val top-1 | 95% interval | each word alike | against the first "
    text += "| loss, each word alike | against the first | top-1 after half of the points |\n"
    text += "|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
    first = rows[0][1].whole if rows else None
    for row, (whole, half) in rows:
        low, high = whole.interval()
        against = ("", "")
        if first is not None and whole is not first:
            mean, error = difference(whole, first)
            against = f"{100 * (whole.balanced() - first.balanced()):+.1f}", f"{mean:+.3f} ± {error:.3f}"
        options = f"`{row.options}`" if row.options else ""
        text += (
            f"| {row.change} | `{row.name}` | {options} | **{whole.top(1):.1%}** | {low:.1%} to {high:.1%} | "
            f"**{whole.balanced():.1%}** | {against[0]} | **{whole.balanced_loss():.3f}** | {against[1]} | "
            f"{half.top(1):.1%} |\n"
        )
    return text


def document(args: Any, tables: Sequence[Sequence[tuple[Row, Scores]]], words: Path, everything: Path) -> str:
    """docs/experiments.md; a section that lacks a training is taken from the document as it is."""
    n_val = [PreparedDataset(path).manifest["n_by_split"] for path in (words, everything)]
    labels, teachers, longer, turned_labels, muon_labels, muon_quick, muon_longer, looking = map(table, tables)
    groups = (LABELS, TEACHERS, LONGER, TURNED_LABELS, MUON_LABELS, MUON_QUICK, MUON_LONGER, IMAGES)
    has_all = [len(own) == len(rows) for own, rows in zip(tables, groups, strict=True)]
    before = DOCUMENT.read_text(encoding="utf-8").split("\n## ")[1:] if DOCUMENT.exists() else []
    kept = {section.partition("\n")[0]: section.rstrip("\n") + "\n" for section in before}
    sections = [
        (
            has_all[0],
            f"""46 categories, labels alone

Those of `benchmarks/sample46.txt`: {n_val[0]["train"]:,} drawings to learn from, {n_val[0]["val"]:,} to validate. Each
training is `quickstroke train MODEL --data sample46 --recipe strong --optimizer adam --learning-rate 0.003
--batch-size 512 --n-epochs {args.n_epochs}` with the options of its row: some
{args.n_epochs * (n_val[0]["train"] // 512):,} steps of 512 drawings, a short training.

{labels}
What makes a model of another kind pays at once: reading every step, convolutions; the stride costs nothing and halves
the time. What keeps a model from learning its drawings by heart does not pay in so few steps: dropout, augmentation and
large batches slow it down, and so does a learning rate that falls before much has been learnt. The published models
train many times longer.
""",
        ),
        (
            has_all[1],
            f"""100 categories, with teachers

{n_val[1]["train"]:,} drawings of all 345 categories, of which the model learns 100; validation on the drawings of
these, most of which are of few words, so that *each word alike* is what to look at, and its loss more than its
accuracy: of a word with two drawings one counts half a point. Each training is `quickstroke train MODEL --data all345
--train-classes classes2020 --recipe strong --optimizer adam --learning-rate 0.003 --batch-size 512 --balance 0.8
--criterion balanced_loss --n-views {N_VIEWS} --n-epochs {args.n_epochs_taught}` with the options of its row.
`{{pretrained}}` is the same model after {N_EPOCHS_PRETRAINED} epochs with the labels of all 345 categories,
`{{better}}` and `{{worse}}` are the 2020 project's `simple_lay2_sz256` and `simple_lay1_sz256`, `{{ours}}` a base model
of this one.

{teachers}
Of a word with forty drawings, teachers know more than its labels do, and half of what they give comes from drawings of
other words; labels beside them do not matter in so short a training. The teachers of 2020 by themselves teach better
than with a model of ours beside them, which knows validation drawings as well but had learnt these training drawings by
heart, and says of them what their labels say. Views that stay near what people draw, softer targets, and the epoch
chosen by the loss of every word alike, each give a little.
""",
        ),
        (
            has_all[2] and has_all[3],
            f"""100 categories, with the better teacher, for longer

As with teachers above, with the better one alone and for longer: `--n-views {N_VIEWS_LONG} --n-epochs {N_EPOCHS_LONG}`.

{longer}
And drawings turned by any angle as with labels alone above:

{turned_labels}
A teacher says of a turned drawing what it is then; a label does not know. Of a model that has learnt little the turned
drawings take as much as they give. The published models had them in their last lessons, when there was little left to
learn from drawings as they stand, and gained one to two points with each word alike (CHANGELOG).

A label that multiplies its odds, in place of three tenths of the target, names as many drawings rightly and is surer
where it is wrong, so that the loss is higher. Blends with any word gave nothing in so short a training, each word alike
rather less than nothing. Two thirds of the drawings unfinished, in place of one third, take two points from whole
drawings, more with each word alike, and give five to half-drawn ones. The mean of the weights of a training that had
both of these and of one that had neither takes and gives less (CHANGELOG).
""",
        ),
        (
            all(has_all[4:7]),
            f"""Another optimizer

With labels alone, as in the first table:

{muon_labels}
`quickstroke train MODEL --data sample46` with the options of its row, four epochs without a teacher or augmentation:

{muon_quick}
And with the better teacher, as in the table above:

{muon_longer}
Muon, at a higher learning rate, reaches in twenty epochs what no other change comes near, most of all where Adam gets
nowhere in so few: in a plain LSTM. Batches of 256 give Adam nearly eight points and Muon three. With a teacher,
too, the two give more than any other change in these tables, and most to half-drawn drawings.
""",
        ),
        (
            has_all[7],
            f"""An image beside the points

With labels alone, each training `quickstroke train MODEL --data sample46 --recipe strong --n-epochs {args.n_epochs}`:

{looking}
With as many parameters and as many epochs an image gives two and a half points; an epoch takes longer. Longer trainings
show no such gain so far: `quickstroke train bipool_cv1_64_5_cv2_128_5_2_img32_lay2_sz112 --data all345 --recipe
strong --n-epochs 12`, all 345 categories, and from there `--train-classes sample46.txt --balance 0.5 --n-epochs 13
--learning-rate 0.006 --seed 1` come to 92.8% of 4,470 validation drawings; the base model published for these 46
categories, points alone, had 93.5% after 66 epochs by Adam (lstm/sample46/results.md). What it gives the base
model for 100 categories is drawings by other hands (README).
""",
        ),
    ]
    texts = [text if is_whole else kept.get(text.partition("\n")[0], "") for is_whole, text in sections]
    head = """# Experiments

Written by `python benchmarks/experiments.py FOLDER --teachers BETTER WORSE OURS`, which runs what it has not run yet.
Each row is one training with one seed; the same recipe with another seed may differ by a point. Every model is
calibrated on its validation drawings before it is scored on them, as `publish` does it: else losses differ by
temperature alone. After ± is the standard error of a difference between two models on the same drawings. The drawings
that the published models are scored on are in none of these trainings. In all tables but the last, unfinished drawings
kept a fifth to all of their points; now a quarter to four fifths. In none of them hands tremble or drawings stand askew
as they do now, and in all of them neighbours in a batch were changed by the same random numbers, each a step later.
"""
    return "\n".join([head, *(f"## {text}" for text in texts if text)])


if __name__ == "__main__":
    main()
