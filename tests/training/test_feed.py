"""Which drawings a step is given, how they are augmented, and what the logits are compared with."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import CONFIG, MODEL, POOL_MODEL

from quickstroke.artifacts import runs
from quickstroke.data import augmentation
from quickstroke.data.augmentation import Augmentation
from quickstroke.runtime.distributed import ALONE
from quickstroke.training import distillation, feed
from quickstroke.training import step as step_module
from quickstroke.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")


def goals(monkeypatch, dataset, config, folder, **options):
    """What each step compares the logits with: targets, and the smoothing of labels."""
    seen = []

    def cross_entropy(logits, goal, label_smoothing=0.0):
        seen.append((goal, label_smoothing))
        return F.cross_entropy(logits, goal, label_smoothing=label_smoothing)

    monkeypatch.setattr(step_module, "F", SimpleNamespace(cross_entropy=cross_entropy))
    train(MODEL, replace(config, n_epochs=1), dataset, folder, **options)
    return seen


def test_labels_are_smoothed_by_the_loss_or_with_what_teachers_say(dataset, finished, tmp_path, monkeypatch):
    config = replace(CONFIG, label_smoothing=0.1)
    for goal, smoothing in goals(monkeypatch, dataset, config, tmp_path / "alone"):
        assert goal.dtype == torch.int64 and smoothing == 0.1
    config = replace(config, teacher=(str(finished["default"]),), distillation_weight=0.0)
    for goal, smoothing in goals(monkeypatch, dataset, config, tmp_path / "taught"):
        assert smoothing == 0
        assert sorted({round(value, 5) for value in goal.flatten().tolist()}) == [0.03333, 0.93333]


def test_a_part_of_an_epoch_is_of_other_classes(dataset, finished, tmp_path, monkeypatch):
    """Drawings of `house` are for the teacher alone to say something of."""
    config = replace(CONFIG, teacher=(str(finished["default"]),), distillation_weight=0.0, other_class_fraction=0.25)
    seen = goals(monkeypatch, dataset, config, tmp_path / "run", train_classes=("star", "circle"))
    rows = torch.cat([goal for goal, _ in seen])
    assert rows.shape == (120, 2)
    is_labelled = ((rows == 0) | (rows == 1)).all(1)
    assert int((~is_labelled).sum()) == pytest.approx(30, abs=1)
    assert runs.read_metrics(tmp_path / "run")[0]["n_train"] == pytest.approx(120, abs=1)


def test_without_drawings_of_other_classes_an_epoch_has_all_of_its_own(dataset, finished, tmp_path):
    config = replace(CONFIG, n_epochs=1, teacher=(str(finished["default"]),), other_class_fraction=0.25)
    train(MODEL, config, dataset, tmp_path / "run")
    assert runs.read_metrics(tmp_path / "run")[0]["n_train"] == 120


def test_balance_of_classes_in_an_epoch(dataset):
    indices = np.concatenate([dataset.indices("train")[:44]])  # 40 circles and 4 houses
    label_map = np.arange(3)
    for balance, expected in ((0.0, [40, 4]), (1.0, [22, 22])):
        drawings = feed.epoch_drawings(replace(CONFIG, class_balance=balance), dataset, indices, label_map, 0)
        assert np.bincount(dataset.labels[drawings]) == pytest.approx(expected, abs=1)


def test_a_student_sees_the_views_that_teachers_were_asked_about(dataset, finished, monkeypatch):
    monkeypatch.setattr(augmentation, "STROKES", Augmentation(mixup=0.5, rotation=0.3))
    config = replace(
        CONFIG, augment="strokes", prefix_truncation=0.0, teacher=(str(finished["default"]),), n_cached_epochs=2
    )
    drawings, model_config = dataset.indices("train"), replace(POOL_MODEL, max_padding=30)
    places = np.arange(40, 10, -1)
    rows = drawings[places]
    candidates = augmentation.mixup_candidates(dataset, drawings, np.arange(3))

    def seen(epoch):
        state = SimpleNamespace(epoch=epoch, step=0)
        feeder = feed.Feeder(config, model_config, dataset, None, torch.device("cpu"), np.arange(3), candidates, ALONE)
        (micro_batch,) = feeder.micro_batches(state, drawings, places, None)
        return micro_batch.points.numpy(), micro_batch.lengths.numpy(), micro_batch.goal.numpy()

    for epoch in range(4):
        points, lengths, labels = seen(epoch)
        seeds = distillation.augmentation_seeds(epoch % 2, places)
        asked = augmentation.augmented_points(dataset, rows, seeds, None, augmentation.STROKES, 30, "pos5", candidates)
        np.testing.assert_allclose(points, asked[0], rtol=0, atol=1e-6)
        assert np.array_equal(lengths, asked[1]) and np.array_equal(labels, dataset.labels[rows])
    assert not np.allclose(seen(0)[0], seen(1)[0], atol=1e-3)


def test_strokes_truncates_as_many_drawings_as_asked(dataset, monkeypatch):
    monkeypatch.setattr(augmentation, "STROKES", Augmentation())
    drawings = dataset.indices("train")
    model_config = replace(POOL_MODEL, max_padding=30)

    def rows(fraction):
        config = replace(CONFIG, augment="strokes", prefix_truncation=fraction)
        feeder = feed.Feeder(config, model_config, dataset, None, torch.device("cpu"), np.arange(3), None, ALONE)
        (micro_batch,) = feeder.micro_batches(
            SimpleNamespace(epoch=0, step=0), drawings, np.arange(len(drawings)), None
        )
        return micro_batch.lengths

    whole = rows(0.0)
    assert whole.tolist() == dataset.n_points[drawings].clip(max=30).tolist()
    some, most = ((rows(part) < whole).double().mean() for part in (0.3, 1.0))
    assert 0.1 < some < 0.4 < 0.7 < most


def test_without_teachers_every_epoch_and_step_is_augmented_anew(dataset):
    config, model_config = replace(CONFIG, augment="strokes"), replace(POOL_MODEL, max_padding=30)
    drawings, seen = dataset.indices("train")[:9], set()
    candidates = augmentation.mixup_candidates(dataset, drawings, np.arange(3))
    feeder = feed.Feeder(config, model_config, dataset, None, torch.device("cpu"), np.arange(3), candidates, ALONE)
    for epoch, step in ((0, 0), (0, 1), (1, 0), (16, 0), (0, 0)):
        state = SimpleNamespace(epoch=epoch, step=step)
        (micro_batch,) = feeder.micro_batches(state, drawings, np.arange(9), None)
        points = micro_batch.points.numpy()
        seen.add(points.tobytes())
    assert len(seen) == 4
