"""Writes the README's picture of the drawing page, docs/page.png, from a real run.

python docs/picture.py [MODEL] [--into docs/page.png]

`quickstroke serve MODEL` (default: the default model) runs, Chromium opens the page, and a mouse draws a bicycle that a
program made, stroke by stroke. The picture is taken while the pen is still down, at the first moment after half of the
drawing at which the model is quite sure of it. Needs playwright, pillow and Chromium.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from quickstroke.drawings.synthetic import synthetic_drawings

TARGET = Path(__file__).resolve().parent / "page.png"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

WORD = "bicycle"
# The place of the drawing among those of seed 0.
CHOSEN = 2
SURE = 0.9


def places(page: Page) -> list[list[tuple[float, float]]]:
    """The drawing's strokes in the middle of the canvas, in the window's pixels."""
    *_, drawing = synthetic_drawings(CHOSEN + 1, words=(WORD,), simplified=False)
    points = np.concatenate(drawing.strokes)
    box = page.locator("#pad").bounding_box()
    assert box is not None
    sides = np.array([box["width"], box["height"]])
    scale = 0.74 * (sides / np.ptp(points, axis=0)).min()
    shift = [box["x"], box["y"]] + sides / 2 - scale * (points.min(axis=0) + points.max(axis=0)) / 2
    return [[(float(x), float(y)) for x, y in stroke * scale + shift] for stroke in drawing.strokes]


def is_sure(page: Page) -> bool:
    """Whether the model is, once it has seen everything."""
    first = page.evaluate("quickstroke.settled().then(() => quickstroke.guesses()[0])")
    return bool(first and first["word"] == WORD and first["probability"] >= SURE)


def draw(page: Page) -> None:
    """Draws until the model is sure; the pen stays down.

    Raises:
        SystemExit: the model never is.
    """
    strokes = places(page)
    half = sum(map(len, strokes)) // 2
    n = 0
    for stroke in strokes:
        page.mouse.up()
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for x, y in stroke[1:]:
            page.mouse.move(x, y)
            n += 1
            if n > half and n % 10 == 0 and is_sure(page):
                return
    sys.exit(f"the model does not take the drawing for a {WORD}")


def picture(url: str) -> bytes:
    """The page at that moment, as PNG."""
    with sync_playwright() as playwright:
        path = os.environ.get("QUICKSTROKE_CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=1.5, color_scheme="light")
        page.goto(url)
        page.wait_for_selector("#examples button")
        draw(page)
        page.wait_for_timeout(300)  # the bars come to rest
        png = page.screenshot()
        browser.close()
    # 256 colours are within 3 of 255 of the page's own, in less than half of the bytes.
    image = (
        Image.open(io.BytesIO(png)).convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="as `quickstroke serve` takes it")
    parser.add_argument("--into", type=Path, default=TARGET)
    options = parser.parse_args()
    command = [sys.executable, "-m", "quickstroke", "serve", *filter(None, [options.model]), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            if not line:
                sys.exit("quickstroke serve did not start")
            options.into.write_bytes(picture(line.split()[-1]))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
