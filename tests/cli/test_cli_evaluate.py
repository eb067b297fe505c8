"""`quickstroke evaluate`: what it counts and tells, of files and of a dataset."""

import json
import os
import re
import shutil

import pytest

from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.cli import main
from quickstroke.config.model import ModelConfig
from quickstroke.formats import binary
from quickstroke.models.classifier import StrokeClassifier
from typed_commands import MODEL, config_of, one_line


def test_evaluate_files_counts_what_it_leaves_out(run, trained, binary_folder, tmp_path, drawings):
    binary.write(tmp_path / "zebra.bin", drawings["star"][:5])
    binary.write(tmp_path / "ant.bin", drawings["star"][:2])
    result = run("evaluate", trained, binary_folder, tmp_path, "--json")
    assert result.code == 0
    assert result.json["n"] == 180
    assert result.json["left_out"] == {"ant": 2, "zebra": 5}
    assert "zebra 5" in result.err
    one_line(run("evaluate", trained, tmp_path), "none of the 7 drawings")
    binary.write(tmp_path / "zebra.bin", drawings["star"][:1])
    (tmp_path / "ant.bin").unlink()
    told = run("evaluate", trained, binary_folder, tmp_path / "zebra.bin").out
    assert "left out: 1 drawing of words that the model does not know (zebra 1)" in told
    few = tmp_path / "few.txt"
    few.write_text("star\nhouse\n", encoding="utf-8")
    result = run("evaluate", trained, binary_folder, "--words", few, "--json")
    assert result.json["words"] == ["star", "house"] and result.json["n"] == 120
    assert result.json["left_out"] == {"circle": 60} and "choosing among 2 words" in result.err
    assert "left out: 60 drawings of words that are not to be chosen (circle 60)" in result.err
    one_line(run("evaluate", trained, binary_folder, "--words", "whal", "sta"), "'whal', 'sta' (did you mean 'star'?)")
    guessed = run("predict", binary_folder / "circle.bin", "--model", trained, "--words", few, "--limit", 1, "--json")
    assert guessed.json["words"] == ["star", "house"]
    assert {guess["word"] for guess in guessed.json["drawings"][0]["guesses"]} == {"star", "house"}


def test_evaluate_details(run, trained, dataset):
    result = run("evaluate", trained, "--data", dataset.path, "--per-class", "--confusion", "--json")
    assert result.json["n"] == 30
    assert sum(map(sum, result.json["confusion"])) == 30
    accuracy = sum(result.json["per_class"].values()) / 3
    assert accuracy == pytest.approx(result.json["top1"], abs=1e-5)
    published = run("evaluate", trained, "--data", dataset.path, "--protocol", "2020", "--batch-size", 10, "--json")
    assert published.json["protocol"] == "2020"
    again = run("evaluate", trained, "--data", dataset.path, "--reestimate-batchnorm", "--json")
    assert again.json["batchnorm_reestimated"] is True


def test_a_second_model_is_compared_on_the_same_drawings(run, trained, dataset, tmp_path):
    model = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz8", n_classes=4))
    words = ("tree", "star", "circle", "house")
    other = write_model(tmp_path, LoadedModel(model.eval(), words, None, tmp_path), {})
    result = run("evaluate", trained, "--data", dataset.path, "--against", other, "--json")
    found = result.json["against"]
    alone = run("evaluate", other, "--data", dataset.path, "--words", *dataset.classes, "--json").json
    assert (
        found["model"] == str(other)
        and found["n_learnt"] is None
        and found["n"] == result.json["n"] == alone["n"] == 30
    )
    assert found["top1"] == pytest.approx(result.json["top1"] - alone["top1"], abs=1e-5)
    assert found["first_only"] - found["second_only"] == round(30 * found["top1"])
    assert found["top1_low"] < found["top1"] < found["top1_high"] and 0 < found["p"] <= 1
    assert f"against {other}: top-1 {100 * found['top1']:+.2f} points (" in result.err
    assert "McNemar's p" in result.err
    shutil.copytree(trained, tmp_path / "again")
    same = run("evaluate", other, "--data", dataset.path, "--words", *dataset.classes, "--split", "train", "--json",
               "--against", tmp_path / "again")  # fmt: skip
    assert same.json["n_learnt"] is None and same.json["against"]["n_learnt"] == 120
    assert f"120 of the 120 drawings are among those that {tmp_path / 'again'} learnt from" in same.err
    padded = run("evaluate", trained, "--data", dataset.path, "--against", trained, "--reestimate-batchnorm", "--json")
    assert padded.json["against"]["first_only"] == padded.json["against"]["second_only"] == 0
    one_line(
        run("evaluate", other, "--data", dataset.path, "--against", trained),
        "does not know 1 word that the first model chooses among, such as 'tree'; exchange both",
    )


@pytest.mark.parametrize(("former", "current"), [("honest", "standard"), ("published", "2020")])
def test_a_former_protocol_is_told_by_its_name_of_today(run, trained, dataset, former, current):
    for words in (("--protocol", former), (f"--protocol={former}",)):
        one_line(run("evaluate", trained, "--data", dataset.path, *words), repr(former), repr(current))
    one_line(run("evaluate", trained, "--data", dataset.path, "--protocol", "no"), "--protocol no", "2020 or standard")


def test_evaluate_needs_one_source_of_drawings(run, trained, dataset):
    model = trained.parent / f"{MODEL}.model"
    shutil.copy(trained / "best.model", model)
    one_line(run("evaluate", model), f"{model}: is no run folder", "files or --data DIR")
    model.unlink()
    one_line(run("evaluate", trained, "--data", dataset.path, "--split", "reserved"), "reserved", "train 120")


