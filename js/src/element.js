/**
 * `<quick-stroke model="URL">`: a pad and its guesses, for any page. Importing this module defines it.
 *
 * Attributes: `model`, the address of a `.quickstroke` file; `words`, the only ones that count, separated by commas;
 * `top`, how many guesses are shown (3); `ink` and `paper`, colours, for which CSS has `--quick-stroke-ink` and
 * `--quick-stroke-paper`; parts to style: `pad`, `guesses`. Without a listener, too, it shows what went wrong. Events,
 * which bubble: `guess` (detail `{guesses, unknown}`), `stroke` (`{strokes}`), `clear`, `load` and `error` (`{error}`).
 */

import { load } from "./index.js";
import { attach } from "./pad.js";
import { percent } from "./percent.js";

export { attach } from "./pad.js";

const STYLE = `
:host { display: inline-grid; gap: 0.5em; inline-size: 20em; font: inherit; }
:host([hidden]) { display: none; }
canvas { inline-size: 100%; aspect-ratio: 1; box-sizing: border-box; border: 1px solid; border-radius: 0.5em;
  color: var(--quick-stroke-ink, #1d2430); background: var(--quick-stroke-paper, #fff); cursor: crosshair; }
ol { margin: 0; padding: 0; list-style: none; min-block-size: 4em; }
`;

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
  static observedAttributes = ["model", "words", "top", "ink", "paper"];
  #canvas;
  #list;
  #given = null;
  #pad = null;
  /** The drawing while there is no pad. */
  #strokes = [];
  #guesses = [];
  #resizes = null;
  #turn = 0;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    // Unlike a <style> element it is no inline style, which a page's content security policy may forbid.
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    this.#canvas = Object.assign(document.createElement("canvas"), { part: "pad" });
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", "A pad to draw on");
    this.#list = Object.assign(document.createElement("ol"), { part: "guesses" });
    this.#list.setAttribute("aria-live", "polite");
    root.append(this.#canvas, this.#list);
  }

  connectedCallback() {
    this.#open();
  }

  disconnectedCallback() {
    this.#close();
  }

  attributeChangedCallback(name, _, value) {
    if (name === "ink" || name === "paper") {
      this.style.setProperty(`--quick-stroke-${name}`, value);
      this.#pad?.redraw();
    } else if (this.isConnected) {
      this.#open();
    }
  }

  /** The drawing: strokes of points `[x, y, t]`. It stays when the element moves or its attributes change. */
  get strokes() {
    return this.#pad?.strokes ?? structuredClone(this.#strokes);
  }

  set strokes(strokes) {
    if (this.#pad) this.#pad.strokes = strokes;
    else this.#strokes = structuredClone(strokes);
  }

  /** The newest guesses. */
  get guesses() {
    return structuredClone(this.#guesses);
  }

  /** A recogniser that is loaded already, in place of the attribute `model`. */
  set recognizer(recognizer) {
    this.#given = recognizer;
    this.#open();
  }

  clear() {
    this.strokes = [];
    this.#tell("clear", {});
  }

  undo() {
    this.#pad?.undo();
  }

  #close() {
    this.#resizes?.disconnect();
    this.#strokes = this.strokes;
    this.#pad?.detach();
    this.#pad = null;
  }

  async #open() {
    this.#close();
    const turn = ++this.#turn;
    await null; // attributes that are set one after the other are one change
    // By then, and once a model has come, it may have been taken away or given another one.
    const isLate = () => turn !== this.#turn || !this.isConnected;
    const address = this.getAttribute("model");
    if (isLate() || !(address || this.#given)) return;
    try {
      const recognizer = this.#given ?? (await opened(new URL(address, this.baseURI).href));
      if (!isLate()) await this.#attach(recognizer, isLate);
    } catch (error) {
      if (!isLate()) this.#fail(error);
    }
  }

  async #attach(recognizer, isLate) {
    const words = this.getAttribute("words")?.split(",").map((word) => word.trim()).filter(Boolean);
    const top = Number(this.getAttribute("top") ?? 3);
    await recognizer.predict([[[0, 0]]], { top, words }); // says at once what is wrong with them
    if (isLate()) return;
    this.#pad = attach(this.#canvas, recognizer, {
      top,
      words,
      strokes: this.#strokes,
      onStroke: (strokes) => this.#tell("stroke", { strokes }),
      onGuess: (answer) => this.#show(answer),
      onError: (error) => this.#fail(error),
    });
    this.#resizes = new ResizeObserver(() => this.#fit());
    this.#resizes.observe(this.#canvas);
    this.#tell("load", { name: recognizer.name, words: recognizer.words });
  }

  /** As many pixels as the screen has. */
  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = globalThis.devicePixelRatio || 1;
    Object.assign(this.#canvas, { width: Math.round(clientWidth * scale), height: Math.round(clientHeight * scale) });
    this.#pad?.redraw();
  }

  #show(answer) {
    this.#guesses = answer.guesses;
    this.#write(answer.guesses.map(({ word, probability }) => `${word} ${percent(probability)}`));
    this.#tell("guess", answer);
  }

  #fail(error) {
    this.#write([error.message]);
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

if (globalThis.customElements && !customElements.get("quick-stroke")) customElements.define("quick-stroke", QuickStroke);
