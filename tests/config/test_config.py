"""Configuration: what cannot be is refused by its key, and JSON gives back what was written."""

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstroke.config import training
from quickstroke.config.model import ModelConfig
from quickstroke.config.recipes import RECIPES, Recipe
from quickstroke.config.serialize import from_json, from_record, to_json
from quickstroke.config.training import TrainConfig
from quickstroke.errors import ConfigError, ModelNameError

convolutions = st.none() | st.tuples(st.integers(1, 65_536), st.integers(1, 50))
strided = convolutions | st.tuples(st.integers(1, 65_536), st.integers(1, 50), st.integers(2, 64))


CONVOLUTION = "tuple[int, int] | tuple[int, int, int] | None"


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    pooled = draw(st.booleans())
    conv1 = draw(strided if pooled else convolutions)
    return ModelConfig(
        n_layers=draw(st.integers(1, 64)),
        hidden_size=draw(st.integers(1, 65_536)),
        conv1=conv1,
        conv2=draw(strided if pooled else convolutions) if conv1 else None,
        bidirectional=pooled or draw(st.booleans()),
        readout="pool" if pooled else "last",
        n_classes=draw(st.integers(1, 65_536)),
        reading="length-aware" if pooled else draw(st.sampled_from(["length-aware", "padded"])),
        max_padding=draw(st.integers(99, 10_000)),
        image=draw(st.none() | st.integers(1, 1024)) if pooled else None,
    )


@st.composite
def trainings(draw: st.DrawFn) -> TrainConfig:
    counts = st.integers(1, 10**9)
    parts, below_one = st.floats(0, 1), st.floats(0, 1, exclude_max=True)
    teacher = draw(st.lists(st.text(max_size=9), max_size=3).map(tuple))
    return TrainConfig(
        recipe=draw(st.sampled_from(["default", "2020", "strong"])),
        schedule=draw(st.sampled_from(["constant", "cosine"])),
        warmup=draw(below_one),
        weight_decay=draw(st.floats(0, 9)),
        max_grad_norm=draw(st.floats(0, 9)),
        dropout=draw(below_one),
        label_smoothing=draw(below_one),
        ema_decay=draw(below_one),
        augment=draw(st.sampled_from(["none", "strokes"])),
        class_balance=draw(parts),
        augment_magnitude=draw(parts),
        random_rotation=draw(parts),
        prefix_truncation=draw(parts),
        pretrained=draw(st.lists(st.text(max_size=9), max_size=3).map(tuple)),
        teacher=teacher,
        distillation_weight=draw(parts),
        distillation_temperature=draw(st.floats(0.1, 9)),
        n_cached_epochs=draw(counts),
        other_class_fraction=draw(below_one) if teacher else 0.0,
        n_epochs=draw(counts),
        batch_size=draw(counts),
        optimizer=draw(st.sampled_from(["adam", "muon"])),
        learning_rate=draw(st.floats(0, 1e9, exclude_min=True) | counts),
        select_by=draw(st.sampled_from(["top1", "balanced_loss"])),
        patience=draw(st.integers(0, 100)),
        max_padding=draw(counts),
        seed=draw(st.integers(0, 2**64 - 1)),
        device=draw(st.sampled_from(["auto", "cpu", "cuda"])),
        deterministic=draw(st.booleans()),
    )


@given(models() | trainings())
def test_json_gives_back_what_was_written(config: ModelConfig | TrainConfig) -> None:
    values = json.loads(json.dumps(to_json(config)))
    assert from_json(type(config), values, "here") == config  # type: ignore[type-var]
    left_out = {"image"} if getattr(config, "image", 0) is None else set()
    assert set(values) == {field.name for field in dataclasses.fields(config)} - left_out


@given(models())
def test_name_gives_back_the_shape(config: ModelConfig) -> None:
    again = ModelConfig.from_name(
        config.name, n_classes=config.n_classes, reading=config.reading, max_padding=config.max_padding
    )
    assert again == config
    assert again.name == config.name


def test_defaults_are_the_smallest_published_model_and_the_2020_projects_training() -> None:
    assert ModelConfig() == ModelConfig.from_name("simple_lay1_sz64")
    assert (ModelConfig().n_classes, ModelConfig().max_padding) == (100, 100)
    config = TrainConfig(recipe="2020")
    assert (config.batch_size, config.learning_rate, config.n_epochs, config.max_padding) == (256, 0.001, 10, 100)


