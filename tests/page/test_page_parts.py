"""Parts of the page that compute, each alone: replays, shapes, names of files, what is easy, what a model is."""

from typing import Any

import pytest
from playwright.sync_api import Page


def computed(page: Page, module: str, expression: str, given: Any = None) -> Any:
    """What an expression comes to, of a module `m` and of `given`."""
    return page.evaluate(f"async (given) => {{ const m = await import('/{module}.js'); return {expression}; }}", given)


def test_a_replay_cuts_pauses_and_runs_faster_where_it_would_take_long(blank_page: Page) -> None:
    def replayed(times: list[list[int]], *moments: int) -> list[Any]:
        strokes = [[[0] * len(ts), [0] * len(ts), ts] for ts in times]
        shown = "moments.map((ms) => line.at(ms).map(([xs]) => xs.length))"
        script = f"(({{ strokes, moments }}, line = m.timeline(strokes)) => [line.durationMs, ...{shown}])(given)"
        found: list[Any] = computed(blank_page, "replay", script, {"strokes": strokes, "moments": moments})
        return found

    # Whatever its first time is; a pause of 350 ms stays, a longer one is cut, and one that is none takes no time.
    assert replayed([[700, 800], [1150, 1250]], 99, 100, 449, 450, 550) == [550, [1], [2], [2], [2, 1], [2, 2]]
    assert replayed([[0, 100], [5100, 5200]], 449, 450) == [550, [2], [2, 1]]
    assert replayed([[0, 100], [50, 150]], 99, 100) == [200, [1], [2, 1]]
    assert replayed([[0, 8000, 16_000]], 3999, 4000, 8000) == [8000, [1], [2], [3]]


def test_a_stroke_is_a_smooth_line_through_the_middles_of_its_points(blank_page: Page) -> None:
    strokes = [[[0, 10, 20.456, 30], [0, 10, 0, 10]], [[1, 2], [3, 4.005]], [[5], [6]]]
    assert computed(blank_page, "geometry", "given.map(m.pathText)", strokes) == [
        "M0 0Q10 10 15.23 5Q20.46 0 25.23 5L30 10",
        "M1 3L2 4.01",
        "M5 6L5.01 6",
    ]


def test_a_drawing_is_placed_in_the_middle_as_large_as_it_fits(blank_page: Page) -> None:
    placed = "m.placed(given, 100, 50)"
    assert computed(blank_page, "geometry", placed, [[[10, 30], [5, 10], [0, 9]]]) == [[[0, 100], [12.5, 37.5], [0, 9]]]
    assert computed(blank_page, "geometry", placed, [[[7, 7], [0, 9], [0, 9]]]) == [[[50, 50], [0, 50], [0, 9]]]
    assert computed(blank_page, "geometry", "m.boundsOf(given)", []) is None


@pytest.mark.parametrize(
    ("n_known", "n_words", "names"),
    [
        (17, 17, ["all"]),
        (18, 18, ["easy", "medium", "hard", "all"]),
        (18, 36, ["easy", "medium", "hard", "all"]),
        (18, 37, ["all"]),
    ],
)
def test_kinds_of_games_need_words_enough(blank_page: Page, n_known: int, n_words: int, names: list[str]) -> None:
    script = """(({ nKnown, nWords }) => {
      const words = Array.from({ length: nWords }, (_, i) => `word ${i}`);
      return m.kindsOf(words, new Map(words.slice(0, nKnown).map((word) => [word, 5]))).map(({ name }) => name);
    })(given)"""
    assert computed(blank_page, "difficulty", script, {"nKnown": n_known, "nWords": n_words}) == names


def test_words_are_listed_and_begin_sentences(blank_page: Page) -> None:
    lists = [[], ["a cat"], ["a cat", "a dog"], ["a cat", "a dog", "a fish"]]
    assert computed(blank_page, "words", "given.map(m.listed)", lists) == [
        "",
        "a cat",
        "a cat and a dog",
        "a cat, a dog and a fish",
    ]
    assert computed(blank_page, "words", "given.map(m.capitalized)", ["a cat", "", "élan"]) == ["A cat", "", "Élan"]
    said = ["uniform", "euro", "one way", "used car", "umbrella", "eye", "hour", "house", "Ärmel", "an owl", "theatre"]
    assert computed(blank_page, "words", "given.map(m.withArticle)", said) == [
        "a uniform",
        "a euro",
        "a one way",
        "a used car",
        "an umbrella",
        "an eye",
        "an hour",
        "a house",
        "Ärmel",
        "an owl",
        "a theatre",
    ]


