"""From strokes to ranked words."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.artifacts import cards
from quickstroke.artifacts.unknown import Outputs
from quickstroke.config.model import Preprocessing
from quickstroke.data.points import n_channels, to_points
from quickstroke.drawings.categories import choose_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.layouts import Layout, check_choice
from quickstroke.drawings.simplification import gather, simplify, simplify_gathered
from quickstroke.errors import (
    ArgumentTypeError,
    ConfigError,
    FormatError,
    MissingExtra,
    expect,
    expect_items,
    expect_path,
    shown,
)
from quickstroke.utils.compiled import beside, compiling

# Many drawings are read so many at a time, so that memory stays bounded.
_BATCH_SIZE = 256
# From here on a first guess is called sure.
SURE = 0.75
# Whoever asks for more is asking for long: then it pays to compile.
_FEW_DRAWINGS = 64


class Guess(NamedTuple):
    """One word with the probability that the model gives it, 0 to 1."""

    word: str
    probability: float


class Guesses(list[Guess]):
    """Guesses for one drawing, the most probable first.

    Their probabilities hold given that the drawing shows one of the words.

    Attributes:
        layout: how its strokes were read, `points` or `columns`; None for a `Drawing` that leaves no choice.
        unknown: probability, 0 to 1, that the drawing shows none of the words; None where nothing was fitted.
    """

    def __init__(
        self, guesses: Iterable[Guess] = (), layout: Layout | None = None, unknown: float | None = None
    ) -> None:
        super().__init__(guesses)
        self.layout = layout
        self.unknown = unknown

    @property
    def is_sure(self) -> bool:
        """Whether the first word is probably right: its probability times (1 - unknown) is above 0.75."""
        return bool(self) and self[0].probability * (1 - (self.unknown or 0.0)) > SURE


class Model(Protocol):
    """What a recognizer runs: `loading.LoadedModel`, or one in another format.

    Attributes:
        name, classes, card, note: as those of `Recognizer`.
        max_padding: rows to which a drawing is cut.
        preprocessing: of the points that it reads.
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def card(self) -> dict[str, Any] | None: ...
    @property
    def note(self) -> str: ...
    @property
    def max_padding(self) -> int: ...
    @property
    def preprocessing(self) -> Preprocessing: ...

    def compile(self) -> None:
        """Compiles what it computes with, if anything."""
        ...

    def outputs(self, points: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        """What the model says of points (B, T, C), zero after each drawing's end, of `lengths` (B,) rows."""
        ...


class Recognizer:
    """A loaded model that names drawings.

    Attributes:
        name: the model's name.
        classes: the words that it chooses among: every word that the model knows, in the order of its output layer, or
            the `words` given, in their order.
        card: the model's card, or None for a model without one.
        note: what had to be assumed on loading, empty if nothing.
        compiles: whether more than a few drawings begin to compile what is quicker, beside the guesses. These are the
            same before and after, but for rounding.
    """

    compiles = True

    def __init__(self, model: Model, words: Sequence[str] | Path | str | None = None) -> None:
        """Takes a loaded model, and `words` to choose among as `predict` does.

        Raises:
            CategoryError: as `predict`.
        """
        if not callable(getattr(model, "outputs", None)):
            raise ArgumentTypeError(f"model should be a loaded model, got {shown(model)}; `load` opens a file")
        self._model = model
        self.name, self.card, self.note = model.name, model.card, model.note
        self.classes = model.classes
        self._chosen: NDArray[np.int64] | None = None  # the model's outputs that `classes` are, None for all
        if words is not None:
            self.classes = choose_words(words, model.classes)
            self._chosen = _positions(self.classes, model.classes)
        self._n_before = 0  # drawings that came before compiling began

    def __repr__(self) -> str:
        return f"<Recognizer {self.name}: {len(self.classes)} words>"

    def predict(
        self,
        strokes: Sequence[ArrayLike] | Drawing,
        *,
        simplified: bool | None = None,
        top: int = 5,
        layout: str = "auto",
        words: Sequence[str] | Path | str | None = None,
    ) -> Guesses:
        """The `top` most probable words for one drawing, best first.

        A model reads the first points of a drawing, as many as its card says under `max_padding` once it is simplified:
        200 of the default model, 100 of the 2020 project's.

        Args:
            strokes: a Drawing, or points [[x, y], ..], one array (n, 2) a stroke, or columns [[x..], [y..]], (2, n), as
                Google's files have them; y grows downwards, and times, a third number or row, are ignored.
            simplified: whether the strokes are in Google's simplified form already: integers from 0 to 255. By default
                a Drawing says so itself, and other strokes are in the pen's own units.
            top: how many words; fewer come back when the model knows fewer.
            layout: `points`, `columns`, or `auto`, which sees it, and reads points where every stroke has two or three
                rows of two or three numbers. The answer's `layout` says which was read.
            words: choose among these alone, all of them in `classes`, or among those of the file that lists them: their
                probabilities sum to 1, as if the model had no other outputs, and `unknown` means none of these.

        Raises:
            FormatError: no strokes, an empty one, strokes in both layouts, or values that are not finite or out of
                range.
            ConfigError: `top` is below 1, `layout` is none of these, or `simplified` is not what the Drawing says.
            CategoryError: a word that is not known, each with the most similar that is; one twice; or none.
            ArgumentTypeError: `simplified` is neither a truth value nor None.
        """
        return self._predict([_in_simplified_form(strokes, simplified, layout)], top, words)[0]

    def predict_many(
        self,
        drawings: Iterable[Sequence[ArrayLike] | Drawing],
        *,
        simplified: bool | None = None,
        top: int = 5,
        layout: str = "auto",
        words: Sequence[str] | Path | str | None = None,
    ) -> list[Guesses]:
        """As `predict`, for many drawings at once, the layout of each seen for itself; some may be Drawings.

        Raises:
            FormatError, ConfigError: as `predict`; and which drawing it is, counted from 1.
            CategoryError: as `predict`.
            ArgumentTypeError: `drawings` is no list, or as `predict`.
        """
        prepared = []
        for number, strokes in enumerate(expect_items(drawings, "drawings", "a list of drawings"), start=1):
            try:
                prepared.append(_in_simplified_form(strokes, simplified, layout))
            except FormatError as error:
                raise FormatError(f"drawing {number}: {error.reason}") from error
            except ConfigError as error:
                raise ConfigError(f"drawing {number}: {error}") from error
        return self._predict(prepared, top, words)

    def _predict(
        self,
        drawings: Sequence[tuple[list[NDArray[np.uint8]], Layout | None]],
        top: int,
        words: Sequence[str] | Path | str | None,
    ) -> list[Guesses]:
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise ConfigError(f"top should be 1 or more, got {top!r}")
        classes = self.classes if words is None else choose_words(words, self.classes)
        outputs = self._outputs_of([strokes for strokes, _ in drawings])
        if words is not None:
            outputs = _among(outputs, _positions(classes, self.classes))
        rows, unknown = outputs
        told = [None] * len(rows) if unknown is None else unknown.tolist()
        return [
            Guesses((Guess(classes[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]), layout, own)
            for row, own, (_, layout) in zip(rows, told, drawings, strict=True)
        ]

    def unknown(
        self,
        strokes: Sequence[ArrayLike] | Drawing,
        *,
        simplified: bool | None = None,
        layout: str = "auto",
        words: Sequence[str] | Path | str | None = None,
    ) -> float | None:
        """The probability, 0 to 1, that one drawing shows none of `classes`, or of `words`; None where nothing was
        fitted.

        Args:
            strokes, simplified, layout, words: as `predict`.

        Raises:
            FormatError, ConfigError, CategoryError, ArgumentTypeError: as `predict`.
        """
        return self.predict(strokes, simplified=simplified, top=1, layout=layout, words=words).unknown

    def predict_drawing(
        self, drawing: Drawing, *, top: int = 5, words: Sequence[str] | Path | str | None = None
    ) -> Guesses:
        """As `predict`, which takes a Drawing, too.

        Raises:
            FormatError, ConfigError, CategoryError: as `predict`.
            ArgumentTypeError: something else than a Drawing.
        """
        expect(drawing, Drawing, "drawing", "a Drawing")
        return self.predict(drawing, top=top, words=words)

    def probabilities(self, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.float64]:
        """Softmax probabilities float64 (B, K) over `classes` of B drawings in simplified form, strokes uint8 (n, 2).

        Raises:
            FormatError: a drawing of another form.
            ArgumentTypeError: `drawings` is no list.
        """
        return self._outputs_of(
            [_checked(*gather(strokes)[:2]) for strokes in expect_items(drawings, "drawings", "a list of drawings")]
        ).probabilities

    def _outputs_of(self, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> Outputs:
        parts = [self._outputs(drawings[i : i + _BATCH_SIZE]) for i in range(0, len(drawings), _BATCH_SIZE)]
        unknown = [part.unknown for part in parts if part.unknown is not None]
        probabilities = np.concatenate([np.empty((0, len(self.classes))), *(part.probabilities for part in parts)])
        return Outputs(probabilities, np.concatenate(unknown) if unknown else None)

    def compile(self) -> None:
        """Compiles what guesses are computed with, or loads what is kept on disk, and returns when all of it is there.

        It is the next guesses that are quicker; without it PyTorch computes the first, and nothing is compiled.
        """
        self.compiles = False
        with compiling():
            self._model.compile()
            to_points(simplify([[(0, 0), (9, 5), (3, 3)]]), self._model.max_padding, self._model.preprocessing)

    def _outputs(self, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> Outputs:
        if self.compiles:
            self._n_before += len(drawings)
            if self._n_before > _FEW_DRAWINGS:
                self.compiles = False
                beside(self.compile)
        preprocessing = self._model.preprocessing
        rows = [to_points(strokes, self._model.max_padding, preprocessing) for strokes in drawings]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        points = np.zeros((len(rows), int(lengths.max(initial=0)), n_channels(preprocessing)), dtype=np.float32)
        for row, padded in zip(rows, points, strict=True):
            padded[: len(row)] = row
        of_all = self._model.outputs(points, lengths)
        return of_all if self._chosen is None else _among(of_all, self._chosen)


def _positions(words: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Where words (W,) are among the known ones."""
    at = {word: position for position, word in enumerate(known)}
    return np.array([at[word] for word in words])


def _among(outputs: Outputs, positions: NDArray[np.int64]) -> Outputs:
    """What is said of some classes (W,) alone, from what is said of all.

    The probabilities are the softmax of these classes' logits alone; they are equal where all of them are too small to
    be told from 0. `unknown` becomes that of none of these classes, of another one of the model's or of none.
    """
    chosen = outputs.probabilities[:, positions]
    total = chosen.sum(axis=1, keepdims=True)  # (B, 1)
    probabilities = np.where(total > 0, chosen / np.where(total > 0, total, 1), 1 / len(positions))
    unknown = None if outputs.unknown is None else 1 - (1 - outputs.unknown) * np.minimum(total[:, 0], 1)
    return Outputs(probabilities, unknown)


def _in_simplified_form(
    strokes: Sequence[ArrayLike] | Drawing, simplified: bool | None, layout: str
) -> tuple[list[NDArray[np.uint8]], Layout | None]:
    """The strokes, uint8 (n, 2), in Google's form, and the layout that they were read in."""
    expect(simplified, (bool, np.bool_, NoneType), "simplified", "True, False or None")
    read: Layout | None
    if isinstance(strokes, Drawing):
        check_choice(layout)
        is_simplified = strokes.is_simplified
        if simplified not in (None, is_simplified):
            said = "simplified" if is_simplified else "raw"
            raise ConfigError(f"simplified = {simplified} was given with a Drawing that is {said}; leave it out")
        simplified, read = is_simplified, strokes.source_layout
        points, offsets, _ = gather(strokes.strokes, "points")
    else:
        points, offsets, read = gather(strokes, layout)
    return (_checked if simplified else simplify_gathered)(points, offsets), read


def _checked(points: NDArray[np.float64], offsets: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    # All at once, since each call takes as long as a stroke's numbers.
    with np.errstate(invalid="ignore"):
        simplified = points.astype(np.uint8)
    is_wrong = (simplified != points).any(axis=1)
    if is_wrong.any():
        at = int(np.argmax(is_wrong))
        stroke = int(np.searchsorted(offsets, at, side="right")) - 1
        x, y = points[at].tolist()
        raise FormatError(
            f"strokes[{stroke}][{at - int(offsets[stroke])}] is at ({x:g}, {y:g}); expected integers from 0 to 255 of "
            "a drawing that is said to be simplified"
        )
    return [simplified[begin:end] for begin, end in pairwise(offsets.tolist())]


def load(
    path: Path | str | None = None,
    classes: Sequence[str] | Path | str | None = None,
    *,
    words: Sequence[str] | Path | str | None = None,
) -> Recognizer:
    """A recognizer from a `.model` file (with its card, or bare as the 2020 project's are), a run folder, or an
    exported file, `.onnx` or `.safetensors`.

    Args:
        path: the file or folder, or the name of a published model; by default the default model.
        classes: for a bare file, the words in the order of its output layer or the file that lists them.
        words: of those that the model knows the ones to choose among, as `Recognizer.predict` takes them; by default
            all.

    Raises:
        WeightsError, CategoryError, ModelNameError: as `loading.load_model`; or as `Recognizer.predict`.
        ArgumentTypeError: `path` is no path.
        MissingExtra: what runs such a file is not installed: onnxruntime for `.onnx`, else PyTorch.
    """
    passed_over = cards.find_published()[1] if path is None else []
    path = cards.find_model(None if path is None else expect_path(path, "path"))
    try:
        recognizer = Recognizer(_load(path, classes), words)
        told = (f"passed over in the search for the default model: {error}" for error in passed_over)
        recognizer.note = "; ".join(filter(None, (recognizer.note, *told)))
        return recognizer
    except ModuleNotFoundError as error:
        if error.name not in ("onnxruntime", "safetensors", "torch"):
            raise
        extra = {".onnx": "onnx", ".safetensors": "export"}.get(path.suffix, "torch")
        raise MissingExtra(f"running {path}", extra) from error


def _load(path: Path, classes: Sequence[str] | Path | str | None) -> Model:
    if path.suffix == ".onnx" and not path.is_dir():
        from quickstroke.inference.onnx_model import OnnxModel

        return OnnxModel.load(path, classes)
    from quickstroke.artifacts import loading

    return loading.load_model(path, classes)
