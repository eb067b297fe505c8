"""The page's canvas alone: which events draw, what is kept, taken back and done again, and where a drawing is shown."""

from typing import Any

import pytest
from hands import Rows
from playwright.sync_api import Page

# A pad of 300 by 200 pixels at (50, 40) of the window, and events of pointers on it; time is the browser's own.
PAD = """
const { Pad } = await import("/pad.js");
const canvas = document.createElement("canvas");
canvas.style = "position: fixed; left: 50px; top: 40px; width: 300px; height: 200px";
document.body.append(canvas);
const pad = new Pad(canvas);
while (pad.size.width !== 300) await new Promise(requestAnimationFrame);
const fire = (type, x, y, more) => canvas.dispatchEvent(
  new PointerEvent(type, { pointerId: 1, buttons: 1, clientX: 50 + x, clientY: 40 + y, cancelable: true, ...more }),
);
const draw = (...places) => {
  places.forEach(([x, y], i) => fire(i ? "pointermove" : "pointerdown", x, y));
  fire("pointerup", ...places.at(-1), { buttons: 0 });
};
const places = () => pad.strokes.map(([xs, ys]) => xs.map((x, i) => [x, ys[i]]));
"""


def of_pad(page: Page, script: str, given: Any = None) -> Any:
    return page.evaluate(f"async (given) => {{ {PAD} {script} }}", given)


def test_only_the_first_button_draws(blank_page: Page) -> None:
    script = """
      for (const button of [2, 1]) {
        fire("pointerdown", 10, 10, { button });
        fire("pointermove", 30, 30, { button: -1 });
        fire("pointerup", 30, 30, { button });
      }
      return pad.strokes;
    """
    assert of_pad(blank_page, script) == []


def test_near_points_are_left_out_but_not_where_the_pen_is_lifted(blank_page: Page) -> None:
    script = """
      draw([10, 10], [10.5, 10.5], [12, 10], [12.9, 10]);
      fire("pointerdown", 50, 50);
      fire("pointermove", 52, 50);
      fire("pointerup", 52.5, 50, { buttons: 0 });
      return places();
    """
    assert of_pad(blank_page, script) == [[[10, 10], [12, 10], [12.9, 10]], [[50, 50], [52, 50], [52.5, 50]]]


@pytest.mark.parametrize("end", ["pointerup", "pointercancel", "lostpointercapture", "pointermove"])
def test_a_pointer_that_is_gone_draws_no_more(blank_page: Page, end: str) -> None:
    """A `pointermove` without a button is what tells that its lifting was told to another window."""
    script = """
      fire("pointerdown", 10, 10);
      fire(given, 10, 10, { buttons: 0 });
      const { isDown } = pad;
      fire("pointermove", 30, 30);
      return [isDown, places()];
    """
    assert of_pad(blank_page, script, end) == [False, [[[10, 10]]]]


def test_a_pointer_that_goes_down_twice_begins_anew(blank_page: Page) -> None:
    """`isPrimary` is false of what `fire` sends: it is known by its number."""
    script = """
      fire("pointerdown", 10, 10);
      fire("pointermove", 20, 20);
      fire("pointerdown", 30, 30);
      fire("pointerup", 50, 50, { buttons: 0 });
      return places();
    """
    assert of_pad(blank_page, script) == [[[10, 10], [20, 20]], [[30, 30], [50, 50]]]


def test_times_grow_whatever_the_clock_says(blank_page: Page) -> None:
    """A stroke begins after the one before it, though an event may have an older time."""
    script = """
      pad.penDown(0, 0, 5000);
      pad.penMove(40, 0, 5100);
      pad.penMove(80, 0, 5050);
      pad.penUp();
      pad.penDown(0, 0, 5020);
      pad.penUp();
      return pad.strokes.map(([, , ts]) => ts);
    """
    assert of_pad(blank_page, script) == [[0, 100, 100], [101]]


def test_what_is_drawn_after_an_undo_takes_the_place_of_what_was_undone(blank_page: Page) -> None:
    script = """
      draw([10, 10], [20, 20]);
      draw([30, 30], [40, 40]);
      pad.undo();
      const could = pad.canRedo;
      draw([50, 50], [60, 60]);
      const can = pad.canRedo;
      pad.redo();
      pad.clear();
      pad.clear(); // nothing to be cleared, and no step
      pad.undo();
      return [could, can, places()];
    """
    drawn = [[[10, 10], [20, 20]], [[50, 50], [60, 60]]]
    assert of_pad(blank_page, script) == [True, False, drawn]


