// node node.mjs MODEL.quickstroke

import { load } from "quickstroke";

const recognizer = await load(process.argv[2]);
const { guesses } = recognizer.predict([[[100, 10], [12, 172], [200, 170], [100, 10]]]);
console.log(`I see: ${guesses[0].word}`);
