/**
 * Raw pen strokes -> the simplified form in which Google publishes Quick, Draw!: the same as `quickstroke.simplify`,
 * whose text says where each step comes from. Which of several equally far samples stays hangs on the last bit, so the
 * order of every operation here is that of the Python module; golden files and real drawings hold both equal.
 */

import { StrokesError } from "./errors.js";

const SIDE = 255;
const EPSILON = 2;
const MAX_LOOKS = 300_000_000;
const SLACK = 1e-9;
const HUGE = 1e300;

// Columns of a line, a part of a stroke that holds samples: its ends a and b, the arc length at a, the length from a
// to b; its first and its last sample.
const AX = 0, AY = 1, BX = 2, BY = 3, ARC = 4, LENGTH = 5, FIRST_X = 6, FIRST_Y = 7, LAST_X = 8, LAST_Y = 9;
const WIDTH = 10;

/** The x (`axis` 0) or y (`axis` 1) of sample `k` of a stroke, which is on `line`. */
function sampleAt(lines, line, k, axis) {
  const row = line * WIDTH;
  const t = (k - lines[row + ARC]) / lines[row + LENGTH];
  return (1 - t) * lines[row + AX + axis] + t * lines[row + BX + axis];
}

/**
 * The lines of a stroke that hold samples; the first and the last hold its first and last point alone.
 *
 * @param {Float64Array} xs scaled
 * @param {Float64Array} ys scaled
 * @returns {{n: number, lines: Float64Array, first: Float64Array}} line r holds the samples first[r] to first[r + 1]
 */
function linesOf(xs, ys) {
  const n = xs.length;
  const lines = new Float64Array((n + 1) * WIDTH);
  const first = new Float64Array(n + 2);
  const setEnds = (r, from, to, arc, length) => {
    lines.set([xs[from], ys[from], xs[to], ys[to], arc, length], r * WIDTH);
  };
  setEnds(0, 0, 0, 0, 1);
  first[1] = 1;
  let r = 1;
  let arc = 0;
  for (let i = 1; i < n; i++) {
    const dx = xs[i] - xs[i - 1];
    const dy = ys[i] - ys[i - 1];
    const length = Math.sqrt(dx * dx + dy * dy);
    const end = Math.floor(arc + length) + 1;
    if (end > first[r]) {
      setEnds(r, i - 1, i, arc, length);
      r += 1;
      first[r] = end;
    }
    arc += length;
  }
  setEnds(r, n - 1, n - 1, first[r], 1);
  r += 1;
  first[r] = first[r - 1] + 1;
  for (let line = 0; line < r; line++) {
    const row = line * WIDTH;
    for (const axis of [0, 1]) {
      lines[row + FIRST_X + axis] = sampleAt(lines, line, first[line], axis);
      lines[row + LAST_X + axis] = sampleAt(lines, line, first[line + 1] - 1, axis);
    }
  }
  return { n: r, lines, first };
}

