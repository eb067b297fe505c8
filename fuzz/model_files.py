"""Files of weights of every kind with their cards, run folders and checkpoints, as the target `model`.

Raw bytes; and, so that a change is not caught by a hash or checksum, pickles in a sound archive, headers of a right
length, and cards and graphs under a right hash.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from quickstroke.artifacts import cards, runs, weight_files
from quickstroke.artifacts.loading import CARD_KEY, HASH_KEY, LoadedModel, content_hash, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.export import compact, onnx, safetensors
from quickstroke.inference import onnx_graph
from quickstroke.inference.onnx_model import _HASH_HEAD, seal
from quickstroke.inference.recognizer import load
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training import checkpoint
from quickstroke.training.optimizer import Adam
from quickstroke.utils.files import sha256_of
from targets import WORDS, Target, packed

NAME = "simple_lay1_sz2"
# Inputs to change, and what one of them is given to.
Form = tuple[list[bytes], Callable[[bytes], None]]


def target(folder: Path) -> Target:
    """All of them as one target."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = StrokeClassifier(ModelConfig.from_name(NAME, n_classes=len(WORDS))).eval()
    loaded = load_model(write_model(folder / "card", LoadedModel(model, WORDS, None, folder), {}))
    return packed([*_state_dicts(folder, loaded), *_with_cards(folder, loaded), *_of_runs(folder, loaded)])


def _file(path: Path, call: Callable[[Path], object], pack: Callable[[bytes], bytes] = bytes) -> Callable[..., None]:
    path.parent.mkdir(exist_ok=True)

    def one(data: bytes) -> None:
        path.write_bytes(pack(data))
        call(path)

    return one


def _state_dicts(folder: Path, loaded: LoadedModel) -> list[Form]:
    """Weights of PyTorch as they are, their pickle alone, and a list of classes beside them."""
    sealed, legacy = loaded.path.read_bytes(), io.BytesIO()
    torch.save(loaded.model.state_dict(), legacy, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(io.BytesIO(sealed)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    pickle_name = next(entry for entry in entries if entry.endswith("data.pkl"))
    bare = folder / "bare" / f"{NAME}.model"
    bare.parent.mkdir()
    bare.write_bytes(legacy.getvalue())

    def archived(pickled: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for entry, content in entries.items():
                archive.writestr(entry, pickled if entry == pickle_name else content)
        return made.getvalue()

    def without_card(path: Path) -> None:
        load_model(path, WORDS)

    return [
        ([sealed, legacy.getvalue()], _file(folder / "raw" / f"{NAME}.model", without_card)),
        ([entries[pickle_name]], _file(folder / "zip" / f"{NAME}.model", without_card, archived)),
        (["\n".join(WORDS).encode()], _file(folder / "words.txt", lambda path: load_model(bare, path))),
    ]


def _with_cards(folder: Path, loaded: LoadedModel) -> list[Form]:
    """Cards, and the formats that have them inside."""
    safetensors.write(loaded, folder / "x.safetensors")
    tensors = (folder / "x.safetensors").read_bytes()
    n_head = int.from_bytes(tensors[:8], "little")
    head, numbers = tensors[8 : 8 + n_head], tensors[8 + n_head :]
    small = compact.export(loaded).data[:-32]
    weights = loaded.model.state_dict()
    graph_card = {**(loaded.card or {}), "graph": onnx_graph.VERSION}
    exported = onnx._write(loaded, graph_card, int8=False)[: -len(_HASH_HEAD) - 64]

    def with_length(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + numbers

    def hashed(text: bytes) -> bytes:
        card = _json(text)
        if isinstance(card, dict):
            card["sha256"] = sha256_of(loaded.path)
            card["card_sha256"] = cards.card_hash(card)
            return json.dumps(card).encode()
        return text

    def carded(text: bytes) -> bytes:
        card = _json(text)
        if isinstance(card, dict):
            card[HASH_KEY] = content_hash({k: v for k, v in card.items() if k != HASH_KEY}, weights)
            text = json.dumps(card).encode()
        values = json.loads(head)
        values["__metadata__"][CARD_KEY] = text.decode("utf-8", "replace")
        return with_length(json.dumps(values).encode())

    def sized(content: bytes) -> bytes:
        content = content[:16] + (len(content) + 32).to_bytes(8, "little") + content[24:]
        return content + hashlib.sha256(content).digest()

    card, beside = loaded.path.with_suffix(".json"), loaded.path
    return [
        ([tensors], _file(folder / "raw" / "any.safetensors", load_model)),
        ([head], _file(folder / "head" / "any.safetensors", load_model, with_length)),
        ([json.dumps(loaded.card).encode()], _file(folder / "carded" / "any.safetensors", load_model, carded)),
        ([card.read_bytes()], _file(card, lambda _: load_model(beside), hashed)),
        ([exported], _file(folder / "raw" / "any.onnx", load, seal)),
        ([small], _file(folder / "raw" / "any.quickstroke", load, sized)),
    ]


def _of_runs(folder: Path, loaded: LoadedModel) -> list[Form]:
    """A run's configuration and its checkpoint."""
    run, model = folder / "run", loaded.model
    data = {"path": "d", "manifest_sha256": "0", "split": {"rule": "r"}, "n_by_split": {"train": 4}}
    runs.write_config(run, runs.RunConfig(model.config, TrainConfig(), WORDS, data))
    weight_files.save_weights(run / "best.model", model.state_dict())
    adam = Adam(model.parameters(), 0.1)
    checkpoint.save_checkpoint(run, checkpoint.State(epoch=1, metrics=[{"epoch": 1.0}]), model, adam)
    saved, config = (run / "last.ckpt").read_bytes(), (run / "config.json").read_bytes()

    def resumed(path: Path) -> None:
        checkpoint.load_checkpoint(path.parent, model, adam)

    return [
        ([config], _file(run / "config.json", lambda path: load(path.parent))),
        (
            [saved],
            _file(folder / "ckpt" / "last.ckpt", resumed),
        ),
    ]


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
