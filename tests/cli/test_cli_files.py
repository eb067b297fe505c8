"""Files given to several commands: what is left out, ignored or read in two ways, and how it is told."""

import os
import shutil
import threading
from dataclasses import replace

import pytest

from quickstroke.cli.inputs import Invalid
from quickstroke.formats import binary, ndjson
from typed_commands import one_line


def test_files_that_are_no_drawing_files_are_told(run, trained, drawings, tmp_path):
    binary.write(tmp_path / "given" / "star.bin", drawings["star"])
    model = trained / "best.model" if (trained / "best.model").exists() else trained
    for command in (
        ["predict", "--model", model, tmp_path / "given", "--limit", 1],
        ["evaluate", model, tmp_path / "given"],
        ["render", tmp_path / "given", "--into", tmp_path / "out.svg", "--limit", 1],
    ):
        assert "ignored" not in run(*command).err
        (tmp_path / "given" / "notes.txt").touch()
        result = run(*command)
        assert result.code == 0 and "ignored 1 file that is no drawing file: notes.txt\n" in result.err
        (tmp_path / "given" / "notes.txt").unlink()
        (tmp_path / "given" / "a.png").touch()
        result = run(*command)
        assert result.code == 0 and "no drawing file" not in result.err
        assert "ignored 1 file of another kind than those read beside it: a.png\nwhat is named" in result.err
        (tmp_path / "given" / "a.png").unlink()


def test_names_of_files_reach_no_terminal_with_what_it_would_obey(run, trained, drawings, tmp_path):
    path = tmp_path / "st\x1b[2Jar\n.bin"
    binary.write(path, drawings["star"][:1])
    told = str(path).replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert run("predict", path, "--model", trained).out.startswith(f"{told}:1 [")
    one_line(run("predict", f"{path}x"), told.replace("\\n", " "))
    ndjson.write(tmp_path / "mixed.ndjson", [*drawings["star"][:1], replace(drawings["star"][1], word="c\x1b[2Jat")])
    evaluated = run("evaluate", trained, tmp_path / "mixed.ndjson")
    assert evaluated.code == 0 and "(c\\x1b[2Jat 1)" in evaluated.out and "\x1b" not in evaluated.out
    rendered = run("render", tmp_path, "--into", tmp_path / "out.svg")
    assert rendered.code == 0 and "\x1b" not in rendered.out


def test_what_is_no_drawing_is_left_out_on_request(run, trained, tmp_path):
    path, into = tmp_path / "own.jsonl", tmp_path / "data"
    good, bad, nameless = '{"word":"star","drawing":[[[1,2,%d],[3,4,5]]]}', '{"drawing":[]}', '{"drawing":[[[1],[3]]]}'
    path.write_text("\n".join([good % 7, *[bad] * 12, nameless, good % 9, ""]))
    for command in (
        ["predict", path, "--model", trained],
        ["convert", path, "--to", "ndjson", "--into", tmp_path / "x"],
    ):
        one_line(run(*command[:-1], f"{command[-1]}.ndjson" if command[0] == "convert" else trained), "line 2")
    one_line(run("prepare", path, "--into", into), f"{path}, line 2: the drawing has no strokes")
    result = run("predict", path, "--model", trained, "--skip-invalid", "--json")
    assert len(result.json["drawings"]) == 3
    assert [drawing["number"] for drawing in result.json["drawings"]] == [1, 14, 15]
    assert len(result.json["invalid"]) == 12 and result.json["invalid"][0].startswith(f"{path}, line 2: ")
    told = result.err.splitlines()
    (first, *_) = [line for line in told if "left out: " in line]
    assert first.endswith("line 2: the drawing has no strokes; expected at least one")
    assert told[-1].endswith("left out: 2 more, which --json has all of")
    result = run("convert", path, "--to", "ndjson", "--into", tmp_path / "out.ndjson", "--skip-invalid", "--json")
    assert (result.json["n"], len(result.json["invalid"])) == (3, 12)
    result = run("prepare", path, "--into", into, "--skip-invalid", "--fractions", 1, 0, 0, "--json")
    assert (result.json["n"], result.json["left_out"]) == (2, {"no drawings": 13})
    no_word = "has no word; a dataset needs one for each, in text files by the name `word`"
    assert f"{path}: drawing 14 {no_word}" in result.json["invalid"]
    same = ["prepare", path, "--into", into, "--fractions", 1, 0, 0, "--resume"]
    assert run(*same, "--skip-invalid", "--json").json == result.json | {"invalid": [], "layouts": {}}
    for command in (
        ["evaluate", trained, path],
        ["render", path, "--into", tmp_path / "a.svg"],
        ["render", path, "--into", tmp_path / "a.npy"],
        ["teach", trained, path, "--into", "robot", "--taught", tmp_path / "a.json"],
    ):
        one_line(run(*command), "line 2")
        assert len(run(*command, "--skip-invalid", "--json").json["invalid"]) == 12
    one_line(run(*same), "from other sources or with other options")
    path.write_text(bad + "\n")
    result = run("predict", path, "--model", trained, "--skip-invalid")
    assert (result.code, result.err.splitlines()[-1]) == (2, f"quickstroke predict: {path}: holds no drawing")


