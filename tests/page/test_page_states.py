"""Every state of the page: nothing to scroll, nothing cut, no rule of accessibility violated that axe-core knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hands import Hands, Pages, Rows, answer, expect_phase, resize
from playwright.sync_api import Page, expect

from quickstroke.drawings.categories import CATEGORIES

LINE: list[Rows] = [[[0, 30, 60, 100], [0, 40, 40, 100]]]
AXE_CORE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = [(1280, 720), (1366, 768), (390, 844), (844, 390), (320, 568), (430, 932), (900, 700), (760, 700)]
LONGEST = "The Great Wall of China, animal migration, aircraft carrier, swing set, birthday cake, pillow"

# What is beyond the screen or cut. A list of words may scroll in its own box, and so may a long text about the model.
PROBLEMS = """() => {
  const { scrollHeight, scrollWidth } = document.scrollingElement;
  const dialog = document.querySelector("dialog[open]");
  const found = [];
  if (scrollHeight > innerHeight) found.push(`the page is ${scrollHeight - innerHeight} px too high`);
  if (scrollWidth > innerWidth) found.push(`the page is ${scrollWidth - innerWidth} px too wide`);
  const isLong = dialog && dialog.id !== "about" && dialog.scrollHeight > dialog.clientHeight;
  if (isLong) found.push(`${dialog.id} is ${dialog.scrollHeight - dialog.clientHeight} px too high`);
  const all = "button, h1, h2, h3, p, label, li, dt, dd, .tools, .menu";
  for (const element of (dialog ?? document).querySelectorAll(all)) {
    if (!element.getClientRects().length || element.closest(".unseen, .lookup-words")) continue;
    const { left, right } = element.getBoundingClientRect();
    if (left < -0.5 || right > innerWidth + 0.5) found.push(`beyond the screen: ${element.id || element.textContent}`);
    if (getComputedStyle(element).display !== "inline" && element.scrollWidth > element.clientWidth + 1) {
      found.push(`cut: ${element.id || element.textContent}`);
    }
  }
  return found;
}"""


def states(hands: Hands, **options: Any) -> Iterator[tuple[str, Page]]:
    """Brings the page into each of its states."""
    page = hands.open(has_clock=True, classes=CATEGORIES, **options)
    sees = {"apple": 0.6, "The Great Wall of China": 0.2, "animal migration": 0.1, "sun": 0.05, "birthday cake": 0.05}
    answer(page, lambda strokes: sees)

    def draw() -> None:
        hands.mouse(page, LINE)
        page.clock.run_for(100)
        hands.settle(page)

    def click(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    page.evaluate("quickstroke.allReady")
    yield "idle", page
    draw()
    yield "drawn", page
    click("Save")
    yield "save", page
    click("Cancel")
    click("Look up a word")
    yield "words", page
    page.get_by_label("Word", exact=True).fill("dragonfruit")
    yield "no such word", page
    click("Close")
    page.locator("#open-about").click()
    yield "about", page
    click("Close")
    click("Play")
    yield "setup", page
    page.get_by_label("My own words").check()
    page.get_by_label("Your words").fill(f"{LONGEST}, dragonfruit")
    yield "own words", page
    click("Start")
    expect_phase(page, "ready")
    yield "ready", page
    for phase in ("won", "over", *["skipped"] * 4):
        word = page.evaluate("quickstroke.round().word")
        if phase == "won":
            sees = {word: 0.9, **{other: p for other, p in sees.items() if other != word}}
            draw()
            yield "drawing", page
            page.clock.run_for(700)
        elif phase == "over":
            sees = dict.fromkeys(("aircraft carrier", "birthday cake", "apple"), 0.25)
            draw()
            page.clock.fast_forward(21_000)
        if phase != "skipped":
            expect_phase(page, phase)
            page.clock.run_for(2500)  # the sparks are gone
            yield phase, page
        page.locator("#play").click()
    expect(page.get_by_role("dialog", name="1 of 6 recognised")).to_be_visible()
    for i in range(6):
        page.locator("#tiles button").nth(i).click()
        yield f"gallery {i}", page
    click("Close")
    click("Play")
    yield "own words again", page


VIOLATIONS = """() => {
  window.violations = null;
  axe.run(document, { resultTypes: ["violations"] }).then((found) => {
    const named = ({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`;
    window.violations = found.violations.map(named);
  });
}"""


def violations_of(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    page.evaluate(VIOLATIONS)
    while (violations := page.evaluate("window.violations")) is None:
        page.clock.run_for(1)  # axe waits by timers
    return list(violations)


Found = tuple[dict[str, list[str]], dict[str, list[str]]]


@pytest.fixture(scope="module", params=[(False, "light"), (True, "dark")], ids=["desktop", "phone"])
def found(pages: Pages, served: str, request: pytest.FixtureRequest) -> Found:
    """What is wrong with each state, in every size, and what axe-core says of it in the first where that is here: all
    in one walk, as to bring the page into its states takes longest."""
    is_phone, scheme = request.param
    sizes = [size for size in SIZES if (size[0] < 1000) == is_phone]
    first = {"width": sizes[0][0], "height": sizes[0][1]}
    axe = AXE_CORE.read_text() if AXE_CORE.is_file() else None
    hands, problems, violations = Hands(pages, served), {}, {}
    for state, page in states(hands, viewport=first, has_touch=is_phone, is_mobile=is_phone, color_scheme=scheme):
        if axe is not None:
            violations[state] = violations_of(page, axe)
        for size in [*sizes[1:], sizes[0]]:
            resize(page, *size)
            problems[f"{state} {size}"] = page.evaluate(PROBLEMS)
    hands.close()
    assert hands.problems == []
    return problems, violations


def test_nothing_is_to_scroll_and_nothing_is_cut(found: Found) -> None:
    problems, _ = found
    assert len(problems) >= 2 * 19
    assert {state: wrong for state, wrong in problems.items() if wrong} == {}


def test_no_rule_of_accessibility_is_violated(found: Found, tools: Path) -> None:
    _, violations = found
    assert len(violations) == 19
    assert {state: wrong for state, wrong in violations.items() if wrong} == {}
