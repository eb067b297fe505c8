"""Exact metrics, and both protocols against the published weights and their known figures."""

import copy
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from quickstroke.artifacts.loading import load_model
from quickstroke.config.model import ModelConfig
from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.memory import MemoryDataset, from_drawings
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.splits import FractionSplit
from quickstroke.drawings.categories import CATEGORIES_2020, read_classes
from quickstroke.errors import ConfigError
from quickstroke.evaluation import evaluate as evaluation
from quickstroke.evaluation.calibration import Calibration, choose_calibration, fit_calibration
from quickstroke.evaluation.evaluate import FRACTIONS, evaluate, evaluate_early
from quickstroke.evaluation.metrics import Evaluation, wilson_interval
from quickstroke.kernels import threads
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.models.statistics import reestimate_batchnorm
from quickstroke.preparation.prepare import prepare

MODELS_2020 = (
    "simple_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay2_sz64",
    "simple_lay2_sz256",
    "bilstm_lay1_sz64",
    "lstm_cv1_128_5_lay1_sz64",
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def seed_data(shared: Path, tmp_path_factory) -> PreparedDataset:
    """The first 40 drawings of each of the 2020 project's 100 classes."""
    path = tmp_path_factory.mktemp("seed") / "dataset"
    classes = read_classes(shared / "models" / "seed" / "classes.txt")
    prepare(shared / "data" / "quickdraw" / "binary", path, classes=classes, split=FractionSplit(0, 0, 1), limit=40)
    return PreparedDataset(path)


@pytest.fixture(scope="module")
def expected(shared: Path):
    return json.loads((shared / "expected" / "seed_models.json").read_text())["results"]


def small(name="lstm_cv1_4_3_lay1_sz8", reading="length-aware", n_classes=3, seed=0):
    torch.manual_seed(seed)
    model = StrokeClassifier(ModelConfig.from_name(name, reading=reading, n_classes=n_classes))
    with torch.no_grad():  # far from uniform predictions
        model.linear.weight.mul_(20)
    return model.eval()


def whole(data):
    return np.arange(len(data))


def identity(data):
    return np.arange(len(data.classes))


def labelled(data, indices=None):
    return LabelledDrawings(data, whole(data) if indices is None else indices, tuple(data.classes), identity(data))


def same(a: Evaluation, b: Evaluation, tolerance=1e-5):
    assert a.classes == b.classes
    for field in ("indices", "labels", "predicted", "ranks"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)
    np.testing.assert_allclose(a.probability, b.probability, rtol=tolerance, atol=tolerance)
    assert a.loss == pytest.approx(b.loss, rel=tolerance)


def direct_logits(model, data, indices):
    """Logits one drawing at a time, in float64."""
    rows = []
    with torch.no_grad():
        for index in indices:
            config = model.config
            batch = batches.batch_of(data, np.array([index]), identity(data), config.max_padding, config.preprocessing)
            rows.append(model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)).double())
    return torch.cat(rows)


# --- the published weights and their figures


# The two with 256 units take as long as many others together; scores of theirs differ from these in their size alone.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.endswith("256") else ()) for name in MODELS_2020]
)
def test_published_weights_score_what_is_known_of_them(name, shared: Path, seed_data, expected):
    known = expected[name]
    model = load_model(shared / "models" / "seed" / f"{name}.model").model
    indices, label_map = seed_data.indices("test"), seed_data.label_map(CATEGORIES_2020)
    assert len(indices) == 4000

    def accuracy(**options):
        return 100 * evaluate(model, LabelledDrawings(seed_data, indices, CATEGORIES_2020, label_map), **options).top(1)

    assert accuracy() == pytest.approx(known["eval_mode"], abs=0.1)
    sorted_batches = known["train_mode_class_sorted_batches_of_40"]
    assert accuracy(protocol="2020", batch_size=40) == pytest.approx(sorted_batches, abs=0.1)
    reestimate_batchnorm(model, seed_data, indices)
    assert accuracy() == pytest.approx(known["batchnorm_reestimated_eval_mode"], abs=0.1)


@pytest.mark.parametrize("name", ["simple_lay1_sz64", "lstm_cv1_128_5_lay1_sz64"])
def test_logits_of_published_weights(name, shared: Path, seed_data, expected):
    golden = np.array(expected[name]["logits_eval_mode_first_drawing_of_first_10_classes"])
    model = load_model(shared / "models" / "seed" / f"{name}.model").model
    firsts = np.searchsorted(seed_data.labels, np.arange(10))
    np.testing.assert_allclose(direct_logits(model, seed_data, firsts).numpy(), golden, atol=1e-3)
    assert golden.shape == (10, 100)


