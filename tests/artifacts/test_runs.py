"""The run folder: what is written reads back, and what is damaged, newer or another run's is told apart."""

import json
from dataclasses import replace

import pytest
import torch

from quickstroke.artifacts import environment, runs, weight_files
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.errors import RunError, TrainingError
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training import checkpoint
from quickstroke.training.checkpoint import State

MODEL = ModelConfig.from_name("bilstm_cv1_4_3_cv2_5_2_lay2_sz3", n_classes=2)
RUN = RunConfig(
    model=MODEL,
    train=TrainConfig(n_epochs=3, learning_rate=0.01, seed=5),
    classes=("cat", "flying saucer"),
    data={"path": "data/Ω", "manifest_sha256": "ab" * 32, "split": {"rule": "position"}, "n_by_split": {"train": 4}},
)


pytestmark = pytest.mark.usefixtures("one_thread")


def new_model(config=MODEL):
    torch.manual_seed(0)
    return StrokeClassifier(config)


def stepped():
    """A model and its optimizer after two steps, and a state."""
    model = new_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(2, 6, 3), torch.tensor([6, 4])).square().sum().backward()
        optimizer.step()
    state = State(epoch=1, step=2, loss_sum=0.1, seconds=2.5, best=0.5, best_epoch=1, metrics=[{"a": 1}])
    return model, optimizer, state


@pytest.fixture
def saved(tmp_path):
    """The same, whose checkpoint is in the folder."""
    model, optimizer, state = stepped()
    checkpoint.save_checkpoint(tmp_path, state, model, optimizer)
    return model, optimizer, state


def one_line(error):
    return "\n" not in str(error.value)


# --- config.json, environment.json, metrics.jsonl


def test_config_reads_back(tmp_path):
    runs.write_config(tmp_path, RUN)
    assert runs.read_config(tmp_path) == RUN
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert values["name"] == "bilstm_cv1_4_3_cv2_5_2_lay2_sz3"
    assert values["classes"] == ["cat", "flying saucer"]
    assert set(values["train"]) == set(TrainConfig.__slots__) and set(values["model"]) == set(ModelConfig.__slots__) - {
        "image"
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "99"),
        ({"format": "recipe"}, "recipe"),
        ({"train": {"batch_sise": 3}}, "batch_sise"),
        ({"train": {"batch_size": "3"}}, "batch_size"),
        ({"train": 7}, "config.json"),
        ({"model": None}, "config.json"),
        ({"classes": ["cat", "cat"]}, "twice"),
        ({"data": None}, "config.json"),
        ({"data": {}}, "config.json: damaged"),
        ({"data": RUN.data | {"path": 3}}, "config.json: damaged"),
        ({"data": RUN.data | {"split": "position"}}, "config.json: damaged"),
        ({"data": RUN.data | {"n_by_split": {"train": "many"}}}, "whole numbers"),
        ({"data": RUN.data | {"n_files_by_split": {"train": None}}}, "whole numbers"),
        ({"data": RUN.data | {"n_files_by_split": 3}}, "damaged"),
        ({"data": RUN.data | {"n_train_by_word": {"least": 1}}}, "damaged"),
    ],
)
def test_a_config_that_cannot_be_is_refused(tmp_path, change, message):
    runs.write_config(tmp_path, RUN)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunError, match=message) as error:
        runs.read_config(tmp_path)
    assert one_line(error)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"format": "quickstroke run"}', "[" * 100_000, "\xff"])
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"config\.json: damaged") as error:
        runs.read_config(tmp_path)
    assert one_line(error)


