// Compiles only where index.d.ts describes what a program does with the package.

import { load, ModelError, type Prediction, Recognizer, simplify, type Strokes } from "../index.js";
import { attach } from "../element.js";
import { load as loadInWorker } from "../worker.js";

const points: Strokes = [[[10, 10], [60, 12], [35, 80]]];
const columns = [[new Float32Array([1, 2, 3]), new Float32Array([4, 5, 6])]];

export async function main(): Promise<string> {
  const recognizer: Recognizer = await load(new URL("https://example.org/a.quickstroke"), {
    onProgress: (bytes, total) => console.log(bytes / (total ?? 1)),
  });
  const { guesses, unknown }: Prediction = recognizer.predict(points, { top: 3, words: new Set(["cat"]) });
  recognizer.predict(columns, { layout: "columns", simplified: false });
  // @ts-expect-error: a model is made by load
  new Recognizer();
  // @ts-expect-error: there is no such layout
  simplify(points, { layout: "rows" });
  const first: number = simplify(points)[0][0][0];
  if (unknown !== null && unknown > 0.5) throw new ModelError(`${first}`);
  return `${guesses[0].word} ${guesses[0].probability.toFixed(2)} of ${recognizer.words.length}`;
}

export async function page(canvas: HTMLCanvasElement): Promise<void> {
  const recognizer = await loadInWorker("a.quickstroke");
  const { guesses } = await recognizer.predict(points, { words: ["cat"] });
  const pad = attach(canvas, recognizer, { onGuess: (answer) => console.log(answer.guesses, guesses.length) });
  const [x, y, t]: [number, number, number] = pad.strokes[0][0];
  const element = document.querySelector("quick-stroke");
  element?.addEventListener("guess", ({ detail }) => console.log(x, y, t, detail.guesses[0].word));
  element?.addEventListener("error", (event) => console.error(event.detail.error.message));
  element?.addEventListener("click", (event) => console.log(event.clientX));
  if (element) element.strokes = pad.strokes;
  pad.strokes = [[[10, 10], [60, 12]]];
  element?.redraw();
  // @ts-expect-error: a forgotten await
  attach(canvas, loadInWorker("a.quickstroke"));
}
