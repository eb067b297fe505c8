"""Published models: NAME.model, a plain state dict, and beside it NAME.json, the card that says how to read it.

A state dict without a card is read as the 2020 project read its own: name from the file, padded reading.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstroke import config as configs
from quickstroke import points, runs
from quickstroke.categories import SEED_CATEGORIES, check_classes, parse_classes
from quickstroke.config import ModelConfig
from quickstroke.errors import CategoryError, ModelNameError, QuickstrokeError, WeightsError
from quickstroke.files import atomic_write, write_text
from quickstroke.models import StrokeClassifier

FORMAT = "quickstroke model card"
VERSION = 1


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode with what belongs to it.

    Attributes:
        model: on the CPU.
        classes: the words in the order of the output layer.
        card: the parsed card, or None for a bare file or a run.
        path: the file of weights.
        note: what had to be assumed, as a sentence; empty for a model with a card.
    """

    model: StrokeClassifier
    classes: tuple[str, ...]
    card: dict[str, Any] | None
    path: Path
    note: str = ""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.config.name


def load_model(path: Path | str, classes: Any = None) -> LoadedModel:
    """Loads a `.model` file with its card, a bare one, or the best weights of a run folder.

    Args:
        path: the file, or the run folder.
        classes: for a bare file: the words in the order of the output layer, or the file that lists them; by default
            the 2020 project's 100 for a model with 100 outputs.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or does not fit its name, its card or the classes.
        CategoryError: a class list that cannot be used.
        ModelNameError: a bare file whose name is no model name.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "best.model"
    given = _given_classes(classes)
    card_path = path.with_suffix(".json")
    if path.suffix != ".model":
        raise WeightsError(f"{path}: not a model; expected a .model file or a run folder")
    if not path.is_file():
        raise WeightsError(f"{path}: no such model file")
    if card_path.is_file():
        card = read_card(card_path)
        config, card_classes = _card_config(card, card_path)
        if path.stem != card["name"]:
            raise WeightsError(f"{path}: its card names it {card['name']!r}")
        digest = _sha256(path)
        if digest != card["sha256"]:
            raise WeightsError(
                f"{path}: its hash {digest[:12]}.. is not the one in its card, {str(card['sha256'])[:12]}.."
            )
        if given is not None and given != card_classes:
            raise WeightsError(f"{path}: the classes given are not those of its card, or not in its order")
        return LoadedModel(_build(config, read_weights(path), path), card_classes, card, path)
    if (path.parent / "config.json").is_file():
        run = runs.read_config(path.parent)
        if given is not None and given != run.classes:
            raise WeightsError(f"{path}: the classes given are not those of its run, or not in its order")
        note = f"{path} is not published yet; read by the configuration of its run"
        return LoadedModel(_build(run.model, read_weights(path), path), run.classes, None, path, note)
    return _load_bare(path, given)


def _load_bare(path: Path, classes: tuple[str, ...] | None) -> LoadedModel:
    try:
        config = ModelConfig.from_name(path.stem, reading="padded")
    except ModelNameError as error:
        raise ModelNameError(
            f"{path}: has no card ({path.stem}.json), so its name must tell its shape: {error}"
        ) from error
    weights = read_weights(path)
    bias = weights.get("linear.bias")
    if bias is None or bias.ndim != 1 or not len(bias):
        raise WeightsError(f"{path}: has no output layer (linear.bias); keys: {', '.join(list(weights)[:6])}")
    config = ModelConfig.from_name(path.stem, reading="padded", n_classes=len(bias))
    model = _build(config, weights, path)
    note = (
        f"{path} has no card ({path.stem}.json); read as the 2020 project's: padded to {config.max_padding} steps"
    )
    if classes is None:
        if len(bias) != len(SEED_CATEGORIES):
            raise WeightsError(
                f"{path}: has {len(bias)} outputs and no card; say what they are with a list of {len(bias)} classes"
            )
        classes = SEED_CATEGORIES
        note += ", with that project's 100 classes"
    if len(classes) != len(bias):
        raise WeightsError(f"{path}: has {len(bias)} outputs, but {len(classes)} classes were given")
    return LoadedModel(model, classes, None, path, note)


def _given_classes(classes: Any) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, (str, Path)):
        return parse_classes([str(classes)])
    return check_classes(classes, "classes")


def read_weights(path: Path) -> dict[str, Tensor]:
    """A plain state dict, on the CPU, whichever device and PyTorch wrote it; no code in the file ever runs.

    Raises:
        WeightsError: it cannot be read, is no state dict, or holds numbers that are not finite.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    except (
        Exception
    ) as error:  # torch.load raises anything for a damaged file; the cause is told by its first line
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "Weights only load failed" in str(error) or "Unsupported" in str(error):
            raise WeightsError(f"{path}: refused: not a plain state dict of tensors (it may hold code)") from error
        raise WeightsError(f"{path}: damaged or not a PyTorch file ({first:.120})") from error
    if not isinstance(weights, dict) or not weights:
        raise WeightsError(f"{path}: holds a {type(weights).__name__}; expected a state dict")
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path}: {key!r:.60} is a {type(value).__name__}; expected only tensors")
        if value.layout != torch.strided or value.is_complex() or value.is_quantized:
            raise WeightsError(f"{path}: {key} is no plain dense tensor")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {key} has numbers that are not finite")
    return dict(weights)


