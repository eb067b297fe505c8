"""`quickstroke models`."""

from collections.abc import Sequence
from dataclasses import dataclass

from quickstroke.cli.common import Json, parse, percent, print_json


@dataclass(frozen=True)
class Options:
    """What is published here (in ./lstm and with the package), one line each; the default model has a star."""

    json: Json = False


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    options = parse(Options, "models", args)

    from quickstroke import published

    rows = []
    for path, card, default in published.list_models():
        figures = card.get("figures", {})
        split = next((split for split in ("test", "val") if split in figures), None)
        accuracy = f"{split} top-1 {percent(figures[split]['top1'])}" if split else "not evaluated"
        parameters = card.get("parameters", 0)
        print(
            f"{'*' if default else ' '} {card['name']}  {len(card['classes'])} classes  {parameters:,} parameters  "
            f"{accuracy}  {path}"
        )
        rows.append(
            {
                "name": card["name"],
                "default": default,
                "path": str(path),
                "n_classes": len(card["classes"]),
                "parameters": parameters,
                "figures": figures,
            }
        )
    if not rows:
        print("no model is published in ./lstm or with the package")
    if options.json:
        print_json({"models": rows})
