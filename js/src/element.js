/**
 * `<quick-stroke model="URL">`: a pad and its guesses, for any page. Importing this module defines it.
 *
 * Attributes: `model`, the address of a `.quickstroke` file; `words`, the only ones that count, separated by commas;
 * `top`, how many guesses are shown (3); `aria-label`, what the pad is called; `ink` and `paper`, colours, for which CSS
 * has `--quick-stroke-ink` and `--quick-stroke-paper`; parts to style: `pad`, `guesses`. All but `aria-label` are properties,
 * too. One can draw before a model has come, and without. Without a listener, too, it shows what went wrong. Events, which
 * bubble: `guess` (detail `{guesses, unknown}`), `stroke` and `undo` (`{strokes}`), `clear`, `load` and `error` (`{error}`).
 */

import { checkRecognizer, drawingOf } from "./given.js";
import { load } from "./index.js";
import { guessing } from "./newest.js";
import { Pad } from "./pad.js";
import { percent } from "./percent.js";

export { attach } from "./pad.js";

const LABEL = "A pad to draw on";
// Above it the drawing is said to show none of the words, as by the page.
const UNKNOWN = 0.5;
const UNKNOWN_TEXT = "I don’t know this one.";
// Of the attributes that are properties of the same name.
const REFLECTED = ["model", "words", "top", "ink", "paper"];

// The transition tells of each change of the ink's colour, whatever it comes from.
const STYLE = `
:host { display: inline-block; inline-size: 20em; max-inline-size: 100%; box-sizing: border-box; font: inherit; }
:host([hidden]) { display: none; }
div { display: flex; flex: auto; flex-direction: column; gap: 0.5em; min-inline-size: 0; min-block-size: 0; block-size: 100%; }
canvas { inline-size: 100%; min-block-size: 0; aspect-ratio: 1; box-sizing: border-box; border: 1px solid; border-radius: 0.5em;
  color: var(--quick-stroke-ink, #1d2430); background: var(--quick-stroke-paper, #fff); cursor: crosshair;
  transition: color 1ms; }
ol { flex: none; margin: 0; padding: 0; list-style: none; min-block-size: calc(var(--lines, 3) * 1lh); }
p { position: absolute; margin: 0; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); }
`;

const text = ({ word, probability }) => `${word} ${percent(probability)}`;

// Elements of the same address share a model.
const models = new Map();

function opened(address) {
  if (!models.has(address)) {
    const loading = load(address);
    models.set(address, loading);
    loading.catch(() => models.delete(address)); // another element may try again
  }
  return models.get(address);
}

// In Node, where a program may import what it shares with its page, there are no elements.
const Base = globalThis.HTMLElement ?? class {};

