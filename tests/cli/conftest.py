"""Commands run in this process, and a run that others take."""

from pathlib import Path

import pytest
from typed_commands import MODEL, Result

from quickstroke.cli import main
from quickstroke.data.dataset import PreparedDataset


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def go(*args: object) -> Result:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return go


@pytest.fixture(scope="session")
def trained(dataset: PreparedDataset, tmp_path_factory) -> Path:
    """A run of two epochs on the three synthetic words."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", MODEL, "--data", str(dataset.path), "--into", str(folder), "--n-epochs", "2"]) == 0
    return folder
