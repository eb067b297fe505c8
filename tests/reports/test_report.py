import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from quickstroke import cli
from quickstroke.artifacts import cards, runs
from quickstroke.artifacts.loading import load_model
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.splits import FractionSplit, PositionSplit
from quickstroke.errors import ConfigError, DatasetError, DocumentError, RunError, WeightsError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.evaluation.metrics import Evaluation, wilson_interval
from quickstroke.preparation.prepare import prepare
from quickstroke.reports import figures as figures_module
from quickstroke.reports import plots, report
from quickstroke.reports import results as results_module
from quickstroke.reports.document_config import ClassSlice
from quickstroke.reports.documents import read_document
from quickstroke.training.loop import train
from quickstroke.utils.files import write_text

pytest.importorskip("matplotlib")

LOG = """```
Epoch: 1/3, loss: 3.5, validation accuracy: 12.25% took: 80.5 seconds
Epoch: 2/3, loss: 2.5, validation accuracy: 50.75% took: 81.5 seconds
Training ended after 2 ! Best validation accuracy: 50.75%
```
"""


def block(**values):
    values = {"n_layers": 1, "hidden_size": 64, **values}
    lines = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    return f"```python\n{lines}\n```\n"


def edit_json(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of a report's time: only `written` draws, and tests that ask for `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(report, "write_picture", lambda path, draw: write_text(path, ""))


@pytest.fixture
def pictures() -> None:
    """Asked for by tests whose reports have real pictures."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def run(dataset: PreparedDataset, folder: Path) -> Path:
    """Two epochs of a tiny model, on the dataset that has a test split."""
    config = TrainConfig(n_epochs=2, batch_size=32, learning_rate=0.01, device="cpu")
    command = ["quickstroke", "train", "simple_lay1_sz4", "--n-epochs", "2"]
    train(ModelConfig.from_name("simple_lay1_sz4"), config, dataset, folder / "first", command=command)
    return folder / "first"


@pytest.fixture(scope="module")
def seed_run(binary_folder: Path, folder: Path) -> Path:
    """The same model by the recipe `2020`, on two of the words of a dataset without a test split."""
    prepare(binary_folder, folder / "fractions", split=FractionSplit(0.7, 0.3, 0.0))
    train(
        ModelConfig.from_name("simple_lay1_sz4"),
        TrainConfig(n_epochs=2, batch_size=32, recipe="2020", seed=3, device="cpu"),
        PreparedDataset(folder / "fractions"),
        folder / "second",
        train_classes=("star", "circle"),
    )
    return folder / "second"


@pytest.fixture(scope="module")
def written(run: Path, seed_run: Path, folder: Path) -> tuple[Path, list[results_module.Result]]:
    into = folder / "out" / "results.md"
    return into, report.write_report([run, seed_run], into)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


@pytest.fixture
def write(tmp_path: Path):
    """Reports on the text of a document."""

    def write_text(text, name="given.md"):
        (tmp_path / name).write_text(text)
        results = report.write_report([tmp_path / name], tmp_path / "out.md")
        return results, (tmp_path / "out.md").read_text()

    return write_text


def evaluation(pairs, probability=None, classes=("cat", "dog", "owl")):
    labels, predicted = (np.array(side, dtype=np.int64) for side in zip(*sorted(pairs), strict=True))
    probability = np.linspace(0.9, 0.5, len(labels)) if probability is None else np.array(probability)
    wrong = (labels != predicted).astype(np.int64)
    return Evaluation(classes, np.arange(len(labels)), labels, predicted, probability, wrong, np.ones(len(labels)))


def measured_again(run, data, split):
    loaded = load_model(run)
    label_map = data.label_map(loaded.classes)
    return evaluate(loaded.model, LabelledDrawings(data, data.indices(split), loaded.classes, label_map))


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


def test_the_split_can_be_chosen(run, seed_run, dataset, tmp_path):
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


# --- published models


@pytest.fixture(scope="module")
def published_once(run: Path, folder: Path) -> Path:
    assert cli.main(["publish", str(run), "--into", str(folder / "models")]) == 0
    return folder / "models"


@pytest.fixture
def model(published_once, tmp_path) -> Path:
    return shutil.copytree(published_once, tmp_path / "models") / "simple_lay1_sz4.model"


def test_a_published_model_is_measured_as_it_is(model, dataset, tmp_path):
    into = tmp_path / "out.md"
    (result,) = report.write_report([model], into, data=[dataset.path])
    assert result.run is not None
    expected = measured_again(model, dataset, "test")
    values = figures_module.figures(result)
    assert {key: values[key] for key in ("top1", "loss", "n")} == {
        key: expected.figures()[key] for key in ("top1", "loss", "n")
    }
    card = json.loads(model.with_suffix(".json").read_text())
    assert (values["epochs"], values["best_epoch"]) == (2, card["training"]["best_epoch"])
    assert values["best_val_top1"] == card["figures"]["val"]["top1"]
    assert values["seconds_per_epoch"] == card["training"]["seconds"] / 2
    text = into.read_text()
    assert f"3 classes, as published in `{model}`. Of its 2 epochs" in text
    assert f"by `{card['command']}`." in text
    assert f"\nData: manifest `{dataset.manifest_sha256[:12]}` from 3 source files." in text
    assert "Figures of `simple_lay1_sz4.model`, epoch " in text
    assert f"| test | 30 | **{expected.top(1):.2%}** |" in text
    assert f"| val | 30 | {card['figures']['val']['top1']:.2%} |" in text
    # Its log stays with its run.
    assert "Log of" not in text and "curves" not in text
    assert {path.name for path in (tmp_path / "out_files").iterdir()} == {
        "01-simple_lay1_sz4-confusion.png",
        "01-simple_lay1_sz4-mistakes.png",
    }
    (section,) = read_document(into).sections
    assert (section.name, section.log) == ("simple_lay1_sz4", ())


def test_a_published_model_without_its_dataset(model, folder, seed_run, tmp_path, capsys):
    into = tmp_path / "out.md"
    assert cli.main(["report", str(model), "--into", str(into)]) == 2
    assert "nothing says where its dataset is, with the manifest " in capsys.readouterr().err
    assert cli.main(["report", str(model), "--into", str(into), "--without-data"]) == 0
    captured = capsys.readouterr()
    assert "not measured: nothing says where its dataset is, with the manifest " in captured.err
    text = into.read_text()
    figures = json.loads(model.with_suffix(".json").read_text())["figures"]
    assert "Below is what its card states; confusions and mistakes are left out." in text
    for split in ("test", "val"):
        assert f"| {split} | 30 | {figures[split]['top1']:.2%} |" in text
    (result,) = report.write_report([model], into, data=[folder / "fractions"], without_data=True)
    assert result.run is not None
    assert re.fullmatch(r"no --data has the manifest [0-9a-f]{12} of its dataset", result.run.why_no_data)
    with pytest.raises(DatasetError, match=r"nowhere: no prepared dataset there"):
        report.write_report([model], into, data=["nowhere"])


def test_a_model_with_a_test_split_of_its_own(run, binary_folder, dataset, tmp_path, capsys):
    prepare(binary_folder, tmp_path / "others", split=PositionSplit(52, 0, 8))
    command = ["publish", str(run), "--into", str(tmp_path), "--test-data", str(tmp_path / "others")]
    assert cli.main(command) == 0, capsys.readouterr().err
    others = PreparedDataset(tmp_path / "others")
    path = tmp_path / "simple_lay1_sz4.model"
    own = f"Data: manifest `{dataset.manifest_sha256[:12]}`"
    for split, data in (("test", others), ("val", dataset)):
        (result,) = report.write_report([path], tmp_path / "out.md", split=split, data=[dataset.path, others.path])
        assert figures_module.figures(result)["top1"] == measured_again(path, data, split).top(1)
        assert figures_module.figures(result)["n"] == len(data.indices(split))
        text = (tmp_path / "out.md").read_text()
        assert own + (" from 3 source files. " if split == "val" else ". ") + "Drawings: 120 train" in text
        assert f"\nThe test figures are of another dataset, manifest `{others.manifest_sha256[:12]}`.\n" in text
        # Of which dataset's classes these are all cannot be said by another one.
        assert ("train_classes = classes[:]" in text) == (split == "val")
    (result,) = report.write_report([path], tmp_path / "out.md", data=[dataset.path], without_data=True)
    assert result.run is not None and "of the dataset of its test drawings" in result.run.why_no_data


def test_a_model_and_its_run_are_told_apart(run, model, dataset, tmp_path):
    results = report.write_report([run, model], tmp_path / "out.md", data=[dataset.path])
    assert [result.title for result in results] == [
        "simple_lay1_sz4, run first",
        "simple_lay1_sz4, published in models",
    ]


@pytest.mark.parametrize(
    "path",
    [
        *(("training",), ("figures",), ("figures", "val"), ("data",), ("parameters",), ("command",)),
        *(("training", key) for key in ("epochs", "best_epoch", "seconds")),
        *(("figures", "val", key) for key in ("top3", "n", "loss")),
        *(("figures", "test", "top5"), ("data", "split")),
    ],
    ids="-".join,
)
def test_models_that_tell_nothing_of_their_training(model, tmp_path, path):
    good = json.loads(model.with_suffix(".json").read_text())
    for value in ("missing", -1, float("nan"), 10**400, [{"name": "x"}]):
        card = json.loads(json.dumps(good))
        *above, last = path
        place = card
        for key in above:
            place = place[key]
        if value == "missing":
            del place[last]
        elif last == "command":  # which may be any text
            continue
        else:
            place[last] = value
        card["card_sha256"] = cards.card_hash(card)
        model.with_suffix(".json").write_text(json.dumps(card))
        with pytest.raises(
            (RunError, WeightsError), match=r"does not tell of its training \(|has no training|damaged card"
        ):
            report.write_report([model], tmp_path / "out.md")
    assert not (tmp_path / "out.md").exists()


def test_weights_without_a_card(run, model, tmp_path):
    model.with_suffix(".json").unlink()
    with pytest.raises(
        RunError, match=r"has no card, which would tell how it was trained; `quickstroke evaluate` measures"
    ):
        report.write_report([model], tmp_path / "out.md")
    with pytest.raises(RunError, match=rf"best\.model: has no card, .*; report its run, {run}$"):
        report.write_report([run / "best.model"], tmp_path / "out.md")


def test_a_published_model_by_its_name(model, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(model.parent, "lstm")
    (result,) = report.write_report([model.stem], "out.md", without_data=True)
    assert result.source == Path("lstm") / model.name


def test_a_model_that_was_published_before_its_training_had_ended(run, dataset, tmp_path, capsys):
    copied = shutil.copytree(run, tmp_path / "copy")
    edit_json(copied / "config.json", lambda values: values["train"].update(n_epochs=9))
    assert cli.main(["publish", str(copied), "--into", str(tmp_path)]) == 0
    report.write_report([tmp_path / "simple_lay1_sz4.model"], tmp_path / "out.md", without_data=True)
    assert "It was published after 2 of 9 epochs, the best of which is " in (tmp_path / "out.md").read_text()


def test_a_report_of_a_report_of_a_model(model, tmp_path):
    report.write_report([model], tmp_path / "out.md", without_data=True)
    (result,) = report.write_report([tmp_path / "out.md"], tmp_path / "again.md")
    assert (
        figures_module.figures(result)["epochs"] == 0
        and "| 3 |  |  |  | not measured |" in (tmp_path / "again.md").read_text()
    )
    text = (tmp_path / "again.md").read_text()
    assert "It has no log there; nothing was measured here." in text
    assert "as its document says" not in text


def test_a_command_stays_on_its_line(model, tmp_path):
    card = json.loads(model.with_suffix(".json").read_text())
    card["command"] = "quickstroke train\n\n# Heading\n"
    card["card_sha256"] = cards.card_hash(card)
    model.with_suffix(".json").write_text(json.dumps(card))
    report.write_report([model], tmp_path / "out.md", without_data=True)
    assert "by `quickstroke train # Heading`." in (tmp_path / "out.md").read_text()


@pytest.mark.parametrize("before", [None, {"trainings": 3, "seconds": 600.0, "missing": []}], ids=["unknown", "known"])
def test_what_a_model_began_with(model, before, tmp_path):
    card = json.loads(model.with_suffix(".json").read_text())
    # The first cards have one path, and nothing on what was before.
    card["training"]["pretrained"] = "runs/first"
    if before:
        card["training"]["before"] = before
    card["card_sha256"] = cards.card_hash(card)
    model.with_suffix(".json").write_text(json.dumps(card))
    report.write_report([model], tmp_path / "out.md", without_data=True)
    told = (
        " The 3 trainings before it took 10 minutes." if before else " Nothing is known of how `runs/first` came about."
    )
    assert f"It began with the weights of `runs/first`.{told}\n" in (tmp_path / "out.md").read_text()


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


# --- sections of the same shape


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


# --- mistakes


def test_confused_pairs():
    pairs = [(0, 0)] * 6 + [(0, 1)] * 2 + [(1, 0)] * 3 + [(1, 2)] + [(0, 2)] * 2
    assert figures_module.confused_pairs(evaluation(pairs)) == [
        ("dog", "cat", 3, 0.75),
        ("cat", "dog", 2, 0.2),
        ("cat", "owl", 2, 0.2),
        ("dog", "owl", 1, 0.25),
    ]
    assert figures_module.confused_pairs(evaluation([(0, 0), (1, 1)])) == []


def test_words_by_accuracy():
    pairs = [(0, 0)] * 3 + [(0, 1)] + [(1, 1)] + [(1, 0)]
    assert figures_module.words_by_accuracy(evaluation(pairs)) == [
        ("dog", 1, 2, 0.5),
        ("cat", 3, 4, 0.75),
        ("owl", 0, 0, None),
    ]


def test_a_report_without_mistakes_shows_no_drawings(run, tmp_path):
    report.write_report([run], tmp_path / "results.md", with_mistakes=False)
    names = sorted(path.name for path in (tmp_path / "results_files").iterdir())
    assert [name for name in names if name.endswith(".png")] == ["01-simple_lay1_sz4-confusion.png"]
    assert "mistakes.png" not in (tmp_path / "results.md").read_text()


def test_worst_mistakes():
    pairs = [(0, 0), (0, 1), (0, 1), (0, 1), (0, 2), (1, 0)]
    probability = [0.99, 0.5, 0.9, 0.7, 0.8, 0.9]
    assert figures_module.worst_mistakes(evaluation(pairs, probability)) == [2, 5, 4, 3]
    many = [(i, (i + j) % 40) for i in range(40) for j in range(1, 30)]
    rows = figures_module.worst_mistakes(evaluation(many, classes=tuple(map(str, range(40)))))
    assert rows == list(range(figures_module.N_MISTAKES))


def test_the_gallery_shows_the_worst_mistakes(written, run, dataset):
    from matplotlib.figure import Figure

    expected = measured_again(run, dataset, "test")
    rows = figures_module.worst_mistakes(expected)
    figure = Figure()
    plots.draw_mistakes(expected, dataset, rows, figure)
    for axes, row in zip(figure.axes, rows, strict=False):
        word, guess = dataset.classes[expected.labels[row]], dataset.classes[expected.predicted[row]]
        assert word != guess
        assert axes.get_title() == f"{word} →\n{guess} {expected.probability[row]:.0%}"
        strokes = dataset.strokes(int(expected.indices[row]))
        assert len(axes.lines) == len(strokes)
        for line, stroke in zip(axes.lines, strokes, strict=True):
            assert np.array_equal(line.get_xydata(), stroke)


@pytest.mark.parametrize("n_classes", [1, 3, 30])
def test_a_confusion_matrix_of_any_size(n_classes, tmp_path):
    classes = tuple(f"word $ {i}_" for i in range(n_classes))
    pairs = [(i, j) for i in range(n_classes) for j in (i, i, 0)]
    with plots.picture_style():
        measured = evaluation(pairs, classes=classes)
        plots.write_picture(tmp_path / "a.png", lambda figure: plots.draw_confusion(measured, figure))
    assert (tmp_path / "a.png").stat().st_size > 1000


# https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval has the formula; values by R's binom.wilson.
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (50, 100, 0.4038315, 0.5961685)],
)
def test_wilson_interval(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-6)


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
