"""A split as a PyTorch dataset: what a training loop of one's own gets, in this process and in workers."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import quickstroke as qs
from quickstroke.data import augmentation, batches
from quickstroke.data.torch_data import PaddedBatch, Sample, SplitDataset, collate
from quickstroke.errors import ArgumentTypeError, CategoryError, DatasetError

POOLED = qs.ModelConfig.from_name("bipool_cv1_4_3_lay1_sz4", max_padding=12)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_samples_are_what_the_library_trains_on(dataset):
    for config in (qs.ModelConfig(), POOLED):
        split = dataset.split("val", config)
        indices = dataset.indices("val")
        expected = batches.batch_of(dataset, indices, np.arange(3), config.max_padding, config.preprocessing)
        assert isinstance(split, Dataset) and len(split) == 30 and split.indices.tolist() == indices.tolist()
        assert split.labels.tolist() == expected.labels.tolist()
        for sample, padded, n, label in zip(split, *expected, strict=True):
            points, own = sample
            assert isinstance(sample, Sample) and type(own) is int and own == label
            assert points.dtype == torch.float32 and points.shape == (n, padded.shape[1])
            assert torch.equal(points, torch.from_numpy(padded[:n]))
        batch = collate([split[i] for i in range(30)])
        for one, other in zip(batch, expected, strict=True):
            assert one.dtype in (torch.float32, torch.int64) and torch.equal(one, torch.from_numpy(other))


def test_places_are_those_of_a_list(dataset):
    split = dataset.split("test")
    assert torch.equal(split[-1].points, split[29].points) and torch.equal(split[-30].points, split[0].points)
    assert torch.equal(split[np.int64(3)].points, split[torch.tensor(3)].points)
    for place in (30, -31, 10**30):
        with pytest.raises(IndexError, match=f"no drawing {place}: the split 'test' has 30"):
            split[place]
    for place in ("1", 1.0, None, [1]):
        with pytest.raises(ArgumentTypeError, match="a place should be a whole number or a slice"):
            split[place]
    part = split[25:3:-2]
    assert (
        isinstance(part, SplitDataset) and len(part) == 11 and part.indices.tolist() == split.indices[25:3:-2].tolist()
    )
    assert torch.equal(part[1:][0].points, split[23].points) and part.labels.tolist() == split.labels[25:3:-2].tolist()
    assert split[::-1].indices.tolist() == split.indices[::-1].tolist()
    assert len(split[40:]) == 0 and list(split[40:]) == [] and split[:].indices.tolist() == split.indices.tolist()


def test_some_classes_in_an_order_of_ones_own(dataset):
    split = dataset.split("train", classes=["star", "circle"])
    assert split.classes == ("star", "circle") and len(split) == 80
    words = [dataset.classes[label] for label in dataset.labels[split.indices]]
    assert [split.classes[label] for label in split.labels] == words == ["circle"] * 40 + ["star"] * 40
    with pytest.raises(CategoryError, match="'cat' is not among the 3"):
        dataset.split("train", classes=["cat"])
    with pytest.raises(DatasetError, match="no split 'training'"):
        dataset.split("training")
    with pytest.raises(DatasetError, match="no drawing in split 'reserved'"):
        dataset.split("reserved")


def test_what_they_look_like(dataset):
    assert repr(dataset) == f"<PreparedDataset {dataset.path}: 180 drawings of 3 words; train 120, val 30, test 30>"
    said = repr(dataset.split("val", POOLED)[:7])
    assert said == f"<SplitDataset val of {dataset.path}: 7 drawings of 3 words; points (T, 5), T up to 12>"


def test_a_batch_of_single_points_has_a_step():
    batch = collate([Sample(torch.empty(0, 3), 1), Sample(torch.empty(0, 3), 0)])
    assert isinstance(batch, PaddedBatch) and batch.points.shape == (2, 1, 3) and not batch.points.any()
    assert batch.lengths.tolist() == [0, 0] and batch.labels.tolist() == [1, 0]
    for wrong in (
        [],
        [5],
        None,
        "ab",
        [(torch.empty(3), 1)],
        [(torch.empty(0, 3), "cat")],
        [(torch.empty(0, 3), True)],
        [(torch.empty(0, 3), torch.tensor(2.7))],
        [(torch.empty(0, 3),)],
    ):
        with pytest.raises(ArgumentTypeError):
            collate(wrong)
    with pytest.raises(ArgumentTypeError, match=r"the same columns in all samples, got \[1, 3\]"):
        collate([(torch.zeros(4, 3), 0), (torch.zeros(4, 1), 1)])


def test_points_that_one_changed_oneself_make_a_batch(dataset):
    split = dataset.split("val", POOLED)
    changed = [(points * 2, label) for points, label in split[:5]]
    batch, before = collate(changed), collate(list(split[:5]))
    assert torch.equal(batch.points, before.points * 2) and torch.equal(batch.labels, before.labels)
    assert torch.equal(
        collate([[split[0].points, torch.tensor(2)], split[1]]).labels, torch.tensor([2, split[1].label])
    )


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_map_the_files_again(dataset, context):
    split = dataset.split("train", POOLED)[10:60]
    sent = pickle.dumps(split)
    assert len(sent) < 20_000  # neither the arrays nor the indices
    assert torch.equal(pickle.loads(sent)[-1].points, split[-1].points)
    loaders = [
        DataLoader(split, 16, collate_fn=split.collate, num_workers=n, multiprocessing_context=context if n else None)
        for n in (0, 1 if context == "spawn" else 2)
    ]
    here, there = ([*loader] for loader in loaders)
    assert len(here) == len(there) == 4
    for batch, same in zip(here, there, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(batch, same, strict=True))


@pytest.mark.parametrize("kind", ["strokes", "geometric"])
def test_drawings_are_augmented_as_a_training_does_it(dataset, kind):
    options = qs.TrainConfig(augment=kind, augment_magnitude=0.5, prefix_truncation=0.5)
    split = dataset.split("train", POOLED, augment=options)
    torch.manual_seed(3)
    samples = [split[i] for i in (5, 5, 70)]
    torch.manual_seed(3)
    candidates = augmentation.mixup_candidates(dataset, split.indices, np.arange(3))
    for sample, i in zip(samples, (5, 5, 70), strict=True):
        geometric, strokes = torch.randint(2**63 - 1, (2, 1)).numpy().astype(np.uint64)
        expected, _ = augmentation.augmented_points(
            dataset,
            split.indices[i : i + 1],
            geometric,
            strokes if kind == "strokes" else None,
            augmentation.change_of(options),
            POOLED.max_padding,
            "pos5",
            candidates,
        )
        assert torch.equal(sample.points, torch.from_numpy(expected[0])) and sample.label == split.labels[i]
    assert not torch.equal(samples[0].points, samples[1].points)
    plain = dataset.split("train", POOLED, augment=qs.TrainConfig(augment="none"))
    assert torch.equal(plain[5].points, dataset.split("train", POOLED)[5].points)
    with pytest.raises(ArgumentTypeError, match="augment should be a TrainConfig, got 'strokes'"):
        dataset.split("train", augment="strokes")


def test_workers_augment_each_in_its_own_way_and_repeatably(dataset):
    split = dataset.split("train", augment=qs.TrainConfig(augment="strokes"))[:8]
    torch.manual_seed(1)
    first, second = (
        torch.cat([points.flatten() for points, *_ in DataLoader(split, 4, collate_fn=collate, num_workers=2)])
        for _ in range(2)
    )
    torch.manual_seed(1)
    again = torch.cat([points.flatten() for points, *_ in DataLoader(split, 4, collate_fn=collate, num_workers=2)])
    assert torch.equal(first, again) and not (len(first) == len(second) and torch.equal(first, second))


def test_who_only_prepares_needs_no_pytorch(dataset):
    code = f"""
import sys
import quickstroke as qs
data = qs.PreparedDataset({str(dataset.path)!r})
repr(data), data.strokes(0)
assert "torch" not in sys.modules
sys.modules["torch"] = None
try:
    data.split("train")
except qs.QuickstrokeError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.startswith("PreparedDataset.split needs") and "quickstroke[torch]" in result.stdout, result


def test_the_loop_of_the_documentation_learns(dataset, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "howto" / "pytorch.md").read_text()
    (code,) = re.findall(r"<!-- tests/data/test_torch_data.py runs this -->\n```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) <= 32
    (tmp_path / "data").symlink_to(dataset.path)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    values: dict = {}
    exec(code, values)
    assert values["accuracy"] > 0.8
