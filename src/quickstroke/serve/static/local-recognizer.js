/**
 * Recognises in the browser, in a worker, without any server. This is what an exported page needs; `quickstroke export
 * --to web` writes it as a folder, `--to html` as one file:
 *
 *     index.html          this page, with the content of <meta name="quickstroke-mode"> set to "offline"
 *     everything beside it    the page's other files without comments, its style sheets as one; quickstroke.js is the npm
 *                         package
 *     service-worker.js   with the list of all files, so that the page opens without a network
 *     model.quickstroke   the model
 *     teaching.json       what recognises taught words besides
 */

import { bytesOf, startWorker } from "./files.js";
import { RecognizerError } from "./guesser.js";

const TOP = 5;
const MODEL = "model.quickstroke";
const TEACHING = "teaching.json";
const AGAIN = "Trying again; your drawing stays.";

/** @implements {import("./guesser.js").Recognizer} */
export class LocalRecognizer {
  // The worker takes one after the other: more would only wait there, and be old when they are answered.
  nAtOnce = 1;
  #worker = null;
  #calls = new Map();
  #nextId = 0;
  #trouble = null;
  /** Of what teaching needs besides, which is fetched once a word is taught. */
  #teaching = null;

  async load(onProgress) {
    this.#worker?.terminate();
    this.#trouble = this.#teaching = null;
    this.#worker = startWorker("worker.js");
    this.#worker.addEventListener("message", ({ data: { id, result, error, isRefusal } }) => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new RecognizerError(error, !isRefusal));
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#fail(`The recogniser could not be started. ${AGAIN}`);
    });
    let bytes;
    try {
      bytes = await bytesOf(MODEL, onProgress);
    } catch (error) {
      throw new RecognizerError(`${error.message}. ${AGAIN}`, true);
    }
    return this.#call({ load: bytes }, [bytes.buffer]);
  }

  /** @param {number[][][]} strokes columns, `[[x..], [y..]]` or `[[x..], [y..], [t..]]` each; points are not taken here */
  recognize(strokes) {
    return this.#call({ strokes, top: TOP });
  }

  /** Each resolves to all words, `classes`, and those that were taught with their numbers of drawings, `taught`. */
  async teach(word, drawings) {
    await this.#toTeach();
    return this.#call({ method: "teach", args: [word, drawings, { simplified: true, layout: "columns" }] });
  }

  forget(word) {
    return this.#call({ method: "forget", args: [word] });
  }

  async restore(text) {
    await this.#toTeach();
    return this.#call({ method: "restore", args: [text] });
  }

  /** Resolves to the text of the file of taught words. */
  save() {
    return this.#call({ method: "save", args: [] });
  }

  async #toTeach() {
    this.#teaching ??= bytesOf(TEACHING).then((teaching) => this.#call({ teaching }));
    try {
      await this.#teaching;
    } catch (error) {
      this.#teaching = null;
      throw error;
    }
  }

  #call(message, transfer = []) {
    const trouble = this.#worker ? this.#trouble : "The recogniser has not been started.";
    if (trouble) return Promise.reject(new RecognizerError(trouble, true));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, transfer);
    });
  }

  #fail(message) {
    this.#trouble = message;
    for (const { reject } of this.#calls.values()) reject(new RecognizerError(message, true));
    this.#calls.clear();
  }
}
