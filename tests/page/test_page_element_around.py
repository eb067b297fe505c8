"""`<quick-stroke>` among what pages have around it: forms, frameworks, other documents, other languages, no network."""

import pytest
from pads import INKS, QUICK_STROKE, TWO_FRAMES, draw, is_inked, refusal
from playwright.sync_api import Page, expect

TRIANGLE = [[20, 20], [150, 40], [90, 200], [20, 20]]
CANVAS = "document.querySelector('quick-stroke').shadowRoot.querySelector('canvas')"
# Events of a pointer on the element's canvas, by type and x.
FIRE = f"""(events) => events.forEach(([type, x]) => {{
  const {{ left, top }} = {CANVAS}.getBoundingClientRect();
  const at = {{ pointerId: 7, pointerType: "touch", isPrimary: true, clientX: left + x, clientY: top + 20 }};
  {CANVAS}.dispatchEvent(new PointerEvent(type, {{ ...at, bubbles: true, composed: true }}));
}})"""
LOADED = "told.some(([type]) => type === 'load')"


def test_its_buttons_and_keys_take_back(page: Page) -> None:
    page.wait_for_function(LOADED)
    undo, clear = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Clear")
    expect(undo).to_be_hidden()
    page.evaluate(f"{QUICK_STROKE}.controls = true")
    draw(page, "quick-stroke canvas", TRIANGLE)
    draw(page, "quick-stroke canvas", [[200, 50], [210, 60]])
    undo.click()
    assert page.evaluate(f"{QUICK_STROKE}.strokes.length") == 1
    clear.click()
    assert page.evaluate(f"{QUICK_STROKE}.strokes.length") == 0
    page.keyboard.press("Control+z")
    assert page.evaluate(f"{QUICK_STROKE}.strokes.length") == 1
    assert page.evaluate("told.map(([type]) => type).filter((type) => type === 'undo' || type === 'clear')") == [
        "undo",
        "clear",
        "undo",
    ]


