"""`quickstroke publish`: calibration, and figures by the dataset of the run or by another one."""

import errno
import json
import os
import shutil

import pytest
import torch

from quickstroke.cli.answers import _rounded
from quickstroke.data.dataset import PreparedDataset
from quickstroke.evaluation.calibration import HIGHEST_TEMPERATURE
from quickstroke.export import publish as export_publish
from quickstroke.formats import binary
from typed_commands import MODEL, config_of, one_line


@pytest.mark.parametrize("calibrate", [True, False])
def test_publishing_calibrates_where_there_are_drawings_enough(run, trained, tmp_path, monkeypatch, calibrate):
    monkeypatch.setattr("quickstroke.export.publish.MIN_CALIBRATION", 30)
    more = () if calibrate else ("--no-calibrate",)
    shutil.copytree(trained, tmp_path / "run")
    weights = torch.load(tmp_path / "run" / "best.model", weights_only=True)
    for key in ("linear.weight", "linear.bias"):  # far too sure of itself
        weights[key] *= 20
    torch.save(weights, tmp_path / "run" / "best.model")
    trained = tmp_path / "run"
    result = run("publish", trained, "--into", tmp_path / "set", "--json", *more)
    assert result.code == 0 and "not calibrated" not in result.err
    card = json.loads((tmp_path / "set" / f"{MODEL}.json").read_text())
    for key in ("top1_of_points", "balanced_accuracy_of_points"):
        assert list(card["figures"]["test"][key]) == ["0.25", "0.5", "0.75", "1"]
    weights = [
        torch.load(path, weights_only=True) for path in (trained / "best.model", tmp_path / f"set/{MODEL}.model")
    ]
    assert torch.equal(weights[0]["lstm.weight_ih_l0"], weights[1]["lstm.weight_ih_l0"])
    scale = weights[1]["linear.weight"] / weights[0]["linear.weight"]
    if calibrate:
        said = card["calibration"]
        assert result.json["calibration"] == _rounded(said) and said["split"] == "val"
        torch.testing.assert_close(scale, torch.full_like(scale, 1 / said["temperature"]))
        assert said["temperature"] > 2 and said["select_by"] == "top1"
        assert said["error_after"]["val"] < said["error_before"]["val"]
        told = result.err
        assert f"calibrated for top1: temperature {said['temperature']:.3f}, logit adjustment tau 0.000" in told
        for split in ("val", "test"):
            assert said["error_after"][split] == card["figures"][split]["calibration_error"]
            assert said["top1_before"][split] == said["top1_after"][split] == card["figures"][split]["top1"]
            assert f"  {split}: top-1 {said['top1_before'][split]:.2%} -> {said['top1_after'][split]:.2%}, " in told
    else:
        assert "calibration" not in card
        assert torch.equal(weights[0]["linear.weight"], weights[1]["linear.weight"])


