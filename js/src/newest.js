/** Guesses that keep up with the pen. */

/** Asks a recogniser about what is on a pad, each time that `ask` is called. */
export function guessing(pad, recognizer, { top, words }, listeners) {
  return new Newest(async () => {
    const { strokes } = pad;
    if (!strokes.length) return { guesses: [], unknown: null };
    return recognizer.predict(strokes, { top, words, layout: "points" });
  }, listeners);
}

/** Asks again when something changed while an answer was awaited; an answer about an older drawing is never told. */
class Newest {
  #version = 0;
  #answered = 0;
  #isAsking = false;

  constructor(question, { onGuess = () => {}, onError = (error) => console.error(error) }) {
    Object.assign(this, { question, onGuess, onError });
  }

  /** Whether the answer about the newest drawing is still to come. */
  get isPending() {
    return this.#answered !== this.#version;
  }

  async ask() {
    this.#version += 1;
    if (this.#isAsking) return;
    this.#isAsking = true;
    for (let asked = NaN; asked !== this.#version; ) {
      asked = this.#version;
      // Events that came together are one question.
      await new Promise((resolve) => setTimeout(resolve));
      try {
        const answer = await this.question();
        if (asked === this.#version) this.#tell(asked, this.onGuess, answer);
      } catch (error) {
        if (asked === this.#version) this.#tell(asked, this.onError, error);
      }
    }
    this.#isAsking = false;
  }

  #tell(asked, listener, value) {
    this.#answered = asked;
    listener(value);
  }

  stop() {
    this.#version = Infinity;
    this.onGuess = this.onError = () => {};
  }
}
