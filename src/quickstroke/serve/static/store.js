/**
 * What stays on this device between visits, the drawing among it, or in `sessionStorage` in this tab alone. A browser
 * that keeps nothing is no error: all is forgotten then.
 */

const PREFIX = "quickstroke:";
const AFTER_MS = 300;
// Pages in other folders of one host have drawings of their own.
const DRAWING = `drawing${new URL(".", location).pathname.slice(1)}`;

/** @returns {any} what was kept under a name, or `fallback` */
export function recall(name, fallback, area = "localStorage") {
  try {
    return JSON.parse(globalThis[area].getItem(PREFIX + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

/** @returns {boolean} whether it is kept: there may be no room, or it is not allowed */
export function keep(name, value, area = "localStorage") {
  try {
    globalThis[area].setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Calls whenever another tab keeps something under a name. */
export function onKept(name, listener) {
  addEventListener("storage", ({ key }) => key === PREFIX + name && listener());
}

/**
 * The drawing outlives a reload: each tab's own, and a new tab begins with the newest of all.
 *
 * @param {import("./pad.js").Pad} pad
 * @param {HTMLCanvasElement} canvas
 * @param {() => boolean} isFree whether the drawing is the user's own, and not a round's or a replay
 */
export function autosave(pad, canvas, isFree) {
  // Once the pad knows its size, so that the drawing is where it was.
  const observer = new ResizeObserver(() => {
    observer.disconnect();
    const strokes = recall(DRAWING, null, "sessionStorage") ?? recall(DRAWING, []);
    if (pad.isEmpty && isDrawing(strokes)) pad.restore(strokes);
    let timer = 0;
    const save = () => {
      clearTimeout(timer);
      timer = 0;
      if (isFree()) for (const area of ["sessionStorage", "localStorage"]) keep(DRAWING, pad.strokes, area);
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
