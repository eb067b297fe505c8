"""The text of a results document."""

import dataclasses
import os
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from quickstroke.config.training import TrainConfig
from quickstroke.evaluation.metrics import wilson_interval
from quickstroke.reports import document_config, documents
from quickstroke.reports.figures import confused_pairs, figures, words_by_accuracy
from quickstroke.reports.plots import Draw
from quickstroke.reports.results import Result, RunFacts

if TYPE_CHECKING:
    from quickstroke.evaluation.metrics import Evaluation

# Of the confusions and of the words recognised worst.
N_MOST = 10

# Longer logs and tables are folded away; a reader opens them with a click.
N_UNFOLDED_LINES = 12

COMPARISON = "comparison.svg"
# Its own line in every document.
RESULTS = "# Results"

_DESCRIPTION = """\
# Description

Each section under *Results* is one training: its configuration, in the form that `quickstroke train NAME --config` \
takes, and the log of its epochs; options that it leaves out, and that differ from the recipe's, are named beside the \
command. A model is named by its \
shape:

- `simple_lay<layers>_sz<size>`: an LSTM with so many layers, each with so many hidden units;
- `lstm_cv1_<filters>_<width>_lay<layers>_sz<size>`: the same after a convolution over the points with so many filters \
of that width, or, with `_cv2_<filters>_<width>` behind it, after two;
- `bilstm_...`: the LSTM runs over the drawing in both directions; convolutions are named as above, or absent;
- `bipool_...`: likewise, and its outputs at all steps are pooled; a third number behind a convolution is its stride; \
with `_img<filters>` it also looks at the image of the drawing, by convolutions of which the first has so many filters.

The weights of `NAME` are in `NAME.model`, a PyTorch state dict.

Accuracy is top-1, the share of drawings whose word the model puts first, unless it says otherwise. *val* drawings \
chose the epoch whose weights were kept, so their figures flatter a little; *test* drawings had no part in training. \
All figures are of the protocol `standard`: evaluation mode, so the result of a drawing depends on that drawing alone. \
Balanced accuracy is the mean of the words' accuracies. Intervals are Wilson's, for 95%: what another draw of drawings \
might change, not what another training would.

Most drawings of Google's Quick, Draw! were recognised by the game's network while they were drawn, and the game ended \
them there. Drawings that it did not recognise are harder, and people who draw elsewhere do not stop when a network \
has understood them: of a model that was tested on the game's drawings, expect lower figures there.
"""
_RECIPES = {
    "default": "each drawing is read to its own end, in batches of similar length",
    "2020": "the 2020 project's: each drawing is padded with zeros to `max_padding` steps, in batches of random order",
    "strong": "augmented drawings, a cosine of the learning rate, averaged weights",
}


def format_document(results: Sequence[Result], drawn: Sequence[dict[str, tuple[str, Draw]]], folder: str) -> str:
    """The document as markdown; `drawn` has the pictures of each section, `folder` is where they lie beside it."""
    parts = [_DESCRIPTION, "# Summary\n", _summary(results)]
    if any(result.log for result in results):
        parts.append(_image("Training curves of all sections", folder, COMPARISON))
    parts.append(f"{RESULTS}\n")
    above: tuple[str, ...] = ()
    for result, kinds in zip(results, drawn, strict=True):
        for depth, heading in enumerate(result.path):
            if result.path[: depth + 1] != above[: depth + 1]:
                parts.append(f"{'#' * (depth + 2)} {heading}\n")
        above = result.path
        pictures = {
            kind: _image(f"{kind.capitalize()} of {result.title}", folder, name) for kind, (name, _) in kinds.items()
        }
        parts += _section(result, pictures)
    return "\n".join(parts)


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        values = figures(result)
        marks = [label for label in result.suffix if not label.startswith("recipe ") or not result.run]
        name = f"`{result.name}`" if result.name else as_text(result.title)
        interval = f" ({values['top1_low']:.1%} to {values['top1_high']:.1%})" if values["n"] else ""
        rows.append(
            (
                ", ".join((name, *map(as_text, marks))),
                values["recipe"] or "",
                _count(values["n_classes"]),
                _count(values["parameters"]),
                _count(values["epochs"] or None),
                _percent(values["best_val_top1"]) + "\\*" * (not result.run and values["best_val_top1"] is not None),
                f"{values['split']}, {values['n']:,} drawings" if values["n"] else "not measured",
                _percent(values["top1"]) + interval,
                _percent(values.get("balanced_accuracy")),
                _percent(values["top3"]),
                _percent(values["top5"]),
                "" if values["seconds_per_epoch"] is None else f"{values['seconds_per_epoch']:.1f}",
            )
        )
    head = (
        "Model|Recipe|Classes|Parameters|Epochs|Val top-1|Measured on|Top-1 (95% interval)|Balanced|Top-3|Top-5|s/epoch"
    )
    table = _table("llrrrrlrrrrr", head.split("|"), rows)
    if "\\* |" in table:
        table += "\n\\* as its document says; not measured here.\n"
    return table + _over_seeds(results)


