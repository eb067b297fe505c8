"""`quickstroke audit`: doubtful labels, judged by models that have not learnt them, and the list that prepare takes."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from quickstroke import cli
from quickstroke.artifacts import runs
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.config.model import ModelConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import FormatError
from quickstroke.evaluation.audit import Doubts, doubts_on, most_doubted
from quickstroke.evaluation.calibration import logits_on
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.preparation.leave_out import read_leave_out
from quickstroke.preparation.prepare import prepare
from quickstroke.reports.audit_page import audit_page

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_label_is_doubted_that_is_less_likely_than_guesses_are(dataset, tmp_path):
    torch.manual_seed(0)
    classes = ("star", "circle", "house")  # another order than the dataset's
    model = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz4", n_classes=3, reading="length-aware")).eval()
    loaded = LoadedModel(model, classes, None, tmp_path)
    doubts = doubts_on(loaded, dataset, "test")
    drawings = LabelledDrawings.of_split(dataset, "test", classes)
    p = logits_on(model, drawings).softmax(1).numpy()
    assert np.array_equal(doubts.rows, dataset.indices("test"))
    assert [dataset.classes[i] for i in doubts.guess] == [classes[i] for i in p.argmax(1)]
    expected = -np.log(p[np.arange(len(p)), drawings.labels]) + (p * np.log(p)).sum(1)
    np.testing.assert_allclose(doubts.doubt, expected)


def test_the_most_doubted_come_first_whichever_fold_they_are_of():
    a = Doubts(np.array([4, 1]), np.array([0.5, 2.0]), np.array([0, 1]))
    b = Doubts(np.array([0, 3]), np.array([2.0, -1.0]), np.array([2, 0]))
    worst = most_doubted([a, b], 3)
    assert worst.rows.tolist() == [0, 1, 4] and worst.guess.tolist() == [2, 1, 0]


def test_the_page_holds_what_it_is_given_as_data():
    item = {"key_id": "7", "word": "</script><b>", "guess": "cat", "drawing": [[[0, 9], [0, 5]]]}
    page = audit_page([item], ["</script>", "cat"])
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert json.loads(data) == [item]
    (words,) = re.findall(r'<script type="application/json" id="known">(.*?)</script>', page, re.S)
    assert json.loads(words) == ["</script>", "cat"]
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_command_shows_the_doubtful_and_prepare_leaves_them_out(binary_folder, tmp_path, capsys):
    data, into = tmp_path / "data", tmp_path / "audit"
    prepare(binary_folder, data)
    arguments = ["audit", str(data), "--into", str(into), "--name", "simple_lay1_sz4", "--n-epochs", "1"]
    assert cli.main([*arguments, "--part", "0.05", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == 180 and len(told["doubtful"]) == 9
    listed = [(each["key_id"], each["word"]) for each in told["doubtful"]]
    assert (into / "leave-out.txt").read_text() == "".join(f"{key_id}\t{word}\n" for key_id, word in listed)
    assert all(f'"key_id":"{key_id}"' in (into / "index.html").read_text() for key_id, _ in listed)
    assert not (into / "folds").exists()
    with (into / "doubts.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["key_id", "word", "guess", "doubt"] and len({key_id for key_id, *_ in rows}) == len(rows) == 180
    doubts = [float(doubt) for *_, doubt in rows]
    assert doubts == sorted(doubts, reverse=True) and [tuple(row[:2]) for row in rows[:9]] == listed
    assert doubts[:9] == pytest.approx([each["doubt"] for each in told["doubtful"]], abs=1e-6)
    left = prepare(binary_folder, tmp_path / "clean", leave_out=into / "leave-out.txt")
    assert left.n == 171 and left.left_out == {"listed to be left out": 9}
    kept = PreparedDataset(tmp_path / "clean")
    pairs = zip(kept.key_ids.tolist(), (kept.classes[i] for i in kept.labels), strict=True)
    assert not {(str(key), word) for key, word in pairs} & set(listed)
    for more, reason in (
        ([], "an audit is there already"),
        (["--part", "0"], "--part should be above 0 and at most 1, got 0"),
        (["--n-epochs", "0"], "--n-epochs should be 1 or more, got 0"),
        (["--folds", "1", "--into", str(tmp_path / "other")], "folds should be 2 or more, got 1"),
    ):
        assert cli.main([*arguments, *more]) == 2
        assert reason in capsys.readouterr().err.splitlines()[-1]


def test_a_list_that_cannot_be_read_is_refused_with_its_line(tmp_path):
    file = tmp_path / "list.txt"
    for content, reason in (
        (b"1\tcat\n\nx\tcat\n", r"list.txt, line 3: is 'x\\tcat'; expected a key_id, a tab and a word"),
        (b"1 cat\n", "line 1"),
        (b"18446744073709551616\tcat\n", "line 1"),
        (b"\xff", "is no UTF-8 text"),
    ):
        file.write_bytes(content)
        with pytest.raises(FormatError, match=reason):
            read_leave_out(file)
    with pytest.raises(FormatError, match="nowhere: cannot be read"):
        read_leave_out(tmp_path / "nowhere")
    file.write_bytes(b"9\tThe_Eiffel_Tower\n3\tcat\n2\tcat\n")
    found = read_leave_out(file)
    assert {word: keys.tolist() for word, keys in found.by_word.items()} == {"The Eiffel Tower": [9], "cat": [2, 3]}


def test_prepare_tells_of_listed_drawings_that_it_did_not_meet(binary_folder, tmp_path, capsys):
    listed = tmp_path / "list.txt"
    listed.write_text("1000000000000000\tcircle\n1000000000000001\thouse\n")
    arguments = ["prepare", str(binary_folder), "--leave-out", str(listed), "--into"]
    assert cli.main([*arguments, str(tmp_path / "data")]) == 0
    said = capsys.readouterr().err
    assert said == "--leave-out: 0 of the 2 drawings listed were among those that were read\n"
    data = PreparedDataset(tmp_path / "data")
    listed.write_text(f"{data.key_ids[0]}\t{data.classes[data.labels[0]]}\n")
    assert cli.main([*arguments, str(tmp_path / "less")]) == 0
    assert capsys.readouterr().err == "" and len(PreparedDataset(tmp_path / "less")) == len(data) - 1


def test_an_audit_that_another_process_is_making_is_refused(dataset, tmp_path, capsys):
    with runs.held(tmp_path / "audit", "making"):
        assert cli.main(["audit", str(dataset.path), "--into", str(tmp_path / "audit")]) == 2
    assert capsys.readouterr().err.endswith("audit: another process is making it\n")
    assert not (tmp_path / "audit").exists()
