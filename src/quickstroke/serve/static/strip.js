/** The strip over the paper: what the page says, the clock of a round, and the buttons of the game. */

import { $ } from "./elements.js";
import { FittingText } from "./fitting-text.js";
import { ROUND_MS } from "./game.js";
import { capitalized, listed, withArticle } from "./words.js";

const PLAY = { idle: "Play", ready: "Skip", drawing: "Skip", won: "Next", over: "Next" };
const LAST = "Results";
const N_SEEN = 3;
// A first guess is called sure above the one; a drawing is called unknown above the other.
const SURE = 0.75;
export const UNKNOWN = 0.5;

/**
 * @typedef {object} Moment what there is to say something about
 * @property {import("./game.js").Game["phase"]} phase
 * @property {string | null} word what is asked for
 * @property {string[]} seen words that came first in this round
 * @property {number} nWon of the rounds that have ended
 * @property {number} nEnded
 * @property {number} nRounds of the whole game
 * @property {boolean} isPaused whether the clock waits
 * @property {number} tookMs
 * @property {number} remainingMs Infinity without a clock
 * @property {import("./guesser.js").Guess | undefined} first the first guess
 * @property {number | null} unknown the probability that the drawing shows none of the words; null where nobody can tell
 * @property {boolean} isEmpty whether nothing is drawn
 */

const headline = new FittingText($("headline"));
const subline = new FittingText($("subline"));

/** @param {Moment} moment */
export function showStrip(moment) {
  const { phase, remainingMs } = moment;
  const isOn = phase === "ready" || phase === "drawing";
  // What takes room first, and then the sentences into what is left.
  if ($("strip").dataset.phase !== phase) {
    $("strip").dataset.phase = phase;
    $("clock").hidden = !isOn || remainingMs === Infinity;
    $("stop").hidden = phase === "idle";
    const hasEnded = phase === "won" || phase === "over";
    $("play").textContent = hasEnded && moment.nEnded === moment.nRounds ? LAST : PLAY[phase];
    // Leaving a word is the lesser wish.
    $("play").className = isOn ? "quiet" : "primary";
  }
  if (!$("clock").hidden) {
    const seconds = String(Math.ceil(remainingMs / 1000));
    if ($("clock-seconds").textContent !== seconds) $("clock-seconds").textContent = seconds;
    $("clock-hand").style.strokeDashoffset = String(100 - (100 * remainingMs) / ROUND_MS);
    $("clock").classList.toggle("is-short", remainingMs <= 5000);
  }
  const [first, ...others] = sentences(moment);
  headline.show(first);
  subline.show(...others);
}

/**
 * The headline, and what stands under it, from the longest form to the shortest.
 *
 * @param {Moment} moment
 * @returns {string[]}
 */
export function sentences(moment) {
  const { phase, word, seen, nWon, nEnded, nRounds, tookMs, isPaused, remainingMs, first, unknown, isEmpty } = moment;
  const asked = word && withArticle(word);
  const round = `Word ${nEnded + 1} of ${nRounds}`;
  const tally = `${nWon} of ${nEnded} so far.`;
  const took = `${(tookMs / 1000).toFixed(1)}\u00a0s`;
  switch (phase) {
    case "ready":
      if (remainingMs === Infinity) return [`Draw ${asked}`, `${round}: take your time.`, `${nEnded + 1} of ${nRounds}`];
      return [`Draw ${asked}`, `${round}: twenty seconds, from your first stroke.`, `${round}: 20\u00a0s.`, `${nEnded + 1} of ${nRounds}`];
    case "drawing":
      if (isPaused) return [`Draw ${asked}`, "The game waits until somebody can guess again.", "The game waits."];
      return [`Draw ${asked}`, ...(first ? lists(seen, (list) => `I see ${list} …`) : ["…"])];
    case "won":
      return [`${capitalized(asked)}!`, `Recognised after ${took}. ${tally}`, `${took}. ${tally}`];
    case "over": {
      const saw = lists(seen, (list) => `I saw ${list}.`);
      return [`Time is up. The word was ${bare(word)}.`, ...saw.map((text) => `${tally} ${text}`), ...saw];
    }
    default: {
      if (!first && !isEmpty) return ["Let me see …", ""];
      if (!first) return ["Draw something", "The guesses change while you draw."];
      if (unknown > UNKNOWN) return ["I don’t know this one.", `It looks a little like ${withArticle(first.word)}.`];
      if (first.probability * (1 - (unknown ?? 0)) > SURE) return [`I see ${withArticle(first.word)}.`, "Quite sure."];
      if (first.probability >= 0.4) return [`${capitalized(withArticle(first.word))}?`, "It could be."];
      return [`Maybe ${withArticle(first.word)} …`, "Keep drawing."];
    }
  }
}

/** A word as a sentence names it: `mountain`, `the Eiffel Tower`. */
function bare(word) {
  return word.startsWith("The ") ? withArticle(word) : word;
}

/** A sentence about the last three words, about the last two, and about the last. */
function lists(seen, sentence) {
  const last = seen.slice(-N_SEEN).map(withArticle);
  return last.length ? last.map((_, i) => sentence(listed(last.slice(i)))) : [sentence("nothing")];
}
