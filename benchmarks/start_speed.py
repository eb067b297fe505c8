"""What does a command cost right after installing, when nothing that is compiled is kept on disk yet?

    python benchmarks/start_speed.py DRAWINGS [--train FOLDER]

`quickstroke predict` of the first three drawings, with an empty folder for compiled code and again, beside `import
torch` alone; and the commands that only tell something. Processor time (user and system) of a process and its children,
and wall time, each the median over the turns. The processor time beyond `import torch` is what is ours.

With official binary files also `quickstroke train` of two epochs of 46 words, 420 drawings each, likewise: seconds of
the first epoch and of the second, and before the first one, when it compiles.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.categories import parse_classes
from quickstroke.preparation.prepare import prepare

SAMPLE = Path(__file__).with_name("sample46.txt")
N_TRAIN, N_VAL = 420, 20
PREDICT = ("-m", "quickstroke", "predict", "--limit", "3")
WAYS = {
    "help": ("-m", "quickstroke", "--help"),
    "models": ("-m", "quickstroke", "models"),
    "import_torch": ("-c", "import torch"),
}


# What bash does of the script `$0` when somebody types `quickstroke pre` and the key Tab.
TAB = 'source "$0"; COMP_WORDS=(quickstroke pre); COMP_CWORD=1; _tyro_quickstroke; test "${COMPREPLY[*]}"'


def run(words: Sequence[str], folder: str, program: str = sys.executable) -> tuple[float, float]:
    """Processor and wall seconds of a program with these words; compiled code is kept in a folder."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # The script of a shell takes the first Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder, "PATH": path}
    subprocess.run([program, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def training(files: Path, n_turns: int) -> dict[str, float]:
    """Wall seconds of a training's parts, with nothing compiled and with all of it kept."""
    taken: dict[str, list[float]] = {}
    for _ in range(n_turns):
        with tempfile.TemporaryDirectory() as temporary:
            data, compiled = Path(temporary) / "data", str(Path(temporary) / "compiled")
            prepare(files, data, classes=parse_classes([str(SAMPLE)]), split=PositionSplit(N_TRAIN, N_VAL, 0))
            for kind in ("cold", "warm"):
                into = Path(temporary) / kind
                words = ("train", "simple_lay1_sz64", "--data", str(data), "--into", str(into), "--n-epochs", "2")
                _, wall = run(("-m", "quickstroke", *words), compiled)
                lines = (into / "metrics.jsonl").read_text().splitlines()
                first, second = (json.loads(line)["seconds"] for line in lines)
                parts = {"before_epochs": wall - first - second, "first_epoch": first, "second_epoch": second}
                for name, seconds in parts.items():
                    taken.setdefault(f"{name}_{kind}_s", []).append(seconds)
    result = {name: statistics.median(each) for name, each in taken.items()}
    result["ratio_epochs"] = result["first_epoch_cold_s"] / result["second_epoch_cold_s"]
    result["compiling_s"] = result["before_epochs_cold_s"] - result["before_epochs_warm_s"]
    first = result["compiling_s"] + result["first_epoch_cold_s"]
    result["ratio_epochs_with_compiling"] = first / result["second_epoch_cold_s"]
    return result


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drawings", type=Path, help="a file of drawings, or a folder of them")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="official binary files to train on")
    parser.add_argument("--n-turns", type=int, default=5)
    options = parser.parse_args()
    predict = (*PREDICT, str(options.drawings))
    ways = (*WAYS, "completion", "predict_cold", "predict_warm")
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    n_kept = 0
    for _ in range(options.n_turns):
        with tempfile.TemporaryDirectory() as folder:
            taken["predict_cold"].append(run(predict, folder))
            n_kept += sum(1 for _ in Path(folder).rglob("*.nbc"))
            taken["predict_warm"].append(run(predict, folder))
            for way, words in WAYS.items():
                taken[way].append(run(words, folder))
            script = Path(folder) / "completion.bash"
            command = [sys.executable, "-m", "quickstroke", "completion", "bash"]
            script.write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            taken["completion"].append(run(("-c", TAB, str(script)), folder, "bash"))
    result: dict[str, float] = {"functions_compiled": n_kept / options.n_turns}
    for way, figures in taken.items():
        processor, wall = (statistics.median(each) for each in zip(*figures, strict=True))
        result |= {f"{way}_s": processor, f"{way}_wall_s": wall}
    result["ratio_cold_warm"] = result["predict_cold_s"] / result["predict_warm_s"]
    result["beyond_torch_s"] = result["predict_cold_s"] - result["import_torch_s"]
    if options.train:
        result |= training(options.train, options.n_turns)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
