/**
 * `<quick-stroke model="URL">`: a pad and its guesses, for any page. Importing this module defines it.
 *
 * Attributes: `model`, the address of a `.quickstroke` file; `words`, the only ones that count, separated by commas;
 * `top`, how many guesses are shown (3). Colours: the CSS properties `color` (ink) and `--quick-stroke-paper`; parts to
 * style: `pad`, `guesses`. Events, which bubble: `guess` (detail `{guesses, unknown}`), `stroke` (`{strokes}`), `clear`,
 * `load` and `error` (`{error}`).
 */

import { load } from "./index.js";
import { attach } from "./pad.js";

export { attach } from "./pad.js";

const STYLE = `
:host { display: inline-grid; gap: 0.5em; inline-size: 20em; color: #1d2430; font: inherit; }
:host([hidden]) { display: none; }
canvas { inline-size: 100%; aspect-ratio: 1; box-sizing: border-box; border: 1px solid; border-radius: 0.5em;
  background: var(--quick-stroke-paper, #fff); cursor: crosshair; }
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
  static observedAttributes = ["model", "words", "top"];
  #canvas;
  #list;
  #given = null;
  #pad = null;
  #guesses = [];
  #resizes = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.#canvas = Object.assign(document.createElement("canvas"), { part: "pad" });
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", "A pad to draw on");
    this.#list = Object.assign(document.createElement("ol"), { part: "guesses" });
    this.#list.setAttribute("aria-live", "polite");
    root.append(style, this.#canvas, this.#list);
  }

  connectedCallback() {
    this.#open();
  }

  disconnectedCallback() {
    this.#close();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#open();
  }

  /** The drawing: strokes of points `[x, y, t]`. */
  get strokes() {
    return this.#pad?.strokes ?? [];
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
    this.#pad?.clear();
    this.#tell("clear", {});
  }

  undo() {
    this.#pad?.undo();
  }

  #close() {
    this.#resizes?.disconnect();
    this.#pad?.detach();
    this.#pad = null;
  }

  async #open() {
    this.#close();
    const address = this.getAttribute("model");
    if (!address && !this.#given) return;
    try {
      if (this.#given) return this.isConnected ? this.#attach(this.#given) : undefined;
      const url = new URL(address, this.baseURI).href;
      const recognizer = await opened(url);
      // Meanwhile it may have been taken away, or given another model.
      if (!this.isConnected || this.#pad || new URL(this.getAttribute("model"), this.baseURI).href !== url) return;
      this.#attach(recognizer);
    } catch (error) {
      this.#tell("error", { error });
    }
  }

  #attach(recognizer) {
    const words = this.getAttribute("words")?.split(",").map((word) => word.trim()).filter(Boolean);
    const top = Number(this.getAttribute("top") ?? 3);
    recognizer.predict([[[0, 0]]], { top, words }); // says at once what is wrong with them
    this.#pad = attach(this.#canvas, recognizer, {
      top,
      words,
      onStroke: (strokes) => this.#tell("stroke", { strokes }),
      onGuess: (answer) => this.#show(answer),
      onError: (error) => this.#tell("error", { error }),
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
    this.#list.replaceChildren(
      ...answer.guesses.map(({ word, probability }) => {
        return Object.assign(document.createElement("li"), { textContent: `${word} ${Math.round(100 * probability)}%` });
      }),
    );
    this.#tell("guess", answer);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

if (globalThis.customElements && !customElements.get("quick-stroke")) customElements.define("quick-stroke", QuickStroke);
