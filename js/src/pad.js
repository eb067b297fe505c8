/** A canvas that is drawn on, with guesses that keep up with the pen. */

import { checkAttachOptions, checkRecognizer, checkWidth, drawingOf, wordsOf } from "./given.js";
import { OptionError } from "./index.js";
import { guessing } from "./newest.js";

/** Lets people draw on a canvas; element.d.ts of the package describes options and result. */
export function attach(canvas, recognizer, options = {}) {
  if (typeof canvas?.getContext !== "function") throw new OptionError("attach: expected a <canvas>");
  checkRecognizer(recognizer);
  checkAttachOptions(options);
  const { top, width = 4 } = options;
  checkWidth(width);
  const words = wordsOf(options.words);
  // Says at once what is wrong with them; a worker later.
  recognizer.predict([[[0, 0]]], { top, words })?.catch?.(options.onError ?? console.error);
  const strokes = drawingOf(options.strokes ?? []);
  const pad = new Pad(canvas, { width, onStroke: options.onStroke });
  const asked = guessing(pad, recognizer, { top, words }, options);
  pad.onChange = () => asked.ask();
  pad.followDensity();
  if (strokes.length) pad.set(strokes);
  // Of a theme that goes with the system's: the ink has the new colour of the canvas.
  const redraw = () => pad.redraw();
  const themes = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => globalThis.matchMedia?.(query));
  for (const theme of themes) theme?.addEventListener("change", redraw);
  return {
    get strokes() {
      return drawingOf(pad.strokes);
    },
    set strokes(strokes) {
      pad.set(drawingOf(strokes));
    },
    clear: () => pad.clear(),
    undo: () => void pad.undo(),
    redraw,
    detach: () => {
      for (const theme of themes) theme?.removeEventListener("change", redraw);
      asked.stop();
      pad.detach();
    },
  };
}

/** Else iPads take quick strokes of their pen for handwriting (Scribble), and long ones for a selection of the text around. */
const keepTouch = (event) => event.preventDefault();

// As many cleared drawings are kept, the newest.
const MAX_CLEARED = 20;

/** Strokes are points `[x, y, t]` in CSS pixels of the canvas, with which they grow and shrink, and milliseconds. */
export class Pad {
  strokes = [];
  onChange = () => {};
  #canvas;
  #options;
  /** The id and type of the one that draws. */
  #pointer = null;
  /** Of a canvas that is taken away under the pen its document hears that the pen is lost. */
  #losing = null;
  /** Drawings that were cleared, for `undo`. */
  #cleared = [];
  /** The size of the canvas when the drawing changed last, and by how much the drawing was scaled since. */
  #frame = null;
  #scale = 1;
  /** Of the page, and given back. */
  #touchAction;
  #listeners = new AbortController();
  #resizes = null;

  /** `onResize` is called with the size before the drawing is drawn in another size, or for another density of pixels. */
  constructor(canvas, options) {
    this.#canvas = canvas;
    this.#options = options;
    const { signal } = this.#listeners;
    const on = (type, listener) => canvas.addEventListener(type, listener, { signal });
    this.#touchAction = canvas.style.touchAction;
    canvas.style.touchAction = "none"; // a finger draws, and does not scroll
    on("touchstart", keepTouch);
    on("pointerdown", (event) => this.#begin(event));
    on("pointermove", (event) => this.#go(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) on(type, (event) => this.#end(event));
    on("transitionend", () => this.redraw()); // perhaps of the colour
    // What stands for a browser in tests may lack it.
    this.#resizes = globalThis.ResizeObserver && new ResizeObserver(() => this.#resized());
    this.#resizes?.observe(canvas);
    this.redraw();
  }

  get isDrawing() {
    return this.#pointer !== null;
  }

  set(strokes) {
    this.#cleared = [];
    this.#frame = null; // these are meant in the size that the canvas has now, or when it is seen
    this.#scale = 1;
    this.#follow();
    this.#replace(strokes);
  }

  clear() {
    this.#keepFrame();
    if (this.strokes.length) this.#cleared = [...this.#cleared, this.strokes].slice(-MAX_CLEARED);
    this.#replace([]);
  }

  /** Takes back the last stroke, or where there is none that the pad was cleared; whether there was anything to do. */
  undo() {
    this.#keepFrame();
    const before = this.strokes.length ? this.strokes.slice(0, -1) : this.#cleared.pop();
    if (before) this.#replace(before);
    return Boolean(before);
  }

  /** Ends a stroke of which no more will be heard. */
  lift() {
    this.#pointer = null;
    this.#losing?.abort();
  }

  detach() {
    this.lift();
    this.#listeners.abort();
    this.#resizes?.disconnect();
    this.#canvas.style.touchAction = this.#touchAction;
  }

  #replace(strokes) {
    this.lift();
    this.strokes = strokes;
    this.redraw();
    this.onChange();
  }

  #begin(event) {
    if (event.button !== 0 || !this.#canvas.isConnected) return;
    if (this.isDrawing) {
      const { id, type } = this.#pointer;
      if (event.pointerId === id || (event.isPrimary && event.pointerType === type)) {
        // The same once more, or another primary one of its kind: it was lifted, and nobody heard of that.
        this.#lifted();
      } else {
        // A hand often rests before its pen does: what the hand began goes, what a pen began stays.
        if (event.pointerType !== "pen" || type !== "touch") return;
        this.lift();
        this.strokes = this.strokes.slice(0, -1);
      }
    }
    event.preventDefault();
    this.#pointer = { id: event.pointerId, type: event.pointerType };
    this.#losing = new AbortController();
    const { signal } = this.#losing;
    this.#canvas.ownerDocument.addEventListener("lostpointercapture", (lost) => this.#end(lost), { signal });
    this.#keepFrame();
    this.strokes = [...this.strokes, []];
    try {
      this.#canvas.setPointerCapture(event.pointerId);
    } catch {
      // No such pointer: the event was made by a program.
    }
    this.#add([event]);
  }

  #go(event) {
    if (event.pointerId !== this.#pointer?.id) return;
    // Likewise. What a program makes may say nothing of buttons.
    if (event.isTrusted && !event.buttons) return this.#lifted();
    const all = event.getCoalescedEvents?.() ?? [];
    this.#add(all.length ? all : [event]);
  }

  #end(event) {
    if (event.pointerId === this.#pointer?.id) this.#lifted();
  }

  #lifted() {
    this.lift();
    this.#options.onStroke?.(drawingOf(this.strokes));
  }