def test_a_config_of_another_program_is_no_damaged_one(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit", "version": 1}')
    with pytest.raises(RunError, match=r"config\.json: no configuration of a run: its format is None, expected"):
        runs.read_config(tmp_path)


def test_a_folder_without_config_is_no_run(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="no run there"):
            runs.read_config(folder)


def test_environment_tells_what_ran(tmp_path):
    environment.write_environment(tmp_path)
    values = json.loads((tmp_path / "environment.json").read_text())
    assert values["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(values["packages"]) == {"quickstroke", "torch", "numpy", "numba"}
    assert values["n_threads"] == torch.get_num_threads()


def test_metrics_read_back(tmp_path):
    assert runs.read_metrics(tmp_path) == []
    lines = [dict.fromkeys(runs.METRICS, 0.1 + 0.2), dict.fromkeys(runs.METRICS, 1e-300)]
    runs.write_metrics(tmp_path, lines)
    assert runs.read_metrics(tmp_path) == lines
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    runs.write_metrics(tmp_path, lines[:1])
    assert runs.read_metrics(tmp_path) == lines[:1]


def test_lines_of_an_older_version_have_the_keys_of_today(tmp_path):
    line = dict.fromkeys(runs.METRICS, 0.5)
    former = line | {"val_balanced_top1": 0.25, "val_top1_published_protocol": 0.75}
    runs.write_metrics(tmp_path, [former])
    assert runs.read_metrics(tmp_path) == [line | {"val_balanced_accuracy": 0.25}]


def test_a_selection_metric_chooses_the_first_of_the_best():
    values = [(0.5, 1.0), (0.75, 1.5), (0.75, 0.5), (0.25, 0.5)]
    metrics = [
        {"epoch": epoch, "val_top1": top1, "val_balanced_loss": loss} for epoch, (top1, loss) in enumerate(values, 1)
    ]
    assert runs.best_line(metrics, "top1") == metrics[1]
    assert runs.best_line(metrics, "balanced_loss") == metrics[2]


def test_lines_older_than_a_selection_metric_are_read_but_not_for_it(tmp_path):
    lines = [dict.fromkeys(runs.METRICS, 1.0)]
    runs.write_metrics(tmp_path, lines)
    assert runs.read_metrics(tmp_path) == lines
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 1: damaged .*'val_balanced_loss'"):
        runs.read_metrics(tmp_path, "balanced_loss")
    newer = [lines[0] | {"val_balanced_loss": 2.0}]
    runs.write_metrics(tmp_path, newer)
    assert runs.read_metrics(tmp_path, "balanced_loss") == newer


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"epo', "Unterminated string"),
        ("", "Expecting value"),
        ("[]", "'epoch'"),
        ("{}", "'epoch'"),
        (json.dumps(dict.fromkeys(runs.METRICS, 1) | {"loss": "low"}), "'loss'"),
        (json.dumps(dict.fromkeys(runs.METRICS, 1) | {"val_top1": float("nan")}), "'val_top1'"),
        ("[" * 100_000, "(recursion|Stack overflow)"),  # from Python 3.14 on by the size of the stack
    ],
)
def test_damaged_metrics_are_refused(tmp_path, line, what):
    good = json.dumps(dict.fromkeys(runs.METRICS, 1))
    (tmp_path / "metrics.jsonl").write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(RunError, match=rf"metrics\.jsonl, line 2: damaged .*{what}") as error:
        runs.read_metrics(tmp_path)
    assert one_line(error)


def test_what_a_run_remembers_of_its_data(dataset):
    everything = runs.describe_data(dataset, dataset.classes)
    assert everything["n_by_split"] == {"reserved": 0, "train": 120, "val": 30, "test": 30}
    assert everything["n_train_by_word"] == {"least": 40, "median": 40, "most": 40}
    assert runs.describe_data(dataset, ("unknown",))["n_train_by_word"] == {}
    assert everything["manifest_sha256"] == dataset.manifest_sha256
    assert runs.describe_data(dataset, ("star",))["n_by_split"] == {"reserved": 0, "train": 40, "val": 10, "test": 10}
    json.dumps(everything)


# --- weights


def test_weights_are_a_plain_state_dict(tmp_path):
    model, _, _ = stepped()
    weight_files.save_weights(tmp_path / "best.model", model.state_dict())
    weights = torch.load(tmp_path / "best.model", weights_only=True)
    assert list(weights) == list(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in weights.items())
    assert not any(value.requires_grad for value in weights.values())
    assert [path.name for path in tmp_path.iterdir()] == ["best.model"]


# --- last.ckpt


def test_a_checkpoint_reads_back(tmp_path):
    model, optimizer, state = stepped()
    torch.manual_seed(11)
    checkpoint.save_checkpoint(tmp_path, state, model, optimizer)
    expected = torch.rand(3)
    other = new_model()
    other_optimizer = torch.optim.Adam(other.parameters(), lr=0.01)
    assert checkpoint.load_checkpoint(tmp_path, other, other_optimizer) == state
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())
    ours, theirs = other_optimizer.state_dict()["state"], optimizer.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert all(torch.equal(ours[key][name], theirs[key][name]) for name in ("step", "exp_avg", "exp_avg_sq"))


