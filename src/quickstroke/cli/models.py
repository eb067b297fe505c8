"""`quickstroke models`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quickstroke.cli.answers import Answer, answer, note, percent


def main(args: Sequence[str]) -> int:
    if list(args) in ([], ["--json"]):  # the whole of what it takes, read without the libraries of options
        return answer(bool(args), _models)
    from quickstroke.cli.options import parse

    return answer(parse(options_kind(), "models", args).json, _models)


def options_kind() -> type[Any]:
    """The options, made where they are needed: a command of a tenth of a second does not wait for their libraries."""
    from quickstroke.cli.options import Json

    @dataclass(frozen=True)
    class Options:
        """What is published here (in ./lstm and with the package), one line each; the default model has a star.

        It is the one that lstm/default.txt names, or the only one.
        """

        json: Json = False

    return Options


def _models() -> Answer:
    from quickstroke.artifacts import cards

    rows = []
    models, errors = cards.find_published()
    for model in models:
        card = model.card or {}
        split, top1 = cards.stated_accuracy(card)
        facts = [model.name]
        if model.card is None:
            facts.append("no card: read the 2020 project's way")
        else:
            n_classes = len(card["classes"])
            facts += [f"{n_classes} class{'' if n_classes == 1 else 'es'}", f"{card.get('parameters', 0):,} parameters"]
            facts.append(f"{split} top-1 {percent(top1)}" if split else "not evaluated")
        print(f"{'*' if model.default else ' '} {'  '.join(facts)}  {model.path}")
        rows.append(
            {
                "name": model.name,
                "default": model.default,
                "path": str(model.path),
                "n_classes": len(card["classes"]) if model.card else None,
                "parameters": card.get("parameters"),
                "figures": cards.figures_of(card) if model.card else None,
            }
        )
    if not rows:
        print("no model is published in ./lstm or with the package")
    for error in errors:
        note(f"{'no default' if isinstance(error, cards.NoDefaultError) else 'not listed'}: {error}")
    return Answer({"models": rows, "errors": list(map(str, errors))})
