"""Evaluation of a model in one call from Python."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, cast

import torch
from torch import nn

from quickstroke.artifacts import cards, loading
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.drawings.categories import check_classes, choose_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import ArgumentTypeError, ConfigError, DatasetError, expect, shown
from quickstroke.evaluation import evaluate as evaluation
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.inference.recognizer import Recognizer
from quickstroke.models.classifier import StrokeClassifier


def evaluate(
    model: Recognizer | StrokeClassifier | Path | str | None,
    data: PreparedDataset | Iterable[Drawing] | Path | str,
    split: Literal["reserved", "train", "val", "test"] = "val",
    *,
    words: Sequence[str] | Path | str | None = None,
) -> Evaluation:
    """Scores a model on every drawing whose word it knows, exactly; the others are left out.

    `Evaluation` has top-1 and balanced accuracy, and by class arrays: `n_by_class()`, `accuracy_by_class()` and the
    confusion matrix, `confusion()`, in the order of its `classes`.

    Args:
        model: as for `load`, or what that returned of a model that runs in PyTorch; or a classifier that has `classes`.
        data: a prepared dataset, or its folder; or drawings, raw or simplified.
        split: of a prepared dataset.
        words: the model chooses among these alone, or those of the file that lists them, and only drawings of these are
            scored; by default all that it knows, or that a recognizer was loaded with.

    Raises:
        DatasetError: no such dataset or split, or no drawing of a word that the model knows.
        WeightsError, CategoryError, ModelNameError: as `load`.
        FormatError: a drawing without strokes, or with strokes that are no (n, 2) arrays.
        ConfigError: an exported model, which does not run in PyTorch, one with taught words, or one without classes.
        ArgumentTypeError: an argument of another type.
    """
    loaded = _loaded(model)
    classes = model.classes if isinstance(model, Recognizer) else loaded.classes
    if words is not None:
        classes = choose_words(words, classes)
    if isinstance(data, (PreparedDataset, str, Path)):
        dataset = data if isinstance(data, PreparedDataset) else PreparedDataset(data)
        drawings = LabelledDrawings.of_split(dataset, split, classes)
    else:
        drawings, left_out = LabelledDrawings.of_drawings(_checked(data), classes)
        if not len(drawings):
            raise DatasetError(f"none of the {left_out.total()} drawings is of a word that the model knows")
    return evaluation.evaluate(loaded.model, drawings.chosen_of(loaded.classes))


def _loaded(model: object) -> LoadedModel:
    if isinstance(model, StrokeClassifier):
        if type(model.linear) is not nn.Linear or model.linear.weight.dtype != torch.float32:
            raise ConfigError(
                f"the classifier should be float32, with an nn.Linear as `linear`, got {shown(model.linear)}"
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
    return loading.load_model(cards.find_model(model))


def _checked(drawings: object) -> Iterator[Drawing]:
    """The drawings one by one, which may be a stream of them."""
    if not isinstance(drawings, Iterable) or isinstance(drawings, (bytes, dict)):
        raise ArgumentTypeError(f"data should be a prepared dataset or drawings, got {shown(drawings)}")
    for drawing in drawings:
        expect(drawing, Drawing, "a drawing", "a Drawing")
        yield cast(Drawing, drawing)
