/** The list of guesses: words, their bars and percentages. */

import { $, make } from "./elements.js";
import { FittingText } from "./fitting-text.js";
import { percent } from "./quickstroke.js";

const N_GUESSES = 5;

const rows = Array.from({ length: N_GUESSES }, () => {
  const row = make("li");
  const [word, value, track] = ["word", "value", "track"].map((name) => {
    const span = make("span");
    span.className = name;
    return span;
  });
  const bar = make("span");
  track.append(bar);
  row.append(word, value, track);
  $("guesses").append(row);
  return { row, word: new FittingText(word), value, bar };
});

/**
 * @param {import("./guesser.js").Guess[]} guesses the best first
 * @param {string | null} asked the word that a round asks for
 */
export function showGuesses(guesses, asked) {
  rows.forEach(({ row, word, value, bar }, i) => {
    const guess = guesses[i];
    row.classList.toggle("is-asked", guess !== undefined && guess.word === asked);
    value.textContent = guess ? percent(guess.probability) : "";
    word.show(guess?.word ?? "");
    bar.style.transform = `scaleX(${guess?.probability ?? 0})`;
  });
}
