"""Chromium, for the benchmarks that measure in a browser."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """The page at an address."""
    with sync_playwright() as playwright:
        path = os.environ.get("QUICKSTROKE_CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page()
        page.goto(url)
        yield page
        browser.close()


@contextmanager
def opened_beside(folder: Path) -> Iterator[Page]:
    """An empty page that can fetch and import the files of a folder."""
    (folder / "index.html").write_text("<!doctype html><title>measured</title>")
    SimpleHTTPRequestHandler.log_message = lambda *_: None  # type: ignore[method-assign, assignment]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with opened(f"http://127.0.0.1:{server.server_port}/") as page:
        yield page
    server.shutdown()