# --- metrics


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("lstm_cv1_4_3_lay1_sz8", "padded"),
        ("lstm_cv1_4_3_lay1_sz8", "length-aware"),
        ("bipool_cv1_4_3_2_lay1_sz8", "length-aware"),
    ],
)
def test_metrics_are_sums_over_single_drawings(dataset, name, reading):
    model = small(name, reading)
    indices = whole(dataset)
    result = evaluate(model, labelled(dataset, indices))
    logits = direct_logits(model, dataset, indices)
    labels = torch.from_numpy(dataset.labels.astype(np.int64))
    assert result.n == len(dataset) == 180
    np.testing.assert_array_equal(result.indices, indices)
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.predicted, logits.argmax(1))
    np.testing.assert_allclose(result.probability, logits.softmax(1).amax(1), rtol=1e-5)
    order = logits.argsort(dim=1, descending=True)
    np.testing.assert_array_equal(result.ranks, (order == labels[:, None]).int().argmax(1))
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    for k in (1, 2, 3, 5):
        hits = [label in row[:k] for label, row in zip(labels.tolist(), order.tolist(), strict=True)]
        assert result.top(k) == sum(hits) / 180
    assert 0 < result.top(1) < result.top(2) < result.top(3) == result.top(5) == 1


def constant(logits):
    """A model that answers every drawing with the same logits."""
    model = small(n_classes=len(logits))
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.copy_(torch.tensor(logits, dtype=torch.float32))
    return model


def one_drawing_a_class(n_classes):
    stroke = np.array([[0, 0], [9, 255]], dtype=np.uint8)
    return MemoryDataset(tuple(map(str, range(n_classes))), [(i, [stroke]) for i in range(n_classes)])


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=6))
def test_among_equal_logits_the_lower_index_comes_first(logits):
    """Every class gets a rank of its own, so that no top-k counts more than k classes."""
    data = one_drawing_a_class(len(logits))
    result = evaluate(constant(logits), labelled(data))
    ranking = np.argsort(-np.array(logits), kind="stable")
    np.testing.assert_array_equal(result.ranks[ranking], np.arange(len(logits)))
    assert set(result.predicted.tolist()) == {int(ranking[0])}
    for k in range(1, 8):
        assert result.top(k) == min(k, len(logits)) / len(logits)


def test_loss_of_even_odds():
    data = one_drawing_a_class(5)
    result = evaluate(constant([1.5] * 5), labelled(data))
    assert result.loss == pytest.approx(np.log(5), rel=1e-9)
    np.testing.assert_allclose(result.probability, 0.2)


def test_confusion_and_per_class_are_counts(dataset):
    result = evaluate(small(), labelled(dataset))
    confusion = result.confusion()
    assert confusion.shape == (3, 3) and confusion.dtype == np.int64
    for true in range(3):
        for taken in range(3):
            assert confusion[true, taken] == ((result.labels == true) & (result.predicted == taken)).sum()
    assert confusion.sum(axis=1).tolist() == [60, 60, 60]
    assert confusion.shape == (3, 3) and confusion.dtype == result.n_by_class().dtype == np.int64
    assert result.n_by_class().tolist() == confusion.sum(axis=1).tolist() == [60, 60, 60]
    assert result.n_right_by_class().tolist() == np.diag(confusion).tolist()
    np.testing.assert_array_equal(result.accuracy_by_class(), np.diag(confusion) / 60)
    per_class = result.per_class()
    assert list(per_class) == list(dataset.classes)
    assert [n for _, n in per_class.values()] == [60, 60, 60]
    assert sum(right for right, _ in per_class.values()) / 180 == result.top(1) == np.trace(confusion) / 180


