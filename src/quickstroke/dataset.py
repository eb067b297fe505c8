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

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numba
import numpy as np
from numpy.typing import NDArray

from quickstroke import formats
from quickstroke.batches import Drawings
from quickstroke.categories import CATEGORIES, check_classes, closest_words
from quickstroke.drawing import UNKNOWN_COUNTRY, Drawing, DrawingBlock, check_simplified, split_strokes
from quickstroke.errors import CategoryError, ConfigError, DatasetError, FormatError
from quickstroke.files import n_cores, sha256_of, write_text
from quickstroke.formats import binary
from quickstroke.simplification import simplify

FORMAT = "quickstroke prepared dataset"
VERSION = 1
SPLITS = ("reserved", "train", "val", "test")

# From so many points on, offsets are uint64.
_WIDE_POINTS = 2**32

# Words whose drawings are read before their turn: in the whole of Quick, Draw! each has some 150,000, of 150 bytes.
_MAX_AHEAD = 4

# Files that a source's words are brought to are kept open; an operating system allows few.
_MAX_OPEN_FILES = 200

_ARRAYS: dict[str, tuple[str, ...]] = {
    "points": ("<u1",),
    "pen_up": ("<u1",),
    "offsets": ("<u4", "<u8"),
    "labels": ("<u2",),
    "key_ids": ("<u8",),
    "splits": ("<u1",),
}


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
        if not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > 1e-9:
            raise ConfigError(
                f"fractions should be three numbers from 0 to 1 (train, val, test) that add up to 1, got {values}"
            )

    def assign(self, key_ids: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """The split (N,) of each drawing, an index into SPLITS."""
        position = _splitmix64(key_ids) / 2.0**64
        bounds = np.cumsum([self.train, self.val])
        # A split of fraction 0 gets nothing, whatever the rounding of the sums.
        parts = [i for i, part in enumerate((self.train, self.val, self.test), start=1) if part > 0]
        taken = np.array([i if i in parts else parts[-1] for i in range(1, 4)], dtype=np.uint8)
        return taken[np.searchsorted(bounds, position, side="right")]

    def shortage(self, counts: Sequence[int]) -> str:
        """What a class with `counts` drawings a split lacks, empty if nothing."""
        return "asked for at least one to train on" if self.train and not counts[1] else ""


@dataclass(frozen=True, slots=True)
class PositionSplit:
    """Of each class's drawings in source order, so many are reserved, then train, validate and test."""

    n_train: int
    n_val: int
    n_test: int
    n_test_reserved: int = 0

    def __post_init__(self) -> None:
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

    def assign(self, key_ids: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """The split (N,) of the first `total` drawings, an index into SPLITS."""
        return np.repeat(np.arange(4, dtype=np.uint8), self.counts)[: len(key_ids)]

    def shortage(self, counts: Sequence[int]) -> str:
        """What a class with `counts` drawings a split lacks, empty if nothing."""
        if sum(counts) == self.total:
            return ""
        asked = " + ".join(f"{n} {name}" for name, n in zip(SPLITS, self.counts, strict=True) if n)
        return f"asked for {self.total} ({asked})"


@numba.njit(cache=True, nogil=True)
def _hash_strokes(points: Any, pen_up: Any, offsets: Any, out: Any) -> None:
    """FNV-1a over the bytes of each drawing's points and pen flags, with the top bit set."""
    for i in range(out.size):
        value = np.uint64(0xCBF29CE484222325)
        for p in range(offsets[i], offsets[i + 1]):
            for byte in (np.uint64(points[p, 0]), np.uint64(points[p, 1]), np.uint64(pen_up[p])):
                value = (value ^ byte) * np.uint64(0x100000001B3)
        out[i] = value | np.uint64(1 << 63)


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014): evenly spread 64 bits."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made: the folder, drawings a split, and drawings left out by reason."""

    path: Path
    n: int
    n_classes: int
    splits: dict[str, int]
    left_out: dict[str, int]
    ignored_files: tuple[str, ...]


def prepare(
    sources: Sequence[Path | str] | Path | str,
    into: Path | str,
    *,
    classes: Sequence[str] | None = None,
    split: FractionSplit | PositionSplit | None = None,
    limit: int | None = None,
    recognized_only: bool = False,
    drop_duplicates: bool = False,
    held_out: Path | str | None = None,
    on_class: Callable[[str, int, int], None] = lambda word, done, total: None,
) -> Prepared:
    """Brings drawing files of any format into one prepared dataset; raw drawings are simplified.

    Args:
        sources: files, folders or glob patterns, as `formats.find_sources`.
        into: the folder to make; it must not exist yet, and appears only once it is whole.
        classes: the words to take, in the order of their labels; by default all words found, sorted.
        split: the split rule; by default fractions of 0.8, 0.1 and 0.1.
        limit: take the first so many drawings of each class, counted after everything else that leaves drawings out.
        recognized_only: leave out what the game did not recognise.
        drop_duplicates: leave out drawings whose strokes the class has already.
        held_out: another prepared dataset, whose drawings of the splits `reserved`, `val` and `test` are left out (by
            word and key_id), so that what is trained here can be scored there.
        on_class: called with (word, classes done, classes in all) after each class.

    A drawing whose key_id the class has already is always left out, and with a split by position also one whose
    key_id another class has: no drawing is in two splits.

    Raises:
        FormatError: a source that is missing or breaks its format.
        CategoryError: a class twice, or one that no source has.
        DatasetError: the folder exists, or classes with too few drawings: each, with what it has and what was asked.
        ConfigError: an impossible split or limit.
    """
    split = split or FractionSplit()
    into = Path(into)
    if limit is not None and limit < 1:
        raise ConfigError(f"limit should be 1 or more, got {limit}")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise DatasetError(f"{into}: exists already; prepare into a new folder, or remove this one first")
    kept_away = _held_out(held_out) if held_out is not None else {}
    found = formats.find_sources(sources)
    wanted = check_classes(classes, "classes") if classes is not None else None
    into.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".tmp", dir=into.parent))
    writer = _Writer(work)
    try:
        left_out: Counter[str] = Counter()
        by_word = _by_word(found.files, wanted, work / "by_word", left_out)
        if wanted is None:
            wanted = tuple(sorted(by_word))
        _check_found(wanted, by_word)
        if len(wanted) > 2**16:
            raise DatasetError(f"{len(wanted)} classes are more than the {2**16} that a dataset can hold")
        per_class: dict[str, dict[str, int]] = {}
        too_few: list[str] = []
        placed = np.empty(0, dtype=np.uint64)  # sorted key_ids
        for label, (word, block) in enumerate(_blocks(wanted, by_word)):
            keys = block.key_ids
            if drop_duplicates or (keys == 0).any():
                hashes = _hash_drawings(block)
                keys = np.where(keys == 0, hashes, keys)
            keep = np.arange(len(block))
            if recognized_only:
                keep = _drop(keep, block.recognized == 1, "not recognized", left_out)
            keep = _drop(keep, _first(keys[keep]), "repeated key_id", left_out)
            if drop_duplicates:
                keep = _drop(keep, _first(hashes[keep]), "duplicate strokes", left_out)
            if word in kept_away:
                keep = _drop(keep, ~_among(keys[keep], kept_away[word]), "held out by another dataset", left_out)
            if isinstance(split, PositionSplit):
                # A hash sends a drawing of two classes to one split, its positions in them do not.
                keep = _drop(keep, ~_among(keys[keep], placed), "key_id of another class", left_out)
            if limit is not None:
                keep = _drop(keep, np.arange(len(keep)) < limit, "over the limit", left_out)
            key_ids = keys[keep]
            assigned = split.assign(key_ids)
            counts = np.bincount(assigned, minlength=len(SPLITS))
            shortage = split.shortage(counts.tolist())
            if shortage:
                too_few.append(f"{word} has {len(keep)}, {shortage}")
            elif not too_few:
                left_out["beyond the split counts"] += len(keep) - len(assigned)
                writer.append(label, block, keep[: len(assigned)], key_ids[: len(assigned)], assigned)
                per_class[word] = dict(zip(SPLITS, counts.tolist(), strict=True))
            if isinstance(split, PositionSplit):
                # Two ascending runs, which a stable sort merges.
                runs = [placed, np.sort(key_ids[: len(assigned)])]
                placed = np.sort(np.concatenate(runs), kind="stable")
            on_class(word, label + 1, len(wanted))
        if too_few:
            raise DatasetError("too few drawings: " + "; ".join(too_few))
        shutil.rmtree(work / "by_word", ignore_errors=True)
        arrays = writer.finish()
        totals = {name: sum(counts[name] for counts in per_class.values()) for name in SPLITS}
        reasons = {reason: n for reason, n in sorted(left_out.items()) if n}
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "n": sum(totals.values()),
            "classes": list(wanted),
            "split": _split_to_json(split),
            "n_by_split": totals,
            "n_by_class": per_class,
            "left_out": reasons,
            "options": {
                "limit": limit,
                "recognized_only": recognized_only,
                "drop_duplicates": drop_duplicates,
                **({"held_out": PreparedDataset(held_out).manifest_sha256} if held_out is not None else {}),
            },
            "sources": _described(found.files),
            "arrays": arrays,
        }
        write_text(work / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        if into.exists():
            into.rmdir()
        work.chmod(0o755)
        work.rename(into)
    except BaseException as error:
        with contextlib.suppress(OSError):
            writer.close()
        shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(into)  # a full disk names no file
        raise
    ignored = tuple(path.name for path in found.ignored)
    return Prepared(into, sum(totals.values()), len(wanted), totals, reasons, ignored)


def _held_out(path: Path | str) -> dict[str, NDArray[np.uint64]]:
    """For each word of a prepared dataset the ascending key_ids that it does not train on."""
    data = PreparedDataset(path)
    away = np.flatnonzero(data.splits != SPLITS.index("train"))
    labels, keys = data.labels[away], data.key_ids[away]
    return {word: np.sort(keys[labels == label]) for label, word in enumerate(data.classes)}


def _by_word(
    files: Sequence[Path], wanted: Sequence[str] | None, spill: Path, left_out: Counter[str]
) -> dict[str, list[Path]]:
    """For each word, the binary files that hold its drawings, in source order.

    Files that are not binary are brought to that form first, a file a word, so that memory stays bounded.
    """
    by_word: dict[str, list[Path]] = {}
    takes = None if wanted is None else set(wanted)
    for position, path in enumerate(files):
        if path.name.encode("utf-8", "replace").decode() != path.name:
            raise FormatError("its name is no UTF-8 text, which a manifest needs", path)
        if (formats.ending_of(path) or "").startswith(".bin"):
            word = formats.word_of(path)
            if not word:
                raise FormatError("its name gives no word; expected <word>.bin", path)
            if takes is None or word in takes:
                by_word.setdefault(word, []).append(path)
            else:
                left_out["other words"] += binary.count(path)
            continue
        spill.mkdir(exist_ok=True)
        targets: dict[str, Path] = {}
        writers: dict[str, IO[bytes]] = {}
        try:
            for number, drawing in enumerate(formats.read_file(path), start=1):
                if not drawing.word:
                    raise FormatError(f"drawing {number} has no word; a dataset needs one for each", path)
                if takes is not None and drawing.word not in takes:
                    left_out["other words"] += 1
                    continue
                if drawing.word not in targets:
                    targets[drawing.word] = spill / f"{position}-{len(targets)}.bin"
                    by_word.setdefault(drawing.word, []).append(targets[drawing.word])
                if drawing.word not in writers:
                    if len(writers) == _MAX_OPEN_FILES:
                        writers.pop(next(iter(writers))).close()
                    writers[drawing.word] = targets[drawing.word].open("ab")
                try:
                    writers[drawing.word].write(binary.encode(_as_prepared(drawing)))
                except FormatError as error:
                    raise FormatError(f"drawing {number}: {error.reason}", path) from error
        finally:
            for writer in writers.values():
                writer.close()
    return by_word


def _as_prepared(drawing: Drawing) -> Drawing:
    """The drawing simplified, with what a dataset keeps of it: no country or time that a binary file cannot hold."""
    strokes = _simplified_strokes(drawing)
    return dataclasses.replace(drawing, strokes=strokes, countrycode=UNKNOWN_COUNTRY, timestamp_us=0, times_ms=None)


def _simplified_strokes(drawing: Drawing) -> list[NDArray[np.uint8]]:
    if drawing.is_simplified:
        return cast(list[NDArray[np.uint8]], list(drawing.strokes))
    return simplify(drawing.strokes)


def _check_found(wanted: Sequence[str], by_word: dict[str, Any]) -> None:
    missing = [word for word in wanted if word not in by_word]
    if not wanted:
        raise DatasetError("the sources hold no drawing")
    if missing:
        hints = [
            repr(word) if word in CATEGORIES else f"{word!r} (not a Quick, Draw! category{closest_words(word)})"
            for word in missing
        ]
        raise CategoryError(f"the sources have no drawings of {', '.join(hints)}; words they have: {len(by_word)}")


def _blocks(words: Sequence[str], by_word: dict[str, list[Path]]) -> Iterator[tuple[str, DrawingBlock]]:
    """Each word with all its drawings, read ahead by as many threads as there are cores, a few words at most."""
    n_threads = min(n_cores(), _MAX_AHEAD)
    if n_threads == 1:
        yield from ((word, _concatenate(word, by_word[word])) for word in words)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        ahead = deque[Future[DrawingBlock]]()
        todo = iter(words)
        try:
            for word in words:
                for following in islice(todo, n_threads + 1 - len(ahead)):
                    ahead.append(pool.submit(_concatenate, following, by_word[following]))
                yield word, ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _concatenate(word: str, files: Iterable[Path]) -> DrawingBlock:
    blocks = [block for path in files for block in binary.read_blocks(path, word)]
    return blocks[0] if len(blocks) == 1 else DrawingBlock.concatenate(word, blocks)


def _hash_drawings(block: DrawingBlock) -> NDArray[np.uint64]:
    out = np.empty(len(block), dtype=np.uint64)
    _hash_strokes(block.points, block.pen_up, block.offsets, out)
    return out


def _first(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value appears for the first time."""
    ascending = np.sort(values)
    if not (ascending[1:] == ascending[:-1]).any():  # as nearly always, and found out in a fifth of the time
        return np.ones(len(values), dtype=bool)
    first = np.zeros(len(values), dtype=bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _among(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.equal(ascending[at], values)


def _drop(keep: NDArray[np.int64], mask: NDArray[np.bool_], reason: str, left_out: Counter[str]) -> NDArray[np.int64]:
    left_out[reason] += len(keep) - int(mask.sum())
    return keep[mask]


def _split_to_json(split: FractionSplit | PositionSplit) -> dict[str, Any]:
    rule = "hash of key_id" if isinstance(split, FractionSplit) else "position"
    return {"rule": rule, **asdict(split)}


def _described(paths: Sequence[Path]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(_source, paths))


def _source(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}


class _Writer:
    """Appends the drawings of one class after the other to the array files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {name: (folder / f"{name}.bin").open("wb") for name in _ARRAYS}
        self._write("offsets", np.zeros(1, "<u8"))
        self._n_points = 0
        self._n = 0
        self._bits = np.empty(0, dtype=np.uint8)  # fewer than eight pen flags that do not fill a byte yet

    def append(
        self,
        label: int,
        block: DrawingBlock,
        keep: NDArray[np.int64],
        key_ids: NDArray[np.uint64],
        splits: NDArray[np.uint8],
    ) -> None:
        points, pen_up = block.points, block.pen_up
        lengths = np.diff(block.offsets)
        if len(keep) < len(block):
            kept = np.zeros(len(block), dtype=bool)
            kept[keep] = True
            rows = np.repeat(kept, lengths)
            points, pen_up, lengths = points[rows], pen_up[rows], lengths[keep]
        ends = self._n_points + np.cumsum(lengths)
        bits = np.concatenate([self._bits, pen_up])
        whole = len(bits) // 8 * 8
        self._bits = bits[whole:]
        for name, data in (
            ("points", points),
            ("pen_up", np.packbits(bits[:whole], bitorder="little")),
            ("offsets", ends.astype("<u8")),
            ("labels", np.full(len(keep), label, dtype="<u2")),
            ("key_ids", key_ids.astype("<u8")),
            ("splits", splits),
        ):
            self._write(name, data)
        self._n_points += len(points)
        self._n += len(keep)

    def finish(self) -> dict[str, dict[str, Any]]:
        """Brings everything to the disk and tells the type, shape and hash of each file."""
        self._write("pen_up", np.packbits(self._bits, bitorder="little"))
        wide = self._n_points >= _WIDE_POINTS
        self.close()
        if not wide:
            path = self._folder / "offsets.bin"
            np.fromfile(path, "<u8").astype("<u4").tofile(path)
        for name in _ARRAYS:
            with (self._folder / f"{name}.bin").open("rb+") as file:
                os.fsync(file.fileno())
        shapes = {
            "points": (self._n_points, 2),
            "pen_up": ((self._n_points + 7) // 8,),
            "offsets": (self._n + 1,),
            "labels": (self._n,),
            "key_ids": (self._n,),
            "splits": (self._n,),
        }
        arrays = {}
        files = _described([self._folder / f"{name}.bin" for name in _ARRAYS])
        for (name, dtypes), described in zip(_ARRAYS.items(), files, strict=True):
            dtype = dtypes[-1] if wide else dtypes[0]
            arrays[name] = {"dtype": dtype, "shape": list(shapes[name]), "sha256": described["sha256"]}
        return arrays

    def close(self) -> None:
        """Closes the files; nothing can be appended any more."""
        for file in self._files.values():
            file.close()

    def _write(self, name: str, data: NDArray[Any]) -> None:
        self._files[name].write(np.ascontiguousarray(data).data)


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
        """
        self.path = Path(path)
        file = self.path / "manifest.json"
        try:
            text = file.read_bytes()
        except OSError as error:
            raise DatasetError(
                f"{self.path}: no prepared dataset there (manifest.json: {error.strerror}); make one with "
                f"`quickstroke prepare SOURCE... --into {self.path}`"
            ) from error
        self.manifest_sha256 = hashlib.sha256(text).hexdigest()
        try:
            self.manifest: dict[str, Any] = json.loads(text)
            if self.manifest["format"] != FORMAT:
                raise DatasetError(f"{file}: not the manifest of a prepared dataset")
            if self.manifest["version"] != VERSION:
                raise DatasetError(
                    f"{file}: version {self.manifest['version']}, this program reads version {VERSION}; "
                    "prepare it again, or use a newer quickstroke"
                )
            if not isinstance(self.manifest["classes"], list):
                raise TypeError("classes should be a list")
            self.classes = check_classes(self.manifest["classes"], "classes")
            arrays = {name: self._map(name, dtypes) for name, dtypes in _ARRAYS.items()}
        except DatasetError:
            raise
        except Exception as error:  # a manifest with any value in any place raises anything
            raise DatasetError(f"{file}: damaged manifest ({type(error).__name__}: {error})") from error
        self.points, self.pen_up, self.offsets = arrays["points"], arrays["pen_up"], arrays["offsets"]
        self.labels, self.key_ids, self.splits = arrays["labels"], arrays["key_ids"], arrays["splits"]
        self._check_contents()

    def _map(self, name: str, dtypes: tuple[str, ...]) -> NDArray[Any]:
        described = self.manifest["arrays"][name]
        path = self.path / f"{name}.bin"
        if described["dtype"] not in dtypes:
            raise ValueError(f"{name} has dtype {described['dtype']!r}, expected {' or '.join(dtypes)}")
        shape = tuple(int(side) for side in described["shape"])
        dtype = np.dtype(described["dtype"])
        expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        actual = path.stat().st_size if path.exists() else 0
        if actual != expected:
            raise DatasetError(f"{path}: has {actual} bytes, its manifest says {expected}; prepare the dataset again")
        if expected == 0:
            return np.empty(shape, dtype)
        # A plain array over the map: subclass checks of np.memmap cost time in every slice.
        return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))

    def _check_contents(self) -> None:
        # What reads the points looks neither left nor right: a wrong offset would have it read other memory.
        n, n_points = len(self), len(self.points)
        shapes = [array.shape for array in (self.points, self.pen_up, self.offsets, self.key_ids, self.splits)]
        if shapes != [(n_points, 2), ((n_points + 7) // 8,), (n + 1,), (n,), (n,)]:
            raise DatasetError(f"{self.path}: its arrays do not fit each other; prepare the dataset again")
        if self.offsets[0] != 0 or self.offsets[-1] != n_points or (self.offsets[1:] <= self.offsets[:-1]).any():
            raise DatasetError(f"{self.path / 'offsets.bin'}: does not ascend from 0 to {n_points}; prepare it again")
        if n and self.labels.max() >= len(self.classes):
            raise DatasetError(f"{self.path / 'labels.bin'}: has a label beyond its {len(self.classes)} classes")
        if n and self.splits.max() >= len(SPLITS):
            raise DatasetError(f"{self.path / 'splits.bin'}: has a split beyond its {len(SPLITS)}")
        pairs = self.labels.astype(np.int64) * len(SPLITS) + self.splits
        counted = np.bincount(pairs, minlength=len(self.classes) * len(SPLITS)).reshape(-1, len(SPLITS))
        told = [[self.manifest["n_by_class"][word][split] for split in SPLITS] for word in self.classes]
        if counted.tolist() != told:
            raise DatasetError(
                f"{self.path}: labels.bin or splits.bin has other counts than the manifest; prepare it again"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def n_points(self) -> NDArray[np.int32]:
        """Points of each drawing, int32 (N,)."""
        return np.diff(self.offsets).astype(np.int32)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Indices of the drawings of a split, ascending: by class, then in source order.

        Raises:
            DatasetError: the split is unknown or has no drawing.
        """
        if split not in SPLITS:
            raise DatasetError(f"no split {split!r}; expected {', '.join(SPLITS)}")
        found = np.flatnonzero(self.splits == SPLITS.index(split))
        if not len(found):
            have = ", ".join(f"{name} {n}" for name, n in self.manifest["n_by_split"].items() if n)
            raise DatasetError(f"{self.path}: no drawing in split {split!r}; it has {have}")
        return found

    def strokes(self, index: int) -> list[NDArray[np.uint8]]:
        """The strokes, uint8 (n, 2), of one drawing.

        Raises:
            IndexError: `index` is not from 0 to below the number of drawings.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"no drawing {index}: there are {len(self)}")
        begin, end = int(self.offsets[index]), int(self.offsets[index + 1])
        bits = np.unpackbits(self.pen_up[begin >> 3 : (end + 7) >> 3], bitorder="little")
        first = begin - (begin >> 3 << 3)
        pen_up = bits[first : first + end - begin]
        return split_strokes(self.points[begin:end], pen_up)

    def label_map(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """For each label of this dataset its index in `classes`, or -1 where `classes` lacks the word."""
        position = {word: i for i, word in enumerate(classes)}
        return np.array([position.get(word, -1) for word in self.classes], dtype=np.int64)

    def verify(self) -> None:
        """Reads everything and compares it with the hashes of the manifest.

        Raises:
            DatasetError: a file that is not what was prepared.
        """
        for name, described in self.manifest["arrays"].items():
            path = self.path / f"{name}.bin"
            if _source(path)["sha256"] != described["sha256"]:
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
            strokes = _simplified_strokes(drawing)
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
