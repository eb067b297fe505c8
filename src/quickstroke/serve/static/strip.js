/** The strip over the paper: what the page says, the clock of a round, and the buttons of the game. */

import { ROUND_MS } from "./game.js";
import { FittingText } from "./fitting-text.js";
import { capitalized, withArticle } from "./words.js";

const PLAY = { idle: "Play", ready: "Skip", drawing: "Skip", won: "Next", over: "Next" };
const N_SEEN = 3;
// A first guess is called sure above the one; a drawing is called unknown above the other.
const SURE = 0.75;
const UNKNOWN = 0.5;

/**
 * @typedef {object} Moment what there is to say something about
 * @property {import("./game.js").Game["phase"]} phase
 * @property {string | null} word what is asked for
 * @property {string[]} seen words that came first in this round
 * @property {number} nWon
 * @property {number} nRounds
 * @property {number} tookMs
 * @property {number} remainingMs
 * @property {import("./guesser.js").Guess | undefined} first the first guess
 * @property {number | null} unknown the probability that the drawing shows none of the words; null where nobody can tell
 * @property {boolean} isEmpty whether nothing is drawn
 */

const $ = (id) => document.getElementById(id);
const headline = new FittingText($("headline"));
const subline = new FittingText($("subline"));

/** @param {Moment} moment */
export function showStrip(moment) {
  const { phase, remainingMs } = moment;
  const isOn = phase === "ready" || phase === "drawing";
  // What takes room first, and then the sentences into what is left.
  if ($("strip").dataset.phase !== phase) {
    $("strip").dataset.phase = phase;
    $("clock").hidden = !isOn;
    $("stop").hidden = phase === "idle";
    $("play").textContent = PLAY[phase];
    $("play").title = phase === "idle" ? "Twenty seconds for a word, as in the game" : "";
  }
  if (isOn) {
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
export function sentences({ phase, word, seen, nWon, nRounds, tookMs, first, unknown, isEmpty }) {
  const asked = word && withArticle(word);
  const tally = `${nWon} of ${nRounds} so far.`;
  const took = `${(tookMs / 1000).toFixed(1)} s`;
  switch (phase) {
    case "ready":
      return [`Draw ${asked}`, "Twenty seconds, from your first stroke.", "20 s from the first stroke."];
    case "drawing":
      return [`Draw ${asked}`, ...(first ? lists(seen, (list) => `I see ${list} …`) : ["…"])];
    case "won":
      return [`${capitalized(asked)}!`, `Recognised after ${took}. ${tally}`, `${took}. ${tally}`];
    case "over": {
      const saw = lists(seen, (list) => `I saw ${list}.`);
      return [`Time is up: ${asked}`, ...saw.map((text) => `${tally} ${text}`), saw.at(-1)];
    }
    default: {
      if (!first && !isEmpty) return ["Let me see …", ""];
      if (!first) return ["Draw something", "The guesses change while you draw."];
      if (unknown > UNKNOWN) return ["I don’t know this one.", `Is it like ${withArticle(first.word)}?`];
      if (first.probability * (1 - (unknown ?? 0)) > SURE) return [`I see ${withArticle(first.word)}.`, "Quite sure."];
      if (first.probability >= 0.4) return [`${capitalized(withArticle(first.word))}?`, "It could be."];
      return [`Maybe ${withArticle(first.word)} …`, "Draw on."];
    }
  }
}

/** A sentence about the last three words, about the last two, and about the last. */
function lists(seen, sentence) {
  const last = seen.slice(-N_SEEN).map(withArticle);
  return last.length ? last.map((_, i) => sentence(last.slice(i).join(", "))) : [sentence("nothing")];
}