def test_balanced_accuracy_and_loss_are_means_over_classes(dataset):
    model = small()
    rare = np.concatenate([np.flatnonzero(dataset.labels == label)[:n] for label, n in enumerate((60, 7))])
    result = evaluate(model, labelled(dataset, rare))
    rates = [right / n for right, n in result.per_class().values() if n]
    assert len(rates) == 2
    assert result.balanced_accuracy() == pytest.approx(sum(rates) / 2)
    assert result.balanced_accuracy() != pytest.approx(result.top(1))
    whole_of_it = evaluate(model, labelled(dataset))
    assert whole_of_it.balanced_accuracy() == pytest.approx(whole_of_it.top(1))  # classes of one size

    # The variance of the mean of two fractions, of 60 drawings and of 7, is that of a fraction of so many.
    n_effective = 4 / (1 / 60 + 1 / 7)
    expected = wilson_interval(result.balanced_accuracy() * n_effective, n_effective)
    assert result.balanced_accuracy_interval() == pytest.approx(expected)
    assert result.balanced_accuracy_interval()[0] < result.balanced_accuracy()
    assert result.balanced_accuracy() < result.balanced_accuracy_interval()[1]
    assert whole_of_it.balanced_accuracy_interval() == pytest.approx(whole_of_it.interval())

    losses = [result.losses[result.labels == label].mean() for label in (0, 1)]
    assert result.balanced_loss() == pytest.approx(sum(losses) / 2)
    assert result.balanced_loss() != pytest.approx(result.loss)
    assert whole_of_it.balanced_loss() == pytest.approx(whole_of_it.loss)


def scored(probability, is_right):
    """An evaluation of two classes with these probabilities of the first guess."""
    ranks = np.where(is_right, 0, 1)
    labels, losses = np.zeros(len(ranks), np.int64), np.zeros(len(ranks))
    return Evaluation(("a", "b"), np.arange(len(ranks)), labels, ranks, np.array(probability), ranks, losses)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_is_its_definition(pairs):
    """The mean over 15 bins of |accuracy - mean probability|, each bin counting as often as it has drawings."""
    expected = 0.0
    for k in range(15):
        own = [(p, right) for p, right in pairs if k == min(int(p * 15), 14)]
        if own:
            gap = np.mean([right for _, right in own]) - np.mean([p for p, _ in own])
            expected += len(own) / len(pairs) * abs(gap)
    assert scored(*zip(*pairs, strict=True)).calibration_error() == pytest.approx(expected, abs=1e-9)


def test_calibration_error_worked_by_hand():
    assert scored([1.0, 1.0, 1.0, 1.0], [True] * 4).calibration_error() == 0
    assert scored([1.0, 1.0, 1.0, 1.0], [False] * 4).calibration_error() == 1
    assert scored([0.8, 0.8, 0.4, 0.4], [True, False, True, True]).calibration_error() == pytest.approx(0.45)


def test_figures_are_the_metrics(dataset):
    result = evaluate(small(), labelled(dataset))
    low, high = wilson_interval(int(np.trace(result.confusion())), 180)
    assert result.interval() == (low, high)
    balanced_low, balanced_high = result.balanced_accuracy_interval()
    assert result.figures() == {
        "top1": result.top(1),
        "top3": result.top(3),
        "top5": result.top(5),
        "top1_low": low,
        "top1_high": high,
        "top3_low": result.interval(3)[0],
        "top3_high": wilson_interval(int((result.ranks < 3).sum()), 180)[1],
        "balanced_accuracy": result.balanced_accuracy(),
        "balanced_accuracy_low": balanced_low,
        "balanced_accuracy_high": balanced_high,
        "calibration_error": result.calibration_error(),
        "loss": result.loss,
        "n": 180,
    }


def test_a_class_without_drawings_counts_none(dataset):
    indices = whole(dataset)[dataset.labels != 1]
    result = evaluate(small(), labelled(dataset, indices))
    assert result.per_class()[dataset.classes[1]] == (0, 0)
    assert result.n_by_class().tolist() == [60, 0, 60]
    assert np.isnan(result.accuracy_by_class()).tolist() == [False, True, False]
    assert result.confusion()[1].tolist() == [0, 0, 0] and result.confusion().sum() == 120


def test_classes_of_the_model_in_another_order(dataset):
    """The model's class of each drawing comes from the label map, not from the dataset's order."""
    model = small(n_classes=5)
    classes = ("unseen", "star", "cat", "circle", "house")
    label_map = dataset.label_map(classes)
    assert label_map.tolist() == [3, 4, 1]
    result = evaluate(model, LabelledDrawings(dataset, whole(dataset), classes, label_map))
    by_index = dict(zip(result.indices.tolist(), result.labels.tolist(), strict=True))
    assert by_index == {i: int(label_map[label]) for i, label in enumerate(dataset.labels)}
    logits = direct_logits(model, dataset, result.indices)
    np.testing.assert_array_equal(result.predicted, logits.argmax(1))
    assert result.loss == pytest.approx(F.cross_entropy(logits, torch.from_numpy(result.labels)).item(), rel=1e-6)


