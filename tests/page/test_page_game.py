"""The game: a word, twenty seconds, and a celebration when the model gets it."""

import re
from pathlib import Path
from typing import Any

from hands import Hands, Rows, answer, expect_phase, start_game
from PIL import Image
from playwright.sync_api import Page, expect

LINE: list[Rows] = [[[0, 30, 60, 100], [0, 40, 40, 100]]]


class Round:
    """A page in a round, with a clock that stands still and a server that sees what it is told to."""

    def __init__(self, hands: Hands, **options: Any) -> None:
        self.page = hands.open(has_clock=True, **options)
        self.page.evaluate("quickstroke.allReady")
        self._hands = hands
        self._sees = {"apple": 0.9}
        answer(self.page, lambda strokes: self._sees)
        self.classes = self.page.evaluate("quickstroke.model().classes")
        start_game(self.page)

    @property
    def word(self) -> str:
        word: str = self.page.evaluate("quickstroke.round().word")
        assert word in self.classes
        return word

    @property
    def other(self) -> str:
        return next(str(word) for word in self.classes if word != self.word)

    def sees(self, word: str, probability: float = 0.9) -> None:
        """From now on the model takes every drawing for this."""
        self._sees = {word: probability}

    def draw(self, sees: str, strokes: list[Rows] = LINE, probability: float = 0.9) -> None:
        """Draws, and lets the answer come; the clock stands still meanwhile but for the moments that this needs."""
        self.sees(sees, probability)
        self._hands.mouse(self.page, strokes)
        self.page.clock.run_for(30)
        self._hands.settle(self.page)
        expect(self.page.locator("#guesses li").first).to_have_text(f"{sees}{probability:.0%}")

    def win(self) -> None:
        self.draw(self.word)
        self.page.clock.run_for(700)
        self.expect_phase("won")

    def expect_phase(self, phase: str) -> None:
        expect_phase(self.page, phase)


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
    examples = page.locator("#examples-card")  # a slip of the hand there ends no game
    expect(examples).to_have_js_property("inert", True)
    game.draw(game.other)
    game.expect_phase("drawing")
    page.clock.fast_forward(5000)
    expect(page.get_by_role("timer")).to_have_text(re.compile("14|15"))
    game.win()
    expect(page.locator("#headline")).to_have_text(re.compile(f"^(A |An |The )?{word}!$", re.IGNORECASE))
    expect(page.locator("#subline")).to_have_text(re.compile(r"^Recognised after 5\.\d\ss\. 1 of 1 so far\.$"))
    expect(page.locator("#announcer")).to_contain_text("Recognised after 5.")
    # The drawing stays as it was when it was recognised.
    drawn = page.evaluate("quickstroke.strokes()")
    hands.mouse(page, LINE)
    page.keyboard.press("Control+z")
    page.locator("#pad").press("Space")
    page.locator("#pad").press("ArrowLeft")
    expect(page.locator("#announcer")).to_contain_text("Recognised after 5.")  # and no pen is said to be down
    assert page.evaluate("quickstroke.strokes()") == drawn
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()
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
    game.win()
    game.page.clock.run_for(200)
    assert pixels_of_sparks(game.page) == 0


def test_a_flash_of_the_word_does_not_win(hands: Hands) -> None:
    game = Round(hands)
    game.draw(game.word)
    game.draw(game.other)
    game.page.clock.fast_forward(2000)
    game.expect_phase("drawing")


def test_a_first_place_with_little_probability_does_not_win(hands: Hands) -> None:
    game = Round(hands)
    game.draw(game.word, probability=0.49)
    game.page.clock.fast_forward(2000)
    game.expect_phase("drawing")
    game.draw(game.word, probability=0.5)
    game.page.clock.run_for(700)
    game.expect_phase("won")


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
    expect(game.page.locator("#headline")).to_have_text(
        re.compile(f"^Time is up. The word was {word}.$", re.IGNORECASE)
    )
    expect(game.page.locator("#subline")).to_have_text(re.compile(f"^0 of 1 so far. I saw (a |an |the )?{other}.$"))
    # Nothing is won any more.
    game.sees(word)
    hands.mouse(game.page, LINE)
    game.page.clock.run_for(1000)
    game.expect_phase("over")


def test_skip_and_stop(hands: Hands) -> None:
    game = Round(hands)
    page, word = game.page, game.word
    game.draw(game.other)
    skip = page.get_by_role("button", name="Skip")
    expect(skip).to_have_class("quiet")
    skip.click()
    game.expect_phase("ready")
    expect(page.locator("#subline")).to_contain_text("Word 2 of 6")
    assert game.word != word
    assert page.evaluate("quickstroke.strokes()") == []
    page.get_by_role("button", name="Stop").click()
    game.expect_phase("idle")
    expect(page.locator("#headline")).to_have_text("Draw something")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "play"