def test_a_file_that_was_read_in_both_layouts_is_told(run, trained, tmp_path):
    path = tmp_path / "star.ndjson"
    lines = ['{"word":"star","drawing":[[[%d,9],[99,9],[9,50],[9,60]]]}', '{"word":"star","drawing":[[[%d,9],[99,9]]]}']
    path.write_text("\n".join(line % (9 * i) for i in range(6) for line in lines) + "\n")
    for command in (
        ["prepare", path, "--into", tmp_path / "data", "--fractions", 1, 0, 0],
        ["evaluate", trained, path],
        ["render", path, "--into", tmp_path / "a.svg"],
        ["render", path, "--into", tmp_path / "a.svg", "--limit", 12],
        ["convert", path, "--to", "ndjson", "--into", tmp_path / "out.ndjson"],
    ):
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
        assert "6 drawings read as points, the other 6 as columns (--layout decides)" in run(*command).err
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
        assert "as columns" not in run(*command, "--layout", "points").err


def test_files_without_drawings_are_told(run, trained, tmp_path):
    empty = tmp_path / "empty.ndjson"
    empty.write_text("")
    one_line(run("predict", empty, "--model", trained), "holds no drawing")
    (tmp_path / "other.ndjson").write_text('{"drawing": [[[1, 2, 9], [3, 4, 5]]]}\n')
    assert f"{empty}: holds no drawing" in run("predict", tmp_path, "--model", trained).err
    one_line(run("evaluate", trained, empty), "holds no drawing")
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "below").mkdir()
    one_line(
        run("prepare", tmp_path / "above", "--into", tmp_path / "data"),
        "subfolders are searched for files of one drawing alone",
    )
    one_line(run("prepare", "--into", tmp_path / "data"), "no SOURCE was given")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_waited_for_where_it_is_read_once_and_refused_by_prepare(run, trained, drawings, tmp_path):
    pipe, data = tmp_path / "star.ndjson", tmp_path / "data.ndjson"
    os.mkfifo(pipe)
    ndjson.write(data, drawings["star"][:2])
    writer = threading.Thread(target=lambda: pipe.write_bytes(data.read_bytes()), daemon=True)
    writer.start()
    result = run("predict", pipe, "--model", trained)
    writer.join()
    assert result.code == 0 and len(result.out.splitlines()) == 2
    assert result.err.count(f"{pipe}: is a named pipe, and is waited for until a program writes into it\n") == 1
    one_line(run("prepare", pipe, "--into", tmp_path / "set"), f"{pipe}: is a pipe or a device")
    classes = tmp_path / "classes.txt"
    os.mkfifo(classes)
    writer = threading.Thread(target=lambda: classes.write_text("star\n"), daemon=True)
    writer.start()
    assert run("predict", data, "--model", trained, "--words", classes).code == 0
    writer.join()


def test_a_word_that_another_process_taught_meanwhile_stays(run, trained, drawings, tmp_path, monkeypatch):
    taught, path = tmp_path / "a.taught.json", tmp_path / "star.bin"
    binary.write(path, drawings["star"][:3])
    numbered = Invalid.numbered

    def read_while_another_teaches(*given):
        monkeypatch.setattr(Invalid, "numbered", numbered)
        assert run("teach", trained, path, "--into", "robot", "--taught", taught).code == 0
        return numbered(*given)

    monkeypatch.setattr(Invalid, "numbered", read_while_another_teaches)
    result = run("teach", trained, path, "--into", "comet", "--taught", taught, "--json")
    assert result.json["words"] == {"robot": 3, "comet": 3}
