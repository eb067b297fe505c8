/** The canvas: takes strokes from mouse, pen and touch, keeps what was drawn, and shows it crisp at any size. */

import { boundsOf, fit, rounded, trace } from "./geometry.js";

const LINE_WIDTH_PX = 4.5;
// Nearer points change nothing that a model sees, and pens of 1000 Hz would give thousands.
const LEAST_MOVE_PX = 1;
const PAUSE_MS = 500;
const MAX_UNDO = 200;

const within = (value, most) => Math.min(Math.max(value, 0), most);

/**
 * Fires `ink` whenever what is shown has changed (`detail.hasGrown`: by more of the same drawing), `before-pen` before
 * the pen goes down, and `pen` when it has gone down or up.
 *
 * Strokes are in CSS pixels of the canvas as it was when the drawing began (the `paper`), so a resize changes how they
 * are shown and not what they are.
 */
export class Pad extends EventTarget {
  /** Whether no pen draws, as when a round has ended. */
  isFrozen = false;
  #canvas;
  #context;
  #strokes = [];
  #current = null;
  #preview = null;
  #pointer = null;
  #undo = [];
  #redo = [];
  #paper = { x: 0, y: 0, width: 1, height: 1 };
  #size = { width: 1, height: 1 };
  #pixelRatio = 1;
  #startedAt = null;
  #paths = new WeakMap();
  #frame = 0;

  /** @param {HTMLCanvasElement} canvas its `color` is the ink's */
  constructor(canvas) {
    super();
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(type, (event) => this.#up(event));
    }
    // Of touches: else iPads take quick strokes of their pen for handwriting (Scribble), and long ones for a selection.
    for (const type of ["contextmenu", "touchstart"]) canvas.addEventListener(type, (event) => event.preventDefault());
    const observer = new ResizeObserver(([entry]) => this.#resize(entry.contentRect));
    try {
      // Tells too when the window comes to a screen of another density.
      observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(canvas);
    }
  }

  /** What is shown: all strokes with the one under the pen, or as much as a replay has come to. */
  get strokes() {
    return this.#preview ?? this.drawing;
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  get isDown() {
    return this.#current !== null;
  }

  /** What was drawn, whatever a replay shows of it. */
  get drawing() {
    return this.#current ? [...this.#strokes, this.#current] : this.#strokes;
  }

  get canUndo() {
    return this.#undo.length > 0 && !this.isFrozen;
  }

  get canRedo() {
    return this.#redo.length > 0 && !this.isFrozen;
  }

  /** Width and height of the canvas in CSS pixels. */
  get size() {
    return this.#size;
  }

  /** Replaces the drawing, as one step that can be undone. Times are made up where there are none. */
  setStrokes(strokes) {
    this.#finish();
    this.#preview = null;
    this.#remember();
    let now = 0;
    this.#strokes = strokes.map(([xs, ys, ts]) => {
      const times = ts ? [...ts] : xs.map((_, i) => now + 16 * i);
      now = times.at(-1) + PAUSE_MS;
      return [[...xs], [...ys], times];
    });
    this.#paper = this.#paperFor(this.#strokes);
    this.#startedAt = null;
    this.#changed();
  }

  /** Shows the drawing of an earlier visit; each of its strokes can be undone, as if it had just been drawn. */
  restore(strokes) {
    this.setStrokes(strokes);
    this.#undo = this.#strokes.map((_, i) => ({ strokes: this.#strokes.slice(0, i), paper: this.#paper }));
    this.#changed();
  }

  clear() {
    if (!this.isEmpty) this.setStrokes([]);
  }

  /** Takes the last step back: a stroke, a clearing, a drawing that was put in. */
  undo() {
    this.#step(this.#undo, this.#redo);
  }

  /** Takes the last undone step again. */
  redo() {
    this.#step(this.#redo, this.#undo);
  }

