/** The page: which part tells which, and what the user reads. */

import { FittingText } from "./fitting-text.js";
import { Game } from "./game.js";
import { boundsOf, pathText, placed } from "./geometry.js";
import { showGuesses } from "./guess-list.js";
import { Guesser } from "./guesser.js";
import { bytesOf, isWhole } from "./files.js";
import { HttpRecognizer } from "./http-recognizer.js";
import { KeyPen } from "./key-pen.js";
import { hideProgress, showProgress } from "./loading.js";
import { LocalRecognizer } from "./local-recognizer.js";
import { Pad } from "./pad.js";
import { simplify } from "./quickstroke.js";
import { play } from "./replay.js";
import { download, fileName, ndjsonLine, newKey, svgText } from "./save.js";
import { celebrate } from "./sparks.js";
import { sentences, showStrip } from "./strip.js";
import { percent, withArticle } from "./words.js";

const ANNOUNCE_AFTER_MS = 900;
const LOAD_RETRY_MS = 1500;
const PLAY_ICON = "M8 5.5v13l10.5-6.5z";
const STOP_ICON = "M7 7h10v10H7z";

const $ = (id) => document.getElementById(id);
const isOffline = document.querySelector('meta[name="quickstroke-mode"]').content === "offline";

/** @type {import("./guesser.js").Recognizer} */
const recognizer = isOffline ? new LocalRecognizer() : new HttpRecognizer();
const pad = new Pad($("pad"));
// Nothing is asked while the model comes; what was drawn meanwhile is asked about then.
const guesser = new Guesser(recognizer, () => (model ? pad.strokes : []), answered, showTrouble);

const modelText = new FittingText($("model"));

let model = null;
let loading = null;
let game = null;
let guesses = [];
let unknown = null;
let examples = {};
let playing = null; // aborts the replay that runs

// --- Guesses ----------------------------------------------------------------------------------------------------------

function answered(answer) {
  guesses = answer.guesses;
  unknown = answer.unknown ?? null;
  showGuesses(guesses, game?.word ?? null);
  if (answer.model && model && answer.model !== model.name) loadModel();
  if (!playing) game?.saw(guesses[0]?.word ?? null, performance.now());
  showGame();
  announceSoon();
}

function showTrouble(message) {
  if ($("trouble").textContent !== (message ?? "")) $("trouble").textContent = message ?? "";
  $("guesses").classList.toggle("is-stale", Boolean(message));
}

// --- What the page says -----------------------------------------------------------------------------------------------

let shownPhase = "";

/** What there is to say something about, as the strip wants it. */
function moment() {
  const { phase = "idle", word = null, seen = [], nWon = 0, nRounds = 0, tookMs = 0 } = game ?? {};
  const remainingMs = game?.remainingMs(performance.now()) ?? 0;
  return { phase, word, seen, nWon, nRounds, tookMs, remainingMs, first: guesses[0], unknown, isEmpty: pad.isEmpty };
}

function showGame() {
  const now = moment();
  const { phase, word } = now;
  showStrip(now);
  if (phase === shownPhase) return;
  shownPhase = phase;
  $("paper").dataset.phase = phase;
  $("show").hidden = phase !== "over" || !examples[word];
  setText("show", word ? `Watch ${withArticle(word)} being drawn` : "");
  pad.redraw();
  if (phase === "won") {
    const box = boundsOf(pad.strokes);
    celebrate($("sparks"), pad.toCanvas(box.x + box.width / 2, box.y + box.height / 2));
  }
  const [headline, subline] = sentences(now);
  if (phase === "ready" || phase === "won" || phase === "over") announce(`${headline}. ${subline}`);
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// For screen readers: what is first, once it has stayed so for a while and the pen rests.
let announceTimer = 0;
let announced = "";

function announceSoon() {
  clearTimeout(announceTimer);
  const first = guesses[0];
  if (!first) announced = "";
  if (!first || pad.isDown || playing || game?.phase === "won" || game?.phase === "over") return;
  announceTimer = setTimeout(() => {
    const text = `First guess: ${withArticle(first.word)}, ${percent(first.probability)}.`;
    if (first.word !== announced) announce(text);
    announced = first.word;
  }, ANNOUNCE_AFTER_MS);
}

function announce(text) {
  $("announcer").textContent = text;
}

// --- Drawing ----------------------------------------------------------------------------------------------------------

new KeyPen(pad, $("pad"), $("key-pen"), (isDown) => announce(isDown ? "Pen down." : "Pen up."));

pad.addEventListener("before-pen", () => stopReplay());

pad.addEventListener("pen", () => {
  if (pad.isDown) game?.begin(performance.now());
  else announceSoon();
});

pad.addEventListener("ink", ({ detail: { hasGrown } }) => {
  if (hasGrown) guesser.changed();
  else guesser.replaced();
  showTools();
  showGame();
});

function showTools() {
  const isEmpty = pad.isEmpty && !playing;
  $("hint").classList.toggle("is-gone", !isEmpty);
  $("undo").disabled = !pad.canUndo;
  for (const id of ["clear", "replay", "save"]) $(id).disabled = isEmpty;
  $("replay-icon").setAttribute("d", playing ? STOP_ICON : PLAY_ICON);
  setText("replay-label", playing ? "Stop" : "Replay");
  const n = pad.strokes.length;
  $("pad").setAttribute("aria-label", n ? `Drawing with ${n} ${n === 1 ? "stroke" : "strokes"}` : "Empty drawing");
}

function undo() {
  stopReplay();
  pad.undo();
}

function clear() {
  if (playing) stopReplay();
  else pad.clear();
}

$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", () => {
  stopReplay();
  pad.clear();
});

