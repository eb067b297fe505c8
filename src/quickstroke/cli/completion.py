"""`quickstroke completion`: a script by which a shell completes commands, options and their values.

The script knows all options by itself: a press of the Tab key imports nothing of quickstroke.
"""

import contextlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from quickstroke.cli import COMMANDS
from quickstroke.cli.options import CONFIG, parse


@dataclass(frozen=True)
class Options:
    """Prints a script that makes a shell complete quickstroke's commands, options and their values.

    For bash, write it to ~/.local/share/bash-completion/completions/quickstroke.

    For zsh, write it to a file _quickstroke in a folder of $fpath.
    """

    shell: Annotated[Positional[Literal["bash", "zsh"]], tyro.conf.arg(help="the shell", metavar="SHELL")]


def main(args: Sequence[str]) -> None:
    options = parse(Options, "completion", args)
    modules = {name: importlib.import_module(f"quickstroke.cli.{name}") for name in COMMANDS}
    kinds = {name: getattr(module, "Options", None) or module.options_kind() for name, module in modules.items()}
    script = ["--tyro-print-completion", options.shell]
    with contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(kinds, prog="quickstroke", args=script, config=CONFIG)
