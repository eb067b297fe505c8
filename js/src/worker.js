/** What runs in the worker of in-worker.js. */

import { load } from "./index.js";

let recognizer = null;

const methods = {
  async open(bytes) {
    recognizer = await load(bytes);
    return recognizer.card;
  },
  predict: (strokes, options) => recognizer.predict(strokes, options),
  embed: (strokes, options) => recognizer.embed(strokes, options),
  teach(word, drawings, options) {
    recognizer.teach(word, drawings, options);
    return recognizer.taught;
  },
  forget(word) {
    recognizer.forget(word);
    return recognizer.taught;
  },
  restore(text) {
    recognizer.restore(text);
    return recognizer.taught;
  },
  loadTeaching: (bytes) => recognizer.loadTeaching(bytes),
  save: () => recognizer.save(),
};

self.addEventListener("message", async ({ data: { id, method, args } }) => {
  try {
    self.postMessage({ id, result: await methods[method](...args) });
  } catch ({ name, message }) {
    self.postMessage({ id, error: { name, message } });
  }
});
