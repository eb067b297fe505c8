"""A search by the command line: what its study holds, what it goes on with, and what is told at the end."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from searches import MODEL, one_line, tune

from quickstroke.artifacts import environment, runs
from quickstroke.cli import main
from quickstroke.data.splits import PositionSplit
from quickstroke.preparation.prepare import prepare
from quickstroke.tuning import report as tuning_report
from quickstroke.tuning import space
from quickstroke.tuning.study import Trial

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study(dataset, space_file, tmp_path_factory) -> Path:
    """A study of three trials of an epoch, trained."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    assert main(tune(dataset, folder, "--n-trials", 3, space_file=space_file)) == 0
    return folder


# --- a study by the command line


def test_trials_are_runs_that_report_and_publish_take(run, study, tmp_path):
    assert sorted(path.name for path in (study / "trials").iterdir()) == ["0", "1", "2"]
    for folder in (study / "trials").iterdir():
        assert len(runs.read_metrics(folder)) == 1
        command = environment.command_of(folder)
        assert command.startswith(f"quickstroke train {MODEL} --data ") and f"--into {folder}" in command
    assert run("report", study / "trials" / "1", "--into", tmp_path / "r.md", "--no-mistakes")[0] == 0
    assert run("publish", study / "trials" / "1", "--into", tmp_path / "set")[0] == 0
    card = json.loads((tmp_path / "set" / f"{MODEL}.json").read_text())
    assert card["command"].startswith(f"quickstroke train {MODEL} ")


def test_what_is_told_at_the_end(run, study, dataset, space_file):
    code, out, err = run(*tune(dataset, study, "--n-trials", 3, "--resume", "--json", space_file=space_file))
    assert code == 0 and err.startswith("3 of 3 trials have ended\n")
    told = json.loads(out)
    assert told["counts"] == {"complete": 3, "pruned": 0, "failed": 0} and told["metric"] == "top1"
    best = told["best"]
    assert best["value"] == max(trial["value"] for trial in told["trials"])
    assert best["value"] == pytest.approx(runs.read_metrics(Path(best["run"]))[0]["val_top1"], rel=1e-5)
    table = [line.split() for line in err.splitlines()[2:6]]
    assert table[0] == ["trial", "val", "top-1", "epochs", "state", "learning_rate", "batch_size"]
    assert table[1][:2] == [str(best["number"]), f"{best['value']:.2%}"]
    assert "3 complete, 0 pruned, 0 failed" in err

    document = (study / "study.md").read_text()
    for name in ("history.svg", "slices.svg"):
        assert (study / "study_files" / name).read_bytes().startswith(b"<?xml")
        assert f"(study_files/{name})" in document
    assert "| `learning_rate` | 0.001 to 0.1 (log) |" in document and told["command"] in document
    assert str(table[1][5]) in document


def test_the_command_repeats_the_best_trial(run, study, dataset, space_file, tmp_path):
    told = json.loads(run(*tune(dataset, study, "--n-trials", 3, "--resume", "--json", space_file=space_file))[1])
    words = shlex.split(told["command"])
    assert words[:2] == ["quickstroke", "train"]
    words[words.index("--into") + 1] = str(tmp_path / "again")
    assert words[words.index("--n-epochs") + 1] == "4"
    words[words.index("--n-epochs") + 1] = "1"  # a cosine over four begins otherwise
    assert run(*words[1:])[0] == 0
    assert runs.read_metrics(tmp_path / "again")[0]["val_top1"] == pytest.approx(told["best"]["value"], rel=1e-5)


def test_a_study_goes_on_to_more_trials_as_if_it_had_never_ended(run, dataset, space_file, study, tmp_path):
    whole = tmp_path / "whole"
    assert run(*tune(dataset, whole, "--n-trials", 2, space_file=space_file))[0] == 0
    code, out, err = run(*tune(dataset, whole, "--n-trials", 3, "--resume", space_file=space_file))
    assert code == 0 and "2 of 3 trials have ended" in err
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("Trial")] == ["Trial 2"]
    for number in range(3):
        first, again = (runs.read_config(folder / "trials" / str(number)).train for folder in (study, whole))
        assert first == again
    other = tmp_path / "other"
    assert run(*tune(dataset, other, "--n-trials", 1, "--seed", 1, space_file=space_file))[0] == 0
    assert runs.read_config(other / "trials" / "0").train.learning_rate != first.learning_rate


