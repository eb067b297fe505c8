"""The rules of the game without its page: rounds, scores, and words as they are said."""

import pytest
from playwright.sync_api import Page

# The game alone: its clock is a number.
GAME = """
const { Game } = await import("/game.js");
const game = new Game(() => 0.5);
"""


def test_every_word_comes_before_one_comes_again(blank_page: Page) -> None:
    script = f"""async () => {{
      {GAME}
      const words = Array.from({{ length: 12 }}, (_, i) => `word ${{i}}`);
      return Array.from({{ length: 4 }}, () => {{
        game.start(words);
        const asked = [];
        for (; game.word; game.skip()) asked.push(game.word);
        return asked;
      }});
    }}"""
    games = blank_page.evaluate(script)
    assert [len(set(words)) for words in games] == [6] * 4
    assert len(set(games[0] + games[1])) == len(set(games[2] + games[3])) == 12


@pytest.mark.parametrize(
    ("seen", "phase", "took_ms"),
    [
        ([(1000, 0.5)], "drawing", 0),
        ([(1000, 0.5), (1499, 0.9)], "drawing", 0),
        ([(1000, 0.5), (1500, 0.9)], "won", 1000),
        ([(1000, 0.5), (1500, 0.0)], "won", 1000),  # it was first for so long, whatever comes then
        ([(1000, 0.5), (1200, 0.49), (1400, 0.5), (1800, 0.5)], "drawing", 0),
        ([(1000, 0.5), (1200, 0.0), (1400, 0.5), (1800, 0.5)], "drawing", 0),
        ([(19_500, 0.5), (20_000, 0.5)], "won", 19_500),
        ([(19_501, 0.5), (20_000, 0.5)], "over", 0),
        ([(20_001, 0.0)], "over", 0),
    ],
)
def test_when_a_round_is_won(blank_page: Page, seen: list[tuple[int, float]], phase: str, took_ms: int) -> None:
    """`seen`: when, and the word's probability in the first place; 0 where another word has it."""
    script = f"""async (seen) => {{
      {GAME}
      game.start(["cup"]);
      game.begin(0);
      const first = (p) => (p ? {{ word: "cup", probability: p }} : {{ word: "bed", probability: 0.9 }});
      for (const [at, p] of seen) game.saw(first(p), at);
      return [game.phase, game.tookMs, game.rounds.length];
    }}"""
    assert blank_page.evaluate(script, [list(each) for each in seen]) == [phase, took_ms, int(phase != "drawing")]


def test_without_a_clock_a_round_ends_when_it_is_won(blank_page: Page) -> None:
    script = f"""async () => {{
      {GAME}
      game.start(["cup"], Infinity);
      const before = game.remainingMs(0) === Infinity;
      game.begin(0);
      game.tick(3_600_000);
      const later = [game.phase, game.remainingMs(3_600_000) === Infinity];
      game.pause(3_600_000);
      game.resume(4_000_000);
      for (const at of [4_000_100, 4_000_600]) game.saw({{ word: "cup", probability: 0.5 }}, at);
      return [before, later, game.phase, game.tookMs];
    }}"""
    assert blank_page.evaluate(script) == [True, ["drawing", True], "won", 3_600_100]


def test_a_pause_takes_no_time_and_what_was_first_before_it_counts_anew(blank_page: Page) -> None:
    script = f"""async () => {{
      {GAME}
      const cup = {{ word: "cup", probability: 0.9 }};
      game.start(["cup", "bed"]);
      const [asked, other] = game.word === "cup" ? [cup, {{ ...cup, word: "bed" }}] : [{{ ...cup, word: "bed" }}, cup];
      game.pause(0); // not before the first stroke
      const early = game.isPaused;
      game.begin(1000);
      game.saw(other, 1100);
      game.saw(other, 1200);
      game.saw(asked, 2000);
      game.pause(2100);
      game.pause(2300);
      game.saw(other, 2400);
      game.tick(60_000);
      const paused = [game.isPaused, game.remainingMs(60_000)];
      game.resume(62_100);
      game.tick(62_550);
      const [phase, seen] = [game.phase, [...game.seen]];
      game.saw(asked, 62_600);
      game.tick(63_099);
      const before = game.phase;
      game.tick(63_100);
      const won = [game.phase, game.tookMs, game.rounds[0].seen.length];
      game.next();
      game.skip();
      return [early, paused, phase, seen.length, before, won, game.rounds.map(({{ seen }}) => seen.length), game.phase];
    }}"""
    won = ["won", 1600, 2]
    assert blank_page.evaluate(script) == [
        False, [True, 18_900], "drawing", 2, "drawing", won, [2, 0], "idle",
    ]  # fmt: skip


