"""A run that others take."""

from pathlib import Path

import pytest

from quickstroke.cli import main
from quickstroke.data.dataset import PreparedDataset
from typed_commands import MODEL


@pytest.fixture(scope="session")
def trained(dataset: PreparedDataset, tmp_path_factory) -> Path:
    """A run of two epochs on the three synthetic words."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", MODEL, "--data", str(dataset.path), "--into", str(folder), "--n-epochs", "2"]) == 0
    return folder
