"""Trained models in other forms: files that run without PyTorch, pages that recognise in the browser, the Hub.

publish.py           a run -> NAME.model and its card, calibrated
onnx.py              StrokeClassifier -> an .onnx file, checked against PyTorch; 8-bit weights
safetensors.py       weights and card in one .safetensors file
litert.py            StrokeClassifier -> a .tflite file, checked against PyTorch
litert_converter.py  the program for it, run by a Python that has litert-torch
compact.py           weights in 8 or 16 bits and card in one .quickstroke file
web.py               a folder for any static host: the page and a .quickstroke file
html.py              the same as one file that needs no host
hub.py               a folder for the Hugging Face Hub
"""

import json
from typing import TYPE_CHECKING, Any

from quickstroke.artifacts import cards
from quickstroke.utils.files import sha256_of

if TYPE_CHECKING:
    from quickstroke.artifacts.loading import LoadedModel


def card_of(loaded: "LoadedModel") -> dict[str, Any]:
    """The model's card with the names of today, or the entries that every card has for a model without one."""
    if loaded.card is not None:
        # A path in it that is no UTF-8 fits into none of these files; what is no UTF-8 of it becomes `?`.
        text = json.dumps(cards.with_current_names(loaded.card), ensure_ascii=False)
        return dict(json.loads(text.encode("utf-8", "replace")))
    return cards.new_card(loaded.model.config, loaded.classes, sha256_of(loaded.path))
