"""Evaluation of a model in one call from Python."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, cast

import torch
from torch import nn

from quickstroke.artifacts import cards, loading
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.config.schema import fits
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
    if not fits(part, float) or not 0 < part <= 1:
        raise ConfigError(f"part should be a number above 0, at most 1, got {shown(part)}")
    loaded = _loaded(model)
    classes = model.classes if isinstance(model, Recognizer) else loaded.classes
    if words is not None:
        classes = choose_words(words, classes)
    if isinstance(data, SplitDataset):
        if data.augment:
            raise ConfigError(f"{data!r} augments its drawings; evaluate those of a split without `augment`")
        drawings = LabelledDrawings.of_rows(data.data, data.indices, classes)
    elif isinstance(data, (PreparedDataset, str, Path)):
        dataset = data if isinstance(data, PreparedDataset) else PreparedDataset(data)
        drawings = LabelledDrawings.of_split(dataset, split, classes)
    else:
        drawings, left_out = LabelledDrawings.of_drawings(_checked(data), classes)
        if not len(drawings):
            raise DatasetError(f"none of the {left_out.total()} drawings is of a word that the model knows")
    drawings = drawings.chosen_of(loaded.classes)
    if part < 1:
        drawings = drawings.first_points(part)
    scores = evaluation.evaluate(loaded.model, drawings)
    evaluation.check_finite(scores, loaded.name)
    return scores


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


def _checked(drawings: object) -> Iterator[Drawing]:
    """The drawings one by one, which may be a stream of them."""
    if not isinstance(drawings, Iterable) or isinstance(drawings, (bytes, dict)):
        raise ArgumentTypeError(f"data should be a prepared dataset or drawings, got {shown(drawings)}")
    for drawing in drawings:
        expect(drawing, Drawing, "a drawing", "a Drawing")
        yield cast(Drawing, drawing)