/** The first of the samples between `a` and `b` that are farthest from the line through those two. */
function farthest(lines, first, a, aLine, b, bLine) {
  const ax = sampleAt(lines, aLine, a, 0);
  const ay = sampleAt(lines, aLine, a, 1);
  const dx = sampleAt(lines, bLine, b, 0) - ax;
  const dy = sampleAt(lines, bLine, b, 1) - ay;
  const base = Math.sqrt(dx * dx + dy * dy);
  const best = { distance: -1, k: a, line: aLine, looks: 1 + bLine - aLine };
  const consider = (distance, k, line) => {
    if (distance > best.distance) {
      best.distance = distance;
      best.k = k;
      best.line = line;
    }
  };
  for (let line = aLine; line <= bLine; line++) {
    const begin = Math.max(first[line], a + 1);
    const end = Math.min(first[line + 1], b) - 1;
    if (begin > end) continue;
    const row = line * WIDTH;
    const isWholeBegin = begin === first[line];
    const isWholeEnd = end === first[line + 1] - 1;
    const px = (isWholeBegin ? lines[row + FIRST_X] : sampleAt(lines, line, begin, 0)) - ax;
    const py = (isWholeBegin ? lines[row + FIRST_Y] : sampleAt(lines, line, begin, 1)) - ay;
    const qx = (isWholeEnd ? lines[row + LAST_X] : sampleAt(lines, line, end, 0)) - ax;
    const qy = (isWholeEnd ? lines[row + LAST_Y] : sampleAt(lines, line, end, 1)) - ay;
    let atBegin, atEnd, level;
    if (base === 0) {
      atBegin = Math.sqrt(px * px + py * py);
      atEnd = Math.sqrt(qx * qx + qy * qy);
      level = false;
    } else {
      atBegin = (px * dy - py * dx) / base;
      atEnd = (qx * dy - qy * dx) / base;
      level = Math.abs(atBegin - atEnd) <= SLACK * (end - begin);
      atBegin = Math.abs(atBegin);
      atEnd = Math.abs(atEnd);
    }
    consider(atBegin, begin, line);
    if (level && atBegin > best.distance - 2 * SLACK * (end - begin + 1)) {
      best.looks += end - begin;
      for (let k = begin + 1; k < end; k++) {
        const x = sampleAt(lines, line, k, 0);
        const y = sampleAt(lines, line, k, 1);
        consider(Math.abs((x - ax) * dy - (y - ay) * dx) / base, k, line);
      }
    }
    consider(atEnd, end, line);
  }
  return best;
}

/** Halves go to the even neighbour, as in NumPy's `rint`; `value` is from 0 to 255. */
function roundHalfToEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

/**
 * A drawing as Google simplifies it: every stroke keeps its ends and the points that shape it.
 *
 * @param {[ArrayLike<number>, ArrayLike<number>][]} strokes `[[x..], [y..]]` each, as `readStrokes` gives them
 * @returns {number[][][]} one `[[x..], [y..]]` a stroke, integers from 0 to 255, at least two points each
 * @throws {StrokesError} too many windings
 */
export function simplifyColumns(strokes) {
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (const stroke of strokes) {
    for (const axis of [0, 1]) {
      const values = stroke[axis];
      for (let i = 0; i < values.length; i++) {
        if (values[i] < low[axis]) low[axis] = values[i];
        if (values[i] > high[axis]) high[axis] = values[i];
      }
    }
  }
  // Beyond it, 255 times a difference of two coordinates could leave float64.
  const unit = Math.max(...low.map(Math.abs), ...high.map(Math.abs)) > HUGE ? 2 ** -10 : 1;
  const extent = Math.max(high[0] * unit - low[0] * unit, high[1] * unit - low[1] * unit);
  const scaled = (values, axis) =>
    Float64Array.from(values, (value) => (extent > 0 ? ((value * unit - low[axis] * unit) * SIDE) / extent : 0));

  let looks = 0;
  return strokes.map((stroke) => {
    const { n, lines, first } = linesOf(scaled(stroke[0], 0), scaled(stroke[1], 1));
    const xs = [];
    const ys = [];
    const keep = (line, k) => {
      xs.push(roundHalfToEven(sampleAt(lines, line, k, 0)));
      ys.push(roundHalfToEven(sampleAt(lines, line, k, 1)));
    };
    keep(0, 0);
    const parts = [[0, 0, first[n - 1], n - 1]];
    while (parts.length) {
      const [a, aLine, b, bLine] = parts.pop();
      const found = farthest(lines, first, a, aLine, b, bLine);
      looks += found.looks;
      if (looks > MAX_LOOKS) throw new StrokesError("the drawing winds so much that simplifying it takes too long");
      if (found.distance > EPSILON) {
        parts.push([found.k, found.line, b, bLine], [a, aLine, found.k, found.line]);
      } else {
        keep(bLine, b);
      }
    }
    return [xs, ys];
  });
}
