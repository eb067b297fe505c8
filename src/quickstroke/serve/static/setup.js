/** The dialog before a game: which words it is about. */

import { kindsOf } from "./difficulty.js";
import { $, make } from "./elements.js";
import { recordsText, ROUND_MS } from "./game.js";
import { keep, recall } from "./store.js";
import { typedWords } from "./words.js";

const OWN = "own";
const SHOWN_UNKNOWN = 3;

let kinds = [];
let words = [];
let onStart = () => {};

const kind = () => document.querySelector("[name=kind]:checked")?.value;

/** What is chosen, or null where that is no word. */
function chosen() {
  if (kind() !== OWN) return kinds.find(({ name }) => name === kind())?.words ?? null;
  const { known } = typedWords($("own-words").value, words);
  return known.length ? known : null;
}

function show() {
  const isOwn = kind() === OWN;
  $("own").hidden = !isOwn;
  $("start").disabled = !chosen();
  if (!isOwn) return;
  const { known, unknown } = typedWords($("own-words").value, words);
  const n = `${known.length} ${known.length === 1 ? "word" : "words"}`;
  const refused = unknown.slice(0, SHOWN_UNKNOWN).map((word) => `“${word}”`).join(", ");
  const facts = [known.length ? `${n}. A game asks for six at most, each once.` : "No word yet, such as: cat, dog, house."];
  if (unknown.length) facts.push(`Unknown to this model: ${refused}${unknown.length > SHOWN_UNKNOWN ? " and others" : ""}.`);
  $("own-facts").textContent = facts.join(" ");
}

function choice({ name, label, fact }, isChecked) {
  const element = make("label", { className: "choice" });
  const input = make("input", { type: "radio", name: "kind", value: name });
  input.checked = isChecked;
  const text = make("span");
  const small = make("small", { textContent: fact });
  text.append(label, " ", small);
  element.append(input, text);
  return element;
}

/**
 * Opens the dialog.
 *
 * @param {string[]} known the words of the model
 * @param {Map<string, number>} percents how hard some of them are
 * @param {import("./game.js").Score} score
 * @param {(words: string[], roundMs: number) => void} start
 */
export function openSetup(known, percents, score, start) {
  [words, onStart] = [known, start];
  kinds = kindsOf(words, percents);
  const own = { name: OWN, label: "My own words", fact: "for a lesson or a party" };
  const before = recall("kind", kinds[0].name);
  const isThere = [...kinds, own].some(({ name }) => name === before);
  const rows = [...kinds, own].map((each, i) => choice(each, isThere ? each.name === before : i === 0));
  $("kinds").replaceChildren($("kinds").querySelector("legend"), ...rows, $("untimed").parentNode);
  $("own-words").value ||= recall("own-words", "");
  $("untimed").checked = recall("untimed", false) === true;
  $("records").textContent = recordsText(score);
  $("setup").returnValue = "cancel";
  show();
  $("setup").showModal();
  $("start").focus();
}

$("kinds").addEventListener("change", show);
$("own-words").addEventListener("input", show);
$("setup").addEventListener("close", () => {
  if ($("setup").returnValue !== "start" || !chosen()) return;
  keep("kind", kind());
  keep("own-words", $("own-words").value);
  keep("untimed", $("untimed").checked);
  onStart(chosen(), $("untimed").checked ? Infinity : ROUND_MS);
});
