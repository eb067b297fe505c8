/** Elements of the page, and drawings as small pictures in them, as SVG. */

import { pathText, placed } from "./geometry.js";
import { play } from "./replay.js";

export const $ = (id) => document.getElementById(id);

/** Where the focus goes when what had it is gone or disabled. */
export const focusPad = () => $("pad").focus({ preventScroll: true });

/** A new element with these properties. */
export const make = (name, values) => Object.assign(document.createElement(name), values);

/** A list's item with something in it. */
export function item(...content) {
  const element = make("li");
  element.append(...content);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 64;

let drawn = new AbortController(); // the picture that is drawn anew

/** @param {number[][][]} strokes none of them for an empty sheet */
export function picture(strokes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "-6 -6 76 76");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  svg.append(path);
  if (strokes.length) show(svg, placed(strokes, SIDE, SIDE));
  return svg;
}

function show(svg, strokes) {
  svg.firstChild.setAttribute("d", strokes.map(pathText).join(""));
}

/** Shows a picture being drawn; another one that is under way is whole again. */
export async function drawAnew(svg, strokes) {
  drawn.abort();
  drawn = new AbortController();
  const all = placed(strokes, SIDE, SIDE);
  await play(all, (shown) => show(svg, shown), drawn.signal);
  show(svg, all);
}

/** A button with such a picture and perhaps a word under it. */
export function pictureButton(strokes, label, text = "") {
  const button = make("button");
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.append(picture(strokes), text);
  return button;
}
