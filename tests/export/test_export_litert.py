"""`.tflite` files: what is converted says what the model says, the card is inside, the converter is optional."""

import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from small_models import POOLED, random_points

from quickstroke.artifacts.loading import load_model, write_model
from quickstroke.cli import main
from quickstroke.export import litert

LENGTHS = (0, 1, 7, 20)


@pytest.fixture
def told(publish, tmp_path):
    """Publishes a model that can say that a drawing shows none of its words."""

    def make(name, **reading):
        loaded = publish(name, max_padding=20, **reading)
        words = [0.3 - 0.1 * k for k in range(len(loaded.classes))]
        rule = {"unknown": {"intercept": 1.5, "slope": 0.5, "entropy": 0.3, "floor": -0.2, "words": words}}
        return load_model(write_model(tmp_path / "told", loaded, rule))

    return make


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("simple_lay1_sz4", "padded"),
        ("bilstm_cv1_4_3_lay2_sz4", "padded"),
        ("lstm_cv1_4_3_lay1_sz4", "length-aware"),
        ("bilstm_cv1_4_3_lay2_sz4", "length-aware"),
        *((name, "length-aware") for name in POOLED),
    ],
)
def test_what_is_converted_says_what_the_model_says(told, name, reading):
    loaded = told(name, reading=reading)
    module = litert.OneDrawing(loaded)
    for length in LENGTHS:
        points = random_points(np.array([length]), 20, preprocessing=loaded.preprocessing)
        with torch.no_grad():
            found = module(torch.from_numpy(points), torch.tensor([length], dtype=torch.int32))
        expected = loaded.outputs(points, np.array([length]))
        np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(found["unknown"], expected.unknown, atol=1e-5)


def test_a_model_that_cannot_tell_has_probabilities_alone(publish):
    module = litert.OneDrawing(publish("simple_lay1_sz4", max_padding=20))
    assert module(torch.zeros(1, 20, 3), torch.tensor([0], dtype=torch.int32)).keys() == {"probabilities"}


def test_the_card_is_behind_the_model():
    model, card = bytes(range(256)), {"name": "café"}
    file = litert.with_card(model, card)
    assert file.startswith(model) and file == litert.with_card(model, card)
    assert json.loads(zipfile.ZipFile(io.BytesIO(file)).read("card.json")) == card


# A stand-in for the converter: what it converts runs in PyTorch, and what it adds tells how the outputs are compared.
STAND_IN = """
import pathlib

class Converted:
    def __init__(self, module):
        self.module = module

    def __call__(self, **given):
        import torch
        found = self.module(**{key: torch.from_numpy(value) for key, value in given.items()})
        return {key: value.numpy() + 0.00001 for key, value in found.items()}

    def export(self, path):
        pathlib.Path(path).write_bytes(b"a model")

def convert(module, *, sample_kwargs):
    assert sample_kwargs["length"].item() == 20
    return Converted(module)
"""


def test_a_converter_of_its_own_is_asked_and_held_to_pytorch(told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "litert_torch.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    loaded = told("simple_lay1_sz4", reading="length-aware")
    command = ["export", str(loaded.path), "--to", "litert", "--converter", sys.executable]
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    path = tmp_path / f"{loaded.name}.tflite"
    assert values["bytes"] == path.stat().st_size and 5e-6 < values["max_difference"] < 2e-5
    assert path.read_bytes().startswith(b"a model")
    assert json.loads(zipfile.ZipFile(path).read("card.json"))["classes"] == list(loaded.classes)


def test_a_file_that_says_something_else_is_not_kept(told, tmp_path, monkeypatch, capsys):
    def run(command, **options):
        folder = command[-1]
        with np.load(folder / "given.npz") as given:
            numbers = {key.split(".")[0] for key in given}
        found = {f"{i}.{name}": np.zeros(1) for i in numbers for name in ("probabilities", "unknown")}
        np.savez(folder / "found.npz", **found)
        (folder / "model.tflite").write_bytes(b"a model")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(litert.subprocess, "run", run)
    monkeypatch.setattr(litert.torch.export, "export", lambda *args: None)
    monkeypatch.setattr(litert.torch.export, "save", lambda *args: None)
    loaded = told("simple_lay1_sz4", reading="length-aware")
    assert main(["export", str(loaded.path), "--to", "litert", "--converter", "python"]) == 2
    assert "from PyTorch's; at most 0.0001 is accepted" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.tflite"))


def test_what_cannot_convert_is_told_in_a_line(publish, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = ["export", str(publish("simple_lay1_sz4", max_padding=20).path), "--to", "litert"]
    for options, says in (
        ([], "--to litert needs --converter PYTHON"),
        (["--converter", sys.executable], "has no litert-torch; expected"),
        (["--converter", "no-such-python"], "--converter no-such-python: cannot be run: No such file or directory"),
        (["--converter", "python", "--into", "model.onnx"], "a name that ends in .tflite"),
    ):
        assert main([*command, *options]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert says in line
    assert not list(tmp_path.glob("*.tflite"))


@pytest.mark.skipif("QUICKSTROKE_LITERT" not in os.environ, reason="QUICKSTROKE_LITERT: no Python with litert-torch")
@pytest.mark.parametrize("name", ["simple_lay1_sz4", *POOLED[3:]])
def test_the_converter(told, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    loaded = told(name, reading="length-aware")
    command = ["export", str(loaded.path), "--to", "litert", "--converter", os.environ["QUICKSTROKE_LITERT"]]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_difference"] <= 1e-4