def _over_seeds(results: Sequence[Result]) -> str:
    """Mean and standard deviation of runs that differ by their seed alone; nothing where there are none."""
    groups: dict[str, dict[int, RunFacts]] = {}
    for run in (result.run for result in results if result.run and result.run.measured):
        config = run.config
        same = (config.model, dataclasses.replace(config.train, seed=0), config.classes, run.split)
        key = f"{same} {config.data['manifest_sha256']}"
        groups.setdefault(key, {}).setdefault(config.train.seed, run)  # one run of each
    rows = []
    for runs in groups.values():
        figures = [run.measured.figures() for run in runs.values() if run.measured]
        if len(runs) > 1:
            spreads = []
            for key in ("top1", "balanced_accuracy", "top3"):
                values = [100 * each[key] for each in figures]
                spreads.append(f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}%")
            name = next(iter(runs.values())).config.model.name
            rows.append((f"`{name}`", ", ".join(map(str, sorted(runs))), *spreads))
    if not rows:
        return ""
    head = ("Model", "Seeds", "Top-1", "Balanced", "Top-3")
    return "\nRuns that differ by their seed alone, mean ± standard deviation:\n\n" + _table("llrrr", head, rows)


def _section(result: Result, pictures: dict[str, str]) -> Iterator[str]:
    """The parts of one section below its heading."""
    yield _introduction(result)
    if result.config is not None:
        yield f"Config:\n\n```python\n{document_config.format_config(result.config)}\n```\n"
    if result.log or result.ended:
        is_short = bool(result.run)  # what another document says is carried over as it stands there
        lines = [documents.format_epoch(line, is_short) for line in result.log]
        lines += [documents.format_end(result.ended, is_short)] if result.ended else []
        log = "\n".join(("```", *lines, "```", ""))
        yield "Results:\n"
        yield _folded(f"Log of {len(result.log)} epochs", log) if len(lines) > N_UNFOLDED_LINES else log
    if result.log:
        yield pictures["curves"]
    if result.run:
        yield _data(result.run)
        yield _figures_table(result)
    if result.run and result.run.measured:
        yield from _mistakes(result.run.measured, pictures)


def _introduction(result: Result) -> str:
    if result.section:
        where = f"section {' > '.join(result.section.path)}, " if result.section.path else ""
        name = f"`{result.name}`, from" if result.name else "From"
        n_ignored = result.section.n_ignored_lines
        return (
            f"{name} the document `{result.source}`, {as_text(where)}line {result.section.line}. "
            + ("The figures are that document's own; " if result.log or result.ended else "It has no log there; ")
            + "nothing was measured here."
            + (f" {n_ignored} other lines of its log are left out.\n" if n_ignored else "\n")
        )
    assert result.run
    run, train = result.run, result.run.config.train
    n, best = run.n_epochs, run.best_epoch
    precision = "" if train.precision == "auto" else f", precision `{train.precision}`"  # older runs do not say
    by = "" if train.select_by == "top1" else " by its balanced (macro-averaged) loss"
    if n >= train.n_epochs:
        state = f"Of its {n} epochs the best{by} is {best}." if n > 1 else "It has one epoch."
    elif run.stopped_early:
        state = f"It stopped after {n} of {train.n_epochs} epochs: none was better than epoch {best} in {n - best}."
    elif not run.metrics:
        state = f"It was published after {n} of {train.n_epochs} epochs, the best{by} of which is {best}."
    else:
        state = f"**It has not ended**: {n} of {train.n_epochs} epochs so far, the best{by} is {best}."
    where = "from the run" if run.metrics else "as published in"
    return (
        f"`{result.name}`, {run.n_parameters:,} parameters, {len(run.config.classes)} classes, {where} "
        f"`{result.source}`. {state} Recipe `{train.recipe}` ({_RECIPES[train.recipe]}){precision}, "
        f"seed {train.seed}.\n" + _how(run)
    )


