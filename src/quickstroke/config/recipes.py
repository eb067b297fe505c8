"""Recipes: values for the options of a training that go together."""

from collections.abc import Mapping
from typing import Any, Literal

Recipe = Literal["default", "2020", "strong"]

# The 2020 project's training, and what earlier versions did by options that their files do not name.
PLAIN: dict[str, Any] = {
    "n_epochs": 10,
    "batch_size": 256,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "initialization": "uniform",
    "normalization": "batch",
    "schedule": "constant",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "ema_decay": 0.0,
    "augment": "none",
    "class_balance": 0.0,
    "max_padding": 100,
}
_DEFAULT = PLAIN | {
    "n_epochs": 20,
    "batch_size": 64,
    "optimizer": "muon",
    "learning_rate": 0.016,
    "initialization": "orthogonal",
    "normalization": "fixed",
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "max_padding": 200,
}
# The values that each recipe has for the options that differ between them.
RECIPES: dict[Recipe, dict[str, Any]] = {
    "default": _DEFAULT,
    "2020": PLAIN,
    "strong": _DEFAULT
    | {
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
    },
}
# Recipes of version 0.1.0 that have gone: the name of what reads drawings as they did, and the values they had.
_FORMER_RECIPES: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "seed": ("2020", PLAIN),
    "quick": ("default", _DEFAULT | {"n_epochs": 4, "learning_rate": 0.009}),
}


def without_former_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file; where it names a recipe that only earlier versions had, those that it stood for as well."""
    name = values.get("recipe")
    if not isinstance(name, str) or name not in _FORMER_RECIPES:
        return dict(values)
    now, former = _FORMER_RECIPES[name]
    return former | dict(values) | {"recipe": now}
