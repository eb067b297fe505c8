"""A prepared dataset: any drawing files brought into one folder of flat arrays, split once and for all.

    manifest.json   version, classes in order, sources with sizes and hashes, split rule, what was left out and why
    points.bin      uint8 (P, 2): x and y of every point, drawing after drawing
    pen_up.bin      bits, lowest first: whether point i ends its stroke
    offsets.bin     uint32, or uint64 from 2^32 points on, (N + 1,): drawing i has points offsets[i] to offsets[i + 1]
    labels.bin      uint16 (N,), index into the classes; ascending
    key_ids.bin     uint64 (N,); a drawing without one gets a hash of its strokes with the top bit set
    splits.bin      uint8 (N,), index into SPLITS

Drawings lie in the order of the classes, within a class in the order of the sources. All are little-endian and
memory-mapped on use. The same input gives the same bytes.
"""

import dataclasses
import hashlib
import json
import math
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke import formats, splitmix
from quickstroke.batches import Drawings
from quickstroke.categories import CATEGORIES, check_classes, closest_words, unprintable
from quickstroke.compiled import jit
from quickstroke.config import ModelConfig, check_types, fits
from quickstroke.drawing import Drawing, DrawingBlock, check_simplified, split_strokes
from quickstroke.errors import (
    ArgumentTypeError,
    CategoryError,
    ConfigError,
    DatasetError,
    FormatError,
    MissingExtra,
    QuickstrokeError,
    expect,
    expect_path,
    first_line,
    shown,
)
from quickstroke.files import exchange, followed, n_cores, sha256_of, write_text
from quickstroke.formats import binary
from quickstroke.keys import KeySet, is_among
from quickstroke.layouts import check_choice
from quickstroke.manifest import FORMAT, SPLITS, VERSION, parse_manifest
from quickstroke.preparation import ARRAYS, Preparation, Writer, folder_of
from quickstroke.spill import Spilled, Spiller, simplified_strokes

if TYPE_CHECKING:
    from quickstroke.torch_data import SplitDataset

# Words whose first drawings are read before their turn.
_MAX_AHEAD = 4

# Files that are brought to the binary form at a time: each may have a process of its own, of some 120 MB.
_MAX_PROCESSES = 3

# Points of a block: enough that what is done once a block does not matter.
_BLOCK_POINTS = 1 << 21
# Blocks, and the ends of classes, that wait to be written.
_MOST_BEHIND = 2

# So many drawings of a dataset are looked at in one piece.
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class FractionSplit:
    """Each drawing goes to a split by a hash of its key_id, so that the same drawing always goes to the same one.

    The hash is splitmix64 of the key_id, as a fraction of 2^64; the fractions add up to 1 and 0 is allowed.
    """

    train: float = 0.8
    val: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        values = (self.train, self.val, self.test)
        if (
            not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values)
            or abs(sum(values) - 1) > 1e-9
        ):
            raise ConfigError(
                f"fractions should be three numbers from 0 to 1 (train, val, test) that add up to 1, got {values}"
            )

    def assign(self, key_ids: NDArray[np.uint64], n_before: int = 0) -> NDArray[np.uint8]:
        """The split (N,) of each drawing, an index into SPLITS, whatever was `n_before` them in their class."""
        position = splitmix.hashed(key_ids) / 2.0**64
        bounds = np.cumsum([self.train, self.val])
        # A split of fraction 0 gets nothing, whatever the rounding of the sums.
        parts = [i for i, part in enumerate((self.train, self.val, self.test), start=1) if part > 0]
        taken = np.array([i if i in parts else parts[-1] for i in range(1, 4)], dtype=np.uint8)
        return taken[np.searchsorted(bounds, position, side="right")]

    def shortage(self, counts: Sequence[int]) -> str:
        """What a class with `counts` drawings a split lacks, empty if nothing."""
        if not self.train or counts[1]:
            return ""
        others = " and ".join(f"{n} to {name}" for name, n in zip(SPLITS, counts, strict=True) if n)
        return "asked for at least one to train on" + (f"; by their key_ids went {others}" if others else "")