@pytest.mark.parametrize("damage", ["empty", "half", "text", "list", "weights"])
def test_a_damaged_checkpoint_is_refused(tmp_path, saved, damage):
    model, optimizer, _ = saved
    path = tmp_path / "last.ckpt"
    if damage == "list":
        torch.save([1, 2], path)
    elif damage == "weights":
        torch.save(model.state_dict(), path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"<html>"}[damage])
    with pytest.raises(RunError, match=r"last\.ckpt: damaged checkpoint") as error:
        checkpoint.load_checkpoint(tmp_path, model, optimizer)
    assert one_line(error)


PARTS = ("state", "model", "optimizer", "rng")
OTHER_KINDS = [None, 3, "x", [4], torch.zeros(2), {"epoch": 1, "what": 2}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"version": version}, "this program reads version 1") for version in (0, 2, "1", None)),
        *(({part: kind}, r"last\.ckpt: not a checkpoint of this model") for part in PARTS for kind in OTHER_KINDS),
        *(({part: ...}, f"checkpoint.*{part}") for part in PARTS),  # which is not there at all
    ],
)
def test_a_checkpoint_that_cannot_be_is_refused(tmp_path, saved, change, message):
    model, optimizer, _ = saved
    payload = torch.load(tmp_path / "last.ckpt", weights_only=True) | change
    torch.save({key: value for key, value in payload.items() if value is not ...}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match=message) as error:
        checkpoint.load_checkpoint(tmp_path, model, optimizer)
    assert one_line(error)


@pytest.mark.usefixtures("saved")
def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    other = new_model(replace(MODEL, hidden_size=4))
    with pytest.raises(RunError, match="not a checkpoint of this model") as error:
        checkpoint.load_checkpoint(tmp_path, other, torch.optim.Adam(other.parameters()))
    assert one_line(error)


def test_no_code_of_a_checkpoint_runs(tmp_path):
    marker = tmp_path / "marker"
    model, optimizer, _ = stepped()
    torch.save({"version": 1, "state": Touch(str(marker))}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match="damaged checkpoint"):
        checkpoint.load_checkpoint(tmp_path, model, optimizer)
    assert not marker.exists()
    Touch(str(marker)).run()
    assert marker.exists()  # it would have


class Touch:
    """Pickles as a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def run(self):
        function, arguments = self.__reduce__()
        function(*arguments)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_never_replace_a_checkpoint(tmp_path, saved, bad):
    model, optimizer, state = saved
    before = (tmp_path / "last.ckpt").read_bytes()
    with torch.no_grad():
        model.lstm.bias_ih_l0[1] = bad
    with pytest.raises(TrainingError, match="epoch 2 after step 2 are not finite"):
        checkpoint.save_checkpoint(tmp_path, state, model, optimizer)
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_writing_is_whole_or_not_at_all(tmp_path, saved, monkeypatch):
    model, optimizer, state = saved
    weight_files.save_weights(tmp_path / "best.model", model.state_dict())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(value, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_checkpoint(tmp_path, state, model, optimizer)
    with pytest.raises(KeyboardInterrupt):
        weight_files.save_weights(tmp_path / "best.model", model.state_dict())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- may a run be resumed with these options?


def test_the_same_configuration_more_epochs_or_another_device_may_resume(tmp_path):
    runs.check_same(RUN, RUN, tmp_path)
    more = replace(RUN, train=replace(RUN.train, n_epochs=10, device="cpu"), data=RUN.data | {"path": "moved"})
    assert runs.check_same(more, RUN, tmp_path) is None


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"train": replace(RUN.train, batch_size=8)}, "batch_size"),
        ({"train": replace(RUN.train, learning_rate=0.02)}, "learning_rate"),
        ({"train": replace(RUN.train, recipe="2020")}, "recipe"),
        ({"train": replace(RUN.train, seed=6)}, "seed"),
        ({"train": replace(RUN.train, max_padding=50)}, "max_padding"),
        ({"train": replace(RUN.train, deterministic=True)}, "deterministic"),
        ({"train": replace(RUN.train, n_epochs=2)}, "n_epochs"),
        ({"model": replace(MODEL, hidden_size=9)}, "model name"),
        ({"model": replace(MODEL, reading="padded")}, "reading"),
        ({"classes": ("flying saucer", "cat")}, "classes"),
        ({"data": RUN.data | {"manifest_sha256": "cd" * 32}}, "dataset"),
    ],
)
def test_another_configuration_may_not_resume(tmp_path, change, key):
    with pytest.raises(RunError, match=f"was started with .*{key}") as error:
        runs.check_same(replace(RUN, **change), RUN, tmp_path)
    assert one_line(error) and str(tmp_path) in str(error.value)
