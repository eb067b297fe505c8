"""Pads of the npm package in a page of somebody else's, and their ink; for the tests of this folder."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from quickstroke.export import compact
from quickstroke.inference.recognizer import Recognizer


def expected(model: compact.Compacted, strokes: list[Any], **options: Any) -> dict[str, Any]:
    guesses = Recognizer(model.model).predict([np.array(stroke)[:, :2] for stroke in strokes], **options)
    return {guess.word: pytest.approx(guess.probability, abs=1e-5) for guess in guesses}


def by_word(guesses: list[Any]) -> dict[str, float]:
    return {guess["word"]: guess["probability"] for guess in guesses}


def draw(page: Page, selector: str, points: list[list[int]]) -> None:
    box = page.locator(selector).bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


QUICK_STROKE = "document.querySelector('quick-stroke')"
# Whether there is ink around a place of a canvas, in its CSS pixels.
INKED = """(canvas, [x, y]) => {
  const style = getComputedStyle(canvas);
  const without = (size, ...sides) => sides.reduce((left, side) => left - parseFloat(style[`padding${side}`]), size);
  const width = without(canvas.clientWidth, "Left", "Right");
  const height = without(canvas.clientHeight, "Top", "Bottom");
  const [left, top] = [(x * canvas.width) / width, (y * canvas.height) / height];
  const { data } = canvas.getContext("2d").getImageData(left - 4, top - 4, 8, 8);
  return data.some((value) => value > 0);
}"""
# The colours of the ink, without its edges.
INKS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(String(data.slice(i, i + 3)));
  return [...colours];
}"""
# What has been drawn is seen and what observes sizes has been told.
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def is_inked(page: Page, selector: str, x: float, y: float) -> bool:
    page.evaluate(TWO_FRAMES)
    found: bool = page.locator(selector).evaluate(INKED, [x, y])
    return found


def attached(page: Page, options: str = "{}") -> None:
    """`pad` on the page's own canvas, with a recogniser that says "cat"."""
    page.evaluate(f"""async () => {{
      const {{ attach }} = await import("/cdn/element.js");
      window.recognizer = {{ predict: () => ({{ guesses: [{{ word: "cat", probability: 1 }}], unknown: null }}) }};
      window.pad = attach(document.getElementById("own"), recognizer, {options});
    }}""")


def refusal(page: Page, code: str) -> str:
    """What is thrown."""
    script = f"async () => {{ try {{ {code}; }} catch (error) {{ return String(error); }} return ''; }}"
    said: str = page.evaluate(script)
    return said
