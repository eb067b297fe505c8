"""`quickstroke prepare`."""

from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from quickstroke.cli import printable
from quickstroke.cli.answers import Answer, counted, note
from quickstroke.cli.inputs import Invalid, note_layout_without_effect, note_layouts, note_left_out, note_unscaled
from quickstroke.cli.options import Json, SkipInvalid, StrokeLayout, optional
from quickstroke.cli.running import progress
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.data.splits import FractionSplit, PositionSplit

# Drawings of a dataset, to see whether those taken as simplified are so.
_LOOKED_AT = 10_000
# Drawings whose key_ids are counted: larger datasets are hardly numbered by hand.
_COUNTED = 100_000


@dataclass(frozen=True)
class Options:
    """Drawings in any official format become one prepared dataset.

    Formats: .bin, .ndjson (simplified or raw), .csv (Kaggle), .gz of these, .npz (sketch-rnn), .parquet; where there
    are none, .svg and .inkml; else pictures (.png, .jpg, .webp) and Google's bitmaps (.npy), whose lines are traced;
    else .json. Of the last three kinds but .npy the folder's name is the word, where the file says none.
    Raw drawings are simplified. Each drawing goes to one split: by a hash of its key_id in fractions, or
    with --n-train by its position in its class: first the reserved ones, then those to train, validate and test on.
    Files whose split is known, such as those of a benchmark, are given by --train-only, --val-only and --test-only.

    A preparation that was stopped, by Ctrl-C, a kill or a full disk, keeps the words that are done beside DIR; the
    same command with --resume continues from there.

    Attributes:
        sources: files, folders or glob patterns
        into: folder to make; it must not exist yet
        classes: words to take, in label order, a file with one a line, or `classes2020` (default: all found, sorted)
        fractions: split by a hash of key_id; 0 is allowed (default: 0.8 0.1 0.1)
        split_seed: another split by fractions for each N (default: 0)
        fold: for cross-validation: other drawings to test on for each N from 0 to below 1 / TEST (default: 0)
        n_train: split by position: drawings a class to train on
        n_val: ... to validate on (default: n_train // 5)
        n_test: ... to test on (default: n_val)
        n_test_reserved: ... the first of each class, kept from all other splits (default: 0)
        limit: take the first N drawings of each class, of files for one split N more each
        recognized_only: leave out what the game did not recognise
        drop_duplicates: leave out drawings whose strokes their class has already
        held_out: leave out what another prepared dataset does not train on: its splits reserved, val and test
        leave_out: leave out the drawings of a list, as `quickstroke audit` writes it
        train_only: further drawing files, folders or glob patterns, all of whose drawings go to the split train; what
            the SOURCEs, or those below, have already is left out
        val_only: ... to the split val
        test_only: ... to the split test
        resume: go on with a preparation of DIR that was stopped; without one, start anew
    """

    sources: Annotated[Positional[tuple[str, ...]], optional("SOURCE...")]
    into: Annotated[str, arg(metavar="DIR")]
    classes: Annotated[tuple[str, ...] | None, optional("WORD...")] = None
    fractions: Annotated[tuple[float, float, float] | None, optional("TRAIN VAL TEST")] = None
    split_seed: Annotated[int | None, optional("N")] = None
    fold: Annotated[int | None, optional("N")] = None
    n_train: Annotated[int | None, optional("N")] = None
    n_val: Annotated[int | None, optional("N")] = None
    n_test: Annotated[int | None, optional("N")] = None
    n_test_reserved: Annotated[int | None, optional("N")] = None
    limit: Annotated[int | None, optional("N")] = None
    layout: StrokeLayout = "auto"
    skip_invalid: SkipInvalid = False
    recognized_only: bool = False
    drop_duplicates: bool = False
    held_out: Annotated[str | None, optional("DIR")] = None
    leave_out: Annotated[str | None, optional("FILE")] = None
    train_only: Annotated[tuple[str, ...] | None, optional("PATH...")] = None
    val_only: Annotated[tuple[str, ...] | None, optional("PATH...")] = None
    test_only: Annotated[tuple[str, ...] | None, optional("PATH...")] = None
    resume: bool = False
    json: Json = False

    @property
    def own_splits(self) -> dict[str, tuple[str, ...]]:
        """The sources that are given for one split, by the option's name."""
        given = {"train_only": self.train_only, "val_only": self.val_only, "test_only": self.test_only}
        return {name: paths for name, paths in given.items() if paths is not None}


