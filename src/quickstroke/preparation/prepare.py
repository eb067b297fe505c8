"""Drawing files of any format become one prepared dataset, in bounded memory."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke import formats
from quickstroke.config.schema import fits
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import FORMAT, SPLITS, VERSION
from quickstroke.data.splits import FractionSplit, PositionSplit, Rules
from quickstroke.drawings.categories import check_classes
from quickstroke.drawings.layouts import check_choice
from quickstroke.errors import (
    ArgumentTypeError,
    ConfigError,
    DatasetError,
    FormatError,
    OnInvalid,
    QuickstrokeError,
    expect,
    expect_path,
    shown,
)
from quickstroke.preparation.journal import Preparation, folder_of
from quickstroke.preparation.leave_out import LeaveOut, read_leave_out
from quickstroke.preparation.picker import Picker
from quickstroke.preparation.pipeline import InTurn
from quickstroke.preparation.sources import (
    Source,
    blocks_ahead,
    check_found,
    check_unchanged,
    described,
    sources_by_word,
)
from quickstroke.preparation.writer import Writer
from quickstroke.utils.files import followed, write_json

_MOST_CLASSES = 2**16  # labels are uint16
# Splits that sources may be given for, in the order in which these are read: of two drawings of a class that are the
# same, the one that judges stays.
_OWN_SPLITS = ("test", "val", "train")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made: the folder, drawings of each split, and drawings left out by reason.

    Attributes:
        ignored_files: `formats.Sources.ignored_names` of the sources.
        repeated_files: `formats.Sources.repeated_names`: further names, by links, of sources, which are read once.
        layouts: of each text and parquet file how many drawings were written in `points`, and how many in `columns`.
    """

    path: Path
    n: int
    n_classes: int
    splits: dict[str, int]
    left_out: dict[str, int]
    ignored_files: tuple[str, ...]
    repeated_files: tuple[str, ...]
    layouts: dict[str, tuple[int, int]] = field(default_factory=dict, compare=False)


class _Request(NamedTuple):
    """What is asked for; `classes` None for all words of the files; `splits` has for each file the split that all its
    drawings go to, None where the rule decides."""

    into: Path
    files: Sequence[Path]
    splits: Sequence[str | None]
    classes: tuple[str, ...] | None
    layout: str
    rules: Rules
    held_out: PreparedDataset | None
    leave_out: Mapping[str, NDArray[np.uint64]]

    def plan(self) -> dict[str, Any]:
        """What a preparation has to agree in to be resumed."""
        return {
            "sources": [path.name for path in self.files],
            "classes": self.classes,
            "layout": None if self.layout == "auto" else self.layout,
            "train_only": None,  # as versions that knew no other
            **{_only(split): self._names_of(split) for split in _OWN_SPLITS if split in self.splits},
            **self.rules.to_json(),
        }

    def _names_of(self, split: str) -> list[str]:
        return [path.name for path, own in zip(self.files, self.splits, strict=True) if own == split]

    def described(self) -> dict[str, Any]:
        """The split rule and the options as a manifest has them."""
        told = self.rules.to_json()
        return told if self.layout == "auto" else told | {"options": told["options"] | {"layout": self.layout}}


class _Progress(NamedTuple):
    """The callbacks of `prepare`."""

    on_start: Callable[[int, int], None]
    on_source: Callable[[str, int, int], None]
    on_class: Callable[[str, int, int], None]
    on_invalid: OnInvalid


