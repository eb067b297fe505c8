"""The commands as a user types them, on synthetic drawings, from files to ranked words."""

import io
import json
import os
import pickle
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from quickstroke import cli, formats
from quickstroke.artifacts import runs
from quickstroke.cli import main
from quickstroke.cli.answers import _rounded
from quickstroke.config.recipes import RECIPES
from quickstroke.config.serialize import to_json
from quickstroke.config.training import TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.render import write_picture
from quickstroke.evaluation.calibration import HIGHEST_TEMPERATURE
from quickstroke.formats import binary, ndjson
from quickstroke.reports import document_config, documents

MODEL = "simple_lay1_sz16"


class Result:
    """Exit code, stdout and stderr of a command, and its JSON line."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def go(*args: object) -> Result:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return go


@pytest.fixture(scope="module")
def trained(dataset: PreparedDataset, tmp_path_factory) -> Path:
    """A run of two epochs on the three synthetic words."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", MODEL, "--data", str(dataset.path), "--into", str(folder), "--n-epochs", "2"]) == 0
    return folder


def one_line(result: Result, *parts: str) -> None:
    """A user's mistake: exit code 2, one line on stderr with these parts, no traceback."""
    assert result.code == 2, result.err
    lines = [line for line in result.err.splitlines() if line]
    assert len(lines) == 1, result.err
    assert lines[0].startswith("quickstroke")
    for part in parts:
        assert part in lines[0]


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


def test_report_and_its_document_as_configuration(run, trained, dataset, tmp_path):
    document = tmp_path / "results.md"
    assert run("report", trained, "--into", document).code == 0
    section = documents.read_document(document).find(MODEL)
    assert section.config is not None
    assert section.config["N_train"] == 40
    again = tmp_path / "again"
    result = run("train", MODEL, "--config", document, "--data", dataset.path, "--into", again, "--json")
    assert result.code == 0, result.err
    first = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in result.json["metrics"]] == [float(f"{line['loss']:.6g}") for line in first]


def test_evaluate_files_counts_what_it_leaves_out(run, trained, binary_folder, tmp_path, drawings):
    binary.write(tmp_path / "zebra.bin", drawings["star"][:5])
    binary.write(tmp_path / "ant.bin", drawings["star"][:2])
    result = run("evaluate", trained, binary_folder, tmp_path, "--json")
    assert result.code == 0
    assert result.json["n"] == 180
    assert result.json["left_out"] == {"ant": 2, "zebra": 5}
    assert "zebra 5" in result.err
    one_line(run("evaluate", trained, tmp_path), "none of the 7 drawings")
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


@pytest.mark.parametrize(("former", "current"), [("honest", "standard"), ("published", "2020")])
def test_a_former_protocol_is_told_by_its_name_of_today(run, trained, dataset, former, current):
    for words in (("--protocol", former), (f"--protocol={former}",)):
        one_line(run("evaluate", trained, "--data", dataset.path, *words), repr(former), repr(current))
    one_line(run("evaluate", trained, "--data", dataset.path, "--protocol", "no"), "--protocol no", "2020 or standard")


def test_files_that_are_no_drawing_files_are_told(run, trained, drawings, tmp_path):
    binary.write(tmp_path / "given" / "star.bin", drawings["star"])
    model = trained / "best.model" if (trained / "best.model").exists() else trained
    for command in (
        ["predict", "--model", model, tmp_path / "given", "--limit", 1],
        ["evaluate", model, tmp_path / "given"],
        ["render", tmp_path / "given", "--into", tmp_path / "out.svg", "--limit", 1],
    ):
        assert "ignored" not in run(*command).err
        (tmp_path / "given" / "notes.txt").touch()
        result = run(*command)
        assert result.code == 0 and "ignored 1 file that is no drawing file: notes.txt\n" in result.err
        (tmp_path / "given" / "notes.txt").unlink()
        (tmp_path / "given" / "a.png").touch()
        result = run(*command)
        assert result.code == 0 and "no drawing file" not in result.err
        assert "ignored 1 file of another kind than those read beside it: a.png\nwhat is named" in result.err
        (tmp_path / "given" / "a.png").unlink()


def test_links_to_what_is_read_already_are_told(run, drawings, tmp_path):
    binary.write(tmp_path / "given" / "star.bin", drawings["star"])
    (tmp_path / "given" / "sun.bin").symlink_to("star.bin")
    result = run("prepare", tmp_path / "given", "--into", tmp_path / "data", "--json")
    assert result.code == 0 and result.json["repeated_files"] == ["sun.bin"]
    assert "ignored 1 name of a file that is read by another one: sun.bin\n" in result.err
    assert " of 1 class (" in result.err


