"""The npm package in a page of somebody else's: from another folder and in a worker, and as an element."""

import json

import pytest
from pads import INKS, QUICK_STROKE, TWO_FRAMES, attached, by_word, draw, expected, is_inked, refusal
from playwright.sync_api import Page, expect

from quickstroke.export import compact
from quickstroke.inference.recognizer import Recognizer

TRIANGLE = [[[10, 10], [60, 12], [35, 80], [10, 10]]]


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
    # Of the dark theme: the paper is black from then on, and white again.
    page.emulate_media(color_scheme="dark", forced_colors="active")
    page.wait_for_function(has, arg=[None, "255,255,255"])
    page.wait_for_function(has, arg=[own.element_handle(), "255,255,255"])
    page.emulate_media(color_scheme="dark", forced_colors="none")
    page.wait_for_function(has, arg=[None, "0,128,128"])
    page.wait_for_function(has, arg=[own.element_handle(), "255,255,0"])


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
    pad = page.get_by_role("application")
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
    for unknown, first in ((0.51, "I don’t know this one."), (0.5, "cat 40%")):
        page.evaluate("(unknown) => { window.unknown = unknown; }", unknown)
        draw(page, "quick-stroke canvas", [[20, 80], [150, 99]])
        expect(said).to_have_text(first)
        expect(page.locator("quick-stroke li").first).to_have_text(first)


def test_attributes_are_properties_and_guesses_go_with_their_model(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    found = page.evaluate(f"""() => {{
      const el = {QUICK_STROKE};
      const before = [el.model, el.words, el.top, el.recognizer];
      Object.assign(el, {{ words: ["sun", "star"], top: 1, ink: "navy", paper: null }});
      return [before, el.getAttribute("words"), el.top, el.ink, el.paper];
    }}""")
    assert found == [["../../models/small.quickstroke", "", "2", None], "sun,star", "1", "navy", ""]
    expect(page.locator("quick-stroke canvas")).to_have_css("color", "rgb(0, 0, 128)")
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
    # JupyterLab's own keys are not for where this is.
    expect(page.locator("#cell quick-stroke")).to_have_attribute("data-lm-suppress-shortcuts", "true")
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
