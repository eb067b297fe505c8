"""The models published in lstm/: whole, within their limits, and as good as their cards say."""

from pathlib import Path

import pytest

from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import load_model
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings, select
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.categories import SEED_CATEGORIES, parse_classes
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.models.classifier import n_parameters
from quickstroke.preparation.prepare import prepare
from quickstroke.reports.documents import implied_name, read_document

BASE = "bipool_cv1_64_5_cv2_128_5_4_img32_lay2_sz112"
BASE46 = "bipool_cv1_64_5_cv2_128_5_2_lay2_sz144"
SMALL = "bipool_cv1_48_5_cv2_64_5_2_lay2_sz48"
NAMES = (BASE, SMALL, "simple_lay1_sz256", "simple_lay1_sz64", "simple_lay2_sz64")
SETS = (f"sample46/{BASE46}", f"sample46/{SMALL}")
ROOT = Path(__file__).resolve().parents[1]
LSTM = ROOT / "lstm"
SAMPLE46 = ROOT / "benchmarks" / "sample46.txt"


def test_they_are_those_that_are_meant_and_the_largest_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    models = cards.list_models()
    assert {model.name for model in models} == {*NAMES, *SETS}
    assert [model.name for model in models if model.default] == [BASE]


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in LSTM.rglob("*") if path.is_file()) < 20_000_000


@pytest.mark.parametrize("name", [*NAMES, *SETS])
def test_cards_tell_what_they_should(name: str) -> None:
    loaded = load_model(LSTM / f"{name}.model")
    assert loaded.card is not None
    limit = {BASE: 1_000_000, BASE46: 1_000_000, SMALL: 150_000}.get(loaded.name)
    assert limit is None or loaded.card["parameters"] <= limit
    assert loaded.card["parameters"] == n_parameters(loaded.model)
    words = parse_classes([str(SAMPLE46)]) if "/" in name else SEED_CATEGORIES
    assert set(loaded.classes) == set(words)
    assert bool(loaded.card.get("teachers")) == ("/" not in name)
    assert all(teacher["licence"] and teacher["trained_on"] for teacher in loaded.card.get("teachers", []))
    assert loaded.card["command"].startswith(f"quickstroke train {loaded.name} ")
    assert loaded.card["training"]["seconds"] > 0 and loaded.card["limits"]
    assert loaded.card["figures"]["test"]["n"] > 2000


def test_results_documents_can_be_read() -> None:
    """And say by their configurations which models they are about."""
    for folder, names in ((LSTM, NAMES), (LSTM / "sample46", (BASE46, SMALL))):
        sections = read_document(folder / "results.md").sections
        configs = [section.config for section in sections if section.config is not None]
        assert {implied_name(config).split("_")[0] for config in configs} == {name.split("_")[0] for name in names}
        assert len(configs) == len(names)


@pytest.fixture(scope="module")
def datasets(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreparedDataset]:
    """The two datasets that the published models were trained and scored on, prepared anew; by manifest hash."""
    folder, source = tmp_path_factory.mktemp("published"), shared / "data" / "quickdraw" / "binary"
    sample46, all345 = folder / "sample46", folder / "all345"
    prepare(source, sample46, classes=parse_classes([str(SAMPLE46)]), split=PositionSplit(420, 0, 80))
    prepare(source, all345, split=FractionSplit(0.9, 0.05, 0.05), held_out=sample46)
    prepared = map(PreparedDataset, (sample46, all345))
    return {data.manifest_sha256: data for data in prepared}


@pytest.mark.parametrize("name", [*NAMES, *SETS])
def test_figures_of_the_cards_come_out_again(name: str, datasets: dict[str, PreparedDataset]) -> None:
    loaded = load_model(LSTM / f"{name}.model")
    assert loaded.card is not None
    tested = loaded.card.get("test_data", loaded.card["data"])
    data = datasets[tested["manifest_sha256"]]
    label_map = data.label_map(loaded.classes)
    result = evaluate(loaded.model, LabelledDrawings(data, select(data, "test", label_map), loaded.classes, label_map))
    stated = cards.figures_of(loaded.card)["test"]
    assert result.n == stated["n"]
    # Another processor rounds otherwise: a drawing in a thousand may change sides.
    assert result.top(1) == pytest.approx(stated["top1"], abs=1.1 / 1000)
    assert result.top(3) == pytest.approx(stated["top3"], abs=1.1 / 1000)
    assert result.balanced_accuracy() == pytest.approx(stated["balanced_accuracy"], abs=1 / 100)
    interval = (stated["balanced_accuracy_low"], stated["balanced_accuracy_high"])
    assert result.balanced_accuracy_interval() == pytest.approx(interval, abs=1 / 100)
    assert result.calibration_error() == pytest.approx(stated["calibration_error"], abs=2 / 1000)