def test_nothing_leads_back_behind_a_reset_nor_while_the_pad_is_frozen(blank_page: Page) -> None:
    script = """
      const can = () => [pad.canUndo, pad.canRedo];
      draw([10, 10], [20, 20]);
      draw([30, 30], [40, 40]);
      pad.undo();
      fire("pointerdown", 70, 70);
      pad.undo(); // lifts it, and takes it away
      const both = can();
      pad.freeze();
      both.push(...can());
      pad.isFrozen = false;
      fire("pointerdown", 80, 80);
      pad.freeze();
      const frozen = [...can(), places().length];
      draw([50, 50], [60, 60]);
      frozen.push(places().length);
      pad.isFrozen = false;
      const free = can();
      pad.undo();
      pad.reset();
      return [both, frozen, free, can(), places()];
    """
    assert of_pad(blank_page, script) == [
        [True, True, False, False],
        [False, False, 2, 2],
        [True, False],
        [False, False],
        [],
    ]


def test_two_hundred_steps_can_be_taken_back(blank_page: Page) -> None:
    script = """
      for (let i = 0; i < 205; i++) draw([i, 10]);
      let n = 0;
      for (; pad.canUndo; n++) pad.undo();
      return [n, places().length];
    """
    assert of_pad(blank_page, script) == [200, 5]


def test_a_hand_that_gave_way_to_a_pen_is_no_step(blank_page: Page) -> None:
    script = """
      draw([10, 10], [20, 20]);
      fire("pointerdown", 90, 90, { pointerId: 2, pointerType: "touch" });
      fire("pointerdown", 30, 30, { pointerId: 3, pointerType: "pen" });
      fire("pointerdown", 95, 95, { pointerId: 4, pointerType: "touch", isPrimary: true });
      fire("pointerup", 30, 30, { pointerId: 3, pointerType: "pen", buttons: 0 });
      const drawn = places();
      pad.undo();
      const undone = places();
      pad.undo();
      return [drawn, undone, places()];
    """
    first, second = [[10, 10], [20, 20]], [[30, 30]]
    assert of_pad(blank_page, script) == [[first, second], [first], []]


@pytest.mark.parametrize(
    ("strokes", "corners"),
    [
        ([[[10, 290], [20, 180]]], [[10, 20], [290, 180]]),  # it has room where it is
        ([[[0, 600], [0, 0]]], [[25, 100], [275, 100]]),  # it is wider, and has a margin of a tenth of it
        ([[[-10, -10], [0, 100]]], [[150, 100 - 250 / 3], [150, 100 + 250 / 3]]),
    ],
)
def test_a_drawing_that_has_no_room_is_shown_whole(
    blank_page: Page, strokes: list[Rows], corners: list[list[float]]
) -> None:
    script = """
      pad.setStrokes(given);
      const [[xs, ys]] = given;
      return [0, 1].map((i) => pad.toCanvas(xs[i], ys[i])).map(({ x, y }) => [x, y]);
    """
    assert of_pad(blank_page, script, strokes) == [pytest.approx(corner) for corner in corners]


def test_a_drawing_grows_with_the_paper_and_a_new_one_has_all_of_it(blank_page: Page) -> None:
    script = """
      draw([30, 20], [60, 40]);
      canvas.style.width = "600px";
      canvas.style.height = "400px";
      while (pad.size.width !== 600) await new Promise(requestAnimationFrame);
      draw([100, 80]);
      const both = places();
      pad.reset();
      draw([500, 390]);
      return [both, places()];
    """
    assert of_pad(blank_page, script) == [[[[30, 20], [60, 40]], [[50, 40]]], [[[500, 390]]]]


def test_what_grows_is_told_from_what_is_another_drawing(blank_page: Page) -> None:
    """Answers about what only has grown since are still of use."""
    script = """
      const told = [];
      pad.addEventListener("ink", ({ detail: { hasGrown } }) => told.push(hasGrown));
      const tell = (work) => (told.splice(0), work(), told.splice(0).join());
      return [
        tell(() => draw([10, 10], [20, 20])),
        tell(() => pad.undo()),
        tell(() => pad.redo()),
        tell(() => pad.setStrokes([[[1, 9], [1, 9]]])),
        tell(() => pad.preview([])),
        tell(() => pad.preview([[[1], [1], [0]]])),
        tell(() => pad.preview(null)),
        tell(() => pad.clear()),
      ];
    """
    assert of_pad(blank_page, script) == [
        "true,true,true", "false", "false", "false", "false", "true", "false", "false",
    ]  # fmt: skip
