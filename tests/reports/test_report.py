"""Reports: their figures are those of an evaluation, whatever they are of, and nothing else is written over."""

import dataclasses
import json
import re
import shutil
import sys
from urllib.parse import unquote

import pytest
from small_documents import LOG, block, edit_json, measured_again

from quickstroke import cli
from quickstroke.artifacts import runs
from quickstroke.config.model import ModelConfig
from quickstroke.config.naming import TYPES
from quickstroke.config.recipes import RECIPES
from quickstroke.config.training import TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import FractionSplit
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import ConfigError, DatasetError, DocumentError, RunError, WeightsError
from quickstroke.evaluation.metrics import wilson_interval
from quickstroke.formats import ndjson
from quickstroke.preparation.prepare import prepare
from quickstroke.reports import figures as figures_module
from quickstroke.reports import markdown, report
from quickstroke.reports.document_config import ClassSlice
from quickstroke.reports.documents import read_document
from quickstroke.training.loop import train

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_the_description_has_each_type_and_each_recipe() -> None:
    assert all(f"`{kind}_" in markdown._DESCRIPTION for kind in TYPES)
    assert markdown._RECIPES.keys() == RECIPES.keys()


# --- a document of runs


def test_round_trip(written, run, seed_run):
    first, second = read_document(written[0]).sections
    assert first.name == second.name == "simple_lay1_sz4"
    assert first.config == {
        "batch_size": 32,
        "learning_rate": 0.01,
        "hidden_size": 4,
        "n_layers": 1,
        "train_classes": ClassSlice(),
        "conv1": None,
        "conv2": None,
        "bidirectional": False,
        "N_train": 40,
        "N_val": 10,
        "N_test": 10,
        "N_test_reserved": 0,
        "max_padding": 200,
        "n_epochs": 2,
    }
    assert second.config is not None
    assert second.config["train_classes"] == ("star", "circle")
    assert not any(key.startswith("N_") for key in second.config)
    for section, source in ((first, run), (second, seed_run)):
        metrics = runs.read_metrics(source)
        assert [(line.epoch, line.n_epochs) for line in section.log] == [(1, 2), (2, 2)]
        for line, exact in zip(section.log, metrics, strict=True):
            assert line.loss == float(f"{exact['loss']:.4f}") and line.seconds == float(f"{exact['seconds']:.2f}")
            assert line.validation_accuracy == float(f"{100 * exact['val_top1']:.2f}")
        assert section.ended is not None
        assert (section.ended.epoch, section.n_ignored_lines) == (2, 0)
        assert section.ended.best_validation_accuracy == max(line.validation_accuracy for line in section.log)


def test_sections_are_found_by_their_headings(written):
    into, results = written
    document = read_document(into)
    for section, recipe, result in zip(document.sections, ("default", "2020"), results, strict=True):
        assert section.path == ("Results", "Simple LSTM", "1 layer", f"Size 4, recipe {recipe}")
        assert document.find(f"Simple LSTM/1 layer/Size 4, recipe {recipe}") is section
        assert result.path == section.path[1:]
        assert result.title == f"simple_lay1_sz4, recipe {recipe}"


def test_figures_are_those_of_an_evaluation(written, run, dataset):
    into, results = written
    expected = measured_again(run, dataset, "test")
    values = figures_module.figures(results[0])
    assert (values["split"], values["n"], values["n_classes"]) == ("test", 30, 3)
    names = ("top1", "top3", "top5", "top1_low", "top1_high", "loss", "n")
    assert {key: values[key] for key in names} == {key: expected.figures()[key] for key in names}
    assert (values["top1_low"], values["top1_high"]) == wilson_interval(round(expected.top(1) * 30), 30)
    best = max(runs.read_metrics(run), key=lambda line: line["val_top1"])
    assert values["best_val_top1"] == pytest.approx(best["val_top1"])
    assert values["best_epoch"] == best["epoch"]
    text = into.read_text()
    low, high = values["top1_low"], values["top1_high"]
    low_3, high_3 = expected.interval(3)
    low_b, high_b = expected.balanced_accuracy_interval()
    assert (
        f"| test | 30 | **{values['top1']:.2%}** | {low:.2%} to {high:.2%} | {values['top3']:.2%} "
        f"| {low_3:.2%} to {high_3:.2%} | {values['top5']:.2%} | {expected.balanced_accuracy():.2%} "
        f"| {low_b:.2%} to {high_b:.2%} | {values['loss']:.4f} |"
    ) in text
    assert "Of a word 40 to 40 were learnt from, median 40." in text
    assert "recognised by the game's network" in text
    assert f"| val | 30 | {best['val_top1']:.2%} |" in text
    assert "published" not in text.partition("# Results")[2] and "val_top1_published_protocol" not in values
    assert f"| `simple_lay1_sz4` | default | 3 | {values['parameters']} | 2 |" in text
    assert f"| test, 30 drawings | {values['top1']:.2%} ({low:.1%} to {high:.1%}) |" in text


