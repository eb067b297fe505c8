"""The page on which doubtful drawings are looked at: one HTML file that needs nothing else."""

import json
from collections.abc import Iterable
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Doubtful drawings</title><style>
body { font: 16px/1.4 system-ui, sans-serif; margin: 1rem; color: #111; background: #fff }
header { position: sticky; top: 0; background: #fff; padding: .5rem 0; border-bottom: 1px solid #767676 }
button { font: inherit; padding: .4rem .8rem; margin-right: .5rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; margin-top: 1rem }
fieldset { border: 1px solid #767676; border-radius: .4rem; margin: 0; min-width: 0 }
svg { width: 100%; aspect-ratio: 1; fill: none; stroke: #111; stroke-width: 4; stroke-linecap: round }
svg { stroke-linejoin: round }
label { display: block; padding: .15rem 0 } input[type=text] { width: 90%; font: inherit }
</style></head><body><header><h1>Doubtful drawings</h1>
<p id="told"></p><button id="list">Save the list to leave out</button>
<button id="relabelled">Save the relabelled drawings</button></header><main></main>
<script type="application/json" id="data">DATA</script><script>
const items = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const make = (name, values = {}, ...children) => {
  const element = Object.assign(document.createElement(name), values);
  element.append(...children);
  return element;
};
items.forEach((item, i) => {
  item.choice = "drop";
  item.to = item.guess;
  const path = item.drawing.map(([x, y]) => "M" + x.map((value, k) => value + " " + y[k]).join("L")).join("");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-8 -8 272 272");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "drawing " + (i + 1));
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", path);
  const word = make("input", { type: "text", value: item.guess, ariaLabel: "new word" });
  word.addEventListener("input", () => (item.to = word.value.trim()));
  const choices = ["keep", "drop", "relabel"].map((choice) => {
    const radio = make("input", { type: "radio", name: "choice" + i, checked: choice === item.choice });
    radio.addEventListener("change", () => { item.choice = choice; tell(); });
    return make("label", {}, radio, choice === "relabel" ? " relabel as " : " " + choice);
  });
  const said = make("legend", { textContent: item.word });
  main.append(make("fieldset", {}, said, svg, ...choices, word));
});
function tell() {
  const n = (choice) => items.filter((item) => item.choice === choice).length;
  document.getElementById("told").textContent = items.length + " labels, the most doubted first: keep " +
    n("keep") + ", drop " + n("drop") + ", relabel " + n("relabel");
}
function save(name, lines) {
  const address = URL.createObjectURL(new Blob(lines.map((line) => line + "\\n"), { type: "text/plain" }));
  make("a", { href: address, download: name }).click();
}
document.getElementById("list").onclick = () =>
  save("leave-out.txt", items.filter(({ choice }) => choice !== "keep").map((item) => item.key_id + "\\t" + item.word));
document.getElementById("relabelled").onclick = () =>
  save("relabelled.ndjson", items.filter(({ choice, to }) => choice === "relabel" && to).map((item) => JSON.stringify(
    { word: item.to, key_id: item.key_id, recognized: true, drawing: item.drawing })));
tell();
</script></body></html>
"""


def audit_page(items: Iterable[dict[str, Any]]) -> str:
    """The page of drawings: each a dict of `key_id`, `word`, `guess` and `drawing`, in columns."""
    data = json.dumps(list(items), ensure_ascii=False, separators=(",", ":"))
    return _PAGE.replace("DATA", data.replace("<", "\\u003c"))
