"""The exported page: it recognises in a worker, with no server but one of files."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hands import PATIENCE_MS, Hands, Pages, Rows, serving, start_game
from playwright.sync_api import Page, expect

from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.export import compact, html, web
from quickstroke.inference.recognizer import Recognizer
from quickstroke.models.classifier import StrokeClassifier

CLASSES = ("apple", "bicycle", "circle", "face", "square", "star", "sun")
NAME = "bipool_cv1_8_5_2_lay1_sz8"

IS_KEPT = "quickstroke.allReady.then(() => navigator.serviceWorker.ready).then(() => {})"
TRIANGLE: list[Rows] = [[[10, 60, 120, 190, 200], [10, 11, 12, 11, 190]], [[198, 150, 100, 10], [190, 150, 100, 10]]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> compact.Compacted:
    """A small model that has an opinion, but says of every drawing that it knows none of the words."""
    torch.manual_seed(4)
    model = StrokeClassifier(ModelConfig.from_name(NAME, n_classes=len(CLASSES))).eval()
    with torch.no_grad():
        model.linear.weight *= 4
    folder = tmp_path_factory.mktemp("model")
    facts = {"unknown": {"intercept": 50, "slope": 1}}
    return compact.export(load_model(write_model(folder, LoadedModel(model, CLASSES, None, folder), facts)))


@pytest.fixture
def folder(exported: compact.Compacted, tmp_path: Path) -> Path:
    """An exported folder."""
    web.write_folder(tmp_path / "web", exported, replace=False)
    return tmp_path / "web"


@pytest.fixture
def open_offline(hands: Hands, folder: Path) -> Iterator[Callable[..., Page]]:
    """Opens its page."""
    with ExitStack() as servers:
        yield lambda: hands.open(url=servers.enter_context(serving(folder)))
        hands.close()


def guesses(page: Page) -> list[Any]:
    ranked: list[Any] = page.evaluate("quickstroke.settled().then(() => quickstroke.guesses())")
    return ranked


def assert_said_by(model: LoadedModel, page: Page) -> None:
    """What the page guesses is what Python says of what was drawn."""
    drawn = page.evaluate("quickstroke.strokes()")
    expected = Recognizer(model).predict([np.array(rows[:2]).T for rows in drawn], layout="points")
    found = guesses(page)
    assert [guess["word"] for guess in found] == [guess.word for guess in expected]
    assert [guess["probability"] for guess in found] == pytest.approx(
        [guess.probability for guess in expected], abs=1e-5
    )


def test_recognises_without_a_server(
    open_offline: Callable[..., Page], hands: Hands, exported: compact.Compacted
) -> None:
    page = open_offline()
    page.evaluate("quickstroke.allReady")
    page.evaluate("navigator.serviceWorker.ready.then(() => {})")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    expect(page.locator("#model")).to_have_text("Your model · 7 words")
    hands.mouse(page, TRIANGLE)
    assert_said_by(exported.model, page)
    expect(page.locator("#headline")).to_have_text("I don’t know this one.")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()
    assert requests == []


def test_who_reads_pictures_is_told(open_offline: Callable[..., Page]) -> None:
    page = open_offline()
    expect(page.get_by_role("button", name="Read a picture")).to_have_count(0)
    expect(page.locator("#picture-file")).to_have_attribute("accept", ".ndjson,.jsonl,application/octet-stream")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Open a saved drawing").click()
    line = json.dumps({"word": "triangle", "drawing": [[[10, 60, 35], [10, 12, 80]]]})
    chosen.value.set_files({"name": "a.ndjson", "mimeType": "application/x-ndjson", "buffer": line.encode()})
    page.wait_for_function("quickstroke.strokes().length === 1")
    page.locator("#picture-file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"any"})
    told = "This page opens what was saved as Data (ndjson). Pictures need quickstroke serve or quickstroke predict."
    expect(page.get_by_role("alert")).to_have_text(told)


@pytest.mark.parametrize("strokes", [[[[5], [5]]], [[[5, 6], [5, 5]]], [[[1, 2, 3], [4, 5, 6]], [[7, 8], [9, 9]]]])
def test_what_is_small_or_could_be_read_as_points(
    open_offline: Callable[..., Page], exported: compact.Compacted, strokes: list[Rows]
) -> None:
    page = open_offline()
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", strokes)
    assert_said_by(exported.model, page)


@pytest.mark.parametrize(
    ("file", "message"),
    [("model.quickstroke", "model.quickstroke: could not be loaded"), ("worker.js", "could not be started")],
)
def test_a_missing_file_is_told_and_asked_for_again(
    pages: Pages, hands: Hands, folder: Path, file: str, message: str
) -> None:
    away = folder.parent / "away"
    (folder / file).rename(away)
    with serving(folder) as url, pages.lent() as page:
        page.goto(url)
        expect(page.get_by_role("alert")).to_contain_text(message)
        away.rename(folder / file)
        expect(page.locator("#model")).to_have_text("Your model · 7 words")
        expect(page.get_by_role("alert")).to_have_text("")
        hands.mouse(page, TRIANGLE)
        assert len(guesses(page)) == 5


def test_a_damaged_model_is_told(pages: Pages, folder: Path) -> None:
    path = folder / "model.quickstroke"
    path.write_bytes(path.read_bytes()[:-40])
    with serving(folder) as url, pages.lent() as page:
        page.goto(url)
        expect(page.get_by_role("alert")).to_contain_text("the model file is cut off")


def test_without_javascript_the_page_says_so_at_its_top(pages: Pages, folder: Path) -> None:
    with serving(folder) as url, pages.lent(java_script_enabled=False) as page:
        page.goto(url)
        notice = page.locator(".noscript")
        expect(notice).to_be_visible()
        box = notice.bounding_box()
        assert box is not None and box["y"] < 100


def test_opened_without_a_server_the_page_says_what_it_needs(pages: Pages, folder: Path) -> None:
    with pages.lent() as page:
        page.goto((folder / "index.html").as_uri())
        expect(page.locator("#headline")).to_have_text("This page needs a web server")
        expect(page.locator("#hint")).to_contain_text("python -m http.server")


def test_from_a_subfolder_without_a_network_after_the_first_visit(
    hands: Hands, folder: Path, exported: compact.Compacted
) -> None:
    """Another folder of the same host keeps what is its own."""
    for name in ("one", "other"):
        (folder.parent / "host" / "games").mkdir(parents=True, exist_ok=True)
        web.write_folder(folder.parent / "host" / "games" / name, exported, replace=False)
    with serving(folder.parent / "host") as url:
        page = hands.open(url=f"{url}games/one/")
        page.evaluate(IS_KEPT)
        page.goto(f"{url}games/other/")
        page.evaluate(IS_KEPT)
        assert len(page.evaluate("caches.keys()")) == 2
    # The host is gone.
    for name in ("one/", "other/index.html"):
        page.goto(f"{url}games/{name}")
        page.evaluate("quickstroke.allReady")
        hands.mouse(page, TRIANGLE)
        assert len(guesses(page)) == 5


def test_pages_of_one_host_have_drawings_of_their_own(hands: Hands, folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("another"))
    with serving(folder.parent) as url:
        page = hands.open(url=f"{url}web/")
        hands.mouse(page, TRIANGLE)
        page.goto(f"{url}another/")
        expect(page.get_by_role("application", name="Empty")).to_be_visible()
        page.goto(f"{url}web/index.html")
        expect(page.get_by_role("application", name="Drawing with 2 strokes")).to_be_visible()
        hands.close()


def test_from_a_host_that_shows_no_index_html(hands: Hands, folder: Path) -> None:
    with serving(folder, without_index=True) as url:
        page = hands.open(url=url)
        page.evaluate(IS_KEPT)
        page.reload()
        page.evaluate("quickstroke.allReady")
    page.goto(url)  # the host is gone
    page.evaluate("quickstroke.allReady")
    hands.mouse(page, TRIANGLE)
    assert len(guesses(page)) == 5


def test_a_newer_export_comes_by_loading_the_page_once_more(hands: Hands, folder: Path, tmp_path: Path) -> None:
    """The first load fetches it, the next one shows it, with the drawing; not while another tab has the page."""
    waits = "navigator.serviceWorker.getRegistration().then(({ waiting }) => waiting !== null)"
    with serving(folder) as url:
        page = hands.open(url=url)
        page.evaluate(IS_KEPT)
        other = page.context.new_page()
        other.goto(url)
        other.evaluate(IS_KEPT)
        web.write_folder(folder, another(tmp_path), replace=True)
        for path in folder.iterdir():  # this server tells files of one second apart by nothing
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 2))
        page.reload()
        until(page, waits)
        hands.mouse(page, TRIANGLE)
        page.reload()
        page.evaluate(IS_KEPT)
        assert page.evaluate(waits)
        expect(page.locator("#model")).to_have_text("Your model · 7 words")
        other.close()
        page.reload()
        expect(page.locator("#model")).to_have_text("Your model · 2 words")
        assert len(page.evaluate("quickstroke.strokes()")) == len(TRIANGLE)
        assert len(page.evaluate("caches.keys()")) == 1


def until(page: Page, question: str) -> None:
    """Waits until the answer to a question is yes."""
    for _ in range(PATIENCE_MS // 20):
        if page.evaluate(question):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"it never was that {question}")


def another(folder: Path) -> compact.Compacted:
    """A model of two words."""
    model = StrokeClassifier(ModelConfig.from_name(NAME, n_classes=2)).eval()
    path = write_model(folder / "another", LoadedModel(model, ("star", "sun"), None, folder), {})
    return compact.export(load_model(path))


def test_the_page_can_be_installed(open_offline: Callable[..., Page]) -> None:
    page = open_offline()
    manifest = page.evaluate("fetch('manifest.webmanifest').then((answer) => answer.json())")
    assert {"name", "start_url", "display", "icons"} <= set(manifest)
    session = page.context.new_cdp_session(page)
    found = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # A private window, as tests have, installs nothing.
    assert [error for error in found if error["errorId"] != "in-incognito"] == []


def test_how_much_has_come_is_shown(pages: Pages, exported: compact.Compacted, folder: Path) -> None:
    with serving(folder) as url, pages.lent() as page:
        page.goto(url)
        page.evaluate("quickstroke.ready")  # the page's own progress is over
        page.evaluate("""async () => {
          const { showProgress } = await import("./app.js");
          showProgress(250_000, 1_000_000);
        }""")
        expect(page.get_by_role("progressbar", name="Loading the model: 0.3 of 1.0 MB")).to_have_js_property(
            "value", 0.25
        )
        page.evaluate("import('./app.js').then(({ showProgress }) => showProgress(250_000, null))")
        expect(page.get_by_role("progressbar", name="Loading the model: 0.3 MB")).to_have_js_property("position", -1)
        told = page.evaluate("""async () => {
          const { bytesOf } = await import("./files.js");
          const told = [];
          await bytesOf("model.quickstroke", (...each) => told.push(each));
          return told;
        }""")
        assert told[-1] == [len(exported.data), len(exported.data)]


def test_one_file_opens_by_a_double_click(hands: Hands, exported: compact.Compacted, tmp_path: Path) -> None:
    path = tmp_path / "the page.html"
    path.write_bytes(html.page(exported))
    page = hands.open(url=path.as_uri())
    hands.mouse(page, TRIANGLE)
    assert_said_by(exported.model, page)
    start_game(page)
    page.evaluate("quickstroke.allReady")
