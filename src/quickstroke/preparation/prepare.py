"""Drawing files of any format become one prepared dataset, in bounded memory."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from quickstroke import formats
from quickstroke.config.schema import fits
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.manifest import FORMAT, SPLITS, VERSION
from quickstroke.data.splits import FractionSplit, PositionSplit, Rules, split_of
from quickstroke.drawings.categories import check_classes
from quickstroke.drawings.layouts import check_choice
from quickstroke.errors import (
    ArgumentTypeError,
    ConfigError,
    DatasetError,
    FormatError,
    QuickstrokeError,
    expect,
    expect_path,
    shown,
)
from quickstroke.preparation.journal import Preparation, folder_of
from quickstroke.preparation.picker import Picker
from quickstroke.preparation.pipeline import InTurn
from quickstroke.preparation.sources import (
    Source,
    blocks_ahead,
    check_found,
    check_unchanged,
    described,
    is_known,
    sources_by_word,
)
from quickstroke.preparation.writer import Writer
from quickstroke.utils.files import exchange, followed, write_text


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made: the folder, drawings a split, and drawings left out by reason.

    Attributes:
        ignored_files: files beside the sources that are no drawing files.
        repeated_files: further names, by links, of sources, which are read once.
        known_files: sources that the dataset to which was added had already.
        n_added: how many of the drawings were not in it.
    """

    path: Path
    n: int
    n_classes: int
    splits: dict[str, int]
    left_out: dict[str, int]
    ignored_files: tuple[str, ...]
    repeated_files: tuple[str, ...]
    known_files: tuple[str, ...]
    n_added: int


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
    add: bool = False,
    resume: bool = False,
    on_start: Callable[[int, int], None] = lambda n_sources, n_classes: None,
    on_source: Callable[[str, int, int], None] = lambda name, done, total: None,
    on_class: Callable[[str, int, int], None] = lambda word, done, total: None,
) -> Prepared:
    """Brings drawing files of any format into one prepared dataset; raw drawings are simplified.

    Memory stays bounded, however many drawings there are. What is done so far is in a folder beside the dataset,
    `preparation.folder_of(into)`. It stays there when the preparation is killed, interrupted, or stopped by a full disk
    or a file that breaks its format; everything else that goes wrong leaves nothing behind.

    Args:
        sources: files, folders or glob patterns, as `formats.find_sources`.
        into: the folder to make; it must not exist yet, and appears only once it is whole. With `add`, the dataset to
            which is added; it stays what it was until the new one takes its place.
        classes: the words to take, in the order of their labels; by default all words found, sorted.
        split: the split rule; by default fractions of 0.8, 0.1 and 0.1.
        limit: take the first so many drawings of each class, counted after everything else that leaves drawings out.
        layout: of strokes in text files, as `formats.read_file`.
        recognized_only: leave out what the game did not recognise.
        drop_duplicates: leave out drawings whose strokes the class has already.
        held_out: another prepared dataset, whose drawings of the splits `reserved`, `val` and `test` are left out (by
            word and key_id), so that what is trained here can be scored there.
        add: put new classes, or more drawings of its classes, into the dataset `into`, whose sources need not be there
            any more. See below.
        resume: go on with a preparation of `into` that was stopped; without one, start anew. The result is the same.
        on_start: called once with how many sources that are no binary files, and classes, are done already.
        on_source: called with (file name, done, in all) after each source that is no binary file of a class.
        on_class: called with (word, classes done, classes in all) after each class.

    A drawing whose key_id the class has already is always left out, and with a split by position also one whose
    key_id another class has: no drawing is in two splits.

    With `add`, split, limit and the other rules are the dataset's own; one that is given has to be the same, and the
    dataset that was held out has to be given again. Sources that it has already, by name and content, are passed over.
    New classes take their places in the order where the dataset's are sorted, else they come last; `classes` may say
    another order of old and new ones. The drawings are those of preparing the old sources and then the new ones
    together, with the result's classes, byte for byte, where no drawing of the new classes was among the old sources
    and drawings of one key_id have the same strokes; the counts of what was left out may name other reasons.

    Raises:
        FormatError: a source that is missing or breaks its format.
        CategoryError: a class twice, or one that no source has.
        DatasetError: the folder exists, or classes with too few drawings: each, with what it has and what was asked;
            or what was begun cannot be resumed so, or nothing can be added so.
        ConfigError: an impossible split or limit, or with `add` another than the dataset's.
        ArgumentTypeError: an argument of another type, such as sources that are no paths.
    """
    into = followed(expect_path(into, "into"))
    check_choice(layout)
    _check_options(recognized_only, drop_duplicates, add, resume, (on_start, on_source, on_class))
    if limit is not None and (not fits(limit, int) or limit < 1):
        raise ConfigError(f"limit should be a whole number of 1 or more, got {limit!r:.60}")
    if split is not None and not isinstance(split, FractionSplit | PositionSplit):
        raise ConfigError(f"split should be a FractionSplit or a PositionSplit, got {split!r:.60}")
    base = PreparedDataset(into) if add else None
    exists = into.exists() and (not into.is_dir() or any(into.iterdir()))
    if exists and not add and not (resume and (into / "manifest.json").exists()):
        raise DatasetError(
            f"{into}: exists already; prepare into a new folder, or remove this one first (--add puts more drawings "
            "into a prepared dataset)"
        )
    others = None if held_out is None else PreparedDataset(expect_path(held_out, "held_out"))
    held_out_sha256 = others.manifest_sha256 if others else None
    if base:
        rules = _rules_of(base, split, limit, recognized_only, drop_duplicates, held_out_sha256)
    else:
        rules = Rules(split or FractionSplit(), limit, recognized_only, drop_duplicates, held_out_sha256)
    found = formats.find_sources(sources)
    for path in found.files:
        if path.name.encode("utf-8", "replace").decode() != path.name:
            raise FormatError("its name is no UTF-8 text, which a manifest needs", path)
    wanted = check_classes(classes, "classes") if classes is not None else None
    if exists and not base:
        return _made_before(into, wanted, rules, found)
    files = found.files
    if base:
        files = tuple(path for path in files if not is_known(path, base))
        if not files:
            if resume:  # the kill came after the new dataset had taken its place
                shutil.rmtree(folder_of(into), ignore_errors=True)
            return _prepared(into, base.manifest, found, files, base)
        base.verify()
    plan = {
        "added_to": base.manifest_sha256 if base else None,
        "sources": [path.name for path in files],
        "classes": wanted,
        "layout": None if layout == "auto" else layout,  # of which an older version said nothing
        **rules.to_json(),
    }
    into.parent.mkdir(parents=True, exist_ok=True)
    preparation = Preparation(into, plan, resume)
    try:
        check_unchanged(preparation, files)
        writer = Writer(preparation)
    except BaseException:
        preparation.close(keep=True)
        raise
    keep = True
    try:
        on_start(len(preparation.sources), len(preparation.classes))
        by_word = sources_by_word(files, wanted, layout, preparation, on_source)
        if base:
            wanted = _classes_with(by_word, wanted, base)
            _check_can_add(by_word, rules, base)
        elif wanted is None:
            wanted = tuple(sorted(by_word))
        check_found(wanted, {**by_word, **dict.fromkeys(base.classes if base else ())})
        check_classes(wanted, str(into))
        if len(wanted) > 2**16:
            raise DatasetError(f"{len(wanted)} classes are more than the {2**16} that a dataset can hold")
        _write_classes(wanted, by_word, rules, base, others, preparation, writer, on_class)
        manifest = _manifest(wanted, rules, base, preparation, writer.finish())
        made = preparation.folder / "dataset"
        write_text(made / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        if base:
            exchange(made, into)
        else:
            if into.exists():
                into.rmdir()
            made.rename(into)
        keep = False
    except BaseException as error:
        keep = isinstance(error, FormatError) or not isinstance(error, QuickstrokeError)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(into)  # a full disk names no file
        raise
    finally:
        writer.close()
        preparation.close(keep)
    return _prepared(into, manifest, found, files, base)


def _prepared(
    into: Path,
    manifest: Mapping[str, Any],
    found: formats.Sources,
    files: Sequence[Path],
    base: "PreparedDataset | None",
) -> Prepared:
    taken = set(files)
    return Prepared(
        into,
        manifest["n"],
        len(manifest["classes"]),
        manifest["n_by_split"],
        manifest["left_out"],
        tuple(path.name for path in found.ignored),
        tuple(path.name for path in found.repeated),
        tuple(path.name for path in found.files if path not in taken),
        manifest["n"] - (len(base) if base else 0),
    )


def _check_options(
    recognized_only: Any, drop_duplicates: Any, add: Any, resume: Any, callbacks: tuple[Any, ...]
) -> None:
    flags = {"recognized_only": recognized_only, "drop_duplicates": drop_duplicates, "add": add, "resume": resume}
    for name, value in flags.items():
        expect(value, bool, name, "True or False")
    for name, value in zip(("on_start", "on_source", "on_class"), callbacks, strict=True):
        if not callable(value):
            raise ArgumentTypeError(f"{name} should be a function, got {shown(value)}")


def _made_before(into: Path, wanted: Sequence[str] | None, rules: Rules, found: formats.Sources) -> Prepared:
    """What there is already, where it is just what was asked for: a kill came after all was done."""
    manifest = PreparedDataset(into).manifest
    asked = {**rules.to_json(), "classes": manifest["classes"] if wanted is None else list(wanted)}
    if {key: manifest[key] for key in asked} != asked or [described(path) for path in found.files] != manifest[
        "sources"
    ]:
        raise DatasetError(f"{into}: exists already, from other sources or with other options; remove it first")
    shutil.rmtree(folder_of(into), ignore_errors=True)
    return _prepared(into, manifest, found, found.files, None)


def _rules_of(
    base: "PreparedDataset",
    split: FractionSplit | PositionSplit | None,
    limit: int | None,
    recognized_only: bool,
    drop_duplicates: bool,
    held_out: str | None,
) -> Rules:
    """The rules of a dataset to which is added.

    Raises:
        ConfigError: others were given.
    """
    options = base.manifest["options"]
    rules = Rules(
        split_of(base.manifest["split"]),
        options["limit"],
        options["recognized_only"],
        options["drop_duplicates"],
        options.get("held_out"),
    )
    for key, given, own in (
        ("split", split or rules.split, rules.split),
        ("limit", limit or rules.limit, rules.limit),
        ("recognized_only", recognized_only or rules.recognized_only, rules.recognized_only),
        ("drop_duplicates", drop_duplicates or rules.drop_duplicates, rules.drop_duplicates),
        ("held_out, by the hash of its manifest,", held_out, rules.held_out),
    ):
        if given != own:
            raise ConfigError(f"{base.path}: was prepared with {key} = {own}, cannot add with {given}")
    return rules


def _classes_with(by_word: Iterable[str], wanted: Sequence[str] | None, base: "PreparedDataset") -> tuple[str, ...]:
    """The classes of a dataset to which those words are added.

    Raises:
        ConfigError: the classes that are wanted lack one that is there.
    """
    if wanted is None:
        new = sorted(set(by_word) - set(base.classes))
        is_sorted = list(base.classes) == sorted(base.classes)
        return tuple(sorted([*base.classes, *new]) if is_sorted else [*base.classes, *new])
    missing = [word for word in base.classes if word not in wanted]
    if missing:
        raise ConfigError(f"{base.path}: has drawings of {', '.join(map(repr, missing))}, which the classes lack")
    return tuple(wanted)


def _check_can_add(by_word: Iterable[str], rules: Rules, base: "PreparedDataset") -> None:
    if rules.drop_duplicates and rules.held_out is not None:
        known = [word for word in base.classes if word in by_word]
        if known:
            raise DatasetError(
                f"{base.path}: was prepared without duplicates and with drawings held out, whose strokes it does not "
                f"know any more: cannot add to {', '.join(map(repr, known))}; prepare all sources again"
            )


def _write_classes(
    wanted: Sequence[str],
    by_word: Mapping[str, Sequence[Source]],
    rules: Rules,
    base: "PreparedDataset | None",
    held_out: "PreparedDataset | None",
    preparation: Preparation,
    writer: Writer,
    on_class: Callable[[str, int, int], None],
) -> None:
    """Writes the drawings of those classes that are not written yet, with a journal line for each.

    Raises:
        DatasetError: classes with too few drawings, or what is added would take one from the dataset.
    """
    picker = Picker(rules, held_out, preparation.folder / "keys")
    begin = len(preparation.classes)
    if begin:
        picker.go_on(preparation.classes[-1]["left_out"], writer.key_ids())
    else:
        picker.left_out.update(base.manifest["left_out"] if base else {})
        picker.left_out["other words"] += sum(line["n_other"] for line in preparation.sources.values())
    too_few: list[str] = []
    described: dict[int, dict[str, Any]] = {}
    with InTurn() as behind:
        for label, (word, blocks) in enumerate(blocks_ahead(wanted[begin:], by_word, base, described), start=begin):
            picker.begin(word)
            n_old, n_seen = base.n_of(word) if base else 0, 0
            for block in blocks:
                keep, key_ids, splits = picker.pick(block)
                if n_seen < n_old and len(keep) < len(block):
                    raise DatasetError(
                        f"{preparation.into}: a drawing of {word!r} shares its key_id with one of a new class before "
                        "it, and only one of them can stay; give --classes with the new words last, or prepare all "
                        "again"
                    )
                n_seen += len(block)
                if not too_few:
                    behind.do(partial(writer.append, label, block, keep, key_ids, splits))
            counts = picker.end()
            shortage = rules.split.shortage(counts)
            if shortage:
                too_few.append(f"{word} has {sum(counts)}, {shortage}")
            line = {
                "word": word,
                "n_by_split": dict(zip(SPLITS, counts, strict=True)),
                "left_out": dict(picker.left_out),
                "sources": [
                    described.pop(source.position) for source in by_word.get(word, ()) if source.position is not None
                ],
            }
            behind.do(
                partial(_note_class, preparation, writer, line) if not too_few else lambda: None,
                partial(on_class, word, label + 1, len(wanted)),
            )
    if too_few:
        raise DatasetError("too few drawings: " + "; ".join(too_few))


def _note_class(preparation: Preparation, writer: Writer, line: Mapping[str, Any]) -> None:
    preparation.note(**line, written=writer.written())


def _manifest(
    wanted: Sequence[str],
    rules: Rules,
    base: "PreparedDataset | None",
    preparation: Preparation,
    arrays: dict[str, Any],
) -> dict[str, Any]:
    per_class = {line["word"]: line["n_by_split"] for line in preparation.classes}
    totals = {name: sum(counts[name] for counts in per_class.values()) for name in SPLITS}
    left_out = preparation.classes[-1]["left_out"]
    sources = [line for _, line in sorted(preparation.sources.items())]
    return {
        "format": FORMAT,
        "version": VERSION,
        "n": sum(totals.values()),
        "classes": list(wanted),
        "split": rules.to_json()["split"],
        "n_by_split": totals,
        "n_by_class": per_class,
        "left_out": {reason: n for reason, n in sorted(left_out.items()) if n},
        "options": rules.to_json()["options"],
        "sources": [
            *(base.manifest["sources"] if base else ()),
            *({key: line[key] for key in ("name", "bytes", "sha256")} for line in sources),
        ],
        "arrays": arrays,
    }
