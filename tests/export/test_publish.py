"""Publishing from Python: the same files as the command, and what a calibration traded."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import quickstroke as qs
from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import load_model
from quickstroke.cli import main
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import ArgumentTypeError, DatasetError, RunError, WeightsError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.export.publish import discriminant_of, publish

NAME = "simple_lay1_sz8"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(dataset: PreparedDataset, tmp_path_factory) -> Path:
    """A run that takes its third word for the second, and is far too sure of what it says."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    qs.train(
        qs.ModelConfig.from_name(NAME), qs.TrainConfig(n_epochs=10, batch_size=16, learning_rate=0.01), dataset, folder
    )
    weights = torch.load(folder / "best.model", weights_only=True)
    for key, less in (("linear.weight", 0.0), ("linear.bias", 0.5)):
        weights[key][2] = weights[key][1] - less
        weights[key] *= 30
    torch.save(weights, folder / "best.model")
    return folder


@pytest.fixture
def few_are_enough(monkeypatch):
    monkeypatch.setattr("quickstroke.export.publish.MIN_CALIBRATION", 30)


@pytest.mark.usefixtures("few_are_enough")
def test_the_command_writes_what_python_does(trained, dataset, tmp_path, capsys):
    made = qs.publish(trained, tmp_path / "python")
    assert capsys.readouterr() == ("", "")
    assert (made.name, made.path) == (NAME, tmp_path / "python" / f"{NAME}.model")
    card = json.loads(made.card_path.read_text())
    assert made.figures == card["figures"] and made.calibration == card["calibration"] and made.notes == ()
    assert main(["publish", str(trained), "--into", str(tmp_path / "command")]) == 0
    assert card["data"]["n_train_by_word"] == {"least": 40, "median": 40, "most": 40}
    scores = qs.evaluate(made.path, dataset, "test")
    worst, confusions = card["words"]["worst"], card["words"]["confusions"]
    right = dict(zip(scores.classes, scores.n_right_by_class().tolist(), strict=True))
    assert [word["right"] for word in worst] == sorted(right.values())
    assert {word["word"]: word["right"] for word in worst} == right and {word["n"] for word in worst} == {10}
    assert sum(pair["n"] for pair in confusions) == 30 - sum(right.values())
    assert card["words"]["split"] == "test" and set(card["figures"]["test"]["top3_of_strokes"]) == {"0.6"}
    for path in (made.path, made.card_path):
        assert (tmp_path / "command" / path.name).read_bytes() == path.read_bytes()
    assert qs.load(made.path).card == card and "discriminant" not in card  # of so few words
    assert ("unknown" in card) == ("`unknown`" in card["limits"])


def test_only_googles_drawings_are_said_to_be_googles(trained, dataset, tmp_path, monkeypatch):
    def terms(folder: str, **options) -> tuple:
        card = json.loads(qs.publish(trained, tmp_path / folder, calibrate=False, **options).card_path.read_text())
        return card.get("attribution"), card.get("licence"), "Quick, Draw!" in card["limits"]

    assert terms("own") == (None, None, False)
    # What was not fitted is not told of.
    assert "`unknown`" not in json.loads((tmp_path / "own" / f"{NAME}.json").read_text())["limits"]
    assert terms("said", attribution="By class 4b.", licence="CC0-1.0") == ("By class 4b.", "CC0-1.0", False)
    least, most = int(dataset.key_ids.min()), int(dataset.key_ids.max())
    monkeypatch.setattr("quickstroke.export.publish._KEY_IDS", (least, most + 1))
    assert terms("google") == (cards.QUICKDRAW, "MIT", True)
    assert terms("google, said", licence="CC0-1.0") == (cards.QUICKDRAW, "CC0-1.0", True)
    monkeypatch.setattr("quickstroke.export.publish.CATEGORIES", dataset.classes[1:])
    assert terms("other words") == (None, None, False)
    with pytest.raises(ArgumentTypeError, match="licence should be a text or None, got 3"):
        qs.publish(trained, tmp_path, licence=3)


