"""A model's metrics in one call: those of the long way."""

import numpy as np
import pytest
import torch

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.artifacts.unknown import Outputs
from quickstroke.data.memory import from_drawings
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import ArgumentTypeError, CategoryError, ConfigError, DatasetError
from quickstroke.evaluation.evaluate import evaluate

CLASSES = ("star", "cat", "circle")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("lstm")
    model = qs.StrokeClassifier(qs.ModelConfig.from_name("simple_lay1_sz8", n_classes=3)).eval()
    return write_model(folder, LoadedModel(model, CLASSES, None, folder), {})


def test_a_split_of_a_dataset(path, dataset):
    label_map = dataset.label_map(CLASSES)
    rows = dataset.indices("test")
    rows = rows[label_map[dataset.labels[rows]] >= 0]
    recognizer = qs.load(path)
    expected = evaluate(recognizer._model.model, LabelledDrawings(dataset, rows, CLASSES, label_map))
    for model, data in ((path, dataset), (str(path), str(dataset.path)), (recognizer, dataset.path)):
        scores = qs.evaluate(model, data, "test")
        assert scores.n == 20 and scores.classes == CLASSES and scores.figures() == expected.figures()
        np.testing.assert_array_equal(scores.confusion(), expected.confusion())
        assert scores.n_by_class().tolist() == [10, 0, 10] and np.isnan(scores.accuracy_by_class()[1])
    classifier = qs.StrokeClassifier.from_pretrained(path)
    assert qs.evaluate(classifier, dataset, "test").figures() == expected.figures()
    classifier.classes = ()
    with pytest.raises(
        ConfigError, match="the classifier has 0 `classes` and 3 outputs; set its `classes`, a tuple of words"
    ):
        qs.evaluate(classifier, dataset, "test")
    with pytest.raises(DatasetError, match="no split 'tests'"):
        qs.evaluate(path, dataset, "tests")


def test_drawings_of_which_some_have_other_words(path, drawings):
    items = [drawing for word in drawings for drawing in drawings[word][:9]]
    scores = qs.evaluate(path, iter(items))
    assert scores.n_by_class().tolist() == [9, 0, 9]
    data, left_out = from_drawings(items, CLASSES)
    assert left_out == {"house": 9}
    expected = evaluate(qs.load(path)._model.model, LabelledDrawings(data, np.arange(18), CLASSES, np.arange(3)))
    assert scores.figures() == expected.figures()
    with pytest.raises(DatasetError, match="none of the 9 drawings is of a word that the model knows"):
        qs.evaluate(path, drawings["house"][:9])
    with pytest.raises(ArgumentTypeError, match="a drawing should be a Drawing, got 'x'"):
        qs.evaluate(path, [items[0], "x"])


def test_a_model_that_is_told_to_choose_among_some_words(path, drawings):
    items = [drawing for word in drawings for drawing in drawings[word][:9]]
    recognizer, chosen = qs.load(path), ["circle", "cat"]
    scores = qs.evaluate(path, items, words=chosen)
    assert scores.classes == ("circle", "cat") and scores.n_by_class().tolist() == [9, 0]
    told = [recognizer.predict(drawing, words=chosen) for drawing in items if drawing.word == "circle"]
    assert scores.top(1) == np.mean([guesses[0].word == "circle" for guesses in told])
    losses = [-np.log(dict(guesses)["circle"]) for guesses in told]
    assert scores.loss == pytest.approx(np.mean(losses), rel=1e-4) != qs.evaluate(path, drawings["circle"][:9]).loss
    assert qs.evaluate(qs.load(path, words=chosen), items).figures() == scores.figures()
    assert qs.evaluate(path, items, words=list(CLASSES)).figures() == qs.evaluate(path, items).figures()
    with pytest.raises(CategoryError, match=r"'stars' \(did you mean 'star'"):
        qs.evaluate(path, items, words=["stars"])


def test_an_exported_model_is_refused(path, dataset):
    class Exported:
        name, classes, card, note, max_padding, preprocessing = "simple_lay1_sz8", CLASSES, None, "", 100, "delta3"

        def outputs(self, points, lengths):
            return Outputs(np.full((len(points), 3), 1 / 3), None)

    with pytest.raises(ConfigError, match="simple_lay1_sz8: is exported and does not run in PyTorch"):
        qs.evaluate(qs.Recognizer(Exported()), dataset)
