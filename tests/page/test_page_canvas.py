"""The npm package on a canvas of one's own: what is drawn, taken, refused and given back."""

import pytest
from pads import QUICK_STROKE, TWO_FRAMES, attached, by_word, draw, is_inked, refusal
from playwright.sync_api import Page

from quickstroke.export import compact


def test_a_canvas_of_ones_own(page: Page, model: compact.Compacted) -> None:
    page.evaluate("""async () => {
      const { attach } = await import("/cdn/element.js");
      const { load } = await import("/cdn/quickstroke.js");
      window.answers = [];
      const recognizer = await load("../../models/small.quickstroke");
      window.pad = attach(document.getElementById("own"), recognizer, {
        words: ["cat", "sun"],
        onGuess: (answer) => answers.push(answer),
      });
    }""")
    draw(page, "#own", [[20, 20], [150, 40], [90, 150]])
    draw(page, "#own", [[200, 50], [210, 60]])
    page.wait_for_function("answers.length && pad.strokes.length === 2")
    page.evaluate("pad.undo()")
    page.wait_for_function("pad.strokes.length === 1")
    page.evaluate("answers.length = 0; pad.undo()")
    page.wait_for_function("answers.length === 1")
    assert page.evaluate("answers") == [{"guesses": [], "unknown": None}]
    draw(page, "#own", [[20, 20], [150, 40], [90, 150]])
    page.wait_for_function("answers.length > 1 && answers.at(-1).guesses.length === 2")
    assert set(by_word(page.evaluate("answers.at(-1).guesses"))) == {"cat", "sun"}
    page.evaluate("pad.detach()")
    draw(page, "#own", [[20, 20], [150, 40]])
    assert page.evaluate("pad.strokes.length") == 1
    ink = "document.getElementById('own').getContext('2d').getImageData(80, 28, 8, 8).data.some((value) => value > 0)"
    page.wait_for_function(ink)


def test_a_canvas_of_another_shape_has_all_of_the_drawing_undistorted(page: Page) -> None:
    attached(page, "{ strokes: [[[40, 40], [290, 190]]] }")
    assert page.evaluate("pad.strokes") == [[[40, 40, 0], [290, 190, 0]]]
    page.evaluate("own.style.width = '150px'; own.style.height = '200px'")
    assert is_inked(page, "#own", 20, 20)
    assert page.evaluate("pad.strokes") == [[[20, 20, 0], [145, 95, 0]]]
    page.evaluate("own.style.width = own.style.height = ''; own.width = 600; own.height = 400")  # empties it
    assert is_inked(page, "#own", 80, 80)
    assert page.evaluate("pad.strokes") == [[[80, 80, 0], [580, 380, 0]]]


