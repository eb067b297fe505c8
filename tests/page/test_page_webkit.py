"""The page, exported pages and the package in WebKit, the engine of Safari, driven by the WebDriver of WebKitGTK."""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hands import PATIENCE_MS, serving
from pads import by_word, expected
from windows import SETTLED, TRIANGLE, Window, play, recognised_without_server

from quickstroke.export import compact, html, web

pytestmark = pytest.mark.slow  # a browser starts, and rounds last as long as rounds do

WIDTH, HEIGHT = 820, 1180  # an iPad's
ESCAPE = "\ue00c"
# A machine without a graphics card, and perhaps a user who may not make a sandbox.
ENVIRONMENT = {
    "LIBGL_ALWAYS_SOFTWARE": "1",
    "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
    "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
    "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
}


class WebKit(Window):
    """A window of WebKit, in the size of an iPad."""

    def __init__(self, port: int, browser: Path) -> None:
        self._port, self._session = port, ""
        options = {"binary": str(browser), "args": ["--automation"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session = self.send("", capabilities=capabilities)["sessionId"]
        self._session = f"/{session}"
        self.send("/timeouts", script=PATIENCE_MS)
        self.go("about:blank")
        width, height = self.run("[innerWidth, innerHeight]")
        frame = self.send("/window/rect", "GET")
        outer = {"width": WIDTH + frame["width"] - width, "height": HEIGHT + frame["height"] - height}
        self.send("/window/rect", x=0, y=0, **outer)
        self.until(f"innerWidth === {WIDTH} && innerHeight === {HEIGHT}")

    def send(self, command: str, method: str = "POST", **params: Any) -> Any:
        """The result of a command."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_MS / 1000)
        body = json.dumps(params) if method == "POST" else None
        connection.request(method, f"/session{self._session}{command}", body, {"content-type": "application/json"})
        response = connection.getresponse()
        value = json.loads(response.read())["value"]
        assert response.status == 200, value
        return value

    def go(self, url: str) -> None:
        self.send("/url", url=url)

    def evaluate(self, expression: str) -> str:
        tell = "(text) => arguments[0]([text, '']), (error) => arguments[0](['', String(error)])"
        text, problem = self.send("/execute/async", script=f"({expression}).then({tell})", args=[])
        assert problem == "", problem
        return str(text)

    def act(self, actions: list[dict[str, Any]]) -> None:
        self.send("/actions", actions=actions)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("/screenshot", "GET")))


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A screen that nobody sees."""
    path = shutil.which("Xvfb")
    if path is None:
        pytest.skip("no Xvfb here: install it (Debian's package is xvfb)")
    options = ["-displayfd", "1", "-screen", "0", "1400x1400x24", "-nolisten", "tcp"]
    with subprocess.Popen([path, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f":{process.stdout.readline().strip()}"
        process.terminate()


@pytest.fixture(scope="module")
def webkit(display: str) -> Iterator[WebKit]:
    driver = shutil.which("WebKitWebDriver")
    browsers = sorted(Path("/usr/lib").glob("**/webkit2gtk-4.*/MiniBrowser"))
    if driver is None or not browsers:
        pytest.skip("no WebKitWebDriver here: install it (Debian's package is webkit2gtk-driver)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([driver, f"--port={port}"], env=os.environ | ENVIRONMENT | {"DISPLAY": display}) as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                time.sleep(0.05)
        window = WebKit(port, browsers[-1])
        yield window
        window.send("", "DELETE")
        process.terminate()


def test_served(webkit: WebKit, served: str, tmp_path: Path) -> None:
    play(webkit, served, tmp_path)


def test_escape_closes_dialogs(webkit: WebKit, served: str) -> None:
    """A search field keeps the key for itself, but for what would be typed."""
    webkit.open(served)
    for name, dialog in (("Look up a word", "lookup"), ("Play", "setup")):
        webkit.click(name)
        webkit.until(f"document.getElementById('{dialog}').open")
        webkit.press("c")
        webkit.press(ESCAPE)
        webkit.press(ESCAPE)
        assert webkit.until("!document.querySelector('dialog[open]')")


def test_exported(webkit: WebKit, model: compact.Compacted, tmp_path: Path) -> None:
    web.write_folder(tmp_path / "host" / "a class", model, replace=False)
    with serving(tmp_path / "host") as url:
        recognised_without_server(webkit, f"{url}a%20class/", model, tmp_path)
        webkit.until("navigator.serviceWorker.controller")
    webkit.open(f"{url}a%20class/")  # without a network
    assert webkit.run("quickstroke.model().classes.length") == len(model.model.classes)
    (tmp_path / "page.html").write_bytes(html.page(model))
    recognised_without_server(webkit, (tmp_path / "page.html").as_uri(), model, tmp_path)


def test_a_word_is_taught(webkit: WebKit, model: compact.Compacted, tmp_path: Path) -> None:
    """And is known when the page is loaded once more."""
    web.write_folder(tmp_path / "web", model, replace=False)
    with serving(tmp_path / "web") as url:
        webkit.open(url)
        webkit.click("Teach me a word")
        webkit.run("document.getElementById('teach-word').value = 'tent'")
        for i in range(5):
            webkit.draw(TRIANGLE, inset=100 + i)
            webkit.click(f"Take drawing {i + 1} of 5")
            webkit.until("quickstroke.strokes().length === 0")
        webkit.open(url)
        webkit.until("document.querySelector('#taught li')?.innerText.startsWith('tent, by 5 drawings')")
        webkit.draw(TRIANGLE)
        assert webkit.run(SETTLED)[0]["word"] == "tent"


def test_an_element(webkit: WebKit, host: str, model: compact.Compacted, tmp_path: Path) -> None:
    webkit.open(f"{host}app/deep/", "globalThis.told?.some(([type]) => type === 'load')")
    webkit.draw(TRIANGLE, "quick-stroke", 20)
    guesses = webkit.until("told.findLast(([type, , drawn]) => type === 'guess' && JSON.parse(drawn)[1]?.length === 4)")
    strokes = webkit.run("document.querySelector('quick-stroke').strokes")
    webkit.picture(tmp_path / "element.png")
    assert by_word(guesses[1]["guesses"]) == expected(model, strokes, top=2)
    found = webkit.run("""import("/cdn/worker.js").then(async ({ load }) => {
      const recognizer = await load("/models/small.quickstroke");
      return recognizer.predict(document.querySelector("quick-stroke").strokes, { top: 2 });
    })""")
    assert by_word(found["guesses"]) == expected(model, strokes, top=2)
