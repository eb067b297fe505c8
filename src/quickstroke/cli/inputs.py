"""Drawing files that commands read: finding them, leaving out what is no drawing, telling what is odd about them."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickstroke.cli.answers import counted, note, percent
from quickstroke.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from quickstroke.drawings.drawing import Drawing

# Of what is left out, told one by one.
_MOST_TOLD = 10

# Part of some drawings from which on it is told; of official ones 0.003 are so.
_FEW_UNSCALED = 0.1
# Drawings of a file that are looked at for that, which may take as long as reading them.
_LOOKED_AT = 1000


def drawing_files(sources: Sequence[str], layout: str = "auto") -> tuple[Path, ...]:
    """The files of `formats.find_sources`; what it leaves out is told, and a `--layout` without effect."""
    from quickstroke import formats

    if not sources:
        raise ConfigError(
            "no FILE was given; expected drawing files, folders or glob patterns, before an option of several values"
        )
    found = formats.find_sources(sources)
    note_left_out(found.ignored_names, found.repeated_names)
    note_layout_without_effect(layout, found.files)
    for path in found.files:
        if path.resolve().is_fifo():  # a pipe of the shell's has no name, and its writer is there
            note(f"{path}: is a named pipe, and is waited for until a program writes into it")
    return found.files


class Invalid:
    """What is left out by `--skip-invalid`.

    Attributes:
        messages: of each its error.
        add: takes the error of each; None where the option was not given, and the first is to be raised.
    """

    def __init__(self, is_skipped: bool) -> None:
        self.messages: list[str] = []
        self.add = self._add if is_skipped else None

    def _add(self, error: FormatError) -> None:
        self.messages.append(str(error))

    def numbered(self, path: Path, layout: str, tells: bool = True) -> "Iterator[tuple[int, Drawing]]":
        """The drawings of a file, each with its number in it, counted from 1, in which those left out count, too; where
        it `tells`, their layouts are told. Those that are taken as simplified and do not look it are told always.

        Raises:
            FormatError: as `formats.read_file`.
        """
        import numpy as np

        from quickstroke.drawings.drawing import n_unscaled
        from quickstroke.formats import read_numbered

        layouts, n_small = Counter[Any](), 0
        try:
            for number, drawing in read_numbered(path, layout, self.add):
                layouts[drawing.source_layout] += 1
                if drawing.is_simplified and layouts.total() <= _LOOKED_AT:
                    n_small += n_unscaled(np.concatenate(drawing.strokes), np.zeros(1, np.int64))
                yield number, drawing
        finally:  # also where no more are asked for
            if not isinstance(sys.exception(), FormatError):  # which is the one line to tell then
                note_unscaled(str(path), n_small, min(layouts.total(), _LOOKED_AT))
            if tells and layout == "auto":
                note_layouts(str(path), layouts["points"], layouts["columns"])

    def tell(self) -> None:
        """Tells of the first of them, and how many there are."""
        for message in self.messages[:_MOST_TOLD]:
            note(f"left out: {message}")
        if len(self.messages) > _MOST_TOLD:
            note(f"left out: {len(self.messages) - _MOST_TOLD:,} more, which --json has all of")


def note_layout_without_effect(layout: str, files: Sequence[Path]) -> None:
    """Tells of a `--layout` where no file may be written in more than one."""
    from quickstroke.formats import has_layouts

    if layout != "auto" and not any(map(has_layouts, files)):
        note("--layout has no effect: none of the files is .ndjson, .csv, .parquet or .json")


def note_layouts(name: str, n_points: int, n_columns: int) -> None:
    """Tells of a file whose drawings were read in both layouts, which hardly any file has."""
    if n_points and n_columns:
        read = f"{counted(n_points, 'drawing')} read as points"
        note(f"{name}: {read}, the other {n_columns:,} as columns (--layout decides)")


def note_unscaled(name: str, n: int, n_all: int) -> None:
    """Tells of `n` of some drawings that were taken as simplified, and do not fill 0 to 255 as simplified ones do."""
    if n > _FEW_UNSCALED * n_all:
        note(
            f"{name}: {percent(n / n_all)} of the drawings are taken as simplified, but do not fill 0 to 255 as "
            "simplified ones do; a pen's own strokes need times, or the name 'strokes' in place of 'drawing'"
        )


def note_left_out(ignored: Sequence[str], repeated: Sequence[str]) -> None:
    """Tells of files and folders that were given and not read, and of further names of files that are."""
    from quickstroke.formats import ending_of

    folders = [name for name in ignored if name.endswith("/")]
    unknown = [name for name in ignored if name not in folders and ending_of(Path(name)) is None]
    others = [name for name in ignored if name not in folders and name not in unknown]
    for names, one, several in (
        (folders, "folder with drawing files", "folders with drawing files"),
        (unknown, "file that is no drawing file", "files that are no drawing files"),
        (others, "file of another kind than those read beside it", "files of other kinds than those read beside them"),
        (repeated, "name of a file that is read by another one", "names of files that are read by other ones"),
    ):
        if names:
            told = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            note(f"ignored {len(names)} {one if len(names) == 1 else several}: {told}")
            if names is folders or names is others:
                pattern = "*.png" if names is others else "**/*.svg"
                note(f"what is named, or matches a pattern of its own such as {pattern!r}, is read, too")
