"""A run's best weights -> NAME.model, a plain state dict, and NAME.json, its card with exact figures."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch

from quickstroke.artifacts import cards, environment, lineage, loading, runs
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config import serialize
from quickstroke.config.training import SelectBy
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings, n_among
from quickstroke.drawings.categories import CATEGORIES
from quickstroke.errors import (
    ConfigError,
    DatasetError,
    DownloadError,
    MissingExtra,
    RunError,
    WeightsError,
    expect,
    expect_path,
)
from quickstroke.evaluation.calibration import HIGHEST_TEMPERATURE, fit_calibration, logits_on
from quickstroke.evaluation.discriminant import fit_discriminant, some_of_each
from quickstroke.evaluation.evaluate import evaluate, evaluate_early
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.evaluation.unknown import evidence, fit_unknown, jumbled, refusals
from quickstroke.models.classifier import n_parameters
from quickstroke.reports.figures import confused_pairs, words_by_accuracy
from quickstroke.utils.files import check_place, one_at_a_time

LIMITS = "Knows {n} words and shares all probability among them, whatever is drawn"
_LIMITS_OF_UNKNOWN = "; `unknown` is the probability that it is none of them"
_LIMITS_OF_QUICKDRAW = (
    "Learnt from drawings that players of Quick, "
    "Draw! made in at most 20 seconds, of which about one in ten to twenty shows something else than its label says. "
    "Most of the drawings that the figures are of were recognised by the game's own network while they were drawn: of "
    "others, and of what people draw elsewhere, fewer are recognised."
)
_LIMITS_OF_OTHERS = "The figures are of drawings like those that it learnt from: of others, fewer are recognised."
# Google's key_ids; of a drawing without one a dataset has a higher number.
_KEY_IDS = 2**52, 2**53
# Of the words that a card names as the worst, and of the confusions.
N_WORDS = 10
# One temperature is fitted: fewer drawings would rather add noise.
MIN_CALIBRATION = 200


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` made.

    Attributes:
        name: the model's name.
        path: NAME.model.
        card_path: NAME.json beside it.
        figures: for each split that was scored the metrics, as fractions, and n drawings.
        calibration: what was done to the output layer and what it traded, as the card has it; None without. Of each
            split `top1`, `balanced_accuracy` and `error` (the calibration error, averaged over drawings where
            `select_by` is `top1`, else macro-averaged over classes), before and after.
        notes: what could not be done or looks wrong, a sentence each.
        url: of the repository that it was uploaded to; None without.
    """

    name: str
    path: Path
    card_path: Path
    figures: dict[str, dict[str, Any]]
    calibration: dict[str, Any] | None
    notes: tuple[str, ...]
    url: str | None = None