def test_one_key_id_of_two_drawings_and_words_of_two_cases_are_told(run, tmp_path):
    path = tmp_path / "mine.ndjson"
    lines = [{"word": word, "key_id": 7, "drawing": [[[0, k], [5, 9]]]} for k, word in ((1, "robot"), (2, "robot"))]
    lines += [{"word": "Robot", "drawing": [[[0, 3], [5, 9]]]}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run("prepare", path, "--into", tmp_path / "data", "--fractions", 1, 0, 0)
    assert result.code == 0 and "left out: 1 repeated key_id" in result.out
    assert "drawings with one key_id are taken for one" in result.err
    assert "words that differ in letter case alone are words of their own: Robot, robot" in result.err


def test_names_of_files_reach_no_terminal_with_what_it_would_obey(run, trained, drawings, tmp_path):
    path = tmp_path / "st\x1b[2Jar\n.bin"
    binary.write(path, drawings["star"][:1])
    told = str(path).replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert run("predict", path, "--model", trained).out.startswith(f"{told}:1 [")
    one_line(run("predict", f"{path}x"), told.replace("\\n", " "))
    ndjson.write(tmp_path / "mixed.ndjson", [*drawings["star"][:1], replace(drawings["star"][1], word="c\x1b[2Jat")])
    evaluated = run("evaluate", trained, tmp_path / "mixed.ndjson")
    assert evaluated.code == 0 and "(c\\x1b[2Jat 1)" in evaluated.out and "\x1b" not in evaluated.out
    rendered = run("render", tmp_path, "--into", tmp_path / "out.svg")
    assert rendered.code == 0 and "\x1b" not in rendered.out


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


def test_predict_says_what_it_traced_and_shows_it(run, trained, drawings, tmp_path):
    pytest.importorskip("skimage")
    (tmp_path / "circle").mkdir()
    (tmp_path / "album").mkdir()
    for folder in ("circle", "album"):
        write_picture(tmp_path / folder / "photo.png", drawings["circle"][:1])
    shown = tmp_path / "traced.svg"
    result = run("predict", f"{tmp_path}/*/photo.png", "--model", trained, "--show", shown)
    assert result.code == 0
    of_album, of_circle = result.out.splitlines()
    assert of_album.startswith(f"{tmp_path}/album/photo.png:1  ")  # a folder's name is no word that the model knows
    told = json.loads(run("predict", f"{tmp_path}/*/photo.png", "--model", trained, "--json").out)
    assert [drawing["word"] for drawing in told["drawings"]] == ["", "circle"]
    assert of_circle.startswith(f"{tmp_path}/circle/photo.png:1 [circle]  ")
    assert result.err.count("photo.png:1: traced 1 stroke of ") == 2
    assert shown.read_text().count("<path") == 2
    one_line(run("predict", tmp_path / "circle", "--show", "a.txt"), "should end in .svg, .png or .gif")


def test_a_limit_may_be_any_number(run, trained, drawings, tmp_path):
    path = tmp_path / "star.bin"
    binary.write(path, drawings["star"][:2])
    for command in (["predict", "--model", trained], ["render", "--into", tmp_path / "a.svg"]):
        assert run(*command, path, "--limit", 10**23).code == 0
        one_line(run(*command, path, "--limit", 0), "--limit should be 1 or more, got 0")


@pytest.mark.parametrize("columns", [1, 5, 20])
def test_help_ends_in_the_narrowest_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run("train", "--help")
    assert done.code == 0 and "usage: quickstroke train" in done.out


def test_evaluate_needs_one_source_of_drawings(run, trained, dataset, binary_folder):
    model = trained.parent / f"{MODEL}.model"
    shutil.copy(trained / "best.model", model)
    one_line(run("evaluate", model), f"{model}: is no run folder", "files or --data DIR")
    model.unlink()
    one_line(run("evaluate", trained, binary_folder, "--data", dataset.path), "either")
    one_line(run("evaluate", trained, "--data", dataset.path, "--split", "reserved"), "reserved", "train 120")


def test_raw_and_simplified_files_by_their_format(run, trained, tmp_path, drawings):
    raw = tmp_path / "raw.ndjson"
    raw.write_text('{"drawing": [[[0, 500, 500], [0, 0, 500], [0, 100, 200]]]}\n')
    plain = tmp_path / "plain.ndjson"
    plain.write_text('{"drawing": [[[0, 255, 255], [0, 0, 255]]]}\n')
    guesses = [
        run("predict", path, "--model", trained, "--json").json["drawings"][0]["guesses"] for path in (raw, plain)
    ]
    assert guesses[0] == guesses[1]


def test_toml_configuration_and_precedence(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('n_epochs = 3\nbatch_size = 30\ntrain_classes = ["star", "circle"]\nn_train = 40\n')
    into = tmp_path / "run"
    result = run("train", MODEL, "--data", dataset.path, "--into", into, "--config", config, "--n-epochs", 1)
    assert result.code == 0, result.err
    stored = json.loads((into / "config.json").read_text())
    assert stored["train"]["n_epochs"] == 1
    assert stored["train"]["batch_size"] == 30
    assert stored["classes"] == ["star", "circle"]
    assert stored["data"]["n_by_split"]["train"] == 80


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("n_epoch = 3", "unknown key 'n_epoch'"),
        ('batch_size = "many"', "batch_size should be int"),
        ("n_train = 41", "n_train = 40"),
        ("n_epochs = 0", "n_epochs should be above 0"),
        ("n_epochs = ", "TOML"),
        ("recipe = [1]", "recipe should be"),
        ('train_classes = ["star", "star"]', "listed twice"),
        ('train_classes = ["stra"]', "did you mean 'star'"),
    ],
)
def test_wrong_configuration_is_refused(run, dataset, tmp_path, text, part):
    config = tmp_path / "run.toml"
    config.write_text(text)
    one_line(run("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run", "--config", config), part)
    assert not (tmp_path / "run").exists()


