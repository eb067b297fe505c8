"""Two trainings compared: losses, accuracies, weights."""

from typing import Any

# Of a line of metrics.jsonl, what does not depend on the clock.
_COMPARED = ("loss", "val_loss", "val_top1", "val_top3", "val_top5")


def compared(
    before: list[dict[str, Any]], after: list[dict[str, Any]], weights: dict[str, Any], again: dict[str, Any]
) -> dict[str, Any]:
    """Whether two trainings are the same, and the first difference of their metrics, the largest of their weights."""
    difference, epoch = "", None
    for line, other in zip(before, after, strict=False):
        keys = [key for key in _COMPARED if line[key] != other[key]]
        if keys:
            epoch = line["epoch"]
            difference = f"from epoch {epoch} on, {keys[0]} {line[keys[0]]!r} there and {other[keys[0]]!r} here"
            break
    if not difference and len(before) != len(after):
        difference = f"{len(before)} epochs there and {len(after)} here"
    largest = 0.0
    if weights.keys() == again.keys() and all(weights[key].shape == again[key].shape for key in weights):
        largest = max(float((weights[key].double() - again[key].double()).abs().max()) for key in weights)
        if largest:
            text = f"the largest difference of a weight is {largest:.3g}"
            difference = f"{difference}; {text}" if difference else text
    else:
        difference = difference or "weights of other names or shapes"
    best = [max((float(line["val_top1"]) for line in lines), default=0.0) for lines in (before, after)]
    if difference:
        difference += f"; the best validation accuracy is {best[0]:.2%} there and {best[1]:.2%} here"
    return {
        "is_same": not difference,
        "difference": difference,
        "first_epoch": epoch,
        "largest_weight_difference": largest,
        "best_val_top1": best,
    }
