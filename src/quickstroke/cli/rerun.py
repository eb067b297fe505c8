"""`quickstroke rerun`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from quickstroke.cli.common import Answer, Json, answer, note, optional, parse
from quickstroke.cli.train import train_and_show
from quickstroke.errors import RunError

# Of a line of metrics.jsonl, what does not depend on the clock.
_COMPARED = ("loss", "val_loss", "val_top1", "val_top3", "val_top5")


@dataclass(frozen=True)
class Options:
    """Train again as a run says it was trained, into a folder of its own, and compare: losses, accuracies, weights.

    On the same kind of processor, with the same versions and threads, all of it is the same to the last bit. Where it
    is not, the exit code is 3, and what is known to differ is told.
    """

    run: Annotated[Positional[str], arg(metavar="RUN", help="the run folder, of a training that has ended")]
    into: Annotated[str | None, optional("the folder to train into (default: RUN-again)", "DIR")] = None
    data: Annotated[
        str | None, optional("the prepared dataset, where it is no longer where the run found it", "DIR")
    ] = None
    resume: Annotated[bool, arg(help="go on with a rerun that was interrupted")] = False
    json: Json = False


def run(args: Sequence[str]) -> int:
    """Runs the command."""
    options = parse(Options, "rerun", args)
    return answer(options.json, partial(_rerun, options, ("quickstroke", "rerun", *args)))


def _rerun(options: Options, command: Sequence[str]) -> Answer:
    import torch

    from quickstroke import runs
    from quickstroke.published import read_weights
    from quickstroke.training import has_ended

    before = Path(options.run)
    config = runs.read_config(before)
    metrics = runs.read_metrics(before, config.train.criterion)
    named = before if before.name not in ("", "..") else before.resolve()
    into = Path(options.into or named.with_name(f"{named.name}-again"))
    if into.resolve() == before.resolve():
        raise RunError(f"{into}: is the run itself; expected another folder for --into")
    best_epoch = runs.best_line(metrics, config.train.criterion)["epoch"] if metrics else 0
    if not has_ended(runs.State(epoch=len(metrics), best_epoch=best_epoch), config.train):
        raise RunError(
            f"{before}: has ended {len(metrics)} of {config.train.n_epochs} epochs; expected a whole training"
        )
    data = runs.open_data(config, options.data)
    weights = read_weights(before / "last.model")
    n_threads = runs.n_threads_before(before)
    if n_threads and n_threads <= (os.cpu_count() or 1):
        torch.set_num_threads(n_threads)

    # Another working folder sees the files that it began with and learnt from elsewhere.
    locate = config.places.locate if config.places else str
    pretrained, teacher = (tuple(map(locate, names)) for names in (config.train.pretrained, config.train.teacher))
    state = train_and_show(
        config.model,
        replace(config.train, pretrained=pretrained, teacher=teacher),
        data,
        into,
        classes=config.classes,
        teacher_cache=None,
        resume=options.resume,
        command=command,
    )
    if state is None:
        return Answer(None, 130)
    now = runs.read_config(into)
    found = compared(metrics, state.metrics, weights, read_weights(into / "last.model"))
    known = runs.differences(before, into)
    if now.teachers != config.teachers:
        known.append("teachers: other files")
    if found["is_same"]:
        print(f"the same to the last bit as {before}: {len(metrics)} epochs and the weights after the last")
    else:
        print(f"not the same as {before}: {found['difference']}")
        for line in known:
            note(line)
    values = {"run": str(before), "rerun": str(into), **found, "environment": known}
    return Answer(values, 0 if found["is_same"] else 3)


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
