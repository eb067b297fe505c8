"""How much memory does training many drawings take, beyond what `import torch` takes?

    python benchmarks/training_memory.py FOLDER            repeats the drawings of FOLDER with jitter
    python benchmarks/training_memory.py --data DIR        or takes a prepared dataset

In a process of its own, which imports PyTorch first: the rise of RssAnon (/proc/self/status, Linux) from there, as it
is after the other imports, after opening the dataset, while training and while validating, each the maximum of what a
thread saw. The dataset is memory-mapped: its pages are the operating system's, which takes them back when it
needs them, and are no part of RssAnon. Training makes the whole epoch's order and then a few hundred steps; all later
steps are like these.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch

from quickstroke.data.selection import LabelledDrawings

# Nothing else is imported here: the child measures from PyTorch on.

SAMPLE = str(Path(__file__).with_name("sample46.txt"))
SAMPLE_EVERY_S = 0.002


def rss_anon_mb() -> float:
    """Anonymous memory of this process in MB, of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("/proc/self/status has no RssAnon here")


class Sampler:
    """A thread that notes the largest RssAnon of each phase."""

    def __init__(self) -> None:
        self.phase, self.highest = "", dict[str, float]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def enter(self, phase: str) -> None:
        """Ends a phase and begins another."""
        self._note()
        self.phase = phase
        self._note()

    def stop(self) -> None:
        """Ends the last phase."""
        self._note()
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self._note()

    def _note(self) -> None:
        phase = self.phase
        self.highest[phase] = max(self.highest.get(phase, 0.0), rss_anon_mb())


def measure(folder: Path, name: str, n_steps: int) -> None:
    """What the child does; prints one JSON line."""
    begin_mb = rss_anon_mb()
    sampler = Sampler()
    sampler.enter("imports")
    from quickstroke.config.model import ModelConfig
    from quickstroke.config.training import TrainConfig
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.evaluation.evaluate import evaluate
    from quickstroke.models.classifier import StrokeClassifier
    from quickstroke.training.loop import train
    from quickstroke.training.session import Interrupted, Watcher

    sampler.enter("dataset")
    data = PreparedDataset(folder)
    n_done = 0

    def on_step(epoch: int, done: int, total: int) -> None:
        nonlocal n_done
        n_done += 1

    sampler.enter("training")
    watcher = Watcher(on_step=on_step, should_stop=lambda: n_done >= n_steps)
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        with contextlib.suppress(Interrupted):
            train(ModelConfig.from_name(name), TrainConfig(n_epochs=1), data, run, watcher=watcher)
    sampler.enter("validation")
    config = ModelConfig.from_name(name, n_classes=len(data.classes))
    val = LabelledDrawings.of_split(data, "val", data.classes)
    evaluate(StrokeClassifier(config), val)
    sampler.stop()
    phases = ("imports", "dataset", "training", "validation")
    facts = {"n_train": len(data.indices("train")), "n_val": len(val), "n_steps": n_done}
    added = {phase: sampler.highest[phase] - begin_mb for phase in phases}
    print(json.dumps({**facts, "torch_mb": begin_mb, "added_mb": added}))


def make_data(folder: Path, temporary: Path, classes: list[str], n_train: int, n_val: int) -> Path:
    """A prepared dataset of so many drawings, real ones and jittered copies."""
    from quickstroke.data.splits import PositionSplit
    from quickstroke.drawings.categories import parse_classes
    from quickstroke.preparation.prepare import prepare
    from reading_speed import write_all_copies

    words = parse_classes(classes)
    split = PositionSplit(-(-n_train // len(words)), -(-n_val // len(words)), 0)
    # A few more, in the place of drawings that are there twice.
    write_all_copies(folder, temporary / "binary", words, split.total + split.total // 100 + 10)
    prepare(temporary / "binary", temporary / "data", classes=words, split=split)
    return temporary / "data"


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of official binary files")
    parser.add_argument("--data", type=Path, help="a prepared dataset with the splits train and val")
    parser.add_argument("--classes", nargs="+", default=[SAMPLE])
    parser.add_argument("--n-train", type=int, default=2_000_000, help="drawings in all")
    parser.add_argument("--n-val", type=int, default=100_000, help="drawings in all")
    parser.add_argument("--name", default="simple_lay1_sz64")
    parser.add_argument("--n-steps", type=int, default=400)
    parser.add_argument("--measure", action="store_true", help="measure in this process, which imported PyTorch only")
    options = parser.parse_args()
    if options.measure:
        measure(options.data, options.name, options.n_steps)
        return
    if (options.folder is None) == (options.data is None):
        parser.error("give either FOLDER or --data DIR")

    with tempfile.TemporaryDirectory() as temporary:
        data = options.data or make_data(
            options.folder, Path(temporary), options.classes, options.n_train, options.n_val
        )
        command = [sys.executable, __file__, "--measure", "--data", str(data)]
        command += ["--name", options.name, "--n-steps", str(options.n_steps)]
        # The first run compiles, which takes memory once only: a user's second training is what is measured.
        subprocess.run([*command[:-1], "2"], check=True, stdout=subprocess.PIPE)
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])

    from rich.console import Console
    from rich.table import Table

    title = f"Memory of training {options.name} on {measured['n_train']:,} drawings"
    table = Table("highest RssAnon beyond `import torch`", "MB", title=title)
    for phase, value in measured["added_mb"].items():
        table.add_row(phase, f"{value:.1f}")
    Console(width=120).print(table)
    plain_mb = measured["n_train"] * 1200 / 1e6
    print(f"The plain recipe's tensors of these drawings would take {plain_mb:,.0f} MB.")
    facts = {"name": options.name, "n_threads": torch.get_num_threads(), "plain_tensors_mb": plain_mb}
    print(json.dumps({**facts, **measured, "highest_mb": max(measured["added_mb"].values())}))


if __name__ == "__main__":
    main()