@pytest.mark.parametrize(
    "style",
    [
        "transform: scale(2); transform-origin: 0 0",
        "zoom: 1.5",
        "transform: scale(0.5, 0.8); border: 20px solid",
        "border: 5px solid; padding: 30px 10px 4px 50px",
    ],
)
def test_ink_is_where_the_pen_is_on_a_scaled_page(page: Page, style: str) -> None:
    page.evaluate("(style) => { own.style = style; }", f"position: fixed; left: 0; top: 0; {style}")
    attached(page)
    box = page.locator("#own").bounding_box()
    assert box is not None
    off_x, off_y = (20, 13) if "padding" in style else (0, 0)  # the middle of the picture is not that of the box
    page.mouse.move(box["x"] + box["width"] / 2 + off_x, box["y"] + box["height"] / 2 + off_y)
    page.mouse.down()
    page.mouse.up()
    assert page.evaluate("pad.strokes[0][0].slice(0, 2)") == pytest.approx([150, 100], abs=1)
    assert is_inked(page, "#own", 150, 100)


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ("null", "the drawing is null; expected a list of strokes"),
        ("[[]]", "strokes[0] has no point; expected at least one"),
        ("[[[1, 2]], 5]", "strokes[1] is 5; expected a list of points"),
        ("[[[1, 2], [1, NaN]]]", "strokes[0][1] is [1,null]; expected a point [x, y] or [x, y, t] of finite numbers"),
        ("[[[1, 2], ['1', 2]]]", 'strokes[0][1] is ["1",2]; expected a point'),
        ("[[[1, 2, 3, 4], [5, 6, 7, 8]]]", "columns [[x..], [y..]] have to be turned into points first"),
    ],
)
def test_what_is_no_drawing_is_not_taken(page: Page, strokes: str, message: str) -> None:
    attached(page, "{ strokes: [[[4, 5, 6]]] }")
    page.evaluate(f"{QUICK_STROKE}.strokes = [[[1, 2, 3]]]")
    for pad in ("pad", QUICK_STROKE):
        before = page.evaluate(f"{pad}.strokes")
        found = refusal(page, f"{pad}.strokes = {strokes}")
        assert found.startswith("StrokesError: ") and message in found
        assert page.evaluate(f"{pad}.strokes") == before and len(before) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("Promise.resolve(recognizer)", "the recogniser is a promise; write `await load(...)`"),
        ("undefined", "the recogniser is undefined; expected what `await load(...)` gives"),
        ("recognizer, { width: '4' }", 'width should be above 0, got "4"'),
        ("recognizer, { words: 'cat' }", 'words should be a list of words, got "cat"'),
        ("recognizer, { words: [5] }", "words should be a list of words, got [5]"),
        ("recognizer, { strokes: [[]] }", "strokes[0] has no point; expected at least one"),
        ("recognizer, null", "options should be an object, got null"),
        ("recognizer, { wodth: 4 }", 'there is no option "wodth"; expected top, words, width, strokes, onGuess'),
    ],
)
def test_what_cannot_be_attached_is_refused_at_once(page: Page, arguments: str, message: str) -> None:
    attached(page)
    page.evaluate("pad.detach()")
    found = refusal(page, f"(await import('/cdn/element.js')).attach(own, {arguments})")
    assert found.startswith((f"OptionError: {message}", f"StrokesError: {message}"))
    assert page.evaluate("own.style.cssText") == ""


def test_what_a_model_refuses_is_told_when_it_is_attached(page: Page) -> None:
    script = """async (inWorker) => {
      const { attach } = await import("/cdn/element.js");
      const { load, OptionError } = await import(inWorker ? "/cdn/worker.js" : "/cdn/quickstroke.js");
      const recognizer = await load("/models/small.quickstroke");
      const told = new Promise((onError) => {
        try {
          attach(own, recognizer, { words: ["moon"], onError });
        } catch (error) {
          onError(error);
        }
      });
      return told.then((error) => [error instanceof OptionError, error.message]);
    }"""
    for in_worker in (False, True):
        is_option, message = page.evaluate(script, in_worker)
        assert is_option
        assert message.startswith('the model does not know the word "moon"')


def test_a_pen_ends_its_stroke_where_the_canvas_is_taken_away(page: Page) -> None:
    attached(page, "{ onStroke: (strokes) => (window.ended = strokes.length) }")
    box = page.locator("#own").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 50)
    page.evaluate("window.canvas = own; own.remove()")
    page.wait_for_function("window.ended === 1")
    page.mouse.up()
    page.evaluate("document.body.append(canvas)")
    box = page.locator("#own").bounding_box()
    assert box is not None
    drawn = page.evaluate("pad.strokes")
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    assert page.evaluate("pad.strokes") == drawn
    draw(page, "#own", [[60, 60], [80, 80]])
    assert len(page.evaluate("pad.strokes")) == 2


def test_a_drawing_outlives_that_its_padded_canvas_is_hidden(page: Page) -> None:
    page.evaluate("own.style = 'padding: 10px; border: 2px solid'")
    attached(page)
    page.evaluate("own.style.display = 'none'")
    page.evaluate(TWO_FRAMES)
    page.evaluate("pad.strokes = [[[10, 10], [100, 100]]]")
    assert page.evaluate("pad.strokes") == [[[10, 10, 0], [100, 100, 0]]]
    page.evaluate("own.style.display = ''")
    page.evaluate(TWO_FRAMES)
    assert page.evaluate("pad.strokes") == [[[10, 10, 0], [100, 100, 0]]]