def publish(
    run: Path | str,
    into: Path | str,
    *,
    replace: bool = False,
    default: bool = False,
    calibrate: bool = True,
    data: Path | str | None = None,
    test_data: Path | str | None = None,
    without_data: bool = False,
    attribution: str | None = None,
    licence: str | None = None,
    hub: str | None = None,
) -> Published:
    """Makes a published model of a run: NAME.model, a plain state dict, and NAME.json, which says how to read it.

    The card holds all that reading it takes, where it comes from, and exact figures on the splits `val` and `test`.

    Args:
        run: the run folder.
        into: the folder of published models; it is made where it is missing.
        replace: replace another model of the same name.
        default: make it the default model of `into`, the one that `default.txt` there names. Otherwise the default
            stays what it was; where it was so as the only model, it is named now.
        calibrate: adjust the output layer on the split `val`, as `calibration.choose_calibration` does it by the metric
            that the run selected its epoch by; with fewer than 200 drawings nothing is adjusted.
        data: the run's dataset, where it is no longer where the run found it.
        test_data: another prepared dataset, whose split `test` is scored in place of the run's own.
        without_data: where the run's dataset cannot be used, publish without calibration and with the run's own
            validation figures; `notes` says so.
        attribution: whose drawings it learnt from; by default Google's, where words and key_ids are, else nothing.
        licence: of the weights; by default MIT where the drawings are Google's, else nothing.
        hub: also upload it to this repository of the Hugging Face Hub, OWNER/NAME, with a README.md made from its card;
            `load("hf://OWNER/NAME")` opens it again.

    Raises:
        RunError: no run there, or one without a finished epoch.
        WeightsError: a model of that name exists, or the run's weights are damaged.
        DatasetError: the run's dataset is gone or another, or `test_data` has no drawing of the model's words or one
            that the run learnt from or was validated on.
        ConfigError: `hub` is no name of a repository.
        DownloadError: nobody is logged in to the Hub, which is known first; or it cannot be reached, or refuses.
        MissingExtra: what `hub` needs is not installed.
        ArgumentTypeError: an argument of another type.
        OSError: `into` cannot be written, which is known before anything is measured.
    """
    folder, into = expect_path(run, "run"), expect_path(into, "into")
    flags = {"replace": replace, "default": default, "calibrate": calibrate, "without_data": without_data}
    for name, value in flags.items():
        expect(value, bool, name, "True or False")
    paths = (data, "data"), (test_data, "test_data")
    where, test_where = (None if path is None else expect_path(path, name) for path, name in paths)
    for name, text in (("attribution", attribution), ("licence", licence)):
        expect(text, (str, NoneType), name, "a text or None")
    _check_hub(hub)
    config = runs.read_config(folder)
    metrics = _metrics_of_finished(folder, config)
    loaded = loading.load_model(folder)
    _check_target(into, loaded.name, replace)
    notes: list[str] = []
    own = _open(config, where, test_where, without_data, notes)
    figures = {"val": runs.figures_of(runs.best_line(metrics, config.train.select_by))}
    calibration, tested, further = None, None, dict[str, Any]()
    if own is not None:
        tested = None if test_where is None else PreparedDataset(test_where)
        parts = _parts(own, tested or own, loaded)
        figures, calibration, words = _figures(config, loaded, parts, own, calibrate, notes)
        further = {"words": words, "discriminant": discriminant_of(loaded, own)}
        further["unknown"] = unknown_of(loaded, own, parts) if calibration else None
    terms = _terms(loaded.classes, own, attribution, licence, tells_unknown=further.get("unknown") is not None)
    facts = _facts(folder, config, metrics, loaded, figures, calibration, own, tested, notes) | terms | further
    facts = {key: value for key, value in facts.items() if value is not None}
    path = _write(into, loaded, facts, replace, default, notes)
    if calibration and calibration["temperature"] >= HIGHEST_TEMPERATURE:
        notes.append("it tells the classes apart no better than chance: so all are equally probable; train it longer")
    url = None if hub is None else _upload(path, hub)
    return Published(loaded.name, path, path.with_suffix(".json"), figures, calibration, tuple(notes), url)


def _check_hub(repo: str | None) -> None:
    """Raises ConfigError, DownloadError or MissingExtra where nothing could be uploaded to a repository."""
    if repo is None:
        return
    expect(repo, str, "hub", "the name of a repository")
    try:
        from quickstroke.export import hub
    except ModuleNotFoundError as error:
        raise MissingExtra("publishing to the Hub", "hub") from error
    hub.check_repo(repo)
    if not hub.is_logged_in():
        raise DownloadError(f"{repo}: nobody is logged in to the Hub; `hf auth login`")


def _upload(path: Path, repo: str) -> str:
    from quickstroke.export import hub

    with tempfile.TemporaryDirectory() as made:
        hub.write_folder(loading.load_model(path), Path(made), repo)
        return hub.push(Path(made), repo)