@dataclass(frozen=True, slots=True)
class PositionSplit:
    """Of each class's drawings in source order, so many are reserved, then train, validate and test."""

    n_train: int
    n_val: int
    n_test: int
    n_test_reserved: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        for key, value in asdict(self).items():
            if value < 0:
                raise ConfigError(f"{key} should be 0 or more, got {value}")
        if self.total == 0:
            raise ConfigError("a position split should ask for at least one drawing")

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Drawings a class, in the order of SPLITS."""
        return self.n_test_reserved, self.n_train, self.n_val, self.n_test

    @property
    def total(self) -> int:
        """Drawings that each class needs."""
        return sum(self.counts)

    def assign(self, key_ids: NDArray[np.uint64], n_before: int = 0) -> NDArray[np.uint8]:
        """The split, an index into SPLITS, of those that are among the class's first `total`; `n_before` are before."""
        places = np.arange(n_before, min(n_before + len(key_ids), self.total))
        ends = [min(end, 2**62) for end in accumulate(self.counts)]
        return np.searchsorted(ends, places, side="right").astype(np.uint8)

    def shortage(self, counts: Sequence[int]) -> str:
        """What a class with `counts` drawings a split lacks, empty if nothing."""
        if sum(counts) == self.total:
            return ""
        asked = " + ".join(f"{n} {name}" for name, n in zip(SPLITS, self.counts, strict=True) if n)
        return f"asked for {self.total} ({asked})"


@jit()
def _hash_strokes(points: Any, pen_up: Any, offsets: Any, out: Any) -> None:
    """FNV-1a over the bytes of each drawing's points and pen flags, with the top bit set."""
    for i in range(out.size):
        value = np.uint64(0xCBF29CE484222325)
        for p in range(offsets[i], offsets[i + 1]):
            for byte in (np.uint64(points[p, 0]), np.uint64(points[p, 1]), np.uint64(pen_up[p])):
                value = (value ^ byte) * np.uint64(0x100000001B3)
        out[i] = value | np.uint64(1 << 63)


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


@dataclass(frozen=True, slots=True)
class _Rules:
    """Which drawings are taken, and how they are split; `held_out` is the hash of another dataset's manifest."""

    split: FractionSplit | PositionSplit
    limit: int | None
    recognized_only: bool
    drop_duplicates: bool
    held_out: str | None

    def to_json(self) -> dict[str, Any]:
        """As a manifest has them."""
        rule = next(rule for rule, kind in _RULES.items() if isinstance(self.split, kind))
        return {
            "split": {"rule": rule, **asdict(self.split)},
            "options": {
                "limit": self.limit,
                "recognized_only": self.recognized_only,
                "drop_duplicates": self.drop_duplicates,
                **({"held_out": self.held_out} if self.held_out is not None else {}),
            },
        }


class _Source(NamedTuple):
    """A binary file with drawings of one word; `position` is None for what another source was brought to."""

    path: Path
    position: int | None


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
        rules = _Rules(split or FractionSplit(), limit, recognized_only, drop_duplicates, held_out_sha256)
    found = formats.find_sources(sources)
    for path in found.files:
        if path.name.encode("utf-8", "replace").decode() != path.name:
            raise FormatError("its name is no UTF-8 text, which a manifest needs", path)
    wanted = check_classes(classes, "classes") if classes is not None else None
    if exists and not base:
        return _made_before(into, wanted, rules, found)
    files = found.files
    if base:
        files = tuple(path for path in files if not _is_known(path, base))
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
        _check_unchanged(preparation, files)
        writer = Writer(preparation)
    except BaseException:
        preparation.close(keep=True)
        raise
    keep = True
    try:
        on_start(len(preparation.sources), len(preparation.classes))
        by_word = _by_word(files, wanted, layout, preparation, on_source)
        if base:
            wanted = _classes_with(by_word, wanted, base)
            _check_can_add(by_word, rules, base)
        elif wanted is None:
            wanted = tuple(sorted(by_word))
        _check_found(wanted, {**by_word, **dict.fromkeys(base.classes if base else ())})
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