# --- what results do not depend on


@pytest.mark.parametrize("reading", ["padded", "length-aware"])
@pytest.mark.parametrize("protocol", ["standard", "2020"])
def test_the_order_of_indices_makes_no_difference(dataset, protocol, reading):
    model = small(reading=reading)
    shuffled = np.random.default_rng(0).permutation(len(dataset))
    results = [
        evaluate(model, labelled(dataset, indices), protocol=protocol, batch_size=25)
        for indices in (whole(dataset), shuffled, whole(dataset)[::-1])
    ]
    same(results[0], results[1])
    same(results[0], results[2])


@pytest.mark.parametrize(("former", "current"), [("honest", "standard"), ("published", "2020")])
def test_the_error_of_a_former_protocol_names_the_current_one(dataset, former, current):
    with pytest.raises(ConfigError, match=f"protocol '{former}' is called '{current}' now"):
        evaluate(small(), labelled(dataset), protocol=former)
    with pytest.raises(ConfigError, match="protocol should be 'standard' or '2020', got 'exact'"):
        evaluate(small(), labelled(dataset), protocol="exact")


def test_the_standard_protocol_knows_no_batches(dataset, monkeypatch):
    model = small()
    results = []
    for n_together in (1 << 14, 1, 150):
        monkeypatch.setattr("quickstroke.evaluation.evaluate._POINTS_TOGETHER", n_together)
        for batch_size in (3, 256):
            results.append(evaluate(model, labelled(dataset), batch_size=batch_size))
    for result in results[1:]:
        same(results[0], result)


def test_the_order_of_the_data_makes_no_difference(drawings):
    model = small()
    everything = [drawing for items in drawings.values() for drawing in items]
    order = np.random.default_rng(1).permutation(len(everything))
    classes = tuple(drawings)
    results = []
    for items in (everything, [everything[i] for i in order]):
        data, left_out = from_drawings(items, classes)
        assert not left_out
        results.append(evaluate(model, LabelledDrawings(data, whole(data), classes, identity(data))))
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-6)
    np.testing.assert_array_equal(results[0].confusion(), results[1].confusion())
    np.testing.assert_array_equal(np.sort(results[0].ranks), np.sort(results[1].ranks))


def test_metrics_of_parts_add_up(dataset):
    model = small()
    parts = np.array_split(np.random.default_rng(2).permutation(len(dataset)), 4)
    scored = [evaluate(model, labelled(dataset, part)) for part in parts]
    all_of_it = evaluate(model, labelled(dataset))
    assert sum((part.confusion() for part in scored), np.zeros((3, 3), int)).tolist() == all_of_it.confusion().tolist()
    assert sum(part.loss * part.n for part in scored) / 180 == pytest.approx(all_of_it.loss, rel=1e-6)


# --- drawings that are not finished, and temperature


def test_partial_scores_are_those_of_drawings_cut_by_hand(dataset):
    model = small("bipool_cv1_4_3_2_lay1_sz8")
    indices = np.random.default_rng(4).permutation(len(dataset))[:50]
    drawings = labelled(dataset, indices)
    early = evaluate_early(model, drawings, evaluate(model, drawings))
    assert FRACTIONS == (0.25, 0.5, 0.75) and list(early["top1_of_points"]) == ["0.25", "0.5", "0.75", "1"]
    for fraction in FRACTIONS:
        items = []
        for index in indices:
            label, strokes = int(dataset.labels[index]), []
            left = int(np.ceil(dataset.n_points[index] * fraction))
            for stroke in dataset.strokes(int(index)):
                if left > 0:
                    strokes.append(stroke[:left])
                left -= len(stroke)
            items.append((label, strokes))
        cut = MemoryDataset(dataset.classes, items)
        expected = evaluate(model, LabelledDrawings(cut, whole(cut), dataset.classes, identity(dataset)))
        same(evaluate(model, drawings.first_points(fraction)), expected)
        assert early["top1_of_points"][f"{fraction:g}"] == expected.top(1)
        assert early["balanced_accuracy_of_points"][f"{fraction:g}"] == expected.balanced_accuracy()


