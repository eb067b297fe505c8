/** Memory of the compiled code: what is taken stays, so everything is taken when a model is loaded. */

import { ModelError } from "./errors.js";

const PAGE_BYTES = 65_536;
const LINE_BYTES = 64;

export class Memory {
  #end = LINE_BYTES;
  wasm = new WebAssembly.Memory({ initial: 1 });

  /** The address of `n` floats of 0. */
  take(n) {
    const at = this.#end;
    this.#end += Math.ceil((4 * n) / LINE_BYTES) * LINE_BYTES;
    const missing = Math.ceil((this.#end - this.wasm.buffer.byteLength) / PAGE_BYTES);
    if (missing > 0) {
      try {
        this.wasm.grow(missing);
      } catch {
        throw new ModelError(`the model needs more than ${Math.round(this.#end / 2 ** 20)} MB of memory`);
      }
    }
    return at;
  }

  /** `n` floats from an address; older views end when memory is taken. */
  floats(at, n) {
    return new Float32Array(this.wasm.buffer, at, n);
  }

  /** The address of a copy of these numbers, as long as `n`. */
  keep(values, n = values.length) {
    const at = this.take(n);
    this.floats(at, n).set(values);
    return at;
  }
}
