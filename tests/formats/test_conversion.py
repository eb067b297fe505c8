"""`quickstroke convert`: drawings go to each format and come back, and what fails leaves nothing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quickstroke import formats
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.formats import conversion, ndjson

WORDS = ("circle", "The Eiffel Tower", "my own")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ndjson file of three words by turns, with every fact, and dots of one and of two points first."""
    path = tmp_path_factory.mktemp("source") / "mixed.ndjson"
    drawings = []
    for i, drawing in enumerate(synthetic_drawings(4, words=("house", "star", "circle"))):
        dot = np.full((1 + i % 2, 2), 9 + i, np.uint8)
        facts = {"key_id": 2**64 - 1 - i, "countrycode": "DE", "timestamp_us": 1_488_396_096_707_250 + i}
        drawings.append(
            replace(drawing, word=WORDS[i % 3], strokes=[dot, *drawing.strokes, dot], recognized=i % 4 > 0, **facts)
        )
    ndjson.write(path, drawings)
    return path


def facts(drawing: Drawing) -> tuple[object, ...]:
    told = (drawing.key_id, drawing.countrycode, drawing.timestamp_us, drawing.recognized)
    return (drawing.word, [stroke.tolist() for stroke in drawing.strokes], drawing.is_simplified, *told)


def by_word(path: Path | str) -> list[tuple[object, ...]]:
    """What the files say of each drawing, word by word in order."""
    return sorted(map(facts, formats.read_drawings(path)), key=lambda told: str(told[0]))


@pytest.mark.parametrize(
    ("to", "into", "back"),
    [
        ("ndjson", "out.ndjson", "out.ndjson"),
        ("ndjson", "out.ndjson.gz", "out.ndjson.gz"),
        ("parquet", "out.parquet", "out.parquet"),
        ("svg", "out.svg", "out.svg"),
        ("svg", "out", "out/*/*.svg"),
    ],
)
def test_everything_comes_back(to: str, into: str, back: str, source: Path, tmp_path: Path, run, monkeypatch) -> None:
    if to == "parquet":
        pytest.importorskip("pyarrow")
        monkeypatch.setattr("quickstroke.formats.parquet._ROWS_OF_A_GROUP", 5)
    code, out, _ = run("convert", source, "--to", to, "--into", tmp_path / into, "--json")
    assert code == 0
    words = dict.fromkeys(("circle", "The Eiffel Tower", "my own"), 4)
    assert json.loads(out) == {"into": str(tmp_path / into), "to": to, "n": 12, "words": words, "invalid": []}
    assert by_word(f"{tmp_path}/{back}") == by_word(source)
    assert [path.name for path in tmp_path.iterdir()] == [into]
    # A file that was made so is a source like any other, and nothing is lost on the way back.
    assert run("convert", f"{tmp_path}/{back}", "--to", "ndjson", "--into", tmp_path / "again.ndjson")[0] == 0
    assert by_word(tmp_path / "again.ndjson") == by_word(source)


def test_binary_files_have_whole_seconds(source: Path, tmp_path: Path, run, monkeypatch) -> None:
    monkeypatch.setattr("quickstroke.utils.files._KEPT_BYTES", 500)
    assert run("convert", source, "--to", "binary", "--into", tmp_path / "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "The Eiffel Tower.bin",
        "circle.bin",
        "my own.bin",
    ]
    for made, told in zip(by_word(tmp_path / "out"), by_word(source), strict=True):
        assert made[:5] == told[:5] and made[5] == told[5] // 1_000_000 * 1_000_000 and made[6] == told[6]


def test_sketch_rnn_files_have_the_strokes(source: Path, tmp_path: Path, run) -> None:
    assert run("convert", source, "--to", "npz", "--into", tmp_path / "out")[0] == 0
    with np.load(tmp_path / "out" / "circle.npz", allow_pickle=True) as arrays:
        assert {name: len(arrays[name]) for name in arrays} == {"train": 4, "valid": 0, "test": 0}
        assert arrays["train"][0].dtype == np.int16
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "The Eiffel Tower.npz",
        "circle.npz",
        "my own.npz",
    ]
    for (word, strokes, simplified, *_), (word_there, there, *_) in zip(
        by_word(tmp_path / "out"), by_word(source), strict=True
    ):
        if len(there[0]) == 1:
            there[0] *= 2  # the format has no stroke of one point at the beginning
        corner = np.concatenate([np.array(stroke) for stroke in there]).min(axis=0)
        assert (word, simplified) == (word_there, True)
        assert strokes == [(np.array(stroke) - corner).tolist() for stroke in there]


