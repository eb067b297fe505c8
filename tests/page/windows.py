"""What is done in a window of a browser that Playwright does not drive, and a game that is played there."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hands import Rows
from pads import by_word, expected

from quickstroke.export import compact

TRIANGLE: list[Rows] = [[[10, 60, 120, 190, 200], [10, 11, 12, 11, 190]], [[198, 150, 100, 10], [190, 150, 100, 10]]]
SETTLED = "quickstroke.settled().then(() => quickstroke.guesses())"

_DOWN, _UP = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}


def _move(x: float, y: float) -> dict[str, Any]:
    return {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 5}


class Window:
    """A window; each browser has its own `act`, `go`, `evaluate` and `picture`."""

    def act(self, actions: list[dict[str, Any]]) -> None:
        """Performs actions as WebDriver describes them."""
        raise NotImplementedError

    def go(self, url: str) -> None:
        raise NotImplementedError

    def evaluate(self, expression: str) -> str:
        """The text that an expression resolves to in the page."""
        raise NotImplementedError

    def picture(self, path: Path) -> None:
        raise NotImplementedError

    def open(self, url: str, ready: str = "globalThis.quickstroke?.allReady.then(() => true)") -> None:
        self.go(url)
        self.until(ready)

    def run(self, script: str) -> Any:
        """The value that an expression has, or resolves to, in the page."""
        return json.loads(self.evaluate(f"(async () => JSON.stringify((await ({script})) ?? null))()"))

    def until(self, script: str) -> Any:
        """Waits for an expression to be something, and returns it."""
        wait = "new Promise((resolve) => setTimeout(resolve, 30))"
        return self.run(
            f"(async () => {{ for (;;) {{ const found = {script}; if (found) return found; await {wait}; }} }})()"
        )

    def draw(self, strokes: Sequence[Rows], selector: str = "#pad", inset: int = 100) -> None:
        """Draws with the mouse, from some pixels beside the corner of an element."""
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        left, top = self.run(f"(({{ x, y }}) => [x + {inset}, y + {inset}])({box})")
        actions: list[dict[str, Any]] = []
        for xs, ys, *_ in strokes:
            first, *others = (_move(left + x, top + y) for x, y in zip(xs, ys, strict=True))
            actions += [first, _DOWN, *others, _UP]
        self._point(actions)

    def click(self, name: str) -> None:
        """Clicks the button of this text or label."""
        place = self.until(f"""(() => {{
          const names = (each) => [each.innerText.trim(), each.getAttribute("aria-label")];
          const isIt = (each) => names(each).includes("{name}") && each.checkVisibility() && !each.disabled;
          const box = [...document.querySelectorAll("button")].find(isIt)?.getBoundingClientRect();
          return box && [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        self._point([_move(*place), _DOWN, _UP])

    def press(self, key: str) -> None:
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.act([{"type": "key", "id": "keys", "actions": actions}])

    def _point(self, actions: list[dict[str, Any]]) -> None:
        self.act([{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}])

    def phase(self) -> str:
        return str(self.run("quickstroke.round().phase"))


def play(window: Window, url: str, folder: Path) -> None:
    """Draws on the served page, and plays a game there to its end."""
    window.open(url)
    window.draw(TRIANGLE)
    assert len(window.run(SETTLED)) == 5
    assert [len(rows[0]) for rows in window.run("quickstroke.strokes()")] == [5, 4]
    assert window.run("document.querySelector('#guesses li .word').innerText") != ""
    window.picture(folder / "drawn.png")
    window.click("Play")
    window.picture(folder / "setup.png")
    window.click("Start")
    window.until("quickstroke.round().phase === 'ready'")
    word = window.run("quickstroke.round().word")
    window.draw(window.run(f"quickstroke.people({json.dumps(word)})[0]"))
    assert window.until("['won', 'over'].find((phase) => phase === quickstroke.round().phase)")
    window.picture(folder / "ended.png")
    window.click("Next")
    assert window.phase() == "ready"
    for _ in range(4):
        window.click("Skip")
    window.click("Skip")
    assert window.until("document.getElementById('gallery').open")
    window.picture(folder / "gallery.png")


def recognised_without_server(window: Window, url: str, model: compact.Compacted, folder: Path) -> None:
    """Draws on an exported page, which guesses as Python does, and begins a game there."""
    window.open(url)
    window.draw(TRIANGLE)
    guesses = window.run(SETTLED)
    drawn = [np.transpose(rows) for rows in window.run("quickstroke.strokes()")]
    assert by_word(guesses) == expected(model, drawn, top=5)
    window.picture(folder / "drawn.png")
    window.click("Play")
    window.click("Start")
    window.until("quickstroke.round().phase === 'ready'")
    window.draw(TRIANGLE)
    assert window.phase() in ("drawing", "won")
    window.picture(folder / "round.png")
