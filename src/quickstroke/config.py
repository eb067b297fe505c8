"""Configuration as frozen dataclasses: what a model is, how it is trained, and how both are written as JSON."""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from quickstroke import naming
from quickstroke.errors import ConfigError, expect
from quickstroke.naming import Convolution

Reading = Literal["length-aware", "padded"]
Readout = Literal["last", "pool"]
Preprocessing = Literal["seed3", "pos5"]
Recipe = Literal["default", "2020", "strong"]
Schedule = Literal["constant", "cosine"]
Criterion = Literal["top1", "balanced_loss"]
Augment = Literal["none", "view", "strokes"]
Initialization = Literal["uniform", "orthogonal"]
Optimizer = Literal["adam", "muon"]
Normalization = Literal["batch", "fixed"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]

N_SEED_CLASSES = 100
# Far beyond any drawing; a file that asks for more wants memory, not drawings.
MAX_PADDING = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of a StrokeClassifier and how it reads its points.

    Attributes:
        n_layers: LSTM layers.
        hidden_size: hidden units of each LSTM direction.
        conv1: first convolution over the steps, (n_filters, filter_size), or None. With readout `pool` also
            (n_filters, filter_size, stride), to compute every stride-th step only.
        conv2: second convolution, or None; needs `conv1`.
        bidirectional: whether the LSTM runs in both directions.
        readout: `last` reads each direction's last output. `pool` reads mean, maximum and an attention over all of
            them, normalises and activates the convolutions, and takes points with positions (`pos5`); it needs two
            directions and length-aware reading.
        image: filters of the first of the convolutions over the image of the drawing, which is looked at beside its
            points (`images`); None to go without it. It needs readout `pool`.
        n_classes: size of the output layer.
        reading: `length-aware` reads each direction's output at its own end of the drawing; `padded` is the 2020
            project's: the output at the last of `max_padding` steps, most of which are zeros.
        max_padding: rows to which a drawing is cut, and to which `padded` reading fills it with zeros.

    Raises:
        ConfigError: a value of a wrong type, an impossible one, or two that contradict each other.
    """

    n_layers: int = 1
    hidden_size: int = 64
    conv1: Convolution | None = None
    conv2: Convolution | None = None
    bidirectional: bool = False
    readout: Readout = "last"
    n_classes: int = N_SEED_CLASSES
    reading: Reading = "length-aware"
    max_padding: int = 100
    image: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        positive = {"n_layers": self.n_layers, "hidden_size": self.hidden_size, "n_classes": self.n_classes}
        if self.image is not None:
            positive["image"] = self.image
        for convolution in ("conv1", "conv2"):
            keys = ("n_filters", "filter_size", "stride")
            for key, value in zip(keys, getattr(self, convolution) or (), strict=False):
                positive[f"{convolution} {key}"] = value
        check_positive({**positive, "max_padding": self.max_padding})
        tops = {"n_layers": naming.MAX_LAYERS, "image": naming.MAX_IMAGE}
        tops |= {f"{convolution} stride": naming.MAX_STRIDE for convolution in ("conv1", "conv2")}
        for key, value in positive.items():
            top = tops.get(key, naming.MAX_SIZE)
            if value > top:
                raise ConfigError(f"{key} should be at most {top}, got {value}")
        if self.max_padding > MAX_PADDING:
            raise ConfigError(f"max_padding should be at most {MAX_PADDING}, got {self.max_padding}")
        if self.conv2 and not self.conv1:
            raise ConfigError("conv2 needs conv1")
        if self.readout == "pool" and not (self.bidirectional and self.reading == "length-aware"):
            raise ConfigError(
                "readout 'pool' needs bidirectional = true and reading = 'length-aware': type bipool does not go with "
                "the recipe '2020'"
            )
        for convolution in ("conv1", "conv2"):
            value = getattr(self, convolution)
            if value and len(value) == 3 and (self.readout == "last" or value[2] == 1):
                raise ConfigError(f"{convolution} = {value}: a stride is not 1, and needs readout 'pool'")
        if self.image and self.readout == "last":
            raise ConfigError(f"image = {self.image}: an image needs readout 'pool'")
        if self.receptive_field > self.max_padding:
            raise ConfigError(
                f"the convolutions span {self.receptive_field} steps, more than max_padding = {self.max_padding}"
            )

    @property
    def name(self) -> str:
        """The model name of the 2020 project's convention, as in `naming`."""
        return naming.format_name(
            naming.Shape(
                self.bidirectional,
                self.conv1,
                self.conv2,
                self.n_layers,
                self.hidden_size,
                self.readout == "pool",
                self.image,
            )
        )

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        n_classes: int = N_SEED_CLASSES,
        reading: Reading = "length-aware",
        max_padding: int = 100,
    ) -> Self:
        """The configuration that a model name stands for; `.name` gives the name back.

        Raises:
            ArgumentTypeError: the name is no text.
            ModelNameError: the name is malformed; the message says which part is wrong.
            ConfigError: a value that cannot be, such as convolutions longer than `max_padding`.
        """
        expect(name, str, "a model name", "a text such as 'simple_lay1_sz64'")
        shape = naming.parse_name(name)
        return cls(
            n_layers=shape.n_layers,
            hidden_size=shape.hidden_size,
            conv1=shape.conv1,
            conv2=shape.conv2,
            bidirectional=shape.bidirectional,
            readout="pool" if shape.pooled else "last",
            n_classes=n_classes,
            reading=reading,
            max_padding=max_padding,
            image=shape.image,
        )

    @property
    def receptive_field(self) -> int:
        """Rows that a drawing needs for one output step of the convolutions; 1 without them, or where they pad."""
        if self.readout == "pool":
            return 1
        return 1 + sum(convolution[1] - 1 for convolution in (self.conv1, self.conv2) if convolution)

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the points that the model reads."""
        return "pos5" if self.readout == "pool" else "seed3"


# The 2020 project's training, and what earlier versions did by options that their files do not name.
_PLAIN: dict[str, Any] = {
    "n_epochs": 10,
    "batch_size": 256,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "initialization": "uniform",
    "normalization": "batch",
    "schedule": "constant",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "averaging": 0.0,
    "augment": "none",
    "balance": 0.0,
    "max_padding": 100,
}
_DEFAULT = _PLAIN | {
    "n_epochs": 20,
    "batch_size": 64,
    "optimizer": "muon",
    "learning_rate": 0.016,
    "initialization": "orthogonal",
    "normalization": "fixed",
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "max_padding": 200,
}
# The values that each recipe has for the options that differ between them.
RECIPES: dict[Recipe, dict[str, Any]] = {
    "default": _DEFAULT,
    "2020": _PLAIN,
    "strong": _DEFAULT
    | {
        "n_epochs": 60,
        "batch_size": 256,
        "learning_rate": 0.01,
        "warmup": 0.05,
        "weight_decay": 0.02,
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "averaging": 0.999,
        "augment": "strokes",
        "balance": 0.5,
    },
}
# Recipes of version 0.1.0 that have gone: the name of what reads drawings as they did, and the values they had.
_FORMER_RECIPES: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "seed": ("2020", _PLAIN),
    "quick": ("default", _DEFAULT | {"n_epochs": 4, "learning_rate": 0.009}),
}


class _OfRecipe:
    """The value of an option that was not given, in whose place `TrainConfig` takes that of its recipe."""

    def __repr__(self) -> str:
        return "<of the recipe>"


_OF_RECIPE: Any = _OfRecipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is trained. An option that is not given has the value of the recipe.

    Attributes:
        recipe: `default` reads each drawing to its own end, in batches of similar length, and learns fast. `strong`
            also augments drawings, averages weights and balances classes, which pays in long trainings. `2020` is the
            2020 project's: padded reading, batches in random order, plain Adam.
        n_epochs: passes over the training drawings.
        batch_size: drawings a step, of all processes together.
        accumulate: parts of a batch that are computed one after the other, which takes less memory; their gradients
            are added up before the step. Only batch norm sees each part by itself.
        optimizer: `muon` is Adam but for the matrices of the LSTM and of the convolutions, which it moves along their
            momentum made orthogonal: an epoch takes longer and teaches more.
        learning_rate: of the optimizer, at its highest.
        initialization: of the LSTM. `uniform` is PyTorch's; `orthogonal` begins with orthogonal recurrent weights and
            forget gates that are open, which a long drawing needs.
        normalization: of the points. `batch` takes each batch's own statistics, as batch norm does, which differ
            from batch to batch with the length of its drawings; `fixed` those of all training drawings, from the start.
        schedule: `cosine` lets the learning rate fall to 0 by half a cosine; `constant` keeps it.
        warmup: fraction of all steps in which the learning rate rises, beginning above 0.
        weight_decay: for matrices only; with it Adam is AdamW.
        clip_norm: longest gradient, as a norm over all weights; 0 for any length.
        dropout: fraction of units left out between LSTM layers and before the output layer.
        label_smoothing: part of a label that is spread over all classes.
        averaging: decay a step of a running average of the weights, which is what is validated and kept; 0 for none.
        augment: `view` changes the shape of drawings anew each time, `strokes` also how they are drawn and how much of
            them is there, as in `augmentation`.
        view_strength: how far `view` and `strokes` turn, stretch and bend drawings, as a part of what they do at most.
        spin: part of the drawings that they turn by any angle. It helps a student of teachers, who say what comes of
            it, and costs accuracy with labels alone.
        blend_across: part of the blends of drawings that are with one of any class, not of their own: teachers alone
            say what comes of it.
        unfinished: part of the drawings of which `strokes` leaves first points only, so that a model can guess while
            somebody draws.
        balance: how far rare classes are seen more often: 0 as they are, 1 all classes alike.
        pretrained: model or run whose weights a training begins with, where names and shapes are the same; rows of
            the output layer go by their word. Of several, with one name and the same classes, it is their mean.
        teacher: models whose probabilities are learnt beside the labels.
        teacher_weight: part of the target that is theirs where the label is known.
        label_odds: what the odds of the label are multiplied by in what teachers say: above 1 it counts where they are
            in doubt, and hardly where they are sure that it is wrong.
        n_views: epochs for which teachers are asked about new views of the drawings; later ones see these again. With
            0 they are asked once, about the drawings as they stand, and the student sees new views in every epoch.
        teacher_temperature: what the logarithms of the teachers' probabilities are divided by: above 1 the target says
            more of what else a drawing might be.
        unlabelled: part of the drawings of an epoch that are training drawings of other classes than the model's, of
            which it learns what the teachers say.
        criterion: which epoch is the best and has its weights kept, by the validation drawings: that with the highest
            `top1`, or with the least `balanced_loss`, in which every class counts alike, however many drawings it has.
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
    accumulate: int = 1
    optimizer: Optimizer = _OF_RECIPE
    learning_rate: float = _OF_RECIPE
    initialization: Initialization = _OF_RECIPE
    normalization: Normalization = _OF_RECIPE
    schedule: Schedule = _OF_RECIPE
    warmup: float = _OF_RECIPE
    weight_decay: float = _OF_RECIPE
    clip_norm: float = _OF_RECIPE
    dropout: float = _OF_RECIPE
    label_smoothing: float = _OF_RECIPE
    averaging: float = _OF_RECIPE
    augment: Augment = _OF_RECIPE
    view_strength: float = 1.0
    spin: float = 0.0
    blend_across: float = 0.0
    unfinished: float = 0.35
    balance: float = _OF_RECIPE
    pretrained: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    teacher_weight: float = 0.7
    label_odds: float = 1.0
    teacher_temperature: float = 1.0
    n_views: int = 16
    unlabelled: float = 0.0
    criterion: Criterion = "top1"
    patience: int = 0
    max_padding: int = _OF_RECIPE
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        self._take_values_of_recipe()
        check_types(self)
        keys = (
            "n_epochs",
            "batch_size",
            "accumulate",
            "learning_rate",
            "label_odds",
            "teacher_temperature",
            "max_padding",
        )
        check_positive({key: getattr(self, key) for key in keys})
        for key in ("patience", "seed", "weight_decay", "clip_norm", "n_views"):
            if getattr(self, key) < 0:
                raise ConfigError(f"{key} should be 0 or more, got {getattr(self, key)}")
        for key in ("warmup", "dropout", "label_smoothing", "averaging", "unlabelled"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"{key} should be from 0 to below 1, got {getattr(self, key)}")
        for key in ("balance", "teacher_weight", "view_strength", "spin", "blend_across", "unfinished"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} should be from 0 to 1, got {getattr(self, key)}")
        for key in ("unlabelled", "blend_across"):
            if getattr(self, key) and not self.teacher:
                raise ConfigError(f"{key} needs a teacher: nothing else says what those drawings are")
        if self.blend_across and not self.n_views:
            raise ConfigError("blend_across needs n_views above 0: teachers are asked about the blends")
        if self.recipe == "2020" and self.precision == "bfloat16":
            raise ConfigError("precision 'bfloat16' does not go with the recipe '2020', which trains in float32")
        if self.seed >= 2**64:  # what PyTorch takes
            raise ConfigError(f"seed should be below 2^64, got {self.seed}")

    def _take_values_of_recipe(self) -> None:
        """Gives each option that was not given the value that the recipe has for it."""
        check_recipe(self.recipe)
        # Of a recipe that is none `check_types` tells.
        values = RECIPES.get(self.recipe, _PLAIN) if isinstance(self.recipe, str) else _PLAIN
        for key, value in values.items():
            if getattr(self, key) is _OF_RECIPE:
                object.__setattr__(self, key, value)

    @property
    def reading(self) -> Reading:
        """The reading of the models that this recipe trains."""
        return "padded" if self.recipe == "2020" else "length-aware"


def check_recipe(name: str) -> None:
    """Raises ConfigError, with what took its place, when `name` is a recipe that only earlier versions had."""
    if name in _FORMER_RECIPES:
        now, values = _FORMER_RECIPES[name]
        if RECIPES[now] == values:
            raise ConfigError(f"recipe {name!r} is called {now!r} now")
        raise ConfigError(f"recipe {name!r} is part of {now!r} now, which is taken where none is given")


def without_former_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file; where it names a recipe that only earlier versions had, those that it stood for as well."""
    name = values.get("recipe")
    if not isinstance(name, str) or name not in _FORMER_RECIPES:
        return dict(values)
    now, former = _FORMER_RECIPES[name]
    return former | dict(values) | {"recipe": now}


