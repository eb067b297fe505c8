"""Every official word is shown whole: in the headline of each state, in the line under it, in the list of guesses."""

import pytest
from hands import Hands, resize
from playwright.sync_api import expect

from quickstroke.drawings.categories import CATEGORIES

SIZES = [(844, 390), (390, 844), (320, 568), (667, 375), (1280, 720), (1366, 768)]
LONGEST_FIRST = sorted(CATEGORIES, key=len, reverse=True)

# What is cut, too small, covered or out of place of the page as it stands.
PROBLEMS = """
const $ = (id) => document.getElementById(id);
const linesOf = (element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return [...range.getClientRects()];
};
const inside = (inner, outer, slack) =>
  inner.left >= outer.left - 0.5 && inner.right <= outer.right + 0.5 &&
  inner.top >= outer.top - slack && inner.bottom <= outer.bottom + slack;
const meet = (one, other) =>
  one.left < other.right - 0.5 && other.left < one.right - 0.5 &&
  one.top < other.bottom - 2 && other.top < one.bottom - 2;
const screen = { left: 0, right: innerWidth, top: 0, bottom: innerHeight };
// Each of the others and where it and its lines are.
const placed = (others) => others.map((other) => [other, linesOf(other).concat(other.getBoundingClientRect())]);
const problemsOf = (element, leastPx, others) => {
  const lines = linesOf(element), box = element.getBoundingClientRect();
  const found = [];
  if (!lines.length) found.push("nothing is shown");
  if (element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight + 1) found.push("cut");
  if (!lines.every((line) => inside(line, box, 2))) found.push("beyond its box");
  if (parseFloat(getComputedStyle(element).fontSize) < leastPx) found.push("too small");
  for (const [other, boxes] of others) {
    if (lines.some((line) => boxes.some((box) => meet(line, box)))) found.push(`over ${other.id || other.className}`);
  }
  return found.map((what) => `${element.id || element.className}: ${what}: ${element.textContent}`);
};
const problemsOfStrip = (leastPx) => {
  const others = placed([...document.querySelectorAll(".brand, .menu, .play, .paper")]);
  const found = [$("headline"), $("subline")].flatMap((element) => problemsOf(element, leastPx, others));
  for (const element of [$("headline"), document.querySelector(".play")]) {
    if (!inside(element.getBoundingClientRect(), screen, 0)) found.push(`${element.className} is not on the screen`);
  }
  const under = $("subline").getBoundingClientRect();
  if (linesOf($("headline")).some((line) => meet(line, under))) found.push("the headline is over the line under it");
  return found;
};
"""

STRIP = f"""async (words) => {{
  const {{ showStrip }} = await import("/strip.js");
  {PROBLEMS}
  const long = ["aircraft carrier", "animal migration"];
  const ended = {{ nWon: 5, nEnded: 5, nRounds: 6, tookMs: 19900 }};
  const still = {{ ...ended, word: null, seen: [], remainingMs: 20000, isEmpty: false }};
  const asked = (word) => ({{ ...still, word, seen: [...long.filter((other) => other !== word), word] }});
  const found = [], tops = new Set(), roundTops = new Map();
  const moments = {{
    maybe: (word) => ({{ ...still, phase: "idle", first: {{ word, probability: 0.1 }} }}),
    drawing: (word) => ({{ ...asked(word), phase: "drawing", first: {{ word, probability: 0.5 }} }}),
    over: (word) => ({{ ...asked(word), phase: "over", first: {{ word, probability: 0.5 }} }}),
    // These say less about the same word: they are for the longest ones.
    sure: (word) => ({{ ...still, phase: "idle", first: {{ word, probability: 0.9 }} }}),
    likely: (word) => ({{ ...still, phase: "idle", first: {{ word, probability: 0.5 }} }}),
    ready: (word) => ({{ ...asked(word), phase: "ready" }}),
    won: (word) => ({{ ...asked(word), phase: "won", first: {{ word, probability: 0.5 }} }}),
  }};
  for (const [name, moment] of Object.entries(moments)) {{
    const isBrief = ["sure", "likely", "ready", "won"].includes(name);
    for (const word of isBrief ? words.slice(0, 50) : words) {{
      showStrip(moment(word));
      found.push(...problemsOfStrip(12).map((problem) => `${{name}}: ${{problem}}`));
      // Their first letter is large where a sentence begins with them.
      const stem = word.replace(/^The /, "").slice(1);
      if (!$("headline").textContent.includes(stem)) found.push(`${{name}}: no headline about ${{word}}`);
      const isSeen = $("subline").textContent.includes(stem);
      if (["drawing", "over"].includes(name) && !isSeen) found.push(`${{name}}: ${{word}} was not seen`);
      const {{ top }} = $("paper").getBoundingClientRect();
      if (moment(word).phase === "idle") tops.add(top);
      if (name === "drawing") roundTops.set(word, top);
      if (name === "ready" && top !== roundTops.get(word)) found.push(`the paper moves in the round of ${{word}}`);
    }}
  }}
  if (tops.size > 1) found.push("the paper moves while the pen draws freely");
  return found;
}}"""

