"""Calibration: a known temperature or preference is found, and what a model was selected by is not lost."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from judged import identity, labelled, small, whole

from quickstroke.data import batches
from quickstroke.data.memory import MemoryDataset
from quickstroke.evaluation.calibration import Calibration, choose_calibration, fit_calibration
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.metrics import Evaluation

pytestmark = pytest.mark.usefixtures("one_thread")


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
