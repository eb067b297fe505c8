"""`quickstroke publish`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from quickstroke.cli.answers import Answer, note, percent, say
from quickstroke.cli.options import Json, optional
from quickstroke.cli.running import import_torch
from quickstroke.errors import ConfigError, DownloadError, WeightsError

if TYPE_CHECKING:
    from quickstroke.artifacts.loading import LoadedModel


@dataclass(frozen=True)
class Options:
    """The best weights of a run become NAME.model, a plain state dict, and NAME.json, its card.

    The card holds classes, preprocessing, reading, configuration, data, teachers, command, a hash, and exact figures
    on the splits `val` and `test` of the run's dataset, also of early recognition. The default model is the one that
    DIR/default.txt names, or the only one in DIR.

    Attributes:
        run: the run folder
        into: the folder of published models
        default: make it the default model of DIR, the one that DIR/default.txt names
        replace: replace another model of the same name
        no_calibrate: do not calibrate the output layer. By default a logit adjustment (strength tau) and a temperature
            are fitted on the split `val`, for the metric by which the run selected its epoch; the card says what
            changed
        data: the run's dataset, where it is no longer where the run found it
        without_data: go on where that is not found, with the run's own validation figures and not calibrated
        test_data: score the split `test` of this prepared dataset in place of the run's own; none of its drawings may
            be among those that the run learnt from or was validated on
        attribution: whose drawings the model learnt from, a sentence for the card (default: Google's, where words and
            key_ids are those of Quick, Draw!)
        licence: of the weights, for the card (default: MIT where the drawings are Google's)
        hub: also make a folder for the Hugging Face Hub, hub/NAME, and upload it when somebody is logged in (default of
            REPO: USER/quickstroke-NAME)
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    into: Annotated[str, arg(metavar="DIR")] = "lstm"
    default: bool = False
    replace: bool = False
    no_calibrate: bool = False
    data: Annotated[str | None, optional("DIR")] = None
    without_data: bool = False
    test_data: Annotated[str | None, optional("DIR")] = None
    attribution: Annotated[str | None, optional("TEXT")] = None
    licence: Annotated[str | None, optional("NAME")] = None
    hub: Annotated[tuple[str, ...] | None, optional("[REPO]")] = None
    json: Json = False


def run(options: Options) -> Answer:
    if options.without_data and (options.data or options.test_data):
        given = "--data" if options.data else "--test-data"
        raise ConfigError(f"{given} and --without-data contradict each other; give one of them")
    import_torch()
    from quickstroke.artifacts import loading, runs
    from quickstroke.artifacts.cards import find_published
    from quickstroke.export.publish import publish
    from quickstroke.utils.files import check_place

    into, hub_folder = Path(options.into), None
    if options.hub is not None:
        _check_hub(options.hub)
        hub_folder = Path("hub") / runs.read_config(Path(options.run)).model.name
        if hub_folder.exists() and not options.replace:
            raise WeightsError(f"{hub_folder}: exists already; give --replace to replace it")
        check_place(hub_folder)
    default_before = [model.path for model in find_published()[0] if model.default]
    made = publish(
        options.run,
        into,
        replace=options.replace,
        default=options.default,
        calibrate=not options.no_calibrate,
        data=options.data,
        test_data=options.test_data,
        without_data=options.without_data,
        attribution=options.attribution,
        licence=options.licence,
    )
    loaded = loading.load_model(made.path)
    told = ", ".join(f"{split} top-1 {percent(f['top1'])} of {f['n']:,}" for split, f in made.figures.items())
    print(f"{made.path}: {told}")
    for line in _calibration_lines(made.calibration) if made.calibration else ():
        print(line)
    for text in made.notes:
        note(text)
    default = [model.path for model in find_published()[0] if model.default]
    if default != default_before and default == [made.path]:
        note("in this folder it is the default model now, which commands take where none is named")
    print(f"{made.card_path}: its card")
    values: dict[str, Any] = {"model": made.name, "path": str(made.path), "figures": made.figures, "notes": made.notes}
    if made.calibration:
        values["calibration"] = made.calibration
    if hub_folder is not None and options.hub is not None:
        values["hub"] = _to_hub(loaded, hub_folder, *options.hub)
    return Answer(values)


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
    say(f"{folder}: {', '.join(hub.FILES)}")
    if not hub.is_logged_in():
        note(f"not uploaded: nobody is logged in; `hf auth login`, then `hf upload {repo} {folder}`")
        return {"folder": str(folder), "url": None}
    try:
        url = hub.push(folder, repo)
    except DownloadError as error:
        raise DownloadError(f"{error}; the folder is ready: hf upload {repo} {folder}") from error
    print(f"uploaded: {url}")
    return {"folder": str(folder), "url": url}


def _calibration_lines(calibration: dict[str, Any]) -> list[str]:
    """What the calibration did, and a line a split of what it traded."""
    balanced = calibration["select_by"] == "balanced_loss"
    lines = [
        f"calibrated for {calibration['select_by']}: temperature {calibration['temperature']:.3f}, logit adjustment "
        f"tau {calibration['tau']:.3f}"
    ]
    named = {
        "top1": "top-1",
        "balanced_accuracy": "balanced accuracy",
        "error": "calibration error" + " (macro-averaged)" * balanced,
    }
    for split in calibration["error_after"]:
        told = (
            f"{name} {percent(calibration[f'{key}_before'][split])} -> {percent(calibration[f'{key}_after'][split])}"
            for key, name in named.items()
        )
        lines.append(f"  {split}: {', '.join(told)}")
    return lines
