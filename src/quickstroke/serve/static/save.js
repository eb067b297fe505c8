/** The drawing as a file: official simplified ndjson, SVG, PNG or an animated GIF; and the dialog that saves it. */

import { $, make } from "./elements.js";
import { boundsOf, pathText, rounded, trace } from "./geometry.js";
import { simplify } from "./quickstroke.js";
import { gifBlob } from "./replay.js";

const MARGIN_PX = 12;
const INK = "#1f1d1a";
const LINE_WIDTH_PX = 4.5;
// Of a PNG: two pixels for each of the page, and no more than every browser's canvas takes.
const PNG_SCALE = 2;
const PNG_MOST_PX = 4096;
const GIF_MOST_PX = 480;

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
  const box = [x - MARGIN_PX, y - MARGIN_PX, width + 2 * MARGIN_PX, height + 2 * MARGIN_PX].map(rounded);
  const escaped = title.replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box.join(" ")}" width="${box[2]}" height="${box[3]}">`,
    ...(title ? [`<title>${escaped}</title>`] : []),
    `<g fill="none" stroke="${INK}" stroke-width="${LINE_WIDTH_PX}" stroke-linecap="round" stroke-linejoin="round">`,
    ...strokes.map((stroke) => `<path d="${pathText(stroke)}"/>`),
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

/** The drawing as it is on the page, on white. */
export function pngBlob(strokes) {
  const canvas = painter(strokes, PNG_SCALE, PNG_MOST_PX)(strokes);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** The same being drawn, as a GIF. */
export function movingBlob(strokes) {
  const paint = painter(strokes, 1, GIF_MOST_PX);
  return gifBlob([strokes], ([shown]) => paint(shown));
}

/** Makes pictures that have room for `strokes`, of any part of them. */
function painter(strokes, mostScale, mostPx) {
  const box = boundsOf(strokes);
  const scale = Math.min(mostScale, mostPx / (Math.max(box.width, box.height) + 2 * MARGIN_PX));
  return (shown) => painted(shown, box, scale);
}

function painted(strokes, { x, y, width, height }, scale) {
  const canvas = make("canvas");
  canvas.width = Math.ceil((width + 2 * MARGIN_PX) * scale);
  canvas.height = Math.ceil((height + 2 * MARGIN_PX) * scale);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.scale(scale, scale);
  pen.translate(MARGIN_PX - x, MARGIN_PX - y);
  Object.assign(pen, { strokeStyle: INK, lineWidth: LINE_WIDTH_PX, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
    pen.beginPath();
    trace(pen, stroke);
    pen.stroke();
  }
  return canvas;
}

/** Hands something to the device's own sharing, or to the user as a file where there is none. */
export async function share(name, blob, title) {
  const file = new File([blob], name, { type: blob.type });
  if (navigator.canShare?.({ files: [file] })) {
    try {
      await navigator.share({ files: [file], title });
      return;
    } catch (error) {
      if (error.name === "AbortError") return;
    }
  }
  link(name, blob);
}

/** Hands something to the user as a file. On an iPad's home screen a page has no downloads: it would give way to the file. */
export function download(name, blob) {
  if (navigator.standalone) share(name, blob);
  else link(name, blob);
}

function link(name, blob) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
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

/**
 * @param {{strokes: () => number[][][], before: () => void, word: () => string, first: () => string | undefined}} page
 *   `before` is told that the dialog opens, `word` is what the drawing probably shows, `first` the model's first guess
 */
export function setUpSave(page) {
  $("save").addEventListener("click", () => {
    page.before();
    // The word that was asked for is what an official file would hold; without one the first guess is a fair proposal.
    $("save-word").value = page.word();
    const n = simplify(page.strokes(), { layout: "columns" }).reduce((sum, [xs]) => sum + xs.length, 0);
    $("save-facts").textContent = `Only Data can be opened here again. It has the official files’ form: simplified, ${n} points from 0 to 255.`;
    $("save-dialog").returnValue = "cancel";
    $("save-dialog").showModal();
  });

  $("save-dialog").addEventListener("close", async () => {
    const form = $("save-dialog").returnValue;
    const word = $("save-word").value.trim();
    const saved = (text, type) => download(fileName(word, form), new Blob([text], { type }));
    if (form === "png") download(fileName(word, form), await pngBlob(page.strokes()));
    if (form === "gif") download(fileName(word, form), movingBlob(page.strokes()));
    if (form === "svg") saved(svgText(page.strokes(), word), "image/svg+xml");
    if (form === "ndjson") {
      const facts = { word, recognized: page.first() === word, key: newKey(), date: new Date() };
      saved(`${ndjsonLine(page.strokes(), facts)}\n`, "application/x-ndjson");
    }
  });
}
