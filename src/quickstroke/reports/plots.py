"""Pictures of results."""

import io
import itertools
import math
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quickstroke.data.dataset import PreparedDataset
from quickstroke.reports.results import Result
from quickstroke.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from quickstroke.evaluation.metrics import Evaluation

_DPI = 100
_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.alpha": 0.3,
    "savefig.dpi": _DPI,
    "svg.hashsalt": "quickstroke",  # the same ids in each file that is written
    "text.parse_math": False,  # a word may hold a dollar sign
}
Draw = Callable[["Figure"], None]


@contextmanager
def picture_style() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own settings, then `_STYLE`."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def write_picture(path: Path, draw: Draw) -> None:
    """Draws a figure and writes it as what its name says, `.svg` or `.png`."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure()
    draw(figure)
    _choose_fonts(figure)
    with warnings.catch_warnings(), atomic_write(path) as file:
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the picture says so itself
        if path.suffix == ".svg":
            figure.savefig(file, format="svg", metadata={"Date": None})
        else:
            pixels = io.BytesIO()
            figure.savefig(pixels, format="png")
            # With a palette of 256 colours the eye sees the same, in a third of the bytes.
            Image.open(pixels).convert("RGB").quantize(256).save(file, format="png", optimize=True)


def _choose_fonts(figure: "Figure") -> None:
    """Gives texts the fonts of this computer that have letters which the usual one has not, such as Japanese ones."""
    from matplotlib import font_manager
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    families = ["DejaVu Sans"]
    missing = {ord(letter) for text in texts for letter in text.get_text() if letter.isprintable()}
    missing -= font_manager.get_font(font_manager.findfont(families[0])).get_charmap().keys()
    for font in font_manager.fontManager.ttflist:
        # The font of last resort has a box for every letter.
        if missing and font.name not in families and not font.name.startswith("Last Resort"):
            with suppress(OSError, RuntimeError):  # a damaged font, or one of bitmaps
                has = font_manager.get_font(font.fname).get_charmap().keys()
                families += [font.name] * bool(missing & has)
                missing -= has
    for text in texts:
        text.set_fontfamily(families)
    if missing:
        why = "Boxes: letters that no font of this computer has. Install one, such as Noto Sans CJK."
        figure.text(0.995, 0, why, ha="right", va="bottom", fontsize=6)


def _n_columns(text: str) -> int:
    """How wide a text is, in narrow letters; Chinese and Japanese ones are as wide as two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def _short(word: str) -> str:
    """A word, cut where it would take the room of others; no official word is as long."""
    if len(word) > 24:  # a letter has one column or more
        word = f"{word[:24]}…"
    while _n_columns(word) > 24:
        word = f"{word.removesuffix('…')[:-1]}…"
    return word


def draw_curves(result: Result, figure: "Figure") -> None:
    """Loss and validation accuracy of one section over its epochs, a dot at the best."""
    figure.set_size_inches(7.5, 2.7)
    loss, accuracy = figure.subplots(1, 2)
    epochs = [line.epoch for line in result.log]
    top1 = [line.validation_accuracy for line in result.log]
    loss.plot(epochs, [line.loss for line in result.log], **_marked(epochs), label="training")
    accuracy.plot(epochs, top1, **_marked(epochs), color="C1")
    if result.run:
        metrics = result.run.metrics
        loss.plot(epochs, [line["val_loss"] for line in metrics], **_marked(epochs), label="val")
        accuracy.plot(result.run.best_epoch, 100 * result.run.stated["val"]["top1"], "o", color="C1")
        loss.legend()
    _label_axes(loss, "loss" if result.run else "training loss")
    _label_axes(accuracy, "val top-1, %")


