"""Published models: NAME.model, a plain state dict, and beside it NAME.json, the card that says how to read it.

A state dict without a card is read as the 2020 project read its own: name from the file, padded reading.
NAME.safetensors holds both, the card as metadata (github.com/huggingface/safetensors, "Format"). So does
NAME.quickstroke, with weights in 8 or 16 bits (`compact`).
"""

import copy
import hashlib
import json
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke import kernels
from quickstroke.artifacts import cards, compact, runs, weight_files
from quickstroke.artifacts.unknown import Outputs, UnknownScore, outputs_by_compiled_code, outputs_of
from quickstroke.config.model import ModelConfig, Preprocessing
from quickstroke.drawings.categories import CATEGORIES_2020
from quickstroke.errors import ConfigError, ModelNameError, WeightsError
from quickstroke.kernels.raster import n_features
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.utils.compiled import compiling
from quickstroke.utils.files import atomic_write, sha256_of, write_text

if TYPE_CHECKING:
    from quickstroke.models.single import SingleReader

# In the metadata of a .safetensors file, and in the card there.
CARD_KEY, HASH_KEY = "quickstroke", "content_sha256"
# So many drawings are read sooner one after the other than by PyTorch together.
_FEW = 12
# Logits of a model with an image are the mean of those of its points and those of its image. For traced drawings the
# latter have this share, chosen on 900 validation drawings as benchmarks/tracing.py draws them: of pens 0.5 leaves
# 91.6% of the accuracy, 0.6 92.9% and 0.7 92.6%, of bitmaps 83.3%, 85.7% and 85.9%.
_IMAGE_SHARE = 0.65
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with what belongs to it.

    Attributes:
        model: on the CPU. What PyTorch does to its weights in place is seen by the next drawings; where they are
            changed through `.data` or NumPy, or replaced by other tensors, make another LoadedModel.
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
    _compiled: "list[SingleReader]" = field(default_factory=list, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.config.name

    @property
    def max_padding(self) -> int:
        """Rows to which a drawing is cut."""
        return self.model.config.max_padding

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the points that it reads."""
        return self.model.config.preprocessing

    def compile(self) -> None:
        """Has compiled code compute from now on, which takes up to a minute where it is not kept on disk."""
        from quickstroke.models.single import SingleReader

        reader, n_channels = SingleReader(self.model), len(self.model.bn.weight)
        with compiling(), kernels.threads.undisturbed(), torch.inference_mode():
            logits = reader.logits(np.zeros((2, n_channels), np.float32))[None].astype(np.float64)
            outputs_by_compiled_code(logits, None, logits.astype(np.float32))
            self.model(torch.zeros(_FEW + 1, 2, n_channels, dtype=torch.float32), torch.full((_FEW + 1,), 2))
        self._compiled[:] = [reader]

    def for_pictures(self) -> "LoadedModel":
        """The same for drawings that were traced from pictures: what a model with an image sees in it counts more."""
        if not self.model.config.image:
            return self
        n_seen = n_features(self.model.config.image)
        with kernels.threads.undisturbed(), torch.no_grad():  # as in SingleReader
            model = copy.deepcopy(self.model)
            model.linear.weight[:, :-n_seen] *= 2 * (1 - _IMAGE_SHARE)
            model.linear.weight[:, -n_seen:] *= 2 * _IMAGE_SHARE
        return LoadedModel(model, self.classes, self.card, self.path, self.note)

    @cached_property
    def _unknown(self) -> UnknownScore | None:
        return UnknownScore.of_card(self.card, self.path)

    def outputs(self, points: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        """What the model says of points (B, T, C), zero after each drawing's end, of `lengths` (B,) rows."""
        is_few = bool(self._compiled) and 0 < len(points) <= _FEW
        logits, features = self._read_few(points, lengths) if is_few else self._read_many(points, lengths)
        return (outputs_by_compiled_code if is_few else outputs_of)(logits, self._unknown, features)

    def _read_few(self, points: NDArray[np.float32], lengths: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """As `_read_many`, one after the other by compiled code."""
        reader = self._compiled[0]
        alone = [reader.read(own[:n]) for own, n in zip(points, lengths, strict=True)]
        if reader.is_outdated:
            self._compiled[0] = type(reader)(self.model)
            return self._read_few(points, lengths)
        features, logits = map(np.array, zip(*alone, strict=True)) if len(alone) > 1 else (x[None] for x in alone[0])
        return logits.astype(np.float64), features

    def _read_many(self, points: NDArray[np.float32], lengths: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Logits float64 (B, K), and the features float32 (B, R) that they are made of."""
        with torch.inference_mode(), kernels.threads.undisturbed() if self._compiled else _one_thread():
            given = torch.from_numpy(points), torch.from_numpy(lengths)
            read = self.model.features(*given, plain=not self._compiled)  # (B, R)
            return self.model.linear(read).double().numpy(), read.numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch has one thread: several would wait for each other as long as other programs keep the cores busy."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n)


def load_model(path: Path | str, classes: Any = None) -> LoadedModel:
    """Loads a `.model` file with its card, a bare one, a `.safetensors` or `.quickstroke` file, or a run folder.

    Args:
        path: the file, or the run folder, of which the best weights are taken.
        classes: for a bare file: the words in the order of the output layer, or the file that lists them; by default
            the 2020 project's 100 for a model with 100 outputs.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or does not fit its name, its card or the classes.
        CategoryError: a class list that cannot be used.
        ModelNameError: a bare file whose name is no model name.
    """
    with _one_thread():
        return _load(Path(path), cards.given_classes(classes))


def _load(path: Path, given: tuple[str, ...] | None) -> LoadedModel:
    if path.is_dir():
        if not (path / "best.model").is_file():
            has_card = any(model.with_suffix(".json").is_file() for model in path.glob("*.model"))
            is_run = (path / "config.json").is_file() and not has_card
            lacks = "its training has ended no epoch yet" if is_run else "is no run folder"
            raise WeightsError(f"{path}: {lacks}; expected a .model file or the folder of a run with a trained model")
        path = path / "best.model"
    card_path = path.with_suffix(".json")
    if path.suffix == ".onnx":
        raise WeightsError(f"{path}: is not for PyTorch; expected the .model file or the run that it was exported from")
    if path.suffix not in (".model", ".safetensors", compact.SUFFIX):
        raise WeightsError(f"{path}: not a model; expected a .model, .safetensors or .quickstroke file or a run folder")
    if not path.is_file():
        raise WeightsError(f"{path}: no such model file")
    if path.suffix == ".safetensors":
        return _load_safetensors(path, given)
    if path.suffix == compact.SUFFIX:
        try:
            return load_compact(path.read_bytes(), path, given)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    if card_path.is_file():
        card = cards.read_card(card_path)
        config, card_classes = cards.check_card(card, card_path)
        if path.stem != card["name"]:
            raise WeightsError(f"{path}: its card names it {card['name']!r}")
        digest = sha256_of(path)
        if digest != card["sha256"]:
            raise WeightsError(
                f"{path}: its hash {digest[:12]}.. is not the one in its card, {str(card['sha256'])[:12]}.."
            )
        cards.check_unchanged(card, card_path)
        cards.check_given(given, card_classes, path)
        return LoadedModel(_build(config, read_weights(path), path), card_classes, card, path)
    if folder := runs.folder_of(path):
        run = runs.read_config(folder)
        if given is not None and given != run.classes:
            raise WeightsError(f"{path}: the classes given are not those of its run, or not in its order")
        return LoadedModel(_build(run.model, read_weights(path), path), run.classes, None, path)
    return _load_bare(path, given)


def _load_bare(path: Path, classes: tuple[str, ...] | None) -> LoadedModel:
    if path.stem.startswith("bipool_"):
        raise WeightsError(f"{path}: has no card ({path.stem}.json), which a model of type bipool needs")
    try:
        config = ModelConfig.from_name(path.stem, reading="padded")
    except (ModelNameError, ConfigError) as error:
        raise ModelNameError(
            f"{path}: has no card ({path.stem}.json), so its name must tell its shape: {error}"
        ) from error
    weights = read_weights(path)
    bias = weights.get("linear.bias")
    if bias is None or bias.ndim != 1 or not len(bias):
        raise WeightsError(f"{path}: has no output layer (linear.bias); keys: {', '.join(list(weights)[:6])}")
    config = replace(config, n_classes=len(bias))
    model = _build(config, weights, path)
    note = f"{path} has no card ({path.stem}.json); read as the 2020 project's: padded to {config.max_padding} steps"
    if classes is None:
        if len(bias) != len(CATEGORIES_2020):
            raise WeightsError(
                f"{path}: has {len(bias)} outputs and no card; say what they are with a list of {len(bias)} classes"
            )
        classes = CATEGORIES_2020
        note += ", with that project's 100 classes"
    elif classes != CATEGORIES_2020 and set(classes) == set(CATEGORIES_2020):
        note += "; the classes given are that project's in another order, in which its own weights have others"
    if len(classes) != len(bias):
        raise WeightsError(f"{path}: has {len(bias)} outputs, but {len(classes)} classes were given")
    return LoadedModel(model, classes, None, path, note)


def _load_safetensors(path: Path, given: tuple[str, ...] | None) -> LoadedModel:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # such as for a type of numbers that PyTorch has not
        raise WeightsError(f"{path}: damaged or not a safetensors file ({error!s:.120})") from error
    if CARD_KEY not in metadata:
        raise WeightsError(f"{path}: has no card; expected a file of `quickstroke export --to safetensors`")
    card = cards.parse_card(metadata[CARD_KEY], path)
    config, classes = cards.check_card(card, path)
    weights = _checked(tensors, path)
    if card.pop(HASH_KEY, None) != content_hash(card, weights):
        raise WeightsError(f"{path}: damaged or changed since its export: its hash is not the one that it states")
    cards.check_given(given, classes, path)
    return LoadedModel(_build(config, weights, path), classes, card, path)


def load_compact(data: bytes, path: Path, given: tuple[str, ...] | None = None) -> LoadedModel:
    """The model of the bytes of a `.quickstroke` file, its weights as float32; `path` says whose they are.

    Raises:
        WeightsError: as `load_model`.
    """
    text, arrays = compact.from_bytes(data, path)
    card = cards.parse_card(text, path)
    config, classes = cards.check_card(card, path)
    cards.check_given(given, classes, path)
    weights = _checked({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return LoadedModel(_build(config, weights, path), classes, card, path)


def content_hash(card: dict[str, Any], weights: dict[str, Tensor]) -> str:
    """SHA-256 of a card and of dense tensors on the CPU: what a `.safetensors` file states of itself."""
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for key in sorted(weights):
        value = weights[key].contiguous()
        digest.update(f"\0{key}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """A plain state dict, on the CPU, whichever device and PyTorch wrote it; no code in the file ever runs.

    Raises:
        WeightsError: it cannot be read, is no state dict, or holds numbers that are not finite.
    """
    weights = weight_files.load(path)
    if not isinstance(weights, dict) or not weights:
        what = "an empty dict" if weights == {} else f"a {type(weights).__name__}"
        raise WeightsError(f"{path}: holds {what}; expected a state dict")
    return _checked(weights, path)


def _checked(weights: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """Named, plain and finite tensors; WeightsError where there is anything else."""
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path}: {reprlib.repr(key)} is a {type(value).__name__}; expected named tensors only")
        if not _is_plain(value):
            raise WeightsError(f"{path}: {key!r:.60} is no plain dense tensor of a type that weights have")
        if not torch.isfinite(value.float()).all():  # as float32, in which the model computes
            raise WeightsError(f"{path}: {key!r:.60} has numbers that are not finite")
    return dict(weights)


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor has all its numbers in memory, in a type that weights have."""
    return (
        value.device.type == "cpu"
        and value.layout == torch.strided
        and not value.is_nested
        and value.dtype in _DTYPES
        # By strides of 0 a few bytes can claim any shape.
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )


def _build(config: ModelConfig, weights: dict[str, Tensor], path: Path) -> StrokeClassifier:
    """The model in evaluation mode with these weights, checked against its shape before any memory is taken."""
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in StrokeClassifier(config).state_dict().items()}
    counter = "bn.num_batches_tracked"  # PyTorch wrote none before 0.4.1, and nothing here reads it
    weights = {counter: torch.zeros((), dtype=torch.int64), **weights}
    actual = {key: tuple(value.shape) for key, value in weights.items()}
    wrong = [key for key in sorted(expected.keys() | actual.keys()) if actual.get(key) != expected.get(key)]
    if wrong:
        first = wrong[0]
        raise WeightsError(
            f"{path}: the weights do not fit {config.name} with {config.n_classes} classes: {first!r:.60} is "
            f"{actual.get(first, 'missing')}, expected {expected.get(first, 'none')}"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
        )
    for key, value in weights.items():
        if key != counter and not value.is_floating_point():
            raise WeightsError(f"{path}: {key!r} holds whole numbers ({value.dtype}); expected weights")
    if (weights["bn.running_var"] < 0).any():
        raise WeightsError(f"{path}: 'bn.running_var' has a negative variance")
    model = StrokeClassifier(config)
    model.load_state_dict(weights)
    return model.eval()


def write_model(into: Path, loaded: LoadedModel, facts: dict[str, Any]) -> Path:
    """Writes NAME.model and NAME.json into a folder; `facts` are the card's further entries, such as figures.

    Returns:
        The path of NAME.model.

    Raises:
        WeightsError: the card would be longer than a card may be.
    """
    path = into / f"{loaded.name}.model"
    config = loaded.model.config
    card_path = path.with_suffix(".json")
    # Between the two writes the old card would not fit the new weights; without a card they would be read wrongly.
    # The card goes first: weights whose hash is another are refused until they are there.
    content = weight_files.torch_bytes(weight_files.on_cpu(loaded.model.state_dict()))
    card = cards.new_card(config, loaded.classes, hashlib.sha256(content).hexdigest()) | facts
    card["card_sha256"] = cards.card_hash(card)
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    if len(text) > cards.MAX_CHARACTERS:
        longest = max(loaded.classes, key=len)
        raise WeightsError(
            f"{card_path}: the card would have {len(text):,} characters, more than {cards.MAX_CHARACTERS:,}; the "
            f"longest of its {len(loaded.classes)} words, {longest!r:.40}, has {len(longest):,}"
        )
    with atomic_write(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        write_text(card_path, text)
    return path
