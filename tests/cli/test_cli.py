"""The commands as a user types them, on synthetic drawings, from files to ranked words."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quickstroke import cli
from quickstroke.cli import main
from quickstroke.formats import binary
from typed_commands import MODEL, one_line


def test_usage_lists_every_command(run):
    result = run("--help")
    assert result.code == 0
    for command in cli.COMMANDS:
        assert re.search(rf"^  {command} ", result.out, re.M)
    assert run().code == 2
    assert run("--version").out.startswith("quickstroke ")


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help_and_refuses_an_unknown_option(run, command):
    result = run(command, "--help")
    assert result.code == 0
    assert f"usage: quickstroke {command}" in result.out
    wrong = run(command, "--no-such-option")
    assert wrong.code == 2
    assert "Traceback" not in wrong.err


def test_unknown_command_names_the_known_ones(run):
    one_line(run("trian"), "'trian'", "train")


def test_five_commands_from_files_to_words(run, binary_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared = run("prepare", binary_folder, "--into", "data", "--fractions", 0.6, 0.2, 0.2, "--json")
    assert prepared.code == 0
    assert prepared.json["n"] == 180
    assert sum(prepared.json["splits"].values()) == 180

    trained = run("train", MODEL, "--data", "data", "--into", "run", "--n-epochs", 3, "--batch-size", 16, "--json")
    assert trained.code == 0
    epochs = [line for line in trained.err.splitlines() if line.startswith("Epoch: ")]
    assert len(epochs) == 3
    form = r"Epoch: \d/3, loss: \d+\.\d{4}, validation accuracy: \d+\.\d\d% took: \d+\.\d\d seconds"
    assert all(re.fullmatch(form, line) for line in epochs)
    assert re.search(r"^Training ended after 3 ! Best validation accuracy: \d+\.\d\d%$", trained.err, re.M)
    assert trained.json["best_val_top1"] == max(line["val_top1"] for line in trained.json["metrics"])
    assert "\r" not in trained.err  # no bar where stderr is no terminal

    evaluated = run("evaluate", "run", "--data", "data", "--split", "test", "--json")
    assert evaluated.code == 0
    keys = {"top1", "top3", "top5", "balanced_accuracy", "loss", "n", "left_out", "parameters", "protocol", "model"}
    assert keys <= evaluated.json.keys()
    assert evaluated.json["n"] == prepared.json["splits"]["test"]
    assert evaluated.json["top3"] == evaluated.json["top5"] == 1
    learnt = run("evaluate", "run", binary_folder, "--json")  # the files that the dataset was made of
    n_train = prepared.json["splits"]["train"]
    assert learnt.code == 0 and f"{n_train} of the 180 drawings are among those that the run learnt from" in learnt.err

    published = run("publish", "run", "--into", "lstm", "--json")
    assert "in this folder it is the default model now" in published.err
    assert published.code == 0
    assert published.json["figures"]["test"]["top1"] == evaluated.json["top1"]
    one_line(run("publish", "run", "--into", "lstm"), "exists already", "--replace")
    again = run("publish", "run", "--into", "lstm", "--replace")
    assert again.code == 0 and "default model" not in again.err

    models = run("models", "--json")
    # What is published here comes before what comes with the package.
    assert [row["name"] for row in models.json["models"] if row["default"]] == [MODEL]
    assert models.err.startswith(f"* {MODEL}  3 classes") and run("models").out == models.err

    predicted = run("predict", binary_folder / "star.bin", "--limit", 4, "--top", 2, "--json")
    assert predicted.code == 0
    assert predicted.json["model"] == MODEL
    assert len(predicted.json["drawings"]) == 4
    for row in predicted.json["drawings"]:
        first, second = row["guesses"]
        assert 1 >= first["probability"] >= second["probability"] >= 0
        assert row["word"] == "star"
    again = run("predict", binary_folder / "star.bin", "--limit", 4, "--top", 2, "--model", MODEL, "--json")
    assert again.json["drawings"] == predicted.json["drawings"]


def test_json_is_json_in_any_encoding(run, trained, drawings, tmp_path, monkeypatch):
    path = tmp_path / "é😀.bin"
    binary.write(path, drawings["star"][:1])
    for encoding in ("ascii", "latin-1", "utf-8"):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr("sys.stdout", stdout)
        assert main(["predict", str(path), "--model", str(trained), "--json"]) == 0
        stdout.seek(0)  # flushes
        told = json.loads(stdout.buffer.getvalue().decode(encoding))
        assert told["drawings"][0]["file"] == str(path)


@pytest.mark.parametrize("columns", [1, 5, 20])
def test_help_ends_in_the_narrowest_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run("train", "--help")
    assert done.code == 0 and "usage: quickstroke train" in done.out


@pytest.mark.parametrize(("redirection", "code"), [("| true", 0), (">&-", 0), ("> /dev/full", 2)])
@pytest.mark.parametrize(("arguments", "unbuffered"), [("--help", "1"), ("report --help", "1"), ("models", "")])
def test_output_that_goes_nowhere(arguments, unbuffered, redirection, code):
    if redirection == "> /dev/full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f"set -o pipefail; {shlex.quote(sys.executable)} -m quickstroke {arguments} {redirection}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert not code or "No space left on device" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_clear_line(run, monkeypatch, binary_folder, tmp_path):
    import errno

    from quickstroke.preparation import writer

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer.Writer, "append", full)
    one_line(run("prepare", binary_folder, "--into", tmp_path / "data"), "No space left on device", "data")
    assert list(tmp_path.iterdir()) == []


def test_a_training_without_memory_is_one_clear_line(run, monkeypatch, dataset, tmp_path):
    import torch

    from quickstroke.training import loop

    monkeypatch.setattr(loop, "accumulate_gradients", lambda *_, **__: torch.empty(2**55, dtype=torch.uint8))
    given = ("train", "simple_lay1_sz4", "--data", dataset.path, "--n-epochs", 1, "--into", tmp_path / "run")
    one_line(run(*given), "out of memory; a smaller --batch-size takes less", "DefaultCPUAllocator")


@pytest.mark.parametrize("command", ["prepare", "train", "publish", "report"])
def test_read_only_folder_is_one_clear_line(run, monkeypatch, binary_folder, dataset, tmp_path, command):
    import errno

    if command in ("publish", "report"):
        run("train", "simple_lay1_sz4", "--data", dataset.path, "--n-epochs", "1", "--into", tmp_path / "run")
    into = tmp_path / "read-only"
    mkdir, opened = os.mkdir, Path.open

    def refuse(path):
        if str(path).startswith(str(into)) or Path(path).name.startswith(f".{into.name}"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", lambda path, *args, **options: (refuse(path), mkdir(path, *args, **options))[1])
    monkeypatch.setattr(Path, "open", lambda path, *args, **options: (refuse(path), opened(path, *args, **options))[1])
    given = {
        "prepare": [binary_folder],
        "train": ["simple_lay1_sz4", "--data", dataset.path],
        "publish": [tmp_path / "run", "--no-calibrate"],
        "report": [tmp_path / "run"],
    }[command]
    target = into / "results.md" if command == "report" else into
    one_line(run(command, *given, "--into", target), "Read-only file system", "read-only")
    assert not into.exists()


def test_demo_offline_teaches_and_recognises(run, monkeypatch, tmp_path):
    from quickstroke.cli import demo

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_N_SYNTHETIC", 30)
    result = run("demo", "--offline")
    assert result.code == 0
    assert "synthetic drawings, made by a program" in result.out
    assert "real drawings from" not in result.out
    for command in ("prepare", "train", "evaluate", "publish", "predict"):
        assert f"\n$ quickstroke {command} " in result.out
    assert len(re.findall(r"examples\.ndjson:\d+ \[", result.out)) == 12
    for path in (tmp_path / "demo" / "run2" / "best.model", tmp_path / "demo" / "lstm" / "own.model"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    again = run("demo", "--offline", "--json")  # a former demo is replaced, and nothing else
    assert again.code == 0 and "\n$ quickstroke train " in again.err
    model = "demo/lstm/demo/bipool_cv1_48_5_2_cv2_96_5_2_lay1_sz64.model"
    assert again.json == {"into": "demo", "real_drawings": False, "run": "demo/run", "model": model}
    assert (tmp_path / "demo" / "run2" / "best.model").exists() and (tmp_path / "demo" / "lstm" / "own.model").exists()
    with monkeypatch.context() as patch:  # Ctrl-C in one of its commands
        patch.setattr("quickstroke.cli.train.main", lambda args: 130)
        assert run("demo", "--offline").code == 130
    (tmp_path / "mine").mkdir()
    one_line(run("demo", "--offline", "--into", "mine"), "no former demo")


def test_options_of_an_evaluation_without_effect_are_told(run, trained, dataset, binary_folder):
    files = binary_folder / "star.bin"
    standard = run("evaluate", trained, "--data", dataset.path, "--batch-size", 7)
    assert standard.code == 0 and "--batch-size has no effect" in standard.err
    assert "--split has no effect" in run("evaluate", trained, files, "--split", "test").err
    both = run("evaluate", trained, files, "--protocol", "2020", "--reestimate-batchnorm", "--json")
    assert "--reestimate-batchnorm has no effect" in both.err
    assert both.json == run("evaluate", trained, files, "--protocol", "2020", "--json").json
    assert "no effect" not in run("evaluate", trained, "--data", dataset.path, "--split", "test").err


AUGMENTED = "--augment-magnitude 0.5 --random-rotation 0.1 --prefix-truncation 0.5"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--patience 5", ["--patience 5 has no effect in 1 epochs"]),
        (AUGMENTED, [f"{each} has no effect with --augment none" for each in AUGMENTED.split()[::2]]),
        (f"{AUGMENTED} --augment geometric", ["--prefix-truncation has no effect with --augment geometric"]),
        (
            "--distillation-weight 1 --distillation-temperature 2 --n-cached-epochs 3",
            [
                f"--{name} has no effect without --teacher"
                for name in ("distillation-weight", "distillation-temperature", "n-cached-epochs")
            ],
        ),
        ("--recipe 2020 --dropout 0.5 --teacher-cache cache", ["--teacher-cache has no effect without --teacher"]),
        (
            "--teacher RUN --other-class-fraction 0.5",
            ["--other-class-fraction has no effect: no drawing of DATA has another word"],
        ),
    ],
)
def test_options_of_a_training_without_effect_are_told(run, trained, dataset, tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    options = given.replace("RUN", str(trained)).split()
    result = run("train", MODEL, "--data", dataset.path, "--into", "new", "--n-epochs", 1, *options)
    assert result.code == 0
    lines = [line for line in result.err.splitlines() if "has no effect" in line]
    assert lines == [line.replace("DATA", str(dataset.path)) for line in told]


DAMAGES: dict[str, dict[str, Any]] = {
    "n_by_split": {"n_by_split": None},
    "sources": {"sources": [1]},
    "n ": {"n": -1},
    "n_by_class": {"n_by_class": {"circle": {}}},
    "split": {"split": {"rule": "position"}},
}


@pytest.mark.parametrize(
    "command",
    [
        ["train", MODEL, "--data", "DATA", "--into", "NEW"],
        ["tune", MODEL, "--data", "DATA", "--into", "NEW"],
        ["evaluate", "RUN", "--data", "DATA"],
        ["publish", "RUN", "--into", "NEW", "--data", "DATA"],
        ["report", "RUN", "--into", "NEW.md", "--data", "DATA"],
        ["rerun", "RUN", "--into", "NEW", "--data", "DATA"],
        ["export", "RUN", "--int8", "--data", "DATA", "--into", "NEW.onnx"],
        ["prepare", "BINARY", "--into", "DATA", "--resume"],
        ["prepare", "BINARY", "--into", "NEW", "--held-out", "DATA"],
    ],
    ids=lambda words: f"{words[0]} {' '.join(word for word in words if word in ('--resume', '--held-out'))}",
)
def test_a_damaged_manifest_is_one_line_whatever_opens_it(run, trained, dataset, binary_folder, tmp_path, command):
    data, new = tmp_path / "data", tmp_path / "new"
    shutil.copytree(dataset.path, data)
    whole = json.loads((data / "manifest.json").read_text())
    given = {"DATA": data, "RUN": trained, "BINARY": binary_folder}
    for part, damage in DAMAGES.items():
        (data / "manifest.json").write_text(json.dumps(whole | damage))
        result = run(*(str(given.get(word, word)).replace("NEW", str(new)) for word in command))
        assert f"{data}/manifest.json: damaged manifest: {part}" in result.err
        assert "Traceback" not in result.err
        if command[0] not in ("publish", "report"):  # which go on without, and say so
            one_line(result, "damaged manifest")
        assert not new.exists() or command[0] == "publish"


def test_a_full_disk_is_told_with_its_file(run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    published = run("publish", trained, "--into", tmp_path / "set", "--no-calibrate")
    one_line(published, str(tmp_path / "set" / f"{MODEL}.model:"), "No space left on device")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["prepare", "BINARY", "--into", "NEW/data"], "NEW/data"),
        (["train", MODEL, "--data", "DATA", "--into", "NEW/run", "--n-epochs", 1], "NEW/run/"),
        (["publish", "RUN", "--into", "NEW", "--no-calibrate"], f"NEW/{MODEL}.model"),
        (["report", "RUN", "--into", "NEW/results.md"], "NEW/results_files/"),
        (["export", "RUN", "--to", "safetensors", "--into", "NEW/m.safetensors"], "NEW/m.safetensors"),
        (["render", "BINARY/star.bin", "--into", "NEW/star.svg", "--limit", 9], "NEW/star.svg"),
        (["render", "BINARY/star.bin", "--into", "NEW/star.npy"], "NEW/star.npy"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else words.rpartition(".")[2],
)
def test_what_the_disk_does_not_take_is_told_with_its_file(
    run, trained, dataset, binary_folder, tmp_path, files_of_at_most, command, named
):
    given = {"DATA": dataset.path, "RUN": trained, "BINARY": binary_folder}

    def words(new: str) -> list[str]:
        known = {**given, "NEW": tmp_path / new}
        return [re.sub("^(DATA|RUN|BINARY|NEW)", lambda match: str(known[match[0]]), str(word)) for word in command]

    assert run(*words("whole")).code == 0  # and all is compiled
    with files_of_at_most(1000):
        result = run(*words("new"))
    one_line(result, f": {named.replace('NEW', str(tmp_path / 'new'))}", "File too large")
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file() and path.stat().st_size >= 1000]
    assert not list((tmp_path / "new").rglob(".*"))


def test_words_that_a_terminal_would_obey_or_cannot_show(trained, tmp_path, monkeypatch):
    path = tmp_path / "caf\u00e9.ndjson"
    path.write_text('{"word": "\\u001b[31mred", "drawing": [[[0, 9], [0, 9]]]}\n{"drawing": [[[0, 9], [0, 9]]]}\n')

    def go(*command: object) -> tuple[int, str]:
        """Exit code, and what a terminal is sent that knows ASCII alone."""
        terminal = io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "stderr", terminal)
            code = cli.main(list(map(str, command)))
        return code, terminal.buffer.getvalue().decode()

    code, told = go("predict", path, "--model", trained)
    assert code == 0 and "[\\x1b[31mred]" in told and "caf\\xe9" in told, told
    code, told = go("evaluate", trained, path)
    assert code == 2 and "\\x1b[31mred 1, (without a word) 1" in told, told
