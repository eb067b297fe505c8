/** A game as one picture, still or moving, to be shared or kept. */

import { make } from "./elements.js";
import { placed, trace } from "./geometry.js";
import { gifBlob } from "./replay.js";

const TILE_PX = 320;
const GAP_PX = 24;
const TOP_PX = 132;
const BOTTOM_PX = 64;
const COLUMNS = 3;
const MOVING_SCALE = 0.5;
const COLOURS = { page: "#f4f2ed", card: "#fffefb", ink: "#1f1d1a", muted: "#67625a", good: "#0f7355", line: "#e1dcd2" };
const FONT = "system-ui, sans-serif";

/**
 * @typedef {{results: import("./gallery.js").Result[], headline: string}} Ended a game
 *
 * @param {Ended} ended
 * @returns {Promise<Blob>} PNG
 */
export function picture(ended) {
  const canvas = painted(ended, tilesOf(ended), 1);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * @param {Ended} ended
 * @returns {Blob} GIF, in which all are drawn at the same time
 */
export function moving(ended) {
  return gifBlob(tilesOf(ended), (tiles) => painted(ended, tiles, MOVING_SCALE));
}

/** The drawings in the size of their tiles. */
function tilesOf({ results }) {
  return results.map(({ drawing }) => (drawing.length ? placed(drawing, TILE_PX - 80, TILE_PX - 104) : []));
}

function painted({ results, headline }, tiles, scale) {
  const columns = Math.min(COLUMNS, results.length);
  const rows = Math.ceil(results.length / columns);
  const width = Math.max(columns * (TILE_PX + GAP_PX) + GAP_PX, 720);
  const height = TOP_PX + rows * (TILE_PX + GAP_PX) + BOTTOM_PX;
  const canvas = make("canvas", { width: width * scale, height: height * scale });
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = COLOURS.page;
  pen.fillRect(0, 0, width, height);
  write(pen, headline, GAP_PX, 82, 52, 700, COLOURS.ink, width - 2 * GAP_PX);
  write(pen, "quickstroke: one word after the other", GAP_PX, height - 24, 26, 400, COLOURS.muted, width - 2 * GAP_PX);
  results.forEach((result, i) => {
    const x = GAP_PX + (i % columns) * (TILE_PX + GAP_PX);
    drawTile(pen, result, tiles[i], x, TOP_PX + Math.floor(i / columns) * (TILE_PX + GAP_PX));
  });
  return canvas;
}

function drawTile(pen, { word, outcome }, strokes, x, y) {
  const isWon = outcome === "won";
  pen.fillStyle = COLOURS.card;
  pen.strokeStyle = isWon ? COLOURS.good : COLOURS.line;
  pen.lineWidth = isWon ? 5 : 3;
  pen.beginPath();
  pen.roundRect(x, y, TILE_PX, TILE_PX, 24);
  pen.fill();
  pen.stroke();
  write(pen, `${isWon ? "✓" : "✗"} ${word}`, x + 20, y + TILE_PX - 22, 28, 600, isWon ? COLOURS.good : COLOURS.muted, TILE_PX - 40);
  pen.save();
  pen.translate(x + 40, y + 28);
  pen.strokeStyle = COLOURS.ink;
  pen.lineWidth = 6;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of strokes) {
    pen.beginPath();
    trace(pen, stroke);
    pen.stroke();
  }
  pen.restore();
}

function write(pen, text, x, y, size, weight, colour, width) {
  pen.font = `${weight} ${size}px ${FONT}`;
  const fits = Math.min(size, (size * width) / pen.measureText(text).width); // smaller, not narrower
  pen.font = `${weight} ${fits}px ${FONT}`;
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
}
