"""Converts a model to LiteRT: a program, given as text to a Python that has litert-torch and need not have quickstroke.

Its argument is a folder with model.pt2, what `torch.export` made of a module with named inputs, and given.npz, the
inputs of some examples as `0.points`, `0.length`, `1.points` and so on. It writes model.tflite, and found.npz, what
LiteRT gives for the examples: `0.probabilities` and so on.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch
    import torch

    examples: list[dict[str, Any]] = []
    with np.load(folder / "given.npz") as given:
        for key, value in given.items():
            number, name = key.split(".")
            if int(number) == len(examples):
                examples.append({})
            examples[int(number)][name] = value
    program = torch.export.load(folder / "model.pt2")
    sample = {name: torch.from_numpy(value) for name, value in examples[-1].items()}
    converted = litert_torch.convert(program.module(), sample_kwargs=sample)
    found = [converted(**example) for example in examples]
    np.savez(
        folder / "found.npz", **{f"{i}.{name}": value for i, own in enumerate(found) for name, value in own.items()}
    )
    converted.export(str(folder / "model.tflite"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
