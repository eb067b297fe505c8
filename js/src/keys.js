/** A pen for the keyboard: arrows move it, with Shift in small steps, and Space puts it down and lifts it. */

const STEP_PX = 12;
const FINE_STEP_PX = 3;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value, most) => Math.min(Math.max(value, 0), most);

/**
 * Draws on a canvas that has the focus.
 *
 * @typedef {object} Pen what draws, at (x, y) of the canvas in CSS pixels
 * @property {boolean} isDown
 * @property {(x: number, y: number, timeStamp: number) => void} penDown
 * @property {(x: number, y: number, timeStamp: number) => void} penMove
 * @property {() => void} penUp
 */
export class KeyPen {
  #canvas;
  #mark;
  #pen;
  #onTurn;
  #held = new Set();
  #at = null;
  #isDown = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} mark beside the canvas; shows where the pen is
   * @param {Pen} pen
   * @param {(isDown: boolean) => void} onTurn told when Space has turned it
   */
  constructor(canvas, mark, pen, onTurn) {
    this.#canvas = canvas;
    this.#mark = mark;
    this.#pen = pen;
    this.#onTurn = onTurn;
    canvas.addEventListener("keydown", (event) => this.#press(event));
    canvas.addEventListener("keyup", (event) => this.#held.delete(event.key));
    canvas.addEventListener("focus", () => this.#show());
    canvas.addEventListener("blur", () => {
      this.#held.clear();
      this.lift();
    });
    if (globalThis.ResizeObserver) new ResizeObserver(() => this.#show()).observe(canvas); // jsdom has none
  }

  /** Lifts it where it is down. */
  lift() {
    if (this.#isDown) this.#pen.penUp();
    this.follow();
  }

  /** The pen may have been lifted by something else. */
  follow() {
    if (!this.#pen.isDown) this.#isDown = false;
    this.#show();
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
    this.follow();
    if (this.#isDown) {
      this.lift();
    } else {
      this.#pen.penDown(...this.#place(), event.timeStamp);
      if (!this.#pen.isDown) return; // nothing may be drawn now
      this.#isDown = true;
      this.#show();
    }
    this.#onTurn(this.#isDown);
  }

  /** Two arrows at once go diagonally. */
  #step(event) {
    this.#held.add(event.key);
    const step = event.shiftKey ? FINE_STEP_PX : STEP_PX;
    let [x, y] = this.#place();
    for (const key of this.#held) {
      x += step * DIRECTIONS[key][0];
      y += step * DIRECTIONS[key][1];
    }
    this.#at = [x, y];
    this.#at = this.#place();
    if (this.#isDown) this.#pen.penMove(...this.#at, event.timeStamp);
    this.#show();
  }

  /** Where it is, on the canvas whatever its size is now; at first in the middle. */
  #place() {
    const { offsetWidth: width, offsetHeight: height } = this.#canvas;
    const [x, y] = this.#at ?? [width / 2, height / 2];
    return [within(x, width), within(y, height)];
  }

  #show() {
    const [x, y] = this.#place();
    const { offsetLeft, offsetTop } = this.#canvas;
    this.#mark.style.translate = `${offsetLeft + x}px ${offsetTop + y}px`;
    this.#mark.classList.toggle("is-down", this.#isDown);
  }
}
