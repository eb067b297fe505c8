"""`--json`: stdout is one JSON object on one line and nothing else, with the keys that docs/json.md names."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quickstroke import cli
from quickstroke.cli import main
from quickstroke.cli.answers import Answer, answer, print_json
from quickstroke.drawings.download import DownloadedFile
from quickstroke.errors import ConfigError
from quickstroke.utils import compiled

MODEL = "simple_lay1_sz4"
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "json.md"
# Keys that a command has in some cases.
OPTIONAL = {"publish": {"calibration", "hub"}}


def documented() -> dict[str, set[str]]:
    """The keys of each command's object by docs/json.md."""
    found: dict[str, set[str]] = {}
    for command, text in re.findall(r"^\| `(.*?)` \| (.*) \|$", DOCUMENTED.read_text(), re.M):
        # After a colon the keys are those of a list's elements, but after a semicolon its own again.
        own = re.sub(r": a list of [^;]*|: (an|a) [^;]*|: objects of [^;]*|: by split", "", text)
        found[command] = set(re.findall(r"`(\w+)`", own))
    return found


@pytest.fixture(scope="module")
def ran(dataset, binary_folder, tmp_path_factory) -> dict[str, tuple[dict, str]]:
    """What a chain of commands answered with `--json`: the object of each, and its stderr."""
    folder = tmp_path_factory.mktemp("json")
    run, one = folder / "run", binary_folder / "star.bin"
    (folder / "space.toml").write_text("learning_rate = [0.01, 0.02]\n")
    quick = ["--n-epochs", 1, "--device", "cpu"]
    study = ["--into", folder / "study", "--space", folder / "space.toml", "--n-trials", 1, *quick]
    commands = {
        "prepare": [binary_folder, "--into", folder / "data"],
        "train": [MODEL, "--data", dataset.path, "--into", run, *quick],
        "tune": [MODEL, "--data", dataset.path, *study],
        "rerun": [run],
        "evaluate": [run, "--data", dataset.path],
        "evaluate --partial": [run, "--data", dataset.path],
        "evaluate --per-class": [run, "--data", dataset.path],
        "evaluate --confusion": [run, "--data", dataset.path],
        "predict": [one, "--model", run, "--limit", 2],
        "report": [run, "--into", folder / "results.md", "--no-mistakes"],
        "publish": [run, "--into", folder / "set"],
        "models": [],
        "export": [folder / "set" / f"{MODEL}.model", "--to", "safetensors", "--into", folder],
        "convert": [one, "--to", "ndjson", "--into", folder / "a.ndjson"],
        "render": [one, "--into", folder / "a.svg", "--limit", 1],
    }
    answers = {}
    for name, arguments in commands.items():
        command, *flags = name.split()  # --per-class and --confusion take a file where one follows
        words = [command, *map(str, arguments), *flags, "--json"]
        out, err = folder / "out", folder / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            before = sys.stdout, sys.stderr
            sys.stdout, sys.stderr = stdout, stderr
            try:
                code = main(words)
            finally:
                sys.stdout, sys.stderr = before
        assert code == 0, (words, err.read_text())
        assert out.read_text().count("\n") == 1, words
        answers[name] = json.loads(out.read_text()), err.read_text()
    return answers


def test_every_command_has_it():
    assert {name.split()[0] for name in documented()} == set(cli.COMMANDS) - {"completion"}  # which prints a script


def test_keys_are_the_documented_ones(ran):
    of = documented()
    for name, (values, _) in ran.items():
        wanted = of[name] | (of["evaluate"] if name.startswith("evaluate ") else set())
        if name in ("export", "report"):
            assert wanted <= values.keys(), name
        else:
            assert values.keys() | OPTIONAL.get(name, set()) == wanted | OPTIONAL.get(name, set()), name


def test_what_people_read_goes_to_stderr(ran):
    for name, text in {
        "prepare": "180 drawings of 3 classes",
        "train": "Epoch: 1/1, loss: ",
        "tune": "Trial 0: ",
        "rerun": "the same to the last bit",
        "evaluate": "balanced accuracy ",
        "predict": "star.bin:1 [star]  ",
        "report": ": 1 section",
        "publish": ": its card",
        "models": "classes",
        "export": "weights and card of",
        "render": "1 drawing",
    }.items():
        assert text in ran[name][1], name


