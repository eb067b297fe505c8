/** A probability as people read it; what is not quite 0 or 1 does not look so. */
export function percent(probability) {
  if (probability > 0.99 && probability < 0.9995) return "99%";
  if (probability > 0 && probability < 0.005) return "<1%";
  return `${Math.round(100 * probability)}%`;
}
