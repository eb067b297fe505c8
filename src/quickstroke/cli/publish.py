"""`quickstroke publish`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from quickstroke.cli.common import Json, note, optional, parse, percent, print_json
from quickstroke.errors import ConfigError, DatasetError, RunError, WeightsError

if TYPE_CHECKING:
    from quickstroke.dataset import PreparedDataset
    from quickstroke.published import LoadedModel
    from quickstroke.runs import RunConfig

LIMITS = (
    "Knows {n} words and gives all probability to them, whatever is drawn. Learnt from drawings that players of Quick, "
    "Draw! made in at most 20 seconds, of which about one in ten to twenty shows something else than its label says."
)
# One temperature is fitted: fewer drawings would rather add noise.
MIN_CALIBRATION = 200


@dataclass(frozen=True)
class Options:
    """The best weights of a run become NAME.model, a plain state dict, and NAME.json, its card.

    The card holds classes, preprocessing, reading, configuration, data, teachers, command, a hash, and honest figures
    on the splits `val` and `test` of the run's dataset, of parts of the drawings, too. `lstm/` itself is for the 2020
    project's 100 categories; another set of classes has a folder of its own, such as lstm/animals.
    """

    run: Annotated[Positional[str], arg(metavar="RUN", help="the run folder")]
    into: Annotated[str, arg(metavar="DIR", help="the folder of published models")] = "lstm"
    replace: Annotated[bool, arg(help="replace another model of the same name")] = False
    no_calibrate: Annotated[
        bool,
        arg(
            help="do not calibrate, leave the output layer as the run left it; else its temperature and its preference "
            "for classes of many drawings are fitted to the split `val`, every class counting alike; the card tells how"
        ),
    ] = False
    data: Annotated[str | None, optional("the run's dataset, where it is no longer where the run found it", "DIR")] = (
        None
    )
    test_data: Annotated[
        str | None,
        optional(
            "score the split `test` of this prepared dataset in place of the run's own; none of its drawings may be "
            "among those that the run learnt from or was validated on",
            "DIR",
        ),
    ] = None
    hub: Annotated[
        tuple[str, ...] | None,
        optional(
            "also make a folder for the Hugging Face Hub, hub/NAME, and upload it when somebody is logged in (default "
            "of REPO: USER/quickstroke-NAME)",
            "[REPO]",
        ),
    ] = None
    json: Json = False


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    options = parse(Options, "publish", args)

    from quickstroke import config as configs
    from quickstroke import published, runs
    from quickstroke.categories import SEED_CATEGORIES
    from quickstroke.evaluation import HIGHEST_TEMPERATURE
    from quickstroke.models import n_parameters

    folder, into = Path(options.run), Path(options.into)
    if options.hub is not None:
        _check_hub(options.hub)
    config = runs.read_config(folder)
    metrics = runs.read_metrics(folder, config.train.criterion)
    if not metrics:
        raise RunError(f"{folder}: no epoch has ended yet, so there is nothing to publish")
    if not (folder / "best.model").is_file():
        raise RunError(f"{folder}: its best.model is missing")
    loaded = published.load_model(folder)
    target = into / f"{loaded.name}.model"
    if target.exists() and not options.replace:
        raise WeightsError(f"{target}: exists already; give --replace to replace it, or another --into")
    hub_folder = Path("hub") / loaded.name
    if options.hub is not None and hub_folder.exists() and not options.replace:
        raise WeightsError(f"{hub_folder}: exists already; give --replace to replace it")
    if into.name == "lstm" and set(loaded.classes) != set(SEED_CATEGORIES):
        note(f"{into} is for the 2020 project's 100 categories; consider --into {into}/SET for these")
    best = runs.best_line(metrics, config.train.criterion)
    figures, calibration = _figures(config, loaded, best, options)
    facts: dict[str, Any] = {
        "parameters": n_parameters(loaded.model),
        "figures": figures,
        **calibration,
        "training": {
            **configs.to_json(config.train),
            "epochs": len(metrics),
            "best_epoch": best["epoch"],
            "seconds": round(sum(line["seconds"] for line in metrics), 1),
            **_before(config),
        },
        **({"teachers": list(config.teachers)} if config.teachers else {}),
        "data": _without_path(config.data),
        **_test_data(options.test_data, loaded.classes),
        "command": runs.command_of(folder),
        "packages": runs.read_environment(folder)["packages"],
        "limits": LIMITS.format(n=len(loaded.classes)),
        "licence": "MIT",
        "attribution": "Trained on The Quick, Draw! Dataset, made available by Google, Inc. under CC BY 4.0.",
    }
    path = published.write_model(into, loaded, facts)
    loaded = published.load_model(path)
    told = ", ".join(f"{split} top-1 {percent(f['top1'])} of {f['n']:,}" for split, f in figures.items())
    print(f"{path}: {told}")
    if calibration:
        print(_calibration_line(calibration["calibration"]))
        if calibration["calibration"]["temperature"] >= HIGHEST_TEMPERATURE:
            note("it tells the classes apart no better than chance: so all are equally probable; train it longer")
    print(f"{path.with_suffix('.json')}: its card")
    values = {"model": loaded.name, "path": str(path), "figures": figures, **calibration}
    if options.hub is not None:
        values["hub"] = _to_hub(loaded, hub_folder, *options.hub)
    if options.json:
        print_json(values)


def _before(config: "RunConfig") -> dict[str, Any]:
    """The card's entry on the trainings whose weights this one began with."""
    from quickstroke import published

    if not config.train.pretrained:
        return {}
    before = published.trainings_before(config.train)
    if before.missing:
        note(f"the card's time of the trainings before is without {', '.join(before.missing)}: nothing is known of it")
    return {"before": {"trainings": before.n, "seconds": round(before.seconds, 1), "missing": list(before.missing)}}


