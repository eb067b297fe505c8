/** Words in sentences, and words that somebody typed. */

// Of the official categories: what has no article, and what there is one of.
const WITHOUT_ARTICLE = new Set(
  (
    "asparagus,binoculars,bread,broccoli,camouflage,drums,eyeglasses,flip flops,grapes,grass,headphones,lightning," +
    "matches,pants,peas,pliers,rain,rollerskates,scissors,shorts,stairs,stitches,toothpaste,underwear,yoga"
  ).split(","),
);
const UNIQUE = new Set(["moon", "ocean", "sun"]);

/** `a bicycle`, `an apple`, `the sun`, `scissors`, `the Eiffel Tower`. */
export function withArticle(word) {
  if (WITHOUT_ARTICLE.has(word)) return word;
  if (word.startsWith("The ")) return `the ${word.slice(4)}`;
  if (UNIQUE.has(word)) return `the ${word}`;
  // Fred, my robot, and what is no English: 猫, 1
  if (/^\p{Lu}|^(?!\p{Script=Latin})|^(?:my|our|your|the|an?) /u.test(word)) return word;
  return `${/^(?!uni|eu|one\b|use)[aeiou]|^hour/i.test(word) ? "an" : "a"} ${word}`;
}

/** What words are compared by, so that `teddy bear`, `Teddy-Bear` and `teddybear` are one. */
export const bare = (word) => word.normalize("NFKC").toLowerCase().replace(/[\s_-]+/g, "");

/** `a cat`, `a cat and a dog`, `a cat, a dog and a fish`. */
export function listed(texts) {
  return texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts.at(-1)}`;
}

/** The text with its first letter large. */
export function capitalized(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * The words that somebody typed, with commas or lines between them.
 *
 * @param {string} text
 * @param {string[]} words that the model knows
 * @returns {{known: string[], unknown: string[]}} each once
 */
export function typedWords(text, words) {
  // Exactly before nearly: `A` and `a` may both be there.
  const byName = new Map([...words.map((word) => [bare(word), word]), ...words.map((word) => [word, word])]);
  // `Eiffel Tower` is enough.
  for (const word of words) if (word.startsWith("The ")) byName.set(bare(word.slice(4)), word);
  const known = new Set();
  const unknown = new Set();
  for (const typed of text.split(/[,;\n]/).filter((each) => each.trim())) {
    const word = byName.get(typed.normalize("NFC").trim()) ?? byName.get(bare(typed));
    if (word) known.add(word);
    else unknown.add(typed.trim());
  }
  return { known: [...known], unknown: [...unknown] };
}