def _metrics_of_finished(folder: Path, config: RunConfig) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl of a run with at least one finished epoch.

    Raises:
        RunError: there is none, or its weights are missing.
    """
    metrics = runs.read_metrics(folder, config.train.select_by)
    if not metrics:
        raise RunError(f"{folder}: no epoch has ended yet, so there is nothing to publish")
    if not (folder / "best.model").is_file():
        raise RunError(f"{folder}: its best.model is missing")
    return metrics


def _check_target(into: Path, name: str, replace: bool) -> None:
    """Raises an error where the model cannot be written into the folder, or may not replace another."""
    if into.exists() and not into.is_dir():
        raise ConfigError(f"{into}: is a file; expected the folder of published models")
    target = into / f"{name}.model"
    if target.exists() and not replace:
        raise WeightsError(f"{target}: exists already; give --replace to replace it, or another --into")
    check_place(target)


def _write(
    into: Path, loaded: LoadedModel, facts: dict[str, Any], replace: bool, default: bool, notes: list[str]
) -> Path:
    """Writes the model and what its folder has as the default; the path of NAME.model."""
    with one_at_a_time(into):
        _check_target(into, loaded.name, replace)  # another process may have been quicker
        _keep_default(into, loaded.name, default, notes)
        path = loading.write_model(into, loaded, facts)
        if default:
            cards.write_default(into, loaded.name)
    return path


def _keep_default(into: Path, name: str, default: bool, notes: list[str]) -> None:
    """Names the only model of a folder as its default before another one joins it that is not to be the default."""
    others = [path.stem for path in into.glob("*.model") if path.stem != name]
    if default or not others or (into / cards.DEFAULT).exists():
        return
    file = into / cards.DEFAULT
    if len(others) == 1 and not (into / f"{name}.model").exists():
        cards.write_default(into, others[0])
        notes.append(f"the default model stays {others[0]} ({file}); --default makes it this one")
    else:
        n = len(others) + 1
        notes.append(f"nothing says which of {n} models is the default ({file}); --default makes it this one")


def _facts(
    folder: Path,
    config: RunConfig,
    metrics: list[dict[str, Any]],
    loaded: LoadedModel,
    figures: dict[str, dict[str, Any]],
    calibration: dict[str, Any] | None,
    own: PreparedDataset | None,
    tested: PreparedDataset | None,
    notes: list[str],
) -> dict[str, Any]:
    """What the card says beside what loading the model needs; None of what there is not."""
    best = runs.best_line(metrics, config.train.select_by)
    data = runs.data_facts(config.data)
    if own is not None:  # a run of an earlier version does not tell it
        data["n_train_by_word"] = own.n_train_by_word(loaded.classes)
    return {
        "parameters": n_parameters(loaded.model),
        "figures": figures,
        "calibration": calibration,
        "training": {
            **serialize.to_json(config.train),
            **config.deleted_options,
            "epochs": len(metrics),
            "best_epoch": best["epoch"],
            "seconds": round(sum(line["seconds"] for line in metrics), 1),
            **_before(config, notes),
        },
        "teachers": list(config.teachers) or None,
        "data": data,
        "test_data": _test_data(tested, loaded.classes) if tested else None,
        "command": environment.command_of(folder),
        "packages": environment.read_environment(folder)["packages"],
    }


def _terms(
    classes: tuple[str, ...],
    data: PreparedDataset | None,
    attribution: str | None,
    licence: str | None,
    tells_unknown: bool,
) -> dict[str, Any]:
    """The card's limits, licence and attribution; None of what nobody said."""
    is_quickdraw = _is_quickdraw(classes, data)
    limits = _LIMITS_OF_QUICKDRAW if is_quickdraw else _LIMITS_OF_OTHERS
    return {
        "limits": f"{LIMITS.format(n=len(classes))}{_LIMITS_OF_UNKNOWN * tells_unknown}. {limits}",
        "licence": licence or (cards.LICENCE if is_quickdraw else None),
        "attribution": attribution or (cards.QUICKDRAW if is_quickdraw else None),
    }