def _how(run: RunFacts) -> str:
    """Command, time and teachers of a training, and what it began with."""
    train, before = run.config.train, run.before
    text = f"\nTrained in {_duration(run.seconds)}" + (f" by `{run.command}`" if run.command else "") + ".\n"
    if options := _options_beside(train):
        text += f"\nOptions that differ from the recipe's: {options}.\n"
    if train.pretrained:
        paths = ", ".join(f"`{path}`" for path in train.pretrained)
        text += f"\nIt began with the {'mean of the ' if len(train.pretrained) > 1 else ''}weights of {paths}."
        if before.n:
            which = "one training before it" if before.n == 1 else f"{before.n} trainings before it"
            text += f" The {which} took {_duration(before.seconds)}."
        if before.missing:
            text += f" Nothing is known of how {', '.join(f'`{path}`' for path in before.missing)} came about."
        text += "\n"
    if run.config.teachers:
        names = ", ".join(
            f"`{teacher['name']}` ({str(teacher['sha256'])[:12]}, {teacher['licence'] or 'licence unknown'})"
            for teacher in run.config.teachers
        )
        rest = ", the rest is the label" if train.distillation_weight < 1 else ""
        text += (
            f"\nTeachers: {names}. The target of a drawing of one of the words is {train.distillation_weight:.0%} the "
            f"teachers' probabilities{rest}. {train.other_class_fraction:.0%} of the drawings have other words; their "
            "target is the teachers' probabilities alone.\n"
        )
    if run.config.deleted_options:
        told = ", ".join(f"`{key}` = {value}" for key, value in run.config.deleted_options.items())
        text += f"\nIt was trained with options that quickstroke does not have any more: {told}.\n"
    return text


def _options_beside(train: TrainConfig) -> str:
    """The options of a training that have not the value of its recipe, but for those that are told elsewhere."""
    of_recipe = dataclasses.asdict(TrainConfig(recipe=train.recipe))
    told = {*document_config.KEYS, "recipe", "seed", "precision", "device", "pretrained", "teacher"}
    own = {
        key: value for key, value in dataclasses.asdict(train).items() if key not in told and value != of_recipe[key]
    }
    return ", ".join(f"`{key}` = `{value}`" for key, value in own.items())


def _duration(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:,.0f} minutes"
    return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"


def _data(run: RunFacts) -> str:
    told, data = run.config.data, run.own_data
    split = dict(told["split"])
    rule = split.pop("rule")
    if rule == "position":
        counts = ((key.removeprefix("n_").replace("_", " "), n) for key, n in split.items() if n)
        how = "by position, of each class " + ", ".join(f"{n:,} {name}" for name, n in counts)
    else:
        fold, seed = split.pop("fold", 0), split.pop("seed", 0)
        which = f" and the seed {seed}" * bool(seed) + f", fold {fold}" * bool(fold)
        fractions = ", ".join(f"{name} {share:g}" for name, share in split.items() if share)
        given = data.n_files_by_split if data else told.get("n_files_by_split", {})
        files = ", ".join(f"{n:,} to {name}" for name, n in given.items())
        if not given:
            by = f"by {rule}{which} in fractions ({fractions})"
        elif not data or sum(given.values()) < len(data.manifest["sources"]):
            by = f"by {rule}{which} in fractions ({fractions}), but for source files that went whole ({files})"
        else:
            by = f"by source files, which went whole ({files})"
        how = (
            f"{by}; classes have different numbers of drawings, so the configuration names no `N_train`, `N_val` and "
            "`N_test`"
        )
    n_by_split = ", ".join(f"{n:,} {name}" for name, n in told["n_by_split"].items() if n)
    sources = f" from {len(data.manifest['sources'])} source files" if data else ""
    if data and data.manifest["options"]["recognized_only"]:
        sources += ", recognised drawings only"
    where = f"`{told['path']}`, " if told["path"] else ""
    of_word = data.n_train_by_word(run.config.classes) if data else told.get("n_train_by_word")
    each = ""
    if of_word:
        each = f" Of a word {of_word['least']:,} to {of_word['most']:,} were learnt from, median {of_word['median']:,}."
    text = (
        f"Data: {where}manifest `{told['manifest_sha256'][:12]}`{sources}. Drawings: {n_by_split}.{each} Split {how}.\n"
    )
    if run.test_data:
        text += f"\nThe test figures are of another dataset, manifest `{run.test_data['manifest_sha256'][:12]}`.\n"
    if run.data is None:
        noted = "Below is what the run noted while it was trained; test figures, confusions and mistakes are left out"
        if not run.metrics:
            noted = "Below is what its card states; confusions and mistakes are left out"
        text += f"\n> **Not measured:** {as_text(run.why_no_data)}. {noted}.\n"
    return text


