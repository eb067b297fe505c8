"""The page for those who see little: larger letters of the browser, much zoom, the system's own colours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from hands import Hands, answer, expect_phase, start_game
from playwright.sync_api import Page, expect

from quickstroke.drawings.categories import CATEGORIES
from quickstroke.reports.audit_page import audit_page

BEYOND = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.getClientRects().length && !element.closest(".unseen"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.id || element.className)"""
SIZE_OF = "(element) => parseFloat(getComputedStyle(element).fontSize)"
GROUND_OF = "(element) => getComputedStyle(element).backgroundColor"


@contextmanager
def letters(page: Page, size: int) -> Iterator[None]:
    """What the settings of the browser say of the size of letters; 16 is usual."""
    session = page.context.new_cdp_session(page)
    session.send("Page.setFontSizes", {"fontSizes": {"standard": size}})
    yield
    session.detach()


def states(hands: Hands, page: Page) -> Iterator[str]:
    """Brings the page into those of its states that hold most."""
    page.evaluate("quickstroke.allReady")
    answer(page, lambda strokes: {"The Great Wall of China": 0.6, "animal migration": 0.2})
    page.evaluate("quickstroke.setStrokes([[[0, 90], [0, 90]]])")
    page.evaluate("quickstroke.settled()")
    yield "drawn"
    for button, close in (("Save", "Cancel"), ("Look up a word", "Close"), ("About the model", "Close")):
        page.get_by_role("button", name=button).click()
        yield button
        page.get_by_role("button", name=close, exact=True).click()
    start_game(page)
    yield "ready"
    for _ in range(6):
        page.locator("#play").click(delay=10)
    expect(page.get_by_role("dialog", name="0 of 6 recognised")).to_be_visible()
    yield "gallery"


# Of a phone: as large as the narrowest layout has room for.
@pytest.mark.parametrize(("width", "height", "at_least"), [(1280, 800, 32), (640, 900, 32), (360, 640, 20)])
def test_letters_are_as_large_as_the_browser_has_them(hands: Hands, width: int, height: int, at_least: int) -> None:
    """WCAG 2.2, 1.4.4: up to twice as large, and nothing is lost."""
    page = hands.open(viewport={"width": width, "height": height}, classes=CATEGORIES)
    note = page.locator("#hint")
    usual = note.evaluate(SIZE_OF)
    with letters(page, 32):
        assert page.locator("body").evaluate(SIZE_OF) >= at_least
        assert note.evaluate(SIZE_OF) / usual == pytest.approx(page.locator("body").evaluate(SIZE_OF) / 16)
        found = {state: page.evaluate(BEYOND) for state in states(hands, page)}
    assert len(found) == 6
    assert {state: beyond for state, beyond in found.items() if beyond} == {}


def test_a_window_of_1280_pixels_at_a_zoom_of_400_percent_loses_nothing(hands: Hands) -> None:
    """WCAG 2.2, 1.4.10: its lists were no higher than a line."""
    page = hands.open(viewport={"width": 320, "height": 200}, classes=CATEGORIES)
    for state in states(hands, page):
        assert page.evaluate(BEYOND) == [], state
        seen = {
            "Look up a word": page.get_by_role("button", name="Watch a bicycle being drawn").last,
            "About the model": page.locator("#about-facts dd").last,
            "Save": page.get_by_role("button", name="Data official ndjson"),
        }.get(state)
        if seen:
            seen.scroll_into_view_if_needed()
            expect(seen).to_be_in_viewport(ratio=1)


def test_the_systems_colours_tell_what_the_pages_own_do(hands: Hands) -> None:
    """Whether the pen of the keys is down, which drawing is looked at, which button goes on."""
    page = hands.open(forced_colors="active", color_scheme="dark", classes=CATEGORIES)
    page.evaluate("quickstroke.allReady")
    answer(page, lambda strokes: {"The Great Wall of China": 0.6})
    expect(page.get_by_role("button", name="Undo")).to_have_css("opacity", "1")  # its colour says that it is disabled
    pen = page.locator("#key-pen")
    page.locator("#pad").press("ArrowRight")
    lifted = pen.evaluate(GROUND_OF)
    page.keyboard.press("Space")
    assert pen.evaluate(GROUND_OF) != lifted
    page.keyboard.press("Space")
    start_game(page)
    for _ in range(6):
        page.locator("#play").click(delay=10)
    shown, other = (page.locator(f"#tiles [aria-pressed={value}]").first for value in ("true", "false"))
    again, close = page.get_by_role("button", name="Play again"), page.locator("#gallery-close")
    for one, another in ((shown, other), (again, close)):
        assert one.evaluate(GROUND_OF) != another.evaluate(GROUND_OF)
    # Else the browser puts letters on a ground of their own, in the colour that these have.
    expect(again).to_have_css("forced-color-adjust", "none")
    expect_phase(page, "idle")


def test_more_contrast_is_given_where_it_is_asked_for(hands: Hands) -> None:
    page = hands.open(contrast="more")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        ink, note, field = page.evaluate("""() => {
          const style = (id) => getComputedStyle(document.getElementById(id));
          return [style("headline").color, style("note").color, style("lookup-search").borderColor];
        }""")
        assert note == ink
        expect(page.locator("#paper")).to_have_css("border-color", field)  # which stands out; it gets there by and by


def test_the_page_of_an_audit_is_read_in_any_colours_and_sizes(blank_page: Page) -> None:
    page, line = blank_page, [[[10, 200], [10, 200]]]
    items = [{"key_id": str(i), "word": "cat", "guess": "dog", "drawing": line} for i in range(40)]
    page.set_content(audit_page(items, ["cat", "dog"]))
    ink = "getComputedStyle(document.querySelector('svg')).stroke"
    ground = "getComputedStyle(document.querySelector('header')).backgroundColor"
    header = page.locator("header")
    field = page.get_by_label("new word")
    field.nth(39).focus()
    expect(header).to_be_in_viewport(ratio=1)
    for i in range(39, -1, -1):  # upwards, where each would come to lie under what stands at the top
        field.nth(i).evaluate("(field) => field.scrollIntoView({ block: 'nearest' })")  # as Firefox does for Tab
        top, bottom = field.nth(i).bounding_box(), header.bounding_box()
        assert top is not None and bottom is not None and top["y"] >= bottom["y"] + bottom["height"]
    for forced in ("none", "active"):
        page.emulate_media(color_scheme="dark", forced_colors=forced)
        assert page.evaluate(ink) == "rgb(255, 255, 255)"
        assert page.evaluate(ground) in ("rgb(18, 18, 18)", "rgb(0, 0, 0)")
    page.emulate_media(forced_colors="none")
    with letters(page, 32):
        assert page.locator("#told").evaluate(SIZE_OF) == 32
    page.set_viewport_size({"width": 320, "height": 256})  # a zoom of 400 percent: it would fill the window
    field.nth(38).focus()
    expect(header).not_to_be_in_viewport()
