/** Names a drawing from its pen strokes. index.d.ts describes what is exported. */

import { Discriminant } from "./discriminant.js";
import { checkOptions, ModelError, OptionError, shown, throwAbout } from "./errors.js";
import { compiled } from "./compiled.js";
import { fetchBytes } from "./fetch.js";
import { readModel } from "./model-file.js";
import { Network } from "./network.js";
import { toPoints } from "./points.js";
import { simplifyColumns } from "./simplify.js";
import { checkSimplified, readStrokes, written } from "./strokes.js";
import { embedding, TaughtWords } from "./taught.js";
import { unknownOf } from "./unknown.js";
import { positionsOf } from "./vocabulary.js";

export { ModelError, OptionError, StrokesError } from "./errors.js";

// Options of how strokes are read.
const READING = ["simplified", "layout"];

/** Opens a model. */
export async function load(source, options = {}) {
  checkOptions(options, "onProgress", "signal");
  const bytes = await fetchBytes(source, options);
  const { card, weights } = await readModel(bytes).catch((error) => throwAbout(source, error));
  const recognizer = new Recognizer(card, new Network(await compiled(), card, weights));
  options.signal?.throwIfAborted();
  return recognizer;
}

/** A drawing as Google simplifies it. */
export function simplify(strokes, options = {}) {
  const { layout = "auto" } = checkOptions(options, "layout");
  const read = readStrokes(strokes, layout);
  return written(simplifyColumns(read.columns), read.layout);
}

/** A loaded model; `load` makes it. */
export class Recognizer {
  #network;
  #taught;

  constructor(card, network) {
    if (!(network instanceof Network)) throw new ModelError("a Recognizer is made by `await load(model)`");
    this.#network = network;
    this.card = card;
    this.name = card.name;
    this.#taught = new TaughtWords(card, (columns) => this.#readSimplified(columns));
    Object.freeze(this);
  }

  get words() {
    return Object.freeze([...this.card.classes, ...this.#taught.words]);
  }

  get taught() {
    return this.#taught.counts;
  }

  teach(word, drawings, options = {}) {
    checkOptions(options, ...READING);
    if (!Array.isArray(drawings)) throw new OptionError(`drawings should be a list of drawings, got ${shown(drawings)}`);
    this.#taught.add(word, drawings.map((strokes) => columnsOf(strokes, options)));
  }

  forget(word) {
    this.#taught.remove(word);
  }

  save() {
    return this.#taught.toText();
  }

  restore(text) {
    this.#taught.addText(text);
  }

  async loadTeaching(source) {
    this.#taught.compareBy(Discriminant.ofFile(await fetchBytes(source), this.card));
  }

  embed(strokes, options = {}) {
    return embedding(this.#read(strokes, checkOptions(options, ...READING)));
  }

  predict(strokes, options = {}) {
    const { top = 5, words } = checkOptions(options, "top", "words", ...READING);
    if (!Number.isInteger(top) || top < 1) throw new OptionError(`top should be 1 or more, got ${shown(top)}`);
    const known = this.words;
    const positions = words === undefined ? [...known.keys()] : positionsOf(known, words);
    const read = this.#read(strokes, options);
    const { logits, unknown } = extended(read, this.card.unknown, positions, this.#taught.logOdds(read));
    return { guesses: ranked(known, logits, positions, top), unknown };
  }

  #read(strokes, options) {
    return this.#readSimplified(columnsOf(strokes, options));
  }

  #readSimplified(columns) {
    const { name, max_padding: maxPadding } = this.card.preprocessing;
    const isDots = columns.every((rows) => rows.every((row) => row.every((value) => value === row[0])));
    return { isDots, ...this.#network.read(toPoints(columns, maxPadding, name)) };
  }
}

function columnsOf(strokes, { simplified = false, layout = "auto" }) {
  const { columns } = readStrokes(strokes, layout);
  if (!simplified) return simplifyColumns(columns);
  checkSimplified(columns);
  return columns;
}

/** Logits of the model's words and then of the taught ones, and how likely it is none of those at `positions`. */
function extended({ logits, isDots }, rule, positions, logOdds) {
  if (!logOdds.length) return { logits, unknown: unknownOf(rule, logits, positions, isDots) };
  const highest = logits.reduce((best, value) => Math.max(best, value), -Infinity);
  const total = highest + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - highest), 0));
  const all = [...Array.from(logits, (value) => value - total), ...logOdds];
  const sum = all.reduce((before, value) => before + Math.exp(value), 0);
  const none = unknownOf(rule, logits, [...logits.keys()], isDots);
  const chosen = positions.reduce((before, i) => before + Math.exp(all[i]), 0);
  return { logits: all, unknown: none === null ? null : 1 - (1 - none / sum) * (chosen / sum) };
}

/** The best of the words at `positions`, with a softmax over these. */
function ranked(words, logits, positions, top) {
  const highest = positions.reduce((best, i) => Math.max(best, logits[i]), -Infinity);
  const values = positions.map((i) => Math.exp(logits[i] - highest));
  const sum = values.reduce((all, value) => all + value, 0);
  const guesses = positions.map((i, k) => ({ word: words[i], probability: values[k] / sum }));
  return guesses.sort((a, b) => b.probability - a.probability).slice(0, top);
}