Config = TypeVar("Config", ModelConfig, TrainConfig)


def to_json(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """A configuration as JSON values; `from_json` reads it back."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
        if (key, value) != ("image", None)  # so that older versions read all models that look at none
    }


def from_json(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """A configuration from JSON or TOML values; keys that are left out have their defaults, those of the recipe.

    A recipe that earlier versions had has the values that it had then.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value; `where` says whose values they are.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: should be an object of keys and values, got {values!r:.60}")
    fields = {field.name for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(fields))}")
    arguments: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    # Earlier configurations have one path or null.
    if kind is TrainConfig and isinstance(path := arguments.get("pretrained", ()), str | None):
        arguments["pretrained"] = () if path is None else (path,)
    if kind is TrainConfig:
        arguments = without_former_recipe(arguments)
    try:
        return kind(**arguments)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def from_record(values: Mapping[str, Any], where: str) -> TrainConfig:
    """The configuration of a training that a run or a card tells of.

    A key that it lacks is an option that its version did not have, and what it trained did without.

    Raises:
        ConfigError: as `from_json`.
    """
    return from_json(TrainConfig, {**_PLAIN, **values} if isinstance(values, Mapping) else values, where)


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def check_types(config: Any) -> None:
    """Raises ConfigError when a field of a dataclass has not its declared type; an int passes for a float."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not fits(value, hints[field.name]):
            raise ConfigError(f"{field.name} should be {described(hints[field.name])}, got {value!r:.60}")


def described(hint: Any) -> str:
    """A declared type in words."""
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if hint is float:
        return "a finite number"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has a declared type; an int passes for a float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[1:] == (Ellipsis,):
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if hint is float:
        return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**1023)
    return type(value) is hint


def check_positive(values: Mapping[str, float]) -> None:
    """Raises ConfigError naming the first value that is not above 0."""
    for key, value in values.items():
        if not value > 0:
            raise ConfigError(f"{key} should be above 0, got {value}")