def test_evaluate_takes_one_model(run, trained, dataset, monkeypatch, tmp_path):
    told = f"is a model, and `evaluate` takes one, {trained}; `report` compares several"
    for more in ((trained, "--data", dataset.path), (trained,), (trained / "best.model",)):
        one_line(run("evaluate", trained, *more), f"{more[0]}: {told}")
    assert run("publish", trained, "--into", tmp_path / "lstm").code == 0
    monkeypatch.chdir(tmp_path)
    one_line(run("evaluate", trained, MODEL), f"{MODEL}: {told}")
    one_line(run("evaluate", trained, "no-such-thing"), "no-such-thing")


def test_a_published_model_is_evaluated_beside_a_foreign_config(run, trained, binary_folder, tmp_path):
    run("publish", trained, "--into", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    model = tmp_path / f"{MODEL}.model"
    run("export", model, "--to", "safetensors", "--into", tmp_path)
    for path in (model, model.with_suffix(".safetensors")):
        assert run("evaluate", path, binary_folder, "--json").json["n"] == 180
        one_line(run("evaluate", path), f"{path}: is no run folder", "files or --data DIR")


def test_drawings_of_another_dataset_that_a_run_learnt_from_are_told(run, trained, dataset, binary_folder, tmp_path):
    run("prepare", binary_folder, "--into", tmp_path / "other", "--fractions", 0.5, 0.25, 0.25)
    other = run("evaluate", trained, "--data", tmp_path / "other", "--split", "test", "--json")
    told = re.search(r"(\d+) of the \d+ drawings are among those that the run learnt from", other.err)
    assert told and other.json["n_learnt"] == int(told[1]) > 0
    own = ("evaluate", trained, "--data", dataset.path, "--json", "--split")
    tested, trained_on = run(*own, "test"), run(*own, "train")
    assert "learnt from" not in tested.err and tested.json["n_learnt"] == 0
    assert trained_on.json["n_learnt"] == trained_on.json["n"] == 120
    shutil.copytree(trained, tmp_path / "run")
    config = config_of(tmp_path / "run")
    config["data"]["path"] = "gone"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    moved = ("evaluate", tmp_path / "run", "--json", "--split", "train", "--data")
    assert [run(*moved, path).json["n_learnt"] for path in (dataset.path, tmp_path / "other")] == [120, None]
    run("publish", trained, "--into", tmp_path)
    published = run("evaluate", tmp_path / f"{MODEL}.model", "--data", dataset.path, "--json")
    assert published.json["n_learnt"] is None


def test_a_drawing_of_another_word_is_not_one_that_a_run_learnt_from(run, trained, tmp_path, drawings):
    binary.write(tmp_path / "circle.bin", drawings["star"])
    binary.write(tmp_path / "star.bin", drawings["star"][:45])
    told = run("evaluate", trained, tmp_path).err
    assert "40 of the 105 drawings are among those that the run learnt from" in told


def test_drawings_without_key_id_that_a_run_learnt_from_are_told(run, binary_folder, tmp_path):
    files, data, made = (tmp_path / name for name in ("files", "data", "run"))
    assert run("convert", binary_folder, "--to", "npz", "--into", files).code == 0  # which keeps no key_id
    n_train = run("prepare", files, "--into", data, "--json").json["splits"]["train"]
    assert run("train", "simple_lay1_sz8", "--data", data, "--into", made, "--n-epochs", 1).code == 0
    told = run("evaluate", made, files, "--json")
    assert told.json["n"] == 180 and told.json["n_learnt"] == n_train > 0
    assert f"{n_train} of the 180 drawings are among those that the run learnt from" in told.err


def test_evaluate_tells_how_much_of_a_drawing_is_enough(run, trained, dataset):
    start = ("evaluate", trained, "--data", dataset.path, "--json")
    plain, partial = run(*start), run(*start, "--partial")
    assert partial.code == 0
    assert list(partial.json["top1_of_points"]) == ["0.25", "0.5", "0.75", "1"]
    assert partial.json["top1_of_points"]["1"] == partial.json["top1"]
    assert partial.json["top1_of_strokes"]["0.6"] <= partial.json["top3_of_strokes"]["0.6"] <= 1
    assert "top-3 by part of the strokes: 60% " in partial.err
    assert list(partial.json["balanced_accuracy_of_points"]) == ["0.25", "0.5", "0.75", "1"]
    assert partial.json["balanced_accuracy_of_points"]["1"] == partial.json["balanced_accuracy"]
    assert partial.json.items() >= plain.json.items() and "top1_of_points" not in plain.json
    assert {"balanced_accuracy", "calibration_error", "top1_low", "top1_high"} <= plain.json.keys()
    assert partial.err.count("of the points") == 2 and partial.err.count(" 25% ") == 2
    assert "calibration error" in plain.err


def test_tables_are_written_where_nobody_reads_stdout(trained, dataset, tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    file = tmp_path / "predictions.csv"
    with os.fdopen(writer, "w") as nobody:
        nobody.reconfigure(line_buffering=True)  # as with PYTHONUNBUFFERED
        monkeypatch.setattr("sys.stdout", nobody)
        code = main(["evaluate", str(trained), "--data", str(dataset.path), "--predictions", str(file)])
        monkeypatch.undo()
    assert code == 0 and file.is_file()
