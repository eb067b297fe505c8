"""Strokes as points and as columns: which they are, and that both are read to the same drawing everywhere."""

import itertools
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, write_model
from quickstroke.artifacts.unknown import Outputs
from quickstroke.cli import main
from quickstroke.config.model import ModelConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.layouts import arrays_of, decide, layout_of, shape_of
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import ConfigError, DatasetError, FormatError
from quickstroke.formats import binary, csv, ndjson, read_drawings, read_file
from quickstroke.inference.recognizer import Recognizer
from quickstroke.models.classifier import StrokeClassifier

Strokes = list[list[list[float]]]

EITHER = [(rows, numbers) for rows in (2, 3) for numbers in (2, 3)]
POINTS = [(1, 2), (1, 3), (4, 2), (4, 3), (99, 2)]
COLUMNS = [(2, 1), (3, 1), (2, 4), (3, 4), (2, 99)]
NEITHER = [(1, 1), (1, 4), (4, 1), (4, 4), (5, 9)]


class Sum:
    """A model whose answer tells what it was given: the probability of `up` is made of all points."""

    name, classes, card, note, max_padding, preprocessing = "sum", ("up", "down"), None, "", 100, "pos5"

    def outputs(self, points: Any, lengths: Any) -> Any:
        weights = np.cos(np.arange(points[0].size)).reshape(points[0].shape)
        up = 1 / (1 + np.exp(-(points * weights).sum(axis=(1, 2))))
        return Outputs(np.stack([up, 1 - up], axis=1), None)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(Sum())  # type: ignore[arg-type]


def transposed(strokes: Any) -> Strokes:
    return [np.transpose(stroke).tolist() for stroke in strokes]


def is_same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@st.composite
def points_of(draw: st.DrawFn, least: int = 1) -> Strokes:
    """A drawing in points, all with times or all without, of integers from 0 to 255."""
    n_numbers = draw(st.sampled_from([2, 3]))
    point = st.lists(st.integers(0, 255), min_size=n_numbers, max_size=n_numbers)
    return draw(st.lists(st.lists(point, min_size=least, max_size=7), min_size=1, max_size=4))


# --- the decision


@pytest.mark.parametrize("default", ["points", "columns"])
def test_every_shape_is_points_columns_either_or_neither(default: Any) -> None:
    for shape in POINTS:
        assert decide([shape], default) == "points"
    for shape in COLUMNS:
        assert decide([shape], default) == "columns"
    for shape in EITHER:
        assert decide([shape], default) == default
    for shape in NEITHER:
        with pytest.raises(FormatError, match=r"^strokes\[0\] has \d rows? of \d numbers?; expected points .* or colu"):
            decide([shape], default)


@pytest.mark.parametrize("default", ["points", "columns"])
@pytest.mark.parametrize(("own", "other"), [(POINTS, COLUMNS), (COLUMNS, POINTS)])
def test_one_stroke_that_is_not_ambiguous_decides_for_the_drawing(default: Any, own: Any, other: Any) -> None:
    expected = "points" if own is POINTS else "columns"
    for certain in own:
        for shapes in itertools.permutations([*EITHER[:2], certain]):
            assert decide(shapes, default) == expected
        assert decide(EITHER * 3 + [certain], default) == expected
        assert decide([None, certain], default) == expected  # what has no shape says nothing
        for wrong in (*other, *NEITHER):
            with pytest.raises(FormatError) as caught:
                decide([EITHER[0], certain, EITHER[1], wrong], default, name="stroke {}", first=1)
            assert caught.value.stroke == 3
            assert caught.value.reason.startswith(f"stroke 4 has {wrong[0]} row")
            assert f"; expected {expected} [[" in caught.value.reason
            assert caught.value.reason.endswith(", since stroke 2 is written so")


@pytest.mark.parametrize(("layout", "other"), [("points", COLUMNS), ("columns", POINTS)])
def test_a_layout_that_is_said_decides(layout: Any, other: Any) -> None:
    for default in ("points", "columns"):
        assert decide(EITHER, default, layout) == layout  # type: ignore[arg-type]
        for wrong in (*other, *NEITHER):
            with pytest.raises(FormatError, match=rf"^strokes\[1\] has .*; expected {layout} .*, since layout is '"):
                decide([EITHER[0], wrong], default, layout)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["rows", "", "Points", None, 5, ["points"]])
