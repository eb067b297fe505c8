"""How soon an exported page guesses: from the opening of its address to the first guess, over slow lines.

    quickstroke export MODEL --to web --into page
    python benchmarks/loading.py page [--repeats 3]

Chromium's own throttling, 40 ms of latency, an empty cache each time; a plain web server on this machine serves the
folder. Something is drawn as soon as the page takes strokes. Needs playwright and Chromium. The last line is JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from chromium import launched, served

MEGABITS_PER_S = (20, 4)

FIRST_GUESS = """async () => {
  while (!window.quickstroke) await new Promise((resolve) => setTimeout(resolve, 5));
  quickstroke.setStrokes([[[100, 300, 200, 100], [100, 110, 300, 100]]]);
  const drawnMs = performance.now();
  await quickstroke.settled();
  const files = performance.getEntriesByType("resource");
  return { drawnMs, firstGuessMs: performance.now(), nFiles: files.length };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    result = {"bytes": sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())}
    with served(options.folder) as url, launched() as browser:
        for speed in MEGABITS_PER_S:
            found = []
            for _ in range(options.repeats):
                context = browser.new_context(service_workers="block")
                page = context.new_page()
                session = context.new_cdp_session(page)
                session.send("Network.enable")
                line = {"downloadThroughput": speed * 125_000, "uploadThroughput": speed * 125_000}
                session.send("Network.emulateNetworkConditions", {"offline": False, "latency": 40, **line})
                page.goto(url, wait_until="commit")
                found.append(page.evaluate(FIRST_GUESS))
                context.close()
            drawn, first = (np.array([each[key] for each in found]) / 1000 for key in ("drawnMs", "firstGuessMs"))
            print(
                f"{speed:3} Mbit/s: takes strokes after {np.median(drawn):.2f} s, first guess after {np.sort(first)} s"
            )
            result[f"first_guess_s_at_{speed}_mbit"] = round(float(np.median(first)), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