def prepare(
    sources: Sequence[Path | str] | Path | str,
    into: Path | str,
    *,
    classes: Sequence[str] | None = None,
    split: FractionSplit | PositionSplit | None = None,
    limit: int | None = None,
    layout: str = "auto",
    recognized_only: bool = False,
    drop_duplicates: bool = False,
    held_out: Path | str | None = None,
    leave_out: Path | str | None = None,
    train_only: Sequence[Path | str] | Path | str = (),
    val_only: Sequence[Path | str] | Path | str = (),
    test_only: Sequence[Path | str] | Path | str = (),
    resume: bool = False,
    on_start: Callable[[int, int], None] = lambda n_sources, n_classes: None,
    on_source: Callable[[str, int, int], None] = lambda name, done, total: None,
    on_class: Callable[[str, int, int], None] = lambda word, done, total: None,
    on_invalid: OnInvalid = None,
) -> Prepared:
    """Converts drawing files of any format into one prepared dataset; raw drawings are simplified.

    Memory stays bounded, however many drawings there are. What is done so far is in a folder beside the dataset,
    `journal.folder_of(into)`. It stays there when the preparation is killed, interrupted, or stopped by a full disk
    or a file that breaks its format; after any other error nothing is left.

    A drawing whose key_id the class has already is always left out, and with a split by position also one whose
    key_id another class has: no drawing is in two splits. So it is with `train_only`, `val_only` and `test_only`.

    Args:
        sources: files, folders or glob patterns, as `formats.find_sources`; none where all sources have their splits.
        into: the folder to make; it must not exist yet, and appears only once it is whole.
        classes: the words to take, in the order of their labels; by default all words found, sorted.
        split: the split rule; by default fractions of 0.8, 0.1 and 0.1, with `val_only` or `test_only` alone none to
            train on.
        limit: take the first so many drawings of each class, counted after everything else that leaves drawings out;
            of `sources`, `train_only`, `val_only` and `test_only` so many each.
        layout: of strokes in text files, as `formats.read_file`.
        recognized_only: leave out what the game did not recognise.
        drop_duplicates: leave out drawings whose strokes the class has already.
        held_out: another prepared dataset, whose drawings of the splits `reserved`, `val` and `test` are left out (by
            word and key_id), so that what is trained here can be scored there.
        leave_out: a list of drawings to leave out, as `quickstroke audit` writes it: a line each of key_id, tab, word.
        train_only, val_only, test_only: further sources, whose drawings all go to that split, such as the parts of a
            benchmark. A file that `sources` has, too, is one of these. They are read after the others, those to test
            on first; a drawing that was read before is left out. The manifest says which they are.
        resume: go on with a preparation of `into` that was stopped; without one, start anew. The result is the same.
        on_start: called once with how many sources, and classes, are done already; binary files are with their classes.
        on_source: called with (file name, done, in all) after each source that is no binary file of a class.
        on_class: called with (word, classes done, classes in all) after each class.
        on_invalid: as `formats.read_file`, for drawings without a word, too; any thread may call it.

    Raises:
        FormatError: a source, or the list `leave_out`, that is missing or breaks its format.
        CategoryError: a class twice, or one that no source has.
        DatasetError: the folder exists, or classes with too few drawings: each, with what it has and what was asked;
            or what was begun cannot be resumed so.
        ConfigError: an impossible split or limit, a file for two splits, or files for one with a split by position.
        ArgumentTypeError: an argument of another type, such as sources that are no paths.
    """
    into = followed(expect_path(into, "into"))
    check_choice(layout)
    progress = _Progress(on_start, on_source, on_class, on_invalid)
    _check_options(split, limit, recognized_only, drop_duplicates, resume, progress)
    is_made = _is_made(into, resume)
    other = None if held_out is None else PreparedDataset(expect_path(held_out, "held_out"))
    other_sha256 = None if other is None else other.manifest_sha256
    listed = LeaveOut({}, None) if leave_out is None else read_leave_out(expect_path(leave_out, "leave_out"))
    skips = on_invalid is not None
    split = split or (FractionSplit() if _is_given(sources) or _is_given(train_only) else FractionSplit(0, 0, 1))
    rules = Rules(split, limit, recognized_only, drop_duplicates, other_sha256, listed.sha256, skips)
    own = dict(zip(_OWN_SPLITS, (test_only, val_only, train_only), strict=True))
    found, splits = _find_sources(sources, own, rules)
    wanted = None if classes is None else check_classes(classes, "classes")
    request = _Request(into, found.files, splits, wanted, layout, rules, other, listed.by_word)
    manifest, layouts = (_manifest_of_same(request), {}) if is_made else _make(request, resume, progress)
    names, n, n_classes = (found.ignored_names, found.repeated_names), manifest["n"], len(manifest["classes"])
    return Prepared(into, n, n_classes, manifest["n_by_split"], manifest["left_out"], *names, layouts)


def _check_options(
    split: Any, limit: Any, recognized_only: Any, drop_duplicates: Any, resume: Any, progress: _Progress
) -> None:
    flags = {"recognized_only": recognized_only, "drop_duplicates": drop_duplicates, "resume": resume}
    for name, flag in flags.items():
        expect(flag, bool, name, "True or False")
    for name, callback in progress._asdict().items():
        if not callable(callback) and (name != "on_invalid" or callback is not None):
            raise ArgumentTypeError(f"{name} should be a function, got {shown(callback)}")
    if limit is not None and (not fits(limit, int) or limit < 1):
        raise ConfigError(f"limit should be a whole number of 1 or more, got {limit!r:.60}")
    if split is not None and not isinstance(split, FractionSplit | PositionSplit):
        raise ConfigError(f"split should be a FractionSplit or a PositionSplit, got {split!r:.60}")


