/** Says sentences aloud, by the browser's own voice. Only the newest matters. */

export class Voice {
  isOn = false;

  /** Whether this browser can speak. */
  get isThere() {
    return Boolean(globalThis.speechSynthesis && globalThis.SpeechSynthesisUtterance);
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