  #step(from, to) {
    this.#finish();
    this.#preview = null;
    const state = from.pop();
    if (state) {
      to.push({ strokes: this.#strokes, paper: this.#paper });
      ({ strokes: this.#strokes, paper: this.#paper } = state);
    }
    this.#changed();
  }

  /** Lifts the pen, and lets none draw until `isFrozen` is set to false. */
  freeze() {
    this.#finish();
    this.isFrozen = true;
    this.#changed(true);
  }

  /** Nothing drawn, and nothing to go back to. */
  reset() {
    this.#finish();
    this.#preview = null;
    this.#strokes = [];
    this.#undo = [];
    this.#redo = [];
    this.#changed();
  }

  /** Shows these strokes instead of the drawing, as a replay does; null shows the drawing again. */
  preview(strokes) {
    const hasGrown = Boolean(strokes && this.#preview);
    this.#preview = strokes;
    this.#changed(hasGrown);
  }

  /** Puts the pen down at (x, y) of the canvas in CSS pixels; `timeStamp` is an event's. */
  penDown(x, y, timeStamp) {
    if (this.isFrozen) return;
    this.dispatchEvent(new Event("before-pen"));
    this.#finish();
    if (!this.#strokes.length) this.#paper = { x: 0, y: 0, ...this.#size };
    this.#remember();
    const last = this.#strokes.at(-1)?.[2].at(-1) ?? -PAUSE_MS;
    this.#startedAt ??= timeStamp - last - PAUSE_MS;
    const [px, py] = this.#toPaper(x, y);
    this.#current = [[px], [py], [Math.max(Math.round(timeStamp - this.#startedAt), last + 1)]];
    this.dispatchEvent(new Event("pen"));
    this.#changed(true);
  }

  /** Moves the pen that is down. */
  penMove(x, y, timeStamp) {
    if (this.#current && this.#add(x, y, timeStamp, LEAST_MOVE_PX)) this.#changed(true);
  }

  /** Lifts the pen. */
  penUp() {
    this.#finish();
    this.#changed(true);
  }

  /** Where a point of the drawing is shown, in CSS pixels of the canvas. */
  toCanvas(x, y) {
    const { scale, dx, dy } = this.#view;
    return { x: x * scale + dx, y: y * scale + dy };
  }

  /** Draws the canvas again, as after a change of the ink's colour. */
  redraw() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #toPaper(x, y) {
    const { scale, dx, dy } = this.#view;
    return [rounded((x - dx) / scale), rounded((y - dy) / scale)];
  }

  #changed(hasGrown = false) {
    if (!this.#strokes.length && !this.#current) this.#startedAt = null;
    this.redraw();
    this.dispatchEvent(new CustomEvent("ink", { detail: { hasGrown } }));
  }

  #remember() {
    this.#redo = [];
    this.#undo.push({ strokes: this.#strokes, paper: this.#paper });
    if (this.#undo.length > MAX_UNDO) this.#undo.shift();
  }

  #down(event) {
    if (event.button !== 0 || this.isFrozen) return;
    const { pointerId, pointerType, isPrimary } = event;
    const before = this.#pointer;
    // One that goes down again, or another primary one of its kind: it was lifted, and nobody heard of that.
    if (before && pointerId !== before.pointerId && !(isPrimary && pointerType === before.pointerType)) {
      // A hand often rests before its pen does: what the hand began goes, what a pen began stays.
      if (pointerType !== "pen" || before.pointerType !== "touch") return;
      this.#current = null;
      this.#undo.pop();
    }
    event.preventDefault(); // else text beside the canvas is selected
    try {
      this.#canvas.setPointerCapture(pointerId);
    } catch {
      // The pointer was lifted between its event and now.
    }
    const { left, top } = this.#canvas.getBoundingClientRect();
    this.penDown(event.clientX - left, event.clientY - top, event.timeStamp);
    this.#pointer = event;
  }

  #move(event) {
    if (event.pointerId !== this.#pointer?.pointerId) return;
    if (event.buttons === 0) {
      this.#up(event);
      return;
    }
    const { left, top } = this.#canvas.getBoundingClientRect();
    const coalesced = event.getCoalescedEvents?.() ?? [];
    let hasGrown = false;
    for (const { clientX, clientY, timeStamp } of coalesced.length ? coalesced : [event]) {
      hasGrown = this.#add(clientX - left, clientY - top, timeStamp, LEAST_MOVE_PX) || hasGrown;
    }
    if (hasGrown) this.#changed(true);
  }

  #up(event) {
    if (event.pointerId !== this.#pointer?.pointerId) return;
    if (event.type === "pointerup") {
      const { left, top } = this.#canvas.getBoundingClientRect();
      this.#add(event.clientX - left, event.clientY - top, event.timeStamp, 0.01);
    }
    this.penUp();
  }

  #finish() {
    if (!this.#current) return;
    this.#strokes = [...this.#strokes, this.#current];
    this.#current = null;
    this.#pointer = null;
    this.dispatchEvent(new Event("pen"));
  }

  /** Appends a point of the canvas, unless it is nearer than `leastMovePx` to the last one; says whether it did. */
  #add(x, y, timeStamp, leastMovePx) {
    const [xs, ys, ts] = this.#current;
    // A pen that has left the canvas draws along its edge: nothing counts that is not seen.
    const { width, height } = this.#size;
    const [px, py] = this.#toPaper(within(x, width), within(y, height));
    if (Math.hypot(px - xs.at(-1), py - ys.at(-1)) * this.#view.scale < leastMovePx) return false;
    xs.push(px);
    ys.push(py);
    ts.push(Math.max(Math.round(timeStamp - this.#startedAt), ts.at(-1)));
    return true;
  }

  get #view() {
    return fit(this.#paper, this.#size.width, this.#size.height);
  }

  /** The canvas itself where the strokes lie within it, else the strokes with a margin. */
  #paperFor(strokes) {
    const canvas = { x: 0, y: 0, ...this.#size };
    const box = boundsOf(strokes);
    if (!box) return canvas;
    const isWithin = box.x >= 0 && box.y >= 0 && box.x + box.width <= canvas.width && box.y + box.height <= canvas.height;
    if (isWithin) return canvas;
    const margin = 0.1 * Math.max(box.width, box.height, 1);
    return { x: box.x - margin, y: box.y - margin, width: box.width + 2 * margin, height: box.height + 2 * margin };
  }

  #resize({ width, height }) {
    if (!width || !height) return;
    this.#size = { width, height };
    this.#canvas.width = Math.round(width * devicePixelRatio);
    this.#canvas.height = Math.round(height * devicePixelRatio);
    this.#pixelRatio = this.#canvas.width / width;
    if (!this.#strokes.length && !this.#current) this.#paper = { x: 0, y: 0, width, height };
    // At once: a canvas whose size was set is blank, and would be for a frame.
    this.#draw();
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const context = this.#context;
    const { scale, dx, dy } = this.#view;
    const ratio = this.#pixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.setTransform(scale * ratio, 0, 0, scale * ratio, dx * ratio, dy * ratio);
    context.lineWidth = LINE_WIDTH_PX / scale;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.strokeStyle = getComputedStyle(this.#canvas).color;
    for (const stroke of this.strokes) {
      const isStill = stroke !== this.#current && !this.#preview;
      const path = this.#paths.get(stroke) ?? new Path2D();
      if (!this.#paths.has(stroke)) {
        trace(path, stroke);
        if (isStill) this.#paths.set(stroke, path);
      }
      context.stroke(path);
    }
  }
}
