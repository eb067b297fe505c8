"""What several tests of datasets share."""

from pathlib import Path

import pytest

from quickstroke.data.dataset import PreparedDataset
from quickstroke.preparation.prepare import prepare


@pytest.fixture(scope="session")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """All real drawings, split by the default rule."""
    path = tmp_path_factory.mktemp("real") / "dataset"
    prepare(shared / "data/quickdraw/binary", path)
    return PreparedDataset(path)
