/** Every word that the model knows, to be looked up and watched being drawn by people. */

import { $, item, make, pictureButton } from "./elements.js";
import { bare, withArticle } from "./words.js";

let words = [];
let people = { drawings: new Map() };
let onWatch = () => {};

/**
 * @param {string[]} known the words of the model
 * @param {import("./people.js").People} byPeople
 * @param {(word: string) => void} watch shows how a word is drawn
 */
export function openLookup(known, byPeople, watch) {
  words = [...known].sort((a, b) => a.localeCompare(b, "en", { sensitivity: "base" }));
  [people, onWatch] = [byPeople, watch];
  $("lookup-search").value = "";
  show();
  $("lookup").showModal();
}

function show() {
  const asked = $("lookup-search").value.trim();
  const key = plain(asked);
  const found = words.filter((word) => plain(word).includes(key));
  // What begins with it before what holds it.
  const begins = (word) => plain(word).startsWith(key);
  found.sort((a, b) => begins(b) - begins(a));
  $("lookup-facts").textContent = facts(asked, found.length);
  $("lookup-words").replaceChildren(...found.map(row));
}

/** `cafe` finds `café`. */
const plain = (text) => bare(text.normalize("NFD").replace(/[\u0300-\u036f]/g, ""));

function facts(asked, n) {
  if (asked && !n) return `The model does not know “${asked}”: drawn, it would be taken for something else.`;
  if (asked) return `${n} ${n === 1 ? "word" : "words"} of ${words.length}.`;
  const some = words.some((word) => people.drawings.has(word)) ? " Choose one to watch it being drawn." : "";
  return `The model knows ${words.length} ${words.length === 1 ? "word" : "words"}.${some}`;
}

function row(word) {
  const drawings = people.drawings.get(word);
  if (!drawings) return item(make("span", { textContent: word }));
  const button = pictureButton(drawings[0], `Watch ${withArticle(word)} being drawn`, word);
  button.addEventListener("click", () => {
    $("lookup").close();
    onWatch(word);
  });
  return item(button);
}

$("lookup-search").addEventListener("input", show);
// Safari keeps Escape for the field, also where there is nothing to be emptied.
$("lookup-search").addEventListener("keydown", ({ key, target }) => {
  if (key === "Escape" && !target.value) $("lookup").close();
});
$("lookup-close").addEventListener("click", () => $("lookup").close());
