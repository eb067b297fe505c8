/** The probability that a drawing shows none of the words; the same as Python's `Recognizer.unknown`. */

/**
 * That it shows no word of the model is 1 / (1 + exp(slope * E - entropy * H - W - intercept)), where E is the
 * log-sum-exp of all logits, H the entropy of all words' probabilities in nats, and W the sum of all logits, none below
 * `floor`, each times its number in `words`. Dots alone are no word. Where only some words are asked for, the others
 * count as unknown, too.
 *
 * @param {{intercept: number, slope: number, entropy?: number, floor?: number, words?: number[]} | undefined} rule the
 *   entry `unknown` of the model's card
 * @param {Float32Array} logits
 * @param {number[]} positions of the words that are asked for
 * @param {boolean} isDots whether the drawing has dots alone
 * @returns {number | null} 0 to 1; null for a model whose card has no such entry
 */
export function unknownOf(rule, logits, positions, isDots) {
  if (!rule) return null;
  const highest = logits.reduce((best, value) => Math.max(best, value), -Infinity);
  const sum = logits.reduce((all, value) => all + Math.exp(value - highest), 0);
  const total = highest + Math.log(sum);
  const entropy = logits.reduce((all, value) => all + Math.exp(value - total) * (total - value), 0);
  const weighed = (rule.words ?? []).reduce((all, weight, i) => all + weight * Math.max(logits[i], rule.floor), 0);
  const exponent = rule.slope * total - (rule.entropy ?? 0) * entropy - weighed - rule.intercept;
  const unknown = isDots ? 1 : 1 / (1 + Math.exp(exponent));
  if (positions.length === logits.length) return unknown;
  const chosen = positions.reduce((all, i) => all + Math.exp(logits[i] - highest), 0);
  return 1 - (1 - unknown) * (chosen / sum);
}
