"""A space to search, and no pictures of what is not looked at."""

from pathlib import Path

import pytest

from quickstroke.reports import plots
from quickstroke.utils.files import write_text

SPACE = "learning_rate = { low = 0.001, high = 0.1, log = true }\nbatch_size = [16, 32]\n"


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Drawing takes longer than a search as short as these: only searches of `study` draw."""
    if "study" not in request.fixturenames:
        monkeypatch.setattr(plots, "write_picture", lambda path, draw: write_text(path, ""))


@pytest.fixture(scope="session")
def space_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(SPACE)
    return path