def test_without_a_test_split_the_val_drawings_are_measured(written, seed_run, folder):
    into, results = written
    data = PreparedDataset(folder / "fractions")
    values = figures_module.figures(results[1])
    n = sum(data.manifest["n_by_class"][word]["val"] for word in ("star", "circle"))
    best = max(runs.read_metrics(seed_run), key=lambda line: line["val_top1"])
    assert (values["split"], values["n"], values["top1"]) == ("val", n, best["val_top1"])
    assert "The dataset has no test split. The val drawings chose the epoch" in into.read_text()


def test_the_split_can_be_chosen(run, seed_run, tmp_path):
    report.write_report([run], tmp_path / "val.md", split="val")
    text = (tmp_path / "val.md").read_text()
    assert "| test |" not in text
    assert "\nThe val drawings chose the epoch" in text
    with pytest.raises(DatasetError, match="no drawing in split 'test'"):
        report.write_report([seed_run], tmp_path / "test.md", split="test")


def test_the_data_are_named_by_their_manifest(written, dataset, folder):
    text = written[0].read_text()
    assert (
        f"Data: `{dataset.path}`, manifest `{dataset.manifest_sha256[:12]}` from 3 source files. Drawings: 120 train, "
        "30 val, 30 test. Of a word 40 to 40 were learnt from, median 40. "
        "Split by position, of each class 40 train, 10 val, 10 test.\n"
    ) in text
    assert f"Data: `{folder / 'fractions'}`, manifest `" in text
    assert "Split by hash of key_id in fractions (train 0.7, val 0.3); classes have different numbers of" in text


def report_on_data(folder):
    """The report on a short training on the dataset `data` of a folder."""
    config = TrainConfig(n_epochs=1, batch_size=32, device="cpu")
    train(ModelConfig.from_name("simple_lay1_sz4"), config, PreparedDataset(folder / "data"), folder / "run")
    report.write_report([folder / "run"], folder / "out.md", split="val")
    return (folder / "out.md").read_text()


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ([], "Split by source files, which went whole (1 to val, 1 to train); classes"),
        (
            ["house.bin"],
            "(train 0.8, val 0.1, test 0.1), but for source files that went whole (1 to val, 1 to train); classes",
        ),
    ],
)
def test_files_that_were_given_for_a_split_are_told(sources, told, binary_folder, tmp_path):
    files, parts = [binary_folder / name for name in sources], {}
    for i, split in enumerate(("train", "val")):
        ndjson.write(tmp_path / f"{split}.ndjson", synthetic_drawings(10, seed=i, words=("circle", "star")))
        parts[f"{split}_only"] = tmp_path / f"{split}.ndjson"
    prepare(files, tmp_path / "data", **parts)
    assert told in report_on_data(tmp_path)
    assert runs.read_config(tmp_path / "run").data["n_files_by_split"] == {"val": 1, "train": 1}


def test_the_fold_of_a_split_is_told(binary_folder, tmp_path):
    prepare(binary_folder, tmp_path / "data", split=FractionSplit(0.6, 0.2, 0.2, seed=2, fold=3))
    told = "Split by hash of key_id and the seed 2, fold 3 in fractions (train 0.6, val 0.2, test 0.2); classes"
    assert told in report_on_data(tmp_path)


def test_confusions_in_the_document(written, run, dataset):
    expected = measured_again(run, dataset, "test")
    confusion = expected.confusion()
    section = written[0].read_text().partition("#### Size 4, recipe default")[2].partition("####")[0]
    pairs = re.findall(r"^\| (\w+) \| (\w+) \| (\d+) \| ([\d.]+)% \|$", section, re.MULTILINE)
    off_diagonal = confusion.sum() - confusion.trace()
    assert sum(int(n) for *_, n, _ in pairs) == off_diagonal > 0
    for word, guess, n, share in pairs:
        i, j = dataset.classes.index(word), dataset.classes.index(guess)
        assert int(n) == confusion[i, j]
        assert float(share) == pytest.approx(100 * confusion[i, j] / confusion[i].sum(), abs=0.005)
    for word, (right, n) in expected.per_class().items():
        assert re.search(rf"^\| {word} \| {right} \| {n} \| {right / n:.2%} \|", section, re.MULTILINE)