  #add(events) {
    const { offsetWidth, offsetHeight } = this.#canvas;
    const inner = this.#inner();
    // By `transform` and `zoom` the canvas is on the screen in another size than its own.
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const [xScale, yScale] = [offsetWidth / width || 1, offsetHeight / height || 1]; // of no size in tests
    const stroke = this.strokes.at(-1);
    for (const { clientX, clientY, timeStamp } of events) {
      stroke.push([(clientX - left) * xScale - inner.left, (clientY - top) * yScale - inner.top, timeStamp]);
    }
    this.redraw();
    this.onChange();
  }

  #resized() {
    this.#follow();
    this.#options.onResize?.(this.#inner());
    this.redraw();
  }

  /**
   * A window that comes to another screen, or is zoomed, has other pixels, and the canvas perhaps its size. The window holds
   * the pad as long as it is followed.
   */
  followDensity(signal = this.#listeners.signal) {
    const density = globalThis.matchMedia?.(`(resolution: ${devicePixelRatio}dppx)`);
    density?.addEventListener("change", () => (this.#resized(), this.followDensity(signal)), { signal, once: true });
  }

  /** Where the picture is within the canvas's border box, and its size, both in CSS pixels: inside of border and padding. */
  #inner() {
    const { clientLeft, clientTop, clientWidth, clientHeight } = this.#canvas;
    const style = getComputedStyle(this.#canvas);
    const [left, right, top, bottom] = ["Left", "Right", "Top", "Bottom"].map((side) => parseFloat(style[`padding${side}`]) || 0);
    // Of a hidden canvas the padding is there, and no size.
    const [width, height] = [clientWidth - left - right, clientHeight - top - bottom].map((size) => Math.max(size, 0));
    return { left: clientLeft + left, top: clientTop + top, width, height };
  }

  /** From now on the drawing is scaled from the size that the canvas has now. */
  #keepFrame() {
    this.#follow();
    const { width, height } = this.#inner();
    if (!width || !height) return;
    this.#frame = { width, height };
    this.#scale = 1;
  }

  /**
   * Scales the drawing to the canvas, undistorted and so that all of it is seen. It is always scaled from the size at which
   * it was changed last, so that the old size brings back the old drawing.
   */
  #follow() {
    const { width, height } = this.#inner();
    if (!width || !height) return; // hidden, or nowhere
    this.#frame ??= { width, height };
    const scale = Math.min(width / this.#frame.width, height / this.#frame.height);
    if (scale === this.#scale) return;
    const by = scale / this.#scale;
    const scaled = (strokes) => strokes.map((stroke) => stroke.map(([x, y, t]) => [x * by, y * by, t]));
    this.strokes = scaled(this.strokes);
    this.#cleared = this.#cleared.map(scaled);
    this.#scale = scale;
  }

  redraw() {
    const canvas = this.#canvas;
    const { width, height } = canvas;
    const inner = this.#inner();
    const pen = canvas.getContext("2d");
    if (!pen) return; // as above, in tests
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.scale(width / (inner.width || width), height / (inner.height || height));
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
