"""What Safari on iPads and phones does differently, as far as Chromium can play it."""

from pathlib import Path

import numpy as np
import pytest
from hands import Hands, Rows, answer, expect_phase, resize, serving, start_game, strokes_of
from pads import TWO_FRAMES, attached, draw
from PIL import Image
from playwright.sync_api import Page, expect

from quickstroke.export import compact, web

LINE: list[Rows] = [[[10, 60, 120], [10, 11, 12]]]


@pytest.mark.parametrize("kind", ["touchstart", "contextmenu"])
def test_a_touch_of_the_paper_is_for_the_pen_alone(hands: Hands, kind: str) -> None:
    """Else Scribble takes quick strokes for handwriting, and text around the paper is selected."""
    page = hands.open()
    touch = f"new Event('{kind}', {{ bubbles: true, cancelable: true }})"
    assert page.evaluate(f"document.getElementById('pad').dispatchEvent({touch})") is False
    assert page.evaluate(f"document.getElementById('undo').dispatchEvent({touch})") is True


def test_a_touch_of_a_pad_is_for_the_pen_alone(page: Page) -> None:
    attached(page)
    touch = "dispatchEvent(new Event('touchstart', { bubbles: true, cancelable: true }))"
    assert page.evaluate(f"document.getElementById('own').{touch}") is False
    assert page.evaluate(f"document.querySelector('quick-stroke').shadowRoot.querySelector('canvas').{touch}") is False
    assert page.evaluate(f"pad.detach(); document.getElementById('own').{touch}") is True


# Nobody hears of what is lifted.
UNHEARD = """for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
  addEventListener(type, (event) => event.stopImmediatePropagation(), { capture: true });
}"""


@pytest.mark.parametrize("tool", ["mouse", "touch", "pen"])
def test_a_pointer_that_was_lost_holds_up_no_other(hands: Hands, tool: str) -> None:
    page = hands.open(has_touch=True)
    page.evaluate(UNHEARD)
    for _ in range(2):
        getattr(hands, tool)(page, LINE)
    assert [len(rows[0]) for rows in strokes_of(page)] == [3, 3]
    page.keyboard.press("Control+z")
    assert [len(rows[0]) for rows in strokes_of(page)] == [3]


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_a_pointer_that_was_lost_holds_up_no_other_on_a_pad(page: Page, kind: str) -> None:
    attached(page, "{ onStroke: (strokes) => (window.ended ??= []).push(strokes.length) }")
    page.evaluate(
        """(pointerType) => {
      const fire = (type, pointerId, isPrimary, x) =>
        own.dispatchEvent(new PointerEvent(type, { pointerId, pointerType, isPrimary, clientX: x, bubbles: true }));
      fire("pointerdown", 7, true, 20);
      fire("pointerdown", 8, false, 30); // a second finger, which does not draw
      fire("pointermove", 7, true, 40);
      fire("pointerdown", 7, false, 50);
      fire("pointerdown", 9, true, 60);
      fire("pointermove", 7, true, 70);
      fire("pointermove", 9, true, 80);
      fire("pointerup", 9, true, 80);
    }""",
        kind,
    )
    left = page.evaluate("own.getBoundingClientRect().left")
    drawn = page.evaluate("pad.strokes.map((stroke) => stroke.map(([x]) => x))")
    assert drawn == [[20 - left, 40 - left], [50 - left], [60 - left, 80 - left]]
    assert page.evaluate("ended") == [1, 2, 3]


def test_a_mouse_that_was_lifted_unheard_does_not_draw_on(page: Page) -> None:
    attached(page)
    page.evaluate(UNHEARD)
    draw(page, "#own", [[20, 20], [40, 40]])
    page.locator("#own").hover(position={"x": 60, "y": 60})
    page.locator("#own").hover(position={"x": 80, "y": 80})
    assert page.evaluate("pad.strokes.map(({ length }) => length)") == [2]


UNZOOMED = "(all) => all.map((element) => getComputedStyle(element).touchAction)"


def test_two_quick_taps_zoom_nothing(hands: Hands) -> None:
    """Also where the first has moved the button from under the second, or opened a dialog over it."""
    page = hands.open()
    page.evaluate("quickstroke.allReady")
    for selector, least in ((".strip", 1), ("dialog", 5), ("button", 30)):
        found = page.locator(selector).evaluate_all(UNZOOMED)
        assert len(found) >= least and set(found) == {"manipulation"}, selector


def test_two_quick_taps_of_an_elements_buttons_zoom_nothing(page: Page) -> None:
    assert page.locator("quick-stroke button").evaluate_all(UNZOOMED) == ["manipulation"] * 2