def test_document_section_by_heading_path_and_slices(run, dataset, tmp_path):
    document = tmp_path / "results.md"
    block = document_config.format_config(
        {"hidden_size": 8, "n_layers": 1, "batch_size": 32, "n_epochs": 1, "bidirectional": True, "conv1": (4, 3)}
    )
    document.write_text(
        f"# Results\n\n## Two ways\n\n### First\n\n```python\n{block}\n```\n\n### Second\n\n"
        "```python\nhidden_size = 4\nn_layers = 2\ntrain_classes = classes[:2]\nn_epochs = 1\n```\n"
    )
    into = tmp_path / "second"
    result = run("train", "Two ways/Second", "--config", document, "--data", dataset.path, "--into", into, "--json")
    assert result.code == 0, result.err
    assert result.json["model"] == "simple_lay2_sz4"
    assert json.loads((into / "config.json").read_text())["classes"] == list(dataset.classes[:2])
    name = "bilstm_cv1_4_3_lay1_sz8"
    assert run("train", name, "--config", document, "--data", dataset.path, "--into", tmp_path / "first").code == 0
    one_line(
        run("train", "simple_lay9_sz9", "--config", document, "--data", dataset.path, "--into", tmp_path / "no"),
        "Second",
        name,
    )


def test_train_refuses_an_existing_run_and_resumes_it(run, dataset, tmp_path):
    into = tmp_path / "run"
    start = ("train", MODEL, "--data", dataset.path, "--into", into)
    assert "starting anew" in run(*start, "--n-epochs", 1, "--resume").err
    one_line(run(*start, "--n-epochs", 2), "--resume")
    resumed = run(*start, "--n-epochs", 2, "--resume")
    assert resumed.code == 0
    assert "resuming at epoch 2" in resumed.err
    assert resumed.out.startswith("Epoch: 2/2")
    one_line(run(*start, "--n-epochs", 2, "--resume", "--batch-size", 7), "batch_size = 64")


@pytest.mark.usefixtures("one_thread")
def test_interrupt_leaves_a_checkpoint_and_resumes_to_the_same_weights(run, dataset, tmp_path, monkeypatch):
    class Interrupting(io.TextIOWrapper):
        """A terminal at which somebody presses Ctrl-C when the first epoch is told of."""

        def write(self, text: str) -> int:
            if text.startswith("Epoch: 1/4"):
                signal.raise_signal(signal.SIGINT)
            return super().write(text)

    into, whole = tmp_path / "cut", tmp_path / "whole"
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 4, "--batch-size", 4, "--into")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Interrupting(io.BytesIO(), encoding="utf-8"))
        interrupted = run(*start, into)
    assert interrupted.code == 130
    assert "--resume" in interrupted.err
    assert "Traceback" not in interrupted.err
    assert (into / "last.ckpt").is_file()
    assert len(runs.read_metrics(into)) < 4
    assert "resuming at epoch" in run(*start, into, "--resume").err
    assert run(*start, whole).code == 0
    for name in ("best.model", "last.model"):
        cut, full = (torch.load(folder / name, weights_only=True) for folder in (into, whole))
        assert all(torch.equal(cut[key], full[key]) for key in full)


