// node node.mjs MODEL.quickstroke

import { load } from "quickstroke";

const recognizer = await load(process.argv[2]);
const { guesses } = recognizer.predict([[[10, 10], [60, 12], [35, 80], [10, 10]]]);
console.log(`I see: ${guesses[0].word}`);
