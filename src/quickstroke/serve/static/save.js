/** The drawing as a file: official simplified ndjson, or SVG. */

import { boundsOf, pathText } from "./geometry.js";
import { simplify } from "./quickstroke.js";

const MARGIN_PX = 12;

/**
 * One line as Google writes it, the same as `quickstroke.formats.ndjson.format_line`.
 *
 * @param {number[][][]} strokes raw
 * @param {{word: string, recognized: boolean, key: bigint, date: Date}} facts
 */
export function ndjsonLine(strokes, { word, recognized, key, date }) {
  return JSON.stringify({
    word,
    countrycode: "ZZ",
    timestamp: timestamp(date),
    recognized,
    key_id: String(key),
    drawing: simplify(strokes, { layout: "columns" }),
  });
}

/** `2017-03-01 20:41:36.70725 UTC`: no zeros at the end of the fraction. */
function timestamp(date) {
  const [day, time] = date.toISOString().slice(0, -1).split("T");
  return `${day} ${time.replace(/\.?0+$/, "")} UTC`;
}

/** A key that no official drawing has: those leave the top bit unset. */
export function newKey() {
  return crypto.getRandomValues(new BigUint64Array(1))[0] | (1n << 63n);
}

/** The drawing as it is on the page. */
export function svgText(strokes, title) {
  const { x, y, width, height } = boundsOf(strokes);
  const round = (value) => Math.round(value * 100) / 100;
  const box = [x - MARGIN_PX, y - MARGIN_PX, width + 2 * MARGIN_PX, height + 2 * MARGIN_PX].map(round);
  const escaped = title.replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box.join(" ")}" width="${box[2]}" height="${box[3]}">`,
    ...(title ? [`<title>${escaped}</title>`] : []),
    '<g fill="none" stroke="#1f1d1a" stroke-width="4.5" stroke-linecap="round" stroke-linejoin="round">',
    ...strokes.map((stroke) => `<path d="${pathText(stroke)}"/>`),
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

/** Hands a text to the user as a file. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Some browsers read it only after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A file's name from a word. */
export function fileName(word, ending) {
  const base = word
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "") // accents
    .replace(/[^\p{L}\p{M}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "");
  return `${base || "drawing"}.${ending}`;
}
