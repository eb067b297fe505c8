"""Drawing files of every official form: finding them, and reading them as drawings or as blocks of arrays.

`_FORMATS` lists them; docs/formats.md describes each, and says where it has the word of a drawing.

Strokes in text and parquet files may be written in columns, as the official ones are, or as points; `layout` may decide
(`layouts`). Binary, ndjson and CSV files may be compressed, with `.gz` after the ending.
"""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from quickstroke.drawings.categories import canonical_word
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.layouts import check_choice
from quickstroke.errors import (
    ArgumentTypeError,
    FormatError,
    OnInvalid,
    expect_items,
    expect_path,
    leave_out,
    leaving_out,
    shown,
)
from quickstroke.formats import binary, csv, inkml, ndjson, npz, parquet, pictures, plain_json, svg

if TYPE_CHECKING:
    from quickstroke.formats.records import Records

# Of a binary file that is read drawing by drawing, at a time.
_FEW_BYTES = 1 << 16

_Read = Callable[[Path, str, OnInvalid], Iterator[Drawing]]
# By what a folder is likely to hold them for: of several kinds those of the first alone are read.
_OFFICIAL, _VECTORS, _PIXELS, _ANYTHING = range(4)


def _read_binary(path: Path, layout: str, on_invalid: OnInvalid) -> Iterator[Drawing]:
    for block in binary.read_blocks(path, word_of(path), _FEW_BYTES):  # one may ask for the first only
        yield from block.drawings()


def _read_json(path: Path, layout: str, on_invalid: OnInvalid) -> Iterator[Drawing]:
    return plain_json.read(path, (word_of(path), canonical_word(path.name[:-5])), layout, on_invalid)


def _named(read: Callable[[Path, str, OnInvalid], Iterator[Drawing]]) -> _Read:
    """The reader of a format that has no word in it, and one layout."""
    return lambda path, layout, on_invalid: read(path, word_of(path), on_invalid)


def _whole(read: Callable[[Path, str], Iterator[Drawing]]) -> _Read:
    """The reader of a format whose file is read whole or not at all, as drawings of its name's word."""

    def reader(path: Path, layout: str, on_invalid: OnInvalid) -> Iterator[Drawing]:
        with leaving_out(on_invalid):
            yield from read(path, word_of(path))

    return reader


class _Format(NamedTuple):
    """How files of some endings are read.

    Attributes:
        endings: of their names, in small letters.
        kind: one of the four above.
        read: the drawings of a file, with the layout and the function that `read_file` was given.
        is_single: whether a file has one drawing, whose word is the name of the folder.
        has_layouts: whether strokes may be written as points or as columns.
        is_picture: whether drawings are shown as pixels.
    """

    endings: tuple[str, ...]
    kind: int
    read: _Read
    is_single: bool = False
    has_layouts: bool = False
    is_picture: bool = False


_FORMATS = (
    _Format((".bin", ".bin.gz"), _OFFICIAL, _read_binary),
    _Format((".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz"), _OFFICIAL, ndjson.read, has_layouts=True),
    _Format((".npz",), _OFFICIAL, _named(npz.read)),
    _Format((".csv", ".csv.gz"), _OFFICIAL, csv.read, has_layouts=True),
    _Format((".parquet",), _OFFICIAL, parquet.read, has_layouts=True),
    _Format((".svg",), _VECTORS, _whole(svg.read), is_single=True),
    _Format((".inkml",), _VECTORS, _whole(inkml.read), is_single=True),
    _Format((".npy",), _PIXELS, _named(pictures.read), is_picture=True),
    _Format(pictures.ENDINGS, _PIXELS, _named(pictures.read), is_single=True, is_picture=True),
    _Format((".json",), _ANYTHING, _read_json, is_single=True, has_layouts=True),
)
_BY_ENDING = {ending: each for each in _FORMATS for ending in each.endings}
ENDINGS = tuple(_BY_ENDING)
_NO_ENDING = f"has no ending of a drawing format; expected {', '.join(ENDINGS)}"


