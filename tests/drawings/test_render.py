"""Pictures of drawings, read back by other readers, and the command that writes them."""

import io
import json
import re
import sys
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictured import CAT, HUGE, RAW, golden_drawings
from PIL import Image

from quickstroke.drawings import render
from quickstroke.drawings.bitmap import to_bitmap
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.render import FRAME, SIZE, to_gif, to_png, to_svg
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import ConfigError, FormatError, MissingExtra
from quickstroke.formats import ndjson, read_file
from quickstroke.inference import recognizer
from quickstroke.inference.recognizer import Guess

SVG = "{http://www.w3.org/2000/svg}"


# --- SVG


def tree_of(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def paths_of(svg: str) -> list[ElementTree.Element]:
    return list(tree_of(svg).iter(f"{SVG}path"))


def points_of(path: ElementTree.Element) -> list[NDArray[np.float64]]:
    """The strokes (n, 2) of a path's data."""
    strokes = path.attrib["d"].replace("h0", "").split("M")[1:]
    return [np.array([pair.split(",") for pair in stroke.split()], np.float64) for stroke in strokes]


def test_svg_holds_a_simplified_drawing_as_it_is_in_the_middle_of_the_frame():
    (path,) = paths_of(to_svg([CAT]))
    strokes = points_of(path)
    assert [len(stroke) for stroke in strokes] == [3, 1, 4]
    offset = strokes[0][0] - CAT.strokes[0][0]
    for shown, stroke in zip(strokes, CAT.strokes, strict=True):
        assert (shown == stroke + offset).all()
    points = np.concatenate(strokes)
    assert np.abs((points.min(axis=0) + points.max(axis=0)) / 2 - FRAME / 2).max() <= 0.5


@pytest.mark.parametrize("drawing", [RAW, HUGE, Drawing("tiny", [np.array([[3.0, 3.0], [3.0, 3.0 + 1e-9]])])])
def test_svg_scales_a_raw_drawing_to_the_frame(drawing):
    points = np.concatenate(points_of(paths_of(to_svg([drawing]))[0]))
    sides = np.ptp(np.concatenate(drawing.strokes) / 4, axis=0)  # for a difference of two numbers can be too large
    np.testing.assert_allclose(np.ptp(points, axis=0), 255 * (sides / sides.max()), atol=0.11)


def test_one_drawing_without_a_caption_is_all_there_is_of_its_picture():
    root = tree_of(to_svg([CAT], size=100))
    assert (root.attrib["width"], root.attrib["height"], root.attrib["viewBox"]) == ("100", "100", "0 0 100 100")
    assert root.findtext(f"{SVG}title") == "cat"
    assert len(list(root.iter(f"{SVG}rect"))) == 1
    assert not list(root.iter(f"{SVG}text"))
    assert tree_of(to_svg([replace(CAT, word="")])).findtext(f"{SVG}title") == "a drawing"


def test_a_sheet_has_a_card_and_a_caption_for_each_drawing():
    svg = to_svg([CAT, RAW, CAT], ["one", "two\nmore", ""], columns=2)
    root = tree_of(svg)
    assert len(paths_of(svg)) == 3
    page, *cards = root.iter(f"{SVG}rect")
    assert len(cards) == 3
    boxes = [[int(card.attrib[key]) for key in ("x", "y", "width", "height")] for card in cards]
    assert boxes[0][1] == boxes[1][1] < boxes[2][1]
    assert boxes[0][0] == boxes[2][0] < boxes[1][0]
    assert all(x + w <= int(page.attrib["width"]) and y + h <= int(page.attrib["height"]) for x, y, w, h in boxes)
    assert all(width == SIZE < height for _, _, width, height in boxes)
    texts = list(root.iter(f"{SVG}text"))
    assert [text.text for text in texts] == ["one", "two", "more", None]
    x, y, width, height = boxes[1]
    for text in texts[1:3]:
        assert x < float(text.attrib["x"]) < x + width
        assert y + SIZE < float(text.attrib["y"]) < y + height


@given(
    text=st.text(st.sampled_from("iW \u0301…é"), max_size=40),
    width=st.floats(0, 60),
    widths=st.fixed_dictionaries({letter: st.floats(1, 9) for letter in "iW \u0301…é"}),
)
def test_a_caption_is_cut_to_the_most_that_fits(text: str, width: float, widths: dict[str, float]) -> None:
    def width_of(shown: str) -> float:
        return sum(widths[letter] for letter in shown)

    expected, rest = text, text
    while rest and width_of(expected) > width:
        rest = rest[:-1].rstrip()
        expected = rest + "…"
    assert render._cut(text, width, width_of) == expected


def test_a_caption_of_any_length_is_measured_as_far_as_it_may_fit() -> None:
    n_measured: list[int] = []

    def width_of(shown: str) -> float:
        n_measured.append(len(shown))
        return 7.0 * len(shown)

    for n in (30, 8_000, 1_000_000):
        n_measured.clear()
        assert render._cut("w" * n, 170, width_of) == "w" * 23 + "…"
        assert len(n_measured) <= 10 and max(n_measured) <= 171
    assert to_png([CAT], ["w" * 8_000]) == to_png([CAT], ["w" * 300])
    assert to_gif([CAT], ["w" * 8_000]) == to_gif([CAT], ["w" * 300])


def test_a_caption_is_text_whatever_it_holds_and_is_cut_where_it_is_too_long():
    strange = "<a & 'b'>\x00\ud800"
    root = tree_of(to_svg([replace(CAT, word=strange)], [f"{strange}\n{'long ' * 20}"]))
    first, second = (text.text for text in root.iter(f"{SVG}text"))
    assert first == root.findtext(f"{SVG}title") == "<a & 'b'>\ufffd\ufffd"
    assert re.fullmatch(r"(long )*l?o?n?g?…", second)
    assert 10 < len(second) < 40


# --- replays


def animations(svg: str) -> list[tuple[str, float, NDArray[np.float64], NDArray[np.float64]]]:
    """What is animated, the cycle in seconds, the times in it (0 to 1) and the values, of each path."""
    found = []
    for path in paths_of(svg):
        (animate,) = path
        assert animate.attrib["repeatCount"] == "indefinite"
        values, times = (np.array(animate.attrib[key].split(";"), float) for key in ("values", "keyTimes"))
        found.append((animate.attrib["attributeName"], float(animate.attrib["dur"].removesuffix("s")), times, values))
    return found


def test_a_replay_keeps_the_pens_own_time():
    (line, cycle_s, times, offsets), (dot, dot_cycle_s, dot_times, shown) = animations(to_svg([RAW], animate=True))
    assert (line, dot) == ("stroke-dashoffset", "opacity")
    assert cycle_s == dot_cycle_s
    begin_s = times[1] * cycle_s
    drawn = np.unique(np.round(times[2:-2] * cycle_s - begin_s, 2))
    assert drawn.tolist() == [0, 1, 3]
    assert dot_times[1] * cycle_s - begin_s == pytest.approx(4, abs=0.01)
    assert shown.tolist() == [0, 1]
    assert cycle_s > begin_s + 4
    half = np.interp((begin_s + 1) / cycle_s, times, offsets)  # 300.5 of 500.5 units are drawn after a second
    assert 1 - half / offsets[2] == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("drawing", [CAT, RAW, HUGE, *golden_drawings()])
def test_a_replay_is_valid_and_ends_with_the_whole_drawing(drawing):
    svg = to_svg([drawing], animate=True)
    assert len(paths_of(svg)) == len(drawing.strokes)
    still = points_of(paths_of(to_svg([drawing]))[0])
    for path, stroke in zip(paths_of(svg), still, strict=True):
        assert np.array_equal(points_of(path)[0], stroke)
    starts = []
    for path, (name, _, times, values) in zip(paths_of(svg), animations(svg), strict=True):
        assert len(times) == len(values)
        assert times[0] == 0
        assert (np.diff(times) >= 0).all()
        if name == "opacity":
            assert values.tolist() == [0, 1]
        else:
            assert times[-1] == 1
            assert values[-1] == 0
            assert (np.diff(values) <= 0).all()
            dash, gap = map(int, path.attrib["stroke-dasharray"].split())
            steps = np.diff(points_of(path)[0], axis=0)
            assert np.hypot(*steps.T).sum() < dash < gap == values[0]
        starts.append(times[1])
    assert starts == sorted(starts)
    assert starts[0] > 0


def test_replays_of_any_time_take_a_minute_at_most():
    slow = replace(RAW, times_ms=[times * 1000 for times in RAW.times_ms])
    cycle_s = animations(to_svg([slow], animate=True))[0][1]
    assert 60 < cycle_s < 65
    stopped = replace(RAW, times_ms=[np.zeros(3), np.zeros(1)])
    untimed = replace(RAW, times_ms=None)
    assert to_svg([stopped], animate=True) == to_svg([untimed], animate=True)


def test_where_people_ask_for_less_motion_nothing_moves():
    style = tree_of(to_svg([CAT], animate=True)).findtext(f"{SVG}style")
    assert style.startswith("@media(prefers-reduced-motion:reduce)")
    assert not tree_of(to_svg([CAT])).findall(f"{SVG}style")


# --- PNG and GIF


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def frames_of(data: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    """The frames (n, H, W) of a GIF and how long each is seen, in milliseconds."""
    image = Image.open(io.BytesIO(data))
    assert image.info["loop"] == 0
    frames, durations_ms = [], []
    for i in range(image.n_frames):
        image.seek(i)
        frames.append(np.asarray(image.convert("L")))
        durations_ms.append(image.info["duration"])
    return np.stack(frames), durations_ms


def test_png_is_dark_on_the_lines_and_white_elsewhere():
    image = Image.open(io.BytesIO(to_png([CAT], size=FRAME)))
    assert (image.format, image.mode, image.size) == ("PNG", "L", (FRAME, FRAME))
    seen = np.asarray(image)
    for stroke in points_of(paths_of(to_svg([CAT], size=FRAME))[0]):
        for x, y in stroke.astype(int):
            assert seen[y - 1 : y + 1, x - 1 : x + 1].max() < 0x40
    assert 0.95 < (seen == 255).mean() < 1


def test_letters_of_any_language_are_drawn_with_a_font_that_has_them(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")  # which brings a font
    font = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    monkeypatch.setattr(render, "_FONTS", ("no such font.ttf", font))
    drawn = {to_png([CAT, CAT], ["cat", caption]) for caption in ("café", "cafà", "קטה", "שלם", "猫", "犬")}
    assert len(drawn) == 5  # of six captions the two that no font has are one
    ascii_alone = to_png([CAT, CAT], ["cat", "dog"])
    monkeypatch.setattr(render, "_FONTS", ())
    assert to_png([CAT, CAT], ["cat", "dog"]) == ascii_alone


def test_png_has_the_layout_of_the_svg():
    drawings, captions = [CAT, RAW, CAT], ["one", "two\nmore", "x" * 200]
    for size, columns in ((64, None), (SIZE, 2)):
        seen = pixels(to_png(drawings, captions, size=size, columns=columns))
        root = tree_of(to_svg(drawings, captions, size=size, columns=columns))
        assert seen.shape == (int(root.attrib["height"]), int(root.attrib["width"]))
        on_cards = np.zeros(seen.shape, bool)
        for card in list(root.iter(f"{SVG}rect"))[1:]:
            x, y, width, height = (int(card.attrib[key]) for key in ("x", "y", "width", "height"))
            on_cards[y : y + height, x : x + width] = True
            caption = seen[y + size : y + height, x : x + width]
            assert caption.min() < 0x80
            assert caption[:, -size // 20 :].min() > 0xDD  # whatever its length it stays on its card
        assert set(np.unique(seen[~on_cards])) == {0xEE}


def test_gif_grows_from_nothing_to_the_picture():
    frames, durations_ms = frames_of(to_gif([CAT, RAW], ["one", "two"], size=64))
    assert frames[0][:64].min() == 0xEE
    assert len(frames) > 20
    assert (np.diff(frames.astype(int), axis=0) <= 0).all()
    whole = pixels(to_png([CAT, RAW], ["one", "two"], size=64)).astype(int)
    assert np.abs(frames[-1] - whole).max() <= 17  # a step of its greys
    assert durations_ms[-1] >= 2000
    assert all(duration_ms % 80 == 0 for duration_ms in durations_ms[:-1])
    assert sum(durations_ms) / 1000 == pytest.approx(0.3 + 4 + 2, abs=0.1)


def test_gif_keeps_the_pens_own_time():
    frames, durations_ms = frames_of(to_gif([RAW], size=64))
    drawn_s = np.cumsum([0, *durations_ms[:-1]]) / 1000
    ink = (255 - frames.astype(int)).sum(axis=(1, 2))
    assert ink[0] == 0
    begin_s, end_s = drawn_s[1], drawn_s[-1]
    assert end_s - begin_s == pytest.approx(4, abs=0.1)
    paused = ink[np.searchsorted(drawn_s, begin_s + 3.2, side="right") - 1]
    assert ink[-2] == paused < ink[-1]


def test_pictures_of_the_same_drawings_have_the_same_bytes():
    for draw in (to_svg, lambda *args: to_svg(*args, animate=True), to_png, to_gif):
        assert draw([CAT, RAW], ["a", "b"]) == draw([CAT, RAW], ["a", "b"])


@pytest.mark.parametrize("draw", [to_svg, to_png, to_gif])
def test_wrong_values_are_refused(draw):
    for drawings, captions, options, message in (
        ([], None, {}, "no drawing"),
        ([CAT], ["a", "b"], {}, "2 captions for 1"),
        ([CAT], None, {"size": 31}, "size=31: expected 32 to 4096"),
        ([CAT], None, {"size": 4097}, "size=4097"),
        ([CAT], None, {"columns": 0}, "columns=0"),
        ([CAT] * 12, None, {"size": 4096}, r"12 drawings would have [\d,]+ x [\d,]+ pixels"),
    ):
        with pytest.raises(ConfigError, match=message):
            draw(drawings, captions, **options)
    for strokes in ([], [np.empty((0, 2))], [np.array([[0.0, np.inf]])], [np.zeros(4)]):
        with pytest.raises(FormatError, match="stroke"):
            draw([Drawing("cat", strokes)])


def test_a_gif_of_too_many_pixels_is_refused():
    with pytest.raises(ConfigError, match=r"replay of \d+ frames .* write an SVG"):
        to_gif([RAW] * 20, size=1000)


@pytest.mark.parametrize("draw", [to_png, to_gif])
def test_png_and_gif_say_what_they_need(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"quickstroke\[render\]"):
        draw([CAT])
    assert to_svg([CAT])


def test_real_drawings_of_every_kind(shared):
    folder = shared / "data" / "quickdraw"
    for path in [*sorted(folder.glob("raw/*.ndjson"))[:5], *sorted(folder.glob("binary/*.bin"))[:40]]:
        drawings = list(islice(read_file(path), 3))
        assert len(paths_of(to_svg(drawings, animate=True))) == sum(len(drawing.strokes) for drawing in drawings)
        assert pixels(to_png(drawings, size=48)).min() < 0x60
        for drawing in drawings:
            assert not to_bitmap(drawing.strokes)[[0, -1]].any()


# --- the command


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with three files: 150 circles, 10 houses and 3 stars."""
    folder: Path = tmp_path_factory.mktemp("drawings")
    for word, n in (("circle", 150), ("house", 10), ("star", 3)):
        ndjson.write(folder / f"{word}.ndjson", synthetic_drawings(n, seed=1, words=(word,)))
    return folder


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Runs `quickstroke render` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(run, "render")


def test_command_writes_a_picture_of_each_ending(run, files):
    circles = files / "circle.ndjson"
    first = list(islice(read_file(circles), 2))
    for name, expected in (
        ("a.svg", to_svg(first, ["1. circle", "2. circle"]).encode()),
        ("a.PNG", to_png(first, ["1. circle", "2. circle"])),
        ("a.gif", to_gif(first, ["1. circle", "2. circle"])),
    ):
        assert run(circles, "--into", name, "--limit", 2) == (0, f"wrote {name}: 2 drawings\n", "")
        assert Path(name).read_bytes() == expected
    code, out, _ = run(circles, "--into", "new/b.svg", "--animate", "--limit", 1, "--size", 50, "--no-captions")
    assert (code, out) == (0, "wrote new/b.svg: 1 drawing\n")
    assert Path("new/b.svg").read_text() == to_svg(first[:1], size=50, animate=True)
    assert run(circles, "--into", "c.svg", "--limit", 1)[0] == 0
    assert Path("c.svg").read_text() == to_svg(first[:1], ["circle"])


def test_command_writes_bitmaps_of_all_drawings(run, files):
    code, out, _ = run(files, "--into", "all.npy", "--json")
    assert code == 0
    assert json.loads(out) == {"into": "all.npy", "n": 163, "left_out": [], "invalid": []}
    bitmaps = np.load("all.npy")
    expected = [to_bitmap(drawing.strokes).ravel() for path in sorted(files.iterdir()) for drawing in read_file(path)]
    assert np.array_equal(bitmaps, expected)
    assert run(files, "--into", "some.npy", "--limit", 4)[0] == 0
    assert len(np.load("some.npy")) == 4 + 4 + 3


@pytest.mark.parametrize(
    ("args", "shown"), [((), (33, 10, 3)), (("--animate",), (8, 8, 3)), (("--limit", 60), (60, 10, 3))]
)
def test_command_shows_the_first_of_each_file_and_says_what_it_left_out(run, files, args, shown):
    code, out, err = run(files, "--into", "a.svg", "--json", *args)
    assert code == 0
    values = json.loads(out)
    texts = [text.text for text in tree_of(Path("a.svg").read_text()).iter(f"{SVG}text")]
    assert texts == [
        f"{i}. {word}" for word, n in zip(("circle", "house", "star"), shown, strict=True) for i in range(1, n + 1)
    ]
    assert values["n"] == sum(shown)
    left_out = [] if "--limit" in args else ["circle.ndjson", "house.ndjson"][: 2 if "--animate" in args else 1]
    assert [Path(path).name for path in values["left_out"]] == left_out
    assert ("left out: later drawings of" in err) == bool(left_out)


def test_command_needs_no_drawing_that_it_does_not_show(run, files, tmp_path):
    lines = (files / "circle.ndjson").read_text().splitlines(keepends=True)
    for n, code in ((100, 0), (99, 2)):
        (tmp_path / "some.ndjson").write_text("".join((lines * 2)[:n]) + "no drawing\n")
        assert run("some.ndjson", "--into", "a.svg")[0] == code
    (tmp_path / "some.ndjson").write_text("".join((lines * 2)[:100]) + "no drawing\n")
    _, out, err = run("some.ndjson", "--into", "a.svg")
    assert out.endswith("left out: later drawings of some.ndjson (--limit N shows more)\n") and err == ""


def test_command_shows_a_models_guesses(run, files, monkeypatch):
    class Model:
        note = "a remark"

        def predict(self, drawing: Drawing, top: int) -> list[Guess]:
            return [Guess("moon", 0.426)][:top]

    asked: list[Any] = []
    monkeypatch.setattr(recognizer, "load", lambda *args: asked.append(args) or Model())
    code, _, err = run(files / "star.ndjson", "--into", "a.svg", "--model", "m.model", "--classes", "c.txt")
    assert (code, err, asked) == (0, "a remark\n", [("m.model", "c.txt")])
    texts = [text.text for text in tree_of(Path("a.svg").read_text()).iter(f"{SVG}text")]
    assert texts == ["1. star", "moon 43%", "2. star", "moon 43%", "3. star", "moon 43%"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--into", "a.svg"), "no FILE was given"),
        (("FILE", "--into", "a.jpg"), "--into a.jpg should end in .svg, .png, .gif or .npy"),
        (("FILE", "--into", "svg"), "should end in"),
        (("FILE", "--into", "a.png", "--animate"), "--animate has no effect on a .png"),
        (("FILE", "--into", "a.npy", "--size", 100), "--size has no effect on a .npy"),
        (("FILE", "--into", "a.npy", "--no-captions"), "--no-captions has no effect on a .npy"),
        (("FILE", "--into", "a.png", "--model", "m", "--no-captions"), "--model has no effect"),
        (("FILE", "--into", "a.png", "--classes", "c"), "--classes has no effect"),
        (("FILE", "--into", "a.png", "--limit", 0), "--limit should be 1 or more, got 0"),
        (("FILE", "--into", "a.png", "--size", 0), "size=0"),
        (("FILE", "--into", "a.png", "--size", 5), "size=5"),
        (("FILE", "--into", "a.png", "--size", 3000, "--limit", 50), "too many for one picture"),
        (("FILE", "--into", "a.gif", "--size", 1000, "--limit", 50), "write an SVG"),
        (("none.bin", "--into", "a.png"), "none.bin: no such file"),
        (("empty.ndjson", "--into", "a.png"), "no drawing"),
        (("empty.ndjson", "--into", "a.npy"), "no drawing"),
        (("bad.ndjson", "--into", "a.npy"), "bad.ndjson, line 2: "),
    ],
)
def test_command_refuses_what_is_wrong_in_one_line(run, files, args, message):
    Path("empty.ndjson").touch()
    Path("bad.ndjson").write_text('{"drawing": [[[1, 2], [3, 4]]]}\nnothing\n')
    before = sorted(Path().iterdir())
    code, out, err = run(*[files / "circle.ndjson" if arg == "FILE" else arg for arg in args])
    assert (code, out) == (2, "")
    assert err.startswith("quickstroke render: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(Path().iterdir()) == before
