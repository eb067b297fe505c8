"""What people do on the page: open it and draw with a mouse, a finger or a pen."""

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect

Rows = list[list[float]]

# For whatever is waited for: a machine that does much else besides takes its time.
PATIENCE_MS = 120_000
# Where time is to stand still, it does so from here on: later than the loading of a page ever takes.
A_WHILE_MS = 3_600_000

# What the page draws by chance, such as the words of its rounds, is the same each time: Math.random is mulberry32.
SEEDED = """(() => {
  let state = 1;
  Math.random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
})();"""


@contextmanager
def serving(folder: Path, *, without_index: bool = False) -> Iterator[str]:
    """The address of a plain web server of a folder, as any host of an exported page would be.

    Args:
        without_index: whether `index.html` is to be had by the address of its folder alone, as many hosts have it.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            if without_index and self.path.endswith("/index.html"):
                self.send_response(308)
                self.send_header("Location", self.path.removesuffix("index.html"))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def blank(page: Page, url: str) -> Page:
    """The page, empty, on a web server: it can import what is there."""
    page.route("**/blank.html", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(f"{url}blank.html")
    return page


# Where time stands still no request may be given up when a test lets it pass at once: http-recognizer.js waits so long.
PATIENT = """{
  const wait = globalThis.setTimeout;
  globalThis.setTimeout = (work, ms, ...rest) => (ms === 10_000 ? 0 : wait(work, ms, ...rest));
}
"""


MOST_FREE = 4  # each is a process


class Pages:
    """Pages of a browser that one test after another is lent: the process and the contents of a new one cost as much
    as the rest of a test. What is lent again has nothing left of what it was."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[str, Page] = {}  # by what they are, the one used last at the end

    @contextmanager
    def lent(self, *, has_clock: bool = False, **options: Any) -> Iterator[Page]:
        """An empty page.

        Args:
            has_clock: whether `page.clock` is there.
            options: of Playwright's `new_context`.
        """
        kind = repr((has_clock, sorted(options.items())))
        page = self._free.pop(kind, None)
        if page is None:
            page = self._browser.new_context(**options).new_page()
            page.set_default_timeout(PATIENCE_MS)
        size = page.viewport_size
        assert size is not None
        if has_clock:
            page.clock.install(time=0)
        yield page
        if not page.url.startswith("http"):  # another kind of process
            page.context.close()
            return
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
        page.mouse.up()
        page.unroute_all(behavior="ignoreErrors")
        if has_clock:
            page.clock.resume()
        page.goto("about:blank")
        session = page.context.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        session.detach()
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=options.get("color_scheme", "light"))
        others = [kind] if kind in self._free else list(self._free)[: 1 - MOST_FREE]
        for other in others:
            self._free.pop(other).context.close()
        self._free[kind] = page


