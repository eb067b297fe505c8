/** What there is to know about the model: a friendly name, and behind it the technical one, figures and limits. */

import { $, make } from "./elements.js";

// By the number of parameters: the more, the more it sees.
const NAMES = [
  [100_000, "First Glance"],
  [500_000, "Quick Eye"],
  [Infinity, "Sharp Eye"],
];

/**
 * @typedef {{name: string, classes: string[], card?: Record<string, any> | null}} Model
 *
 * @param {Model} model
 * @returns {string} such as `Sharp Eye`
 */
export function friendlyName({ card }) {
  const parameters = card?.parameters;
  return parameters ? NAMES.find(([most]) => parameters < most)[1] : "Your model";
}

/** How many points of a drawing it reads; null where nobody knows. */
export function longestOf({ card }) {
  return card?.preprocessing?.max_padding ?? null;
}

const counted = (value) => `${Math.round(100 * value)} of 100`;

/**
 * Name and value of each fact, in the order in which they are read.
 *
 * @param {Model} model
 * @param {boolean} isOffline
 * @returns {[string, string][]}
 */
export function factsOf(model, isOffline) {
  const { name, classes, card } = model;
  const figures = card?.figures ?? card?.figures_float32 ?? {};
  const { top1, top3, n, top1_of_points: early } = figures.test ?? figures.val ?? {};
  const longest = longestOf(model);
  const nAll = card?.classes?.length;
  const half = early?.["0.5"];
  const rows = [
    ["Words", classes.length + (nAll > classes.length ? `; figures: of all ${nAll}` : "")],
    ["First guess right", top1 && `${counted(top1)} drawings${n ? ` (${n.toLocaleString("en")} tested)` : ""}`],
    ["Among the first three", top3 && `${counted(top3)} drawings`],
    ["Right when half drawn", half && `${counted(half)} drawings`],
    ["Size", card?.parameters && `${card.parameters.toLocaleString("en")} parameters`],
    ["Longest drawing", longest && `the first ${longest} points once it is simplified; more changes nothing`],
    ["Limits", card?.limits?.replace(/; `[^.]*/g, "")], // without what is for programs
    ["Your drawings", isOffline ? "stay in this browser; nothing is sent anywhere" : "go to the server of this page, which guesses"],
    ["Technical name", name],
    ["Trained on", card?.attribution?.replace(/^Trained on /, "")],
    ["Drawings by people", "The Quick, Draw! Dataset, made available by Google, Inc., CC BY 4.0 (creativecommons.org/licenses/by/4.0)"],
  ];
  return rows.filter(([, value]) => value);
}

/** Opens the panel. */
export function openAbout(model, isOffline) {
  $("about-title").textContent = friendlyName(model);
  $("about-facts").replaceChildren(
    ...factsOf(model, isOffline).flatMap(([name, value]) => [
      make("dt", { textContent: name }),
      make("dd", { textContent: value }),
    ]),
  );
  $("about").showModal();
}

$("about-close").addEventListener("click", () => $("about").close());