def ending_of(path: Path) -> str | None:
    """The ending of ENDINGS that a file name has, or None."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def _format_of(path: Path) -> _Format | None:
    return _BY_ENDING.get(ending_of(path) or "")


def has_layouts(path: Path) -> bool:
    """Whether a file of this ending may write strokes as points or as columns."""
    found = _format_of(path)
    return found is not None and found.has_layouts


def is_picture(path: Path) -> bool:
    """Whether a file of this ending shows drawings as pixels."""
    found = _format_of(path)
    return found is not None and found.is_picture


def is_single(path: Path) -> bool:
    """Whether a file of this ending has one drawing, whose word is the name of the folder."""
    found = _format_of(path)
    return found is not None and found.is_single


def word_of(path: Path) -> str:
    """The word that a file's name stands for: `power_outlet.bin` and `power outlet.full.npz` are 'power outlet', and so
    is `power outlet/1.png`."""
    ending = ending_of(path) or ""
    if is_single(path):
        return canonical_word(path.absolute().parent.name)
    stem = path.name[: len(path.name) - len(ending)]
    return canonical_word(stem.removesuffix(".full").removeprefix("full_numpy_bitmap_"))


def is_named_by_folder(path: Path, drawing: Drawing) -> bool:
    """Whether a drawing's word is that of the folder, which may be one of anything, and not what the file says."""
    return is_single(path) and drawing.word == word_of(path)


@dataclass(frozen=True, slots=True)
class Sources:
    """Drawing files in reading order.

    Attributes:
        ignored: what is beside them, in a folder or of a pattern: files of no known ending or of another kind, and
            folders with drawing files.
        repeated: further names, by links, of what is read already.
    """

    files: tuple[Path, ...]
    ignored: tuple[Path, ...]
    repeated: tuple[Path, ...]

    @property
    def ignored_names(self) -> tuple[str, ...]:
        """The names of what was ignored; that of a folder ends in a slash."""
        return tuple(path.name + "/" * path.is_dir() for path in self.ignored)

    @property
    def repeated_names(self) -> tuple[str, ...]:
        """The further names; that of a file of one drawing has its folder's before it, which is its word."""
        return tuple("/".join(path.absolute().parts[-1 - is_single(path) :]) for path in self.repeated)


def find_sources(sources: Sequence[Path | str] | Path | str) -> Sources:
    """The drawing files that the sources name: files, folders and glob patterns.

    Where a folder itself has no drawing file, its subfolders with files of one drawing each are read, such as pictures:
    `cat/1.png`, `dog/1.png`.

    The order is that of the sources; a folder's or pattern's files are sorted by name. A file named twice,
    however it is written, is read once. Files of a folder or pattern that may show anything are left out where others
    are there: JSON beside any other kind, pictures beside any but JSON, and SVG and InkML beside files that Google has.

    Raises:
        FormatError: a source that does not exist, matches nothing, holds no drawing file, or has an unknown ending.
        ArgumentTypeError: something that is no path.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else expect_items(sources, "sources", "paths")
    files: dict[Path, Path] = {}
    repeated: dict[Path, None] = {}
    ignored: dict[Path, None] = {}
    for source in given:
        path = expect_path(source, "a source")
        if not str(source):
            raise FormatError("an empty name is no file or folder")
        if path.is_dir():
            if _is_dataset(path):
                raise FormatError("is a prepared dataset; expected drawing files (`evaluate` takes it by --data)", path)
            entries, found = _in_folder(path)
            lacks = (
                f"holds no drawing file; expected {', '.join(ENDINGS)} in it (subfolders are searched for files of one "
                "drawing alone: name them, or a pattern such as '**/*.ndjson')"
            )
        elif path.exists():
            entries, lacks = [path], _NO_ENDING
            found = _drawings_of(entries)
        elif glob.has_magic(str(source)):
            matches = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207 (takes absolute patterns)
            entries, lacks = list(filter(_is_file, map(Path, matches))), "no drawing file matches this pattern"
            found = _drawings_of(entries)
        else:
            raise FormatError("no such file or folder", path)
        if not found:
            raise FormatError(lacks, path)
        known = set(found)
        ignored.update(dict.fromkeys(entry for entry in entries if entry not in known))
        for path in found:
            if not path.exists():  # of data that a tool has yet to fetch
                raise FormatError(f"is a link to {path.readlink()}, which is not there", path)
            first = files.setdefault(path.resolve(), path)
            if first is not path and (first.name, word_of(first)) != (path.name, word_of(path)):
                repeated[path] = None
    return Sources(tuple(files.values()), tuple(ignored), tuple(repeated))


def _inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files and the folders in a folder, by name, without hidden ones."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return list(filter(_is_file, entries)), list(filter(Path.is_dir, entries))


def _is_file(path: Path) -> bool:
    """Whether it is a file, or a link to one that is not there."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _in_folder(path: Path) -> tuple[list[Path], list[Path]]:
    """What is in a folder, and the drawing files that are read of it: its own, or where it has none those of its
    subfolders, if these have files of one drawing each. Folders that are not read count where they have drawing files.
    """
    own, folders = _inside(path)
    if found := _drawings_of(own):
        return [*own, *filter(_has_drawings, folders)], found
    inside = list(map(_inside, folders))
    found = [file for files, _ in inside for file in _drawings_of(files)]
    if not all(map(is_single, found)):
        return own, []
    below = [file for files, _ in inside for file in files]
    unread = [folder for _, inner in inside for folder in filter(_has_drawings, inner)]
    return [*own, *below, *unread], found


