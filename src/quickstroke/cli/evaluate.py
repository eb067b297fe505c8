"""`quickstroke evaluate`."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from quickstroke.cli import printable, tables
from quickstroke.cli.answers import Answer, counted, note, percent
from quickstroke.cli.inputs import Invalid, drawing_files
from quickstroke.cli.options import ClassesFile, Json, SkipInvalid, Split, StrokeLayout, Words, check_output, optional
from quickstroke.cli.running import import_torch, progress
from quickstroke.config.training import Device, TrainConfig
from quickstroke.drawings.categories import choose_words, parse_classes
from quickstroke.errors import ConfigError, DatasetError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from quickstroke.artifacts.loading import LoadedModel
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.data.selection import LabelledDrawings
    from quickstroke.drawings.drawing import Drawing
    from quickstroke.evaluation.comparison import Comparison
    from quickstroke.evaluation.metrics import Evaluation
    from quickstroke.models.classifier import StrokeClassifier


@dataclass(frozen=True)
class Options:
    """A model's exact accuracy over a split of a prepared dataset, or over drawing files.

    Of files, every drawing whose word the model knows is taken, and those left out are counted by word. A run folder
    without either is evaluated on the dataset that it was trained on. With --words only drawings of these are scored.

    Attributes:
        model: a .model, .safetensors or .quickstroke file, a run folder, the name of a published model, or
            hf://OWNER/NAME
        files: drawing files, folders or glob patterns
        data: a prepared dataset, in place of files
        split: which drawings of the prepared dataset (default: val)
        protocol: `standard` is evaluation mode; `2020` is how the 2020 project measured: batch norm in training mode
            over batches of drawings sorted by label
        batch_size: of the protocol `2020` (default: 256)
        reestimate_batchnorm: first estimate batch norm's statistics again, from the drawings that are evaluated
        device: where the model runs
        precision: of the matrix products of a length-aware model on a CPU; bfloat16 is up to twice as fast where the
            processor multiplies it in hardware, and changes the guess for some drawings in a thousand
        per_class: print (and give in the JSON) each class's accuracy; or write it as a table, with how many drawings
            there are and how many were recognised
        partial: also measure early recognition: after 25%, 50% and 75% of the points, and 60% of the strokes
        confusion: give the confusion matrix in the JSON, a row a true class; or write it as a table
        predictions: write a table with a row for each drawing: its dataset or file (`source`) and its place there
            counted from 0 (`index`, which `strokes` of a dataset takes), key_id, first guess, probability, at which
            place the true word is, and loss
        against: also evaluate a second model on the same drawings, choosing among the same words, and say how much
            better this one is, with 95% intervals and McNemar's p-value
    """

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    files: Annotated[Positional[tuple[str, ...]], optional("[FILE...]")] = ()
    data: Annotated[str | None, optional("DIR")] = None
    split: Split = None
    layout: StrokeLayout = "auto"
    skip_invalid: SkipInvalid = False
    classes: ClassesFile = None
    words: Words = None
    protocol: Literal["standard", "2020"] = "standard"
    batch_size: Annotated[int | None, optional("N")] = None
    reestimate_batchnorm: bool = False
    device: Device = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    per_class: Annotated[tuple[str, ...] | None, optional("[FILE.csv]")] = None
    partial: bool = False
    confusion: Annotated[tuple[str, ...] | None, optional("[FILE.csv]")] = None
    predictions: Annotated[str | None, optional("FILE.csv")] = None
    against: Annotated[str | None, optional("MODEL")] = None
    json: Json = False


def _check(options: Options) -> None:
    """Raises ConfigError for options that contradict each other, and tells of those without effect."""
    if more := next(filter(_is_model, options.files), None):
        raise ConfigError(f"{more}: is a model, and `evaluate` takes one, {options.model}; `report` compares several")
    if options.files and options.data:
        raise ConfigError("give either drawing files or --data DIR")
    if options.batch_size is not None and options.batch_size < 1:
        raise ConfigError(f"--batch-size should be 1 or more, got {options.batch_size}")
    predictions = (options.predictions,) if options.predictions else None
    tables.check_names(
        {"--per-class": options.per_class, "--confusion": options.confusion, "--predictions": predictions}
    )
    if options.batch_size is not None and options.protocol == "standard":
        note("--batch-size has no effect: the protocol `standard` does not depend on it")
    if options.split and options.files:
        note("--split has no effect without --data: every drawing of the files is taken")
    if options.layout != "auto" and options.data:
        note("--layout has no effect on a prepared dataset")
    if options.skip_invalid and not options.files:
        note("--skip-invalid has no effect on a prepared dataset, which has no such drawings")
    if options.partial and options.protocol == "2020":
        raise ConfigError("--partial goes with the protocol `standard` only")
    if options.reestimate_batchnorm and options.protocol == "2020":
        note("--reestimate-batchnorm has no effect: the protocol `2020` uses the statistics of each batch")


def _is_model(name: str) -> bool:
    """Whether what was given as drawings is a run folder, a file of weights, or the name of a published model."""
    from quickstroke.artifacts import cards

    path = Path(name)
    try:
        return (path / "best.model").is_file() if path.is_dir() else cards.find_model(path).suffix in cards.SUFFIXES
    except (WeightsError, OSError):
        return False


def run(options: Options) -> Answer:
    _check(options)
    import_torch()
    import torch

    from quickstroke.artifacts import cards, loading
    from quickstroke.evaluation.evaluate import check_finite, evaluate, evaluate_early
    from quickstroke.models.classifier import n_parameters
    from quickstroke.models.statistics import reestimate_batchnorm
    from quickstroke.runtime.device import pick_device

    path = cards.find_model(options.model)
    for option, names in (("--per-class", options.per_class), ("--confusion", options.confusion)):
        check_output(option, names[0] if names else None)
    check_output("--predictions", options.predictions)
    data = _data(options, path)
    loaded = loading.load_model(path, options.classes)
    note(loaded.note)
    classes = choose_words(parse_classes(options.words), loaded.classes) if options.words else loaded.classes
    other = None if options.against is None else _second(options.against, classes)
    asked = _drawings(options, data, classes)
    n_learnt = _n_learnt(path, asked, options.split)
    other_learnt = _n_learnt(other.path, asked, options.split, options.against) if other else None
    drawings = asked.drawings.chosen_of(loaded.classes)
    device = pick_device(TrainConfig(device=options.device))
    if options.precision == "bfloat16" and (device.type != "cpu" or loaded.model.config.reading == "padded"):
        why = f"a model on {device.type}" if device.type != "cpu" else "a padded model"
        raise ConfigError(f"--precision bfloat16 is for length-aware models on a CPU, not for {why}")
    precision = getattr(torch, options.precision)
    model = loaded.model.to(device)
    is_reestimated = options.reestimate_batchnorm and options.protocol == "standard"
    with progress("drawings") as bar:
        task = bar.add_task("evaluating", total=len(drawings) * (2 if other else 1))

        def scored(model: "StrokeClassifier", known: tuple[str, ...], name: str) -> "Evaluation":
            if is_reestimated:
                reestimate_batchnorm(model, drawings.data, drawings.indices)
            scores = evaluate(
                model,
                asked.drawings.chosen_of(known),
                protocol=options.protocol,
                batch_size=options.batch_size or 256,
                precision=precision,
                on_batch=lambda n: bar.update(task, advance=n),
            )
            check_finite(scores, name)
            return scores

        result = scored(model, loaded.classes, loaded.name)
        found = result.compare(scored(other.model.to(device), other.classes, other.name)) if other else None
    early = evaluate_early(model, drawings, result, precision=precision) if options.partial else {}
    _show(options, loaded.name, asked, result, early)
    if options.against is not None and found:
        _show_comparison(options.against, found)
    values = {
        "model": loaded.name,
        **result.figures(),
        "map3": result.map3(),
        "n_learnt": n_learnt,
        "left_out": dict(sorted(asked.left_out.items())),
        "invalid": asked.invalid,
        "parameters": n_parameters(model),
        "protocol": options.protocol,
        "precision": options.precision,
        "batchnorm_reestimated": is_reestimated,
        **early,
        **_more(options, result),
    }
    if found:
        values["against"] = {"model": options.against, "n_learnt": other_learnt, **asdict(found)}
    return Answer(values)


def _second(name: str, classes: tuple[str, ...]) -> "LoadedModel":
    """The model that is compared, which has to know all words that the first one chooses among."""
    from quickstroke.artifacts import cards, loading

    other = loading.load_model(cards.find_model(name))
    note(other.note)
    if lacking := [word for word in classes if word not in other.classes]:
        raise ConfigError(
            f"--against {name}: does not know {counted(len(lacking), 'word')} that the first model chooses among, such "
            f"as {lacking[0]!r:.60}; exchange both, or give --words that both know"
        )
    return other


@dataclass(frozen=True, slots=True)
class _Asked:
    """The drawings that the options ask for, described by `where`, and how many of unknown words were left out.

    Of those that were read from files `read` has the file, the index in it, from 0, and key_id, in the order of the
    data, and `invalid` the errors of what is no drawing.
    """

    drawings: "LabelledDrawings"
    left_out: Counter[str]
    where: str
    read: list[tuple[str, int, int]]
    invalid: list[str]

    @property
    def key_ids(self) -> Any:
        """Of each drawing, uint64; of one of a file without, what a dataset has in its place."""
        import numpy as np

        from quickstroke.data.dataset import PreparedDataset
        from quickstroke.preparation.picker import hash_drawings

        data = self.drawings.data
        if isinstance(data, PreparedDataset):
            return data.key_ids[self.drawings.indices]
        key_ids = np.array([key_id for *_, key_id in self.read], np.uint64)
        if key_ids.all():
            return key_ids
        pen_up = np.unpackbits(data.pen_up, count=len(data.points), bitorder="little")
        return np.where(key_ids == 0, hash_drawings(data.points, pen_up, data.offsets.astype(np.int64)), key_ids)

    def source(self, index: int) -> tuple[str, int, int]:
        """The dataset or file of a drawing of the data, its index there, from 0, and its key_id."""
        from quickstroke.data.dataset import PreparedDataset

        data = self.drawings.data
        if isinstance(data, PreparedDataset):
            return str(data.path), index, int(data.key_ids[index])
        return self.read[index]


def _n_learnt(path: Path, asked: _Asked, split: str | None, second: str | None = None) -> int | None:
    """How many of the drawings a run, perhaps the `second`, learnt from, which is told; None for what is no run, and
    where its dataset is gone."""
    n = _counted_learnt(path, asked, split)
    if n:
        few = f"{n:,} of the {counted(len(asked.drawings), 'drawing')}"
        run = "the run" if second is None else second
        note(f"{few} are among those that {run} learnt from; --split test, without files or --data, has others")
    return n


def _counted_learnt(path: Path, asked: _Asked, split: str | None) -> int | None:
    from quickstroke.artifacts import runs
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.data.selection import n_among

    if (folder := runs.folder_of(path)) is None:
        return None
    config, drawings = runs.read_config(folder), asked.drawings
    own = config.data["manifest_sha256"]
    if isinstance(drawings.data, PreparedDataset) and drawings.data.manifest_sha256 == own:
        return len(drawings) if split == "train" else 0
    try:
        learnt = runs.open_data(config)
    except DatasetError:
        return None
    return n_among(asked.key_ids, drawings.labels, drawings.classes, learnt, "train").total()


def _data(options: Options, path: Path) -> "PreparedDataset | None":
    """The dataset that is asked for, or that a run was trained on; None where files are given."""
    from quickstroke.artifacts import runs
    from quickstroke.data.dataset import PreparedDataset

    if options.files:
        return None
    if options.data:
        return PreparedDataset(options.data)
    if (folder := runs.folder_of(path)) is None:
        raise ConfigError(f"{options.model}: is no run folder, which has its own drawings: give files or --data DIR")
    try:
        return runs.open_data(runs.read_config(folder))
    except DatasetError as error:
        raise DatasetError(f"{error}; give files or --data DIR") from error


def _drawings(options: Options, data: "PreparedDataset | None", classes: tuple[str, ...]) -> _Asked:
    """The drawings that the options ask for, of words among `classes`.

    Raises:
        DatasetError: there is none.
    """
    import numpy as np

    from quickstroke.data.selection import LabelledDrawings

    invalid = Invalid(options.skip_invalid)
    position = {word: i for i, word in enumerate(classes)}
    known_drawings: list[tuple[int, tuple[str, int, int]]] = []

    def read(files: "Iterable[Path]") -> "Iterator[Drawing]":
        for path in files:
            for number, drawing in invalid.numbered(path, options.layout):
                if drawing.word in position:
                    known_drawings.append((position[drawing.word], (str(path), number - 1, drawing.key_id)))
                yield drawing

    if data is None:
        where = " ".join(options.files)
        files = drawing_files(options.files, options.layout)
        drawings, left_out = LabelledDrawings.of_drawings(read(files), classes)
        invalid.tell()
        known_drawings.sort(key=lambda known: known[0])  # as the data is
    else:
        where = f"{data.path}, split {options.split or 'val'}"
        label_map = data.label_map(classes)
        indices = data.indices(options.split or "val")
        known = label_map[data.labels[indices]] >= 0
        counted = np.bincount(data.labels[indices[~known]], minlength=len(data.classes))
        left_out = Counter({word: int(n) for word, n in zip(data.classes, counted, strict=True) if n})
        drawings = LabelledDrawings(data, indices[known], classes, label_map)
    if not len(drawings):
        if not left_out:
            raise DatasetError(f"{where}: holds no drawing to evaluate on")
        which = "given" if options.words else "that the model knows"
        raise DatasetError(
            f"none of the {left_out.total()} drawings is of a word {which}; they are of {_most(left_out)}"
        )
    return _Asked(drawings, left_out, where, [origin for _, origin in known_drawings], invalid.messages)


def _show(options: Options, name: str, asked: _Asked, result: "Evaluation", early: dict[str, dict[str, float]]) -> None:
    """Writes the tables, and prints what a person reads."""
    # The tables first: who reads no more than the first lines, as `head` does, wants them all the same.
    written = []
    for names, write in ((options.per_class, tables.write_per_class), (options.confusion, tables.write_confusion)):
        for file in names or ():
            write(file, result)
            written.append(file)
    if options.predictions:
        tables.write_predictions(options.predictions, result, asked.source)
        written.append(options.predictions)
    (low, high), (low_3, high_3) = (map(percent, result.interval(k)) for k in (1, 3))
    balanced_low, balanced_high = map(percent, result.balanced_accuracy_interval())
    among = f", choosing among {counted(len(result.classes), 'word')}" if options.words else ""
    print(f"{name} on {counted(result.n, 'drawing')} ({printable(asked.where)}), protocol {options.protocol}{among}:")
    print(
        f"top-1 {percent(result.top(1))} ({low} to {high})  top-3 {percent(result.top(3))} ({low_3} to {high_3})  "
        f"top-5 {percent(result.top(5))}  MAP@3 {result.map3():.4f}  loss {result.loss:.4f}"
    )
    print(
        f"balanced accuracy {percent(result.balanced_accuracy())} ({balanced_low} to {balanced_high})  "
        f"calibration error {percent(result.calibration_error())}"
    )
    called = {"top1": "top-1", "top3": "top-3", "balanced_accuracy": "balanced accuracy"}
    for key, values in early.items():
        of, _, part = key.partition("_of_")
        told = "  ".join(f"{100 * float(fraction):g}% {percent(value)}" for fraction, value in values.items())
        print(f"{called[of]} by part of the {part}: {told}")
    if asked.left_out:
        n, most = asked.left_out.total(), _most(asked.left_out)
        which = "are not to be chosen" if options.words else "the model does not know"
        print(f"left out: {counted(n, 'drawing')} of words that {which} ({most})")
    for file in written:
        print(f"wrote {printable(file)}")
    if options.per_class is not None:
        for word, (right, n) in result.per_class().items():
            print(f"{percent(right / n) if n else '-':>8}  {right:>6} of {n:>6}  {word}")


def _show_comparison(name: str, found: "Comparison") -> None:
    """Prints what a person reads of a comparison with the model `name`."""

    def points(*fractions: float) -> str:
        difference, low, high = (f"{100 * fraction:+.2f}" for fraction in fractions)
        return f"{difference} points ({low} to {high})"

    print(
        f"against {name}: top-1 {points(found.top1, found.top1_low, found.top1_high)}  balanced accuracy "
        f"{points(found.balanced_accuracy, found.balanced_accuracy_low, found.balanced_accuracy_high)}"
    )
    print(
        f"recognised by this one alone {found.first_only:,}, by {name} alone {found.second_only:,}: McNemar's p "
        f"{found.p:.2g}"
    )


def _more(options: Options, result: "Evaluation") -> dict[str, Any]:
    """What the JSON has by further options."""
    values: dict[str, Any] = {"words": list(result.classes)} if options.words else {}
    if options.per_class is not None:
        values["per_class"] = {word: right / n for word, (right, n) in result.per_class().items() if n}
    if options.confusion is not None:
        values |= {"classes": list(result.classes), "confusion": result.confusion().tolist()}
    return values


def _most(left_out: Counter[str]) -> str:
    """The words that most drawings were left out of, with how many."""
    most = ", ".join(f"{printable(word) or '(without a word)'} {n}" for word, n in left_out.most_common(10))
    return most + (f" and {len(left_out) - 10} more words" if len(left_out) > 10 else "")
