"""A results document in the 2020 project's form, with what that lacked: data, honest figures, curves, mistakes.

    run folders, published models, documents -> results -> headings -> pictures in FILE_files/ -> FILE.md

Only runs and models need PyTorch, only pictures need matplotlib. The same input gives the same bytes.
"""

import io
import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

from quickstroke import cards, documents
from quickstroke.config import Device, TrainConfig
from quickstroke.dataset import PreparedDataset
from quickstroke.documents import ClassSlice, EndLine, EpochLine
from quickstroke.errors import ConfigError, DatasetError, RunError, WeightsError
from quickstroke.files import atomic_write, sha256_of, write_text
from quickstroke.intervals import wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from quickstroke.evaluation import Evaluation
    from quickstroke.published import LoadedModel, TrainingsBefore
    from quickstroke.runs import Places, RunConfig

Split = Literal["auto", "test", "val"]

N_PAIRS = 15
N_MISTAKES = 20
N_MISTAKES_A_PAIR = 2

# Longer logs and tables are folded away; a reader opens them with a click.
N_UNFOLDED_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run, or the card of a published model, tells beyond what a document could.

    Attributes:
        config: its config.json, or as much of it as the card has.
        metrics: its metrics.jsonl, an epoch or more; empty for a card, which has none.
        n_epochs: that have ended.
        best_epoch: the one whose weights these are.
        seconds: that the training took.
        before: the trainings that it went on from.
        stated: its own figures of splits, among them `val`: `top1`, `top3`, `top5`, `loss` and the number `n`.
        published_protocol: top-1 of `val` by that protocol, None where it is not known.
        test_data: what the card tells of another dataset, whose test drawings it states figures of; else None.
        n_parameters: of its model.
        command: that started it, "" where that is not known.
        data: the dataset of `measured`, None where that is gone or another by now.
        why_no_data: a sentence when `data` is None.
        split: the drawings that `measured` is of.
        measured: the weights by the honest protocol, None without `data`.
    """

    config: "RunConfig"
    metrics: list[dict[str, Any]]
    n_epochs: int
    best_epoch: int
    seconds: float
    before: "TrainingsBefore"
    stated: dict[str, dict[str, Any]]
    published_protocol: float | None
    test_data: dict[str, Any] | None
    n_parameters: int
    command: str
    data: PreparedDataset | None = None
    why_no_data: str = ""
    split: str = ""
    measured: "Evaluation | None" = None

    @property
    def own_data(self) -> PreparedDataset | None:
        """The dataset that it was trained on, None where it was not found."""
        is_own = self.data and self.data.manifest_sha256 == self.config.data["manifest_sha256"]
        return self.data if is_own else None

    @property
    def stopped_early(self) -> bool:
        """Whether the run's patience has ended it."""
        patience = self.config.train.patience
        return 0 < patience <= self.n_epochs - self.best_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One section of the document: a run, a published model, or a section of another document.

    Attributes:
        source: the run folder, the model or the document, as given.
        config: what its configuration block says, None where it has none.
        log: its epochs, empty for a published model.
        ended: the closing line of its log, None where it has not ended or there is no log.
        run: None for a section of a document.
        section: that section, None for a run.
        path: its headings under `# Results`, outermost first.
        suffix: what its last heading says to tell it from others of the same shape.
    """

    source: Path
    config: documents.Config | None
    log: tuple[EpochLine, ...]
    ended: EndLine | None
    run: RunFacts | None = None
    section: documents.Section | None = None
    path: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """The model name, None where the document does not say enough."""
        if self.run:
            return self.run.config.model.name
        return self.section.name if self.section else None

    @property
    def title(self) -> str:
        """One line that tells it from all others."""
        return ", ".join((self.name, *self.suffix)) if self.name else " > ".join(self.path)


def write_report(
    sources: Sequence[Path | str] | Path | str,
    into: Path | str,
    *,
    split: Split = "auto",
    data: Sequence[Path | str] | Path | str = (),
    without_data: bool = False,
    device: Device = "auto",
    with_mistakes: bool = True,
    on_drawings: Callable[[str, int, int], None] = lambda source, n, total: None,
) -> list[Result]:
    """Writes a results document and, in `FILE_files` beside it, its pictures; those of an earlier one are replaced.

    Args:
        sources: run folders, published models with their cards (files or names), and results documents.
        into: the document, FILE.md.
        split: drawings that each run's best weights are measured on; `auto` takes those to test where there are any.
        data: datasets to look among where a run's own is no longer where it was, and for those of published models.
        without_data: whether a run whose dataset is not found is reported from its metrics alone, and a model from its
            card.
        with_mistakes: whether to show drawings that were mistaken, which are pictures of the dataset's own.
        on_drawings: called with (run, drawings just measured, drawings in all).

    Returns:
        The sections in the order of the document. One that is reported without its dataset says why in
        `run.why_no_data`.

    Raises:
        RunError: a source that is none of these, a damaged run, one without a finished epoch, or a model whose card
            does not tell of its training.
        DocumentError: a document that cannot be read.
        DatasetError: `split` is one that a run's dataset has not, one of `data` is no dataset, or, unless
            `without_data`, the dataset of a run or model is not found.
        WeightsError: a run's best weights, or a published model, are missing or damaged.
        ConfigError: no source, a document that is no FILE.md or would overwrite a source or what is no results
            document, or no such device.
    """
    into = Path(into)
    sources = [sources] if isinstance(sources, (str, Path)) else sources
    data = [data] if isinstance(data, (str, Path)) else data
    if not sources:
        raise ConfigError("nothing to report on; expected run folders or results documents")
    if into.is_dir():
        raise ConfigError(f"{into}: is a folder; expected the document to write, such as {into / 'results.md'}")
    if into.suffix != ".md":
        raise ConfigError(f"{into}: expected the document to write, such as {into.with_suffix('.md')}")
    if into.exists() and any(into.samefile(source) for source in sources if Path(source).exists()):
        raise ConfigError(f"{into}: is also a source; write into another document")
    if into.exists() and into.stat().st_size and not _is_document(into):
        raise ConfigError(f"{into}: exists and is no results document; give another --into")
    datasets = [PreparedDataset(path) for path in data]
    with picture_style():  # first, so that a missing matplotlib is told before minutes of measuring
        # All are looked at before the first is measured, which takes minutes.
        opened: list[Result | _Training] = []
        for source in map(_existing, sources):
            if source.is_dir() or source.suffix in cards.SUFFIXES:
                opened.append(_open_training(source, split, datasets, without_data))
            else:
                opened += read_sections(source)
        results = [
            each if isinstance(each, Result) else _measured(each, device, partial(on_drawings, str(each.source)))
            for each in opened
        ]
        results = arrange(results)

        folder = into.with_name(f"{into.stem}_files")
        drawn = [_pictures(number, result, with_mistakes) for number, result in enumerate(results, start=1)]
        pictures = dict(picture for kinds in drawn for picture in kinds.values())
        if any(result.log for result in results):
            pictures[_COMPARISON] = partial(draw_comparison, results)
        for name, draw in pictures.items():
            write_picture(folder / name, draw)
        write_text(into, format_document(results, drawn, folder.name))
        for path in folder.glob("*"):
            if _PICTURE_NAME.fullmatch(path.name) and path.name not in pictures:
                path.unlink()
    return results


# --- reading


def _existing(source: Path | str) -> Path:
    """A source, or the file of a published model that is meant by its name."""
    try:
        path = cards.find_model(source)
    except WeightsError:
        path = Path(source)
    if not path.exists():
        raise RunError(f"{source}: no such run folder, model or results document")
    return path


@dataclass(frozen=True, slots=True)
class _Training:
    """A run folder or a published model, not measured yet."""

    source: Path
    loaded: "LoadedModel"
    facts: RunFacts


def _open_training(
    source: Path, split: Split, data: Sequence[PreparedDataset], without_data: bool = False
) -> _Training:
    """A run folder or a published model with its dataset; arguments and errors are those of `write_report`."""
    loaded, facts = _of_run(source) if source.is_dir() else _of_model(source)
    config = facts.config
    tested = facts.test_data or config.data
    if split == "auto":
        split = "test" if tested["n_by_split"].get("test") else "val"
    if split == "test" and facts.test_data:
        dataset, why_no_data = _find_data("the dataset of its test drawings", tested, data, None)
    else:
        dataset, why_no_data = _find_data("its dataset", config.data, data, config.places)
    if not dataset and not without_data:
        raise DatasetError(f"{source}: {why_no_data}; give --data DIR, or --without-data to go on without it")
    return _Training(source, loaded, replace(facts, data=dataset, why_no_data=why_no_data, split=split))


def _measured(training: _Training, device: Device, on_drawings: Callable[[int, int], None]) -> Result:
    """The section of a run or a model, its weights measured where its dataset is found."""
    facts, config = training.facts, training.facts.config
    if facts.data:
        measured = _measure(training.loaded, facts.data, facts.split, device, on_drawings)
        facts = replace(facts, measured=measured)
    log = tuple(
        EpochLine(line["epoch"], config.train.n_epochs, line["loss"], 100 * line["val_top1"], line["seconds"])
        for line in facts.metrics
    )
    has_ended = log and (len(log) >= config.train.n_epochs or facts.stopped_early)
    return Result(
        source=training.source,
        config=_config_of(config, facts.own_data),
        log=log,
        ended=EndLine(len(log), max(line.validation_accuracy for line in log)) if has_ended else None,
        run=facts,
    )


def _of_run(folder: Path) -> tuple["LoadedModel", RunFacts]:
    """The best weights of a run, and what its folder tells, nothing measured."""
    from quickstroke import published, runs
    from quickstroke.models import n_parameters

    config = runs.read_config(folder)
    metrics = runs.read_metrics(folder, config.train.criterion)
    if not metrics:
        raise RunError(f"{folder}: no epoch of this run has ended yet, so there is nothing to report")
    loaded = published.load_model(folder)
    best = runs.best_line(metrics, config.train.criterion)
    return loaded, RunFacts(
        config=config,
        metrics=metrics,
        n_epochs=len(metrics),
        best_epoch=best["epoch"],
        seconds=sum(line["seconds"] for line in metrics),
        before=published.trainings_before(config.train, config.places),
        stated={"val": runs.figures_of(best)},
        published_protocol=best["val_top1_published_protocol"],
        test_data=None,
        n_parameters=n_parameters(loaded.model),
        command=runs.command_of(folder),
    )


def _of_model(path: Path) -> tuple["LoadedModel", RunFacts]:
    """A published model, and what its card tells, nothing measured."""
    from quickstroke import published

    if path.suffix == ".model" and not path.with_suffix(".json").is_file():
        is_of_run = (path.parent / "config.json").is_file()
        hint = f"report its run, {path.parent}" if is_of_run else "`quickstroke evaluate` measures it"
        raise RunError(f"{path}: has no card, which would tell how it was trained; {hint}")
    loaded = published.load_model(path)
    try:
        return loaded, _facts_of(loaded)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(f"{path}: its card does not tell of its training ({type(error).__name__}: {error})") from error


def _facts_of(loaded: "LoadedModel") -> RunFacts:
    """What the card of a model tells, nothing measured.

    Raises:
        ConfigError, KeyError, TypeError, ValueError, AttributeError, OverflowError: it does not tell that.
    """
    from quickstroke import config as configs
    from quickstroke import published, runs

    card = loaded.card or {}
    training = dict(card["training"])
    n_epochs, best_epoch = (_number(training, key, 1, whole=True) for key in ("epochs", "best_epoch"))
    seconds, pretrained = _number(training, "seconds"), training.get("pretrained") or ()
    # The first cards have one path, and nothing on what was before.
    paths = (pretrained,) if isinstance(pretrained, str) else tuple(map(str, pretrained))
    before = training.get("before") or {"trainings": 0, "seconds": 0.0, "missing": paths}
    stated = {}
    for key, figures in card["figures"].items():
        top = {name: _number(figures, name, most=1.0) for name in ("top1", "top3", "top5")}
        stated[str(key)] = top | {"loss": _number(figures, "loss"), "n": _number(figures, "n", 1, whole=True)}
    return RunFacts(
        config=runs.RunConfig(
            model=loaded.model.config,
            train=configs.from_record(
                {key: value for key, value in training.items() if key not in _BESIDE_CONFIG},
                f"{loaded.path}: training in its card",
            ),
            classes=loaded.classes,
            data=runs.check_data({"path": "", **card["data"]}),
            teachers=tuple(
                {key: str(teacher[key]) for key in ("name", "sha256", "licence")}
                for teacher in card.get("teachers", ())
            ),
        ),
        metrics=[],
        n_epochs=int(n_epochs),
        best_epoch=int(best_epoch),
        seconds=seconds,
        before=published.TrainingsBefore(
            int(_number(before, "trainings", whole=True)),
            _number(before, "seconds"),
            tuple(map(str, before.get("missing", ()))),
        ),
        stated={"val": stated.pop("val"), **stated},
        published_protocol=None,
        test_data=runs.check_data({"path": "", **card["test_data"]}) if "test_data" in card else None,
        n_parameters=int(_number(card, "parameters", 1, whole=True)),
        command=" ".join(str(card["command"]).split()),
    )


def _number(values: Any, key: str, least: float = 0, most: float = 1e15, whole: bool = False) -> float:
    """A number of a card, in its range; KeyError, TypeError or ValueError for anything else."""
    value = values[key]
    if type(value) not in ((int,) if whole else (int, float)) or not least <= value <= most:
        raise ValueError(f"{key} should be a {'whole ' * whole}number of {least} or more, got {value!r:.60}")
    return float(value) if not whole else value


# What the card tells of a training beside its configuration.
_BESIDE_CONFIG = ("epochs", "best_epoch", "seconds", "before")


def _measure(
    loaded: "LoadedModel", data: PreparedDataset, split: str, device: Device, on_drawings: Callable[[int, int], None]
) -> "Evaluation":
    from quickstroke import evaluation, training

    model = loaded.model.to(training.pick_device(TrainConfig(device=device)))
    label_map = data.label_map(loaded.classes)
    indices = training.select(data, split, label_map)
    return evaluation.evaluate(
        model, data, indices, loaded.classes, label_map, on_batch=lambda n: on_drawings(n, len(indices))
    )


def read_sections(path: Path) -> list[Result]:
    """The sections of a results document, as they stand there.

    Raises:
        DocumentError: the document cannot be read.
    """
    return [
        Result(source=path, config=section.config, log=section.log, ended=section.ended, section=section)
        for section in documents.read_document(path).sections
    ]


def _find_data(
    what: str, told: dict[str, Any], others: Sequence[PreparedDataset], places: "Places | None"
) -> tuple[PreparedDataset | None, str]:
    """The dataset that a run or a card tells of, at its own path or among others, or None and why."""
    wanted, own = told["manifest_sha256"], told["path"]
    candidates, reasons = list(others), []
    if own:
        there = [each for each in (places.of(own) if places else ()) if (each / "manifest.json").is_file()]
        if there:
            own = str(next((each for each in there if sha256_of(each / "manifest.json") == wanted), there[0]))
        try:
            candidates.insert(0, data := PreparedDataset(own))
            reasons.append(
                f"{what} is another by now: {own} has the manifest {data.manifest_sha256[:12]}, it had {wanted[:12]}"
            )
        except DatasetError as error:
            gone = not (Path(own) / "manifest.json").exists()
            reasons.append(f"{what} is gone: nothing at {own}" if gone else f"{what} is damaged: {error}")
    if others:
        reasons.append(f"no --data has the manifest {wanted[:12]} of {what}")
    found = next((data for data in candidates if data.manifest_sha256 == wanted), None)
    if found:
        return found, ""
    return None, "; ".join(reasons) or f"nothing says where {what} is, with the manifest {wanted[:12]}"


def _config_of(config: "RunConfig", data: PreparedDataset | None) -> documents.Config:
    """The configuration block of a run."""
    split = config.data["split"]
    return {
        **{key: getattr(config.train, key) for key in ("batch_size", "learning_rate", "max_padding", "n_epochs")},
        **{key: getattr(config.model, key) for key in ("hidden_size", "n_layers", "conv1", "conv2", "bidirectional")},
        **({"readout": "pool"} if config.model.readout == "pool" else {}),
        **({"image": config.model.image} if config.model.image else {}),
        "train_classes": ClassSlice() if data and data.classes == config.classes else config.classes,
        **{key.replace("n_", "N_", 1): n for key, n in split.items() if split["rule"] == "position" and key != "rule"},
    }


# --- headings


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


def _convolutions(config: documents.Config) -> tuple[tuple[int, ...], ...]:
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


# --- figures


def figures(result: Result) -> dict[str, Any]:
    """The figures of a section, as JSON values: fractions, seconds, and None for what is not known."""
    accuracies = {
        line.epoch: line.validation_accuracy for line in result.log if math.isfinite(line.validation_accuracy)
    }
    run = result.run
    seconds = [line.seconds for line in result.log if math.isfinite(line.seconds)]
    seconds_per_epoch = run.seconds / run.n_epochs if run else statistics.fmean(seconds) if seconds else None
    best_epoch = run.best_epoch if run else max(accuracies, key=lambda epoch: accuracies[epoch], default=None)
    best = accuracies.get(best_epoch or 0)
    if result.ended:
        best = result.ended.best_validation_accuracy
    best_top1 = run.stated["val"]["top1"] if run else None if best is None else best / 100
    classes = result.config.get("train_classes") if result.config else None
    measured = run.measured if run else None
    names = ("top1", "top3", "top5", "top1_low", "top1_high", "loss", "n")
    return {
        "model": result.name,
        "recipe": run.config.train.recipe if run else None,
        "headings": list(result.path),
        "source": str(result.source),
        "n_classes": len(run.config.classes) if run else len(classes) if isinstance(classes, tuple) else None,
        "parameters": run.n_parameters if run else None,
        "epochs": run.n_epochs if run else len(result.log),
        "best_epoch": best_epoch,
        "best_val_top1": best_top1 if best_top1 is not None and math.isfinite(best_top1) else None,
        "val_top1_published_protocol": run.published_protocol if run else None,
        "seconds_per_epoch": seconds_per_epoch,
        "split": run.split if run and measured else None,
        **(measured.figures() if measured else dict.fromkeys(names)),
    }


def confused_pairs(measured: "Evaluation") -> list[tuple[str, str, int, float]]:
    """Mistakes as (word drawn, word it was taken for, how often, share of the drawn word), most frequent first."""
    confusion = measured.confusion()
    totals = confusion.sum(axis=1)
    np.fill_diagonal(confusion, 0)
    truths, guesses = np.nonzero(confusion)
    pairs = [
        (measured.classes[i], measured.classes[j], int(confusion[i, j]), float(confusion[i, j] / totals[i]))
        for i, j in zip(truths.tolist(), guesses.tolist(), strict=True)
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def words_by_accuracy(measured: "Evaluation") -> list[tuple[str, int, int, float | None]]:
    """Each word with (drawings recognised, drawings, accuracy), the worst first; a word without drawings comes last."""
    words = [(word, right, n, right / n if n else None) for word, (right, n) in measured.per_class().items()]
    return sorted(words, key=lambda word: math.inf if word[3] is None else word[3])


def worst_mistakes(measured: "Evaluation") -> list[int]:
    """Rows of an evaluation that are wrong with the highest probability, a few of each pair of words."""
    wrong = np.flatnonzero(measured.predicted != measured.labels)
    taken: Counter[tuple[int, int]] = Counter()
    rows = []
    for row in wrong[np.argsort(-measured.probability[wrong], kind="stable")].tolist():
        pair = int(measured.labels[row]), int(measured.predicted[row])
        taken[pair] += 1
        if taken[pair] <= N_MISTAKES_A_PAIR:
            rows.append(row)
    return rows[:N_MISTAKES]


# --- pictures

_COMPARISON = "comparison.svg"
# Its own line in every document.
_RESULTS = "# Results"
_PICTURE_NAME = re.compile(r"comparison\.svg|[0-9]{2,}-[\w-]+-(curves\.svg|confusion\.png|mistakes\.png)")
_DPI = 100

_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.alpha": 0.3,
    "savefig.dpi": _DPI,
    "svg.hashsalt": "quickstroke",  # the same ids in each file that is written
    "text.parse_math": False,  # a word may hold a dollar sign
}

Draw = Callable[["Figure"], None]


@contextmanager
def picture_style() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own settings, then `_STYLE`."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _pictures(number: int, result: Result, with_mistakes: bool) -> dict[str, tuple[str, Draw]]:
    """The pictures of the section `number`, from 1: of each kind its file name and what draws it."""
    draws: dict[str, Draw] = {}
    if result.log:
        draws["curves.svg"] = partial(draw_curves, result)
    if result.run and result.run.measured and result.run.data:
        draws["confusion.png"] = partial(draw_confusion, result.run.measured)
        if with_mistakes and (rows := worst_mistakes(result.run.measured)):
            draws["mistakes.png"] = partial(draw_mistakes, result.run.measured, result.run.data, rows)
    stem = f"{number:02}-{result.name or 'section'}"
    return {kind.partition(".")[0]: (f"{stem}-{kind}", draw) for kind, draw in draws.items()}


def _is_document(path: Path) -> bool:
    return _RESULTS in path.read_text(encoding="utf-8", errors="replace").splitlines()


def write_picture(path: Path, draw: Draw) -> None:
    """Draws a figure and writes it as what its name says, `.svg` or `.png`."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure()
    draw(figure)
    with atomic_write(path) as file:
        if path.suffix == ".svg":
            figure.savefig(file, format="svg", metadata={"Date": None})
        else:
            pixels = io.BytesIO()
            figure.savefig(pixels, format="png")
            # With a palette of 256 colours the eye sees the same, in a third of the bytes.
            Image.open(pixels).convert("RGB").quantize(256).save(file, format="png", optimize=True)


