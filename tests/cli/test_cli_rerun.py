"""`quickstroke rerun`: the same once more, or what is not the same."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from quickstroke.artifacts import runs
from typed_commands import MODEL, config_of, one_line


def test_a_rerun_comes_out_the_same(run, trained, tmp_path):
    result = run("rerun", trained, "--into", tmp_path / "again", "--json")
    assert result.code == 0 and "the same to the last bit" in result.err
    assert result.json["is_same"] and result.json["environment"] == []
    weights, again = (torch.load(folder / "last.model") for folder in (trained, tmp_path / "again"))
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    configs = [config_of(folder) for folder in (tmp_path / "again", trained)]
    assert [config.pop("folders")["run"] for config in configs] == [str(tmp_path / "again"), str(trained)]
    assert configs[0] == configs[1]


def test_what_a_run_was_is_known_before_pytorch_is_imported(trained):
    # Its threads are told then how to wait.
    program = """
import sys
from quickstroke.cli import rerun

def note(**options):
    print("torch" in sys.modules, options)
    raise SystemExit

rerun.import_torch = note
rerun.main(sys.argv[1:])
"""
    done = subprocess.run([sys.executable, "-c", program, trained], capture_output=True, text=True, check=True)
    assert done.stdout == "False {'trains_padded': False}\n"


def copy_of(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained, folder)
    return folder


def test_a_rerun_lies_beside_its_run_however_that_is_named(run, trained, tmp_path, monkeypatch):
    copy_of(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    assert run("rerun", ".").code == 0
    assert (tmp_path / "run-again" / "best.model").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-again"]


def test_two_trainings_of_one_run_are_refused(run, trained, dataset, tmp_path):
    asked = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1)
    with runs.held(tmp_path / "new" / "run"):
        one_line(run(*asked, "--into", tmp_path / "new" / "run", "--resume"), "another process is training it")
    assert not (tmp_path / "new").exists()
    assert run(*asked, "--into", tmp_path / "made" / ".." / "beside").code == 0
    assert (tmp_path / "made").is_dir() and (tmp_path / "beside" / "best.model").is_file()
    copy_of(trained, tmp_path / "run")
    with runs.held(tmp_path / "run"):
        one_line(run(*asked, "--into", tmp_path / "run", "--resume"), "another process is training it")
        one_line(run("rerun", trained, "--into", tmp_path / "run", "--resume"), "another process is training it")
    assert run(*asked, "--into", tmp_path / "new" / "run").code == 0


def test_a_rerun_tells_what_is_not_the_same(run, trained, tmp_path):
    other = copy_of(trained, tmp_path / "run")
    lines = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    loss = lines[1]["loss"]
    lines[1]["loss"] = loss + 1e-12
    (other / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    weights = torch.load(other / "last.model")
    weights["linear.bias"][0] += 0.25
    torch.save(weights, other / "last.model")
    environment = json.loads((other / "environment.json").read_text())
    environment["packages"]["torch"] = "1.0"
    (other / "environment.json").write_text(json.dumps(environment))
    result = run("rerun", other, "--json")
    assert result.code == 3
    for text in ("from epoch 2 on, loss", repr(loss), "difference of a weight is 0.25", "best validation accuracy"):
        assert text in result.err
    assert "torch: 1.0, now" in result.err
    assert result.json["first_epoch"] == 2 and not result.json["is_same"]
    assert result.json["rerun"] == f"{other}-again"


def test_a_rerun_needs_a_whole_run_and_its_dataset(run, trained, binary_folder, tmp_path):
    one_line(run("rerun", trained, "--into", trained), "the run itself")
    half = copy_of(trained, tmp_path / "half")
    lines = (half / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text(lines[0])
    one_line(run("rerun", half), "ended 1 of 2 epochs")
    other = tmp_path / "other"
    assert run("prepare", binary_folder, "--into", other, "--n-train", 10, "--n-val", 5, "--n-test", 0).code == 0
    one_line(run("rerun", trained, "--into", tmp_path / "x", "--data", other), "not the dataset of", "manifest")
    one_line(run("rerun", trained, "--into", half), "exists already")
    (half / "metrics.jsonl").write_text("".join(lines))
    (half / "last.model").write_bytes(b"nothing")
    one_line(run("rerun", half), "last.model: not a PyTorch file")
    assert not (tmp_path / "half-again").exists()  # told before hours of training
