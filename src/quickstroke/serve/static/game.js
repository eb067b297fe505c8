/** Rounds as in the game: a word, twenty seconds, and whether the model gets it. No clock and no page in here. */

export const ROUND_MS = 20_000;
// A first line can look like anything for a moment: the word has to stay first for so long.
const STEADY_MS = 350;

/**
 * A round is `ready` until the first stroke starts its clock, then `drawing`, then `won` or `over`; without a round the
 * game is `idle`. All times are milliseconds of one clock, which the caller reads.
 */
export class Game {
  phase = "idle";
  word = null;
  /** Words that came first in this round, in order, each once. */
  seen = [];
  nWon = 0;
  nRounds = 0;
  tookMs = 0;
  #classes;
  #random;
  #bag = [];
  #startedAt = 0;
  #firstSince = null;

  /** @param {string[]} classes what can be asked for */
  constructor(classes, random = Math.random) {
    this.#classes = classes;
    this.#random = random;
  }

  get isOn() {
    return this.phase === "ready" || this.phase === "drawing";
  }

  /** A new round with a word that has not been asked for until all have. */
  next() {
    if (!this.#bag.length) {
      this.#bag = [...this.#classes];
      for (let i = this.#bag.length - 1; i > 0; i--) {
        const j = Math.floor(this.#random() * (i + 1));
        [this.#bag[i], this.#bag[j]] = [this.#bag[j], this.#bag[i]];
      }
      // The last word of the bag before is not asked for twice in a row.
      if (this.#bag.length > 1 && this.#bag.at(-1) === this.word) this.#bag.unshift(this.#bag.pop());
    }
    this.word = this.#bag.pop();
    this.phase = "ready";
    this.seen = [];
    this.#firstSince = null;
  }

  stop() {
    this.phase = "idle";
    this.word = null;
    this.#bag = [];
    this.nWon = this.nRounds = 0;
  }

  /** The first stroke begins. */
  begin(nowMs) {
    if (this.phase !== "ready") return;
    this.phase = "drawing";
    this.#startedAt = nowMs;
  }

  remainingMs(nowMs) {
    if (this.phase === "ready") return ROUND_MS;
    return this.phase === "drawing" ? Math.max(this.#startedAt + ROUND_MS - nowMs, 0) : 0;
  }

  /** The model's first guess has changed or was confirmed; null when there is none. */
  saw(word, nowMs) {
    if (this.phase !== "drawing") return;
    if (word && !this.seen.includes(word)) this.seen.push(word);
    this.#firstSince = word === this.word ? (this.#firstSince ?? nowMs) : null;
    this.tick(nowMs);
  }

  /** Lets time pass. */
  tick(nowMs) {
    if (this.phase !== "drawing") return;
    const isTimeUp = this.remainingMs(nowMs) === 0;
    if (this.#firstSince !== null && (isTimeUp || nowMs - this.#firstSince >= STEADY_MS)) {
      this.tookMs = this.#firstSince - this.#startedAt;
      this.#end("won");
    } else if (isTimeUp) {
      this.#end("over");
    }
  }

  #end(phase) {
    this.phase = phase;
    this.nRounds += 1;
    if (phase === "won") this.nWon += 1;
  }
}