def draw_curves(result: Result, figure: "Figure") -> None:
    """Loss and validation accuracy of one section over its epochs, a dot at the best."""
    figure.set_size_inches(7.5, 2.7)
    loss, accuracy = figure.subplots(1, 2)
    epochs = [line.epoch for line in result.log]
    top1 = [line.validation_accuracy for line in result.log]
    loss.plot(epochs, [line.loss for line in result.log], **_marked(epochs), label="training")
    if result.run:
        metrics = result.run.metrics
        published = [100 * line["val_top1_published_protocol"] for line in metrics]
        loss.plot(epochs, [line["val_loss"] for line in metrics], **_marked(epochs), label="val")
        accuracy.plot(epochs, published, "--", color="C2", label="published protocol")
        accuracy.plot(epochs, top1, **_marked(epochs), color="C1", label="honest")
        accuracy.plot(result.run.best_epoch, 100 * result.run.stated["val"]["top1"], "o", color="C1")
        loss.legend()
        accuracy.legend(loc="lower right")
    else:
        accuracy.plot(epochs, top1, **_marked(epochs), color="C1")
    _label_axes(loss, "loss" if result.run else "training loss")
    _label_axes(accuracy, "val top-1, %")


def draw_comparison(results: Sequence[Result], figure: "Figure") -> None:
    """Validation accuracy and training loss of all sections over their epochs."""
    results = [result for result in results if result.log]
    figure.set_size_inches(8.5, 3.4 + 0.18 * math.ceil(len(results) / 2))
    accuracy, loss = figure.subplots(1, 2)
    looks = itertools.product(("-", "--", ":", "-."), range(10))
    for result, (line_style, color) in zip(results, itertools.cycle(looks)):
        epochs = [line.epoch for line in result.log]
        label, origin = result.title, result.source.name
        if not result.run and origin not in label:
            label += f" (from {origin})"
        look = {**_marked(epochs), "color": f"C{color}", "linestyle": line_style}
        accuracy.plot(epochs, [line.validation_accuracy for line in result.log], **look, label=label)
        loss.plot(epochs, [line.loss for line in result.log], **look)
    _label_axes(accuracy, "val top-1, %")
    _label_axes(loss, "training loss")
    figure.legend(loc="outside lower center", ncols=2)


