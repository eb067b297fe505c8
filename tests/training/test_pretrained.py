"""Weights to begin with: of one model, or the mean of several."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import CONFIG, MODEL, assert_same_run, stop_at, weights_of

from quickstroke.artifacts import loading
from quickstroke.config.model import ModelConfig
from quickstroke.errors import ConfigError, WeightsError
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training.loop import train
from quickstroke.training.pretrained import begin_with
from quickstroke.training.session import Interrupted

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rows_of_the_output_layer_are_copied_by_word(finished):
    folder = finished["default"]
    source = weights_of(folder / "best.model")  # circle, house, star
    model = StrokeClassifier(replace(MODEL, n_classes=4))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    begun = begin_with(model, ("star", "cat", "circle", "dog"), [str(folder)])
    weights = model.state_dict()
    assert set(begun.copied) == set(weights)
    assert (begun.source, begun.n_tensors, begun.n_words) == (MODEL.name, len(weights), 2)
    for key in ("linear.weight", "linear.bias"):
        assert torch.equal(weights[key][[0, 2]], source[key][[2, 0]])
        assert torch.equal(weights[key][[1, 3]], before[key][[1, 3]])
    for key in weights.keys() - {"linear.weight", "linear.bias"}:
        assert torch.equal(weights[key], source[key]), key


def test_what_has_another_shape_is_left_as_it_is(finished):
    model = StrokeClassifier(ModelConfig.from_name("lstm_cv1_4_5_lay1_sz5", n_classes=3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    begun = begin_with(model, ("circle", "house", "star"), [str(finished["default"])])
    left = model.state_dict().keys() - set(begun.copied)
    assert left == {"conv1.weight"} and begun.n_words == 3
    assert torch.equal(model.state_dict()["conv1.weight"], before["conv1.weight"])


def test_a_model_without_a_layer_of_the_same_shape_is_refused(dataset, finished, tmp_path):
    config = replace(CONFIG, pretrained=(str(finished["default"]),))
    with pytest.raises(ConfigError, match=r"has no layer of the shape that .*lay1_sz7 has"):
        train(ModelConfig.from_name("simple_lay1_sz7"), config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_several_models_it_is_the_mean(dataset, finished, tmp_path):
    train(MODEL, replace(CONFIG, seed=5), dataset, tmp_path / "other")
    paths = [str(finished["default"]), str(tmp_path / "other")]
    one, other = (weights_of(Path(path) / "best.model") for path in paths)
    model = StrokeClassifier(replace(MODEL, n_classes=3))
    begin_with(model, ("circle", "house", "star"), paths)
    for key, value in model.state_dict().items():
        expected = (one[key] + other[key]) / 2 if value.is_floating_point() else one[key]
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    assert not torch.equal(one["linear.weight"], other["linear.weight"])


def test_the_temperature_of_a_published_model_is_taken_back(finished, tmp_path):
    loaded = loading.load_model(finished["default"])
    trained = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    loaded.model.adjust_logits(1 / 0.5, torch.zeros(3))
    path = loading.write_model(tmp_path, loaded, {"calibration": {"temperature": 0.5, "tau": 0.0}})
    assert not torch.equal(weights_of(path)["linear.weight"], trained["linear.weight"])
    model = StrokeClassifier(replace(MODEL, n_classes=3))
    begin_with(model, loaded.classes, [str(path)])
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained[key]), key
    for temperature in (0, -1.0, "hot", None, float("nan")):
        loading.write_model(tmp_path, loaded, {"calibration": {"temperature": temperature}})
        with pytest.raises(WeightsError, match=r"its card tells the temperature .*; expected one above 0"):
            begin_with(model, loaded.classes, [str(path)])


def test_models_of_different_names_or_classes_have_no_mean(dataset, finished, tmp_path):
    first, model = str(finished["default"]), StrokeClassifier(replace(MODEL, n_classes=3))
    train(ModelConfig.from_name("simple_lay1_sz7"), CONFIG, dataset, tmp_path / "wider")
    train(MODEL, CONFIG, dataset, tmp_path / "fewer", train_classes=("star", "house"))
    for folder, what in (("wider", r"simple_lay1_sz7 of 3 classes"), ("fewer", r".* of 2 classes")):
        match = rf"^pretrained {tmp_path / folder}: is {what}, and {first} is .* of 3; only models of one name"
        with pytest.raises(ConfigError, match=match):
            begin_with(model, ("circle", "house", "star"), [first, str(tmp_path / folder)])


def test_a_run_begins_with_the_weights_that_it_is_given(dataset, finished, tmp_path):
    config = replace(CONFIG, pretrained=(str(finished["default"]),), learning_rate=1e-12)
    train(MODEL, replace(config, n_epochs=1), dataset, tmp_path / "run")
    ours, theirs = weights_of(tmp_path / "run" / "last.model"), weights_of(finished["default"] / "best.model")
    for key in ours:
        if not key.startswith("bn."):
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=1e-9)


def test_a_run_that_began_with_other_weights_resumes(dataset, finished, tmp_path):
    config = replace(CONFIG, pretrained=(str(finished["default"]),))
    train(MODEL, config, dataset, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(MODEL, config, dataset, tmp_path / "cut", watcher=stop_at(3))
    train(MODEL, config, dataset, tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
