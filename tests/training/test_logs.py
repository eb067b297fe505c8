"""Loggers of a training: one interface, and what arrives at TensorBoard's relatives without a network."""

import json
import struct
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import quickstroke as qs
from quickstroke.data.dataset import PreparedDataset
from quickstroke.errors import ConfigError, MissingExtra, RunError
from quickstroke.training import logs
from quickstroke.training.session import Interrupted, Watcher
from quickstroke.utils import telemetry

NAME = "simple_lay1_sz4"


@pytest.fixture(autouse=True)
def _here(one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(data: PreparedDataset, log: list[Any], n_epochs: int = 2, **options: Any) -> None:
    qs.train(qs.ModelConfig.from_name(NAME), qs.TrainConfig(n_epochs=n_epochs), data, "run", log=log, **options)


def metrics() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("run", "metrics.jsonl").read_text().splitlines()]


class Notebook:
    """A logger that writes down what it is told; `fails` are epochs that it cannot take."""

    told: list[Any]
    fails: set[int]

    def start(self, folder: Path, name: str | None, config: dict[str, Any]) -> str:
        self.told.append(("start", name, config["model"], config["n_epochs"]))
        return "page 1"

    def write(self, epoch: int, figures: dict[str, float]) -> None:
        if epoch in self.fails:
            self.fails.remove(epoch)
            raise OSError("the pen is empty\nand more")
        self.told.append((epoch, figures["val_loss"]))

    def end(self, is_done: bool) -> None:
        self.told.append(("end", is_done))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> type[Notebook]:
    monkeypatch.setattr(Notebook, "told", [], raising=False)
    monkeypatch.setattr(Notebook, "fails", set(), raising=False)
    monkeypatch.setitem(logs._KINDS, "mlflow", Notebook)
    return Notebook


def test_a_logger_is_told_of_every_epoch_once_also_by_a_resumed_run(
    dataset: PreparedDataset, notebook: type[Notebook]
) -> None:
    seen: list[int] = []
    stop = Watcher(on_epoch=lambda line: seen.append(line["epoch"]), should_stop=lambda: bool(seen))
    with pytest.raises(Interrupted):
        train(dataset, ["mlflow"], watcher=stop)
    assert [each[0] for each in notebook.told] == ["start", 1, "end"] and notebook.told[-1] == ("end", False)
    assert json.loads(Path("run", "log.json").read_text()) == {"mlflow": {"name": "page 1", "epochs": 1}}
    train(dataset, ["mlflow", "mlflow"], resume=True)
    expected = [("start", None), ("end", False), ("start", "page 1"), ("end", True)]
    assert [each[:2] for each in notebook.told if isinstance(each[0], str)] == expected
    told = [each for each in notebook.told if not isinstance(each[0], str)]
    assert told == [(line["epoch"], line["val_loss"]) for line in metrics()] and len(told) == 2


def test_a_run_that_was_logged_nowhere_is_logged_whole(dataset: PreparedDataset, notebook: type[Notebook]) -> None:
    train(dataset, [], n_epochs=1)
    assert not Path("run", "log.json").exists()
    train(dataset, ["mlflow"], resume=True)
    assert [each[0] for each in notebook.told] == ["start", 1, 2, "end"]


def test_a_logger_that_fails_stops_no_training(dataset: PreparedDataset, notebook: type[Notebook]) -> None:
    remarks: list[str] = []
    notebook.fails.add(1)
    train(dataset, ["mlflow"], watcher=Watcher(on_remark=remarks.append))
    assert remarks == ["mlflow did not log epoch 1: the pen is empty"]
    assert [each[0] for each in notebook.told] == ["start", 1, 2, "end"]  # the first comes with the second


def test_what_cannot_be_logged_to_is_refused_before_the_training(
    dataset: PreparedDataset, notebook: type[Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="log: no logger 'paper'; expected tensorboard, wandb, mlflow"):
        train(dataset, ["paper"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"logging to wandb needs .*: pip install 'quickstroke\[wandb\]'"):
        train(dataset, ["wandb"])
    assert not Path("run").exists()

    def start(self: Notebook, *_: Any) -> str:
        raise OSError("no paper")

    monkeypatch.setattr(notebook, "start", start)
    with pytest.raises(RunError, match=r"^run: mlflow cannot log it: no paper$"):
        train(dataset, ["mlflow"])
    assert not Path("run", "metrics.jsonl").exists()


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed: quickstroke[wandb]")
def test_weights_and_biases_offline(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"MODE": "offline", "SILENT": "true", "PROJECT": "", "API_KEY": ""}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "home"))
    train(dataset, ["wandb"])
    (path,) = Path("run", "wandb").glob("offline-run-*/*.wandb")
    name = json.loads(Path("run", "log.json").read_text())["wandb"]["name"]
    records = read_wandb(path)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.project, run.display_name) == (name, "quickstroke", "run")
    config = {entry.key: json.loads(entry.value_json) for entry in run.config.update}
    assert config["model"] == NAME and config["n_epochs"] == 2
    told = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [(line["_step"], line["val_loss"], line["val_top1"]) for line in told] == [
        (line["epoch"], line["val_loss"], line["val_top1"]) for line in metrics()
    ]
    # Neither the machine nor the repository nor the output is in it.
    assert run.host == "unnamed" and not run.git.commit
    assert not [record for record in records if record.HasField("files")]
    assert not [record for record in records if record.HasField("stats") or record.HasField("output_raw")]


def read_wandb(path: Path) -> list[Any]:
    """The records of a file of W&B: a LevelDB log (github.com/google/leveldb, doc/log_format.md) behind 7 bytes."""
    messages = import_module(f"{telemetry.import_wandb().__name__}.proto.wandb_internal_pb2")
    data, at, parts, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768  # of a block; no record begins in its last six bytes
        if left < 7:
            at += left
            continue
        _, n, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + n]
        at += 7 + n
        if kind in (1, 4):  # whole, or the last part
            records.append(messages.Record())
            records[-1].ParseFromString(parts)
            parts = b""
    return records


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed: quickstroke[mlflow]")
def test_mlflow_in_a_file(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    train(dataset, ["mlflow"], n_epochs=1)
    train(dataset, ["mlflow"], resume=True)
    client = telemetry.import_mlflow().MlflowClient(uri)
    experiment = client.get_experiment_by_name("quickstroke")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params["model"] == NAME and found.data.params["n_epochs"] == "1"
    told = client.get_metric_history(found.info.run_id, "val_loss")
    assert [(each.step, each.value) for each in told] == [(line["epoch"], line["val_loss"]) for line in metrics()]