def _made_before(into: Path, wanted: Sequence[str] | None, rules: _Rules, found: formats.Sources) -> Prepared:
    """What there is already, where it is just what was asked for: a kill came after all was done."""
    manifest = PreparedDataset(into).manifest
    asked = {**rules.to_json(), "classes": manifest["classes"] if wanted is None else list(wanted)}
    if {key: manifest[key] for key in asked} != asked or [_described(path) for path in found.files] != manifest[
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
) -> _Rules:
    """The rules of a dataset to which is added.

    Raises:
        ConfigError: others were given.
    """
    options = base.manifest["options"]
    rules = _Rules(
        _split_of(base.manifest["split"]),
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


# The split rules as a manifest names them.
_RULES: dict[str, type[FractionSplit] | type[PositionSplit]] = {
    "hash of key_id": FractionSplit,
    "position": PositionSplit,
}


def _split_of(described: Mapping[str, Any]) -> FractionSplit | PositionSplit:
    """The split rule that a manifest describes."""
    values = dict(described)
    return _RULES[values.pop("rule")](**values)


def _check_split(told: Mapping[str, Any], file: Path) -> None:
    """Raises DatasetError where a manifest describes no split rule, or other counts than the rule gives."""
    described = told.get("split")
    try:
        split = _split_of(described)  # type: ignore[arg-type]
        if _Rules(split, None, False, False, None).to_json()["split"] != described:
            raise ValueError("a part is missing")
        if any(isinstance(value, bool) for value in described.values()):
            raise ValueError("expected numbers")
    except (ConfigError, ValueError, TypeError, LookupError) as error:
        raise DatasetError(
            f"{file}: damaged manifest: split is {shown(described)}, expected a rule ({' or '.join(_RULES)}) with its "
            f"numbers: {first_line(error)}"
        ) from error
    for word, counts in told["n_by_class"].items():
        if split.shortage([counts[name] for name in SPLITS]):
            raise DatasetError(f"{file}: damaged manifest: n_by_class.{word} is {counts}, expected what {split} gives")


def _is_known(path: Path, base: "PreparedDataset") -> bool:
    """Whether a dataset was made from this file, too."""
    same = [source for source in base.manifest["sources"] if source["name"] == path.name]
    n_bytes = path.stat().st_size
    return any(source["bytes"] == n_bytes for source in same) and _described(path) in same


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


def _check_can_add(by_word: Iterable[str], rules: _Rules, base: "PreparedDataset") -> None:
    if rules.drop_duplicates and rules.held_out is not None:
        known = [word for word in base.classes if word in by_word]
        if known:
            raise DatasetError(
                f"{base.path}: was prepared without duplicates and with drawings held out, whose strokes it does not "
                f"know any more: cannot add to {', '.join(map(repr, known))}; prepare all sources again"
            )


def _check_unchanged(preparation: Preparation, files: Sequence[Path]) -> None:
    """Raises DatasetError where a source that is done is not any more what it was."""
    for position, line in preparation.sources.items():
        path, stat = files[position], files[position].stat()
        if (stat.st_size, stat.st_mtime_ns) != (line["bytes"], line["mtime_ns"]) and _described(path) != {
            key: line[key] for key in ("name", "bytes", "sha256")
        }:
            raise DatasetError(
                f"{path}: is not what it was when the preparation of {preparation.into} began; "
                f"remove {preparation.folder} to start anew"
            )


def _by_word(
    files: Sequence[Path],
    wanted: Sequence[str] | None,
    layout: str,
    preparation: Preparation,
    on_source: Callable[[str, int, int], None],
) -> dict[str, list[_Source]]:
    """For each word, the binary files that hold its drawings, in source order.

    Files that are not binary are brought to that form first, a file a word, so that memory stays bounded; those of
    other words are counted.
    """
    by_word: dict[str, list[_Source]] = {}
    takes = None if wanted is None else set(wanted)
    others: list[int] = []
    words: dict[int, list[str]] = {}
    for position, path in enumerate(files):
        ending = formats.ending_of(path) or ""
        word = formats.word_of(path)
        if ending.startswith((".bin", ".npz")) and takes is None and (reason := unprintable(word)):
            raise FormatError(f"its name gives the word {word!r:.60}; that {reason}", path)
        if not ending.startswith(".bin"):
            others.append(position)
            continue
        if not word:
            raise FormatError("its name gives no word; expected <word>.bin", path)
        if takes is None or word in takes:
            words[position] = [word]
        else:
            others.append(position)
    spiller = Spiller(wanted, layout)
    with ThreadPoolExecutor(min(n_cores(), _MAX_PROCESSES)) as pool:
        futures = {pool.submit(_bring, position, files[position], preparation, spiller) for position in others}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                line = future.result()
                if line is not preparation.sources.get(line["source"]):
                    preparation.note(**line)
                on_source(line["name"], done, len(others))
        finally:
            spiller.stop()
            pool.shutdown(cancel_futures=True)
    for position, path in enumerate(files):
        if position in words:
            by_word.setdefault(words[position][0], []).append(_Source(path, position))
            continue
        for i, word in enumerate(preparation.sources[position]["words"]):
            spilled = preparation.folder / "spilled" / str(position) / f"{i}.bin"
            by_word.setdefault(word, []).append(_Source(spilled, None))
    return by_word


def _bring(position: int, path: Path, preparation: Preparation, spiller: Spiller) -> dict[str, Any]:
    """The journal line of a source that is no binary file of a class, after bringing it to such files."""
    folder = preparation.folder / "spilled" / str(position)
    line = preparation.sources.get(position)
    if line is not None and all(
        (folder / f"{i}.bin").is_file() and sha256_of(folder / f"{i}.bin") == sha256
        for i, sha256 in enumerate(line["words"].values())
    ):
        return line
    if (formats.ending_of(path) or "").startswith(".bin"):
        spilled = Spilled({}, binary.count(path))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        spilled = spiller.spill(path, folder)
    return _source_line(position, path) | asdict(spilled)


def _source_line(position: int, path: Path) -> dict[str, Any]:
    """What a journal says of any source; that of one which is not changed need not be read again."""
    return {"source": position, **_described(path), "mtime_ns": path.stat().st_mtime_ns}


def _check_found(wanted: Sequence[str], by_word: Mapping[str, Any]) -> None:
    missing = [word for word in wanted if word not in by_word]
    if not wanted:
        raise DatasetError("the sources hold no drawing")
    if missing:
        hints = [
            repr(word) if word in CATEGORIES else f"{word!r} (not a Quick, Draw! category{closest_words(word)})"
            for word in missing
        ]
        raise CategoryError(f"the sources have no drawings of {', '.join(hints)}")


def _write_classes(
    wanted: Sequence[str],
    by_word: Mapping[str, Sequence[_Source]],
    rules: _Rules,
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
    picker = _Picker(rules, held_out, preparation.folder / "keys")
    begin = len(preparation.classes)
    if begin:
        picker.go_on(preparation.classes[-1]["left_out"], writer.key_ids())
    else:
        picker.left_out.update(base.manifest["left_out"] if base else {})
        picker.left_out["other words"] += sum(line["n_other"] for line in preparation.sources.values())
    too_few: list[str] = []
    described: dict[int, dict[str, Any]] = {}
    with _InTurn() as behind:
        for label, (word, blocks) in enumerate(_blocks(wanted[begin:], by_word, base, described), start=begin):
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


class _InTurn:
    """A thread that does one thing after the other, a few of them behind; where one fails, none after it is done.

    Leaving the context waits for all, and raises what one of them did.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._under_way = deque[tuple[Future[None], Callable[[], None]]]()

    def __enter__(self) -> "_InTurn":
        return self

    def __exit__(self, *error: object) -> None:
        with self._pool:
            if error[0] is None:
                self._wait(0)

    def do(self, task: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
        """Does it after those before it, and `then` some time after it, here; raises what one of them did."""
        self._wait(_MOST_BEHIND)
        before = self._under_way[-1][0] if self._under_way else None

        def run() -> None:
            if before is not None:
                before.result()
            task()

        self._under_way.append((self._pool.submit(run), then))

    def _wait(self, n_behind: int) -> None:
        while len(self._under_way) > n_behind:
            future, then = self._under_way.popleft()
            future.result()
            then()


def _manifest(
    wanted: Sequence[str],
    rules: _Rules,
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


def _blocks(
    words: Sequence[str],
    by_word: Mapping[str, Sequence[_Source]],
    base: "PreparedDataset | None",
    described: dict[int, dict[str, Any]],
) -> Iterator[tuple[str, Iterator[DrawingBlock]]]:
    """Each word with its drawings, a block at a time; the next block of each of a few words is read ahead by threads.

    What a journal says of a binary source is in `described` once its last block has come.
    """
    n_threads = min(n_cores(), _MAX_AHEAD)
    with ThreadPoolExecutor(n_threads) as pool:

        def rest(blocks: Iterator[DrawingBlock], coming: Future[DrawingBlock | None]) -> Iterator[DrawingBlock]:
            while (block := coming.result()) is not None:
                coming = pool.submit(next, blocks, None)
                yield block

        ahead = deque[tuple[Iterator[DrawingBlock], Future[DrawingBlock | None]]]()
        todo = iter(words)
        try:
            for word in words:
                while len(ahead) <= n_threads and (following := next(todo, None)) is not None:
                    blocks = _read(following, by_word.get(following, ()), base, described)
                    ahead.append((blocks, pool.submit(next, blocks, None)))
                yield word, rest(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _read(
    word: str, sources: Sequence[_Source], base: "PreparedDataset | None", described: dict[int, dict[str, Any]]
) -> Iterator[DrawingBlock]:
    if base:
        yield from base.blocks(word)
    for source in sources:
        parts: list[DrawingBlock] = []
        for part in binary.read_blocks(source.path, word):
            parts.append(part)
            if sum(len(part.points) for part in parts) >= _BLOCK_POINTS:
                yield DrawingBlock.concatenate(word, parts)
                parts = []
        if parts:
            yield DrawingBlock.concatenate(word, parts)
        if source.position is not None:
            described[source.position] = _source_line(source.position, source.path)


class _Picker:
    """Chooses, class after class and block by block, which drawings stay, and in which split.

    Attributes:
        left_out: how many drawings were left out, by reason.
    """

    def __init__(self, rules: _Rules, held_out: "PreparedDataset | None", folder: Path) -> None:
        self.left_out: Counter[str] = Counter()
        self._rules, self._held_out, self._folder = rules, held_out, folder
        self._placed = KeySet(folder / "placed")

    def go_on(self, left_out: Mapping[str, int], placed: Iterable[NDArray[np.uint64]]) -> None:
        """Takes up what was chosen before: what was left out, and the key_ids of what was not."""
        self.left_out = Counter(left_out)
        if isinstance(self._rules.split, PositionSplit):
            for key_ids in placed:
                self._placed.add_new(key_ids)

    def begin(self, word: str) -> None:
        """Begins a class."""
        self._keys, self._hashes = KeySet(self._folder / "key_ids"), KeySet(self._folder / "strokes")
        self._away = self._held_out.key_ids_not_trained_on(word) if self._held_out else np.empty(0, np.uint64)
        self._n = 0  # of the class, before its split
        self._counts = np.zeros(len(SPLITS), dtype=np.int64)
        self._of_class: list[NDArray[np.uint64]] = []

    def pick(self, block: DrawingBlock) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint8]]:
        """Which drawings of the class's next block stay: their indices, key_ids and splits, (N,) each."""
        rules = self._rules
        keys = block.key_ids
        if rules.drop_duplicates or (keys == 0).any():
            hashes = _hash_drawings(block)
            keys = np.where(keys == 0, hashes, keys)
        keep = np.arange(len(block))
        if rules.recognized_only:
            keep = self._drop(keep, block.recognized == 1, "not recognized")
        keep = self._drop(keep, self._keys.add_new(keys[keep]), "repeated key_id")
        if rules.drop_duplicates:
            keep = self._drop(keep, self._hashes.add_new(hashes[keep]), "duplicate strokes")
        keep = self._drop(keep, ~is_among(keys[keep], self._away), "held out by another dataset")
        if isinstance(rules.split, PositionSplit):
            # A hash sends a drawing of two classes to one split, its positions in them do not.
            keep = self._drop(keep, ~self._placed.among(keys[keep]), "key_id of another class")
        if rules.limit is not None:
            keep = self._drop(keep, np.arange(len(keep)) < rules.limit - self._n, "over the limit")
        splits = rules.split.assign(keys[keep], self._n)
        self._n += len(keep)
        keep = self._drop(keep, np.arange(len(keep)) < len(splits), "beyond the split counts")
        self._counts += np.bincount(splits, minlength=len(SPLITS))
        if isinstance(rules.split, PositionSplit):
            self._of_class.append(keys[keep])
        return keep, keys[keep], splits

    def end(self) -> list[int]:
        """Ends a class; its drawings in each split."""
        self._placed.add_new(np.concatenate([np.empty(0, np.uint64), *self._of_class]))
        return [int(n) for n in self._counts]

    def _drop(self, keep: NDArray[np.int64], mask: NDArray[np.bool_], reason: str) -> NDArray[np.int64]:
        n = int(np.count_nonzero(mask))
        self.left_out[reason] += len(keep) - n
        return keep if n == len(keep) else keep[mask]


def _hash_drawings(block: DrawingBlock) -> NDArray[np.uint64]:
    out = np.empty(len(block), dtype=np.uint64)
    _hash_strokes(block.points, block.pen_up, block.offsets, out)
    return out


def _described(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}


class PreparedDataset:
    """A prepared dataset on disk, its arrays memory-mapped.

    Attributes:
        path: its folder.
        manifest: the parsed manifest.json.
        classes: the words, in the order of the labels.
        points, pen_up, offsets, labels, key_ids, splits: read-only arrays as the module's text describes.
    """

    def __init__(self, path: Path | str) -> None:
        """Opens a dataset and checks its manifest, the sizes of its files, and that its offsets and labels can be.

        Raises:
            DatasetError: no dataset there, a damaged manifest, a version this program does not know, array files
                whose sizes are not the manifest's, or whose contents point outside the others.
            ArgumentTypeError: `path` is no path.
        """
        self.path = expect_path(path, "path")
        self._absolute = self.path.absolute()  # for copies, which may be made in another working folder
        file = self.path / "manifest.json"
        try:
            text = file.read_bytes()
        except OSError as error:
            raise DatasetError(
                f"{self.path}: no prepared dataset there (manifest.json: {error.strerror}); make one with "
                f"`quickstroke prepare SOURCE... --into {self.path}`"
            ) from error
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()
        self.manifest = parse_manifest(text, file)
        _check_split(self.manifest, file)
        self.classes = tuple(self.manifest["classes"])
        arrays = {name: self._map(name) for name in ARRAYS}
        self.points, self.pen_up, self.offsets = arrays["points"], arrays["pen_up"], arrays["offsets"]
        self.labels, self.key_ids, self.splits = arrays["labels"], arrays["key_ids"], arrays["splits"]
        self._check_contents()

    def __getstate__(self) -> dict[str, Any]:
        """All but the arrays: a copy, in another process too, maps the same files."""
        kept = {key: value for key, value in vars(self).items() if key not in (*ARRAYS, "n_points")}
        return kept | {"path": self._absolute}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        vars(self).update((name, self._map(name)) for name in ARRAYS)

    def _map(self, name: str) -> NDArray[Any]:
        described = self.manifest["arrays"][name]
        path = self.path / f"{name}.bin"
        shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
        expected = math.prod(shape) * dtype.itemsize
        actual = path.stat().st_size if path.is_file() else 0
        if actual != expected:
            raise DatasetError(f"{path}: has {actual} bytes, its manifest says {expected}; prepare the dataset again")
        if expected == 0:
            return np.empty(shape, dtype)
        # A plain array over the map: subclass checks of np.memmap cost time in every slice.
        return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))

    def _check_contents(self) -> None:
        # What reads the points looks neither left nor right: a wrong offset would have it read other memory.
        n, n_points = len(self), len(self.points)
        counted = np.zeros(len(self.classes) * len(SPLITS), dtype=np.int64)
        offset, label = np.zeros(1, dtype=self.offsets.dtype), np.zeros(1, dtype=self.labels.dtype)
        ascends = self._read("offsets", 0, 1)[0] == 0
        for begin in range(0, n, _PIECE):
            end = min(begin + _PIECE, n)
            offsets = np.concatenate([offset, self._read("offsets", begin + 1, end + 1)])
            labels = np.concatenate([label, self._read("labels", begin, end)])
            splits = self._read("splits", begin, end)
            ascends = ascends and bool((offsets[1:] > offsets[:-1]).all())
            if (labels[1:] < labels[:-1]).any():
                raise DatasetError(f"{self.path / 'labels.bin'}: does not ascend; prepare it again")
            if labels[-1] >= len(self.classes):
                raise DatasetError(f"{self.path / 'labels.bin'}: has a label beyond its {len(self.classes)} classes")
            if splits.max() >= len(SPLITS):
                raise DatasetError(f"{self.path / 'splits.bin'}: has a split beyond its {len(SPLITS)}")
            if ascends and offsets[-1] <= n_points and not self._end_strokes(offsets.astype(np.int64)):
                raise DatasetError(f"{self.path / 'pen_up.bin'}: has a drawing whose last point ends no stroke")
            pairs = labels[1:].astype(np.int64) * len(SPLITS) + splits
            counted += np.bincount(pairs, minlength=len(counted))
            offset, label = offsets[-1:], labels[-1:]
        if not ascends or offset[0] != n_points:
            raise DatasetError(f"{self.path / 'offsets.bin'}: does not ascend from 0 to {n_points}; prepare it again")
        told = [[self.manifest["n_by_class"][word][split] for split in SPLITS] for word in self.classes]
        if counted.reshape(-1, len(SPLITS)).tolist() != told:
            raise DatasetError(
                f"{self.path}: labels.bin or splits.bin has other counts than the manifest; prepare it again"
            )

    def _end_strokes(self, offsets: NDArray[np.int64]) -> bool:
        """Whether the last point of each drawing ends a stroke, by `offsets` (N + 1,): compiled code looks for it."""
        first, ends = offsets[0] >> 3, offsets[1:] - 1
        bits = self._read("pen_up", first, (ends[-1] >> 3) + 1)
        return bool((bits[(ends >> 3) - first] >> (ends & 7).astype(np.uint8) & 1).all())

    def _read(self, name: str, begin: int, end: int) -> NDArray[Any]:
        """Elements `begin` to `end` of a flat array: from its file, so that nothing stays mapped."""
        dtype = np.dtype(self.manifest["arrays"][name]["dtype"])
        return np.fromfile(self.path / f"{name}.bin", dtype, end - begin, offset=begin * dtype.itemsize)

    def n_of(self, word: str) -> int:
        """How many drawings a word has, 0 if it is no class."""
        return sum(self.manifest["n_by_class"].get(word, {}).values())

    def _range(self, word: str) -> tuple[int, int]:
        """The indices, from and to, of a word's drawings."""
        label = self.classes.index(word) if word in self.classes else 0
        begin = sum(self.n_of(one) for one in self.classes[:label])
        return begin, begin + self.n_of(word)

    def blocks(self, word: str) -> Iterator[DrawingBlock]:
        """The drawings of a word as blocks, without what a dataset does not keep of them."""
        first, last = self._range(word)
        for begin in range(first, last, _PIECE):
            end = min(begin + _PIECE, last)
            offsets = self._read("offsets", begin, end + 1).astype(np.int64)
            at, n_points = int(offsets[0]), int(offsets[-1] - offsets[0])
            bits = np.unpackbits(self._read("pen_up", at >> 3, (at + n_points + 7) >> 3), bitorder="little")
            yield DrawingBlock(
                word=word,
                points=self._read("points", 2 * at, 2 * (at + n_points)).reshape(-1, 2),
                pen_up=bits[at & 7 : (at & 7) + n_points],
                offsets=offsets - at,
                key_ids=self._read("key_ids", begin, end),
                countrycodes=np.full((end - begin, 2), ord("Z"), dtype=np.uint8),
                timestamps_s=np.zeros(end - begin, dtype=np.uint32),
                recognized=np.ones(end - begin, dtype=np.uint8),
            )

    def key_ids_not_trained_on(self, word: str) -> NDArray[np.uint64]:
        """The ascending key_ids of a word's drawings in the splits `reserved`, `val` and `test`."""
        begin, end = self._range(word)
        key_ids, splits = self._read("key_ids", begin, end), self._read("splits", begin, end)
        return np.sort(key_ids[splits != SPLITS.index("train")])

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {n:,}" for name, n in self.n_by_split(self.classes).items() if n)
        return f"<PreparedDataset {self.path}: {len(self):,} drawings of {len(self.classes)} words; {splits}>"

    def split(
        self, name: str, config: ModelConfig | None = None, *, classes: Sequence[str] | None = None
    ) -> "SplitDataset":
        """The drawings of a split as a `torch.utils.data.Dataset` of `(points, label)`.

        Args:
            name: `reserved`, `train`, `val` or `test`.
            config: of the model that reads the points: its preprocessing and `max_padding` are taken. By default three
                columns (`seed3`) and at most 100 rows.
            classes: the words to take, in the order of the labels that come back; by default all of the dataset.

        Raises:
            DatasetError: the split is unknown or has no drawing of these classes.
            CategoryError: a word that the dataset has not.
            ArgumentTypeError: an argument of another type.
            MissingExtra: PyTorch is not installed.
        """
        try:
            from quickstroke.torch_data import SplitDataset
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise MissingExtra("PreparedDataset.split", "torch") from error
        return SplitDataset(self, name, config, classes)

    @cached_property
    def n_points(self) -> NDArray[np.int32]:
        """Points of each drawing, int32 (N,)."""
        return np.diff(self.offsets).astype(np.int32)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Indices of the drawings of a split, ascending: by class, then in source order.

        Raises:
            DatasetError: the split is unknown or has no drawing.
        """
        if not isinstance(split, str) or split not in SPLITS:
            raise DatasetError(f"no split {shown(split)}; expected {', '.join(SPLITS)}")
        found = np.flatnonzero(self.splits == SPLITS.index(split))
        if not len(found):
            have = ", ".join(f"{name} {n}" for name, n in self.manifest["n_by_split"].items() if n)
            raise DatasetError(f"{self.path}: no drawing in split {split!r}; it has {have}")
        return found

    def strokes(self, index: int) -> list[NDArray[np.uint8]]:
        """The strokes, uint8 (n, 2), of one drawing.

        Raises:
            IndexError: `index` is not from 0 to below the number of drawings.
            ArgumentTypeError: `index` is no whole number.
        """
        expect(index, (int, np.integer), "index", "a whole number")
        if not 0 <= index < len(self):
            raise IndexError(f"no drawing {index}: there are {len(self)}")
        begin, end = int(self.offsets[index]), int(self.offsets[index + 1])
        bits = np.unpackbits(self.pen_up[begin >> 3 : (end + 7) >> 3], bitorder="little")
        first = begin - (begin >> 3 << 3)
        pen_up = bits[first : first + end - begin]
        return split_strokes(self.points[begin:end], pen_up)

    def n_trained(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Training drawings of each of some classes that it has, int64 (K,)."""
        return np.array([self.manifest["n_by_class"][word]["train"] for word in classes], dtype=np.int64)

    def n_by_split(self, classes: Sequence[str]) -> dict[str, int]:
        """How many drawings it has of some words, or of those of them that it has, in each split."""
        of_words = [self.manifest["n_by_class"][word] for word in classes if word in self.classes]
        return {split: sum(n[split] for n in of_words) for split in self.manifest["n_by_split"]}

    def label_map(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """For each label of this dataset its index in `classes`, or -1 where `classes` lacks the word."""
        position = {word: i for i, word in enumerate(classes)}
        return np.array([position.get(word, -1) for word in self.classes], dtype=np.int64)

    def verify(self) -> None:
        """Reads everything and compares it with the hashes of the manifest.

        Raises:
            DatasetError: a file that is not what was prepared.
        """
        for name in ARRAYS:
            path = self.path / f"{name}.bin"
            if sha256_of(path) != self.manifest["arrays"][name]["sha256"]:
                raise DatasetError(f"{path}: its contents are not those that were prepared; prepare the dataset again")


def from_drawings(drawings: Iterable[Drawing], classes: Sequence[str]) -> tuple["MemoryDataset", Counter[str]]:
    """Drawings in memory, as a dataset that can be evaluated; raw ones are simplified.

    Returns:
        The dataset, ordered by label, then as given; and how many drawings of each other word were left out.

    Raises:
        FormatError: a drawing without strokes, or with strokes that are no (n, 2) arrays.
    """
    position = {word: i for i, word in enumerate(classes)}
    left_out: Counter[str] = Counter()
    kept: list[tuple[int, list[NDArray[np.uint8]]]] = []
    for drawing in drawings:
        if drawing.word in position:
            strokes = simplified_strokes(drawing)
            check_simplified(dataclasses.replace(drawing, strokes=strokes))
            kept.append((position[drawing.word], strokes))
        else:
            left_out[drawing.word] += 1
    kept.sort(key=lambda item: item[0])
    return MemoryDataset(tuple(classes), kept), left_out


class MemoryDataset:
    """Labelled drawings in memory, with the arrays that a PreparedDataset has."""

    def __init__(self, classes: tuple[str, ...], drawings: Sequence[tuple[int, list[NDArray[np.uint8]]]]) -> None:
        self.classes = classes
        strokes = [stroke for _, drawing in drawings for stroke in drawing]
        lengths = [sum(len(stroke) for stroke in drawing) for _, drawing in drawings]
        self.labels = np.array([label for label, _ in drawings], dtype=np.uint16)
        self.points = np.concatenate([np.empty((0, 2), np.uint8), *strokes])
        pen_up = np.zeros(len(self.points), dtype=np.uint8)
        pen_up[np.cumsum([len(stroke) for stroke in strokes], dtype=np.int64) - 1] = 1
        self.pen_up = np.packbits(pen_up, bitorder="little")
        self.offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.uint64)
        self.n_points = np.array(lengths, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.labels)


def first_points(data: Drawings, indices: NDArray[np.int64], fraction: float) -> "Excerpt":
    """The drawings `indices` (N,) when so much of them was drawn: a fraction of their points, rounded up.

    The last of these ends a stroke: a program that asks what it is while somebody draws sends the stroke so far.
    """
    n_points = np.maximum(np.ceil(data.n_points[indices] * fraction), 1).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(n_points, dtype=np.int64)])
    begins = data.offsets[indices].astype(np.int64)
    at = np.repeat(begins - offsets[:-1], n_points) + np.arange(offsets[-1])
    pen_up = data.pen_up[at >> 3] >> (at & 7).astype(np.uint8) & 1
    pen_up[offsets[1:] - 1] = 1
    packed = np.packbits(pen_up, bitorder="little")
    return Excerpt(data.points[at], packed, offsets.astype(np.uint64), data.labels[indices], n_points)


class Excerpt(NamedTuple):
    """Some drawings, as arrays that a PreparedDataset has."""

    points: NDArray[np.uint8]
    pen_up: NDArray[np.uint8]
    offsets: NDArray[Any]
    labels: NDArray[np.uint16]
    n_points: NDArray[np.int32]
