"""The guesses keep up with the pen, and trouble passes."""

import re
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hands import A_WHILE_MS, Hands, Pages, Rows, answer
from playwright.sync_api import Error, Page, Route, expect

LINE: list[Rows] = [[[0, 30, 60, 100], [0, 40, 40, 100]]]


def test_a_late_answer_never_overwrites_a_newer_one(hands: Hands) -> None:
    page = hands.open()
    name = page.evaluate("fetch('api/v1/model').then((response) => response.json())")["name"]
    held: list[Route] = []

    def handle(route: Route) -> None:
        if not held:
            held.append(route)
        else:
            route.fulfill(json={"guesses": [{"word": "new", "probability": 0.9}], "model": name, "ms": 1})

    page.route("**/api/v1/recognize", handle)
    hands.mouse(page, LINE)
    expect(page.locator("#guesses li").first).to_have_text("new90%")
    with suppress(Error):  # the page gave the question up
        held[0].fulfill(json={"guesses": [{"word": "old", "probability": 0.8}], "model": name, "ms": 1})
    page.evaluate("fetch('api/v1/healthz').then((response) => response.text())")  # later than the old answer
    expect(page.locator("#guesses li").first).to_have_text("new90%")
    assert page.evaluate("quickstroke.guesses()") == [{"word": "new", "probability": 0.9}]


def test_an_answer_about_what_was_cleared_is_not_shown(hands: Hands) -> None:
    page = hands.open()
    held: list[Route] = []
    page.route("**/api/v1/recognize", lambda route: held.append(route))
    with page.expect_request("**/api/v1/recognize"):
        hands.mouse(page, LINE)
    while not held:
        page.evaluate("0")  # lets the question reach the route
    page.get_by_role("button", name="Clear").click()
    for route in held:
        with suppress(Error):
            route.fulfill(json={"guesses": [{"word": "old", "probability": 0.8}], "model": "any", "ms": 1})
    page.evaluate("fetch('api/v1/healthz').then((response) => response.text())")  # later than the old answer
    expect(page.locator("#headline")).to_have_text("Draw something")
    assert page.evaluate("quickstroke.guesses()") == []


# A guesser with a recognizer that the test answers: `asked` holds the questions, `shown` the answers.
GUESSER = """
const { Guesser, RecognizerError } = await import("/guesser.js");
const asked = [], shown = [], troubles = [];
let version = 0;
const recognizer = {
  nAtOnce: 3,
  recognize: (strokes) => new Promise((resolve, reject) => asked.push({ strokes, resolve, reject })),
};
const guesser = new Guesser(
  recognizer, () => [version], (answer) => shown.push(answer.guesses), (message) => troubles.push(message),
);
const grow = () => { version += 1; guesser.changed(); };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const reply = async (i) => { asked[i].resolve({ guesses: asked[i].strokes, model: "any" }); await sleep(0); };
"""


def simulated(page: Page, script: str) -> Any:
    """What a script about a guesser comes to, in a time that passes for it alone."""
    page.clock.pause_at(A_WHILE_MS)
    # The modules are there before the time begins.
    page.evaluate(f"async () => {{ {GUESSER} window.ending = (async () => {{ {script} }})(); }}")
    page.clock.run_for(5000)
    return page.evaluate("ending")


def test_answers_out_of_order(still_page: Page) -> None:
    """Even from a recognizer that does not give up what it is told to."""
    script = """
      for (let i = 0; i < 5; i++) { grow(); await sleep(40); }
      const questions = asked.map(({ strokes }) => strokes[0]);
      await reply(1);
      await reply(0);
      await sleep(40);
      await reply(3);
      await guesser.settled();
      await reply(2);
      return [questions, asked.map(({ strokes }) => strokes[0]), shown];
    """
    questions, all_questions, shown = simulated(still_page, script)
    assert questions == [1, 2, 3]
    assert all_questions == [1, 2, 3, 5]
    assert shown == [[2], [5]]