def test_the_whole_of_the_points_is_the_whole_score(dataset):
    model, drawings = small(), labelled(dataset, dataset.indices("test"))
    expected = evaluate(model, drawings)
    assert evaluate(model, drawings.first_points(1.0)).figures() == pytest.approx(expected.figures())
    assert evaluate(model, drawings.first_points(0.25)).loss != pytest.approx(expected.loss)
    assert evaluate_early(model, drawings, expected)["top1_of_points"]["1"] == expected.top(1)


@pytest.fixture(scope="module")
def calibrated():
    """A model of three classes that it finds equally frequent, and 4000 drawings with labels as likely as it says."""
    rng = np.random.default_rng(6)
    strokes = [[rng.integers(0, 256, (5, 2)).astype(np.uint8)] for _ in range(4000)]
    data = MemoryDataset(("a", "b", "c"), [(0, drawing) for drawing in strokes])
    batch = batches.batch_of(data, whole(data), identity(data), 100)
    model = small("simple_lay1_sz8")
    with torch.no_grad():
        logits = model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)).double()
        for _ in range(50):
            shift = logits.softmax(1).mean(0).log()
            logits -= shift
            model.linear.bias -= shift.float()
    up_to = logits.softmax(1).cumsum(1).numpy()
    labels = (rng.random((4000, 1)) > up_to[:, :2]).sum(axis=1)
    return model, MemoryDataset(data.classes, list(zip(labels.tolist(), strokes, strict=True)))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_found(calibrated, temperature):
    model, data = copy.deepcopy(calibrated[0]), calibrated[1]
    model.adjust_logits(temperature, torch.zeros(3))
    fitted = fit_calibration(model, labelled(data), np.array([5, 5, 5]))
    assert fitted.temperature == pytest.approx(temperature, rel=0.1)
    assert fitted.tau == 0


@pytest.mark.parametrize("tau", [0.0, 0.4, 1.0])
def test_a_known_preference_for_large_classes_is_found(calibrated, tau):
    model, data = copy.deepcopy(calibrated[0]), calibrated[1]
    n_trained = np.array([10, 100, 3000])
    # Drawings of each class as often as the model finds them: what is added here is all the preference there is.
    model.adjust_logits(1.0, torch.from_numpy(tau * np.log(n_trained)))
    fitted = fit_calibration(model, labelled(data), n_trained)
    assert fitted.tau == pytest.approx(tau, abs=0.1)
    assert fitted.temperature == pytest.approx(1, rel=0.1)

    fitted.apply(model, n_trained)
    nothing_left = fit_calibration(model, labelled(data), n_trained)
    assert nothing_left.tau == pytest.approx(0, abs=0.05)
    assert nothing_left.temperature == pytest.approx(1, rel=0.1)  # as before: the smallest tau leaves a little


def test_the_fitted_temperature_lowers_the_loss_and_changes_no_guess(dataset):
    model, indices = small("bipool_lay1_sz8"), dataset.indices("train")

    def score():
        return evaluate(model, labelled(dataset, indices))

    before = score()
    fitted = fit_calibration(model, labelled(dataset, indices), np.array([40, 40, 40]))
    fitted.apply(model, np.array([40, 40, 40]))
    after = score()
    assert after.loss < before.loss
    np.testing.assert_array_equal(after.predicted, before.predicted)
    again = fit_calibration(model, labelled(dataset, indices), np.array([40, 40, 40]))
    assert again.temperature == pytest.approx(1, abs=2e-3)


def test_a_model_that_is_always_right_is_not_made_sure_of_it():
    """However large its logits are made, it is right about these 200 drawings: of the next one in 202 is wrong."""
    rng = np.random.default_rng(0)
    strokes = [[rng.integers(0, 256, (5, 2)).astype(np.uint8)] for _ in range(200)]
    data = MemoryDataset(("a", "b"), [(0, drawing) for drawing in strokes])
    model = small("simple_lay1_sz8", n_classes=2)
    batch = batches.batch_of(data, whole(data), identity(data), 100)
    with torch.no_grad():
        said = model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths))
        model.linear.bias[1] += (said[:, 0] - said[:, 1]).sort().values[99:101].mean()
        said = model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths))
    labels = said.argmax(1).tolist()
    assert 0 < sum(labels) < 200
    known = MemoryDataset(data.classes, list(zip(labels, strokes, strict=True)))
    fitted = fit_calibration(model, labelled(known), np.array([5, 5]))
    fitted.apply(model, np.array([5, 5]))
    scores = evaluate(model, labelled(known))
    weights = 1 / np.bincount(scores.labels)[scores.labels] / 2
    assert scores.top(1) == 1 and weights @ scores.probability == pytest.approx(1 - 1 / 202, rel=1e-4)


