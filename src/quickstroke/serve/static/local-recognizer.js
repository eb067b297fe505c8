/**
 * Recognises in the browser, in a worker, without any server. This is what an exported folder needs, and `quickstroke
 * export --to web` writes it:
 *
 *     index.html         this page, with the content of <meta name="quickstroke-mode"> set to "offline"
 *     *.js, *.css, icon.svg, examples.json    the page's other files, unchanged; quickstroke.js is the npm package
 *     model.quickstroke  the model
 */

import { RecognizerError } from "./guesser.js";

const TOP = 5;

/** @implements {import("./guesser.js").Recognizer} */
export class LocalRecognizer {
  // The worker takes one after the other: more would only wait there, and be old when they are answered.
  nAtOnce = 1;
  #worker = null;
  #calls = new Map();
  #nextId = 0;

  load() {
    this.#worker?.terminate();
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
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
