"""The run folder: everything a training leaves behind, written so that a kill at any moment loses nothing.

config.json       model name, model, training and data, resolved
environment.json  versions, machine and command
metrics.jsonl     one JSON object an epoch
best.model        state dict of the best epoch so far, by `select_by`; last.model: of the last
last.ckpt         everything that resuming needs; written last, so that it never speaks of what is not there
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quickstroke.config import former, serialize
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import SelectBy, TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.categories import check_classes
from quickstroke.errors import CategoryError, ConfigError, DatasetError, RunError, shown
from quickstroke.utils.files import lock, sha256_of, write_json, write_text

FORMAT = "quickstroke run"
VERSION = 1

# What each line of metrics.jsonl has, as numbers; the first runs have no more.
METRICS = (
    "epoch",
    "loss",
    "val_loss",
    "val_top1",
    "val_top3",
    "val_top5",
    "seconds",
    "train_seconds",
    "n_train",
    "n_val",
    "learning_rate",
)
# Keys of version 0.1.0, and those of today; None for a figure that nothing uses any more.
_FORMER_METRICS = {"val_balanced_top1": "val_balanced_accuracy", "val_top1_published_protocol": None}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run was made and where it is, by which the paths in its configuration are found again.

    Attributes:
        now: its folder.
        run: its folder when the configuration was written, absolute; "" where an older run does not tell.
        working: the folder, absolute, that relative paths were meant from; "" likewise.
    """

    now: Path
    run: str = ""
    working: str = ""

    def of(self, path: str) -> list[Path]:
        """Where a path of the configuration may be, the likeliest first: moved together with the run, where it was,
        from here, and from the folders above the run."""
        found = []
        if self.run and self.working:
            there = _without_links(Path(self.working, path))
            with suppress(ValueError):  # another drive of Windows
                found.append(Path(os.path.normpath(self.now.resolve() / os.path.relpath(there, self.run))))
            found.append(there)
        found.append(Path(path))
        if not Path(path).is_absolute():
            found += [above / path for above in self.now.absolute().parents]
        return found

    def locate(self, path: str) -> str:
        """Where a path of the configuration is now; as it stands there where that means the same, or nothing is
        found."""
        found = next((each for each in self.of(path) if each.exists()), Path(path))
        return path if not found.exists() or (Path(path).exists() and found.samefile(path)) else str(found)


