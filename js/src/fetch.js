/** The bytes of a model, from where a caller has it. */

import { ModelError, OptionError, shown } from "./errors.js";

/**
 * @param {string | URL | ArrayBuffer | ArrayBufferView} source
 * @param {{onProgress?: (bytes: number, total: number | null) => void, signal?: AbortSignal}} [options]
 * @returns {Promise<Uint8Array>}
 * @throws {ModelError} there is nothing to be had
 */
export async function fetchBytes(source, { onProgress, signal } = {}) {
  if (signal && kindOf(signal) !== "AbortSignal") {
    throw new OptionError(`signal should be an AbortSignal, got ${shown(signal)}`);
  }
  signal?.throwIfAborted();
  if (kindOf(source) === "ArrayBuffer") return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (typeof source !== "string" && kindOf(source) !== "URL") {
    throw new ModelError(`a model is given by its address or its bytes, got ${shown(source)}`);
  }
  const address = String(source);
  const fs = globalThis.process?.getBuiltinModule?.("node:fs/promises");
  if (fs && !/^(https?|data|blob):/i.test(address)) {
    const path = /^file:/i.test(address) ? new URL(address) : address;
    return fs.readFile(path, { signal }).catch((error) => failed(address, "cannot be read", error, signal));
  }
  try {
    const response = await fetch(address, { signal });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return await received(response, onProgress);
  } catch (error) {
    failed(address, "could not be loaded", error, signal);
  }
}

/** Also of what another window made, which is no instance of this one's classes. */
const kindOf = (value) => Object.prototype.toString.call(value).slice(8, -1);

function failed(address, what, error, signal) {
  signal?.throwIfAborted();
  const why = error.cause?.message ? `${error.message} (${error.cause.message})` : error.message; // Node's says no more than "fetch failed"
  throw new ModelError(`${address}: ${what}: ${why}`, { cause: error });
}

async function received(response, onProgress) {
  if (!onProgress || !response.body) return new Uint8Array(await response.arrayBuffer());
  const length = response.headers.get("content-length");
  // What is compressed on its way has another length than the server says.
  const total = length && !response.headers.get("content-encoding") ? Number(length) : null;
  const chunks = [];
  let n = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    n += value.length;
    onProgress(n, total);
  }
  const bytes = new Uint8Array(n);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