@pytest.mark.parametrize(
    ("name", "reading"),
    [("2020", "padded"), ("default", "length-aware"), ("strong", "length-aware")],
)
def test_recipe_tells_the_reading(name: Recipe, reading: str) -> None:
    assert TrainConfig(recipe=name).reading == reading


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_its_values_by_its_name_alone(name: Recipe) -> None:
    config = TrainConfig(recipe=name)
    assert {key: getattr(config, key) for key in RECIPES[name]} == RECIPES[name]
    assert config == TrainConfig(recipe=name, **RECIPES[name]) == from_json(TrainConfig, {"recipe": name}, "here")


def test_without_a_recipe_the_default_has_its_values() -> None:
    assert TrainConfig() == TrainConfig(recipe="default")
    assert all(RECIPES[name].keys() == RECIPES["2020"].keys() for name in RECIPES)


def test_options_that_are_given_come_before_those_of_the_recipe() -> None:
    config = TrainConfig(recipe="strong", n_epochs=3, augment="none")
    assert (config.recipe, config.n_epochs, config.augment) == ("strong", 3, "none")
    others = RECIPES["strong"].keys() - {"n_epochs", "augment"}
    assert {key: getattr(config, key) for key in others} == {key: RECIPES["strong"][key] for key in others}
    # also where they are those of another recipe
    plain = RECIPES["2020"]["learning_rate"]
    assert TrainConfig(learning_rate=plain).learning_rate == plain


def test_another_recipe_in_place_of_a_resolved_one_keeps_the_values() -> None:
    config = dataclasses.replace(TrainConfig(recipe="2020"), recipe="default")
    assert (config.reading, config.optimizer, config.max_padding) == ("length-aware", "adam", 100)


# What version 0.1.0 wrote and meant.
FORMER_QUICK = {
    "n_epochs": 4,
    "batch_size": 64,
    "optimizer": "muon",
    "learning_rate": 0.009,
    "initialization": "orthogonal",
    "normalization": "fixed",
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "ema_decay": 0.0,
    "augment": "none",
    "class_balance": 0.0,
    "max_padding": 200,
}


@pytest.mark.parametrize(
    ("former", "now", "values"), [("seed", "2020", RECIPES["2020"]), ("quick", "default", FORMER_QUICK)]
)
def test_a_former_recipe_in_a_file_means_what_it_meant(former: str, now: str, values: dict[str, Any]) -> None:
    config = from_json(TrainConfig, {"recipe": former, "batch_size": 7}, "here")
    assert config == TrainConfig(recipe=now, **(values | {"batch_size": 7}))  # type: ignore[arg-type]


def test_strong_is_what_it_was() -> None:
    assert RECIPES["strong"] == FORMER_QUICK | {
        "n_epochs": 60,
        "batch_size": 256,
        "learning_rate": 0.01,
        "warmup": 0.05,
        "weight_decay": 0.02,
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "ema_decay": 0.999,
        "augment": "strokes",
        "class_balance": 0.5,
    }


@pytest.mark.parametrize("name", ["default", "seed", "quick", "strong"])
def test_what_a_record_lacks_its_training_did_without(name: str) -> None:
    config = from_record({"recipe": name, "n_epochs": 3}, "here")
    assert config == TrainConfig(
        recipe="2020" if name == "seed" else "default" if name == "quick" else name,  # type: ignore[arg-type]
        **(RECIPES["2020"] | {"n_epochs": 3}),
    )


@pytest.mark.parametrize(
    ("former", "told"),
    [("seed", "recipe 'seed' is called '2020' now"), ("quick", "recipe 'quick' is part of 'default' now")],
)
def test_a_former_recipe_is_refused_where_somebody_gives_it(former: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrainConfig(recipe=former)


def test_what_is_told_of_the_former_recipe_quick_has_its_values() -> None:
    with pytest.raises(ConfigError, match=r"is that with n_epochs 4 and learning_rate 0\.009"):
        TrainConfig(recipe="quick")  # type: ignore[arg-type]
    assert TrainConfig(n_epochs=4, learning_rate=0.009) == from_json(TrainConfig, {"recipe": "quick"}, "a file")


def test_unknown_value_of_a_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup should be from 0 to below 1"):
        TrainConfig(recipe="strong", warmup=1.0)


def test_a_gpu_by_its_number_is_refused_with_what_chooses_it() -> None:
    with pytest.raises(ConfigError, match="got 'cuda:1'; CUDA_VISIBLE_DEVICES=1 and 'cuda' choose that GPU"):
        TrainConfig(device="cuda:1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"device should be 'auto' or 'cpu' or 'cuda', got 'gpu'$"):
        TrainConfig(device="gpu")  # type: ignore[arg-type]


def test_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="recipe should be 'default' or '2020' or 'strong', got 'bad'"):
        TrainConfig(recipe="bad")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "preprocessing"), [("bipool_lay1_sz4", "pos5"), ("bilstm_lay1_sz4", "delta3")])
