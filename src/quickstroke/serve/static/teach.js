/** "Teach me a word": a few drawings, and the page knows it. Taught words stay on this device, and go into a file. */

import { item, picture } from "./picture.js";
import { simplify } from "./quickstroke.js";
import { download } from "./save.js";
import { keep, recall } from "./store.js";

const N_DRAWINGS = 5;
const $ = (id) => document.getElementById(id);

/**
 * Shows the card and knows again what was taught before.
 *
 * @param {object} page
 * @param {import("./local-recognizer.js").LocalRecognizer} page.recognizer
 * @param {{name: string, card: {sha256: string}}} page.model
 * @param {() => number[][][]} page.strokes the newest drawing
 * @param {() => void} page.clear takes it away
 * @param {(classes: string[]) => void} page.changed told whenever there are other words
 */
export async function setUpTeach({ recognizer, model, strokes, clear, changed }) {
  const place = `taught:${model.card.sha256}`;
  let drawings = [];

  function show({ classes, taught }) {
    changed(classes);
    $("taught").replaceChildren(...Object.entries(taught).map(([word, n]) => lineOf(word, n)));
    $("teach-save").disabled = !Object.keys(taught).length;
    showDrawings();
  }

  function lineOf(word, n) {
    const forget = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Forget" });
    forget.setAttribute("aria-label", `Forget ${word}`);
    forget.addEventListener("click", () => tell(change("forget", word), () => `“${word}” is forgotten.`));
    return item(`${word}, by ${n} drawings `, forget);
  }

  function showDrawings() {
    $("teach-drawings").replaceChildren(...drawings.map((own) => item(picture(own))));
    $("teach-add").textContent = `Take drawing ${drawings.length + 1} of ${N_DRAWINGS}`;
  }

  /** One of the recogniser's calls that change what it knows; then it is kept. */
  async function change(method, ...args) {
    show(await recognizer[method](...args));
    keep(place, await recognizer.save());
  }

  async function tell(work, sentence) {
    try {
      await work;
      $("teach-says").textContent = sentence();
    } catch (error) {
      $("teach-says").textContent = error.message;
    }
  }

  async function take() {
    const word = $("teach-word").value.trim();
    if (!word) throw new Error("First write the word.");
    if (!strokes().length) throw new Error(`Draw ${word} on the paper, then take it.`);
    drawings.push(simplify(strokes(), { layout: "columns" }));
    showDrawings();
    if (drawings.length < N_DRAWINGS) return clear();
    const taught = drawings;
    drawings = [];
    showDrawings();
    await change("teach", word, taught);
    clear();
    $("teach-word").value = "";
    return null;
  }

  $("teach-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const word = $("teach-word").value.trim();
    tell(take(), () => (drawings.length ? "Now draw it again, a little differently." : `I know “${word}” now. Draw it!`));
  });
  $("teach-save").addEventListener("click", async () => {
    download(`${model.name}.taught.json`, new Blob([await recognizer.save()], { type: "application/json" }));
  });
  $("teach-open").addEventListener("click", () => $("teach-file").click());
  $("teach-file").addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) await tell(file.text().then((text) => change("restore", text)), () => "The words of the file are known now.");
  });
  $("open-teach").hidden = false;
  $("open-teach").addEventListener("click", () => {
    const isOpen = document.body.classList.toggle("is-teaching");
    $("teach-card").hidden = !isOpen;
    $("open-teach").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) $("teach-word").focus();
  });
  const kept = recall(place, null);
  if (kept) await tell(change("restore", kept), () => $("teach-says").textContent);
}
