"""Fitting the probability that a drawing shows none of the words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation.unknown import evidence, fit_unknown, jumbled, refusals


def drawings(n: int = 600, n_classes: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with a peak at the true class, higher for some drawings than for others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(0, 1, (n, n_classes))
    logits[np.arange(n), labels] += rng.uniform(2, 9, n)
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


def test_the_probability_is_true_on_average():
    logits, labels = drawings()
    score = fit_unknown(logits, labels)
    assert score is not None
    known, unknown = scores(score, logits), scores(score, logits, labels)
    # Logistic regression meets the mean, the ridge aside.
    assert (2 * known.mean() + unknown.mean()) / 3 == pytest.approx(1 / 3, abs=0.01)
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