def _without_links(path: Path) -> Path:
    """A path without links, `.` and `..` on the way to its last part, which may be a link."""
    return path.parent.resolve() / path.name


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What config.json holds.

    Attributes:
        model, train: the resolved configurations.
        classes: the words in the order of the output layer.
        data: path of the prepared dataset as given, the hash of its manifest, and drawings a split of these classes.
        teachers: name, hash, figures and licence of each teacher.
        deleted_options: options of the training that this version does not have any more, at values that had an effect.
        places: of a configuration that was read: how its paths are found.
    """

    model: ModelConfig
    train: TrainConfig
    classes: tuple[str, ...]
    data: dict[str, Any]
    teachers: tuple[dict[str, Any], ...] = ()
    deleted_options: dict[str, Any] = field(default_factory=dict)
    places: Places | None = field(default=None, compare=False)


def describe_data(data: PreparedDataset, classes: Sequence[str]) -> dict[str, Any]:
    """What a run remembers of its dataset: enough to tell whether it is the same, and to say what it was."""
    return {
        "path": str(data.path),
        "manifest_sha256": data.manifest_sha256,
        "split": data.manifest["split"],
        "n_by_split": data.n_by_split(classes),
        "n_train_by_word": data.n_train_by_word(classes),
        **({"n_files_by_split": files} if (files := data.n_files_by_split) else {}),
    }


def data_facts(data: dict[str, Any]) -> dict[str, Any]:
    """What a card tells of the data that `describe_data` described: where it was is of no use elsewhere."""
    return {key: value for key, value in data.items() if key != "path"}


def find_data(told: dict[str, Any], places: Places | None) -> Path:
    """Where the dataset is that `describe_data` described: among its places the first that has its manifest, else any.

    Where there is no dataset at all it is the likeliest place.
    """
    found = places.of(told["path"]) if places else [Path(told["path"])]
    there = [each for each in found if (each / "manifest.json").is_file()]
    same = (each for each in there if sha256_of(each / "manifest.json") == told["manifest_sha256"])
    return next(same, (there or found)[0])


def open_data(config: RunConfig, path: Path | str | None = None) -> PreparedDataset:
    """The dataset of a run, at `path` or where the run had it, also where both were moved together.

    Raises:
        DatasetError: there is none, it is damaged, or it is another.
    """
    wanted, told = config.data["manifest_sha256"], config.data["path"]
    if path is None:
        path = find_data(config.data, config.places)
        if not (path / "manifest.json").is_file():
            raise DatasetError(f"the dataset of this run is gone: {told}, where nothing is at {path.absolute()}")
    data = PreparedDataset(path)
    if data.manifest_sha256 != wanted:
        raise DatasetError(
            f"{data.path}: is not the dataset of this run: its manifest has SHA-256 {data.manifest_sha256[:12]}..., "
            f"expected {wanted[:12]}..."
        )
    return data


def folder_of(path: Path) -> Path | None:
    """The run that a run folder or a file of weights in one is of; None for a model with a card, which tells all of it
    whatever is beside it, and for a file that is alone."""
    has_card = path.suffix != ".model" or path.with_suffix(".json").is_file()
    folder = path if path.is_dir() else None if has_card else path.parent
    return folder if folder and (folder / "config.json").is_file() else None


def write_config(folder: Path, config: RunConfig) -> None:
    """Writes config.json."""
    write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "name": config.model.name,
            "model": serialize.to_json(config.model),
            "train": serialize.to_json(config.train),
            "classes": list(config.classes),
            "data": config.data,
            **({"teachers": list(config.teachers)} if config.teachers else {}),
            "folders": {"run": str(folder.resolve()), "working": str(Path.cwd())},
        },
    )


def read_config(folder: Path) -> RunConfig:
    """Reads config.json.

    Raises:
        RunError: there is none, or it is damaged, or of a version that this program does not know.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values and (found := values.get("format")) != FORMAT:
            raise RunError(f"{path}: no configuration of a run: its format is {shown(found)}, expected {FORMAT!r}")
        if values["version"] != VERSION:
            raise RunError(f"{path}: version {shown(values['version'])}; this program reads version {VERSION}")
        return RunConfig(
            model=serialize.from_json(ModelConfig, values["model"], f"{path}: model"),
            train=serialize.from_record(values["train"], f"{path}: train"),
            classes=check_classes(values["classes"], str(path)),
            data=check_data(values["data"]),
            teachers=tuple(dict(teacher) for teacher in values.get("teachers", [])),
            deleted_options=former.deleted_options(values["train"]),
            places=Places(folder, **{key: str(values.get("folders", {}).get(key, "")) for key in ("run", "working")}),
        )
    except OSError as error:
        raise RunError(f"{folder}: no run there (config.json: {error.strerror})") from error
    except (ConfigError, CategoryError) as error:
        raise RunError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def check_data(values: dict[str, Any]) -> dict[str, Any]:
    """What `describe_data` wrote; KeyError or TypeError where it cannot be that."""
    texts = values["path"], values["manifest_sha256"], values["split"]["rule"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"path, manifest_sha256 and split rule should be texts, got {texts!r:.60}")
    for key, counts in (("n_by_split", values["n_by_split"]), ("n_files_by_split", values.get("n_files_by_split", {}))):
        if not all(type(n) is int for n in counts.values()):
            raise TypeError(f"{key} should hold whole numbers, got {counts!r:.60}")
    of_word = values.get("n_train_by_word", {})
    if of_word and not all(type(of_word[key]) is int for key in ("least", "median", "most")):
        raise TypeError(f"n_train_by_word should hold whole numbers, got {of_word!r:.60}")
    return dict(values)


def make_folder(folder: Path) -> None:
    """Makes a run folder where there is none.

    Raises:
        RunError: a file is in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RunError(f"{folder}: is a file; expected a folder for the run") from error


@contextmanager
def held(folder: Path | str, work: str = "training") -> Iterator[None]:
    """Keeps other processes from the same work in a run folder or an audit's, which is made where it is missing, if
    nothing comes of it only as long as this lasts.

    Raises:
        RunError: another process has it, or a file is in its place.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    try:
        if os.name == "nt":  # it opens no folder
            yield
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not lock(descriptor):
                raise RunError(f"{folder}: another process is {work} it")
            yield
        finally:
            os.close(descriptor)
    finally:
        with suppress(OSError):  # it is not empty
            for path in made:
                path.rmdir()