def test_what_was_drawn_before_a_game_is_there_after_it(hands: Hands) -> None:
    page = hands.open(classes=["apple", "cat"])
    answer(page, lambda strokes: {"apple": 0.3, "cat": 0.3})
    for stroke in (LINE[0], [[20, 70], [90, 80]]):
        hands.mouse(page, [stroke])
    drawn = page.evaluate("quickstroke.strokes()")
    for rounds_end in (False, True):
        start_game(page)
        assert page.evaluate("quickstroke.strokes()") == []
        hands.mouse(page, [[[10, 50], [80, 20]]])
        expect_phase(page, "drawing")
        if rounds_end:
            page.get_by_role("button", name="Skip").click()
            page.get_by_role("button", name="Skip").click()
            page.get_by_role("dialog", name="0 of 2 recognised").press("Escape")
        else:
            page.get_by_role("button", name="Stop").click()
        expect_phase(page, "idle")
        assert page.evaluate("quickstroke.strokes()") == drawn
    page.keyboard.press("Control+z")
    assert page.evaluate("quickstroke.strokes()") == drawn[:1]  # its strokes are steps, as before


def test_a_double_click_skips_no_word(hands: Hands) -> None:
    game = Round(hands)
    game.win()
    game.page.locator("#play").dblclick()
    game.expect_phase("ready")
    expect(game.page.locator("#subline")).to_contain_text("Word 2 of 6")


def test_the_key_that_lifts_the_pen_does_not_go_on(hands: Hands) -> None:
    game = Round(hands)
    page, word = game.page, game.word
    game.sees(word)
    page.keyboard.press("Tab")
    pad = page.locator("#pad")
    pad.focus()
    for key in ("Space", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    page.clock.run_for(30)
    hands.settle(page)
    page.clock.run_for(700)
    game.expect_phase("won")
    page.keyboard.press("Space")
    game.expect_phase("won")
    expect(pad).to_be_focused()


def test_nothing_is_asked_of_a_paper_on_which_nobody_can_draw(hands: Hands) -> None:
    game = Round(hands)
    game.draw(game.other)
    game.page.keyboard.press("Control+z")
    expect(game.page.locator("#hint")).to_have_class("hint")
    game.page.clock.fast_forward(21_000)
    game.expect_phase("over")
    expect(game.page.locator("#hint")).to_have_class("hint is-gone")


def test_no_slip_of_the_hand_ends_a_round(hands: Hands) -> None:
    page = hands.open()
    page.evaluate("quickstroke.allReady")
    answer(page, lambda strokes: {"apple": 0.3, "cat": 0.3})
    hands.mouse(page, LINE)
    drawn = page.evaluate("quickstroke.strokes()")
    start_game(page)
    look_up = page.get_by_role("button", name="Look up a word")
    expect(look_up).to_be_disabled()
    assert float(look_up.evaluate("(button) => getComputedStyle(button).opacity")) < 0.5
    assert page.evaluate("document.getElementById('examples-card').inert")
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate("quickstroke.strokes()") == drawn
    expect(look_up).to_be_enabled()
    look_up.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("being drawn")).first.click()
    expect_phase(page, "idle")
    assert page.evaluate("quickstroke.strokes()") not in ([], drawn)
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate("quickstroke.strokes()") == drawn


def test_a_word_that_was_first_before_a_dialog_is_won_behind_it(hands: Hands) -> None:
    game = Round(hands)
    page = game.page
    game.draw(game.word)
    page.get_by_role("button", name="About the model").click()
    page.clock.run_for(5_000)
    game.expect_phase("drawing")
    page.keyboard.press("Escape")
    page.clock.run_for(1_000)
    game.expect_phase("won")


def test_a_dialog_does_not_start_the_clock_that_waits_for_the_server(hands: Hands) -> None:
    game = Round(hands)
    page = game.page
    page.route("**/recognize", lambda route: route.abort())
    hands.mouse(page, LINE)
    page.clock.run_for(300)
    expect(page.locator("#subline")).to_have_text(re.compile("The game waits"))
    seconds = page.locator("#clock-seconds").inner_text()
    page.get_by_role("button", name="About the model").click()
    page.clock.run_for(300)
    page.keyboard.press("Escape")
    page.clock.run_for(10_000)
    assert page.locator("#clock-seconds").inner_text() == seconds
    game.expect_phase("drawing")
    hands.forgive("Failed to load resource")


