/** A game as one picture, to be shared or kept. */

import { placed, trace } from "./geometry.js";
import { download } from "./save.js";

const TILE_PX = 320;
const GAP_PX = 24;
const TOP_PX = 132;
const BOTTOM_PX = 64;
const COLUMNS = 3;
const COLOURS = { page: "#f4f2ed", card: "#fffefb", ink: "#1f1d1a", muted: "#67625a", good: "#0f7355", line: "#e1dcd2" };
const FONT = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif";

/**
 * @param {import("./gallery.js").Result[]} results
 * @param {string} headline
 * @returns {Promise<Blob>} PNG
 */
export function resultsPicture(results, headline) {
  const columns = Math.min(COLUMNS, results.length);
  const rows = Math.ceil(results.length / columns);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(columns * (TILE_PX + GAP_PX) + GAP_PX, 720);
  canvas.height = TOP_PX + rows * (TILE_PX + GAP_PX) + BOTTOM_PX;
  const pen = canvas.getContext("2d");
  pen.fillStyle = COLOURS.page;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  write(pen, headline, GAP_PX, 82, 52, 700, COLOURS.ink, canvas.width - 2 * GAP_PX);
  write(pen, "quickstroke: twenty seconds for each word", GAP_PX, canvas.height - 24, 26, 400, COLOURS.muted);
  results.forEach((result, i) => {
    const x = GAP_PX + (i % columns) * (TILE_PX + GAP_PX);
    drawTile(pen, result, x, TOP_PX + Math.floor(i / columns) * (TILE_PX + GAP_PX));
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function drawTile(pen, { word, outcome, drawing }, x, y) {
  const isWon = outcome === "won";
  pen.fillStyle = COLOURS.card;
  pen.strokeStyle = isWon ? COLOURS.good : COLOURS.line;
  pen.lineWidth = isWon ? 5 : 3;
  pen.beginPath();
  pen.roundRect(x, y, TILE_PX, TILE_PX, 24);
  pen.fill();
  pen.stroke();
  write(pen, `${isWon ? "✓" : "✗"} ${word}`, x + 20, y + TILE_PX - 22, 28, 600, isWon ? COLOURS.good : COLOURS.muted, TILE_PX - 40);
  if (!drawing.length) return;
  pen.save();
  pen.translate(x + 40, y + 28);
  pen.strokeStyle = COLOURS.ink;
  pen.lineWidth = 6;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of placed(drawing, TILE_PX - 80, TILE_PX - 104)) {
    pen.beginPath();
    trace(pen, stroke);
    pen.stroke();
  }
  pen.restore();
}

function write(pen, text, x, y, size, weight, colour, width) {
  pen.font = `${weight} ${size}px ${FONT}`;
  pen.fillStyle = colour;
  pen.fillText(text, x, y, width);
}

/** Hands the picture to the device's own sharing, or saves it where there is none. */
export async function sharePicture(results, headline) {
  const blob = await resultsPicture(results, headline);
  const file = new File([blob], "quickstroke.png", { type: "image/png" });
  if (navigator.canShare?.({ files: [file] })) {
    try {
      await navigator.share({ files: [file], title: headline });
      return;
    } catch (error) {
      if (error.name === "AbortError") return;
    }
  }
  download(file.name, blob);
}