def test_a_training_goes_on_when_nobody_reads_what_it_says(dataset, tmp_path, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        options = ["--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 3]
        code = cli.main(["train", MODEL, *map(str, options)])
        monkeypatch.undo()
    err = capsys.readouterr().err
    assert code == 0
    assert err.count("nobody reads stdout any more; going on without it") == 1 and "Traceback" not in err
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


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


def test_bad_drawing_files(run, tmp_path, binary_folder):
    whole = (binary_folder / "star.bin").read_bytes()
    header = struct.pack("<Q2sbIH", 1, b"US", 1, 0, 1)
    cases = {
        "truncated.bin": (whole[:-3], "truncated"),
        "page.bin": (b"<!DOCTYPE html><html></html>", "web page"),
        "no strokes.bin": (header[:-2] + b"\0\0", "no strokes"),
        "count.bin": (header + struct.pack("<H", 60_000) + b"ab", "60000 points"),
        "no points.bin": (header + b"\0\0", "without points"),
        "empty.ndjson": (b'{"word":"cat","drawing":[]}\n', "line 1"),
        "half.ndjson": (b'{"word":"cat","drawing":[[[1,2],[3', "truncated"),
        "notes.txt": (b"", "ending"),
        "page.npz": (b"<html>", "web page"),
        "page.csv": (b"<html>", "web page"),
    }
    for name, (content, part) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        for command in (("prepare", path, "--into", tmp_path / "data"), ("evaluate", "x.model", path)):
            result = run(*command)
            if command[0] == "prepare":
                one_line(result, name, part)
            else:
                assert result.code == 2
        assert not (tmp_path / "data").exists()
    one_line(run("prepare", tmp_path / "nowhere", "--into", tmp_path / "data"), "nowhere", "no such file")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_bad_classes(run, binary_folder, tmp_path):
    into = ("--into", tmp_path / "data")
    one_line(run("prepare", binary_folder, *into, "--classes", "star", "huose"), "'huose'", "did you mean 'house'")
    one_line(run("prepare", binary_folder, *into, "--classes", "star", "star"), "listed twice")
    listed = tmp_path / "classes.txt"
    listed.write_text("star\nhouse\nstar\n")
    one_line(run("prepare", binary_folder, *into, "--classes", listed), "classes.txt", "class 1 and class 3")
    one_line(run("prepare", binary_folder, *into, "--classes", tmp_path / "no.txt"), "no.txt")
    short = run("prepare", binary_folder, *into, "--n-train", 60, "--n-val", 1, "--n-test", 0)
    one_line(short, "circle has 60", "house has 60", "star has 60", "asked for 61 (60 train + 1 val)")
    one_line(run("prepare", binary_folder, *into, "--fractions", 0.5, 0.1, 0.1), "add up to 1")
    one_line(run("prepare", binary_folder, *into, "--n-val", 5), "--n-train")
    one_line(run("prepare", binary_folder, *into, "--n-train", 5, "--fractions", 0.8, 0.1, 0.1), "two split rules")


def test_bad_models(run, binary_folder, tmp_path, trained):
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (marker,))

    evil = tmp_path / f"{MODEL}.model"
    evil.write_bytes(pickle.dumps({"bn.weight": Payload()}))
    one_line(run("evaluate", evil, binary_folder), "refused")
    assert not marker.exists()
    evil.write_bytes(b"<html>")
    one_line(run("evaluate", evil, binary_folder), "not a PyTorch file")
    other = tmp_path / "simple_lay1_sz32.model"
    other.write_bytes((trained / "best.model").read_bytes())
    one_line(run("predict", binary_folder, "--model", other), "do not fit simple_lay1_sz32")
    bare = tmp_path / f"{MODEL}.model"
    bare.write_bytes((trained / "best.model").read_bytes())
    one_line(run("predict", binary_folder, "--model", bare), "3 outputs")
    two = tmp_path / "two.txt"
    two.write_text("star\nhouse\n")
    one_line(run("predict", binary_folder, "--model", bare, "--classes", two), "3 outputs, but 2 classes")
    three = tmp_path / "three.txt"
    three.write_text("circle\nhouse\nstar\n")
    result = run("predict", binary_folder / "star.bin", "--limit", 1, "--model", bare, "--classes", three)
    assert result.code == 0
    assert "no card" in result.err
    one_line(run("predict", binary_folder, "--model", "no_such_model"), "no_such_model")


def test_train_refuses_bad_names_and_folders(run, dataset, tmp_path):
    into = ("--data", dataset.path, "--into", tmp_path / "run")
    one_line(run("train", "lstm_lay1_sz64", *into), "needs a convolution")
    one_line(run("train", "simple_cv1_4_3_lay1_sz64", *into), "no convolution")
    one_line(run("train", MODEL, "--data", tmp_path / "no", "--into", tmp_path / "run"), "no prepared dataset")
    one_line(run("train", MODEL, *into, "--n-train", 41), "n_train = 41", "n_train = 40")
    one_line(run("publish", tmp_path / "no"), "no run there")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_clear_line(run, monkeypatch, binary_folder, tmp_path):
    import errno

    from quickstroke.preparation import writer

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer.Writer, "append", full)
    one_line(run("prepare", binary_folder, "--into", tmp_path / "data"), "No space left on device", "data")
    assert list(tmp_path.iterdir()) == []


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


def test_written_examples_are_read_again(tmp_path, drawings):
    path = tmp_path / "star.ndjson.gz"
    ndjson.write(path, drawings["star"])
    assert [d.key_id for d in formats.read_drawings(path)] == [d.key_id for d in drawings["star"]]


def test_counts_of_a_file_give_way_to_a_split_in_fractions(run, binary_folder, dataset, tmp_path):
    data, config = tmp_path / "data", tmp_path / "run.toml"
    assert run("prepare", binary_folder, "--into", data).code == 0
    config.write_text("n_epochs = 1\nn_train = 20000\n")
    result = run("train", MODEL, "--data", data, "--into", tmp_path / "run", "--config", config)
    assert result.code == 0
    assert "n_train = 20000 not used" in result.err and str(data) in result.err
    # A split by position has counts to compare with, and the error says whose they are.
    asked = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "other", "--config", config)
    one_line(run(*asked), "n_train = 20000", "run.toml", "--n-train")
    assert run(*asked, "--n-train", 40).code == 0
    one_line(run("train", MODEL, "--data", data, "--into", tmp_path / "third", "--n-train", 40), "n_train = 40")


def test_options_without_effect_are_told(run, trained, dataset, binary_folder, tmp_path):
    files = binary_folder / "star.bin"
    standard = run("evaluate", trained, "--data", dataset.path, "--batch-size", 7)
    assert standard.code == 0 and "--batch-size has no effect" in standard.err
    assert "--split has no effect" in run("evaluate", trained, files, "--split", "test").err
    both = run("evaluate", trained, files, "--protocol", "2020", "--reestimate-batchnorm")
    assert "--reestimate-batchnorm has no effect" in both.err
    assert "no effect" not in run("evaluate", trained, "--data", dataset.path, "--split", "test").err
    into = tmp_path / "patient"
    patient = run("train", MODEL, "--data", dataset.path, "--into", into, "--n-epochs", 1, "--patience", 5)
    assert patient.code == 0 and "--patience 5 has no effect in 1 epochs" in patient.err
    changes = ("--augment-magnitude", 0.5, "--random-rotation", 0.1, "--prefix-truncation", 0.5)
    still = run("train", MODEL, "--data", dataset.path, "--into", f"{into}2", "--n-epochs", 1, *changes)
    assert still.code == 0 and "--augment-magnitude has no effect with --augment none" in still.err
    assert "--random-rotation has no effect with --augment none" in still.err
    assert "--prefix-truncation has no effect with --augment none" in still.err
    views = run(
        "train",
        MODEL,
        "--data",
        dataset.path,
        "--into",
        f"{into}3",
        "--n-epochs",
        1,
        "--augment",
        "geometric",
        *changes,
    )
    assert views.code == 0 and views.err.count("has no effect") == 1
    alone = ("--distillation-weight", 1, "--distillation-temperature", 2, "--n-cached-epochs", 3)
    labels = run("train", MODEL, "--data", dataset.path, "--into", f"{into}4", "--n-epochs", 1, *alone)
    told = [line for line in labels.err.splitlines() if "has no effect without --teacher" in line]
    assert labels.code == 0 and len(told) == 3
    as_in_2020 = ("--recipe", "2020", "--dropout", 0.5, "--teacher-cache", tmp_path / "cache")
    seed = run("train", MODEL, "--data", dataset.path, "--into", f"{into}5", "--n-epochs", 1, *as_in_2020)
    assert seed.code == 0 and "--dropout" not in seed.err
    assert "--teacher-cache has no effect without --teacher" in seed.err
    assert "--prefix-truncation has no effect with --augment geometric" in views.err
    all_words = ("--teacher", trained, "--other-class-fraction", 0.5)
    taught = run("train", MODEL, "--data", dataset.path, "--into", f"{into}6", "--n-epochs", 1, *all_words)
    assert f"--other-class-fraction has no effect: no drawing of {dataset.path} has another word" in taught.err


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


