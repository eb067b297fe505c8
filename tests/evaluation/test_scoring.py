"""A model's metrics in one call: those of the long way."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.artifacts.unknown import Outputs
from quickstroke.data.memory import from_drawings
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import ArgumentTypeError, CategoryError, ConfigError, DatasetError, WeightsError
from quickstroke.evaluation.evaluate import evaluate, evaluate_early

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


def test_logits_that_are_not_finite_are_no_guesses(path, dataset):
    model = qs.StrokeClassifier.from_pretrained(path)
    with torch.no_grad():
        model.linear.bias[1] = float("nan")
    with pytest.raises(WeightsError, match="simple_lay1_sz8: its logits are not finite for 20 of 20 drawings"):
        qs.evaluate(model, dataset, "test")


def test_some_drawings_of_a_split(path, dataset):
    split = dataset.split("test", classes=["star", "circle"])
    assert qs.evaluate(path, split).figures() == qs.evaluate(path, dataset, "test").figures()
    some = qs.evaluate(path, split[5:12])
    np.testing.assert_array_equal(np.sort(some.indices), np.sort(split.indices[5:12]))
    with pytest.raises(ConfigError, match="augments its drawings; evaluate those of a split without `augment`"):
        qs.evaluate(path, dataset.split("test", augment=qs.TrainConfig(augment="geometric")))
    with pytest.raises(DatasetError, match="none of the drawings is of a word that the model knows"):
        qs.evaluate(path, dataset.split("test", classes=["house"]))


def test_a_part_of_the_points_is_what_early_recognition_takes(path, dataset):
    loaded, classes = qs.load(path)._model.model, CLASSES
    drawings = LabelledDrawings.of_split(dataset, "test", classes)
    early = evaluate_early(loaded, drawings, evaluate(loaded, drawings))
    half = qs.evaluate(path, dataset, "test", part=0.5)
    assert half.top(1) == early["top1_of_points"]["0.5"] and half.loss != qs.evaluate(path, dataset, "test").loss
    for wrong in (0, 1.5, "half", True):
        with pytest.raises(ConfigError, match="part should be a number above 0, at most 1, got"):
            qs.evaluate(path, dataset, "test", part=wrong)


def test_other_modules_are_told_how_they_are_scored(path, dataset):
    with pytest.raises(ArgumentTypeError, match=r"other modules are scored by qs\.Evaluation\.of"):
        qs.evaluate(torch.nn.Linear(2, 2), dataset)
    with pytest.raises(ConfigError, match=r"float32, with an nn\.Linear as `linear`, got .* of torch\.float16"):
        qs.evaluate(qs.StrokeClassifier.from_pretrained(path).half(), dataset)


def test_probabilities_of_any_model_have_the_same_metrics(path, dataset):
    scores, recognizer = qs.evaluate(path, dataset, "test"), qs.load(path)
    drawings = list(dataset.drawings("test", ["star", "circle"]))
    own = qs.Evaluation.of(recognizer.probabilities(drawings), [drawing.word for drawing in drawings], CLASSES)
    assert own.top(1) == scores.top(1) and own.balanced_accuracy() == scores.balanced_accuracy()
    assert own.loss == pytest.approx(scores.loss, rel=1e-5)


def test_evaluations_of_the_same_drawings_alone_are_compared(path, dataset, drawings):
    items = [drawing for word in drawings for drawing in drawings[word][:9]]
    scores = qs.evaluate(path, items)
    assert scores.compare(qs.evaluate(path, iter(items), words=["circle", "star"])).first_only == 0
    places = [place for place, drawing in enumerate(items) if drawing.word in CLASSES]
    assert sorted(scores.indices.tolist()) == places and scores.source
    for index, label in zip(scores.indices.tolist(), scores.labels.tolist(), strict=True):
        assert items[index].word == CLASSES[label]
    assert qs.evaluate(path, [*items, replace(items[0], word="\ud800")]).n == scores.n
    for others in (items[::-1], [drawing for word in drawings for drawing in drawings[word][9:18]]):
        with pytest.raises(ConfigError, match="is of another dataset, or of other drawings or another order of them"):
            scores.compare(qs.evaluate(path, others))
    whole, half = qs.evaluate(path, dataset, "test"), qs.evaluate(path, dataset, "test", part=0.5)
    np.testing.assert_array_equal(whole.indices, half.indices)
    assert whole.compare(half).n == 20
    turned = dataset.split("test", classes=["circle", "star"])[::-1]
    back = qs.evaluate(path, turned, part=np.float32(0.5))
    assert back.compare(half).top1 == 0 and back.compare(half).first_only == 0
    with pytest.raises(ConfigError, match="is of another dataset"):
        scores.compare(whole)
    rows = dataset.indices("test")
    chosen = list(dataset.drawings("test", ["star", "circle"]))
    own = qs.Evaluation.of(
        qs.load(path).probabilities(chosen),
        [drawing.word for drawing in chosen],
        CLASSES,
        indices=[i for i in rows if dataset.classes[dataset.labels[i]] in CLASSES],
    )
    assert own.compare(whole).first_only == own.compare(whole).second_only == 0
