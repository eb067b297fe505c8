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
  for (const type of ["guess", "stroke", "undo", "clear", "load", "error"]) {
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
      const proxy = (value) => (Array.isArray(value) ? new Proxy(value.map(proxy), {}) : value);
      const ofProxies = await recognizer.predict(proxy(strokes));
      const unsendable = await recognizer.predict([[() => 1]]).catch(({ name }) => name);
      const reactive = await recognizer.predict(strokes, new Proxy({ top: 2 }, {}));
      const refusedOption = await recognizer.predict(strokes, { layout: () => 1 }).catch(({ name }) => name);
      const noSignal = await load("../../models/small.quickstroke", { signal: 5 }).catch(({ message }) => message);
      recognizer.close();
      const closed = await recognizer.predict(strokes).catch(({ message }) => message);
      const missing = await load("no.quickstroke").catch(({ message }) => message);
      const stopping = new AbortController();
      const stopped = load("../../models/small.quickstroke", { signal: stopping.signal }).catch(({ name }) => name);
      stopping.abort();
      const isOption = refused instanceof OptionError;
      const more = { ofProxies, unsendable, stopped: await stopped, refusedOption, noSignal };
      const all = { ...more, n: reactive.guesses.length, name, words, both, seen, isOption };
      return { ...all, refused: refused.message, closed, missing };
    }"""
    found = page.evaluate(script, TRIANGLE)
    assert (found["name"], tuple(found["words"])) == (model.model.name, model.model.classes)
    assert by_word(found["both"][0]["guesses"]) == expected(model, TRIANGLE)
    assert found["both"][1] == {"guesses": [{"word": "sun", "probability": 1}], "unknown": None}
    assert found["ofProxies"] == found["both"][0]
    assert (found["unsendable"], found["stopped"]) == ("StrokesError", "AbortError")
    assert (found["n"], found["refusedOption"]) == (2, "OptionError")
    assert found["noSignal"] == "signal should be an AbortSignal, got 5"
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


QUICK_STROKE = "document.querySelector('quick-stroke')"
# Whether there is ink around a place of a canvas, in its CSS pixels.
INKED = """(canvas, [x, y]) => {
  const style = getComputedStyle(canvas);
  const without = (size, ...sides) => sides.reduce((left, side) => left - parseFloat(style[`padding${side}`]), size);
  const width = without(canvas.clientWidth, "Left", "Right");
  const height = without(canvas.clientHeight, "Top", "Bottom");
  const [left, top] = [(x * canvas.width) / width, (y * canvas.height) / height];
  const { data } = canvas.getContext("2d").getImageData(left - 4, top - 4, 8, 8);
  return data.some((value) => value > 0);
}"""
# The colours of the ink, without its edges.
INKS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(String(data.slice(i, i + 3)));
  return [...colours];
}"""
# What has been drawn is seen and what observes sizes has been told.
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def is_inked(page: Page, selector: str, x: float, y: float) -> bool:
    page.evaluate(TWO_FRAMES)
    found: bool = page.locator(selector).evaluate(INKED, [x, y])
    return found


def attached(page: Page, options: str = "{}") -> None:
    """`pad` on the page's own canvas, with a recogniser that says "cat"."""
    page.evaluate(f"""async () => {{
      const {{ attach }} = await import("/cdn/element.js");
      window.recognizer = {{ predict: () => ({{ guesses: [{{ word: "cat", probability: 1 }}], unknown: null }}) }};
      window.pad = attach(document.getElementById("own"), recognizer, {options});
    }}""")


def refusal(page: Page, code: str) -> str:
    """What is thrown."""
    script = f"async () => {{ try {{ {code}; }} catch (error) {{ return String(error); }} return ''; }}"
    said: str = page.evaluate(script)
    return said