def test_what_is_no_drawing_is_left_out_on_request(run, trained, tmp_path):
    path, into = tmp_path / "own.jsonl", tmp_path / "data"
    good, bad, nameless = '{"word":"star","drawing":[[[1,2,%d],[3,4,5]]]}', '{"drawing":[]}', '{"drawing":[[[1],[3]]]}'
    path.write_text("\n".join([good % 7, *[bad] * 12, nameless, good % 9, ""]))
    for command in (
        ["predict", path, "--model", trained],
        ["convert", path, "--to", "ndjson", "--into", tmp_path / "x"],
    ):
        one_line(run(*command[:-1], f"{command[-1]}.ndjson" if command[0] == "convert" else trained), "line 2")
    one_line(run("prepare", path, "--into", into), f"{path}, line 2: the drawing has no strokes")
    result = run("predict", path, "--model", trained, "--skip-invalid", "--json")
    assert len(result.json["drawings"]) == 3
    assert [drawing["number"] for drawing in result.json["drawings"]] == [1, 14, 15]
    assert len(result.json["invalid"]) == 12 and result.json["invalid"][0].startswith(f"{path}, line 2: ")
    told = result.err.splitlines()
    (first, *_) = [line for line in told if "left out: " in line]
    assert first.endswith("line 2: the drawing has no strokes; expected at least one")
    assert told[-1].endswith("left out: 2 more, which --json has all of")
    result = run("convert", path, "--to", "ndjson", "--into", tmp_path / "out.ndjson", "--skip-invalid", "--json")
    assert (result.json["n"], len(result.json["invalid"])) == (3, 12)
    result = run("prepare", path, "--into", into, "--skip-invalid", "--fractions", 1, 0, 0, "--json")
    assert (result.json["n"], result.json["left_out"]) == (2, {"no drawings": 13})
    assert f"{path}: drawing 14 has no word; a dataset needs one for each" in result.json["invalid"]
    same = ["prepare", path, "--into", into, "--fractions", 1, 0, 0, "--resume"]
    assert run(*same, "--skip-invalid", "--json").json == result.json | {"invalid": [], "layouts": {}}
    for command in (
        ["evaluate", trained, path],
        ["render", path, "--into", tmp_path / "a.svg"],
        ["render", path, "--into", tmp_path / "a.npy"],
        ["teach", trained, path, "--into", "robot", "--taught", tmp_path / "a.json"],
    ):
        one_line(run(*command), "line 2")
        assert len(run(*command, "--skip-invalid", "--json").json["invalid"]) == 12
    one_line(run(*same), "from other sources or with other options")
    path.write_text(bad + "\n")
    result = run("predict", path, "--model", trained, "--skip-invalid")
    assert (result.code, result.err.splitlines()[-1]) == (2, f"quickstroke predict: {path}: holds no drawing")


def test_drawings_of_another_dataset_that_a_run_learnt_from_are_told(run, trained, dataset, binary_folder, tmp_path):
    run("prepare", binary_folder, "--into", tmp_path / "other", "--fractions", 0.5, 0.25, 0.25)
    told = run("evaluate", trained, "--data", tmp_path / "other", "--split", "test").err
    assert re.search(r"\d+ of the \d+ drawings are among those that the run learnt from", told)
    assert "learnt from" not in run("evaluate", trained, "--data", dataset.path, "--split", "test").err


def test_a_file_that_was_read_in_both_layouts_is_told(run, trained, tmp_path):
    path = tmp_path / "star.ndjson"
    lines = ['{"word":"star","drawing":[[[%d,9],[99,9],[9,50],[9,60]]]}', '{"word":"star","drawing":[[[%d,9],[99,9]]]}']
    path.write_text("\n".join(line % (9 * i) for i in range(6) for line in lines) + "\n")
    for command in (
        ["prepare", path, "--into", tmp_path / "data", "--fractions", 1, 0, 0],
        ["evaluate", trained, path],
        ["render", path, "--into", tmp_path / "a.svg"],
        ["render", path, "--into", tmp_path / "a.svg", "--limit", 12],
        ["convert", path, "--to", "ndjson", "--into", tmp_path / "out.ndjson"],
    ):
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
        assert "6 drawings read as points, the other 6 as columns (--layout decides)" in run(*command).err
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
        assert "as columns" not in run(*command, "--layout", "points").err