def _is_quickdraw(classes: tuple[str, ...], data: PreparedDataset | None) -> bool:
    """Whether a model learnt from Google's drawings: its words are theirs, and so are most key_ids of its dataset.

    Sketch-RNN's files have none; and where the dataset is not at hand, the words alone tell.
    """
    if not set(classes) <= set(CATEGORIES):
        return False
    if data is None or all(str(source["name"]).endswith(".npz") for source in data.manifest["sources"]):
        return True
    keys = data.key_ids[data.label_map(classes)[data.labels] >= 0]
    low, high = map(np.uint64, _KEY_IDS)
    return bool(2 * np.count_nonzero((keys >= low) & (keys < high)) > len(keys))


def _before(config: RunConfig, notes: list[str]) -> dict[str, Any]:
    """The card's entry on the trainings whose weights this one began with."""
    if not config.train.pretrained:
        return {}
    before = lineage.trainings_before(config.train, config.places)
    if before.missing:
        missing = ", ".join(before.missing)
        notes.append(f"the card's time of the trainings before is without {missing}: nothing is known of it")
    return {"before": {"trainings": before.n, "seconds": round(before.seconds, 1), "missing": list(before.missing)}}


def _open(
    config: RunConfig, path: Path | None, test_path: Path | None, without_data: bool, notes: list[str]
) -> PreparedDataset | None:
    """The run's dataset, None where it cannot be used and that is allowed."""
    try:
        return runs.open_data(config, path)
    except DatasetError as error:
        if path is not None:
            raise
        if test_path is not None:
            raise DatasetError(f"--test-data needs the run's own dataset, too: {error}") from error
        if not without_data:
            raise DatasetError(f"{error}; give --data DIR, or --without-data to publish without it") from error
        notes.append(f"not calibrated; the figures are those of the run's own validation: {error}")
        return None


def _parts(data: PreparedDataset, tested: PreparedDataset, loaded: LoadedModel) -> dict[str, LabelledDrawings]:
    """The drawings of each split to score: `val` of the run's dataset, and `test` of the dataset to be tested on.

    Raises:
        DatasetError: another dataset than the run's has no test drawing, or one that the run knows.
    """
    if tested is not data:
        _check_unseen(tested, data, loaded.classes)
    datasets = {"val": data, "test": tested}
    if not tested.n_by_split(loaded.classes)["test"]:
        if tested is not data:
            raise DatasetError(f"{tested.path}: split 'test' has no drawing of the words of {loaded.name}")
        del datasets["test"]
    return {split: LabelledDrawings.of_split(source, split, loaded.classes) for split, source in datasets.items()}


def _figures(
    config: RunConfig,
    loaded: LoadedModel,
    parts: dict[str, LabelledDrawings],
    own: PreparedDataset,
    calibrate: bool,
    notes: list[str],
) -> tuple[dict[str, dict[str, Any]], dict[str, Any] | None, dict[str, Any]]:
    """Exact figures by split, what the calibration did, and the card's entry on words; the model is calibrated."""
    n_trained = own.n_trained(loaded.classes)
    before = {split: evaluate(loaded.model, part) for split, part in parts.items()}
    select_by = config.train.select_by
    calibration: dict[str, Any] | None = None
    if calibrate and before["val"].n < MIN_CALIBRATION:
        notes.append(
            f"not calibrated: {before['val'].n} drawings to validate on; at least {MIN_CALIBRATION} are needed"
        )
    elif calibrate:
        fitted = fit_calibration(loaded.model, parts["val"], n_trained, select_by)
        fitted.apply(loaded.model, n_trained)
        calibration = {**asdict(fitted), "split": "val", "select_by": select_by}
    after = {split: evaluate(loaded.model, part) for split, part in parts.items()} if calibration else before
    figures: dict[str, dict[str, Any]] = {
        split: scores.figures() | evaluate_early(loaded.model, parts[split], scores) for split, scores in after.items()
    }
    if calibration:
        for when, evaluations in (("before", before), ("after", after)):
            traded = {split: _traded(scores, select_by) for split, scores in evaluations.items()}
            for key in ("error", "top1", "balanced_accuracy"):
                calibration[f"{key}_{when}"] = {split: values[key] for split, values in traded.items()}
    split = "test" if "test" in after else "val"
    return figures, calibration, {"split": split, **_words(after[split])}