@pytest.mark.parametrize("select_by", ["top1", "balanced_loss"])
@pytest.mark.parametrize("factor", [0.3, 30.0])
def test_what_is_always_right_is_wrong_once_in_n_plus_two(select_by, factor):
    """Before its calibration it is less sure than that, or more."""
    labels = torch.arange(200) % 2
    logits = factor * (2.0 * F.one_hot(labels, 2).double() - 1)
    chosen = choose_calibration(logits, labels, np.array([500, 500]), select_by)
    probability = (logits / chosen.temperature).softmax(1).amax(1)
    assert probability.numpy() == pytest.approx(1 - 1 / 202, rel=1e-5)


def test_the_temperature_is_fitted_to_the_mean_over_classes(dataset):
    """A class that is there five times over moves nothing."""
    model, indices = small(), dataset.indices("train")
    often = np.concatenate([indices, *[indices[dataset.labels[indices] == 0]] * 4])
    counts = np.array([200, 40, 40])
    once, again = (fit_calibration(model, labelled(dataset, rows), counts) for rows in (indices, often))
    assert again.temperature == pytest.approx(once.temperature, rel=2e-3)
    assert again.tau == pytest.approx(once.tau, abs=2e-3)


def drawn_unevenly(frequencies=None):
    """Logits (3000, 3) of a model that knows how uneven its training was, labels, as uneven unless their frequencies
    are given, and what it was trained on."""
    rng = np.random.default_rng(0)
    n_trained = np.array([10_000, 1000, 100])
    labels = rng.choice(3, 3000, p=n_trained / n_trained.sum() if frequencies is None else frequencies)
    x = rng.normal(labels, 0.7)
    logits = -((x[:, None] - np.arange(3)) ** 2) / (2 * 0.7**2) + np.log(n_trained)
    return torch.from_numpy(logits), torch.from_numpy(labels), n_trained


def scores_of(logits, labels, n_trained, calibration=None):
    """An Evaluation of logits, adjusted by a calibration."""
    if calibration:
        log_counts = torch.from_numpy(np.log(n_trained / n_trained.mean()))
        logits = logits / calibration.temperature - calibration.tau * log_counts
    probability, predicted = logits.softmax(1).max(1)
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    arrays = (np.arange(len(labels)), labels.numpy(), predicted.numpy(), probability.numpy(), ranks.numpy())
    return Evaluation(("a", "b", "c"), *arrays, losses.numpy())


def test_a_model_selected_by_top1_loses_none_of_it_by_its_calibration():
    """By the balanced loss rare classes gain, and top-1 pays for it: whoever selects by that has asked for it."""
    made = logits, labels, n_trained = drawn_unevenly()
    before = scores_of(*made)
    for_classes, for_top1 = (
        choose_calibration(logits, labels, n_trained, select_by) for select_by in ("balanced_loss", "top1")
    )
    balanced, kept = scores_of(*made, for_classes), scores_of(*made, for_top1)
    assert for_classes.tau > 0.5
    assert balanced.top(1) < before.top(1) - 0.03 and balanced.balanced_accuracy() > before.balanced_accuracy() + 0.1
    assert balanced.balanced_loss() < before.balanced_loss()
    assert balanced.calibration_error() > before.calibration_error() + 0.03
    assert balanced.calibration_error(balanced=True) < before.calibration_error(balanced=True)
    assert kept.top(1) >= before.top(1) and kept.calibration_error() <= before.calibration_error() + 1e-12
    assert for_top1.tau == 0  # some strength names two more of 3000 rightly, by chance


def test_an_adjustment_that_raises_top1_is_found():
    """A model that prefers frequent classes, where they are hardly more frequent."""
    logits, labels, n_trained = drawn_unevenly([0.4, 0.3, 0.3])
    chosen = choose_calibration(logits, labels, n_trained, "top1")
    before, after = scores_of(logits, labels, n_trained), scores_of(logits, labels, n_trained, chosen)
    assert after.top(1) > before.top(1) + 0.01 and chosen.tau > 0.2
    assert after.calibration_error() < before.calibration_error()
    half = replace(chosen, tau=chosen.tau / 2)  # the smallest that is as good
    assert scores_of(logits, labels, n_trained, half).top(1) < after.top(1) - 0.003


