"""The exported page: it recognises in a worker, with no server but one of files.

onnxruntime-web is stood in for by a module that hands the test what it is asked, and answers as the test wants. The
real one is in test_page_parity.py.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import Hands, Rows, serving
from playwright.sync_api import Page, expect

from quickstroke.config.model import Preprocessing
from quickstroke.data.points import n_channels, to_points
from quickstroke.drawings.simplification import simplify
from quickstroke.export import web

CLASSES = ["apple", "bicycle", "circle", "face", "square", "star", "sun"]
PROBABILITIES = [0.05, 0.5, 0.1, 0.1, 0.2, 0.03, 0.02]

STAND_IN = """
export const env = { wasm: {} };
export class Tensor {
  constructor(type, data, dims) { Object.assign(this, { type, data, dims }); }
}
const channel = new BroadcastChannel("asked");
export const InferenceSession = {
  async create(weights, options) {
    return {
      async run(inputs) {
        const plain = ({ type, data, dims }) => [type, Array.from(data, Number), dims];
        const asked = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, plain(tensor)]));
        channel.postMessage({ ...asked, bytes: weights.byteLength, options, wasm: env.wasm });
        return { probabilities: { data: Float32Array.of(%s) } };
      },
    };
  },
};
"""

LISTEN = """
window.asked = [];
new BroadcastChannel("asked").addEventListener("message", ({ data }) => window.asked.push(data));
"""

TRIANGLE: list[Rows] = [[[10, 60, 120, 190, 200], [10, 11, 12, 11, 190]], [[198, 150, 100, 10], [190, 150, 100, 10]]]


def write_offline(folder: Path, **changes: Any) -> Path:
    """An exported folder with the stand-in; `changes` of model.json."""
    card = {
        "name": "simple_lay1_sz64",
        "classes": CLASSES,
        "preprocessing": {"name": "delta3", "max_padding": 100},
        "config": {"reading": "length-aware"},
    }
    stand_in = STAND_IN % ", ".join(map(str, PROBABILITIES))
    web.write_folder(folder, b"12345", card, {"ort.wasm.min.mjs": stand_in.encode()}, replace=False)
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, **changes}))
    return folder


@pytest.fixture
def open_offline(hands: Hands, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens the page of such a folder."""
    with ExitStack() as servers:

        def open_it(**changes: Any) -> Page:
            url = servers.enter_context(serving(write_offline(tmp_path / "web", **changes)))
            return hands.open(url=url, before=LISTEN)

        yield open_it
        hands.close()


def guesses(page: Page) -> list[Any]:
    ranked: list[Any] = page.evaluate("quickstroke.settled().then(() => quickstroke.guesses())")
    return ranked


def test_recognises_without_a_server(open_offline: Callable[..., Page], hands: Hands) -> None:
    page = open_offline()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    expect(page.locator("#model")).to_have_text("simple_lay1_sz64, 7 words")
    hands.mouse(page, TRIANGLE)
    assert [guess["word"] for guess in guesses(page)] == ["bicycle", "square", "circle", "face", "apple"]
    expect(page.locator("#headline")).to_have_text("A bicycle?")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()
    assert requests == []


@pytest.mark.parametrize(
    ("preprocessing", "max_padding", "min_rows"),
    [("delta3", 100, 1), ("delta3", 4, 1), ("delta3", 100, 12), ("pos5", 200, 1), ("pos5", 4, 1), ("pos5", 100, 12)],
)
def test_the_model_gets_the_points_of_python(
    open_offline: Callable[..., Page], hands: Hands, preprocessing: Preprocessing, max_padding: int, min_rows: int
) -> None:
    page = open_offline(preprocessing={"name": preprocessing, "max_padding": max_padding}, min_rows=min_rows)
    hands.mouse(page, TRIANGLE)
    assert len(guesses(page)) == 5
    drawn = page.evaluate("quickstroke.strokes()")
    points = to_points(simplify([np.array(rows[:2]).T for rows in drawn]), max_padding, preprocessing)
    asked = page.evaluate("asked.at(-1)")
    n_steps, n_columns = max(len(points), min_rows), n_channels(preprocessing)
    kind, data, dims = asked["points"]
    assert (kind, dims) == ("float32", [1, n_steps, n_columns])
    padded = np.zeros((n_steps, n_columns), np.float32)
    padded[: len(points)] = points
    assert np.array_equal(np.float32(data).reshape(n_steps, n_columns), padded)
    assert asked["lengths"] == ["int64", [len(points)], [1]]
    assert asked["bytes"] == len(b"12345")
    assert asked["options"] == {"executionProviders": ["wasm"]}
    assert asked["wasm"] == {"numThreads": 1, "wasmPaths": f"{page.url}ort/"}


def test_a_folder_of_an_older_version_names_the_preprocessing_in_its_own_way(
    open_offline: Callable[..., Page], hands: Hands
) -> None:
    page = open_offline(preprocessing={"name": "seed3", "max_padding": 100})
    hands.mouse(page, TRIANGLE)
    assert len(guesses(page)) == 5
    assert page.evaluate("asked.at(-1)")["points"][2][2] == n_channels("delta3")


@pytest.mark.parametrize(
    ("preprocessing", "values", "shape"),
    [("delta3", [0, 0, 1], [1, 3]), ("pos5", [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [2, 5])],
)
def test_a_dot_has_rows(
    open_offline: Callable[..., Page], preprocessing: str, values: list[int], shape: list[int]
) -> None:
    """As many as there are once simplifying has made two points of it."""
    page = open_offline(preprocessing={"name": preprocessing, "max_padding": 100})
    page.evaluate("quickstroke.setStrokes([[[5], [5]]])")
    assert len(guesses(page)) == 5
    assert page.evaluate("[asked.at(-1).points, asked.at(-1).lengths]") == [
        ["float32", values, [1, *shape]],
        ["int64", [shape[0]], [1]],
    ]


@pytest.mark.parametrize("file", ["model.onnx", "model.json", "ort/ort.wasm.min.mjs"])
def test_a_missing_file_is_told_and_asked_for_again(hands: Hands, browser: Any, tmp_path: Path, file: str) -> None:
    folder = write_offline(tmp_path / "web")
    away = tmp_path / "away"
    (folder / file).rename(away)
    with serving(folder) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.get_by_role("alert")).to_contain_text(
            "could not be started" if "ort" in file else f"{file} could not be loaded"
        )
        away.rename(folder / file)
        expect(page.locator("#model")).to_have_text("simple_lay1_sz64, 7 words")
        expect(page.get_by_role("alert")).to_have_text("")
        hands.mouse(page, TRIANGLE)
        assert len(guesses(page)) == 5
        page.close()


@pytest.mark.parametrize("name", ["other", "toString", None, 5])
def test_a_model_of_another_preprocessing_is_refused(browser: Any, tmp_path: Path, name: Any) -> None:
    folder = write_offline(tmp_path / "web", preprocessing={"name": name, "max_padding": 100})
    with serving(folder) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.get_by_role("alert")).to_contain_text("model.json is not one that this page can read")
        page.close()


def test_opened_without_a_server_the_page_says_what_it_needs(browser: Any, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto((write_offline(tmp_path / "web") / "index.html").as_uri())
    expect(page.locator("#headline")).to_have_text("This page needs a web server")
    expect(page.locator("#subline")).to_contain_text("python -m http.server")
    page.close()
