"""Writes what is generated: docs/cli.md, from the commands' own --help, and the examples of the drawing page.

python docs/generate.py            writes them
python docs/generate.py --check    exits with 1 when one of them is not what would be written
"""

import contextlib
import io
import os
import sys
from pathlib import Path

# Help texts are drawn for a terminal of this width, whatever the one at hand.
os.environ["COLUMNS"] = "100"
os.environ["NO_COLOR"] = "1"

import examples

from quickstroke import cli

FOLDER = Path(__file__).resolve().parent


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
        "130 interrupted, 1 our fault.\n",
        f"```text\n{help_of([])}\n```\n",
    ]
    parts += [f"## quickstroke {name}\n\n```text\n{help_of([name])}\n```\n" for name in cli.COMMANDS]
    return "\n".join(parts)


def main() -> int:
    """Writes or checks the files."""
    files = {FOLDER / "cli.md": cli_page(), examples.TARGET: examples.examples_text()}
    for path, text in files.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is out of date: run `make docs`", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
