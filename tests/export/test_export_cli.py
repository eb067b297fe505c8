"""`quickstroke export` as a user types it, and the commands that take what it wrote."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import CLASSES

import quickstroke as qs
from quickstroke.artifacts.loading import load_model
from quickstroke.export import onnx
from quickstroke.formats import ndjson
from typed_commands import Result


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Runs a command line in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def model(publish):
    return publish("bilstm_cv1_4_3_lay1_sz4").path


def one_line(result, *parts):
    assert result.code == 2, result.out + result.err
    (line,) = result.err.splitlines()
    assert line.startswith("quickstroke export: ")
    for part in parts:
        assert part in line


def test_onnx_is_the_default(run, model):
    result = run("export", model, "--json")
    path = Path("bilstm_cv1_4_3_lay1_sz4.onnx")
    assert result.code == 0
    assert result.err.startswith(f"{path}: {path.stat().st_size:,} bytes, probabilities within")
    assert {key: result.json[key] for key in ("to", "path", "model", "bytes", "int8")} == {
        "to": "onnx",
        "path": str(path),
        "model": path.stem,
        "bytes": path.stat().st_size,
        "int8": None,
    }
    assert 0 <= result.json["max_difference"] < 1e-5


@pytest.mark.parametrize("to", ["onnx", "safetensors", "quickstroke", "html"])
def test_where_it_goes(run, model, to):
    name = f"bilstm_cv1_4_3_lay1_sz4.{to}"
    Path("folder").mkdir()
    for into, expected in (
        ([], name),
        (["--into", "folder"], f"folder/{name}"),
        (["--into", f"a/b.{to}"], f"a/b.{to}"),
    ):
        made = run("export", model, "--to", to, *into, "--json").json
        before = Path(expected).read_bytes()
        assert (made["path"], made["bytes"]) == (expected, len(before))
        Path(expected).write_bytes(b"mine")
        one_line(run("export", model, "--to", to, *into), f"{expected}: exists already; give --replace")
        assert Path(expected).read_bytes() == b"mine"
        assert run("export", model, "--to", to, *into, "--replace").code == 0
        assert Path(expected).read_bytes() == before
    one_line(run("export", model, "--to", to, "--into", "model.bin"), f"expected a name that ends in .{to}")


def test_predict_says_the_same_whatever_the_form(run, model, drawings):
    ndjson.write(Path("star.ndjson"), drawings["star"][:9])
    assert run("export", model).code == 0 and run("export", model, "--to", "safetensors").code == 0
    expected = run("predict", "star.ndjson", "--model", model, "--json").json
    for suffix in ("onnx", "safetensors"):
        found = run("predict", "star.ndjson", "--model", f"{model.stem}.{suffix}", "--json").json
        assert found["model"] == expected["model"]
        for one, other in zip(found["drawings"], expected["drawings"], strict=True):
            assert [guess["word"] for guess in one["guesses"]] == [guess["word"] for guess in other["guesses"]]
            probabilities = [[guess["probability"] for guess in answer["guesses"]] for answer in (one, other)]
            np.testing.assert_allclose(*probabilities, atol=1e-5)


def test_an_onnx_file_is_served(run, model):
    from starlette.testclient import TestClient

    from quickstroke.inference.recognizer import load
    from quickstroke.serve.app import create_app

    run("export", model)
    strokes = [[[0, 40, 80], [0, 60, 0]]]
    with TestClient(create_app(load(f"{model.stem}.onnx"))) as client:
        answer = client.post("/api/v1/recognize", json={"strokes": strokes, "simplified": False, "top": 3}).json()
        assert client.get("/api/v1/model").json()["classes"] == list(CLASSES)
    expected = load(model).predict([np.array(strokes[0]).T], top=3)
    assert [guess["word"] for guess in answer["guesses"]] == [guess.word for guess in expected]
    found = [guess["probability"] for guess in answer["guesses"]]
    np.testing.assert_allclose(found, [guess.probability for guess in expected], atol=1e-5)


def test_evaluate_takes_safetensors_and_says_what_onnx_is_not(run, model, dataset):
    run("export", model)
    run("export", model, "--to", "safetensors")
    expected = run("evaluate", model, "--data", dataset.path, "--json").json
    assert run("evaluate", f"{model.stem}.safetensors", "--data", dataset.path, "--json").json == expected
    refused = run("evaluate", f"{model.stem}.onnx", "--data", dataset.path)
    assert refused.code == 2 and "is not for PyTorch; expected the .model file" in refused.err


def test_a_run_and_a_bare_file(run, publish, dataset):
    assert run("train", "simple_lay1_sz8", "--data", dataset.path, "--into", "run", "--n-epochs", 1).code == 0
    assert run("export", "run", "--into", "run.onnx").code == 0
    assert qs.load("run.onnx").classes == dataset.classes
    bare = publish("simple_lay1_sz6", reading="padded").path
    bare.with_suffix(".json").unlink()
    one_line(run("export", bare), "3 outputs and no card")
    Path("words.txt").write_text("\n".join(CLASSES))
    result = run("export", bare, "--classes", "words.txt")
    assert result.code == 0 and "no card" in result.err
    assert run("export", "run", "--to", "safetensors", "--into", "run.safetensors").code == 0
    assert load_model("run.safetensors").classes == dataset.classes


def test_8_bit_weights(run, publish, dataset, drawings):
    model = publish("simple_lay2_sz32").path
    ndjson.write(Path("star.ndjson"), drawings["star"])
    for source, n in (
        (["--data", dataset.path], 30),
        (["--data", dataset.path, "--split", "test"], 30),
        (["star.ndjson"], 60),
    ):
        result = run("export", model, *source, "--int8", "--json", "--replace")
        assert result.code == 0
        int8 = result.json["int8"]
        assert int8["n"] == n and int8["bytes"] < int8["bytes_float32"]
        assert int8["kept"] == (int8["top1"] >= int8["top1_float32"] - 0.005)
        assert result.json["bytes"] == (int8["bytes"] if int8["kept"] else int8["bytes_float32"])
        assert f"int8: {int8['bytes']:,} bytes, top-1 {int8['top1']:.2%} of {n}; float32: " in result.err


def test_drawings_to_measure_on_are_told_as_elsewhere(run, publish, drawings):
    model = publish("simple_lay2_sz32").path
    Path("some").mkdir()
    Path("some/README.md").touch()
    ndjson.write(Path("some/star.ndjson"), drawings["star"])
    result = run("export", model, "some", "--split", "test", "--to", "quickstroke")
    assert result.code == 0 and "ignored 1 file that is no drawing file: README.md\n" in result.err
    assert "--split has no effect without --data\n" in result.err
    result = run("export", model, "--split", "val", "--replace")
    assert result.code == 0 and "--split has no effect without --data\n" in result.err


def test_the_default_is_a_megabyte_and_teaches_better_if_asked_to(run):
    path = run("export", qs.load().name, "--to", "quickstroke", "--json").json["path"]
    assert Path(path).stat().st_size <= 1_050_000
    assert "discriminant" not in load_model(Path(path)).card
    result = run("export", qs.load().name, "--to", "quickstroke", "--teaching", "--json", "--replace")
    assert result.json["bytes"] <= 1_110_000
    assert load_model(Path(path)).card["discriminant"] == qs.load().card["discriminant"]
    one_line(run("export", qs.load().name, "--to", "web", "--teaching"), "--teaching is for --to quickstroke")


def test_a_small_file(run, publish, dataset, drawings):
    model = publish("bilstm_cv1_4_3_lay1_sz4").path
    path = Path("bilstm_cv1_4_3_lay1_sz4.quickstroke")
    for weights, options in (("int8", []), ("float16", ["--weights", "float16"])):
        result = run("export", model, "--to", "quickstroke", *options, "--json", "--replace")
        assert result.json == {
            "to": "quickstroke",
            "path": str(path),
            "model": path.stem,
            "bytes": path.stat().st_size,
            "weights": weights,
            "measured": None,
        }
    expected = run("predict", "--model", model, "--json", ndjson_of(drawings)).json["drawings"]
    found = run("predict", "--model", path, "--json", ndjson_of(drawings)).json["drawings"]
    for one, other in zip(found, expected, strict=True):
        assert {each["word"]: each["probability"] for each in one["guesses"]} == pytest.approx(
            {each["word"]: each["probability"] for each in other["guesses"]}, abs=1e-2
        )
    result = run("export", model, "--to", "quickstroke", "--data", dataset.path, "--json", "--replace")
    measured = result.json["measured"]
    assert measured["n"] == 30 and 0 <= measured["top1"] <= 1
    stated = load_model(path).card["quantization"]
    assert stated.pop("weights") == "int8" and stated == pytest.approx(measured, abs=1e-6)
    top1, top1_float32 = (
        run("evaluate", each, "--data", dataset.path, "--json").json["top1"] for each in (path, model)
    )
    assert (measured["top1"], measured["top1_float32"]) == (top1, top1_float32)
    assert f"int8: top-1 {top1:.2%} of 30; float32: top-1 {top1_float32:.2%}" in result.err
    again = run("export", path, "--to", "quickstroke", "--into", "again.quickstroke", "--json").json
    assert again["model"] == path.stem


def ndjson_of(drawings):
    path = Path("star.ndjson")
    ndjson.write(path, drawings["star"][:5])
    return path


@pytest.mark.parametrize("keeps", [True, False])
def test_what_is_written_where_8_bits_are_kept_or_not(run, publish, dataset, monkeypatch, keeps):
    answers = iter([0.8, 0.8 if keeps else 0.5])
    monkeypatch.setattr(onnx, "_top1", lambda *_: next(answers))
    model = publish("simple_lay2_sz32").path
    result = run("export", model, "--data", dataset.path, "--int8", "--json")
    assert result.json["int8"]["kept"] is keeps
    assert ("int8 is kept" if keeps else "not kept: they lose 30.00 points, more than 0.5") in result.err
    assert ("8-bit weights" in result.err) is keeps
    size = Path(result.json["path"]).stat().st_size
    assert size == result.json["bytes"] == result.json["int8"]["bytes" if keeps else "bytes_float32"]


def test_mistakes_are_one_line(run, model, dataset):
    one_line(run("export", "no.model"), "no.model: no such model file")
    one_line(run("export", "no_such_model"), "neither a .model, .safetensors, .quickstroke or .onnx file")
    one_line(run("export", model, "--int8"), "give either drawing files or --data DIR")
    one_line(run("export", model, "x.bin", "--int8", "--data", dataset.path), "give either drawing files or --data DIR")
    one_line(run("export", model, "x.bin"), "give --int8, too")
    one_line(run("export", model, "--data", dataset.path), "give --int8, too")
    one_line(run("export", model, "--to", "safetensors", "--int8", "--data", dataset.path), "expected --to onnx")
    for to in ("quickstroke", "web"):
        one_line(run("export", model, "--to", to, "--int8"), f"--to {to} has weights in 8 bits by itself (--weights)")
    one_line(run("export", model, "--weights", "int8"), "--weights is for --to quickstroke, web and html only")
    one_line(run("export", model, "x.bin", "--to", "quickstroke", "--data", dataset.path), "not on both")
    one_line(run("export", model, "--int8", "--data", "nowhere"), "nowhere")
    assert run("export", model, "--to", "tflite").code == 2
    run("export", model)
    path = f"{model.stem}.onnx"
    one_line(run("export", path, "--replace"), "is exported already; expected the model that it comes from")
    for to in ("safetensors", "web"):
        one_line(run("export", path, "--to", to), "is exported already")
    assert list(Path().glob("*.safetensors")) == list(Path().glob("*-web")) == []


WITHOUT = """
import sys

missing = ""

class Missing:
    def find_spec(self, name, path, target=None):
        if name == missing:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
from quickstroke.cli import main
for missing, to in (("torch", "onnx"), ("onnx", "onnx"), ("safetensors", "safetensors")):
    assert missing not in sys.modules
    print(main(["export", sys.argv[1], "--to", to]))
"""


def test_what_is_missing_is_one_line(model, tmp_path):
    """In an interpreter without one of the packages that exporting takes, then without the next."""
    command = [sys.executable, "-c", WITHOUT, str(model)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    codes, lines = result.stdout.split(), result.stderr.splitlines()
    assert result.returncode == 0 and len(lines) == 3, result.stderr
    for code, line in zip(codes, lines, strict=True):
        one_line(Result(int(code), "", line), "pip install 'quickstroke[export]'")


def test_drawings_of_other_words_cannot_measure(run, model, drawings):
    from dataclasses import replace

    ndjson.write(Path("cat.ndjson"), [replace(drawings["star"][0], word="cat")])
    one_line(
        run("export", model, "cat.ndjson", "--int8"),
        "no drawing to measure the weights on is of a word that the model knows",
    )