LIST = f"""async (words) => {{
  const {{ showGuesses }} = await import("/guess-list.js");
  {PROBLEMS}
  const found = [];
  const others = words.slice(0, 4);
  words.forEach((word, i) => {{
    // Each in the first row, in bold letters beside the widest percentage.
    showGuesses([word, ...others].map((word) => ({{ word, probability: 1 }})), i % 2 ? word : null);
    for (const row of $("guesses").children) {{
      const [word, value, track] = row.children;
      if (i && row !== $("guesses").firstChild) continue; // as before
      if (!row.getClientRects().length) continue; // the smallest screens show three
      found.push(...problemsOf(word, 12, placed([value, track])), ...problemsOf(value, 12, []));
      const isBeside = inside(value.getBoundingClientRect(), row.getBoundingClientRect(), 2);
      if (!isBeside) found.push(`no room beside ${{word.textContent}}`);
    }}
    if ($("guesses").scrollWidth > $("guesses").clientWidth) found.push(`${{word}}: wider than the list`);
    const shown = [...$("guesses").children].map((row) => row.firstChild.textContent);
    if (String(shown) !== String([word, ...others])) found.push(`${{shown}} instead of ${{word}} first`);
  }});
  return found;
}}"""


# Opens the gallery, with a tile and an example for each word.
GALLERY = """async () => {
  const { openGallery } = await import("/gallery.js");
  const words = quickstroke.model().classes;
  const pictures = new Map(words.map((word) => [word, quickstroke.people(word)]));
  const example = document.getElementById("examples").firstChild;
  for (const word of words) {
    const another = example.cloneNode(true);
    another.firstChild.lastChild.data = word;
    example.after(another);
  }
  const round = (word) => ({ word, outcome: "won", seen: [word], tookMs: 1500, drawing: pictures.get(word)[0] });
  const score = { games: 2, best: 3, bestStreak: 4, isBest: false };
  openGallery(words.map(round), score, { drawings: pictures }, () => {});
}"""

TILES = """() => {
  const found = [];
  for (const button of document.querySelectorAll("#tiles button, #examples button")) {
    if (!button.getClientRects().length) continue; // the smallest screens show no examples
    const box = button.getBoundingClientRect();
    const text = (button.querySelector("span") ?? button).lastChild;
    for (const { 0: part, index } of text.data.matchAll(/[^ -]+/g)) {
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + part.length);
      const lines = [...range.getClientRects()];
      const isInside = ({ left, right, bottom }) => left >= box.left && right <= box.right && bottom <= box.bottom;
      if (lines.length > 1 || !lines.every(isInside)) found.push(`${text.data} of ${button.closest("[id]").id}`);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("is_phone", [True, False], ids=["phones", "desktops"])
def test_every_word_is_shown_whole(hands: Hands, is_phone: bool) -> None:
    assert LONGEST_FIRST[0] == "The Great Wall of China" and len(LONGEST_FIRST) == 345
    sizes = [size for size in SIZES if (size[0] < 1000) == is_phone]
    assert len(sizes) == (4 if is_phone else 2)
    page = hands.open(
        classes=LONGEST_FIRST,
        viewport={"width": sizes[0][0], "height": sizes[0][1]},
        has_touch=is_phone,
        is_mobile=is_phone,
        device_scale_factor=2 if is_phone else 1,
    )
    for size in sizes:
        resize(page, *size)
        found = page.evaluate(STRIP, LONGEST_FIRST) + page.evaluate(LIST, LONGEST_FIRST)
        assert found == [], size
    page.evaluate("quickstroke.allReady")
    page.evaluate(GALLERY)
    for size in sizes:
        resize(page, *size)
        assert page.evaluate(TILES) == [], size


def test_what_is_cut_is_found(hands: Hands) -> None:
    """The measure that finds nothing above finds a word that no screen has room for."""
    page = hands.open(viewport={"width": 320, "height": 568})
    endless = "W" * 200
    assert any("headline: cut" in problem for problem in page.evaluate(STRIP, [endless]))
    assert any("word: cut" in problem for problem in page.evaluate(LIST, [endless]))


def test_turning_a_phone_makes_room_again(hands: Hands) -> None:
    """What was shown in small letters or in few words is shown anew, at its best."""
    page = hands.open(viewport={"width": 320, "height": 568}, classes=LONGEST_FIRST[:1])
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Start").click()
    subline, headline = page.locator("#subline"), page.locator("#headline")
    expect(subline).to_have_text("Word 1 of 1: 20 s.")
    page.set_viewport_size({"width": 568, "height": 320})
    expect(subline).to_have_text("Word 1 of 1: twenty seconds, from your first stroke.")
    page.set_viewport_size({"width": 320, "height": 568})
    expect(subline).to_have_text("Word 1 of 1: 20 s.")
    assert headline.evaluate("(line) => line.scrollHeight <= line.clientHeight + 1")
