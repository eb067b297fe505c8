"""A StrokeClassifier as a `.tflite` file for LiteRT, the runtime of phones and small devices, and the proof that it
computes the same.

    inputs   points  float32 (1, T, C), T the model's `max_padding`, zero after the drawing's end
             length  int32 (1,), true rows, 0 for a dot by the preprocessing `delta3`
    outputs  probabilities  float32 (1, K), of each word, given that the drawing shows one of them
             unknown        float32 (1,), probability that it shows none of them; only of a model whose card has it

A file has one shape, and every step of the LSTM as operators of its own: loops are not what LiteRT is fast at. The card
is in the file as `card.json`, in the form in which TensorFlow Lite's files carry what belongs to them: a zip archive
behind the model.

The converter, litert-torch, wants other versions of packages than quickstroke does, so it runs in a Python of its own.
"""

import io
import json
import subprocess
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quickstroke.artifacts.loading import LoadedModel
from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.errors import ConfigError, WeightsError
from quickstroke.export import card_of
from quickstroke.export.onnx import MAX_DIFFERENCE, random_points

_CONVERTER = Path(__file__).with_name("litert_converter.py")


class OneDrawing(nn.Module):
    """What the file computes, by PyTorch's own layers; its arguments and results are the file's."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self._model = loaded.model.frozen(torch.float32)
        self._score = UnknownScore.of_card(loaded.card, loaded.path)

    def forward(self, points: Tensor, length: Tensor) -> dict[str, Tensor]:
        """`points` and `length` as the file's inputs."""
        logits = self._model(points, length.long(), plain=True)  # (1, K)
        log_probs = logits.log_softmax(1)
        probabilities = log_probs.exp()
        if self._score is None:
            return {"probabilities": probabilities}
        entropy = -(probabilities * log_probs).sum(1)  # (1,)
        evidence = self._score.slope * logits.logsumexp(1) - self._score.entropy * entropy - self._score.intercept
        if self._score.words:
            evidence = evidence - logits.clamp(min=self._score.floor) @ torch.tensor(self._score.words)
        return {"probabilities": probabilities, "unknown": torch.sigmoid(-evidence)}


def export(loaded: LoadedModel, python: str) -> tuple[bytes, float]:
    """The file of a model, and the largest difference of its outputs from PyTorch's over points of many lengths.

    Args:
        python: the program of an environment that has litert-torch.

    Raises:
        ConfigError: `python` cannot be run, or has no litert-torch.
        WeightsError: it cannot convert the model, or LiteRT gives other probabilities.
    """
    module, given = OneDrawing(loaded), _given(loaded)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbered: dict[str, Any] = {f"{i}.{key}": x.numpy() for i, own in enumerate(given) for key, x in own.items()}
        np.savez(folder / "given.npz", **numbered)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an LSTM lists its weights in an attribute, too
            torch.export.save(torch.export.export(module, (), given[-1]), folder / "model.pt2")
        try:
            done = subprocess.run([python, "-c", _CONVERTER.read_text("utf-8"), folder], capture_output=True, text=True)
        except OSError as error:
            raise ConfigError(f"--converter {python}: cannot be run: {error.strerror}") from error
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            if "No module named 'litert_torch'" in reason:
                raise ConfigError(f"--converter {python}: has no litert-torch; expected a Python that has")
            raise WeightsError(f"{loaded.path}: litert-torch cannot convert it: {reason:.200}")
        model = (folder / "model.tflite").read_bytes()
        with np.load(folder / "found.npz") as found:
            theirs = dict(found)
    ours = {f"{i}.{key}": x.numpy() for i, own in enumerate(given) for key, x in module(**own).items()}
    largest = max(float(np.abs(value - theirs[key]).max()) for key, value in ours.items())
    if not largest <= MAX_DIFFERENCE:
        raise WeightsError(
            f"{loaded.path}: not exported: LiteRT gives probabilities that differ by up to {largest:.2g} from "
            f"PyTorch's; at most {MAX_DIFFERENCE:g} is accepted"
        )
    return with_card(model, card_of(loaded)), largest


def with_card(model: bytes, card: dict[str, Any]) -> bytes:
    """A `.tflite` file with a card in it."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a") as archive:
        # A date would make two exports of a model two files.
        archive.writestr(zipfile.ZipInfo("card.json"), json.dumps(card, ensure_ascii=False))
    return file.getvalue()


def _given(loaded: LoadedModel) -> list[dict[str, Tensor]]:
    """Random points of many lengths, as the file takes them."""
    rng, longest, given = np.random.default_rng(0), loaded.max_padding, []
    for length in sorted({0, 1, 2, loaded.model.config.receptive_field, longest // 2, longest}):
        points = torch.from_numpy(random_points(loaded, rng, np.array([length]), longest))
        given.append({"points": points, "length": torch.tensor([length], dtype=torch.int32)})
    return given
