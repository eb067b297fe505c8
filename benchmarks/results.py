"""Runs the benchmarks and writes their figures to RESULTS.md, each beside what was asked for.

    python benchmarks/results.py FOLDER [--simplified FOLDER] [--raw FOLDER] [--parts PART...] [--into benchmarks]

FOLDER has the official binary files, --simplified and --raw ndjson files. Each part is a script of its own, run by the
command that the table states; its JSON goes to results.json, from which parts that are not run this time are taken.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from quickstroke import __version__
from quickstroke.artifacts import cards
from quickstroke.utils.files import write_text
from quickstroke.utils.system import n_cores

HERE = Path(__file__).resolve().parent
SAMPLE = "benchmarks/sample46.txt"
# Of processors; these multiply bfloat16 in hardware.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PACKAGES = ("torch", "numpy", "numba", "onnxruntime")
MAX_GUESS_PARAMETERS = 1_000_000

# Begins the part of RESULTS.md that is edited by hand; what stands before it is written anew each time.
BY_HAND = "## Where the remaining time goes"


@dataclass(frozen=True)
class Part:
    """One script, with its options. `small` are those of a trial.

    FOLDER, SIMPLIFIED and RAW stand for the folders, FILE for one of SIMPLIFIED, MODEL for the default model.
    """

    script: str
    options: str
    small: str


PARTS = {
    "start": Part("start_speed.py", "FILE --train FOLDER", "--n-turns 1"),
    **{
        name: Part("preparing_speed.py", f"{name} {folder}", "--n 2000 --n-plain 100 --n-turns 1")
        for name, folder in (("simplified", "SIMPLIFIED"), ("raw", "RAW"), ("csv", "SIMPLIFIED"), ("npz", "SIMPLIFIED"))
    },
    "reading": Part("reading_speed.py", "FOLDER", "--n 50 --n-copies 2 --n-turns 1 --n-plain 5"),
    "memory": Part("training_memory.py", "FOLDER", "--n-train 5000 --n-val 500 --n-steps 5"),
    "training": Part("training_speed.py", f"FOLDER --classes {SAMPLE}", "--n-turns 1"),
    "accuracy": Part("accuracy.py", "FOLDER", "--n-train 20 --n-val 10 --n-epochs 1 --seeds 0"),
    "time": Part("time_to_accuracy.py", "FOLDER", "--n-train 20 --n-val 10 --n-epochs-baseline 1 --seeds 0"),
    "evaluating": Part("evaluating_speed.py", "FOLDER", "--n 4 --n-turns 1"),
    "guessing": Part("guess_speed.py", "FOLDER RAW --busy", "--n 20"),
    "serving": Part("serve_load.py", "MODEL --drawings RAW --seconds 20", "--seconds 2"),
}


@dataclass(frozen=True)
class Row:
    """A line of the table: what, what is asked, what is aimed at, and the figure of a part's JSON."""

    what: str
    least: str
    aim: str
    part: str
    figure: Callable[[dict[str, Any]], str]


def times(value: float | None) -> str:
    """A ratio."""
    return "not reached" if value is None else f"**{value:.{1 if value < 100 else 0}f} x**"


def reading(found: dict[str, Any]) -> str:
    """Ratios of `prepare` and of the reader alone."""
    cores = f"{times(found['ratio_prepare_all_cores'])} with {found['n_cores']} cores"
    one = f"{times(found['ratio_prepare'])} ({found['prepare_per_s']:,.0f} drawings/s)"
    return f"{one}; {cores}; reader alone {times(found['ratio_read'])}"


def of_model(name: str, key: str, text: Callable[[float], str]) -> Callable[[dict[str, Any]], str]:
    """The figure of one model."""

    def figure(found: dict[str, Any]) -> str:
        row = next((row for row in found["models"] if row["name"] == name), None)
        return "not measured" if row is None else text(row[key])

    return figure


def others(found: dict[str, Any]) -> str:
    """Training ratios of the models with two directions or a convolution."""
    rows = [row for row in found["models"] if row["name"].startswith(("bilstm", "lstm_cv"))]
    return ", ".join(f"{times(row['ratio bfloat16'])} `{row['name']}`" for row in rows)


