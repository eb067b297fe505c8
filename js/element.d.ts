import type { Guess, Prediction, Recognizer } from "./index.js";
import type { WorkerRecognizer } from "./worker.js";

/** Points `[x, y, t]`: CSS pixels of the canvas, with which they grow and shrink, and milliseconds. */
export type DrawnStrokes = [x: number, y: number, t: number][][];

/** Points that are given: those without a time get 0. */
export type GivenStrokes = readonly (readonly (readonly [x: number, y: number, t?: number])[])[];

export interface AttachOptions {
  /** Called with the guesses for the newest drawing, as it grows; with none for an empty one. */
  onGuess?: (answer: Prediction) => void;
  /** Called when a stroke ends. */
  onStroke?: (strokes: DrawnStrokes) => void;
  onError?: (error: Error) => void;
  top?: number;
  words?: readonly string[];
  /** The drawing to begin with; none by default. */
  strokes?: GivenStrokes;
  /** Of the pen, in CSS pixels; 4 by default. Its colour is the canvas's CSS `color`. */
  width?: number;
}

export interface AttachedPad {
  /**
   * The drawing, a copy; another one is shown, and guessed, when it is assigned.
   *
   * @throws {StrokesError} when something else than points is assigned
   */
  get strokes(): DrawnStrokes;
  set strokes(strokes: GivenStrokes);
  clear(): void;
  /** Takes back the last stroke, or where there is none the clearing. */
  undo(): void;
  /**
   * After a change of the canvas's colour that is neither one of the system's theme nor in a CSS `transition`: these are
   * seen, as is a change of its size.
   */
  redraw(): void;
  detach(): void;
}

/**
 * Lets people draw on a canvas of one's own.
 *
 * @throws {OptionError} no canvas, no recogniser (or a promise of one), or an option that cannot be
 * @throws {StrokesError} `strokes` are no drawing
 */
export function attach(
  canvas: HTMLCanvasElement,
  recognizer: Recognizer | WorkerRecognizer,
  options?: AttachOptions,
): AttachedPad;

/** What a `<quick-stroke>` says by itself, with its English texts as defaults. */
export interface Texts {
  /** What the pad is called, where there is no `aria-label`. */
  pad: string;
  loading: string;
  /** In place of the last guess where the drawing shows none of the words. */
  unknown: string;
  undo: string;
  clear: string;
  /** How one draws by keyboard, shown while the pad has the focus by key. */
  keys: string;
  /** The pen of the keyboard was put down, or lifted. */
  down: string;
  up: string;
}

/** `<quick-stroke model="URL" words="cat, dog" top="3" controls name="drawing">`; importing this module defines it. */
export class QuickStroke extends HTMLElement {
  /**
   * The drawing, a copy; another one is shown, and guessed, when it is assigned.
   *
   * @throws {StrokesError} when something else than points is assigned
   */
  get strokes(): DrawnStrokes;
  set strokes(strokes: GivenStrokes);
  /** The newest guesses; none where nothing is drawn or there is no model. */
  readonly guesses: Guess[];
  /** The probability, 0 to 1, that the drawing shows none of the words; null where that cannot be told. */
  readonly unknown: number | null;
  /** A recogniser that is loaded already, in place of the attribute `model`; null for that one. */
  get recognizer(): Recognizer | WorkerRecognizer | null;
  set recognizer(recognizer: Recognizer | WorkerRecognizer | null);
  /** What it says; those that are not given stay as they are. */
  get texts(): Texts;
  set texts(texts: Partial<Texts>);
  /** The drawing as a form with the element's `name` has it: JSON of `strokes`, empty without a drawing. */
  readonly value: string;
  readonly form: HTMLFormElement | null;
  /** Whether there are buttons that undo and clear. */
  controls: boolean;
  /** Whether nobody can draw; of a disabled `<fieldset>` nobody can, either. */
  disabled: boolean;
  /** The attribute of this name, as are the next five; empty where it is not there, and taken away by null. */
  get model(): string;
  set model(model: string | null);
  get words(): string;
  set words(words: string | readonly string[] | null);
  get top(): string;
  set top(top: number | string | null);
  get ink(): string;
  set ink(ink: string | null);
  get paper(): string;
  set paper(paper: string | null);
  get name(): string;
  set name(name: string | null);
  clear(): void;
  /** Takes back the last stroke, or where there is none the clearing. */
  undo(): void;
  redraw(): void;
  addEventListener<K extends keyof QuickStrokeEventMap>(
    type: K,
    listener: (this: QuickStroke, event: QuickStrokeEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof QuickStrokeEventMap>(
    type: K,
    listener: (this: QuickStroke, event: QuickStrokeEventMap[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** The element's own events in place of those of their names, and all others of elements. */
export interface QuickStrokeEventMap extends Omit<HTMLElementEventMap, "load" | "error"> {
  guess: CustomEvent<Prediction>;
  stroke: CustomEvent<{ strokes: DrawnStrokes }>;
  undo: CustomEvent<{ strokes: DrawnStrokes }>;
  clear: CustomEvent<Record<string, never>>;
  load: CustomEvent<{ name: string; words: readonly string[] }>;
  error: CustomEvent<{ error: Error }>;
}

declare global {
  /** They bubble to documents and windows. */
  interface GlobalEventHandlersEventMap {
    guess: CustomEvent<Prediction>;
    stroke: CustomEvent<{ strokes: DrawnStrokes }>;
    undo: CustomEvent<{ strokes: DrawnStrokes }>;
    clear: CustomEvent<Record<string, never>>;
  }
  interface HTMLElementTagNameMap {
    "quick-stroke": QuickStroke;
  }
}
