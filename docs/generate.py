"""Writes what is generated: docs/cli.md, from the commands' own --help, and tables in
hand-written documents: of the published models, from their cards, and of speed, from the benchmarks' figures.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 when one of them is not what would be written
"""

import contextlib
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

# Help texts are drawn for a terminal of this width, whatever the one at hand.
os.environ["COLUMNS"] = "100"
os.environ["NO_COLOR"] = "1"

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
sys.path.append(str(ROOT / "benchmarks"))


import results  # noqa: E402
from quickstroke import cli  # noqa: E402
from quickstroke.artifacts import cards  # noqa: E402
from quickstroke.evaluation.metrics import wilson_interval  # noqa: E402


def help_of(args: list[str]) -> str:
    """What a command prints for --help."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        cli.main([*args, "--help"])
    # What stands above the options is one line a paragraph, which a terminal breaks and a page does not.
    return "\n".join(
        textwrap.fill(line.rstrip(), 100, break_on_hyphens=False) for line in output.getvalue().strip().splitlines()
    )


def cli_page() -> str:
    """docs/cli.md."""
    parts = [
        "# Commands\n\nGenerated from `--help` by `make docs`.\n\n"
        "Exit codes: 0 done; 2 the input is wrong, and one line on stderr says what, where and what was expected; "
        "3 a rerun gave other results; 130 interrupted; 1 a fault of quickstroke.\n",
        "An option that takes several values is given once, with all of them behind it. Of another one that is given "
        "twice the last value counts. Every command has `--help`, and all but `completion` have `--json`: one JSON "
        "object on one line and nothing else on stdout; what a person reads goes to stderr ([its keys](json.md)).\n",
        f"```text\n{help_of([])}\n```\n",
    ]
    parts += [_help_section(name) for name in cli.COMMANDS]
    return "\n".join(parts)


def _help_section(name: str) -> str:
    """A command's section; the options of a training stand under `train` alone, those of all commands at the top."""
    text = re.sub(r"\n  (-h, --help|--json) .*(\n {8,}.*)*", "", help_of([name]))
    text = re.sub(r"\n *-{20,}$", "", text, flags=re.M)
    text, found, options = text.removesuffix("\n\n options").partition("\n\n train options\n")
    if name == "train":
        text, found = f"{text}{found}{options}", ""
    further = "\nThe *train options* are those of [quickstroke train](#quickstroke-train).\n" if found else ""
    return f"## quickstroke {name}\n\n```text\n{text}\n```\n{further}"


def short_models_table() -> str:
    """A markdown table of the published models for the README."""
    head = ("model", "words", "parameters", "top-1", "balanced accuracy", "half drawn")
    return _table(
        head,
        (
            (
                _called(published),
                str(len(card["classes"])),
                f"{card['parameters']:,}",
                f"**{figures['top1']:.1%}** ± {_half(figures['top1_low'], figures['top1_high'])}",
                _balanced(figures),
                f"{figures['top1_of_points']['0.5']:.1%}",
            )
            for published, card, figures in published_models()
        ),
    )


def models_table() -> str:
    """A markdown table of what the cards say of whole test drawings, ± half of the 95% interval."""
    head = ("model", "words", "learnt from", "tested on", "top-1", "balanced accuracy", "top-3", "top-5")
    head += ("calibration error",)
    rows = []
    for published, card, figures in published_models():
        n = figures["n"]
        calibration, told = card.get("calibration"), f"{figures['calibration_error']:.1%}"
        if calibration:  # weighted as the calibration was chosen
            told = f"{calibration['error_before']['test']:.1%} → {calibration['error_after']['test']:.1%}"
        rows.append(
            (
                _called(published),
                str(len(card["classes"])),
                _learnt_from(card),
                f"{n:,}",
                f"**{figures['top1']:.1%}** ± {_half(figures['top1_low'], figures['top1_high'])}",
                _balanced(figures),
                _percent(figures["top3"], n),
                _percent(figures["top5"], n),
                told,
            )
        )
    return _table(head, rows)


def early_table() -> str:
    """A markdown table of early recognition by the published models: accuracy by fraction of points."""
    head = ("model", *(f"top-1, {part}%" for part in (25, 50, 75)), *(f"balanced, {part}%" for part in (25, 50, 75)))
    head += ("top-1, 60% of strokes", "top-3, 60% of strokes")
    rows = []
    for published, _, figures in published_models():
        top1 = [_percent(value, figures["n"]) for value in list(figures["top1_of_points"].values())[:-1]]
        balanced = [f"{value:.1%}" for value in list(figures.get("balanced_accuracy_of_points", {}).values())[:-1]]
        of_strokes = [figures.get(f"top{k}_of_strokes", {}).get("0.6") for k in (1, 3)]
        told = ("-" if value is None else _percent(value, figures["n"]) for value in of_strokes)
        rows.append((_called(published), *top1, *(balanced or ["-"] * len(top1)), *told))
    return _table(head, rows)


