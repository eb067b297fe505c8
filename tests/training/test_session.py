"""What a training is set up with: classes, data, device, precision, optimizer, batch norm's statistics."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from small_runs import CONFIG, MODEL, POOL_MODEL, assert_equal_weights, weights_of

from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.data import selection
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings, check_counts
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.errors import CategoryError, ConfigError, DatasetError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.scoring import evaluate as score
from quickstroke.formats import binary
from quickstroke.inference.recognizer import load
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.models.statistics import reestimate_batchnorm
from quickstroke.preparation.prepare import prepare
from quickstroke.runtime.device import pick_device
from quickstroke.training import optimizer as optimizer_module
from quickstroke.training.loop import train
from quickstroke.training.optimizer import Adam, Muon
from quickstroke.training.session import Watcher

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_final_state_is_short_in_a_notebook(dataset, tmp_path):
    seen = []
    state = train(MODEL, CONFIG, dataset, tmp_path / "run", watcher=Watcher(on_epoch=seen.append))
    assert seen == state.metrics and "val_top1" not in repr(state) and f"best={state.best}" in repr(state)


def test_a_subset_of_the_classes_in_another_order(dataset, tmp_path):
    state = train(MODEL, CONFIG, dataset, tmp_path / "run", train_classes=("star", "circle"))
    config = runs.read_config(tmp_path / "run")
    assert config.classes == ("star", "circle") and config.model.n_classes == 2
    assert config.data["n_by_split"]["train"] == 80
    assert (state.metrics[0]["n_train"], state.metrics[0]["n_val"]) == (80, 20)
    model = StrokeClassifier(config.model)
    model.load_state_dict(weights_of(tmp_path / "run" / "last.model"))
    indices = dataset.indices("val")
    indices = indices[np.isin(dataset.labels[indices], [0, 2])]
    result = evaluate(model, LabelledDrawings(dataset, indices, config.classes, np.array([1, -1, 0])))
    assert result.n == 20 and state.metrics[-1]["val_top1"] == result.top(1)


def test_classes_are_written_as_one_likes(dataset):
    assert selection.resolve_classes(dataset, ["Star", "circle"]) == ("star", "circle")
    assert selection.resolve_classes(dataset, None) == ("circle", "house", "star")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("circle", "cat"), "'cat' is not among the 3 classes"),
        (("stars",), "did you mean 'star'"),
        (("star", "star"), "twice"),
        ((), "no class"),
        (("star", ""), "empty"),
    ],
)
def test_classes_that_cannot_be_trained(dataset, tmp_path, classes, message):
    with pytest.raises(CategoryError, match=message):
        train(MODEL, CONFIG, dataset, tmp_path / "run", train_classes=classes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("split", "missing"), [(PositionSplit(0, 10, 0), "train"), (PositionSplit(10, 0, 0), "val")])
def test_a_dataset_without_training_or_validation_drawings(binary_folder, tmp_path, split, missing):
    prepare(binary_folder, tmp_path / "data", split=split)
    with pytest.raises(DatasetError, match=f"no drawing in split '{missing}'"):
        train(MODEL, CONFIG, PreparedDataset(tmp_path / "data"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classes_without_validation_drawings(drawings, tmp_path):
    """Fractions of few drawings may leave a class without any to validate on: a run of that class alone says so."""
    split = FractionSplit(0.8, 0.2, 0)
    in_train = split.assign(np.array([drawing.key_id for drawing in drawings["star"]], dtype=np.uint64)) == 1
    few = drawings | {"star": [drawings["star"][i] for i in np.flatnonzero(in_train)]}
    (tmp_path / "files").mkdir()
    for word, items in few.items():
        binary.write(tmp_path / "files" / f"{word}.bin", items)
    prepare(tmp_path / "files", tmp_path / "data", split=split)
    data = PreparedDataset(tmp_path / "data")
    assert data.manifest["n_by_class"]["star"]["val"] == 0 < data.manifest["n_by_class"]["house"]["val"]
    state = train(MODEL, replace(CONFIG, n_epochs=1), data, tmp_path / "all")
    assert 0 <= state.best <= 1 and state.metrics[0]["n_val"] == data.manifest["n_by_split"]["val"]
    with pytest.raises(DatasetError, match="val"):
        train(MODEL, CONFIG, data, tmp_path / "star", train_classes=("star",))
    assert not (tmp_path / "star").exists()


def test_counts_are_checked_against_the_dataset(dataset, binary_folder, tmp_path):
    names = ("n_train", "n_val", "n_test", "n_test_reserved")
    counts = dict(zip(names, (40, 10, 10, 0), strict=True))
    assert check_counts(dataset, counts) is None
    assert check_counts(dataset, dict.fromkeys(names)) is None
    for key in names:
        with pytest.raises(ConfigError, match=rf"{key} = 7 was asked for.*prepared with {key} = {counts[key]}"):
            check_counts(dataset, counts | {key: 7})
    prepare(binary_folder, tmp_path / "data")
    with pytest.raises(ConfigError, match="split by hash of key_id"):
        check_counts(PreparedDataset(tmp_path / "data"), {"n_train": 40, "n_val": None})


def test_cuda_where_there_is_none(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="finds no CUDA device"):
        train(MODEL, replace(CONFIG, device="cuda"), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert pick_device(replace(CONFIG, device="auto")) == torch.device("cpu")


def test_deterministic_operations_give_the_same_result(dataset, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen = []
    watcher = Watcher(on_step=lambda *progress: seen.append(torch.are_deterministic_algorithms_enabled()))
    train(MODEL, replace(CONFIG, deterministic=True), dataset, tmp_path / "run", watcher=watcher)
    assert all(seen) and seen
    assert not torch.are_deterministic_algorithms_enabled()
    assert_equal_weights(weights_of(tmp_path / "run" / "last.model"), weights_of(finished["default"] / "last.model"))


def test_a_model_too_large_to_train_is_refused_before_memory_is_taken(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"simple_lay1_sz60000 would have .* parameters; at most 1,000,000,000"):
        train(ModelConfig.from_name("simple_lay1_sz60000"), CONFIG, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", [MODEL.name, POOL_MODEL.name, "bipool_cv1_5_3_img2_lay2_sz3"])
def test_a_program_may_have_pytorch_take_another_type_by_default(dataset, tmp_path, request, kind, name):
    request.addfinalizer(partial(torch.set_default_dtype, torch.get_default_dtype()))
    strokes = dataset.strokes(0)
    before = load().predict(strokes)[0]
    torch.set_default_dtype(kind)
    train(ModelConfig.from_name(name), replace(CONFIG, dropout=0.1), dataset, tmp_path / "run")
    trained = load(tmp_path / "run")
    of_layers = trained.predict(strokes)[0]
    trained.compile()
    compiled = trained.predict(strokes)[0]
    assert 0 < score(tmp_path / "run", dataset).top(1) <= 1
    assert compiled.word == of_layers.word and compiled.probability == pytest.approx(of_layers.probability, abs=1e-5)
    now = load().predict(strokes)[0]
    assert now.word == before.word and now.probability == pytest.approx(before.probability, abs=1e-5)


def test_the_optimizer_is_the_one_asked_for():
    model = StrokeClassifier(POOL_MODEL)
    config = replace(CONFIG, weight_decay=0.1)
    assert type(optimizer_module.optimizer_of(config, model)) is Adam
    for precision in ("float32", "bfloat16"):
        muon = optimizer_module.optimizer_of(replace(config, optimizer="muon", precision=precision), model)
        assert (type(muon), muon.learning_rate) == (Muon, config.learning_rate)
        assert muon._precision == getattr(torch, precision)


def test_fixed_normalization_is_that_of_all_training_drawings(dataset, tmp_path):
    config = replace(CONFIG, normalization="fixed")
    train(POOL_MODEL, config, dataset, tmp_path / "run")
    expected = StrokeClassifier(replace(POOL_MODEL, n_classes=3, max_padding=30))
    reestimate_batchnorm(expected, dataset, dataset.indices("train"))
    weights = weights_of(tmp_path / "run" / "last.model")
    for key in ("running_mean", "running_var"):
        assert torch.equal(weights[f"bn.{key}"], expected.bn.state_dict()[key])
    train(POOL_MODEL, CONFIG, dataset, tmp_path / "batch")
    assert not torch.equal(weights_of(tmp_path / "batch" / "last.model")["bn.running_mean"], expected.bn.running_mean)
