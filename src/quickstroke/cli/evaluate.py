"""`quickstroke evaluate`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from quickstroke.cli import printable
from quickstroke.cli.common import (
    Json,
    StrokeLayout,
    drawing_files,
    note,
    optional,
    parse,
    percent,
    print_json,
    progress,
)
from quickstroke.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Options:
    """A model's exact accuracy over a split of a prepared dataset, or over drawing files.

    Of files, every drawing whose word the model knows is taken, and those left out are counted by word.
    """

    model: Annotated[
        Positional[str],
        arg(metavar="MODEL", help="a .model file, a run folder, or the name of a published model"),
    ]
    files: Annotated[Positional[tuple[str, ...]], optional("drawing files, folders or glob patterns", "[FILE...]")] = ()
    data: Annotated[str | None, optional("a prepared dataset, in place of files", "DIR")] = None
    split: Annotated[
        Literal["train", "val", "test", "reserved"] | None,
        optional("which drawings of the prepared dataset (default: val)", "{train,val,test,reserved}"),
    ] = None
    layout: StrokeLayout = "auto"
    classes: Annotated[
        str | None,
        optional("classes of a model without a card, in the order of its output layer, one a line", "FILE"),
    ] = None
    protocol: Annotated[
        Literal["honest", "published"],
        arg(
            help="`published` is how the 2020 project measured: batch norm in training mode over batches of drawings "
            "sorted by label"
        ),
    ] = "honest"
    batch_size: Annotated[int | None, optional("of the protocol `published` (default: 256)", "N")] = None
    reestimate_batchnorm: Annotated[
        bool, arg(help="first estimate batch norm's statistics again, over the drawings that are evaluated")
    ] = False
    device: Annotated[Literal["auto", "cpu", "cuda"], arg(help="where the model runs")] = "auto"
    precision: Annotated[
        Literal["float32", "bfloat16"],
        arg(
            help="of the matrix products of a length-aware model on a CPU; bfloat16 is up to twice as fast where the "
            "processor multiplies it in hardware, and moves a drawing in some thousands to another word"
        ),
    ] = "float32"
    per_class: Annotated[bool, arg(help="print (and give in the JSON) each class's accuracy")] = False
    partial: Annotated[
        bool, arg(help="also score drawings of which only the first quarter, half and three quarters are there")
    ] = False
    confusion: Annotated[bool, arg(help="give the confusion matrix in the JSON, a row a true class")] = False
    json: Json = False


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    options = parse(Options, "evaluate", args)
    if bool(options.files) == bool(options.data):
        raise ConfigError("give either drawing files or --data DIR")
    split, batch_size = options.split or "val", 256 if options.batch_size is None else options.batch_size
    if batch_size < 1:
        raise ConfigError(f"--batch-size should be 1 or more, got {batch_size}")
    if options.batch_size is not None and options.protocol == "honest":
        note("--batch-size has no effect: the honest protocol does not depend on it")
    if options.split and not options.data:
        note("--split has no effect without --data: every drawing of the files is taken")
    if options.layout != "auto" and options.data:
        note("--layout has no effect on a prepared dataset")
    if options.partial and options.protocol == "published":
        raise ConfigError("--partial goes with the protocol `honest` only")
    if options.reestimate_batchnorm and options.protocol == "published":
        note("--reestimate-batchnorm has no effect: the published protocol uses the statistics of each batch")

    import numpy as np
    import torch

    from quickstroke import cards, published
    from quickstroke.config import TrainConfig
    from quickstroke.dataset import PreparedDataset, from_drawings
    from quickstroke.evaluation import evaluate, evaluate_partial, figures_of_points, reestimate_batchnorm
    from quickstroke.formats import read_file
    from quickstroke.models import n_parameters
    from quickstroke.training import pick_device

    loaded = published.load_model(cards.find_model(options.model), options.classes)
    if loaded.note:
        note(loaded.note)
    data: Any
    if options.data:
        data = PreparedDataset(options.data)
        label_map = data.label_map(loaded.classes)
        indices = data.indices(split)
        known = label_map[data.labels[indices]] >= 0
        counted = np.bincount(data.labels[indices[~known]], minlength=len(data.classes))
        left_out = Counter({word: int(n) for word, n in zip(data.classes, counted, strict=True) if n})
        indices = indices[known]
    else:
        files = drawing_files(options.files, options.layout)
        drawings = chain.from_iterable(read_file(path, layout=options.layout) for path in files)
        data, left_out = from_drawings(drawings, loaded.classes)
        label_map, indices = np.arange(len(loaded.classes)), np.arange(len(data))
    if not len(indices):
        if not left_out:
            raise DatasetError(f"{options.data or ' '.join(options.files)}: holds no drawing to evaluate on")
        raise DatasetError(
            f"none of the {sum(left_out.values())} drawings is of a word that the model knows; they are of "
            f"{_most(left_out)}"
        )
    device = pick_device(TrainConfig(device=options.device))
    if options.precision == "bfloat16" and (device.type != "cpu" or loaded.model.config.reading == "padded"):
        why = f"a model on {device.type}" if device.type != "cpu" else "a padded model"
        raise ConfigError(f"--precision bfloat16 is for length-aware models on a CPU, not for {why}")
    precision = getattr(torch, options.precision)
    model = loaded.model.to(device)
    if options.reestimate_batchnorm:
        reestimate_batchnorm(model, data, indices)
    with progress("drawings") as bar:
        task = bar.add_task("evaluating", total=len(indices))
        result = evaluate(
            model,
            data,
            indices,
            loaded.classes,
            label_map,
            protocol=options.protocol,
            batch_size=batch_size,
            precision=precision,
            on_batch=lambda n: bar.update(task, advance=n),
        )
    where = printable(f"{options.data}, split {split}" if options.data else " ".join(options.files))
    low, high = result.interval()
    alike = result.balanced_interval()
    print(f"{loaded.name} on {result.n:,} drawings ({where}), protocol {options.protocol}:")
    print(
        f"top-1 {percent(result.top(1))} ({low:.1%} to {high:.1%})  top-3 {percent(result.top(3))}  "
        f"top-5 {percent(result.top(5))}  loss {result.loss:.4f}"
    )
    print(
        f"top-1 with every class counting alike {percent(result.balanced())} ({alike[0]:.1%} to {alike[1]:.1%})  "
        f"calibration error {percent(result.calibration_error())}"
    )
    partial = {}
    if options.partial:
        partial = evaluate_partial(model, data, indices, loaded.classes, label_map, precision=precision)
        for values_of, name in zip(figures_of_points(partial).values(), ("", ", every class alike"), strict=True):
            told = "  ".join(f"{100 * float(fraction):g}% {percent(value)}" for fraction, value in values_of.items())
            print(f"top-1 after so much of the points{name}: {told}")
    if left_out:
        print(
            f"left out: {sum(left_out.values()):,} drawings of words that the model does not know ({_most(left_out)})"
        )
    per_class = result.per_class()
    if options.per_class:
        for word, (right, n) in per_class.items():
            print(f"{percent(right / n) if n else '-':>8}  {right:>6} of {n:>6}  {word}")
    if options.json:
        values: dict[str, Any] = {
            "model": loaded.name,
            **result.figures(),
            "left_out": dict(sorted(left_out.items())),
            "parameters": n_parameters(model),
            "protocol": options.protocol,
            "precision": options.precision,
            "batchnorm_reestimated": options.reestimate_batchnorm,
        }
        if options.partial:
            values |= figures_of_points(partial)
        if options.per_class:
            values["per_class"] = {word: right / n for word, (right, n) in per_class.items() if n}
        if options.confusion:
            values |= {"classes": list(result.classes), "confusion": result.confusion().tolist()}
        print_json(values)


def _most(left_out: Counter[str]) -> str:
    """The words that most drawings were left out of, with how many."""
    most = ", ".join(f"{printable(word) or '(without a word)'} {n}" for word, n in left_out.most_common(10))
    return most + (f" and {len(left_out) - 10} more words" if len(left_out) > 10 else "")
