/** The rounds of a game on the page: their clock, sounds and end. */

import { $, focusPad } from "./elements.js";
import { Game, NO_SCORE, scored } from "./game.js";
import { openGallery } from "./gallery.js";
import { openSetup } from "./setup.js";
import { keep, recall } from "./store.js";

const TICK_MS = 100;
const LAST_SECONDS = 5;

export class Rounds {
  game = new Game();
  #pad;
  #sounds;
  #host;
  #ticking = 0;
  #score = { ...NO_SCORE, ...recall("score", {}) };
  #words = [];
  /** What was on the paper before the game. */
  #own = [];
  /** What was drawn in each round that has ended. */
  #drawings = [];
  #lastSecond = 0;
  /** What the clock waits for: a dialog, or trouble. */
  #waits = new Set();
  /** The newest first guess, which counts again when the clock goes on. */
  #first;

  /**
   * @param {import("./pad.js").Pad} pad
   * @param {import("./sound.js").Sounds} sounds
   * @param {{classes: () => string[], people: () => import("./people.js").People, show: () => void, begin: () => void}}
   *   host the page: what it knows; `show` is told that something changed, `begin` that another round starts
   */
  constructor(pad, sounds, host) {
    this.#pad = pad;
    this.#sounds = sounds;
    this.#host = host;
    $("play").addEventListener("click", ({ detail }) => {
      sounds.wake();
      if (detail < 2) this.#play(); // a double click would skip the next word, too
    });
    $("stop").addEventListener("click", () => {
      this.stop();
      $("play").focus();
    });
  }

  /** Whether the pen may draw. */
  get isFrozen() {
    return this.game.phase === "won" || this.game.phase === "over";
  }

  begin(nowMs) {
    if (this.game.phase === "ready") this.#sounds.play("start");
    this.game.begin(nowMs);
  }

  saw(first, nowMs) {
    this.#first = first;
    this.#waits.delete("trouble");
    this.#goOn(nowMs);
  }

  #goOn(nowMs) {
    if (this.#waits.size) return;
    this.game.resume(nowMs);
    this.game.saw(this.#first, nowMs);
    this.#ended();
  }

  /** Nobody can guess for now, or see the paper. */
  pause(why = "trouble") {
    this.#waits.add(why);
    this.game.pause(performance.now());
  }

  /** Ends a game that is on, and puts back what was on the paper before it. */
  stop() {
    clearInterval(this.#ticking);
    this.#pad.isFrozen = false;
    if (this.game.phase === "idle") return;
    this.game.stop();
    this.#putBack();
    this.#host.show();
  }

  #play() {
    const { phase, rounds, nRounds } = this.game;
    if (phase === "idle") this.#choose();
    else if (this.game.isOn) this.#leave(() => this.game.skip());
    else if (rounds.length < nRounds) this.#leave(() => this.game.next());
    else this.#finish();
  }

  #choose() {
    const { percents } = this.#host.people();
    openSetup(this.#host.classes(), percents, this.#score, (...choice) => this.#start(...choice));
  }

  #start(words, roundMs) {
    if (this.game.phase === "idle") this.#own = this.#pad.drawing;
    this.#words = words;
    this.#drawings = [];
    this.game.start(words, roundMs);
    this.#begin();
  }

  /** From a round to the next one, or to the end where it was the last. */
  #leave(step) {
    if (this.game.isOn) this.#drawings.push(this.#pad.drawing);
    step();
    if (this.game.phase === "idle") this.#finish();
    else this.#begin();
  }

  #begin() {
    this.#host.begin();
    this.#waits.clear();
    this.#first = undefined;
    this.#pad.isFrozen = false;
    this.#pad.reset();
    clearInterval(this.#ticking);
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#host.show();
    focusPad();
  }

  #putBack() {
    if (this.#own.length) this.#pad.restore(this.#own); // Undo leads to nothing of a round
  }

  #tick() {
    const now = performance.now();
    if (document.querySelector("dialog[open]")) this.pause("dialog");
    else if (this.#waits.delete("dialog")) this.#goOn(now);
    this.game.tick(now);
    const seconds = Math.ceil(this.game.remainingMs(now) / 1000);
    if (this.game.phase === "drawing" && seconds <= LAST_SECONDS && seconds !== this.#lastSecond) this.#sounds.play("tick");
    this.#lastSecond = seconds;
    this.#ended();
    this.#host.show();
  }

  /** What is drawn stays as it was when the round ended. */
  #ended() {
    if (!this.isFrozen || this.#pad.isFrozen) return;
    clearInterval(this.#ticking);
    this.#pad.freeze();
    this.#drawings.push(this.#pad.drawing);
    this.#sounds.play(this.game.phase);
    // The Space that lifts the pen of the keyboard would press it.
    if (!document.querySelector("dialog[open], #pad:focus-visible")) $("play").focus({ preventScroll: true });
  }

  #finish() {
    const { rounds, roundMs } = this.game;
    // Records are of games by the clock.
    const { isBest, ...score } = roundMs === Infinity ? this.#score : scored(this.#score, rounds);
    keep("score", (this.#score = score));
    const results = rounds.map((round, i) => ({ ...round, drawing: this.#drawings[i] }));
    this.stop();
    this.#pad.reset();
    this.#putBack();
    openGallery(results, { ...score, isBest }, this.#host.people(), () => this.#start(this.#words));
  }
}