def test_an_answer_about_another_drawing(still_page: Page) -> None:
    script = """
      grow();
      await sleep(40);
      version = 7;
      guesser.replaced();
      await sleep(40);
      await reply(0);
      const early = [...shown];
      await reply(1);
      return [early, shown];
    """
    assert simulated(still_page, script) == [[], [[7]]]


def test_over_a_slow_line_guesses_come_20_times_a_second(still_page: Page) -> None:
    """Simulated: the pen moves every 8 ms for two seconds, and each answer takes 100 ms."""
    still_page.clock.pause_at(A_WHILE_MS)
    still_page.evaluate(f"""async () => {{
      {GUESSER}
      recognizer.recognize = (strokes) =>
        new Promise((resolve) => setTimeout(() => resolve({{ guesses: strokes }}), 100));
      let pens = 0;
      const pen = setInterval(() => {{ grow(); if (++pens === 250) clearInterval(pen); }}, 8);
      window.result = () => ({{ shown: shown.flat(), version }});
    }}""")
    still_page.clock.run_for(2000)
    result = still_page.evaluate("result()")
    assert len(result["shown"]) >= 2 * 20
    assert result["shown"] == sorted(set(result["shown"]))
    # What is shown is as old as an answer takes, and not older: nothing piles up.
    assert result["version"] - result["shown"][-1] <= (100 + 100 / 3) / 8 + 2
    still_page.clock.run_for(200)
    assert still_page.evaluate("result()")["shown"][-1] == 250


def test_the_same_version_is_asked_again_after_trouble(still_page: Page) -> None:
    script = """
      grow();
      asked[0].reject(new RecognizerError("away", true));
      await sleep(20);
      const before = asked.length;
      await sleep(700);
      const after = asked.map(({ strokes }) => strokes[0]);
      await reply(1);
      await guesser.settled();
      return { before, after, shown, troubles };
    """
    result = simulated(still_page, script)
    assert result == {"before": 1, "after": [1, 1], "shown": [[1]], "troubles": ["away", None]}


def test_after_trouble_it_is_asked_again_less_and_less_often(still_page: Page) -> None:
    """Doubling from half a second to four, and from half a second again once there was an answer."""
    still_page.clock.pause_at(A_WHILE_MS)
    still_page.evaluate(f"""async () => {{
      {GUESSER}
      window.times = [];
      window.isAway = true;
      recognizer.recognize = async (strokes) => {{
        times.push(Math.round(performance.now()));
        if (isAway) throw new RecognizerError("away", true);
        return {{ guesses: strokes }};
      }};
      window.grow = grow;
      grow();
    }}""")
    still_page.clock.run_for(14_000)
    times = still_page.evaluate("times.splice(0)")
    assert [later - earlier for earlier, later in pairwise(times)] == [500, 1000, 2000, 4000, 4000]
    still_page.evaluate("isAway = false; 0")
    still_page.clock.run_for(4_000)
    still_page.evaluate("isAway = true; times.splice(0); grow()")
    still_page.clock.run_for(1_000)
    first, second = still_page.evaluate("times")
    assert second - first == 500


def test_trouble_is_told_and_passes(hands: Hands) -> None:
    page = hands.open()
    page.route("**/api/v1/recognize", lambda route: route.abort())
    hands.mouse(page, LINE)
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Trying again; your drawing stays.")
    expect(page.locator("#guesses")).to_have_class("guesses is-stale")
    page.unroute("**/api/v1/recognize")
    expect(page.get_by_role("alert")).to_have_text("")
    assert len(page.evaluate("quickstroke.settled().then(() => quickstroke.guesses())")) == 5
    hands.forgive("Failed to load resource: net::ERR_FAILED")


def test_a_browser_of_2022_is_answered(hands: Hands) -> None:
    """It has neither AbortSignal.any nor AbortSignal.timeout."""
    page = hands.open(before="delete AbortSignal.any; delete AbortSignal.timeout;")
    hands.mouse(page, LINE)
    expect(page.locator("#guesses .value").first).to_contain_text("%")