def _is_made(into: Path, resume: bool) -> bool:
    """Whether the dataset to be resumed is there already, whole: a kill came after its last step.

    Raises:
        DatasetError: something else is there, or nothing was to be resumed.
    """
    if not into.exists() or (into.is_dir() and not any(into.iterdir())):
        return False
    if resume and (into / "manifest.json").exists():
        return True
    raise DatasetError(f"{into}: exists already; prepare into a new folder, or remove this one first")


def _only(split: str) -> str:
    """The argument, and the manifest's key, of sources whose drawings all go to a split."""
    return f"{split}_only"


def _is_given(sources: Any) -> bool:
    """Whether there are sources; what is none at all is for `formats.find_sources` to refuse."""
    return not isinstance(sources, Sequence) or bool(sources)


def _find_sources(
    sources: Sequence[Path | str] | Path | str, own: Mapping[str, Sequence[Path | str] | Path | str], rules: Rules
) -> tuple[formats.Sources, list[str | None]]:
    """The files, those that have a split of their `own` last, and the split of each, None where `rules` decide."""
    given = {split: paths for split, paths in own.items() if _is_given(paths)}
    if given and isinstance(rules.split, PositionSplit):
        name = _only(next(iter(given)))
        raise ConfigError(f"{name} needs a split by fractions: by position so many drawings of each are taken")
    found = {split: formats.find_sources(paths) for split, paths in given.items()}
    split_of: dict[Path, str] = {}
    for split, some in found.items():
        for path in some.files:
            if (other := split_of.setdefault(path.resolve(), split)) != split:
                raise ConfigError(f"{path}: is given both as {_only(other)} and as {_only(split)}; give it once")
    all_own = given and not _is_given(sources)
    ruled = formats.Sources((), (), ()) if all_own else formats.find_sources(sources)
    files: list[tuple[Path, str | None]] = [(path, None) for path in ruled.files if path.resolve() not in split_of]
    files += [(path, split) for split, some in found.items() for path in some.files]
    for path, _ in files:
        if path.name.encode("utf-8", "replace").decode() != path.name:
            raise FormatError("its name is no UTF-8 text, which a manifest needs", path)
        if path.exists() and not path.is_file():  # it is read again for its hash
            raise FormatError("is a pipe or a device, which can be read only once; expected a file", path)
    everything = (ruled, *found.values())
    ignored = tuple(name for some in everything for name in some.ignored)
    repeated = tuple(name for some in everything for name in some.repeated)
    return formats.Sources(tuple(path for path, _ in files), ignored, repeated), [split for _, split in files]


def _manifest_of_same(request: _Request) -> dict[str, Any]:
    """The manifest of the dataset that is there, which is what was asked for.

    Raises:
        DatasetError: it is another.
    """
    manifest = PreparedDataset(request.into).manifest
    asked = {
        **request.described(),
        "classes": manifest["classes"] if request.classes is None else list(request.classes),
        "sources": [_source(described(path), i, request) for i, path in enumerate(request.files)],
    }
    if {key: manifest[key] for key in asked} != asked:
        raise DatasetError(f"{request.into}: exists already, from other sources or with other options; remove it first")
    shutil.rmtree(folder_of(request.into), ignore_errors=True)
    return manifest