def test_a_drawing_keeps_its_place_when_its_pad_changes_size(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate(f"{QUICK_STROKE}.style.inlineSize = '402px'; told.length = 0")
    page.evaluate(TWO_FRAMES)
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[100, 100, 0], [360, 340, 9]]]")
    page.wait_for_function("told.some(([type]) => type === 'guess')")
    page.evaluate(f"{QUICK_STROKE}.style.inlineSize = '202px'")
    assert is_inked(page, "quick-stroke canvas", 50, 50) and is_inked(page, "quick-stroke canvas", 178, 169)
    assert page.evaluate(f"{QUICK_STROKE}.strokes") == [[[50, 50, 0], [180, 170, 9]]]
    page.evaluate(f"{QUICK_STROKE}.style.display = 'none'")
    page.evaluate(TWO_FRAMES)
    page.evaluate(f"Object.assign({QUICK_STROKE}.style, {{ display: '', inlineSize: '402px' }})")
    assert is_inked(page, "quick-stroke canvas", 100, 100)
    assert page.evaluate(f"{QUICK_STROKE}.strokes") == [[[100, 100, 0], [360, 340, 9]]]
    assert page.evaluate("told.filter(([type]) => type === 'guess').length") == 1
    # Before the new size has been seen.
    found = page.evaluate(f"""() => {{
      const element = {QUICK_STROKE};
      element.strokes = [...element.strokes, [[5, 5]]];
      element.style.inlineSize = '202px';
      element.undo();
      return element.strokes;
    }}""")
    assert found == [[[50, 50, 0], [180, 170, 9]]]


def test_a_canvas_of_another_shape_has_all_of_the_drawing_undistorted(page: Page) -> None:
    attached(page, "{ strokes: [[[40, 40], [290, 190]]] }")
    assert page.evaluate("pad.strokes") == [[[40, 40, 0], [290, 190, 0]]]
    page.evaluate("own.style.width = '150px'; own.style.height = '200px'")
    assert is_inked(page, "#own", 20, 20)
    assert page.evaluate("pad.strokes") == [[[20, 20, 0], [145, 95, 0]]]
    page.evaluate("own.style.width = own.style.height = ''; own.width = 600; own.height = 400")  # empties it
    assert is_inked(page, "#own", 80, 80)
    assert page.evaluate("pad.strokes") == [[[80, 80, 0], [580, 380, 0]]]


@pytest.mark.parametrize(
    "style",
    [
        "transform: scale(2); transform-origin: 0 0",
        "zoom: 1.5",
        "transform: scale(0.5, 0.8); border: 20px solid",
        "border: 5px solid; padding: 30px 10px 4px 50px",
    ],
)
def test_ink_is_where_the_pen_is_on_a_scaled_page(page: Page, style: str) -> None:
    page.evaluate("(style) => { own.style = style; }", f"position: fixed; left: 0; top: 0; {style}")
    attached(page)
    box = page.locator("#own").bounding_box()
    assert box is not None
    off_x, off_y = (20, 13) if "padding" in style else (0, 0)  # the middle of the picture is not that of the box
    page.mouse.move(box["x"] + box["width"] / 2 + off_x, box["y"] + box["height"] / 2 + off_y)
    page.mouse.down()
    page.mouse.up()
    assert page.evaluate("pad.strokes[0][0].slice(0, 2)") == pytest.approx([150, 100], abs=1)
    assert is_inked(page, "#own", 150, 100)


def test_one_draws_while_the_model_loads(page: Page, model: compact.Compacted) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate("""async () => {
      const { load } = await import("/cdn/quickstroke.js");
      window.recognizer = await load("../../models/small.quickstroke");
      const [send, may] = [fetch, new Promise((resolve) => { window.go = resolve; })];
      window.fetch = async (...args) => { await may; return send(...args); };
      document.querySelector("quick-stroke").remove();
      const element = document.createElement("quick-stroke");
      element.strokes = [[[30, 30], [60, 200]]];
      element.setAttribute("model", "../../models/small.quickstroke?late");
      document.body.prepend(element);
      told.length = 0;
    }""")
    items = page.locator("quick-stroke li")
    expect(items).to_have_text(["Loading the model …"])
    assert is_inked(page, "quick-stroke canvas", 30, 30)
    draw(page, "quick-stroke canvas", [[20, 20], [150, 40], [90, 200], [20, 20]])
    draw(page, "quick-stroke canvas", [[220, 220], [250, 240]])
    page.evaluate(f"{QUICK_STROKE}.undo()")
    assert is_inked(page, "quick-stroke canvas", 150, 40) and not is_inked(page, "quick-stroke canvas", 250, 240)
    assert page.locator("quick-stroke canvas").evaluate("(canvas) => canvas.style.touchAction") == "none"
    assert page.evaluate("told.map(([type]) => type)") == ["stroke", "stroke", "undo"]
    page.evaluate("go()")
    page.wait_for_function("told.some(([type]) => type === 'guess')")
    strokes = page.evaluate(f"{QUICK_STROKE}.strokes")
    assert len(strokes) == 2
    assert by_word(page.evaluate(f"{QUICK_STROKE}.guesses")) == expected(model, strokes, top=3)
    expect(items).to_have_count(3)


