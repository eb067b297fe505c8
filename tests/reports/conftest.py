"""Two small runs, reports on them, and documents to read."""

import shutil
from pathlib import Path

import pytest

from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import FractionSplit
from quickstroke.preparation.prepare import prepare
from quickstroke.reports import report
from quickstroke.reports import results as results_module
from quickstroke.reports.documents import read_document
from quickstroke.training.loop import train
from quickstroke.utils.files import write_text


@pytest.fixture
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of a report's time: only `written` draws, and tests that ask for `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(report, "write_picture", lambda path, draw: write_text(path, ""))


@pytest.fixture
def pictures() -> None:
    """Asked for by tests whose reports have real pictures."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="session")
def run(dataset: PreparedDataset, folder: Path) -> Path:
    """Two epochs of a tiny model, on the dataset that has a test split."""
    config = TrainConfig(n_epochs=2, batch_size=32, learning_rate=0.01, device="cpu")
    command = ["quickstroke", "train", "simple_lay1_sz4", "--n-epochs", "2"]
    train(ModelConfig.from_name("simple_lay1_sz4"), config, dataset, folder / "first", command=command)
    return folder / "first"


@pytest.fixture(scope="session")
def seed_run(binary_folder: Path, folder: Path) -> Path:
    """The same model by the recipe `2020`, on two of the words of a dataset without a test split."""
    prepare(binary_folder, folder / "fractions", split=FractionSplit(0.7, 0.3, 0.0))
    train(
        ModelConfig.from_name("simple_lay1_sz4"),
        TrainConfig(n_epochs=2, batch_size=32, recipe="2020", seed=3, device="cpu"),
        PreparedDataset(folder / "fractions"),
        folder / "second",
        train_classes=("star", "circle"),
    )
    return folder / "second"


@pytest.fixture(scope="session")
def written(run: Path, seed_run: Path, folder: Path) -> tuple[Path, list[results_module.Result]]:
    into = folder / "out" / "results.md"
    return into, report.write_report([run, seed_run], into)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


@pytest.fixture
def write(tmp_path: Path):
    """Reports on the text of a document."""

    def write_text(text, name="given.md"):
        (tmp_path / name).write_text(text)
        results = report.write_report([tmp_path / name], tmp_path / "out.md")
        return results, (tmp_path / "out.md").read_text()

    return write_text


@pytest.fixture
def read(tmp_path):
    def read_text(text, encoding="utf-8"):
        path = tmp_path / "results.md"
        path.write_bytes(text.encode(encoding))
        return read_document(path)

    return read_text
