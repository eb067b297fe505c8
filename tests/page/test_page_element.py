"""The npm package in a page of somebody else's: from another folder and in a worker, on a canvas, and as an element."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import Pages, serving
from playwright.sync_api import Page, expect

from quickstroke.export import compact
from quickstroke.inference.recognizer import Recognizer

TRIANGLE = [[[10, 10], [60, 12], [35, 80], [10, 10]]]

HTML = """<!doctype html><title>somebody's page</title>
<script type="module" src="../../cdn/element.js"></script>
<quick-stroke model="../../models/small.quickstroke" top="2"></quick-stroke>
<canvas id="own" width="300" height="200"></canvas>
<script>
  window.told = [];
  for (const type of ["guess", "stroke", "clear", "load", "error"]) {
    document.addEventListener(type, ({ detail }) => {
      const drawn = JSON.stringify(document.querySelector("quick-stroke").strokes);
      window.told.push([type, detail?.error ? detail.error.message : detail, drawn]);
    });
  }
</script>"""


@pytest.fixture(scope="module")
def host(node: str, tools: Path, model: compact.Compacted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A host with the package in one folder, a model in another, and a page in a third."""
    folder = tmp_path_factory.mktemp("host")
    build = [node, tools.parent / "build.mjs", folder / "page", folder / "cdn"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("models", "app/deep"):
        (folder / name).mkdir(parents=True)
    (folder / "models" / "small.quickstroke").write_bytes(model.data)
    (folder / "app" / "deep" / "index.html").write_text(HTML)
    with serving(folder) as url:
        yield url


@pytest.fixture
def page(pages: Pages, host: str) -> Iterator[Page]:
    problems: list[str] = []
    with pages.lent() as page:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{host}app/deep/")
        yield page
    assert problems == []


def expected(model: compact.Compacted, strokes: list[Any], **options: Any) -> dict[str, Any]:
    guesses = Recognizer(model.model).predict([np.array(stroke)[:, :2] for stroke in strokes], **options)
    return {guess.word: pytest.approx(guess.probability, abs=1e-5) for guess in guesses}


def by_word(guesses: list[Any]) -> dict[str, float]:
    return {guess["word"]: guess["probability"] for guess in guesses}


def draw(page: Page, selector: str, points: list[list[int]]) -> None:
    box = page.locator(selector).bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def test_in_a_worker_from_another_folder(page: Page, model: compact.Compacted) -> None:
    script = """async (strokes) => {
      const { load, OptionError } = await import("/cdn/worker.js");
      const seen = [];
      const onProgress = (n, total) => seen.push(n, total);
      const recognizer = await load("../../models/small.quickstroke", { onProgress });
      const { name, words } = recognizer;
      const kinds = [undefined, new Set(["sun"])];
      const both = await Promise.all(kinds.map((words) => recognizer.predict(strokes, { words })));
      const refused = await recognizer.predict(strokes, { words: ["moon"] }).catch((error) => error);
      recognizer.close();
      const closed = await recognizer.predict(strokes).catch(({ message }) => message);
      const missing = await load("no.quickstroke").catch(({ message }) => message);
      const isOption = refused instanceof OptionError;
      return { name, words, both, seen, isOption, refused: refused.message, closed, missing };
    }"""
    found = page.evaluate(script, TRIANGLE)
    assert (found["name"], tuple(found["words"])) == (model.model.name, model.model.classes)
    assert by_word(found["both"][0]["guesses"]) == expected(model, TRIANGLE)
    assert found["both"][1] == {"guesses": [{"word": "sun", "probability": 1}], "unknown": None}
    assert found["seen"][-2:] == [len(model.data), len(model.data)]
    assert found["isOption"] and found["refused"].startswith('the model does not know the word "moon"; the nearest')
    assert found["closed"] == "the recogniser was closed"
    assert found["missing"].endswith("no.quickstroke: could not be loaded: the server answered 404")


def test_an_element_guesses_while_one_draws(page: Page, model: compact.Compacted) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate("told.length = 0")
    draw(page, "quick-stroke canvas", [[20, 20], [150, 40], [90, 200], [20, 20]])
    page.wait_for_function("told.some(([type]) => type === 'stroke')")
    page.wait_for_function("""() => {
      const drawn = JSON.stringify(document.querySelector("quick-stroke").strokes);
      return told.some(([type, , at]) => type === "guess" && at === drawn);
    }""")
    strokes = page.evaluate("document.querySelector('quick-stroke').strokes")
    assert len(strokes) == 1 and len(strokes[0]) >= 3 and len(strokes[0][0]) == 3
    expect(page.locator("quick-stroke li")).to_have_count(2)
    guesses = page.evaluate("document.querySelector('quick-stroke').guesses")
    assert by_word(guesses) == expected(model, strokes, top=2)
    assert page.locator("quick-stroke li").first.inner_text() == f"{guesses[0]['word']} {guesses[0]['probability']:.0%}"
    page.evaluate("document.querySelector('quick-stroke').clear()")
    expect(page.locator("quick-stroke li")).to_have_count(0)
    assert page.evaluate("document.querySelector('quick-stroke').strokes") == []
    assert "clear" in page.evaluate("told.map(([type]) => type)")


def test_an_element_says_what_is_wrong_with_its_attributes(page: Page) -> None:
    for name, value, message in (
        ("words", "cat, dog", 'the model does not know the word "dog"'),
        ("model", "no.quickstroke", "could not be loaded"),
    ):
        page.evaluate("told.length = 0")
        page.evaluate("(change) => document.querySelector('quick-stroke').setAttribute(...change)", [name, value])
        page.wait_for_function("told.some(([type]) => type === 'error')")
        assert message in json.dumps(page.evaluate("told"), ensure_ascii=False).replace('\\"', '"')
        expect(page.locator("quick-stroke li")).to_contain_text(message)
    # All attributes of a new one are one change, and what is wrong is told once.
    page.evaluate("""() => {
      told.length = 0;
      const attributes = 'model="none.quickstroke" words="cat" top="2" ink="teal" paper="ivory"';
      document.body.insertAdjacentHTML("beforeend", `<quick-stroke ${attributes}></quick-stroke>`);
    }""")
    another = page.locator("quick-stroke").last
    expect(another.locator("li")).to_contain_text("could not be loaded")
    assert page.evaluate("told.filter(([type]) => type === 'error').length") == 1
    expect(another.locator("canvas")).to_have_css("color", "rgb(0, 128, 128)")
    expect(another.locator("canvas")).to_have_css("background-color", "rgb(255, 255, 240)")


def test_a_drawing_outlives_a_change_of_the_element(page: Page, model: compact.Compacted) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    draw(page, "quick-stroke canvas", [[20, 20], [150, 40], [90, 200], [20, 20]])
    strokes = page.evaluate("document.querySelector('quick-stroke').strokes")
    for change, n in (("element.setAttribute('top', '3')", 3), ("document.body.append(element)", 3)):
        page.evaluate(f"told.length = 0; element = document.querySelector('quick-stroke'); {change}")
        assert page.evaluate("element.strokes") == strokes  # at once, though the pad is not there yet
        page.wait_for_function("told.some(([type]) => type === 'guess')")
        assert page.evaluate("element.strokes") == strokes
        assert by_word(page.evaluate("element.guesses")) == expected(model, strokes, top=n)
        inked = "element.shadowRoot.querySelector('canvas').getContext('2d').getImageData(0, 0, 200, 220).data"
        assert page.evaluate(f"{inked}.some((value) => value > 0)")
    page.evaluate("told.length = 0; element.strokes = [[[10, 10, 0], [90, 90, 9]]]")
    page.wait_for_function("told.some(([type]) => type === 'guess')")
    assert page.evaluate("element.strokes") == [[[10, 10, 0], [90, 90, 9]]]


def test_an_element_is_seen_on_a_dark_page_and_under_a_strict_policy(page: Page, host: str) -> None:
    policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
    page.route(
        "**/strict/",
        lambda route: route.fulfill(
            body='<!doctype html><script type="module" src="/cdn/element.js"></script>'
            '<quick-stroke model="/models/small.quickstroke"></quick-stroke>',
            headers={"content-type": "text/html", "content-security-policy": policy},
        ),
    )
    page.goto(f"{host}strict/")
    canvas = page.locator("quick-stroke canvas")
    expect(canvas).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(canvas).to_have_css("border-top-width", "1px")
    page.evaluate("document.body.style.color = 'rgb(238, 238, 238)'")
    expect(page.locator("quick-stroke ol")).to_have_css("color", "rgb(238, 238, 238)")
    expect(canvas).to_have_css("color", "rgb(29, 36, 48)")


def test_an_element_tells_what_a_worker_refuses(page: Page) -> None:
    page.evaluate("""async () => {
      const { load } = await import("/cdn/worker.js");
      const element = document.querySelector("quick-stroke");
      element.setAttribute("words", "moon");
      element.recognizer = await load("../../models/small.quickstroke");
      told.length = 0;
    }""")
    page.wait_for_function("told.some(([type]) => type === 'error')")
    expect(page.locator("quick-stroke li")).to_contain_text('the model does not know the word "moon"')
    assert "load" not in page.evaluate("told.map(([type]) => type)")


def test_a_canvas_of_ones_own(page: Page, model: compact.Compacted) -> None:
    page.evaluate("""async () => {
      const { attach } = await import("/cdn/element.js");
      const { load } = await import("/cdn/quickstroke.js");
      window.answers = [];
      const recognizer = await load("../../models/small.quickstroke");
      window.pad = attach(document.getElementById("own"), recognizer, {
        words: ["cat", "sun"],
        onGuess: (answer) => answers.push(answer),
      });
    }""")
    draw(page, "#own", [[20, 20], [150, 40], [90, 150]])
    draw(page, "#own", [[200, 50], [210, 60]])
    page.wait_for_function("answers.length && pad.strokes.length === 2")
    page.evaluate("pad.undo()")
    page.wait_for_function("pad.strokes.length === 1")
    page.evaluate("answers.length = 0; pad.undo()")
    page.wait_for_function("answers.length === 1")
    assert page.evaluate("answers") == [{"guesses": [], "unknown": None}]
    draw(page, "#own", [[20, 20], [150, 40], [90, 150]])
    page.wait_for_function("answers.length > 1 && answers.at(-1).guesses.length === 2")
    assert set(by_word(page.evaluate("answers.at(-1).guesses"))) == {"cat", "sun"}
    page.evaluate("pad.detach()")
    draw(page, "#own", [[20, 20], [150, 40]])
    assert page.evaluate("pad.strokes.length") == 1
    ink = "document.getElementById('own').getContext('2d').getImageData(80, 28, 8, 8).data.some((value) => value > 0)"
    page.wait_for_function(ink)


def test_a_notebook_shows_the_pad_by_its_widget(page: Page, host: str, model: compact.Compacted) -> None:
    """By the one file of the widget, with a stub of the model that a notebook keeps in step with Python."""
    page.goto(f"{host}models/")
    page.evaluate("""async () => {
      const bytes = await (await fetch("small.quickstroke")).arrayBuffer();
      const values = { model_file: new DataView(bytes), words: ["cat", "sun"], top: 2, strokes: [], guesses: [] };
      const [saved, listeners] = [[], {}];
      const model = {
        get: (name) => values[name],
        set: (name, value) => { values[name] = value; },
        save_changes: () => saved.push({ ...values, model_file: null }),
        on: (type, listener) => { listeners[type] = listener; },
        off: (type) => { delete listeners[type]; },
      };
      const el = Object.assign(document.createElement("div"), { id: "cell" });
      document.body.append(el);
      const { default: widget } = await import("/page/widget.js");
      Object.assign(window, { model, values, saved, listeners, leave: await widget.render({ model, el }) });
    }""")
    draw(page, "#cell quick-stroke canvas", [[20, 20], [150, 40], [90, 200], [20, 20]])
    draw(page, "#cell quick-stroke canvas", [[30, 30], [50, 40], [90, 50]])
    page.wait_for_function("values.strokes.length === 2")
    strokes = page.evaluate("values.strokes")
    guesses = Recognizer(model.model).predict(strokes, words=["cat", "sun"])
    near = "([word, p]) => values.guesses[0]?.word === word && Math.abs(values.guesses[0].probability - p) < 1e-5"
    page.wait_for_function(near, arg=list(guesses[0]))
    assert page.evaluate("[values.guesses.length, values.error]") == [2, ""]
    expect(page.locator("#cell li")).to_have_count(2)
    page.locator("#cell button", has_text="Undo").click()
    assert page.evaluate("saved.at(-1).strokes.length") == 1
    page.evaluate("values.strokes = []; listeners['change:strokes']()")  # from Python
    expect(page.locator("#cell li")).to_have_count(0)
    page.wait_for_function("saved.at(-1).guesses.length === 0")
    draw(page, "#cell quick-stroke canvas", [[20, 20], [150, 40]])
    page.wait_for_function("values.strokes.length === 1")
    page.evaluate("leave()")
    assert page.evaluate("Object.keys(listeners)") == []
    # The same pad in another cell.
    page.evaluate("""async () => {
      const el = Object.assign(document.createElement("div"), { id: "another" });
      document.body.append(el);
      const { default: widget } = await import("/page/widget.js");
      await widget.render({ model: window.model, el });
    }""")
    assert page.locator("#another quick-stroke").evaluate("(pad) => pad.strokes") == page.evaluate("values.strokes")
    expect(page.locator("#another li")).to_have_count(2)