def of_layers(found: dict[str, Any]) -> str:
    """Training ratios against PyTorch's layers."""
    rows = [row for row in found["models"] if row.get("against") == "layers"]
    return ", ".join(f"{times(row['ratio bfloat16'])} `{row['name']}`" for row in rows) or "not measured"


def accuracy(found: dict[str, Any]) -> str:
    """Each model's ratio, and the accuracies of both ways."""
    models = ", ".join(
        f"{row['ratio']:.1f} x `{row['name']}` (**{row['means']['ours']:.1%}** and {row['means']['plain']:.1%})"
        for row in found["models"]
    )
    n = len(found["seeds"])
    return f"{models}; {f'means of {n} seeds' if n > 1 else 'one seed'}"


def time_to_accuracy(found: dict[str, Any]) -> str:
    """Ratio and seconds."""
    if found["ratio"] is None:
        return f"{found['target_accuracy']:.1%} was not reached"
    seconds = f"{found['target_accuracy']:.1%} after {found['baseline_seconds']:.0f} s and {found['seconds']:.1f} s"
    wall = f"{times(found['ratio_wall'])} counting checkpoints and second scores"
    return f"{times(found['ratio'])} (`{found['name']}`, {seconds}; {wall})"


def evaluating(found: dict[str, Any]) -> str:
    """The ratios of each model."""
    rows = found["models"]
    return "; ".join(
        f"`{row['name']}`: {times(row['ratio'])}, in bfloat16 {row['ratio_bfloat16']:.1f} x; scoring alone "
        f"{row['ratio_scored']:.1f} x, at {row['share']:.0%} of the processor's float32 rate"
        for row in rows
    )


def guessing(found: dict[str, Any], busy: bool = False) -> str:
    """The median of each model that is small enough, for each way of running it."""
    parts = []
    for row in found["models"]:
        if row["parameters"] <= MAX_GUESS_PARAMETERS:
            by_kind = (
                f"{kind} {figures[kind][way]['median_ms']:.2f} ms by {name}"
                for figures in (row.get("busy", {}) if busy else row,)
                for way, name in (("torch", "the `.model`"), ("onnxruntime", "onnxruntime"))
                for kind in ("simplified", "raw")
                if figures.get(kind)
            )
            parts.append(f"`{row['name']}`: {', '.join(by_kind) or 'not measured'}")
    return "; ".join(parts) or "no such model"


def formats_of(found: dict[str, Any]) -> str:
    """The ratio of preparing a format, and microseconds a drawing."""
    return f"{times(found['ratio'])} ({found['prepare_us']:.1f} us, the loop {found['plain_us']:.1f})"


def serving(found: dict[str, Any]) -> str:
    """Requests a second, also against a constant, and the 99th percentile."""
    ratio, n, late = (found[key] for key in ("to_constant", "requests_per_s", "p99_ms"))
    return f"**{ratio:.2f} x** ({n:.0f} requests/s of {found['clients']} clients, 99th percentile {late:.0f} ms)"


