"""From strokes to ranked words."""

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.artifacts import cards
from quickstroke.artifacts.discriminant import Discriminant
from quickstroke.artifacts.unknown import Outputs, among, with_dots_unknown
from quickstroke.config.model import Preprocessing
from quickstroke.data.points import n_channels, to_points
from quickstroke.drawings.categories import as_known, check_classes, choose_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.layouts import Layout
from quickstroke.drawings.simplification import simplify
from quickstroke.errors import (
    ArgumentTypeError,
    CategoryError,
    ConfigError,
    MissingExtra,
    expect_items,
    expect_path,
    shown,
)
from quickstroke.inference import prototypes
from quickstroke.inference.given import all_in_simplified_form, in_simplified_form, positions_of
from quickstroke.utils.compiled import beside, compiling
from quickstroke.utils.files import sha256_of

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
        path: the file of weights.
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
    def path(self) -> Path: ...
    @property
    def max_padding(self) -> int: ...
    @property
    def preprocessing(self) -> Preprocessing: ...

    def compile(self) -> None:
        """Compiles what it computes with, if anything."""

    def outputs(self, points: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        """What the model says of points (B, T, C), zero after each drawing's end, of `lengths` (B,) rows."""

    def for_pictures(self) -> "Model":
        """What reads drawings that were traced from pictures."""


class Recognizer:
    """A loaded model that names drawings.

    Attributes:
        name: the model's name.
        classes: the words that it chooses among: every word that the model knows, in the order of its output layer, or
            the `words` given, in their order; then the words that it was taught since.
        card: the model's card, or None for a model without one.
        note: what had to be assumed on loading, empty if nothing.
        compiles: whether more than a few drawings begin to compile what is quicker, beside the guesses. These are the
            same before and after, but for rounding.
    """

    compiles = True

    def __init__(
        self, model: Model, words: Sequence[str] | Path | str | None = None, taught: Path | str | None = None
    ) -> None:
        """Takes a loaded model, a file of taught words as `load` does, and `words` to choose among as `predict` does.

        Raises:
            CategoryError, WeightsError: as `load` and `predict`.
        """
        if not callable(getattr(model, "outputs", None)):
            raise ArgumentTypeError(f"model should be a loaded model, got {shown(model)}; `load` opens a file")
        self._model = model
        self.name, self.card, self.note = model.name, model.card, model.note
        self._discriminant = Discriminant.of_card(model.card, model.path) if model.card else None
        self._for_pictures: Model | None = None
        self._n_before = 0  # drawings that came before compiling began
        self._taught: dict[str, prototypes.Drawings] = {}
        self._prototypes: dict[str, NDArray[np.float64]] = {}
        self._words: list[str] | None = None  # to choose among, None for all
        self._choose()
        if taught is not None:
            self.load(taught)
        if words is not None:
            self._words = list(choose_words(words, self.classes))
            self._choose()

    def _choose(self) -> None:
        """Takes note of the words to choose among, and of the outputs that they are."""
        known = (*self._model.classes, *self._taught)
        self.classes = known if self._words is None else tuple(self._words)
        self._chosen: NDArray[np.int64] | None = None if self._words is None else positions_of(self.classes, known)

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
                a Drawing says so itself, arrays uint8 (n, 2) that fill the range, as those of a dataset do, are, and
                other strokes are in the pen's own units.
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
        return self._predict([strokes], [in_simplified_form(strokes, simplified, layout)], top, words)[0]

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
        drawings = expect_items(drawings, "drawings", "a list of drawings")
        return self._predict(drawings, all_in_simplified_form(drawings, simplified, layout), top, words)

    def _outputs_for(self, given: Sequence[Any], drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> Outputs:
        """What is said of drawings as they were given; a model for pictures reads those that were traced from these."""
        is_traced = [isinstance(each, Drawing) and each.is_traced for each in given]
        if not any(is_traced):
            return self._outputs_of(drawings)
        self._for_pictures = self._for_pictures or self._model.for_pictures()
        reader = copy.copy(self)
        reader._model, reader.compiles = self._for_pictures, False
        rows = [np.flatnonzero(np.logical_not(is_traced)), np.flatnonzero(is_traced)]
        parts = [
            who._outputs_of([drawings[i] for i in own.tolist()]) for who, own in zip((self, reader), rows, strict=True)
        ]
        order, unknown = np.argsort(np.concatenate(rows)), [each.unknown for each in parts if each.unknown is not None]
        probabilities = np.concatenate([each.probabilities for each in parts])[order]
        return Outputs(probabilities, np.concatenate(unknown)[order] if unknown else None)

    def _predict(
        self,
        given: Sequence[Any],
        drawings: Sequence[tuple[list[NDArray[np.uint8]], Layout | None]],
        top: int,
        words: Sequence[str] | Path | str | None,
    ) -> list[Guesses]:
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise ConfigError(f"top should be 1 or more, got {top!r}")
        classes = self.classes if words is None else choose_words(words, self.classes)
        outputs = self._outputs_for(given, [strokes for strokes, _ in drawings])
        if words is not None:
            outputs = among(outputs, positions_of(classes, self.classes))
        rows, unknown = outputs.probabilities, outputs.unknown
        told = [None] * len(rows) if unknown is None else unknown.tolist()
        ranked = [(row, (-row).argsort(kind="stable")[:top].tolist()) for row in rows]
        return [
            Guesses([Guess(classes[i], row.item(i)) for i in first], layout, own)
            for (row, first), own, (_, layout) in zip(ranked, told, drawings, strict=True)
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

    def probabilities(self, drawings: Sequence[Sequence[NDArray[np.uint8]] | Drawing]) -> NDArray[np.float64]:
        """Softmax probabilities float64 (B, K) over `classes` of B `Drawing`s, or simplified strokes uint8 (n, 2) each.

        Raises:
            FormatError: a drawing of another form.
            ArgumentTypeError: `drawings` is no list.
        """
        given = expect_items(drawings, "drawings", "a list of drawings")
        read = [in_simplified_form(each, None if isinstance(each, Drawing) else True, "auto")[0] for each in given]
        return self._outputs_for(given, read).probabilities

    def embed(
        self, drawings: Iterable[Sequence[ArrayLike] | Drawing], *, simplified: bool | None = None, layout: str = "auto"
    ) -> NDArray[np.float32]:
        """Embeddings float32 (B, D) of B drawings, L2-normalised: drawings of one word have a high cosine.

        They are the direction of what the model's output layer reads, and beside it that of all its probabilities to
        the power 1/4. Those of two models, or of one as float32 and in 8 bits, are not to be compared.

        Args:
            drawings, simplified, layout: as `predict_many`.

        Raises:
            FormatError, ConfigError, ArgumentTypeError: as `predict_many`.
            WeightsError: an `.onnx` file of an older version, which does not give what the output layer reads.
        """
        given = [own for own, _ in all_in_simplified_form(drawings, simplified, layout)]
        return self._many(given, lambda outputs: prototypes.embedding(outputs, self._model.path))

    def teach(
        self,
        word: str,
        drawings: Iterable[Sequence[ArrayLike] | Drawing],
        *,
        simplified: bool | None = None,
        layout: str = "auto",
    ) -> None:
        """Adds a word at once, by three drawings or more; from here on it is among `classes`.

        Nothing is trained. A drawing is of the word if it is near the mean of these drawings: in the directions that
        best separate the model's words, where its card has these (`discriminant`), else by embeddings.

        Args:
            word: what they show; no word that is known.
            drawings, simplified, layout: as `predict_many`.

        Raises:
            CategoryError: the word is there already, or can be none.
            ConfigError: fewer than three drawings; or as `embed`.
            FormatError, ArgumentTypeError, WeightsError: as `embed`.
        """
        word = as_known(check_classes([word], "word")[0], (*self._model.classes, *self._taught))
        if word in self._model.classes or word in self._taught:
            hint = "; forget it first" if word in self._taught else ""
            raise CategoryError(f"word: {word!r:.60} is among the words that {self.name} knows already{hint}")
        prepared = [own for own, _ in all_in_simplified_form(drawings, simplified, layout)]
        if len(prepared) < prototypes.LEAST_DRAWINGS:
            n = len(prepared)
            raise ConfigError(f"drawings: {n} of {word!r:.60}; a word is taught by {prototypes.LEAST_DRAWINGS} or more")
        self._add({word: prepared})

    def forget(self, word: str) -> None:
        """Takes away a word that was taught.

        Raises:
            CategoryError: it was not, or no word to choose among would be left.
        """
        word = as_known(check_classes([word], "word")[0], self._taught)
        if word not in self._taught:
            told = ", ".join(map(repr, self._taught)) or "none"
            raise CategoryError(f"word: {word!r:.60} was not taught; taught words: {told:.200}")
        if self._words == [word]:
            raise CategoryError(f"word: {word!r:.60} is the last of the words to choose among")
        del self._taught[word], self._prototypes[word]
        if self._words is not None and word in self._words:
            self._words.remove(word)
        self._choose()

    @property
    def taught(self) -> dict[str, int]:
        """The words that were taught, and by how many drawings each."""
        return {word: len(drawings) for word, drawings in self._taught.items()}

    def save(self, path: Path | str) -> None:
        """Writes the taught words into a small file, whole or not at all, which says which model they belong to.

        Raises:
            OSError: it cannot be written.
            ArgumentTypeError: `path` is no path.
        """
        prototypes.write(expect_path(path, "path"), self.name, self._sha256(), self._taught)

    def load(self, path: Path | str) -> None:
        """Adds the taught words of a file of `save`.

        Raises:
            WeightsError: it is missing, cut off, damaged, of a newer version, or of another model.
            CategoryError: one of its words is there already.
            ArgumentTypeError: `path` is no path.
        """
        path = expect_path(path, "path")
        words = prototypes.read(path, self.name, self._sha256())
        for word in words:
            if word in self._model.classes or word in self._taught:
                raise CategoryError(f"{path}: {word!r:.60} is among the words that {self.name} knows already")
        self._add(words)

    def _add(self, words: dict[str, prototypes.Drawings]) -> None:
        # All of them before the first counts: an error leaves everything as it was.
        rule = self._discriminant
        made = {word: prototypes.prototype(self._many(own, self._compared), rule) for word, own in words.items()}
        self._taught.update(words)
        self._prototypes.update(made)
        if self._words is not None:
            self._words += words
        self._choose()

    def _sha256(self) -> str:
        """That of the model's weights, the same for each form that it is exported to."""
        return str(self.card["sha256"]) if self.card else sha256_of(self._model.path)

    def _many(
        self, drawings: Sequence[Sequence[NDArray[np.uint8]]], of: Callable[[Outputs], NDArray[Any]]
    ) -> NDArray[Any]:
        """Rows that are made of what the model says of each drawing."""
        parts = [of(self._read(drawings[i : i + _BATCH_SIZE])) for i in range(0, len(drawings), _BATCH_SIZE)]
        return np.concatenate(parts or [of(self._read([]))])

    def _compared(self, outputs: Outputs) -> NDArray[np.float64]:
        return prototypes.compared(outputs, self._discriminant, self._model.path)

    def _outputs_of(self, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> Outputs:
        if len(drawings) == 1:
            return self._outputs(drawings)
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
        """What is said of `classes`."""
        of_all = self._read(drawings)
        if self._taught:
            counts = np.array(list(self.taught.values()))
            known = np.array(list(self._prototypes.values()))
            odds = prototypes.log_odds(self._compared(of_all), known, counts, self._discriminant)
            of_all = prototypes.extended(of_all, odds)
        return of_all if self._chosen is None else among(of_all, self._chosen)

    def _read(self, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> Outputs:
        """What the model says."""
        if self.compiles:
            self._n_before += len(drawings)
            if self._n_before > _FEW_DRAWINGS:
                self.compiles = False
                beside(self.compile)
        preprocessing = self._model.preprocessing
        rows = [to_points(strokes, self._model.max_padding, preprocessing) for strokes in drawings]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        if len(rows) == 1:
            points = rows[0][None]
        else:
            points = np.zeros((len(rows), int(lengths.max(initial=0)), n_channels(preprocessing)), dtype=np.float32)
            for row, padded in zip(rows, points, strict=True):
                padded[: len(row)] = row
        return with_dots_unknown(self._model.outputs(points, lengths), drawings)


def load(
    path: Path | str | None = None,
    classes: Sequence[str] | Path | str | None = None,
    *,
    words: Sequence[str] | Path | str | None = None,
    taught: Path | str | None = None,
) -> Recognizer:
    """A recognizer from a `.model` file (with its card, or bare as the 2020 project's are), a run folder, or an
    exported file, `.onnx`, `.safetensors` or `.quickstroke`.

    Args:
        path: the file or folder, the name of a published model, or hf://OWNER/NAME or hf://OWNER/NAME@REVISION of the
            Hugging Face Hub; by default the default model.
        classes: for a bare file, the words in the order of its output layer or the file that lists them.
        words: of those that the model knows the ones to choose among, as `Recognizer.predict` takes them, those of
            `taught` too; by default all.
        taught: a file of taught words, as `Recognizer.load` adds them.

    Raises:
        WeightsError, CategoryError, ModelNameError: as `loading.load_model`; or as `Recognizer.predict` or
            `Recognizer.load`.
        DownloadError: the Hub does not give the model.
        ConfigError: an hf:// address of another form.
        ArgumentTypeError: `path` is no path.
        MissingExtra: what runs such a file is not installed: onnxruntime for `.onnx`, else PyTorch; or huggingface_hub.
    """
    passed_over = cards.find_published()[1] if path is None else []
    path = cards.find_model(path, "path")
    try:
        model: Model
        if path.suffix == ".onnx" and not path.is_dir():
            from quickstroke.inference.onnx_model import OnnxModel

            model = OnnxModel.load(path, classes)
        else:
            from quickstroke.artifacts import loading

            model = loading.load_model(path, classes)
        recognizer = Recognizer(model, words, taught)
        told = (f"passed over in the search for the default model: {error}" for error in passed_over)
        recognizer.note = "; ".join(filter(None, (recognizer.note, *told)))
        return recognizer
    except ModuleNotFoundError as error:
        if error.name not in ("onnxruntime", "safetensors", "torch"):
            raise
        extra = {".onnx": "onnx", ".safetensors": "export"}.get(path.suffix, "torch")
        raise MissingExtra(f"running {path}", extra) from error
