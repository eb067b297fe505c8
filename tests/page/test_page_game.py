"""The game: a word, twenty seconds, and a celebration when the model gets it."""

import re
from itertools import pairwise
from typing import Any

import pytest
from hands import Hands, Rows, answer
from playwright.sync_api import Page, expect

LINE: list[Rows] = [[[0, 30, 60, 100], [0, 40, 40, 100]]]


class Round:
    """A page in a round, with a clock that stands still and a server that sees what it is told to."""

    def __init__(self, hands: Hands, **options: Any) -> None:
        self.page = hands.open(has_clock=True, **options)
        self._hands = hands
        self._sees = ["apple"]
        answer(self.page, lambda strokes: {self._sees[-1]: 0.9})
        self.classes = self.page.evaluate("fetch('api/v1/model').then((answer) => answer.json())")["classes"]
        self.page.get_by_role("button", name="Play", exact=True).click()

    @property
    def word(self) -> str:
        headline = self.page.locator("#headline").inner_text()
        word: str = re.sub(r"^Draw (an |a |the )?", "", headline)
        assert word in self.classes, headline
        return word

    @property
    def other(self) -> str:
        return next(str(word) for word in self.classes if word != self.word)

    def sees(self, word: str) -> None:
        """From now on the model takes every drawing for this."""
        self._sees.append(word)

    def draw(self, sees: str, strokes: list[Rows] = LINE) -> None:
        """Draws, and lets the answer come; the clock stands still meanwhile but for the moments that this needs."""
        self.sees(sees)
        self._hands.mouse(self.page, strokes)
        self.page.clock.run_for(60)
        expect(self.page.locator("#guesses li").first).to_have_text(f"{sees}90%")

    def expect_phase(self, phase: str) -> None:
        expect(self.page.locator("#strip")).to_have_attribute("data-phase", phase)


def pixels_of_sparks(page: Page) -> int:
    n: int = page.locator("#sparks").evaluate("""(canvas) => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((alpha, i) => i % 4 === 3 && alpha).length;
    }""")
    return n


def test_won(hands: Hands) -> None:
    game = Round(hands)
    page, word = game.page, game.word
    game.expect_phase("ready")
    game.draw(game.other)
    game.expect_phase("drawing")
    page.clock.fast_forward(5000)
    expect(page.get_by_role("timer")).to_have_text(re.compile("14|15"))
    game.draw(word)
    page.clock.run_for(500)
    game.expect_phase("won")
    expect(page.locator("#headline")).to_have_text(re.compile(f"^(A |An |The )?{word}!$", re.IGNORECASE))
    expect(page.locator("#subline")).to_have_text(re.compile(r"^Recognised after 5\.\d s\. 1 of 1 so far\.$"))
    expect(page.get_by_role("status")).to_contain_text("Recognised after 5.")
    expect(page.locator("#guesses li").first).to_have_class("is-asked")
    expect(page.get_by_role("timer")).to_be_hidden()
    page.clock.run_for(200)
    assert pixels_of_sparks(page) > 100
    page.clock.fast_forward(3000)
    assert pixels_of_sparks(page) == 0
    page.get_by_role("button", name="Next").click()
    game.expect_phase("ready")
    assert game.word != word
    assert page.evaluate("quickstroke.strokes()") == []


def test_no_sparks_where_motion_is_unwelcome(hands: Hands) -> None:
    game = Round(hands, reduced_motion="reduce")
    game.draw(game.word)
    game.page.clock.run_for(500)
    game.expect_phase("won")
    game.page.clock.run_for(200)
    assert pixels_of_sparks(game.page) == 0


def test_a_flash_of_the_word_does_not_win(hands: Hands) -> None:
    game = Round(hands)
    game.draw(game.word)
    game.draw(game.other)
    game.page.clock.fast_forward(2000)
    game.expect_phase("drawing")


def test_over(hands: Hands) -> None:
    game = Round(hands)
    word, other = game.word, game.other
    game.page.clock.fast_forward(30_000)
    game.expect_phase("ready")
    expect(game.page.get_by_role("timer")).to_have_text("20")
    game.draw(other)
    game.page.clock.fast_forward(19_000)
    game.expect_phase("drawing")
    expect(game.page.get_by_role("timer")).to_have_class("clock is-short")
    game.page.clock.run_for(1500)
    game.expect_phase("over")
    expect(game.page.locator("#headline")).to_have_text(re.compile(f"^Time is up: (a |an |the )?{word}$"))
    expect(game.page.locator("#subline")).to_have_text(re.compile(f"^0 of 1 so far. I saw (a |an |the )?{other}.$"))
    # Nothing is won any more.
    game.draw(word)
    game.page.clock.run_for(1000)
    game.expect_phase("over")