def test_any_other_layout_is_refused(layout: Any, recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"drawing": [[[1], [2]]]}\n')
    calls: list[Any] = [
        lambda: layout_of([[[1, 2]]], layout),
        lambda: simplify([[[1, 2]]], layout=layout),
        lambda: recognizer.predict([[[1, 2]]], layout=layout),
        lambda: recognizer.predict_many([[[[1, 2]]]], layout=layout),
        lambda: Drawing.from_strokes("cat", [[[1, 2]]], layout=layout),
        lambda: list(read_file(tmp_path / "a.ndjson", layout=layout)),
        lambda: list(read_drawings(tmp_path, layout=layout)),
        lambda: qs.prepare(tmp_path, tmp_path / "data", layout=layout),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="layout should be 'auto', 'points' or 'columns', got "):
            call()


def test_the_shape_of_lists() -> None:
    assert shape_of([[1, 2, 3], [4, 5, 6]]) == (2, 3)
    assert shape_of([[1, 2], [4]]) is None


# --- Python

TWO_BY_THREE = [[0, 5, 10], [7, 3, 200]]


@pytest.mark.parametrize(
    "strokes",
    [
        [[[0, 5], [7, 200]]],
        [TWO_BY_THREE],
        [np.transpose(TWO_BY_THREE).tolist()],
        [[[0, 5, 10], [7, 3, 20], [9, 9, 30]]],
        [TWO_BY_THREE, [[0, 5], [7, 200]]],
    ],
)
def test_python_reads_points_where_every_stroke_is_ambiguous(strokes: Strokes, recognizer: Recognizer) -> None:
    as_points = [np.array(stroke)[:, :2] for stroke in strokes]
    as_columns = [np.array(stroke)[:2].T for stroke in strokes]
    for layout, expected in (("auto", as_points), ("points", as_points), ("columns", as_columns)):
        read = "columns" if layout == "columns" else "points"
        assert layout_of(strokes, layout) == qs.layout_of(strokes, layout) == read
        assert is_same(simplify(strokes, layout=layout), simplify(expected))
        guesses = recognizer.predict(strokes, layout=layout)
        assert guesses.layout == read and guesses == recognizer.predict(expected)
        assert recognizer.predict_many([strokes, strokes], layout=layout) == [guesses, guesses]
        drawing = Drawing.from_strokes("cat", strokes, layout=layout)
        assert is_same(drawing.strokes, expected) and drawing.source_layout == read
    assert recognizer.predict(strokes, layout="points") != recognizer.predict(strokes, layout="columns")


@pytest.mark.parametrize("form", [list, np.array, lambda stroke: np.array(stroke, np.float32)])
@pytest.mark.parametrize("simplified", [True, False])
def test_python_takes_googles_columns(form: Any, simplified: bool, recognizer: Recognizer) -> None:
    points = [[[0, 0], [255, 3], [90, 80], [0, 255]], [[10, 10], [20, 30]], [[5, 6]]]
    with_times = [[[x, y, 17 * i] for i, (x, y) in enumerate(stroke)] for stroke in points]
    expected = recognizer.predict(points, simplified=simplified)
    assert expected.layout == "points"
    for strokes in (transposed(points), transposed(with_times), [*transposed(points[:1]), *transposed(with_times[1:])]):
        guesses = recognizer.predict([form(stroke) for stroke in strokes], simplified=simplified)
        assert (guesses, guesses.layout) == (expected, "columns")
        assert is_same(simplify([form(stroke) for stroke in strokes]), simplify(points))


@given(points_of(least=4), st.booleans())
def test_points_and_columns_have_the_same_guesses(recognizer: Recognizer, points: Strokes, simplified: bool) -> None:
    one = recognizer.predict(points, simplified=simplified)
    other = recognizer.predict(transposed(points), simplified=simplified)
    assert one == other and (one.layout, other.layout) == ("points", "columns")
    assert recognizer.predict_many([points, transposed(points)], simplified=simplified) == [one, other]


@given(points_of())
def test_a_layout_that_is_said_gives_the_same_for_any_drawing(recognizer: Recognizer, points: Strokes) -> None:
    one = recognizer.predict(points, layout="points")
    other = recognizer.predict(transposed(points), layout="columns")
    assert one == other and (one.layout, other.layout) == ("points", "columns")


