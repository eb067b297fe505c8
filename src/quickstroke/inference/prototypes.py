"""Words that a recognizer was taught by a few drawings: prototypes beside the trained output layer.

Dimensions: B drawings, R columns that the output layer reads, K words of the model, N taught words, D numbers of what
is compared.

A taught word's prototype is the mean of its drawings (Snell et al., Prototypical Networks for Few-shot Learning, 2017)
among the discriminants of the model (`artifacts.discriminant`). Its odds against all words of the model together are
those of normal distributions, of n drawings drawn towards the middle of the trained words:

    log odds = EVIDENCE * evidence(drawing, n / (n + 1) * prototype) + FAVOUR - min(n, MANY) / SHARE

A model without discriminants, of fewer than 50 words or published before there were any, compares embeddings: the
direction of what the output layer reads, and beside it that of the probabilities to the power 1/4, so that the less
probable words count as well:

    log odds = SLOPE * n / (n + 1) * (cosine - MIDDLE)

The constants were chosen by words that models of 300 words were not trained on, on validation drawings, macro-averaged
over words: the first so that 20 words taught by 3 to 20 drawings each are recognised most often where the trained ones
lose 0.9 points, the others by maximum likelihood. benchmarks/teaching.py measures what they give.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.artifacts.discriminant import Discriminant
from quickstroke.artifacts.unknown import Outputs
from quickstroke.drawings.categories import check_classes
from quickstroke.drawings.simplification import gather
from quickstroke.errors import QuickstrokeError, WeightsError, shown
from quickstroke.inference.given import checked
from quickstroke.utils.files import write_text

FORMAT, VERSION = "quickstroke taught words", 1
# So many drawings make a word at least.
LEAST_DRAWINGS = 3
EVIDENCE, FAVOUR, MANY, SHARE = 0.17, 0.3, 20, 50
SLOPE, MIDDLE = 26.0, 0.835

# A taught word's drawings in simplified form, each a list of strokes uint8 (n, 2).
Drawings = Sequence[Sequence[NDArray[np.uint8]]]


def embedding(outputs: Outputs, path: Path) -> NDArray[np.float32]:
    """Embeddings float32 (B, R + K), L2-normalised, of what the model of a file says of B drawings.

    Raises:
        WeightsError: the file does not give features.
    """
    if outputs.features is None:
        raise WeightsError(
            f"{path}: does not give what its output layer reads, which embeddings and taught words need; export the "
            "model again"
        )
    parts = [normalized(outputs.features.astype(np.float64)), normalized(outputs.probabilities**0.25)]
    both: NDArray[np.float64] = np.concatenate(parts, 1) / np.sqrt(2)
    return both.astype(np.float32)


def normalized(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (N, D) of length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def compared(outputs: Outputs, discriminant: Discriminant | None, path: Path) -> NDArray[np.float64]:
    """What prototypes are the mean of and are compared with, float64 (B, D).

    Raises:
        WeightsError: as `embedding`, of a model without discriminants.
    """
    if discriminant is None:
        return embedding(outputs, path).astype(np.float64)
    with np.errstate(divide="ignore"):
        return discriminant.project(np.log(outputs.probabilities))


def prototype(drawings: NDArray[np.float64], discriminant: Discriminant | None) -> NDArray[np.float64]:
    """The prototype float64 (D,) of a word's drawings (n, D) as `compared` gives them."""
    mean: NDArray[np.float64] = drawings.mean(0)
    return normalized(mean[None])[0] if discriminant is None else mean


def log_odds(
    drawings: NDArray[np.float64],
    prototypes: NDArray[np.float64],
    counts: NDArray[np.int64],
    discriminant: Discriminant | None,
) -> NDArray[np.float64]:
    """Of drawings (B, D) as `compared` gives them, for prototypes (N, D) of `counts` (N,) drawings, float64 (B, N)."""
    if discriminant is None:
        return SLOPE * counts / (counts + 1) * (drawings @ prototypes.T - MIDDLE)
    evidence = discriminant.evidence(drawings, prototypes * (counts / (counts + 1))[:, None])
    return EVIDENCE * evidence + FAVOUR - np.minimum(counts, MANY) / SHARE


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
    write_text(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


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
