"""In what precision a training runs by default."""

from typing import Any

import pytest

from quickstroke.config.training import TrainConfig
from quickstroke.runtime import precision
from quickstroke.runtime.precision import pick_precision


@pytest.mark.parametrize(
    ("config", "device_type", "has_instructions", "taken"),
    [
        ({}, "cpu", True, "bfloat16"),
        ({}, "cpu", False, "float32"),
        ({}, "cuda", True, "float32"),
        ({"recipe": "2020"}, "cpu", True, "float32"),
        ({"precision": "float32"}, "cpu", True, "float32"),
        ({"precision": "bfloat16"}, "cpu", False, "bfloat16"),
        ({"precision": "bfloat16"}, "cuda", False, "bfloat16"),
    ],
)
def test_bfloat16_is_taken_by_default_where_a_cpu_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], device_type: str, has_instructions: bool, taken: str
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: has_instructions)
    assert pick_precision(TrainConfig(**config), device_type) == taken
