"""A results document in the 2020 project's form, and beyond it data, exact figures, curves and mistakes.

    run folders, published models, documents -> results -> headings -> pictures in FILE_files/ -> FILE.md

Only runs and models need PyTorch, only pictures need matplotlib. The same input gives the same bytes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickstroke.artifacts import cards, runs
from quickstroke.config.training import Device, TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.errors import ConfigError, DatasetError, RunError, WeightsError
from quickstroke.reports import document_config, documents
from quickstroke.reports.document_config import ClassSlice
from quickstroke.reports.documents import EndLine, EpochLine
from quickstroke.reports.figures import worst_mistakes
from quickstroke.reports.headings import arrange
from quickstroke.reports.markdown import COMPARISON, RESULTS, format_document
from quickstroke.reports.plots import (
    Draw,
    draw_comparison,
    draw_confusion,
    draw_curves,
    draw_mistakes,
    picture_style,
    write_picture,
)
from quickstroke.reports.results import Result, RunFacts, Split
from quickstroke.utils.files import check_place, write_text

if TYPE_CHECKING:
    from quickstroke.artifacts.loading import LoadedModel


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
        OSError: `into` cannot be written, which is known before anything is measured.
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
    check_place(into)
    datasets = [PreparedDataset(path) for path in data]
    with picture_style():  # first, so that a missing matplotlib is told before minutes of measuring
        # All are looked at before the first is measured, which takes minutes.
        opened: list[Result | tuple[Path, LoadedModel, RunFacts]] = []
        for source in map(_existing, sources):
            if source.is_dir() or source.suffix in cards.SUFFIXES:
                opened.append((source, *_open_training(source, split, datasets, without_data)))
            else:
                opened += _sections_of(source)
        results = arrange(
            each if isinstance(each, Result) else _measured(*each, device, partial(on_drawings, str(each[0])))
            for each in opened
        )

        folder = into.with_name(f"{into.stem}_files")
        drawn = [_pictures(number, result, with_mistakes) for number, result in enumerate(results, start=1)]
        pictures = dict(picture for kinds in drawn for picture in kinds.values())
        if any(result.log for result in results):
            pictures[COMPARISON] = partial(draw_comparison, results)
        for name, draw in pictures.items():
            write_picture(folder / name, draw)
        write_text(into, format_document(results, drawn, folder.name))
        for path in folder.glob("*"):
            if _PICTURE_NAME.fullmatch(path.name) and path.name not in pictures:
                path.unlink()
    return results


def _existing(source: Path | str) -> Path:
    """A source, or the file of a published model that is meant by its name."""
    try:
        path = cards.find_model(source)
    except WeightsError:
        path = Path(source)
    if not path.exists():
        raise RunError(f"{source}: no such run folder, model or results document")
    return path


def _sections_of(path: Path) -> list[Result]:
    """The sections of a results document, as they stand there."""
    return [
        Result(source=path, config=section.config, log=section.log, ended=section.ended, section=section)
        for section in documents.read_document(path).sections
    ]


def _open_training(
    source: Path, split: Split, data: Sequence[PreparedDataset], without_data: bool
) -> tuple["LoadedModel", RunFacts]:
    """A run or a published model with its dataset, not measured; arguments and errors are those of `write_report`."""
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
    return loaded, replace(facts, data=dataset, why_no_data=why_no_data, split=split)


def _measured(
    source: Path, loaded: "LoadedModel", facts: RunFacts, device: Device, on_drawings: Callable[[int, int], None]
) -> Result:
    """The section of a run or a model, its weights measured where its dataset is found."""
    from quickstroke.data.selection import LabelledDrawings
    from quickstroke.evaluation.evaluate import evaluate
    from quickstroke.runtime.device import pick_device

    config = facts.config
    if facts.data:
        model = loaded.model.to(pick_device(TrainConfig(device=device)))
        drawings = LabelledDrawings.of_split(facts.data, facts.split, loaded.classes)
        facts = replace(facts, measured=evaluate(model, drawings, on_batch=lambda n: on_drawings(n, len(drawings))))
    log = tuple(EpochLine.of(line, config.train.n_epochs) for line in facts.metrics)
    has_ended = log and (len(log) >= config.train.n_epochs or facts.stopped_early)
    return Result(
        source=source,
        config=_config_of(config, facts.own_data),
        log=log,
        ended=EndLine(len(log), max(line.validation_accuracy for line in log)) if has_ended else None,
        run=facts,
    )


def _of_run(folder: Path) -> tuple["LoadedModel", RunFacts]:
    """The best weights of a run, and what its folder tells, nothing measured."""
    from quickstroke.artifacts import environment, lineage, loading
    from quickstroke.models.classifier import n_parameters

    config = runs.read_config(folder)
    metrics = runs.read_metrics(folder, config.train.select_by)
    if not metrics:
        raise RunError(f"{folder}: no epoch of this run has ended yet, so there is nothing to report")
    loaded = loading.load_model(folder)
    best = runs.best_line(metrics, config.train.select_by)
    return loaded, RunFacts(
        config=config,
        metrics=metrics,
        n_epochs=len(metrics),
        best_epoch=best["epoch"],
        seconds=sum(line["seconds"] for line in metrics),
        before=lineage.trainings_before(config.train, config.places),
        stated={"val": runs.figures_of(best)},
        test_data=None,
        n_parameters=n_parameters(loaded.model),
        command=environment.command_of(folder),
    )


def _of_model(path: Path) -> tuple["LoadedModel", RunFacts]:
    """A published model, and what its card tells, nothing measured."""
    from quickstroke.artifacts import loading

    if path.suffix == ".model" and not path.with_suffix(".json").is_file():
        is_of_run = (path.parent / "config.json").is_file()
        hint = f"report its run, {path.parent}" if is_of_run else "`quickstroke evaluate` measures it"
        raise RunError(f"{path}: has no card, which would tell how it was trained; {hint}")
    loaded = loading.load_model(path)
    if "training" not in (loaded.card or {}):
        raise RunError(
            f"{path}: its card has no training, such as of a model that was saved by `save_pretrained`; "
            "`quickstroke evaluate` measures it"
        )
    try:
        return loaded, _facts_of(loaded)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(f"{path}: its card does not tell of its training ({type(error).__name__}: {error})") from error


def _facts_of(loaded: "LoadedModel") -> RunFacts:
    """What the card of a model tells, nothing measured.

    Raises:
        ConfigError, KeyError, TypeError, ValueError, AttributeError, OverflowError: it does not tell that.
    """
    from quickstroke.artifacts import lineage
    from quickstroke.config import former, serialize

    card = loaded.card or {}
    training = dict(card["training"])
    options = {key: value for key, value in training.items() if key not in _BESIDE_CONFIG}
    train = serialize.from_record(options, f"{loaded.path}: training in its card")
    # The first cards have nothing on what was before.
    before = training.get("before") or {"trainings": 0, "seconds": 0.0, "missing": train.pretrained}
    stated = {}
    for key, figures in card["figures"].items():
        top = {name: _number(figures, name, most=1.0) for name in ("top1", "top3", "top5")}
        stated[str(key)] = top | {"loss": _number(figures, "loss"), "n": _number(figures, "n", 1, whole=True)}
    return RunFacts(
        config=runs.RunConfig(
            model=loaded.model.config,
            train=train,
            classes=loaded.classes,
            data=runs.check_data({"path": "", **card["data"]}),
            teachers=tuple(
                {key: str(teacher[key]) for key in ("name", "sha256", "licence")}
                for teacher in card.get("teachers", ())
            ),
            deleted_options=former.deleted_options(training),
        ),
        metrics=[],
        n_epochs=int(_number(training, "epochs", 1, whole=True)),
        best_epoch=int(_number(training, "best_epoch", 1, whole=True)),
        seconds=_number(training, "seconds"),
        before=lineage.TrainingsBefore(
            int(_number(before, "trainings", whole=True)),
            _number(before, "seconds"),
            tuple(map(str, before.get("missing", ()))),
        ),
        stated={"val": stated.pop("val"), **stated},
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


def _find_data(
    what: str, told: dict[str, Any], others: Sequence[PreparedDataset], places: runs.Places | None
) -> tuple[PreparedDataset | None, str]:
    """The dataset that a run or a card tells of, at its own path or among others, or None and why."""
    wanted, own = told["manifest_sha256"], told["path"]
    candidates, reasons = list(others), []
    if own:
        place = runs.find_data(told, places)
        try:
            candidates.insert(0, data := PreparedDataset(place))
            reasons.append(
                f"{what} is another by now: {place} has the manifest {data.manifest_sha256[:12]}, it had {wanted[:12]}"
            )
        except DatasetError as error:
            gone = not (place / "manifest.json").exists()
            reasons.append(
                f"{what} is gone: nothing at {Path(own).absolute()}" if gone else f"{what} is damaged: {error}"
            )
    if others:
        reasons.append(f"no --data has the manifest {wanted[:12]} of {what}")
    found = next((data for data in candidates if data.manifest_sha256 == wanted), None)
    if found:
        return found, ""
    return None, "; ".join(reasons) or f"nothing says where {what} is, with the manifest {wanted[:12]}"


def _config_of(config: runs.RunConfig, data: PreparedDataset | None) -> document_config.Config:
    """The configuration block of a run."""
    split = config.data["split"]
    return {
        **{key: getattr(config.train, key) for key in ("batch_size", "learning_rate", "max_padding", "n_epochs")},
        **{key: getattr(config.model, key) for key in ("hidden_size", "n_layers", "conv1", "conv2", "bidirectional")},
        **({"readout": config.model.readout} if config.model.readout != "last" else {}),
        **({"image": config.model.image} if config.model.image else {}),
        "train_classes": ClassSlice() if data and data.classes == config.classes else config.classes,
        **{key.replace("n_", "N_", 1): n for key, n in split.items() if split["rule"] == "position" and key != "rule"},
    }


_PICTURE_NAME = re.compile(r"comparison\.svg|[0-9]{2,}-[\w-]+-(curves\.svg|confusion\.png|mistakes\.png)")


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
    return RESULTS in path.read_text(encoding="utf-8", errors="replace").splitlines()
