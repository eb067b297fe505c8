"""How soon an exported page guesses: from the opening of its address to the first guess, over slow lines.

    quickstroke export MODEL --to web --into page
    python benchmarks/loading.py page [--repeats 3]

Chromium's own throttling, 40 ms of latency, an empty cache each time; a plain web server on this machine serves the
folder. Something is drawn as soon as the page takes strokes. Needs playwright and Chromium. The last line is JSON.
"""

import argparse
import json
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

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
    SimpleHTTPRequestHandler.log_message = lambda *_: None  # type: ignore[method-assign, assignment]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(options.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    result = {"bytes": sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())}
    with sync_playwright() as playwright:
        path = os.environ.get("QUICKSTROKE_CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=["--headless", "--no-sandbox"])
        for speed in MEGABITS_PER_S:
            found = []
            for _ in range(options.repeats):
                context = browser.new_context(service_workers="block")
                page = context.new_page()
                session = context.new_cdp_session(page)
                session.send("Network.enable")
                line = {"downloadThroughput": speed * 125_000, "uploadThroughput": speed * 125_000}
                session.send("Network.emulateNetworkConditions", {"offline": False, "latency": 40, **line})
                page.goto(f"http://127.0.0.1:{server.server_port}/", wait_until="commit")
                found.append(page.evaluate(FIRST_GUESS))
                context.close()
            drawn, first = (np.array([each[key] for each in found]) / 1000 for key in ("drawnMs", "firstGuessMs"))
            print(
                f"{speed:3} Mbit/s: takes strokes after {np.median(drawn):.2f} s, first guess after {np.sort(first)} s"
            )
            result[f"first_guess_s_at_{speed}_mbit"] = round(float(np.median(first)), 2)
        browser.close()
    server.shutdown()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