def test_files_without_drawings_are_told(run, trained, tmp_path):
    empty = tmp_path / "empty.ndjson"
    empty.write_text("")
    one_line(run("predict", empty, "--model", trained), "holds no drawing")
    (tmp_path / "other.ndjson").write_text('{"drawing": [[[1, 2, 9], [3, 4, 5]]]}\n')
    assert f"{empty}: holds no drawing" in run("predict", tmp_path, "--model", trained).err
    one_line(run("evaluate", trained, empty), "holds no drawing")
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "below").mkdir()
    one_line(
        run("prepare", tmp_path / "above", "--into", tmp_path / "data"),
        "subfolders are searched for files of one drawing alone",
    )
    one_line(run("prepare", "--into", tmp_path / "data"), "no SOURCE was given")


def test_a_full_disk_is_told_with_its_file(run, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    published = run("publish", trained, "--into", tmp_path / "set", "--no-calibrate")
    one_line(published, str(tmp_path / "set" / f"{MODEL}.model:"), "No space left on device")
    assert list((tmp_path / "set").iterdir()) == []


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
    run, trained, dataset, binary_folder, tmp_path, command, named
):
    given = {"DATA": dataset.path, "RUN": trained, "BINARY": binary_folder}

    def words(new: str) -> list[str]:
        known = {**given, "NEW": tmp_path / new}
        return [re.sub("^(DATA|RUN|BINARY|NEW)", lambda match: str(known[match[0]]), str(word)) for word in command]

    assert run(*words("whole")).code == 0  # and all is compiled
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # no file may be longer
    try:
        result = run(*words("new"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    one_line(result, f": {named.replace('NEW', str(tmp_path / 'new'))}", "File too large")
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file() and path.stat().st_size >= 1000]
    assert not list((tmp_path / "new").rglob(".*"))


# --- recipe strong, teachers, calibration

POOL_MODEL = "bipool_cv1_4_3_2_lay1_sz5"


def test_tensorboard_has_the_epochs_of_a_new_run_and_nothing_of_one_that_is_refused(run, dataset, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    asked = ("train", MODEL, "--data", dataset.path, "--n-epochs", 2, "--log", "tensorboard")
    one_line(run(*asked, "--into", tmp_path / "none", "--train-classes", "cow"), "cow")
    one_line(run(*asked, "--into", tmp_path / "none", "--tensorboard"), "was renamed to --log tensorboard")
    assert not (tmp_path / "none").exists()
    assert run(*asked, "--into", tmp_path / "run").code == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    told = [(event.step, event.value) for event in events.Scalars("val_loss")]
    assert told == [(k, pytest.approx(json.loads(line)["val_loss"])) for k, line in enumerate(lines, 1)]


def test_a_run_tells_the_command_that_made_it_what_it_is(run, dataset, tmp_path):
    data = tmp_path / "my data"
    shutil.copytree(dataset.path, data)
    asked = ("train", MODEL, "--data", data, "--into", tmp_path / "run")
    assert run(*asked, "--n-epochs", 1).code == 0
    longer = run(*asked, "--n-epochs", 2, "--resume")
    assert longer.code == 0 and "the run was for 1 epoch, now 2" in longer.err
    environment = tmp_path / "run" / "environment.json"
    values = json.loads(environment.read_text())
    assert values["command"] == ["quickstroke", *map(str, asked), "--n-epochs", "2", "--resume"]
    assert run("publish", tmp_path / "run", "--into", tmp_path).code == 0
    card = json.loads((tmp_path / f"{MODEL}.json").read_text())
    first = shlex.join(["quickstroke", *map(str, asked), "--n-epochs", "1"])
    assert card["command"] == f"{first} && {shlex.join(values['command'])}" and f"'{data}'" in card["command"]
    again = run("rerun", tmp_path / "run")
    assert again.code == 3 and "was trained by several commands, which a rerun does in one: quickstroke" in again.err
    # It is of no use to a user whose model is fine that this file is not.
    for damaged in ("{", "[1]", '{"packages": 3}'):
        environment.write_text(damaged)
        assert run("publish", tmp_path / "run", "--into", tmp_path, "--replace").code == 0
        assert json.loads((tmp_path / f"{MODEL}.json").read_text())["packages"] == {}


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


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def test_the_recipe_strong_sets_options_unless_they_are_given(run, dataset, tmp_path):
    start = ("train", POOL_MODEL, "--data", dataset.path, "--recipe", "strong", "--n-epochs", 1, "--device", "cpu")
    result = run(*start, "--into", tmp_path / "run", "--batch-size", 64, "--json")
    assert result.code == 0, result.err
    config = config_of(tmp_path / "run")
    given = {"n_epochs": 1, "batch_size": 64, "device": "cpu", "precision": config["train"]["precision"]}
    assert config["train"] == to_json(TrainConfig(recipe="strong", **given))
    assert config["model"]["max_padding"] == RECIPES["strong"]["max_padding"]
    assert result.json["epochs"] == 1


def test_a_file_may_name_the_recipe_and_options_of_it(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('recipe = "strong"\nlearning_rate = 0.01\nn_epochs = 1\n')
    start = ("train", POOL_MODEL, "--data", dataset.path, "--config", config)
    assert run(*start, "--into", tmp_path / "run", "--dropout", 0.1).code == 0
    train = config_of(tmp_path / "run")["train"]
    expected = RECIPES["strong"] | {"recipe": "strong", "learning_rate": 0.01, "n_epochs": 1, "dropout": 0.1}
    assert {key: train[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("former", "told"), [("seed", "recipe 'seed' is called '2020' now"), ("quick", "'quick' is part of 'default' now")]
)
def test_a_former_recipe_is_told_its_name_of_today(run, dataset, tmp_path, former, told):
    start = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run")
    one_line(run(*start, "--recipe", former), told)
    one_line(run(*start, f"--recipe={former}"), told)
    one_line(run("tune", *start[1:], "--recipe", former), told)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_former_option_is_told_its_name_of_today(run, dataset, tmp_path, command):
    start = (command, MODEL, "--data", dataset.path, "--into", tmp_path / "run")
    one_line(run(*start, "--clip-norm", 0.5), "--clip-norm was renamed to --max-grad-norm")
    one_line(run(*start, "--n_views=2"), "--n_views was renamed to --n-cached-epochs")
    one_line(run(*start, "--augment", "view"), "--augment: augment 'view' is 'geometric' now")
    one_line(run(*start, "--label-odds=5"), "--label-odds was removed")
    assert not (tmp_path / "run").exists()


def test_a_former_recipe_in_a_file_has_its_values_of_then(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('recipe = "seed"\nn_epochs = 1\n')
    start = ("train", MODEL, "--data", dataset.path, "--config", config)
    assert run(*start, "--into", tmp_path / "run", "--batch-size", 32).code == 0
    train = config_of(tmp_path / "run")["train"]
    given = {"n_epochs": 1, "batch_size": 32, "precision": "float32"}
    assert train == to_json(TrainConfig(recipe="2020", **given))
    # The run folder of that version, too, is trained on as it began.
    stored = tmp_path / "run" / "config.json"
    stored.write_text(stored.read_text().replace('"recipe": "2020"', '"recipe": "seed"'))
    assert run(*start, "--into", tmp_path / "run", "--batch-size", 32, "--n-epochs", 2, "--resume").code == 0
    assert config_of(tmp_path / "run")["train"] == train | {"n_epochs": 2}
    # Also without the words that it was started with.
    anew = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 3, "--resume")
    assert run(*anew).code == 0
    assert config_of(tmp_path / "run")["train"] == train | {"n_epochs": 3}
    one_line(run(*anew, "--recipe", "default"), "was started with")


def test_another_recipe_than_the_files_brings_its_own_options(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('recipe = "strong"\nn_epochs = 1\n')
    start = ("train", MODEL, "--data", dataset.path, "--config", config)
    assert run(*start, "--into", tmp_path / "run", "--recipe", "default").code == 0
    train = config_of(tmp_path / "run")["train"]
    assert (train["recipe"], train["n_epochs"], train["schedule"], train["augment"]) == (
        "default",
        1,
        "cosine",
        "none",
    )


@pytest.fixture(scope="module")
def taught(dataset: PreparedDataset, trained: Path, tmp_path_factory) -> Path:
    """A run of the recipe `strong` with a teacher."""
    folder = tmp_path_factory.mktemp("runs") / "taught"
    options = ["--recipe", "strong", "--n-epochs", "2", "--teacher", str(trained), "--n-cached-epochs", "1"]
    assert main(["train", POOL_MODEL, "--data", str(dataset.path), "--into", str(folder), *options]) == 0
    return folder


def test_a_teacher_is_named_in_the_run_and_the_card(run, taught, trained, tmp_path):
    config = config_of(taught)
    assert config["train"]["teacher"] == [str(trained)]
    assert [teacher["name"] for teacher in config["teachers"]] == [MODEL]
    assert len(list((taught / "teacher").rglob("*.npy"))) == 1
    assert run("publish", taught, "--into", tmp_path / "set").code == 0
    card = json.loads((tmp_path / "set" / f"{POOL_MODEL}.json").read_text())
    assert card["teachers"] == config["teachers"]
    assert card["preprocessing"] == {"name": "pos5", "max_padding": 200}


def test_a_published_pooled_model_recognises(run, taught, binary_folder, tmp_path):
    assert run("publish", taught, "--into", tmp_path / "set").code == 0
    model = tmp_path / "set" / f"{POOL_MODEL}.model"
    result = run("predict", binary_folder / "star.bin", "--limit", 2, "--model", model, "--json")
    assert result.code == 0
    for row in result.json["drawings"]:
        assert sum(guess["probability"] for guess in row["guesses"]) == pytest.approx(1, abs=1e-5)


def test_trainings_share_a_folder_of_what_teachers_said(run, dataset, trained, tmp_path):
    cache = tmp_path / "said"
    for name in ("one", "other"):
        start = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / name, "--n-epochs", 1)
        assert run(*start, "--teacher", trained, "--teacher-cache", cache).code == 0
        assert not (tmp_path / name / "teacher").exists()
    assert len(list(cache.rglob("*.npy"))) == 1
    one, other = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("one", "other"))
    assert json.loads(one)["loss"] == json.loads(other)["loss"]


def test_bad_teachers_and_weights_to_begin_with(run, dataset, trained, tmp_path):
    start = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 1)
    one_line(run(*start, "--teacher", tmp_path / "no.model"), "no.model", "no such model file")
    one_line(run(*start, "--other-class-fraction", 0.5), "other_class_fraction needs a teacher")
    one_line(run(*start, "--distillation-weight", 2), "distillation_weight should be from 0 to 1")
    one_line(run(*start, "--pretrained", tmp_path / "no.model"), "no.model")
    for option in ("--pretrained", "--teacher"):
        one_line(run(*start, option, "nope"), "nope: neither a .model file, a run folder nor a model published")
    one_line(run("train", "simple_lay1_sz8", *start[2:], "--pretrained", trained), "no layer of the shape")
    assert not (tmp_path / "run").exists()
    few = tmp_path / "few"
    assert run("train", MODEL, *start[2:4], "--into", few, "--n-epochs", 1, "--train-classes", "star").code == 0
    one_line(run(*start, "--teacher", few), "does not know 2 of the classes, such as 'circle'")


def test_a_run_may_begin_with_the_weights_of_another(run, dataset, trained, tmp_path):
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1)
    assert run(*start, "--into", tmp_path / "run", "--pretrained", trained).code == 0
    assert config_of(tmp_path / "run")["train"]["pretrained"] == [str(trained)]


def test_a_run_may_begin_with_a_published_model_by_its_name(run, dataset, trained, tmp_path, monkeypatch):
    assert run("publish", trained, "--into", tmp_path / "lstm" / "own").code == 0
    monkeypatch.chdir(tmp_path)
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1, "--into", tmp_path / "run")
    assert run(*start, "--pretrained", f"own/{MODEL}").code == 0
    published = run("publish", tmp_path / "run", "--into", tmp_path)
    card = json.loads((tmp_path / f"{MODEL}.json").read_text())
    assert published.code == 0 and card["training"]["before"]["trainings"] == 1


