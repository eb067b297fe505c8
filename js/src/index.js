/** Names a drawing from its pen strokes. index.d.ts describes what is exported. */

import { ModelError, OptionError, shown } from "./errors.js";
import { compiled } from "./compiled.js";
import { embedding } from "./embedding.js";
import { fetchBytes } from "./fetch.js";
import { readModel } from "./model-file.js";
import { Network } from "./network.js";
import { toPoints } from "./points.js";
import { simplifyColumns } from "./simplify.js";
import { checkSimplified, readStrokes, written } from "./strokes.js";
import { unknownOf } from "./unknown.js";
import { positionsOf } from "./vocabulary.js";

export { ModelError, OptionError, StrokesError } from "./errors.js";

/** Opens a model. */
export async function load(source, { onProgress } = {}) {
  const bytes = await fetchBytes(source, onProgress);
  const { card, weights } = await readModel(bytes);
  return new Recognizer(card, new Network(await compiled(), card, weights));
}

/** A drawing as Google simplifies it. */
export function simplify(strokes, { layout = "auto" } = {}) {
  const read = readStrokes(strokes, layout);
  return written(simplifyColumns(read.columns), read.layout);
}

/** A loaded model; `load` makes it. */
export class Recognizer {
  #network;

  constructor(card, network) {
    if (!(network instanceof Network)) throw new ModelError("a Recognizer is made by `await load(model)`");
    this.#network = network;
    this.card = card;
    this.name = card.name;
    this.words = Object.freeze([...card.classes]);
    Object.freeze(this);
  }

  embed(strokes, { simplified = false, layout = "auto" } = {}) {
    return embedding(this.#read(strokes, simplified, layout));
  }

  predict(strokes, { top = 5, words, simplified = false, layout = "auto" } = {}) {
    if (!Number.isInteger(top) || top < 1) throw new OptionError(`top should be 1 or more, got ${shown(top)}`);
    const positions = words === undefined ? [...this.words.keys()] : positionsOf(this.words, words);
    const { logits } = this.#read(strokes, simplified, layout);
    const unknown = unknownOf(this.card.unknown, logits, positions);
    return { guesses: ranked(this.words, logits, positions, top), unknown };
  }

  #read(strokes, simplified, layout) {
    const { columns } = readStrokes(strokes, layout);
    if (simplified) checkSimplified(columns);
    const { name, max_padding: maxPadding } = this.card.preprocessing;
    return this.#network.read(toPoints(simplified ? columns : simplifyColumns(columns), maxPadding, name));
  }
}

/** The best of the words at `positions`, with a softmax over these. */
function ranked(words, logits, positions, top) {
  const highest = positions.reduce((best, i) => Math.max(best, logits[i]), -Infinity);
  const values = positions.map((i) => Math.exp(logits[i] - highest));
  const sum = values.reduce((all, value) => all + value, 0);
  const guesses = positions.map((i, k) => ({ word: words[i], probability: values[k] / sum }));
  return guesses.sort((a, b) => b.probability - a.probability).slice(0, top);
}
