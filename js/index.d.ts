/** A stroke as points, `[[x, y], ..]`, perhaps `[x, y, t]` each; y grows downwards. */
export type PointStroke = readonly ArrayLike<number>[];
/** A stroke as Google's columns, `[[x..], [y..]]`, perhaps with `[t..]`. */
export type ColumnStroke = readonly ArrayLike<number>[];
/** A drawing: its strokes, all in the same layout. */
export type Strokes = readonly (PointStroke | ColumnStroke)[];

/** `auto` sees the layout, and reads points where every stroke has two or three rows of two or three numbers. */
export type Layout = "auto" | "points" | "columns";

export interface Guess {
  word: string;
  /** 0 to 1. */
  probability: number;
}

export interface Prediction {
  /** The most probable words, best first. */
  guesses: Guess[];
  /** The probability, 0 to 1, that the drawing shows none of the words asked for; null for a model that cannot tell. */
  unknown: number | null;
}

export interface PredictOptions {
  /** How many words; 5 by default. Fewer come where there are fewer. */
  top?: number;
  /** The only words that count, written with spaces or underscores: probabilities are over these. */
  words?: Iterable<string>;
  /** Whether the strokes are in Google's simplified form, integers from 0 to 255; by default they are a pen's own. */
  simplified?: boolean;
  layout?: Layout;
}

/** As those of `PredictOptions`. */
export type EmbedOptions = Pick<PredictOptions, "simplified" | "layout">;

export interface LoadOptions {
  /** Called while a model comes over the network; `total` is null where the server does not say. */
  onProgress?: (bytes: number, total: number | null) => void;
  /** Ends the loading, which then raises the signal's reason. */
  signal?: AbortSignal;
}

/** What the model file says of its model. */
export interface Card {
  readonly name: string;
  readonly classes: readonly string[];
  readonly preprocessing: { readonly name: "delta3" | "pos5"; readonly max_padding: number };
  readonly parameters?: number;
  readonly [entry: string]: unknown;
}

/** A loaded model; `load` makes it. */
export class Recognizer {
  private constructor();
  /** The model's name. */
  readonly name: string;
  /** Every word that it knows, with those that it was taught. */
  readonly words: readonly string[];
  /** The words that it was taught, and by how many drawings each. */
  readonly taught: Readonly<Record<string, number>>;
  readonly card: Card;
  /**
   * Names a drawing. It takes some milliseconds and nothing leaves the machine.
   *
   * @throws {StrokesError} no strokes, an empty one, or numbers that are not finite or out of range
   * @throws {OptionError} a word that the model does not know, or another option that cannot be
   */
  predict(strokes: Strokes, options?: PredictOptions): Prediction;
  /**
   * The embedding of a drawing, a direction: drawings of one word have a high cosine. The same as Python's
   * `Recognizer.embed` of the same file.
   *
   * @throws {StrokesError} as `predict`
   */
  embed(strokes: Strokes, options?: EmbedOptions): Float32Array;
  /**
   * Adds a word at once, by three drawings of it or more.
   *
   * @throws {OptionError} the word is there already, or too few drawings
   * @throws {StrokesError} as `predict`
   */
  teach(word: string, drawings: readonly Strokes[], options?: EmbedOptions): void;
  /** Takes away a word that was taught. */
  forget(word: string): void;
  /** The taught words as the text of a file, which Python's `Recognizer.load` takes, too. */
  save(): string;
  /**
   * Adds the words of such a text.
   *
   * @throws {OptionError} it is damaged, of another model or of a newer version, or has a word that is there already
   */
  restore(text: string): void;
  /**
   * Reads `teaching.json` of an exported page, by which taught words are recognised more often, where the model file was
   * exported without: its address, its bytes, or in Node its path.
   *
   * @throws {ModelError} it cannot be loaded, is damaged, or of another model
   */
  loadTeaching(source: string | URL | ArrayBuffer | ArrayBufferView): Promise<void>;
}

/**
 * Opens a model, a file of `quickstroke export --to quickstroke`: its address, its bytes, or in Node its path.
 *
 * @throws {ModelError} it cannot be loaded, is damaged, or of a newer version
 */
export function load(source: string | URL | ArrayBuffer | ArrayBufferView, options?: LoadOptions): Promise<Recognizer>;

/**
 * A drawing as Google simplifies it, in the layout that it came in: integers from 0 to 255, the same as Python's
 * `quickstroke.simplify`.
 *
 * @throws {StrokesError}
 */
export function simplify(strokes: Strokes, options?: { layout?: Layout }): number[][][];

/** A model file that is missing, damaged, newer than this program, or larger than it can hold. */
export class ModelError extends Error {}
/** A drawing that cannot be read. */
export class StrokesError extends RangeError {}
/** An option that cannot be used, or a word that the model does not know. */
export class OptionError extends RangeError {}
