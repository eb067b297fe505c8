"""`quickstroke publish`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from quickstroke.cli.common import Json, note, optional, parse, percent, print_json
from quickstroke.errors import ConfigError, DatasetError, RunError, WeightsError

if TYPE_CHECKING:
    from quickstroke.published import LoadedModel
    from quickstroke.runs import RunConfig


@dataclass(frozen=True)
class Options:
    """The best weights of a run become NAME.model, a plain state dict, and NAME.json, its card.

    The card holds classes, preprocessing, reading, configuration, data, command, a hash, and honest figures on the
    splits `val` and `test` of the run's dataset. `lstm/` itself is for the 2020 project's 100 categories; another set
    of classes has a folder of its own, such as lstm/animals.
    """

    run: Annotated[Positional[str], arg(metavar="RUN", help="the run folder")]
    into: Annotated[str, arg(metavar="DIR", help="the folder of published models")] = "lstm"
    replace: Annotated[bool, arg(help="replace another model of the same name")] = False
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
    from quickstroke.models import n_parameters

    folder, into = Path(options.run), Path(options.into)
    if options.hub is not None:
        _check_hub(options.hub)
    config = runs.read_config(folder)
    metrics = runs.read_metrics(folder)
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
    best = max(metrics, key=lambda line: (line["val_top1"], -line["epoch"]))
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {
        "parameters": n_parameters(loaded.model),
        "figures": _figures(config, loaded, best),
        "training": {
            **configs.to_json(config.train),
            "epochs": len(metrics),
            "best_epoch": best["epoch"],
            "seconds": round(sum(line["seconds"] for line in metrics), 1),
        },
        "data": {key: value for key, value in config.data.items() if key != "path"},
        "command": " ".join(environment["command"]),
        "packages": environment["packages"],
        "licence": "MIT",
        "attribution": "Trained on The Quick, Draw! Dataset, made available by Google, Inc. under CC BY 4.0.",
    }
    path = published.write_model(into, loaded, facts)
    loaded = published.load_model(path)
    figures = ", ".join(f"{split} top-1 {percent(f['top1'])} of {f['n']:,}" for split, f in facts["figures"].items())
    print(f"{path}: {figures}")
    print(f"{path.with_suffix('.json')}: its card")
    values = {"model": loaded.name, "path": str(path), "figures": facts["figures"]}
    if options.hub is not None:
        values["hub"] = _to_hub(loaded, hub_folder, *options.hub)
    if options.json:
        print_json(values)


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


def _figures(config: "RunConfig", loaded: "LoadedModel", best: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Honest figures by split; from the run's metrics alone where its dataset is gone or another."""
    from quickstroke.dataset import PreparedDataset
    from quickstroke.evaluation import evaluate
    from quickstroke.training import select

    try:
        data = PreparedDataset(config.data["path"])
        if data.manifest_sha256 != config.data["manifest_sha256"]:
            raise DatasetError(f"{data.path}: is another dataset than the run's")
    except DatasetError as error:
        note(f"the figures are those of the run's own validation: {error}")
        keys = {"top1": "val_top1", "top3": "val_top3", "top5": "val_top5", "loss": "val_loss", "n": "n_val"}
        return {"val": {key: best[name] for key, name in keys.items()}}
    label_map = data.label_map(loaded.classes)
    return {
        split: evaluate(loaded.model, data, select(data, split, label_map), loaded.classes, label_map).figures()
        for split in ("val", "test")
        if config.data["n_by_split"][split]
    }