def write_metrics(folder: Path, metrics: list[dict[str, Any]]) -> None:
    """Writes metrics.jsonl, a line an epoch."""
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))


def read_metrics(folder: Path, select_by: SelectBy = "top1") -> list[dict[str, Any]]:
    """The lines of metrics.jsonl with the keys of today; empty before the first epoch has ended.

    Each has what `best_line` needs.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error})") from error
    keys = dict.fromkeys((*METRICS, f"val_{select_by}"))
    return [_metrics_line(line, keys, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _metrics_line(text: str, keys: Iterable[str], where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: damaged ({error})") from error
    for key in keys:
        value = line.get(key) if isinstance(line, dict) else None
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise RunError(f"{where}: damaged (expected an object with a number for {key!r}, got {text:.60})")
    return with_current_keys(line)


def with_current_keys(line: dict[str, Any]) -> dict[str, Any]:
    """A line of metrics.jsonl with the keys of today; one of version 0.1.0 has others."""
    renamed = {_FORMER_METRICS.get(key, key): value for key, value in line.items()}
    return {key: value for key, value in renamed.items() if key is not None}


def best_line(metrics: Sequence[dict[str, Any]], select_by: SelectBy) -> dict[str, Any]:
    """The best line of metrics.jsonl, of one or more, by a selection metric; the first of equal ones."""
    choose = max if select_by == "top1" else min
    return choose(metrics, key=lambda line: float(line[f"val_{select_by}"]))


def figures_of(line: dict[str, Any]) -> dict[str, Any]:
    """The validation figures of a line of metrics.jsonl, by the names that cards have for them."""
    return {key: line[f"val_{key}"] for key in ("top1", "top3", "top5", "loss")} | {"n": line["n_val"]}


def check_trainable(config: RunConfig, folder: Path) -> None:
    """Raises ConfigError when a run was trained with options that this version does not have any more."""
    told = ", ".join(f"{key} = {value}" for key, value in config.deleted_options.items())
    if told:
        raise ConfigError(f"{folder}: was trained with {told}, which this version does not have, so it cannot go on")


def check_same(given: RunConfig, stored: RunConfig, folder: Path) -> None:
    """Raises when a run cannot be resumed with a configuration.

    Raises:
        RunError: more than the number of epochs, the patience or the device is different.
        ConfigError: it was trained with options that this version does not have any more.
    """
    check_trainable(stored, folder)
    if given.data["manifest_sha256"] != stored.data["manifest_sha256"]:
        then, now = (
            f"{data['path']} (its manifest has SHA-256 {data['manifest_sha256'][:12]}...)"
            for data in (stored.data, given.data)
        )
        raise RunError(f"{folder}: was started with the dataset {then}, cannot resume with another, {now}")
    pairs: list[tuple[str, Any, Any]] = [
        ("model name", given.model.name, stored.model.name),
        ("classes", given.classes, stored.classes),
        ("teachers", given.teachers, stored.teachers),
    ]
    for ours, theirs in ((given.model, stored.model), (given.train, stored.train)):
        mine, other = serialize.to_json(ours), serialize.to_json(theirs)
        pairs += [(key, mine[key], other.get(key)) for key in mine if key not in ("n_epochs", "patience", "device")]
    # All at once: a caller in Python gives each of them, where the command line takes them from the run.
    if differing := {key: (then, now) for key, now, then in pairs if now != then}:
        was = ", ".join(f"{key} = {then!r:.80}" for key, (then, _) in differing.items())
        given_now = ", ".join(f"{now!r:.80}" for _, now in differing.values())
        raise RunError(f"{folder}: was started with {was}, cannot resume with {given_now}")
    if given.train.n_epochs < stored.train.n_epochs:
        raise RunError(
            f"{folder}: was started with n_epochs = {stored.train.n_epochs}, cannot resume with fewer, "
            f"{given.train.n_epochs}"
        )
