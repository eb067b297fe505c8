"""quickstroke: pen strokes become words.

Importing this package is light: whatever a name needs, NumPy too, is imported when the name is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from quickstroke.errors import QuickstrokeError

__version__ = "0.2.0"

if TYPE_CHECKING:
    from quickstroke.config.model import ModelConfig
    from quickstroke.config.training import TrainConfig
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.data.splits import FractionSplit, PositionSplit
    from quickstroke.drawings.categories import CATEGORIES
    from quickstroke.drawings.drawing import Drawing
    from quickstroke.drawings.layouts import layout_of
    from quickstroke.drawings.simplification import simplify
    from quickstroke.evaluation.metrics import Evaluation
    from quickstroke.evaluation.scoring import evaluate
    from quickstroke.export.publish import publish
    from quickstroke.formats import read_drawings
    from quickstroke.formats.pictures import trace
    from quickstroke.inference.recognizer import Guess, Guesses, Recognizer, load
    from quickstroke.models.classifier import StrokeClassifier
    from quickstroke.notebook import widget
    from quickstroke.preparation.prepare import prepare
    from quickstroke.training.loop import train
    from quickstroke.training.session import Watcher

_LAZY = {
    "CATEGORIES": "drawings.categories",
    "Drawing": "drawings.drawing",
    "Evaluation": "evaluation.metrics",
    "FractionSplit": "data.splits",
    "PositionSplit": "data.splits",
    "ModelConfig": "config.model",
    "TrainConfig": "config.training",
    "Guess": "inference.recognizer",
    "Guesses": "inference.recognizer",
    "PreparedDataset": "data.dataset",
    "Recognizer": "inference.recognizer",
    "StrokeClassifier": "models.classifier",
    "Watcher": "training.session",
    "evaluate": "evaluation.scoring",
    "layout_of": "drawings.layouts",
    "load": "inference.recognizer",
    "prepare": "preparation.prepare",
    "publish": "export.publish",
    "read_drawings": "formats",
    "simplify": "drawings.simplification",
    "trace": "formats.pictures",
    "train": "training.loop",
    "widget": "notebook",
}
_NEED_TORCH = (
    "export.publish",
    "models.classifier",
    "inference.recognizer",
    "evaluation.scoring",
    "training.loop",
    "training.session",
)

__all__ = [
    "CATEGORIES",
    "Drawing",
    "Evaluation",
    "FractionSplit",
    "Guess",
    "Guesses",
    "ModelConfig",
    "PositionSplit",
    "PreparedDataset",
    "QuickstrokeError",
    "Recognizer",
    "StrokeClassifier",
    "TrainConfig",
    "Watcher",
    "evaluate",
    "layout_of",
    "load",
    "prepare",
    "publish",
    "read_drawings",
    "simplify",
    "trace",
    "train",
    "widget",
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