ROWS = (
    Row(
        "first `predict` of three drawings after installing, processor time, against the same with compiled code kept",
        "1.5 x",
        "1.1 x",
        "start",
        lambda found: times(found["ratio_cold_warm"]),
    ),
    Row("the same beyond `import torch`", "3 s", "1 s", "start", lambda found: f"**{found['beyond_torch_s']:z.1f} s**"),
    Row(
        "`quickstroke --help`, `models`, the key Tab in bash, processor time",
        "0.15 s",
        "0.1 s",
        "start",
        lambda found: ", ".join(f"**{found[f'{way}_s']:.2f} s**" for way in ("help", "models", "completion")),
    ),
    Row(
        "first epoch of `train` against the second, 46 words, nothing compiled before",
        "2 x",
        "1.3 x",
        "start",
        lambda found: (
            f"{times(found['ratio_epochs'])}; with the {found['compiling_s']:.0f} s of compiling before it, once after "
            f"installing, {found['ratio_epochs_with_compiling']:.1f} x"
        ),
    ),
    *(
        Row(f"`prepare` of {what}, processor time a drawing, against {loop}", least, aim, part, formats_of)
        for what, loop, least, aim, part in (
            ("simplified ndjson", "a `json.loads` loop", "10 x", "20 x", "simplified"),
            ("raw ndjson", "`json.loads` and Ramer-Douglas-Peucker in NumPy", "5 x", "15 x", "raw"),
            ("Kaggle's CSV", "`csv` and `json`", "5 x", "15 x", "csv"),
            ("sketch-rnn's npz", "`np.load` and a loop", "5 x", "15 x", "npz"),
        )
    ),
    Row(
        "read and prepare, drawings a second, one core, warm, against plain",
        "100 x",
        "200 x with all cores",
        "reading",
        reading,
    ),
    Row(
        "prepared bytes a drawing, against plain's tensors (1,200 bytes)",
        "1/8",
        "1/10",
        "reading",
        lambda found: f"**1/{found['ratio_bytes']:.1f}** ({found['bytes_a_drawing']:.0f} bytes)",
    ),
    Row(
        "anonymous memory (RssAnon) that training 2,000,000 drawings adds beyond PyTorch",
        "100 MB",
        "60 MB",
        "memory",
        lambda found: f"**{found['highest_mb']:.0f} MB** ({found['n_train']:,} drawings)",
    ),
    *(
        Row(
            f"train `{name}`, length-aware, same batch and epochs, against plain",
            least,
            "10 x",
            "training",
            of_model(name, "ratio bfloat16", times),
        )
        for name, least in (("simple_lay1_sz64", "7 x"), ("simple_lay1_sz256", "9 x"), ("simple_lay2_sz64", "7 x"))
    ),
    Row("train a bidirectional and a convolutional one", "4 x", "7 x", "training", others),
    Row(
        "train the default model's type, against PyTorch's layers and packed sequences",
        "3 x",
        "6 x",
        "training",
        of_layers,
    ),
    Row(
        "fraction of the machine's own bf16 matrix rate that `simple_lay1_sz256` training reaches, true steps only",
        "45%",
        "70%",
        "training",
        of_model("simple_lay1_sz256", "fraction", lambda value: f"**{value:.0%}**"),
    ),
    Row(
        "validation accuracy after 6 epochs by default, against plain `nn.LSTM` (inputs standardised, Adam 0.001)",
        "1.4 x",
        "55% for `simple_lay1_sz256`",
        "accuracy",
        accuracy,
    ),
    Row(
        "time to the accuracy of the packed baseline after 8 epochs, by a small model in two epochs",
        "1/25",
        "1/60",
        "time",
        time_to_accuracy,
    ),
    Row("evaluate, from files to metrics, drawings a second, against plain", "5 x", "10 x", "evaluating", evaluating),
    Row(
        "one guess, strokes in, ranked words out, model loaded, models up to 1 million parameters",
        "0.5 ms median",
        "0.2 ms",
        "guessing",
        guessing,
    ),
    Row(
        "the same while other programs keep all cores busy",
        "1.5 ms median",
        "0.5 ms",
        "guessing",
        partial(guessing, busy=True),
    ),
    Row(
        "`serve` with the default model, against a constant of the same server, the 99th percentile within 100 ms",
        "0.5 x",
        "0.8 x",
        "serving",
        serving,
    ),
)


