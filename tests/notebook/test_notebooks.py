"""The notebooks of the documentation run, in a real kernel each, and the pad's traits are what the browser says."""

import ast
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import quickstroke as qs
from quickstroke.artifacts.loading import load_compact
from quickstroke.errors import CategoryError, ConfigError, MissingExtra, WeightsError

DOCS = Path(__file__).parents[2] / "docs"
needs_kernel = pytest.mark.skipif(
    not (find_spec("nbclient") and find_spec("ipykernel")), reason="nbclient or ipykernel is not installed"
)
needs_anywidget = pytest.mark.skipif(find_spec("anywidget") is None, reason="anywidget is not installed")
GUESSES = [{"word": "house", "probability": 0.75}, {"word": "barn", "probability": 0.2}]
# What a browser sends after a stroke and a guess (jupyter-widgets, "Jupyter widgets messaging protocol").
FROM_THE_BROWSER = f"""
said.clear()
for state in ({{"strokes": [[[10, 10, 0], [90, 20, 8], [50, 90, 16], [10, 10, 24]]]}}, {{"guesses": {GUESSES!r}}}):
    data = {{"method": "update", "state": state, "buffer_paths": []}}
    pad._handle_msg({{"content": {{"data": data}}, "buffers": []}})
(said, pad.guesses, recognizer.predict(pad.strokes, top=1)[0].word in recognizer.classes)
"""


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *further: str) -> list[Any]:
    """What each cell of code has for its last value, None where it has none, and the notebook."""
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.setenv("COLUMNS", "120")
    import notebooks

    notebook = notebooks.run(DOCS / "notebooks" / f"{name}.ipynb", folder, further)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [[each.data for each in cell.outputs if each.output_type == "execute_result"] for cell in cells]
    return [*(data[0] if data else None for data in shown), notebook]


@needs_kernel
def test_recognise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("recognise", tmp_path, monkeypatch)
    assert "345 words" in shown[0]["text/plain"]
    assert "house" in shown[1]["text/plain"].split("Guess")[1]
    assert shown[3]["text/plain"].startswith("[Guess(word='rocket ship'")


@needs_kernel
def test_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("train", tmp_path, monkeypatch)
    assert len(ast.literal_eval(shown[2]["text/plain"])) == 4
    assert shown[3]["text/plain"].startswith("[Guess(word='ring'")
    card = json.loads((tmp_path / "models" / "simple_lay1_sz16.json").read_text())
    assert card["figures"]["test"]["top1"] > 0.9


@needs_kernel
@needs_anywidget
def test_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *shown, notebook = run("draw", tmp_path, monkeypatch, FROM_THE_BROWSER)
    view = shown[0]["application/vnd.jupyter.widget-view+json"]
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"][view["model_id"]]
    assert state["state"]["top"] == 3 and "quick-stroke" in state["state"]["_esm"]
    (model,) = [buffer for buffer in state["buffers"] if buffer["path"] == ["model_file"]]
    assert len(model["data"]) > 100_000
    assert ast.literal_eval(shown[1]["text/plain"]) == ([], None)
    assert "nothing is drawn yet" in shown[2]["text/plain"]
    assert ast.literal_eval(shown[4]["text/plain"]) == (["house"], GUESSES, True)


@needs_anywidget
def test_the_pad_has_the_model_and_what_was_asked_for() -> None:
    pad = qs.widget(words=["cat", "dog"], top=2)
    assert (pad.words, pad.top, pad.strokes, pad.guesses) == (["cat", "dog"], 2, [], [])
    assert load_compact(pad.model_file, Path("pad")).classes == qs.load().classes
    for wrong, error in (({"top": 0}, ConfigError), ({"words": ["catt"]}, CategoryError)):
        with pytest.raises(error):
            qs.widget(**wrong)
    with pytest.raises(WeightsError, match="no such model file"):
        qs.widget("no.model")


def test_without_anywidget_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "quickstroke.notebook.pad", raising=False)
    with pytest.raises(MissingExtra, match=r"quickstroke\.widget needs .*: pip install 'quickstroke\[notebook\]'"):
        qs.widget()