def test_a_server_that_is_silent_is_not_waited_for(hands: Hands) -> None:
    soon = "const wait = setTimeout; window.setTimeout = (work, ms) => wait(work, ms === 10_000 ? 50 : ms);"
    page = hands.open(before=soon)
    held: list[Route] = []
    page.route("**/api/v1/recognize", lambda route: held.append(route))
    hands.mouse(page, LINE)
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Trying again; your drawing stays.")
    page.unroute("**/api/v1/recognize")
    for route in held:
        with suppress(Error):  # the page gave the question up
            route.abort()


def test_a_missing_token_is_told_and_taken_from_the_address(hands: Hands) -> None:
    page = hands.open()
    body = {"guesses": [{"word": "cup", "probability": 1}], "model": page.evaluate("quickstroke.model().name")}

    def handle(route: Route) -> None:
        knows = route.request.headers.get("authorization") == "Bearer a+b/c&d=="
        route.fulfill(status=200 if knows else 401, json=body if knows else {"error": {"message": "no"}})

    page.route("**/api/v1/recognize", handle)
    hands.mouse(page, LINE)
    expect(page.get_by_role("alert")).to_contain_text("add #token=… to the address")
    page.evaluate("location.hash = '#token=wrong'")
    expect(page.get_by_role("alert")).to_contain_text("This server does not know the token in the address of this page")
    page.evaluate("location.hash = '#token=a+b/c&d=='")
    expect(page.locator("#guesses .word").first).to_have_text("cup")
    expect(page.get_by_role("alert")).to_have_text("")
    hands.forgive("Failed to load resource: the server responded with a status of 401")


def test_what_the_server_refuses_is_told(hands: Hands) -> None:
    page = hands.open()
    page.evaluate("quickstroke.setStrokes(Array.from({ length: 501 }, (_, i) => [[i, i], [0, 9]]))")
    page.evaluate("quickstroke.settled()")
    expect(page.get_by_role("alert")).to_contain_text("The server refused this drawing: ")
    expect(page.get_by_role("alert")).to_contain_text("at most 500")
    assert page.evaluate("quickstroke.guesses()") == []
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("alert")).to_have_text("")
    hands.forgive("Failed to load resource: the server responded with a status of 422")


def test_what_may_pass_is_asked_again_and_what_may_not_is_refused(hands: Hands) -> None:
    page = hands.open()
    status = 408
    page.route("**/api/v1/recognize", lambda route: route.fulfill(status=status, body="no JSON"))
    told = page.get_by_role("alert")
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", LINE)
    for status in (408, 429, 500, 503):
        again = "Trying again; your drawing stays."
        expect(told).to_have_text(f"The server cannot guess right now: it answered with status {status}. {again}")
    for status in (413, 404):
        page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", LINE)
        page.evaluate("quickstroke.settled()")
        expect(told).to_have_text(f"The server refused this drawing: it answered with status {status}.")
    for status in (408, 429, 500, 503, 413, 404):
        hands.forgive(f"Failed to load resource: the server responded with a status of {status}")


def test_another_model_behind_the_same_address_is_noticed(hands: Hands) -> None:
    page = hands.open()
    page.route("**/api/v1/model", lambda route: route.fulfill(json={"name": "another", "classes": ["cup", "sun"]}))
    page.route(
        "**/api/v1/recognize",
        lambda route: route.fulfill(json={"guesses": [{"word": "cup", "probability": 1}], "model": "another"}),
    )
    hands.mouse(page, LINE)
    expect(page.locator("#model")).to_have_text("Your model · 2 words")


def test_questions_hold_the_strokes_without_their_times(hands: Hands) -> None:
    page = hands.open()
    asked = answer(page, lambda strokes: {"sun": 1.0})
    hands.mouse(page, LINE)
    page.evaluate("quickstroke.settled()")
    assert asked[-1] == [rows[:2] for rows in page.evaluate("quickstroke.strokes()")]


