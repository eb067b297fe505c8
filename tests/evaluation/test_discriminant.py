"""Linear discriminant analysis of a model's words, and its small form in the card."""

from pathlib import Path

import numpy as np
import torch

from quickstroke.artifacts.discriminant import Discriminant, rounded
from quickstroke.evaluation import discriminant as fitting
from quickstroke.evaluation.discriminant import fit_discriminant, some_of_each

N_WORDS, N_DRAWINGS = 60, 40


def drawings(seed=0, n_words=N_WORDS):
    """Logits that are high for the word and one other, and vary much in one direction that tells nothing."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_words), N_DRAWINGS)
    logits = rng.normal(0, 1, (len(labels), n_words)) + 6 * np.eye(n_words)[labels] + 4 * np.eye(n_words)[labels - 1]
    return torch.from_numpy(logits + rng.normal(0, 9, (len(labels), 1)) * np.linspace(-1, 1, n_words)), labels


def test_words_are_told_apart_where_the_highest_logit_does_not():
    logits, labels = drawings()
    fitted = fit_discriminant(logits, labels)
    assert fitted is not None and fitted.projection.shape == (N_WORDS - 1, N_WORDS)
    others, labels = drawings(seed=1)
    points = fitted.project(others.log_softmax(1).numpy())
    means = fitted.means.T - fitted.means.mean(1)
    found = fitted.evidence(points, means).argmax(1)
    assert (found == labels).mean() > 0.9 > (others.argmax(1).numpy() == labels).mean() + 0.2
    # No trained word is more likely than all of them together.
    assert fitted.evidence(points, means).max() < 1e-9
    again = fit_discriminant(logits, np.repeat(np.arange(N_WORDS), N_DRAWINGS))
    assert np.array_equal(again.projection, fitted.projection) and np.array_equal(again.means, fitted.means)


def test_drawings_of_a_word_vary_by_1_in_each_direction(monkeypatch):
    monkeypatch.setattr(fitting, "_SHRINKAGE", 1e-6)
    monkeypatch.setattr(fitting, "rounded", lambda rows: rows)
    logits, labels = drawings()
    fitted = fit_discriminant(logits, labels)
    points = fitted.project(logits.log_softmax(1).numpy())
    within = points - np.stack([points[labels == word].mean(0) for word in range(N_WORDS)])[labels]
    covariance = within.T @ within / (len(points) - N_WORDS)
    np.testing.assert_allclose(covariance, np.eye(N_WORDS - 1), atol=1e-3)


def test_too_few_words_or_drawings_give_none():
    logits, labels = drawings(n_words=20)
    assert fit_discriminant(logits, labels) is None
    logits, labels = drawings()
    assert fit_discriminant(logits[39:], labels[39:]) is None


def test_a_part_of_many_drawings_is_the_same_each_time():
    labels = np.repeat([2, 0, 1], [200, 30, 61])
    chosen = some_of_each(labels)
    assert np.bincount(labels[chosen]).tolist() == [30, 60, 60] and np.array_equal(chosen, some_of_each(labels))
    assert np.array_equal(chosen, np.unique(chosen))


def test_a_card_has_the_same_matrices():
    rng = np.random.default_rng(0)
    for n_words in (51, 345):
        fitted = Discriminant(*(rounded(rng.normal(0, 3, (7, n_words))) for _ in range(2)))
        card = {"classes": [str(i) for i in range(n_words)], "discriminant": fitted.entry()}
        again = Discriminant.of_card(card, Path("x"))
        assert np.array_equal(again.projection, fitted.projection) and np.array_equal(again.means, fitted.means)
        exact = rng.normal(0, 3, (7, n_words))
        assert np.square(rounded(exact) - exact).mean() < 0.02 * exact.var()
    assert Discriminant.of_card({"classes": ["a"]}, Path("x")) is None
