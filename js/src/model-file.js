/** Reads a `.quickstroke` file; docs/formats.md describes it, `quickstroke.artifacts.compact` writes it. */

import { ModelError, shown } from "./errors.js";
import { N_CHANNELS } from "./points.js";
import { sha256 } from "./sha256.js";

const MAGIC = "QSTROKE\n";
const VERSION = 2;
const HEAD_BYTES = 24;
const HASH_BYTES = 32;
const MOST_LAYERS = 64;

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<{card: object, weights: Map<string, {shape: number[], values: Float32Array}>}>} weights as numbers of
 *   float32
 * @throws {ModelError} it is no such file, cut off, damaged, or of a newer version
 */
export async function readModel(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < HEAD_BYTES || String.fromCharCode(...bytes.subarray(0, 8)) !== MAGIC) {
    // A server's own page, which many answer in place of a file that they have not, is known by how it begins.
    const begin = shown(String.fromCharCode(...bytes.subarray(0, 24)));
    const expected = "expected one of `quickstroke export --to quickstroke`";
    throw new ModelError(`this is no .quickstroke file, it begins with ${begin}; ${expected}`);
  }
  const version = view.getUint32(8, true);
  if (version > VERSION || version < 1) {
    throw new ModelError(`the model file has version ${version}, this program reads version ${VERSION}; take a newer one`);
  }
  const n = view.getUint32(16, true) + view.getUint32(20, true) * 2 ** 32;
  if (bytes.length < n) throw new ModelError(`the model file is cut off: it has ${bytes.length} of ${n} bytes`);
  const content = bytes.subarray(0, bytes.length - HASH_BYTES);
  const stated = bytes.subarray(bytes.length - HASH_BYTES);
  if (bytes.length !== n || !equal(await hashOf(content), stated)) {
    throw new ModelError("the model file is damaged: its hash is not the one that it states");
  }
  try {
    const nHeader = view.getUint32(12, true);
    const header = JSON.parse(new TextDecoder().decode(content.subarray(HEAD_BYTES, HEAD_BYTES + nHeader)));
    const data = content.subarray(HEAD_BYTES + nHeader);
    const weights = new Map(Object.entries(header.tensors).map(([name, entry]) => [name, tensorOf(data, entry)]));
    checkCard(header.card);
    return { card: header.card, weights };
  } catch (error) {
    throw error instanceof ModelError ? error : new ModelError(`the model file is damaged: ${error.message}`);
  }
}

async function hashOf(bytes) {
  const subtle = globalThis.crypto?.subtle;
  return subtle ? new Uint8Array(await subtle.digest("SHA-256", bytes)) : sha256(bytes);
}

const equal = (a, b) => a.every((value, i) => value === b[i]);

/** A tensor of the file: whole numbers of 8 bits with a scale for each row, or floats of 16 or 32 bits. */
function tensorOf(data, { dtype, shape, at, scales_at: scalesAt }) {
  const n = shape.reduce((product, size) => product * size, 1);
  const values = new Float32Array(n);
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (dtype === "int8") {
    const nRow = n / shape[0];
    for (let row = 0, k = 0; row < shape[0]; row++) {
      const scale = view.getFloat32(scalesAt + 4 * row, true);
      for (let i = 0; i < nRow; i++, k++) values[k] = view.getInt8(at + k) * scale;
    }
  } else if (dtype === "float16") {
    for (let k = 0; k < n; k++) values[k] = halfOf(view.getUint16(at + 2 * k, true));
  } else if (dtype === "float32") {
    for (let k = 0; k < n; k++) values[k] = view.getFloat32(at + 4 * k, true);
  } else {
    throw new ModelError(`the model file has weights of type ${shown(dtype)}; expected int8, float16 or float32`);
  }
  return { shape, values };
}

/** The number that 16 bits stand for (IEEE 754, binary16). */
function halfOf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

function checkCard({ name, classes, config, preprocessing, unknown }) {
  const { intercept, slope, entropy = 0, floor = 0, words = [] } = unknown ?? { intercept: 0, slope: 1 };
  const isRule =
    Array.isArray(words) &&
    (!words.length || words.length === classes.length) &&
    [intercept, slope, entropy, floor, ...words].every(Number.isFinite) &&
    slope > 0 &&
    entropy >= 0;
  const isWhole = (value) => Number.isInteger(value) && value > 0;
  const isWord = (word) => typeof word === "string" && word !== "";
  const convolutions = [config.conv1, config.conv2].filter(Boolean);
  const sizes = [config.n_layers, config.hidden_size, config.max_padding, config.image ?? 1, ...convolutions.flat()];
  const isFit =
    isRule &&
    typeof name === "string" &&
    classes.every(isWord) &&
    classes.length === config.n_classes &&
    sizes.every(isWhole) &&
    config.n_layers <= MOST_LAYERS &&
    convolutions.every(({ length }) => length === 2 || length === 3) &&
    Object.hasOwn(N_CHANNELS, preprocessing.name) &&
    preprocessing.max_padding === config.max_padding &&
    (preprocessing.name === "pos5") === (config.readout === "pool");
  if (!isFit) throw new ModelError(`the model file describes a model that this program has not: ${shown(name)}`);
}