@pytest.mark.parametrize("select_by", ["top1", "balanced_loss"])
def test_a_calibration_never_costs_what_the_model_was_selected_by(select_by):
    """Nor does its temperature raise the calibration error, however few the drawings; then there is none."""
    temperatures = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        labels = torch.from_numpy(np.concatenate([np.arange(3), rng.choice(3, 20, p=[0.7, 0.2, 0.1])]))
        logits = torch.from_numpy(2 * rng.normal(size=(23, 3))) + 2 * F.one_hot(labels, 3)
        n_trained = np.array([700, 200, 100])
        chosen = choose_calibration(logits, labels, n_trained, select_by)
        before = scores_of(logits, labels, n_trained)
        after = scores_of(logits, labels, n_trained, chosen)
        without = scores_of(logits, labels, n_trained, Calibration(1.0, chosen.tau * chosen.temperature))
        temperatures.append(chosen.temperature)
        np.testing.assert_array_equal(after.predicted, without.predicted)
        balanced = select_by == "balanced_loss"
        assert after.calibration_error(balanced=balanced) <= without.calibration_error(balanced=balanced) + 1e-9
        if balanced:
            assert after.balanced_loss() <= before.balanced_loss() + 1e-9
        else:
            assert after.top(1) >= before.top(1)
    assert 3 <= temperatures.count(1.0) <= 27


# --- the protocol 2020


def test_the_protocol_2020_depends_on_batches(dataset):
    model = small()

    def score(**options):
        return evaluate(model, labelled(dataset), **options)

    once, other = score(protocol="2020", batch_size=20), score(protocol="2020", batch_size=60)
    assert once.loss != pytest.approx(other.loss, rel=1e-4)
    assert once.loss != pytest.approx(score().loss, rel=1e-4)


@pytest.mark.parametrize("reading", ["padded", "length-aware"])
def test_the_protocol_2020_is_training_mode_over_sorted_batches(dataset, reading):
    model = small(reading=reading)
    indices = np.random.default_rng(3).permutation(len(dataset))
    result = evaluate(model, labelled(dataset, indices), protocol="2020", batch_size=50)
    model.train()
    losses, predicted = [], []
    for begin in range(0, 180, 50):  # the dataset lies in the order of labels, then files
        part = np.arange(begin, min(begin + 50, 180))
        batch = batches.batch_of(dataset, part, identity(dataset), 100)
        with torch.no_grad():
            logits = model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)).double()
        losses.append(F.cross_entropy(logits, torch.from_numpy(batch.labels), reduction="sum").item())
        predicted.append(logits.argmax(1))
    assert result.loss == pytest.approx(sum(losses) / 180, rel=1e-6)
    np.testing.assert_array_equal(result.predicted, torch.cat(predicted))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("protocol", ["standard", "2020"])
def test_the_model_is_as_it_was(dataset, protocol, training):
    model = small().train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, labelled(dataset), protocol=protocol, batch_size=16)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training is training for module in model.modules())
    assert not any(buffer.is_inference() for buffer in model.buffers())
    model.train()
    batch = batches.batch_of(dataset, np.arange(8), identity(dataset), 100)
    F.cross_entropy(
        model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)), torch.from_numpy(batch.labels)
    ).backward()
    assert model.linear.weight.grad is not None


@pytest.mark.parametrize("protocol", ["standard", "2020"])
def test_the_model_is_as_it_was_after_an_interruption(dataset, protocol):
    class Stop(Exception):
        pass

    def stop(n):
        raise Stop

    model = small().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(Stop):
        evaluate(model, labelled(dataset), protocol=protocol, on_batch=stop)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_bfloat16_is_close_and_asked_for_once(dataset):
    """By the first bits of each product; what is evaluated next is float32 again, to the last bit."""
    torch.manual_seed(1)
    classes, label_map, indices = dataset.classes, dataset.label_map(dataset.classes), np.arange(len(dataset))
    config = ModelConfig.from_name("bipool_cv1_8_3_cv2_8_3_2_lay2_sz16", n_classes=len(classes))
    model = StrokeClassifier(config)
    before = evaluate(model, LabelledDrawings(dataset, indices, classes, label_map))
    rounded = evaluate(model, LabelledDrawings(dataset, indices, classes, label_map), precision=torch.bfloat16)
    after = evaluate(model, LabelledDrawings(dataset, indices, classes, label_map))
    assert np.array_equal(before.probability, after.probability)
    assert not np.array_equal(before.probability, rounded.probability)
    assert np.allclose(before.probability, rounded.probability, atol=5e-3)
    assert rounded.loss == pytest.approx(before.loss, rel=2e-3)


