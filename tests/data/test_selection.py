"""Labelled drawings: those of a split and those in memory, in the labels of a model."""

import numpy as np
import pytest

from quickstroke.data.batches import n_points_of
from quickstroke.data.selection import LabelledDrawings, n_among
from quickstroke.errors import DatasetError

CLASSES = ("star", "cat", "circle")


def test_a_split_has_the_drawings_of_known_words(dataset):
    drawings = LabelledDrawings.of_split(dataset, "val", CLASSES)
    rows = dataset.indices("val")
    known = [row for row in rows.tolist() if dataset.classes[dataset.labels[row]] in CLASSES]
    assert drawings.indices.tolist() == known and len(drawings) == len(known) < len(rows)
    words = [dataset.classes[dataset.labels[row]] for row in known]
    assert [CLASSES[label] for label in drawings.labels] == words and drawings.classes == CLASSES
    with pytest.raises(DatasetError, match="split 'val' has no drawing of the classes asked for"):
        LabelledDrawings.of_split(dataset, "val", ("cat", "dog"))


def test_drawings_in_memory_tell_what_was_left_out(drawings):
    items = [*drawings["star"][:4], *drawings["house"][:3], *drawings["circle"][:2]]
    found, left_out = LabelledDrawings.of_drawings(items, CLASSES)
    assert found.labels.tolist() == [0, 0, 0, 0, 2, 2] and left_out == {"house": 3}
    none, left_out = LabelledDrawings.of_drawings(drawings["house"][:3], CLASSES)
    assert len(none) == 0 and left_out == {"house": 3}


def test_drawings_are_compared_by_word_and_key_id(dataset):
    rows = dataset.indices("train")[::7]
    key_ids, words = dataset.key_ids[rows], [dataset.classes[label] for label in dataset.labels[rows]]
    labels = np.array([CLASSES.index(word) if word in CLASSES else -1 for word in words])
    assert n_among(key_ids, labels, CLASSES, dataset, "train") == {
        word: words.count(word) for word in ("star", "circle")
    }
    assert not n_among(key_ids, np.ones_like(labels), CLASSES, dataset, "train")  # all of a word that it has not
    assert not n_among(key_ids, labels, CLASSES, dataset, "val")


def test_order_and_first_points(dataset):
    drawings = LabelledDrawings.of_split(dataset, "test", dataset.classes[::-1])
    ordered = drawings.by_class()
    pairs = list(zip(ordered.labels.tolist(), ordered.indices.tolist(), strict=True))
    assert pairs == sorted(pairs) and sorted(ordered.indices) == sorted(drawings.indices)
    half = ordered.first_points(0.5)
    np.testing.assert_array_equal(half.labels, ordered.labels)
    np.testing.assert_array_equal(n_points_of(half.data, half.indices), np.ceil(dataset.n_points[ordered.indices] / 2))
