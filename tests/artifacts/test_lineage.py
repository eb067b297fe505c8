"""The trainings that weights come from."""

import pytest
from kept_models import CLASSES, NAME, new_model, publish

from quickstroke.artifacts import runs, weight_files
from quickstroke.artifacts.lineage import TrainingsBefore, trainings_before
from quickstroke.artifacts.loading import load_model
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.training import TrainConfig
from quickstroke.export import safetensors

pytestmark = pytest.mark.usefixtures("one_thread")


def run_of(folder, seconds, *pretrained):
    """A run folder of one epoch that took so long, and began with those weights."""
    folder.mkdir()
    data = {"path": "data", "manifest_sha256": "ab" * 32, "split": {"rule": "position"}, "n_by_split": {"train": 4}}
    config = TrainConfig(pretrained=tuple(map(str, pretrained)))
    runs.write_config(folder, RunConfig(new_model().config, config, CLASSES, data))
    runs.write_metrics(folder, [{**dict.fromkeys((*runs.METRICS, "val_top1"), 1.0), "seconds": seconds}])
    return folder


def test_of_the_trainings_before_each_counts_once(tmp_path):
    first = run_of(tmp_path / "first", 1)
    second = run_of(tmp_path / "second", 20, first)
    third = run_of(tmp_path / "third", 300, first / "last.model", second / "best.model")
    paths = (str(second), str(third), str(third / "last.model"))
    assert trainings_before(TrainConfig(pretrained=paths)) == TrainingsBefore(3, 321, ())
    assert trainings_before(TrainConfig()) == TrainingsBefore(0, 0, ())


def test_a_published_model_tells_its_training_and_what_that_began_with(tmp_path):
    first = run_of(tmp_path / "first", 1)
    path = publish(tmp_path / "lstm", facts={"training": {"seconds": 20.0, "pretrained": [str(first)]}})
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(2, 21, ())


def test_a_safetensors_file_tells_as_much(tmp_path):
    first = run_of(tmp_path / "first", 1)
    path = publish(tmp_path / "lstm", facts={"training": {"seconds": 20.0, "pretrained": [str(first)]}})
    single = tmp_path / f"{NAME}.safetensors"
    safetensors.write(load_model(path), single)
    assert trainings_before(TrainConfig(pretrained=(str(single),))) == TrainingsBefore(2, 21, ())


def test_a_card_counts_beside_a_foreign_config(tmp_path):
    path = publish(tmp_path, facts={"training": {"seconds": 20.0}})
    (tmp_path / "config.json").write_text("{}")
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(1, 20, ())


def test_a_card_is_believed_where_what_it_began_with_is_gone(tmp_path):
    before = {"trainings": 2, "seconds": 500.0, "missing": ["runs/x"]}
    path = publish(tmp_path, facts={"training": {"seconds": 20.0, "pretrained": ["runs/gone"], "before": before}})
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(3, 520, ("runs/x",))


def test_the_first_cards_name_one_path_as_a_text(tmp_path):
    first = run_of(tmp_path / "first", 1)
    path = publish(tmp_path / "lstm", facts={"training": {"seconds": 20.0, "pretrained": str(first)}})
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(2, 21, ())


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"seconds": "long"},
        {"seconds": float("nan")},
        {"seconds": -1.0},
        {"seconds": 1.0, "pretrained": [3]},
        {"seconds": 1.0, "before": {"trainings": 1, "seconds": float("inf"), "missing": []}},
        {"seconds": 1.0, "before": {"trainings": -1, "seconds": 1.0, "missing": []}},
        {"seconds": 1.0, "before": [1]},
        [],
    ],
)
def test_a_card_that_tells_nothing_of_use_is_named(tmp_path, training):
    path = publish(tmp_path, facts={"training": training})
    for text in (str(path), ".", ""):
        assert trainings_before(TrainConfig(pretrained=(text,))) == TrainingsBefore(0, 0, (text,))


def test_what_is_not_known_of_the_trainings_before_is_named(tmp_path):
    bare = tmp_path / "simple_lay1_sz3.model"
    weight_files.save_weights(bare, new_model(bare.stem, n_classes=100).state_dict())
    damaged = run_of(tmp_path / "damaged", 1)
    (damaged / "metrics.jsonl").write_text("{")
    gone = tmp_path / "gone"
    whole = run_of(tmp_path / "whole", 4, gone, bare)
    before = trainings_before(TrainConfig(pretrained=tuple(map(str, (whole, damaged, gone)))))
    assert before == TrainingsBefore(1, 4, tuple(map(str, (damaged, gone, bare))))