def test_each_of_many_drawings_is_read_for_itself(recognizer: Recognizer) -> None:
    line, longer = [[0, 200], [10, 60]], [[0, 200, 90, 4], [10, 60, 8, 9]]
    many = recognizer.predict_many([[line], [line, longer], [line, [[5, 5]]]])
    assert [guesses.layout for guesses in many] == ["points", "columns", "points"]
    with pytest.raises(FormatError, match=r"^drawing 2: strokes\[2\] has 1 row of 2 numbers; expected columns"):
        recognizer.predict_many([[line], [line, longer, [[5, 5]]]])


def test_guesses_are_a_list_that_keeps_its_layout(recognizer: Recognizer) -> None:
    guesses = recognizer.predict([[[0, 200, 90, 4], [10, 60, 8, 9]]])
    assert isinstance(guesses, list) and isinstance(guesses, qs.Guesses) and guesses == list(guesses)
    again = pickle.loads(pickle.dumps(guesses))
    assert (again, again.layout) == (guesses, "columns")


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        (
            [[[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2]]],
            r"strokes\[1\] has 1 row of 2 numbers; expected columns \[\[x\.\.\]",
        ),
        ([[[1, 2]], [[0, 1, 2, 3], [4, 5, 6, 7]]], r"strokes\[1\] has 2 rows of 4 numbers; expected points \[\[x, y\]"),
        ([[[1, 2, 3, 4]]], r"strokes\[0\] has 1 row of 4 numbers; expected points .* or columns"),
        ([[[], []]], r"strokes\[0\] has no point"),
        ([[[1, 2, 3, 4], [1, 2, 3]]], r"strokes\[0\]\[1\] has 3 numbers and strokes\[0\]\[0\] has 4"),
        (5, "the drawing is 5; expected a list of strokes"),
        ([], "the drawing has no stroke"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(strokes: Any, message: str, recognizer: Recognizer) -> None:
    for call in (layout_of, simplify, recognizer.predict, lambda given: Drawing.from_strokes("cat", given)):
        with pytest.raises(FormatError, match=message) as caught:
            call(strokes)
        assert "\n" not in str(caught.value)


# --- Drawing


@pytest.mark.parametrize("layout", ["points", "columns"])
def test_a_drawing_takes_lists_in_either_layout(layout: str, recognizer: Recognizer) -> None:
    points = [[[0, 1, 0], [30, 2, 17], [9, 9, 34], [4, 200, 51]], [[1, 2, 90]]]
    strokes = points if layout == "points" else transposed(points)
    drawing = qs.Drawing("cat", strokes, key_id=7)  # type: ignore[arg-type]
    assert (drawing.word, drawing.key_id, drawing.source_layout) == ("cat", 7, layout)
    assert all(stroke.dtype == np.float64 and stroke.flags.c_contiguous for stroke in drawing.strokes)
    assert is_same(drawing.strokes, [np.array(stroke)[:, :2] for stroke in points])
    assert drawing.times_ms is not None and is_same(drawing.times_ms, [[0, 17, 34, 51], [90]])
    assert not drawing.is_simplified and drawing.n_points == 5
    guesses = recognizer.predict(drawing)
    assert guesses == recognizer.predict(points) and guesses.layout == layout


def test_a_drawing_of_arrays_of_points_is_left_as_it_is(recognizer: Recognizer) -> None:
    strokes = [np.zeros((n, 2), np.uint8) for n in (1, 2, 3, 9)]
    drawing = Drawing("cat", strokes)
    assert drawing.strokes is strokes and drawing.source_layout is None and drawing.times_ms is None
    assert recognizer.predict(drawing).layout is None
    assert Drawing("cat", []).strokes == []


def test_arrays_of_a_drawing_keep_their_type() -> None:
    drawing = Drawing("cat", [np.arange(8, dtype=np.uint8).reshape(2, 4), np.ones((3, 2), np.uint8)])
    assert drawing.is_simplified and is_same(drawing.strokes, [[[0, 4], [1, 5], [2, 6], [3, 7]], [[1, 1], [1, 1]]])
    assert drawing.source_layout == "columns" and drawing.times_ms is None
    arrays, layout = arrays_of([np.arange(8, dtype=np.int16).reshape(2, 4)])
    assert arrays[0].dtype == np.int16 and arrays[0].shape == (4, 2) and layout == "columns"


# --- files


def line_of(strokes: Any) -> str:
    return json.dumps({"word": "cat", "key_id": "5", "drawing": strokes}) + "\n"


def said(drawing: Drawing) -> tuple[Any, ...]:
    times = None if drawing.times_ms is None else [row.tolist() for row in drawing.times_ms]
    return drawing.is_simplified, [stroke.tolist() for stroke in drawing.strokes], times, drawing.word, drawing.key_id


@given(points_of(), st.sampled_from(["auto", "points"]))
def test_files_read_the_same_drawing_of_points_and_of_columns(points: Strokes, layout: str) -> None:
    expected = ndjson.parse_line(line_of(transposed(points)), "columns")
    assert expected.source_layout == "columns"
    is_certain = any(len(stroke) not in (2, 3) for stroke in points)
    drawing = ndjson.parse_line(line_of(points), layout if is_certain else "points")
    assert drawing.source_layout == "points" and said(drawing) == said(expected)
    assert all(stroke.flags.c_contiguous for stroke in drawing.strokes)
    if expected.is_simplified:
        assert ndjson.format_line(drawing) == ndjson.format_line(expected)


@pytest.mark.parametrize("strokes", [[[[0, 5], [7, 200]]], [TWO_BY_THREE], [[[0, 5, 0], [7, 3, 20], [9, 9, 30]]]])
def test_files_read_columns_where_every_stroke_is_ambiguous(strokes: Strokes, tmp_path: Path) -> None:
    text = tmp_path / "a.ndjson"
    text.write_text(line_of(strokes))
    table = tmp_path / "b.csv"
    table.write_text('key_id,word,drawing\n5,cat,"' + json.dumps(strokes) + '"\n')
    for path in (text, table):
        for layout, same in (("auto", "columns"), ("columns", "columns"), ("points", "points")):
            (drawing,) = read_file(path, layout=layout)
            assert drawing.source_layout == same
            expected = np.array(strokes[0])[:2].T if same == "columns" else np.array(strokes[0])[:, :2]
            assert is_same(drawing.strokes, [expected])
    assert [drawing.source_layout for drawing in qs.read_drawings(tmp_path, layout="points")] == ["points"] * 2
    assert next(csv.read(table)).source_layout == "columns"


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        (
            [[[1, 2]], [[0, 1, 2, 3], [4, 5, 6, 7]]],
            r"stroke 2 has 2 rows of 4 numbers; expected points \[\[x, y\], ..\], since stroke 1 is written so",
        ),
        ([[[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2]]], r"stroke 2 has 1 row of 2 numbers; expected columns"),
        ([[[1, 2]], [[1, 2], [3]]], r"stroke 2 has rows of unequal length: \[2, 1\]; expected \[\[x,y\],\.\.\] or"),
        ([[[1, 2]], [[1, 2, 3]]], "stroke 2 has 3 numbers a point where the first stroke has 2$"),
        ([[[1, 2], [3, 4]], [[1, 2], [3, 4], [5, 6]]], "stroke 2 has 3 rows .* has 2; if they are points, say so by "),
        ([[[1, 2]], [[1, 256]]], "stroke 2 has two numbers a point .* no integer from 0 to 255; .*: .*x,y,t"),
    ],
)
def test_files_that_contradict_themselves_are_refused_with_the_line(strokes: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(line_of([[[1, 2]]]) + line_of(strokes))
    with pytest.raises(FormatError, match=rf"a.ndjson, line 2: {message}"):
        list(read_file(path))


def test_official_files_are_columns(shared: Path) -> None:
    for kind in ("raw", "simplified"):
        for path in sorted((shared / "data/quickdraw" / kind).glob("*.ndjson"))[:8]:
            assert {drawing.source_layout for drawing in read_file(path)} == {"columns"}


# --- commands


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of two words."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("lstm")
    classifier = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz8", n_classes=2)).eval()
    return write_model(folder, LoadedModel(classifier, ("circle", "house"), None, folder), {})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same drawings in columns, in points, and some in both."""
    folder = tmp_path_factory.mktemp("files")
    lines: dict[str, list[str]] = {"columns": [], "points": []}
    for i, drawing in enumerate(synthetic_drawings(12, words=("circle", "house"))):
        line = ndjson.format_line(replace(drawing, key_id=i + 1))
        lines["columns"].append(line)
        record = json.loads(line)
        lines["points"].append(json.dumps({**record, "drawing": transposed(record["drawing"])}))
    lines["both"] = [lines["columns"][0], *lines["points"][1:3]]
    lines["line"] = ['{"word": "circle", "drawing": [[[0, 200], [10, 60]]]}']
    paths = {name: folder / name / "drawings.ndjson" for name in lines}
    for name, path in paths.items():
        path.parent.mkdir()
        path.write_text("\n".join(lines[name]) + "\n")
    return paths


def run(capsys: pytest.CaptureFixture[str], *args: Any) -> tuple[dict[str, Any], str, str]:
    """The JSON line, stdout and stderr of a command that does well."""
    assert main([*map(str, args), "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out.splitlines()[-1]), captured.out, captured.err


def test_predict_reads_both_and_says_which(model: Path, files: dict[str, Path], capsys: Any) -> None:
    by_name = {name: run(capsys, "predict", path, "--model", model) for name, path in files.items()}
    layouts = {name: [row["layout"] for row in values["drawings"]] for name, (values, _, _) in by_name.items()}
    assert layouts == {
        "columns": ["columns"] * 24,
        "points": ["points"] * 24,
        "both": ["columns", "points", "points"],
        "line": ["columns"],
    }
    guesses = [[row["guesses"] for row in by_name[name][0]["drawings"]] for name in ("columns", "points")]
    assert guesses[0] == guesses[1]
    assert "24 drawings read as points (--layout decides)" in by_name["points"][2]
    assert "2 drawings read as points, the other 1 as columns (--layout decides)" in by_name["both"][2]
    assert "read as points" not in by_name["columns"][2] + by_name["line"][2]
    assert "1 drawing may be written in points or in columns, and was read as columns" in by_name["line"][2]
    assert "may be written" not in by_name["points"][2]


def test_predict_reads_the_layout_that_it_is_told(model: Path, files: dict[str, Path], capsys: Any) -> None:
    values, _, err = run(capsys, "predict", files["line"], "--model", model, "--layout", "points")
    assert values["drawings"][0]["layout"] == "points" and "read as" not in err
    expected = qs.load(model).predict([[[0, 200], [10, 60]]], simplified=True)
    for guess, (word, probability) in zip(values["drawings"][0]["guesses"], expected, strict=True):
        assert guess["word"] == word and guess["probability"] == pytest.approx(probability, rel=1e-5)
    assert main(["predict", str(files["columns"]), "--model", str(model), "--layout", "points"]) == 2
    assert ", line 1: stroke 1 has 2 rows of" in capsys.readouterr().err


def test_files_of_other_formats_have_no_layout(
    model: Path, drawings: dict[str, list[Drawing]], tmp_path: Path, capsys: Any
) -> None:
    binary.write(tmp_path / "circle.bin", drawings["circle"][:2])
    values, _, err = run(capsys, "predict", tmp_path / "circle.bin", "--model", model, "--layout", "points")
    assert [row["layout"] for row in values["drawings"]] == [None, None]
    assert "--layout has no effect: none of the files is .ndjson, .csv, .parquet or .json" in err


def test_prepare_evaluate_and_render_read_both(
    model: Path, files: dict[str, Path], tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    for large in (False, True):  # a large file is read by compiled code
        monkeypatch.setattr("quickstroke.preparation.convert._FEW_BYTES", 0 if large else 1 << 20)
        for name, layout in (("columns", "auto"), ("points", "auto"), ("points", "points")):
            into = tmp_path / f"{name}-{layout}-{large}"
            run(capsys, "prepare", files[name], "--into", into, "--layout", layout)
            assert (into / "points.bin").read_bytes() == (tmp_path / "columns-auto-False" / "points.bin").read_bytes()
    line = tmp_path / "line"
    run(capsys, "prepare", files["line"], "--into", line, "--layout", "points", "--fractions", 1, 0, 0)
    assert PreparedDataset(line).strokes(0)[0].tolist() == [[0, 200], [10, 60]]

    figures = [run(capsys, "evaluate", model, files[name])[0] for name in ("columns", "points")]
    assert figures[0] == figures[1] and figures[0]["n"] == 24
    for name in ("columns", "points"):
        run(capsys, "render", files[name], "--into", tmp_path / f"{name}.npy")
    assert (tmp_path / "columns.npy").read_bytes() == (tmp_path / "points.npy").read_bytes()
    for command in (["evaluate", model, files["columns"]], ["render", files["columns"], "--into", tmp_path / "a.svg"]):
        assert main([*map(str, command), "--layout", "points"]) == 2


def test_a_preparation_goes_on_with_its_layout_only(files: dict[str, Path], tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    into = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        qs.prepare(files["points"], into, layout="points", on_source=stop)
    with pytest.raises(DatasetError, match=r"was begun with layout = 'points', cannot resume with None"):
        qs.prepare(files["points"], into, resume=True)
    assert qs.prepare(files["points"], into, layout="points", resume=True).n == 24
