"""The examples in js/examples, each as it stands: on a host with the package in one folder and a model in another."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hands import Pages, serving
from playwright.sync_api import Page, expect

from quickstroke.export import compact, web
from quickstroke.inference.recognizer import Recognizer

TRIANGLE = [[(100, 10), (12, 172), (200, 170), (100, 10)]]


@pytest.fixture(scope="module")
def examples(static: Path) -> Path:
    return Path(__file__).parents[2] / "js" / "examples"


@pytest.fixture(scope="module")
def first_word(model: compact.Compacted) -> str:
    return Recognizer(model.model).predict(TRIANGLE)[0].word


@pytest.fixture(scope="module")
def root(
    node: str, tools: Path, examples: Path, model: compact.Compacted, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the host; in it `project` has the package as npm would install it."""
    root = tmp_path_factory.mktemp("host")
    done = subprocess.run(
        [node, tools.parent / "build.mjs", root / "unused", root / "cdn"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (root / "models").mkdir()
    (root / "models" / "model.quickstroke").write_bytes(model.data)
    web.write_folder(root / "page", model, replace=False)
    shutil.copytree(examples, root / "project")
    package = root / "project" / "node_modules" / "quickstroke"
    package.mkdir(parents=True)
    shutil.copy(tools.parent / "package.json", package)
    shutil.copytree(root / "cdn", package / "dist")
    for name in ("plain", "canvas", "worker", "frame"):
        shutil.copy(examples / f"{name}.html", root)
    return root


@pytest.fixture
def page(pages: Pages, root: Path) -> Iterator[Page]:
    problems: list[str] = []
    script = "document.addEventListener('load', () => { window.hasModel = true; });"
    with serving(root) as url, pages.lent() as page, page.add_init_script(script):
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{url}plain.html")
        yield page
    assert problems == []


def draw(page: Page, selector: str) -> None:
    box = page.locator(selector).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for x, y in ((150, 40), (90, 150), (20, 20)):
        page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.up()


def test_the_element(page: Page, model: compact.Compacted) -> None:
    expect(page.locator("quick-stroke canvas")).to_be_visible()
    page.wait_for_function("window.hasModel")  # the pad takes strokes from then on
    draw(page, "quick-stroke canvas")
    expect(page.locator("#said")).to_have_text(re.compile(f"^I see: ({'|'.join(model.model.classes)})$"))
    expect(page.locator("quick-stroke li")).to_have_count(3)


def test_a_canvas(page: Page) -> None:
    page.goto(page.url.replace("plain", "canvas"))
    said = page.locator("#said")
    expect(said).to_have_text("Ready")
    draw(page, "#pad")
    expect(said).to_contain_text("I see: ")
    page.get_by_role("button", name="Undo").click()
    expect(said).to_have_text("Ready")


def test_a_worker(page: Page, first_word: str) -> None:
    page.goto(page.url.replace("plain", "worker"))
    expect(page.locator("#said")).to_have_text(f"I see: {first_word}")
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 1)


def test_a_frame(page: Page) -> None:
    page.goto(page.url.replace("plain", "frame"))
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("button", name="Play", exact=True)).to_be_enabled()
    draw(page, "iframe >> internal:control=enter-frame >> #pad")
    first = frame.locator("#guesses li .word").first
    expect(first).not_to_have_text("")
    expect(page.locator("#said")).to_have_text(f"I see: {first.inner_text()}, 1 stroke(s)")
    frame.get_by_role("button", name="Clear").click()
    expect(page.locator("#said")).to_have_text("")


def test_vite(page: Page, root: Path, node: str, tools: Path, first_word: str) -> None:
    options = ["--base", "./", "--target", "es2022", "--outDir", root / "bundled", "--emptyOutDir"]
    command = [node, tools / "vite" / "bin" / "vite.js", "build", *options]
    done = subprocess.run(command, cwd=root / "project" / "vite", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page.goto(page.url.replace("plain.html", "bundled/index.html"))
    expect(page.locator("#said")).to_have_text(f"I see: {first_word}, {first_word}")


def test_node(root: Path, node: str, first_word: str) -> None:
    command = [node, root / "project" / "node.mjs", root / "models" / "model.quickstroke"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"I see: {first_word}", "")


def test_every_example_is_told_of(examples: Path) -> None:
    readme = (examples / "README.md").read_text()
    names = [path.name for path in examples.iterdir() if path.name != "README.md"]
    assert [name for name in names if f"| `{name}" not in readme] == []
