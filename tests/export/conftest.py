"""Small published models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import CLASSES, random_model

from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread: None) -> None:
    """For every test here."""


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., LoadedModel]:
    """Publishes a random model in the test's folder and loads it."""

    def go(name: str = "simple_lay1_sz6", facts: dict[str, Any] | None = None, **options: Any) -> LoadedModel:
        model = random_model(ModelConfig.from_name(name, n_classes=len(CLASSES), **options))
        path = write_model(tmp_path / "lstm", LoadedModel(model, CLASSES, None, Path("unused")), facts or {})
        return load_model(path)

    return go