def draw_comparison(results: Sequence[Result], figure: "Figure") -> None:
    """Validation accuracy and training loss of all sections over their epochs."""
    results = [result for result in results if result.log]
    figure.set_size_inches(8.5, 3.4 + 0.18 * math.ceil(len(results) / 2))
    accuracy, loss = figure.subplots(1, 2)
    looks = itertools.product(("-", "--", ":", "-."), range(10))
    for result, (line_style, color) in zip(results, itertools.cycle(looks)):
        epochs = [line.epoch for line in result.log]
        label, origin = result.title, result.source.name
        if not result.run and origin not in label:
            label += f" (from {origin})"
        look = {**_marked(epochs), "color": f"C{color}", "linestyle": line_style}
        accuracy.plot(epochs, [line.validation_accuracy for line in result.log], **look, label=label)
        loss.plot(epochs, [line.loss for line in result.log], **look)
    _label_axes(accuracy, "val top-1, %")
    _label_axes(loss, "training loss")
    figure.legend(loc="outside lower center", ncols=2)


def _marked(epochs: Sequence[int]) -> dict[str, Any]:
    # A single epoch is no line, and few are easier to read with their points.
    return {"marker": "."} if len(epochs) <= 20 else {}


def _label_axes(axes: "Axes", what: str) -> None:
    axes.set(xlabel="epoch", ylabel=what)
    axes.locator_params(axis="x", integer=True)


def draw_confusion(measured: "Evaluation", figure: "Figure") -> None:
    """The confusion matrix, each row in shares of its word's drawings; mistakes have a scale of their own."""
    confusion = measured.confusion()
    n = len(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(n, dtype=bool)
    most = max(float(shares[~diagonal].max(initial=0)), 0.01)

    # All in pixels, so that a cell is a whole number of them however many there are.
    cell = min(max(1200 // n, 9), 48)
    font = min(0.8 * cell, 13)
    words = [_short(word) for word in measured.classes]
    labels = round(0.62 * font * max(map(_n_columns, words))) + 20
    all_around = n > 20
    side = n * cell
    width = max(labels + side + (labels if all_around else 20), 480)
    height = 50 + (labels if all_around else 0) + side + labels
    figure.set_layout_engine("none")
    figure.set_size_inches(width / _DPI, height / _DPI)
    axes = figure.add_axes((labels / width, labels / height, side / width, side / height))
    axes.imshow(np.ma.masked_array(shares, ~diagonal), cmap="Blues", vmin=0, vmax=1.2)
    # The square root of the share: one drawing in a hundred should be seen beside one in four.
    wrong = np.ma.masked_array(np.sqrt(shares), diagonal | (confusion == 0))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=math.sqrt(most))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    size = font * 72 / _DPI
    axes.set_xticks(range(n), labels=words, rotation=90, fontsize=size)
    axes.set_yticks(range(n), labels=words, fontsize=size)
    axes.tick_params(length=0, labelright=all_around, labeltop=all_around)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5, alpha=1)
    axes.tick_params(which="minor", length=0)
    for i, j in np.argwhere(confusion) if n <= 20 else ():
        share = shares[i, j]
        dark = share > 0.6 if i == j else share > most / 2
        axes.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    figure.text(
        0.01,
        1 - 6 / height,
        "Row: the word that was drawn. Column: the word it was taken for.\n"
        f"Blue: share recognised. Red: share mistaken, full at {most:.1%}.",
        va="top",
        fontsize=9,
    )


def draw_mistakes(measured: "Evaluation", data: PreparedDataset, rows: Sequence[int], figure: "Figure") -> None:
    """The drawings of some rows of an evaluation, with their word, what they were taken for, and how surely."""
    n_columns = 5
    n_rows = math.ceil(len(rows) / n_columns)
    figure.set_size_inches(8.5, 2 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, row in zip(panels, rows, strict=False):
        for stroke in data.strokes(int(measured.indices[row])):
            marker = "o" if len(stroke) == 1 else None
            axes.plot(stroke[:, 0], stroke[:, 1], color="black", linewidth=1.3, marker=marker, markersize=2)
        axes.set(aspect="equal", xlim=(-8, 263), ylim=(263, -8))
        word, guess = (_short(measured.classes[each[row]]) for each in (measured.labels, measured.predicted))
        axes.set_title(f"{word} →\n{guess} {measured.probability[row]:.0%}", fontsize=9)
