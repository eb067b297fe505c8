/** The page: which part tells which, and what the user reads. */

import { friendlyName, longestOf, openAbout } from "./about.js";
import { $, focusPad, item, pictureButton } from "./elements.js";
import { isWhole } from "./files.js";
import { boundsOf, placed } from "./geometry.js";
import { showGuesses } from "./guess-list.js";
import { Guesser } from "./guesser.js";
import { openLookup } from "./lookup.js";
import { setUpPictures } from "./open-picture.js";
import { Pad } from "./pad.js";
import { loadPeople } from "./people.js";
import { KeyPen, percent, simplify } from "./quickstroke.js";
import { PageRecognizer } from "./recognizer.js";
import { play } from "./replay.js";
import { Rounds } from "./rounds.js";
import { setUpSave } from "./save.js";
import { Sounds, Voice } from "./sound.js";
import { celebrate } from "./sparks.js";
import { autosave, keep, recall } from "./store.js";
import { sentences, showStrip, UNKNOWN } from "./strip.js";
import { setUpTeach, showTeach } from "./teach.js";
import { withArticle } from "./words.js";

const ANNOUNCE_AFTER_MS = 900;
const LOAD_RETRY_MS = 1500;
const PLAY_ICON = "M8 5.5v13l10.5-6.5z";
const STOP_ICON = "M7 7h10v10H7z";
const NOTE = document.getElementById("note").textContent;
const N_EXAMPLES = 8;

const isOffline = document.querySelector('meta[name="quickstroke-mode"]').content === "offline";

/** @type {import("./guesser.js").Recognizer} */
const recognizer = new PageRecognizer();
const pad = new Pad($("pad"));
// Nothing is asked while the model comes; what was drawn meanwhile is asked about then.
const guesser = new Guesser(recognizer, () => (model ? pad.strokes : []), answered, showTrouble);

const sounds = new Sounds();
const voice = new Voice();
const rounds = new Rounds(pad, sounds, {
  classes: () => model.classes,
  people: () => people,
  show: showGame,
  begin,
});
const game = rounds.game;

let model = null;
let loading = null;
let guesses = [];
let unknown = null;
let people = { drawings: new Map(), percents: new Map() };
let playing = null; // aborts the replay that runs

// --- Guesses ----------------------------------------------------------------------------------------------------------

function answered(answer) {
  guesses = answer.guesses;
  unknown = answer.unknown ?? null;
  showGuesses(guesses, game.word);
  if (answer.model && model && answer.model !== model.name) loadModel();
  if (!playing) rounds.saw(guesses[0], performance.now());
  // Of a page that shows this one in a frame: docs/howto/export.md.
  if (!playing && parent !== window) parent.postMessage({ type: "quickstroke", guesses, unknown, drawing: pad.drawing }, "*");
  showGame();
  showLength();
  announceSoon();
}

function showTrouble(message) {
  if (!message && !model) return; // drawing does not help where the model does not come
  if (message) rounds.pause();
  const { classList } = $("guesses");
  if (message || classList.contains("is-stale")) setText("trouble", message ?? ""); // else something is told there
  classList.toggle("is-stale", Boolean(message));
}

/** Says so when a drawing is longer than the model reads. */
function showLength() {
  const longest = model && longestOf(model);
  const count = (strokes) => strokes.reduce((sum, [xs]) => sum + xs.length, 0);
  // Simplifying never adds points but for a few: what is short as it is need not be simplified to know.
  const isLong = longest && count(pad.strokes) > longest && count(simplify(pad.strokes, { layout: "columns" })) > longest;
  const text = `This drawing is longer than the model reads: after its first ${longest} points, what you add changes nothing.`;
  setText("note", isLong ? text : NOTE);
  $("note").classList.toggle("is-needed", Boolean(isLong));
}

// --- What the page says -----------------------------------------------------------------------------------------------

let shownPhase = "";

/** What there is to say something about, as the strip wants it. */
function moment() {
  const { phase, word, seen, nWon, nRounds, tookMs, isPaused } = game;
  const remainingMs = game.remainingMs(performance.now());
  const about = { phase, word, seen, nWon, nRounds, nEnded: game.rounds.length, tookMs, isPaused, remainingMs };
  return { ...about, first: guesses[0], unknown, isEmpty: pad.isEmpty };
}

