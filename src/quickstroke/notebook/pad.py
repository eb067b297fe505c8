"""The pad as a widget: `widget.js`, which js/build.mjs makes of the npm package's element, and the shared traits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from quickstroke.artifacts import cards, loading
from quickstroke.drawings.categories import choose_words
from quickstroke.errors import ConfigError, shown
from quickstroke.export import compact


class DrawingPad(anywidget.AnyWidget):
    """The pad; `quickstroke.widget` makes it."""

    _esm = Path(__file__).parent / "widget.js"
    model_file = traitlets.Bytes().tag(sync=True)
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    top = traitlets.Int().tag(sync=True)
    strokes = traitlets.List().tag(sync=True)
    guesses = traitlets.List().tag(sync=True)
    unknown = traitlets.Float(None, allow_none=True).tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)

    def __init__(self, model: Path | str | None, words: Sequence[str] | Path | str | None, top: int) -> None:
        if type(top) is not int or top < 1:
            raise ConfigError(f"top should be 1 or more, got {shown(top)}")
        loaded = loading.load_model(cards.find_model(model))
        chosen: list[Any] = [] if words is None else list(choose_words(words, loaded.classes))
        super().__init__(model_file=compact.export(loaded).data, words=chosen, top=top)