def test_pictures_lie_beside_the_document(written):
    into, _ = written
    text = into.read_text()
    linked = {unquote(link) for link in re.findall(r"!\[.*?\]\((.*?)\)", text)}
    stems = ("01-simple_lay1_sz4", "02-simple_lay1_sz4")
    kinds = ("curves.svg", "confusion.png", "mistakes.png")
    names = {"comparison.svg", *(f"{stem}-{kind}" for stem in stems for kind in kinds)}
    assert linked == {f"results_files/{name}" for name in names}
    assert {path.name for path in (into.parent / "results_files").iterdir()} == names
    for link in linked:
        start = (into.parent / link).read_bytes()[:100]
        assert start.startswith(b"\x89PNG" if link.endswith("png") else b"<?xml")


def test_one_source_and_one_dataset_need_no_list(run, dataset, tmp_path):
    (result,) = report.write_report(str(run), tmp_path / "one.md", data=dataset.path)
    assert result.source == run


def test_the_same_input_gives_the_same_bytes(run, seed_run, tmp_path, pictures):
    def files():
        report.write_report([run, seed_run], tmp_path / "results.md")
        return {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    first = files()
    assert len(first) == 8
    assert files() == first


def test_a_run_that_has_not_ended(copy, tmp_path):
    edit_json(copy / "config.json", lambda values: values["train"].update(n_epochs=5))
    report.write_report([copy], tmp_path / "out.md")
    (section,) = read_document(tmp_path / "out.md").sections
    assert (len(section.log), section.ended) == (2, None)
    assert "**It has not ended**: 2 of 5 epochs so far" in (tmp_path / "out.md").read_text()


def test_a_run_that_stopped_early(copy, tmp_path):
    edit_json(copy / "config.json", lambda values: values["train"].update(n_epochs=50, patience=12))
    line = runs.read_metrics(copy)[0]
    runs.write_metrics(copy, [line | {"epoch": i, "val_top1": 0.9 - i / 100} for i in range(1, 14)])
    report.write_report([copy], tmp_path / "out.md")
    (section,) = read_document(tmp_path / "out.md").sections
    assert section.ended is not None
    assert (len(section.log), section.ended.epoch, section.ended.best_validation_accuracy) == (13, 13, 89.0)
    text = (tmp_path / "out.md").read_text()
    assert "It stopped after 13 of 50 epochs: none was better than epoch 1 in 12." in text
    assert "<details><summary>Log of 13 epochs</summary>\n\n```\nEpoch: 1/50," in text


def test_a_run_whose_best_epoch_another_metric_chose(copy, tmp_path):
    edit_json(copy / "config.json", lambda values: values["train"].update(select_by="balanced_loss"))
    first, second = runs.read_metrics(copy)
    first |= {"val_top1": 0.9, "val_balanced_loss": 2.0}
    second |= {"val_top1": 0.5, "val_balanced_loss": 1.0}
    runs.write_metrics(copy, [first, second])
    (result,) = report.write_report([copy], tmp_path / "out.md")
    assert figures_module.figures(result)["best_epoch"] == 2 and figures_module.figures(result)["best_val_top1"] == 0.5
    assert result.ended.best_validation_accuracy == 90.0  # of any epoch
    text = (tmp_path / "out.md").read_text()
    assert "Of its 2 epochs the best by its balanced (macro-averaged) loss is 2." in text
    assert "Figures of `best.model`, epoch 2:" in text


def test_a_run_of_one_epoch(copy, tmp_path):
    edit_json(copy / "config.json", lambda values: values["train"].update(n_epochs=1))
    runs.write_metrics(copy, runs.read_metrics(copy)[:1])
    report.write_report([copy], tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text()
    assert "It has one epoch. Recipe" in text and "Of its" not in text


# --- runs without their dataset, and runs that cannot be reported


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "/nowhere/data_set"}, "its dataset is gone: nothing at /nowhere/data_set"),
        ({"manifest_sha256": "0123456789abcdef"}, ", it had 0123456789ab"),
    ],
    ids=["gone", "changed"],
)
def test_a_run_without_its_dataset(copy, tmp_path, capsys, change, reason):
    edit_json(copy / "config.json", lambda values: values["data"].update(change))
    command = ["report", str(copy), "--into", str(tmp_path / "out.md")]
    assert cli.main(command) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"quickstroke report: {copy}: its dataset is ") and captured.err.count("\n") == 1
    assert captured.err.endswith("; give --data DIR, or --without-data to go on without it\n")
    assert not (tmp_path / "out.md").exists()
    assert cli.main([*command, "--without-data", "--json"]) == 0
    captured = capsys.readouterr()
    assert f"{copy}: not measured: its dataset is" in captured.err
    assert reason in captured.err
    (values,) = json.loads(captured.out)["sections"]
    assert (values["split"], values["n"], values["top1"], values["epochs"]) == (None, None, None, 2)
    text = (tmp_path / "out.md").read_text()
    assert "> **Not measured:** its dataset is" in text
    assert reason in text
    assert "| val | 30 |" in text
    assert "Confusions" not in text
    assert "| test |" not in text
    assert {path.name for path in (tmp_path / "out_files").iterdir()} == {
        "comparison.svg",
        "01-simple_lay1_sz4-curves.svg",
    }
    (section,) = read_document(tmp_path / "out.md").sections
    assert section.config is not None
    assert (section.config["train_classes"], section.config["N_train"]) == (("circle", "house", "star"), 40)