def _marked(epochs: Sequence[int]) -> dict[str, Any]:
    # A single epoch is no line, and few are easier to read with their points.
    return {"marker": "."} if len(epochs) <= 20 else {}


def _label_axes(axes: "Axes", what: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="epoch", ylabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_confusion(measured: "Evaluation", figure: "Figure") -> None:
    """The confusion matrix, each row in shares of its word's drawings; mistakes have a scale of their own."""
    confusion = measured.confusion()
    n = len(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(n, dtype=bool)
    most = max(float(shares[~diagonal].max(initial=0)), 0.01)

    # All in pixels, so that a cell is a whole number of them however many there are.
    cell = min(max(1200 // n, 9), 48)
    font = min(0.8 * cell, 13)
    labels = round(0.62 * font * max(map(len, measured.classes))) + 20
    all_around = n > 20
    side = n * cell
    width = max(labels + side + (labels if all_around else 20), 480)
    height = 50 + (labels if all_around else 0) + side + labels
    figure.set_layout_engine("none")
    figure.set_size_inches(width / _DPI, height / _DPI)
    axes = figure.add_axes((labels / width, labels / height, side / width, side / height))
    axes.imshow(np.ma.masked_array(shares, ~diagonal), cmap="Blues", vmin=0, vmax=1.2)
    # The square root of the share: one drawing in a hundred should be seen beside one in four.
    wrong = np.ma.masked_array(np.sqrt(shares), diagonal | (confusion == 0))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=math.sqrt(most))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    size = font * 72 / _DPI
    axes.set_xticks(range(n), labels=measured.classes, rotation=90, fontsize=size)
    axes.set_yticks(range(n), labels=measured.classes, fontsize=size)
    axes.tick_params(length=0, labelright=all_around, labeltop=all_around)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5, alpha=1)
    axes.tick_params(which="minor", length=0)
    for i, j in np.argwhere(confusion) if n <= 20 else ():
        share = shares[i, j]
        dark = share > 0.6 if i == j else share > most / 2
        axes.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    figure.text(
        0.01,
        1 - 6 / height,
        "Row: the word that was drawn. Column: the word it was taken for.\n"
        f"Blue: share recognised. Red: share mistaken, full at {most:.1%}.",
        va="top",
        fontsize=9,
    )


def draw_mistakes(measured: "Evaluation", data: PreparedDataset, rows: Sequence[int], figure: "Figure") -> None:
    """The drawings of some rows of an evaluation, with their word, what they were taken for, and how surely."""
    n_columns = 5
    n_rows = math.ceil(len(rows) / n_columns)
    figure.set_size_inches(8.5, 2 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, row in zip(panels, rows, strict=False):
        for stroke in data.strokes(int(measured.indices[row])):
            marker = "o" if len(stroke) == 1 else None
            axes.plot(stroke[:, 0], stroke[:, 1], color="black", linewidth=1.3, marker=marker, markersize=2)
        axes.set(aspect="equal", xlim=(-8, 263), ylim=(263, -8))
        word, guess = measured.classes[measured.labels[row]], measured.classes[measured.predicted[row]]
        axes.set_title(f"{word} →\n{guess} {measured.probability[row]:.0%}", fontsize=9)


# --- markdown

_DESCRIPTION = """\
# Description

Each section under *Results* is one training: its configuration, in the form that `quickstroke train NAME --config` \
takes, and the log of its epochs; `--recipe`, `--precision` and `--seed` are told beside it. A model is named by its \
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
*Honest* figures are measured in evaluation mode and depend on nothing but the drawing. The *published protocol* is \
how the 2020 project measured: batch norm in training mode over batches sorted by word, which makes other figures. \
Intervals are Wilson's, for 95%: what another draw of drawings might change, not what another training would.
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
        parts.append(_image("Training curves of all sections", folder, _COMPARISON))
    parts.append(f"{_RESULTS}\n")
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
        name = f"`{result.name}`" if result.name else _text(result.title)
        interval = f" ({values['top1_low']:.1%} to {values['top1_high']:.1%})" if values["n"] else ""
        rows.append(
            (
                ", ".join((name, *map(_text, marks))),
                values["recipe"] or "",
                _count(values["n_classes"]),
                _count(values["parameters"]),
                _count(values["epochs"] or None),
                _percent(values["best_val_top1"]) + "\\*" * (not result.run and values["best_val_top1"] is not None),
                f"{values['split']}, {values['n']:,} drawings" if values["n"] else "not measured",
                _percent(values["top1"]) + interval,
                _percent(values["top3"]),
                _percent(values["top5"]),
                "" if values["seconds_per_epoch"] is None else f"{values['seconds_per_epoch']:.1f}",
            )
        )
    head = "Model|Recipe|Classes|Parameters|Epochs|Val top-1|Measured on|Top-1 (95% interval)|Top-3|Top-5|s/epoch"
    table = _table("llrrrrlrrrr", head.split("|"), rows)
    if "\\* |" in table:
        table += "\n\\* as its document says; not measured here.\n"
    return table


def _section(result: Result, pictures: dict[str, str]) -> Iterator[str]:
    """The parts of one section below its heading."""
    yield _introduction(result)
    if result.config is not None:
        yield f"Config:\n\n```python\n{documents.format_config(result.config)}\n```\n"
    if result.log or result.ended:
        # What another document says is carried over as it stands there.
        of_epoch = documents.show_epoch if result.run else documents.format_epoch
        at_end = documents.show_end if result.run else documents.format_end
        lines = [*map(of_epoch, result.log)]
        lines += [at_end(result.ended)] if result.ended else []
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
            f"{name} the document `{result.source}`, {_text(where)}line {result.section.line}. "
            + ("The figures are that document's own; " if result.log or result.ended else "It has no log there; ")
            + "nothing was measured here."
            + (f" {n_ignored} other lines of its log are left out.\n" if n_ignored else "\n")
        )
    assert result.run
    run, train = result.run, result.run.config.train
    n, best = run.n_epochs, run.best_epoch
    precision = "" if train.precision == "auto" else f", precision `{train.precision}`"  # older runs do not say
    criterion = "" if train.criterion == "top1" else " by its loss, every class counting alike,"
    if n >= train.n_epochs:
        state = f"Of its {n} epochs the best{criterion} is {best}." if n > 1 else "It has one epoch."
    elif run.stopped_early:
        state = f"It stopped after {n} of {train.n_epochs} epochs: none was better than epoch {best} in {n - best}."
    elif not run.metrics:
        state = f"It was published after {n} of {train.n_epochs} epochs, the best{criterion} of which is {best}."
    else:
        state = f"**It has not ended**: {n} of {train.n_epochs} epochs so far, the best{criterion} is {best}."
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
        said = "what they say"
        if train.label_odds != 1:
            said += f" with the odds of the label times {train.label_odds:g}"
        rest = ", the rest is the label" if train.teacher_weight < 1 else ""
        text += (
            f"\nTeachers: {names}. Of drawings that have one of the words, {train.teacher_weight:.0%} of the target is "
            f"{said}{rest}; {train.unlabelled:.0%} of the drawings have other words, and there all is what they say.\n"
        )
    return text


def _duration(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:,.0f} minutes"
    return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"


def _data(run: RunFacts) -> str:
    told = run.config.data
    split = dict(told["split"])
    rule = split.pop("rule")
    if rule == "position":
        counts = ((key.removeprefix("n_").replace("_", " "), n) for key, n in split.items() if n)
        how = "by position, of each class " + ", ".join(f"{n:,} {name}" for name, n in counts)
    else:
        fractions = ", ".join(f"{name} {share:g}" for name, share in split.items() if share)
        how = (
            f"by {rule} in fractions ({fractions}); classes have different numbers of drawings, so the configuration "
            "names no `N_train`, `N_val` and `N_test`"
        )
    n_by_split = ", ".join(f"{n:,} {name}" for name, n in told["n_by_split"].items() if n)
    data = run.own_data
    sources = f" from {len(data.manifest['sources'])} source files" if data else ""
    if data and data.manifest["options"]["recognized_only"]:
        sources += ", recognised drawings only"
    where = f"`{told['path']}`, " if told["path"] else ""
    text = f"Data: {where}manifest `{told['manifest_sha256'][:12]}`{sources}. Drawings: {n_by_split}. Split {how}.\n"
    if run.test_data:
        text += f"\nThe test figures are of another dataset, manifest `{run.test_data['manifest_sha256'][:12]}`.\n"
    if run.data is None:
        noted = "Below is what the run noted while it was trained; test figures, confusions and mistakes are left out"
        if not run.metrics:
            noted = "Below is what its card states; confusions and mistakes are left out"
        text += f"\n> **Not measured:** {_text(run.why_no_data)}. {noted}.\n"
    return text


def _figures_table(result: Result) -> str:
    assert result.run
    run, values = result.run, figures(result)
    rows = []
    if run.measured:
        rows.append(_figures_row(run.split, values, "**"))
    rows += [
        _figures_row(split, stated) for split, stated in run.stated.items() if not run.measured or split != run.split
    ]
    if run.published_protocol is not None:
        n = _count(run.stated["val"]["n"])
        rows.append(("val", "published", n, _percent(run.published_protocol), "", "", "", ""))
    head = ("Drawings", "Protocol", "Number", "Top-1", "95% interval", "Top-3", "Top-5", "Loss")
    weights = "best.model" if run.metrics else result.source.name
    table = f"Figures of `{weights}`, epoch {run.best_epoch}:\n\n" + _table("llrrrrrr", head, rows)
    if run.measured and run.split == "val":
        why = "" if run.config.data["n_by_split"].get("test") else "The dataset has no test split. "
        table += f"\n{why}The val drawings chose the epoch, so expect a little less of new drawings.\n"
    return table


def _figures_row(split: str, values: dict[str, Any], mark: str = "") -> tuple[str, ...]:
    low, high = wilson_interval(round(values["top1"] * values["n"]), values["n"])
    return (
        split,
        "honest",
        _count(values["n"]),
        f"{mark}{values['top1']:.2%}{mark}",
        f"{low:.2%} to {high:.2%}",
        _percent(values["top3"]),
        _percent(values["top5"]),
        f"{values['loss']:.4f}",
    )


def _mistakes(measured: "Evaluation", pictures: dict[str, str]) -> Iterator[str]:
    yield "Confusions:\n"
    yield pictures["confusion"]
    pairs = confused_pairs(measured)
    if pairs:
        head: tuple[str, ...] = ("Drawn", "Taken for", "Times", "Share of the word's drawings")
        most = [(_text(word), _text(guess), _count(n), _percent(share)) for word, guess, n, share in pairs[:N_PAIRS]]
        yield _table("llrr", head, most)
    taken_for: dict[str, str] = {}
    for word, guess, n, _ in pairs:
        taken_for.setdefault(word, f"{_text(guess)} ({n})")
    head = ("Word", "Right", "Of", "Accuracy", "Most often taken for")
    rows = [
        (_text(word), _count(right), _count(n), _percent(accuracy), taken_for.get(word, ""))
        for word, right, n, accuracy in words_by_accuracy(measured)
    ]
    table = _table("lrrrl", head, rows)
    yield _folded(f"All {len(rows)} words, worst first", table) if len(rows) > N_UNFOLDED_LINES else table
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
    return f"![{_text(alternative)}]({quote(folder)}/{quote(name)})\n"


def _text(text: str) -> str:
    """Text that markdown takes as it is."""
    return re.sub(r"[\\`*|<\[\]]|\b_|_\b", r"\\\g<0>", text)


def _count(n: int | None) -> str:
    return "" if n is None else f"{n:,}"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.2%}"
