"""Distillation: targets, and what teachers say: their geometric mean, by word, kept in files that trainings share."""

import hashlib
from collections.abc import Callable, Sequence
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

from quickstroke.artifacts import cards, runs
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation, batches
from quickstroke.data.augmentation import STROKES, Augmentation
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.bitmap import to_bitmap
from quickstroke.errors import ConfigError, QuickstrokeError, WeightsError
from quickstroke.models import statistics
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training import distillation
from quickstroke.training.distillation import Targets, augmentation_seeds, mix_targets, open_targets
from quickstroke.utils.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")

Publish = Callable[..., Path]
OpenTargets = Callable[..., Targets]
FLAT = Augmentation()
# The training drawings of `dataset`: 40 of each word, followed by those of its other splits.
POOL = np.concatenate([np.arange(40) + 60 * word for word in range(3)])
DIGEST = hashlib.sha256(POOL.tobytes()).hexdigest()[:16]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Publishes a small model of random weights, far from uniform, in a folder of its own."""

    def go(
        name: str = "simple_lay1_sz6",
        classes: tuple[str, ...] = ("circle", "house", "star"),
        seed: int = 0,
        facts: dict[str, Any] | None = None,
        **options: Any,
    ) -> Path:
        torch.manual_seed(seed)
        model = StrokeClassifier(ModelConfig.from_name(name, n_classes=len(classes), **options)).eval()
        n_columns = model.bn.num_features
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape))
            model.bn.load_state_dict(model.bn.state_dict() | {"running_var": torch.full((n_columns,), 0.02)})
            model.linear.weight.mul_(3)
        folder = tmp_path / f"teacher{len(list(tmp_path.iterdir()))}"
        return write_model(folder, LoadedModel(model, classes, None, folder), facts or {})

    return go


@pytest.fixture
def opened(dataset: PreparedDataset, tmp_path: Path) -> OpenTargets:
    """Opens targets for the training drawings of the three words."""

    def go(
        *paths: Path,
        classes: tuple[str, ...] = ("circle", "house", "star"),
        change: Augmentation = FLAT,
        folder: str = "cache",
        data: PreparedDataset = dataset,
        precision: torch.dtype = torch.float32,
        augmented: bool = True,
    ) -> Targets:
        return open_targets(
            list(map(str, paths)), data, classes, change, tmp_path / folder, precision, augmented=augmented
        )

    return go


def probabilities(loaded: LoadedModel, data: PreparedDataset, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a model says of drawings as they are."""
    batch = batches.batch_of(data, indices, np.arange(3), loaded.max_padding, loaded.preprocessing)
    return loaded.probabilities(batch.points, batch.lengths)


def near(log_probs: NDArray[np.float16], theirs: Any) -> bool:
    """Whether logarithms are of these probabilities, to the rounding of 16 bits."""
    return np.allclose(np.exp(log_probs.astype(float)), theirs, rtol=2e-3, atol=1e-5)


def no_asking(n: int) -> None:
    pytest.fail("a teacher was asked")


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


