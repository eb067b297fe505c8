"""Two models on the same drawings: differences, intervals and McNemar's p-value, by what they are defined as."""

import math

import numpy as np
import pytest

import quickstroke as qs
from quickstroke.errors import ArgumentTypeError, CategoryError, ConfigError
from quickstroke.evaluation.comparison import compared, mcnemar

CLASSES = ("circle", "house", "star")


def scores_of(right: list[int], labels: list[int], classes: tuple[str, ...] = CLASSES) -> qs.Evaluation:
    """Of a model that is right about some drawings, and else says the next class."""
    said = [(label + (1 - is_right)) % len(classes) for label, is_right in zip(labels, right, strict=True)]
    return qs.Evaluation.of(np.eye(len(classes))[said] * 0.7 + 0.1, labels, classes)


def test_p_is_the_tail_of_even_odds_on_both_sides() -> None:
    for better, worse in ((0, 0), (1, 0), (5, 0), (10, 3), (3, 10), (40, 41)):
        n, k = better + worse, min(better, worse)
        tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
        assert mcnemar(better, worse) == pytest.approx(min(1, 2 * tail))
    assert mcnemar(10, 3) == pytest.approx(0.09228515625)
    assert 0 < mcnemar(3000, 2500) < 1e-10  # beyond what a float has for 2 to the power n


def test_differences_are_of_the_same_drawings() -> None:
    labels = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    first, second = scores_of([1, 1, 1, 0, 1, 0, 1, 1, 0, 0], labels), scores_of([1, 0, 0, 0, 1, 1, 1, 0, 0, 0], labels)
    found = first.compare(second)
    assert (found.n, found.first_only, found.second_only) == (10, 3, 1)
    assert found.top1 == pytest.approx(0.2) == pytest.approx(first.top(1) - second.top(1))
    assert found.balanced_accuracy == pytest.approx(first.balanced_accuracy() - second.balanced_accuracy())
    assert found.p == mcnemar(3, 1) == 0.625
    assert found.top1_low < 0 < found.top1 < found.top1_high
    back = second.compare(first)
    assert (back.top1_low, back.top1_high) == pytest.approx((-found.top1_high, -found.top1_low))
    assert first.compare(first).top1 == first.compare(first).balanced_accuracy == 0


def test_intervals_hold_the_true_difference_19_times_of_20() -> None:
    random, n_in, n = np.random.default_rng(0), np.zeros(2, int), 400
    labels = np.repeat([0, 1, 2], [60, 30, 30])
    chances = np.array([[0.9, 0.6], [0.5, 0.5], [0.3, 0.4]])[labels]  # (N, 2)
    by_drawing = chances[:, 0] - chances[:, 1]
    truth = by_drawing.mean(), np.mean([by_drawing[labels == label].mean() for label in range(3)])
    for _ in range(n):
        common = random.random(len(labels))  # both find the same drawings difficult
        found = compared(common < chances[:, 0], common < chances[:, 1], labels)
        n_in += [
            found.top1_low <= truth[0] <= found.top1_high,
            found.balanced_accuracy_low <= truth[1] <= found.balanced_accuracy_high,
        ]
    assert (n_in >= 0.92 * n).all() and (n_in <= 0.995 * n).all(), n_in


def test_words_in_another_order_are_the_same_drawings() -> None:
    labels = [0, 1, 2, 2]
    first = scores_of([1, 1, 0, 1], labels)
    turned = scores_of([1, 0, 0, 1], [2, 1, 0, 0], CLASSES[::-1])
    assert first.compare(turned).first_only == 1
    with pytest.raises(ConfigError, match="these have 4 and 3, and 3 of the same number"):
        first.compare(scores_of([1, 1, 0], labels[:3]))
    with pytest.raises(ConfigError, match="two evaluations of the same drawings can be compared"):
        first.compare(scores_of([1, 1, 0, 1], [0, 1, 2, 1]))
    with pytest.raises(ArgumentTypeError, match="other should be an Evaluation, got 3"):
        first.compare(3)  # type: ignore[arg-type]


def test_evaluation_of_probabilities() -> None:
    given = [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.1, 0.9]]
    scores = qs.Evaluation.of(given, ["star", "house", "circle"], CLASSES)
    assert scores.ranks.tolist() == [1, 1, 2] and scores.predicted.tolist() == [1, 0, 2]  # of equal ones the first
    assert scores.probability.tolist() == [0.5, 0.4, 0.9]
    np.testing.assert_allclose(scores.losses[:2], -np.log([0.3, 0.4]))
    assert np.isfinite(scores.losses).all()
    assert scores.figures() == qs.Evaluation.of(np.array(given), np.array([2, 1, 0]), list(CLASSES)).figures()
    assert repr(scores) == "<Evaluation of 3 drawings of 3 words: top-1 0.00%, top-3 100.00%, balanced accuracy 0.00%>"


@pytest.mark.parametrize(
    ("probabilities", "labels", "kind", "told"),
    [
        ([[0.5, 0.5, 0]], [0, 1], ConfigError, r"probabilities should be \(2, 3\), a row for each label, got \(1, 3\)"),
        ([[0.5, 0.5]], [0], ConfigError, r"probabilities should be \(1, 3\), a row for each label, got \(1, 2\)"),
        ([], [], ConfigError, "probabilities should be of one drawing or more"),
        ([[2.0, -1, 3]], [0], ConfigError, r"probabilities\[0\] should be numbers from 0 to 1 that add up to 1"),
        ([[0.2, 0.3, 0.1]], [0], ConfigError, "got a sum of 0.6"),
        ([[0.5, 0.5, np.nan]], [0], ConfigError, "got a sum of nan"),
        ([[0.5, 0.5, 0]], [3], ConfigError, r"labels should be words, or integers \(N,\) from 0 to 2, got 3"),
        ([[0.5, 0.5, 0]], [0.5], ConfigError, "got 0.5"),
        ([[0.5, 0.5, 0]], [[0]], ConfigError, r"got a shape of \(1, 1\)"),
        ([[0.5, 0.5, 0]], ["whale"], CategoryError, "labels: 'whale' is not among the 3 classes"),
        ("x", [0], ArgumentTypeError, "probabilities should be an array of numbers, got 'x'"),
        ([[0.5, 0.5, 0]], 0, ArgumentTypeError, "labels should be a word or an index for each drawing, got 0"),
    ],
)
def test_what_is_no_evaluation_is_refused(probabilities: object, labels: object, kind: type, told: str) -> None:
    with pytest.raises(kind, match=told):
        qs.Evaluation.of(probabilities, labels, CLASSES)  # type: ignore[arg-type]
