"""A trained model as one small `.quickstroke` file, which the npm package runs; its form: `artifacts.compact`."""

from dataclasses import dataclass
from typing import Any

from quickstroke.artifacts import compact
from quickstroke.artifacts.compact import Weights
from quickstroke.artifacts.loading import LoadedModel, load_compact
from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.export import card_of

# What a recognizer needs or shows; the card beside the weights also says how they were trained.
_ENTRIES = (
    *("format", "version", "name", "sha256", "config", "preprocessing", "classes", "parameters"),
    *("calibration", "unknown", "discriminant", "limits", "licence", "attribution"),
)


@dataclass(frozen=True, slots=True)
class Compacted:
    """A `.quickstroke` file in memory.

    Attributes:
        data: the file.
        model: what it holds, loaded.
        discriminant: the statistics of the model's card (`artifacts.discriminant`), whether the file has them or not.
        measured: `top1` and `top1_float32`, fractions of `n` drawings that are recognised with these weights and with
            float32 ones; None where there were none to measure it on.
    """

    data: bytes
    model: LoadedModel
    discriminant: dict[str, Any] | None
    measured: dict[str, Any] | None


def export(
    loaded: LoadedModel,
    weights: Weights = "int8",
    drawings: LabelledDrawings | None = None,
    *,
    has_statistics: bool = False,
) -> Compacted:
    """The file of a model, with what its weights cost in its card where there are drawings to measure it on.

    Args:
        loaded: the model.
        weights: what its matrices become.
        drawings: to measure that on.
        has_statistics: whether the file has what taught words are recognised better by (`artifacts.discriminant`).

    Raises:
        WeightsError: a weight is too large for float16.
    """
    full = card_of(loaded)
    card = {key: value for key, value in full.items() if key in _ENTRIES and (has_statistics or key != "discriminant")}
    # The card's figures are those of other weights.
    card["figures_float32"] = full.get("figures") or {}
    state = loaded.model.state_dict()
    arrays = {name: value.detach().cpu().float().numpy() for name, value in state.items() if value.is_floating_point()}
    tensors, path = compact.packed(arrays, weights), loaded.path.with_suffix(compact.SUFFIX)

    def written(measured: dict[str, Any] | None) -> Compacted:
        data = compact.to_bytes(card | {"quantization": {"weights": weights, **(measured or {})}}, tensors)
        return Compacted(data, load_compact(data, path), full.get("discriminant"), measured)

    made = written(None)
    if drawings is None:
        return made
    top1, top1_float32 = (evaluate(each.model, drawings).top(1) for each in (made.model, loaded))
    return written({"top1": top1, "top1_float32": top1_float32, "n": len(drawings)})
