/** A simplified drawing -> the points that a model reads: the preprocessing `seed3`, as in `quickstroke.points`. */

export const PREPROCESSING = "seed3";
export const N_CHANNELS = 3;

/**
 * Columns: x and y as first differences of coordinates scaled to 0..1 by the drawing's bounding box (a flat side
 * divides by 1), and 1 at the last point of each stroke. The first row is dropped, the rest cut to `maxPadding` rows.
 *
 * @param {number[][][]} strokes simplified, `[[x..], [y..]]` each
 * @param {number} maxPadding rows to keep
 * @returns {Float32Array} (T, 3) row by row, T at most `maxPadding`; a dot gives none
 */
export function toPoints(strokes, maxPadding = 100) {
  const xs = strokes.flatMap(([x]) => x);
  const ys = strokes.flatMap(([, y]) => y);
  const penUps = strokes.flatMap(([x]) => x.map((_, i) => (i === x.length - 1 ? 1 : 0)));
  const xSide = Math.max(spread(xs), 1);
  const ySide = Math.max(spread(ys), 1);
  const nRows = Math.min(Math.max(xs.length - 1, 0), maxPadding);
  const points = new Float32Array(nRows * N_CHANNELS);
  for (let t = 0; t < nRows; t++) {
    // Whole numbers divided in float64 and then rounded are what float32 gives: storing rounds.
    points[t * N_CHANNELS] = (xs[t + 1] - xs[t]) / xSide;
    points[t * N_CHANNELS + 1] = (ys[t + 1] - ys[t]) / ySide;
    points[t * N_CHANNELS + 2] = penUps[t + 1];
  }
  return points;
}

function spread(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high - low;
}
