"""What two processes do together in `test_distributed.py`, with the dataset FOLDER/data: `torchrun workers.py FOLDER`.

They train, evaluate and ask teachers, and train once more, in which process 1 is killed in the second epoch. torchrun
starts both again: they go on with that training, and train by the command line. All of it is one program, as to start
one takes longer than what it does here.
"""

import contextlib
import dataclasses
import io
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from quickstroke.cli import main as quickstroke
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data import augmentation
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import RunError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.runtime import distributed
from quickstroke.training import distillation, loop, session
from quickstroke.utils import files

SHORT = "lstm_cv1_4_3_lay1_sz5"
POOLED = "bipool_cv1_4_3_cv2_6_3_2_lay2_sz5"
LOOKING = "bipool_cv1_4_3_img2_lay1_sz5"
COMMON = {"n_epochs": 2, "max_padding": 30, "device": "cpu", "precision": "float32"}
# Each leaves a last batch of one drawing, of which one process has none. Dropout alone is another for each process.
CONFIGS = {
    "padded": (SHORT, TrainConfig(recipe="2020", batch_size=17, learning_rate=0.01, **COMMON)),
    "length-aware": (
        SHORT,
        replace(TrainConfig(recipe="2020", batch_size=17, learning_rate=0.01, **COMMON), recipe="default"),
    ),
    "strong": (POOLED, TrainConfig(recipe="strong", batch_size=17, dropout=0.0, **COMMON)),
    "in parts": (LOOKING, TrainConfig(recipe="strong", batch_size=17, grad_accum_steps=3, dropout=0.0, **COMMON)),
    "taught": (POOLED, TrainConfig(recipe="strong", batch_size=17, dropout=0.0, n_cached_epochs=1, **COMMON)),
}


def config_of(key, folder):
    """The model and training of a key; the teacher of `taught` is the run `length-aware` that one process made."""
    name, config = CONFIGS[key]
    if key == "taught":
        config = dataclasses.replace(config, teacher=(str(folder / "one" / "length-aware"),))
    return ModelConfig.from_name(name), config


def be_killed(folder, data, group):
    """A training that goes on by itself after a kill; dropout is in it, which has to go on as well."""
    model_config, config = config_of("strong", folder)
    config = dataclasses.replace(config, dropout=0.3)

    def on_step(epoch, done, total):
        if epoch == 1 and done > 40 and group.rank == 1 and not distributed.is_restart():
            os.kill(os.getpid(), signal.SIGKILL)

    watcher = session.Watcher(on_step=on_step)
    with distributed.losing(group):
        loop.train(
            model_config, config, data, folder / "killed", resume=distributed.is_restart(), group=group, watcher=watcher
        )


def by_command(folder, into, rank):
    """Trains into a folder as the command line does, and writes what this process said."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        words = ("train", "simple_lay1_sz4", "--data", folder / "data", "--into", into, "--n-epochs", "2")
        code = quickstroke([*map(str, words), "--precision", "float32"])
    told = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    (folder / f"{into.name}-{rank}.json").write_text(json.dumps(told))


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    data = PreparedDataset(folder / "data")
    group = distributed.join()
    assert (group.size, group.local_rank) == (2, group.rank)
    if not distributed.is_restart():
        work_together(folder, data, group)
    be_killed(folder, data, group)
    by_command(folder, folder / "by command", group.rank)


def work_together(folder, data, group):
    if group.rank:
        # Nobody but the first writes.
        def refuse(*_):
            raise AssertionError("process 1 writes")

        files.atomic_write.__wrapped__.__code__ = refuse.__code__
    found = {}
    for key in CONFIGS:
        model_config, config = config_of(key, folder)
        loop.train(model_config, config, data, folder / "two" / key, group=group)
    model_config, config = config_of("strong", folder)
    config = dataclasses.replace(config, dropout=0.3)
    loop.train(model_config, config, data, folder / "two" / "with dropout", group=group)

    model_config, config = config_of("length-aware", folder)
    try:
        loop.train(model_config, config, data, folder / "two" / "length-aware", group=group)
    except RunError as error:
        found["error"] = [type(error).__name__, str(error)]
    except distributed.Elsewhere as error:
        found["error"] = [type(error).__name__, str(error)]

    torch.manual_seed(3)
    classes, label_map = data.classes, data.label_map(data.classes)
    model = StrokeClassifier(ModelConfig.from_name(SHORT, n_classes=len(classes), max_padding=30))
    indices = np.arange(len(data))
    for protocol in ("standard", "2020"):
        drawings = LabelledDrawings(data, indices, classes, label_map)
        result = evaluate(model, drawings, protocol=protocol, batch_size=17, group=group)
        np.savez(
            folder / f"{protocol}-{group.rank}.npz",
            **{key: getattr(result, key) for key in ("indices", "labels", "predicted", "probability", "ranks", "loss")},
        )
    found["sum"] = group.sum(group.rank + 1)
    found["any"] = [group.any(False), group.any(group.rank == 1)]
    half = np.zeros((5, 3), dtype=np.float16)
    half[group.rank :: 2] = group.rank + 0.5
    group.all_reduce(half)
    found["filled"] = half.tolist()
    teacher = distillation.open_targets(
        (str(folder / "one" / "length-aware"),),
        data,
        classes,
        augmentation.change_of(config),
        folder / f"asked-{group.rank}",  # a file that only the first has is of no use to the others
        torch.float32,
        group=group,
    )
    asked = [teacher.of(0, indices).tolist() for _ in range(2)]
    found["log_probs"] = asked[0] == asked[1]
    (folder / f"found-{group.rank}.json").write_text(json.dumps(found))
    by_command(folder, folder / "two" / "padded", group.rank)


if __name__ == "__main__":
    main()
