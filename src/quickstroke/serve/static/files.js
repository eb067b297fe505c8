/** The page's own files: beside it on its host, or inside it where the page was exported as one file. */

import { fetchBytes } from "./quickstroke.js";

/** @param {string} name of a file that is packed into this page, as gzip in base64; null where it is not */
function inside(name) {
  return document.getElementById(`file:${name}`)?.textContent ?? null;
}

/** Whether the page and all that belongs to it is one file. */
export const isWhole = inside("model.quickstroke") !== null;

/**
 * @param {string} name
 * @param {(nBytes: number, total: number | null) => void} [onProgress] told while it comes; `total` is null where the
 *   host does not say
 * @returns {Promise<Uint8Array>}
 */
export async function bytesOf(name, onProgress) {
  const text = inside(name);
  if (text === null) return fetchBytes(name, { onProgress });
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Starts a worker of one of the page's modules. */
export function startWorker(name) {
  const source = globalThis.quickstrokeWorker?.(name); // where the page is one file: export/html_start.js
  if (!source) return new Worker(new URL(name, import.meta.url), { type: "module" });
  return new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
}