def test_the_clock_waits_behind_a_dialog(hands: Hands) -> None:
    game = Round(hands)
    page = game.page
    game.draw(game.other)
    seconds = page.locator("#clock-seconds")
    page.clock.run_for(2_000)
    page.get_by_role("button", name="About the model").click()
    page.clock.run_for(500)
    before = seconds.inner_text()
    assert int(before) in (17, 18)
    page.clock.run_for(30_000)
    assert seconds.inner_text() == before
    game.expect_phase("drawing")
    page.keyboard.press("Escape")
    page.clock.run_for(3_000)
    assert int(seconds.inner_text()) in (int(before) - 3, int(before) - 2)


def test_after_a_lost_round_one_can_be_watched(hands: Hands) -> None:
    game = Round(hands)
    page, word = game.page, game.word
    game.draw(game.other)
    drawn = page.evaluate("quickstroke.strokes()")
    watch = page.get_by_role("button", name="See how others draw")
    expect(watch).to_be_hidden()
    page.clock.fast_forward(21_000)
    game.expect_phase("over")
    watch.click()
    page.clock.run_for(300)
    shown = page.evaluate("quickstroke.strokes()")
    (first, *_), *_ = page.evaluate("(word) => quickstroke.people(word)[0]", word)
    assert len(shown) >= 1 and len(shown[0][0]) <= len(first)
    game.expect_phase("over")
    page.clock.fast_forward(12_000)
    assert page.evaluate("quickstroke.strokes()") == drawn


def test_the_clock_waits_for_the_server(hands: Hands) -> None:
    game = Round(hands)
    page = game.page
    game.draw(game.other)
    page.clock.fast_forward(5000)
    page.route("**/api/v1/recognize", lambda route: route.abort())
    hands.mouse(page, LINE)
    page.clock.run_for(60)
    expect(page.locator("#subline")).to_contain_text("The game waits")
    seconds = page.get_by_role("timer").inner_text()
    page.clock.fast_forward(60_000)
    expect(page.get_by_role("timer")).to_have_text(seconds)
    game.expect_phase("drawing")
    page.unroute("**/api/v1/recognize")
    answer(page, lambda strokes: {"apple": 0.9})
    while page.locator("#trouble").inner_text():
        page.clock.run_for(100)  # the page asks again from time to time
    page.clock.fast_forward(int(seconds) * 1000 + 1000)
    game.expect_phase("over")
    hands.forgive("Failed to load resource")
    hands.problems = [each for each in hands.problems if not each.startswith("request to")]


def test_six_rounds_end_in_a_gallery_and_a_score_that_stays(hands: Hands) -> None:
    game = Round(hands)
    page, words = game.page, []
    for i in range(6):
        words.append(game.word)
        if i == 1:
            page.get_by_role("button", name="Skip").click()
            continue
        game.win()
        page.get_by_role("button", name="Results" if i == 5 else "Next").click()
    assert len(set(words)) == 6
    gallery = page.get_by_role("dialog", name="5 of 6 recognised")
    expect(gallery).to_be_visible()
    tiles = gallery.get_by_role("list").first.get_by_role("button")
    assert tiles.evaluate_all("(all) => all.map((tile) => tile.ariaLabel)") == [
        f"{word}: {'skipped' if i == 1 else 'recognised'}" for i, word in enumerate(words)
    ]
    # First what was lost, and how others draw it.
    expect(gallery.locator("#detail-said")).to_contain_text("skipped. I saw nothing.")
    tiles.nth(3).click()
    expect(gallery.locator("#detail-said")).to_contain_text("recognised after 0.")
    others = gallery.locator("#others button")
    expect(others).to_have_count(len(page.evaluate("(word) => quickstroke.people(word)", words[3])))
    # They are drawn anew where they are, one at a time.
    paths = gallery.locator("#others path")
    drawn = "(all) => all.map((path) => path.getAttribute('d'))"
    whole = paths.evaluate_all(drawn)
    for k in range(2):
        others.nth(k).click()
        page.clock.run_for(300)
        now = paths.evaluate_all(drawn)
        assert len(now.pop(k)) < len(whole[k]) and now == [path for path in whole if path != whole[k]]
    page.clock.run_for(10_000)
    assert paths.evaluate_all(drawn) == whole
    with page.expect_download() as download:
        gallery.get_by_role("button", name="Share", exact=True).click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as download:
        gallery.get_by_role("button", name="Share as GIF").click()
    with Image.open(download.value.path()) as gif:
        assert gif.format == "GIF" and gif.size == (528, 442)
    gallery.get_by_role("button", name="Play again").click()
    game.expect_phase("ready")
    assert game.word not in words
    page.reload()
    page.evaluate("quickstroke.ready")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.locator("#records")).to_have_text("Best game: 5 recognised. Longest streak: 4.")