def test_skip_and_stop(hands: Hands) -> None:
    game = Round(hands)
    page, word = game.page, game.word
    game.draw(game.other)
    page.get_by_role("button", name="Skip").click()
    game.expect_phase("ready")
    assert game.word != word
    assert page.evaluate("quickstroke.strokes()") == []
    page.get_by_role("button", name="Stop").click()
    game.expect_phase("idle")
    expect(page.locator("#headline")).to_have_text("Draw something")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "play"


def test_after_a_lost_round_one_can_be_watched(hands: Hands) -> None:
    game = Round(hands, classes=("bicycle", "star"))
    page, word = game.page, game.word
    game.draw(game.other)
    watch = page.get_by_role("region", name="Drawing").get_by_role("button", name=re.compile("Watch .* being drawn"))
    expect(watch).to_be_hidden()
    page.clock.fast_forward(21_000)
    game.expect_phase("over")
    watch.click()
    page.clock.fast_forward(10_000)
    game.expect_phase("over")
    shown = page.evaluate("quickstroke.strokes()")
    examples = page.evaluate("fetch('examples.json').then((answer) => answer.json())")["drawings"][word]
    assert [len(rows[0]) for rows in shown] == [len(rows[0]) for rows in examples[0]]


def test_a_replay_does_not_win(hands: Hands) -> None:
    game = Round(hands)
    page, word = game.page, game.word
    game.draw(game.other)
    page.evaluate("quickstroke.setStrokes([[[0, 50, 90], [0, 50, 90], [0, 100, 5000]]])")
    page.get_by_role("button", name="Replay").click()
    game.sees(word)
    page.clock.run_for(60)
    expect(page.locator("#guesses li").first).to_have_text(f"{word}90%")
    page.clock.run_for(1500)
    game.expect_phase("drawing")
    # The clock of the round runs on.
    page.clock.fast_forward(21_000)
    game.expect_phase("over")


# The game alone: its clock is a number.
GAME = """
const { Game } = await import("/game.js");
const game = new Game(["cup", "sun", "axe"], () => 0.5);
"""


def test_every_word_comes_before_one_comes_again(blank_page: Page) -> None:
    script = f"""async () => {{
      {GAME}
      return Array.from({{ length: 30 }}, () => {{ game.next(); return game.word; }});
    }}"""
    words = blank_page.evaluate(script)
    assert [set(words[i : i + 3]) for i in range(0, 30, 3)] == [{"cup", "sun", "axe"}] * 10
    assert all(a != b for a, b in pairwise(words))


@pytest.mark.parametrize(
    ("seen", "phase", "took_ms"),
    [
        ([(1000, True)], "drawing", 0),
        ([(1000, True), (1349, True)], "drawing", 0),
        ([(1000, True), (1350, True)], "won", 1000),
        ([(1000, True), (1200, False), (1400, True), (1600, True)], "drawing", 0),
        ([(19_900, True), (20_000, True)], "won", 19_900),
        ([(19_900, False), (20_000, True)], "won", 20_000),
        ([(20_001, False)], "over", 0),
    ],
)
def test_when_a_round_is_won(blank_page: Page, seen: list[tuple[int, bool]], phase: str, took_ms: int) -> None:
    script = f"""async (seen) => {{
      {GAME}
      game.next();
      game.begin(0);
      for (const [at, isWord] of seen) game.saw(isWord ? game.word : "bed", at);
      return [game.phase, game.tookMs, game.nRounds];
    }}"""
    assert blank_page.evaluate(script, [list(each) for each in seen]) == [phase, took_ms, int(phase != "drawing")]


def test_words_are_read_as_people_say_them(blank_page: Page) -> None:
    script = """async (words) => {
      const { withArticle } = await import("/words.js");
      return words.map(withArticle);
    }"""
    words = ["bicycle", "apple", "hourglass", "sun", "scissors", "The Eiffel Tower", "t-shirt", "ice cream"]
    said = [
        "a bicycle",
        "an apple",
        "an hourglass",
        "the sun",
        "scissors",
        "The Eiffel Tower",
        "a t-shirt",
        "an ice cream",
    ]
    assert blank_page.evaluate(script, words) == said


def test_percentages_are_never_rounded_to_certainty(blank_page: Page) -> None:
    script = """async (values) => {
      const { percent } = await import("/words.js");
      return values.map(percent);
    }"""
    values = [0, 1e-9, 0.004, 0.005, 0.514, 0.985, 0.9949, 0.999, 1]
    assert blank_page.evaluate(script, values) == ["0%", "<1%", "<1%", "1%", "51%", "99%", "99%", "99%", "100%"]
