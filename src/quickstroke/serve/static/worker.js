/** The worker of local-recognizer.js: strokes in, ranked words out. */

import { load } from "./quickstroke.js";

let recognizer = null;
// What is asked while the model comes waits for it.
let queue = Promise.resolve();

async function open(bytes) {
  recognizer = await load(bytes);
  recognizer.predict([[[0, 0], [1, 1]]]); // the first run takes longer than those that follow
  const { name, words, card } = recognizer;
  return { name, classes: words, card };
}

function recognize({ strokes, top }) {
  if (!recognizer) throw new Error("the model is still loading");
  const { guesses, unknown } = recognizer.predict(strokes, { top, layout: "columns" });
  return { guesses, unknown, model: recognizer.name };
}

self.addEventListener("message", ({ data: { id, load: bytes, ...question } }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id, result: await (bytes ? open(bytes) : recognize(question)) });
    } catch (error) {
      const isRefusal = error instanceof RangeError;
      self.postMessage({ id, error: `The recogniser says: ${error.message}.`, isRefusal });
    }
  });
});
