/**
 * The same recogniser in a worker. Its code is in this module as text, so that nothing has to be found: wherever this file
 * comes from, another folder, another host or a bundle, the worker starts.
 */

import source from "../build/worker.txt";

import { checkOptions, ModelError, OptionError, StrokesError, throwAbout } from "./errors.js";
import { fetchBytes } from "./fetch.js";

export { ModelError, OptionError, StrokesError } from "./errors.js";

/** Lists as a worker can be sent them: those of Vue and its like are proxies, which cannot. */
const plain = (value) => (Array.isArray(value) ? Array.from(value, plain) : value);

/** Options likewise; what are none is refused by a `Recognizer`. */
const plainOptions = (options) => (options && typeof options === "object" ? { ...options } : options);

const isClonable = (value) => {
  try {
    return structuredClone(value) !== Symbol;
  } catch {
    return false;
  }
};

const KINDS = { ModelError, OptionError, StrokesError };

/** Opens a model in a worker of its own. */
export async function load(from, options = {}) {
  checkOptions(options, "onProgress", "signal");
  const bytes = await fetchBytes(from, options);
  const recognizer = new WorkerRecognizer(started());
  await recognizer.open(bytes).catch((error) => throwAbout(from, error));
  if (options.signal?.aborted) recognizer.close();
  options.signal?.throwIfAborted();
  return recognizer;
}

let policy;

/** The address as a page takes it that requires trusted types. It may forbid this policy: then the worker does not start. */
function trusted(address) {
  try {
    policy ??= globalThis.trustedTypes?.createPolicy("quickstroke", { createScriptURL: (own) => own });
  } catch {
    return address;
  }
  return policy ? policy.createScriptURL(address) : address;
}

function started() {
  if (typeof Worker !== "function") throw new ModelError("there are no web workers here; import 'quickstroke' itself");
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return new Worker(trusted(address));
  } catch (error) {
    const needs = "a page that requires trusted types has to allow the policy quickstroke";
    throw new ModelError(`the worker could not be started: ${error.message}; ${needs}`, { cause: error });
  } finally {
    // It is read when the worker has started, which is when it answers for the first time.
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }
}

export class WorkerRecognizer {
  #worker;
  #calls = new Map();
  #nextId = 0;
  #end = null;
  #taught = {};
  #words = [];

  constructor(worker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.#calls.get(id);
      this.#calls.delete(id);
      if (error) reject(new (KINDS[error.name] ?? Error)(error.message));
      else resolve(result);
    });
    worker.addEventListener("error", () => {
      this.close(new ModelError("the worker could not be started; a Content-Security-Policy has to allow blob: for workers"));
    });
  }

  async open(bytes) {
    this.card = await this.#call("open", [bytes]).catch((error) => {
      this.close();
      throw error;
    });
    this.name = this.card.name;
    this.#setTaught({});
    Object.freeze(this); // reactive frameworks leave such an object alone
  }

  #setTaught(taught) {
    this.#taught = Object.freeze(taught);
    this.#words = Object.freeze([...this.card.classes, ...Object.keys(taught)]);
  }

  get taught() {
    return this.#taught;
  }

  get words() {
    return this.#words;
  }

  async teach(word, drawings, options = {}) {
    this.#setTaught(await this.#call("teach", [word, plain(drawings), plainOptions(options)]));
  }

  async forget(word) {
    this.#setTaught(await this.#call("forget", [word]));
  }

  async restore(text) {
    this.#setTaught(await this.#call("restore", [text]));
  }

  async loadTeaching(source) {
    await this.#call("loadTeaching", [await fetchBytes(source)]);
  }

  save() {
    return this.#call("save", []);
  }

  /** Resolves to what a `Recognizer` gives. */
  predict(strokes, options = {}) {
    const words = options?.words; // null is refused as by a `Recognizer`
    const isList = typeof words !== "string" && typeof words?.[Symbol.iterator] === "function";
    return this.#call("predict", [plain(strokes), isList ? { ...options, words: [...words] } : plainOptions(options)]);
  }

  /** Resolves to what a `Recognizer` gives. */
  embed(strokes, options = {}) {
    return this.#call("embed", [plain(strokes), plainOptions(options)]);
  }

  /** Ends the worker; what is still asked is refused. */
  close(error = new ModelError("the recogniser was closed")) {
    this.#end ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(this.#end);
    this.#calls.clear();
  }

  #call(method, args) {
    if (this.#end) return Promise.reject(this.#end);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      try {
        this.#worker.postMessage({ id, method, args });
      } catch (error) {
        const Kind = isClonable(args.slice(0, -1)) ? OptionError : StrokesError;
        throw new Kind(`cannot be sent to a worker: ${error.message}`, { cause: error });
      }
      this.#calls.set(id, { resolve, reject });
    });
  }
}
