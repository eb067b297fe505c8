"""Exact metrics: sums over single drawings, classes and parts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from judged import direct_logits, labelled, small, whole

from quickstroke.data.memory import MemoryDataset
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.metrics import Evaluation, wilson_interval

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_metrics_of_parts_add_up(dataset):
    model = small()
    parts = np.array_split(np.random.default_rng(2).permutation(len(dataset)), 4)
    scored = [evaluate(model, labelled(dataset, part)) for part in parts]
    all_of_it = evaluate(model, labelled(dataset))
    assert sum((part.confusion() for part in scored), np.zeros((3, 3), int)).tolist() == all_of_it.confusion().tolist()
    assert sum(part.loss * part.n for part in scored) / 180 == pytest.approx(all_of_it.loss, rel=1e-6)
