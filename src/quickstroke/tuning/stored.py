"""How a study is written in its storage, by this version or an earlier one."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quickstroke.config import former
from quickstroke.config.recipes import PLAIN
from quickstroke.tuning.space import Choices, Range, Space


class Stored:
    """The names of keys and choices in a storage: those of the version that began the study.

    Attributes:
        names: the name of each key.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        tuned = spec["tuned"]
        self.names = {former.RENAMED.get(name, name): name for name in tuned}
        self._tuned = tuned

    def choices(self, key: str) -> list[Any]:
        """The choices of a key, in the order of its domain, as a storage takes them."""
        return [json.dumps(choice) if isinstance(choice, list) else choice for choice in self._tuned[self.names[key]]]

    def meant(self, key: str, value: Any, domain: Range | Choices) -> Any:
        """The value that is meant. Other than whole numbers have a few digits, so that what is told is what was."""
        if isinstance(domain, Choices):
            return domain.values[self.choices(key).index(value)]
        if domain.is_whole:
            return value
        return min(max(float(f"{value:.10g}" if domain.step else f"{value:.4g}"), domain.low), domain.high)


def as_begun(space: Space, spec: Mapping[str, Any] | None) -> Space:
    """The space with the values that its recipe had in version 0.1.0, where that version began the study.

    Args:
        spec: what the storage says of the search, None where there is none yet.
    """
    recipe = space.tuned.get("recipe") or space.fixed.get("recipe", "default")
    if spec is None or "recipes" in spec or recipe != "default":
        return space
    then = {key: value for key, value in PLAIN.items() if key not in space.tuned}
    return replace(space, fixed=then | space.fixed)


def of_today(spec: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a storage says of a search, as this version would have written it.

    Args:
        given: what this version writes of the search that is to go on.
    """
    fixed, tuned = (_renamed(spec[key], where) for key in ("fixed", "tuned"))
    spec = {"metric": "top1", **spec}
    if "recipes" in spec:
        recipes = {name: _renamed(values, where) for name, values in spec["recipes"].items()}
        return {**spec, "fixed": fixed, "tuned": tuned, "recipes": recipes}
    if set(given["recipes"]) == {"default"}:
        fixed = {key: value for key, value in PLAIN.items() if key not in tuned} | fixed
    return {**spec, "fixed": fixed, "tuned": tuned, "recipes": given["recipes"]}


def _renamed(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    effects = former.deleted_options(values)
    known = {key: value for key, value in values.items() if key not in former.DELETED or key in effects}
    return former.renamed(known, where)
