"""The sources of a dataset: the drawings of each word, read ahead a block at a time."""

import shutil
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from quickstroke import formats
from quickstroke.drawings.categories import CATEGORIES, closest_words, unprintable
from quickstroke.drawings.drawing import DrawingBlock
from quickstroke.errors import CategoryError, DatasetError, FormatError, OnInvalid
from quickstroke.formats import binary
from quickstroke.preparation.convert import Converted, Converter
from quickstroke.preparation.journal import Preparation
from quickstroke.utils.files import sha256_of
from quickstroke.utils.system import n_cores

# Words whose first drawings are read before their turn.
_MAX_AHEAD = 4
# Files that are converted at a time.
_MAX_AT_A_TIME = 3
# Wrong files that an error names.
_MOST_TOLD = 10
# Points of a block: enough that what is done once a block does not matter.
_BLOCK_POINTS = 1 << 21


# Drawings, and the split that all of them go to, None where the split rule decides.
Block = tuple[DrawingBlock, str | None]


class Source(NamedTuple):
    """A binary file with drawings of one word; `position` is None where it was converted from another source, `split`
    where the split rule decides where its drawings go."""

    path: Path
    position: int | None
    split: str | None


def check_unchanged(preparation: Preparation, files: Sequence[Path]) -> None:
    """Raises DatasetError where a source that is done is not any more what it was."""
    for position, line in preparation.sources.items():
        path, stat = files[position], files[position].stat()
        if (stat.st_size, stat.st_mtime_ns) != (line["bytes"], line["mtime_ns"]) and described(path) != {
            key: line[key] for key in ("name", "bytes", "sha256")
        }:
            raise DatasetError(
                f"{path}: is not what it was when the preparation of {preparation.into} began; "
                f"remove {preparation.folder} to start anew"
            )


def sources_by_word(
    files: Sequence[Path],
    splits: Sequence[str | None],
    wanted: Sequence[str] | None,
    layout: str,
    preparation: Preparation,
    on_source: Callable[[str, int, int], None],
    on_invalid: OnInvalid,
) -> dict[str, list[Source]]:
    """For each word, the binary files that hold its drawings, in source order; `splits` has the `Source.split` of each
    file.

    Files that are not binary are converted first, a file a word, so that memory stays bounded; drawings of other
    words are counted.
    """
    as_it_is = _as_they_are(files, None if wanted is None else set(wanted))
    others = [position for position in range(len(files)) if position not in as_it_is]
    _convert_all(files, others, Converter(wanted, layout, on_invalid), preparation, on_source)
    by_word: dict[str, list[Source]] = {}
    for position, (path, split) in enumerate(zip(files, splits, strict=True)):
        if position in as_it_is:
            by_word.setdefault(formats.word_of(path), []).append(Source(path, position, split))
            continue
        for i, word in enumerate(preparation.sources[position]["words"]):
            converted = preparation.folder_of_source(position) / f"{i}.bin"
            by_word.setdefault(word, []).append(Source(converted, None, split))
    return by_word


def _as_they_are(files: Sequence[Path], takes: Container[str] | None) -> set[int]:
    """The positions of the binary files of words that are taken, which need no conversion; None takes all words."""
    found: set[int] = set()
    for position, path in enumerate(files):
        ending, word = formats.ending_of(path) or "", formats.word_of(path)
        if ending.startswith((".bin", ".npz")) and takes is None and (reason := unprintable(word)):
            raise FormatError(f"its name gives the word {word!r:.60}; that {reason}", path)
        if ending.startswith(".bin"):
            if not word:
                raise FormatError("its name gives no word; expected <word>.bin", path)
            if takes is None or word in takes:
                found.add(position)
    return found


