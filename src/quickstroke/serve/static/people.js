/** Drawings by people, from Google's Quick, Draw! dataset, and how hard words are; docs/people.py makes the file. */

import { bytesOf } from "./files.js";

// A hand's pace; the file has no times. One unit is a 255th of the drawing's longer side.
const MS_PER_UNIT = 3;
const PAUSE_MS = 250;
// So that a straight line grows, and does not jump.
const STEP_UNITS = 9;

/**
 * @typedef {object} People
 * @property {Map<string, number[][][][]>} drawings word -> drawings, strokes `[[x..], [y..], [t..]]` each
 * @property {Map<string, number>} percents word -> of how many of 100 drawings the default model is sure
 */

/** @returns {Promise<People>} */
export async function loadPeople() {
  return parsePeople(await bytesOf("people.bin"));
}

/**
 * @param {Uint8Array} bytes a line of JSON, and records of Google's binary format
 * @returns {People}
 */
export function parsePeople(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = bytes.indexOf(10) + 1;
  const { words } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, at)));
  const drawing = () => {
    const nStrokes = view.getUint16(at + 15, true); // after key, country, recognised and time
    at += 17;
    return Array.from({ length: nStrokes }, () => {
      const n = view.getUint16(at, true);
      const rows = [0, 1].map((k) => [...bytes.subarray(at + 2 + k * n, at + 2 + (k + 1) * n)]);
      at += 2 + 2 * n;
      return rows;
    });
  };
  const drawings = new Map();
  const percents = new Map();
  for (const [word, [n, percent]] of Object.entries(words)) {
    drawings.set(word, Array.from({ length: n }, () => timed(drawing())));
    percents.set(word, percent);
  }
  return { drawings, percents };
}

/** The drawing with points between its points, and times as a hand would take. */
function timed(strokes) {
  let now = 0;
  return strokes.map(([xs, ys]) => {
    const rows = [[xs[0]], [ys[0]], [Math.round(now)]];
    for (let i = 1; i < xs.length; i++) {
      const length = Math.hypot(xs[i] - xs[i - 1], ys[i] - ys[i - 1]);
      const n = Math.max(Math.ceil(length / STEP_UNITS), 1);
      for (let k = 1; k <= n; k++) {
        now += (length / n) * MS_PER_UNIT;
        rows[0].push(xs[i - 1] + ((xs[i] - xs[i - 1]) * k) / n);
        rows[1].push(ys[i - 1] + ((ys[i] - ys[i - 1]) * k) / n);
        rows[2].push(Math.round(now));
      }
    }
    now += PAUSE_MS;
    return rows;
  });
}
