"""`quickstroke rerun`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from quickstroke.artifacts.compare import compared
from quickstroke.cli.answers import Answer, answer, counted, note
from quickstroke.cli.options import Json, optional, parse
from quickstroke.cli.running import import_torch
from quickstroke.cli.train import train_and_show
from quickstroke.errors import DatasetError, RunError


@dataclass(frozen=True)
class Options:
    """Train again as a run says it was trained, into a folder of its own, and compare: losses, accuracies, weights.

    On the same kind of processor, with the same versions and threads, all of it is the same to the last bit. Where it
    is not, the exit code is 3, and what is known to differ is told.

    Attributes:
        run: the run folder, of a training that has ended
        into: the folder to train into (default: RUN-again)
        data: the prepared dataset, where it is no longer where the run found it
        resume: go on with a rerun that was interrupted
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    into: Annotated[str | None, optional("DIR")] = None
    data: Annotated[str | None, optional("DIR")] = None
    resume: bool = False
    json: Json = False


def main(args: Sequence[str]) -> int:
    options = parse(Options, "rerun", args)
    return answer(options.json, partial(_rerun, options, ("quickstroke", "rerun", *args)))


def _rerun(options: Options, command: Sequence[str]) -> Answer:
    from quickstroke.artifacts import runs

    before = Path(options.run)
    config = runs.read_config(before)
    import_torch(trains_padded=config.train.recipe == "2020")
    import torch

    from quickstroke.artifacts import environment
    from quickstroke.artifacts.loading import read_weights
    from quickstroke.runtime.distributed import ALONE
    from quickstroke.training import checkpoint
    from quickstroke.training.session import has_ended

    runs.check_trainable(config, before)
    metrics = runs.read_metrics(before, config.train.select_by)
    named = before if before.name not in ("", "..") else before.resolve()
    into = Path(options.into or named.with_name(f"{named.name}-again"))
    if into.resolve() == before.resolve():
        raise RunError(f"{into}: is the run itself; expected another folder for --into")
    best_epoch = runs.best_line(metrics, config.train.select_by)["epoch"] if metrics else 0
    if not has_ended(checkpoint.State(epoch=len(metrics), best_epoch=best_epoch), config.train):
        raise RunError(
            f"{before}: has ended {len(metrics)} of {config.train.n_epochs} epochs; expected a whole training"
        )
    try:
        data = runs.open_data(config, options.data)
    except DatasetError as error:
        if options.data:
            raise
        raise DatasetError(f"{error}; give --data DIR") from error
    weights = read_weights(before / "last.model")
    n_threads = environment.n_threads_before(before)
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
        train_classes=config.classes,
        resume=options.resume,
        command=command,
        group=ALONE,
    )
    if state is None:
        return Answer(None, 130)
    now = runs.read_config(into)
    found = compared(metrics, state.metrics, weights, read_weights(into / "last.model"))
    known = environment.differences(before, into)
    if now.teachers != config.teachers:
        known.append("teachers: other files")
    if " && " in (told := environment.command_of(before)):
        known.append(f"{before} was trained by several commands, which a rerun does in one: {told}")
    if found["is_same"]:
        print(f"the same to the last bit as {before}: {counted(len(metrics), 'epoch')} and the weights after the last")
    else:
        print(f"not the same as {before}: {found['difference']}")
        for line in known:
            note(line)
    values = {"run": str(before), "rerun": str(into), **found, "environment": known}
    return Answer(values, 0 if found["is_same"] else 3)
