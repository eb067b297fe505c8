export { ModelError, OptionError, StrokesError } from "./index.js";
import type { Card, EmbedOptions, LoadOptions, Prediction, PredictOptions, Strokes } from "./index.js";

/** A model in a worker of its own; `load` makes it. */
export class WorkerRecognizer {
  private constructor();
  readonly name: string;
  readonly words: readonly string[];
  readonly card: Card;
  /** As `Recognizer.predict`, but later. */
  predict(strokes: Strokes, options?: PredictOptions): Promise<Prediction>;
  readonly taught: Readonly<Record<string, number>>;
  embed(strokes: Strokes, options?: EmbedOptions): Promise<Float32Array>;
  teach(word: string, drawings: readonly Strokes[], options?: EmbedOptions): Promise<void>;
  forget(word: string): Promise<void>;
  save(): Promise<string>;
  restore(text: string): Promise<void>;
  loadTeaching(source: string | URL | ArrayBuffer | ArrayBufferView): Promise<void>;
  /** Ends the worker. */
  close(): void;
}

/** Opens a model as `load` of "quickstroke" does, in a worker. A Content-Security-Policy has to allow `blob:` for workers. */
export function load(
  source: string | URL | ArrayBuffer | ArrayBufferView,
  options?: LoadOptions,
): Promise<WorkerRecognizer>;