def run(options: Options) -> Answer:
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.formats import find_sources
    from quickstroke.preparation import prepare
    from quickstroke.preparation.journal import folder_of
    from quickstroke.preparation.leave_out import LISTED, read_leave_out
    from quickstroke.preparation.picker import REPEATED

    if not options.sources and not options.own_splits:
        raise ConfigError("no SOURCE was given; expected drawing files, folders or glob patterns")
    invalid = Invalid(options.skip_invalid)
    with progress() as bar:
        task = bar.add_task("preparing", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        def on_start(n_sources: int, n_classes: int) -> None:
            if options.resume:
                at = f"resuming after {counted(n_classes, 'class')}"  # which may be all of them
                note(at if n_sources else f"nothing done for {options.into} yet: starting anew")

        try:
            prepared = prepare.prepare(
                options.sources,
                options.into,
                classes=None if options.classes is None else parse_classes(options.classes),
                split=_split(options),
                limit=options.limit,
                layout=options.layout,
                recognized_only=options.recognized_only,
                drop_duplicates=options.drop_duplicates,
                held_out=options.held_out,
                leave_out=options.leave_out,
                **options.own_splits,
                resume=options.resume,
                on_start=on_start,
                on_source=show,
                on_class=show,
                on_invalid=invalid.add,
            )
        except (FormatError, OSError, KeyboardInterrupt) as error:
            bar.stop()
            part = folder_of(Path(options.into))
            if part.exists():
                note(f"what is done is in {part}: the same command with --resume goes on")
                if isinstance(error, FormatError):
                    skipping = ", or with --skip-invalid," * (not options.skip_invalid)
                    note(
                        f"with the file corrected{skipping} it does so; without the file, remove {part} and begin anew"
                    )
            raise
        finally:
            bar.stop()
            invalid.tell()
    note_left_out(prepared.ignored_files, prepared.repeated_files)
    if options.layout == "auto":
        for name, (n_points, n_columns) in prepared.layouts.items():
            note_layouts(name, n_points, n_columns)
    else:
        files = find_sources([*options.sources, *chain(*options.own_splits.values())]).files
        note_layout_without_effect(options.layout, files)
    splits = ", ".join(f"{n:,} {name}" for name, n in prepared.splits.items() if n)
    drawings, classes = counted(prepared.n, "drawing"), counted(prepared.n_classes, "class")
    print(f"{prepared.path}: {drawings} of {classes} ({splits})")
    if options.leave_out:
        n_listed = sum(map(len, read_leave_out(Path(options.leave_out)).by_word.values()))
        n_found = prepared.left_out.get(LISTED, 0)
        if n_found < n_listed:
            note(f"--leave-out: {n_found:,} of the {n_listed:,} drawings listed were among those that were read")
    if prepared.left_out:
        print("left out: " + ", ".join(f"{n:,} {reason}" for reason, n in prepared.left_out.items()))
    if REPEATED in prepared.left_out:
        note(
            "drawings with one key_id are taken for one; if yours are different ones, give them other key_ids, or none"
        )
    _tell(PreparedDataset(prepared.path))
    return Answer(asdict(prepared) | {"path": str(prepared.path), "invalid": invalid.messages})


def _tell(data: "PreparedDataset") -> None:
    """Tells of drawings and words of a new dataset that may not be what they were meant to be."""
    import numpy as np

    from quickstroke.data.memory import unscaled_of_some

    n_ids = len(np.unique(data.key_ids[:_COUNTED]))
    if n_ids < min(len(data), _COUNTED) / 2 and data.manifest["split"]["rule"] != "position":
        note(
            f"{counted(len(data), 'drawing')} share {counted(n_ids, 'key_id')}, by which they are split; if the words "
            "number their drawings alone, leave the key_ids out"
        )
    note_unscaled(str(data.path), *unscaled_of_some(data, _LOOKED_AT))
    for words in _spelt_alike(data.classes):
        note(f"words that differ in letter case alone are words of their own: {', '.join(map(printable, words))}")


def _spelt_alike(classes: tuple[str, ...]) -> list[list[str]]:
    """Groups of words that are the same but for letter case."""
    groups = dict[str, list[str]]()
    for word in classes:
        groups.setdefault(word.casefold(), []).append(word)
    return [words for words in groups.values() if len(words) > 1]


def _split(options: Options) -> "FractionSplit | PositionSplit | None":
    from quickstroke.data.splits import FractionSplit, PositionSplit

    if empty := [name.replace("_", "-") for name, paths in options.own_splits.items() if not paths]:
        raise ConfigError(f"--{empty[0]} has no PATH; expected drawing files, folders or glob patterns")
    counts = (options.n_val, options.n_test, options.n_test_reserved)
    if options.n_train is None:
        if any(count is not None for count in counts):
            raise ConfigError("--n-val, --n-test and --n-test-reserved need --n-train: a split by position")
        if options.fractions is None and options.split_seed is None and options.fold is None:
            return None
        fractions = options.fractions or (0.8, 0.1, 0.1)
        return FractionSplit(*fractions, seed=options.split_seed or 0, fold=options.fold or 0)
    for name, value in (("--split-seed", options.split_seed), ("--fold", options.fold)):
        if value is not None:
            raise ConfigError(f"{name} needs a split by fractions; --n-train splits by position")
    if options.own_splits:
        name = next(iter(options.own_splits)).replace("_", "-")
        raise ConfigError(f"--{name} needs a split by fractions; --n-train takes so many drawings of each word")
    if options.fractions:
        raise ConfigError("--fractions and --n-train are two split rules; give one of them")
    n_val = options.n_train // 5 if options.n_val is None else options.n_val
    n_test = n_val if options.n_test is None else options.n_test
    return PositionSplit(options.n_train, n_val, n_test, options.n_test_reserved or 0)
