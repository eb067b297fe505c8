"""Small model files, and ways to change them; for the tests of this folder."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.errors import WeightsError
from quickstroke.models.classifier import StrokeClassifier

NAME = "simple_lay1_sz4"
CLASSES = ("cat", "flying saucer", "star")


def new_model(name=NAME, n_classes=3, seed=0, **options):
    torch.manual_seed(seed)
    return StrokeClassifier(ModelConfig.from_name(name, n_classes=n_classes, **options)).eval()


def publish(folder, name=NAME, seed=0, facts=None, classes=CLASSES, **options):
    model = new_model(name, len(classes), seed, **options)
    return write_model(folder, LoadedModel(model, classes, None, Path("unused")), facts or {})


def logits(model):
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32))
    with torch.no_grad():
        return model(points, torch.tensor([20, 11]))


def change_card(path, change):
    """Rewrites a card: `change` is entries to update, or a function of the card; a value of None removes."""
    card = json.loads(path.read_text(encoding="utf-8"))
    if callable(change):
        change(card)
    else:
        card = {key: value for key, value in (card | change).items() if value is not None}
    if "card_sha256" in card and "card_sha256" not in (change if isinstance(change, dict) else ()):
        card["card_sha256"] = cards.card_hash(card)
    path.write_text(json.dumps(card), encoding="utf-8")


def saved(value, legacy=False):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


class Touch:
    """Pickles as a call that makes a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def refused(path, match, kind=WeightsError, **options):
    """Loading says in one line what is wrong with which file."""
    with pytest.raises(kind, match=match) as error:
        load_model(path, **options)
    message = str(error.value)
    assert "\n" not in message and len(message) < 500
    assert str(path.with_suffix("")) in message


def bare(tmp_path, data, name=NAME):
    path = tmp_path / f"{name}.model"
    path.write_bytes(data if isinstance(data, bytes) else saved(data))
    return path


def weights(**changes):
    """The state dict of a small model with keys changed; `__` stands for a dot, None removes."""
    state = dict(new_model().state_dict())
    state.update({key.replace("__", "."): value for key, value in changes.items()})
    return {key: value for key, value in state.items() if value is not None}
