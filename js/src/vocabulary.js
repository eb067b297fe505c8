/** The words of a model, and which of them a caller means. */

import { OptionError, shown } from "./errors.js";

/**
 * The positions of `words` among `classes`.
 *
 * @param {string[]} classes
 * @param {Iterable<string>} words with spaces or underscores, in letters of either case
 * @throws {OptionError} one is unknown or there twice, or there is none
 */
export function positionsOf(classes, words) {
  if (typeof words === "string" || typeof words?.[Symbol.iterator] !== "function") {
    throw new OptionError(`words should be a list of words, got ${shown(words)}`);
  }
  // A word as it is written counts before one that differs in letter case: `A` and `a` may both be there.
  const known = new Map([...classes.map((word, i) => [normal(word), i]), ...classes.map((word, i) => [word, i])]);
  const positions = new Set();
  for (const word of words) {
    const position = typeof word === "string" ? (known.get(spaced(word)) ?? known.get(normal(word))) : undefined;
    if (position === undefined) {
      const advice = typeof word === "string" ? `; the nearest that it knows is ${shown(nearest(classes, word))}` : "";
      throw new OptionError(`the model does not know the word ${shown(word)}${advice}`);
    }
    if (positions.has(position)) throw new OptionError(`words has ${shown(word)} twice`);
    positions.add(position);
  }
  if (!positions.size) throw new OptionError("words is an empty list; expected at least one word, or leave it out");
  return [...positions].sort((a, b) => a - b);
}

export const normal = (word) => spaced(word).toLowerCase();

/** As it is written: accents composed, single spaces, as Python has it. */
export const spaced = (word) => word.normalize("NFC").replaceAll("_", " ").trim().replace(/\s+/g, " ");

// The joiner and the non-joiner may stand between two characters that are no ASCII: in emoji, in Persian, in Hindi.
const JOINER = /(?<=[^\0-\x7f\u200c\u200d])[\u200c\u200d](?=[^\0-\x7f\u200c\u200d])/gu;

/** The first character that keeps a word from being one, such as `U+202E`, as Python has it; empty where there is none. */
export function unprintable(word) {
  const [found] = word.replace(JOINER, "").match(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u) ?? [];
  return found ? `U+${found.codePointAt().toString(16).toUpperCase().padStart(4, "0")}` : "";
}

/** The class that takes the fewest changed letters. */
function nearest(classes, word) {
  const asked = normal(word).slice(0, 100);
  const distances = classes.map((known) => distance(asked, known.toLowerCase()));
  return classes[distances.indexOf(Math.min(...distances))];
}

/** How many letters to insert, take away or change (Levenshtein). */
function distance(a, b) {
  let before = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    before = row;
  }
  return before[b.length];
}