def _make(request: _Request, resume: bool, progress: _Progress) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Writes the dataset beside its place and moves it there; its manifest, and the `layouts` of its files."""
    into, files = request.into, request.files
    with _opened(Preparation(into, request.plan(), resume), files) as (preparation, writer):
        progress.on_start(len(preparation.sources), len(preparation.classes))
        by_word = sources_by_word(
            files,
            request.splits,
            request.classes,
            request.layout,
            preparation,
            progress.on_source,
            progress.on_invalid,
        )
        words = tuple(sorted(by_word)) if request.classes is None else request.classes
        check_found(words, by_word)
        check_classes(words, str(into))
        if len(words) > _MOST_CLASSES:
            raise DatasetError(f"{len(words)} classes are more than the {_MOST_CLASSES} that a dataset can hold")
        _write_classes(words, by_word, request, preparation, writer, progress.on_class)
        manifest = _manifest(words, request, preparation, writer.finish())
        made, done = preparation.folder / "dataset", preparation.sources
        write_json(made / "manifest.json", manifest)
        if into.exists():
            into.rmdir()
        made.rename(into)
    counts = {str(files[i]): (line.get("n_points", 0), line.get("n_columns", 0)) for i, line in done.items()}
    return manifest, {name: both for name, both in counts.items() if any(both)}


@contextmanager
def _opened(preparation: Preparation, files: Sequence[Path]) -> Iterator[tuple[Preparation, Writer]]:
    """A preparation and its writer; the folder stays where the error is one that `resume` can go on from."""
    try:
        check_unchanged(preparation, files)
        writer = Writer(preparation)
    except BaseException:
        preparation.close(keep=True)
        raise
    keep = False
    try:
        yield preparation, writer
    except BaseException as error:
        keep = isinstance(error, FormatError) or not isinstance(error, QuickstrokeError)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(preparation.into)  # a full disk names no file
        raise
    finally:
        writer.close()
        preparation.close(keep)


def _write_classes(
    words: Sequence[str],
    by_word: Mapping[str, Sequence[Source]],
    request: _Request,
    preparation: Preparation,
    writer: Writer,
    on_class: Callable[[str, int, int], None],
) -> None:
    """Writes the drawings of those classes that are not written yet, with a journal line for each.

    Raises:
        DatasetError: classes with too few drawings.
    """
    has_own_splits = any(request.splits)
    picker = Picker(request.rules, request.held_out, request.leave_out, preparation.folder / "keys", has_own_splits)
    begin = len(preparation.classes)
    if begin:
        picker.go_on(preparation.classes[-1]["left_out"], writer.key_ids())
    else:
        sources = preparation.sources.values()
        picker.left_out["other words"] += sum(line["n_other"] for line in sources)
        picker.left_out["no drawings"] += sum(line.get("n_invalid", 0) for line in sources)
    too_few: list[str] = []
    read: dict[int, dict[str, Any]] = {}  # the journal's description of each binary source, by position
    with InTurn() as behind:
        for label, (word, blocks) in enumerate(blocks_ahead(words[begin:], by_word, read), start=begin):
            picker.begin(word)
            for block, split in blocks:
                keep, key_ids, splits = picker.pick(block, split)
                if not too_few:
                    behind.do(partial(writer.append, label, block, keep, key_ids, splits))
            counts = picker.end()
            shortage = request.rules.split.shortage(counts)
            if shortage:
                too_few.append(f"{word} has {sum(counts)}, {shortage}")
            positions = [source.position for source in by_word[word] if source.position is not None]
            line = {
                "word": word,
                "n_by_split": dict(zip(SPLITS, counts, strict=True)),
                "left_out": dict(picker.left_out),
                "sources": [read.pop(position) for position in positions],
            }
            behind.do(
                partial(_note_class, preparation, writer, line) if not too_few else lambda: None,
                partial(on_class, word, label + 1, len(words)),
            )
    if too_few:
        raise DatasetError("too few drawings: " + "; ".join(too_few))


def _note_class(preparation: Preparation, writer: Writer, line: Mapping[str, Any]) -> None:
    preparation.note(**line, written=writer.written())


def _source(line: Mapping[str, Any], position: int, request: _Request) -> dict[str, Any]:
    """What a manifest says of a source."""
    told = {key: line[key] for key in ("name", "bytes", "sha256")}
    split = request.splits[position]
    return told if split is None else told | {_only(split): True}


def _manifest(
    words: Sequence[str], request: _Request, preparation: Preparation, arrays: dict[str, Any]
) -> dict[str, Any]:
    by_class = {line["word"]: line["n_by_split"] for line in preparation.classes}
    by_split = {name: sum(counts[name] for counts in by_class.values()) for name in SPLITS}
    left_out = preparation.classes[-1]["left_out"]
    return {
        "format": FORMAT,
        "version": VERSION,
        "n": sum(by_split.values()),
        "classes": list(words),
        "split": request.described()["split"],
        "n_by_split": by_split,
        "n_by_class": by_class,
        "left_out": {reason: n for reason, n in sorted(left_out.items()) if n},
        "options": request.described()["options"],
        "sources": [_source(line, position, request) for position, line in sorted(preparation.sources.items())],
        "arrays": arrays,
    }