def test_enter_starts_the_game(hands: Hands) -> None:
    page = hands.open()
    page.evaluate("quickstroke.allReady")
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_label("All words").focus()
    page.keyboard.press("Enter")
    expect_phase(page, "ready")


def test_a_game_without_a_clock(hands: Hands) -> None:
    """It takes as long as it takes, and is no record; the next one is without a clock, too."""
    page = hands.open(has_clock=True, classes=["cat", "dog"])
    page.evaluate("quickstroke.allReady")
    answer(page, lambda strokes: {"dog": 0.4})  # too little for either word
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("checkbox", name="No clock").check()
    page.get_by_role("button", name="Start").click()
    expect_phase(page, "ready")
    expect(page.locator("#subline")).to_have_text("Word 1 of 2: take your time.")
    hands.mouse(page, LINE)
    page.clock.run_for(60_000)
    expect_phase(page, "drawing")
    expect(page.locator("#clock")).to_be_hidden()
    for _ in range(2):
        page.locator("#play").click(delay=10)
    expect(page.locator("#gallery-records")).to_have_text("")
    page.get_by_role("button", name="Play again").click()
    expect(page.locator("#subline")).to_have_text("Word 1 of 2: take your time.")
    page.reload()
    page.evaluate("quickstroke.ready")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("checkbox", name="No clock")).to_be_checked()


def test_another_model_of_the_server_is_told(hands: Hands) -> None:
    page = hands.open(classes=["cat", "sun", "The Eiffel Tower"])
    page.evaluate("quickstroke.allReady")
    start_game(page)
    model = {"name": "simple_lay1_sz16", "classes": ["cow", "dog"]}
    page.route("**/api/v1/model", lambda route: route.fulfill(json=model))
    answer(page, lambda strokes: {"cow": 0.9})
    hands.mouse(page, LINE)
    expect(page.get_by_role("alert")).to_have_text("The model was changed: the game is over.")
    expect_phase(page, "idle")
    examples = page.locator("#examples").get_by_role("button")
    expect(examples).to_have_count(2)
    expect(page.locator("#examples")).to_contain_text("cow")


def test_a_game_of_ones_own_words(hands: Hands) -> None:
    page = hands.open(classes=["cat", "The Eiffel Tower", "sun"])
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_label("My own words").check()
    start = page.get_by_role("button", name="Start")
    expect(start).to_be_disabled()
    page.get_by_label("Your words").fill("CAT, eiffel-tower; horsey")
    expect(page.locator("#own-facts")).to_have_text(
        "2 words. A game asks for six at most, each once. Unknown to this model: “horsey”."
    )
    start.click()
    expect_phase(page, "ready")
    asked = {page.evaluate("quickstroke.round().word")}
    page.get_by_role("button", name="Skip").click()
    asked.add(page.evaluate("quickstroke.round().word"))
    assert asked == {"cat", "The Eiffel Tower"}
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("dialog", name="0 of 2 recognised")).to_be_visible()


def test_sound_and_voice_are_switched_and_stay_so(hands: Hands) -> None:
    page = hands.open()
    sound, voice = page.get_by_role("button", name="Sound"), page.locator("#voice")
    expect(sound).to_have_attribute("aria-pressed", "true")
    expect(voice).to_have_attribute("aria-pressed", "false")
    sound.click()
    page.reload()
    expect(sound).to_have_attribute("aria-pressed", "false")


def test_guesses_are_spoken_for_those_who_want_them(hands: Hands) -> None:
    fake = """window.said = [];
      window.SpeechSynthesisUtterance = function (text) { this.text = text; };
      Object.defineProperty(window, "speechSynthesis", {
        value: { speak: ({ text }) => said.push(text), cancel: () => {} },
      });"""
    page = hands.open(has_clock=True, before=fake)
    answer(page, lambda strokes: {"sun": 0.9})
    for said in ([], ["", "Is it the sun?"]):  # iPads want the first word from the tap
        hands.mouse(page, LINE)
        hands.settle(page)
        page.clock.run_for(2000)
        assert page.evaluate("said") == said
        page.get_by_role("button", name="Say the guesses aloud").click()
        page.get_by_role("button", name="Clear").click()


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
