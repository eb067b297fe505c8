"""Distillation: targets, and what teachers say: their geometric mean, by word, kept in files that trainings share."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from teachers import FLAT, POOL, OpenTargets, Publish, near, no_asking, probabilities

from quickstroke.artifacts import cards, runs
from quickstroke.artifacts.loading import load_model
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation
from quickstroke.data.augmentation import STROKES
from quickstroke.data.dataset import PreparedDataset
from quickstroke.errors import ConfigError
from quickstroke.models import statistics
from quickstroke.training import distillation
from quickstroke.training.distillation import augmentation_seeds, mix_targets, open_targets
from quickstroke.utils.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")

DIGEST = hashlib.sha256(POOL.tobytes()).hexdigest()[:16]


@st.composite
def log_probs(draw: st.DrawFn) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Logarithms of probabilities (B, K), and labels (B,), some of them -1."""
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    raw = draw(hnp.arrays(np.float64, (n, k), elements=st.floats(0.001, 1)))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(-1, k - 1)))
    return np.log(raw / raw.sum(1, keepdims=True)).astype(np.float16), labels


@given(
    taught=log_probs(),
    weight=st.floats(0, 1),
    temperature=st.floats(0.5, 5),
    smoothing=st.floats(0, 0.9),
)
def test_targets_are_a_mixture_of_teacher_and_label(
    taught: tuple[NDArray[np.float16], NDArray[np.int64]],
    weight: float,
    temperature: float,
    smoothing: float,
) -> None:
    logarithms, labels = taught
    targets = mix_targets(logarithms, labels, weight, temperature, smoothing)
    assert targets.dtype == torch.float32
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-5)
    for row, label, target in zip(logarithms.astype(float), labels, targets, strict=True):
        teacher = np.exp(row / temperature) / np.exp(row / temperature).sum()
        truth = np.eye(len(row))[label] * (1 - smoothing) + smoothing / len(row)
        expected = teacher if label < 0 else weight * teacher + (1 - weight) * truth
        np.testing.assert_allclose(target, expected, rtol=1e-4, atol=1e-6)


def test_targets_do_not_change_the_log_probabilities() -> None:
    log_probs = np.log(np.array([[0.5, 0.5], [0.25, 0.75]])).astype(np.float16)
    before = log_probs.copy()
    mix_targets(log_probs, np.array([0, -1]), 0.5, 2.0, 0.1)
    assert np.array_equal(log_probs, before)


def test_above_a_temperature_of_one_targets_say_more_of_the_rest() -> None:
    log_probs, labels = np.log(np.array([[0.9, 0.09, 0.01]])).astype(np.float16), np.array([-1])
    sharp, plain, soft = (mix_targets(log_probs, labels, 1.0, t, 0.0)[0].tolist() for t in (0.5, 1.0, 3.0))
    assert sharp[0] > plain[0] > soft[0] > soft[1] > soft[2] > plain[2] > sharp[2]


def test_a_high_temperature_brings_up_what_is_all_but_impossible() -> None:
    log_probs, labels = np.array([[0.0, -18.0, -24.0]], np.float16), np.array([-1])
    target = mix_targets(log_probs, labels, 1.0, 6.0, 0.0)[0].numpy()
    np.testing.assert_allclose(target, np.exp([0, -3, -4]) / np.exp([0, -3, -4]).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simple_lay1_sz6", {}),
        ("bilstm_cv1_4_3_lay1_sz5", {"max_padding": 20}),
        ("bipool_cv1_4_3_2_lay1_sz5", {"max_padding": 30}),
    ],
)
def test_a_teacher_says_what_it_says_of_the_drawings(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset, name: str, options: dict[str, Any]
) -> None:
    targets = opened(publish(name, **options))
    values = targets.of(0, POOL)
    assert values.shape == (120, 3) and values.dtype == np.float16
    assert near(values, probabilities(targets.teachers[0].loaded, dataset, dataset.indices("train")))
    assert np.ptp(np.exp(values), axis=0).max() > 0.05


def test_several_teachers_say_their_geometric_mean(publish: Publish, opened: OpenTargets) -> None:
    paths = [publish(), publish("bipool_lay1_sz4", seed=1), publish(seed=2)]
    mean = np.exp(np.mean([opened(path).of(0, POOL).astype(float) for path in paths], axis=0))
    assert near(opened(*paths).of(0, POOL), mean / mean.sum(1, keepdims=True))


def test_columns_go_by_word_and_other_words_are_left_out(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset
) -> None:
    path = publish(classes=("cat", "star", "circle", "dog", "house"))
    targets = opened(path, classes=("circle", "star"))
    theirs = probabilities(targets.teachers[0].loaded, dataset, dataset.indices("train"))[:, [2, 1]]
    assert near(targets.of(0, POOL), theirs / theirs.sum(1, keepdims=True))


