"""The tables that `evaluate` writes."""

import csv
import json

import numpy as np
import pytest
import torch

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.cli import main, tables
from quickstroke.errors import ConfigError
from quickstroke.evaluation.metrics import Evaluation


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_words_are_quoted_and_empty_classes_have_no_accuracy(tmp_path):
    classes = ('say "cheese", please', "café", "t-shirt")
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 2, 0, 0])
    numbers = np.full(4, 0.5)
    result = Evaluation(
        classes, np.arange(4), labels, predicted, numbers, (labels != predicted).astype(np.int64), numbers
    )
    tables.write_per_class(tmp_path / "words.csv", result)
    assert rows_of(tmp_path / "words.csv") == [
        ["true word", "drawings", "recognised", "accuracy", "precision", "f1"],
        [classes[0], "3", "2", "0.666667", "0.666667", "0.666667"],
        [classes[1], "1", "0", "0.0", "", "0.0"],
        [classes[2], "0", "0", "", "0.0", "0.0"],
    ]
    tables.write_confusion(tmp_path / "confusion.csv", result)
    assert rows_of(tmp_path / "confusion.csv") == [
        ["true word", *classes],
        [classes[0], "2", "0", "1"],
        [classes[1], "1", "0", "0"],
        [classes[2], "0", "0", "0"],
    ]
    tables.write_predictions(tmp_path / "each.csv", result, lambda index: ("a.bin", index, 7 * index))
    assert rows_of(tmp_path / "each.csv") == [
        ["true word", "source", "index", "key_id", "guess", "probability", "rank of true word", "loss"],
        [classes[0], "a.bin", "0", "", classes[0], "0.5", "1", "0.5"],
        [classes[0], "a.bin", "1", "7", classes[2], "0.5", "2", "0.5"],
        [classes[0], "a.bin", "2", "14", classes[0], "0.5", "1", "0.5"],
        [classes[1], "a.bin", "3", "21", classes[0], "0.5", "2", "0.5"],
    ]
    assert result.map3() == pytest.approx((1 + 1 / 2 + 1 + 1 / 2) / 4)
    (tmp_path / "each.csv").unlink()
    text = (tmp_path / "confusion.csv").read_bytes().decode("utf-8")
    assert text.startswith('true word,"say ""cheese"", please",café,t-shirt\n') and "\r" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.csv", "words.csv"]


