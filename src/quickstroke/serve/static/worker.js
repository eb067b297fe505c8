/** The worker of local-recognizer.js: strokes in, ranked words out. */

import { load } from "./quickstroke.js";

let recognizer = null;
// What is asked while the model comes waits for it.
let queue = Promise.resolve();

async function open() {
  recognizer = await load(new URL("model.quickstroke", import.meta.url));
  recognizer.predict([[[0, 0], [1, 1]]]); // the first run takes longer than those that follow
  return { name: recognizer.name, classes: recognizer.words };
}

function recognize({ strokes, top }) {
  if (!recognizer) throw new Error("the model is still loading");
  const { guesses, unknown } = recognizer.predict(strokes, { top, layout: "columns" });
  return { guesses, unknown, model: recognizer.name };
}

self.addEventListener("message", ({ data: { id, load: isLoad, ...question } }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id, result: await (isLoad ? open() : recognize(question)) });
    } catch (error) {
      const isRefusal = error instanceof RangeError;
      self.postMessage({ id, error: `The recogniser says: ${error.message}.`, isRefusal });
    }
  });
});
