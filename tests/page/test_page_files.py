"""What comes out of the page and what it brings along: saved files, replays, examples."""

import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hands import Hands, Rows, answer, start_game, strokes_of
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from playwright.sync_api import Page, Route, expect

from quickstroke.drawings.categories import CATEGORIES
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.formats import ndjson, read_file
from quickstroke.formats.pictures import trace
from quickstroke.inference.recognizer import Recognizer

TRIANGLE: list[Rows] = [[[10, 60, 120, 190, 200], [10, 11, 12, 11, 190]], [[198, 150, 100, 10], [190, 150, 100, 10]]]


def png_of(greys: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(greys).save(file, "png")
    return file.getvalue()


def saved(page: Page, form: str, folder: Path, word: str | None = None) -> Path:
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="Save the drawing")
    if word is not None:
        dialog.get_by_label("What it shows").fill(word)
    with page.expect_download() as download:
        dialog.get_by_role("button", name=form).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    expect(dialog).to_be_hidden()
    return path


def saved_drawing(path: Path) -> Drawing:
    (drawing,) = ndjson.read(path)
    # Written as our own writer would.
    assert json.loads(path.read_text()) == json.loads(ndjson.format_line(drawing))
    assert path.read_text().endswith("}\n")
    return drawing


def test_saved_as_official_ndjson(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    answer(page, lambda strokes: {"sun": 0.9})
    hands.mouse(page, TRIANGLE)
    expect(page.locator("#guesses li").first).to_have_text("sun90%")
    path = saved(page, "Data", tmp_path)
    assert path.name == "sun.ndjson"
    drawing = saved_drawing(path)
    assert (drawing.word, drawing.recognized, drawing.countrycode) == ("sun", True, "ZZ")
    assert drawing.key_id >= 1 << 63 and drawing.timestamp_us > 1.7e15
    raw = [np.array(rows[:2]).T for rows in strokes_of(page)]
    assert [stroke.tolist() for stroke in drawing.strokes] == [stroke.tolist() for stroke in simplify(raw)]
    # Another word, and another key each time.
    other = saved_drawing(saved(page, "Data", tmp_path, word="ice cream"))
    assert (other.word, other.recognized) == ("ice cream", False)
    assert other.key_id != drawing.key_id
    assert saved(page, "Data", tmp_path, word="Crème brûlée?").name == "Creme-brulee.ndjson"


def test_any_word_makes_a_file(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", TRIANGLE)
    for word, name in (
        ("", "drawing"),
        ("The Eiffel Tower", "The-Eiffel-Tower"),
        ('a/b\\"<é> ', "a-b-e"),
        ("蛇", "蛇"),
    ):
        path = saved(page, "Data", tmp_path, word=word)
        assert path.name == f"{name}.ndjson"
        assert saved_drawing(path).word == word.strip()
        title = ElementTree.parse(saved(page, "Vector", tmp_path, word=word)).find("{http://www.w3.org/2000/svg}title")
        assert (title.text if title is not None else "") == word.strip()


def test_saved_as_svg(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    hands.mouse(page, [*TRIANGLE, [[100], [100]]])
    path = saved(page, "Vector", tmp_path, word="tent")
    assert path.name == "tent.svg"
    root = ElementTree.parse(path).getroot()
    paths = root.findall(".//{http://www.w3.org/2000/svg}path")
    assert len(paths) == 3
    left, top, width, height = (float(value) for value in root.attrib["viewBox"].split())
    for element, (xs, ys, *_) in zip(paths, strokes_of(page), strict=True):
        numbers = [float(value) for value in re.findall(r"-?[\d.]+", element.attrib["d"])]
        assert numbers[:2] == [xs[0], ys[0]]
        assert numbers[-2:] == pytest.approx([xs[-1], ys[-1]], abs=0.02)
        assert all(left < x < left + width for x in xs) and all(top < y < top + height for y in ys)


def test_a_dialog_that_is_left_saves_nothing(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    drawn = strokes_of(page)
    downloads: list[Any] = []
    page.on("download", lambda download: downloads.append(download))
    for leave in ("Escape", "Cancel"):
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        if leave == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
    assert downloads == []
    assert strokes_of(page) == drawn


def test_a_replay_shows_the_strokes_as_they_came(hands: Hands) -> None:
    page = hands.open(has_clock=True)
    answer(page, lambda strokes: {"sun": 0.9})
    strokes = [[[0, 50, 90], [0, 50, 90], [0, 500, 1000]], [[90, 40], [20, 60], [9000, 9500]]]
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", strokes)
    page.get_by_role("button", name="Replay").click()
    counts = []
    for _ in range(12):
        page.clock.run_for(200)
        counts.append([len(rows[0]) for rows in strokes_of(page)])
    # The pause of eight seconds is cut to a third of one.
    assert counts[0] == [1] and counts[2] == [2]
    assert [3] in counts and [3, 1] in counts
    assert counts[-1] == [3, 2]
    expect(page.get_by_role("button", name="Replay")).to_be_visible()
    assert strokes_of(page) == strokes


def test_a_replay_can_be_stopped_and_drawn_into(hands: Hands) -> None:
    page = hands.open(has_clock=True)
    answer(page, lambda strokes: {"sun": 0.9})
    strokes = [[[0, 50, 90], [0, 50, 90], [0, 500, 1000]]]
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", strokes)
    for stop in ("Stop", "Escape"):
        page.get_by_role("button", name="Replay").click()
        page.clock.run_for(100)
        assert [len(rows[0]) for rows in strokes_of(page)] == [1]
        if stop == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Stop").click()
        assert strokes_of(page) == strokes
    page.get_by_role("button", name="Replay").click()
    page.clock.run_for(100)
    hands.mouse(page, [[[5, 9], [5, 9]]])
    assert [len(rows[0]) for rows in strokes_of(page)] == [3, 2]


def test_examples_draw_themselves_stroke_by_stroke(hands: Hands) -> None:
    page = hands.open(has_clock=True)
    answer(page, lambda strokes: {"star": 0.9} if len(strokes) > 1 else {"sun": 0.8})
    button = page.get_by_role("region", name="Watch people draw").get_by_role("button").first
    button.focus()
    word = button.inner_text()
    examples = page.evaluate("(word) => quickstroke.people(word)", word)
    page.keyboard.press("Enter")
    n_points = [0]
    while page.locator("#replay-label").inner_text() == "Stop" or n_points == [0]:
        page.clock.run_for(250)
        n_points.append(sum(len(rows[0]) for rows in strokes_of(page)))
        assert len(n_points) < 60
    hands.settle(page)
    assert n_points == sorted(n_points) and len(set(n_points)) > 3
    shown = strokes_of(page)
    assert [len(rows[0]) for rows in shown] == [len(rows[0]) for rows in examples[0]]
    # Scaled alike in x and y, in the middle of the canvas.
    shown_x, example_x = (np.concatenate([rows[0] for rows in each]) for each in (shown, examples[0]))
    shown_y, example_y = (np.concatenate([rows[1] for rows in each]) for each in (shown, examples[0]))
    assert np.ptp(shown_x) / np.ptp(example_x) == pytest.approx(np.ptp(shown_y) / np.ptp(example_y), rel=0.01)
    width = page.locator("#pad").evaluate("(pad) => pad.clientWidth")
    assert (shown_x.min() + shown_x.max()) / 2 == pytest.approx(width / 2, abs=1)
    # The next time it is another one, and undo brings back what was there.
    button.click()
    page.clock.fast_forward(10_000)
    assert [len(rows[0]) for rows in strokes_of(page)] == [len(rows[0]) for rows in examples[1]]
    page.keyboard.press("Control+z")
    assert strokes_of(page) == shown
    page.keyboard.press("Control+y")
    assert strokes_of(page) != shown


def test_the_drawings_by_people_are_official_and_credited(static: Path, tmp_path: Path) -> None:
    head, records = (static / "people.bin").read_bytes().split(b"\n", 1)
    assert (static / "people.bin").stat().st_size <= 300_000
    header = json.loads(head)
    assert header["licence"] == "CC BY 4.0" and "Google" in header["source"]
    assert set(header["words"]) == set(CATEGORIES)
    (tmp_path / "all.bin").write_bytes(records)
    drawings = list(read_file(tmp_path / "all.bin"))
    assert len(drawings) == sum(n for n, _ in header["words"].values()) >= 3 * len(CATEGORIES)
    assert all(drawing.recognized for drawing in drawings)
    assert len({drawing.key_id for drawing in drawings}) > 0.99 * len(drawings)
    assert all(0 <= percent <= 100 for _, percent in header["words"].values())


def test_the_page_reads_them_as_python_does(hands: Hands, static: Path, tmp_path: Path) -> None:
    head, records = (static / "people.bin").read_bytes().split(b"\n", 1)
    (tmp_path / "all.bin").write_bytes(records)
    drawings = iter(read_file(tmp_path / "all.bin"))
    page = hands.open()
    page.evaluate("quickstroke.allReady")
    words = [*json.loads(head)["words"]][:40]
    found = page.evaluate("(words) => words.map((word) => quickstroke.people(word))", words)
    assert len(found) == 40
    for of_word in found:
        for shown in of_word:
            expected = next(drawings).strokes
            times = [t for rows in shown for t in rows[2]]
            assert times == sorted(times) and times[0] == 0
            assert len(shown) == len(expected)
            for (xs, ys, _), stroke in zip(shown, expected, strict=True):
                # The points of the file, with others on the lines between them.
                assert [[xs[0], ys[0]], [xs[-1], ys[-1]]] == [stroke[0].tolist(), stroke[-1].tolist()]
                assert {tuple(point) for point in stroke.tolist()} <= set(zip(xs, ys, strict=True))


def test_the_list_of_words_is_left_without_passing_each_by_key(hands: Hands) -> None:
    page = hands.open()
    page.evaluate("quickstroke.allReady")
    page.get_by_role("button", name="Look up a word").press("Enter")
    page.keyboard.press("Tab")
    close = page.get_by_role("button", name="Close")
    expect(close).to_be_focused()
    words, box = page.locator("#lookup-words").bounding_box(), close.bounding_box()
    assert words is not None and box is not None and box["y"] >= words["y"] + words["height"]  # and stands below them


def test_what_saving_keeps_is_told(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, [[[0, 100], [0, 0]]])
    page.get_by_role("button", name="Save").click()
    told = "Only Data can be opened here again. It has the official files’ form: simplified, 2 points from 0 "
    expect(page.locator("#save-facts")).to_have_text(f"{told}to 255.")


def test_a_word_is_looked_up_and_watched(hands: Hands) -> None:
    page = hands.open(has_clock=True, classes=["cat", "cow", "coffee cup", "gizmo", "sun", "crème brûlée"])
    answer(page, lambda strokes: {"cow": 0.9})
    page.evaluate("quickstroke.allReady")
    page.get_by_role("button", name="Look up a word").click()
    dialog = page.get_by_role("dialog", name="Look up a word")
    items = dialog.get_by_role("listitem")
    expect(items).to_have_text(["cat", "coffee cup", "cow", "crème brûlée", "gizmo", "sun"])
    expect(dialog.get_by_text("gizmo")).to_be_visible()  # nobody has drawn it, and it is known all the same
    expect(dialog.get_by_role("button", name="gizmo")).to_have_count(0)
    dialog.get_by_label("Word", exact=True).fill("co")
    expect(items).to_have_text(["coffee cup", "cow"])
    for typed in ("coffeecup", "Coffee-Cup", "ｃｏｆｆｅｅ_cup"):
        dialog.get_by_label("Word", exact=True).fill(typed)
        expect(items).to_have_text(["coffee cup"])
    for typed in ("creme b", "Crème", "brûlée"):
        dialog.get_by_label("Word", exact=True).fill(typed)
        expect(items).to_have_text(["crème brûlée"])
    dialog.get_by_label("Word", exact=True).fill("unicorn")
    expect(dialog.get_by_role("status")).to_contain_text("does not know “unicorn”")
    dialog.get_by_label("Word", exact=True).fill("cow")
    dialog.get_by_role("button", name="Watch a cow being drawn").click()
    expect(dialog).to_be_hidden()
    page.clock.fast_forward(10_000)
    shown, (drawing, *_) = strokes_of(page), page.evaluate("quickstroke.people('cow')")
    assert [len(rows[0]) for rows in shown] == [len(rows[0]) for rows in drawing]


def test_saved_as_png(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    path = saved(page, "Image", tmp_path, word="tent")
    assert path.name == "tent.png" and path.read_bytes().startswith(b"\x89PNG")
    width, height = (int.from_bytes(path.read_bytes()[at : at + 4], "big") for at in (16, 20))
    xs, ys = ([v for rows in strokes_of(page) for v in rows[axis]] for axis in (0, 1))
    assert (width, height) == pytest.approx((2 * (np.ptp(xs) + 24), 2 * (np.ptp(ys) + 24)), abs=1)


def test_saved_as_it_was_drawn(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    first, second = [[100, 300], [100, 100], [0, 400]], [[100, 300, 300], [300, 300, 200], [600, 900, 1000]]
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", [first, second])
    path = saved(page, "Animation", tmp_path, word="tent")
    assert path.name == "tent.gif"
    with Image.open(path) as gif:
        frames = [np.array(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0 and gif.info["duration"] == 2000  # of the last one
    assert 10 < len(frames) < 30 and frames[0].shape == (224, 224)
    ink = [frame < 128 for frame in frames]
    counts = [int(each.sum()) for each in ink]
    assert counts == sorted(counts)
    # A margin of 12 pixels is around the box from (100, 100) to (300, 300).
    assert ink[-1][12, 20] and ink[-1][12, 200] and ink[-1][212, 20] and ink[-1][130, 212]
    assert ink[0][12, 12] and not ink[0][12, 20] and not ink[0][212].any()
    assert saved(page, "Image", tmp_path).stat().st_size > 0  # what was shared is still there


def test_a_picture_is_read(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", TRIANGLE)
    path = saved(page, "Image", tmp_path)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Read a picture")).to_be_visible()
    page.locator("#picture-file").set_input_files(path)
    expect(page.get_by_role("application", name=re.compile("Drawing with . stroke"))).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text("")
    expected, read = trace(path).strokes, strokes_of(page)
    assert [len(rows[0]) for rows in read] == [len(stroke) for stroke in expected]
    assert len(page.evaluate("quickstroke.settled().then(() => quickstroke.guesses())")) == 5
    (tmp_path / "white.png").write_bytes(png_of(np.full((40, 40), 255, np.uint8)))
    page.locator("#picture-file").set_input_files(tmp_path / "white.png")
    expect(page.get_by_role("alert")).to_contain_text("The server refused this picture: the picture has no ink")
    assert strokes_of(page) == read
    hands.forgive("Failed to load resource: the server responded with a status of 422")
    page.locator("#picture-file").set_input_files(saved(page, "Vector", tmp_path))
    expect(page.get_by_role("alert")).to_have_text("Expected a picture, PNG, JPEG or WebP, or ndjson.")


def test_a_saved_drawing_is_opened(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    path = saved(page, "Data", tmp_path)
    page.get_by_role("button", name="Clear").click()
    page.locator("#picture-file").set_input_files(path)
    expect(page.get_by_role("application", name="Drawing with 2 strokes")).to_be_visible()
    kept = [np.transpose(rows[:2]) for rows in strokes_of(page)]
    expected = json.loads(path.read_text())["drawing"]
    assert [stroke.T.tolist() for stroke in simplify(kept)] == expected
    (tmp_path / "no.ndjson").write_text('{"drawing": [[[1, 2], [3]]]}')
    page.locator("#picture-file").set_input_files(tmp_path / "no.ndjson")
    expect(page.get_by_role("alert")).to_contain_text("no.ndjson holds no drawing as ndjson: strokes[0]")
    assert len(strokes_of(page)) == 2
    (tmp_path / "two.ndjson").write_text(2 * path.read_text())
    page.locator("#picture-file").set_input_files(tmp_path / "two.ndjson")
    hands.settle(page)
    expect(page.get_by_role("alert")).to_have_text("The first of 2 drawings is shown.")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_picture_is_dropped_and_pasted(hands: Hands) -> None:
    page = hands.open()
    black = np.zeros((60, 60), np.uint8)
    black[10:14, 5:50] = 255
    for kind in ("drop", "paste"):
        page.evaluate(
            """([kind, bytes]) => {
              const data = new DataTransfer();
              data.items.add(new File([Uint8Array.from(bytes)], "a.png", { type: "image/png" }));
              const own = kind === "drop" ? new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true })
                : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
              document.getElementById("pad").dispatchEvent(own);
            }""",
            [kind, list(png_of(black))],
        )
        expect(page.get_by_role("application", name="Drawing with 1 stroke")).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("application", name="Empty drawing")).to_be_visible()


def test_a_drawing_outlives_a_reload(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    drawn = strokes_of(page)
    page.reload()
    expect(page.get_by_role("application", name="Drawing with 2 strokes")).to_be_visible()
    assert strokes_of(page) == drawn
    page.get_by_role("button", name="Undo").click()
    assert strokes_of(page) == drawn[:1]
    # Whatever else is in the store is nothing to fall over.
    page.get_by_role("button", name="Clear").click()
    while page.evaluate("localStorage.getItem('quickstroke:drawing')") != "[]":
        page.wait_for_timeout(20)
    for broken in ("{", "[[[1],[2]]]", '{"a":1}', '[[["1"],[2],[3]]]'):
        keep = "(text) => [localStorage, sessionStorage].forEach((area) => area.setItem('quickstroke:drawing', text))"
        page.evaluate(keep, broken)
        page.reload()
        page.evaluate("quickstroke.ready")
        assert strokes_of(page) == []


def test_a_reload_in_a_game_or_a_replay_keeps_the_drawing(hands: Hands) -> None:
    page = hands.open()
    drawn = [[[10, 60, 90], [10, 20, 90], [0, 30_000, 60_000]]]
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", drawn)
    page.reload()  # what is still to be kept is kept when the page goes
    for begin in (lambda: page.locator("#replay").click(), lambda: start_game(page)):
        page.evaluate("quickstroke.ready")
        expect(page.get_by_role("application", name="Drawing with 1 stroke")).to_be_visible()
        begin()
        if page.locator("#stop").is_visible():
            hands.mouse(page, TRIANGLE)
        page.reload()
        expect(page.get_by_role("application", name="Drawing with 1 stroke")).to_be_visible()
        assert strokes_of(page) == drawn


def test_the_word_that_was_asked_for_is_proposed_and_keys_in_a_dialog_draw_nothing(hands: Hands) -> None:
    page = hands.open(classes=["cat", "sun"])
    guess = "cat"
    answer(page, lambda strokes: {guess: 0.3})
    start_game(page)
    word = page.evaluate("quickstroke.round().word")
    guess = "sun" if word == "cat" else "cat"
    hands.mouse(page, TRIANGLE)
    expect(page.locator("#guesses li").first).to_have_text(f"{guess}30%")
    page.get_by_role("button", name="Save").click()
    field = page.get_by_label("What it shows")
    expect(field).to_have_value(word)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").focus()
    for key in ("Delete", "Control+z", "Meta+z"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    assert len(strokes_of(page)) == 2
    page.get_by_role("button", name="Stop").click()
    hands.mouse(page, TRIANGLE)
    expect(page.locator("#guesses li").first).to_have_text(f"{guess}30%")
    for key, n in (("Meta+z", 3), ("Meta+Shift+Z", 4), ("Meta+z", 3), ("Meta+y", 4), ("Delete", 0)):
        page.keyboard.press(key)
        assert len(strokes_of(page)) == n
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Save").click()
    expect(field).to_have_value(guess)


def test_each_tab_keeps_its_own_drawing(hands: Hands) -> None:
    page = hands.open()
    hands.mouse(page, TRIANGLE)
    drawn = strokes_of(page)
    page.reload()  # what is still to be kept is kept when the page goes, and nothing is after that
    expect(page.get_by_role("application", name="Drawing with 2 strokes")).to_be_visible()
    page.evaluate("localStorage.setItem('quickstroke:drawing', '[[[1,2],[3,4],[0,9]]]')")  # by another tab
    page.reload()
    expect(page.get_by_role("application", name="Drawing with 2 strokes")).to_be_visible()
    assert strokes_of(page) == drawn
    page.evaluate("sessionStorage.clear()")  # a new tab begins with the newest
    page.reload()
    expect(page.get_by_role("application", name="Drawing with 1 stroke")).to_be_visible()


def test_a_picture_that_comes_late_is_not_shown_in_a_game(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    picture = tmp_path / "a.png"
    picture.write_bytes(png_of(np.full((40, 40), 255, np.uint8)))
    waiting: list[Route] = []
    page.route("**/recognize-picture*", lambda route: waiting.append(route))
    page.locator("#picture-file").set_input_files(picture)
    expect(page.get_by_role("alert")).to_have_text("Reading the picture …")
    start_game(page)
    waiting[0].fulfill(json={"strokes": [[[0, 255], [0, 255]]], "guesses": []})
    expect(page.get_by_role("alert")).to_contain_text("The picture is not shown, since a game is on")
    assert strokes_of(page) == []


def test_a_photo_goes_to_the_server_smaller(hands: Hands, tmp_path: Path) -> None:
    page = hands.open()
    grey = np.full((5000, 4000), 255, np.uint8)
    grey[1000:1100, 500:3500] = 0
    (tmp_path / "photo.png").write_bytes(png_of(grey))
    page.locator("#picture-file").set_input_files(tmp_path / "photo.png")
    expect(page.get_by_role("application", name="Drawing with 1 stroke")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text("")


def test_what_the_model_is_stands_in_a_panel(hands: Hands, recognizer: Recognizer) -> None:
    page = hands.open()
    expect(page.locator("#model")).to_have_text(
        re.compile(r"^(Sharp Eye|Quick Eye|First Glance|Your model) · \d+ words$")
    )
    page.locator("#open-about").click()
    panel = page.get_by_role("dialog")
    expect(panel).to_contain_text(recognizer.name)
    expect(panel).to_contain_text(f"Words{len(recognizer.classes)}")
    expect(panel).to_contain_text("CC BY 4.0")
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_be_hidden()


def test_a_drawing_longer_than_the_model_reads_is_told(hands: Hands) -> None:
    page = hands.open()
    model = {"name": "m", "classes": ["sun"], "card": {"preprocessing": {"max_padding": 20}}}
    page.route("**/api/v1/model", lambda route: route.fulfill(json=model))
    page.reload()
    page.evaluate("quickstroke.ready")
    expect(page.locator("#note")).to_contain_text("The percentages")
    xs = [10 * i for i in range(30)]
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", [[xs, [0, 90] * 15]])
    expect(page.locator("#note")).to_contain_text("longer than the model reads: after its first 20 points")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#note")).to_contain_text("The percentages")
