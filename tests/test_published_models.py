"""The models published in lstm/: whole, within their limits, and as good as their cards say."""

from pathlib import Path

import pytest

from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import load_model
from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.splits import FractionSplit
from quickstroke.drawings.categories import CATEGORIES_2020
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
    assert name in LIMITS or set(loaded.classes) == set(CATEGORIES_2020)
    assert all(teacher["licence"] and teacher["trained_on"] for teacher in loaded.card["teachers"])
    assert loaded.card["command"].startswith(f"quickstroke train {loaded.name} ")
    assert loaded.card["training"]["seconds"] > 0 and loaded.card["limits"]
    assert loaded.card["figures"]["test"]["n"] > 2000
    assert UnknownScore.of_card(loaded.card, LSTM) is not None


def test_the_results_document_can_be_read() -> None:
    """And says by its configurations which models it is about."""
    sections = read_document(LSTM / "results.md").sections
    configs = [section.config for section in sections if section.config is not None]
    assert {implied_name(config).split("_")[0] for config in configs} == {name.split("_")[0] for name in NAMES}
    assert len(configs) == len(NAMES)


@pytest.fixture(scope="module")
def dataset(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """The dataset that the published models were trained and scored on, prepared anew."""
    into, source = tmp_path_factory.mktemp("published") / "all", shared / "data" / "quickdraw"
    both, split = [source / "binary", source / "more"], FractionSplit(0.9, 0.05, 0.05)
    prepare(both, into, split=split, train_only=source / "recovered")
    return PreparedDataset(into)


# The others take a minute each.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LIMITS)) for name in NAMES])
def test_figures_of_the_cards_come_out_again(name: str, dataset: PreparedDataset) -> None:
    loaded = load_model(LSTM / f"{name}.model")
    assert loaded.card is not None
    assert loaded.card["data"]["manifest_sha256"] == dataset.manifest_sha256
    result = evaluate(loaded.model, LabelledDrawings.of_split(dataset, "test", loaded.classes))
    stated = cards.figures_of(loaded.card)["test"]
    assert result.n == stated["n"]
    # Another processor rounds otherwise: a drawing in a thousand may change sides.
    assert result.top(1) == pytest.approx(stated["top1"], abs=1.1 / 1000)
    assert result.top(3) == pytest.approx(stated["top3"], abs=1.1 / 1000)
    assert result.balanced_accuracy() == pytest.approx(stated["balanced_accuracy"], abs=1 / 100)
    interval = (stated["balanced_accuracy_low"], stated["balanced_accuracy_high"])
    assert result.balanced_accuracy_interval() == pytest.approx(interval, abs=1 / 100)
    assert result.calibration_error() == pytest.approx(stated["calibration_error"], abs=2 / 1000)
