"""Commands run in this process, and a space to search."""

from pathlib import Path

import pytest

from quickstroke.cli import main
from quickstroke.reports import plots
from quickstroke.utils.files import write_text

SPACE = "learning_rate = { low = 0.001, high = 0.1, log = true }\nbatch_size = [16, 32]\n"


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Drawing takes longer than a search as short as these: only searches of `study` draw."""
    if "study" not in request.fixturenames:
        monkeypatch.setattr(plots, "write_picture", lambda path, draw: write_text(path, ""))


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line in this process: exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def go(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


@pytest.fixture(scope="session")
def space_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(SPACE)
    return path