def test_an_element_without_a_model_is_a_pad(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate(f"{QUICK_STROKE}.removeAttribute('model'); told.length = 0")
    draw(page, "quick-stroke canvas", [[20, 20], [150, 40]])
    assert is_inked(page, "quick-stroke canvas", 150, 40)
    expect(page.locator("quick-stroke li")).to_have_count(0)
    assert page.evaluate("told.map(([type]) => type)") == ["stroke"]


def test_ink_is_seen_when_the_theme_changes(page: Page) -> None:
    page.evaluate("""() => {
      const style = document.createElement("style");
      style.textContent = `
        .dark { --quick-stroke-ink: rgb(200, 210, 220); --quick-stroke-paper: black; }
        #own { color: navy; }
        @media (prefers-color-scheme: dark) { html { --quick-stroke-ink: white; } #own { color: yellow; } }`;
      document.head.append(style);
    }""")
    attached(page, "{ strokes: [[[40, 40], [290, 190]]] }")
    element, own = page.locator("quick-stroke canvas"), page.locator("#own")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[40, 40], [200, 190]]]")
    page.evaluate(TWO_FRAMES)
    assert element.evaluate(INKS) == ["29,36,48"] and own.evaluate(INKS) == ["0,0,128"]
    part = "own ?? document.querySelector('quick-stroke').shadowRoot.querySelector('canvas')"
    has = f"([own, colour]) => String(({INKS})({part})) === colour"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(has, arg=[None, "255,255,255"])
    page.wait_for_function(has, arg=[own.element_handle(), "255,255,0"])
    page.evaluate("document.body.className = 'dark'")
    page.wait_for_function(has, arg=[None, "200,210,220"])
    page.evaluate(f"{QUICK_STROKE}.setAttribute('ink', 'teal')")
    page.wait_for_function(has, arg=[None, "0,128,128"])
    element.evaluate("(canvas) => canvas.getContext('2d').clearRect(0, 0, 999, 999)")
    page.evaluate(f"{QUICK_STROKE}.redraw()")
    assert element.evaluate(INKS) == ["0,128,128"]


def test_what_is_assigned_before_the_element_is_defined_counts(page: Page, host: str) -> None:
    page.route("**/later/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"{host}later/")
    page.evaluate("""async () => {
      const { load } = await import("/cdn/quickstroke.js");
      const element = document.createElement("quick-stroke");
      document.body.append(element);
      element.recognizer = await load("/models/small.quickstroke");
      element.strokes = [[[10, 10, 0], [90, 90, 9]]];
      await import("/cdn/element.js");
    }""")
    expect(page.locator("quick-stroke li")).to_have_count(3)
    assert is_inked(page, "quick-stroke canvas", 90, 90)
    page.evaluate(f"{QUICK_STROKE}.clear()")
    assert page.evaluate(f"{QUICK_STROKE}.strokes") == []


def test_an_element_fits_a_phone_and_keeps_its_height(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.wait_for_function("told.some(([type]) => type === 'load')")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.evaluate(f"{QUICK_STROKE}.setAttribute('top', '4'); told.length = 0")
    page.wait_for_function("told.some(([type]) => type === 'load')")
    before = page.evaluate(f"{QUICK_STROKE}.offsetHeight")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[10, 10], [90, 90]]]")
    expect(page.locator("quick-stroke li")).to_have_count(4)
    assert page.evaluate(f"{QUICK_STROKE}.offsetHeight") == before


