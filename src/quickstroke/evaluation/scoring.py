"""Evaluation of a model in one call from Python."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from quickstroke.artifacts import cards, loading
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.config.schema import fits, plain
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.torch_data import SplitDataset
from quickstroke.drawings.categories import check_classes, choose_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import ArgumentTypeError, ConfigError, DatasetError, expect, shown
from quickstroke.evaluation import evaluate as evaluation
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.inference.recognizer import Recognizer
from quickstroke.models.classifier import StrokeClassifier


def evaluate(
    model: Recognizer | StrokeClassifier | Path | str | None,
    data: PreparedDataset | SplitDataset | Iterable[Drawing] | Path | str,
    split: Literal["reserved", "train", "val", "test"] = "val",
    *,
    words: Sequence[str] | Path | str | None = None,
    part: float = 1.0,
) -> Evaluation:
    """Scores a model on every drawing whose word it knows, exactly; the others are left out.

    Args:
        model: as for `load`, or what that returned of a model that runs in PyTorch; or a classifier that has `classes`.
        data: a prepared dataset, or its folder; some drawings of a split, as `PreparedDataset.split` gives them; or
            drawings, raw or simplified.
        split: of a prepared dataset.
        words: the model chooses among these alone, or those of the file that lists them, and only drawings of these are
            scored; by default all that it knows, or that a recognizer was loaded with.
        part: the fraction of each drawing's points, rounded up, that the model sees, for early recognition.

    Raises:
        DatasetError: no such dataset or split, or no drawing of a word that the model knows.
        WeightsError: logits that are not finite, as those of a training that diverged; or as `load`.
        CategoryError, ModelNameError: as `load`.
        FormatError: a drawing without strokes, or with strokes that are no (n, 2) arrays.
        ConfigError: an exported model, which does not run in PyTorch, one with taught words, or one without classes;
            augmented drawings; or a `part` that is not above 0 and at most 1.
        ArgumentTypeError: an argument of another type.
    """
    part = plain(part)
    if not fits(part, float) or not 0 < part <= 1:
        raise ConfigError(f"part should be a number above 0, at most 1, got {shown(part)}")
    loaded = _loaded(model)
    classes = model.classes if isinstance(model, Recognizer) else loaded.classes
    if words is not None:
        classes = choose_words(words, classes)
    given: _Given | None = None
    if isinstance(data, SplitDataset):
        if data.augment:
            raise ConfigError(f"{data!r} augments its drawings; evaluate those of a split without `augment`")
        drawings = LabelledDrawings.of_rows(data.data, data.indices, classes)
    elif isinstance(data, (PreparedDataset, str, Path)):
        dataset = data if isinstance(data, PreparedDataset) else PreparedDataset(data)
        drawings = LabelledDrawings.of_split(dataset, split, classes)
    else:
        given = _Given(classes)
        drawings, left_out = LabelledDrawings.of_drawings(given.noted(data), classes)
        if not len(drawings):
            raise DatasetError(f"none of the {left_out.total()} drawings is of a word that the model knows")
    drawings = drawings.chosen_of(loaded.classes).by_class()  # the order of what comes back
    seen = drawings.first_points(part) if part < 1 else drawings
    scores = evaluation.evaluate(loaded.model, seen)
    evaluation.check_finite(scores, loaded.name)
    if given:
        return replace(scores, indices=given.places()[drawings.indices], source=given.sha256.hexdigest())
    assert isinstance(drawings.data, PreparedDataset)
    return replace(scores, indices=drawings.indices, source=drawings.data.manifest_sha256)


def _loaded(model: object) -> LoadedModel:
    if isinstance(model, StrokeClassifier):
        if type(model.linear) is not nn.Linear or model.linear.weight.dtype != torch.float32:
            kind = getattr(getattr(model.linear, "weight", None), "dtype", "no weights")
            raise ConfigError(
                f"the classifier should be float32, with an nn.Linear as `linear`, got {shown(model.linear)} of {kind}"
            )
        n, n_outputs = len(model.classes or ()), model.linear.out_features
        if n != n_outputs:
            raise ConfigError(
                f"the classifier has {n} `classes` and {n_outputs} outputs; set its `classes`, a tuple of words"
            )
        return LoadedModel(model, check_classes(model.classes, "classes"), None, Path(model.config.name))
    if isinstance(model, Recognizer):
        if not isinstance(model._model, LoadedModel):
            raise ConfigError(f"{model.name}: is exported and does not run in PyTorch; expected a .model file or a run")
        if model.taught:
            raise ConfigError(f"{model.name}: has taught words, which are not evaluated; forget them, or load it anew")
        return model._model
    if isinstance(model, nn.Module):
        raise ArgumentTypeError(
            f"model should be a path, a Recognizer or a StrokeClassifier, got {shown(model)}; other modules are scored "
            "by qs.Evaluation.of(probabilities, labels, classes)"
        )
    return loading.load_model(cards.find_model(model))


class _Given:
    """What is noted of drawings, which may be a stream of them, while they are read: a hash, and where each stood."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.sha256 = hashlib.sha256()
        self._position = {word: i for i, word in enumerate(classes)}
        self._known: list[tuple[int, int]] = []  # class and place

    def noted(self, drawings: object) -> Iterator[Drawing]:
        """The drawings one by one."""
        if not isinstance(drawings, Iterable) or isinstance(drawings, (bytes, dict)):
            raise ArgumentTypeError(f"data should be a prepared dataset or drawings, got {shown(drawings)}")
        for place, drawing in enumerate(drawings):
            expect(drawing, Drawing, "a drawing", "a Drawing")
            if drawing.word in self._position:
                self._known.append((self._position[drawing.word], place))
            yield cast(Drawing, drawing)
            word = drawing.word.encode(errors="surrogatepass")  # a file may say anything
            for part in (word, *(np.asarray(stroke).tobytes() for stroke in drawing.strokes)):
                self.sha256.update(len(part).to_bytes(8, "little") + part)

    def places(self) -> NDArray[np.int64]:
        """Where the drawings of the classes stood among all, from 0, by class."""
        return np.array([place for _, place in sorted(self._known)], dtype=np.int64)
