/** A pen for the keyboard, while the canvas has the focus: arrows move it, Space puts it down and lifts it. */

const STEP_PX = 12;
const FINE_STEP_PX = 3;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class KeyPen {
  #pad;
  #mark;
  #onTurn;
  #held = new Set();
  #at = null;
  #isDown = false;

  /**
   * @param {import("./pad.js").Pad} pad
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} mark shows where the pen is
   * @param {(isDown: boolean) => void} onTurn told when Space has turned it
   */
  constructor(pad, canvas, mark, onTurn) {
    this.#pad = pad;
    this.#mark = mark;
    this.#onTurn = onTurn;
    canvas.addEventListener("keydown", (event) => this.#press(event));
    canvas.addEventListener("keyup", (event) => this.#held.delete(event.key));
    canvas.addEventListener("focus", () => this.#show());
    canvas.addEventListener("blur", () => {
      this.#held.clear();
      if (this.#isDown) pad.penUp();
    });
    pad.addEventListener("pen", () => {
      if (!pad.isDown) this.#isDown = false;
      this.#show();
    });
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") this.#turn(event);
    else if (event.key in DIRECTIONS) this.#step(event);
    else return;
    event.preventDefault();
  }

  #turn(event) {
    if (event.repeat) return;
    if (this.#isDown) {
      this.#pad.penUp();
    } else {
      this.#pad.penDown(...this.#place(), event.timeStamp);
      if (!this.#pad.isDown) return; // nothing may be drawn now
      this.#isDown = true;
      this.#show();
    }
    this.#onTurn(this.#isDown);
  }

  /** Two arrows at once go diagonally. */
  #step(event) {
    this.#held.add(event.key);
    const step = event.shiftKey ? FINE_STEP_PX : STEP_PX;
    const { width, height } = this.#pad.size;
    let [x, y] = this.#place();
    for (const key of this.#held) {
      x += step * DIRECTIONS[key][0];
      y += step * DIRECTIONS[key][1];
    }
    this.#at = [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
    if (this.#isDown) this.#pad.penMove(...this.#at, event.timeStamp);
    this.#show();
  }

  /** Where it is; at first in the middle. */
  #place() {
    return (this.#at ??= [this.#pad.size.width / 2, this.#pad.size.height / 2]);
  }

  #show() {
    const [x, y] = this.#place();
    this.#mark.style.translate = `${x}px ${y}px`;
    this.#mark.classList.toggle("is-down", this.#isDown);
  }
}
