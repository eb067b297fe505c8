/** The dialog that saves a drawing. */

import { simplify } from "./quickstroke.js";
import { download, fileName, movingBlob, ndjsonLine, newKey, pngBlob, svgText } from "./save.js";

const $ = (id) => document.getElementById(id);

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
    $("save-facts").textContent = `Data holds the simplified form of the official files: ${n} points, from 0 to 255.`;
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