def test_a_screen_reader_hears_the_label_and_the_best_guess_of_each_stroke(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    pad = page.get_by_role("img")
    expect(pad).to_have_accessible_name("A pad to draw on")
    page.evaluate(f"{QUICK_STROKE}.setAttribute('aria-label', 'Draw a star')")
    expect(pad).to_have_accessible_name("Draw a star")
    page.evaluate("""() => {
      window.said = [];
      const root = document.querySelector("quick-stroke").shadowRoot;
      const live = [...root.querySelectorAll("[aria-live], [role=status]")];
      window.live = live.map(({ localName }) => localName);
      new MutationObserver(() => said.push(live[0].textContent)).observe(live[0], { childList: true });
    }""")
    assert page.evaluate("live") == ["p"]
    box = page.locator("quick-stroke canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for i in range(5):
        page.evaluate("told.length = 0")
        page.mouse.move(box["x"] + 40 + 30 * i, box["y"] + 200 * (i % 2))
        page.wait_for_function("told.some(([type]) => type === 'guess')")
    assert page.evaluate("said") == []
    page.mouse.up()
    page.wait_for_function("said.length === 1")
    assert page.evaluate("said") == [page.locator("quick-stroke li").first.inner_text()]
    page.evaluate(f"{QUICK_STROKE}.setAttribute('words', 'moon')")
    page.wait_for_function("said.length === 2")
    assert "moon" in page.evaluate("said")[1]


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ("null", "the drawing is null; expected a list of strokes"),
        ("[[]]", "strokes[0] has no point; expected at least one"),
        ("[[[1, 2]], 5]", "strokes[1] is 5; expected a list of points"),
        ("[[[1, 2], [1, NaN]]]", "strokes[0][1] is [1,null]; expected a point [x, y] or [x, y, t] of finite numbers"),
        ("[[[1, 2], ['1', 2]]]", 'strokes[0][1] is ["1",2]; expected a point'),
        ("[[[1, 2, 3, 4], [5, 6, 7, 8]]]", "columns [[x..], [y..]] have to be turned into points first"),
    ],
)
def test_what_is_no_drawing_is_not_taken(page: Page, strokes: str, message: str) -> None:
    attached(page, "{ strokes: [[[4, 5, 6]]] }")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[1, 2, 3]]]")
    for pad in ("pad", QUICK_STROKE):
        before = page.evaluate(f"{pad}.strokes")
        found = refusal(page, f"{pad}.strokes = {strokes}")
        assert found.startswith("StrokesError: ") and message in found
        assert page.evaluate(f"{pad}.strokes") == before and len(before) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("Promise.resolve(recognizer)", "the recogniser is a promise; write `await load(...)`"),
        ("undefined", "the recogniser is undefined; expected what `await load(...)` gives"),
        ("recognizer, { width: '4' }", 'width should be above 0, got "4"'),
        ("recognizer, { words: 'cat' }", 'words should be a list of words, got "cat"'),
        ("recognizer, { words: [5] }", "words should be a list of words, got [5]"),
        ("recognizer, { strokes: [[]] }", "strokes[0] has no point; expected at least one"),
        ("recognizer, null", "options should be an object, got null"),
        ("recognizer, { wodth: 4 }", 'there is no option "wodth"; expected top, words, width, strokes, onGuess'),
    ],
)
def test_what_cannot_be_attached_is_refused_at_once(page: Page, arguments: str, message: str) -> None:
    attached(page)
    page.evaluate("pad.detach()")
    found = refusal(page, f"(await import('/cdn/element.js')).attach(own, {arguments})")
    assert found.startswith((f"OptionError: {message}", f"StrokesError: {message}"))
    assert page.evaluate("own.style.cssText") == ""


