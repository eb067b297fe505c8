"""quickstroke: pen strokes become words.

Importing this package is light: PyTorch and numba are imported when something that needs them is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from quickstroke.categories import CATEGORIES
from quickstroke.config import ModelConfig, TrainConfig
from quickstroke.drawing import Drawing
from quickstroke.errors import QuickstrokeError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from quickstroke.dataset import PreparedDataset, prepare
    from quickstroke.export.publish import publish
    from quickstroke.formats import read_drawings
    from quickstroke.layouts import layout_of
    from quickstroke.models import StrokeClassifier
    from quickstroke.recognizer import Guess, Guesses, Recognizer, load
    from quickstroke.scoring import evaluate
    from quickstroke.simplification import simplify
    from quickstroke.training import train

_LAZY = {
    "Guess": "recognizer",
    "Guesses": "recognizer",
    "PreparedDataset": "dataset",
    "Recognizer": "recognizer",
    "StrokeClassifier": "models",
    "evaluate": "scoring",
    "layout_of": "layouts",
    "load": "recognizer",
    "prepare": "dataset",
    "publish": "export.publish",
    "read_drawings": "formats",
    "simplify": "simplification",
    "train": "training",
}
_NEED_TORCH = ("export.publish", "models", "recognizer", "scoring", "training")

__all__ = [
    "CATEGORIES",
    "Drawing",
    "Guess",
    "Guesses",
    "ModelConfig",
    "PreparedDataset",
    "QuickstrokeError",
    "Recognizer",
    "StrokeClassifier",
    "TrainConfig",
    "evaluate",
    "layout_of",
    "load",
    "prepare",
    "publish",
    "read_drawings",
    "simplify",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'quickstroke' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"quickstroke.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name == "torch" and _LAZY[name] in _NEED_TORCH:
            from quickstroke.errors import MissingExtra

            raise MissingExtra(f"quickstroke.{name}", "torch") from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