def _check_hub(repos: tuple[str, ...]) -> None:
    from quickstroke.export import hub

    if len(repos) > 1:
        raise ConfigError(f"--hub takes one REPO, got {len(repos)}: {' '.join(repos)}")
    for repo in repos:
        hub.check_repo(repo)


def _to_hub(loaded: "LoadedModel", folder: Path, repo: str | None = None) -> dict[str, str | None]:
    """Makes the Hub's folder and uploads it; what became of it as JSON values."""
    from quickstroke.export import hub

    repo = repo or hub.default_repo(loaded.name)
    hub.write_folder(loaded, folder, repo)
    print(f"{folder}: {', '.join(hub.FILES)}")
    if not hub.is_logged_in():
        note(f"not uploaded: nobody is logged in; `hf auth login`, then `hf upload {repo} {folder}`")
        return {"folder": str(folder), "url": None}
    url = hub.push(folder, repo)
    print(f"uploaded: {url}")
    return {"folder": str(folder), "url": url}


def _figures(
    config: "RunConfig", loaded: "LoadedModel", best: dict[str, Any], options: Options
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Honest figures by split, and what the calibration did; the model is calibrated.

    The figures are from the run's metrics alone where its dataset is gone or another.
    """

    from quickstroke import runs
    from quickstroke.dataset import PreparedDataset
    from quickstroke.evaluation import evaluate, evaluate_partial, figures_of_points, fit_calibration
    from quickstroke.training import select

    try:
        data = runs.open_data(config, options.data)
    except DatasetError as error:
        if options.data is not None:
            raise
        if options.test_data is not None:
            raise DatasetError(f"--test-data needs the run's own dataset, too: {error}") from error
        note(
            "not calibrated; the figures are those of the run's own validation: its dataset cannot be used, seen from "
            f"this folder (--data DIR: where it is): {error}"
        )
        return {"val": runs.figures_of(best)}, {}
    tested = data if options.test_data is None else PreparedDataset(options.test_data)
    if tested is not data:
        _check_unseen(tested, data, loaded.classes)
    datasets = {"val": data, "test": tested}
    if not tested.n_by_split(loaded.classes)["test"]:
        if tested is not data:
            raise DatasetError(f"{tested.path}: split 'test' has no drawing of the words of {loaded.name}")
        del datasets["test"]
    parts = {}
    for split, source in datasets.items():
        label_map = source.label_map(loaded.classes)
        parts[split] = source, select(source, split, label_map), loaded.classes, label_map
    before = {split: evaluate(loaded.model, *part) for split, part in parts.items()}
    calibration: dict[str, Any] = {}
    if not options.no_calibrate and before["val"].n < MIN_CALIBRATION:
        note(f"not calibrated: {before['val'].n} drawings to validate on; at least {MIN_CALIBRATION} are needed")
    elif not options.no_calibrate:
        source, rows, _, label_map = parts["val"]
        n_trained = data.n_trained(loaded.classes)
        fitted = fit_calibration(loaded.model, source, rows, label_map, n_trained)
        fitted.apply(loaded.model, n_trained)
        errors = {split: scores.calibration_error() for split, scores in before.items()}
        calibration = {"calibration": {**asdict(fitted), "split": "val", "error_before": errors}}
    figures: dict[str, dict[str, Any]] = {}
    for split, part in parts.items():
        partial = evaluate_partial(loaded.model, *part)
        figures[split] = {**partial[1.0].figures(), **figures_of_points(partial)}
    if calibration:
        errors = {split: values["calibration_error"] for split, values in figures.items()}
        calibration["calibration"]["error_after"] = errors
    return figures, calibration


def _check_unseen(tested: "PreparedDataset", data: "PreparedDataset", classes: Sequence[str]) -> None:
    """Raises DatasetError when a test drawing is among those of a dataset that a run learnt from or was chosen by, by
    word and key_id."""
    import numpy as np

    test = tested.indices("test")
    for split, what in (("train", "the run learnt from"), ("val", "chose its epoch and its calibration")):
        seen = data.indices(split)
        for word in classes:
            keys = []
            for source, rows in ((tested, test), (data, seen)):
                label = source.classes.index(word) if word in source.classes else -1
                keys.append(source.key_ids[rows[source.labels[rows] == label]])
            if n := len(np.intersect1d(*keys)):
                raise DatasetError(
                    f"{tested.path}: {n} test drawings of {word!r} are among those that {what}; prepare its data with "
                    f"--held-out {tested.path}"
                )


def _test_data(path: str | None, classes: Sequence[str]) -> dict[str, Any]:
    """The card's entry on the dataset of the test figures, where it is not the run's own."""
    from quickstroke.dataset import PreparedDataset
    from quickstroke.runs import describe_data

    if path is None:
        return {}
    return {"test_data": _without_path(describe_data(PreparedDataset(path), classes))}


def _without_path(data: dict[str, Any]) -> dict[str, Any]:
    """What a card tells of a dataset: where it was is of no use elsewhere."""
    return {key: value for key, value in data.items() if key != "path"}


def _calibration_line(calibration: dict[str, Any]) -> str:
    before, after = calibration["error_before"], calibration["error_after"]
    errors = ", ".join(f"{split} {percent(before[split])} -> {percent(after[split])}" for split in after)
    return (
        f"calibrated with temperature {calibration['temperature']:.3f} and prior {calibration['prior']:.3f}; "
        f"calibration error: {errors}"
    )
