"""Reports on published models: measured as they are, with or without a dataset."""

import json
import re
import shutil
from pathlib import Path

import pytest
from small_documents import edit_json, measured_again

from quickstroke import cli
from quickstroke.artifacts import cards
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import PositionSplit
from quickstroke.errors import DatasetError, RunError, WeightsError
from quickstroke.preparation.prepare import prepare
from quickstroke.reports import figures as figures_module
from quickstroke.reports import report
from quickstroke.reports.documents import read_document

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def published_once(run: Path, folder: Path) -> Path:
    assert cli.main(["publish", str(run), "--into", str(folder / "models")]) == 0
    return folder / "models"


@pytest.fixture
def model(published_once, tmp_path) -> Path:
    return shutil.copytree(published_once, tmp_path / "models") / "simple_lay1_sz4.model"


def test_a_published_model_is_measured_as_it_is(model, dataset, tmp_path):
    into = tmp_path / "out.md"
    (result,) = report.write_report([model], into, data=[dataset.path])
    assert result.run is not None
    expected = measured_again(model, dataset, "test")
    values = figures_module.figures(result)
    assert {key: values[key] for key in ("top1", "loss", "n")} == {
        key: expected.figures()[key] for key in ("top1", "loss", "n")
    }
    card = json.loads(model.with_suffix(".json").read_text())
    assert (values["epochs"], values["best_epoch"]) == (2, card["training"]["best_epoch"])
    assert values["best_val_top1"] == card["figures"]["val"]["top1"]
    assert values["seconds_per_epoch"] == card["training"]["seconds"] / 2
    text = into.read_text()
    assert f"3 classes, as published in `{model}`. Of its 2 epochs" in text
    assert f"by `{card['command']}`." in text
    assert f"\nData: manifest `{dataset.manifest_sha256[:12]}` from 3 source files." in text
    assert "Figures of `simple_lay1_sz4.model`, epoch " in text
    assert f"| test | 30 | **{expected.top(1):.2%}** |" in text
    assert f"| val | 30 | {card['figures']['val']['top1']:.2%} |" in text
    # Its log stays with its run.
    assert "Log of" not in text and "curves" not in text
    assert {path.name for path in (tmp_path / "out_files").iterdir()} == {
        "01-simple_lay1_sz4-confusion.png",
        "01-simple_lay1_sz4-mistakes.png",
    }
    (section,) = read_document(into).sections
    assert (section.name, section.log) == ("simple_lay1_sz4", ())


def test_a_published_model_without_its_dataset(model, folder, seed_run, tmp_path, capsys):
    into = tmp_path / "out.md"
    assert cli.main(["report", str(model), "--into", str(into)]) == 2
    assert "nothing says where its dataset is, with the manifest " in capsys.readouterr().err
    assert cli.main(["report", str(model), "--into", str(into), "--without-data"]) == 0
    captured = capsys.readouterr()
    assert "not measured: nothing says where its dataset is, with the manifest " in captured.err
    text = into.read_text()
    figures = json.loads(model.with_suffix(".json").read_text())["figures"]
    assert "Below is what its card states; confusions and mistakes are left out." in text
    for split in ("test", "val"):
        assert f"| {split} | 30 | {figures[split]['top1']:.2%} |" in text
    (result,) = report.write_report([model], into, data=[folder / "fractions"], without_data=True)
    assert result.run is not None
    assert re.fullmatch(r"no --data has the manifest [0-9a-f]{12} of its dataset", result.run.why_no_data)
    with pytest.raises(DatasetError, match=r"nowhere: no prepared dataset there"):
        report.write_report([model], into, data=["nowhere"])


def test_a_model_with_a_test_split_of_its_own(run, binary_folder, dataset, tmp_path, capsys):
    prepare(binary_folder, tmp_path / "others", split=PositionSplit(52, 0, 8))
    command = ["publish", str(run), "--into", str(tmp_path), "--test-data", str(tmp_path / "others")]
    assert cli.main(command) == 0, capsys.readouterr().err
    others = PreparedDataset(tmp_path / "others")
    path = tmp_path / "simple_lay1_sz4.model"
    own = f"Data: manifest `{dataset.manifest_sha256[:12]}`"
    for split, data in (("test", others), ("val", dataset)):
        (result,) = report.write_report([path], tmp_path / "out.md", split=split, data=[dataset.path, others.path])
        assert figures_module.figures(result)["top1"] == measured_again(path, data, split).top(1)
        assert figures_module.figures(result)["n"] == len(data.indices(split))
        text = (tmp_path / "out.md").read_text()
        assert own + (" from 3 source files. " if split == "val" else ". ") + "Drawings: 120 train" in text
        assert f"\nThe test figures are of another dataset, manifest `{others.manifest_sha256[:12]}`.\n" in text
        # Of which dataset's classes these are all cannot be said by another one.
        assert ("train_classes = classes[:]" in text) == (split == "val")
    (result,) = report.write_report([path], tmp_path / "out.md", data=[dataset.path], without_data=True)
    assert result.run is not None and "of the dataset of its test drawings" in result.run.why_no_data


