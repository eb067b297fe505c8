"""Names of earlier versions: files with them mean the same, and elsewhere their error names the name of today."""

import copy
import pickle
from dataclasses import fields, replace
from typing import Any

import pytest

from quickstroke.config import former
from quickstroke.config.serialize import from_json, from_record, to_json
from quickstroke.config.training import TrainConfig
from quickstroke.errors import ConfigError

NAMES = {field.name for field in fields(TrainConfig)}
# A value of each renamed option that is not its default.
VALUES: dict[str, Any] = {
    "criterion": "balanced_loss",
    "averaging": 0.9,
    "accumulate": 2,
    "clip_norm": 0.5,
    "balance": 0.75,
    "view_strength": 0.5,
    "n_views": 2,
    "spin": 0.25,
    "unfinished": 0.5,
    "teacher_weight": 0.6,
    "teacher_temperature": 2.0,
    "unlabelled": 0.25,
}


def test_every_former_name_stands_for_an_option_of_today() -> None:
    assert set(former.RENAMED.values()) <= NAMES
    assert not (former.RENAMED.keys() | former.DELETED.keys()) & NAMES
    assert VALUES.keys() == former.RENAMED.keys()


@pytest.mark.parametrize("read", [from_json, lambda kind, values, where: from_record(values, where)])
def test_files_with_former_names_mean_the_same(read: Any) -> None:
    written = {**VALUES, "augment": "view", "teacher": ["a.model"], "blend_across": 0, "label_odds": 1.0}
    config = read(TrainConfig, written, "run.toml")
    now = to_json(config)
    assert {key: now[former.RENAMED[key]] for key in VALUES} == VALUES
    assert config.augment == "geometric" and former.deleted_options(written) == {}
    assert from_json(TrainConfig, now, "here") == config


def test_a_list_of_choices_has_the_values_of_today() -> None:
    declared = {"augment": ["none", "view"], "clip_norm": {"low": 0.1, "high": 1.0}, "conv1": [[8, 5]], "dropout": 0.1}
    assert former.renamed(declared, "x.toml") == {
        "augment": ["none", "geometric"],
        "max_grad_norm": {"low": 0.1, "high": 1.0},
        "conv1": [[8, 5]],
        "dropout": 0.1,
    }


@pytest.mark.parametrize("key", VALUES)
def test_an_option_under_both_of_its_names_is_refused(key: str) -> None:
    values = {key: VALUES[key], former.RENAMED[key]: VALUES[key]}
    with pytest.raises(
        ConfigError, match=f"^x: '{key}' was renamed to '{former.RENAMED[key]}'; expected one of the two"
    ):
        from_json(TrainConfig, values, "x")


@pytest.mark.parametrize(
    ("key", "value"), [("label_odds", 5), ("blend_across", 0.5), ("label_odds", "1"), ("blend_across", None)]
)
def test_a_deleted_option_that_had_an_effect_is_in_records_alone(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^run.toml: {key} was removed: .*, got {value!r}"):
        from_json(TrainConfig, {key: value}, "run.toml")
    assert from_record({"n_epochs": 3, key: value}, "a run").n_epochs == 3
    assert former.deleted_options({"n_epochs": 3, key: value}) == {key: value}


@pytest.mark.parametrize("key", VALUES)
def test_a_former_name_in_code_names_its_successor(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key} was renamed to {former.RENAMED[key]}$"):
        TrainConfig(**{key: VALUES[key]})
    with pytest.raises(ConfigError, match=f"^{key} was renamed to {former.RENAMED[key]}$"):
        replace(TrainConfig(), **{key: VALUES[key]})


def test_a_former_value_and_a_deleted_option_in_code_are_told() -> None:
    with pytest.raises(ConfigError, match=r"^augment 'view' is 'geometric' now$"):
        TrainConfig(augment="view")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^label_odds was removed: it gave nothing measurable$"):
        TrainConfig(label_odds=5.0)
    with pytest.raises(TypeError, match="lr"):
        TrainConfig(lr=0.1)


def test_a_configuration_is_copied_and_pickled() -> None:
    config = TrainConfig(max_grad_norm=0.5, augment="geometric")
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config
