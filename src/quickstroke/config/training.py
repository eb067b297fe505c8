"""How a model is trained, as a frozen dataclass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from quickstroke.config import former
from quickstroke.config.model import Reading
from quickstroke.config.recipes import PLAIN, RECIPES, Recipe
from quickstroke.config.schema import check_types
from quickstroke.errors import ConfigError

Schedule = Literal["constant", "cosine"]
SelectBy = Literal["top1", "balanced_loss"]
Augment = Literal["none", "geometric", "strokes"]
Initialization = Literal["uniform", "orthogonal"]
Optimizer = Literal["adam", "muon"]
Normalization = Literal["batch", "fixed"]
Device = Literal["auto", "cpu", "cuda"]
LoggerName = Literal["tensorboard", "wandb", "mlflow"]
Precision = Literal["auto", "float32", "bfloat16"]


def device_hint(device: object) -> str:
    """What an error says besides of a device that is a GPU by its number; else empty."""
    number = device.removeprefix("cuda:") if isinstance(device, str) else ""
    return f"; CUDA_VISIBLE_DEVICES={number} and 'cuda' choose that GPU" if number.isdecimal() else ""


class _OfRecipe:
    """The value of an option that was not given, in whose place `TrainConfig` takes that of its recipe."""

    def __repr__(self) -> str:
        return "<of the recipe>"


_OF_RECIPE: Any = _OfRecipe()

# What each number has to be.
_RANGES: dict[str, tuple[Callable[[float], bool], tuple[str, ...]]] = {
    "above 0": (
        lambda value: value > 0,
        ("n_epochs", "batch_size", "grad_accum_steps", "learning_rate", "distillation_temperature", "max_padding"),
    ),
    "0 or more": (lambda value: value >= 0, ("patience", "seed", "weight_decay", "max_grad_norm", "n_cached_epochs")),
    "from 0 to below 1": (
        lambda value: 0 <= value < 1,
        ("warmup", "dropout", "label_smoothing", "ema_decay", "other_class_fraction"),
    ),
    "from 0 to 1": (
        lambda value: 0 <= value <= 1,
        (
            "class_balance",
            "distillation_weight",
            "augment_magnitude",
            "geometric_magnitude",
            "random_rotation",
            "prefix_truncation",
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is trained. An option that is not given has the value of the recipe.

    Attributes:
        recipe: `default` reads each drawing to its own end, in batches of similar length, and learns fast. `strong`
            also augments drawings, keeps an EMA of the weights and balances classes, which pays in long trainings.
            `2020` is the 2020 project's: padded reading, batches in random order, plain Adam.
        n_epochs: passes over the training drawings.
        batch_size: drawings a step, of all processes together.
        grad_accum_steps: parts of a batch that are computed one after the other, which takes less memory; their
            gradients are added up before the step. Only batch norm sees each part by itself.
        optimizer: `muon` orthogonalises the momentum of the matrices of the LSTM and of the convolutions; all other
            weights go by Adam. An epoch takes longer and is worth more.
        learning_rate: of the optimizer, at its highest.
        initialization: of the LSTM. `uniform` is PyTorch's; `orthogonal` begins with orthogonal recurrent weights and
            forget gates that are open, which a long drawing needs.
        normalization: of the points. `batch` takes each batch's own statistics, as batch norm does, which differ
            from batch to batch with the length of its drawings; `fixed` those of all training drawings, from the start.
        schedule: `cosine` lets the learning rate fall to 0 by half a cosine; `constant` keeps it.
        warmup: fraction of all steps in which the learning rate rises, beginning above 0.
        weight_decay: for matrices only; with it Adam is AdamW.
        max_grad_norm: gradients with a larger norm over all weights are scaled down to it; 0 for no limit.
        dropout: fraction of units left out between LSTM layers and before the output layer.
        label_smoothing: part of a label that is spread over all classes.
        ema_decay: decay per step of an exponential moving average of the weights, which is what is validated and kept;
            0 for none.
        augment: `geometric` changes the shape of drawings anew each time; `strokes` also changes how they are drawn
            and how much of them is there.
        augment_magnitude: from 0 to 1: what `augment` does, how much and how often, times this; rotation by any
            angle and prefix truncation have options of their own.
        geometric_magnitude: from 0 to 1: how much the geometric augmentation changes, times this as well; how often
            stays as it is.
        random_rotation: fraction of the augmented drawings that are rotated by any angle, for drawings that may be;
            it costs upright ones less accuracy with a teacher, which says what a rotated drawing shows.
        prefix_truncation: fraction of the drawings of which `strokes` keeps only the first points, so that a model
            recognises drawings early, while somebody draws.
        class_balance: exponent of class-balanced sampling: 0 samples drawings as they are, 1 all classes equally
            often.
        pretrained: model or run whose weights a training begins with, where names and shapes are the same; rows of
            the output layer go by their word. Of several, with one name and the same classes, it is their mean.
        teacher: models for knowledge distillation: their probabilities are learned beside the labels.
        distillation_weight: weight of the teachers' probabilities in the target where the label is known; the label
            has the rest.
        n_cached_epochs: epochs for which teachers are asked about new geometric augmentations of the drawings;
            later epochs reuse these. With 0 they are asked once, about the drawings as they are, and the student sees
            new augmentations in every epoch.
        distillation_temperature: divides the teachers' log-probabilities: above 1 the target is softer.
        other_class_fraction: fraction of the drawings of an epoch that are training drawings of other classes than the
            model's, with the teachers' probabilities as the target.
        select_by: selection metric: the weights of the epoch with the best validation figure are kept: the highest
            `top1`, or the least `balanced_loss`, the mean of the classes' losses.
        patience: stop after this many epochs of which none was better; 0 never stops early.
        max_padding: rows to which each drawing is cut (and padded, with the recipe `2020`).
        seed: of the initial weights, of the order of the drawings and of their augmentation.
        device: `auto` takes a CUDA device when there is one.
        precision: of the matrix products of training; weights, sums and every evaluation are float32. `auto` takes
            bfloat16 on a CPU that multiplies it in hardware; a GPU takes it where it is asked for, by autocast.
        deterministic: refuse operations that are not repeatable on the device.

    Raises:
        ConfigError: a value of a wrong type, an impossible one, or two that contradict each other.
    """

    recipe: Recipe = "default"
    n_epochs: int = _OF_RECIPE
    batch_size: int = _OF_RECIPE
    grad_accum_steps: int = 1
    optimizer: Optimizer = _OF_RECIPE
    learning_rate: float = _OF_RECIPE
    initialization: Initialization = _OF_RECIPE
    normalization: Normalization = _OF_RECIPE
    schedule: Schedule = _OF_RECIPE
    warmup: float = _OF_RECIPE
    weight_decay: float = _OF_RECIPE
    max_grad_norm: float = _OF_RECIPE
    dropout: float = _OF_RECIPE
    label_smoothing: float = _OF_RECIPE
    ema_decay: float = _OF_RECIPE
    augment: Augment = _OF_RECIPE
    augment_magnitude: float = 1.0
    geometric_magnitude: float = 1.0
    random_rotation: float = 0.0
    prefix_truncation: float = 0.35
    class_balance: float = _OF_RECIPE
    pretrained: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    distillation_weight: float = 0.7
    distillation_temperature: float = 1.0
    n_cached_epochs: int = 16
    other_class_fraction: float = 0.0
    select_by: SelectBy = "top1"
    patience: int = 0
    max_padding: int = _OF_RECIPE
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"
    deterministic: bool = False

    def __new__(cls, *args: Any, **values: Any) -> Self:
        """Refuses names of earlier versions, of which a dataclass would only say that they are unexpected."""
        former.refuse(values)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        # Of a recipe that is none `check_types` tells.
        values = RECIPES.get(self.recipe, PLAIN) if isinstance(self.recipe, str) else PLAIN
        for key, value in values.items():
            if getattr(self, key) is _OF_RECIPE:
                object.__setattr__(self, key, value)
        if hint := device_hint(self.device):
            raise ConfigError(f"device should be 'auto', 'cpu' or 'cuda', got {self.device!r}{hint}")
        check_types(self)
        for expected, (is_right, keys) in _RANGES.items():
            for key in keys:
                if not is_right(value := getattr(self, key)):
                    raise ConfigError(f"{key} should be {expected}, got {value}")
        if self.other_class_fraction and not self.teacher:
            raise ConfigError("other_class_fraction needs a teacher: nothing else says what those drawings are")
        if self.recipe == "2020" and self.precision == "bfloat16":
            raise ConfigError("precision 'bfloat16' does not go with the recipe '2020', which trains in float32")
        if self.seed >= 2**64:  # what PyTorch takes
            raise ConfigError(f"seed should be below 2^64, got {self.seed}")

    @property
    def reading(self) -> Reading:
        """The reading of the models that this recipe trains."""
        return "padded" if self.recipe == "2020" else "length-aware"