def test_what_a_model_refuses_is_told_when_it_is_attached(page: Page) -> None:
    script = """async (inWorker) => {
      const { attach } = await import("/cdn/element.js");
      const { load, OptionError } = await import(inWorker ? "/cdn/worker.js" : "/cdn/quickstroke.js");
      const recognizer = await load("/models/small.quickstroke");
      const told = new Promise((onError) => {
        try {
          attach(own, recognizer, { words: ["moon"], onError });
        } catch (error) {
          onError(error);
        }
      });
      return told.then((error) => [error instanceof OptionError, error.message]);
    }"""
    for in_worker in (False, True):
        is_option, message = page.evaluate(script, in_worker)
        assert is_option
        assert message.startswith('the model does not know the word "moon"')


def test_a_pen_ends_its_stroke_where_the_canvas_is_taken_away(page: Page) -> None:
    attached(page, "{ onStroke: (strokes) => (window.ended = strokes.length) }")
    box = page.locator("#own").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 50)
    page.evaluate("window.canvas = own; own.remove()")
    page.wait_for_function("window.ended === 1")
    page.mouse.up()
    page.evaluate("document.body.append(canvas)")
    box = page.locator("#own").bounding_box()
    assert box is not None
    drawn = page.evaluate("pad.strokes")
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    assert page.evaluate("pad.strokes") == drawn
    draw(page, "#own", [[60, 60], [80, 80]])
    assert len(page.evaluate("pad.strokes")) == 2


def test_an_element_tells_of_what_is_taken_back(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[10, 10, 0], [90, 90, 9]], [[5, 6, 7]]]; told.length = 0")
    page.evaluate(f"{QUICK_STROKE}.undo(); {QUICK_STROKE}.undo(); {QUICK_STROKE}.undo()")
    undone = page.evaluate("told.filter(([type]) => type === 'undo').map(([, detail]) => detail.strokes)")
    assert undone == [[[[10, 10, 0], [90, 90, 9]]], []]


def test_an_element_says_that_it_does_not_know_a_drawing(page: Page) -> None:
    page.evaluate("""() => {
      window.unknown = 0.7;
      const guesses = [{ word: "cat", probability: 0.4 }, { word: "dog", probability: 0.2 }];
      document.querySelector("quick-stroke").recognizer = { predict: () => ({ guesses, unknown: window.unknown }) };
    }""")
    said = page.locator("quick-stroke p")
    draw(page, "quick-stroke canvas", [[20, 20], [150, 40]])
    expect(page.locator("quick-stroke li")).to_have_text(["I don’t know this one.", "cat 40%"])
    expect(said).to_have_text("I don’t know this one.")
    assert page.evaluate(f"{QUICK_STROKE}.unknown") == 0.7
    assert len(page.evaluate(f"{QUICK_STROKE}.guesses")) == 2
    page.evaluate("window.unknown = null")
    draw(page, "quick-stroke canvas", [[20, 60], [150, 90]])
    expect(page.locator("quick-stroke li")).to_have_text(["cat 40%", "dog 20%"])
    expect(said).to_have_text("cat 40%")
    assert page.evaluate(f"{QUICK_STROKE}.unknown") is None


def test_attributes_are_properties_and_guesses_go_with_their_model(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    found = page.evaluate(f"""() => {{
      const el = {QUICK_STROKE};
      const before = [el.model, el.words, el.top, el.recognizer];
      Object.assign(el, {{ words: ["sun", "star"], top: 1, ink: "navy", paper: null }});
      return [before, el.getAttribute("words"), el.top, el.style.getPropertyValue("--quick-stroke-ink"), el.paper];
    }}""")
    assert found == [["../../models/small.quickstroke", "", "2", None], "sun,star", "1", "navy", ""]
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[10, 10], [90, 90]]]")
    expect(page.locator("quick-stroke li")).to_have_count(1)
    page.evaluate("told.length = 0")
    page.evaluate(f"{QUICK_STROKE}.words = ''")  # as a template writes no restriction
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate(f"{QUICK_STROKE}.model = 'no.quickstroke'")
    page.wait_for_function("told.some(([type]) => type === 'error')")
    assert page.evaluate(f"{QUICK_STROKE}.guesses") == []
    page.evaluate(f"{QUICK_STROKE}.model = null")
    assert page.evaluate(f"{QUICK_STROKE}.hasAttribute('model')") is False