def test_the_page_says_where_it_does_not_know(hands: Hands) -> None:
    page = hands.open()
    name = page.evaluate("fetch('api/v1/model').then((response) => response.json())")["name"]
    body: dict[str, Any] = {"guesses": [{"word": "cup", "probability": 0.9}], "model": name}
    page.route("**/api/v1/recognize", lambda route: route.fulfill(json=body))
    for unknown, headline, subline in (
        (None, "I see a cup.", "Quite sure."),
        (0.1, "I see a cup.", "Quite sure."),
        (0.3, "A cup?", "It could be."),
        (0.7, "I don’t know this one.", "It looks a little like a cup."),
    ):
        body["unknown"] = unknown
        hands.mouse(page, LINE)
        expect(page.locator("#headline")).to_have_text(headline)
        expect(page.locator("#subline")).to_have_text(subline)
        page.keyboard.press("Escape")
        expect(page.locator("#headline")).to_have_text("Draw something")


@pytest.mark.parametrize(
    ("probability", "unknown", "headline"),
    [
        (0.76, None, "I see a cup."),
        (0.75, None, "A cup?"),
        (0.96, 0.2, "I see a cup."),
        (0.93, 0.2, "A cup?"),
        (0.4, 0.0, "A cup?"),
        (0.39, 0.0, "Maybe a cup …"),
        (0.9, 0.5, "A cup?"),
        (0.9, 0.51, "I don’t know this one."),
    ],
)
def test_how_sure_a_guess_is_called(
    blank_page: Page, static: Path, probability: float, unknown: float | None, headline: str
) -> None:
    blank_page.set_content(re.sub(r"<script.*?</script>", "", (static / "index.html").read_text()))
    found = blank_page.evaluate(
        """async ([probability, unknown]) => {
          const { sentences } = await import("/strip.js");
          return sentences({ phase: "idle", seen: [], tookMs: 0, first: { word: "cup", probability }, unknown });
        }""",
        [probability, unknown],
    )
    assert found[0] == headline


def test_the_first_guess_is_read_aloud_once_until_there_is_another_drawing(hands: Hands) -> None:
    page = hands.open(has_clock=True)
    unknown = 0.1
    name = page.evaluate("quickstroke.model().name")
    guesses = [{"word": "sun", "probability": 0.9}]
    page.route(
        "**/api/v1/recognize",
        lambda route: route.fulfill(json={"guesses": guesses, "unknown": unknown, "model": name}),
    )
    said = page.locator("#announcer")

    def rest() -> None:
        hands.mouse(page, LINE)
        hands.settle(page)
        page.clock.fast_forward(2000)

    rest()
    expect(said).to_have_text("First guess: the sun, 90%.")
    said.evaluate("(element) => { element.textContent = 'nothing new'; }")
    rest()
    expect(said).to_have_text("nothing new")
    page.keyboard.press("Delete")
    expect(said).to_have_text("Empty drawing.")
    hands.settle(page)
    rest()
    expect(said).to_have_text("First guess: the sun, 90%.")
    unknown = 0.9
    rest()
    expect(said).to_have_text("I don’t know this one. First guess: the sun, 90%.")


def test_drawing_does_not_hide_that_the_model_does_not_come(hands: Hands, pages: Pages, served: str) -> None:
    with pages.lent() as page:
        page.route(
            "**/api/v1/model", lambda route: route.fulfill(status=503, json={"error": {"message": "it is down"}})
        )
        page.goto(served)
        told = "The server cannot guess right now: it is down. Trying again; your drawing stays."
        expect(page.get_by_role("alert")).to_have_text(told)
        for needs_it in ("#play", "#open-words", "#open-about"):
            expect(page.locator(needs_it)).to_be_disabled()
        hands.mouse(page, LINE)
        assert page.get_by_role("alert").text_content() == told
