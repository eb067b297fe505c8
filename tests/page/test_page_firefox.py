"""The page in Firefox, driven by WebDriver BiDi as Firefox speaks it by itself."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hands import PATIENCE_MS, SEEDED, Rows, serving

from quickstroke.export import compact, web

websockets = pytest.importorskip("websockets.sync.client")
pytestmark = pytest.mark.slow  # Firefox starts, and rounds last as long as rounds do

TRIANGLE: list[Rows] = [[[10, 60, 120, 190, 200], [10, 11, 12, 11, 190]], [[198, 150, 100, 10], [190, 150, 100, 10]]]


_DOWN, _UP = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}


def _move(x: float, y: float) -> dict[str, Any]:
    return {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 5}


class Firefox:
    """A window of Firefox.

    Attributes:
        problems: what its console has told of errors.
    """

    def __init__(self, socket: Any) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._n_sent = 0
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded"])
        self._context = self.send("browsingContext.getTree")["contexts"][0]["context"]
        self.send("script.addPreloadScript", functionDeclaration=f"() => {{ {SEEDED} }}")
        self.send("browsingContext.setViewport", context=self._context, viewport={"width": 1280, "height": 720})

    def send(self, method: str, **params: Any) -> Any:
        """The result of a command."""
        self._n_sent += 1
        self._socket.send(json.dumps({"id": self._n_sent, "method": method, "params": params}))
        while (told := json.loads(self._socket.recv(PATIENCE_MS / 1000))).get("id") != self._n_sent:
            entry = told.get("params", {})
            if entry.get("level") in ("error", "warn"):
                self.problems.append(f"{entry['level']}: {entry['text']}")
        assert told["type"] == "success", told
        return told["result"]

    def open(self, url: str) -> None:
        self.send("browsingContext.navigate", context=self._context, url=url, wait="complete")
        self.run("quickstroke.allReady")

    def run(self, script: str) -> Any:
        """The value that an expression has, or resolves to, in the page."""
        expression = f"(async () => JSON.stringify((await ({script})) ?? null))()"
        target = {"context": self._context}
        found = self.send("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    def until(self, script: str) -> Any:
        """Waits for an expression to be something, and returns it."""
        wait = "new Promise((resolve) => setTimeout(resolve, 30))"
        return self.run(
            f"(async () => {{ for (;;) {{ const found = {script}; if (found) return found; await {wait}; }} }})()"
        )

    def draw(self, strokes: Sequence[Rows]) -> None:
        """Draws with the mouse, from 100 pixels beside the paper's corner."""
        left, top = self.run(
            "(({ x, y }) => [x + 100, y + 100])(document.getElementById('pad').getBoundingClientRect())"
        )
        actions: list[dict[str, Any]] = []
        for xs, ys, *_ in strokes:
            first, *others = (_move(left + x, top + y) for x, y in zip(xs, ys, strict=True))
            actions += [first, _DOWN, *others, _UP]
        self._point(actions)

    def click(self, name: str) -> None:
        """Clicks the button of this text."""
        place = self.until(f"""(() => {{
          const isIt = (each) => each.innerText.trim() === "{name}" && each.checkVisibility() && !each.disabled;
          const box = [...document.querySelectorAll("button")].find(isIt)?.getBoundingClientRect();
          return box && [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        self._point([_move(*place), _DOWN, _UP])

    def _point(self, actions: list[dict[str, Any]]) -> None:
        source = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self.send("input.performActions", context=self._context, actions=[source])

    def picture(self, path: Path) -> None:
        data = self.send("browsingContext.captureScreenshot", context=self._context)["data"]
        path.write_bytes(base64.b64decode(data))

    def phase(self) -> str:
        return str(self.run("quickstroke.round().phase"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Firefox listens."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("no Firefox here: install it (Debian's package is firefox-esr)")
    options = [
        "--headless",
        "--no-remote",
        "--profile",
        tmp_path_factory.mktemp("profile"),
        "--remote-debugging-port",
        "0",
    ]
    with subprocess.Popen([path, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        yield next(found[0] for line in lines if (found := re.search(r"ws://\S+", line)))
        process.terminate()


@pytest.fixture(scope="module")
def firefox(address: str) -> Iterator[Firefox]:
    with websockets.connect(f"{address}/session", max_size=None, ping_interval=None) as socket:
        yield Firefox(socket)


def test_served(firefox: Firefox, served: str, tmp_path: Path) -> None:
    firefox.open(served)
    firefox.draw(TRIANGLE)
    assert len(firefox.run("quickstroke.settled().then(() => quickstroke.guesses())")) == 5
    assert [len(rows[0]) for rows in firefox.run("quickstroke.strokes()")] == [5, 4]
    assert firefox.run("document.querySelector('#guesses li .word').innerText") != ""
    firefox.picture(tmp_path / "drawn.png")
    firefox.click("Play")
    firefox.picture(tmp_path / "setup.png")
    firefox.click("Start")
    firefox.until("quickstroke.round().phase === 'ready'")
    word = firefox.run("quickstroke.round().word")
    firefox.draw(firefox.run(f"quickstroke.people({json.dumps(word)})[0]"))
    assert firefox.until("['won', 'over'].find((phase) => phase === quickstroke.round().phase)")
    firefox.picture(tmp_path / "ended.png")
    firefox.click("Next")
    assert firefox.phase() == "ready"
    for _ in range(4):
        firefox.click("Skip")
    firefox.click("Skip")
    assert firefox.until("document.getElementById('gallery').open")
    firefox.picture(tmp_path / "gallery.png")
    assert firefox.problems == []


def test_exported(firefox: Firefox, model: compact.Compacted, tmp_path: Path) -> None:
    web.write_folder(tmp_path / "web", model, replace=False)
    with serving(tmp_path / "web") as url:
        firefox.open(url)
        firefox.draw(TRIANGLE)
        guesses = firefox.run("quickstroke.settled().then(() => quickstroke.guesses())")
        assert {guess["word"] for guess in guesses} == set(model.model.classes)
        firefox.picture(tmp_path / "drawn.png")
        firefox.click("Play")
        firefox.click("Start")
        firefox.until("quickstroke.round().phase === 'ready'")
        firefox.draw(TRIANGLE)
        assert firefox.phase() in ("drawing", "won")
        firefox.picture(tmp_path / "round.png")
        assert firefox.problems == []
