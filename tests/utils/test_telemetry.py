"""Nobody who runs quickstroke is reported to anyone by the libraries that it uses."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.models.classifier import StrokeClassifier

ROOT = Path(__file__).parents[2]
REPORTING = {"onnxruntime", "huggingface_hub", "datasets", "wandb", "mlflow"}

EXPORT = """
import os, sys
from quickstroke.cli import main

assert main(["export", sys.argv[1], "--to", "onnx", "--into", sys.argv[2]]) == 0
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"

from quickstroke.export import hub
from huggingface_hub import constants, utils

assert hub.huggingface_hub and constants.HF_HUB_DISABLE_TELEMETRY is True
assert "torch" not in utils.build_hf_headers(token=False)["user-agent"]
"""
LOAD = """
import os, sys
import quickstroke as qs

assert len(qs.load(sys.argv[1]).predict([[[0, 0], [9, 9], [4, 7], [1, 2]]])) == 2
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1" and "torch" not in sys.modules
"""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            yield from (str(arg.value).split(".")[0] for arg in node.args if isinstance(arg, ast.Constant))


def test_libraries_that_report_are_imported_in_one_place() -> None:
    folders = [ROOT / name for name in ("src", "tests", "benchmarks", "docs", "fuzz")]
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(paths) > 100
    assert {path.name for path in paths if REPORTING & set(imports(path))} == {"telemetry.py"}


def test_onnxruntime_keeps_nothing_under_the_home_folder(tmp_path: Path) -> None:
    """Nor does it send anything: what it sends it first keeps there."""
    home, exported = tmp_path / "home", tmp_path / "x.onnx"
    home.mkdir()
    names = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    unset = {name: value for name, value in os.environ.items() if name not in names} | {"HOME": str(home)}
    on = {"ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}
    classifier = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz4", n_classes=2)).eval()
    model = write_model(tmp_path, LoadedModel(classifier, ("cat", "dog"), None, tmp_path), {})
    for code, environment, paths in ((EXPORT, unset | on, [model, exported]), (LOAD, unset, [exported])):
        done = subprocess.run([sys.executable, "-c", code, *paths], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    assert [str(path.relative_to(home)) for path in home.rglob("*")] == []
