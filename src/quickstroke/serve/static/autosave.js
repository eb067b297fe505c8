/** The drawing outlives a reload: each tab's own, and a new tab begins with the newest of all. */

import { keep, recall } from "./store.js";

const AFTER_MS = 300;
const NAME = "drawing";

/**
 * @param {import("./pad.js").Pad} pad
 * @param {HTMLCanvasElement} canvas
 * @param {() => boolean} isFree whether the drawing is the user's own, and not a round's or a replay
 */
export function autosave(pad, canvas, isFree) {
  // Once the pad knows its size, so that the drawing is where it was.
  const observer = new ResizeObserver(() => {
    observer.disconnect();
    const strokes = recall(NAME, null, "sessionStorage") ?? recall(NAME, []);
    if (pad.isEmpty && isDrawing(strokes)) pad.setStrokes(strokes);
    let timer = 0;
    const save = () => {
      clearTimeout(timer);
      timer = 0;
      if (isFree()) for (const area of ["sessionStorage", "localStorage"]) keep(NAME, pad.strokes, area);
    };
    pad.addEventListener("ink", () => {
      timer ||= setTimeout(save, AFTER_MS);
    });
    addEventListener("pagehide", () => timer && save());
  });
  observer.observe(canvas);
}

/** Whether it is what `keep` was given; anything may be there. */
function isDrawing(strokes) {
  const isRow = (row, n) => Array.isArray(row) && row.length === n && row.every(Number.isFinite);
  return (
    Array.isArray(strokes) &&
    strokes.length > 0 &&
    strokes.every((rows) => rows?.length === 3 && rows[0]?.length > 0 && rows.every((row) => isRow(row, rows[0].length)))
  );
}
