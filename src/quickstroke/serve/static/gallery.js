/** The end of a game: all drawings, what was seen in each, and how other people draw these words. */

import { $, drawAnew, item, make, pictureButton } from "./elements.js";
import { recordsText } from "./game.js";
import { share } from "./save.js";
import { moving, picture } from "./share.js";
import { capitalized, listed, withArticle } from "./words.js";

const MARKS = { won: "Recognised", over: "Time was up", skipped: "Skipped" };

let onAgain = () => {};
let shown = { results: [], headline: "" };

/**
 * @typedef {import("./game.js").Round & {drawing: number[][][]}} Result
 *
 * @param {Result[]} results
 * @param {import("./game.js").Score & {isBest: boolean}} score
 * @param {import("./people.js").People} people
 * @param {() => void} again told that another game is wanted
 */
export function openGallery(results, score, people, again) {
  onAgain = again;
  const nWon = results.filter(({ outcome }) => outcome === "won").length;
  const headline = `${nWon} of ${results.length} recognised`;
  shown = { results, headline };
  $("gallery-title").textContent = score.isBest && score.games > 1 ? `${headline}: your best game` : headline;
  $("gallery-records").textContent = recordsText(score);
  const tiles = results.map((result, i) => {
    const { word, outcome, drawing } = result;
    const tile = pictureButton(drawing, `${word}: ${MARKS[outcome].toLowerCase()}`);
    tile.dataset.outcome = outcome;
    tile.append(make("span", { className: "tile-word", textContent: word }));
    tile.addEventListener("click", () => showDetail(i, people));
    return item(tile);
  });
  $("tiles").replaceChildren(...tiles);
  const firstLost = results.findIndex(({ outcome }) => outcome !== "won");
  showDetail(Math.max(firstLost, 0), people);
  $("gallery").showModal();
  $("again").focus();
}

function showDetail(i, people) {
  const { word, outcome, seen, tookMs } = shown.results[i];
  [...$("tiles").children].forEach((tile, k) => tile.firstChild.setAttribute("aria-pressed", String(k === i)));
  const saw = seen.length ? `I saw ${listed(seen.slice(-4).map(withArticle))}.` : "I saw nothing.";
  const said = {
    won: `recognised after ${(tookMs / 1000).toFixed(1)} s`,
    over: "not recognised",
    skipped: "skipped",
  };
  $("detail-said").textContent = `${capitalized(withArticle(word))}, ${said[outcome]}. ${saw}`;
  const others = people.drawings.get(word) ?? [];
  $("detail-title").hidden = !others.length;
  $("detail-title").textContent = others.length ? `How others draw ${withArticle(word)}` : "";
  $("others").replaceChildren(
    ...others.map((drawing, k) => {
      const button = pictureButton(drawing, `Watch drawing ${k + 1} of ${others.length} being drawn`);
      button.addEventListener("click", () => drawAnew(button.firstChild, drawing));
      return item(button);
    }),
  );
}

$("gallery-close").addEventListener("click", () => $("gallery").close());
$("again").addEventListener("click", () => {
  $("gallery").close();
  onAgain();
});
$("share").addEventListener("click", async () => share("quickstroke.png", await picture(shown), shown.headline));
$("share-moving").addEventListener("click", () => share("quickstroke.gif", moving(shown), shown.headline));

