/**
 * Recognises in the browser, in a worker, without any server. This is what an exported folder needs, and `quickstroke
 * export --to web` writes it:
 *
 *     index.html      this page, with the content of <meta name="quickstroke-mode"> set to "offline"
 *     *.js, *.css, icon.svg, examples.json    the page's other files, unchanged
 *     model.onnx      inputs  points   float32 (B, T, C)  rows of points.js, zero after each drawing's end
 *                             lengths  int64 (B,)         true rows of each drawing, 0 for a dot
 *                     outputs probabilities  float32 (B, K)  softmax over the classes
 *                             unknown        float32 (B,)    where the model's card has it
 *     model.json      {
 *                       "format": "quickstroke web model", "version": 1,
 *                       "name": "simple_lay1_sz64",
 *                       "classes": [K words in the order of the output],
 *                       "preprocessing": {"name": "delta3" or "pos5", "max_padding": 100},
 *                                       (folders of version 0.1.0 call the first one "seed3")
 *                       "reading": "length-aware" or "padded",
 *                       "min_rows": 1 or more
 *                     }
 *     ort/            from the npm package onnxruntime-web, unchanged: ort.wasm.min.mjs,
 *                     ort-wasm-simd-threaded.mjs, ort-wasm-simd-threaded.wasm
 *
 * The page runs B = 1 and T = max(min_rows, true rows): `min_rows` is what the graph needs at least, the receptive
 * field of the convolutions for length-aware reading; for padded reading `max_padding`, unless the graph pads by itself.
 */

import { RecognizerError } from "./guesser.js";

const TOP = 5;

/** @implements {import("./guesser.js").Recognizer} */
export class OnnxRecognizer {
  // The worker takes one after the other: more would only wait there, and be old when they are answered.
  nAtOnce = 1;
  #worker = null;
  #calls = new Map();
  #nextId = 0;

  load() {
    this.#worker?.terminate();
    this.#worker = new Worker("worker.js", { type: "module" });
    this.#worker.addEventListener("message", ({ data: { id, result, error, isRefusal } }) => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new RecognizerError(error, !isRefusal));
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#fail("The recogniser could not be started. Trying again; your drawing stays.");
    });
    return this.#call({ load: true });
  }

  /** @param {number[][][]} strokes columns, `[[x..], [y..]]` or `[[x..], [y..], [t..]]` each; points are not taken here */
  recognize(strokes) {
    return this.#call({ strokes, top: TOP });
  }

  #call(message) {
    if (!this.#worker) return Promise.reject(new RecognizerError("The recogniser has not been started.", true));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message });
    });
  }

  #fail(message) {
    for (const { reject } of this.#calls.values()) reject(new RecognizerError(message, true));
    this.#calls.clear();
  }
}
