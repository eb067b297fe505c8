"""`quickstroke predict`: what it shows, and models that it does not take."""

import json
import pickle
from pathlib import Path

import pytest

from quickstroke.drawings.render import write_picture
from quickstroke.formats import binary
from typed_commands import MODEL, one_line


def test_predict_says_what_it_traced_and_shows_it(run, trained, drawings, tmp_path):
    pytest.importorskip("skimage")
    (tmp_path / "circle").mkdir()
    (tmp_path / "album").mkdir()
    for folder in ("circle", "album"):
        write_picture(tmp_path / folder / "photo.png", drawings["circle"][:1])
    shown = tmp_path / "traced.svg"
    result = run("predict", f"{tmp_path}/*/photo.png", "--model", trained, "--show", shown)
    assert result.code == 0
    of_album, of_circle = result.out.splitlines()
    assert of_album.startswith(f"{tmp_path}/album/photo.png:1  ")  # a folder's name is no word that the model knows
    told = json.loads(run("predict", f"{tmp_path}/*/photo.png", "--model", trained, "--json").out)
    assert [drawing["word"] for drawing in told["drawings"]] == ["", "circle"]
    assert of_circle.startswith(f"{tmp_path}/circle/photo.png:1 [circle]  ")
    assert result.err.count("photo.png:1: traced 1 stroke of ") == 2
    assert shown.read_text().count("<path") == 2
    one_line(run("predict", tmp_path / "circle", "--show", "a.txt"), "should end in .svg, .png or .gif")


def test_a_limit_may_be_any_number(run, trained, drawings, tmp_path):
    path = tmp_path / "star.bin"
    binary.write(path, drawings["star"][:2])
    for command in (["predict", "--model", trained], ["render", "--into", tmp_path / "a.svg"]):
        assert run(*command, path, "--limit", 10**23).code == 0
        one_line(run(*command, path, "--limit", 0), "--limit should be 1 or more, got 0")


def test_raw_and_simplified_files_by_their_format(run, trained, tmp_path):
    raw = tmp_path / "raw.ndjson"
    raw.write_text('{"drawing": [[[0, 500, 500], [0, 0, 500], [0, 100, 200]]]}\n')
    plain = tmp_path / "plain.ndjson"
    plain.write_text('{"drawing": [[[0, 255, 255], [0, 0, 255]]]}\n')
    guesses = [
        run("predict", path, "--model", trained, "--json").json["drawings"][0]["guesses"] for path in (raw, plain)
    ]
    assert guesses[0] == guesses[1]


def test_bad_models(run, binary_folder, tmp_path, trained):
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (marker,))

    evil = tmp_path / f"{MODEL}.model"
    evil.write_bytes(pickle.dumps({"bn.weight": Payload()}))
    one_line(run("evaluate", evil, binary_folder), "refused")
    assert not marker.exists()
    evil.write_bytes(b"<html>")
    one_line(run("evaluate", evil, binary_folder), "not a PyTorch file")
    other = tmp_path / "simple_lay1_sz32.model"
    other.write_bytes((trained / "best.model").read_bytes())
    one_line(run("predict", binary_folder, "--model", other), "do not fit simple_lay1_sz32")
    bare = tmp_path / f"{MODEL}.model"
    bare.write_bytes((trained / "best.model").read_bytes())
    one_line(run("predict", binary_folder, "--model", bare), "3 outputs")
    two = tmp_path / "two.txt"
    two.write_text("star\nhouse\n")
    one_line(run("predict", binary_folder, "--model", bare, "--classes", two), "3 outputs, but 2 classes")
    three = tmp_path / "three.txt"
    three.write_text("circle\nhouse\nstar\n")
    result = run("predict", binary_folder / "star.bin", "--limit", 1, "--model", bare, "--classes", three)
    assert result.code == 0
    assert "no card" in result.err
    one_line(run("predict", binary_folder, "--model", "no_such_model"), "no_such_model")
