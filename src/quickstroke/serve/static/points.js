/** A simplified drawing -> the points that a model reads, as in `quickstroke.data.points`. */

/** Columns of each preprocessing. */
export const N_CHANNELS = { delta3: 3, pos5: 5 };

/** The name of today for a preprocessing: version 0.1.0 wrote `seed3` for `delta3`. */
export function currentPreprocessing(name) {
  return name === "seed3" ? "delta3" : name;
}

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
export function toPoints(strokes, maxPadding = 100, preprocessing = "delta3") {
  const xs = strokes.flatMap(([x]) => x);
  const ys = strokes.flatMap(([, y]) => y);
  const penUps = strokes.flatMap(([x]) => x.map((_, i) => (i === x.length - 1 ? 1 : 0)));
  const [xLow, xHigh] = bounds(xs);
  const [yLow, yHigh] = bounds(ys);
  const xSide = Math.max(xHigh - xLow, 1);
  const ySide = Math.max(yHigh - yLow, 1);
  const side = Math.max(xSide, ySide);
  // Whole numbers divided in float64 and then rounded are what float32 gives: storing in the array rounds.
  const rowsOf = {
    delta3: () => xs.slice(1).map((x, t) => [(x - xs[t]) / xSide, (ys[t + 1] - ys[t]) / ySide, penUps[t + 1]]),
    pos5: () =>
      xs.map((x, t) => [
        t ? (x - xs[t - 1]) / side : 0,
        t ? (ys[t] - ys[t - 1]) / side : 0,
        (2 * x - xLow - xHigh) / (2 * side),
        (2 * ys[t] - yLow - yHigh) / (2 * side),
        penUps[t],
      ]),
  };
  return Float32Array.from(rowsOf[preprocessing]().slice(0, maxPadding).flat());
}

function bounds(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}
