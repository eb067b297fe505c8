"""`quickstroke prepare`: files, classes and splits that are refused, and what is told of the others."""

import json
import struct
from dataclasses import replace

from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.formats import binary, ndjson
from typed_commands import one_line


def test_links_to_what_is_read_already_are_told(run, drawings, tmp_path):
    binary.write(tmp_path / "given" / "star.bin", drawings["star"])
    (tmp_path / "given" / "sun.bin").symlink_to("star.bin")
    result = run("prepare", tmp_path / "given", "--into", tmp_path / "data", "--json")
    assert result.code == 0 and result.json["repeated_files"] == ["sun.bin"]
    assert "ignored 1 name of a file that is read by another one: sun.bin\n" in result.err
    assert " of 1 class (" in result.err


def test_one_key_id_of_two_drawings_and_words_of_two_cases_are_told(run, tmp_path):
    path = tmp_path / "mine.ndjson"
    lines = [{"word": word, "key_id": 7, "drawing": [[[0, k], [5, 9]]]} for k, word in ((1, "robot"), (2, "robot"))]
    lines += [{"word": "Robot", "drawing": [[[0, 3], [5, 9]]]}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run("prepare", path, "--into", tmp_path / "data", "--fractions", 1, 0, 0)
    assert result.code == 0 and "left out: 1 repeated key_id" in result.out
    assert "drawings with one key_id are taken for one" in result.err
    assert "words that differ in letter case alone are words of their own: Robot, robot" in result.err


def test_drawings_taken_as_simplified_that_do_not_look_it_are_told(run, trained, tmp_path):
    def written(name, *drawings):
        path = tmp_path / f"{name}.ndjson"
        path.write_text("".join(json.dumps({"word": "star", **drawing}) + "\n" for drawing in drawings))
        return path

    small = [{"drawing": [[[40, 90, 60 + k], [50, 70, 30]]]} for k in range(20)]
    pixels = written("pixels", *small)
    told = "100.00% of the drawings are taken as simplified, but do not fill 0 to 255"
    for command in (("prepare", pixels, "--into", tmp_path / "data"), ("predict", pixels, "--model", trained)):
        assert told in run(*command).err
    assert told in run("evaluate", trained, pixels).err
    raw = written("raw", *({"strokes": drawing["drawing"]} for drawing in small), {"strokes": [[[7], [7]]]})
    shapes = ([[[3], [3]]], *([[[0, 255], [0, k]]] for k in range(6)), *([[[0, k], [2, 253]]] for k in range(6)))
    for path in (raw, written("simplified", small[0], *({"drawing": strokes} for strokes in shapes))):
        assert "taken as" not in run("evaluate", trained, path).err
        fresh = run("prepare", path, "--into", tmp_path / path.stem, "--fractions", 1, 0, 0)
        assert fresh.code == 0 and "taken as" not in fresh.err


def test_bad_drawing_files(run, tmp_path, binary_folder):
    whole = (binary_folder / "star.bin").read_bytes()
    header = struct.pack("<Q2sbIH", 1, b"US", 1, 0, 1)
    cases = {
        "truncated.bin": (whole[:-3], "truncated"),
        "page.bin": (b"<!DOCTYPE html><html></html>", "web page"),
        "no strokes.bin": (header[:-2] + b"\0\0", "no strokes"),
        "count.bin": (header + struct.pack("<H", 60_000) + b"ab", "60000 points"),
        "no points.bin": (header + b"\0\0", "without points"),
        "empty.ndjson": (b'{"word":"cat","drawing":[]}\n', "line 1"),
        "half.ndjson": (b'{"word":"cat","drawing":[[[1,2],[3', "truncated"),
        "notes.txt": (b"", "ending"),
        "page.npz": (b"<html>", "web page"),
        "page.csv": (b"<html>", "web page"),
    }
    for name, (content, part) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        for command in (("prepare", path, "--into", tmp_path / "data"), ("evaluate", "x.model", path)):
            result = run(*command)
            if command[0] == "prepare":
                one_line(result, name, part)
            else:
                assert result.code == 2
        assert not (tmp_path / "data").exists()
    one_line(run("prepare", tmp_path / "nowhere", "--into", tmp_path / "data"), "nowhere", "no such file")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_bad_classes(run, binary_folder, tmp_path):
    into = ("--into", tmp_path / "data")
    one_line(run("prepare", binary_folder, *into, "--classes", "star", "huose"), "'huose'", "did you mean 'house'")
    one_line(run("prepare", binary_folder, *into, "--classes", "star", "star"), "listed twice")
    listed = tmp_path / "classes.txt"
    listed.write_text("star\nhouse\nstar\n")
    one_line(run("prepare", binary_folder, *into, "--classes", listed), "classes.txt", "class 1 and class 3")
    one_line(run("prepare", binary_folder, *into, "--classes", tmp_path / "no.txt"), "no.txt")
    short = run("prepare", binary_folder, *into, "--n-train", 60, "--n-val", 1, "--n-test", 0)
    one_line(short, "circle has 60", "house has 60", "star has 60", "asked for 61 (60 train + 1 val)")
    one_line(run("prepare", binary_folder, *into, "--fractions", 0.5, 0.1, 0.1), "add up to 1")
    one_line(run("prepare", binary_folder, *into, "--n-val", 5), "--n-train")
    one_line(run("prepare", binary_folder, *into, "--n-train", 5, "--split-seed", 1), "--split-seed needs a split by")
    one_line(run("prepare", binary_folder, *into, "--n-train", 5, "--fold", 0), "--fold needs a split by fractions")
    one_line(run("prepare", binary_folder, *into, "--fold", 10), "should be a whole number from 0 to 9")


def test_key_ids_that_begin_anew_in_each_word_are_told(run, tmp_path):
    words = ("circle", "square", "star")
    drawings = [replace(each, key_id=i % 40 + 1) for i, each in enumerate(synthetic_drawings(40, words=words, seed=3))]
    (tmp_path / "in").mkdir()
    for word in words:
        ndjson.write(tmp_path / "in" / f"{word}.ndjson", [each for each in drawings if each.word == word])
    told = "120 drawings share 40 key_ids, by which they are split; if the words number their drawings alone"
    assert told in run("prepare", tmp_path / "in", "--into", tmp_path / "data").err
    position = ("--n-train", 30, "--n-val", 5)
    assert "key_ids" not in run("prepare", tmp_path / "in", "--into", tmp_path / "other", *position).err


def test_what_another_dataset_scores_is_held_out(run, dataset, binary_folder, tmp_path):
    result = run("prepare", binary_folder, "--into", tmp_path / "all", "--held-out", dataset.path, "--json")
    assert result.code == 0
    assert result.json["n"] == 120 and "held out by another dataset" in result.out + result.err
    one_line(run("prepare", binary_folder, "--into", tmp_path / "no", "--held-out", tmp_path / "none"), "none")