def test_the_keyboard_draws(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate("addEventListener('keydown', ({ key }) => told.push(['key', key]))")
    pad, mark, keys = (page.locator(f"quick-stroke {name}") for name in ("canvas", "i", "small"))
    said = page.locator("quick-stroke p")
    page.mouse.click(5, 5)
    page.evaluate("told.length = 0")
    expect(keys).to_be_hidden()
    page.keyboard.press("Tab")
    expect(keys).to_be_visible()
    expect(pad).to_have_accessible_description(page.evaluate(f"{QUICK_STROKE}.texts.keys"))
    for key in ("ArrowRight", "Space", "ArrowDown", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    expect(said).to_have_text("Pen down.")
    expect(keys).to_be_hidden()
    box, pen = pad.bounding_box(), mark.bounding_box()
    assert box is not None and pen is not None
    assert pen["x"] - box["x"] == pytest.approx((box["width"] - pen["width"]) / 2 + 9, abs=0.1)
    assert pen["y"] - box["y"] == pytest.approx((box["height"] - pen["height"]) / 2 + 12, abs=0.1)
    page.keyboard.press("Space")
    page.wait_for_function("told.some(([type]) => type === 'guess')")
    page.keyboard.down("ArrowUp")
    page.keyboard.down("ArrowLeft")
    page.keyboard.up("ArrowLeft")
    page.keyboard.up("ArrowUp")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")  # lifts it
    (first, second) = page.evaluate(f"{QUICK_STROKE}.strokes")
    (x0, y0, _) = first[0]
    moves = [[[x - x0, y - y0] for x, y, _ in stroke] for stroke in (first, second)]
    assert moves[0] == [pytest.approx(point) for point in ([0, 0], [0, 12], [-3, 12])]
    # Up alone, and then both at once.
    assert moves[1] == [pytest.approx(point) for point in ([-15, -12], [-15, -24])]
    assert page.evaluate("told.map(([type]) => type)").count("stroke") == 2
    assert page.evaluate("told.filter(([type]) => type === 'key').map(([, key]) => key)") == ["Tab", "Shift", "Tab"]
    pad.focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Space")
    page.evaluate(f"{QUICK_STROKE}.clear()")
    page.keyboard.press("Space")  # puts it down anew
    draw(page, "quick-stroke canvas", TRIANGLE)  # another pen takes over
    assert page.evaluate(f"{QUICK_STROKE}.strokes.map((stroke) => stroke.length)") == [1, len(TRIANGLE)]


def test_the_drawing_is_the_value_in_a_form(page: Page) -> None:
    page.evaluate("""() => {
      const form = document.createElement("form");
      form.innerHTML = '<fieldset><quick-stroke name="sketch" controls></quick-stroke></fieldset>';
      document.body.prepend(form);
      window.pad = form.querySelector("quick-stroke");
      window.sent = () => new FormData(form).get("sketch");
    }""")
    assert page.evaluate("[pad.form === document.querySelector('form'), sent(), pad.value]") == [True, None, ""]
    draw(page, "form canvas", TRIANGLE)
    assert page.evaluate("JSON.stringify(pad.strokes) === sent() && pad.value === sent()")
    page.evaluate("pad.strokes = [[[1, 2, 3]]]")
    assert page.evaluate("sent()") == "[[[1,2,3]]]"
    page.evaluate("pad.undo()")
    assert page.evaluate("sent()") is None
    for disable in ("pad.disabled = true", "pad.disabled = false; document.querySelector('fieldset').disabled = true"):
        page.evaluate(disable)
        draw(page, "form canvas", TRIANGLE)
        assert page.evaluate("pad.strokes") == []
    page.evaluate("document.querySelector('fieldset').disabled = false")
    draw(page, "form canvas", TRIANGLE)
    assert page.evaluate("pad.strokes.length") == 1
    page.evaluate("document.querySelector('form').reset()")
    assert page.evaluate("[pad.strokes, sent()]") == [[], None]
    page.evaluate("pad.formStateRestoreCallback('[[[1,2,3]]]', 'restore')")  # as a browser does that goes back
    assert page.evaluate("[pad.strokes, sent()]") == [[[[1, 2, 3]]], "[[[1,2,3]]]"]


def test_who_disables_it_or_takes_it_away_lifts_the_pen(page: Page) -> None:
    page.wait_for_function(LOADED)
    for stop, go_on in (
        (f"{QUICK_STROKE}.disabled = true", f"{QUICK_STROKE}.disabled = false"),
        (f"window.gone = {QUICK_STROKE}; gone.remove()", "document.body.prepend(gone)"),
    ):
        page.evaluate(f"{QUICK_STROKE}.strokes = []")
        page.evaluate(f"({FIRE})([['pointerdown', 20], ['pointermove', 40]])")
        page.evaluate(stop)
        page.evaluate(go_on)
        page.evaluate(f"({FIRE})([['pointermove', 60], ['pointerup', 60], ['pointerdown', 80], ['pointerup', 80]])")
        assert page.evaluate(f"{QUICK_STROKE}.strokes.map(({{ length }}) => length)") == [2, 1]


def test_keys_that_are_not_its_own_are_left_to_the_page(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate("addEventListener('keydown', (event) => told.push([event.key, event.defaultPrevented]))")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[10, 10, 0], [90, 90, 9]], [[5, 6, 7]]]")
    page.locator("quick-stroke canvas").focus()
    page.evaluate("told.length = 0")
    for key in ("Control+ArrowLeft", "Alt+ArrowRight", "Meta+ArrowUp", "Control+Space", "Control+Shift+Z", "z"):
        page.keyboard.press(key)
    told = page.evaluate("told.filter(([key]) => !['Control', 'Alt', 'Meta', 'Shift'].includes(key))")
    assert told == [[key, False] for key in ("ArrowLeft", "ArrowRight", "ArrowUp", " ", "Z", "z")]
    assert page.evaluate(f"{QUICK_STROKE}.strokes.length") == 2
    page.keyboard.press("Meta+z")
    assert page.evaluate(f"{QUICK_STROKE}.strokes.length") == 1
    page.evaluate(f"{QUICK_STROKE}.disabled = true")
    event = "new KeyboardEvent('keydown', { key: 'z', ctrlKey: true, bubbles: true })"
    page.evaluate(f"{QUICK_STROKE}.dispatchEvent({event})")
    assert page.evaluate(f"{QUICK_STROKE}.strokes.length") == 1


def test_a_key_that_is_held_turns_the_pen_once_and_moves_it_to_the_edge(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.locator("quick-stroke canvas").focus()
    for _ in range(3):
        page.keyboard.down("Space")
    page.keyboard.up("Space")
    expect(page.locator("quick-stroke p")).to_have_text("Pen down.")
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(60):
            page.keyboard.down(key)
        page.keyboard.up(key)
    (*_, (x, y, _)), *others = page.evaluate(f"{QUICK_STROKE}.strokes")
    width, height = page.evaluate(f"(({{ clientWidth, clientHeight }}) => [clientWidth, clientHeight])({CANVAS})")
    assert [x, y] == pytest.approx([width, height], abs=2) and others == []
    # Of a key that is let go where nobody hears of it nothing is left.
    page.keyboard.down("ArrowUp")
    page.evaluate(f"{CANVAS}.blur()")
    page.keyboard.up("ArrowUp")
    page.locator("quick-stroke canvas").focus()
    for key in ("Space", "ArrowLeft", "Space"):
        page.keyboard.press(key)
    (first, second) = page.evaluate(f"{QUICK_STROKE}.strokes[1]")
    assert [second[0] - first[0], second[1] - first[1]] == pytest.approx([-12, 0])


def test_what_is_set_to_the_same_again_loads_nothing(page: Page) -> None:
    """As frameworks do with each change of something else."""
    page.evaluate(f"{QUICK_STROKE}.words = ['cat', 'sun']")
    page.wait_for_function("told.filter(([type]) => type === 'load').length > 0")
    draw(page, "quick-stroke canvas", TRIANGLE)
    page.wait_for_function(f"{QUICK_STROKE}.guesses.length === 2")
    page.evaluate("told.length = 0")
    page.evaluate(f"{QUICK_STROKE}.words = ['cat', 'sun']; {QUICK_STROKE}.top = 2; {QUICK_STROKE}.model += ''")
    page.evaluate(TWO_FRAMES)
    assert page.evaluate(f"[{QUICK_STROKE}.guesses.length, told]") == [2, []]


def test_words_may_have_commas(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate(f"""() => {{
      window.asked = [];
      const predict = (_, {{ words }}) => (asked.push(words), {{ guesses: [], unknown: null }});
      Object.assign({QUICK_STROKE}, {{ words: ["salt, pepper", "sun"], recognizer: {{ predict }} }});
    }}""")
    page.wait_for_function("asked.length > 0")
    assert page.evaluate("asked[0]") == ["salt, pepper", "sun"]


def test_it_speaks_the_language_of_its_page(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate(f"""() => {{
      const guesses = [{{ word: "Katze", probability: 0.4 }}];
      const recognizer = {{ predict: () => ({{ guesses, unknown: 0.9 }}) }};
      const texts = {{ pad: "Zeichenfläche", unknown: "Das kenne ich nicht.", undo: "Zurück" }};
      Object.assign({QUICK_STROKE}, {{ controls: true, texts, recognizer }});
    }}""")
    expect(page.get_by_role("application")).to_have_accessible_name("Zeichenfläche")
    expect(page.get_by_role("button", name="Zurück")).to_be_visible()
    expect(page.get_by_role("button", name="Clear")).to_be_visible()
    draw(page, "quick-stroke canvas", TRIANGLE)
    expect(page.locator("quick-stroke li")).to_have_text(["Das kenne ich nicht."])
    assert "there is no option" in refusal(page, f"{QUICK_STROKE}.texts = {{ redo: 'x' }}")
    assert refusal(page, f"{QUICK_STROKE}.texts = {{ undo: 5 }}") == "OptionError: texts.undo should be a text, got 5"


def test_a_listener_may_tell_of_errors_itself(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate(f"{QUICK_STROKE}.addEventListener('error', (event) => event.preventDefault())")
    page.evaluate(f"told.length = 0; {QUICK_STROKE}.model = 'http://'")
    page.wait_for_function("told.some(([type]) => type === 'error')")
    message = page.evaluate(f"""async () => {{
      const told = new Promise((done) => {QUICK_STROKE}.addEventListener("error", done));
      {QUICK_STROKE}.model = "http:///";
      const {{ name, message }} = (await told).detail.error;
      return [name, message];
    }}""")
    assert message == ["ModelError", 'model should be an address, got "http:///"']
    expect(page.locator("quick-stroke li")).to_have_count(0)


def test_a_model_that_did_not_come_is_asked_for_again(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate(f"""() => {{
      window.isAway = true;
      const send = fetch;
      window.fetch = (...args) => (isAway ? Promise.reject(new TypeError("no network")) : send(...args));
      {QUICK_STROKE}.model = "../../models/small.quickstroke?again";
    }}""")
    expect(page.locator("quick-stroke li")).to_contain_text("no network")
    page.evaluate("isAway = false; told.length = 0; dispatchEvent(new Event('online'))")
    page.wait_for_function(LOADED)
    page.evaluate(f"isAway = true; told.length = 0; {QUICK_STROKE}.model += '2'")
    page.wait_for_function("told.some(([type]) => type === 'error')")
    page.evaluate("isAway = false")
    draw(page, "quick-stroke canvas", TRIANGLE)
    page.wait_for_function(f"{QUICK_STROKE}.guesses.length > 0")
    # A model that is taken away takes its guesses with it.
    page.evaluate(f"told.length = 0; {QUICK_STROKE}.model = null")
    page.wait_for_function("told.some(([type]) => type === 'guess')")
    assert page.evaluate("told.at(-1)[1]") == {"guesses": [], "unknown": None}


def test_a_model_that_did_not_come_is_asked_for_by_the_same_address(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.route("**/small.quickstroke?third", lambda route: route.abort())
    page.evaluate(f"{QUICK_STROKE}.model = '../../models/small.quickstroke?third'")
    expect(page.locator("quick-stroke li")).to_contain_text("could not be loaded")
    page.unroute("**/small.quickstroke?third")
    page.evaluate(f"told.length = 0; {QUICK_STROKE}.model += ''")
    page.wait_for_function(LOADED)


def test_a_model_that_is_damaged_is_not_fetched_with_every_stroke(page: Page) -> None:
    page.wait_for_function(LOADED)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(f"{QUICK_STROKE}.model = '.'")
    expect(page.locator("quick-stroke li")).to_contain_text("this is no .quickstroke file")
    for _ in range(2):
        draw(page, "quick-stroke canvas", TRIANGLE)
        page.evaluate("dispatchEvent(new Event('online'))")
        page.evaluate(TWO_FRAMES)
    assert len(asked) == 1


def test_an_answer_that_is_late_leaves_the_newer_words(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate(f"""() => {{
      window.asked = [];
      const predict = (_, {{ words }}) => new Promise((resolve) => asked.push([words, resolve]));
      told.length = 0;
      Object.assign({QUICK_STROKE}, {{ words: "cat", recognizer: {{ predict }} }});
    }}""")
    for i, words in enumerate(("cat", "sun")):
        page.evaluate(f"{QUICK_STROKE}.words = '{words}'")
        page.wait_for_function(f"asked.length === {i + 1}")
    for i in (1, 0):
        page.evaluate(f"asked[{i}][1]({{ guesses: [], unknown: null }})")
        page.evaluate(TWO_FRAMES)
    draw(page, "quick-stroke canvas", TRIANGLE)
    page.wait_for_function("asked.length > 2")
    assert page.evaluate("asked[2][0]") == ["sun"]
    assert page.evaluate("told.filter(([type]) => type === 'load').length") == 1


def test_it_keeps_its_style_in_another_document(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate("document.body.append(document.createElement('iframe'))")
    sizes = page.evaluate(f"""() => {{
      const element = {QUICK_STROKE};
      const size = () => getComputedStyle(element).display;
      const before = size();
      document.querySelector("iframe").contentDocument.body.append(element);
      const there = size();
      document.body.append(element);
      return [before, there, size()];
    }}""")
    assert sizes == ["inline-block"] * 3


def test_ink_stays_when_a_page_sets_the_style(page: Page) -> None:
    page.wait_for_function(LOADED)
    page.evaluate(f"{QUICK_STROKE}.ink = 'teal'; {QUICK_STROKE}.setAttribute('style', 'margin: 1px')")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[40, 40], [200, 190]]]")
    canvas = page.locator("quick-stroke canvas")
    expect(canvas).to_have_css("color", "rgb(0, 128, 128)")
    page.evaluate(f"{QUICK_STROKE}.redraw()")
    assert canvas.evaluate(INKS) == ["0,128,128"]


def test_it_is_sharp_on_a_screen_of_another_density(page: Page) -> None:
    """The browser's own events of it do not come where a density is emulated."""
    page.wait_for_function(LOADED)
    page.evaluate("""() => {
      window.asked = [];
      window.matchMedia = (query) => (asked.push(Object.assign(new EventTarget(), { query })), asked.at(-1));
      document.body.append(document.createElement("quick-stroke"));
    }""")
    page.evaluate(TWO_FRAMES)
    found = page.evaluate("""() => {
      const [, added] = document.querySelectorAll("quick-stroke");
      const { width, clientWidth } = added.shadowRoot.querySelector("canvas");
      return [width, clientWidth];
    }""")
    assert found[0] == found[1]
    for density in (2, 3):
        page.evaluate(f"""() => {{
          Object.defineProperty(window, "devicePixelRatio", {{ value: {density}, configurable: true }});
          asked.at(-1).dispatchEvent(new Event("change"));
        }}""")
        canvas = page.locator("quick-stroke").last.locator("canvas")
        assert canvas.evaluate("({ width }) => width") == density * found[1]
    queries = page.evaluate("asked.map(({ query }) => query)")
    assert queries == ["(resolution: 1dppx)", "(resolution: 2dppx)", "(resolution: 3dppx)"]


def test_an_element_that_a_page_took_away_is_let_go(page: Page) -> None:
    """As each view of an application takes its own away."""
    page.wait_for_function(LOADED)
    page.evaluate("""async () => {
      const elements = Array.from({ length: 5 }, () => document.createElement("quick-stroke"));
      document.body.append(...elements);
      await new Promise((done) => setTimeout(done, 50));
      document.body.append(elements[0]); // it is connected twice
      for (const element of elements) element.remove();
      window.gone = elements.map((element) => new WeakRef(element));
    }""")
    session = page.context.new_cdp_session(page)
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(50)
    assert page.evaluate("gone.map((element) => element.deref() === undefined)") == [True] * 5


def test_its_drawing_can_be_read_where_there_is_no_structured_clone(page: Page) -> None:
    """As in Jest's jsdom."""
    page.wait_for_function(LOADED)
    page.evaluate("window.structuredClone = undefined")
    draw(page, "quick-stroke canvas", TRIANGLE)
    page.wait_for_function(f"{QUICK_STROKE}.guesses.length > 0")
    first, told = page.evaluate(f"[{QUICK_STROKE}.strokes, told.find(([type]) => type === 'stroke')[1].strokes]")
    assert len(first) == 1 and first == told
    page.evaluate(f"""() => {{
      const element = {QUICK_STROKE};
      element.hidden = true; // of no size, as all is in jsdom
      const canvas = element.shadowRoot.querySelector("canvas");
      const at = {{ pointerId: 9, button: 0, bubbles: true, clientX: 30, clientY: 40 }};
      for (const type of ["pointerdown", "pointerup"]) canvas.dispatchEvent(new PointerEvent(type, at));
    }}""")
    assert [point[:2] for point in page.evaluate(f"{QUICK_STROKE}.strokes[1]")] == [[30, 40]]


def test_a_long_error_stays_within_the_element(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.evaluate(f"{QUICK_STROKE}.model = '/{'very' * 40}/none.quickstroke'")
    expect(page.locator("quick-stroke li")).to_contain_text("could not be loaded")
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_two_hands_draw_on_two_pads(page: Page) -> None:
    """Only the first finger on a screen is the primary one."""
    page.evaluate(f"""() => {{
      const other = document.createElement("quick-stroke");
      document.body.append(other);
      window.pads = [{QUICK_STROKE}, other];
      const fire = (i, type, x, y) => {{
        const canvas = pads[i].shadowRoot.querySelector("canvas");
        const {{ left, top }} = canvas.getBoundingClientRect();
        const at = {{ clientX: left + x, clientY: top + y, bubbles: true, composed: true }};
        const finger = {{ pointerId: 7 + i, pointerType: "touch", isPrimary: i === 0 }};
        canvas.dispatchEvent(new PointerEvent(type, {{ ...at, ...finger }}));
      }};
      for (const [type, x, y] of [["pointerdown", 20, 20], ["pointermove", 90, 90], ["pointerup", 90, 90]]) {{
        for (const i of [0, 1]) fire(i, type, x, y);
      }}
    }}""")
    assert page.evaluate("pads.map(({ strokes }) => strokes.map(({ length }) => length))") == [[2], [2]]
    assert is_inked(page, "quick-stroke >> nth=1 >> canvas", 90, 90)


def test_a_notebook_hears_of_clearing_and_of_what_is_wrong(page: Page, host: str) -> None:
    page.goto(f"{host}models/")
    page.evaluate("""async () => {
      window.render = async (given) => {
        document.body.replaceChildren();
        const values = { words: null, top: 2, strokes: [[[1, 2, 3]]], error: "before", ...given };
        const { default: widget } = await import("/page/widget.js");
        const set = (name, value) => { values[name] = value; };
        const model = { get: (name) => values[name], set, save_changes: () => (window.saved = { ...values }), on() {} };
        await widget.render({ model, el: document.body });
      };
      window.bytes = await (await fetch("small.quickstroke")).arrayBuffer();
      await render({ model_file: new DataView(bytes) });
    }""")
    pad = page.locator("quick-stroke")
    expect(pad.locator("li")).to_have_count(2)
    pad.locator("button", has_text="Clear").click()
    assert page.evaluate("saved.strokes") == []
    draw(page, "quick-stroke canvas", TRIANGLE)
    assert page.evaluate("[saved.strokes.length, saved.error]") == [1, ""]
    page.evaluate("render({ model_file: new DataView(bytes, 0, 99) })")
    page.wait_for_function("saved.error.startsWith('the model file is cut off: ')")
    page.evaluate("render({ model_file: new DataView(bytes), words: ['moon'] })")
    page.wait_for_function("saved.error.startsWith('the model does not know the word \"moon\"')")
