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

/** What changes which words are known, by the name of the recogniser's method. */
function change({ method, args }) {
  const result = recognizer[method](...args);
  return method === "save" ? result : { classes: recognizer.words, taught: recognizer.taught };
}

function recognize({ strokes, top }) {
  if (!recognizer) throw new Error("the model is still loading");
  const { guesses, unknown } = recognizer.predict(strokes, { top, layout: "columns" });
  return { guesses, unknown, model: recognizer.name };
}

function answer(bytes, question) {
  if (bytes) return open(bytes);
  if (question.teaching) return recognizer.loadTeaching(question.teaching);
  return question.method ? change(question) : recognize(question);
}

self.addEventListener("message", ({ data: { id, load: bytes, ...question } }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id, result: await answer(bytes, question) });
    } catch (error) {
      const isRefusal = error instanceof RangeError;
      self.postMessage({ id, error: `The recogniser says: ${error.message}.`, isRefusal });
    }
  });
});
