"""A pad to draw on in a notebook."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quickstroke.errors import MissingExtra

if TYPE_CHECKING:
    from quickstroke.notebook.pad import DrawingPad


def widget(
    model: Path | str | None = None, *, words: Sequence[str] | Path | str | None = None, top: int = 3
) -> "DrawingPad":
    """A pad for a notebook: what is drawn on it is guessed in the browser while one draws, by the model in 8 bits.

    Its traits are `strokes`, one list of points [x, y, t] a stroke, which `Recognizer.predict` takes; `guesses`, a list
    of {"word", "probability"}; `unknown`, as that of `Guesses`; and `error`, what went wrong in the browser.
    `pad.observe(f, "guesses")` calls a function after each guess, and `pad.strokes = []` clears the pad.

    Args:
        model, words: as `load` takes them; a model for PyTorch, no `.onnx` file.
        top: how many guesses are shown.

    Raises:
        WeightsError, CategoryError, ModelNameError, DownloadError: as `load`.
        ConfigError: `top` is below 1; or as `load`.
        ArgumentTypeError: `model` is no path.
        MissingExtra: anywidget or PyTorch is not installed.
    """
    try:
        from quickstroke.notebook.pad import DrawingPad
    except ModuleNotFoundError as error:
        raise MissingExtra("quickstroke.widget", "torch" if error.name == "torch" else "notebook") from error
    return DrawingPad(model, words, top)