def test_only_new_files_and_tables_are_written(tmp_path):
    (tmp_path / "drawings.csv").write_text("key_id,drawing\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "old.csv").write_text("true word,cat\n")
    tables.check_names({"--per-class": (str(tmp_path / "old.csv"),), "--confusion": (str(tmp_path / "new.csv"),)})
    tables.check_names({"--per-class": None, "--confusion": ()})
    for names, message in (
        (("drawings.csv",), "is there and is no such table"),
        (("folder.csv",), "is there and is no such table"),
        (("cat.bin",), "expected a FILE.csv"),
        (("a.csv", "b.csv"), "takes one FILE.csv, got 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            tables.check_names({"--per-class": [str(tmp_path / name) for name in names]})
    with pytest.raises(ConfigError, match=r"--per-class and --confusion both name .*x\.csv"):
        tables.check_names({"--per-class": ["x.csv"], "--confusion": ["x.csv"]})


def test_the_command_writes_them(dataset, tmp_path, capsys):
    torch.manual_seed(0)
    model = qs.StrokeClassifier(qs.ModelConfig.from_name("simple_lay1_sz8", n_classes=3)).eval()
    path = write_model(tmp_path, LoadedModel(model, dataset.classes, None, tmp_path), {})
    start = ["evaluate", str(path), "--data", str(dataset.path), "--split", "test", "--json"]
    words, confusion = tmp_path / "words.csv", tmp_path / "confusion.csv"
    assert main([*start, "--per-class", "--confusion"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    for _ in range(2):  # the second time over the first
        assert main([*start, "--per-class", str(words), "--confusion", str(confusion)]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1]) == said
    assert [row[0] for row in rows_of(words)[1:]] == list(dataset.classes)
    for row in rows_of(words)[1:]:
        assert row[1] == "10" and float(row[3]) == pytest.approx(said["per_class"][row[0]], rel=1e-5)
    assert [[int(n) for n in row[1:]] for row in rows_of(confusion)[1:]] == said["confusion"]
    assert main([*start, "--per-class", str(path.with_suffix(".json"))]) == 2
    assert "expected a FILE.csv" in capsys.readouterr().err


@pytest.mark.parametrize("from_files", [False, True])
def test_each_drawing_has_its_guess(dataset, binary_folder, tmp_path, from_files):
    """Of a dataset, and of files, whose drawings are taken in another order than they are read."""
    torch.manual_seed(0)
    model = qs.StrokeClassifier(qs.ModelConfig.from_name("simple_lay1_sz8", n_classes=3)).eval()
    classes = dataset.classes[::-1]
    path = write_model(tmp_path, LoadedModel(model, classes, None, tmp_path), {})
    given = [str(binary_folder)] if from_files else ["--data", str(dataset.path), "--split", "test"]
    assert main(["evaluate", str(path), *given, "--predictions", str(tmp_path / "each.csv")]) == 0
    rows = rows_of(tmp_path / "each.csv")[1:]
    assert len(rows) == (180 if from_files else 30)
    read = {drawing.key_id: drawing for drawing in qs.read_drawings(binary_folder)}
    recognizer = qs.load(path)
    for word, source, index, key_id, guess, probability, place, loss in rows:
        drawing = read[int(key_id)]
        ranked = recognizer.predict(drawing, top=3)
        assert (drawing.word, ranked[0].word) == (word, guess)
        assert float(probability) == pytest.approx(ranked[0].probability, abs=2e-5)
        true = [each.word for each in ranked].index(word)
        assert int(place) == true + 1 and float(loss) == pytest.approx(-np.log(ranked[true].probability), abs=1e-4)
        if from_files:
            assert list(qs.read_drawings(source))[int(index)].key_id == drawing.key_id
        else:
            assert source == str(dataset.path) and dataset.key_ids[int(index)] == drawing.key_id


def test_predict_writes_a_row_for_each_drawing(dataset, binary_folder, tmp_path, capsys):
    torch.manual_seed(0)
    model = qs.StrokeClassifier(qs.ModelConfig.from_name("simple_lay1_sz8", n_classes=3)).eval()
    path = write_model(tmp_path, LoadedModel(model, dataset.classes, None, tmp_path), {})
    table = tmp_path / "each.csv"
    (tmp_path / "own.ndjson").write_text('no drawing\n{"drawing":[[[1,9,30],[2,8,1]]]}\n')
    given = [str(binary_folder / "star.bin"), str(tmp_path / "own.ndjson"), "--skip-invalid", "--top", "5"]
    assert main(["predict", *given, "--model", str(path), "--predictions", str(table), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["drawings"]
    heads, *rows = rows_of(table)
    assert heads[:8] == ["true word", "source", "index", "key_id", "guess", "probability", "guess 2", "probability 2"]
    assert heads[-1] == "unknown" and {len(row) for row in rows} == {len(heads)} == {4 + 2 * 5 + 1}
    assert len(rows) == len(said) == 61
    for row, drawing in zip(rows, said, strict=True):
        assert row[4:10:2] == [guess["word"] for guess in drawing["guesses"]]
        assert [float(value) for value in row[5:11:2]] == pytest.approx(
            [guess["probability"] for guess in drawing["guesses"]], abs=2e-6
        )
        assert row[10:] == [""] * 5  # the model knows three words, and nothing was fitted
    assert rows[0][:4] == ["star", str(binary_folder / "star.bin"), "0", said[0]["key_id"]]
    assert rows[-1][:4] == ["", str(tmp_path / "own.ndjson"), "1", ""]
    assert main(["predict", *given, "--model", str(path), "--predictions", str(tmp_path / "own.ndjson")]) == 2
    assert "--predictions" in capsys.readouterr().err
