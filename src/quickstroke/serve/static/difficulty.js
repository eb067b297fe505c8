/** Which words are easy: by how many of 100 drawings by people the default model is sure of. */

// Fewer words than these are no choice worth having.
const LEAST_WORDS = 18;

/**
 * @typedef {{name: string, label: string, words: string[], fact: string}} Kind
 *
 * @param {string[]} words the words of the model
 * @param {Map<string, number>} percents of some words
 * @returns {Kind[]} kinds of games, the easiest first; one alone where nothing is known about the words
 */
export function kindsOf(words, percents) {
  const all = { name: "all", label: "All words", words, fact: `${words.length}, easy and hard` };
  const known = words.filter((word) => percents.has(word));
  if (known.length < LEAST_WORDS || known.length < words.length / 2) return [all];
  known.sort((a, b) => percents.get(b) - percents.get(a) || (a < b ? -1 : 1));
  const third = Math.ceil(known.length / 3);
  const parts = [
    ["easy", "Easy"],
    ["medium", "Medium"],
    ["hard", "Hard"],
  ].map(([name, label], i) => {
    const own = known.slice(i * third, (i + 1) * third);
    const [most, least] = [percents.get(own[0]), percents.get(own.at(-1))];
    return { name, label, words: own, fact: `${least} to ${most} of 100 drawings are recognised` };
  });
  return [...parts, all];
}

/**
 * The words that somebody typed, with commas or lines between them.
 *
 * @param {string} text
 * @param {string[]} words that the model knows
 * @returns {{known: string[], unknown: string[]}} each once
 */
export function typedWords(text, words) {
  const normal = (word) => word.replaceAll("_", " ").trim().replace(/\s+/g, " ").toLowerCase();
  const byName = new Map(words.map((word) => [normal(word), word]));
  // `Eiffel Tower` is enough.
  for (const word of words) if (word.startsWith("The ")) byName.set(normal(word.slice(4)), word);
  const known = new Set();
  const unknown = new Set();
  for (const typed of text.split(/[,;\n]/).filter((each) => each.trim())) {
    const word = byName.get(normal(typed));
    if (word) known.add(word);
    else unknown.add(typed.trim());
  }
  return { known: [...known], unknown: [...unknown] };
}
