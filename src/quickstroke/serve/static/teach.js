/** "Teach me a word": a few drawings, and the page knows it. Taught words stay on this device, and go into a file. */

import { $, focusPad, item, make, pictureButton } from "./elements.js";
import { normal, simplify } from "./quickstroke.js";
import { download } from "./save.js";
import { keep, onKept, recall } from "./store.js";
import { capitalized } from "./words.js";

const N_DRAWINGS = 5;

/** Opens the card, or closes it. */
export function showTeach(isOpen) {
  document.body.classList.toggle("is-teaching", isOpen);
  $("teach-card").hidden = !isOpen;
  $("open-teach").setAttribute("aria-expanded", isOpen);
}

/**
 * Shows the card and knows again what was taught before.
 *
 * @param {object} page
 * @param {import("./local-recognizer.js").LocalRecognizer} page.recognizer
 * @param {{name: string, classes: string[], card: {sha256: string}}} page.model
 * @param {() => number[][][]} page.strokes the newest drawing
 * @param {() => void} page.clear takes it away
 * @param {(classes: string[]) => void} page.changed told whenever there are other words
 */
export async function setUpTeach({ recognizer, model, strokes, clear, changed }) {
  const place = `taught:${model.card.sha256}`;
  let known = { classes: model.classes, taught: {} };
  /** The text that is kept on this device, as far as this tab knows. */
  let kept = null;
  /** A word with fewer drawings than it takes. They outlive a reload. */
  let begun = recall("teaching", { word: "", drawings: [] }, "sessionStorage");
  /** What changes the recogniser's words, one after the other. */
  let turn = Promise.resolve();

  function show(now) {
    known = now;
    changed(now.classes);
    $("taught").replaceChildren(...Object.entries(now.taught).map(([word, n]) => lineOf(word, n)));
    $("teach-save").disabled = !Object.keys(now.taught).length;
  }

  function lineOf(word, n) {
    const text = make("span", { textContent: `${word}, by ${n} drawings` });
    const forget = make("button", { type: "button", className: "quiet", textContent: "Forget" });
    forget.setAttribute("aria-label", `Forget ${word}`);
    forget.addEventListener("click", () => {
      focusPad();
      tell(change("forget", word), () => `“${word}” is forgotten.`);
    });
    return item(text, " ", forget);
  }

  function showBegun(now = begun) {
    begun = now;
    const { word, drawings } = begun;
    keep("teaching", begun, "sessionStorage");
    $("teach-drawings").replaceChildren(...drawings.map(buttonOf));
    $("teach-add").textContent = `Take drawing ${drawings.length + 1} of ${N_DRAWINGS}`;
    // The drawings are of this word.
    $("teach-word").readOnly = drawings.length > 0;
    if (drawings.length) $("teach-word").value = word;
  }

  function buttonOf(drawing, i) {
    const button = pictureButton(drawing, `Take drawing ${i + 1} away`);
    button.addEventListener("click", () => {
      begun.drawings.splice(i, 1);
      showBegun();
      focusPad();
      $("teach-says").textContent = "It is taken away.";
    });
    return item(button);
  }

  /** Takes over what another tab has taught or forgotten meanwhile. */
  async function follow() {
    const now = recall(place, null);
    if (now === kept) return;
    kept = now;
    let all = known;
    for (const word of Object.keys(known.taught)) all = await recognizer.forget(word);
    if (now) all = await recognizer.restore(now);
    show(all);
  }

  /** One of the recogniser's calls that change what it knows, then keeps that; resolves to a sentence where it cannot. */
  function change(method, ...args) {
    const work = async () => {
      await follow();
      show(await recognizer[method](...args));
      const text = await recognizer.save();
      if (!keep(place, text)) return " This browser keeps nothing: save it as a file.";
      kept = text;
      return "";
    };
    turn = turn.catch(() => {}).then(work);
    return turn;
  }

  async function tell(work, sentence) {
    try {
      const also = await work;
      $("teach-says").textContent = sentence() + (also ?? "");
    } catch (error) {
      $("teach-says").textContent = capitalized(error.message.replace("The recogniser says: ", ""));
    }
  }

  async function take() {
    const { drawings } = begun;
    const word = drawings.length ? begun.word : $("teach-word").value.trim();
    if (!word) throw new Error("First write the word.");
    const same = known.classes.find((other) => normal(other) === normal(word));
    if (same) {
      throw new Error(`I know “${same}” already${Object.hasOwn(known.taught, same) ? ": forget it to teach it anew" : ""}.`);
    }
    if (!strokes().length) throw new Error(`Draw ${word} on the paper, then take it.`);
    const all = [...drawings, simplify(strokes(), { layout: "columns" })];
    const isWhole = all.length === N_DRAWINGS;
    const also = isWhole ? await change("teach", word, all) : "";
    showBegun(isWhole ? { word: "", drawings: [] } : { word, drawings: all });
    if (isWhole) $("teach-word").value = "";
    clear();
    focusPad();
    return also;
  }

  /** Adds the words of a file but for those that are known already. */
  async function open(file) {
    let text = await file.text();
    const before = [];
    try {
      const { words, ...rest } = JSON.parse(text);
      const all = known.classes.map(normal);
      before.push(...Object.keys(words).filter((word) => all.includes(normal(word))));
      for (const word of before) delete words[word];
      text = JSON.stringify({ ...rest, words });
    } catch {
      throw new Error(`“${file.name}” is no file of taught words, or it is damaged.`);
    }
    const also = await change("restore", text);
    return (before.length ? ` I knew these before, and left them as they are: ${before.join(", ")}.` : "") + also;
  }

  $("teach-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("teach-add").disabled) return;
    $("teach-add").disabled = true;
    const word = begun.word || $("teach-word").value.trim();
    await tell(take(), () =>
      begun.drawings.length ? "Now draw it again, a little differently." : `I know “${word}” now. Draw it!`,
    );
    $("teach-add").disabled = false;
  });
  // Enter would take whatever is on the paper.
  $("teach-word").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    focusPad();
  });
  $("teach-save").addEventListener("click", async () => {
    download(`${model.name}.taught.json`, new Blob([await recognizer.save()], { type: "application/json" }));
  });
  $("teach-open").addEventListener("click", () => $("teach-file").click());
  $("teach-file").addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) await tell(open(file), () => "The words of the file are known now.");
  });
  $("open-teach").hidden = false;
  $("open-teach").addEventListener("click", () => {
    showTeach($("teach-card").hidden);
    $("teach-word").focus(); // where it is shown
  });
  showBegun();
  if (begun.drawings.length) {
    showTeach(true);
    $("teach-says").textContent = `Draw “${begun.word}” again, or take its drawings away.`;
  }
  const followInTurn = () => tell((turn = turn.catch(() => {}).then(follow)), () => $("teach-says").textContent);
  onKept(place, followInTurn);
  await followInTurn();
}