@pytest.mark.parametrize("name", ["simple_lay1_sz8", "bipool_cv1_4_3_lay1_sz8"])
def test_the_number_of_threads_makes_no_difference(dataset, monkeypatch, name):
    monkeypatch.setattr(evaluation, "_POINTS_TOGETHER", 200)
    results = []
    for n in (1, 3):
        monkeypatch.setattr(threads, "_n_threads", n)
        results.append(evaluate(small(name), labelled(dataset)))
    for field in fields(Evaluation):
        np.testing.assert_array_equal(*(getattr(result, field.name) for result in results))


def test_every_drawing_is_reported_once(dataset):
    for protocol, sizes in (("standard", [180]), ("2020", [70, 70, 40])):
        seen = []
        evaluate(
            small(),
            labelled(dataset),
            protocol=protocol,
            batch_size=70,
            on_batch=seen.append,
        )
        assert seen == sizes


# --- batch norm's statistics again


@pytest.mark.parametrize("reading", ["padded", "length-aware"])
def test_reestimated_statistics_are_those_of_all_rows(dataset, reading, monkeypatch):
    monkeypatch.setattr("quickstroke.models.statistics._CHUNK_DRAWINGS", 20)
    model = small(reading=reading)
    before = {key: value.clone() for key, value in model.named_parameters()}
    indices = np.random.default_rng(4).permutation(len(dataset))[:90]
    reestimate_batchnorm(model, dataset, indices)
    batch = batches.batch_of(dataset, indices, identity(dataset), 100)
    if reading == "padded":
        rows = np.zeros((90, 100, 3))
        rows[:, : batch.points.shape[1]] = batch.points
        rows = rows.reshape(-1, 3)
    else:
        rows = np.concatenate([p[:n] for p, n in zip(batch.points, batch.lengths, strict=True)]).astype(np.float64)
    np.testing.assert_allclose(model.bn.running_mean, rows.mean(axis=0), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.bn.running_var, rows.var(axis=0, ddof=1), rtol=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in model.named_parameters())


@pytest.mark.parametrize("reading", ["padded", "length-aware"])
def test_reestimated_statistics_are_what_training_mode_would_use(dataset, reading):
    """In evaluation mode with them, one batch of everything is normalised as in training mode."""
    model = small(reading=reading)
    batch = batches.batch_of(dataset, whole(dataset), identity(dataset), 100)
    arrays = torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)
    with torch.no_grad():
        expected = small(reading=reading).train()(*arrays)
        reestimate_batchnorm(model, dataset, whole(dataset))
        torch.testing.assert_close(model(*arrays), expected, rtol=1e-3, atol=1e-3)


def test_rows_beyond_max_padding_do_not_count(dataset):
    model = StrokeClassifier(replace(small().config, max_padding=6))
    reestimate_batchnorm(model, dataset, whole(dataset))
    batch = batches.batch_of(dataset, whole(dataset), identity(dataset), 6)
    rows = np.concatenate([p[:n] for p, n in zip(batch.points, batch.lengths, strict=True)])
    assert batch.lengths.max() == 6
    np.testing.assert_allclose(model.bn.running_mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-6)


def test_dots_alone_leave_the_statistics_or_are_zeros():
    data = MemoryDataset(("dot",), [(0, [np.array([[7, 7]], dtype=np.uint8)])] * 3)
    model = small(n_classes=1)
    reestimate_batchnorm(model, data, whole(data))
    assert model.bn.running_mean.tolist() == [0, 0, 0] and model.bn.running_var.tolist() == [1, 1, 1]
    model = small(reading="padded", n_classes=1)
    reestimate_batchnorm(model, data, whole(data))
    assert model.bn.running_mean.tolist() == [0, 0, 0] and model.bn.running_var.tolist() == [0, 0, 0]
    for protocol in ("standard", "2020"):
        result = evaluate(model, labelled(data), protocol=protocol)
        assert (result.n, result.top(1), result.loss) == (3, 1, 0)
