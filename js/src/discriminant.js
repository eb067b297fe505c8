/**
 * Where the drawings of each trained word lie among the log-probabilities of a model; the same as
 * `quickstroke.artifacts.discriminant`.
 *
 * Dimensions: K words of the model, D discriminants.
 */

import { ModelError } from "./errors.js";

const LOWEST = -69;
const TEMPERATURE = 0.2;

export class Discriminant {
  /** Of each discriminant the row (K) of the projection, the words' means (K) around their middle, and that middle. */
  #projection;
  #means;
  #middles;
  #halfSquares;

  /** That of a model's card; null for a model without. */
  static ofCard({ discriminant, classes }) {
    if (discriminant == null) return null;
    try {
      return new Discriminant(unpacked(discriminant.projection, classes.length), unpacked(discriminant.means, classes.length));
    } catch (error) {
      throw new ModelError(`the discriminant of the model file is damaged: ${error.message}`);
    }
  }

  /** That of a file `teaching.json` for the model of a card; null where it says that the model has none. */
  static ofFile(bytes, { classes, sha256 }) {
    let content;
    try {
      content = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      throw new ModelError("the file of teaching statistics is damaged or none: it is no JSON");
    }
    if (content?.format !== "quickstroke teaching statistics") throw new ModelError("this is no file of teaching statistics");
    if (content.model_sha256 !== sha256) throw new ModelError("these teaching statistics are of another model");
    return Discriminant.ofCard({ ...content, classes });
  }

  constructor(projection, means) {
    if (projection.length !== means.length) throw new RangeError(`${projection.length} rows, and ${means.length} of means`);
    this.#projection = projection;
    this.#middles = means.map((row) => row.reduce((sum, value) => sum + value, 0) / row.length);
    this.#means = means.map((row, d) => row.map((value) => value - this.#middles[d]));
    this.#halfSquares = means[0].map((_, k) => this.#means.reduce((sum, row) => sum + row[k] ** 2, 0) / 2);
  }

  /** Discriminants (D) of a drawing's logits (K). */
  project(logits) {
    const highest = logits.reduce((best, value) => Math.max(best, value), -Infinity);
    const total = highest + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - highest), 0));
    const x = Float64Array.from(logits, (value) => Math.max(value - total, LOWEST));
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    return this.#projection.map((row, d) => row.reduce((sum, value, k) => sum + value * (x[k] - mean), 0) - this.#middles[d]);
  }

  /** The log-likelihood (N) of words with `means` (N) (D), less that of the trained words together. */
  evidence(projected, means) {
    const trained = this.#halfSquares.map((value) => -TEMPERATURE * value);
    this.#means.forEach((row, d) => {
      const factor = TEMPERATURE * projected[d];
      for (let k = 0; k < row.length; k++) trained[k] += factor * row[k];
    });
    const highest = trained.reduce((best, value) => Math.max(best, value), -Infinity);
    const sum = trained.reduce((all, value) => all + Math.exp(value - highest), 0);
    const together = (highest + Math.log(sum)) / TEMPERATURE;
    return means.map((own) => own.reduce((all, value, d) => all + value * (projected[d] - value / 2), 0) - together);
  }
}

/** Rows (D) (n) of whole numbers of 4 bits, two in a byte, the first one in its lower half, and a scale for each row. */
function unpacked({ int4, scales }, n) {
  const bytes = Uint8Array.from(atob(int4), (character) => character.charCodeAt(0));
  const isFit = scales.length > 0 && scales.every(Number.isFinite) && bytes.length === Math.ceil((scales.length * n) / 2);
  if (!isFit) throw new RangeError(`${bytes.length} bytes for ${scales.length} rows of ${n}`);
  return scales.map((scale, d) =>
    Float64Array.from({ length: n }, (_, k) => {
      const at = d * n + k;
      return (((bytes[at >> 1] >> (4 * (at & 1))) & 15 ^ 8) - 8) * scale;
    }),
  );
}
