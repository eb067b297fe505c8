"""What a report says and shows of mistakes, and the interval of an accuracy."""

import warnings

import numpy as np
import pytest
from small_documents import measured_again

from quickstroke.evaluation.metrics import Evaluation, wilson_interval
from quickstroke.reports import figures as figures_module
from quickstroke.reports import markdown, plots, report

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.usefixtures("no_pictures")


def evaluation(pairs, probability=None, classes=("cat", "dog", "owl")):
    labels, predicted = (np.array(side, dtype=np.int64) for side in zip(*sorted(pairs), strict=True))
    probability = np.linspace(0.9, 0.5, len(labels)) if probability is None else np.array(probability)
    wrong = (labels != predicted).astype(np.int64)
    return Evaluation(classes, np.arange(len(labels)), labels, predicted, probability, wrong, np.ones(len(labels)))


def test_confused_pairs():
    pairs = [(0, 0)] * 6 + [(0, 1)] * 2 + [(1, 0)] * 3 + [(1, 2)] + [(0, 2)] * 2
    assert figures_module.confused_pairs(evaluation(pairs)) == [
        ("dog", "cat", 3, 0.75),
        ("cat", "dog", 2, 0.2),
        ("cat", "owl", 2, 0.2),
        ("dog", "owl", 1, 0.25),
    ]
    assert figures_module.confused_pairs(evaluation([(0, 0), (1, 1)])) == []


def test_words_by_accuracy():
    pairs = [(0, 0)] * 3 + [(0, 1)] + [(1, 1)] + [(1, 0)]
    assert figures_module.words_by_accuracy(evaluation(pairs)) == [
        ("dog", 1, 2, 0.5),
        ("cat", 3, 4, 0.75),
        ("owl", 0, 0, None),
    ]


def test_a_report_without_mistakes_shows_no_drawings(run, tmp_path):
    report.write_report([run], tmp_path / "results.md", with_mistakes=False)
    names = sorted(path.name for path in (tmp_path / "results_files").iterdir())
    assert [name for name in names if name.endswith(".png")] == ["01-simple_lay1_sz4-confusion.png"]
    assert "mistakes.png" not in (tmp_path / "results.md").read_text()


def test_worst_mistakes():
    pairs = [(0, 0), (0, 1), (0, 1), (0, 1), (0, 2), (1, 0)]
    probability = [0.99, 0.5, 0.9, 0.7, 0.8, 0.9]
    assert figures_module.worst_mistakes(evaluation(pairs, probability)) == [2, 5, 4, 3]
    many = [(i, (i + j) % 40) for i in range(40) for j in range(1, 30)]
    rows = figures_module.worst_mistakes(evaluation(many, classes=tuple(map(str, range(40)))))
    assert rows == list(range(figures_module.N_MISTAKES))


def test_the_gallery_shows_the_worst_mistakes(written, run, dataset):
    from matplotlib.figure import Figure

    expected = measured_again(run, dataset, "test")
    rows = figures_module.worst_mistakes(expected)
    figure = Figure()
    plots.draw_mistakes(expected, dataset, rows, figure)
    for axes, row in zip(figure.axes, rows, strict=False):
        word, guess = dataset.classes[expected.labels[row]], dataset.classes[expected.predicted[row]]
        assert word != guess
        assert axes.get_title() == f"{word} →\n{guess} {expected.probability[row]:.0%}"
        strokes = dataset.strokes(int(expected.indices[row]))
        assert len(axes.lines) == len(strokes)
        for line, stroke in zip(axes.lines, strokes, strict=True):
            assert np.array_equal(line.get_xydata(), stroke)


@pytest.mark.parametrize("n_classes", [1, 3, 30])
def test_a_confusion_matrix_of_any_size(n_classes, tmp_path):
    classes = tuple(f"word $ {i}_" for i in range(n_classes))
    pairs = [(i, j) for i in range(n_classes) for j in (i, i, 0)]
    with plots.picture_style():
        measured = evaluation(pairs, classes=classes)
        plots.write_picture(tmp_path / "a.png", lambda figure: plots.draw_confusion(measured, figure))
    assert (tmp_path / "a.png").stat().st_size > 1000


# https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval has the formula; values by R's binom.wilson.
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (50, 100, 0.4038315, 0.5961685)],
)
def test_wilson_interval(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-6)


def test_letters_and_long_words_of_any_language_have_their_room(tmp_path, monkeypatch):
    """No warning; a font that has the letters; words that are cut; and a note where no font has them."""
    from matplotlib import font_manager

    usual = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    stix = next(font for font in font_manager.fontManager.ttflist if font.name == "STIXGeneral")
    of_stix = next(chr(code) for code in font_manager.get_font(stix.fname).get_charmap() if code not in usual)
    long = "The Great Wall of China"
    measured = evaluation([(0, 1), (1, 2), (2, 0)], classes=(of_stix, "x" * 120, long))
    figures = []

    def draw(figure):
        plots.draw_confusion(measured, figure)
        figures.append(figure)

    with plots.picture_style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.write_picture(tmp_path / "a.png", draw)
        assert [label.get_text() for label in figures[0].axes[0].get_yticklabels()] == [of_stix, "x" * 23 + "…", long]
        assert "STIXGeneral" in figures[0].axes[0].get_yticklabels()[0].get_fontfamily()
        assert max(figures[0].get_size_inches()) < 6 and not any(
            "Boxes" in text.get_text() for text in figures[0].texts
        )
        measured = evaluation([(0, 1)], classes=("猫", "長" * 80))
        own = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
        plots.write_picture(tmp_path / "b.png", draw)
    assert figures[1].axes[0].get_yticklabels()[1].get_text() == "長" * 11 + "…"
    assert any(text.get_text().startswith("Boxes") for text in figures[1].texts)


@pytest.mark.parametrize(("word", "n"), [("x" * 24, 24), ("x" * 25, 23), ("x" * 400_000, 23), ("長" * 400_000, 11)])
def test_a_word_of_any_length_is_cut_at_once(word, n, monkeypatch):
    counted = []
    monkeypatch.setattr(plots, "_n_columns", lambda text, count=plots._n_columns: counted.append(text) or count(text))
    assert plots._short(word) == (word if n == len(word) else f"{word[0] * n}…")
    assert max(map(len, counted)) <= 25


def test_words_stay_as_they_are_in_markdown():
    assert markdown.as_text("&amp; $x 1^2$ ~a~ <b>") == r"\&amp; \$x 1^2\$ \~a\~ \<b>"
