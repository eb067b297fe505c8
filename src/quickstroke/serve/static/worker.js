/** The worker of onnx-recognizer.js: strokes in, ranked words out. */

import * as ort from "./ort/ort.wasm.min.mjs";
import { N_CHANNELS, currentPreprocessing, toPoints } from "./points.js";
import { simplify } from "./simplify.js";

// Threads need isolation headers, which plain hosts do not send; one is enough for models of this size.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

let model = null;
let session = null;
// A session runs one drawing at a time.
let queue = Promise.resolve();

async function load() {
  const [card, weights] = await Promise.all([fetched("model.json", "json"), fetched("model.onnx", "arrayBuffer")]);
  const { name, max_padding } = card.preprocessing ?? {};
  if (!Object.hasOwn(N_CHANNELS, currentPreprocessing(name) ?? "") || !max_padding || !card.classes?.length) {
    throw new Error("model.json is not one that this page can read");
  }
  session = await ort.InferenceSession.create(weights, { executionProviders: ["wasm"] });
  model = card;
  await recognize({ strokes: [[[0, 1], [0, 1]]], top: 1 }); // the first run takes longer than those that follow
  return { name: model.name, classes: model.classes };
}

async function fetched(file, form) {
  const response = await fetch(new URL(file, import.meta.url)).catch(() => null);
  if (!response?.ok) throw new Error(`${file} could not be loaded`);
  return response[form]();
}

async function recognize({ strokes, top }) {
  if (!session) throw new Error("the model is still loading");
  const maxPadding = model.preprocessing.max_padding;
  const name = currentPreprocessing(model.preprocessing.name);
  const nChannels = N_CHANNELS[name];
  const points = toPoints(simplify(strokes), maxPadding, name);
  const nRows = points.length / nChannels;
  const nSteps = Math.max(nRows, model.min_rows ?? 1, 1);
  const padded = new Float32Array(nSteps * nChannels);
  padded.set(points);
  const { probabilities, unknown } = await session.run({
    points: new ort.Tensor("float32", padded, [1, nSteps, nChannels]),
    lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(nRows)), [1]),
  });
  const guesses = Array.from(probabilities.data, (probability, i) => ({ word: model.classes[i], probability }));
  guesses.sort((a, b) => b.probability - a.probability);
  return { guesses: guesses.slice(0, top), unknown: unknown?.data[0] ?? null, model: model.name };
}

self.addEventListener("message", ({ data: { id, load: isLoad, ...question } }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id, result: await (isLoad ? load() : recognize(question)) });
    } catch (error) {
      const isRefusal = error instanceof RangeError;
      self.postMessage({ id, error: `The recogniser says: ${error.message}.`, isRefusal });
    }
  });
});