def test_a_canvas_is_given_back_as_it_was(page: Page) -> None:
    page.evaluate("own.style.touchAction = 'pan-y'")
    attached(page)
    assert page.evaluate("own.style.touchAction") == "none"
    page.evaluate("pad.detach()")
    assert page.evaluate("own.style.touchAction") == "pan-y"


def test_what_was_cleared_can_be_brought_back(page: Page) -> None:
    attached(page)
    for pad in ("pad", QUICK_STROKE):
        strokes = [[[10, 10, 0], [90, 90, 9]], [[5, 6, 7]]]
        page.evaluate(f"{pad}.strokes = {strokes}; {pad}.clear()")
        assert page.evaluate(f"{pad}.strokes") == []
        page.evaluate(f"{pad}.clear(); {pad}.undo()")
        assert page.evaluate(f"{pad}.strokes") == strokes
        page.evaluate(f"{pad}.undo()")
        assert page.evaluate(f"{pad}.strokes") == strokes[:1]
        page.evaluate(f"{pad}.clear(); {pad}.strokes = []; {pad}.undo()")  # a new drawing, of which nothing was cleared
        assert page.evaluate(f"{pad}.strokes") == []


def test_several_drawings_are_brought_back_in_the_size_that_the_canvas_has(page: Page) -> None:
    attached(page, "{ strokes: [[[40, 40], [290, 190]]] }")
    page.evaluate("pad.clear()")
    draw(page, "#own", [[20, 20], [60, 60]])
    page.evaluate("pad.clear(); own.style.width = '150px'; own.style.height = '100px'")
    page.evaluate(TWO_FRAMES)
    page.evaluate("pad.undo()")
    assert [point[:2] for point in page.evaluate("pad.strokes[0]")] == [pytest.approx([v, v], abs=1) for v in (10, 30)]
    page.evaluate("pad.undo(); pad.undo()")
    assert page.evaluate("pad.strokes") == [[[20, 20, 0], [145, 95, 0]]]


def pointer(page: Page, *events: tuple[str, int, str, int, int]) -> None:
    """Events of a program, by type, pointer, kind of pointer and place, on the page's own canvas."""
    page.evaluate(
        """(events) => {
          const canvas = document.getElementById("own");
          const { left, top } = canvas.getBoundingClientRect();
          for (const [type, pointerId, pointerType, x, y] of events) {
            const at = { clientX: left + x, clientY: top + y, bubbles: true };
            canvas.dispatchEvent(new PointerEvent(type, { ...at, pointerId, pointerType }));
          }
        }""",
        list(events),
    )


def test_a_pointer_that_a_program_made_draws_a_stroke_of_its_own(page: Page) -> None:
    attached(page, "{ strokes: [[[40, 40], [290, 190]]] }")
    pointer(
        page,
        ("pointerdown", 77, "mouse", 20, 20),
        ("pointermove", 77, "mouse", 30, 30),
        ("pointerup", 77, "mouse", 30, 30),
    )
    assert page.evaluate("pad.strokes.map(({ length }) => length)") == [2, 2]
    draw(page, "#own", [[100, 20], [120, 40]])
    assert page.evaluate("pad.strokes.length") == 3


def test_only_the_first_button_of_a_mouse_draws(page: Page) -> None:
    attached(page)
    box = page.locator("#own").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    for button in ("right", "middle"):
        page.mouse.down(button=button)  # type: ignore[arg-type]
        page.mouse.move(box["x"] + 80, box["y"] + 80)
        page.mouse.up(button=button)  # type: ignore[arg-type]
    assert page.evaluate("pad.strokes") == []


