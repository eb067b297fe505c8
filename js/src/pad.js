/** A canvas that is drawn on, with guesses that keep up with the pen. */

import { checkOptions, OptionError } from "./errors.js";

/**
 * Lets people draw on a canvas; index.d.ts of the package describes options and result.
 *
 * Strokes are points `[x, y, t]` in CSS pixels of the canvas and milliseconds.
 */
export function attach(canvas, recognizer, options = {}) {
  if (typeof canvas?.getContext !== "function") throw new OptionError("attach: expected a <canvas>");
  checkOptions(options, "top", "words", "width", "strokes", "onGuess", "onStroke", "onError");
  const pad = new Pad(canvas, options);
  const asked = new Newest(async () => {
    const strokes = pad.strokes;
    if (!strokes.length) return { guesses: [], unknown: null };
    const { top, words } = options;
    return recognizer.predict(strokes, { top, words, layout: "points" });
  }, options);
  pad.onChange = () => asked.ask();
  if (options.strokes?.length) pad.set(structuredClone(options.strokes));
  return {
    get strokes() {
      return structuredClone(pad.strokes);
    },
    set strokes(strokes) {
      pad.set(structuredClone(strokes));
    },
    clear: () => pad.set([]),
    undo: () => pad.set(pad.strokes.slice(0, -1)),
    redraw: () => pad.redraw(),
    detach: () => {
      asked.stop();
      pad.detach();
    },
  };
}

/** Asks again when something changed while an answer was awaited; an answer about an older drawing is never told. */
class Newest {
  #version = 0;
  #isAsking = false;

  constructor(question, { onGuess = () => {}, onError = (error) => console.error(error) }) {
    Object.assign(this, { question, onGuess, onError });
  }

  async ask() {
    this.#version += 1;
    if (this.#isAsking) return;
    this.#isAsking = true;
    for (let asked = NaN; asked !== this.#version; ) {
      asked = this.#version;
      // Events that came together are one question.
      await new Promise((resolve) => setTimeout(resolve));
      try {
        const answer = await this.question();
        if (asked === this.#version) this.onGuess(answer);
      } catch (error) {
        if (asked === this.#version) this.onError(error);
      }
    }
    this.#isAsking = false;
  }

  stop() {
    this.#version = Infinity;
    this.onGuess = this.onError = () => {};
  }
}

class Pad {
  strokes = [];
  onChange = () => {};
  #canvas;
  #options;
  #pointer = null;
  #listeners = new AbortController();

  constructor(canvas, options) {
    this.#canvas = canvas;
    this.#options = options;
    const { signal } = this.#listeners;
    const on = (type, listener) => canvas.addEventListener(type, listener, { signal });
    canvas.style.touchAction = "none"; // a finger draws, and does not scroll
    on("pointerdown", (event) => this.#begin(event));
    on("pointermove", (event) => this.#go(event));
    for (const type of ["pointerup", "pointercancel"]) on(type, (event) => this.#end(event));
    this.redraw();
  }

  set(strokes) {
    this.#pointer = null;
    this.strokes = strokes;
    this.redraw();
    this.onChange();
  }

  detach() {
    this.#listeners.abort();
  }

  #begin(event) {
    if (this.#pointer !== null || !event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.strokes = [...this.strokes, []];
    this.#add([event]);
  }

  #go(event) {
    if (event.pointerId !== this.#pointer) return;
    const all = event.getCoalescedEvents?.() ?? [];
    this.#add(all.length ? all : [event]);
  }

  #end(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#options.onStroke?.(structuredClone(this.strokes));
  }

  #add(events) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    const stroke = this.strokes.at(-1);
    for (const { clientX, clientY, timeStamp } of events) {
      stroke.push([clientX - left - this.#canvas.clientLeft, clientY - top - this.#canvas.clientTop, timeStamp]);
    }
    this.redraw();
    this.onChange();
  }

  redraw() {
    const canvas = this.#canvas;
    const { width, height, clientWidth, clientHeight } = canvas;
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.scale(width / (clientWidth || width), height / (clientHeight || height));
    const { width: lineWidth = 4 } = this.#options;
    Object.assign(pen, { strokeStyle: getComputedStyle(canvas).color, lineWidth, lineCap: "round", lineJoin: "round" });
    for (const stroke of this.strokes) {
      pen.beginPath();
      pen.moveTo(stroke[0][0], stroke[0][1]);
      for (const [x, y] of stroke) pen.lineTo(x, y);
      if (stroke.length === 1) pen.lineTo(stroke[0][0] + 0.01, stroke[0][1]); // a dot is seen, too
      pen.stroke();
    }
  }
}
