/** Text that is not cut: the longest of several that its element has room for, in smaller letters where none has. */

const LEAST_REM = 0.6875;

export class FittingText {
  #element;
  #texts = [""];
  #widthPx = 0;

  /** @param {HTMLElement} element has its width, and the number of its lines, from its surroundings */
  constructor(element) {
    this.#element = element;
    new ResizeObserver(() => {
      if (element.clientWidth !== this.#widthPx) this.#fit();
    }).observe(element);
  }

  /** @param {string[]} texts of the same meaning, the best first, the shortest last */
  show(...texts) {
    if (texts.length === this.#texts.length && texts.every((text, i) => text === this.#texts[i])) return;
    this.#texts = texts;
    this.#fit();
  }

  #fit() {
    const { style } = this.#element;
    style.fontSize = "";
    this.#widthPx = this.#element.clientWidth;
    for (const text of this.#texts) {
      if (this.#element.textContent !== text) this.#element.textContent = text;
      if (!text || this.#fits()) return;
    }
    // Half pixels down from the size that the style sheet gives; the largest that fits is found by halving.
    const sizeOf = (element) => parseFloat(getComputedStyle(element).fontSize);
    const [fullPx, remPx] = [sizeOf(this.#element), sizeOf(document.documentElement)];
    let [fits, cut] = [Math.max(Math.ceil((fullPx - LEAST_REM * remPx) * 2), 0), 0];
    while (fits - cut > 1) {
      const middle = (fits + cut) >> 1;
      style.fontSize = `${fullPx - middle / 2}px`;
      if (this.#fits()) fits = middle;
      else cut = middle;
    }
    style.fontSize = `${fullPx - fits / 2}px`;
  }

  #fits() {
    const element = this.#element;
    const text = document.createRange();
    text.selectNodeContents(element);
    return (
      text.getBoundingClientRect().width <= element.getBoundingClientRect().width &&
      element.scrollWidth <= element.clientWidth &&
      element.scrollHeight <= element.clientHeight + 1
    );
  }
}
