"""Results documents: which sections they have, and what is read of the logs in them."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_documents import EPOCH, SIMPLE, fenced

from quickstroke.errors import DocumentError
from quickstroke.reports.document_config import MAX_BLOCK_CHARACTERS, ClassSlice, format_config, parse_config
from quickstroke.reports.documents import (
    MAX_DOCUMENT_BYTES,
    EndLine,
    EpochLine,
    format_end,
    format_epoch,
    implied_name,
    read_document,
)

END = "Training ended after 10 ! Best validation accuracy: 55.0%"


# --- the seed's document


@pytest.fixture
def seed(shared: Path):
    return read_document(shared / "seed" / "results_lstm.md")


def test_seed_sections(seed):
    assert [section.name for section in seed.sections] == [
        "simple_lay1_sz64",
        "simple_lay1_sz256",
        "simple_lay2_sz64",
    ]
    assert seed.sections[0].path == ("Results", "Simple LSTM", "1 layer", "Size 64")
    for section in seed.sections:
        assert section.config is not None
        assert (section.config["N_val"], section.config["N_test"]) == (4000, 4000)
        assert section.config["train_classes"] == ClassSlice()
        assert (section.config["conv1"], section.config["bidirectional"]) == (None, False)
        assert (len(section.log), section.n_ignored_lines) == (10, 0)
        assert [line.epoch for line in section.log] == list(range(1, 11))


def test_seed_logs(seed):
    first, second, third = seed.sections
    assert first.log[0] == EpochLine(1, 10, 3.7877804596445768, 12.18075, 85.73434066772461)
    assert first.log[-1] == EpochLine(10, 10, 1.1950125450607636, 55.08175, 85.68330955505371)
    assert [section.ended for section in seed.sections] == [
        EndLine(10, 55.08175),
        EndLine(10, 79.7425),
        EndLine(10, 72.003),
    ]
    assert second.log[0].loss == 2.783527677432685
    assert third.log[-1].seconds == 121.2354621887207


def test_seed_lines_and_code_are_those_of_the_file(seed):
    lines = seed.path.read_text().split("\n")
    for section in seed.sections:
        code = section.code.split("\n")
        assert lines[section.line - 1 : section.line - 1 + len(code)] == code


def test_seed_log_lines_are_written_as_they_stand(seed):
    lines = seed.path.read_text().split("\n")
    for section in seed.sections:
        start = lines.index(format_epoch(section.log[0]))
        written = [*map(format_epoch, section.log), format_end(section.ended)]
        assert lines[start : start + 11] == written


def test_seed_values_come_back_from_a_written_block(seed):
    for section in seed.sections:
        assert parse_config(format_config(section.config)) == section.config


# --- choosing a section


@pytest.mark.parametrize(
    "key",
    [
        "simple_lay2_sz64",
        "Simple_Lay2_SZ64",
        "2 layers",
        "2 layers/Size 64",
        " simple lstm >  2  LAYERS > size 64 ",
        "Results/2 layers/Size 64",
        "/Results/Simple LSTM/2 layers/Size 64/",
    ],
)
def test_find(seed, key):
    assert seed.find(key) is seed.sections[2]


def test_find_lists_what_fits_when_ambiguous(seed):
    with pytest.raises(DocumentError) as error:
        seed.find("Size 64")
    message = str(error.value)
    assert "'Size 64' fits 2 sections" in message
    assert "Results > Simple LSTM > 1 layer > Size 64 (simple_lay1_sz64, line 27)" in message
    assert "2 layers > Size 64 (simple_lay2_sz64, line " in message
    assert "sz256" not in message


@pytest.mark.parametrize("key", ["", "/", "Size 65", "Size 64/1 layer", "lstm_lay1_sz64"])
def test_find_lists_all_when_nothing_fits(seed, key):
    with pytest.raises(DocumentError, match=r"no section .*sz64.*sz256.*lay2_sz64") as error:
        seed.find(key)
    assert "\n" not in str(error.value)


def test_find_prefers_whole_paths_then_ends(read):
    document = read("".join(f"{heading}\n{fenced(EPOCH)}" for heading in ("# A", "## B", "### A", "## C/D")))
    assert [section.path for section in document.sections] == [
        ("A",),
        ("A", "B"),
        ("A", "B", "A"),
        ("A", "C/D"),
    ]
    for key, found in [("a", 0), ("b", 1), ("b/a", 2), ("a/b/a", 2), ("d", 3), ("A/C/D", 3)]:
        assert document.find(key) is document.sections[found]


def test_equal_headings_keep_both_runs(read):
    document = read(f"# A\n{fenced(SIMPLE)}{fenced(EPOCH)}# A\n{fenced(SIMPLE)}{fenced(EPOCH)}")
    assert len(document.sections) == 2
    with pytest.raises(DocumentError, match=r"line 3.*line 11"):
        document.find("A")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "simple_lay2_sz64"),
        ({"conv1": None, "conv2": (256, 3), "bidirectional": False}, "simple_lay2_sz64"),
        ({"conv1": (128, 5), "conv2": None}, "lstm_cv1_128_5_lay2_sz64"),
        ({"bidirectional": True}, "bilstm_lay2_sz64"),
        (
            {"conv1": (256, 5), "conv2": (256, 3), "bidirectional": True},
            "bilstm_cv1_256_5_cv2_256_3_lay2_sz64",
        ),
    ],
)
def test_implied_name(config, name):
    assert implied_name({"n_layers": 2, "hidden_size": 64, **config}) == name


def test_implied_name_needs_the_sizes():
    with pytest.raises(DocumentError, match="hidden_size and n_layers missing"):
        implied_name({"conv1": None})


# --- forms of a document


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("fence", ["```", "~~~", "`````", "   ```"])
@pytest.mark.parametrize("tag", ["", "python", "py", " Python ", "text"])
def test_forms(read, newline, fence, tag):
    log = f"\t{EPOCH} \t\n\n {END}  "
    text = f"# R #\n\nConfig:\n{fenced(SIMPLE, tag, fence)}Results:\n\n{fenced(log, 'text', fence)}the end"
    document = read("\ufeff" + text.replace("\n", newline))
    (section,) = document.sections
    assert (section.path, section.line, section.name) == (("R",), 5, "simple_lay1_sz64")
    assert section.log == (EpochLine(1, 10, 3.5, 12.25, 85.5),)
    assert section.ended == EndLine(10, 55.0)
    assert (section.n_ignored_lines, section.code) == (0, SIMPLE)


def test_numbers_of_a_log(read):
    log = (
        "Epoch: 1/2, loss: nan, validation accuracy: 1e0% took: 1E-05 seconds\n"
        "Epoch: 2 / 2 , loss: -1.5e+3, validation accuracy: 5.%  took: .5 seconds\n"
    )
    (section,) = read(fenced(log)).sections
    first, second = section.log
    assert math.isnan(first.loss)
    assert (first.validation_accuracy, first.seconds) == (1.0, 1e-05)
    assert second == EpochLine(2, 2, -1500.0, 5.0, 0.5)


def test_other_lines_of_a_log_are_counted(read):
    log = f"loading\n 12%|##   |\n\n{EPOCH}\n{EPOCH[:-10]}\nEpoch: 1/10\n{EPOCH}"
    (section,) = read(f"# A\n{fenced(log)}").sections
    assert (len(section.log), section.n_ignored_lines, section.ended) == (2, 4, None)
    lines = f"# A\n{fenced(log)}".splitlines()
    assert [lines[number - 1] for number in section.damaged] == [EPOCH[:-10], "Epoch: 1/10"]


def test_the_recipe_stands_in_the_text_above_a_block(read):
    block = fenced(SIMPLE)
    text = f"# A\nRecipe `strong` (long), seed 0.\n{block}\nRecipe `2020`\n# B\n{block}"
    assert [section.recipe for section in read(text).sections] == ["strong", None]


def test_a_section_may_lack_its_log_or_its_config(read):
    document = read(f"# A\n{fenced(SIMPLE, 'py')}\n# B\n{fenced(EPOCH)}")
    running, unknown = document.sections
    assert (running.path, running.log, running.ended, running.name) == (("A",), (), None, "simple_lay1_sz64")
    assert (unknown.path, unknown.config, unknown.code, unknown.name) == (("B",), None, "", None)
    assert (running.line, unknown.line) == (3, 9)


def test_several_runs_under_one_heading(read):
    blocks = [SIMPLE, EPOCH, SIMPLE, SIMPLE, EPOCH, EPOCH]
    document = read("# A\n" + "".join(map(fenced, blocks)))
    assert [(section.config is not None, len(section.log)) for section in document.sections] == [
        (True, 1),
        (True, 0),
        (True, 1),
        (False, 1),
    ]


def test_other_blocks_and_headings_inside_blocks_are_no_sections(read):
    document = read(
        f"# A\n{fenced('pip install x', 'bash')}{fenced('x = 1')}{fenced('# Z')}`a`\n#hash\n{fenced(SIMPLE)}"
    )
    assert [section.path for section in document.sections] == [("A",)]


@pytest.mark.parametrize(
    "code",
    [
        "import quickstroke as qs\n\nmodel = qs.load('lstm/simple_lay1_sz64.model')\nprint(model.predict(strokes))",
        "model.fit(\n    n_epochs=10,\n    batch_size=256,\n)",
        "for hidden_size in (64, 128):\n    train(hidden_size)",
        "if hidden_size == 64:\n    n_layers == 1",
        "def train(n_epochs=10): ...",
        "run.n_epochs = 10",
        ">>> qs.load()",
        "$ quickstroke train",
        "# nothing yet",
        "",
        "x = " + "1" * MAX_BLOCK_CHARACTERS,
    ],
    ids=lambda code: code[:20],
)
def test_a_python_block_without_known_keys_is_an_example(read, code):
    for tag in ("python", "py", ""):
        (section,) = read(f"# A\n{fenced(SIMPLE, 'python')}{fenced(code, tag)}{fenced(EPOCH)}").sections
        assert (section.name, len(section.log)) == ("simple_lay1_sz64", 1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("n_epochs += 1", "expected `name = value`"),
        ("n_epochs: int = 1", "expected `name = value`"),
        ("n_epochs, x = 1, 2", "expected `name = value`"),
        ("x = n_epochs = 1", "expected `name = value`"),
        ("import os\nn_epochs = 1", "line 2: expected `name = value`, not `import os`"),
        ("n_epochs = = 1", "invalid syntax"),
        ("n_layers = 1\n>>> n_epochs", "invalid syntax"),
    ],
)
def test_a_python_block_that_tries_a_known_key_is_refused(read, code, reason):
    with pytest.raises(DocumentError, match=reason):
        read(fenced(code, "python"))


def test_blocks_before_any_heading(read):
    document = read(fenced(SIMPLE) + fenced(EPOCH))
    assert document.find("simple_lay1_sz64").path == ()
    with pytest.raises(DocumentError, match=r"\(no heading\) \(simple_lay1_sz64, line 2\)"):
        document.find("A")


def test_an_indented_block_is_read(read):
    assert read(fenced("\thidden_size = 3\n\n\tn_layers = 1")).sections[0].name == "simple_lay1_sz3"


@pytest.mark.parametrize("text", ["", "# Results\n\nnone yet\n", f"# A\n{EPOCH}\n", fenced("x = (")])
def test_a_document_without_sections(read, text):
    with pytest.raises(DocumentError, match=r"results\.md: no results in it; expected headings"):
        read(text)


def test_an_open_block(read):
    with pytest.raises(DocumentError, match=r"line 6: the block that ``` opens here is not closed"):
        read(f"# A\n{fenced(SIMPLE)}```\n{EPOCH}\n``\n")


def test_files_that_are_no_documents(tmp_path, read):
    with pytest.raises(DocumentError, match=r"missing\.md: cannot be read"):
        read_document(tmp_path / "missing.md")
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path)
    with pytest.raises(DocumentError, match="byte 0: expected a results document in UTF-8"):
        read("# A", "utf-16")
    with pytest.raises(DocumentError, match="byte 4: binary"):
        read("# A\n\0")
    with pytest.raises(DocumentError, match="larger than 16 MiB"):
        read("#" * (MAX_DOCUMENT_BYTES + 1))


def test_a_small_document_takes_little_memory(tmp_path, is_small):
    path = tmp_path / "results.md"
    path.write_text("# nothing")
    assert is_small(lambda: read_document(path), -1_500_000)  # of 1 MB


@pytest.mark.parametrize(
    "line",
    [
        "Epoch: 1/10, loss: " + "1" * 10**6,
        "Epoch: 1/10, loss: 1." + "1" * 10**6 + "e",
        "Epoch: 1/10," + " " * 10**6 + "loss",
        "Epoch: 1/10, loss: 1, validation accuracy: 1%" + " " * 10**6 + "x",
        "`" * 10**6 + "x" * 10**6 + "`",
        "#" + " #" * 10**6,
        "#" + " " * 10**6 + "x",
    ],
    ids=range(7),
)
def test_long_lines_take_no_long_time(read, line):
    assert len(read(f"{line}\n{fenced(line.replace('`', '') + chr(10) + EPOCH)}").sections) == 1


counts = st.integers(0, 10**18 - 1)
epochs = st.builds(EpochLine, counts, counts, st.floats(), st.floats(), st.floats())
ends = st.builds(EndLine, counts, st.floats())


@given(st.lists(epochs, min_size=1), st.none() | ends)
def test_logs_round_trip(tmp_path_factory, log, ended):
    path = tmp_path_factory.getbasetemp() / "round_trip.md"
    lines = [*map(format_epoch, log), *([format_end(ended)] if ended else [])]
    path.write_text(fenced("\n".join(lines)))
    (section,) = read_document(path).sections
    # Compared as text, since nan is not equal to itself.
    assert repr(section.log) == repr(tuple(log))
    assert repr(section.ended) == repr(ended)
    assert section.n_ignored_lines == 0


@given(st.text(alphabet="#`~ \nabn_epochs=1(),Epoch:/%"))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.md"
    path.write_text(text)
    try:
        read_document(path)
    except DocumentError as error:
        assert str(path) in str(error)
