/**
 * Words that a recogniser was taught by a few drawings; the same as `quickstroke.inference.prototypes`, with the same
 * constants, and the same file.
 */

import { Discriminant } from "./discriminant.js";
import { OptionError, shown } from "./errors.js";
import { checkSimplified, readStrokes } from "./strokes.js";
import { normal, spaced, unprintable } from "./vocabulary.js";

const FORMAT = "quickstroke taught words";
const VERSION = 1;
const LEAST_DRAWINGS = 3;
const [EVIDENCE, FAVOUR, MANY, SHARE] = [0.17, 0.3, 20, 50];
const [SLOPE, MIDDLE] = [26, 0.835];

/**
 * The direction of what the output layer reads, and beside it that of the probabilities to the power 1/4.
 *
 * @param {{logits: Float32Array, features: Float32Array}} read
 * @returns {Float32Array} (R + K), of length 1
 */
export function embedding({ logits, features }) {
  const highest = logits.reduce((best, value) => Math.max(best, value), -Infinity);
  // What all probabilities are divided by changes no direction.
  const roots = Float64Array.from(logits, (value) => Math.exp((value - highest) / 4));
  return Float32Array.from([...direction(features), ...direction(roots)], (value) => value * Math.SQRT1_2);
}

function direction(values) {
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return Float64Array.from(values, (value) => value / (length || 1));
}

export class TaughtWords {
  #card;
  #read;
  #discriminant;
  /** Word -> its drawings in columns, simplified, and their prototype. */
  #words = new Map();

  /**
   * @param {object} card of the model
   * @param {(columns: number[][][]) => {logits: Float32Array, features: Float32Array}} read of a simplified drawing
   */
  constructor(card, read) {
    this.#card = card;
    this.#read = read;
    this.#discriminant = Discriminant.ofCard(card);
  }

  get words() {
    return [...this.#words.keys()];
  }

  get counts() {
    return Object.fromEntries([...this.#words].map(([word, { drawings }]) => [word, drawings.length]));
  }

  /** @param {number[][][][]} drawings simplified, in columns */
  add(given, drawings) {
    const word = typeof given === "string" ? spaced(given) : "";
    if (!word) throw new OptionError(`word should be a word, got ${shown(given)}`);
    if (unprintable(word)) throw new OptionError(`word has ${unprintable(word)}, which cannot be printed`);
    const isKnown = (words) => words.some((other) => normal(other) === normal(word));
    if (isKnown(this.#card.classes)) throw new OptionError(`the model knows the word ${shown(word)} already`);
    if (isKnown(this.words)) throw new OptionError(`the word ${shown(word)} is taught already; forget it first`);
    if (drawings.length < LEAST_DRAWINGS) {
      const n = drawings.length;
      throw new OptionError(`${n} drawings of ${shown(word)} were given; a word is taught by ${LEAST_DRAWINGS} or more`);
    }
    this.#words.set(word, this.#learnt(drawings));
  }

  #learnt(drawings) {
    const compared = drawings.map((columns) => this.#compared(this.#read(columns)));
    const mean = compared[0].map((_, i) => compared.reduce((all, own) => all + own[i], 0) / compared.length);
    return { drawings, prototype: this.#discriminant ? mean : direction(mean) };
  }

  /** Compares by a discriminant from now on, the words taught before, too. */
  compareBy(discriminant) {
    this.#discriminant = discriminant;
    for (const [word, { drawings }] of this.#words) this.#words.set(word, this.#learnt(drawings));
  }

  remove(given) {
    const word = this.words.find((other) => normal(other) === normal(`${given}`));
    if (!this.#words.delete(word)) throw new OptionError(`the word ${shown(given)} was not taught`);
  }

  /** What prototypes are the mean of and are compared with. */
  #compared(read) {
    return this.#discriminant ? this.#discriminant.project(read.logits) : Array.from(embedding(read));
  }

  /** The log odds (N) of the taught words against all of the model together. */
  logOdds(read) {
    if (!this.#words.size) return [];
    const own = this.#compared(read);
    const known = [...this.#words.values()].map(({ drawings, prototype }) => ({ n: drawings.length, prototype }));
    if (!this.#discriminant) {
      return known.map(({ n, prototype }) => {
        const cosine = prototype.reduce((sum, value, i) => sum + value * own[i], 0);
        return ((SLOPE * n) / (n + 1)) * (cosine - MIDDLE);
      });
    }
    const means = known.map(({ n, prototype }) => prototype.map((value) => (value * n) / (n + 1)));
    const evidence = this.#discriminant.evidence(own, means);
    return known.map(({ n }, i) => EVIDENCE * evidence[i] + FAVOUR - Math.min(n, MANY) / SHARE);
  }

  /** The file's text. */
  toText() {
    const words = Object.fromEntries([...this.#words].map(([word, { drawings }]) => [word, drawings]));
    const { name: model, sha256 } = this.#card;
    return `${JSON.stringify({ format: FORMAT, version: VERSION, model, model_sha256: sha256, words })}\n`;
  }

  /** Adds the words of a file's text, all of them or none. */
  addText(text) {
    let content = null;
    try {
      content = JSON.parse(text);
    } catch {
      throw new OptionError("the file of taught words is cut off, damaged or none: it is no JSON");
    }
    if (content?.format !== FORMAT) throw new OptionError("this is no file of taught words");
    if (!(Number.isInteger(content.version) && content.version >= 1 && content.version <= VERSION)) {
      throw new OptionError(`taught words of version ${shown(content.version)}; this program reads version ${VERSION}`);
    }
    if (content.model_sha256 !== this.#card.sha256) {
      throw new OptionError(`these words were taught to another model, ${shown(content.model)}`);
    }
    const before = new Map(this.#words);
    try {
      if (typeof content.words !== "object" || Array.isArray(content.words)) throw Error("words is no object");
      for (const [word, drawings] of Object.entries(content.words)) {
        this.add(word, drawings.map(columnsOf));
      }
    } catch (error) {
      this.#words = before;
      throw error.name === "OptionError" ? error : new OptionError(`the file of taught words is damaged: ${error.message}`);
    }
  }
}

function columnsOf(drawing) {
  const { columns } = readStrokes(drawing, "columns");
  checkSimplified(columns);
  return columns;
}