def test_a_model_that_knows_no_more_than_chance_is_told(run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("quickstroke.export.publish.MIN_CALIBRATION", 30)
    shutil.copytree(trained, tmp_path / "run")
    weights = torch.load(tmp_path / "run" / "best.model", weights_only=True)
    weights["linear.weight"], weights["linear.bias"] = -weights["linear.weight"], -weights["linear.bias"]
    torch.save(weights, tmp_path / "run" / "best.model")
    result = run("publish", tmp_path / "run", "--into", tmp_path / "set", "--json")
    assert result.code == 0 and "no better than chance: so all are equally probable" in result.err
    assert result.json["calibration"]["temperature"] == HIGHEST_TEMPERATURE
    assert "no better" not in run("publish", trained, "--into", tmp_path / "set", "--replace").err


def test_few_drawings_do_not_calibrate(run, trained, tmp_path):
    result = run("publish", trained, "--into", tmp_path / "set", "--json")
    assert result.code == 0
    assert "not calibrated: 30 drawings to validate on; at least 200 are needed" in result.err
    assert "calibration" not in result.json
    assert result.json["notes"] == ["not calibrated: 30 drawings to validate on; at least 200 are needed"]


def test_publishing_scores_another_datasets_test_split_unless_it_was_learnt_from(run, trained, binary_folder, tmp_path):
    kept = tmp_path / "kept"
    assert run("prepare", binary_folder, "--into", kept, "--n-train", 50, "--n-val", 0, "--n-test", 10).code == 0
    published = run("publish", trained, "--into", tmp_path / "set", "--test-data", kept, "--json")
    assert published.code == 0 and published.json["figures"]["test"]["n"] == 30
    card = json.loads((tmp_path / "set" / f"{MODEL}.json").read_text())
    assert card["test_data"]["manifest_sha256"] != card["data"]["manifest_sha256"]
    evaluated = run("evaluate", tmp_path / "set" / f"{MODEL}.model", "--data", kept, "--split", "test", "--json")
    assert evaluated.json["top1"] == pytest.approx(card["figures"]["test"]["top1"], abs=1e-6)

    seen = tmp_path / "seen"
    assert run("prepare", binary_folder, "--into", seen, "--n-train", 30, "--n-val", 0, "--n-test", 10).code == 0
    refused = run("publish", trained, "--into", tmp_path / "other", "--test-data", seen)
    one_line(refused, "10 test drawings of 'circle'", "learnt from", "--held-out")
    none = tmp_path / "none"
    (tmp_path / "stars").mkdir()
    shutil.copy(binary_folder / "star.bin", tmp_path / "stars" / "cat.bin")
    assert run("prepare", tmp_path / "stars", "--into", none, "--fractions", 0, 0, 1).code == 0
    without = run("publish", trained, "--into", tmp_path / "other", "--test-data", none)
    one_line(without, "split 'test' has no drawing of the words of " + MODEL)
    validated = tmp_path / "validated"
    assert run("prepare", binary_folder, "--into", validated, "--n-train", 40, "--n-val", 0, "--n-test", 10).code == 0
    refused = run("publish", trained, "--into", tmp_path / "other", "--test-data", validated)
    one_line(refused, "10 test drawings of 'circle'", "chose its epoch and its calibration", "--held-out")
    assert not (tmp_path / "other").exists()


def test_publishing_finds_the_dataset_where_it_is_now(run, dataset, trained, binary_folder, tmp_path):
    moved = shutil.copytree(trained, tmp_path / "moved")
    values = config_of(moved)
    values["data"]["path"] = "gone"
    (moved / "config.json").write_text(json.dumps(values))
    refused = run("publish", moved, "--into", tmp_path / "no", "--json")
    one_line(refused, "the dataset of this run is gone: gone", "--data DIR, or --without-data to publish without it")
    assert refused.out == ""
    poor = run("publish", moved, "--into", tmp_path / "poor", "--json", "--without-data")
    assert poor.code == 0 and set(poor.json["figures"]) == {"val"}
    assert "not calibrated; the figures are those of the run's own validation: " in poor.err
    for option in ("--data", "--test-data"):
        contradiction = run("publish", moved, "--into", tmp_path / "no", "--without-data", option, dataset.path)
        one_line(contradiction, f"{option} and --without-data contradict each other")
    found = run("publish", moved, "--into", tmp_path / "found", "--data", dataset.path, "--json")
    assert found.code == 0 and set(found.json["figures"]) == {"val", "test"}
    one_line(run("publish", moved, "--into", tmp_path / "no", "--data", tmp_path / "nowhere"), "nowhere")
    assert run("prepare", binary_folder, "--into", tmp_path / "other", "--n-train", 39, "--n-val", 5).code == 0
    one_line(
        run("publish", moved, "--into", tmp_path / "no", "--data", tmp_path / "other"), "is not the dataset of this run"
    )
    both = run("publish", moved, "--into", tmp_path / "no", "--test-data", tmp_path / "other")
    one_line(both, "--test-data needs the run's own dataset, too", "gone")
    assert not (tmp_path / "no").exists()


def test_publishing_words_without_test_drawings(run, drawings, tmp_path):
    """The dataset has test drawings, of other words."""
    folder = tmp_path / "files"
    folder.mkdir()
    for word, n in (("circle", 7), ("house", 7), ("star", 60)):
        binary.write(folder / f"{word}.bin", drawings[word][:n])
    assert run("prepare", folder, "--into", tmp_path / "data", "--fractions", 0.5, 0.46, 0.04).code == 0
    by_class = PreparedDataset(tmp_path / "data").manifest["n_by_class"]
    words = [word for word in by_class if not by_class[word]["test"]]
    assert 0 < len(words) < 3 and all(by_class[word]["val"] for word in words)
    options = ("--data", tmp_path / "data", "--n-epochs", 1, "--into", tmp_path / "run")
    assert run("train", MODEL, *options, "--train-classes", *words).code == 0
    published = run("publish", tmp_path / "run", "--into", tmp_path / "set", "--json")
    assert published.code == 0 and set(published.json["figures"]) == {"val"}


@pytest.mark.parametrize("command", ["publish", "report", "export"])
def test_where_nothing_can_be_written_nothing_is_measured(run, trained, tmp_path, monkeypatch, command):
    for name in ("quickstroke.export.publish._parts", "quickstroke.reports.report._measured"):
        monkeypatch.setattr(name, lambda *given: pytest.fail("measured"))
    monkeypatch.setattr("quickstroke.cli.export._write_onnx", lambda *given: pytest.fail("exported"))
    (tmp_path / "file").write_text("kept")
    source, into, target = {
        "publish": (trained, "file/lstm", f"file/lstm/{MODEL}.model"),
        "report": (trained, "file/results.md", "file/results.md"),
        "export": ("simple_lay1_sz64", "file/a.onnx", "file/a.onnx"),
    }[command]
    result = run(command, source, "--into", tmp_path / into)
    one_line(result, f"quickstroke {command}: {tmp_path / target}: Not a directory")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_model_that_another_process_published_meanwhile_stays(run, trained, tmp_path, monkeypatch):
    measure = export_publish._figures

    def measure_while_another_publishes(*given):
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / f"{MODEL}.model").write_text("another one's")
        return measure(*given)

    monkeypatch.setattr(export_publish, "_figures", measure_while_another_publishes)
    one_line(run("publish", trained, "--into", tmp_path / "set"), f"{MODEL}.model: exists already; give --replace")
    assert (tmp_path / "set" / f"{MODEL}.model").read_text() == "another one's"


def test_a_failed_publishing_leaves_no_folder(run, trained, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("quickstroke.artifacts.loading.write_text", fail)
    one_line(run("publish", trained, "--into", tmp_path / "sets" / "set"), "No space left on device")
    assert list(tmp_path.iterdir()) == []