def _figures_table(result: Result) -> str:
    assert result.run
    run, values = result.run, figures(result)
    rows = []
    if run.measured:
        rows.append(_figures_row(run.split, values, "**", run.measured.balanced_accuracy_interval()))
    rows += [
        _figures_row(split, stated) for split, stated in run.stated.items() if not run.measured or split != run.split
    ]
    head = ("Drawings", "Number", "Top-1", "95%", "Top-3", "95%", "Top-5", "Balanced accuracy", "95%", "Loss")
    weights = "best.model" if run.metrics else result.source.name
    table = f"Figures of `{weights}`, epoch {run.best_epoch}:\n\n" + _table("lrrrrrrrrr", head, rows)
    if run.measured and run.split == "val":
        why = "" if run.config.data["n_by_split"].get("test") else "The dataset has no test split. "
        table += f"\n{why}The val drawings chose the epoch, so expect a little less of new drawings.\n"
    return table


def _figures_row(
    split: str, values: dict[str, Any], mark: str = "", balanced: tuple[float, float] | None = None
) -> tuple[str, ...]:
    n = values["n"]
    top1, top3 = (wilson_interval(round(values[key] * n), n) for key in ("top1", "top3"))
    return (
        split,
        _count(n),
        f"{mark}{values['top1']:.2%}{mark}",
        _interval(top1),
        _percent(values["top3"]),
        _interval(top3),
        _percent(values["top5"]),
        _percent(values.get("balanced_accuracy")),
        _interval(balanced) if balanced else "",
        f"{values['loss']:.4f}",
    )


def _mistakes(measured: "Evaluation", pictures: dict[str, str]) -> Iterator[str]:
    yield "Confusions:\n"
    yield pictures["confusion"]
    pairs = confused_pairs(measured)
    if pairs:
        head: tuple[str, ...] = ("Drawn", "Taken for", "Times", "Share of the word's drawings")
        most = [(as_text(word), as_text(guess), _count(n), _percent(share)) for word, guess, n, share in pairs[:N_MOST]]
        yield _table("llrr", head, most)
    taken_for: dict[str, str] = {}
    for word, guess, n, _ in pairs:
        taken_for.setdefault(word, f"{as_text(guess)} ({n})")
    head = ("Word", "Right", "Of", "Accuracy", "Most often taken for")
    rows = [
        (as_text(word), _count(right), _count(n), _percent(accuracy), taken_for.get(word, ""))
        for word, right, n, accuracy in words_by_accuracy(measured)
    ]
    if len(rows) <= N_UNFOLDED_LINES:
        yield _table("lrrrl", head, rows)
    else:
        yield f"The {N_MOST} words that are recognised worst:\n"
        yield _table("lrrrl", head, rows[:N_MOST])
        yield _folded(f"All {len(rows)} words, worst first", _table("lrrrl", head, rows))
    if "mistakes" in pictures:
        yield "Mistakes made with the highest probability:\n"
        yield pictures["mistakes"]


def _table(alignment: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; `alignment` has an `l` or an `r` for each column."""
    rule = ["---:" if side == "r" else "---" for side in alignment]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n</details>\n"


def _image(alternative: str, folder: str, name: str) -> str:
    return f"![{as_text(alternative)}]({quote(os.fsencode(folder))}/{quote(os.fsencode(name))})\n"


def as_text(text: str) -> str:
    """Text that markdown takes as it is."""
    return re.sub(r"[\\`*|<\[\]&$~]|\b_|_\b", r"\\\g<0>", text)  # `$` begins mathematics on GitHub


def _count(n: int | None) -> str:
    return "" if n is None else f"{n:,}"


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2%} to {ends[1]:.2%}"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.2%}"
