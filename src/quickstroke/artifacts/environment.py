"""environment.json: what it takes to run the same again."""

import json
import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from quickstroke.kernels import gemm, threads
from quickstroke.utils.files import write_json


def write_environment(folder: Path, command: Sequence[str] = (), n_processes: int = 1) -> None:
    """Writes environment.json: what it takes to run the same again; on resuming, with the commands before this one.

    Args:
        command: the words that start such a run; none where it was no command that started it.
    """
    before = read_environment(folder)
    earlier = [*before["earlier_commands"], *filter(None, [before["command"]])]
    packages = ("quickstroke", "torch", "numpy", "numba")
    write_json(
        folder / "environment.json",
        {
            "command": list(command),
            "earlier_commands": earlier,
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in packages},
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "n_cpus": os.cpu_count(),
            "n_threads": threads.n_threads(),
            "n_processes": n_processes,
            "products": gemm.described(),
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    )


def read_environment(folder: Path) -> dict[str, Any]:
    """What environment.json holds; of what is missing, damaged or no such thing the empty value of its type."""
    empty: dict[str, Any] = {"command": [], "earlier_commands": [], "packages": {}}
    try:
        values = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        values = {}
    if not isinstance(values, dict):
        values = {}
    return values | {key: values[key] if type(values.get(key)) is type(none) else none for key, none in empty.items()}


def command_of(folder: Path) -> str:
    """The commands that do what a run came to, as a shell reads them; "" where it does not say.

    It is one command, without `--resume`, unless others with other options went on with the run.
    """
    found = read_environment(folder)
    told: list[str] = []
    known = []
    for command in (*found["earlier_commands"], found["command"]):
        words = [str(word) for word in command if word != "--resume"]
        # Going on by the options that were there already changes nothing.
        if words and words not in known:
            told.append(shlex.join(map(str, command) if told else words))
        known.append(words)
    return " && ".join(told)


def n_threads_before(folder: Path) -> int | None:
    """The threads of a run so far, None where it does not say."""
    n = read_environment(folder).get("n_threads")
    return n if isinstance(n, int) else None


def differences(folder: Path, other: Path) -> list[str]:
    """What is not the same in the environments of two runs, a line each; where one does not say, nothing."""
    keys = ("python", "processor", "n_threads", "n_processes", "products", "cuda")
    both = [read_environment(each) for each in (folder, other)]
    before, now = ({key: each[key] for key in keys if key in each} | each["packages"] for each in both)
    return [f"{key}: {before[key]}, now {now[key]}" for key in before if key in now and before[key] != now[key]]
