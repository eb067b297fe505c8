"""What a search found: a table, and a document with pictures."""

import re
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickstroke.reports import plots
from quickstroke.tuning.space import Choices, Range
from quickstroke.tuning.study import Search, Trial
from quickstroke.utils.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How tables and pictures call what ranks trials.
METRICS = {"top1": "top-1", "balanced_accuracy": "balanced accuracy"}
STATES = ("complete", "pruned", "failed", "running", "waiting")
_COLORS = {"complete": "C0", "pruned": "0.6", "running": "C1"}


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Trials with the best complete one first; those of other states come behind, by state."""
    return sorted(trials, key=lambda trial: (STATES.index(trial.state), -(trial.value or 0.0), trial.number))


def best(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest value, None without one."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return ranked(complete)[0] if complete else None


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """Trials by state, without the states that none has, but for the three that a trial can end in."""
    n = {state: sum(trial.state == state for trial in trials) for state in STATES}
    return {state: count for state, count in n.items() if count or state in STATES[:3]}


def told_counts(trials: Sequence[Trial]) -> str:
    """The trials by state in words."""
    return ", ".join(f"{count} {state}" for state, count in counts(trials).items())


def rows(search: Search, trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    """The head and the cells of a table of trials."""
    keys = list(search.space.tuned)
    cells = [("trial", f"val {METRICS[search.metric]}", "epochs", "state", *keys)]
    for trial in trials:
        value = "" if trial.value is None else f"{trial.value:.2%}"
        tried = (shown(trial.values[key]) if key in trial.values else "" for key in keys)
        cells.append((str(trial.number), value, str(len(trial.curve)), trial.state, *tried))
    return cells


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_table(cells: Sequence[Sequence[str]]) -> str:
    """Cells as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def longer(search: Search, trial: Trial) -> str:
    """The command that trains as a trial did, for four times its epochs."""
    n_epochs = search.space.trial(trial.values)[1].n_epochs
    return shlex.join(search.command(trial.values, search.folder / "best", 4 * n_epochs))


def write_study(search: Search, trials: Sequence[Trial], importances: dict[str, float]) -> Path:
    """Writes STUDY/study.md and its pictures; returns the document's path."""
    path = search.folder / "study.md"
    folder = search.folder / "study_files"
    pictures: dict[str, plots.Draw] = {}
    if any(trial.curve for trial in trials):
        pictures["history.svg"] = partial(draw_history, search, trials)
        pictures["slices.svg"] = partial(draw_slices, search, trials)
    if importances:
        pictures["importance.svg"] = partial(draw_importance, importances)
    with plots.picture_style():
        for name, draw in pictures.items():
            plots.write_picture(folder / name, draw)
    write_text(path, "\n".join(_document(search, trials, importances, pictures, folder.name)))
    return path


def _document(
    search: Search, trials: Sequence[Trial], importances: dict[str, float], pictures: dict[str, Any], folder: str
) -> list[str]:
    metric = METRICS[search.metric]
    names = ", ".join(f"`{name}`" for name in search.space.names)
    fixed = ", ".join(f"`{key} = {shown(value)}`" for key, value in search.space.fixed.items())
    parts = [
        f"# Search of {names}\n",
        f"{len(trials)} trials: {told_counts(trials)}. Dataset `{search.data}`"
        + (f", {len(search.classes)} of its classes" if search.classes else "")
        + f". Pruner `{search.pruner}`, seed {search.seed}."
        + (f" The same for all: {fixed}." if fixed else "")
        + "\n",
        f"Each trial is a run folder, `trials/N`. Its value is the validation {metric} of its best epoch: of many "
        "trials the best flatters, so measure it on test drawings, which no trial has seen.\n",
    ]
    first = best(trials)
    if first:
        parts.append(f"The best is trial {first.number}. The same for four times the epochs:\n")
        parts.append(f"```\n{longer(search, first)}\n```\n")
    parts.append(
        "| option | tried |\n|---|---|\n" + "".join(f"| `{k}` | {v} |\n" for k, v in search.space.tuned.items())
    )
    if "history.svg" in pictures:
        parts.append(f"![Validation {metric} of the trials and over their epochs]({folder}/history.svg)\n")
        parts.append(f"![Validation {metric} by each option]({folder}/slices.svg)\n")
    if importances:
        n = sum(trial.state == "complete" for trial in trials)
        parts.append(f"![Importance of each option]({folder}/importance.svg)\n")
        parts.append(
            f"Importance is PED-ANOVA's: how far the values of the better half of the {n} complete trials differ from "
            "those of all. Of fewer than some 50 it is a rough guess; trust the pictures above more.\n"
        )
    head, *cells = rows(search, ranked(trials))
    parts.append("## All trials\n")
    parts.append("".join(f"| {' | '.join(row)} |\n" for row in (head, ["---:"] * len(head), *cells)))
    failed = [trial for trial in trials if trial.reason]
    if failed:
        parts.append("## Failed\n")
        parts.append("".join(f"- trial {trial.number}: {trial.reason}\n" for trial in failed))
    return parts


# --- pictures