document.addEventListener("keydown", (event) => {
  if ($("save-dialog").open || event.target.closest?.("input")) return;
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  } else if (event.key === "Escape" || event.key === "Delete") {
    clear();
  }
});

for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", () => pad.redraw());
}

// --- Replays and examples ---------------------------------------------------------------------------------------------

async function replay(strokes) {
  stopReplay();
  const controller = (playing = new AbortController());
  await play(strokes, (shown) => pad.preview(shown), controller.signal);
  if (playing === controller) stopReplay();
}

function stopReplay() {
  if (!playing) return;
  playing.abort();
  playing = null;
  pad.preview(null);
  announceSoon();
}

$("replay").addEventListener("click", () => {
  if (playing) stopReplay();
  else replay(pad.strokes);
});

/** Which example of each word is next. */
const turns = new Map();

function showExample(word) {
  stopReplay();
  if (game?.phase !== "over") stopGame();
  const turn = turns.get(word) ?? 0;
  turns.set(word, turn + 1);
  const { width, height } = pad.size;
  const strokes = placed(examples[word][turn % examples[word].length], 0.7 * width, 0.7 * height);
  pad.setStrokes(strokes.map(([xs, ys, ts]) => [xs.map((x) => x + 0.15 * width), ys.map((y) => y + 0.15 * height), ts]));
  replay(pad.strokes);
}

$("show").addEventListener("click", () => showExample(game.word));

async function loadExamples() {
  const all = JSON.parse(new TextDecoder().decode(await bytesOf("examples.json"))).drawings;
  const { classes } = await loaded;
  examples = Object.fromEntries(classes.filter((word) => all[word]).map((word) => [word, all[word]]));
  for (const [word, [drawing]] of Object.entries(examples)) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Watch ${withArticle(word)} being drawn`);
    button.append(picture(drawing), word);
    button.addEventListener("click", () => showExample(word));
    const item = document.createElement("li");
    item.append(button);
    $("examples").append(item);
  }
  $("examples-card").hidden = !Object.keys(examples).length;
}

function picture(strokes) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-6 -6 76 76");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", placed(strokes, 64, 64).map(pathText).join(""));
  svg.append(path);
  return svg;
}

// --- The game ---------------------------------------------------------------------------------------------------------

let ticking = 0;

function nextRound() {
  stopReplay();
  game.next();
  pad.reset();
  clearInterval(ticking);
  ticking = setInterval(() => {
    game.tick(performance.now());
    showGame();
    if (!game.isOn) clearInterval(ticking);
  }, 100);
  shownPhase = "";
  showGame();
}

function stopGame() {
  if (!game || game.phase === "idle") return;
  clearInterval(ticking);
  game.stop();
  showGame();
}

$("play").addEventListener("click", nextRound);
$("stop").addEventListener("click", () => {
  stopGame();
  $("play").focus();
});

// --- Saving -----------------------------------------------------------------------------------------------------------

$("save").addEventListener("click", () => {
  stopReplay();
  // The word that was asked for is what an official file would hold; without one the first guess is a fair proposal.
  $("save-word").value = game?.word ?? guesses[0]?.word ?? "";
  const n = simplify(pad.strokes, { layout: "columns" }).reduce((sum, [xs]) => sum + xs.length, 0);
  $("save-facts").textContent = `Data holds the simplified form of the official files: ${n} points, from 0 to 255.`;
  $("save-dialog").returnValue = "cancel";
  $("save-dialog").showModal();
});

$("save-dialog").addEventListener("close", () => {
  const form = $("save-dialog").returnValue;
  const word = $("save-word").value.trim();
  if (form === "svg") download(fileName(word, "svg"), "image/svg+xml", svgText(pad.strokes, word));
  if (form === "ndjson") {
    const facts = { word, recognized: guesses[0]?.word === word, key: newKey(), date: new Date() };
    download(fileName(word, "ndjson"), "application/x-ndjson", `${ndjsonLine(pad.strokes, facts)}\n`);
  }
});

// --- Start ------------------------------------------------------------------------------------------------------------

/** Loads the model, or waits for the loading that is under way. */
function loadModel() {
  loading ??= loadModelAnew().finally(() => (loading = null));
  return loading;
}

async function loadModelAnew() {
  modelText.show("Loading …");
  for (;;) {
    try {
      model = await recognizer.load(showProgress);
      break;
    } catch (error) {
      hideProgress();
      showTrouble(error.message);
      await new Promise((resolve) => setTimeout(resolve, LOAD_RETRY_MS));
    }
  }
  hideProgress();
  showTrouble(null);
  stopGame();
  game = new Game(model.classes);
  modelText.show(`${model.name}, ${model.classes.length} words`, model.name);
  $("words").replaceChildren(...model.classes.map((word) => new Option(word, word)));
  $("play").disabled = false;
  showGame();
  guesser.changed();
  return model;
}

answered({ guesses: [], model: null });
showTools();
const loaded = loadModel();
loadExamples().catch(() => {}); // the page is whole without examples
// Afterwards, so that it fetches nothing beside the model.
if (isOffline && !isWhole) loaded.then(() => navigator.serviceWorker?.register("service-worker.js")).catch(() => {});

// For tests and for the curious: stable. Strokes are columns with times, `[[x..], [y..], [t..]]` each.
window.quickstroke = {
  ready: loaded.then(() => {}),
  strokes: () => structuredClone(pad.strokes),
  guesses: () => structuredClone(guesses),
  setStrokes(strokes) {
    stopReplay();
    pad.setStrokes(strokes);
  },
  settled: () => loaded.then(() => guesser.settled()),
  latenciesMs: () => guesser.latenciesMs,
};