def test_a_teacher_that_lacks_classes_is_refused(publish: Publish, opened: OpenTargets) -> None:
    path = publish(classes=("circle", "cat"))
    with pytest.raises(
        ConfigError, match=rf"^teacher {path}: does not know 2 of the classes, such as 'house'; one that"
    ):
        opened(path)
    path = publish(classes=("cat", "dog"))
    with pytest.raises(ConfigError, match=rf"^teacher {path}: does not know 3 of the classes, such as 'circle'$"):
        opened(publish(), path)


def test_a_teacher_of_some_words_shares_out_what_the_others_give_them(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset
) -> None:
    every, some = publish(), publish(classes=("star", "circle"), seed=1)
    asked = opened(some, every).of(0, POOL)
    of_all = probabilities(load_model(every), dataset, POOL)
    of_some = probabilities(load_model(some), dataset, POOL)[:, ::-1]  # circle, star
    pair = np.sqrt(of_all[:, [0, 2]] * of_some)  # up to what both have in common
    pair /= pair.sum(1, keepdims=True)
    expected = of_all.copy()
    expected[:, [0, 2]] = pair * of_all[:, [0, 2]].sum(1, keepdims=True)
    is_house = dataset.labels[POOL] == 1
    expected[is_house] = of_all[is_house]
    assert near(asked, expected)


def test_teachers_may_be_asked_once_about_drawings_as_they_stand(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset
) -> None:
    every, some = publish(), publish(classes=("star", "circle"), seed=1)
    targets = opened(some, every, change=STROKES, augmented=False)
    expected = opened(some, every).of(0, POOL)
    counts: list[int] = []
    np.testing.assert_allclose(targets.of(0, POOL, counts.append), expected, rtol=5e-3)  # rounded to 16 bits twice
    assert sum(counts) == len(POOL) + np.isin(dataset.labels[POOL], [0, 2]).sum()
    np.testing.assert_allclose(targets.of(7, POOL[::-1], no_asking), expected[::-1], rtol=5e-3)
    # What they answered serves trainings with any augmentation.
    again = opened(some, every, change=FLAT, augmented=False)
    np.testing.assert_allclose(again.of(0, POOL, no_asking), expected, rtol=5e-3)


def test_a_view_is_the_augmented_drawings_whatever_goes_together(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = opened(publish(), change=STROKES)
    pool = dataset.indices("train")
    candidates = augmentation.mixup_candidates(dataset, pool, np.arange(3))
    points, lengths = augmentation.augmented_points(
        dataset, pool, augmentation_seeds(3, np.arange(120)), None, STROKES, 100, "delta3", candidates
    )
    expected = targets.teachers[0].loaded.outputs(points, lengths).probabilities
    assert near(targets.of(3, POOL), expected)
    monkeypatch.setattr(distillation, "_BATCH_SIZE", 7)
    assert near(opened(publish(), change=STROKES, folder="again").of(3, POOL), expected)


def test_views_differ_where_there_is_augmentation(publish: Publish, opened: OpenTargets) -> None:
    path = publish()
    plain, augmented = opened(path), opened(path, change=STROKES)
    assert np.array_equal(plain.of(0, POOL), plain.of(1, POOL))
    assert not near(augmented.of(0, POOL), np.exp(augmented.of(1, POOL)))
    assert plain.folder != augmented.folder


def test_a_drawing_that_comes_twice_has_two_views(publish: Publish, opened: OpenTargets) -> None:
    twice = np.repeat(POOL[:5], 2)
    values = opened(publish(), change=STROKES).of(0, twice)
    assert not any(near(values[k], np.exp(values[k + 1])) for k in range(0, 10, 2))
    plain = opened(publish()).of(0, twice)
    assert np.array_equal(plain[::2], plain[1::2])


def test_every_drawing_is_asked_about_once(publish: Publish, opened: OpenTargets) -> None:
    asked: list[int] = []
    opened(publish()).of(0, POOL, asked.append)
    assert sum(asked) == 120


def test_a_view_is_kept_for_every_training_with_the_same_key(publish: Publish, opened: OpenTargets) -> None:
    path = publish()
    first = opened(path).of(2, POOL)
    again = opened(path)
    assert [file.name for file in again.folder.iterdir()] == [f"2-{DIGEST}.npy"]
    assert np.array_equal(again.of(2, POOL, no_asking), first)
    assert again.of(2, POOL[1:]).shape == (119, 3)
    assert len(list(again.folder.iterdir())) == 2


def test_another_key_has_another_folder(
    publish: Publish, opened: OpenTargets, binary_folder: Path, tmp_path: Path
) -> None:
    from quickstroke.data.splits import PositionSplit
    from quickstroke.preparation.prepare import prepare

    path, other = publish(), publish(seed=1)
    prepare(binary_folder, tmp_path / "fewer", split=PositionSplit(30, 10, 10))
    targets = [
        opened(path),
        opened(other),
        opened(path, other),
        opened(other, path),
        opened(path, classes=("house", "circle", "star")),
        opened(path, change=replace(FLAT, rotation=0.1)),
        opened(path, data=PreparedDataset(tmp_path / "fewer")),
        opened(path, precision=torch.bfloat16),
    ]
    assert len({each.folder for each in targets}) == len(targets)
    assert {each.folder.parent for each in targets} == {tmp_path / "cache"}


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "shape", "type", "missing"])
def test_a_file_that_is_no_such_view_is_computed_again(publish: Publish, opened: OpenTargets, damage: str) -> None:
    targets = opened(publish())
    expected = np.array(targets.of(0, POOL))
    path = targets.folder / f"0-{DIGEST}.npy"
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "text":
        path.write_text("no array")
    elif damage == "shape":
        np.save(path, expected[1:])
    elif damage == "type":
        np.save(path, expected.astype(np.float32))
    else:
        path.unlink()
    assert np.array_equal(targets.of(0, POOL), expected)
    assert np.array_equal(targets.of(0, POOL, no_asking), expected)


