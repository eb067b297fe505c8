"""Files that version 0.1.0 wrote still open: a dataset, runs, a checkpoint, a card, a study, TOML, a results document.

`golden/old_0_1_0` was written by that version from synthetic drawings, on one thread, and is never written again.
The run `strong` was interrupted in the second of its three epochs, and has a teacher; `expected.json` holds what it
comes to without the interruption. The study has run two trials.
"""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import quickstroke as qs
from quickstroke.artifacts.runs import read_config
from quickstroke.cli import main
from quickstroke.config import former
from quickstroke.drawings.synthetic import synthetic_drawings

OLD = Path(__file__).resolve().parent / "golden" / "old_0_1_0"
WORDS = ("circle", "house", "star", "triangle")
STUDENT_WORDS = ["star", "circle", "house"]
TINY, STUDENT = "lstm_cv1_4_3_lay1_sz4", "bipool_cv1_4_3_2_img2_lay1_sz4"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the old files, in the working folder: runs name their dataset and teacher from there."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def go(capsys):
    """Runs a command line that ends well, and returns its JSON, or else what it wrote on stdout."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out.splitlines()[-1]) if "--json" in words else captured.out

    return run


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_dataset_opens(old, go):
    data = qs.PreparedDataset("data")
    assert data.classes == WORDS and data.n_by_split(WORDS) == {"reserved": 0, "train": 64, "val": 16, "test": 16}
    made = {drawing.key_id: drawing.strokes for word in WORDS for drawing in synthetic_drawings(24, 7, (word,))}
    for index in range(len(data)):
        strokes = data.strokes(index)
        assert len(strokes) == len(made[int(data.key_ids[index])])
        assert all(map(np.array_equal, strokes, made[int(data.key_ids[index])]))


def test_a_dataset_to_which_was_added_opens(old, go):
    """`prepare --add`, which later versions have not, put house and more of star into it."""
    data = qs.PreparedDataset("added")
    data.verify()
    assert data.classes == ("circle", "house", "star") and len(data) == 48
    assert [source["name"] for source in data.manifest["sources"]] == [
        "circle.bin",
        "star.bin",
        "house.bin",
        "star.bin",
    ]
    made = {drawing.key_id: drawing.strokes for word in data.classes for drawing in synthetic_drawings(24, 7, (word,))}
    for index in range(len(data)):
        assert all(map(np.array_equal, data.strokes(index), made[int(data.key_ids[index])]))
    go("train", TINY, "--data", "added", "--into", "anew", "--n-epochs", 1)


@pytest.mark.parametrize(("run", "words"), [("strong", 3), ("seed", 4), ("default", 4), ("quick", 4)])
def test_a_run_of_each_recipe_is_evaluated(old, go, run, words):
    line = metrics(old / run)[-1]
    best = max(metrics(old / run), key=lambda line: line["val_top1"])
    found = go("evaluate", run, "--data", "data", "--split", "val", "--json")
    assert found["n"] == 4 * words == line["n_val"]
    assert found["top1"] == pytest.approx(best["val_top1"])


@pytest.mark.parametrize("run", ["seed", "default", "quick"])
def test_a_run_is_trained_again(old, go, run):
    shutil.copyfile(old / run / "best.model", old / run / "last.model")
    main(["rerun", run, "--into", "again", "--json"])
    before, after = (metrics(old / name) for name in (run, "again"))
    assert [line["loss"] for line in after] == pytest.approx([line["loss"] for line in before], rel=0.02)


def test_an_interrupted_run_goes_on(old, go):
    expected = json.loads((old / "expected.json").read_text())["strong"]
    assert len(metrics(old / "strong")) == 1
    found = go("train", STUDENT, "--data", "data", "--into", "strong", "--config", "train.toml", "--resume", "--json")
    assert found["epochs"] == 3
    first, *others = metrics(old / "strong")
    assert first["loss"] == expected[0]["loss"]
    assert [line["loss"] for line in others] == pytest.approx([line["loss"] for line in expected[1:]], rel=0.02)


def test_what_a_run_came_to_is_published(old, go):
    found = go("publish", "strong", "--into", "anew", "--json")
    card = json.loads(Path(found["path"]).with_suffix(".json").read_text(encoding="utf-8"))
    assert card["classes"] == STUDENT_WORDS
    recognizer = qs.load(found["path"])
    assert {
        guess.word for guess in recognizer.predict(qs.PreparedDataset("data").strokes(0), simplified=True, top=3)
    } == {*STUDENT_WORDS}


def test_a_published_model_and_its_card_load(old, go):
    recognizer = qs.load(old / "published" / f"{TINY}.model")
    assert recognizer.classes == WORDS
    card = json.loads((old / "published" / f"{TINY}.json").read_text(encoding="utf-8"))
    found = go("evaluate", f"published/{TINY}.model", "--data", "data", "--split", "test", "--json")
    assert found["top1"] == pytest.approx(card["figures"]["test"]["top1"])
    assert found["loss"] == pytest.approx(card["figures"]["test"]["loss"], rel=1e-4)


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_an_export_of_a_published_model_has_the_names_of_today(old, go, kind):
    path = Path(f"published/{TINY}.model")
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["preprocessing"]["name"] == "seed3" and "balanced_top1" in card["figures"]["val"]
    go("export", path, "--to", kind, "--into", f"exported.{kind}")
    recognizer = qs.load(f"exported.{kind}")
    assert recognizer.card["preprocessing"] == {"name": "delta3", "max_padding": 100}
    assert recognizer.card["figures"]["val"]["balanced_accuracy"] == card["figures"]["val"]["balanced_top1"]
    drawing = qs.PreparedDataset("data").strokes(0)
    for guess, other in zip(recognizer.predict(drawing), qs.load(path).predict(drawing), strict=True):
        assert guess.word == other.word and guess.probability == pytest.approx(other.probability, abs=1e-5)


def test_metrics_are_read_and_go_on_under_the_names_of_today(old, go):
    assert {"val_balanced_top1", "val_top1_published_protocol"} <= metrics(old / "strong")[0].keys()
    go("train", STUDENT, "--data", "data", "--into", "strong", "--config", "train.toml", "--resume")
    first, *others = metrics(old / "strong")
    assert all(line.keys() == first.keys() for line in others)
    assert "val_balanced_accuracy" in first
    assert first.keys().isdisjoint({"val_balanced_top1", "val_top1_published_protocol"})


def test_a_training_reads_its_toml(old, go):
    """It has all options by the names that they had."""
    expected = json.loads((old / "expected.json").read_text())["strong"]
    go("train", STUDENT, "--data", "data", "--into", "anew", "--config", "train.toml")
    assert read_config(old / "anew").train == read_config(old / "strong").train
    # The first step of a warm-up moves the weights now; the others come near what they were.
    assert [line["loss"] for line in metrics(old / "anew")[1:]] == pytest.approx(
        [line["loss"] for line in expected[1:]], rel=0.02
    )


def test_a_training_reads_a_results_document(old, go):
    go("train", STUDENT, "--data", "data", "--into", "anew", "--config", "results.md", "--n-epochs", 1)
    config = json.loads((old / "anew" / "config.json").read_text(encoding="utf-8"))
    assert config["classes"] == STUDENT_WORDS and config["model"]["image"] == 2
    assert (config["train"]["batch_size"], config["train"]["max_padding"]) == (16, 60)


def test_runs_are_reported(old, go):
    go("report", "seed", "strong", "quick", "--into", "anew/results.md")
    text = (old / "anew" / "results.md").read_text(encoding="utf-8")
    assert TINY in text and STUDENT in text


def test_a_study_goes_on(old, go):
    before = json.loads((old / "study/trials/0/config.json").read_text(encoding="utf-8"))
    words = ["tune", TINY, "--data", "data", "--into", "study", "--space", "space.toml", "--n-trials", 3]
    words += ["--n-epochs", 1, "--device", "cpu", "--precision", "float32", "--batch-size", 8, "--learning-rate", 0.05]
    found = go(*words, "--resume", "--json")
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 3
    assert found["trials"][0]["values"]["geometric_magnitude"] == before["train"]["view_strength"]
    assert "All trials" in (old / "study" / "study.md").read_text(encoding="utf-8")
    # The third trial trains by the recipe that the two before it had, and the storage has its values by the same names.
    first, third = (json.loads((old / f"study/trials/{n}/config.json").read_text())["train"] for n in (0, 2))
    assert (third["optimizer"], third["schedule"], third["max_padding"]) == ("adam", "constant", 100)
    assert (first["optimizer"], first["schedule"], first["max_padding"]) == ("adam", "constant", 100)
    with sqlite3.connect(old / "study" / "study.db") as storage:
        names = [row[0] for row in storage.execute("SELECT param_name FROM trial_params")]
    assert sorted(names) == sorted(3 * ["accumulate", "balance", "clip_norm", "unfinished", "view_strength"])


def test_a_trial_of_a_study_is_taken_up_with_its_values(old, go):
    """An interrupted trial has values and a run already; with others it could not resume."""
    with sqlite3.connect(old / "study" / "study.db") as storage:
        storage.execute("UPDATE trials SET state = 'WAITING', datetime_complete = NULL WHERE number = 1")
    config = json.loads((old / "study/trials/1/config.json").read_text(encoding="utf-8"))["train"]
    words = ["tune", TINY, "--data", "data", "--into", "study", "--space", "space.toml", "--n-trials", 2]
    words += ["--n-epochs", 1, "--device", "cpu", "--precision", "float32", "--batch-size", 8, "--learning-rate", 0.05]
    trial = go(*words, "--resume", "--json")["trials"][1]
    assert trial["state"] == "complete"
    assert {key: config[then] for then, key in former.RENAMED.items() if key in trial["values"]} == trial["values"]


def test_a_run_with_options_that_have_gone_opens_but_does_not_go_on(old, go, capsys):
    path = old / "strong" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["train"] |= {"label_odds": 5.0, "blend_across": 0.5}
    path.write_text(json.dumps(config), encoding="utf-8")
    assert go("evaluate", "strong", "--data", "data", "--split", "val", "--json")["n"] == 12
    card_path = Path(go("publish", "strong", "--into", "anew", "--json")["path"]).with_suffix(".json")
    training = json.loads(card_path.read_text(encoding="utf-8"))["training"]
    assert (training["label_odds"], training["blend_across"]) == (5.0, 0.5)
    for source in ("strong", card_path.with_suffix(".model")):
        go("report", source, "--data", "data", "--into", "told.md")
        text = (old / "told.md").read_text(encoding="utf-8")
        assert "options that quickstroke does not have any more: `blend_across` = 0.5, `label_odds` = 5.0." in text
    capsys.readouterr()
    assert main(["train", STUDENT, "--data", "data", "--into", "strong", "--resume"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "strong: was trained with blend_across = 0.5, label_odds = 5.0, which this version does not have" in told
    metrics_path = old / "strong" / "metrics.jsonl"
    metrics_path.write_text(3 * metrics_path.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["rerun", "strong", "--into", "again"]) == 2 and not (old / "again").exists()
    assert "strong: was trained with blend_across = 0.5" in capsys.readouterr().err
