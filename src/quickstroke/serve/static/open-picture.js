/**
 * A file that is chosen, dropped or pasted becomes strokes on the paper: a picture of a drawing, which a server reads, or
 * ndjson, as the page saves it.
 */

import { $, make } from "./elements.js";
import { simplify } from "./quickstroke.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
// A photo has more pixels than lines need, and more than a server takes.
const MOST_SIDE = 2000;
const IS_ON = "The picture is not shown, since a game is on: open it again afterwards.";

/** The picture, drawn smaller where it is large. */
async function smaller(file) {
  const image = await createImageBitmap(file).catch(() => null); // then the server says what is wrong with it
  const scale = image ? MOST_SIDE / Math.max(image.width, image.height) : 1;
  if (scale >= 1) return file;
  const canvas = make("canvas");
  [canvas.width, canvas.height] = [image.width, image.height].map((side) => Math.max(Math.round(scale * side), 1));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff"; // behind what is transparent
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.9));
}

/** The first drawing of ndjson, and what there is to tell of others. */
async function drawingOf(file) {
  try {
    const lines = (await file.text()).trim().split("\n");
    const strokes = JSON.parse(lines[0]).drawing;
    simplify(strokes, { layout: "columns" }); // throws where it is no drawing
    return [strokes, lines[1] ? `The first of ${lines.length} drawings is shown.` : ""];
  } catch (error) {
    throw new Error(`${file.name} holds no drawing as ndjson: ${error.message}`);
  }
}

/**
 * @param {object} page
 * @param {((file: Blob) => Promise<number[][][]>) | undefined} page.read none where there is no server
 * @param {() => boolean} page.isFree whether the paper is the user's own, and not a round's
 * @param {(strokes: number[][][]) => void} page.show
 * @param {(message: string) => void} page.tell
 */
export function setUpPictures({ read, isFree, show, tell }) {
  async function take(files) {
    const [file] = files;
    if (!file || document.querySelector("dialog[open]")) return;
    if (!isFree()) return tell(IS_ON);
    const isDrawing = /jsonl?$/i.test(file.name);
    if (!read && !isDrawing) {
      return tell("This page opens what was saved as Data (ndjson). Pictures need quickstroke serve or quickstroke predict.");
    }
    if (!isDrawing && !KINDS.includes(file.type)) return tell("Expected a picture, PNG, JPEG or WebP, or ndjson.");
    tell("Reading the picture …");
    try {
      const [strokes, told] = isDrawing ? await drawingOf(file) : [await read(await smaller(file)), ""];
      tell(isFree() ? told : IS_ON);
      if (isFree()) show(strokes);
    } catch (error) {
      tell(error.message);
    }
  }

  if (!read) {
    $("picture-file").accept = ".ndjson,.jsonl,application/octet-stream"; // iPads do not know the endings
    const name = "Open a saved drawing";
    $("open-picture").title = name;
    for (const id of ["open-picture", "picture-file"]) $(id).setAttribute("aria-label", name);
  }
  $("open-picture").hidden = false;
  $("open-picture").addEventListener("click", () => $("picture-file").click());
  $("picture-file").addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = "";
  });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  const isFile = (event) => event.dataTransfer.types.includes("Files");
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault()); // else none is dropped
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
}
