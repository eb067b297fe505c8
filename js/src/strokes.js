/**
 * The strokes that a caller gives, in either of two layouts: points `[[x, y], ..]` or Google's columns `[[x..], [y..]]`,
 * both perhaps with times. Which of them a drawing is in is told as in `quickstroke.drawings.layouts`: one stroke that can
 * be read in one way only decides for all, and where each can be read in both they are points.
 */

import { counted, OptionError, shown, StrokesError } from "./errors.js";

/** Far beyond what a hand draws; a drawing of the game has some hundred. */
const MAX_POINTS = 200_000;
const FORMS = { points: "points [[x, y], ..]", columns: "columns [[x..], [y..]]" };
const EITHER = `${FORMS.points} or ${FORMS.columns}, perhaps with times`;

const isRow = (value) => Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value);
const canBe = (n) => n === 2 || n === 3;

/**
 * @param {unknown} strokes
 * @param {"auto" | "points" | "columns"} layout
 * @returns {{columns: [ArrayLike<number>, ArrayLike<number>][], layout: "points" | "columns"}} finite numbers, at least
 *   one stroke, and at least one point each
 * @throws {StrokesError} something else came
 * @throws {OptionError} `layout` is none of these
 */
export function readStrokes(strokes, layout = "auto") {
  if (layout !== "auto" && !Object.hasOwn(FORMS, layout)) {
    throw new OptionError(`layout should be "auto", "points" or "columns", got ${shown(layout)}`);
  }
  if (!Array.isArray(strokes)) throw new StrokesError(`the drawing is ${shown(strokes)}; expected a list of strokes`);
  if (!strokes.length) throw new StrokesError("the drawing has no stroke; expected at least one");
  const shapes = strokes.map(shapeOf);
  const read = decide(shapes, layout);
  let n = 0;
  const columns = strokes.map((stroke, i) => {
    const own = read === "columns" ? [stroke[0], stroke[1]] : [stroke.map((point) => point[0]), stroke.map((point) => point[1])];
    n += own[0].length;
    check(own, i);
    return own;
  });
  if (n > MAX_POINTS) throw new StrokesError(`the drawing has ${n} points; expected at most ${MAX_POINTS}`);
  return { columns, layout: read };
}

/** Rows, and numbers in each of them. */
function shapeOf(stroke, i) {
  if (!Array.isArray(stroke)) {
    throw new StrokesError(`strokes[${i}] is ${shown(stroke)}; expected ${EITHER}`);
  }
  if (!stroke.length) throw new StrokesError(`strokes[${i}] has no point; expected at least one`);
  stroke.forEach((row, j) => {
    if (!isRow(row)) {
      const hint = typeof row === "number" ? "; one stroke alone has to be put into a list" : "";
      throw new StrokesError(`strokes[${i}][${j}] is ${shown(row)}; expected numbers x and y, or all x or y${hint}`);
    }
    if (row.length !== stroke[0].length) {
      const what = `strokes[${i}][${j}] has ${counted(row.length, "number")} and strokes[${i}][0] has ${stroke[0].length}`;
      throw new StrokesError(`${what}; expected the same of all`);
    }
  });
  if (!stroke[0].length) throw new StrokesError(`strokes[${i}] has no point; expected at least one`);
  return [stroke.length, stroke[0].length];
}

function decide(shapes, layout) {
  let found = layout === "auto" ? null : layout;
  let witness = null;
  shapes.forEach(([nRows, nNumbers], i) => {
    const [mayBePoints, mayBeColumns] = [canBe(nNumbers), canBe(nRows)];
    if (mayBePoints && mayBeColumns) return;
    const own = mayBePoints ? "points" : mayBeColumns ? "columns" : null;
    if (own && !found) [found, witness] = [own, i];
    if (own && own === found) return;
    const what = `strokes[${i}] has ${counted(nRows, "row")} of ${counted(nNumbers, "number")}`;
    if (!found) throw new StrokesError(`${what}; expected ${EITHER}`);
    const why = witness === null ? `layout is "${found}"` : `strokes[${witness}] is written so`;
    throw new StrokesError(`${what}; expected ${FORMS[found]}, since ${why}`);
  });
  return found ?? "points";
}

function check([xs, ys], i) {
  for (let j = 0; j < xs.length; j++) {
    if (!Number.isFinite(xs[j]) || !Number.isFinite(ys[j])) {
      throw new StrokesError(`strokes[${i}][${j}] is at (${shown(xs[j])}, ${shown(ys[j])}); expected finite numbers`);
    }
  }
}

/** Raises StrokesError unless columns are what simplifying gives. */
export function checkSimplified(columns) {
  const isWhole = (value) => Number.isInteger(value) && value >= 0 && value <= 255;
  columns.forEach(([xs, ys], i) => {
    for (let j = 0; j < xs.length; j++) {
      if (isWhole(xs[j]) && isWhole(ys[j])) continue;
      throw new StrokesError(
        `strokes[${i}][${j}] is at (${xs[j]}, ${ys[j]}); expected integers from 0 to 255 of a drawing that is said to be ` +
          "simplified",
      );
    }
  });
}

/** Columns in the layout that a caller uses. */
export function written(columns, layout) {
  return layout === "columns" ? columns : columns.map(([xs, ys]) => xs.map((x, i) => [x, ys[i]]));
}