def test_only_the_same_search_goes_on(run, dataset, binary_folder, study, space_file, tmp_path):
    start = tune(dataset, study, "--n-trials", 3, space_file=space_file)
    one_line(run(*start), "has a study already; give --resume")
    one_line(run(*start, "--resume", "--dropout", 0.1), "was started with fixed dropout = None, cannot go on with 0.1")
    one_line(run(*start, "--resume", "--pruner", "none"), "pruner = 'median', cannot go on with 'none'")
    one_line(run(*start, "--resume", "--train-classes", "star", "house"), "classes = ['circle', 'house', 'star']")
    one_line(run(*tune(dataset, study, "--resume")), "was started with tuned batch_size = [16, 32]")
    prepare(binary_folder, tmp_path / "data", split=PositionSplit(30, 10, 10))
    start[start.index("--data") + 1] = str(tmp_path / "data")
    one_line(run(*start, "--resume"), "was started with another dataset, whose manifest.json has the SHA-256")
    one_line(run(*tune(dataset, tmp_path, space_file=space_file)), "exists already and holds no study")


def test_wrong_options_are_one_line(run, dataset, tmp_path):
    into = tmp_path / "study"
    one_line(run(*tune(dataset, into, "--n-trials", 0)), "n_trials should be above 0")
    one_line(run(*tune(dataset, into, "--workers", 0)), "workers should be above 0")
    one_line(run(*tune(dataset, into, "--train-classes", "tsar")), "'tsar'")
    one_line(run("tune", "--data", dataset.path, "--into", into), "no model to try")
    one_line(run("tune", "nonsense", "--data", dataset.path, "--into", into), "'nonsense' is no model name")
    one_line(run("tune", MODEL, "--data", tmp_path / "none", "--into", into), "none")
    assert not into.exists()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("nonsense", ["--storage: the storage cannot be used", "URL"]),
        ("sqlite://", ["sqlite://: a study needs a file"]),
        ("sqlite:////no/such/folder/study.db", ["unable to open database file"]),
        ("postgresql+nodriver://me:secret@localhost/db", ["storage"]),
        ("mysql+pymysql://me:secret@localhost/db", ["mysql+pymysql", "not installed", "pymysql"]),
    ],
)
def test_a_storage_that_cannot_be_used_is_named_without_its_password(run, dataset, tmp_path, url, parts):
    result = run(*tune(dataset, tmp_path / "study", "--storage", url))
    one_line(result, *parts)
    assert "secret" not in result[2]


def test_a_file_that_is_no_database_is_the_users_mistake(run, dataset, tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    one_line(run(*tune(dataset, tmp_path, "--resume")), "study.db: the storage cannot be used: file is not a database")


@pytest.mark.parametrize(("module", "extra"), [("optuna", "tune"), ("matplotlib", "report")])
def test_without_the_extra_it_is_told_how_to_install_it(run, dataset, tmp_path, monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    one_line(run(*tune(dataset, tmp_path / "study")), f"pip install 'quickstroke[{extra}]'")
    assert run("tune", "--help")[0] == 0


def test_the_help_is_what_the_documentation_shows(run, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    code, out, _ = run("tune", "--help")
    documented = " ".join((ROOT / "docs" / "cli.md").read_text().split())  # which breaks long lines
    lines = "\n".join(line.rstrip() for line in out.splitlines())
    shared = r"\n  (-h, --help|--json) .*(\n {8,}.*)*|\n *-{20,}$"
    own, of_training = re.sub(shared, "", lines, flags=re.M).split("\n\n train options\n")
    assert code == 0 and f"## quickstroke tune ```text {' '.join(own.split())} ```" in documented
    assert " ".join(of_training.split()) in documented  # under `train`
    for key, domain in space.declare([MODEL], space.DEFAULT, {}, "x").tuned.items():
        assert f"{key} {domain}" in " ".join(out.replace("│", " ").split())


# --- tables


def test_tables_put_the_best_first():
    trials = [
        Trial(number=0, state="pruned", values={}, curve=(0.9,)),
        Trial(number=1, state="complete", values={}, curve=(0.1, 0.2)),
        Trial(number=2, state="failed", values={}, reason="nan"),
        Trial(number=3, state="complete", values={}, curve=(0.3,)),
        Trial(number=4, state="waiting", values={}),
    ]
    assert [trial.number for trial in tuning_report.ranked(trials)] == [3, 1, 0, 2, 4]
    assert tuning_report.best(trials).number == 3 and tuning_report.best(trials[2:3]) is None
    assert tuning_report.told_counts(trials) == "2 complete, 1 pruned, 1 failed, 1 waiting"
    assert tuning_report.format_table([("a", "bb"), ("ccc", "d")]) == "  a  bb\nccc   d"