def test_raw_drawings_are_simplified_and_limited(tmp_path: Path, run) -> None:
    line = '{"word":"cat","drawing":[[[0,1000,1000],[0,0,500],[0,5,9]]]}\n'
    (tmp_path / "raw.ndjson").write_text(3 * line)
    code, out, _ = run("convert", tmp_path / "raw.ndjson", "--to", "binary", "--into", tmp_path / "out", "--limit", 2)
    assert (code, out) == (0, f"wrote {tmp_path}/out: 2 drawings of 1 word\n")
    (first, second) = formats.read_drawings(tmp_path / "out")
    assert first.strokes[0].tolist() == second.strokes[0].tolist() == [[0, 0], [255, 0], [255, 128]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--to svg --into new.svg", "no FILE was given"),
        ("good.ndjson --to svg", "missing --into OUT"),
        ("good.ndjson --to gif --into new", "--to gif: expected binary, "),
        ("good.ndjson --to ndjson --into new", "new: cannot be ndjson; expected .ndjson or .ndjson.gz"),
        ("good.ndjson --to svg --into new.ndjson", "new.ndjson: cannot be svg; expected .svg or a folder"),
        ("good.ndjson --to binary --into new.bin", "new.bin: cannot be binary; expected a folder, for a file a word"),
        ("good.ndjson --to ndjson --into good.ndjson", "good.ndjson: exists already; give another name"),
        ("missing.ndjson --to svg --into new", "missing.ndjson: no such file or folder"),
        ("good.ndjson cut.ndjson --to ndjson --into new.ndjson", "cut.ndjson, line 1: "),
        ("good.ndjson cut.ndjson --to svg --into new", "cut.ndjson, line 1: "),
        ("good.ndjson cut.ndjson --to npz --into new", "cut.ndjson, line 1: "),
        ("empty.ndjson --to svg --into new", "there is no drawing to write"),
        ("empty.ndjson --to ndjson --into new.ndjson", "there is no drawing to write"),
        ("good.ndjson nameless.ndjson --to binary --into new", "nameless.ndjson: drawing 1: has no word"),
        (
            "named.ndjson --to binary --into new",
            "named.ndjson: drawing 1: has the word '../../up' that can be no file's name",
        ),
        (
            "named.ndjson --to svg --into new",
            "named.ndjson: drawing 1: has the word '../../up' that can be no file's name",
        ),
        ("full.ndjson --to npz --into new", "full.ndjson: drawing 1: has the word 'a.full' that can be no file's name"),
        ("country.ndjson --to binary --into new", "new: drawing 1: countrycode 'Ost' does not fit"),
    ],
)
def test_what_fails_is_one_line_and_leaves_nothing(
    arguments: str, told: str, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = '{"word":"cat","drawing":[[[0,255],[0,255]]]}'
    others = {"nameless": good.replace("cat", ""), "cut": good[:-9], "empty": ""}
    others |= {"named": good.replace("cat", "../../up"), "full": good.replace("cat", "a.full")}
    others["country"] = good.replace("{", '{"countrycode":"Ost",', 1)
    for name, line in {"good": good, **others}.items():
        (tmp_path / f"{name}.ndjson").write_text(line + "\n" * bool(line))
    before = sorted(tmp_path.iterdir())
    code, out, err = run("convert", *arguments.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err, err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("to", "nameless"), [("binary", [5]), ("npz", [5]), ("svg", [])])
def test_what_is_left_out_is_named_by_its_place_in_its_file(
    to: str, nameless: list[int], tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = '{"word":"cat","drawing":[[[0,255],[0,255]]]}\n'
    lines = [good, "no drawing\n", good, good.replace("cat", "x/y"), good.replace("cat", "")]
    (tmp_path / "good.ndjson").write_text(2 * good)
    (tmp_path / "mixed.ndjson").write_text("".join(lines))
    command = ("convert", "good.ndjson", "mixed.ndjson", "--to", to, "--into", "new", "--skip-invalid", "--json")
    code, out, err = run(*command)
    assert code == 0 and json.loads(out)["words"]["cat"] == 4
    assert "mixed.ndjson, line 2: " in err
    assert "left out: mixed.ndjson: drawing 4: has the word 'x/y' that can be no file's name" in err
    for number in nameless:
        assert f"left out: mixed.ndjson: drawing {number}: has no word" in err
    assert len(json.loads(out)["invalid"]) == 2 + len(nameless)


@pytest.mark.parametrize("to", ["binary", "npz", "svg"])
def test_words_that_one_name_stands_for_are_not_merged(to: str, tmp_path: Path, run, monkeypatch) -> None:
    """As on file systems that know no case, and on Windows, for which `12:30` is a part of the file `12`."""
    lines = [json.dumps({"word": word, "drawing": [[[0, 255], [0, 255]]]}) + "\n" for word in ("A", "a")]
    (tmp_path / "letters.ndjson").write_text("".join(lines))
    assert run("convert", tmp_path / "letters.ndjson", "--to", to, "--into", tmp_path / "both")[0] == 0

    def merging(write: Callable[..., None]) -> Callable[..., None]:
        def merged(folder: Path, *others: object) -> None:
            write(folder, *others)
            (folder / "a.bin").unlink(missing_ok=True)
            shutil.rmtree(folder / "a", ignore_errors=True)

        return merged

    for name in ("_write_svg", "_write_binary"):
        monkeypatch.setattr(conversion, name, merging(getattr(conversion, name)))
    code, out, err = run("convert", tmp_path / "letters.ndjson", "--to", to, "--into", tmp_path / "one")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "one: the word 'a' can be no name of its own on this file system" in err
    assert not (tmp_path / "one").exists()
