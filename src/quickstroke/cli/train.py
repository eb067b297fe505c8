"""`quickstroke train`."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from quickstroke.cli.answers import Answer, answer, counted, note, say
from quickstroke.cli.options import Json, TrainClasses, optional, parse
from quickstroke.cli.running import StopOnSignal, import_torch, progress
from quickstroke.config import naming, schema, serialize
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import LoggerName, TrainConfig
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import ConfigError
from quickstroke.reports import documents
from quickstroke.reports.document_config import MODEL_KEYS, ClassSlice
from quickstroke.reports.documents import EndLine, EpochLine

if TYPE_CHECKING:
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.runtime import distributed
    from quickstroke.training.checkpoint import State

_COUNTS = ("n_train", "n_val", "n_test", "n_test_reserved")


@dataclass(frozen=True)
class Options:
    """Train a model on a prepared dataset: its split `train`, with `val` choosing the best epoch.

    RUN holds config.json, environment.json, metrics.jsonl, best.model, last.model and last.ckpt. Ctrl-C ends with a
    checkpoint; the same command with --resume continues from it. Several processes share each batch when they are
    started by torchrun: `torchrun --nproc-per-node=2 -m quickstroke train ...`.

    Attributes:
        name: a model name such as simple_lay1_sz64 or bilstm_cv1_128_5_lay2_sz128; with --config DOCUMENT the heading
            path of a section will do
        data: the prepared dataset
        into: the run folder to make
        config: values for the options below: TOML (n_epochs = 5), a results document, of which one section's
            configuration block is taken, or a run folder, of which the training options of its config.json are; model,
            data and words are this command's. Options given here come first
        teacher_cache: where teachers' log-probabilities are cached, for trainings to share (default: RUN/teacher)
        resume: go on from the last checkpoint in RUN, by its options; more epochs, another patience or device may be
            given; without one, start anew
        n_train: checked against what DIR was prepared with
        n_val: checked likewise
        n_test: checked likewise
        n_test_reserved: checked likewise
        log: also log each epoch: `tensorboard`, event files in RUN/tensorboard; `wandb`, a run at Weights &
            Biases (WANDB_MODE=offline sends nothing); `mlflow`, a run in its store; each is an extra of that name
    """

    name: Annotated[Positional[str], arg(metavar="NAME")]
    data: Annotated[str, arg(metavar="DIR")]
    into: Annotated[str, arg(metavar="RUN")]
    config: Annotated[str | None, optional("FILE")] = None
    teacher_cache: Annotated[str | None, optional("DIR")] = None
    resume: bool = False
    train_classes: TrainClasses = None
    n_train: Annotated[int | None, optional("N")] = None
    n_val: Annotated[int | None, optional("N")] = None
    n_test: Annotated[int | None, optional("N")] = None
    n_test_reserved: Annotated[int | None, optional("N")] = None
    train: OmitArgPrefixes[TrainConfig] = dataclasses.field(default_factory=TrainConfig)
    log: Annotated[tuple[LoggerName, ...] | None, optional("LOGGER...")] = None
    json: Json = False


def main(args: Sequence[str]) -> int:
    options = parse(Options, "train", args)
    name: str = options.name
    class_slice: ClassSlice | None = None
    asked = {key: getattr(options, key) for key in _COUNTS}
    if options.config is not None or options.train.recipe != "default" or options.resume:
        # What the file, the recipe or the run says become the defaults, and the arguments are read again over them.
        name, defaults, class_slice = _configured(options, args)
        options = parse(Options, "train", args, default=defaults)
        if options.train_classes is not None:
            class_slice = None
    naming.parse_name(name)
    command = ("quickstroke", "train", *args)
    return answer(options.json, partial(_train, name, options, class_slice, asked, command))


def _configured(options: Options, args: Sequence[str]) -> tuple[str, Options, ClassSlice | None]:
    """The model name, options with a configuration file's values as defaults, and a document's slice of classes."""
    path = Path(str(options.config))
    name = options.name
    values: dict[str, Any] = {}
    classes = None
    is_asked = any(word.split("=")[0] == "--recipe" for word in args)
    if options.config is None:
        if options.resume and not is_asked and (Path(options.into) / "config.json").exists():
            from quickstroke.artifacts import runs

            values = serialize.to_json(runs.read_config(Path(options.into)).train)
    elif path.suffix == ".toml":
        values = schema.read_toml(path)
        name = str(values.pop("name", options.name))
        if name != options.name:
            raise ConfigError(f"{path}: is for {name!r}, but {options.name!r} was asked for")
        classes = values.pop("train_classes", None)
    elif path.name == "config.json" or path.is_dir():
        if is_asked:
            raise ConfigError(f"{path}: has all options, that of its recipe too; expected no --recipe beside it")
        values = _options_of_run(path if path.is_dir() else path.parent)
    elif path.suffix in (".json", ".yaml", ".yml"):
        raise ConfigError(
            f"{path}: expected options as TOML, in a file that ends in .toml, a run's config.json or a results document"
        )
    else:
        section = documents.read_document(path).find(options.name)
        if section.config is None:
            raise ConfigError(f"{path}: section {' > '.join(section.path)} has no configuration block")
        # A document of the 2020 project tells no recipe, and its rates are of its own optimizer.
        is_of_2020 = section.recipe is None and not {"readout", "image"} & section.config.keys()
        recipe = section.recipe or ("2020" if is_of_2020 else "default")
        if not is_asked:
            note(
                f"{path}: recipe {recipe}{', as it tells none' * is_of_2020}; what its block does not have is as in "
                "that recipe; a command above it may have more"
            )
        name = documents.implied_name(section.config)
        values = {key.lower(): value for key, value in section.config.items() if key not in MODEL_KEYS}
        values["recipe"] = recipe
        classes = section.config.get("train_classes")
    if is_asked:
        values["recipe"] = options.train.recipe
    counts = {key: values.pop(key) for key in _COUNTS if key in values}
    for key, count in counts.items():
        if type(count) is not int:
            raise ConfigError(f"{path}: {key} should be a whole number, got {count!r:.60}")
    class_slice = classes if isinstance(classes, ClassSlice) else None
    if classes is not None and class_slice is None:
        if not isinstance(classes, (list, tuple)) or not all(isinstance(word, str) for word in classes):
            raise ConfigError(f"{path}: train_classes should be a list of words, got {classes!r:.60}")
        classes = ("classes2020",) if list(classes) == ["seed100"] else tuple(classes)
    defaults = dataclasses.replace(
        options,
        name=tyro.MISSING,
        data=tyro.MISSING,
        into=tyro.MISSING,
        train_classes=None if class_slice else classes,
        train=serialize.from_json(TrainConfig, values, str(path)),
        resume=False,
        log=None,
        json=False,
        **(dict.fromkeys(_COUNTS) | counts),
    )
    return name, defaults, class_slice


def _options_of_run(folder: Path) -> dict[str, Any]:
    """The training options of a run, with the models that it began with and learnt from where they are now."""
    from quickstroke.artifacts import runs

    config = runs.read_config(folder)
    runs.check_trainable(config, folder)
    locate = config.places.locate if config.places else str
    files = {key: list(map(locate, getattr(config.train, key))) for key in ("pretrained", "teacher")}
    return serialize.to_json(config.train) | files


def _train(
    name: str, options: Options, class_slice: ClassSlice | None, asked: dict[str, int | None], command: Sequence[str]
) -> Answer:
    from quickstroke.training.ahead import compile_what_trains

    compile_what_trains(options.train)
    import_torch(trains_padded=options.train.recipe == "2020")
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.runtime import distributed

    group = distributed.join()
    resume = options.resume or distributed.is_restart()
    data = PreparedDataset(options.data)
    _check_counts(options, data, asked)
    _note_options_without_effect(options)
    classes = None if options.train_classes is None else parse_classes(options.train_classes)
    if class_slice is not None:
        classes = class_slice.of(data.classes)
    if options.train.other_class_fraction and set(data.classes) <= set(classes or data.classes):
        note(f"--other-class-fraction has no effect: no drawing of {data.path} has another word")
    model_config = ModelConfig.from_name(name, max_padding=options.train.max_padding)

    # One process speaks for all.
    with Path(os.devnull).open("w") as nowhere, contextlib.ExitStack() as stack:
        if group.rank:
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            state = train_and_show(
                model_config,
                options.train,
                data,
                options.into,
                train_classes=classes,
                teacher_cache=options.teacher_cache,
                resume=resume,
                remarks=_what_a_resumed_run_was(options) if resume and not group.rank else (),
                command=command,
                log=options.log or (),
                group=group,
            )
        except distributed.Elsewhere:
            return Answer(None, 2)
    distributed.leave()
    if state is None:
        return Answer(None, 130)
    if len(classes or data.classes) == 1:
        note("there was one word to choose from: whatever is drawn, the model says that")
    values = {
        "model": name,
        "run": options.into,
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "best_val_top1": state.best,
        "metrics": state.metrics,
    }
    return Answer(values if group.rank == 0 else None)


def _note_options_without_effect(options: Options) -> None:
    if options.train.patience >= options.train.n_epochs:
        note(f"--patience {options.train.patience} has no effect in {options.train.n_epochs} epochs")
    augment = options.train.augment
    with_augment, without_teacher = f"with --augment {augment}", "without --teacher"
    usual = TrainConfig(recipe=options.train.recipe)
    for key, is_used, where in (
        ("augment_magnitude", augment != "none", with_augment),
        ("geometric_magnitude", augment != "none", with_augment),
        ("random_rotation", augment != "none", with_augment),
        ("prefix_truncation", augment == "strokes", with_augment),
        ("distillation_weight", options.train.teacher, without_teacher),
        ("distillation_temperature", options.train.teacher, without_teacher),
        ("n_cached_epochs", options.train.teacher, without_teacher),
    ):
        if not is_used and getattr(options.train, key) != getattr(usual, key):
            note(f"--{key.replace('_', '-')} has no effect {where}")
    if options.teacher_cache is not None and not options.train.teacher:
        note(f"--teacher-cache has no effect {without_teacher}")


def _what_a_resumed_run_was(options: Options) -> list[str]:
    """What was otherwise in the run so far and changes its results."""
    import torch

    from quickstroke.artifacts import environment, runs

    n_before = environment.n_threads_before(Path(options.into))
    n_threads = torch.get_num_threads()
    remarks = []
    if n_before not in (None, n_threads):
        remarks.append(f"the run has had {n_before} threads, now {n_threads}: weights may differ in their last digits")
    if n_before is not None and options.train.schedule == "cosine":
        n_epochs = runs.read_config(Path(options.into)).train.n_epochs
        if n_epochs < options.train.n_epochs:
            remarks.append(
                f"the run was for {counted(n_epochs, 'epoch')}, now {options.train.n_epochs}: its learning rates so "
                "far were not those that so many epochs by a cosine have from the beginning"
            )
    return remarks


def train_and_show(
    model_config: ModelConfig,
    config: TrainConfig,
    data: "PreparedDataset",
    into: Path | str,
    *,
    resume: bool,
    remarks: Sequence[str] = (),
    group: "distributed.Group",
    **others: Any,
) -> "State | None":
    """`loop.train` with a bar and a line an epoch; None where it was asked to stop, after saying how to go on.

    `remarks` are told once the run turned out to be one that can be resumed.
    """
    from quickstroke.artifacts import runs
    from quickstroke.runtime import distributed
    from quickstroke.training import loop, session

    stop = StopOnSignal()
    with contextlib.ExitStack() as stack, progress("drawings") as bar, stop:
        group.run_on_first(lambda: stack.enter_context(runs.held(into)))
        task = bar.add_task("", total=None)

        def on_start(state: Any, resumed: bool) -> None:
            for remark in remarks:
                note(remark)
            if resume and session.has_ended(state, config):
                note(f"nothing is left to resume: the training ended after {counted(state.epoch, 'epoch')}")
            elif resume:
                steps = f", step {state.step + 1}" if state.step else ""
                where = f"epoch {state.epoch + 1}{steps}"
                note(f"resuming at {where}" if resumed else f"no checkpoint in {into} yet: starting anew")

        def on_step(epoch: int, done: int, total: int) -> None:
            bar.update(task, description=f"epoch {epoch + 1}/{config.n_epochs}", completed=done, total=total)

        def on_teacher(epoch: int, n: int) -> None:
            bar.update(task, description=f"asking teachers {epoch + 1}/{config.n_epochs}", advance=n)

        def show(line: dict[str, Any]) -> None:
            bar.console.file.flush()
            say(documents.format_epoch(EpochLine.of(line, config.n_epochs), is_short=True))
            bar.reset(task)

        watcher = session.Watcher(on_start, on_step, on_teacher, show, lambda: stop.asked, on_remark=note)
        try:
            with distributed.losing(group):
                state = loop.train(
                    model_config, config, data, into, resume=resume, watcher=watcher, group=group, **others
                )
        except session.Interrupted as interrupted:
            bar.stop()
            note(f"{interrupted}; the checkpoint is in {into}: the same command with --resume goes on")
            return None
        except distributed.Lost:
            if stop.asked:  # and so were the others, which have left already
                return None
            raise
    if state.epoch < config.n_epochs:
        note(f"patience ended it: no epoch after {state.best_epoch} was better (--resume with more --patience goes on)")
    ended = EndLine(state.epoch, 100 * max(line["val_top1"] for line in state.metrics))
    say(documents.format_end(ended, is_short=True))
    return state


def _check_counts(options: Options, data: "PreparedDataset", asked: dict[str, int | None]) -> None:
    """Compares the counts of the options with the dataset's; those of a file mean nothing to a split in fractions."""
    from quickstroke.data import selection

    counts = {key: getattr(options, key) for key in _COUNTS}
    of_file = {key: n for key, n in counts.items() if n is not None and asked[key] is None}
    if of_file and data.manifest["split"]["rule"] != "position":
        told = ", ".join(f"{key} = {n}" for key, n in of_file.items())
        note(f"{options.config}: {told} not used: {data.path} was split in fractions and keeps its own counts")
        counts = asked
    try:
        selection.check_counts(data, counts)
    except ConfigError as error:
        rule = data.manifest["split"]
        fitting = [
            f"--{key.replace('_', '-')} {rule[key]}" for key in of_file if counts[key] not in (None, rule.get(key))
        ]
        if not fitting:
            raise
        raise ConfigError(f"{error} (asked for by {options.config}; {' '.join(fitting)} overrides it)") from error