def _has_drawings(folder: Path) -> bool:
    """Whether a folder that may be read has drawing files. JSON alone may be anything, and so may what we left, such as
    a dataset that is not whole."""
    try:
        if any((folder / name).exists() for name in ("points.bin", "manifest.json", "config.json")):
            return False
        found = (_format_of(entry) for entry in folder.iterdir() if _is_file(entry))
        return any(each is not None and each.kind != _ANYTHING for each in found)
    except PermissionError:
        return False


def _is_dataset(folder: Path) -> bool:
    return (folder / "manifest.json").is_file() and (folder / "points.bin").is_file()


def _drawings_of(files: Sequence[Path]) -> list[Path]:
    """Those that are drawing files, of the first kind of which there are any."""
    found = [(path, each.kind) for path in files if (each := _format_of(path))]
    first = min((kind for _, kind in found), default=None)
    return [path for path, kind in found if kind == first]


def read_drawings(
    sources: Sequence[Path | str] | Path | str, *, layout: str = "auto", on_invalid: OnInvalid = None
) -> Iterator[Drawing]:
    """The drawings of files, folders and glob patterns, one by one, in the order of `find_sources`.

    Args:
        sources: the files.
        layout: as `read_file`.
        on_invalid: as `read_file`.

    Raises:
        ConfigError: `layout` is no choice.
        FormatError: at once for a source that cannot be found; on the way for a file that breaks its format, with the
            place.
        ArgumentTypeError: something that is no path, or `on_invalid` no function.
    """
    check_choice(layout)
    if on_invalid is not None and not callable(on_invalid):
        raise ArgumentTypeError(f"on_invalid should be a function, got {shown(on_invalid)}")
    files = find_sources(sources).files
    return chain.from_iterable(read_file(path, layout=layout, on_invalid=on_invalid) for path in files)


def read_file(path: Path | str, *, layout: str = "auto", on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawings of one file, in file order.

    Args:
        path: the file.
        layout: of strokes in text and parquet files, whatever they are in others: `points`, `columns`, or `auto`, which
            sees it for each drawing, and reads columns where every stroke has two or three rows of two or three
            numbers. A drawing's `source_layout` says which was read.
        on_invalid: called with the FormatError of each line, row, bitmap or file of one drawing that is no drawing,
            which is left out; None raises it. A file that is damaged as a whole, and a damaged binary one, is refused.

    Raises:
        FormatError: the ending is unknown, or the file breaks its format; with the place.
        ConfigError: `layout` is no choice.
    """
    path = Path(path)
    check_choice(layout)
    found = _format_of(path)
    if found is None:
        raise FormatError(_NO_ENDING, path)
    yield from found.read(path, layout, on_invalid)


def read_numbered(path: Path, layout: str, on_invalid: OnInvalid) -> Iterator[tuple[int, Drawing]]:
    """As `read_file`, each drawing with its number in the file, counted from 1, in which those left out count, too."""
    n_left_out = 0

    def leave(error: FormatError) -> None:
        nonlocal n_left_out
        n_left_out += 1
        leave_out(error, on_invalid)

    for number, drawing in enumerate(read_file(path, layout=layout, on_invalid=leave), start=1):
        yield number + n_left_out, drawing


def read_records(
    path: Path, layout: str = "auto", on_invalid: OnInvalid = None, *, plain: bool = False
) -> Iterator["Records | Drawing"]:
    """The drawings of one file that is not binary, in file order, many at once as records where that is possible.

    Args:
        path: the file.
        layout: as `read_file`.
        on_invalid: as `read_file`.
        plain: whether Python alone reads it, without compiling anything.

    Raises:
        FormatError: as `read_file`.
    """
    ending = (ending_of(path) or "").removesuffix(".gz")
    if plain or ending not in (".csv", ".ndjson", ".jsonl", ".npz"):
        yield from read_file(path, layout=layout, on_invalid=on_invalid)
        return
    from quickstroke.formats import records  # it needs numba, whose import takes longer than reading a few drawings

    if ending == ".npz":
        yield from records.read_npz(path, word_of(path), on_invalid)
    else:
        read = records.read_csv if ending == ".csv" else records.read_ndjson
        yield from read(path, layout, on_invalid)
