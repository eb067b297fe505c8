"""Guess times in Chromium: the npm package beside onnxruntime-web, the same weights in one run, drawing by drawing.

    python benchmarks/browser.py MODEL.quickstroke --ort onnxruntime-web-1.30.0.tgz FILE...

The files are raw drawings. A guess of the package is from raw strokes to ranked words, as a page asks for it; of
onnxruntime-web only its run is timed, of points that are ready. Each drawing is guessed some times in turn, and its
best time counts: what else a machine does is not measured. The last line is JSON.
"""

import argparse
import io
import json
import shutil
import tarfile
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np

from chromium import opened_beside
from quickstroke.artifacts.loading import load_model
from quickstroke.data.points import to_points
from quickstroke.drawings.simplification import simplify
from quickstroke.export import onnx
from quickstroke.formats import read_drawings

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "src" / "quickstroke" / "serve" / "static" / "quickstroke.js"
ORT = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

SCRIPT = """async ([n, repeats]) => {
  const [ort, quickstroke] = await Promise.all([import("/ort.wasm.min.mjs"), import("/quickstroke.js")]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = location.origin + "/";
  const began = performance.now();
  const recognizer = await quickstroke.load("/model.quickstroke");
  const loaded = performance.now();
  const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["wasm"] });
  const loadMs = { quickstroke: loaded - began, ort: performance.now() - loaded };
  const drawings = await (await fetch("/drawings.json")).json();
  const times = { quickstroke: [], ort: [] };
  let nEqual = 0;
  const timed = async (what) => {
    const begin = performance.now();
    const result = await what();
    return [performance.now() - begin, result];
  };
  for (const { strokes, points, columns } of [...drawings.slice(0, 20), ...drawings.slice(0, n)]) {
    const best = { quickstroke: Infinity, ort: Infinity };
    let ours, theirs;
    for (let i = 0; i < repeats; i++) {
      const [own, answer] = await timed(() => recognizer.predict(strokes, { layout: "columns" }));
      const [other, output] = await timed(() => session.run({
        points: new ort.Tensor("float32", Float32Array.from(points), [1, points.length / columns, columns]),
        lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(points.length / columns)), [1]),
      }));
      [ours, theirs] = [answer, output.probabilities.data];
      best.quickstroke = Math.min(best.quickstroke, own);
      best.ort = Math.min(best.ort, other);
    }
    for (const kind in best) times[kind].push(best[kind]);
    const top = theirs.reduce((first, value, k, all) => (value > all[first] ? k : first), 0);
    if (times.ort.length > 20) nEqual += ours.guesses[0].word === recognizer.words[top];
  }
  for (const kind in times) times[kind].splice(0, 20); // while code was being compiled
  return { times, loadMs, nEqual };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--ort", type=Path, required=True, help="the npm package onnxruntime-web")
    parser.add_argument("--n", type=int, default=500, help="drawings")
    parser.add_argument("--repeats", type=int, default=7, help="guesses of each drawing")
    options = parser.parse_args()
    loaded = load_model(options.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(fileobj=io.BytesIO(options.ort.read_bytes()), mode="r:gz") as archive:
            for file in ORT:
                member = archive.extractfile(f"package/dist/{file}")
                assert member is not None
                (folder / file).write_bytes(member.read())
        shutil.copy(BUNDLE, folder)
        shutil.copy(options.model, folder / "model.quickstroke")
        (folder / "model.onnx").write_bytes(onnx.export(loaded).data)
        cases = []
        for drawing in islice(read_drawings(options.files), options.n):
            points = to_points(simplify(drawing.strokes), loaded.max_padding, loaded.preprocessing)
            strokes = [stroke[:, :2].T.tolist() for stroke in drawing.strokes]
            cases.append({"strokes": strokes, "points": points.ravel().tolist(), "columns": points.shape[1]})
        (folder / "drawings.json").write_text(json.dumps(cases))
        with opened_beside(folder) as page:
            result = page.evaluate(SCRIPT, [options.n, options.repeats])
    rows = {
        kind: {f"p{q}_ms": round(float(np.percentile(times, q)), 2) for q in (10, 50, 99)}
        for kind, times in result["times"].items()
    }
    for kind, row in rows.items():
        print(f"{kind:12} " + "  ".join(f"{key} {value:.2f}" for key, value in row.items()))
    facts = {"model": loaded.name, "n": len(result["times"]["ort"]), "equal": result["nEqual"]}
    print(json.dumps(facts | {"load_ms": result["loadMs"], **rows}))


if __name__ == "__main__":
    main()
