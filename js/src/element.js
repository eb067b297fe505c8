/**
 * `<quick-stroke model="URL">`: a pad and its guesses, for any page. Importing this module defines it.
 *
 * Attributes: `model`, the address of a `.quickstroke` file; `words`, the only ones that count, separated by commas, or a
 * list in JSON; `top`, how many guesses are shown (3); `controls`, for buttons; `name` and `disabled`, as of an `<input>`;
 * `aria-label`, what the pad is called; `ink` and `paper`, colours, for which CSS has `--quick-stroke-ink` and
 * `--quick-stroke-paper`; parts to style: `pad`, `guesses`, `controls`. All but `aria-label` are properties, too. One can
 * draw before a model has come, and without, by keys, too. It shows what went wrong, unless a listener prevents that. Events, which
 * bubble: `guess` (detail `{guesses, unknown}`), `stroke` and `undo` (`{strokes}`), `clear`, `load` and `error` (`{error}`).
 */

import { checkRecognizer, checkTexts, drawingOf } from "./given.js";
import { load, ModelError } from "./index.js";
import { KeyPen } from "./keys.js";
import { guessing } from "./newest.js";
import { Pad } from "./pad.js";
import { percent } from "./percent.js";

export { attach } from "./pad.js";

/** What it says by itself; an error says more. */
const TEXTS = {
  pad: "A pad to draw on",
  loading: "Loading the model …",
  unknown: "I don’t know this one.",
  undo: "Undo",
  clear: "Clear",
  keys: "Arrow keys move the pen, with Shift in small steps. Space puts it down and lifts it.",
  down: "Pen down.",
  up: "Pen up.",
};
// Above it the drawing is said to show none of the words, as by the page.
const UNKNOWN = 0.5;
const KEYS_POINTER = -1;
// Of the attributes that are properties of the same name: texts, and those that are there or not.
const REFLECTED = ["model", "words", "top", "ink", "paper", "name"];
const FLAGS = ["controls", "disabled"];

