"""What the tests of trainings share."""

from dataclasses import replace

import pytest
import torch
from small_runs import CONFIG, MODEL, RECIPES

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
