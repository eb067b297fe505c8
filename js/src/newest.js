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
      // Events that came together are one question.
      await new Promise((resolve) => setTimeout(resolve));
      asked = this.#version;
      const [told, value] = await this.question().then(
        (answer) => ["onGuess", answer],
        (error) => ["onError", error],
      );
      if (asked === this.#version) this.#tell(told, value);
    }
    this.#isAsking = false;
  }

  /** An error of the listener's own is one of the page, as those of event listeners are. */
  #tell(told, value) {
    this.#answered = this.#version;
    try {
      this[told](value);
    } catch (error) {
      (globalThis.reportError ?? console.error)(error);
    }
  }

  stop() {
    this.#version = Infinity;
    this.question = async () => {};
    this.onGuess = this.onError = () => {};
  }
}
