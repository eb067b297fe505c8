"""What a model is, as a frozen dataclass."""

from dataclasses import asdict, dataclass, fields
from typing import Literal, Self

from quickstroke.config import naming
from quickstroke.config.naming import Convolution, Readout
from quickstroke.config.schema import check_positive, check_types
from quickstroke.errors import ConfigError, expect

Reading = Literal["length-aware", "padded"]
Preprocessing = Literal["delta3", "pos5"]

N_CLASSES_2020 = 100
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
            points (`image_branch`); None to go without it. It needs readout `pool`.
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
    n_classes: int = N_CLASSES_2020
    reading: Reading = "length-aware"
    max_padding: int = 100
    image: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        keys = ("n_layers", "hidden_size", "n_classes", "max_padding", "image")
        positive = {key: value for key in keys if (value := getattr(self, key)) is not None}
        tops = {"n_layers": naming.MAX_LAYERS, "image": naming.MAX_IMAGE, "max_padding": MAX_PADDING}
        convolutions = {"conv1": self.conv1, "conv2": self.conv2}
        for name, convolution in convolutions.items():
            tops[f"{name} stride"] = naming.MAX_STRIDE
            for key, value in zip(("n_filters", "filter_size", "stride"), convolution or (), strict=False):
                positive[f"{name} {key}"] = value
        check_positive(positive)
        for key, value in positive.items():
            top = tops.get(key, naming.MAX_SIZE)
            if value > top:
                raise ConfigError(f"{key} should be at most {top}, got {value}")
        if self.conv2 and not self.conv1:
            raise ConfigError("conv2 needs conv1")
        if self.readout == "pool" and not (self.bidirectional and self.reading == "length-aware"):
            raise ConfigError(
                "readout 'pool' needs bidirectional = true and reading = 'length-aware': type bipool does not go with "
                "the recipe '2020'"
            )
        for name, convolution in convolutions.items():
            if convolution and len(convolution) == 3 and (self.readout == "last" or convolution[2] == 1):
                raise ConfigError(f"{name} = {convolution}: a stride is not 1, and needs readout 'pool'")
        if self.image and self.readout == "last":
            raise ConfigError(f"image = {self.image}: an image needs readout 'pool'")
        if self.receptive_field > self.max_padding:
            raise ConfigError(
                f"the convolutions span {self.receptive_field} steps, more than max_padding = {self.max_padding}"
            )

    @property
    def name(self) -> str:
        """The model name of the 2020 project's convention, as in `naming`."""
        shape = {field.name: getattr(self, field.name) for field in fields(naming.Shape)}
        return naming.format_name(naming.Shape(**shape))

    @classmethod
    def from_name(
        cls, name: str, *, n_classes: int = N_CLASSES_2020, reading: Reading = "length-aware", max_padding: int = 100
    ) -> Self:
        """The configuration that a model name stands for; `.name` gives the name back.

        Raises:
            ArgumentTypeError: the name is no text.
            ModelNameError: the name is malformed; the message says which part is wrong.
            ConfigError: a value that cannot be, such as convolutions longer than `max_padding`.
        """
        expect(name, str, "a model name", "a text such as 'simple_lay1_sz64'")
        shape = asdict(naming.parse_name(name))
        return cls(**shape, n_classes=n_classes, reading=reading, max_padding=max_padding)

    @property
    def receptive_field(self) -> int:
        """Rows that a drawing needs for one output step of the convolutions; 1 without them, or where they pad."""
        if self.readout == "pool":
            return 1
        return 1 + sum(convolution[1] - 1 for convolution in (self.conv1, self.conv2) if convolution)

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the points that the model reads."""
        return "pos5" if self.readout == "pool" else "delta3"
