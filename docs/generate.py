"""Writes what is generated: docs/cli.md, from the commands' own --help, the examples of the drawing page, and the
README's tables of published models, from their cards, and of benchmarks, from their figures.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 when one of them is not what would be written
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

# Help texts are drawn for a terminal of this width, whatever the one at hand.
os.environ["COLUMNS"] = "100"
os.environ["NO_COLOR"] = "1"

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
sys.path.append(str(ROOT / "benchmarks"))

import examples  # noqa: E402

import results  # noqa: E402
from quickstroke import cards, cli  # noqa: E402
from quickstroke.intervals import wilson_interval  # noqa: E402

README = ROOT / "README.md"


def help_of(args: list[str]) -> str:
    """What a command prints for --help."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        cli.main([*args, "--help"])
    return "\n".join(line.rstrip() for line in output.getvalue().strip().splitlines())


def cli_page() -> str:
    """docs/cli.md."""
    parts = [
        "# Commands\n\nGenerated from `--help` by `make docs`.\n\n"
        "Exit codes: 0 done, 2 the input is wrong (one line on stderr says what, where and what was expected), "
        "3 a rerun did not come out the same, 130 interrupted, 1 our fault.\n",
        f"```text\n{help_of([])}\n```\n",
    ]
    parts += [f"## quickstroke {name}\n\n```text\n{help_of([name])}\n```\n" for name in cli.COMMANDS]
    return "\n".join(parts)


def models_table() -> str:
    """A markdown table of the published models: what their cards say of the test split, ± half a 95% interval."""
    head = ("model", "words", "parameters", "drawings", "top-1", "each word alike", "top-3", "top-5")
    head += ("after 25, 50, 75% of the points", "then each word alike", "calibration error")
    lines = [head, ("---", *["---:"] * (len(head) - 1))]
    models, errors = cards.find_published()
    for error in errors:
        print(f"not in the table: {error}", file=sys.stderr)
    for published in models:
        card = published.card
        figures = cards.figures_of(card or {}).get("test")
        if card is None or figures is None:
            continue
        n = figures["n"]
        calibration, told = card.get("calibration"), f"{figures['calibration_error']:.1%}"
        if calibration:  # weighted as the calibration was chosen
            told = f"{100 * calibration['error_before']['test']:.1f}% → {calibration['error_after']['test']:.1%}"
        lines.append(
            (
                f"`{published.name}`" + ", the default" * published.default,
                str(len(card["classes"])),
                f"{card['parameters']:,}",
                f"{n:,}",
                f"**{figures['top1']:.1%}** ± {_half(figures['top1_low'], figures['top1_high'])}",
                f"{figures['balanced_accuracy']:.1%} ± "
                + _half(figures["balanced_accuracy_low"], figures["balanced_accuracy_high"]),
                _percent(figures["top3"], n),
                _percent(figures["top5"], n),
                ", ".join(_percent(value, n) for value in list(figures["top1_of_points"].values())[:-1]),
                ", ".join(f"{value:.1%}" for value in list(figures.get("balanced_accuracy_of_points", {}).values())[:-1]),
                told,
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _percent(fraction: float, n: int) -> str:
    """A fraction of `n` drawings, with half of its 95% interval."""
    return f"{fraction:.1%} ± {_half(*wilson_interval(fraction * n, n))}"


def _half(low: float, high: float) -> str:
    return f"{50 * (high - low):.1f}"


def speed_table() -> str:
    """A markdown table of what the benchmarks measured."""
    parts = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    lines = ["| what | measured | command |", "|---|---|---|"]
    for row in results.ROWS:
        record = parts[row.part]
        lines.append(f"| {row.what} | {row.figure(record['found'])} | `{record['command']}` |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The README with its tables made anew, each between two comments."""
    text = README.read_text(encoding="utf-8")
    for name, table in (("models", models_table()), ("speed", speed_table())):
        begin, end = f"<!-- {name}: written by docs/generate.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        assert found and ended, f"README.md has no {begin} and {end}"
        text = f"{before}{begin}\n{table}{end}{after}"
    return text


def main() -> int:
    """Writes or checks the files."""
    os.chdir(ROOT)  # where lstm/ is found first
    files = {FOLDER / "cli.md": cli_page(), examples.TARGET: examples.examples_text(), README: readme()}
    for path, text in files.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is out of date: run `make docs`", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
