"""On real drawings, the page's first guess is that of `Recognizer.predict`: served, and exported to the browser."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hands import Hands, Rows, serving
from playwright.sync_api import Page

from quickstroke import cli
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.formats import read_file
from quickstroke.inference.recognizer import Recognizer, load
from quickstroke.models.classifier import StrokeClassifier

N_DRAWINGS = 200

# Sets each drawing and waits for its guesses.
GUESS_ALL = """async (drawings) => {
  const answers = [];
  for (const strokes of JSON.parse(drawings)) {
    quickstroke.setStrokes(strokes);
    await quickstroke.settled();
    answers.push(quickstroke.guesses());
  }
  return answers;
}"""


@pytest.fixture(scope="session")
def real_drawings(shared: Path, recognizer: Recognizer) -> list[list[Rows]]:
    """As many of raw/ as of binary/, of words that the model knows, spread over them."""
    n = N_DRAWINGS
    drawings: list[list[Rows]] = []
    for kind in ("raw", "binary"):
        paths = [
            path for path in sorted((shared / "data" / "quickdraw" / kind).iterdir()) if path.stem in recognizer.classes
        ]
        per_word = -(-n // 2 // len(paths))
        found = (drawing for path in paths for drawing in islice(read_file(path), per_word))
        drawings += [[stroke.T.tolist() for stroke in drawing.strokes] for drawing in islice(found, n // 2)]
    return drawings


def predicted(recognizer: Recognizer, drawings: list[list[Rows]]) -> list[Any]:
    arrays = [[np.array(rows[:2]).T for rows in strokes] for strokes in drawings]
    return [recognizer.predict(strokes, simplified=False) for strokes in arrays]


def guessed(page: Page, drawings: list[list[Rows]]) -> list[Any]:
    answers: list[Any] = page.evaluate(GUESS_ALL, json.dumps(drawings))
    return answers


def assert_equal_guesses(theirs: list[Any], ours: list[Any]) -> None:
    assert len(theirs) == len(ours) == N_DRAWINGS
    n_equal = sum(mine[0].word == other[0]["word"] for mine, other in zip(ours, theirs, strict=True))
    assert n_equal >= 0.99 * N_DRAWINGS
    gaps = [abs(mine[0].probability - other[0]["probability"]) for mine, other in zip(ours, theirs, strict=True)]
    assert np.quantile(gaps, 0.99) < 1e-3


@pytest.fixture(scope="session")
def exported_folder(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `quickstroke export --to web` writes."""
    folder = tmp_path_factory.mktemp("exported") / "web"
    assert cli.main(["export", str(model_path), "--to", "web", "--into", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def exported(exported_folder: Path) -> Iterator[str]:
    """The address of a plain web server of it."""
    with serving(exported_folder) as url:
        yield url


@pytest.fixture(params=["served", "exported"])
def place(request: pytest.FixtureRequest) -> tuple[str, Recognizer]:
    """The address of a page, and what Python has of the same weights: those of the exported page are rounded."""
    address: str = request.getfixturevalue(request.param)
    if request.param == "served":
        return address, request.getfixturevalue("recognizer")
    return address, load(request.getfixturevalue("exported_folder") / "model.quickstroke")


def test_first_guesses_on_real_drawings(
    hands: Hands, place: tuple[str, Recognizer], real_drawings: list[list[Rows]]
) -> None:
    url, recognizer = place
    assert_equal_guesses(guessed(hands.open(url=url), real_drawings), predicted(recognizer, real_drawings))


# Of the raw and of the others, such as have several strokes and few points. What a tool draws is the page's before it
# is guessed, so that each tool draws in one place.
@pytest.mark.parametrize(
    ("place", "tool", "numbers"),
    [
        ("served", "mouse", (22, 145, 157)),
        ("exported", "touch", (27, 133, 152)),
        ("served", "pen", (71, 109, 135)),
    ],
    indirect=["place"],
)
def test_first_guesses_on_real_drawings_drawn_anew(
    hands: Hands, place: tuple[str, Recognizer], real_drawings: list[list[Rows]], tool: str, numbers: tuple[int, ...]
) -> None:
    url, recognizer = place
    page = hands.open(url=url, has_touch=tool == "touch")
    for strokes in (real_drawings[i] for i in numbers):
        page.keyboard.press("Escape")
        getattr(hands, tool)(page, strokes)
        drawn = page.evaluate("quickstroke.strokes()")
        assert len(drawn) == len(strokes)
        ours = recognizer.predict([np.array(rows[:2]).T for rows in drawn])
        theirs = page.evaluate("quickstroke.settled().then(() => quickstroke.guesses())")
        assert theirs[0]["word"] == ours[0].word
        assert theirs[0]["probability"] == pytest.approx(ours[0].probability, abs=1e-3)


def test_a_model_that_looks_at_images_says_the_same_in_the_browser(hands: Hands, tmp_path: Path) -> None:
    words = ("apple", "circle", "face", "star", "sun")
    torch.manual_seed(2)
    model = StrokeClassifier(ModelConfig.from_name("bipool_cv1_8_5_2_img4_lay1_sz8", n_classes=len(words))).eval()
    with torch.no_grad():
        model.linear.weight *= 5  # so that its guesses differ
    path = write_model(tmp_path / "models", LoadedModel(model, words, None, tmp_path), {})
    cli.main(["export", str(path), "--to", "web", "--into", str(tmp_path / "web")])
    drawings = [[stroke.T.tolist() for stroke in drawing.strokes] for drawing in synthetic_drawings(20, seed=3)]
    with serving(tmp_path / "web") as url:
        theirs = guessed(hands.open(url=url), drawings)
        hands.close()
    found = []
    for mine, other in zip(predicted(load(tmp_path / "web" / "model.quickstroke"), drawings), theirs, strict=True):
        assert [guess.word for guess in mine] == [guess["word"] for guess in other][: len(mine)]
        found.append([guess.probability for guess in mine])
        assert found[-1] == pytest.approx([guess["probability"] for guess in other][: len(mine)], abs=1e-4)
    assert np.ptp([row[0] for row in found]) > 0.05
