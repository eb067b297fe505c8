/** A drawing once more, stroke by stroke, as fast as it was drawn: in the page, or as an animated GIF. */

import { applyPalette, GIFEncoder } from "./quickstroke.js";

const LONGEST_PAUSE_MS = 350;
const LONGEST_MS = 8000;

// Of a GIF.
const LEAST_FRAME_MS = 60;
const MOST_FRAMES = 60;
const LAST_FRAME_MS = 2000;
const MOST_COLOURS = 255; // and one for what stays

/**
 * How much of a drawing is there at each moment of its replay: pauses are cut, and what would take too long runs faster.
 *
 * @param {number[][][]} strokes `[[x..], [y..], [t..]]` each
 * @returns {{durationMs: number, at: (elapsedMs: number) => number[][][]}}
 */
export function timeline(strokes) {
  let shift = 0;
  let end = 0;
  const times = strokes.map(([, , ts], i) => {
    const pause = i === 0 ? 0 : ts[0] - strokes[i - 1][2].at(-1);
    shift = end + Math.min(Math.max(pause, 0), LONGEST_PAUSE_MS) - ts[0];
    end = ts.at(-1) + shift;
    return ts.map((t) => t + shift);
  });
  const speed = Math.max(end / LONGEST_MS, 1);
  return {
    durationMs: end / speed,
    at(elapsedMs) {
      const shown = [];
      strokes.forEach((stroke, i) => {
        const n = times[i].filter((t) => t <= elapsedMs * speed).length;
        if (n) shown.push(stroke.map((row) => row.slice(0, n)));
      });
      return shown;
    },
  };
}

/** Runs a timeline in the page's frames; `show` gets the strokes of each. Resolves to whether it came to its end. */
export function play(strokes, show, signal) {
  const { durationMs, at } = timeline(strokes);
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const frame = () => {
      if (signal.aborted) return resolve(false);
      const elapsedMs = performance.now() - startedAt;
      show(at(elapsedMs));
      if (elapsedMs >= durationMs) return resolve(true);
      return requestAnimationFrame(frame);
    };
    frame();
  });
}

/**
 * An animated GIF of drawings.
 *
 * @param {number[][][][]} drawings that are drawn at the same time
 * @param {(shown: number[][][][]) => HTMLCanvasElement} paint shows so much of each, always in the same size
 * @returns {Blob}
 */
export function gifBlob(drawings, paint) {
  const lines = drawings.map(timeline);
  const endMs = Math.max(...lines.map(({ durationMs }) => durationMs));
  const frameMs = Math.max(endMs / MOST_FRAMES, LEAST_FRAME_MS);
  const pixelsAt = (elapsedMs) => {
    const canvas = paint(lines.map(({ at }) => at(elapsedMs)));
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  };
  const gif = GIFEncoder();
  const last = pixelsAt(Infinity);
  const colours = coloursOf(last); // no frame has a colour that the last has not
  const stays = colours.length;
  let before = null;
  const write = ({ data, width, height }, delay) => {
    const all = applyPalette(data, colours);
    const shown = before ? all.map((colour, i) => (colour === before[i] ? stays : colour)) : all;
    const palette = before ? undefined : [...colours, [0, 0, 0]];
    gif.writeFrame(shown, width, height, { palette, delay, transparent: Boolean(before), transparentIndex: stays, dispose: 1 });
    before = all;
  };
  for (let now = frameMs; now < endMs; now += frameMs) write(pixelsAt(now), frameMs);
  write(last, LAST_FRAME_MS);
  gif.finish();
  return new Blob([gif.bytes()], { type: "image/gif" });
}

/** The most frequent colours of a picture, rounded to 16 steps of red, green and blue. */
function coloursOf({ data }) {
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    const key = (data[i] & 0xf0) * 16 + (data[i + 1] & 0xf0) + data[i + 2] / 16;
    counts.set(key | 0, (counts.get(key | 0) ?? 0) + 1);
  }
  const keys = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, MOST_COLOURS);
  return keys.map((key) => [key >> 8, (key >> 4) & 15, key & 15].map((level) => level * 17));
}