// The transition tells of each change of the ink's colour, whatever it comes from.
const STYLE = `
:host { display: inline-block; inline-size: 20em; max-inline-size: 100%; box-sizing: border-box; font: inherit; }
:host([hidden]) { display: none; }
:host(:disabled) { opacity: 0.6; }
:host(:not([controls])) span { display: none; }
div { position: relative; display: flex; flex: auto; flex-direction: column; gap: 0.5em; min-inline-size: 0; min-block-size: 0; block-size: 100%; }
canvas { inline-size: 100%; min-block-size: 0; aspect-ratio: 1; box-sizing: border-box; border: 1px solid; border-radius: 0.5em;
  color: var(--quick-stroke-ink, #1d2430); background: var(--quick-stroke-paper, #fff); cursor: crosshair;
  transition: color 1ms; }
i { display: none; position: absolute; inset: -8px auto auto -8px; inline-size: 16px; block-size: 16px; box-sizing: border-box;
  border: 2px solid; border-radius: 50%; }
.is-down { background: currentColor; }
small { display: none; position: absolute; inset: 1em 1em auto; text-align: center; }
i, small { color: var(--quick-stroke-ink, #1d2430); pointer-events: none; }
canvas:focus-visible ~ :is(i, small:not([hidden])) { display: block; }
@media (forced-colors: active) { canvas { color: CanvasText; } .is-down { background: CanvasText; } }
span { display: flex; flex: none; flex-wrap: wrap; gap: 0.5em; }
button { font: inherit; padding: 0.3em 0.8em; min-block-size: 44px; touch-action: manipulation; }
ol { flex: none; margin: 0; padding: 0; list-style: none; overflow-wrap: anywhere; min-block-size: calc(var(--lines, 3) * 1lh); }
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

/** Words as the attribute has them. */
const listOf = (text) =>
  text.trim().startsWith("[") ? JSON.parse(text) : text.split(",").map((word) => word.trim()).filter(Boolean);

/** A list as the attribute has it. */
const written = (value) => {
  const hasCommas = Array.isArray(value) && value.some((word) => String(word).includes(","));
  return hasCommas ? JSON.stringify(value) : value;
};

export class QuickStroke extends Base {
  static formAssociated = true;
  static observedAttributes = ["model", "words", "top", "ink", "paper", "aria-label"];
  /** Of the form; what stands for a browser in tests may lack it. */
  #internals = this.attachInternals?.();
  #texts = TEXTS;
  /** All of it, whatever a page makes of the element's own `display`. */
  #column = document.createElement("div");
  #canvas = Object.assign(document.createElement("canvas"), { part: "pad" });
  #undo = Object.assign(document.createElement("button"), { type: "button", onclick: () => this.undo() });
  #clear = Object.assign(document.createElement("button"), { type: "button", onclick: () => this.clear() });
  #list = Object.assign(document.createElement("ol"), { part: "guesses" });
  /** Where the pen of the keyboard is, and what it does. */
  #mark = document.createElement("i");
  #keys = Object.assign(document.createElement("small"), { id: "keys" });
  /** What a screen reader says: not each guess while the pen moves. */
  #said = document.createElement("p");
  #pad;
  #given = null;
  /** Asks the model, once there is one. */
  #asked = null;
  #guesses = [];
  #unknown = null;
  #turn = 0;
  /** Whether the model did not come, as where there is no network. */
  #isMissing = false;
  /** While it is in a page. */
  #connection = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    this.#dress();
    for (const [name, value] of Object.entries({ role: "application", tabindex: 0, "aria-describedby": "keys" })) {
      this.#canvas.setAttribute(name, value);
    }
    this.#said.setAttribute("role", "status");
    const controls = Object.assign(document.createElement("span"), { part: "controls" });
    controls.append(this.#undo, this.#clear);
    this.#column.append(this.#canvas, this.#mark, this.#keys, controls, this.#list, this.#said);
    root.append(this.#column);
    this.#label();
    this.addEventListener("keydown", (event) => this.#press(event));
    this.#followKeys();
    this.#pad = new Pad(this.#canvas, {
      onResize: (size) => this.#sharpen(size),
      onStroke: (strokes) => {
        this.#sayBest();
        this.#keepValue();
        this.#tell("stroke", { strokes });
        if (this.#isMissing) this.#open();
      },
    });
    this.#pad.onChange = () => {
      this.#keys.hidden = this.#pad.strokes.length > 0;
      this.#asked?.ask();
    };
  }

  /** A sheet is of one document. Unlike a <style> element it is no inline style, which a page's policy may forbid. */
  #dress() {
    const view = this.ownerDocument.defaultView;
    if (!view) return; // a document that nobody sees
    const style = new view.CSSStyleSheet();
    style.replaceSync?.(STYLE);
    this.shadowRoot.adoptedStyleSheets = [style];
  }

  #label() {
    this.#canvas.setAttribute("aria-label", this.getAttribute("aria-label") || this.#texts.pad);
    this.#undo.textContent = this.#texts.undo;
    this.#clear.textContent = this.#texts.clear;
    this.#keys.textContent = this.#texts.keys;
  }

  /** The keyboard's pen draws by events of a pointer of its own, to which the pad listens. */
  #followKeys() {
    const canvas = this.#canvas;
    const isDrawing = () => this.#pad.isDrawing;
    let at = {};
    const send = (type, x, y) => {
      const { left, top } = canvas.getBoundingClientRect();
      if (x !== undefined) at = { clientX: left + x, clientY: top + y };
      canvas.dispatchEvent(new PointerEvent(type, { pointerId: KEYS_POINTER, button: 0, ...at }));
    };
    const pen = {
      get isDown() {
        return isDrawing();
      },
      penDown: (x, y) => send("pointerdown", x, y),
      penMove: (x, y) => send("pointermove", x, y),
      penUp: () => send("pointerup"),
    };
    const keyPen = new KeyPen(canvas, this.#mark, pen, (isDown) => {
      this.#said.textContent = this.#texts[isDown ? "down" : "up"];
    });
    // Not of a page that has these keys, too.
    canvas.addEventListener("keydown", (event) => event.defaultPrevented && event.stopPropagation());
    // Another pen takes over.
    canvas.addEventListener("pointerdown", ({ pointerId }) => pointerId === KEYS_POINTER || keyPen.lift());
  }

  /** The keys of its buttons, or of the element where a page gives it the focus. */
  #press(event) {
    const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (!isUndo || this.#column.inert) return;
    event.preventDefault();
    this.undo();
  }

  connectedCallback() {
    this.#pad.redraw(); // elsewhere it may have another colour
    this.#open();
    this.#connection = new AbortController();
    const { signal } = this.#connection;
    this.#pad.followDensity(signal);
    globalThis.addEventListener("online", () => this.#isMissing && this.#open(), { signal });
    // What was assigned before this module came hides what is here.
    for (const name of ["recognizer", "strokes", "texts", ...REFLECTED, ...FLAGS]) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
  }

  disconnectedCallback() {
    this.#connection.abort();
    this.#pad.lift();
    this.#asked?.stop();
    this.#asked = null;
  }

  adoptedCallback() {
    this.#dress();
  }

  formDisabledCallback(isDisabled) {
    this.#pad.lift();
    this.#column.inert = isDisabled;
  }

  formResetCallback() {
    this.clear();
  }

  formStateRestoreCallback(value) {
    this.strokes = JSON.parse(value);
  }

  attributeChangedCallback(name, before, value) {
    if (name === "aria-label") this.#label();
    else if (name === "ink" || name === "paper") this.#column.style.setProperty(`--quick-stroke-${name}`, value);
    // Frameworks set what has not changed.
    else if (this.isConnected && (value !== before || this.#isMissing)) this.#open();
  }

  /** The drawing: strokes of points `[x, y, t]`. It stays when the element moves or its attributes change. */
  get strokes() {
    return drawingOf(this.#pad.strokes);
  }

  set strokes(strokes) {
    this.#pad.set(drawingOf(strokes));
    this.#keepValue();
  }

  /** The drawing as a form has it, JSON; empty without one. */
  get value() {
    return this.#pad.strokes.length ? JSON.stringify(this.#pad.strokes) : "";
  }

  get form() {
    return this.#internals?.form ?? null;
  }

  /** What it says, in the page's language; those that are not given stay. */
  get texts() {
    return { ...this.#texts };
  }

  set texts(texts) {
    checkTexts(texts, Object.keys(TEXTS));
    this.#texts = { ...this.#texts, ...texts };
    this.#label();
  }

  /** The newest guesses. */
  get guesses() {
    return this.#guesses.map((guess) => ({ ...guess }));
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
    this.#keepValue();
    this.#tell("clear", {});
  }

  undo() {
    if (!this.#pad.undo()) return;
    this.#keepValue();
    this.#tell("undo", { strokes: this.strokes });
  }

  redraw() {
    this.#pad.redraw();
  }

  async #open() {
    this.#asked?.stop();
    this.#asked = null;
    this.#isMissing = false;
    const hadGuesses = this.#guesses.length > 0;
    this.#take({ guesses: [], unknown: null });
    const turn = ++this.#turn;
    await null; // attributes that are set one after the other are one change
    // By then, and once a model has come, it may have been taken away or given another one.
    const isLate = () => turn !== this.#turn || !this.isConnected;
    if (isLate()) return;
    const top = Number(this.top || 3); // a template's empty attribute means what none means
    this.#list.style.setProperty("--lines", top || 3);
    try {
      const recognizer = this.#given ?? (await this.#loaded(isLate));
      if (recognizer && !isLate()) await this.#ask(recognizer, top, isLate);
      else if (!recognizer && hadGuesses) this.#tell("guess", { guesses: [], unknown: null });
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
    const notice = setTimeout(() => isLate() || this.#write([this.#texts.loading]));
    try {
      return await opened(this.#resolved(address));
    } finally {
      clearTimeout(notice);
    }
  }

  #resolved(address) {
    try {
      return new URL(address, this.baseURI).href; // Safari 16 has no URL.canParse
    } catch {
      throw new ModelError(`model should be an address, got "${address}"`);
    }
  }

  async #ask(recognizer, top, isLate) {
    const listed = listOf(this.words);
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
    this.#write(this.#isUnknown ? [this.#texts.unknown, ...lines.slice(0, -1)] : lines);
    this.#sayBest();
    this.#tell("guess", answer);
  }

  /** Says the best guess when the pen rests and it has come. */
  #sayBest() {
    if (!this.#asked || this.#asked.isPending || this.#pad.isDrawing) return;
    this.#said.textContent = this.#isUnknown ? this.#texts.unknown : this.#guesses.slice(0, 1).map(text).join("");
  }

  #fail(error) {
    this.#isMissing = error instanceof ModelError && error.cause !== undefined;
    const text = this.#tell("error", { error }) ? error.message : "";
    this.#write(text ? [text] : []);
    this.#said.textContent = text;
  }

  #write(texts) {
    this.#list.replaceChildren(
      ...texts.map((textContent) => Object.assign(document.createElement("li"), { textContent })),
    );
  }

  #keepValue() {
    this.#internals?.setFormValue?.(this.value || null);
  }

  /** False where a listener said that the element should not show it. */
  #tell(type, detail) {
    const cancelable = type === "error";
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable }));
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
      else this.setAttribute(name, written(value));
    },
  });
}

for (const name of FLAGS) {
  Object.defineProperty(QuickStroke.prototype, name, {
    configurable: true,
    enumerable: true,
    get() {
      return this.hasAttribute(name);
    },
    set(value) {
      this.toggleAttribute(name, Boolean(value));
    },
  });
}

if (globalThis.customElements && !customElements.get("quick-stroke")) customElements.define("quick-stroke", QuickStroke);