def test_a_model_and_its_run_are_told_apart(run, model, dataset, tmp_path):
    results = report.write_report([run, model], tmp_path / "out.md", data=[dataset.path])
    assert [result.title for result in results] == [
        "simple_lay1_sz4, run first",
        "simple_lay1_sz4, published in models",
    ]


@pytest.mark.parametrize(
    "path",
    [
        *(("training",), ("figures",), ("figures", "val"), ("data",), ("parameters",), ("command",)),
        *(("training", key) for key in ("epochs", "best_epoch", "seconds")),
        *(("figures", "val", key) for key in ("top3", "n", "loss")),
        *(("figures", "test", "top5"), ("data", "split")),
    ],
    ids="-".join,
)
def test_models_that_tell_nothing_of_their_training(model, tmp_path, path):
    good = json.loads(model.with_suffix(".json").read_text())
    for value in ("missing", -1, float("nan"), 10**400, [{"name": "x"}]):
        card = json.loads(json.dumps(good))
        *above, last = path
        place = card
        for key in above:
            place = place[key]
        if value == "missing":
            del place[last]
        elif last == "command":  # which may be any text
            continue
        else:
            place[last] = value
        card["card_sha256"] = cards.card_hash(card)
        model.with_suffix(".json").write_text(json.dumps(card))
        with pytest.raises(
            (RunError, WeightsError), match=r"does not tell of its training \(|has no training|damaged card"
        ):
            report.write_report([model], tmp_path / "out.md")
    assert not (tmp_path / "out.md").exists()


def test_weights_without_a_card(run, model, tmp_path):
    model.with_suffix(".json").unlink()
    with pytest.raises(
        RunError, match=r"has no card, which would tell how it was trained; `quickstroke evaluate` measures"
    ):
        report.write_report([model], tmp_path / "out.md")
    with pytest.raises(RunError, match=rf"best\.model: has no card, .*; report its run, {run}$"):
        report.write_report([run / "best.model"], tmp_path / "out.md")


def test_a_published_model_by_its_name(model, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(model.parent, "lstm")
    (result,) = report.write_report([model.stem], "out.md", without_data=True)
    assert result.source == Path("lstm") / model.name


def test_a_model_that_was_published_before_its_training_had_ended(run, tmp_path):
    copied = shutil.copytree(run, tmp_path / "copy")
    edit_json(copied / "config.json", lambda values: values["train"].update(n_epochs=9))
    assert cli.main(["publish", str(copied), "--into", str(tmp_path)]) == 0
    report.write_report([tmp_path / "simple_lay1_sz4.model"], tmp_path / "out.md", without_data=True)
    assert "It was published after 2 of 9 epochs, the best of which is " in (tmp_path / "out.md").read_text()


def test_a_report_of_a_report_of_a_model(model, tmp_path):
    report.write_report([model], tmp_path / "out.md", without_data=True)
    (result,) = report.write_report([tmp_path / "out.md"], tmp_path / "again.md")
    assert (
        figures_module.figures(result)["epochs"] == 0
        and "| 3 |  |  |  | not measured |" in (tmp_path / "again.md").read_text()
    )
    text = (tmp_path / "again.md").read_text()
    assert "It has no log there; nothing was measured here." in text
    assert "as its document says" not in text


def test_a_command_stays_on_its_line(model, tmp_path):
    card = json.loads(model.with_suffix(".json").read_text())
    card["command"] = "quickstroke train\n\n# Heading\n"
    card["card_sha256"] = cards.card_hash(card)
    model.with_suffix(".json").write_text(json.dumps(card))
    report.write_report([model], tmp_path / "out.md", without_data=True)
    assert "by `quickstroke train # Heading`." in (tmp_path / "out.md").read_text()


@pytest.mark.parametrize("before", [None, {"trainings": 3, "seconds": 600.0, "missing": []}], ids=["unknown", "known"])
def test_what_a_model_began_with(model, before, tmp_path):
    card = json.loads(model.with_suffix(".json").read_text())
    # The first cards have one path, and nothing on what was before.
    card["training"]["pretrained"] = "runs/first"
    if before:
        card["training"]["before"] = before
    card["card_sha256"] = cards.card_hash(card)
    model.with_suffix(".json").write_text(json.dumps(card))
    report.write_report([model], tmp_path / "out.md", without_data=True)
    told = (
        " The 3 trainings before it took 10 minutes." if before else " Nothing is known of how `runs/first` came about."
    )
    assert f"It began with the weights of `runs/first`.{told}\n" in (tmp_path / "out.md").read_text()
