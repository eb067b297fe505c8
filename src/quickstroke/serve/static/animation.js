/** Drawings being drawn, as an animated GIF. */

import { applyPalette, GIFEncoder } from "./quickstroke.js";
import { timeline } from "./replay.js";

const LEAST_FRAME_MS = 60;
const MOST_FRAMES = 60;
const LAST_FRAME_MS = 2000;
const MOST_COLOURS = 255; // and one for what stays

/**
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