def test_readout_tells_the_preprocessing(name: str, preprocessing: str) -> None:
    assert ModelConfig.from_name(name).preprocessing == preprocessing


def test_convolutions_of_readout_pool_pad_themselves() -> None:
    config = ModelConfig.from_name("bipool_cv1_8_50_cv2_8_50_2_lay1_sz4", max_padding=3)
    assert (config.receptive_field, config.conv2) == (1, (8, 50, 2))


@pytest.mark.parametrize(
    ("image", "readout", "message"),
    [
        (0, "pool", "image should be above 0, got 0"),
        (1025, "pool", "image should be at most 1024, got 1025"),
        (16, "last", "image = 16: an image needs readout 'pool'"),
    ],
)
def test_an_image_that_cannot_be_is_refused(image: int, readout: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^here: {message}"):
        from_json(ModelConfig, {"image": image, "readout": readout, "bidirectional": True}, "here")


@pytest.mark.parametrize(
    "changes",
    [{"bidirectional": False}, {"reading": "padded"}, {"bidirectional": False, "reading": "padded"}],
)
def test_readout_pool_needs_two_directions_and_each_drawings_own_length(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^here: readout 'pool' needs bidirectional = true and reading = 'len"):
        from_json(ModelConfig, {"readout": "pool", "bidirectional": True} | changes, "here")


@pytest.mark.parametrize(("convolution", "readout"), [((8, 5, 2), "last"), ((8, 5, 1), "last"), ((8, 5, 1), "pool")])
@pytest.mark.parametrize("key", ["conv1", "conv2"])
def test_stride_is_not_one_and_needs_readout_pool(key: str, convolution: Any, readout: str) -> None:
    values: dict[str, Any] = {"conv1": (8, 5), "bidirectional": True, "readout": readout, key: convolution}
    with pytest.raises(ConfigError, match=rf"^{key} = .*: a stride is not 1, and needs readout 'pool'$"):
        ModelConfig(**values)


def test_each_option_is_described_and_used_and_each_number_has_a_range() -> None:
    source = Path(training.__file__).parents[1]
    rooms = ("training", "data", "evaluation", "cli", "runtime", "artifacts")
    code = "".join(path.read_text() for room in rooms for path in (source / room).glob("*.py"))
    told = inspect.getdoc(TrainConfig) or ""
    for field in dataclasses.fields(TrainConfig):
        name = field.name
        assert re.search(rf"^    {name}: \S", told, re.MULTILINE), f"{name} has no help text"
        assert re.search(rf"\.{name}\b", code), f"{name} is not used"
        if field.type in (int, float):
            with pytest.raises(ConfigError, match=f"^{name} should be "):
                TrainConfig(**{name: -1})


def test_malformed_name_is_refused() -> None:
    with pytest.raises(ModelNameError, match="type 'gru'"):
        ModelConfig.from_name("gru_lay1_sz64")


@pytest.mark.parametrize(
    ("conv1", "conv2", "rows"), [(None, None, 1), ((8, 1), None, 1), ((8, 5), None, 5), ((8, 5), (8, 3), 7)]
)
def test_receptive_field_is_the_rows_one_step_sees(conv1: Any, conv2: Any, rows: int) -> None:
    assert ModelConfig(conv1=conv1, conv2=conv2).receptive_field == rows
    assert ModelConfig(conv1=conv1, conv2=conv2, max_padding=rows).max_padding == rows


def test_convolutions_have_to_fit_the_padding() -> None:
    with pytest.raises(ConfigError, match="the convolutions span 7 steps, more than max_padding = 6"):
        ModelConfig(conv1=(8, 5), conv2=(8, 3), max_padding=6)


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (ModelConfig, {"n_layers": 0}, "n_layers should be above 0, got 0"),
        (ModelConfig, {"n_layers": 65}, "n_layers should be at most 64, got 65"),
        (ModelConfig, {"hidden_size": -1}, "hidden_size should be above 0"),
        (ModelConfig, {"hidden_size": 10**9}, "hidden_size should be at most 65536"),
        (ModelConfig, {"n_classes": 0}, "n_classes should be above 0"),
        (ModelConfig, {"n_classes": 65_537}, "n_classes should be at most 65536"),
        (ModelConfig, {"max_padding": 0}, "max_padding should be above 0"),
        (ModelConfig, {"max_padding": 10_001}, "max_padding should be at most 10000"),
        (TrainConfig, {"recipe": "2020", "precision": "bfloat16"}, "precision 'bfloat16' does not go with"),
        (ModelConfig, {"conv1": (0, 5)}, "conv1 n_filters should be above 0"),
        (ModelConfig, {"conv1": (8, 0)}, "conv1 filter_size should be above 0"),
        (ModelConfig, {"conv1": (10**9, 5)}, "conv1 n_filters should be at most 65536"),
        (ModelConfig, {"conv1": (8, 5), "conv2": (8, -3)}, "conv2 filter_size should be above 0"),
        (ModelConfig, {"conv2": (8, 5)}, "conv2 needs conv1"),
        (TrainConfig, {"n_epochs": 0}, "n_epochs should be above 0"),
        (TrainConfig, {"batch_size": 0}, "batch_size should be above 0"),
        (TrainConfig, {"learning_rate": 0}, "learning_rate should be above 0"),
        (TrainConfig, {"learning_rate": -1e-3}, "learning_rate should be above 0"),
        (TrainConfig, {"max_padding": 0}, "max_padding should be above 0"),
        (TrainConfig, {"distillation_temperature": 0}, "distillation_temperature should be above 0"),
        (TrainConfig, {"n_cached_epochs": -1}, "n_cached_epochs should be 0 or more"),
        (TrainConfig, {"weight_decay": -0.1}, "weight_decay should be 0 or more, got -0.1"),
        (TrainConfig, {"max_grad_norm": -1}, "max_grad_norm should be 0 or more"),
        (TrainConfig, {"warmup": 1}, "warmup should be from 0 to below 1, got 1"),
        (TrainConfig, {"dropout": 1.0}, "dropout should be from 0 to below 1"),
        (TrainConfig, {"dropout": -0.1}, "dropout should be from 0 to below 1"),
        (TrainConfig, {"label_smoothing": 1}, "label_smoothing should be from 0 to below 1"),
        (TrainConfig, {"ema_decay": 1}, "ema_decay should be from 0 to below 1"),
        (TrainConfig, {"class_balance": 1.1}, "class_balance should be from 0 to 1, got 1.1"),
        (TrainConfig, {"distillation_weight": -0.1}, "distillation_weight should be from 0 to 1"),
        (TrainConfig, {"other_class_fraction": 0.5}, "other_class_fraction needs a teacher"),
        (
            TrainConfig,
            {"other_class_fraction": 1, "teacher": ("a",)},
            "other_class_fraction should be from 0 to below 1",
        ),
        (ModelConfig, {"conv1": (8, 5, 0)}, "conv1 stride should be above 0"),
        (ModelConfig, {"conv1": (8, 5, 65)}, "conv1 stride should be at most 64, got 65"),
        (TrainConfig, {"patience": -1}, "patience should be 0 or more"),
        (TrainConfig, {"seed": -1}, "seed should be 0 or more"),
        (TrainConfig, {"seed": 2**64}, r"seed should be below 2\^64"),
    ],
)
def test_impossible_value_is_refused_by_its_key(kind: type, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^{reason}"):
        kind(**changes)
    with pytest.raises(ConfigError, match=f"^here: {reason}"):
        from_json(kind, json.loads(json.dumps(changes)), "here")


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        (ModelConfig, "n_layers", True, "int"),
        (ModelConfig, "n_layers", 1.0, "int"),
        (ModelConfig, "n_layers", "1", "int"),
        (ModelConfig, "n_layers", None, "int"),
        (ModelConfig, "n_layers", [1], "int"),
        (ModelConfig, "bidirectional", 1, "bool"),
        (ModelConfig, "bidirectional", "true", "bool"),
        (ModelConfig, "bidirectional", None, "bool"),
        (ModelConfig, "conv1", 5, CONVOLUTION),
        (ModelConfig, "conv1", [], CONVOLUTION),
        (ModelConfig, "conv1", [8], CONVOLUTION),
        (ModelConfig, "conv1", [8, 5, 3, 1], CONVOLUTION),
        (ModelConfig, "conv1", [8, True], CONVOLUTION),
        (ModelConfig, "conv1", [8, 5.0], CONVOLUTION),
        (ModelConfig, "conv1", [[8, 5]], CONVOLUTION),
        (ModelConfig, "conv1", "None", CONVOLUTION),
        (ModelConfig, "conv1", False, CONVOLUTION),
        (ModelConfig, "reading", "Padded", "'length-aware' or 'padded'"),
        (ModelConfig, "reading", None, "'length-aware' or 'padded'"),
        (ModelConfig, "reading", ["padded"], "'length-aware' or 'padded'"),
        (TrainConfig, "recipe", "Default", "'default' or '2020' or 'strong'"),
        (TrainConfig, "recipe", 0, "'default' or '2020' or 'strong'"),
        (ModelConfig, "readout", "mean", "'last' or 'pool'"),
        (TrainConfig, "schedule", "linear", "'constant' or 'cosine'"),
        (TrainConfig, "augment", True, "'none' or 'geometric' or 'strokes'"),
        (TrainConfig, "teacher", "a.model", 'a list of texts, ["..."]'),
        (TrainConfig, "teacher", [1], 'a list of texts, ["..."]'),
        (TrainConfig, "pretrained", 1, 'a list of texts, ["..."]'),
        (TrainConfig, "class_balance", "0.5", "a finite number"),
        (TrainConfig, "device", "gpu", "'auto' or 'cpu' or 'cuda'"),
        (TrainConfig, "learning_rate", True, "a finite number"),
        (TrainConfig, "learning_rate", "0.1", "a finite number"),
        (TrainConfig, "learning_rate", None, "a finite number"),
        (TrainConfig, "learning_rate", float("nan"), "a finite number"),
        (TrainConfig, "learning_rate", float("inf"), "a finite number"),
        (TrainConfig, "learning_rate", 10**400, "a finite number"),
        (TrainConfig, "n_epochs", 1e3, "int"),
        (TrainConfig, "seed", False, "int"),
        (TrainConfig, "deterministic", 0, "bool"),
    ],
)
def test_wrong_type_is_refused_with_what_was_expected(kind: type, key: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(kind, {key: value}, "here")
    assert str(caught.value).startswith(f"here: {key} should be {expected}, got ")
    assert len(str(caught.value)) < 200


def test_whole_number_passes_for_a_float() -> None:
    assert TrainConfig(learning_rate=1).learning_rate == 1


def test_lists_and_numbers_of_numpy_are_taken() -> None:
    given = TrainConfig(pretrained=["a", "b"], seed=np.int64(3), learning_rate=np.float32(0.5), deterministic=np.True_)  # type: ignore[arg-type]
    assert given == TrainConfig(pretrained=("a", "b"), seed=3, learning_rate=0.5, deterministic=True)
    assert type(given.seed) is int and json.loads(json.dumps(dataclasses.asdict(given)))["pretrained"] == ["a", "b"]
    assert ModelConfig(hidden_size=np.int32(8), conv1=[4, 3]).name == "lstm_cv1_4_3_lay1_sz8"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n_epochs should be int, got 2"):
        TrainConfig(n_epochs=np.float64(2))  # type: ignore[arg-type]


def test_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^run\.toml: unknown key 'lr'; expected augment, .*learning_rate"):
        from_json(TrainConfig, {"n_epochs": 5, "lr": 0.1}, "run.toml")
    # none of the other's keys, none of another case
    for key in ("hidden_size", "N_epochs", "", "__init__"):
        with pytest.raises(ConfigError, match="unknown key"):
            from_json(TrainConfig, {key: 1}, "here")


@pytest.mark.parametrize("values", [None, [], [["n_epochs", 5]], "n_epochs", 5, True])
def test_json_that_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"^here: should be an object of keys and values, got"):
        from_json(TrainConfig, values, "here")


def test_keys_left_out_keep_their_defaults() -> None:
    assert from_json(TrainConfig, {}, "here") == TrainConfig()
    assert from_json(ModelConfig, {"conv1": [8, 3]}, "here") == ModelConfig(conv1=(8, 3))


@pytest.mark.parametrize(("value", "paths"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b"))])
def test_what_a_training_begins_with_was_one_path_once(value: Any, paths: tuple[str, ...]) -> None:
    assert from_json(TrainConfig, {"pretrained": value}, "here").pretrained == paths


def test_configuration_does_not_change() -> None:
    for config in (ModelConfig(), TrainConfig()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.max_padding = 5  # type: ignore[misc]