@pytest.fixture
def bitmap_teacher(tmp_path: Path) -> Path:
    """A network that counts the ink in three bands of rows, as an ONNX file with its words beside it."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    bands = np.repeat(np.eye(3, dtype=np.float32), [9, 9, 10], axis=0)  # (28, 3)
    weights = np.repeat(bands, 28, axis=0) * 0.05  # (28 * 28, 3)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["bitmaps"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "bands",
        [helper.make_tensor_value_info("bitmaps", onnx.TensorProto.FLOAT, ["n", 28, 28, 1])],
        [helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "bands.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".classes.txt").write_text("star\ncircle\nhouse\n")
    path.with_suffix(".LICENSE").write_text("MIT License\n\nCopyright\n")
    return path


def of_bitmaps(data: PreparedDataset, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """What that network says: probabilities of circle, house and star."""
    return of_ink([data.strokes(i) for i in indices])


def of_ink(drawings: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.float64]:
    ink = np.stack([to_bitmap(strokes) for strokes in drawings]).sum(2) / 255  # (B, 28)
    logits = 0.05 * np.add.reduceat(ink, [0, 9, 18], axis=1)  # (B, 3): star, circle, house
    values = np.exp(logits - logits.max(1, keepdims=True))
    return (values / values.sum(1, keepdims=True))[:, [1, 2, 0]]


def test_a_bitmap_teacher_is_asked_about_the_augmented_drawings(
    opened: OpenTargets, bitmap_teacher: Path, dataset: PreparedDataset
) -> None:
    change = replace(FLAT, mixup=1.0, shear=0.4)
    seeds = augmentation_seeds(2, np.arange(120))
    candidates = augmentation.mixup_candidates(dataset, POOL, np.arange(3))
    points, lengths = augmentation.augmented_points(dataset, POOL, seeds, None, change, 100, "pos5", candidates)
    sheared = []
    for rows, n in zip(points, lengths, strict=True):
        xy = rows[:n, 2:4] - rows[:n, 2:4].min(axis=0)
        whole = np.round(255 * xy / xy.max()).astype(np.uint8)
        sheared.append(np.split(whole, np.flatnonzero(rows[: n - 1, 4]) + 1))
    assert abs(of_bitmaps(dataset, POOL) - of_ink(sheared)).max() > 0.1
    assert near(opened(bitmap_teacher, change=change).of(2, POOL), of_ink(sheared))


def test_a_bitmap_teacher_is_asked_once_about_drawings_as_they_stand(
    opened: OpenTargets, bitmap_teacher: Path, dataset: PreparedDataset
) -> None:
    counts: list[int] = []
    targets = opened(bitmap_teacher, change=STROKES, augmented=False)
    asked = targets.of(0, POOL, counts.append)
    assert near(asked, of_bitmaps(dataset, POOL))
    assert sum(counts) == len(POOL)
    assert targets.facts[0]["name"] == "bands"
    assert targets.facts[0]["licence"] == "MIT License"
    assert targets.facts[0]["sha256"] == sha256_of(bitmap_teacher)
    again = opened(bitmap_teacher, change=FLAT, augmented=False).of(1, POOL, no_asking)
    assert np.array_equal(again, asked)


def test_a_bitmap_teacher_and_one_of_strokes_have_a_mean(
    publish: Publish, opened: OpenTargets, bitmap_teacher: Path, dataset: PreparedDataset
) -> None:
    path = publish()
    mean = np.sqrt(of_bitmaps(dataset, POOL) * probabilities(load_model(path), dataset, POOL))
    assert near(opened(path, bitmap_teacher, augmented=False).of(0, POOL), mean / mean.sum(1, keepdims=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("star\ncircle\ncat\n", "does not know 1 of the classes, such as 'house'"),
        ("star\ncircle\n", r"answers of shape \(1, 3\), expected \(1, 2\)"),
        ("", "bands.classes.txt"),
    ],
)
def test_a_bitmap_teacher_of_other_words_is_refused(
    opened: OpenTargets, bitmap_teacher: Path, words: str, message: str
) -> None:
    bitmap_teacher.with_suffix(".classes.txt").write_text(words)
    with pytest.raises(QuickstrokeError, match=message):
        opened(bitmap_teacher)


def test_a_damaged_bitmap_teacher_is_refused(opened: OpenTargets, bitmap_teacher: Path) -> None:
    bitmap_teacher.write_bytes(bitmap_teacher.read_bytes()[:100])
    with pytest.raises(WeightsError, match=rf"^{bitmap_teacher}: cannot be run as a bitmap network: "):
        opened(bitmap_teacher)
    data = bitmap_teacher.read_bytes()
    bitmap_teacher.unlink()
    with pytest.raises(WeightsError, match=rf"^{bitmap_teacher}: cannot be run as a bitmap network: "):
        opened(bitmap_teacher)
    bitmap_teacher.write_bytes(data)
    bitmap_teacher.with_suffix(".classes.txt").unlink()
    with pytest.raises(
        WeightsError, match=r"a bitmap network needs .*bands\.classes\.txt, its words; in place of an exp"
    ):
        opened(bitmap_teacher)


def test_a_view_is_the_augmented_drawings_whatever_goes_together(
    publish: Publish, opened: OpenTargets, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = opened(publish(), change=STROKES)
    pool = dataset.indices("train")
    candidates = augmentation.mixup_candidates(dataset, pool, np.arange(3))
    points, lengths = augmentation.augmented_points(
        dataset, pool, augmentation_seeds(3, np.arange(120)), None, STROKES, 100, "delta3", candidates
    )
    expected = targets.teachers[0].loaded.probabilities(points, lengths)
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