def machine() -> dict[str, Any]:
    """The processor, as far as the system tells, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    facts = dict(reversed([[word.strip() for word in line.partition(":")[::2]] for line in lines if ":" in line]))
    flags = [flag for flag in FLAGS if flag in facts.get("flags", "").split()]
    return {
        "processor": facts.get("model name", platform.processor()),
        "cores": n_cores(),
        "flags": flags,
        "python": platform.python_version(),
        "quickstroke": __version__,
        **{package: version(package) for package in PACKAGES},
    }


def run(part: Part, folders: dict[str, Path | None], small: bool) -> dict[str, Any]:
    """Runs a script, shows what it prints, and gives its JSON with the command and the machine."""
    options = [*part.options.split(), *(part.small.split() if small else [])]
    given = {name: str(folder) for name, folder in folders.items() if folder}
    options = [option for option in options if option not in folders or option in given]
    shown = " ".join(["python", f"benchmarks/{part.script}", *options])
    default = str(next(model.path for model in cards.find_published()[0] if model.default))
    places = given | {SAMPLE: str(HERE / Path(SAMPLE).name), "MODEL": default}
    command = [sys.executable, str(HERE / part.script), *(places.get(option, option) for option in options)]
    print(f"$ {shown}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if process.returncode:
        raise SystemExit(f"{shown} ended with {process.returncode}")
    seconds = round(time.perf_counter() - started, 1)
    return {"command": shown, "machine": machine(), "seconds": seconds, "found": json.loads(last)}


def machines(parts: dict[str, Any]) -> str:
    """A line for each machine, with its parts where there are several."""
    groups: dict[str, list[str]] = {}
    for name, record in parts.items():
        groups.setdefault(json.dumps(record["machine"]), []).append(name)
    lines = []
    for text, names in groups.items():
        facts = json.loads(text)
        flags = ", ".join(facts["flags"]) or "none of " + ", ".join(FLAGS)
        versions = ", ".join(f"{key} {facts[key]}" for key in ("python", "quickstroke", *PACKAGES))
        which = f"{', '.join(names)}: " if len(groups) > 1 else ""
        lines.append(f"- {which}{facts['processor']}, {facts['cores']} cores ({flags}); {versions}")
    return "\n".join(lines)


def document(parts: dict[str, Any], earlier: Path) -> str:
    """RESULTS.md, with what is edited by hand in the earlier one."""
    table = "| what | at least | aim | measured | command |\n|---|---|---|---|---|\n"
    for row in ROWS:
        record = parts.get(row.part)
        measured, command = (row.figure(record["found"]), record["command"]) if record else ("not measured", "")
        table += f"| {row.what} | {row.least} | {row.aim} | {measured} | {f'`{command}`' if command else ''} |\n"
    _, heading, prose = (earlier.read_text(encoding="utf-8") if earlier.exists() else "").partition(BY_HAND)
    return f"""# Results

Written by `make bench DATA=FOLDER SIMPLIFIED=FOLDER RAW=FOLDER` and `make bench-accuracy DATA=FOLDER`; DATA has the
official binary files, SIMPLIFIED and RAW have ndjson files. Each command runs ours and what it is compared with in
turns: only ratios of one run count. *Plain* is `benchmarks/plain_recipe.py`, the baseline of time to accuracy is
`benchmarks/packed_baseline.py`. All figures of the runs are in `results.json`.

{table}
{machines(parts)}

{heading}{prose}"""


def main() -> None:
    """Runs parts and writes results.json and RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of official binary files")
    parser.add_argument("--simplified", type=Path, help="folder of simplified ndjson files")
    parser.add_argument("--raw", type=Path, help="folder of files of raw drawings")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="none to write RESULTS.md only")
    parser.add_argument("--into", type=Path, default=HERE, help="folder of RESULTS.md and results.json")
    parser.add_argument("--small", action="store_true", help="a trial in seconds, whose figures say nothing")
    options = parser.parse_args()
    if options.parts and options.folder is None:
        parser.error("give FOLDER, with the official binary files")
    if options.small and options.into.resolve() == HERE:
        parser.error("figures of a trial should not stand here: give --into FOLDER")
    path, results = options.into / "results.json", options.into / "RESULTS.md"
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    file = min(options.simplified.glob("*.ndjson")) if options.simplified else None
    folders = {"FOLDER": options.folder, "SIMPLIFIED": options.simplified, "RAW": options.raw, "FILE": file}
    for name in options.parts:
        parts[name] = run(PARTS[name], folders, options.small)
        parts = {name: parts[name] for name in PARTS if name in parts}
        write_text(path, json.dumps(parts, indent=1) + "\n")
        write_text(results, document(parts, results))
    if not options.parts:
        write_text(results, document(parts, results))
    print(json.dumps({name: record["seconds"] for name, record in parts.items()}))


if __name__ == "__main__":
    main()