function showGame() {
  const now = moment();
  const { phase, word } = now;
  showStrip(now);
  const stage = `${phase} ${game.rounds.length}`;
  if (stage === shownPhase) return;
  shownPhase = stage;
  $("paper").dataset.phase = phase;
  $("show").hidden = phase !== "over" || !people.drawings.has(word);
  setText("show", word ? `See how others draw ${withArticle(word)}` : "");
  // A slip of the hand would end the game.
  $("examples-card").inert = game.isOn;
  $("open-words").disabled = game.isOn || !model;
  // Its card would lie over the guesses, and take the drawing of a round.
  $("open-teach").disabled = phase !== "idle";
  if (game.isOn) showTeach(false);
  pad.redraw();
  showTools();
  if (phase === "won" && !pad.isEmpty) {
    const box = boundsOf(pad.strokes);
    celebrate($("sparks"), pad.toCanvas(box.x + box.width / 2, box.y + box.height / 2));
  }
  const [headline, subline] = sentences(now);
  if (phase === "ready" || phase === "won" || phase === "over") {
    announce(`${headline}${/[.!?]$/.test(headline) ? "" : "."} ${subline}`);
    if (phase !== "ready") voice.say(headline);
  }
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
  if (!first || pad.isDown || playing || rounds.isFrozen) return;
  announceTimer = setTimeout(() => {
    const isUnknown = unknown > UNKNOWN;
    const what = isUnknown || first.word;
    if (what !== announced) {
      const text = `First guess: ${withArticle(first.word)}, ${percent(first.probability)}.`;
      announce(isUnknown ? `I don’t know this one. ${text}` : text);
      voice.say(isUnknown ? "I don’t know this one." : `Is it ${withArticle(first.word)}?`);
    }
    announced = what;
  }, ANNOUNCE_AFTER_MS);
}

function announce(text) {
  $("announcer").textContent = text;
}

// --- Drawing ----------------------------------------------------------------------------------------------------------

const keyPen = new KeyPen($("pad"), $("key-pen"), pad, (isDown) => announce(isDown ? "Pen down." : "Pen up."));

pad.addEventListener("before-pen", () => {
  begin();
  // Of a field: the keyboard of an iPad would lie over the paper.
  if (document.activeElement?.matches("input")) document.activeElement.blur();
});

pad.addEventListener("pen", () => {
  keyPen.follow();
  if (pad.isDown) rounds.begin(performance.now());
  announceSoon(); // or not, since the pen draws on
});

pad.addEventListener("ink", ({ detail: { hasGrown } }) => {
  if (hasGrown) guesser.changed();
  else guesser.replaced();
  showTools();
  showGame();
});

function showTools() {
  const isEmpty = pad.isEmpty && !playing;
  $("hint").classList.toggle("is-gone", !isEmpty || pad.isFrozen);
  $("undo").disabled = !pad.canUndo;
  $("redo").disabled = !pad.canRedo;
  for (const id of ["replay", "save"]) $(id).disabled = isEmpty;
  $("clear").disabled = isEmpty || pad.isFrozen;
  $("replay-icon").setAttribute("d", playing ? STOP_ICON : PLAY_ICON);
  setText("replay-label", playing ? "Stop" : "Replay");
  if (document.activeElement?.disabled) focusPad();
  $("pad").setAttribute("aria-label", drawingText());
}

function drawingText() {
  const n = pad.strokes.length;
  return n ? `Drawing with ${n} ${n === 1 ? "stroke" : "strokes"}` : "Empty drawing";
}

function undo() {
  stopReplay();
  if (!pad.canUndo) return;
  pad.undo();
  announce(`${drawingText()}.`);
}

function redo() {
  stopReplay();
  if (!pad.canRedo) return;
  pad.redo();
  announce(`${drawingText()}.`);
}

function begin() {
  stopReplay();
  if (!$("guesses").classList.contains("is-stale")) setText("trouble", ""); // something was told, and is no trouble
}

function clear() {
  begin();
  if (pad.isFrozen || pad.isEmpty) return;
  pad.clear();
  announce(`${drawingText()}.`);
}

$("undo").addEventListener("click", undo);
$("redo").addEventListener("click", redo);
$("clear").addEventListener("click", clear);

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.target.closest?.("input, textarea")) return;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && (key === "y" || (key === "z" && event.shiftKey))) {
    event.preventDefault();
    redo();
  } else if ((event.ctrlKey || event.metaKey) && key === "z") {
    event.preventDefault();
    undo();
  } else if (key === "escape" || key === "delete") {
    if (playing) stopReplay();
    else clear();
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
  const turn = turns.get(word) ?? 0;
  const all = people.drawings.get(word);
  turns.set(word, turn + 1);
  watch(all[turn % all.length]);
}

/** Shows a drawing of somebody else being drawn. After a round it is only shown; else it can be drawn on. */
function watch(drawing) {
  begin();
  if (!rounds.isFrozen) rounds.stop();
  const moved = centred(drawing);
  if (!rounds.isFrozen) pad.setStrokes(moved);
  replay(moved);
}

/** A drawing in the middle of the paper. */
function centred(drawing) {
  const { width, height } = pad.size;
  const strokes = placed(drawing, 0.7 * width, 0.7 * height);
  return strokes.map(([xs, ys, ts]) => [xs.map((x) => x + 0.15 * width), ys.map((y) => y + 0.15 * height), ts]);
}

$("show").addEventListener("click", () => showExample(game.word));
$("open-words").addEventListener("click", () => openLookup(model.classes, people, showExample));

