"""Fitting the probability that a drawing shows none of the words."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quickstroke.data.selection import LabelledDrawings
from quickstroke.drawings.drawing import Drawing
from quickstroke.evaluation.unknown import evidence, fit_unknown, jumbled, refusals


def drawings(
    n: int = 600, n_classes: int = 6, seed: int = 0, peak: tuple[float, float] = (2, 9)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with a peak at the true class, higher for some drawings than for others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(0, 1, (n, n_classes))
    logits[np.arange(n), labels] += rng.uniform(*peak, n)
    return torch.from_numpy(logits), torch.from_numpy(labels)


def test_an_unknown_drawing_is_one_without_its_own_word():
    logits, labels = drawings()
    log_sum_exp, entropy, left = (x.numpy() for x in evidence(logits, labels))  # (N,), (N,), (N, K)
    others = np.array([np.delete(row, label) for row, label in zip(logits.numpy(), labels.numpy(), strict=True)])
    np.testing.assert_allclose(log_sum_exp, np.log(np.exp(others).sum(1)))
    p = np.exp(others - log_sum_exp[:, None])
    np.testing.assert_allclose(entropy, -(p * np.log(p)).sum(1), atol=1e-9)
    assert np.isneginf(left[np.arange(len(labels)), labels]).all()
    np.testing.assert_allclose(evidence(logits)[0], logits.logsumexp(1))
    assert torch.equal(evidence(logits)[2], logits)


def scores(score, logits, labels=None):
    """What a score says of drawings, `labels` of which are left out."""
    return score.probability(*(x.numpy() for x in evidence(logits, labels)))


@pytest.mark.parametrize("n_jumbled", [0, 300])
def test_the_probability_is_true_on_average(n_jumbled):
    """Over known drawings and half as many unknown ones, a fifth of them jumbled where there are such."""
    logits, labels = drawings(peak=(0, 4))
    of_jumbled = torch.from_numpy(np.random.default_rng(1).normal(0, 1.5, (n_jumbled, 6)))
    score = fit_unknown(logits, labels, of_jumbled if n_jumbled else None)
    assert score is not None
    known, unknown = scores(score, logits).mean(), scores(score, logits, labels).mean()
    if n_jumbled:
        unknown = 0.8 * unknown + 0.2 * scores(score, of_jumbled).mean()
    assert (2 * known + unknown) / 3 == pytest.approx(1 / 3, abs=0.003)


def test_known_drawings_are_told_from_unknown_ones():
    logits, labels = drawings()
    score = fit_unknown(logits, labels)
    assert score is not None
    known, unknown = scores(score, logits), scores(score, logits, labels)
    assert known.mean() < 0.2 < 0.7 < unknown.mean()


def test_words_that_drawings_of_none_look_like_are_learned():
    logits, labels = drawings(2000)
    rng = np.random.default_rng(1)
    is_other = labels != 0
    logits, labels = logits[is_other], labels[is_other]  # no drawing of a word looks like word 0

    def none(n: int) -> torch.Tensor:
        drawn = rng.normal(0, 1, (n, 6))
        drawn[:, 0] += rng.uniform(2, 9, n)
        return torch.from_numpy(drawn)

    plain, taught = fit_unknown(logits, labels), fit_unknown(logits, labels, none(500))
    assert plain is not None and taught is not None
    assert len(taught.words) == 6 and taught.words[0] == max(taught.words)
    other = none(500)
    before, after = (refusals(scores(score, logits), scores(score, other)).auroc for score in (plain, taught))
    assert 0.75 < before < 0.85 and after > 0.95


def test_many_drawings_are_fitted_by_some_of_them(monkeypatch):
    logits, labels = drawings(3000)
    whole = fit_unknown(logits, labels)
    monkeypatch.setattr("quickstroke.evaluation.unknown._N_FITTED", 1500)
    part = fit_unknown(logits, labels)
    assert part != whole
    assert np.abs(scores(part, logits) - scores(whole, logits)).mean() < 0.01


def test_jumbled_drawings_are_of_several(dataset):
    part = LabelledDrawings.of_split(dataset, "train", dataset.classes)
    nothing = jumbled(dataset, part, 40)
    assert nothing is not None and len(nothing.indices) == 40
    lengths = np.diff(nothing.data.offsets.astype(np.int64))
    assert (lengths >= 4).all()  # at least two strokes of two points
    again = jumbled(dataset, part, 40)
    assert again is not None and np.array_equal(nothing.data.points, again.data.points)
    one = replace(part, indices=part.indices[part.labels == part.labels[0]])
    assert jumbled(dataset, one, 40) is None


def test_jumbled_drawings_are_of_two_words_or_of_turned_strokes():
    """Drawings of one word are six level lines, those of the other six upright ones."""
    levels = [[np.array([[0, y], [200, y]], np.uint8) for y in (4 * k, 40, 80, 120, 160, 200)] for k in range(9)]
    drawings = [Drawing("cat", own) for own in levels] + [Drawing("dog", [s[:, ::-1] for s in own]) for own in levels]
    part, _ = LabelledDrawings.of_drawings(drawings, ("cat", "dog"))
    nothing = jumbled(SimpleNamespace(strokes=lambda i: drawings[i].strokes), part, 90)
    assert nothing is not None
    points = np.split(nothing.data.points.astype(float), nothing.data.offsets[1:-1].astype(np.int64))
    ways = [np.diff(own.reshape(-1, 2, 2), axis=1)[:, 0] for own in points]  # each stroke is a line: (n, 2)
    kinds = ["".join("|" if x == 0 else "-" if y == 0 else "/" for x, y in own.tolist()) for own in ways]
    assert {len(kind) for kind in kinds[0::3]} == {2, 3, 4, 5}
    turned = "".join(kinds[0::3])
    assert turned.count("/") > 0.9 * len(turned)
    assert set(kinds[1::3]) == {"---|||", "|||---"}  # halves
    assert set(kinds[2::3]) == {6 * "-" + 6 * "|", 6 * "|" + 6 * "-"}
    lengths = np.array([np.hypot(*own[[0, -1]].T) for own in ways[2::3]])  # of a line of either
    ratios = lengths[:, 1] / lengths[:, 0]
    assert 0.55 < ratios.min() < 0.7 < 1.1 < ratios.max() < 1.25


def test_an_entropy_that_is_higher_for_known_drawings_is_left_out():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 600)
    logits = np.full((600, 6), -9.0)
    logits[np.arange(600), labels] = logits[np.arange(600), (labels + 1) % 6] = 5  # like two words, and then like one
    score = fit_unknown(torch.from_numpy(logits + rng.normal(0, 1, (600, 1))), torch.from_numpy(labels))
    assert score is not None and score.slope > 0 and score.entropy == 0


def test_separable_drawings_give_a_finite_score():
    logits = 100 * torch.eye(4, dtype=torch.float64).repeat(50, 1)
    score = fit_unknown(logits, torch.arange(4).repeat(50))
    assert score is not None and np.isfinite([score.intercept, score.slope]).all() and score.slope > 0


def test_no_score_where_nothing_can_be_told():
    assert fit_unknown(torch.zeros(9, 1, dtype=torch.float64), torch.zeros(9, dtype=torch.int64)) is None


def test_refusals_are_counted():
    figures = refusals(np.arange(100) / 100, np.array([0.5, 0.945, 0.95, 2.0]))
    assert figures.refused == 0.75 and (figures.n_known, figures.n_unknown) == (100, 4)
    assert figures.auroc == pytest.approx((0.505 + 0.95 + 0.955 + 1) / 4)
    assert refusals(np.zeros(10), np.zeros(10)).auroc == 0.5
