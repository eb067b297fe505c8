"""Chromium, for the benchmarks that measure in a browser."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        path = os.environ.get("QUICKSTROKE_CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which a plain web server on this machine has a folder."""
    SimpleHTTPRequestHandler.log_message = lambda *_: None  # type: ignore[method-assign, assignment]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """The page at an address."""
    with launched() as browser:
        page = browser.new_page()
        page.goto(url)
        yield page


@contextmanager
def opened_beside(folder: Path) -> Iterator[Page]:
    """An empty page that can fetch and import the files of a folder."""
    (folder / "index.html").write_text("<!doctype html><title>measured</title>")
    with served(folder) as url, opened(url) as page:
        yield page