/** Some words to begin with, others each time. */
function showExamples() {
  const words = model.classes.filter((word) => people.drawings.has(word));
  for (let i = words.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [words[i], words[j]] = [words[j], words[i]];
  }
  const buttons = words.slice(0, N_EXAMPLES).map((word) => {
    const button = pictureButton(people.drawings.get(word)[0], `Watch ${withArticle(word)} being drawn`, word);
    button.addEventListener("click", () => showExample(word));
    return item(button);
  });
  $("examples").replaceChildren(...buttons);
  $("examples-card").hidden = !buttons.length;
}

setUpSave({
  strokes: () => pad.strokes,
  before: stopReplay,
  word: () => game.word ?? guesses[0]?.word ?? "",
  first: () => guesses[0]?.word,
});

setUpPictures({
  read: isOffline ? undefined : (file) => recognizer.trace(file),
  isFree: () => game.phase === "idle",
  show(strokes) {
    stopReplay();
    pad.setStrokes(centred(strokes));
  },
  tell: (message) => setText("trouble", message),
});

// --- Switches ---------------------------------------------------------------------------------------------------------

for (const [id, part, isOn] of [
  ["sound", sounds, true],
  ["voice", voice, false],
]) {
  const show = () => $(id).setAttribute("aria-pressed", String(part.isOn));
  part.isOn = recall(id, isOn);
  show();
  $(id).addEventListener("click", () => {
    part.isOn = !part.isOn;
    keep(id, part.isOn);
    show();
    if (id === "voice" && !part.isOn) voice.stop();
  });
}
addEventListener("click", () => voice.wake());
$("voice").hidden = !voice.isThere;
$("open-about").addEventListener("click", () => openAbout(model, isOffline));

// --- Start ------------------------------------------------------------------------------------------------------------

/** Loads the model, or waits for the loading that is under way. */
function loadModel() {
  loading ??= loadModelAnew().finally(() => (loading = null));
  return loading;
}

/**
 * Shows how much of the model has come.
 *
 * @param {number} nBytes
 * @param {number | null} total null where nobody knows
 */
export function showProgress(nBytes, total) {
  $("loading").hidden = false;
  const megabytes = (n) => (n / 1e6).toFixed(1);
  if (total) $("loading-bar").value = nBytes / total;
  else $("loading-bar").removeAttribute("value");
  setText("loading-text", `Loading the model: ${megabytes(nBytes)}${total ? ` of ${megabytes(total)}` : ""} MB`);
}

async function loadModelAnew() {
  setText("model", "");
  for (;;) {
    try {
      model = await recognizer.load(showProgress);
      break;
    } catch (error) {
      $("loading").hidden = true;
      showTrouble(error.message);
      await new Promise((resolve) => setTimeout(resolve, LOAD_RETRY_MS));
    }
  }
  $("loading").hidden = true;
  showTrouble(null);
  const wasOn = game.phase !== "idle";
  rounds.stop();
  if (wasOn) setText("trouble", "The model was changed: the game is over.");
  setText("model", `${friendlyName(model)} · ${model.classes.length} words`);
  $("words").replaceChildren(...model.classes.map((word) => new Option(word, word)));
  for (const id of ["play", "open-words", "open-about"]) $(id).disabled = false;
  showGame();
  showExamples();
  guesser.changed();
  return model;
}

answered({ guesses: [], model: null });
showTools();
const loaded = loadModel();
autosave(pad, $("pad"), () => game.phase === "idle" && !playing);
// After the model, which is wanted first; the page is whole without them.
const loadedPeople = loaded
  .then(loadPeople)
  .then((byWord) => (people = byWord))
  .then(showExamples)
  .catch((error) => console.error("the drawings by people could not be loaded", error));
if (isOffline) {
  const changed = (classes) => {
    model = { ...model, classes };
    setText("model", `${friendlyName(model)} · ${classes.length} words`);
    $("words").replaceChildren(...classes.map((word) => new Option(word, word)));
    guesser.replaced();
  };
  loaded.then(() => setUpTeach({ recognizer, model, strokes: () => pad.strokes, clear, changed }));
}
// Afterwards, so that it fetches nothing beside the model.
if (isOffline && !isWhole) loaded.then(keepFiles).catch(() => {});

/** Keeps the page's files in the browser. Where a newer page is there already, this one gives way to it; the drawing stays. */
async function keepFiles() {
  const { waiting } = await navigator.serviceWorker.register("service-worker.js");
  if (!waiting) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => game.phase === "idle" && location.reload());
  waiting.postMessage("begin");
}

// For tests and for the curious: stable. Strokes are columns with times, `[[x..], [y..], [t..]]` each.
window.quickstroke = {
  ready: loaded.then(() => {}),
  allReady: loadedPeople, // the drawings by people, too
  strokes: () => structuredClone(pad.strokes),
  guesses: () => structuredClone(guesses),
  model: () => ({ name: model.name, classes: [...model.classes] }),
  round: () => ({ phase: game.phase, word: game.word }),
  people: (word) => structuredClone(people.drawings.get(word) ?? []),
  setStrokes(strokes) {
    stopReplay();
    pad.setStrokes(strokes);
  },
  settled: () => loaded.then(() => guesser.settled()),
  latenciesMs: () => guesser.latenciesMs,
};
