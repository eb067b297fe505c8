/**
 * The element as a widget of notebooks: what anywidget asks of a module (anywidget.dev, "Anywidget Front-End Module").
 *
 * Its model has, from Python: `model_file`, the bytes of a `.quickstroke` file; `words`, the only ones that count, or none
 * for all; `top`. To Python: `strokes`, `guesses`, `unknown` and `error`. Empty `strokes` from Python clear the pad.
 */

import "./element.js";
import { load } from "./index.js";

async function render({ model, el }) {
  const pad = document.createElement("quick-stroke");
  pad.dataset.lmSuppressShortcuts = "true"; // JupyterLab takes the arrow keys else, as its guide to notebook extensions says
  Object.assign(pad, { top: model.get("top"), words: model.get("words"), controls: true });
  pad.strokes = model.get("strokes"); // a notebook may show a pad anew, or in another cell, too
  const tell = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  pad.addEventListener("stroke", ({ detail }) => tell({ strokes: detail.strokes, error: "" }));
  pad.addEventListener("undo", ({ detail }) => tell({ strokes: detail.strokes }));
  pad.addEventListener("clear", () => tell({ strokes: [] }));
  pad.addEventListener("guess", ({ detail }) => tell({ guesses: detail.guesses, unknown: detail.unknown }));
  pad.addEventListener("error", ({ detail }) => tell({ error: detail.error.message }));
  const onStrokes = () => {
    if (!model.get("strokes").length && pad.strokes.length) pad.clear();
  };
  model.on("change:strokes", onStrokes);
  el.append(pad);
  try {
    pad.recognizer = await load(model.get("model_file"));
  } catch (error) {
    tell({ error: error.message });
  }
  return () => model.off("change:strokes", onStrokes);
}

export default { render };
