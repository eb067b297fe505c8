"""The space of a search: what may be declared, and the models and trainings of its values."""

from pathlib import Path

import pytest
from searches import MODEL, one_line, tune

from quickstroke.config.recipes import RECIPES
from quickstroke.errors import ConfigError, ModelNameError, RunError
from quickstroke.tuning import space
from quickstroke.tuning import study as study_module


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"lr": 1}, "x.toml: unknown key 'lr'; expected augment, augment_magnitude"),
        ({"bidirectional": [True, False]}, "unknown key 'bidirectional'"),
        ({"batch_size": "many"}, "x.toml: batch_size should be int, got 'many'"),
        ({"batch_size": {"low": 1.5, "high": 3}}, "x.toml: batch_size: low should be int, got 1.5"),
        ({"dropout": {"low": 0.3, "high": 0.1}}, "dropout: an empty range: low should be below high, got 0.3 and 0.1"),
        ({"dropout": {"low": 0.3}}, "dropout: a range needs 'high'"),
        ({"dropout": {"low": 0, "high": float("nan")}}, "dropout: high should be a finite number"),
        ({"dropout": {"low": 0, "high": 0.5, "lgo": True}}, "dropout: unknown 'lgo' in a range"),
        ({"dropout": {"low": 0, "high": 0.5, "log": 1}}, "dropout: log should be true or false"),
        ({"dropout": {"low": 0, "high": 0.5, "log": True}}, "dropout: low should be above 0 where log = true"),
        ({"dropout": {"low": 0, "high": 0.5, "step": 0.6}}, "dropout: step should be above 0 and at most"),
        ({"dropout": {"low": 0.1, "high": 0.5, "step": 0.1, "log": True}}, "dropout: step does not go with log"),
        ({"dropout": {"low": 0, "high": 1.5}}, "x.toml: dropout should be from 0 to below 1, got 1.5"),
        ({"dropout": [0.1, 2]}, "x.toml: dropout should be from 0 to below 1, got 2"),
        ({"dropout": []}, "dropout: an empty list"),
        ({"dropout": [0.1, 0.1]}, "dropout: 0.1 stands there twice"),
        ({"dropout": [0.1, "much"]}, "dropout: should be a finite number, got 'much'"),
        ({"schedule": {"low": 1, "high": 2}}, "schedule: a range is for numbers"),
        ({"n_layers": {"low": 0, "high": 2}}, "n_layers should be above 0, got 0"),
        ({"conv1": [[8, 5], [8]]}, "conv1: should be"),
        ({"image": [8, 16]}, "x.toml: image = 8: an image needs readout 'pool'"),
        ({"batch_size": [64, 128], "dropout": 2}, "x.toml: dropout should be from 0 to below 1, got 2"),
        ({"batch_size": 64}, "x.toml: every value is fixed"),
        ({}, "every value is fixed"),
    ],
)
def test_a_space_that_cannot_be_is_refused(declared, message):
    with pytest.raises(ConfigError) as error:
        space.declare([MODEL], declared, {}, "x.toml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_space_needs_models():
    with pytest.raises(ConfigError, match="no model to try"):
        space.declare([], space.DEFAULT, {}, "x")
    with pytest.raises(ModelNameError, match="'nonsense'"):
        space.declare([MODEL, "nonsense"], space.DEFAULT, {}, "x")
    with pytest.raises(ConfigError, match="twice"):
        space.declare([MODEL, MODEL], space.DEFAULT, {}, "x")


def test_values_make_a_model_and_a_training():
    declared = {
        "recipe": ["default", "strong"],
        "n_layers": {"low": 1, "high": 3},
        "conv1": [[8, 5], [16, 5]],
        "dropout": {"low": 0, "high": 0.45, "step": 0.1},
        "batch_size": {"low": 16, "high": 64},
        "max_grad_norm": 1,
    }
    searched = space.declare(["simple_lay1_sz8", "bilstm_lay1_sz16"], declared, {"batch_size": 7}, "x")
    assert searched.fixed == {"max_grad_norm": 1, "batch_size": 7}  # given on the command line, so no longer tried
    assert set(searched.tuned) == {"model", "recipe", "n_layers", "conv1", "dropout"}
    assert searched.tuned["dropout"].high == pytest.approx(0.4)
    values = {"model": "bilstm_lay1_sz16", "recipe": "strong", "n_layers": 2, "conv1": (16, 5), "dropout": 0.1}
    model_config, config = searched.trial(values)
    assert model_config.name == "bilstm_cv1_16_5_lay2_sz16"
    assert (config.batch_size, config.max_grad_norm, config.dropout) == (7, 1, 0.1)
    assert config.ema_decay == RECIPES["strong"]["ema_decay"]


def test_an_image_may_be_of_several_sizes():
    searched = space.declare(["bipool_lay1_sz8"], {"image": [8, 16]}, {}, "x")
    model_config, _ = searched.trial({"image": 16})
    assert model_config.name == "bipool_img16_lay1_sz8"


def test_a_study_of_another_version_with_other_recipes_is_not_gone_on_with():
    spec = space.declare([MODEL], space.DEFAULT, {}, "x").to_json()
    assert spec["recipes"] == {"default": RECIPES["default"]}
    before = {key: value for key, value in spec.items() if key != "recipes"}
    with pytest.raises(RunError, match=r"was started with recipes = None, cannot go on with \{'default'"):
        study_module._check_same(Path("study"), spec, before)


def test_a_space_may_name_a_former_recipe():
    for former, now, n_layers in (("seed", "2020", 1), ("quick", "default", 2)):
        searched = space.declare(["simple_lay1_sz8"], {"recipe": former, "n_layers": [1, 2]}, {}, "x")
        model_config, config = searched.trial({"n_layers": n_layers})
        assert (config.recipe, config.n_epochs, model_config.n_layers) == (now, 10 if now == "2020" else 4, n_layers)


def test_the_default_space_fits_every_recipe():
    for recipe in RECIPES:
        assert space.declare([MODEL], space.DEFAULT, {"recipe": recipe}, "x").tuned.keys() == space.DEFAULT.keys()


@pytest.mark.parametrize("text", ["batch_size = [", "batch_size = [16, 32]\nbatch_size = 1\n"])
def test_a_file_that_is_no_toml_is_named(run, dataset, tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    one_line(run(*tune(dataset, tmp_path / "study", space_file=path)), "space.toml: cannot be read as TOML")
    one_line(run(*tune(dataset, tmp_path / "study", space_file=tmp_path / "no.toml")), "no.toml", "No such file")
    assert not (tmp_path / "study").exists()