def _words(measured: Evaluation) -> dict[str, Any]:
    """The words that are recognised worst, and those that are taken for others most often."""
    worst, confusions = words_by_accuracy(measured), confused_pairs(measured)
    return {
        "worst": [{"word": word, "right": right, "n": n} for word, right, n, _ in worst[:N_WORDS] if n],
        "confusions": [{"drawn": drawn, "taken_for": other, "n": n} for drawn, other, n, _ in confusions[:N_WORDS]],
    }


def discriminant_of(loaded: LoadedModel, data: PreparedDataset) -> dict[str, Any] | None:
    """The card's entry on where the drawings that it learnt from lie; None where there are too few words."""
    learnt = LabelledDrawings.of_split(data, "train", loaded.classes)
    learnt = replace(learnt, indices=learnt.indices[some_of_each(learnt.labels)])
    fitted = fit_discriminant(logits_on(loaded.model, learnt), learnt.labels)
    return fitted.entry() if fitted else None


def unknown_of(loaded: LoadedModel, data: PreparedDataset, parts: dict[str, LabelledDrawings]) -> dict[str, Any] | None:
    """The card's entry on drawings of none of the words: the score fitted on `val`, and its figures on each split.

    Args:
        loaded: the model, calibrated.
        data: where the drawings of `parts["val"]` are from.
        parts: drawings of the words by split.
    """
    logits = {split: logits_on(loaded.model, part) for split, part in parts.items()}
    nothing = jumbled(data, parts["val"])
    of_nothing = None if nothing is None else logits_on(loaded.model, nothing)
    score = fit_unknown(logits["val"], torch.from_numpy(parts["val"].labels), of_nothing)
    if score is None:
        return None
    measured = {}
    for split, part in parts.items():
        shown = evidence(logits[split]), evidence(logits[split], torch.from_numpy(part.labels))
        measured[split] = asdict(refusals(*(score.probability(*(x.numpy() for x in each)) for each in shown)))
    return {**score.entry(), "split": "val", "own_word_left_out": measured}


def _traded(scores: Evaluation, select_by: SelectBy) -> dict[str, float]:
    """The figures that a calibration may change; its error is averaged as the metric by which it was chosen."""
    error = scores.calibration_error(balanced=select_by == "balanced_loss")
    return {"error": error, "top1": scores.top(1), "balanced_accuracy": scores.balanced_accuracy()}


def _check_unseen(tested: PreparedDataset, data: PreparedDataset, classes: Sequence[str]) -> None:
    """Raises DatasetError when a test drawing is among those of a dataset that a run learnt from or was chosen by, by
    word and key_id."""
    test = tested.indices("test")
    key_ids, labels = tested.key_ids[test], tested.label_map(classes)[tested.labels[test]]
    for split, what in (("train", "the run learnt from"), ("val", "chose its epoch and its calibration")):
        if seen := n_among(key_ids, labels, classes, data, split):
            word, n = next(iter(seen.items()))
            raise DatasetError(
                f"{tested.path}: {n} test drawings of {word!r} are among those that {what}; prepare its data with "
                f"--held-out {tested.path}"
            )


def _test_data(tested: PreparedDataset, classes: Sequence[str]) -> dict[str, Any]:
    """The card's entry on the dataset of the test figures, where it is not the run's own."""
    told = runs.data_facts(runs.describe_data(tested, classes))
    del told["n_train_by_word"]  # nothing was learnt from it
    return told