def test_words_are_sorted_by_how_hard_they_are(blank_page: Page) -> None:
    script = """async () => {
      const { kindsOf } = await import("/difficulty.js");
      const words = Array.from({ length: 30 }, (_, i) => `word ${i}`);
      const percents = new Map(words.map((word, i) => [word, 3 * i]));
      return [kindsOf(words, percents), kindsOf(words, new Map()), kindsOf(words.slice(0, 9), percents)];
    }"""
    known, unknown, few = blank_page.evaluate(script)
    assert [kind["name"] for kind in known] == ["easy", "medium", "hard", "all"]
    assert known[0]["words"] == [f"word {i}" for i in range(29, 19, -1)]
    assert known[2]["fact"] == "0 to 27 of 100 drawings are recognised"
    assert [kind["name"] for kind in unknown] == [kind["name"] for kind in few] == ["all"]


def test_the_score(blank_page: Page) -> None:
    script = """async (games) => {
      const { NO_SCORE, scored } = await import("/game.js");
      return games.reduce((score, outcomes) => scored(score, outcomes.map((outcome) => ({ outcome }))), NO_SCORE);
    }"""
    won, over = "won", "over"
    assert blank_page.evaluate(script, [[over, won, won], [won, won, won, "skipped", won, won]]) == {
        "games": 2,
        "best": 5,
        "streak": 2,
        "bestStreak": 5,
        "isBest": True,
    }


def test_words_are_read_as_people_say_them(blank_page: Page) -> None:
    script = """async (words) => {
      const { withArticle } = await import("/words.js");
      return words.map(withArticle);
    }"""
    words = [
        "bicycle",
        "apple",
        "hourglass",
        "sun",
        "scissors",
        "The Eiffel Tower",
        "t-shirt",
        "ice cream",
        "my robot",
        "Fred",
        "猫",
        "תפוח",
    ]
    said = [
        "a bicycle",
        "an apple",
        "an hourglass",
        "the sun",
        "scissors",
        "the Eiffel Tower",
        "a t-shirt",
        "an ice cream",
        "my robot",
        "Fred",
        "猫",
        "תפוח",
    ]
    assert blank_page.evaluate(script, words) == said


def test_percentages_are_never_rounded_to_certainty(blank_page: Page) -> None:
    script = """async (values) => {
      const { percent } = await import("/quickstroke.js");
      return values.map(percent);
    }"""
    values = [0, 1e-9, 0.004, 0.005, 0.514, 0.985, 0.9949, 0.999, 1]
    assert blank_page.evaluate(script, values) == ["0%", "<1%", "<1%", "1%", "51%", "99%", "99%", "99%", "100%"]


def test_words_that_differ_in_letter_case_alone_are_typed_as_they_are(blank_page: Page) -> None:
    script = """async ([text, words]) => {
      const { typedWords } = await import("/words.js");
      return typedWords(text, words);
    }"""
    words = ["A", "a", "teddy-bear", "The Eiffel Tower", "ガ"]
    typed = blank_page.evaluate(script, ["A, a\nTeddy Bear, eiffel tower, カ\u3099, b", words])
    assert typed == {"known": words, "unknown": ["b"]}
    assert blank_page.evaluate(script, ["A", words]) == {"known": ["A"], "unknown": []}