def _build(config: ModelConfig, weights: dict[str, Tensor], path: Path) -> StrokeClassifier:
    """The model in evaluation mode with these weights, checked against its shape before any memory is taken."""
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in StrokeClassifier(config).state_dict().items()}
    counter = "bn.num_batches_tracked"  # PyTorch wrote none before 0.4.1, and nothing here reads it
    weights = {counter: torch.zeros((), dtype=torch.int64), **weights}
    actual = {key: tuple(value.shape) for key, value in weights.items()}
    for key in expected.keys() | actual.keys():
        if key not in actual or key not in expected or actual[key] != expected[key]:
            wrong = [
                key for key in sorted(expected.keys() | actual.keys()) if actual.get(key) != expected.get(key)
            ]
            first = wrong[0]
            raise WeightsError(
                f"{path}: the weights do not fit {config.name} with {config.n_classes} classes: {first} is "
                f"{actual.get(first, 'missing')}, expected {expected.get(first, 'none')}"
                + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
            )
    model = StrokeClassifier(config)
    model.load_state_dict(weights)
    return model.eval()


def read_card(path: Path) -> dict[str, Any]:
    """A card as parsed JSON, its format and version checked.

    Raises:
        WeightsError: it is damaged, no card, or newer than this program.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        kind, version = card["format"], card["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: damaged card ({type(error).__name__}: {error})") from error
    if kind != FORMAT:
        raise WeightsError(f"{path}: not a model card; expected format {FORMAT!r}, got {kind!r:.60}")
    if version != VERSION:
        raise WeightsError(f"{path}: card version {version}, this program reads version {VERSION}")
    return dict(card)


def _card_config(card: dict[str, Any], path: Path) -> tuple[ModelConfig, tuple[str, ...]]:
    try:
        config = configs.from_json(ModelConfig, card["config"], f"{path}: config")
        classes = check_classes(card["classes"], str(path))
        preprocessing = card["preprocessing"]
        name, _ = card["name"], card["sha256"]
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged card ({type(error).__name__}: {error})") from error
    except CategoryError:
        raise
    except QuickstrokeError as error:
        raise WeightsError(str(error)) from error
    expected = {"name": points.PREPROCESSING, "max_padding": config.max_padding}
    if preprocessing != expected:
        raise WeightsError(f"{path}: preprocessing {preprocessing!r:.80} is unknown here; expected {expected}")
    if config.name != name:
        raise WeightsError(f"{path}: its configuration is that of {config.name!r}, its name {name!r}")
    if config.n_classes != len(classes):
        raise WeightsError(f"{path}: lists {len(classes)} classes for {config.n_classes} outputs")
    return config, classes


def write_model(into: Path, loaded: LoadedModel, facts: dict[str, Any]) -> Path:
    """Writes NAME.model and NAME.json into a folder; `facts` are the card's further entries, such as figures.

    Returns:
        The path of NAME.model.
    """
    path = into / f"{loaded.name}.model"
    config = loaded.model.config
    weights = {key: value.detach().cpu().clone() for key, value in loaded.model.state_dict().items()}
    card_path = path.with_suffix(".json")
    # Between the two writes the old card would not fit the new weights; without a card they would be read wrongly.
    # The card goes first: weights whose hash is another are refused until they are there.
    with atomic_write(path.with_suffix(".model.new")) as file:
        torch.save(weights, file)
    staged = path.with_suffix(".model.new")
    card = {
        "format": FORMAT,
        "version": VERSION,
        "name": loaded.name,
        "sha256": _sha256(staged),
        "config": configs.to_json(config),
        "preprocessing": {"name": points.PREPROCESSING, "max_padding": config.max_padding},
        "classes": list(loaded.classes),
        **facts,
    }
    write_text(card_path, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    staged.replace(path)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


DEFAULT_FILE = "default.txt"


def model_folders() -> list[Path]:
    """Where published models are looked for: `lstm` here, then those that came with the package."""
    package = Path(__file__).resolve().parent
    # An installed package carries them inside; an editable install finds them in its checkout.
    return [Path("lstm"), package / "lstm", package.parent.parent / "lstm"]


def list_models() -> list[tuple[Path, dict[str, Any], bool]]:
    """Published models as (file of weights, card, whether it is the default), the default first.

    Of folders that hold the same model the first counts. A `.model` without a card is not listed.

    Raises:
        WeightsError: a damaged card.
    """
    default = default_model()
    found: dict[str, tuple[Path, dict[str, Any], bool]] = {}
    for folder in model_folders():
        for card_path in sorted(folder.glob("*.json")) + sorted(folder.glob("*/*.json")):
            path = card_path.with_suffix(".model")
            if path.is_file():
                key = str(path.relative_to(folder).with_suffix(""))
                found.setdefault(key, (path, read_card(card_path), path == default))
    return sorted(found.values(), key=lambda item: not item[2])


def default_model() -> Path | None:
    """The default model: the one that `default.txt` names in the first folder that has it, or None."""
    for folder in model_folders():
        pointer = folder / DEFAULT_FILE
        if pointer.is_file():
            path = folder / f"{pointer.read_text(encoding='utf-8').strip()}.model"
            if path.is_file():
                return path
    return None


def find_model(model: str | Path | None) -> Path:
    """The model that a user means: a `.model` file, a run folder, a published name (`SET/NAME` too), or the default.

    Raises:
        WeightsError: there is none.
    """
    if model is None:
        path = default_model()
        if path is None:
            raise WeightsError(
                "no published model found in ./lstm or with the package; train one and publish it, or name one"
            )
        return path
    path = Path(model)
    if path.exists() or path.suffix == ".model":
        return path
    for folder in model_folders():
        candidate = folder / f"{model}.model"
        if candidate.is_file():
            return candidate
    raise WeightsError(f"{model}: neither a .model file, a run folder nor a model published in ./lstm")