def draw_history(search: Search, trials: Sequence[Trial], figure: "Figure") -> None:
    """The value of each trial with the best so far, and the curves of all of them."""
    figure.set_size_inches(8.5, 3.4)
    values, curves = figure.subplots(1, 2, sharey=True)
    for state, color in _COLORS.items():
        some = [trial for trial in trials if trial.state == state and trial.curve]
        if some:
            values.plot([t.number for t in some], [_percent(t) for t in some], "o", color=color, label=state)
        for trial in some:
            epochs, percent = range(1, len(trial.curve) + 1), [100 * value for value in trial.curve]
            curves.plot(epochs, percent, color=color, linewidth=1, alpha=0.7, marker=".")
    failed = [trial.number for trial in trials if trial.state == "failed"]
    if failed:
        values.plot(failed, [values.get_ylim()[0]] * len(failed), "x", color="C3", label="failed", clip_on=False)
    complete = [trial for trial in trials if trial.state == "complete"]
    if complete:
        steps = [max(_percent(t) for t in complete[: i + 1]) for i in range(len(complete))]
        numbers = [trial.number for trial in complete]
        values.step([*numbers, trials[-1].number], [*steps, steps[-1]], where="post", color="C0", label="best so far")
        first = best(trials)
        assert first
        percent = [100 * value for value in first.curve]
        curves.plot(range(1, len(percent) + 1), percent, color="C2", linewidth=2.5, label=f"best: trial {first.number}")
        values.plot(first.number, _percent(first), "o", color="C2", markersize=9)
        curves.legend(loc="lower right")
    values.set(xlabel="trial", ylabel=f"best val {METRICS[search.metric]}, %")
    curves.set(xlabel="epoch")
    for axes in (values, curves):
        axes.locator_params(axis="x", integer=True)
    figure.legend(*values.get_legend_handles_labels(), loc="outside lower center", ncols=5)


def draw_slices(search: Search, trials: Sequence[Trial], figure: "Figure") -> None:
    """The value of each complete trial against each option that was tried; at the bottom those that were not completed.

    After fewer epochs the others would only squeeze the scale.
    """
    tuned = search.space.tuned
    n_columns = min(len(tuned), 3)
    n_rows = -(-len(tuned) // n_columns)
    figure.set_size_inches(2.8 * n_columns + 0.2, 2.4 * n_rows + 0.4)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for axes in panels.ravel()[len(tuned) :]:
        axes.set_axis_off()
    for axes, (key, domain) in zip(panels.ravel(), tuned.items(), strict=False):
        _scale(axes, key, domain)
        for state, color, marker in (("complete", "C0", "o"), ("pruned", "0.5", "|"), ("failed", "C3", "x")):
            some = [trial for trial in trials if trial.state == state and key in trial.values]
            if not some:
                continue
            places = [_place(trial.values[key], domain) for trial in some]
            if state == "complete":
                axes.plot(places, [_percent(trial) for trial in some], marker, color=color, label=state)
            else:  # the height is a share of the axes
                transform = axes.get_xaxis_transform()
                axes.plot(places, [0.02] * len(some), marker, color=color, label=state, transform=transform)
        if first := best(trials):
            axes.plot(_place(first.values[key], domain), _percent(first), "o", color="C2", markersize=9, label="best")
    for row in panels:
        row[0].set_ylabel(f"best val {METRICS[search.metric]}, %")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _place(value: Any, domain: Range | Choices) -> float:
    return domain.values.index(value) if isinstance(domain, Choices) else value


def _scale(axes: "Axes", key: str, domain: Range | Choices) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_xlabel(key)
    if isinstance(domain, Choices):
        n = len(domain.values)
        # A model name has room in lines of its own.
        labels = [re.sub(r"_(?=cv|lay)", "\n_", shown(value)) for value in domain.values]
        is_small = n * max(map(len, "\n".join(labels).splitlines())) > 30
        axes.set_xticks(range(n), labels=labels, fontsize=6 if is_small else None)
        axes.set_xlim(-0.5, n - 0.5)
        return
    margin = (domain.high / domain.low) ** 0.06 if domain.log else 0.06 * (domain.high - domain.low)
    if domain.log:
        axes.set_xscale("log")
        axes.set_xlim(domain.low / margin, domain.high * margin)
        subs = (1, 3) if domain.high < 60 * domain.low else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    else:
        axes.set_xlim(domain.low - margin, domain.high + margin)
        axes.locator_params(axis="x", nbins=5, integer=domain.is_whole)


def draw_importance(importances: dict[str, float], figure: "Figure") -> None:
    """A bar for each option, the most important on top."""
    figure.set_size_inches(5.5, 0.6 + 0.3 * len(importances))
    axes = figure.subplots()
    keys = list(importances)[::-1]
    bars = axes.barh(keys, [100 * importances[key] for key in keys])
    axes.bar_label(bars, fmt="%.0f%%", padding=3)
    axes.set(xlabel="importance, %")
    axes.grid(False, axis="y")
    axes.margins(x=0.12)


def _percent(trial: Trial) -> float:
    return 100 * (trial.value or 0.0)