def test_a_drawing_outlives_that_its_padded_canvas_is_hidden(page: Page) -> None:
    page.evaluate("own.style = 'padding: 10px; border: 2px solid'")
    attached(page)
    page.evaluate("own.style.display = 'none'")
    page.evaluate(TWO_FRAMES)
    page.evaluate("pad.strokes = [[[10, 10], [100, 100]]]")
    assert page.evaluate("pad.strokes") == [[[10, 10, 0], [100, 100, 0]]]
    page.evaluate("own.style.display = ''")
    page.evaluate(TWO_FRAMES)
    assert page.evaluate("pad.strokes") == [[[10, 10, 0], [100, 100, 0]]]


@pytest.mark.parametrize("around", ["display: flex", "display: grid; grid-template-columns: auto auto"])
def test_a_pad_stays_square_beside_what_is_taller(page: Page, around: str) -> None:
    sizes = page.evaluate(
        """(style) => {
          const el = document.querySelector("quick-stroke");
          const box = document.createElement("div");
          box.style = style;
          document.body.prepend(box);
          box.append(el, Object.assign(document.createElement("div"), { style: "height: 800px" }));
          const { width, height } = el.shadowRoot.querySelector("canvas").getBoundingClientRect();
          return [Math.round(width), Math.round(height)];
        }""",
        around,
    )
    assert sizes[0] == sizes[1] > 200


def test_an_element_keeps_to_the_height_that_it_is_given(page: Page) -> None:
    sizes = """(style) => {
      const el = document.querySelector("quick-stroke");
      el.style = style;
      const { width, height } = el.shadowRoot.querySelector("canvas").getBoundingClientRect();
      const { offsetWidth, offsetHeight, scrollHeight } = el;
      return [offsetWidth, offsetHeight, Math.round(width), Math.round(height), scrollHeight <= offsetHeight];
    }"""
    width, _, pad_width, pad_height, _ = page.evaluate(sizes, "")
    assert (pad_width, pad_height) == (width, width)
    width, height, pad_width, pad_height, is_inside = page.evaluate(sizes, "width: 300px; height: 150px")
    assert (width, height, pad_width, is_inside) == (300, 150, 300, True)
    assert 40 < pad_height < 140
    for display in ("block", "flex", "inline-flex", "grid"):
        style = f"display: {display}; width: 300px; height: 250px"
        _, height, pad_width, pad_height, is_inside = page.evaluate(sizes, style)
        assert (height, pad_width, is_inside) == (250, 300, True)
        assert 100 < pad_height < 250


def test_an_element_refuses_a_promise_of_a_recogniser(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    found = refusal(page, f"{QUICK_STROKE}.recognizer = Promise.resolve()")
    assert found == "OptionError: the recogniser is a promise; write `await load(...)`"


def test_a_canvas_is_given_back_as_it_was(page: Page) -> None:
    page.evaluate("own.style.touchAction = 'pan-y'")
    attached(page)
    assert page.evaluate("own.style.touchAction") == "none"
    page.evaluate("pad.detach()")
    assert page.evaluate("own.style.touchAction") == "pan-y"


def test_what_was_cleared_can_be_brought_back(page: Page) -> None:
    attached(page)
    for pad in ("pad", QUICK_STROKE):
        strokes = [[[10, 10, 0], [90, 90, 9]], [[5, 6, 7]]]
        page.evaluate(f"{pad}.strokes = {strokes}; {pad}.clear()")
        assert page.evaluate(f"{pad}.strokes") == []
        page.evaluate(f"{pad}.clear(); {pad}.undo()")
        assert page.evaluate(f"{pad}.strokes") == strokes
        page.evaluate(f"{pad}.undo()")
        assert page.evaluate(f"{pad}.strokes") == strokes[:1]
        page.evaluate(f"{pad}.clear(); {pad}.strokes = []; {pad}.undo()")  # a new drawing, of which nothing was cleared
        assert page.evaluate(f"{pad}.strokes") == []


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
