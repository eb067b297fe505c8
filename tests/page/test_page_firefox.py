"""The page in Firefox, driven by WebDriver BiDi as Firefox speaks it by itself."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hands import PATIENCE_MS, SEEDED, serving
from windows import Window, play, recognised_without_server

from quickstroke.export import compact, web

websockets = pytest.importorskip("websockets.sync.client")
pytestmark = pytest.mark.slow  # Firefox starts, and rounds last as long as rounds do


class Firefox(Window):
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

    def go(self, url: str) -> None:
        self.send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> str:
        target = {"context": self._context}
        found = self.send("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert found["type"] == "success", found
        return str(found["result"]["value"])

    def act(self, actions: list[dict[str, Any]]) -> None:
        self.send("input.performActions", context=self._context, actions=actions)

    def picture(self, path: Path) -> None:
        data = self.send("browsingContext.captureScreenshot", context=self._context)["data"]
        path.write_bytes(base64.b64decode(data))


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
    play(firefox, served, tmp_path)
    assert firefox.problems == []


def test_exported(firefox: Firefox, model: compact.Compacted, tmp_path: Path) -> None:
    web.write_folder(tmp_path / "web", model, replace=False)
    with serving(tmp_path / "web") as url:
        recognised_without_server(firefox, url, model, tmp_path)
        assert firefox.problems == []