def test_a_damaged_dataset(copy, dataset, tmp_path):
    data = shutil.copytree(dataset.path, tmp_path / "data")
    (data / "labels.bin").write_bytes(b"")
    edit_json(copy / "config.json", lambda values: values["data"].update(path=str(data)))
    (result,) = report.write_report([copy], tmp_path / "out.md", without_data=True)
    assert result.run is not None
    assert result.run.measured is None
    assert "its dataset is damaged: " in result.run.why_no_data


def test_a_dataset_that_was_moved_is_found(copy, dataset, folder, seed_run, tmp_path):
    edit_json(copy / "config.json", lambda values: values["data"].update(path="/nowhere"))
    (result,) = report.write_report([copy], tmp_path / "out.md", data=[folder / "fractions", dataset.path])
    assert figures_module.figures(result)["n"] == 30


@pytest.mark.usefixtures("no_pictures")
def test_a_dataset_beside_that_of_the_run_is_told_to_have_no_effect(run, dataset, folder, seed_run, tmp_path, capsys):
    other = folder / "fractions"
    command = ["report", str(run), "--into", str(tmp_path / "out.md"), "--data", str(dataset.path), str(other)]
    assert cli.main(command) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "--data" in line]
    assert len(told) == 1 and told[0].startswith(f"--data {other} has no effect: each run is measured on its own")


def test_a_run_without_epochs(copy, tmp_path):
    (copy / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match=r"copy: no epoch of this run has ended yet"):
        report.write_report([copy], tmp_path / "out.md")
    assert not (tmp_path / "out.md").exists()
    assert not (tmp_path / "out_files").exists()


def test_a_run_without_weights(copy, tmp_path):
    (copy / "best.model").unlink()
    with pytest.raises(WeightsError, match="its training has ended no epoch yet"):
        report.write_report([copy], tmp_path / "out.md")


def test_sources_that_cannot_be_reported(run, tmp_path):
    into = tmp_path / "out.md"
    with pytest.raises(ConfigError, match="nothing to report on"):
        report.write_report([], into)
    with pytest.raises(RunError, match="missing: no such run folder, model or results document"):
        report.write_report([tmp_path / "missing"], into)
    with pytest.raises(RunError, match="no run there"):
        report.write_report([tmp_path], into)
    with pytest.raises(ConfigError, match=r"is a folder; expected the document to write, such as .*results\.md"):
        report.write_report([run], tmp_path)
    for name in ("results.txt", "config.json", "results"):
        with pytest.raises(
            ConfigError, match=rf"{name}: expected the document to write, such as .*results\.md|config\.md"
        ):
            report.write_report([run], tmp_path / name)
    (tmp_path / "empty.md").write_text("# Results\n")
    with pytest.raises(DocumentError, match="no results in it"):
        report.write_report([tmp_path / "empty.md"], into)
    assert not into.exists()


def test_a_source_is_never_overwritten(tmp_path):
    path = tmp_path / "given.md"
    path.write_text(f"# A\n{LOG}")
    with pytest.raises(ConfigError, match="is also a source"):
        report.write_report([path], tmp_path / ".." / tmp_path.name / "given.md")
    assert path.read_text() == f"# A\n{LOG}"


def test_what_is_no_results_document_is_never_overwritten(tmp_path):
    (tmp_path / "given.md").write_text(f"# A\n{LOG}")
    into = tmp_path / "README.md"
    into.write_text("# My notes\n\nThe # Results are good.\n")
    with pytest.raises(ConfigError, match=r"README\.md: exists and is no results document; give another --into"):
        report.write_report([tmp_path / "given.md"], into)
    assert into.read_text().startswith("# My notes")
    into.write_text("")
    for _ in range(2):  # an empty file, and then its own document
        report.write_report([tmp_path / "given.md"], into)
    assert "# Results" in into.read_text()


