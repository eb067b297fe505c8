/** Embeddings of drawings; the same as `quickstroke.inference.prototypes`. */

/**
 * The direction of what the output layer reads, and beside it that of the probabilities to the power 1/4.
 *
 * @param {{logits: Float32Array, features: Float32Array}} read
 * @returns {Float32Array} (R + K), of length 1
 */
export function embedding({ logits, features }) {
  const highest = logits.reduce((best, value) => Math.max(best, value), -Infinity);
  // What all probabilities are divided by changes no direction.
  const roots = Float64Array.from(logits, (value) => Math.exp((value - highest) / 4));
  return Float32Array.from([...direction(features), ...direction(roots)], (value) => value * Math.SQRT1_2);
}

function direction(values) {
  const length = Math.hypot(...values);
  return Float64Array.from(values, (value) => value / (length || 1));
}
