"""Words that a recognizer was taught by a few drawings: prototypes beside the trained output layer.

Dimensions: B drawings, R columns that the output layer reads, K words of the model, N taught words.

A drawing's embedding is the direction of what the output layer reads, and beside it that of its probabilities to the
power 1/4, so that the less probable words count as well. A taught word's prototype is the mean embedding of its
drawings (Snell et al., Prototypical Networks for Few-shot Learning, 2017). Its odds against all words of the model
together grow with the cosine between a drawing and the prototype:

    log odds = SLOPE * n / (n + 1) * (cosine - MIDDLE)     of n drawings

Both constants are rounded from fits by maximum likelihood to 1, 3, 5, 10 and 20 drawings of words that a model of 300
words was not trained on, on validation drawings, macro-averaged over words. benchmarks/teaching.py measures what they
give.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.artifacts.unknown import Outputs
from quickstroke.drawings.categories import check_classes
from quickstroke.drawings.simplification import gather
from quickstroke.errors import QuickstrokeError, WeightsError, shown
from quickstroke.inference.given import checked
from quickstroke.utils.files import atomic_write

FORMAT, VERSION = "quickstroke taught words", 1
# So many drawings make a word at least.
LEAST_DRAWINGS = 3
SLOPE, MIDDLE = 26.0, 0.835

# A taught word's drawings in simplified form, each a list of strokes uint8 (n, 2).
Drawings = Sequence[Sequence[NDArray[np.uint8]]]


def embedding(outputs: Outputs) -> NDArray[np.float32]:
    """Embeddings float32 (B, R + K), L2-normalised, of what a model says of B drawings, features among it."""
    assert outputs.features is not None
    parts = [normalized(outputs.features.astype(np.float64)), normalized(outputs.probabilities**0.25)]
    both: NDArray[np.float64] = np.concatenate(parts, 1) / np.sqrt(2)
    return both.astype(np.float32)


def normalized(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (N, D) of length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    directions: NDArray[np.float64] = rows / np.where(length > 0, length, 1)
    return directions


def prototype(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """The prototype float64 (D,) of a word's embeddings (n, D)."""
    direction: NDArray[np.float64] = normalized(embeddings.astype(np.float64).mean(0, keepdims=True))[0]
    return direction


def log_odds(
    embeddings: NDArray[np.float32], prototypes: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of embeddings (B, D) for prototypes (N, D) of `counts` (N,) drawings, float64 (B, N)."""
    slopes = SLOPE * counts / (counts + 1)
    odds: NDArray[np.float64] = slopes * (embeddings @ prototypes.T - MIDDLE)
    return odds


def extended(outputs: Outputs, odds: NDArray[np.float64]) -> Outputs:
    """The outputs for K words of the model and then N taught ones, of which the log odds are float64 (B, N)."""
    weights = np.concatenate([outputs.probabilities, np.exp(odds)], 1)  # (B, K + N)
    total = weights.sum(1, keepdims=True)  # (B, 1)
    unknown = None if outputs.unknown is None else outputs.unknown / total[:, 0]
    return Outputs(weights / total, unknown, outputs.features)


def write(path: Path, model: str, sha256: str, words: Mapping[str, Drawings]) -> None:
    """Writes the file of taught words, whole or not at all; `sha256` is that of the model."""
    columns = {word: [[stroke.T.tolist() for stroke in strokes] for strokes in own] for word, own in words.items()}
    content = {"format": FORMAT, "version": VERSION, "model": model, "model_sha256": sha256, "words": columns}
    with atomic_write(path) as file:
        file.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def read(path: Path, model: str, sha256: str) -> dict[str, Drawings]:
    """The taught words of a file, for the model of this name and hash.

    Raises:
        WeightsError: it is missing, no such file, cut off, damaged, of a newer version, or of another model.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cut off, damaged or no file of taught words: no JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise WeightsError(f"{path}: no file of taught words; expected one of `quickstroke teach`")
    version = content.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise WeightsError(f"{path}: version {shown(version)} of taught words, this program reads version {VERSION}")
    if content.get("model_sha256") != sha256:
        raise WeightsError(
            f"{path}: was taught to {shown(content.get('model'))} with the hash "
            f"{content.get('model_sha256')!s:.12}..; this is {model} with the hash {sha256:.12}.."
        )
    words = content.get("words")
    try:
        if not isinstance(words, dict):
            raise ValueError("`words` is no object")
        names = check_classes(list(words), "words") if words else ()
        return {name: list(map(_strokes, _enough(own))) for name, own in zip(names, words.values(), strict=True)}
    except (QuickstrokeError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError(f"{path}: damaged: {error}") from error


def _enough(drawings: Any) -> list[Any]:
    if not isinstance(drawings, list) or len(drawings) < LEAST_DRAWINGS:
        raise ValueError(f"a word has {shown(drawings)}; expected {LEAST_DRAWINGS} drawings or more")
    return drawings


def _strokes(columns: Iterable[Any]) -> list[NDArray[np.uint8]]:
    points, offsets, _ = gather(columns, "columns")
    return checked(points, offsets)
