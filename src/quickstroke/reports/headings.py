"""The headings that results stand under, and their order."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from quickstroke.reports import document_config
from quickstroke.reports.results import Result


def arrange(results: Iterable[Result]) -> list[Result]:
    """The results by type, layers and size, each with headings that no other has.

    A section of a document whose configuration does not tell its shape keeps its own headings and comes last.
    """
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in sorted(results, key=_shape_key):
        path = _headings(result)
        groups.setdefault(_folded_case(path), []).append(replace(result, path=path))
    told_apart = []
    seen: Counter[tuple[str, ...]] = Counter()
    for group in groups.values():
        for result, suffix in zip(group, _suffixes(group), strict=True):
            path = _with_suffix(result.path, suffix)
            seen[_folded_case(path)] += 1
            if (number := seen[_folded_case(path)]) > 1:
                suffix = (*suffix, f"number {number}")
            told_apart.append(replace(result, path=_with_suffix(result.path, suffix), suffix=suffix))
    # Headings that several sections share are written once, so those sections must be neighbours.
    first: dict[tuple[str, ...], int] = {}
    for i, result in enumerate(told_apart):
        for depth in range(1, len(result.path) + 1):
            first.setdefault(result.path[:depth], i)
    return sorted(told_apart, key=lambda result: [first[result.path[: i + 1]] for i in range(len(result.path))])


def _folded_case(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(str.casefold, path))


def _with_suffix(path: tuple[str, ...], suffix: tuple[str, ...]) -> tuple[str, ...]:
    return (*path[:-1], ", ".join((path[-1], *suffix)))


def _shape_key(result: Result) -> tuple[Any, ...]:
    config = result.config
    if not result.name or config is None:
        return (True,)
    convolutions = _convolutions(config)
    kind = bool(config.get("bidirectional")), config.get("readout") == "pool"
    return False, *kind, convolutions, config.get("image") or 0, config["n_layers"], config["hidden_size"]


def _convolutions(config: document_config.Config) -> tuple[tuple[int, ...], ...]:
    conv1, conv2 = config.get("conv1"), config.get("conv2")
    return tuple(filter(None, (conv1, conv1 and conv2)))


def _headings(result: Result) -> tuple[str, ...]:
    config = result.config
    if result.name and config is not None:
        kind = "Bidirectional LSTM" if config.get("bidirectional") else "LSTM"
        if convolutions := _convolutions(config):
            kind += " with convolution" + "s" * (len(convolutions) - 1) + " " + " and ".join(map(str, convolutions))
        elif kind == "LSTM":
            kind = "Simple LSTM"
        if config.get("readout") == "pool":
            kind += ", pooled over all steps"
        if config.get("image"):
            kind += f", with an image ({config['image']} filters)"
        n_layers = config["n_layers"]
        return kind, f"{n_layers} layer" + "s" * (n_layers != 1), f"Size {config['hidden_size']}"
    assert result.section
    own = result.section.path
    own = own[1:] if own[:1] == ("Results",) else own
    # Markdown has six levels, of which `# Results` is the first.
    own = (*own[:4], ", ".join(own[4:])) if len(own) > 5 else own
    return own or (f"{result.source.name}, line {result.section.line}",)


def _suffixes(group: list[Result]) -> list[tuple[str, ...]]:
    """For each of some results of the same headings, what its last heading adds to tell it from the others."""
    suffixes = [_own_suffix(result) for result in group]
    for labels in zip(*map(_labels, group), strict=True):
        if len(set(suffixes)) < len(group) and len(set(filter(None, labels))) > 1:
            suffixes = [
                (*suffix, label) if label and label not in suffix else suffix
                for suffix, label in zip(suffixes, labels, strict=True)
            ]
    return suffixes


def _own_suffix(result: Result) -> tuple[str, ...]:
    """What a document that was told apart from others already says in its last heading."""
    own = result.section.path[-1] if result.section and result.section.path else ""
    head, *suffix = own.split(", ")
    return tuple(suffix) if head == result.path[-1] else ()


def _labels(result: Result) -> tuple[str, ...]:
    """What may tell a result from others of the same shape, most telling first."""
    if result.run is None:
        return "", "", "", f"from {result.source.name}"
    config = result.run.config
    # A folder that is named like its model tells nothing; the one that holds it may.
    parts = (part for part in reversed(result.source.resolve().parts) if not part.startswith(str(result.name)))
    return (
        f"recipe {config.train.recipe}",
        f"{len(config.classes)} classes",
        f"seed {config.train.seed}",
        f"{'run' if result.run.metrics else 'published in'} {next(parts)}",
    )