def _convert_all(
    files: Sequence[Path],
    positions: Sequence[int],
    converter: Converter,
    preparation: Preparation,
    on_source: Callable[[str, int, int], None],
) -> None:
    """Converts the files at some positions, and notes of each which words it had.

    Raises:
        FormatError: a file that is wrong; of files of one drawing each, all that are.
    """
    wrong: dict[int, FormatError] = {}
    with ThreadPoolExecutor(min(n_cores(), _MAX_AT_A_TIME)) as pool:
        futures = {
            pool.submit(_convert, position, files[position], preparation, converter): position for position in positions
        }
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                try:
                    line = future.result()
                except FormatError as error:
                    position = futures[future]
                    # A folder of pictures is mended once, not a picture at a time.
                    if not formats.is_single(files[position]):
                        raise
                    wrong[position] = error
                    continue
                if line is not preparation.sources.get(line["source"]):
                    preparation.note(**line)
                on_source(line["name"], done, len(positions))
        finally:
            converter.stop()
            pool.shutdown(cancel_futures=True)
    errors = [error for _, error in sorted(wrong.items())]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        told = "; ".join(map(str, errors[:_MOST_TOLD])) + "; ..." * (len(errors) > _MOST_TOLD)
        raise FormatError(f"{len(errors)} files cannot be read: {told}")


def _convert(position: int, path: Path, preparation: Preparation, converter: Converter) -> dict[str, Any]:
    """Converts a source that is no binary file of a class, unless that is done; its journal line."""
    folder = preparation.folder_of_source(position)
    line = preparation.sources.get(position)
    if line is not None and all(
        (folder / f"{i}.bin").is_file() and sha256_of(folder / f"{i}.bin") == sha256
        for i, sha256 in enumerate(line["words"].values())
    ):
        return line
    if (formats.ending_of(path) or "").startswith(".bin"):
        converted = Converted({}, binary.count(path))
    else:
        shutil.rmtree(folder, ignore_errors=True)
        converted = converter.convert(path, folder)
    return _source_line(position, path) | asdict(converted)


def _source_line(position: int, path: Path) -> dict[str, Any]:
    """The journal's description of any source; by its size and time an unchanged one is known without being read."""
    return {"source": position, **described(path), "mtime_ns": path.stat().st_mtime_ns}


def check_found(wanted: Sequence[str], by_word: Mapping[str, Any]) -> None:
    missing = [word for word in wanted if word not in by_word]
    if not wanted:
        raise DatasetError("the sources hold no drawing")
    if missing:
        hints = [
            repr(word) if word in CATEGORIES else f"{word!r} (not a Quick, Draw! category{closest_words(word)})"
            for word in missing
        ]
        raise CategoryError(f"the sources have no drawings of {', '.join(hints)}")


def blocks_ahead(
    words: Sequence[str],
    by_word: Mapping[str, Sequence[Source]],
    read: dict[int, dict[str, Any]],
) -> Iterator[tuple[str, Iterator[Block]]]:
    """Each word with its drawings, a block at a time; the next block of each of a few words is read ahead by threads.

    What a journal says of a binary source is in `read`, by its position, once its last block has come.
    """
    n_threads = min(n_cores(), _MAX_AHEAD)
    with ThreadPoolExecutor(n_threads) as pool:

        def rest(blocks: Iterator[Block], coming: Future[Block | None]) -> Iterator[Block]:
            while (block := coming.result()) is not None:
                coming = pool.submit(next, blocks, None)
                yield block

        ahead = deque[tuple[Iterator[Block], Future[Block | None]]]()
        todo = iter(words)
        try:
            for word in words:
                while len(ahead) <= n_threads and (following := next(todo, None)) is not None:
                    blocks = _read(following, by_word[following], read)
                    ahead.append((blocks, pool.submit(next, blocks, None)))
                yield word, rest(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _read(word: str, sources: Sequence[Source], read: dict[int, dict[str, Any]]) -> Iterator[Block]:
    for source in sources:
        parts: list[DrawingBlock] = []
        for part in binary.read_blocks(source.path, word):
            parts.append(part)
            if sum(len(part.points) for part in parts) >= _BLOCK_POINTS:
                yield DrawingBlock.concatenate(parts), source.split
                parts = []
        if parts:
            yield DrawingBlock.concatenate(parts), source.split
        if source.position is not None:
            read[source.position] = _source_line(source.position, source.path)


def described(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
