"""Two models on the same drawings: differences, intervals and McNemar's p-value, by what they are defined as."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

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
    spread = math.sqrt(400_000)  # a normal distribution has the same of so many
    assert mcnemar(200_400, 199_600) == pytest.approx(math.erfc(799 / spread / math.sqrt(2)), rel=1e-3)


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
    balanced = found.balanced_accuracy_low, found.balanced_accuracy_high
    assert (-back.balanced_accuracy_high, -back.balanced_accuracy_low) == pytest.approx(balanced)
    assert first.compare(first).top1 == first.compare(first).balanced_accuracy == 0


def test_intervals_are_walds_with_half_a_drawing_more_in_each_cell() -> None:
    labels = np.repeat([0, 2, 3], 4)  # classes of one size, where both accuracies are the same; class 1 has no drawing
    first, second = np.arange(12) < 9, np.arange(12) % 3 == 0
    only_first, only_second, n = 6 + 0.5, 1 + 0.5, 12 + 2
    difference = (only_first - only_second) / n
    half = 1.959964 * math.sqrt(((only_first + only_second) / n - difference**2) / n)
    found = compared(first, second, labels)
    assert (found.top1_low, found.top1_high) == pytest.approx((difference - half, difference + half))
    assert (found.balanced_accuracy_low, found.balanced_accuracy_high) == pytest.approx(
        (difference - half, difference + half)
    )
    of_one = compared(np.array([False]), np.array([True]), np.array([0]))
    assert of_one.top1_low == of_one.balanced_accuracy_low == -1


@pytest.mark.parametrize(
    ("n_of_class", "chances"),
    [
        ([60, 30, 30], [[0.9, 0.6], [0.5, 0.5], [0.3, 0.4]]),
        ([5, 5, 5], [[0.9, 0.85], [0.9, 0.85], [0.7, 0.75]]),  # few drawings, of which few tell the models apart
        ([100, 100, 100], [[0.99, 0.985], [0.99, 0.985], [0.98, 0.98]]),
        ([1] * 10, [[0.8, 0.7]] * 10),
        ([10] * 46, [[0.8, 0.75]] * 46),
    ],
)
def test_intervals_hold_the_true_difference_19_times_of_20(n_of_class: list[int], chances: list[list[float]]) -> None:
    random, n_in, n = np.random.default_rng(0), np.zeros(2, int), 400
    labels = np.repeat(np.arange(len(n_of_class)), n_of_class)
    chances = np.array(chances)[labels]  # type: ignore[assignment]  # (N, 2)
    by_drawing = chances[:, 0] - chances[:, 1]
    truth = by_drawing.mean(), np.mean([by_drawing[labels == label].mean() for label in range(len(n_of_class))])
    for _ in range(n):
        common = random.random(len(labels))  # both find the same drawings difficult
        found = compared(common < chances[:, 0], common < chances[:, 1], labels)
        n_in += [
            found.top1_low <= truth[0] <= found.top1_high,
            found.balanced_accuracy_low <= truth[1] <= found.balanced_accuracy_high,
        ]
    assert (n_in >= 0.93 * n).all(), n_in


def test_equal_models_on_a_few_drawings_leave_much_open() -> None:
    scores = scores_of([1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 2, 2])
    found = scores.compare(scores)
    assert found.balanced_accuracy == found.top1 == 0 and found.p == 1
    assert found.balanced_accuracy_low < -0.2 and found.balanced_accuracy_high > 0.2
    lost = scores_of([1, 1, 0, 0], [0, 0, 1, 1]).compare(scores_of([0, 0, 0, 0], [0, 0, 1, 1]))
    assert lost.balanced_accuracy == 0.5 and lost.balanced_accuracy_low < 0 < lost.balanced_accuracy_high < 1


def test_words_in_another_order_are_the_same_drawings() -> None:
    labels = [0, 1, 2, 2]
    first = scores_of([1, 1, 0, 1], labels)
    turned = scores_of([1, 0, 0, 1], [2, 1, 0, 0], CLASSES[::-1])
    assert first.compare(turned).first_only == 1
    with pytest.raises(ConfigError, match="these are evaluations of 4 and 3 drawings with 3 indices in common"):
        first.compare(scores_of([1, 1, 0], labels[:3]))
    with pytest.raises(ConfigError, match="drawing 3 is of 'star' in one evaluation, of 'house' in the other"):
        first.compare(scores_of([1, 1, 0, 1], [0, 1, 2, 1]))
    with pytest.raises(ConfigError, match="the other evaluation is of another dataset, or of other drawings"):
        replace(first, source="a").compare(replace(turned, source="b"))
    assert replace(first, source="a").compare(turned).first_only == 1  # of what is not known to be other
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
    assert repr(scores) == "<Evaluation: drawings 3, words 3; top-1 0.00%, top-3 100.00%, balanced accuracy 0.00%>"


def test_tensors_and_indices_are_taken() -> None:
    logits = torch.tensor([[0.0, 1, 2], [3, 0, 1]], requires_grad=True)
    scores = qs.Evaluation.of(logits.softmax(1), torch.tensor([2, 1]), CLASSES, indices=[7, 3])
    assert scores.ranks.tolist() == [0, 2] and scores.indices.tolist() == [7, 3]
    half = qs.Evaluation.of(logits.softmax(1).bfloat16(), ["star", "house"], CLASSES, indices=torch.tensor([3, 7]))
    assert half.ranks.tolist() == [0, 2]
    with pytest.raises(ConfigError, match="drawing 3 is of 'house' in one evaluation, of 'star' in the other"):
        scores.compare(half)
    with pytest.raises(ArgumentTypeError, match="probabilities should be an array of numbers, got tensor"):
        qs.Evaluation.of(torch.tensor([[0.5j, 0.5, 0]]), [0], CLASSES)
    for wrong in ([1, 1], [1], [[1, 2]]):
        with pytest.raises(ConfigError, match=r"indices should be \(2,\), each once, got"):
            qs.Evaluation.of(logits.softmax(1), [2, 1], CLASSES, indices=wrong)


@pytest.mark.parametrize(
    ("probabilities", "labels", "kind", "told"),
    [
        ([[0.5, 0.5, 0]], [0, 1], ConfigError, r"probabilities should be \(2, 3\), a row for each label, got \(1, 3\)"),
        ([[0.5, 0.5]], [0], ConfigError, r"probabilities should be \(1, 3\), a row for each label, got \(1, 2\)"),
        ([], [], ConfigError, "probabilities should be of one drawing or more"),
        ([[1.5, -0.5, 0]], [0], ConfigError, r"probabilities\[0\] should .* got numbers from -0.5 to 1.5, a sum of 1"),
        ([[0.2, 0.3, 0.1]], [0], ConfigError, "from 0.1 to 0.3, a sum of 0.6"),
        ([[0.5, 0.5, np.nan]], [0], ConfigError, "a sum of nan"),
        ([[0.5, 0.5, 0]], [3], ConfigError, r"labels should be words, or integers \(N,\) from 0 to 2, got 3"),
        ([[0.5, 0.5, 0]], [0.5], ConfigError, "got 0.5"),
        ([[0.5, 0.5, 0]], [[0]], ConfigError, r"got a shape of \(1, 1\)"),
        ([[0.5, 0.5, 0]], ["whale"], CategoryError, "labels: 'whale' is not among the 3 classes"),
        ([[0.5j, 0.5, 0]], [0], ArgumentTypeError, "probabilities should be an array of numbers, got"),
        ("x", [0], ArgumentTypeError, "probabilities should be an array of numbers, got 'x'"),
        ([[0.5, 0.5, 0]], 0, ArgumentTypeError, "labels should be a word or an index for each drawing, got 0"),
    ],
)
def test_what_is_no_evaluation_is_refused(probabilities: object, labels: object, kind: type, told: str) -> None:
    with pytest.raises(kind, match=told):
        qs.Evaluation.of(probabilities, labels, CLASSES)  # type: ignore[arg-type]
