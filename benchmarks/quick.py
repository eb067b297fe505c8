"""The main ratios in some two minutes, beside the last ones in the repository.

    python benchmarks/quick.py FOLDER SIMPLIFIED [RAW] [--write]

FOLDER has official binary files, SIMPLIFIED and RAW official ndjson. Runs benchmarks of this folder with few turns,
each in a process of its own: a figure is good for seeing that something became much slower, not for stating. The last
line is JSON: of each figure what it is now, what it was, and by how much it is better (below 1: worse). With --write it
is kept in quick.json.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KEPT = HERE / "quick.json"
# Below it a figure is worse than noise explains on a machine that does little else.
NOISE = 0.7


def found(script: str, *words: str) -> dict[str, Any]:
    """The last line of a benchmark."""
    command = [sys.executable, str(HERE / script), *words]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def figures(binary: str, simplified: str, raw: str | None) -> dict[str, float]:
    """Each figure; of those that end in `_s` and `_ms` less is better, of the others, ratios, more."""
    drawings = str(min(Path(simplified).glob("*.ndjson")))
    start = found("start_speed.py", drawings, "--n-turns", "3")
    result = {
        "first_predict_warm_to_cold": 1 / start["ratio_cold_warm"],
        "first_predict_to_torch": start["import_torch_s"] / start["predict_cold_s"],
        "help_s": start["help_s"],
        "models_s": start["models_s"],
    }
    for name, folder in (("simplified", simplified), ("csv", simplified), ("npz", simplified), ("raw", raw)):
        if folder is not None:
            few = ("--n", "6000", "--n-plain", "100") if name == "raw" else ("--n", "20000", "--n-plain", "1000")
            result[f"prepare_{name}"] = found("preparing_speed.py", name, folder, *few, "--n-turns", "3")["ratio"]
    model = found("guess_speed.py", simplified, "--n", "200", "--default-only")["models"][0]["simplified"]
    result |= {
        "guess_ms": model["torch"]["median_ms"],
        "guess_to_onnxruntime": model["onnxruntime"]["median_ms"] / model["torch"]["median_ms"],
    }
    words = ("--classes", str(HERE / "sample46.txt"), "--names", "simple_lay1_sz64", "--n-turns", "1")
    result["train_simple_lay1_sz64"] = found("training_speed.py", binary, *words)["models"][0]["ratio bfloat16"]
    return result


def compared(now: dict[str, float], before: dict[str, float]) -> dict[str, dict[str, float]]:
    """Each figure of now, of before, and how many times better it is."""
    rows = {}
    for name, value in now.items():
        rows[name] = {"now": value}
        if last := before.get(name):
            is_time = name.endswith(("_s", "_ms"))
            rows[name] |= {"before": last, "better": last / value if is_time else value / last}
    return rows


def main(args: Sequence[str] | None = None, measure: Callable[..., dict[str, float]] = figures) -> int:
    """Prints one JSON line; 1 where something became worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", metavar="FOLDER")
    parser.add_argument("simplified", metavar="SIMPLIFIED")
    parser.add_argument("raw", metavar="RAW", nargs="?")
    parser.add_argument("--write", action="store_true", help="keep the figures in quick.json")
    parser.add_argument("--kept", type=Path, default=KEPT)
    options = parser.parse_args(args)
    before = json.loads(options.kept.read_text()) if options.kept.is_file() else {}
    now = measure(options.binary, options.simplified, options.raw)
    rows = compared(now, before)
    worse = [name for name, row in rows.items() if row.get("better", 1) < NOISE]
    for name in worse:
        print(f"{name}: {rows[name]['now']:.3g}, was {rows[name]['before']:.3g}", file=sys.stderr)
    if options.write:
        options.kept.write_text(json.dumps(now, indent=1) + "\n")
    print(json.dumps({"figures": rows, "worse": worse}))
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
