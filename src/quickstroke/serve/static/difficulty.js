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