def test_what_is_interrupted_leaves_no_file(publish: Publish, opened: OpenTargets) -> None:
    class Stop(Exception):
        pass

    def stop(n: int) -> None:
        raise Stop

    targets = opened(publish())
    with pytest.raises(Stop):
        targets.of(0, POOL, stop)
    assert not targets.folder.exists()


def test_teachers_are_named_for_the_run_and_the_card(publish: Publish, opened: OpenTargets) -> None:
    facts = {"figures": {"val": {"top1": 0.5}}, "licence": "MIT", "data": {"n": 3}}
    paths = [publish(facts=facts), publish("bipool_lay1_sz4")]
    assert opened(*paths).facts == [
        {"name": "simple_lay1_sz6", "sha256": sha256_of(paths[0]), "licence": "MIT", "trained_on": {"n": 3}},
        {"name": "bipool_lay1_sz4", "sha256": sha256_of(paths[1]), "licence": "", "trained_on": ""},
    ]


def test_a_run_says_what_its_card_would(publish: Publish, opened: OpenTargets, dataset: PreparedDataset) -> None:
    path = publish()
    loaded, data = load_model(path), runs.describe_data(dataset, ("circle", "house", "star"))
    runs.write_config(path.parent, RunConfig(loaded.model.config, TrainConfig(), loaded.classes, data))
    path.with_suffix(".json").unlink()
    (fact,) = opened(path.rename(path.parent / "best.model").parent).facts
    assert fact["licence"] == cards.LICENCE
    assert fact["trained_on"] == {key: value for key, value in data.items() if key != "path"}


def test_a_bare_file_has_the_licence_that_lies_beside_it(shared: Path, dataset: PreparedDataset) -> None:
    path = shared / "models" / "seed" / "simple_lay1_sz64.model"
    (fact,) = open_targets([str(path)], dataset, ("circle", "star"), FLAT, Path("unused"), torch.float32).facts
    assert (fact["name"], fact["sha256"]) == ("simple_lay1_sz64", sha256_of(path))
    assert fact["licence"] == (path.parent / "LICENSE").read_text().strip().splitlines()[0]
    assert "20,000 of each of its 100 categories" in fact["trained_on"]


def test_teachers_take_no_gradient(publish: Publish, opened: OpenTargets) -> None:
    model = opened(publish()).teachers[0].loaded.model
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize(("reading", "again"), [("padded", True), ("length-aware", False)])
def test_only_a_padded_teachers_statistics_are_estimated_again(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset, reading: str, again: bool
) -> None:
    path = publish(reading=reading)
    teacher, untouched = opened(path).teachers[0].loaded.model, load_model(path).model
    if again:
        statistics.reestimate_batchnorm(untouched, dataset, dataset.indices("train"))
    torch.testing.assert_close(dict(teacher.named_buffers()), dict(untouched.named_buffers()))


def test_statistics_are_of_a_few_drawings_of_each_known_class(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "_DRAWINGS_A_CLASS", 4)
    seen: list[Any] = []
    monkeypatch.setattr(statistics, "reestimate_batchnorm", lambda model, data, indices: seen.append(indices))
    opened(publish(reading="padded"), classes=("star", "circle"))
    (indices,) = seen
    pool = dataset.indices("train")
    expected = [pool[dataset.labels[pool] == label][:4] for label in (0, 2)]
    assert sorted(indices.tolist()) == sorted(np.concatenate(expected).tolist())


def test_a_padded_teacher_in_bfloat16_says_nearly_the_same(publish: Publish, opened: OpenTargets) -> None:
    path = publish(reading="padded", max_padding=20)
    exact, rounded = (
        opened(path, folder=str(precision), precision=precision).of(0, POOL)
        for precision in (torch.float32, torch.bfloat16)
    )
    assert not np.array_equal(exact, rounded)
    assert np.abs(np.exp(exact.astype(float)) - np.exp(rounded)).max() < 0.1
