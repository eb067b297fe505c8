"""Teachers that look at bitmaps: asked about drawings as they are augmented, alone or beside others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from teachers import FLAT, POOL, OpenTargets, Publish, near, no_asking, probabilities

from quickstroke.artifacts.loading import load_model
from quickstroke.data import augmentation
from quickstroke.data.augmentation import STROKES
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.bitmap import to_bitmap
from quickstroke.errors import QuickstrokeError, WeightsError
from quickstroke.training.distillation import augmentation_seeds
from quickstroke.utils.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")


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
