/** The compiled code. It is in this file's bundle as text, so that nothing has to be found or fetched. */

import bytes from "../build/kernels.wasm";

import { ModelError } from "./errors.js";

let module = null;

/** @returns {Promise<WebAssembly.Module>} */
export function compiled() {
  module ??= WebAssembly.compile(bytes).catch((error) => {
    module = null;
    throw new ModelError(
      `this browser does not run WebAssembly with SIMD here (${error.message}); a Content-Security-Policy has to allow ` +
        "'wasm-unsafe-eval'",
    );
  });
  return module;
}
