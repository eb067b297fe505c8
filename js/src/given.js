/** What a page gives a pad, looked at when it is given: a mistake shows where it was made. */

import { checkOptions, shown } from "./errors.js";
import { OptionError, StrokesError } from "./index.js";

const POINT = "a point [x, y] or [x, y, t] of finite numbers";

/** A copy of a drawing, every point with a time, 0 where none was given. */
export function drawingOf(strokes) {
  if (!Array.isArray(strokes)) throw new StrokesError(`the drawing is ${shown(strokes)}; expected a list of strokes`);
  // Unlike `map` it sees what a list leaves out.
  return Array.from(strokes, (stroke, i) => {
    if (!Array.isArray(stroke)) throw new StrokesError(`strokes[${i}] is ${shown(stroke)}; expected a list of points`);
    if (!stroke.length) throw new StrokesError(`strokes[${i}] has no point; expected at least one`);
    return Array.from(stroke, (point, j) => {
      if (isPoint(point)) return [point[0], point[1], point[2] ?? 0];
      const hint = isColumns(stroke) ? "; columns [[x..], [y..]] have to be turned into points first" : "";
      throw new StrokesError(`strokes[${i}][${j}] is ${shown(point)}; expected ${POINT}${hint}`);
    });
  });
}

const isTwoOrThree = (n) => n === 2 || n === 3;
const isRow = (row) => Array.isArray(row) && Array.from(row).every(Number.isFinite);
const isPoint = (point) => isRow(point) && isTwoOrThree(point.length);

/** Whether these are Google's columns; those of two or three points cannot be told from points. */
const isColumns = (stroke) =>
  isTwoOrThree(stroke.length) && stroke.every((row) => isRow(row) && row.length === stroke[0].length);

export function checkRecognizer(recognizer) {
  if (typeof recognizer?.predict === "function") return;
  const isPromise = typeof recognizer?.then === "function";
  const what = isPromise ? "a promise; write `await load(...)`" : `${shown(recognizer)}; expected what \`await load(...)\` gives`;
  throw new OptionError(`the recogniser is ${what}`);
}

/** As `checkOptions`, with an error of the class that a page imports. */
function checkNames(options, names, about = "") {
  try {
    checkOptions(options, ...names);
  } catch ({ message }) {
    throw new OptionError(about + message);
  }
}

export function checkAttachOptions(options) {
  checkNames(options, ["top", "words", "width", "strokes", "onGuess", "onStroke", "onError"]);
  for (const name of ["onGuess", "onStroke", "onError"]) {
    const given = options[name];
    if (given !== undefined && typeof given !== "function") throw new OptionError(`${name} should be a function, got ${shown(given)}`);
  }
}

export function checkTexts(texts, names) {
  checkNames(texts, names, "texts: ");
  for (const [name, text] of Object.entries(texts)) {
    if (typeof text !== "string") throw new OptionError(`texts.${name} should be a text, got ${shown(text)}`);
  }
}

export function checkWidth(width) {
  if (!(Number.isFinite(width) && width > 0)) throw new OptionError(`width should be above 0, got ${shown(width)}`);
}

/** A copy, as each guess goes through them; without words it is undefined. Whether a model knows them is told by it. */
export function wordsOf(words) {
  if (words === undefined) return undefined;
  const list = typeof words !== "string" && typeof words?.[Symbol.iterator] === "function" ? [...words] : [null];
  if (list.every((word) => typeof word === "string")) return list;
  throw new OptionError(`words should be a list of words, got ${shown(words)}`);
}
