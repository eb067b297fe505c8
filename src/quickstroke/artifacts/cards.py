"""Cards and where published models are: what can be known of a model without PyTorch.

A card is the JSON beside a published file of weights: classes in order, configuration, preprocessing, figures, a hash.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quickstroke.artifacts import hub
from quickstroke.config import serialize
from quickstroke.config.model import ModelConfig
from quickstroke.drawings.categories import check_classes, parse_classes
from quickstroke.errors import QuickstrokeError, WeightsError, expect_path, first_line
from quickstroke.utils.files import write_text

FORMAT = "quickstroke model card"
VERSION = 1
# A card of 345 classes has some 10,000 characters; as JSON they take up to 35 times their bytes.
MAX_CHARACTERS = 400_000

# Names of version 0.1.0, and those of today.
_FORMER_PREPROCESSINGS = {"seed3": "delta3"}
_FORMER_CALIBRATION_KEYS = {"prior": "tau", "criterion": "select_by"}

# In a folder of published models: one line, the name of the one that is meant where none is named.
DEFAULT = "default.txt"

# Of weights that learnt from Google's drawings, where nobody says otherwise, and whose the drawings are.
LICENCE = "MIT"
QUICKDRAW = "Trained on The Quick, Draw! Dataset, made available by Google, Inc. under CC BY 4.0."

# Of the files that a recognizer loads.
SUFFIXES = (".model", ".safetensors", ".quickstroke", ".onnx")


def read_card(path: Path) -> dict[str, Any]:
    """A card as parsed JSON, its format and version checked.

    Raises:
        WeightsError: it is damaged, no card, or newer than this program.
    """
    try:
        if path.stat().st_size > 4 * MAX_CHARACTERS:
            raise ValueError(f"longer than {MAX_CHARACTERS} characters")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged card ({type(error).__name__}: {error})") from error
    return parse_card(text, path)


def parse_card(text: str, path: Path) -> dict[str, Any]:
    """As `read_card`, for a card's text; `path` says whose it is."""
    try:
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"longer than {MAX_CHARACTERS} characters")
        card = json.loads(text)
        kind, version, _ = card["format"], card["version"], len(card["classes"])
        if type(card.get("parameters", 0)) is not int:
            raise TypeError("parameters should be a whole number")
        for figures in card.get("figures", {}).values():
            float(figures["top1"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged card ({type(error).__name__}: {error})") from error
    if kind != FORMAT:
        raise WeightsError(f"{path}: not a model card; expected format {FORMAT!r}, got {kind!r:.60}")
    if version != VERSION:
        raise WeightsError(f"{path}: card version {version!r:.60}, this program reads version {VERSION}")
    return dict(card)


def card_hash(card: dict[str, Any]) -> str:
    """SHA-256 of all entries of a card but `card_sha256`, where it is stated."""
    entries = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def new_card(config: ModelConfig, classes: Sequence[str], sha256: str) -> dict[str, Any]:
    """The entries that every card has; `sha256` is of the file of weights."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": config.name,
        "sha256": sha256,
        "config": serialize.to_json(config),
        "preprocessing": {"name": config.preprocessing, "max_padding": config.max_padding},
        "classes": list(classes),
    }


def check_card(card: dict[str, Any], path: Path) -> tuple[ModelConfig, tuple[str, ...]]:
    """The configuration and classes of a card; `path` says whose they are.

    Raises:
        WeightsError: the card is damaged, contradicts itself, or asks for a preprocessing that this program has not.
    """
    try:
        config = serialize.from_json(ModelConfig, card["config"], f"{path}: config")
        classes = check_classes(card["classes"], str(path))
        preprocessing = card["preprocessing"]
        name, _ = card["name"], card["sha256"]
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged card ({type(error).__name__}: {error})") from error
    except QuickstrokeError as error:
        raise WeightsError(str(error)) from error
    expected = {"name": config.preprocessing, "max_padding": config.max_padding}
    if _current_preprocessing(preprocessing) != expected:
        raise WeightsError(f"{path}: preprocessing {preprocessing!r:.80} is unknown here; expected {expected}")
    if config.name != name:
        raise WeightsError(f"{path}: its configuration is that of {config.name!r}, its name {name!r}")
    if config.n_classes != len(classes):
        raise WeightsError(f"{path}: lists {len(classes)} classes for {config.n_classes} outputs")
    return config, classes


def given_classes(classes: Sequence[str] | Path | str | None) -> tuple[str, ...] | None:
    """Classes as a user gives them with a model: the words, or the file that lists them."""
    if classes is None:
        return None
    if isinstance(classes, (str, Path)):
        return parse_classes([str(classes)])
    return check_classes(classes, "classes")


def check_given(given: tuple[str, ...] | None, classes: tuple[str, ...], path: Path) -> None:
    """Raises WeightsError where classes were given that are not those of a card; `path` says whose it is."""
    if given is not None and given != classes:
        raise WeightsError(f"{path}: the classes given are not those of its card, or not in its order")


def model_folders() -> list[Path]:
    """Where published models are looked for: `lstm` here, then those that came with the package."""
    package = Path(__file__).resolve().parents[1]
    # An installed package carries them inside; an editable install finds them in its checkout.
    return [Path("lstm"), package / "lstm", package.parent.parent / "lstm"]


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One published file of weights; `card` is None for a bare one, `name` has its set before it, as in `SET/NAME`."""

    name: str
    path: Path
    card: dict[str, Any] | None
    default: bool


def find_published() -> tuple[list[PublishedModel], list[WeightsError]]:
    """The published models, the default first, then by name, and what is wrong with the cards of others.

    Of folders that have the same name the first counts. The first folder that has a model with a card beside its sets
    has the default: the one that its `default.txt` names, or its only one. A NoDefaultError stands among what is wrong
    where neither says which it is.
    """
    found: dict[str, PublishedModel] = {}
    errors: list[WeightsError] = []
    default: str | None = None
    is_decided = False
    for folder in model_folders():
        names: list[str] = []
        candidates: list[str] = []  # for the default, where nothing is named
        for path in sorted(folder.glob("*.model")) + sorted(folder.glob("*/*.model")):
            if not path.is_file():
                continue
            card_path = path.with_suffix(".json")
            try:
                card = _whole_card(card_path) if card_path.is_file() else None
            except WeightsError as error:
                errors.append(error)
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            found.setdefault(name, PublishedModel(name, path, card, False))
            names.append(name)
            if card and path.parent == folder:
                candidates.append(name)
        if not is_decided and (candidates or _exists(folder / DEFAULT)):
            is_decided = True
            try:
                default = _default_of(folder, names, candidates)
            except NoDefaultError as error:
                errors.append(error)
    if default:
        found[default] = replace(found[default], default=True)
    return sorted(found.values(), key=lambda model: (not model.default, model.name)), errors


class NoDefaultError(WeightsError):
    """Nothing says which published model is meant where none is named."""


def _default_of(folder: Path, names: Sequence[str], candidates: Sequence[str]) -> str:
    """The default model of a folder that has models of these `names`, of which `candidates` may be the only one.

    Raises:
        NoDefaultError: its `default.txt` does not name one of them, or there is none and not one candidate.
    """
    path = folder / DEFAULT
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        if len(candidates) == 1:
            return candidates[0]
        raise NoDefaultError(
            f"{folder}: has {len(candidates)} models, {', '.join(candidates)}; name one, or write into {path} which is "
            "the default"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NoDefaultError(f"{path}: cannot be read: {first_line(error)}") from error
    named = [line.strip() for line in lines if line.strip()]
    if len(named) != 1:
        raise NoDefaultError(f"{path}: has {len(named)} lines; expected one, the name of a model")
    if named[0] in names:
        return named[0]
    there = ", ".join(sorted(names)) or "none"
    raise NoDefaultError(
        f"{path}: names {named[0]!r:.60}; expected a model of this folder whose card is whole: {there}"
    )


def write_default(folder: Path, name: str) -> None:
    """Makes a model the default of its folder."""
    write_text(folder / DEFAULT, f"{name}\n")


def _whole_card(path: Path) -> dict[str, Any]:
    """A card by which a model can be loaded, as far as the card alone tells.

    Raises:
        WeightsError: it cannot.
    """
    card = read_card(path)
    check_card(card, path)
    check_unchanged(card, path)
    return card


def check_unchanged(card: dict[str, Any], path: Path) -> None:
    """Raises WeightsError for a card that is not as it was written; `path` says whose it is."""
    if card.get("card_sha256") != card_hash(card):
        raise WeightsError(f"{path}: was changed since it was written; its hash is not the one that it states")


def with_current_names(card: dict[str, Any]) -> dict[str, Any]:
    """A card whose preprocessing, figures and calibration have the names of today; one of version 0.1.0 has others."""
    renamed = dict(card)
    if "preprocessing" in card:
        renamed["preprocessing"] = _current_preprocessing(card["preprocessing"])
    if card.get("figures"):
        renamed["figures"] = figures_of(card)
    if isinstance(calibration := card.get("calibration"), dict):
        renamed["calibration"] = {_FORMER_CALIBRATION_KEYS.get(key, key): each for key, each in calibration.items()}
    if renamed != card and "card_sha256" in card:
        renamed["card_sha256"] = card_hash(renamed)
    return renamed


def _current_preprocessing(preprocessing: Any) -> Any:
    """The entry `preprocessing` of a card with the name of today; anything else that stands there as it is."""
    if not isinstance(preprocessing, dict) or not isinstance(name := preprocessing.get("name"), str):
        return preprocessing
    return {**preprocessing, "name": _FORMER_PREPROCESSINGS.get(name, name)}


def figures_of(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of a card by split, under the names that `evaluate --json` has for them, also of an older card."""
    return {
        split: {key.replace("balanced_top1", "balanced_accuracy"): value for key, value in figures.items()}
        for split, figures in (card.get("figures") or {}).items()
    }


def stated_accuracy(card: dict[str, Any]) -> tuple[str, float]:
    """The split and top-1 accuracy of a card's best figure: that of the test split, else of val; ("", 0) without."""
    figures = card.get("figures") or {}
    for split in ("test", "val"):
        if split in figures:
            return split, float(figures[split]["top1"])
    return "", 0.0


def _exists(path: Path) -> bool:
    """False also in a folder that may not be looked into, such as the one that a service was started in."""
    try:
        return path.exists()
    except PermissionError:
        return False


def find_model(model: object, argument: str = "model") -> Path:
    """The model that a user means: a file, a run folder, a folder of published models, of which it is the default, a
    published name (`SET/NAME` too), an address of the Hugging Face Hub as a text (hf://OWNER/NAME), or the default.

    Raises:
        WeightsError: there is none, or nothing says which of several.
        DownloadError, ConfigError, MissingExtra: as `hub.fetch`.
        ArgumentTypeError: the argument of this name is neither a path nor None.
    """
    if isinstance(model, str) and model.startswith(hub.PREFIX):
        return hub.fetch(model)
    if model is None:
        models, errors = find_published()
        default = next((published.path for published in models if published.default), None)
        if default is None:
            for error in errors:
                if isinstance(error, NoDefaultError):
                    raise error
            but = f"; {errors[0]}" if errors else ""
            raise WeightsError(
                f"no published model found in ./lstm or with the package; train one and publish it, or name one{but}"
            )
        return default
    path = expect_path(model, argument)
    names = sorted(file.stem for file in path.glob("*.model")) if _exists(path) and path.is_dir() else []
    if names and not {"best", "last"} & set(names):  # which a run has
        return path / f"{_default_of(path, names, names)}.model"
    if _exists(path) or path.suffix in SUFFIXES:
        return path
    for folder in model_folders():
        candidate = folder / f"{model}.model"
        if candidate.is_file():
            return candidate
    named = [published.name for published in find_published()[0] if published.path.stem == path.name]
    hint = f"; did you mean {named[0]!r:.80}?" if named else ""
    kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file"
    raise WeightsError(f"{model}: neither a {kinds}, a run folder nor a model published in ./lstm{hint}")
