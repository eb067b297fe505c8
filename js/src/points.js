/** A simplified drawing -> the points that a model reads, as in `quickstroke.data.points`. */

/** Columns of each preprocessing. */
export const N_CHANNELS = { delta3: 3, pos5: 5 };

/**
 * `delta3`: x and y as first differences of coordinates scaled to 0..1 by the drawing's bounding box (a flat side
 * divides by 1), and 1 at the last point of each stroke. The first row is dropped.
 *
 * `pos5`: first differences of x and y, 0 in the first row, then x and y from the middle of the bounding box, all
 * divided by the longer side of the box (a dot divides by 1), and 1 at the last point of each stroke.
 *
 * @param {number[][][]} strokes simplified, `[[x..], [y..]]` each
 * @param {number} maxPadding rows to keep
 * @param {"delta3" | "pos5"} preprocessing
 * @returns {Float32Array} (T, C) row by row, T at most `maxPadding`; by `delta3` a dot gives none
 */
export function toPoints(strokes, maxPadding, preprocessing) {
  const xs = [];
  const ys = [];
  const penUps = [];
  for (const [x, y] of strokes) {
    for (let i = 0; i < x.length; i++) {
      xs.push(x[i]);
      ys.push(y[i]);
      penUps.push(i === x.length - 1 ? 1 : 0);
    }
  }
  const [xLow, xHigh] = bounds(xs);
  const [yLow, yHigh] = bounds(ys);
  const xSide = Math.max(xHigh - xLow, 1);
  const ySide = Math.max(yHigh - yLow, 1);
  const side = Math.max(xSide, ySide);
  const isDelta = preprocessing === "delta3";
  const rows = Math.min(xs.length - (isDelta ? 1 : 0), maxPadding);
  const points = new Float32Array(rows * N_CHANNELS[preprocessing]);
  // Whole numbers divided in float64 and then rounded are what float32 gives: storing in the array rounds.
  for (let t = 0, at = 0; t < rows; t++) {
    if (isDelta) {
      points[at++] = (xs[t + 1] - xs[t]) / xSide;
      points[at++] = (ys[t + 1] - ys[t]) / ySide;
      points[at++] = penUps[t + 1];
    } else {
      const before = Math.max(t - 1, 0);
      points[at++] = (xs[t] - xs[before]) / side;
      points[at++] = (ys[t] - ys[before]) / side;
      points[at++] = (2 * xs[t] - xLow - xHigh) / (2 * side);
      points[at++] = (2 * ys[t] - yLow - yHigh) / (2 * side);
      points[at++] = penUps[t];
    }
  }
  return points;
}

function bounds(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
