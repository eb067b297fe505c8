"""Headings of a report: by the shape of a model, and by whatever tells its sections apart."""

import shutil

import pytest
from small_documents import LOG, block, edit_json

from quickstroke.reports import report
from quickstroke.reports.documents import read_document

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    ("values", "headings"),
    [
        ({}, ("Simple LSTM", "1 layer", "Size 64")),
        ({"n_layers": 2, "hidden_size": 256, "conv2": (8, 3)}, ("Simple LSTM", "2 layers", "Size 256")),
        ({"conv1": (128, 5)}, ("LSTM with convolution (128, 5)", "1 layer", "Size 64")),
        ({"bidirectional": True}, ("Bidirectional LSTM", "1 layer", "Size 64")),
        (
            {"conv1": (256, 5), "conv2": (256, 3), "bidirectional": True},
            ("Bidirectional LSTM with convolutions (256, 5) and (256, 3)", "1 layer", "Size 64"),
        ),
    ],
)
def test_headings(write, values, headings):
    (result,), _ = write(f"# Anything\n{block(**values)}{LOG}")
    assert result.path == headings


def test_sections_are_ordered_by_shape(write):
    shapes = [
        {"bidirectional": True},
        {"conv1": (128, 5)},
        {"n_layers": 2, "hidden_size": 32},
        {"hidden_size": 256},
        {"n_layers": 2, "hidden_size": 16},
        {},
    ]
    results, text = write("".join(f"# {i}\n{block(**shape)}{LOG}" for i, shape in enumerate(shapes)))
    assert [result.name for result in results] == [
        "simple_lay1_sz64",
        "simple_lay1_sz256",
        "simple_lay2_sz16",
        "simple_lay2_sz32",
        "lstm_cv1_128_5_lay1_sz64",
        "bilstm_lay1_sz64",
    ]
    assert text.count("\n## Simple LSTM\n") == text.count("\n### 2 layers\n") == 1


def test_sections_without_a_shape_keep_their_headings(write):
    names = ("a", "b", "c", "d", "e", "f")
    deep = "".join(f"{'#' * depth} {name}\n" for depth, name in enumerate(names, start=1))
    results, text = write(f"{LOG}\n# Results\n## Mine | *old*\n{LOG}{block()}{LOG}{deep}{LOG}")
    assert [result.path for result in results] == [
        ("Simple LSTM", "1 layer", "Size 64"),
        ("given.md, line 2",),
        ("Mine | *old*",),
        ("a", "b", "c", "d", "e, f"),
    ]
    assert r"| Mine \| \*old\*" in text
    assert len(results[1].log) == 2


def test_runs_and_documents_are_told_apart(run, copy, tmp_path):
    document = tmp_path / "old.md"
    document.write_text(f"# A\n{block(hidden_size=4)}{LOG}")
    results = report.write_report([run, copy, document], tmp_path / "out.md")
    sizes = ["Size 4, run first", "Size 4, run copy", "Size 4, from old.md"]
    assert [result.path[-1] for result in results] == sizes
    written = read_document(tmp_path / "out.md")
    for size, section in zip(sizes, written.sections, strict=True):
        assert written.find(size) is section
    again = report.write_report([tmp_path / "out.md"], tmp_path / "again.md")
    assert [result.path[-1] for result in again] == sizes


def test_a_folder_named_like_its_model_tells_nothing(run, tmp_path):
    folders = [shutil.copytree(run, tmp_path / name / "simple_lay1_sz4") for name in ("old", "new")]
    results = report.write_report(folders, tmp_path / "out.md")
    assert [result.path[-1] for result in results] == ["Size 4, run old", "Size 4, run new"]


def test_what_differs_tells_apart(run, copy, tmp_path):
    edit_json(copy / "config.json", lambda values: values["train"].update(seed=7))
    results = report.write_report([run, copy], tmp_path / "out.md")
    assert [result.path[-1] for result in results] == ["Size 4, seed 0", "Size 4, seed 7"]


def test_equal_sections_are_numbered(write):
    section = f"# A\n{block()}{LOG}"
    results, _ = write(section * 3 + f"# Simple LSTM\n## 1 layer\n### size 64\n{LOG}")
    assert [result.path[-1] for result in results] == [
        "Size 64",
        "Size 64, number 2",
        "Size 64, number 3",
        "size 64, number 4",
    ]
