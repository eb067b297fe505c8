"""Files that version 0.1.0 wrote still open: a dataset, runs, a checkpoint, a card, a study, TOML, a results document.

`golden/old_0_1_0` was written by that version from synthetic drawings, on one thread, and is never written again.
The run `strong` was interrupted in the second of its three epochs, and has a teacher; `expected.json` holds what it
comes to without the interruption. The study has run two trials.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import quickstroke as qs
from quickstroke.cli import main
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


def test_a_training_reads_its_toml(old, go):
    """It has all options by the names that they had."""
    expected = json.loads((old / "expected.json").read_text())["strong"]
    go("train", STUDENT, "--data", "data", "--into", "anew", "--config", "train.toml")
    assert [line["loss"] for line in metrics(old / "anew")] == pytest.approx(
        [line["loss"] for line in expected], rel=0.02
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
    assert found["trials"][0]["values"]["view_strength"] == before["train"]["view_strength"]
    assert "All trials" in (old / "study" / "study.md").read_text(encoding="utf-8")
