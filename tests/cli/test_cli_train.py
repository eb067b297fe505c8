"""`quickstroke train`: configurations, recipes, teachers, and runs that are gone on with."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch

from quickstroke import cli
from quickstroke.artifacts import runs
from quickstroke.cli import main
from quickstroke.config.recipes import RECIPES
from quickstroke.config.serialize import to_json
from quickstroke.config.training import TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.reports import document_config, documents
from typed_commands import MODEL, config_of, one_line

POOL_MODEL = "bipool_cv1_4_3_2_lay1_sz5"


def test_report_and_its_document_as_configuration(run, trained, dataset, tmp_path):
    document = tmp_path / "results.md"
    assert run("report", trained, "--into", document).code == 0
    section = documents.read_document(document).find(MODEL)
    assert section.config is not None
    assert section.config["N_train"] == 40
    again = tmp_path / "again"
    result = run("train", MODEL, "--config", document, "--data", dataset.path, "--into", again, "--json")
    assert result.code == 0, result.err
    first = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in result.json["metrics"]] == [float(f"{line['loss']:.6g}") for line in first]


def test_toml_configuration_and_precedence(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('n_epochs = 3\nbatch_size = 30\ntrain_classes = ["star", "circle"]\nn_train = 40\n')
    into = tmp_path / "run"
    result = run("train", MODEL, "--data", dataset.path, "--into", into, "--config", config, "--n-epochs", 1)
    assert result.code == 0, result.err
    stored = json.loads((into / "config.json").read_text())
    assert stored["train"]["n_epochs"] == 1
    assert stored["train"]["batch_size"] == 30
    assert stored["classes"] == ["star", "circle"]
    assert stored["data"]["n_by_split"]["train"] == 80


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("n_epoch = 3", "unknown key 'n_epoch'"),
        ('batch_size = "many"', "batch_size should be int"),
        ("n_train = 41", "n_train = 40"),
        ("n_epochs = 0", "n_epochs should be above 0"),
        ("n_epochs = ", "TOML"),
        ("recipe = [1]", "recipe should be"),
        ('train_classes = ["star", "star"]', "listed twice"),
        ('train_classes = ["stra"]', "did you mean 'star'"),
    ],
)
def test_wrong_configuration_is_refused(run, dataset, tmp_path, text, part):
    config = tmp_path / "run.toml"
    config.write_text(text)
    one_line(run("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run", "--config", config), part)
    assert not (tmp_path / "run").exists()


def test_document_section_by_heading_path_and_slices(run, dataset, tmp_path):
    document = tmp_path / "results.md"
    block = document_config.format_config(
        {"hidden_size": 8, "n_layers": 1, "batch_size": 32, "n_epochs": 1, "bidirectional": True, "conv1": (4, 3)}
    )
    document.write_text(
        f"# Results\n\n## Two ways\n\n### First\n\n```python\n{block}\n```\n\n### Second\n\n"
        "```python\nhidden_size = 4\nn_layers = 2\ntrain_classes = classes[:2]\nn_epochs = 1\n```\n"
    )
    into = tmp_path / "second"
    result = run("train", "Two ways/Second", "--config", document, "--data", dataset.path, "--into", into, "--json")
    assert result.code == 0, result.err
    assert result.json["model"] == "simple_lay2_sz4"
    assert json.loads((into / "config.json").read_text())["classes"] == list(dataset.classes[:2])
    name = "bilstm_cv1_4_3_lay1_sz8"
    assert run("train", name, "--config", document, "--data", dataset.path, "--into", tmp_path / "first").code == 0
    one_line(
        run("train", "simple_lay9_sz9", "--config", document, "--data", dataset.path, "--into", tmp_path / "no"),
        "Second",
        name,
    )


def test_train_refuses_an_existing_run_and_resumes_it(run, dataset, tmp_path):
    into = tmp_path / "run"
    start = ("train", MODEL, "--data", dataset.path, "--into", into)
    assert "starting anew" in run(*start, "--n-epochs", 1, "--resume").err
    one_line(run(*start, "--n-epochs", 2), "--resume")
    resumed = run(*start, "--n-epochs", 2, "--resume")
    assert resumed.code == 0
    assert "resuming at epoch 2" in resumed.err
    assert resumed.out.startswith("Epoch: 2/2")
    ended = run(*start, "--n-epochs", 2, "--resume")
    assert ended.code == 0 and "nothing is left to resume: the training ended after 2 epochs" in ended.err
    assert "resuming" not in ended.err
    one_line(run(*start, "--n-epochs", 2, "--resume", "--batch-size", 7), "batch_size = 64")


def test_a_run_is_not_resumed_on_another_dataset(run, dataset, binary_folder, tmp_path):
    into, other = tmp_path / "run", tmp_path / "other"
    assert run("train", MODEL, "--data", dataset.path, "--into", into, "--n-epochs", 1).code == 0
    assert run("prepare", binary_folder, "--into", other).code == 0
    refused = run("train", MODEL, "--data", other, "--into", into, "--n-epochs", 2, "--resume")
    one_line(
        refused, f"{into}: was started with the dataset {dataset.path} (", f"cannot resume with another, {other} ("
    )


@pytest.mark.usefixtures("one_thread")
def test_interrupt_leaves_a_checkpoint_and_resumes_to_the_same_weights(run, dataset, tmp_path, monkeypatch):
    class Interrupting(io.TextIOWrapper):
        """A terminal at which somebody presses Ctrl-C when the first epoch is told of."""

        def write(self, text: str) -> int:
            if text.startswith("Epoch: 1/4"):
                signal.raise_signal(signal.SIGINT)
            return super().write(text)

    into, whole = tmp_path / "cut", tmp_path / "whole"
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 4, "--batch-size", 4, "--into")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Interrupting(io.BytesIO(), encoding="utf-8"))
        interrupted = run(*start, into)
    assert interrupted.code == 130
    assert "--resume" in interrupted.err
    assert "Traceback" not in interrupted.err
    assert (into / "last.ckpt").is_file()
    assert len(runs.read_metrics(into)) < 4
    assert "resuming at epoch" in run(*start, into, "--resume").err
    assert run(*start, whole).code == 0
    for name in ("best.model", "last.model"):
        cut, full = (torch.load(folder / name, weights_only=True) for folder in (into, whole))
        assert all(torch.equal(cut[key], full[key]) for key in full)


def test_a_training_goes_on_when_nobody_reads_what_it_says(dataset, tmp_path, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        options = ["--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 3]
        code = cli.main(["train", MODEL, *map(str, options)])
        monkeypatch.undo()
    err = capsys.readouterr().err
    assert code == 0
    assert err.count("nobody reads stdout any more; going on without it") == 1 and "Traceback" not in err
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_training_goes_on_when_nobody_reads_stderr_either(dataset, tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out, os.fdopen(os.dup(writer), "w") as err:  # as of `... 2>&1 | head -1`
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        options = ["--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 3]
        code = cli.main(["train", MODEL, *map(str, options)])
        monkeypatch.undo()
    assert code == 0
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


def test_train_refuses_bad_names_and_folders(run, dataset, tmp_path):
    into = ("--data", dataset.path, "--into", tmp_path / "run")
    one_line(run("train", "lstm_lay1_sz64", *into), "needs a convolution")
    one_line(run("train", "simple_cv1_4_3_lay1_sz64", *into), "no convolution")
    one_line(run("train", MODEL, *into, "--n-train", 41), "n_train = 41", "n_train = 40")
    assert not (tmp_path / "run").exists()


def test_counts_of_a_file_give_way_to_a_split_in_fractions(run, binary_folder, dataset, tmp_path):
    data, config = tmp_path / "data", tmp_path / "run.toml"
    assert run("prepare", binary_folder, "--into", data).code == 0
    config.write_text("n_epochs = 1\nn_train = 20000\n")
    result = run("train", MODEL, "--data", data, "--into", tmp_path / "run", "--config", config)
    assert result.code == 0
    assert "n_train = 20000 not used" in result.err and str(data) in result.err
    # A split by position has counts to compare with, and the error says whose they are.
    asked = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "other", "--config", config)
    one_line(run(*asked), "n_train = 20000", "run.toml", "--n-train")
    assert run(*asked, "--n-train", 40).code == 0
    one_line(run("train", MODEL, "--data", data, "--into", tmp_path / "third", "--n-train", 40), "n_train = 40")


def test_all_counts_of_a_document_that_do_not_fit_are_told_at_once(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text("n_epochs = 1\nn_train = 20000\nn_val = 4000\nn_test = 10\n")
    asked = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "other", "--config", config)
    one_line(run(*asked), "n_train = 20000, n_val = 4000 were asked for", "--n-train 40 --n-val 10 overrides it)")
    refused = run(*asked, "--n-train", 41, "--n-val", 10)
    one_line(refused, "n_train = 41 was asked for", "prepared with n_train = 40")
    assert "run.toml" not in refused.err  # it is the command's own


def test_the_options_of_a_run_train_another_model(run, dataset, trained, tmp_path):
    first, into, again = tmp_path / "first", tmp_path / "run", tmp_path / "again"
    start = ("--data", dataset.path, "--into")
    given = ("--n-epochs", 1, "--batch-size", 30, "--pretrained", trained, "--train-classes", "star", "circle")
    assert run("train", MODEL, *start, first, *given).code == 0
    made = run("train", MODEL, *start, into, "--config", first, "--seed", 4)  # its folder will do
    assert made.code == 0, made.err
    before, now = config_of(first), config_of(into)
    assert now["train"] == before["train"] | {"seed": 4}
    assert (before["classes"], now["classes"]) == (["star", "circle"], list(dataset.classes))
    config = first / "config.json"
    one_line(run("train", MODEL, *start, again, "--config", config, "--recipe", "strong"), "expected no --recipe")
    one_line(run("train", MODEL, *start, again, "--config", tmp_path / "config.json"), "no run there")
    config.rename(first / "other.json")
    one_line(run("train", MODEL, *start, again, "--config", first / "other.json"), "a run's config.json")


def test_a_document_trains_by_the_recipe_that_it_tells_or_by_that_of_2020(run, dataset, tmp_path):
    block = "```python\nbatch_size = 64\nlearning_rate = 0.001\nhidden_size = 8\nn_layers = 1\n```\n"
    for prose, options, recipe in (
        ("", (), "2020"),
        ("", ("--recipe", "default"), "default"),
        ("A model. Recipe `default` (each drawing is read to its own end), seed 0.\n\n", (), "default"),
        ("A model. Recipe `2020` (padded), seed 0.\n\n", (), "2020"),
    ):
        document, into = tmp_path / "own.md", tmp_path / f"{len(prose)}{len(options)}"
        document.write_text(f"# Simple LSTM\n\n{prose}{block}")
        asked = ("train", "simple_lay1_sz8", "--config", document, "--data", dataset.path, "--into", into)
        result = run(*asked, "--n-epochs", 1, *options)
        assert result.code == 0, result.err
        train = config_of(into)["train"]
        assert (train["recipe"], train["learning_rate"]) == (recipe, 0.001)
        assert train["optimizer"] == ("adam" if recipe == "2020" else "muon")
        assert (f"own.md: recipe {recipe}{', as it tells none' * (not prose)};" in result.err) == (not options)


def test_tensorboard_has_the_epochs_of_a_new_run_and_nothing_of_one_that_is_refused(run, dataset, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    asked = ("train", MODEL, "--data", dataset.path, "--n-epochs", 2, "--log", "tensorboard")
    one_line(run(*asked, "--into", tmp_path / "none", "--train-classes", "cow"), "cow")
    one_line(run(*asked, "--into", tmp_path / "none", "--tensorboard"), "was renamed to --log tensorboard")
    assert not (tmp_path / "none").exists()
    assert run(*asked, "--into", tmp_path / "run").code == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    told = [(event.step, event.value) for event in events.Scalars("val_loss")]
    assert told == [(k, pytest.approx(json.loads(line)["val_loss"])) for k, line in enumerate(lines, 1)]


def test_a_run_tells_the_command_that_made_it_what_it_is(run, dataset, tmp_path):
    data = tmp_path / "my data"
    shutil.copytree(dataset.path, data)
    asked = ("train", MODEL, "--data", data, "--into", tmp_path / "run")
    assert run(*asked, "--n-epochs", 1).code == 0
    longer = run(*asked, "--n-epochs", 2, "--resume")
    assert longer.code == 0 and "the run was for 1 epoch, now 2" in longer.err
    environment = tmp_path / "run" / "environment.json"
    values = json.loads(environment.read_text())
    assert values["command"] == ["quickstroke", *map(str, asked), "--n-epochs", "2", "--resume"]
    assert run("publish", tmp_path / "run", "--into", tmp_path).code == 0
    card = json.loads((tmp_path / f"{MODEL}.json").read_text())
    first = shlex.join(["quickstroke", *map(str, asked), "--n-epochs", "1"])
    assert card["command"] == f"{first} && {shlex.join(values['command'])}" and f"'{data}'" in card["command"]
    again = run("rerun", tmp_path / "run")
    assert again.code == 3 and "was trained by several commands, which a rerun does in one: quickstroke" in again.err
    # It is of no use to a user whose model is fine that this file is not.
    for damaged in ("{", "[1]", '{"packages": 3}'):
        environment.write_text(damaged)
        assert run("publish", tmp_path / "run", "--into", tmp_path, "--replace").code == 0
        assert json.loads((tmp_path / f"{MODEL}.json").read_text())["packages"] == {}


def test_the_recipe_strong_sets_options_unless_they_are_given(run, dataset, tmp_path):
    start = ("train", POOL_MODEL, "--data", dataset.path, "--recipe", "strong", "--n-epochs", 1, "--device", "cpu")
    result = run(*start, "--into", tmp_path / "run", "--batch-size", 64, "--json")
    assert result.code == 0, result.err
    config = config_of(tmp_path / "run")
    given = {"n_epochs": 1, "batch_size": 64, "device": "cpu", "precision": config["train"]["precision"]}
    assert config["train"] == to_json(TrainConfig(recipe="strong", **given))
    assert config["model"]["max_padding"] == RECIPES["strong"]["max_padding"]
    assert result.json["epochs"] == 1


def test_a_file_may_name_the_recipe_and_options_of_it(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('recipe = "strong"\nlearning_rate = 0.01\nn_epochs = 1\n')
    start = ("train", POOL_MODEL, "--data", dataset.path, "--config", config)
    assert run(*start, "--into", tmp_path / "run", "--dropout", 0.1).code == 0
    train = config_of(tmp_path / "run")["train"]
    expected = RECIPES["strong"] | {"recipe": "strong", "learning_rate": 0.01, "n_epochs": 1, "dropout": 0.1}
    assert {key: train[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("former", "told"), [("seed", "recipe 'seed' is called '2020' now"), ("quick", "'quick' is part of 'default' now")]
)
def test_a_former_recipe_is_told_its_name_of_today(run, dataset, tmp_path, former, told):
    start = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run")
    one_line(run(*start, "--recipe", former), told)
    one_line(run(*start, f"--recipe={former}"), told)
    one_line(run("tune", *start[1:], "--recipe", former), told)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_former_option_is_told_its_name_of_today(run, dataset, tmp_path, command):
    start = (command, MODEL, "--data", dataset.path, "--into", tmp_path / "run")
    one_line(run(*start, "--clip-norm", 0.5), "--clip-norm was renamed to --max-grad-norm")
    one_line(run(*start, "--n_views=2"), "--n_views was renamed to --n-cached-epochs")
    one_line(run(*start, "--augment", "view"), "--augment: augment 'view' is 'geometric' now")
    one_line(run(*start, "--label-odds=5"), "--label-odds was removed")
    assert not (tmp_path / "run").exists()


def test_a_former_recipe_in_a_file_has_its_values_of_then(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('recipe = "seed"\nn_epochs = 1\n')
    start = ("train", MODEL, "--data", dataset.path, "--config", config)
    assert run(*start, "--into", tmp_path / "run", "--batch-size", 32).code == 0
    train = config_of(tmp_path / "run")["train"]
    given = {"n_epochs": 1, "batch_size": 32, "precision": "float32"}
    assert train == to_json(TrainConfig(recipe="2020", **given))
    # The run folder of that version, too, is trained on as it began.
    stored = tmp_path / "run" / "config.json"
    stored.write_text(stored.read_text().replace('"recipe": "2020"', '"recipe": "seed"'))
    assert run(*start, "--into", tmp_path / "run", "--batch-size", 32, "--n-epochs", 2, "--resume").code == 0
    assert config_of(tmp_path / "run")["train"] == train | {"n_epochs": 2}
    # Also without the words that it was started with.
    anew = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 3, "--resume")
    assert run(*anew).code == 0
    assert config_of(tmp_path / "run")["train"] == train | {"n_epochs": 3}
    one_line(run(*anew, "--recipe", "default"), "was started with")


def test_another_recipe_than_the_files_brings_its_own_options(run, dataset, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('recipe = "strong"\nn_epochs = 1\n')
    start = ("train", MODEL, "--data", dataset.path, "--config", config)
    assert run(*start, "--into", tmp_path / "run", "--recipe", "default").code == 0
    train = config_of(tmp_path / "run")["train"]
    assert (train["recipe"], train["n_epochs"], train["schedule"], train["augment"]) == (
        "default",
        1,
        "cosine",
        "none",
    )


@pytest.fixture(scope="module")
def taught(dataset: PreparedDataset, trained: Path, tmp_path_factory) -> Path:
    """A run of the recipe `strong` with a teacher."""
    folder = tmp_path_factory.mktemp("runs") / "taught"
    options = ["--recipe", "strong", "--n-epochs", "2", "--teacher", str(trained), "--n-cached-epochs", "1"]
    assert main(["train", POOL_MODEL, "--data", str(dataset.path), "--into", str(folder), *options]) == 0
    return folder


def test_a_teacher_is_named_in_the_run_and_the_card(run, taught, trained, tmp_path):
    config = config_of(taught)
    assert config["train"]["teacher"] == [str(trained)]
    assert [teacher["name"] for teacher in config["teachers"]] == [MODEL]
    assert len(list((taught / "teacher").rglob("*.npy"))) == 1
    assert run("publish", taught, "--into", tmp_path / "set").code == 0
    card = json.loads((tmp_path / "set" / f"{POOL_MODEL}.json").read_text())
    assert card["teachers"] == config["teachers"]
    assert card["preprocessing"] == {"name": "pos5", "max_padding": 200}


def test_a_published_pooled_model_recognises(run, taught, binary_folder, tmp_path):
    assert run("publish", taught, "--into", tmp_path / "set").code == 0
    model = tmp_path / "set" / f"{POOL_MODEL}.model"
    result = run("predict", binary_folder / "star.bin", "--limit", 2, "--model", model, "--json")
    assert result.code == 0
    for row in result.json["drawings"]:
        assert sum(guess["probability"] for guess in row["guesses"]) == pytest.approx(1, abs=1e-5)


def test_trainings_share_a_folder_of_what_teachers_said(run, dataset, trained, tmp_path):
    cache = tmp_path / "said"
    for name in ("one", "other"):
        start = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / name, "--n-epochs", 1)
        assert run(*start, "--teacher", trained, "--teacher-cache", cache).code == 0
        assert not (tmp_path / name / "teacher").exists()
    assert len(list(cache.rglob("*.npy"))) == 1
    one, other = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("one", "other"))
    assert json.loads(one)["loss"] == json.loads(other)["loss"]


def test_bad_teachers_and_weights_to_begin_with(run, dataset, trained, tmp_path):
    start = ("train", MODEL, "--data", dataset.path, "--into", tmp_path / "run", "--n-epochs", 1)
    one_line(run(*start, "--teacher", tmp_path / "no.model"), "no.model", "no such model file")
    one_line(run(*start, "--other-class-fraction", 0.5), "other_class_fraction needs a teacher")
    one_line(run(*start, "--distillation-weight", 2), "distillation_weight should be from 0 to 1")
    one_line(run(*start, "--pretrained", tmp_path / "no.model"), "no.model")
    for option in ("--pretrained", "--teacher"):
        one_line(run(*start, option, "nope"), "nope: neither a .model, ", "a run folder nor a model published")
    one_line(run("train", "simple_lay1_sz8", *start[2:], "--pretrained", trained), "no layer of the shape")
    assert not (tmp_path / "run").exists()
    few = tmp_path / "few"
    assert run("train", MODEL, *start[2:4], "--into", few, "--n-epochs", 1, "--train-classes", "star").code == 0
    one_line(run(*start, "--teacher", few), "does not know 2 of the classes, such as 'circle'")


def test_a_run_may_begin_with_the_weights_of_another(run, dataset, trained, tmp_path):
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1)
    begun = run(*start, "--into", tmp_path / "run", "--pretrained", trained)
    assert begun.code == 0 and config_of(tmp_path / "run")["train"]["pretrained"] == [str(trained)]
    told = rf"begins with (\d+) of its \1 tensors from {trained} \({MODEL}\); of its output layer with 3 of 3 words\n"
    assert re.search(told, begun.err)
    # A model of another type has some of the tensors alone.
    other = ("train", f"bipool_{MODEL.removeprefix('simple_')}", *start[2:], "--into", tmp_path / "other")
    told = (
        rf"begins with (\d) of its (\d\d) tensors from {trained} \({MODEL}\); of its output layer with 0 of 3 words\n"
    )
    assert re.search(told, run(*other, "--pretrained", trained).err)
    one_line(run(*start, "--into", tmp_path / "run", "--pretrained", trained), "exists already")
    assert "begins with" not in run(*start[:-1], 2, "--into", tmp_path / "run", "--resume").err


def test_a_run_may_begin_with_a_published_model_by_its_name(run, dataset, trained, tmp_path, monkeypatch):
    assert run("publish", trained, "--into", tmp_path / "lstm" / "own").code == 0
    monkeypatch.chdir(tmp_path)
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1, "--into", tmp_path / "run")
    assert run(*start, "--pretrained", f"own/{MODEL}").code == 0
    published = run("publish", tmp_path / "run", "--into", tmp_path)
    card = json.loads((tmp_path / f"{MODEL}.json").read_text())
    assert published.code == 0 and card["training"]["before"]["trainings"] == 1


def test_a_model_that_looks_at_images_from_training_to_a_guess(run, dataset, binary_folder, tmp_path):
    name = "bipool_cv1_4_3_2_img2_lay1_sz4"
    start = ("train", name, "--data", dataset.path, "--n-epochs", 1)
    assert run(*start, "--into", tmp_path / "run").code == 0
    assert config_of(tmp_path / "run")["model"]["image"] == 2
    published = run("publish", tmp_path / "run", "--into", tmp_path / "set")
    assert published.code == 0
    model = tmp_path / "set" / f"{name}.model"
    guessed = run("predict", binary_folder / "star.bin", "--limit", 2, "--model", model, "--json")
    assert len(guessed.json["drawings"]) == 2
    assert run("report", tmp_path / "run", "--into", tmp_path / "results.md").code == 0
    text = (tmp_path / "results.md").read_text()
    assert "with an image (2 filters)" in text and "image = 2\n" in text
    again = ("train", name, "--config", tmp_path / "results.md", "--data", dataset.path, "--into", tmp_path / "again")
    assert run(*again).code == 0
    configs = [config_of(tmp_path / folder) for folder in ("run", "again")]
    assert configs[0]["model"] == configs[1]["model"]


def test_cards_and_reports_tell_the_trainings_before(run, dataset, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "first")
    shutil.copytree(trained, tmp_path / "gone")
    again = tmp_path / "again"
    start = ("train", MODEL, "--data", dataset.path, "--n-epochs", 1, "--into", again)
    assert run(*start, "--pretrained", tmp_path / "first", tmp_path / "gone").code == 0
    shutil.rmtree(tmp_path / "gone")
    published = run("publish", again, "--into", tmp_path / "set", "--no-calibrate")
    assert published.code == 0 and "nothing is known of it" in published.err
    before = json.loads((tmp_path / "set" / f"{MODEL}.json").read_text())["training"]["before"]
    seconds = sum(json.loads(line)["seconds"] for line in (trained / "metrics.jsonl").read_text().splitlines())
    missing = [str(tmp_path / "gone")]
    assert before == {"trainings": 1, "seconds": pytest.approx(seconds, abs=0.1), "missing": missing}
    assert run("report", again, "--into", tmp_path / "results.md").code == 0
    text = (tmp_path / "results.md").read_text()
    assert f"weights of `{tmp_path / 'first'}`, `{tmp_path / 'gone'}`. The one training before it took" in text
    assert f"Nothing is known of how `{tmp_path / 'gone'}` came about." in text
