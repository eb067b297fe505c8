/** Short sounds of the game, made on the spot, and a voice. */

/** Frequencies in Hz, and how long after each other in seconds. */
const MELODIES = {
  start: [[523, 0]],
  tick: [[880, 0]],
  won: [
    [523, 0],
    [659, 0.09],
    [784, 0.18],
    [1047, 0.27],
  ],
  over: [
    [330, 0],
    [247, 0.16],
  ],
};
const LENGTH_S = 0.22;
const LOUDNESS = 0.12;

export class Sounds {
  isOn = true;
  #context = null;

  /** Lets sounds be heard from now on: Safari wants a tap for that, and a stroke is none. */
  wake() {
    if (!this.isOn || !globalThis.AudioContext) return;
    this.#context ??= new AudioContext();
    this.#context.resume().catch(() => {});
  }

  /** @param {keyof MELODIES} name */
  play(name) {
    if (!this.isOn || this.#context?.state !== "running") return;
    const context = this.#context;
    for (const [frequency, after] of MELODIES[name]) {
      const at = context.currentTime + after;
      const tone = new OscillatorNode(context, { type: "triangle", frequency });
      const gain = new GainNode(context, { gain: 0 });
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(name === "tick" ? LOUDNESS / 3 : LOUDNESS, at + 0.01);
      gain.gain.exponentialRampToValueAtTime(0.0001, at + LENGTH_S);
      tone.connect(gain).connect(context.destination);
      tone.start(at);
      tone.stop(at + LENGTH_S);
    }
  }
}

/** Says sentences aloud, by the browser's own voice. Only the newest matters. */
export class Voice {
  isOn = false;
  #isAwake = false;

  /** Whether this browser can speak. */
  get isThere() {
    return Boolean(globalThis.speechSynthesis && globalThis.SpeechSynthesisUtterance);
  }

  /** Lets it be heard from now on: iPads want its first word, if an empty one, from a tap. */
  wake() {
    if (!this.isOn || !this.isThere || this.#isAwake) return;
    this.#isAwake = true;
    speechSynthesis.speak(new SpeechSynthesisUtterance(""));
  }

  say(text) {
    if (!this.isOn || !this.isThere) return;
    speechSynthesis.cancel();
    const words = new SpeechSynthesisUtterance(text);
    words.lang = "en";
    speechSynthesis.speak(words);
  }

  stop() {
    if (this.isThere) speechSynthesis.cancel();
  }
}
