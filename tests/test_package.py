"""The package as a whole: light to import, complete, and clear about what is missing."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import quickstroke as qs
from quickstroke.cli import main

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numba", "matplotlib", "tyro", "rich", "hypothesis")
VERY_LIGHT = (*HEAVY, "numpy", "dataclasses", "json", "asyncio")


def run_python(code):
    """What a fresh interpreter prints, read as JSON."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_importing_is_light():
    loaded = run_python("import json, sys, quickstroke; print(json.dumps(sorted(sys.modules)))")
    assert "quickstroke" in loaded
    assert not set(HEAVY) & set(loaded) and "numpy" not in loaded


def test_light_names_stay_light():
    code = """
import json, sys
import quickstroke as qs
qs.ModelConfig.from_name("lstm_cv1_128_5_lay1_sz64").name, qs.TrainConfig(), qs.CATEGORIES, qs.Drawing
print(json.dumps(sorted(sys.modules)))
"""
    assert not set(HEAVY) & set(run_python(code))


@pytest.mark.parametrize(("command", "heavy"), [("--help", VERY_LIGHT), ("models", (*HEAVY, "numpy"))])
def test_commands_that_only_tell_something_import_little(command, heavy):
    code = f"""
import contextlib, io, sys
from quickstroke.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main([{command!r}]) == 0
loaded = sorted(sys.modules)
import json
print(json.dumps(loaded))
"""
    assert not set(heavy) & set(run_python(code))


def test_reading_and_simplifying_need_no_torch():
    """In an environment without PyTorch, what needs it says which extra to install; the rest works."""
    code = """
import json, sys
sys.modules["torch"] = None
import quickstroke as qs
answers = {}
for name in qs.__all__:
    try:
        getattr(qs, name)
        answers[name] = ""
    except qs.QuickstrokeError as error:
        answers[name] = str(error)
print(json.dumps(answers))
"""
    answers = run_python(code)
    missing = {name for name, answer in answers.items() if answer}
    assert missing == {"StrokeClassifier", "Watcher", "evaluate", "publish", "train"}
    for name in missing:
        assert f"quickstroke.{name} needs" in answers[name] and "pip install 'quickstroke[torch]'" in answers[name]


def test_an_onnx_model_serves_every_command_that_recognises_without_torch(tmp_path):
    model, drawings = tmp_path / "model.onnx", tmp_path / "drawings.ndjson"
    assert main(["export", str(ROOT / "lstm/simple_lay1_sz64.model"), "--to", "onnx", "--into", str(model)]) == 0
    drawings.write_text(3 * '{"word": "robot", "drawing": [[[0, 255, 120, 0], [0, 10, 200, 0]]]}\n')
    code = f"""
import contextlib, io, json, sys

class Missing:  # not None in `sys.modules`: tyro looks there for it

    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Missing())
from quickstroke.cli import main, serve
model, drawings, folder = {str(model)!r}, {str(drawings)!r}, {str(tmp_path)!r}
commands = [
    ["predict", drawings, "--model", model],
    ["teach", model, drawings, "--into", "robot", "--taught", folder + "/taught.json"],
    ["render", drawings, "--model", model, "--into", folder + "/robot.svg"],
]
codes = []
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()):
        codes.append(main(command))
served = serve._load(serve.Options(model=model, taught=folder + "/taught.json"))
print(json.dumps([codes, served.name, list(served.taught)]))
"""
    assert run_python(code) == [[0, 0, 0], "simple_lay1_sz64", ["robot"]]


def test_every_public_name_resolves():
    assert list(qs.__all__) == sorted(qs.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    for name in qs.__all__:
        assert getattr(qs, name) is not None
    assert set(qs._LAZY) <= set(qs.__all__) and dir(qs) == sorted(qs.__all__)


def test_lazy_names_are_those_of_their_modules():
    for name, module in qs._LAZY.items():
        assert getattr(importlib.import_module(f"quickstroke.{module}"), name) is not None
    namespace = {}
    exec("from quickstroke import *", namespace)
    assert set(qs.__all__) <= set(namespace)


@pytest.mark.parametrize("first", ["simplify", "prepare"])
def test_names_mean_the_same_in_whatever_order_they_are_used(first):
    """A lazy name must not turn into the module of the same name once something else has imported that."""
    code = f"""
import json
import quickstroke as qs
qs.{first}
print(json.dumps([name for name in qs.__all__ if type(getattr(qs, name)).__name__ == "module"]))
"""
    assert run_python(code) == []


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'quickstroke' has no attribute 'recogniser'"):
        _ = qs.recogniser
    assert not hasattr(qs, "_hidden")


def test_the_version():
    from importlib import metadata

    assert qs.__version__ == metadata.version("quickstroke")
    assert [part.isdigit() for part in qs.__version__.split(".")] == [True] * 3


def test_the_npm_package_and_the_changelog_have_the_same_version():
    package = json.loads((ROOT / "js" / "package.json").read_text(encoding="utf-8"))
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and package["version"] == newest[1] == qs.__version__


def test_every_error_has_the_one_root():
    from quickstroke import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 11
    assert all(issubclass(kind, qs.QuickstrokeError) for kind in kinds)
    drawn = errors.__doc__ or ""
    assert all(kind.__name__ in drawn for kind in kinds)


def test_the_interface_that_the_text_promises(tmp_path):
    """Every line of the example in the documentation, on a model without training."""
    import numpy as np

    from quickstroke.artifacts.loading import LoadedModel, write_model

    config = qs.ModelConfig.from_name("lstm_cv1_8_5_lay1_sz4", n_classes=2)
    assert config.name == "lstm_cv1_8_5_lay1_sz4"
    model = qs.StrokeClassifier(config).eval()
    path = write_model(tmp_path, LoadedModel(model, ("cat", "dog"), None, tmp_path), {})
    guesses = qs.load(path).predict([np.array([[0, 0], [10.5, 3]])], simplified=False, top=5)
    assert [guess.word for guess in guesses] in (["cat", "dog"], ["dog", "cat"])
    assert isinstance(guesses[0], qs.Guess)


def test_the_first_drawings_are_guessed_and_nothing_is_compiled(tmp_path):
    """Reading, simplification, points and the model, in a fresh process: numba is not even imported."""
    code = f"""
import json, sys, torch
import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.cli import main
from pathlib import Path
folder = Path({str(tmp_path)!r})
config = qs.ModelConfig.from_name("bipool_cv1_8_5_img3_lay1_sz4", n_classes=2)
path = write_model(folder, LoadedModel(qs.StrokeClassifier(config).eval(), ("cat", "dog"), None, folder), {{}})
stroke = [[0.5, 9, 5, 30], [0, 9, 7.5, 2], [0, 1, 2, 3]]
raw = folder / "raw.ndjson"
raw.write_text(json.dumps({{"word": "cat", "drawing": [stroke, stroke]}}))
from quickstroke.formats import binary, read_drawings
binary.write(folder / "cat.bin", [qs.Drawing("cat", qs.simplify(drawing.strokes)) for drawing in read_drawings(raw)])
sys.stdout = sys.stderr
assert main(["predict", str(raw), str(folder / "cat.bin"), "--model", str(path)]) == 0
sys.stdout = sys.__stdout__
print(json.dumps(sorted(sys.modules)))
"""
    assert not {"numba", "llvmlite"} & set(run_python(code))
