"""Does the npm package say what Python says, and what do weights of 8 bits cost?

    python benchmarks/parity.py DATA [MODEL]

MODEL (the default model where none is named) is written as the `.quickstroke` file that pages get. Node runs it by the
npm package and Python by its own classifier with the weights of the file, on drawings of a split of DATA, a prepared
dataset. *equal* is the fraction of drawings with the same first word, *gap* the largest difference of any word's
probability. Accuracy with these weights and with float32 ones is that on the whole split. The last line is JSON.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import load_model
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.export import compact
from quickstroke.inference.recognizer import Recognizer

BUNDLE = Path(__file__).resolve().parents[1] / "src" / "quickstroke" / "serve" / "static" / "quickstroke.js"

PREDICT = """
import { readFileSync } from "node:fs";
const [bundle, model, drawings] = process.argv.slice(1);
const recognizer = await (await import(bundle)).load(model);
const options = { top: recognizer.words.length, layout: "columns", simplified: true };
for (const strokes of JSON.parse(readFileSync(drawings, "utf8"))) {
  const { guesses } = recognizer.predict(strokes, options);
  console.log(JSON.stringify(guesses.map(({ word, probability }) => [word, probability])));
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--n", type=int, default=5000, help="drawings that Node guesses, spread over the split")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    loaded = load_model(cards.find_model(options.model))
    data = PreparedDataset(options.data)
    chosen = LabelledDrawings.of_split(data, options.split, loaded.classes)
    written = compact.export(loaded, drawings=chosen)
    some = chosen.indices[np.linspace(0, len(chosen) - 1, options.n).astype(int)]
    drawings = [data.strokes(index) for index in some]
    with tempfile.TemporaryDirectory() as name:
        model, file = Path(name) / "model.quickstroke", Path(name) / "drawings.json"
        model.write_bytes(written.data)
        file.write_text(json.dumps([[stroke.T.tolist() for stroke in strokes] for strokes in drawings]))
        command = ["node", "--input-type=module", "--eval", PREDICT, BUNDLE.as_uri(), str(model), str(file)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = Recognizer(written.model).predict_many(drawings, simplified=True, top=len(loaded.classes))
    n_equal, gap = 0, 0.0
    for own, line in zip(ours, lines, strict=True):
        other = json.loads(line)
        n_equal += own[0].word == other[0][0]
        by_word = dict(other)
        gap = max(gap, *(abs(guess.probability - by_word[guess.word]) for guess in own))
    found = {"model": loaded.name, "bytes": len(written.data), "n": len(drawings), "equal": n_equal / len(drawings)}
    found |= {"gap": gap, **(written.measured or {"n": 0})}
    found["n_accuracy"], found["n"] = found["n"], len(drawings)
    print(f"{found['equal']:.2%} of {found['n']} drawings have the same first word; largest gap {gap:.1e}")
    print(
        f"{found['top1']:.2%} with 8 bits, {found['top1_float32']:.2%} with float32, of {found['n_accuracy']} drawings"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
