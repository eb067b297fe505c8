import { load } from "quickstroke";
import { load as loadWorker } from "quickstroke/worker";

const TRIANGLE = [[[100, 10], [12, 172], [200, 170], [100, 10]]];
const model = "/models/model.quickstroke";

// On this page, or in a worker: the same guesses.
const recognizer = await load(model);
const worker = await loadWorker(model);
const [here, there] = [recognizer.predict(TRIANGLE), await worker.predict(TRIANGLE)];
document.getElementById("said").textContent = `I see: ${here.guesses[0].word}, ${there.guesses[0].word}`;
