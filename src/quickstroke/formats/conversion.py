"""Drawing files of any format become files of one format, all simplified; whole or not at all."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

from quickstroke import formats
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplified_strokes
from quickstroke.errors import ConfigError, FormatError, OnInvalid, leaving_out, located
from quickstroke.formats import binary, ndjson, npz, parquet, svg
from quickstroke.utils.files import GrowingFiles, atomic_folder, followed

Format = Literal["binary", "ndjson", "npz", "svg", "parquet"]

# The endings of what becomes one file; and what else it may become.
_TARGETS: dict[Format, tuple[tuple[str, ...], str]] = {
    "binary": ((), "a folder, for a file a word"),
    "npz": ((), "a folder, for a file a word"),
    "ndjson": ((".ndjson", ".ndjson.gz"), ""),
    "svg": ((".svg",), "a folder"),
    "parquet": ((".parquet",), ""),
}


def check_target(to: Format, into: Path) -> None:
    """Raises ConfigError unless `into` does not exist yet, and is a file or folder as the format needs it."""
    endings, folder = _TARGETS[to]
    if not into.name.lower().endswith(endings) and (not folder or formats.ending_of(into)):
        raise ConfigError(f"{into}: cannot be {to}; expected {' or '.join(filter(None, [*endings, folder]))}")
    if into.exists():
        raise ConfigError(f"{into}: exists already; give another name, or remove it first")


def convert(
    files: Sequence[Path],
    to: Format,
    into: Path,
    *,
    layout: str = "auto",
    limit: int | None = None,
    on_invalid: OnInvalid = None,
    on_file: Callable[[Path, int, int], None] = lambda path, n_points, n_columns: None,
) -> dict[str, int]:
    """Writes the drawings of some files, simplified, in their order.

    Args:
        files: drawing files of any format.
        to: `binary` and `npz` make a folder with a file a word; `ndjson` and `parquet` a file; `svg` a file, or a
            folder with one for each word and a file a drawing in it.
        into: the file or folder to make.
        layout: of strokes in text files, as `formats.read_file`.
        limit: only the first so many drawings of each file.
        on_invalid: as `formats.read_file`; also called with the error of what cannot be simplified or written.
        on_file: called after each file with how many of its drawings were read as points, and how many as columns.

    Returns:
        How many drawings of each word were written.

    Raises:
        FormatError: a file that breaks its format, no drawing at all, or one that the format cannot hold.
        ConfigError: `into` exists, or has not the form that the format needs.
    """
    into = followed(into)
    check_target(to, into)
    is_folder = formats.ending_of(into) is None
    words: Counter[str] = Counter()

    def drawings() -> Iterator[Drawing]:
        for path in files:
            layouts: Counter[str | None] = Counter()
            for number, drawing in islice(formats.read_numbered(path, layout, on_invalid), limit):
                layouts[drawing.source_layout] += 1
                with leaving_out(on_invalid):
                    with located(path, f"drawing {number}"):
                        ndjson.check_text("word", drawing.word)
                        if is_folder:
                            _name_of(drawing.word, to)
                        strokes = simplified_strokes(drawing)
                    words[drawing.word] += 1
                    yield replace(drawing, strokes=strokes, times_ms=None)
            on_file(path, layouts["points"], layouts["columns"])
        if not words:
            raise FormatError("there is no drawing to write", into)

    if not is_folder:
        writers: dict[str, Callable[[Path, Iterable[Drawing]], int]]
        writers = {"ndjson": ndjson.write, "svg": svg.write, "parquet": parquet.write}
        writers[to](into, drawings())
        return dict(words)
    with atomic_folder(into) as folder:
        if to == "svg":
            _write_svg(folder, drawings(), into, words)
        else:
            _write_binary(folder, drawings(), into)
        # A file system may take `A` for `a`, or `12:30` for a part of `12`: drawings would be in one file, or lost.
        there = {unicodedata.normalize("NFC", path.name) for path in folder.iterdir()}
        for word in filter(None, words):
            if unicodedata.normalize("NFC", _name_of(word, to)) not in there:
                raise FormatError(f"the word {word!r:.60} can be no name of its own on this file system", into)
        for path in sorted(folder.glob("*.bin")) if to == "npz" else ():
            npz.write(path.with_suffix(".npz"), formats.read_file(path))
            path.unlink()
        if hasattr(os, "sync"):  # once for all of them
            os.sync()
    return dict(words)


def _write_svg(folder: Path, drawings: Iterable[Drawing], into: Path, words: Counter[str]) -> None:
    for drawing in drawings:
        path = folder / _name_of(drawing.word, "svg") / f"{words[drawing.word]:06}.svg"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            svg.write_to(file, [drawing], into / path.relative_to(folder))


def _write_binary(folder: Path, drawings: Iterable[Drawing], into: Path) -> None:
    """Writes a file WORD.bin for each word."""
    files = GrowingFiles(folder)
    for n, drawing in enumerate(drawings, start=1):
        with located(into, f"drawing {n}"):
            record = binary.encode(drawing)
        files.append(_name_of(drawing.word, "binary"), record)
    files.flush()


def _name_of(word: str, to: Format) -> str:
    """The name of the file of a word, or for SVG of its folder, "" without a word.

    Raises:
        FormatError: it would not be read as this word again.
    """
    if not word and to != "svg":
        raise FormatError("has no word, which its file is named after")
    name = word + ".bin" * (to != "svg")
    if word.startswith(".") or {"/", "\\", "\0"} & set(word) or (to != "svg" and formats.word_of(Path(name)) != word):
        raise FormatError(f"has the word {word!r:.60} that can be no file's name")
    return name
