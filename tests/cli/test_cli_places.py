"""A run finds its dataset, and what it began with, from any working folder, and when all was moved together."""

import json
import os
import shutil
import sys

import pytest

from quickstroke.artifacts import runs
from quickstroke.artifacts.runs import Places
from quickstroke.cli import main
from quickstroke.errors import DatasetError

MODEL = "simple_lay1_sz4"


@pytest.fixture
def work(dataset, tmp_path, monkeypatch):
    """A folder with `data` and two runs, `first` and `runs/second`, trained there by relative paths."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copytree(dataset.path, folder / "data")
    monkeypatch.chdir(folder)
    start = ["train", MODEL, "--data", "data", "--n-epochs", "1", "--device", "cpu"]
    assert main([*start, "--into", "first"]) == 0
    assert main([*start, "--into", "runs/second", "--pretrained", "first"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def commands_work(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 30
    assert main(["publish", str(run), "--into", "set", "--replace", "--json"]) == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)["figures"]) == {"val", "test"} and "nothing is known" not in captured.err
    assert main(["report", str(run), "--into", "results.md", "--no-mistakes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sections"][0]["n"] == 30
    assert main(["rerun", str(run), "--into", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_same"]
    shutil.rmtree("again")


def test_from_another_working_folder_and_moved_together(work, tmp_path, capsys):
    commands_work(work / "runs" / "second", capsys)
    work.rename(tmp_path / "moved")
    commands_work(tmp_path / "moved" / "runs" / "second", capsys)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names of files are UTF-8 there")
def test_a_folder_whose_name_is_no_utf8(work, tmp_path, capsys, monkeypatch):
    """As archives from a Japanese Windows leave them."""
    folder = work.rename(tmp_path / os.fsdecode(b"\x83f\x81[\x83^"))
    commands_work(folder / "runs" / "second", capsys)
    start = ["train", MODEL, "--data", str(folder / "data"), "--n-epochs", "1", "--device", "cpu"]
    assert main([*start, "--into", str(folder / "third"), "--pretrained", str(folder / "first")]) == 0
    assert runs.open_data(runs.read_config(folder / "third")).path == folder / "data"
    assert main(["publish", str(folder / "third"), "--into", str(folder / "set")]) == 0
    for to in ("onnx", "safetensors", "quickstroke"):
        assert main(["export", str(folder / "set"), "--to", to, "--into", f"{to}.{to}"]) == 0
    assert main(["report", str(folder / "first"), "--into", str(folder / "r.md"), "--no-mistakes"]) == 0
    capsys.readouterr()
    assert main(["tune", MODEL, "--data", str(folder / "data"), "--into", str(folder / "study")]) == 2
    assert "the name is no UTF-8, which SQLite asks for; give another folder" in capsys.readouterr().err


def test_older_runs_are_found_by_the_folders_above_them(work, capsys):
    path = work / "runs" / "second" / "config.json"
    values = json.loads(path.read_text())
    del values["folders"]
    path.write_text(json.dumps(values))
    commands_work(work / "runs" / "second", capsys)


def test_another_dataset_of_the_name_is_passed_over(work, binary_folder, capsys):
    run = work / "runs" / "second"
    assert main(["prepare", str(binary_folder), "--into", "data"]) == 0  # where "data" of the run is not meant
    config = runs.read_config(run)
    assert runs.open_data(config).path == work / "data"
    shutil.rmtree(work / "data")
    with pytest.raises(DatasetError, match="is not the dataset of this run"):
        runs.open_data(config)
    shutil.rmtree("data")
    with pytest.raises(
        DatasetError, match=f"the dataset of this run is gone: data, where nothing is at {work / 'data'}"
    ):
        runs.open_data(config)
    capsys.readouterr()
    for command in (
        ["evaluate", run],
        ["publish", run, "--into", "set"],
        ["report", run, "--into", "r.md"],
        ["rerun", run],
    ):
        assert main(list(map(str, command))) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "gone" in err and "--data DIR" in err


def test_a_path_that_means_the_same_stays_as_it_is(work, monkeypatch):
    places = Places(work / "first", str(work / "first"), str(work))
    assert places.locate("data") == str(work / "data")
    assert places.locate("no/such") == "no/such"
    monkeypatch.chdir(work)
    assert places.locate("data") == "data"
    assert Places(work / "first").locate("data") == "data"