def test_a_model_that_looks_at_images_from_training_to_a_guess(run, dataset, binary_folder, tmp_path):
    name = "bipool_cv1_4_3_2_img2_lay1_sz4"
    start = ("train", name, "--data", dataset.path, "--n-epochs", 1)
    assert run(*start, "--into", tmp_path / "run").code == 0
    assert config_of(tmp_path / "run")["model"]["image"] == 2
    published = run("publish", tmp_path / "run", "--into", tmp_path / "set")
    assert published.code == 0
    model = tmp_path / "set" / f"{name}.model"
    guessed = run("predict", binary_folder / "star.bin", "--limit", 2, "--model", model, "--json")
    assert len(guessed.json["drawings"]) == 2
    assert run("report", tmp_path / "run", "--into", tmp_path / "results.md").code == 0
    text = (tmp_path / "results.md").read_text()
    assert "with an image (2 filters)" in text and "image = 2\n" in text
    again = ("train", name, "--config", tmp_path / "results.md", "--data", dataset.path, "--into", tmp_path / "again")
    assert run(*again).code == 0
    configs = [config_of(tmp_path / folder) for folder in ("run", "again")]
    assert configs[0]["model"] == configs[1]["model"]


def test_cards_and_reports_tell_the_trainings_before(run, dataset, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "first")
    shutil.copytree(trained, tmp_path / "gone")
    again = tmp_path / "again"
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1, "--into", again)
    assert run(*start, "--pretrained", tmp_path / "first", tmp_path / "gone").code == 0
    shutil.rmtree(tmp_path / "gone")
    published = run("publish", again, "--into", tmp_path / "set", "--no-calibrate")
    assert published.code == 0 and "nothing is known of it" in published.err
    before = json.loads((tmp_path / "set" / f"{MODEL}.json").read_text())["training"]["before"]
    seconds = sum(json.loads(line)["seconds"] for line in (trained / "metrics.jsonl").read_text().splitlines())
    missing = [str(tmp_path / "gone")]
    assert before == {"trainings": 1, "seconds": pytest.approx(seconds, abs=0.1), "missing": missing}
    assert run("report", again, "--into", tmp_path / "results.md").code == 0
    text = (tmp_path / "results.md").read_text()
    assert f"weights of `{tmp_path / 'first'}`, `{tmp_path / 'gone'}`. The one training before it took" in text
    assert f"Nothing is known of how `{tmp_path / 'gone'}` came about." in text


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
    one_line(run(*start, "--partial", "--protocol", "2020"), "--partial", "standard")


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


def test_what_another_dataset_scores_is_held_out(run, dataset, binary_folder, tmp_path):
    result = run("prepare", binary_folder, "--into", tmp_path / "all", "--held-out", dataset.path, "--json")
    assert result.code == 0
    assert result.json["n"] == 120 and "held out by another dataset" in result.out + result.err
    one_line(run("prepare", binary_folder, "--into", tmp_path / "no", "--held-out", tmp_path / "none"), "none")


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


def test_a_rerun_comes_out_the_same(run, trained, tmp_path):
    result = run("rerun", trained, "--into", tmp_path / "again", "--json")
    assert result.code == 0 and "the same to the last bit" in result.err
    assert result.json["is_same"] and result.json["environment"] == []
    weights, again = (torch.load(folder / "last.model") for folder in (trained, tmp_path / "again"))
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    configs = [config_of(folder) for folder in (tmp_path / "again", trained)]
    assert [config.pop("folders")["run"] for config in configs] == [str(tmp_path / "again"), str(trained)]
    assert configs[0] == configs[1]


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


def test_a_rerun_needs_a_whole_run_and_its_dataset(run, trained, dataset, binary_folder, tmp_path):
    one_line(run("rerun", tmp_path), "no run there")
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
