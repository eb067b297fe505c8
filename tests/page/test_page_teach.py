"""A word is taught on the exported page, stays on the device, and goes to Python and back as a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hands import Hands, serving, start_game
from playwright.sync_api import Page, expect
from test_page_states import PROBLEMS, SIZES

from quickstroke.artifacts.discriminant import Discriminant, rounded
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.export import compact, web
from quickstroke.inference.recognizer import Recognizer, load
from quickstroke.models.classifier import StrokeClassifier

CLASSES = ("apple", "bicycle", "circle", "face", "square", "star", "sun")
NAME = "bipool_cv1_8_5_2_lay1_sz8"


def zigzag(bend: int) -> list[list[list[int]]]:
    return [[[10, 80, 15 + bend, 90, 20], [10, 30 + bend, 60, 90, 120 + bend]], [[120, 160 + bend], [20, 140]]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    model = StrokeClassifier(ModelConfig.from_name(NAME, n_classes=len(CLASSES))).eval()
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    statistics = Discriminant(*(rounded(rng.normal(0, 0.3, (3, len(CLASSES)))) for _ in range(2))).entry()
    return write_model(folder, LoadedModel(model, CLASSES, None, folder), {"discriminant": statistics})


@pytest.fixture
def page(hands: Hands, published: Path, tmp_path: Path) -> Iterator[Page]:
    web.write_folder(tmp_path / "web", compact.export(load_model(published), "float16"), replace=False)
    with serving(tmp_path / "web") as url:
        page = hands.open(url=url)
        page.get_by_role("button", name="Teach me a word").click()
        yield page
        hands.close()


def guesses(page: Page) -> list[str]:
    words: list[str] = page.evaluate("quickstroke.settled().then(() => quickstroke.guesses().map(({ word }) => word))")
    return words


def says(page: Page, text: str) -> None:
    expect(page.locator("#teach-says")).to_have_text(text)


def test_a_word_is_drawn_five_times_and_known(page: Page, published: Path, tmp_path: Path) -> None:
    take = page.locator("#teach-add")
    take.click()
    says(page, "First write the word.")
    page.get_by_label("Your word", exact=True).fill("robot")
    take.click()
    says(page, "Draw robot on the paper, then take it.")
    for k in range(5):
        expect(take).to_have_text(f"Take drawing {k + 1} of 5")
        page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", zigzag(3 * k))
        take.click()
        expect(page.locator("#teach-drawings svg")).to_have_count((k + 1) % 5)
    says(page, "I know “robot” now. Draw it!")
    expect(page.locator("#taught li")).to_have_text("robot, by 5 drawings Forget")
    expect(page.locator("#model")).to_have_text("Your model · 8 words")
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", zigzag(5))
    assert guesses(page)[0] == "robot"

    with page.expect_download() as started:  # Python knows it by the file
        page.get_by_role("button", name="Save as a file").click()
    started.value.save_as(tmp_path / "mine.json")
    assert started.value.suggested_filename == f"{NAME}.taught.json"
    recognizer = load(published, taught=tmp_path / "mine.json")
    assert recognizer.taught == {"robot": 5}
    strokes = [list(zip(*stroke, strict=True)) for stroke in zigzag(5)]
    assert recognizer.predict(strokes, layout="points")[0].word == "robot"

    page.reload()  # it stays on the device
    page.evaluate("quickstroke.ready")
    expect(page.locator("#model")).to_have_text("Your model · 8 words")
    page.get_by_role("button", name="Teach me a word").click()
    page.get_by_role("button", name="Forget robot").click()
    says(page, "“robot” is forgotten.")
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", zigzag(5))
    assert "robot" not in guesses(page)
    page.reload()
    page.evaluate("quickstroke.ready")
    expect(page.locator("#model")).to_have_text("Your model · 7 words")


def draw(page: Page, bend: int) -> None:
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", zigzag(bend))


def test_what_is_taken_can_be_taken_away_and_outlives_a_reload(page: Page) -> None:
    word, take = page.get_by_label("Your word", exact=True), page.locator("#teach-add")
    draw(page, 0)
    for known in ("Square", " STAR "):
        word.fill(known)
        take.click()
        says(page, f"I know “{known.strip().lower()}” already.")
        expect(page.locator("#teach-drawings svg")).to_have_count(0)
    word.fill("robot")
    for k in range(3):
        draw(page, 3 * k)
        take.click()
    expect(word).not_to_be_editable()  # the drawings are of this word
    page.get_by_role("button", name="Take drawing 2 away").click()
    says(page, "It is taken away.")
    expect(page.locator("#teach-drawings svg")).to_have_count(2)
    page.reload()
    page.evaluate("quickstroke.ready")
    says(page, "Draw “robot” again, or take its drawings away.")
    expect(word).to_have_value("robot")
    expect(take).to_have_text("Take drawing 3 of 5")
    for _ in range(2):
        page.get_by_role("button", name="Take drawing 1 away").click()
    expect(word).to_be_editable()


def test_a_game_closes_the_card(page: Page) -> None:
    """It would lie over the guesses, and could not be closed."""
    teach = page.locator("#open-teach")
    page.set_viewport_size({"width": 390, "height": 844})
    start_game(page)
    expect(page.locator("#teach-card")).to_be_hidden()
    expect(teach).to_have_attribute("aria-expanded", "false")
    expect(teach).to_be_disabled()
    expect(page.locator("#guesses")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    teach.click()
    expect(page.locator("#teach-card")).to_be_visible()


def test_the_focus_goes_to_the_paper(page: Page) -> None:
    """After Enter in the field, which takes no drawing; and when what had it is gone."""
    pad, field = page.locator("#pad"), page.get_by_label("Your word", exact=True)
    draw(page, 0)
    field.fill("robot")
    field.press("Enter")
    expect(pad).to_be_focused()
    expect(page.locator("#teach-drawings svg")).to_have_count(0)
    for k in range(5):
        draw(page, 3 * k)
        page.locator("#teach-add").press("Enter")
        expect(page.locator("#teach-add")).to_have_text(f"Take drawing {(k + 1) % 5 + 1} of 5")
        expect(pad).to_be_focused()
    page.get_by_role("button", name="Forget robot").press("Enter")
    says(page, "“robot” is forgotten.")
    expect(pad).to_be_focused()
    field.fill("ladder")
    draw(page, 0)
    page.locator("#teach-add").click()
    page.get_by_role("button", name="Take drawing 1 away").press("Enter")
    expect(pad).to_be_focused()


def test_what_is_taken_looks_like_it(page: Page) -> None:
    field = page.get_by_label("Your word", exact=True)
    field.fill("robot")
    border = "(field) => getComputedStyle(field).borderTopStyle"
    assert field.evaluate(border) == "solid"
    draw(page, 0)
    page.locator("#teach-add").click()
    expect(page.locator("#teach-drawings button")).to_have_count(1)
    assert field.evaluate(border) == "dashed"
    sign = page.get_by_role("button", name="Take drawing 1 away")
    assert sign.evaluate("(button) => getComputedStyle(button, '::after').content") == '"×"'


def test_keys_in_the_field_are_the_fields_own(page: Page) -> None:
    draw(page, 0)
    field = page.get_by_label("Your word", exact=True)
    field.fill("robots")
    for key in ("Home", "Delete", "Control+z", "Escape"):
        field.press(key)
    assert page.evaluate("quickstroke.strokes().length") == 2
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()


def teach(page: Page, word: str) -> None:
    page.get_by_label("Your word", exact=True).fill(word)
    for k in range(5):
        draw(page, 3 * k)
        page.locator("#teach-add").click()
    expect(page.locator("#teach-says")).to_contain_text(f"I know “{word}” now. Draw it!")


def test_two_tabs_teach_the_same_page(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    other.evaluate("quickstroke.ready")
    other.get_by_role("button", name="Teach me a word").click()
    teach(page, "robot")
    expect(other.locator("#taught li")).to_have_text("robot, by 5 drawings Forget")
    teach(other, "ladder")
    expect(page.locator("#taught li")).to_have_count(2)
    page.get_by_role("button", name="Forget robot").click()
    expect(other.locator("#taught li")).to_have_count(1)
    expect(other.locator("#taught li")).to_have_text("ladder, by 5 drawings Forget")
    other.close()
    page.reload()
    expect(page.locator("#model")).to_have_text("Your model · 8 words")
    assert page.evaluate("quickstroke.ready.then(() => quickstroke.model().classes.length)") == len(CLASSES) + 1


def test_a_file_adds_what_is_not_there(page: Page, tmp_path: Path) -> None:
    for word in ("robot", "ladder"):
        teach(page, word)
    with page.expect_download() as started:
        page.get_by_role("button", name="Save as a file").click()
    started.value.save_as(tmp_path / "mine.json")
    page.get_by_role("button", name="Forget ladder").click()
    expect(page.locator("#taught li")).to_have_count(1)
    page.locator("#teach-file").set_input_files(tmp_path / "mine.json")
    says(page, "The words of the file are known now. I knew these before, and left them as they are: robot.")
    expect(page.locator("#taught li")).to_have_count(2)
    page.get_by_label("Your word", exact=True).fill("Robot")
    draw(page, 0)
    page.locator("#teach-add").click()
    says(page, "I know “robot” already: forget it to teach it anew.")


def test_a_browser_that_keeps_nothing_says_so(page: Page) -> None:
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }; }")
    teach(page, "robot")
    says(page, "I know “robot” now. Draw it! This browser keeps nothing: save it as a file.")
    teach(page, "ladder")
    expect(page.locator("#taught li")).to_have_count(2)


def test_a_file_of_python_is_opened_and_another_is_refused(page: Page, published: Path, tmp_path: Path) -> None:
    recognizer: Recognizer = load(published)
    recognizer.teach("robot", [[list(zip(*s, strict=True)) for s in zigzag(3 * k)] for k in range(4)], layout="points")
    recognizer.save(tmp_path / "python.json")
    page.locator("#teach-file").set_input_files(tmp_path / "python.json")
    says(page, "The words of the file are known now.")
    expect(page.locator("#taught li")).to_have_text("robot, by 4 drawings Forget")
    page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", zigzag(5))
    assert guesses(page)[0] == "robot"
    (tmp_path / "other.json").write_text('{"format": "quickstroke taught words"')
    page.locator("#teach-file").set_input_files(tmp_path / "other.json")
    says(page, "“other.json” is no file of taught words, or it is damaged.")
    (tmp_path / "other.json").write_text('{"words": {"robot": []}}')
    page.locator("#teach-file").set_input_files(tmp_path / "other.json")
    says(page, "This is no file of taught words.")
    expect(page.locator("#taught li")).to_have_count(1)


def test_all_of_it_is_on_the_screen(page: Page) -> None:
    def check() -> None:
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("new Promise(requestAnimationFrame)")
            assert page.evaluate(PROBLEMS) == [], (width, height)
            assert page.locator("#paper").evaluate("(paper) => paper.clientHeight") > 160, (width, height)

    check()
    for word in ("my robot called Fred", "Donaudampfschifffahrtsgesellschaftskapitän", "The Great Wall of China"):
        page.get_by_label("Your word", exact=True).fill(word)
        for k in range(5):
            page.evaluate("(strokes) => quickstroke.setStrokes(strokes)", zigzag(3 * k))
            if k == 4:
                check()
            page.locator("#teach-add").click()
        says(page, f"I know “{word}” now. Draw it!")
        check()
    page.get_by_role("button", name="Forget The Great Wall of China").click()
    says(page, "“The Great Wall of China” is forgotten.")


def test_a_served_page_does_not_offer_it(hands: Hands) -> None:
    page = hands.open()
    expect(page.locator("#open-teach")).to_be_hidden()