@pytest.mark.usefixtures("few_are_enough")
def test_the_card_has_where_the_training_drawings_lie(trained, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("quickstroke.evaluation.discriminant.LEAST_WORDS", 3)
    made = publish(trained, tmp_path)
    own = json.loads(made.card_path.read_text())["discriminant"]
    assert len(own["projection"]["scales"]) == len(own["means"]["scales"]) == 2
    # Of the published weights, which are calibrated; and of training drawings only.
    assert own == discriminant_of(load_model(made.path), dataset) != discriminant_of(load_model(trained), dataset)
    recognizer = qs.load(made.path)
    recognizer.teach("robot", [dataset.strokes(int(i)) for i in dataset.indices("val")[:3]], simplified=True)
    assert recognizer.taught == {"robot": 3}


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("select_by", ["top1", "balanced_loss"])
def test_what_was_traded_is_measured_as_the_run_selected(trained, dataset, tmp_path, select_by):
    run = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["train"]["select_by"] = select_by
    (run / "config.json").write_text(json.dumps(config))
    said = publish(str(run), str(tmp_path / "set")).calibration
    assert said is not None and said["select_by"] == select_by and said["temperature"] > 2
    label_map = dataset.label_map(dataset.classes)
    models = {"before": load_model(run).model, "after": load_model(tmp_path / "set" / f"{NAME}.model").model}
    for when, model in models.items():
        for split in ("val", "test"):
            scores = evaluate(model, LabelledDrawings(dataset, dataset.indices(split), dataset.classes, label_map))
            assert said[f"top1_{when}"][split] == scores.top(1)
            assert said[f"balanced_accuracy_{when}"][split] == scores.balanced_accuracy()
            assert said[f"error_{when}"][split] == scores.calibration_error(balanced=select_by == "balanced_loss")
    assert said["error_after"]["val"] < said["error_before"]["val"]
    assert said["top1_after"] == said["top1_before"]


def test_too_few_drawings_and_no_calibration(trained, tmp_path):
    made = publish(trained, tmp_path / "set")
    assert made.calibration is None and "calibration" not in json.loads(made.card_path.read_text())
    assert made.notes == ("not calibrated: 30 drawings to validate on; at least 200 are needed",)
    with pytest.raises(WeightsError, match="exists already"):
        publish(trained, tmp_path / "set")
    assert publish(trained, tmp_path / "set", replace=True, calibrate=False).notes == ()
    with pytest.raises(RunError, match="no run there"):
        publish(tmp_path / "nothing", tmp_path / "set")


def test_a_run_whose_dataset_is_gone(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    there = config["data"]["path"]
    config["data"]["path"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(DatasetError, match="gone"):
        publish(run, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    made = publish(run, tmp_path / "set", without_data=True)
    assert set(made.figures) == {"val"} and "gone" in made.notes[0]
    found = publish(run, tmp_path / "set", data=there, replace=True)
    assert set(found.figures) == {"val", "test"}


def test_the_default_stays_until_another_is_asked_for(trained, tmp_path):
    folder = tmp_path / "lstm"
    assert not publish(trained, folder, without_data=True, calibrate=False).notes
    assert not (folder / "default.txt").exists()  # it is the only one
    (folder / f"{NAME}.model").rename(folder / "simple_lay1_sz9.model")
    (note,) = publish(trained, folder, calibrate=False).notes
    assert (folder / "default.txt").read_text() == "simple_lay1_sz9\n"
    assert note.startswith("the default model stays simple_lay1_sz9") and note.endswith("--default makes it this one")
    assert publish(trained, folder, calibrate=False, replace=True, default=True).notes == ()
    assert (folder / "default.txt").read_text() == f"{NAME}\n"
    (folder / "default.txt").unlink()
    (note,) = publish(trained, folder, calibrate=False, replace=True).notes
    assert note.startswith("nothing says which of 2 models is the default")