def test_an_element_loads_its_model_in_browsers_of_2023(page: Page) -> None:
    page.wait_for_function("told.some(([type]) => type === 'load')")
    page.evaluate("told.length = 0; delete URL.canParse; document.querySelector('quick-stroke').model += '?again'")
    page.wait_for_function("told.length > 0")
    assert page.evaluate("told[0][0]") == "load"


AUDIO = """window.resumed = []; window.started = 0;
  const ramp = () => {};
  const gain = { setValueAtTime: ramp, linearRampToValueAtTime: ramp, exponentialRampToValueAtTime: ramp };
  const part = class { gain = gain; connect(next) { return next; } start() { started += 1; } stop() {} };
  window.OscillatorNode = window.GainNode = part;
  window.AudioContext = class { state = "suspended"; currentTime = 0;
    async resume() { resumed.push(event?.type); this.state = "running"; } };"""


def test_sounds_begin_by_a_tap(hands: Hands) -> None:
    """A stroke is none for Safari, and what waits for one must not be heard all at once."""
    page = hands.open(before=AUDIO)
    start_game(page)
    assert page.evaluate("[started, ...resumed]") == [0, "click"]
    hands.mouse(page, LINE)
    assert page.evaluate("started") == 1


@pytest.mark.parametrize("is_on", [True, False])
def test_the_last_seconds_and_the_end_of_a_round_are_heard(hands: Hands, is_on: bool) -> None:
    """One sound begins the round, five are of its last seconds, two of its end; none for who wants none."""
    page = hands.open(before=AUDIO, has_clock=True)
    page.evaluate("quickstroke.allReady")
    answer(page, lambda strokes: {})
    if not is_on:
        page.get_by_role("button", name="Sound").click()
    start_game(page)
    heard = []
    hands.mouse(page, LINE)
    for ms in (14_500, 1000, 1000, 1000, 1000, 1000, 1000):
        page.clock.run_for(ms)
        heard.append(page.evaluate("started"))
    expect_phase(page, "over")
    assert heard == ([1, 2, 3, 4, 5, 6, 8] if is_on else [0] * 7)


def test_a_stroke_puts_the_keyboard_of_the_screen_away(hands: Hands, model: compact.Compacted, tmp_path: Path) -> None:
    web.write_folder(tmp_path / "web", model, replace=False)
    with serving(tmp_path / "web") as url:
        page = hands.open(url=url, has_touch=True)
        page.get_by_role("button", name="Teach me a word").click()
        field = page.get_by_label("Your word", exact=True)
        expect(field).to_be_focused()
        hands.touch(page, LINE)
        expect(field).not_to_be_focused()
        hands.close()


@pytest.mark.parametrize("form", ["Image", "Data"])
def test_a_page_on_the_home_screen_shares_what_it_saves(hands: Hands, form: str) -> None:
    """There it would give way to a file, with no way back."""
    fake = """navigator.standalone = true;
      navigator.canShare = ({ files }) => files.length === 1;
      window.shared = new Promise((tell) => (navigator.share = async ({ files }) => tell(files[0].name)));"""
    page = hands.open(before=fake)
    downloads: list[object] = []
    page.on("download", lambda download: downloads.append(download))
    hands.mouse(page, LINE)
    page.get_by_role("button", name="Save").click()
    page.get_by_label("What it shows").fill("line")
    page.get_by_role("dialog").get_by_role("button", name=form).click()
    assert page.evaluate("shared") == {"Image": "line.png", "Data": "line.ndjson"}[form] and not downloads


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (820, 1180), (1180, 820)], ids=str)
def test_nothing_lies_under_the_bar_at_the_lower_edge(hands: Hands, size: tuple[int, int]) -> None:
    page = hands.open(is_mobile=True, has_touch=True)
    resize(page, *size)
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setSafeAreaInsetsOverride", {"insets": {"bottom": 34}})
    page.evaluate(TWO_FRAMES)
    lowest = page.evaluate("""() => Math.max(...[...document.querySelectorAll(".tools button, .guesses-card")]
      .map((element) => element.getBoundingClientRect().bottom))""")
    assert size[1] - 44 < lowest <= size[1] - 34
    session.send("Emulation.setSafeAreaInsetsOverride", {"insets": {}})
    session.detach()


def test_the_picture_on_the_home_screen_has_no_holes(hands: Hands, static: Path) -> None:
    """iOS fills them with black."""
    page = hands.open()
    name = page.locator("link[rel='apple-touch-icon']").get_attribute("href")
    with Image.open(static / str(name)) as picture:
        assert np.asarray(picture.convert("RGBA"))[..., 3].min() == 255
