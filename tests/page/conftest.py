"""Chromium, the page as `quickstroke serve` gives it and hands that draw on it, and a page of somebody else's."""

import asyncio
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hands import PATIENCE_MS, Hands, Pages, blank, serving
from playwright.sync_api import Page, expect, sync_playwright

from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.export import compact
from quickstroke.inference.recognizer import Recognizer, load
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.serve import app
from quickstroke.serve.limits import Limits
from quickstroke.serve.server import Server, listen, url

CHROMIUM_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
# Those that Playwright switches off by the same flag, and an address line that is a page of its own: nobody sees it,
# and it would take longer for each new page than the page itself.
CHROMIUM_FEATURES_OFF = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "AimEnabled",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
CHROMIUM_FLAGS = (
    f"--disable-features={','.join(CHROMIUM_FEATURES_OFF)}",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=PATIENCE_MS)
PATIENT = Limits(body_s=PATIENCE_MS / 1000, work_s=PATIENCE_MS / 1000)
# Of the shared weights, those with the best accuracy.
BEST = "simple_lay2_sz256.model"
# A page of somebody else's, with an element and a canvas.
HTML = """<!doctype html><title>somebody's page</title>
<script type="module" src="../../cdn/element.js"></script>
<quick-stroke model="../../models/small.quickstroke" top="2"></quick-stroke>
<canvas id="own" width="300" height="200"></canvas>
<script>
  window.told = [];
  for (const type of ["guess", "stroke", "undo", "clear", "load", "error"]) {
    document.addEventListener(type, ({ detail }) => {
      const drawn = JSON.stringify(document.querySelector("quick-stroke").strokes);
      window.told.push([type, detail?.error ? detail.error.message : detail, drawn]);
    });
  }
</script>"""


@pytest.fixture(scope="session")
def static() -> Path:
    """The folder of the page's files."""
    return app.STATIC


@pytest.fixture(scope="session")
def node() -> str:
    """The program `node`; without it the browser alone runs the page's modules."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node here; the same runs in Chromium")
    return path


@pytest.fixture(scope="session")
def tools(node: str) -> Path:
    """What the npm package is built with."""
    folder = Path(__file__).parents[2] / "js" / "node_modules"
    if not folder.is_dir():
        pytest.skip("the package's tools are not here: run `make js`")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    path = os.environ.get("QUICKSTROKE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    if not Path(path).exists():
        reason = "no Chromium here: install it, or run `playwright install chromium`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def pages(chromium: str) -> Iterator[Pages]:
    """Pages of Chromium. While it is there an event loop is running, in which tests of other folders could not run
    theirs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield Pages(browser)
        browser.close()


@pytest.fixture(scope="module")
def static_url(static: Path) -> Iterator[str]:
    """The address of a plain web server of the page's files."""
    with serving(static) as url:
        yield url


@pytest.fixture
def blank_page(pages: Pages, static_url: str) -> Iterator[Page]:
    """An empty page that can import the page's modules."""
    with pages.lent() as page:
        yield blank(page, static_url)


@pytest.fixture
def still_page(pages: Pages, static_url: str) -> Iterator[Page]:
    """The same, where time stands still but for `page.clock`."""
    with pages.lent(has_clock=True) as page:
        yield blank(page, static_url)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> compact.Compacted:
    """A small model with opinions, as a page has it."""
    torch.manual_seed(6)
    words = ("cat", "house", "star", "sun")
    model = StrokeClassifier(ModelConfig.from_name("bipool_cv1_8_5_2_lay1_sz8", n_classes=len(words))).eval()
    with torch.no_grad():
        model.linear.weight *= 4
    folder = tmp_path_factory.mktemp("model")
    return compact.export(load_model(write_model(folder, LoadedModel(model, words, None, folder), {})))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best model at hand: shared weights, else a model that knows nothing."""
    root = Path(__file__).resolve().parents[2]
    best = Path(os.environ.get("QUICKSTROKE_SHARED", root.parent / "shared")) / "models" / "seed" / BEST
    if best.exists():
        return best
    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(1)
    classes = ("apple", "bicycle", "circle", "face", "square", "star", "sun", "triangle", "The Great Wall of China")
    config = ModelConfig.from_name("simple_lay1_sz64", n_classes=len(classes))
    return write_model(folder, LoadedModel(StrokeClassifier(config), classes, None, folder), {})


@pytest.fixture(scope="session")
def recognizer(model_path: Path) -> Recognizer:
    """What the server runs, in this process."""
    return load(model_path)


@pytest.fixture(scope="session")
def served(chromium: str, model_path: Path) -> Iterator[str]:
    """The address of the page, served as by `quickstroke serve` but in this process: another one takes longer to start
    than most tests here. They leave the server as it was, and no error has been logged by it."""
    errors: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = errors.append  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "quickstroke")]
    for logger in loggers:
        logger.addHandler(handler)
    is_ready = threading.Event()
    server = Server(app.create_app(load(model_path), PATIENT), on_ready=is_ready.set)
    with listen("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])))
        # Servers of other tests in this process may fail on purpose.
        handler.addFilter(lambda record: record.thread == thread.ident)
        thread.start()
        assert is_ready.wait(PATIENCE_MS / 1000)
        yield url(sock)
        server.should_exit = True
        thread.join()
    for logger in loggers:
        logger.removeHandler(handler)
    assert errors == []


@pytest.fixture
def hands(pages: Pages, served: str) -> Iterator[Hands]:
    """The served page; afterwards its console was free of errors and no other host was asked."""
    hands = Hands(pages, served)
    yield hands
    hands.close()
    assert hands.problems == []


@pytest.fixture(scope="session")
def host(node: str, tools: Path, model: compact.Compacted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A host with the package in one folder, a model in another, and a page in a third."""
    folder = tmp_path_factory.mktemp("host")
    build = [node, tools.parent / "build.mjs", folder / "page", folder / "cdn"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("models", "app/deep"):
        (folder / name).mkdir(parents=True)
    (folder / "models" / "small.quickstroke").write_bytes(model.data)
    (folder / "app" / "deep" / "index.html").write_text(HTML)
    with serving(folder) as url:
        yield url


@pytest.fixture
def page(pages: Pages, host: str) -> Iterator[Page]:
    """The page of somebody else's; afterwards no error was left to it."""
    problems: list[str] = []
    with pages.lent() as page:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{host}app/deep/")
        yield page
    assert problems == []
