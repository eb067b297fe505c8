/** Keeps the guesses up with the pen: questions about the newest strokes, and never an older answer over a newer one. */

const LEAST_INTERVAL_MS = 25;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 4000;
const N_LATENCIES = 1000;

/** A question that was not answered. */
export class RecognizerError extends Error {
  /**
   * @param {string} message one sentence for the user
   * @param {boolean} isTransient whether the same question may be answered later
   */
  constructor(message, isTransient) {
    super(message);
    this.isTransient = isTransient;
  }
}

/**
 * @typedef {{word: string, probability: number}} Guess
 * @typedef {object} Recognizer
 * @property {number} nAtOnce how many questions it may be asked before it has answered the first
 * @property {() => Promise<{name: string, classes: string[]}>} load
 * @property {(strokes: number[][][], signal: AbortSignal) => Promise<{guesses: Guess[], unknown: number | null, model: string}>} recognize
 */

/**
 * Versions of the drawing are counted. A version that is no longer the newest when its turn comes is never asked about,
 * so a slow recognizer gives fewer answers and never old ones; an answer drops the questions about older versions.
 */
export class Guesser {
  #recognizer;
  #strokes;
  #onAnswer;
  #onTrouble;
  #version = 0;
  #shown = 0;
  /** Version -> what gives up the question about it. */
  #asked = new Map();
  #timer = 0;
  #notBefore = 0;
  #retryMs = FIRST_RETRY_MS;
  #waiting = [];
  #latencies = [];

  /**
   * @param {Recognizer} recognizer
   * @param {() => number[][][]} strokes gives the newest drawing, in columns: `[[x..], [y..], [t..]]` each stroke
   * @param {(answer: {guesses: Guess[], unknown?: number | null, model: string | null}) => void} onAnswer
   * @param {(message: string | null) => void} onTrouble what went wrong as a sentence; null when all is well again
   */
  constructor(recognizer, strokes, onAnswer, onTrouble) {
    this.#recognizer = recognizer;
    this.#strokes = strokes;
    this.#onAnswer = onAnswer;
    this.#onTrouble = onTrouble;
  }

  /** Milliseconds from question to answer, of the last thousand. */
  get latenciesMs() {
    return [...this.#latencies];
  }

  /** The drawing has grown. */
  changed() {
    this.#version += 1;
    this.#pump();
  }

  /** The drawing is another one: no answer that is under way is about it. */
  replaced() {
    this.#giveUpBefore(Infinity);
    this.#version += 1;
    this.#shown = this.#version - 1;
    this.#pump();
  }

  /** Resolves when the newest drawing has its guesses, or was refused. */
  settled() {
    if (this.#shown === this.#version) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #giveUpBefore(version) {
    for (const [older, controller] of this.#asked) {
      if (older >= version) continue;
      this.#asked.delete(older);
      controller.abort();
    }
  }

  #pump() {
    if (this.#shown === this.#version || this.#asked.has(this.#version)) return;
    if (!this.#strokes().length) {
      this.#onTrouble(null);
      this.#show(this.#version, { guesses: [], model: null });
      return;
    }
    if (this.#asked.size >= this.#recognizer.nAtOnce) return;
    const waitMs = this.#notBefore - performance.now();
    if (waitMs > 0) {
      this.#timer ||= setTimeout(() => {
        this.#timer = 0;
        this.#pump();
      }, waitMs);
      return;
    }
    this.#ask(this.#version);
  }

  async #ask(version) {
    const controller = new AbortController();
    const askedAt = performance.now();
    this.#asked.set(version, controller);
    this.#notBefore = askedAt + LEAST_INTERVAL_MS;
    let answer = null;
    let error = null;
    try {
      answer = await this.#recognizer.recognize(this.#strokes(), controller.signal);
    } catch (caught) {
      error = caught;
    }
    if (!this.#asked.delete(version)) return; // given up meanwhile
    this.#giveUpBefore(version);
    if (answer) {
      this.#latencies.push(performance.now() - askedAt);
      if (this.#latencies.length > N_LATENCIES) this.#latencies.shift();
      this.#retryMs = FIRST_RETRY_MS;
      this.#onTrouble(null);
      this.#show(version, answer);
    } else if (error.isTransient) {
      this.#notBefore = performance.now() + this.#retryMs;
      this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
      this.#onTrouble(error.message);
    } else {
      this.#onTrouble(error.message);
      this.#show(version, { guesses: [], model: null });
    }
    this.#pump();
  }

  #show(version, answer) {
    this.#shown = version;
    this.#onAnswer(answer);
    if (this.#shown === this.#version) this.#waiting.splice(0).forEach((resolve) => resolve());
  }
}
