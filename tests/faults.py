"""Kills the commands that write, again and again, and looks at what they leave: `make faults`.

    python tests/faults.py [--kills 200] [--seed 0]

A process is killed (SIGKILL: nothing can be caught) while it prepares, trains, publishes or reports: at a moment that
chance picks, or at a point of the writing code: in the middle of a write, before or after data is forced to the disk,
before or after a file gets its name. Or the disk is full from such a point on: one clear line, and no file is left
half. After each kill every file under a final name has to be whole; then the same
command goes on, may be killed again, and in the end has to have made what it makes when nobody disturbs it: the same
bytes, the same weights to the last bit. Prints a table and, last, one JSON line; exits with 1 at the first thing found.
"""

import argparse
import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from quickstroke import cli
from quickstroke.artifacts import loading, runs
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import QuickstrokeError
from quickstroke.formats import binary
from quickstroke.reports import documents
from quickstroke.training import loop

WORDS = ("circle", "house", "star")
MODEL = "bipool_cv1_4_3_cv2_6_3_2_lay2_sz5"
# In a few steps: dropout, an average of the weights, augmentation and teachers, each of which has something to lose.
OPTIONS = ["--recipe", "strong", "--n-epochs", "3", "--batch-size", "32", "--max-padding", "30", "--device", "cpu"]
# What happens, and how often of ten times.
KINDS = {"at a point": 6, "at random": 2, "full disk": 2}
MOST_KILLS_IN_A_ROW = 4