def test_without_matplotlib(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["report", str(run), "--into", str(tmp_path / "out.md")]) == 2
    assert "pip install 'quickstroke[report]'" in capsys.readouterr().err


def test_documents_need_no_torch(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert len(write(f"# A\n{LOG}")[0]) == 1


# --- documents as sources


def test_the_seed_document(shared, tmp_path):
    source = shared / "seed" / "results_lstm.md"
    results = report.write_report([source], tmp_path / "out.md")
    given, written = read_document(source).sections, read_document(tmp_path / "out.md").sections
    for section, again in zip(given, written, strict=True):
        assert (again.path, again.config) == (section.path, section.config)
        assert (again.log, again.ended) == (section.log, section.ended)
    values = figures_module.figures(results[0])
    assert (values["model"], values["best_val_top1"]) == ("simple_lay1_sz64", 0.5508175)
    assert values["seconds_per_epoch"] == pytest.approx(85.68, abs=0.01)
    assert (values["recipe"], values["parameters"], values["n"]) == (None, None, None)
    text = (tmp_path / "out.md").read_text()
    assert f"from the document `{source}`, section Results > Simple LSTM > 1 layer > Size 64, line 27." in text
    assert "nothing was measured here" in text
    assert (tmp_path / "out_files" / "03-simple_lay2_sz64-curves.svg").exists()


def test_a_report_of_a_report_has_the_same_sections(written, tmp_path):
    into, _ = written
    report.write_report([into], tmp_path / "again.md")
    given, again = read_document(into).sections, read_document(tmp_path / "again.md").sections
    for section, other in zip(given, again, strict=True):
        assert (other.path, other.config, other.log, other.ended) == (
            section.path,
            section.config,
            section.log,
            section.ended,
        )


def test_a_section_without_a_log(write):
    (result,), text = write(f"# A\n{block()}")
    assert "curves" not in text
    assert figures_module.figures(result)["epochs"] == 0
    assert figures_module.figures(result)["best_val_top1"] is None


def test_numbers_that_are_not_finite_are_no_json(write):
    log = "```\nEpoch: 1/1, loss: nan, validation accuracy: nan% took: inf seconds\n```\n"
    (result,), _ = write(f"# A\n{log}")
    json.dumps(figures_module.figures(result), allow_nan=False)


def test_other_lines_of_a_log_are_counted(write):
    _, text = write(f"# A\n{LOG.replace('Training', 'loading' + chr(10) + 'Training')}")
    assert "1 other lines of its log are left out." in text


# --- writing again


def test_pictures_that_are_no_longer_shown_are_removed(run, seed_run, tmp_path):
    into, files = tmp_path / "out.md", tmp_path / "out_files"
    report.write_report([run, seed_run], into)
    for foreign in ("mine.png", "comparison.png", "1-x-curves.svg"):
        (files / foreign).write_bytes(b"x")
    report.write_report([seed_run], into)
    assert {path.name for path in files.iterdir()} == {
        "comparison.svg",
        "01-simple_lay1_sz4-curves.svg",
        "01-simple_lay1_sz4-confusion.png",
        "01-simple_lay1_sz4-mistakes.png",
        "mine.png",
        "comparison.png",
        "1-x-curves.svg",
    }


def test_names_with_spaces_are_linked(run, tmp_path):
    report.write_report([run], tmp_path / "my results.md")
    text = (tmp_path / "my results.md").read_text()
    assert "](my%20results_files/01-simple_lay1_sz4-curves.svg)" in text


# --- the command


def test_the_command(run, seed_run, tmp_path, capsys):
    into = tmp_path / "out.md"
    assert cli.main(["report", str(run), str(seed_run), "--into", str(into), "--device", "cpu", "--json"]) == 0
    captured = capsys.readouterr()
    *lines, wrote = captured.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"simple_lay1_sz4, recipe {name}" for name in ("default", "2020")
    ]
    assert wrote == f"wrote {into}: 2 sections"
    values = json.loads(captured.out)
    assert values["document"] == str(into)
    first, second = values["sections"]
    assert (first["recipe"], second["recipe"]) == ("default", "2020")
    assert first["headings"] == ["Simple LSTM", "1 layer", "Size 4, recipe default"]
    assert first["top1_low"] < first["top1"] < first["top1_high"]


def test_results_are_immutable(written):
    with pytest.raises(dataclasses.FrozenInstanceError):
        written[1][0].path = ()