def words_table() -> str:
    """Markdown tables of the words that the default model recognises worst, and of its most frequent confusions."""
    head = ("recognised worst", "right", "taken for another word", "times")
    for published, card, _ in published_models():
        if published.default and "words" in card:  # a card of an earlier version does not tell it
            pairs = zip_longest(card["words"]["worst"], card["words"]["confusions"])
            rows = (
                (
                    *((one["word"], f"{one['right']} of {one['n']}") if one else ("", "")),
                    *((f"{two['drawn']} for {two['taken_for']}", str(two["n"])) if two else ("", "")),
                )
                for one, two in pairs
            )
            return _table(head, rows)
    return _table(head, [("-",) * 4])


def published_models() -> Iterator[tuple[cards.PublishedModel, dict[str, Any], dict[str, Any]]]:
    """Each published model with its card and the figures of its test split."""
    models, errors = cards.find_published()
    for error in errors:
        print(f"not in the tables: {error}", file=sys.stderr)
    for published in models:
        card = published.card
        figures = cards.figures_of(card or {}).get("test")
        if card is not None and figures is not None:
            yield published, card, figures


def _called(published: cards.PublishedModel) -> str:
    return f"`{published.name}`" + " (default)" * published.default


def _learnt_from(card: dict[str, Any]) -> str:
    """Drawings of a word that a model learnt from: the least, the median and the most."""
    of_word = card["data"].get("n_train_by_word")
    return "{least:,} / {median:,} / {most:,}".format(**of_word) if of_word else "-"


def _balanced(figures: dict[str, Any]) -> str:
    half = _half(figures["balanced_accuracy_low"], figures["balanced_accuracy_high"])
    return f"{figures['balanced_accuracy']:.1%} ± {half}"


def _percent(fraction: float, n: int) -> str:
    """A fraction of `n` drawings, with half of its 95% interval."""
    return f"{fraction:.1%} ± {_half(*wilson_interval(fraction * n, n))}"


def _half(low: float, high: float) -> str:
    return f"{50 * (high - low):.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; all columns but the first are numbers."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def speed_table(parts: dict[str, Any]) -> str:
    """A markdown table of the benchmarks that give one figure; the others have tables of their own."""
    lines = ["| what | measured | command |", "|---|---|---|"]
    for row in results.ROWS:
        record = parts.get(row.part)
        if record and row.part not in ("evaluating", "guessing"):
            lines.append(f"| {row.what} | {row.figure(record['found'])} | `{record['command']}` |")
    return "\n".join(lines) + "\n"


def evaluating_table(parts: dict[str, Any]) -> str:
    """A markdown table of how many times faster models are evaluated than by the plain recipe."""
    head = ("model", "from files", "from files, bfloat16", "scoring alone", "scoring alone, bfloat16", "share of rate")
    keys = ("ratio", "ratio_bfloat16", "ratio_scored", "ratio_scored_bfloat16")
    return _table(
        head,
        (
            (
                f"`{row['name']}`",
                *(f"{row[key]:.1f} x" for key in keys),
                f"{row['share']:.0%}",
            )
            for row in parts["evaluating"]["found"]["models"]
        ),
    )


def guessing_table(parts: dict[str, Any]) -> str:
    """A markdown table of the median times of one guess, in milliseconds."""
    ways = [(way, kind) for way in ("torch", "onnxruntime") for kind in ("simplified", "raw")]
    names = [f"`{'.model' if way == 'torch' else '.onnx'}`, {kind}" for way, kind in ways]
    rows = [row for row in parts["guessing"]["found"]["models"] if row["parameters"] <= results.MAX_GUESS_PARAMETERS]
    return _table(
        ("model", *names, "`.model`, raw, cores busy"),
        (
            (
                f"`{row['name']}`",
                *(f"{row[kind][way]['median_ms']:.2f}" for way, kind in ways),
                f"{row['busy']['raw']['torch']['median_ms']:.2f}" if "busy" in row else "",
            )
            for row in rows
        ),
    )


def filled(path: Path, tables: dict[str, str]) -> str:
    """A document with its tables made anew, each between two comments."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: written by docs/generate.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        assert found and ended, f"{path} has no {begin} and {end}"
        text = f"{before}{begin}\n{table}{end}{after}"
    return text


def main() -> int:
    """Writes or checks the files."""
    os.chdir(ROOT)  # where lstm/ is found first
    parts = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    speed = {"speed": speed_table(parts), "evaluating": evaluating_table(parts), "guessing": guessing_table(parts)}
    tables = {
        ROOT / "README.md": {"models": short_models_table()},
        FOLDER / "models.md": {"models": models_table(), "early": early_table(), "words": words_table()},
        FOLDER / "speed.md": speed,
    }
    files = {FOLDER / "cli.md": cli_page()}
    files |= {path: filled(path, own) for path, own in tables.items()}
    for path, text in files.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is out of date: run `make docs`", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
