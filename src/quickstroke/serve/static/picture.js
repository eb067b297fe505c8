/** A drawing as a small picture, as SVG within the page. */

import { pathText, placed } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {number[][][]} strokes none of them for an empty sheet */
export function picture(strokes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "-6 -6 76 76");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", strokes.length ? placed(strokes, 64, 64).map(pathText).join("") : "");
  svg.append(path);
  return svg;
}

/** A button with such a picture and perhaps a word under it. */
export function pictureButton(strokes, label, text = "") {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.append(picture(strokes), text);
  return button;
}

/** A list's item with something in it. */
export function item(...content) {
  const element = document.createElement("li");
  element.append(...content);
  return element;
}