ABOUT = """() => document.body.append(Object.assign(document.createElement("button"), { id: "about-close" }))"""


def test_a_model_is_named_by_its_size(blank_page: Page) -> None:
    blank_page.evaluate(ABOUT)
    cards = [{"parameters": n} for n in (99_999, 100_000, 499_999, 500_000)]
    names = computed(blank_page, "about", "given.map((card) => m.friendlyName({ card }))", [*cards, None, {}])
    assert names == ["First Glance", "Quick Eye", "Quick Eye", "Sharp Eye", "Your model", "Your model"]


def test_what_is_known_of_a_model_is_told_and_no_more(blank_page: Page) -> None:
    blank_page.evaluate(ABOUT)
    facts = "m.factsOf(...given).map(([name, value]) => `${name}: ${value}`)"
    own = ["Words: 1", "Your drawings: stay in this browser; nothing is sent anywhere", "Technical name: any"]
    bare = computed(blank_page, "about", facts, [{"name": "any", "classes": ["cat"], "card": None}, True])
    assert bare[:-1] == own and bare[-1].startswith("Drawings by people: ")
    card = {
        "parameters": 12_345,
        "classes": ["cat", "sun"],
        "preprocessing": {"max_padding": 200},
        "figures": {"test": {"top1": 0.666, "top3": 0.9, "n": 5000, "top1_of_points": {"0.5": 0.25}}},
        "limits": "Upright drawings; `unknown` is for programs. No text.",
        "attribution": "Trained on drawings.",
    }
    told = computed(blank_page, "about", facts, [{"name": "any", "classes": ["cat"], "card": card}, False])
    assert told[:-1] == [
        "Words: 1; figures: of all 2",
        "First guess right: 67 of 100 drawings (5,000 tested)",
        "Among the first three: 90 of 100 drawings",
        "Right when half drawn: 25 of 100 drawings",
        "Size: 12,345 parameters",
        "Longest drawing: the first 200 points once it is simplified; more changes nothing",
        "Limits: Upright drawings. No text.",
        "Your drawings: go to the server of this page, which guesses",
        "Technical name: any",
        "Trained on: drawings.",
    ]


def test_a_drawing_by_people_is_drawn_at_a_hands_pace(blank_page: Page) -> None:
    """Of a file with one drawing of two strokes; a point at least every 9 units, 3 ms for each, and 250 for a pause."""
    script = """((strokes) => {
      const head = new TextEncoder().encode('{"words": {"cat": [1, 40]}}\\n');
      const bytes = [...head, ...Array(15).fill(0), strokes.length, 0];
      for (const [xs, ys] of strokes) bytes.push(xs.length, 0, ...xs, ...ys);
      const { drawings, percents } = m.parsePeople(Uint8Array.from(bytes));
      return [drawings.get("cat"), percents.get("cat")];
    })(given)"""
    drawings, percent = computed(blank_page, "people", script, [[[0, 30, 30], [0, 0, 9]], [[5, 5], [7, 7]]])
    assert percent == 40
    assert drawings == [
        [
            [[0, 7.5, 15, 22.5, 30, 30], [0, 0, 0, 0, 0, 9], [0, 23, 45, 68, 90, 117]],
            [[5, 5], [7, 7], [367, 367]],
        ]
    ]


def test_a_picture_of_a_large_drawing_is_as_large_as_browsers_take(blank_page: Page) -> None:
    script = """(async (strokes) => {
      const image = await createImageBitmap(await m.pngBlob(strokes));
      const gif = await createImageBitmap(m.movingBlob(strokes));
      return [image.width, image.height, gif.width, gif.height];
    })(given)"""
    assert computed(blank_page, "save", script, [[[0, 8000], [0, 4000], [0, 9]]]) == [4096, 2055, 480, 241]
    assert computed(blank_page, "save", script, [[[0, 100], [0, 50], [0, 9]]]) == [248, 148, 124, 74]
