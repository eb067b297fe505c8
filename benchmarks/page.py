"""How fast the drawing page guesses, as its user meets it: the examples are replayed at the pace of a hand.

python benchmarks/page.py http://127.0.0.1:8000/ [--rounds 3]

The page may be `quickstroke serve`'s or an exported folder behind any web server. Needs playwright and Chromium. Prints
one JSON object: milliseconds from question to answer (p50, p99), and answers per second while something is drawn.
"""

import argparse
import json

import numpy as np

from chromium import opened

MEASURE = """async (rounds) => {
  await quickstroke.ready;
  const buttons = [...document.querySelectorAll("#examples button")];
  const label = document.getElementById("replay-label");
  const latencies = [], rates = [];
  for (let i = 0; i < rounds * buttons.length; i++) {
    const before = quickstroke.latenciesMs().length;
    const begin = performance.now();
    buttons[i % buttons.length].click();
    while (label.textContent === "Stop") await new Promise((resolve) => setTimeout(resolve, 20));
    const seconds = (performance.now() - begin) / 1000;
    const all = quickstroke.latenciesMs();
    const fresh = all.length < 1000 ? all.slice(before) : [];
    latencies.push(...fresh);
    if (fresh.length) rates.push(fresh.length / seconds);
    await quickstroke.settled();
  }
  return { latencies, rates };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the page's address")
    parser.add_argument("--rounds", type=int, default=1, help="how often each example is drawn")
    options = parser.parse_args()
    with opened(options.url) as page:
        page.wait_for_selector("#examples button")
        measured = page.evaluate(MEASURE, options.rounds)
        model = page.inner_text("#model")
    latencies, rates = np.array(measured["latencies"]), np.array(measured["rates"])
    result = {
        "model": model,
        "n": len(latencies),
        "p50_ms": round(float(np.quantile(latencies, 0.5)), 1),
        "p99_ms": round(float(np.quantile(latencies, 0.99)), 1),
        "answers_per_s": round(float(np.median(rates)), 1),
        "least_answers_per_s": round(float(rates.min()), 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
