/** The probability that a drawing shows none of a model's words. */

/**
 * @param {object | undefined} rule the entry `unknown` of the model's card
 * @param {{logits: Float32Array}} evidence what the model gave for the drawing
 * @returns {number | null} 0 to 1; null for a model whose card has no such entry
 */
export function unknownOf(rule, evidence) {
  if (!rule) return null;
  return null; // no rule is defined yet
}
