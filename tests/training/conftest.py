"""What the tests of trainings share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CONFIG, MODEL, RECIPES
from teachers import FLAT, OpenTargets, Publish

from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.data.augmentation import Augmentation
from quickstroke.data.dataset import PreparedDataset
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training.distillation import Targets, open_targets
from quickstroke.training.loop import train


@pytest.fixture(scope="session")
def finished(dataset, tmp_path_factory):
    """For each recipe the folder of a training that nothing interrupted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folders = {recipe: tmp_path_factory.mktemp("run") / recipe for recipe in RECIPES}
    for recipe, folder in folders.items():
        train(MODEL, replace(CONFIG, recipe=recipe), dataset, folder)
    torch.set_num_threads(before)
    return folders


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Publishes a small model of random weights, far from uniform, in a folder of its own."""

    def go(
        name: str = "simple_lay1_sz6",
        classes: tuple[str, ...] = ("circle", "house", "star"),
        seed: int = 0,
        facts: dict[str, Any] | None = None,
        **options: Any,
    ) -> Path:
        torch.manual_seed(seed)
        model = StrokeClassifier(ModelConfig.from_name(name, n_classes=len(classes), **options)).eval()
        n_columns = model.bn.num_features
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape))
            model.bn.load_state_dict(model.bn.state_dict() | {"running_var": torch.full((n_columns,), 0.02)})
            model.linear.weight.mul_(3)
        folder = tmp_path / f"teacher{len(list(tmp_path.iterdir()))}"
        return write_model(folder, LoadedModel(model, classes, None, folder), facts or {})

    return go


@pytest.fixture
def opened(dataset: PreparedDataset, tmp_path: Path) -> OpenTargets:
    """Opens targets for the training drawings of the three words."""

    def go(
        *paths: Path,
        classes: tuple[str, ...] = ("circle", "house", "star"),
        change: Augmentation = FLAT,
        folder: str = "cache",
        data: PreparedDataset = dataset,
        precision: torch.dtype = torch.float32,
        augmented: bool = True,
    ) -> Targets:
        return open_targets(
            list(map(str, paths)), data, classes, change, tmp_path / folder, precision, augmented=augmented
        )

    return go
