"""The models published in lstm/: whole, within their limits, and as good as their cards say."""

from pathlib import Path

import pytest

from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import load_model
from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings, select
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.drawings.categories import SEED_CATEGORIES, parse_classes
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.models.classifier import n_parameters
from quickstroke.preparation.prepare import prepare
from quickstroke.reports.documents import implied_name, read_document

BASE = "bipool_cv1_64_5_cv2_96_5_4_img32_lay2_sz96"
SMALL = "bipool_cv1_48_5_cv2_64_5_4_img13_lay1_sz48"
DOCUMENT = ("simple_lay1_sz256", "simple_lay1_sz64", "simple_lay2_sz64")
NAMES = (BASE, SMALL, *DOCUMENT)
ROOT = Path(__file__).resolve().parents[1]
LSTM = ROOT / "lstm"
# Numbers of the state dict.
LIMITS = {BASE: 1_000_000, SMALL: 250_000}


def test_they_are_those_that_are_meant_and_the_best_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    models = cards.find_published()[0]
    assert {model.name for model in models} == set(NAMES)
    assert [model.name for model in models if model.default] == [BASE]


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in LSTM.rglob("*") if path.is_file()) < 20_000_000


@pytest.mark.parametrize("name", NAMES)
def test_cards_tell_what_they_should(name: str) -> None:
    loaded = load_model(LSTM / f"{name}.model")
    assert loaded.card is not None
    assert sum(value.numel() for value in loaded.model.state_dict().values()) <= LIMITS.get(name, 1_000_000)
    assert loaded.card["parameters"] == n_parameters(loaded.model)
    assert len(loaded.classes) == (345 if name in LIMITS else 100)
    assert name in LIMITS or set(loaded.classes) == set(SEED_CATEGORIES)
    assert all(teacher["licence"] and teacher["trained_on"] for teacher in loaded.card["teachers"])
    assert loaded.card["command"].startswith(f"quickstroke train {loaded.name} ")
    assert loaded.card["training"]["seconds"] > 0 and loaded.card["limits"]
    assert loaded.card["figures"]["test"]["n"] > 2000
    assert (UnknownScore.of_card(loaded.card, LSTM) is not None) == (name in LIMITS)


def test_the_results_document_can_be_read() -> None:
    """And says by its configurations which models it is about."""
    sections = read_document(LSTM / "results.md").sections
    configs = [section.config for section in sections if section.config is not None]
    assert {implied_name(config).split("_")[0] for config in configs} == {name.split("_")[0] for name in NAMES}
    assert len(configs) == len(NAMES)


@pytest.fixture(scope="module")
def datasets(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreparedDataset]:
    """The datasets that the published models were trained and scored on, prepared anew; by manifest hash.

    The `simple` models know a part of the others' drawings, without those of a dataset that has gone since.
    """
    folder, source = tmp_path_factory.mktemp("published"), shared / "data" / "quickdraw"
    split, sample46 = FractionSplit(0.9, 0.05, 0.05), folder / "sample46"
    words = parse_classes([str(ROOT / "benchmarks" / "sample46.txt")])
    prepare(source / "binary", sample46, classes=words, split=PositionSplit(420, 0, 80))
    prepare(source / "binary", folder / "some", split=split, held_out=sample46)
    both, recovered = [source / "binary", source / "more"], source / "recovered"
    prepare(both, folder / "all", split=split, train_only=recovered)
    prepared = (PreparedDataset(folder / name) for name in ("some", "all"))
    return {data.manifest_sha256: data for data in prepared}


# The others take a minute each.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LIMITS)) for name in NAMES])
def test_figures_of_the_cards_come_out_again(name: str, datasets: dict[str, PreparedDataset]) -> None:
    loaded = load_model(LSTM / f"{name}.model")
    assert loaded.card is not None
    data = datasets[loaded.card["data"]["manifest_sha256"]]
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
