"""Drawing on the page: mouse, finger, pen and keys; undo and clear; what is seen and what is read aloud."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hands import Hands, Rows, answer, expect_phase, pixels, resize, strokes_of
from playwright.sync_api import Page, expect

# Two strokes with a corner each.
TRIANGLE: list[Rows] = [[[10, 60, 120, 190, 200], [10, 11, 12, 11, 190]], [[198, 150, 100, 10], [190, 150, 100, 10]]]
DOT: list[Rows] = [[[5], [5]]]


def words_of(page: Page) -> list[str]:
    words: list[str] = page.evaluate("quickstroke.settled().then(() => quickstroke.guesses().map(({ word }) => word))")
    return words


def test_draws(hands: Hands) -> None:
    page = hands.open(has_touch=True)
    for draw in (hands.mouse, hands.touch, hands.pen):
        draw(page, TRIANGLE)
        assert len(words_of(page)) == 5
        box = page.locator("#pad").bounding_box()
        assert box is not None
        drawn = strokes_of(page)
        assert len(drawn) == 2
        for (xs, ys, ts), places in zip(drawn, hands.placed(page, TRIANGLE), strict=True):
            points = np.stack([xs, ys], axis=1) + np.array([box["x"], box["y"]])
            assert np.abs(points - places).max() <= 1
            assert (np.diff(ts) >= 0).all()
        page.keyboard.press("Escape")
        assert strokes_of(page) == []


def test_guesses_follow_the_pen_before_it_is_lifted(hands: Hands) -> None:
    page = hands.open()
    asked = answer(page, lambda strokes: {"apple": 0.7} if len(strokes[0][0]) < 4 else {"star": 0.8, "sun": 0.1})
    hands.mouse(page, [[TRIANGLE[0][0][:3], TRIANGLE[0][1][:3]]], lift=False)
    expect(page.locator("#guesses li").first).to_have_text("apple70%")
    expect(page.locator("#headline")).to_have_text("An apple?")
    page.mouse.move(500, 300)
    page.mouse.move(520, 330)
    expect(page.locator("#guesses li").first).to_have_text("star80%")
    expect(page.locator("#headline")).to_have_text("I see a star.")
    expect(page.locator("#guesses li").nth(1)).to_have_text("sun10%")
    expect(page.locator("#guesses li").nth(2)).to_have_text("")
    assert page.locator("#guesses .track > span").evaluate_all(
        "(bars) => bars.map((bar) => Number(bar.style.transform.slice(7, -1)))"
    ) == [0.8, 0.1, 0, 0, 0]
    page.evaluate("quickstroke.settled()")
    assert asked[-1][0][0] == strokes_of(page)[0][0]


def test_every_coalesced_point_counts(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, DOT, lift=False)
    page.evaluate("""() => {
      const pad = document.getElementById("pad");
      const { left, top } = pad.getBoundingClientRect();
      const at = ([x, y]) => ({ pointerId: 1, buttons: 1, clientX: left + x, clientY: top + y });
      const event = (place, more) => new PointerEvent("pointermove", { ...at(place), ...more });
      const coalescedEvents = [[50, 60], [70.5, 60], [90, 65.25]].map((place) => event(place));
      pad.dispatchEvent(event([90, 65.25], { coalescedEvents }));
    }""")
    ((xs, ys, _),) = strokes_of(page)
    assert [xs[1:], ys[1:]] == [[50, 70.5, 90], [60, 60, 65.25]]


def test_a_dot_is_a_drawing(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, DOT)
    assert [len(rows[0]) for rows in strokes_of(page)] == [1]
    assert len(words_of(page)) == 5


def test_a_pen_that_leaves_the_paper_draws_along_its_edge(hands: Hands) -> None:
    """So that all is seen that counts."""
    page = hands.open()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] + 30, middle[1])
    page.mouse.move(box["x"] + box["width"] + 30, middle[1] + 50)
    page.mouse.up()
    ((xs, ys, _),) = page.evaluate("quickstroke.strokes()")
    assert xs[1:3] == pytest.approx([box["width"]] * 2, abs=2)
    assert ys[1:3] == pytest.approx([box["height"] / 2, box["height"] / 2 + 50], abs=2)


def test_a_second_finger_does_not_draw(hands: Hands) -> None:
    page = hands.open(has_touch=True)
    session = page.context.new_cdp_session(page)
    for kind, places in (
        ("touchStart", [(200, 300)]),
        ("touchStart", [(200, 300), (400, 400)]),
        ("touchMove", [(220, 310), (300, 350)]),
        ("touchEnd", [(220, 310)]),
        ("touchEnd", []),
    ):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert [len(rows[0]) for rows in strokes_of(page)] == [2]


def test_a_pen_takes_over_from_a_resting_hand(hands: Hands) -> None:
    page = hands.open(has_touch=True)
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": 300, "y": 500}]})
    assert len(strokes_of(page)) == 1
    hands.pen(page, TRIANGLE)
    session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": 320, "y": 520}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert [len(rows[0]) for rows in strokes_of(page)] == [5, 4]
    page.keyboard.press("Control+z")
    assert [len(rows[0]) for rows in strokes_of(page)] == [5]


def test_times_run_from_the_first_point(blank_page: Page) -> None:
    script = """async () => {
      const { Pad } = await import("/pad.js");
      const pad = new Pad(document.createElement("canvas"));
      pad.penDown(0, 0, 5000);
      pad.penMove(40, 0, 5016.4);
      pad.penUp();
      pad.penDown(0, 0, 5900);
      pad.penUp();
      const drawn = pad.strokes.map((rows) => rows[2]);
      pad.setStrokes([[[0, 9], [0, 9]]]);
      pad.penDown(0, 0, 7000);
      return [drawn, pad.strokes.map((rows) => rows[2])];
    }"""
    assert blank_page.evaluate(script) == [[[0, 16], [900]], [[0, 16], [516]]]


def test_undo_takes_back_strokes_and_a_clearing(hands: Hands) -> None:
    page = hands.open()
    undo, clear = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Clear")
    expect(undo).to_be_disabled()
    expect(clear).to_be_disabled()
    hands.mouse(page, TRIANGLE)
    first, second = strokes_of(page)
    undo.click()
    assert strokes_of(page) == [first]
    clear.click()
    assert strokes_of(page) == []
    expect(clear).to_be_disabled()
    expect(page.locator("#headline")).to_have_text("Draw something")
    expect(page.locator("#guesses li .word")).to_have_text([""] * 5)
    undo.click()
    assert strokes_of(page) == [first]
    assert len(words_of(page)) == 5
    undo.click()
    assert strokes_of(page) == []
    expect(undo).to_be_disabled()
    assert second not in strokes_of(page)


def test_the_keyboard_draws(hands: Hands) -> None:
    page = hands.open()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "pad":
            break
    expect(page.locator("#key-pen")).to_be_visible()
    for key in ("Space", "ArrowRight", "ArrowRight", "Shift+ArrowDown", "Space"):
        page.keyboard.press(key)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.keyboard.down("ArrowUp")
    page.keyboard.down("ArrowLeft")
    page.keyboard.up("ArrowLeft")
    page.keyboard.up("ArrowUp")
    page.keyboard.press("Space")
    (xs, ys, ts), (xs2, ys2, _) = strokes_of(page)
    assert [x - xs[0] for x in xs] == [0, 12, 24, 24]
    assert [y - ys[0] for y in ys] == [0, 0, 0, 3]
    assert ts == sorted(ts)
    assert [[x - xs[0] for x in xs2], [y - ys[0] for y in ys2]] == [[12, 12, 0], [3, -9, -21]]
    assert len(words_of(page)) == 5
    expect(page.locator("#announcer")).to_have_text("Pen up.")
    page.keyboard.press("Control+z")
    assert len(strokes_of(page)) == 1
    page.keyboard.press("Escape")
    assert strokes_of(page) == []


def test_the_pen_of_the_keyboard_stays_on_the_paper_in_a_new_size(hands: Hands) -> None:
    page = hands.open()
    pad, mark = page.locator("#pad"), page.locator("#key-pen")
    for _ in range(40):
        pad.press("ArrowRight")
    resize(page, 390, 844)
    right = pad.evaluate("(pad) => pad.getBoundingClientRect().right")
    assert mark.evaluate("(mark) => mark.getBoundingClientRect().left") < right
    for key in ("Space", "ArrowLeft", "Space"):
        pad.press(key)
    ((xs, _, _),) = strokes_of(page)
    width = pad.evaluate("(pad) => pad.clientWidth")
    assert xs == pytest.approx([width, width - 12], abs=1)


def test_keys_are_told_to_those_who_use_them(hands: Hands) -> None:
    page = hands.open()
    keys = page.locator("#hint small")
    page.mouse.click(600, 400)
    expect(keys).to_be_hidden()
    page.keyboard.press("Control+z")
    page.locator("#open-about").focus()
    while page.evaluate("document.activeElement.id") != "pad":
        page.keyboard.press("Tab")
    expect(keys).to_have_text("Arrow keys move the pen, Space puts it down and lifts it")
    expect(keys).to_be_visible()


def test_the_focus_goes_to_the_paper_when_a_button_is_disabled(hands: Hands) -> None:
    """It would be nowhere, and the next Tab would begin at the top."""
    page = hands.open()
    hands.mouse(page, DOT)
    for name, times in (("Undo", 1), ("Redo", 1), ("Clear", 1), ("Undo", 2), ("Redo", 2)):
        button = page.get_by_role("button", name=name)
        button.focus()
        for _ in range(times):
            button.press("Enter")
        expect(page.locator("#pad")).to_be_focused()
        expect(button).to_be_disabled()


def test_what_is_left_of_the_drawing_is_said(hands: Hands) -> None:
    page = hands.open(has_clock=True)
    said = page.locator("#announcer")
    hands.mouse(page, TRIANGLE)
    page.get_by_role("button", name="Clear").click()
    expect(said).to_have_text("Empty drawing.")
    page.keyboard.press("Control+z")
    expect(said).to_have_text("Drawing with 2 strokes.")
    page.keyboard.press("Control+z")
    expect(said).to_have_text("Drawing with 1 stroke.")
    page.keyboard.press("Control+y")
    expect(said).to_have_text("Drawing with 2 strokes.")
    page.keyboard.press("Escape")
    expect(said).to_have_text("Empty drawing.")


def test_the_pen_of_the_keyboard_is_lifted_when_the_focus_goes(hands: Hands) -> None:
    page = hands.open()
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.locator("#pad").focus()
    page.keyboard.press("ArrowRight")
    assert [len(rows[0]) for rows in strokes_of(page)] == [2]


def test_everything_is_named_and_reached_by_key(hands: Hands) -> None:
    page = hands.open()
    page.evaluate("quickstroke.allReady")  # the drawings to watch are there
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", TRIANGLE)
    words = words_of(page)
    expect(page.get_by_role("application", name="Drawing with 2 strokes")).to_be_visible()
    expect(page.get_by_role("group", name="Drawing tools").get_by_role("button")).to_have_count(5)
    expect(page.get_by_role("heading", level=1)).to_have_text("quickstroke")
    expect(page.get_by_role("region", name="Guesses").get_by_role("listitem").first).to_contain_text(words[0])
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate("""() => {
          const { activeElement: element } = document;
          return element === document.body ? null : element.ariaLabel ?? element.innerText;
        }""")
        if name is None or name in names:
            break
        names.append(name)
    assert names[0] == "Look up a word" and names[-9] == "Save"
    assert [name for name in names if name in ("Play", "Drawing with 2 strokes", "Undo", "Clear", "Replay")] == [
        "Play",
        "Drawing with 2 strokes",
        "Undo",
        "Clear",
        "Replay",
    ]
    assert all(re.fullmatch(r"Watch .+ being drawn", name) for name in names[-8:])


def test_the_first_guess_is_read_aloud_when_the_pen_rests(hands: Hands) -> None:
    page = hands.open(has_clock=True)
    answer(page, lambda strokes: {"sun": 0.912})
    hands.mouse(page, TRIANGLE[:1])
    hands.settle(page)
    expect(page.locator("#guesses li").first).to_have_text("sun91%")
    page.mouse.down()  # before it would have been read
    page.clock.fast_forward(2000)
    hands.settle(page)
    page.clock.fast_forward(2000)
    expect(page.locator("#announcer")).to_have_text("")
    page.mouse.up()
    page.clock.fast_forward(2000)
    expect(page.locator("#announcer")).to_have_text("First guess: the sun, 91%.")


def test_what_was_undone_is_done_again(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    drawn = strokes_of(page)
    undo, redo = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Redo")
    expect(redo).to_be_disabled()
    undo.click()
    undo.click()
    redo.click()
    assert strokes_of(page) == drawn[:1]
    page.keyboard.press("Control+Shift+Z")
    assert strokes_of(page) == drawn
    expect(redo).to_be_disabled()
    # What is drawn after an undo takes the place of what was undone.
    undo.click()
    hands.mouse(page, DOT)
    expect(redo).to_be_disabled()


@pytest.mark.parametrize("ratio", [1, 1.5, 3])
def test_ink_is_crisp_and_where_the_pen_was(hands: Hands, ratio: float) -> None:
    page = hands.open(device_scale_factor=ratio)
    hands.mouse(page, [[[0, 100], [0, 0]]])
    ((xs, ys, _),) = strokes_of(page)
    width, css_width = page.locator("#pad").evaluate("(pad) => [pad.width, pad.getBoundingClientRect().width]")
    assert abs(width - css_width * ratio) <= 1
    column = pixels(page, (xs[0] + xs[-1]) / 2, ys[0] - 10, 1, 20)[:, 0, 3]
    # The line is 4.5 CSS pixels thick, and only its two edges are between ink and paper.
    assert column.sum() / 255 == pytest.approx(4.5 * ratio, abs=0.1)
    assert ((column > 0) & (column < 255)).sum() <= 2
    assert column[len(column) // 2] == 255


def test_a_new_size_shows_the_same_drawing(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    drawn = strokes_of(page)
    page.set_viewport_size({"width": 500, "height": 700})
    width, height = page.locator("#pad").evaluate("(pad) => [pad.clientWidth, pad.clientHeight]")
    inked = np.flatnonzero(pixels(page, 0, 0, width, height)[:, :, 3].any(axis=0))
    assert strokes_of(page) == drawn
    assert inked.min() > 10 and inked.max() < width - 10
    # The pen still draws where it is, in the drawing's own pixels.
    hands.mouse(page, DOT)
    (x,), (y,), _ = strokes_of(page)[-1]
    all_x = [x for rows in drawn for x in rows[0]]
    assert x == pytest.approx((min(all_x) + max(all_x)) / 2, abs=40) and y > 0


PHONES = [(320, 568), (280, 653), (390, 844), (667, 375), (844, 390)]


def test_a_phone_needs_no_scrolling_sideways(hands: Hands) -> None:
    """In each state in each size: to bring the page into them takes longer than to change its size."""
    asked, guessed = "The Great Wall of China", "animal migration"
    page = hands.open(
        viewport={"width": 320, "height": 568},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
        has_clock=True,
        classes=[asked],
    )

    def overflow() -> list[str]:
        found: list[str] = page.evaluate("""() => [...document.querySelectorAll("body *")]
          .filter((element) => element.getClientRects().length && !element.closest(".unseen"))
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
          .map((element) => element.id || element.className)""")
        return found + ["page"] * page.evaluate("document.scrollingElement.scrollWidth > innerWidth")

    def assert_no_overflow(also: Callable[[], None] = lambda: None) -> None:
        for size in [*PHONES[1:], PHONES[0]]:
            resize(page, *size)
            assert overflow() == [], size
            also()

    def assert_whole() -> None:
        """The word is what the round is about: it may not be cut."""
        expect(page.locator("#headline")).to_have_text("Draw the Great Wall of China")
        assert page.locator("#headline").evaluate("(line) => line.scrollWidth <= line.clientWidth")

    def assert_told() -> None:
        expect(page.locator("#headline")).to_have_text("Time is up. The word was the Great Wall of China.")
        expect(page.locator("#subline")).to_contain_text("saw an animal migration.")

    assert_no_overflow()
    page.get_by_role("button", name="Play", exact=True).click()
    assert_no_overflow()
    page.get_by_role("button", name="Start").click()
    assert_no_overflow(assert_whole)
    answer(page, lambda strokes: {guessed: 0.98, "bread": 0.01})
    hands.touch(page, TRIANGLE)
    page.clock.run_for(1000)
    expect(page.locator("#guesses li").first).to_have_text(f"{guessed}98%")
    assert_no_overflow()
    page.clock.fast_forward(21_000)
    expect_phase(page, "over")
    assert_no_overflow(assert_told)
    page.get_by_role("button", name="Save").click()
    assert_no_overflow()


def contrast(one: list[float], other: list[float]) -> float:
    """As WCAG 2.2 defines it, of two sRGB colours from 0 to 255."""

    def luminance(colour: list[float]) -> float:
        parts = np.array(colour[:3]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_all_text_stands_out(hands: Hands) -> None:
    page = hands.open()
    answer(page, lambda strokes: {"apple": 0.5, "sun": 0.4})
    hands.mouse(page, TRIANGLE)
    expect(page.locator("#guesses li").first).to_have_text("apple50%")
    # By key: under a pointer the button would have a translucent ground, which is none of its own.
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.locator("#save-dialog")).to_be_visible()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        colours = page.evaluate("""() => {
          const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
          const ground = (element) => {
            const [r, g, b, a = 1] = rgb(getComputedStyle(element).backgroundColor);
            return a ? [r, g, b] : ground(element.parentElement);
          };
          return [...document.querySelectorAll("body *:not(button:disabled)")]
            .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
            .filter((element) => element.getClientRects().length)
            .map((element) => [element.innerText, rgb(getComputedStyle(element).color), ground(element)]);
        }""")
        assert len(colours) > 15
        assert {text: contrast(ink, ground) for text, ink, ground in colours if contrast(ink, ground) < 4.5} == {}
        page_ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(page_ground) > 600) == (scheme == "light")


def test_fields_stand_out(hands: Hands) -> None:
    """WCAG 2.2, 1.4.11: their borders, against what is in them and around them."""
    page = hands.open(color_scheme="light")
    page.get_by_role("button", name="Look up a word").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        border, *grounds = page.evaluate("""() => {
          const [field, card] = ["lookup-search", "lookup"].map((id) => getComputedStyle(document.getElementById(id)));
          const all = [field.borderTopColor, field.backgroundColor, card.backgroundColor];
          return all.map((text) => text.match(/[\\d.]+/g).map(Number));
        }""")
        assert min(contrast(border, ground) for ground in grounds) >= 3


def test_the_ink_changes_with_the_colour_scheme(hands: Hands) -> None:
    page = hands.open(color_scheme="light")
    hands.mouse(page, [[[0, 100], [0, 0]]])
    ((xs, ys, _),) = strokes_of(page)
    middle = ((xs[0] + xs[-1]) / 2, ys[0], 1, 1)
    assert pixels(page, *middle)[0, 0, :3].mean() < 60
    page.emulate_media(color_scheme="dark")
    assert pixels(page, *middle)[0, 0, :3].mean() > 200


def test_files_name_no_other_host(static: Path) -> None:
    files = [path for path in static.iterdir() if path.suffix in (".js", ".html", ".css", ".svg", ".json")]
    assert len(files) > 10
    found = {
        url
        for path in files
        for url in re.findall(r"(?:https?:)?//[a-z0-9.-]+\.?[a-z:0-9]+", path.read_text())
        if url.startswith("http")
    }
    assert found == {"http://www.w3.org"}