class Hands:
    """Opens the page and draws on it."""

    def __init__(self, pages: Pages, url: str) -> None:
        self._pages, self._url = pages, url
        self._lent = ExitStack()
        self.problems: list[str] = []

    def open(
        self,
        *,
        has_clock: bool = False,
        before: str = "",
        url: str | None = None,
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> Page:
        """The page, ready.

        Args:
            has_clock: whether time stands still but for `page.clock`.
            before: a script that runs before the page's own.
            url: another address than that of the server.
            classes: the words that the page is told the model knows, instead of its own.
            options: of Playwright's `new_context`.
        """
        page = self._lent.enter_context(self._pages.lent(has_clock=has_clock, **options))
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url or self._url))
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("request", lambda request: self._see(request.url, origin))
        page.on("requestfailed", lambda request: self._see(request.url, origin))
        self._lent.enter_context(page.add_init_script(SEEDED + (PATIENT if has_clock else "") + before))
        if classes is not None:
            model = {"name": "simple_lay1_sz64", "classes": list(classes)}
            page.route("**/api/v1/model", lambda route: route.fulfill(json=model))
        page.goto(url or self._url)
        # The modules of a page in one file come after its load.
        for _ in range(PATIENCE_MS // 20):
            if page.evaluate("'quickstroke' in globalThis"):
                break
            page.wait_for_timeout(20)
        page.evaluate("quickstroke.ready")
        if has_clock:
            page.clock.pause_at(A_WHILE_MS)
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(f"console {kind}: {text}")

    def _see(self, url: str, origin: str) -> None:
        if not url.startswith((f"{origin}/", f"blob:{origin}/", "data:", "blob:null/")):  # null: of a page from a file
            self.problems.append(f"request to {url}")

    def forgive(self, problem: str) -> None:
        """Drops the errors that a test has made; there has to be one."""
        left = [each for each in self.problems if not each.startswith(f"console error: {problem}")]
        assert len(left) < len(self.problems)
        self.problems = left

    def close(self) -> None:
        self._lent.close()

    def settle(self, page: Page) -> None:
        """Waits for the guesses of the newest drawing, where the clock stands still."""
        page.clock.run_for(30)  # longer than from question to question: what is left to ask needs no clock
        page.evaluate("quickstroke.settled()")

    def placed(self, page: Page, strokes: Sequence[Rows]) -> list[list[tuple[float, float]]]:
        """Strokes in the middle of the canvas, in the window's pixels."""
        box = page.locator("#pad").bounding_box()
        assert box is not None
        xs, ys = ([x for rows in strokes for x in rows[axis]] for axis in (0, 1))
        extent = max(max(xs) - min(xs), max(ys) - min(ys), 1)
        scale = 0.8 * min(box["width"], box["height"]) / extent
        left = box["x"] + box["width"] / 2 - scale * (min(xs) + max(xs)) / 2
        top = box["y"] + box["height"] / 2 - scale * (min(ys) + max(ys)) / 2
        return [[(left + scale * x, top + scale * y) for x, y in zip(*rows[:2], strict=True)] for rows in strokes]

    def mouse(self, page: Page, strokes: Sequence[Rows], *, lift: bool = True) -> None:
        """Draws with the mouse, and lifts it at the end if told so."""
        for stroke in self.placed(page, strokes):
            page.mouse.up()
            page.mouse.move(*stroke[0])
            page.mouse.down()
            for x, y in stroke[1:]:
                page.mouse.move(x, y)
        if lift:
            page.mouse.up()

    def touch(self, page: Page, strokes: Sequence[Rows]) -> None:
        """Draws with a finger."""
        session = page.context.new_cdp_session(page)
        for stroke in self.placed(page, strokes):
            for i, (x, y) in enumerate(stroke):
                kind = "touchMove" if i else "touchStart"
                session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        session.detach()

    def pen(self, page: Page, strokes: Sequence[Rows]) -> None:
        """Draws with a pen."""
        session = page.context.new_cdp_session(page)
        for stroke in self.placed(page, strokes):
            for kind, places in (
                ("mousePressed", stroke[:1]),
                ("mouseMoved", stroke[1:]),
                ("mouseReleased", stroke[-1:]),
            ):
                for x, y in places:
                    event = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": "pen"}
                    session.send("Input.dispatchMouseEvent", {"type": kind, **event})
        session.detach()


def strokes_of(page: Page) -> list[Rows]:
    """What the page shows."""
    strokes: list[Rows] = page.evaluate("quickstroke.strokes()")
    return strokes


def expect_phase(page: Page, phase: str) -> None:
    """Waits until a game is in a phase."""
    expect(page.locator("#strip")).to_have_attribute("data-phase", phase)


def start_game(page: Page) -> None:
    """Begins a game, of all words, and waits for the first of them."""
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Start").click()
    expect_phase(page, "ready")


def resize(page: Page, width: int, height: int) -> None:
    """Gives the page a new size, and waits until it has taken it: its observers, which are older than the one here,
    have been told, and those of what they changed."""
    page.set_viewport_size({"width": width, "height": height})
    for _ in range(2):
        page.evaluate("() => new Promise((done) => new ResizeObserver(done).observe(document.documentElement))")
    assert page.evaluate("[innerWidth, innerHeight]") == [width, height]


def answer(page: Page, guesses: Callable[[list[Rows]], dict[str, float]]) -> list[list[Rows]]:
    """Answers the page's questions instead of the server.

    Args:
        page: the page.
        guesses: strokes -> the words' probabilities, best first.

    Returns:
        The strokes that were asked about, in order; grows while the page asks.
    """
    model = page.evaluate("fetch('api/v1/model').then((response) => response.json())")
    asked: list[list[Rows]] = []

    def handle(route: Route) -> None:
        strokes = json.loads(route.request.post_data or "")["strokes"]
        asked.append(strokes)
        ranked = [{"word": word, "probability": p} for word, p in guesses(strokes).items()]
        route.fulfill(json={"guesses": ranked, "model": model["name"], "ms": 1.0})

    page.route("**/api/v1/recognize", handle)
    return asked


def pixels(page: Page, x: float, y: float, width: float, height: float) -> NDArray[np.uint8]:
    """A part of the canvas in its own pixels, (rows, columns, RGBA); the part is in CSS pixels."""
    script = """async (canvas, [x, y, width, height]) => {
      // The ink is drawn in the next frame, after a change of size in the one after it.
      for (let i = 0; i < 3; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
      const part = [x, y, width, height].map((value) => Math.round((value * canvas.width) / canvas.clientWidth));
      const copy = new OffscreenCanvas(part[2], part[3]).getContext("2d");
      copy.drawImage(canvas, ...part, 0, 0, part[2], part[3]);
      const { data } = copy.getImageData(0, 0, part[2], part[3]);
      return [part[3], part[2], btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""))];
    }"""
    n_rows, n_columns, data = page.locator("#pad").evaluate(script, [x, y, width, height])
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(n_rows, n_columns, 4)