export class QuickStroke extends Base {
  static observedAttributes = [...REFLECTED, "aria-label"];
  #canvas = Object.assign(document.createElement("canvas"), { part: "pad" });
  #list = Object.assign(document.createElement("ol"), { part: "guesses" });
  /** What a screen reader says: not each guess while the pen moves. */
  #said = document.createElement("p");
  #pad;
  #given = null;
  /** Asks the model, once there is one. */
  #asked = null;
  #guesses = [];
  #unknown = null;
  #turn = 0;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    // Unlike a <style> element it is no inline style, which a page's content security policy may forbid.
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", LABEL);
    this.#said.setAttribute("role", "status");
    const column = document.createElement("div"); // whatever a page makes of the element's own `display`
    column.append(this.#canvas, this.#list, this.#said);
    root.append(column);
    this.#pad = new Pad(this.#canvas, {
      onResize: (size) => this.#sharpen(size),
      onStroke: (strokes) => {
        this.#sayBest();
        this.#tell("stroke", { strokes });
      },
    });
    this.#pad.onChange = () => this.#asked?.ask();
  }

  connectedCallback() {
    this.#pad.redraw(); // elsewhere it may have another colour
    this.#open();
    // What was assigned before this module came hides what is here.
    for (const name of ["recognizer", "strokes", ...REFLECTED]) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
  }

  disconnectedCallback() {
    this.#pad.lift();
    this.#asked?.stop();
    this.#asked = null;
  }

  attributeChangedCallback(name, _, value) {
    if (name === "aria-label") this.#canvas.setAttribute(name, value || LABEL);
    else if (name === "ink" || name === "paper") this.style.setProperty(`--quick-stroke-${name}`, value);
    else if (this.isConnected) this.#open();
  }

  /** The drawing: strokes of points `[x, y, t]`. It stays when the element moves or its attributes change. */
  get strokes() {
    return structuredClone(this.#pad.strokes);
  }

  set strokes(strokes) {
    this.#pad.set(drawingOf(strokes));
  }

  /** The newest guesses. */
  get guesses() {
    return structuredClone(this.#guesses);
  }

  /** The probability that the drawing shows none of the words; null where nobody can tell. */
  get unknown() {
    return this.#unknown;
  }

  /** A recogniser that is loaded already, in place of the attribute `model`. */
  get recognizer() {
    return this.#given;
  }

  set recognizer(recognizer) {
    if (recognizer) checkRecognizer(recognizer);
    this.#given = recognizer ?? null;
    this.#open();
  }

  clear() {
    this.#pad.clear();
    this.#tell("clear", {});
  }

  undo() {
    if (this.#pad.undo()) this.#tell("undo", { strokes: this.strokes });
  }

  redraw() {
    this.#pad.redraw();
  }

  async #open() {
    this.#asked?.stop();
    this.#asked = null;
    this.#take({ guesses: [], unknown: null });
    const turn = ++this.#turn;
    await null; // attributes that are set one after the other are one change
    // By then, and once a model has come, it may have been taken away or given another one.
    const isLate = () => turn !== this.#turn || !this.isConnected;
    if (isLate()) return;
    const top = Number(this.getAttribute("top") ?? 3);
    this.#list.style.setProperty("--lines", top || 3);
    try {
      const recognizer = this.#given ?? (await this.#loaded(isLate));
      if (recognizer && !isLate()) await this.#ask(recognizer, top, isLate);
    } catch (error) {
      if (!isLate()) this.#fail(error);
    }
  }

  /** The model of the attribute, or null where there is none. */
  async #loaded(isLate) {
    const address = this.getAttribute("model");
    if (!address) {
      this.#write([]);
      return null;
    }
    // One that another element has loaded is there before that.
    const notice = setTimeout(() => isLate() || this.#write(["Loading the model …"]));
    try {
      return await opened(new URL(address, this.baseURI).href);
    } finally {
      clearTimeout(notice);
    }
  }

  async #ask(recognizer, top, isLate) {
    const listed = this.words.split(",").map((word) => word.trim()).filter(Boolean);
    const words = listed.length ? listed : undefined; // a template's empty attribute means all
    await recognizer.predict([[[0, 0]]], { top, words }); // says at once what is wrong with them
    if (isLate()) return;
    const onGuess = (answer) => this.#show(answer);
    const onError = (error) => this.#fail(error);
    this.#asked = guessing(this.#pad, recognizer, { top, words }, { onGuess, onError });
    this.#write([]);
    if (this.#pad.strokes.length) this.#asked.ask();
    this.#tell("load", { name: recognizer.name, words: recognizer.words });
  }

  /** As many pixels as the screen has. */
  #sharpen({ width, height }) {
    const scale = globalThis.devicePixelRatio || 1;
    Object.assign(this.#canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  }

  #take({ guesses, unknown }) {
    this.#guesses = guesses;
    this.#unknown = unknown ?? null;
  }

  get #isUnknown() {
    return this.#unknown > UNKNOWN && this.#guesses.length > 0;
  }

  #show(answer) {
    this.#take(answer);
    const lines = answer.guesses.map(text);
    this.#write(this.#isUnknown ? [UNKNOWN_TEXT, ...lines.slice(0, -1)] : lines);
    this.#sayBest();
    this.#tell("guess", answer);
  }

  /** Says the best guess when the pen rests and it has come. */
  #sayBest() {
    if (!this.#asked || this.#asked.isPending || this.#pad.isDrawing) return;
    this.#said.textContent = this.#isUnknown ? UNKNOWN_TEXT : this.#guesses.slice(0, 1).map(text).join("");
  }

  #fail(error) {
    this.#write([error.message]);
    this.#said.textContent = error.message;
    this.#tell("error", { error });
  }

  #write(texts) {
    this.#list.replaceChildren(
      ...texts.map((textContent) => Object.assign(document.createElement("li"), { textContent })),
    );
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

for (const name of REFLECTED) {
  Object.defineProperty(QuickStroke.prototype, name, {
    configurable: true,
    enumerable: true,
    get() {
      return this.getAttribute(name) ?? "";
    },
    set(value) {
      if (value === null || value === undefined) this.removeAttribute(name);
      else this.setAttribute(name, value);
    },
  });
}

if (globalThis.customElements && !customElements.get("quick-stroke")) customElements.define("quick-stroke", QuickStroke);