def test_every_coalesced_point_counts_and_a_cancelled_pointer_ends_its_stroke(page: Page) -> None:
    attached(page, "{ onStroke: (strokes) => (window.ended = strokes.length) }")
    pointer(page, ("pointerdown", 5, "touch", 20, 20))
    page.evaluate("""() => {
      const { left, top } = own.getBoundingClientRect();
      const event = ([x, y], more) =>
        new PointerEvent("pointermove", { pointerId: 5, clientX: left + x, clientY: top + y, ...more });
      const coalescedEvents = [[50, 60], [70.5, 60], [90, 65.25]].map((place) => event(place));
      own.dispatchEvent(event([90, 65.25], { coalescedEvents }));
    }""")
    pointer(page, ("pointercancel", 5, "touch", 95, 70), ("pointermove", 5, "touch", 99, 99))
    points = [point[:2] for point in page.evaluate("pad.strokes[0]")]
    assert points == [pytest.approx(point) for point in ([20, 20], [50, 60], [70.5, 60], [90, 65.25])]
    assert page.evaluate("ended") == 1


def test_a_pen_takes_over_from_the_hand_that_rests(page: Page) -> None:
    attached(page)
    pointer(page, ("pointerdown", 1, "touch", 200, 150), ("pointermove", 1, "touch", 205, 150))
    pointer(
        page, ("pointerdown", 2, "pen", 20, 20), ("pointerdown", 3, "touch", 90, 90), ("pointermove", 2, "pen", 40, 40)
    )
    pointer(
        page,
        ("pointermove", 1, "touch", 210, 150),
        ("pointerup", 1, "touch", 210, 150),
        ("pointerup", 2, "pen", 40, 40),
    )
    found = page.evaluate("pad.strokes.map((stroke) => stroke.map(([x, y]) => [Math.round(x), Math.round(y)]))")
    assert found == [[[20, 20], [40, 40]]]


def test_a_hand_that_comes_down_beside_the_pen_does_not_draw(page: Page) -> None:
    """Though it is the primary one of its kind, as no other finger is on the screen."""
    attached(page)
    page.evaluate("""() => {
      const fire = (type, pointerType, x) => own.dispatchEvent(
        new PointerEvent(type, { pointerId: x < 100 ? 2 : 3, pointerType, isPrimary: true, clientX: x, bubbles: true }),
      );
      const events = [["down", "pen", 20], ["down", "touch", 200], ["move", "touch", 210], ["move", "pen", 40]];
      for (const [type, kind, x] of events) {
        fire(`pointer${type}`, kind, x);
      }
    }""")
    assert page.evaluate("pad.strokes.map(({ length }) => length)") == [2]


def test_an_error_of_a_listener_is_the_pages_and_guesses_go_on(page: Page) -> None:
    page.evaluate(
        "window.mine = []; addEventListener('error', (event) => { mine.push(event.message); event.preventDefault(); })"
    )
    attached(
        page,
        """{
      onGuess: ({ guesses }) => {
        if (pad.strokes.length === 1) throw new Error("of a guess");
        window.guessed = guesses;
      },
      onError: () => { throw new Error("of an error"); },
    }""",
    )
    draw(page, "#own", [[20, 20], [150, 40]])
    page.wait_for_function("mine.length > 0")
    assert set(page.evaluate("mine")) == {"Uncaught Error: of a guess"}
    page.evaluate("window.kept = recognizer.predict; recognizer.predict = () => { throw new Error('no answer'); }; 0")
    draw(page, "#own", [[20, 60], [150, 80]])
    page.wait_for_function("mine.includes('Uncaught Error: of an error')")
    page.evaluate("recognizer.predict = kept; 0")
    draw(page, "#own", [[20, 90], [150, 99]])
    page.wait_for_function("window.guessed?.[0].word === 'cat'")


def test_cleared_drawings_are_kept_but_not_all(page: Page) -> None:
    attached(page)
    page.evaluate("for (let i = 0; i < 30; i++) { pad.strokes; pad.clear(); }")
    draw(page, "#own", [[20, 20], [150, 40]])
    kept = page.evaluate("""() => {
      const drawing = pad.strokes;
      for (let i = 0; i < 30; i++) { pad.clear(); pad.undo(); pad.clear(); pad.undo(); }
      pad.clear();
      pad.undo();
      return JSON.stringify(pad.strokes) === JSON.stringify(drawing);
    }""")
    assert kept