def test_no_number_has_more_than_six_digits(ran):
    for name, (values, _) in ran.items():
        for number in re.findall(r"(?<![\w.\"-])0\.0*(\d+)", json.dumps({**values, "run": ""})):
            assert len(number) <= 6, (name, number)


def test_people_read_two_decimals(ran):
    for name in ("train", "tune", "evaluate", "predict", "publish", "report"):
        for text in re.findall(r"\S+%", ran[name][1]):
            assert re.fullmatch(r"\(?\d+\.\d\d%", text), (name, text)


def test_numbers_are_rounded_and_what_is_not_finite_is_null(capsys):
    print_json({"a": 1 / 3, "b": [2e-7 / 3, float("nan")], "c": 12345678, "d": True, "values": {"x": 1 / 3}})
    out = capsys.readouterr().out
    assert out == (
        '{"a": 0.333333, "b": [6.66667e-08, null], "c": 12345678, "d": true, "values": {"x": 0.3333333333333333}}\n'
    )


def test_a_command_that_fails_leaves_stdout_empty(capsys, tmp_path):
    assert main(["predict", str(tmp_path / "no.bin"), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1

    def body() -> Answer:
        print("half of it")
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        answer(True, body)
    assert capsys.readouterr() == ("", "half of it\n")


def test_a_process_prints_nothing_else(binary_folder, tmp_path):
    command = [sys.executable, "-m", "quickstroke", "prepare", str(binary_folder), "--into", str(tmp_path / "data")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout)["n"] == 180 and done.stdout.count("\n") == 1 and "180 drawings" in done.stderr


def test_download_answers(capsys, tmp_path, monkeypatch):
    file = DownloadedFile("cat", tmp_path / "cat.bin", 7, True, False)
    monkeypatch.setattr("quickstroke.cli.download.download", lambda *_, **__: [file])
    assert main(["download", "cat", "--into", str(tmp_path), "--json"]) == 0
    out = capsys.readouterr().out
    row = {"word": "cat", "path": str(file.path), "bytes": 7, "complete": True, "kept": False}
    assert json.loads(out) == {"files": [row]} and out.count("\n") == 1


def test_serve_answers_when_it_is_ready(ran, monkeypatch, capsys):
    """Without the server itself."""
    model = next(values["path"] for name, (values, _) in ran.items() if name == "publish")
    monkeypatch.setattr("quickstroke.serve.server.Server.run", lambda self, sockets: self._on_ready())
    assert main(["serve", model, "--port", "0", "--json"]) == 0
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert values.keys() == documented()["serve"] and re.fullmatch(r"http://127\.0\.0\.1:\d+/", values["url"])
    assert out.count("\n") == err.count("\n") == 1 and "is served at" in err


def test_predict_compiles_after_as_many_drawings_as_it_says_and_once(tmp_path, monkeypatch, capsys):
    from quickstroke.artifacts.loading import LoadedModel, write_model
    from quickstroke.cli import predict
    from quickstroke.config.model import ModelConfig
    from quickstroke.inference.recognizer import Recognizer
    from quickstroke.models.classifier import StrokeClassifier

    model = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz4", n_classes=2)).eval()
    path = write_model(tmp_path, LoadedModel(model, ("cat", "dog"), None, tmp_path), {})
    (tmp_path / "cat.ndjson").write_text('{"drawing": [[[0, 9, 5], [0, 9, 7]]]}\n' * 5)
    done: list[int] = []
    monkeypatch.setattr(Recognizer, "compile", lambda self: done.append(1))
    for few, expected in ((5, []), (3, [1])):
        monkeypatch.setattr(predict, "_FEW_DRAWINGS", few)
        assert main(["predict", str(tmp_path / "cat.ndjson"), "--model", str(path)]) == 0
        assert done == expected
    assert "compiling" not in capsys.readouterr().err


def test_a_command_says_once_that_it_compiles(tell_compiling, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_tell_compiling", tell_compiling)
    assert main(["--version"]) == 0
    for _ in range(3):  # functions
        compiled._on_compile(True)
    assert capsys.readouterr().err.count("it is kept for the next time") == 1
    compiled._on_compile(False)
    err = capsys.readouterr().err
    assert err.startswith("compiling: no folder for compiled code can be written") and err.count("\n") == 1