class Found(Exception):
    """Something that a kill should not have left behind, or another end."""


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Points:
    """Counts the points of the writing code that a process passes; kills it at one, or fills its disk from there on."""

    def __init__(self, strike_at: int | None, disk_is_full: bool) -> None:
        self.passed = self.refused = 0
        self._strike_at, self._disk_is_full = strike_at, disk_is_full

    def dies(self) -> bool:
        """Whether this is the point to die at."""
        self.passed += 1
        return self.passed == self._strike_at and not self._disk_is_full

    def refuse_when_full(self) -> None:
        """What a full disk says."""
        if self._disk_is_full and self._strike_at is not None and self.passed >= self._strike_at:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def patch(self) -> None:
        """Puts the points where Python writes."""
        points = self

        class Writer(io.BufferedWriter):
            def write(self, data: Any) -> int:
                points.refuse_when_full()
                if points.dies():
                    view = memoryview(data).cast("B")
                    super().write(view[: len(view) // 2])
                    self.flush()
                    kill_myself()
                return super().write(data)

        opened, mkdir, fsync = Path.open, os.mkdir, os.fsync

        def open_path(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            return Writer(io.FileIO(path, "w")) if mode == "wb" else opened(path, mode, *args, **options)

        def around(call: Callable[..., Any]) -> Callable[..., Any]:
            def with_points(*args: Any, **options: Any) -> Any:
                if call in (mkdir, fsync):
                    points.refuse_when_full()
                if points.dies():
                    kill_myself()
                value = call(*args, **options)
                if points.dies():
                    kill_myself()
                return value

            return with_points

        Path.open = open_path  # type: ignore[method-assign, assignment]
        for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
            setattr(os, name, around(getattr(os, name)))


def in_child(
    command: list[str],
    log: Path,
    *,
    strike_at: int | None = None,
    disk_is_full: bool = False,
    kill_after_s: float | None = None,
) -> int | None:
    """Runs a command in a process of its own: its exit code, None when it was killed.

    A fork of this one, which has everything imported and compiled: 200 kills take minutes, not hours.
    """
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with log.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            points = Points(strike_at, disk_is_full)
            points.patch()
            code = cli.main(command)
            sys.stdout.flush()
            if points.refused and code == 0:
                print("a full disk goes unnoticed", flush=True)
                code = 71
            print(f"points: {points.passed}", flush=True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(code)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


# --- the stages: a command, what has to hold after a kill, and what it makes in the end


def files_of(folder: Path) -> dict[str, bytes]:
    """The files under final names in a folder, by their path in it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


class Stage:
    """One of them, whose files lie in a folder."""

    name: str

    def __init__(self, work: Path) -> None:
        self.work = work

    def command(self, into: Path) -> list[str]:
        raise NotImplementedError

    def check(self, into: Path) -> None:
        raise NotImplementedError

    def end(self, into: Path) -> Any:
        return files_of(into)


class Prepare(Stage):
    name = "prepare"

    def command(self, into: Path) -> list[str]:
        options = ["--fractions", "0.7", "0.2", "0.1", "--resume"]
        return ["prepare", str(self.work / "binary"), "--into", str(into), *options]

    def check(self, into: Path) -> None:
        if into.exists():
            PreparedDataset(into).verify()


class Train(Stage):
    def __init__(self, work: Path, taught: bool) -> None:
        super().__init__(work)
        self.taught = taught
        self.name = "train, taught" if taught else "train"

    def command(self, into: Path) -> list[str]:
        teacher = ["--teacher", str(self.work / "run"), "--n-cached-epochs", "2"] if self.taught else []
        return ["train", MODEL, "--data", str(self.work / "data"), "--into", str(into), "--resume", *OPTIONS, *teacher]

    def check(self, into: Path) -> None:
        if (into / "config.json").exists():
            runs.read_config(into)
        if (into / "environment.json").exists():
            json.loads((into / "environment.json").read_text())
        runs.read_metrics(into)
        for name in ("best.model", "last.model"):
            if (into / name).exists():
                loading.read_weights(into / name)
        if (into / "last.ckpt").exists():
            torch.load(into / "last.ckpt", weights_only=True)

    def end(self, into: Path) -> Any:
        weights = [loading.read_weights(into / name) for name in ("best.model", "last.model")]
        numbers = [{key: value.numpy().tobytes() for key, value in each.items()} for each in weights]
        metrics = [{key: v for key, v in line.items() if "seconds" not in key} for line in runs.read_metrics(into)]
        return numbers, metrics


class Publish(Stage):
    name = "publish"

    def command(self, into: Path) -> list[str]:
        return ["publish", str(self.work / "run"), "--into", str(into), "--replace"]

    def check(self, into: Path) -> None:
        path = into / f"{MODEL}.model"
        if path.exists():
            loading.load_model(path)


class Report(Stage):
    name = "report"

    def command(self, into: Path) -> list[str]:
        return ["report", str(self.work / "run"), "--into", str(into / "results.md")]

    def check(self, into: Path) -> None:
        if (into / "results.md").exists():
            documents.read_document(into / "results.md")


def make_sources(work: Path) -> None:
    (work / "binary").mkdir(parents=True)
    for word in WORDS:
        binary.write(work / "binary" / f"{word}.bin", list(synthetic_drawings(60, seed=7, words=(word,))))


def undisturbed(stage: Stage, into: Path, log: Path) -> tuple[Any, int, float]:
    """What a stage makes, the points that it passes and the seconds that it takes."""
    started = time.perf_counter()
    code = in_child(stage.command(into), log)
    if code != 0:
        raise Found(f"{stage.name} ends with {code} undisturbed: {log.read_text()[-2000:]}")
    points = int(log.read_text().rsplit("points: ", 1)[1])
    return stage.end(into), points, time.perf_counter() - started


def check_full(stage: Stage, into: Path, log: Path) -> None:
    """A full disk is one clear line."""
    said = log.read_text()
    lines = [line for line in said.splitlines() if line.startswith("quickstroke ")]
    if len(lines) != 1 or "No space left on device" not in lines[0] or "Traceback" in said:
        raise Found(f"{stage.name} says of a full disk: {said[-2000:]}")


def kill_until_done(
    stage: Stage, into: Path, log: Path, expected: Any, points: int, seconds: float, rng: random.Random, most: int
) -> Counter[str]:
    """Disturbs a stage up to `most` times on its way, then lets it end, and compares; what was done to it, by kind."""
    kills: Counter[str] = Counter()
    for _ in range(most):
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        log.write_text("")
        if kind == "at random":
            code = in_child(stage.command(into), log, kill_after_s=rng.uniform(0, seconds))
        else:
            is_full = kind == "full disk"
            code = in_child(stage.command(into), log, strike_at=rng.randint(1, points), disk_is_full=is_full)
            if is_full and code == 2:
                check_full(stage, into, log)
        if code == 0:  # it was through before its time
            break
        if code is not None and not (kind == "full disk" and code == 2):
            raise Found(f"{stage.name} ends with {code}, {kind}: {log.read_text()[-2000:]}")
        kills[kind] += 1
        stage.check(into)
    code = in_child(stage.command(into), log)
    if code != 0:
        raise Found(f"{stage.name} does not go on after {sum(kills.values())} kills: {log.read_text()[-2000:]}")
    stage.check(into)
    if stage.end(into) != expected:
        raise Found(f"{stage.name} ends otherwise after {sum(kills.values())} kills")
    left = [str(path) for path in into.parent.rglob(".*") if path.name.endswith((".tmp", ".part"))]
    if left:
        raise Found(f"{stage.name} leaves {', '.join(left)} after {sum(kills.values())} kills")
    return kills


def run(n_kills: int, seed: int, work: Path) -> dict[str, Any]:
    """Kills `n_kills` times over all stages; how often each stage was killed, and in how many rounds."""
    rng = random.Random(seed)
    torch.set_num_threads(1)
    # A checkpoint at every step: the most to be killed in, and the most to go on from.
    loop.CHECKPOINT_EVERY_S = 0.0
    make_sources(work)
    with contextlib.redirect_stdout(io.StringIO()):  # compiles and loads everything once, for all forks
        for stage, into in ((Prepare(work), "data"), (Train(work, False), "run")):
            if cli.main(stage.command(work / into)) != 0:
                raise Found(f"{stage.name} fails")
        for stage in (Train(work, True), Publish(work), Report(work)):
            if cli.main(stage.command(work / "warm" / stage.name)) != 0:
                raise Found(f"{stage.name} fails")
    stages: list[Stage] = [Prepare(work), Train(work, False), Train(work, True), Publish(work), Report(work)]
    log = work / "log.txt"
    expected = {stage.name: undisturbed(stage, work / "expected" / stage.name, log) for stage in stages}
    kills: dict[str, Counter[str]] = {stage.name: Counter() for stage in stages}
    done = rounds = 0
    while done < n_kills:
        stage = stages[rounds % len(stages)]
        into = work / "killed"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        most = min(rng.randint(1, MOST_KILLS_IN_A_ROW), n_kills - done)
        counted = kill_until_done(stage, into / "it", log, *expected[stage.name], rng, most)
        kills[stage.name] += counted
        done += sum(counted.values()) - counted["full disk"]
        rounds += 1
    return {
        "kills": done,
        "rounds": rounds,
        "by_stage": {name: dict(counted) for name, counted in kills.items()},
        "points": {name: points for name, (_, points, _) in expected.items()},
    }


def main() -> int:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = run(options.kills, options.seed, Path(folder))
        except (Found, QuickstrokeError) as error:
            print(f"found: {error}", file=sys.stderr)
            return 1
    print(f"{'stage':<15} {'points':>6}" + "".join(f"{kind:>12}" for kind in KINDS))
    for name, counted in result["by_stage"].items():
        print(f"{name:<15} {result['points'][name]:>6}" + "".join(f"{counted.get(kind, 0):>12}" for kind in KINDS))
    told = f"{result['kills']} kills in {result['rounds']} rounds, and full disks"
    print(f"{told}: all went on to the same end, and nothing is half there")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
