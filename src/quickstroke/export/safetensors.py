"""Weights and card in one `.safetensors` file, which `loading.load_model` reads."""

import json
from pathlib import Path

from safetensors.torch import save

from quickstroke.artifacts.loading import CARD_KEY, HASH_KEY, LoadedModel, content_hash
from quickstroke.artifacts.weight_files import on_cpu
from quickstroke.export import card_of
from quickstroke.utils.files import write_bytes


def write(loaded: LoadedModel, path: Path) -> None:
    """Writes a model's state dict with its card in the header's metadata."""
    weights = on_cpu(loaded.model.state_dict())
    card = card_of(loaded)
    card[HASH_KEY] = content_hash(card, weights)
    # One entry of metadata only: the library writes several in any order, and the same model should be the same file.
    write_bytes(path, save(weights, {CARD_KEY: json.dumps(card, ensure_ascii=False)}))
