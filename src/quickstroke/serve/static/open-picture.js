/** A picture of a drawing, chosen, dropped or pasted, becomes strokes on the paper. A server reads it. */

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const $ = (id) => document.getElementById(id);

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
    if (!file || !isFree()) return;
    if (!read) return tell("Pictures are read by `quickstroke serve`, or by `quickstroke predict PICTURE`.");
    if (!KINDS.includes(file.type)) return tell("Expected a picture: PNG, JPEG or WebP.");
    tell("Reading the picture …");
    try {
      const strokes = await read(file);
      tell("");
      show(strokes);
    } catch (error) {
      tell(error.message);
    }
  }

  $("open-picture").hidden = !read;
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
