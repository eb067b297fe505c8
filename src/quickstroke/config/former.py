"""Training options by the names that earlier versions had. Files with these names open and mean the same."""

from collections.abc import Mapping
from typing import Any

from quickstroke.errors import ConfigError

# Names of version 0.1.0, with those of today.
RENAMED = {
    "criterion": "select_by",
    "averaging": "ema_decay",
    "accumulate": "grad_accum_steps",
    "clip_norm": "max_grad_norm",
    "balance": "class_balance",
    "view_strength": "geometric_magnitude",
    "n_views": "n_cached_epochs",
    "spin": "random_rotation",
    "unfinished": "prefix_truncation",
    "teacher_weight": "distillation_weight",
    "teacher_temperature": "distillation_temperature",
    "unlabelled": "other_class_fraction",
}
RENAMED_VALUES = {"augment": {"view": "geometric"}}
_FORMER_VALUES = {
    "augment": {"view": "is 'geometric' now"},
    "recipe": {
        "seed": "is called '2020' now",
        "quick": "is part of 'default' now, and is that with n_epochs 4 and learning_rate 0.009",
    },
    "protocol": {"honest": "is called 'standard' now", "published": "is called '2020' now"},
}
# Deleted options, with the value that means the same as their absence.
DELETED = {"blend_across": 0.0, "label_odds": 1.0}
GONE = "was removed: it gave nothing measurable"


def renamed(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values of a file under the names of today. A value may be a list of choices, as in a search space.

    Raises:
        ConfigError: an option is given under both of its names.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        now = RENAMED.get(key, key)
        if now != key and now in values:
            raise ConfigError(f"{where}: {key!r} was renamed to {now!r}; expected one of the two, got both")
        names = RENAMED_VALUES.get(now, {})
        if isinstance(value, list):
            found[now] = [names.get(one, one) if isinstance(one, str) else one for one in value]
        else:
            found[now] = names.get(value, value) if isinstance(value, str) else value
    return found


def without_deleted(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values without deleted options.

    Raises:
        ConfigError: a deleted option has another value than the one that means the same as its absence.
    """
    for key, value in deleted_options(values).items():
        raise ConfigError(f"{where}: {key} {GONE}; expected {DELETED[key]} or no such key, got {value!r:.60}")
    return {key: value for key, value in values.items() if key not in DELETED}


def deleted_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The deleted options among values, where they had an effect."""
    return {key: values[key] for key, usual in DELETED.items() if key in values and not _is_number(values[key], usual)}


def refuse(values: Mapping[str, Any]) -> None:
    """Raises ConfigError, with the name of today, for an option or a value that only earlier versions had."""
    for key, value in values.items():
        if key in RENAMED:
            raise ConfigError(f"{key} was renamed to {RENAMED[key]}")
        if key in DELETED:
            raise ConfigError(f"{key} {GONE}")
        if gone := what_became(key, value):
            raise ConfigError(gone)


def what_became(key: str, value: Any) -> str:
    """What a value of an option is now, where only earlier versions had it; else empty."""
    values = _FORMER_VALUES.get(key, {})
    return f"{key} {value!r} {values[value]}" if isinstance(value, str) and value in values else ""


def _is_number(value: Any, expected: float) -> bool:
    return type(value) in (int, float) and bool(value == expected)
