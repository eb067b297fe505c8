/**
 * A game: six words, twenty seconds for each, whether the model gets them, and the score of all games. No clock and no
 * page in here.
 */

export const N_ROUNDS = 6;
export const ROUND_MS = 20_000;
/** A round is won when its word has been first for so long .. */
export const STEADY_MS = 500;
/** .. with at least so much of the probability. */
export const LEAST_PROBABILITY = 0.5;

/**
 * A round is `ready` until the first stroke starts its clock, then `drawing`, then `won` or `over`; without a round the
 * game is `idle`. All times are milliseconds of one clock, which the caller reads.
 *
 * @typedef {{word: string, outcome: "won" | "over" | "skipped", seen: string[], tookMs: number}} Round
 */
export class Game {
  phase = "idle";
  word = null;
  /** Words that came first in this round, in order, each once. */
  seen = [];
  /** @type {Round[]} the rounds that have ended */
  rounds = [];
  nRounds = 0;
  /** How long a round takes from its first stroke on; Infinity without a clock. */
  roundMs = ROUND_MS;
  tookMs = 0;
  #random;
  #asked = new Set();
  #queue = [];
  #startedAt = 0;
  #firstSince = null;
  #pausedAt = null;

  constructor(random = Math.random) {
    this.#random = random;
  }

  get isOn() {
    return this.phase === "ready" || this.phase === "drawing";
  }

  get isPaused() {
    return this.#pausedAt !== null;
  }

  get nWon() {
    return this.rounds.filter(({ outcome }) => outcome === "won").length;
  }

  /**
   * Begins a game, and its first round. No word comes again until all have been asked for.
   *
   * @param {string[]} words what can be asked for; of fewer than six each is asked for once
   * @param {number} roundMs by default as in the game before
   */
  start(words, roundMs = this.roundMs) {
    const n = Math.min(N_ROUNDS, words.length);
    let pool = words.filter((word) => !this.#asked.has(word));
    if (pool.length < n) {
      this.#asked.clear();
      pool = [...words];
    }
    for (let i = pool.length - 1; i > 0; i--) {
      const j = Math.floor(this.#random() * (i + 1));
      [pool[i], pool[j]] = [pool[j], pool[i]];
    }
    this.#queue = pool.slice(0, n);
    this.nRounds = n;
    this.roundMs = roundMs;
    this.rounds = [];
    this.next();
  }

  /** The next round; after the last one the game is idle, and its rounds stay. */
  next() {
    this.word = this.#queue.shift() ?? null;
    this.phase = this.word === null ? "idle" : "ready";
    if (this.word !== null) this.#asked.add(this.word);
    this.seen = [];
    this.#firstSince = this.#pausedAt = null;
  }

  skip() {
    if (!this.isOn) return;
    this.#end("skipped");
    this.next();
  }

  stop() {
    this.#queue = [];
    this.rounds = [];
    this.next();
  }

  /** The first stroke begins. */
  begin(nowMs) {
    if (this.phase !== "ready") return;
    this.phase = "drawing";
    this.#startedAt = nowMs;
  }

  /** The clock stands still, as nobody can guess. */
  pause(nowMs) {
    if (this.phase === "drawing") this.#pausedAt ??= nowMs;
  }

  resume(nowMs) {
    if (this.#pausedAt === null) return;
    this.#startedAt += nowMs - this.#pausedAt;
    this.#firstSince = this.#pausedAt = null; // what was first before may not be any more
  }

  remainingMs(nowMs) {
    if (this.phase === "ready") return this.roundMs;
    return this.phase === "drawing" ? Math.max(this.#startedAt + this.roundMs - (this.#pausedAt ?? nowMs), 0) : 0;
  }

  /**
   * The model's first guess has changed or was confirmed.
   *
   * @param {{word: string, probability: number} | undefined} first
   */
  saw(first, nowMs) {
    if (this.phase !== "drawing" || this.isPaused) return;
    if (first && !this.seen.includes(first.word)) this.seen.push(first.word);
    const isIt = first?.word === this.word && first.probability >= LEAST_PROBABILITY;
    this.tick(nowMs); // until now it was first
    if (this.phase === "drawing") this.#firstSince = isIt ? (this.#firstSince ?? nowMs) : null;
  }

  /** Lets time pass. */
  tick(nowMs) {
    if (this.phase !== "drawing" || this.isPaused) return;
    const until = Math.min(nowMs, this.#startedAt + this.roundMs);
    if (this.#firstSince !== null && until - this.#firstSince >= STEADY_MS) {
      this.tookMs = this.#firstSince - this.#startedAt;
      this.phase = "won";
    } else if (this.remainingMs(nowMs) === 0) {
      this.phase = "over";
    } else {
      return;
    }
    this.#end(this.phase);
  }

  #end(outcome) {
    this.rounds.push({ word: this.word, outcome, seen: this.seen, tookMs: this.tookMs });
  }
}

// --- The best game, and the longest streak of won rounds

/**
 * @typedef {{games: number, best: number, streak: number, bestStreak: number}} Score `best`: rounds won
 */
export const NO_SCORE = { games: 0, best: 0, streak: 0, bestStreak: 0 };

/**
 * The score after a game, and whether it was better than all before.
 *
 * @param {Score} before
 * @param {Round[]} rounds
 * @returns {Score & {isBest: boolean}}
 */
export function scored(before, rounds) {
  let { streak, bestStreak } = before;
  for (const { outcome } of rounds) {
    streak = outcome === "won" ? streak + 1 : 0;
    bestStreak = Math.max(bestStreak, streak);
  }
  const nWon = rounds.filter(({ outcome }) => outcome === "won").length;
  const isBest = nWon > before.best;
  return { games: before.games + 1, best: Math.max(before.best, nWon), streak, bestStreak, isBest };
}

/** `Best game: 4 recognised. Longest streak: 9.`, since a game of one's own words may have any number of them. */
export function recordsText({ games, best, bestStreak }) {
  return games ? `Best game: ${best} recognised. Longest streak: ${bestStreak}.` : "";
}
