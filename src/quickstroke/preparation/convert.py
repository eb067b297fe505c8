"""Converts drawing files of any format to official binary files, one for each of their words."""

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickstroke import formats
from quickstroke.drawings.categories import unprintable
from quickstroke.drawings.drawing import UNKNOWN_COUNTRY, Drawing
from quickstroke.drawings.simplification import simplified_strokes
from quickstroke.errors import FormatError, OnInvalid, leave_out, located
from quickstroke.formats import binary
from quickstroke.formats.records import Records
from quickstroke.utils.files import GrowingFiles

# Text of so many bytes in all is read by Python before it pays to compile what reads it.
_FEW_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Converted:
    """The result for one source: its words in their order, with the SHA-256 of the file `<index>.bin` of each.

    Attributes:
        words: word to SHA-256.
        n_other: drawings of words that were not asked for.
        n_invalid: what was left out because it is no drawing, or one without a word.
        n_points, n_columns: drawings of text and parquet files whose strokes were written so.
    """

    words: dict[str, str]
    n_other: int
    n_invalid: int = 0
    n_points: int = 0
    n_columns: int = 0


class Converter:
    """Converts files; several threads may use it at a time."""

    def __init__(self, words: Iterable[str] | None, layout: str = "auto", on_invalid: OnInvalid = None) -> None:
        """Takes the drawings of `words`, None for all, whose strokes are read in `layout`.

        `on_invalid` as `formats.read_file`; threads call it.
        """
        self._words = None if words is None else set(words)
        self._layout, self._on_invalid = layout, on_invalid
        self._stopped = False
        self._n_left = _FEW_BYTES

    def convert(self, path: Path, folder: Path) -> Converted:
        """Writes the binary files of one source into a folder, which it makes.

        Raises:
            FormatError: a file that breaks its format, or has a drawing without a word or one that no binary file
                can hold.
            KeyboardInterrupt: it was stopped.
            OSError: the files cannot be written.
        """
        folder.mkdir(parents=True)
        files, names, hashes = GrowingFiles(folder), dict[str, str](), dict[str, Any]()
        n = n_other = n_invalid = n_points = n_columns = 0  # of all n, also of those that are no drawings

        def on_unread(error: FormatError) -> None:
            nonlocal n, n_invalid
            leave_out(error, self._on_invalid)
            n, n_invalid = n + 1, n_invalid + 1

        has_layouts = formats.has_layouts(path)
        self._n_left -= path.stat().st_size
        for drawings in formats.read_records(
            path, self._layout, self._on_invalid and on_unread, plain=self._n_left >= 0
        ):
            if self._stopped:
                raise KeyboardInterrupt
            n_own, word = drawings.n if isinstance(drawings, Records) else 1, drawings.word
            n += n_own
            if has_layouts:
                of_points, of_columns = _layouts_of(drawings)
                n_points, n_columns = n_points + of_points, n_columns + of_columns
            if reason := self._why_no_class(word):
                for number in range(n - n_own + 1, n + 1):
                    leave_out(FormatError(f"drawing {number} has {reason}", path), self._on_invalid)
                n_invalid += n_own
                continue
            if self._words is not None and word not in self._words:
                n_other += n_own
                continue
            try:
                with located(path, f"drawing {n}"):
                    records = drawings.data if isinstance(drawings, Records) else binary.encode(as_prepared(drawings))
            except FormatError as error:
                leave_out(error, self._on_invalid)
                n_invalid += 1
                continue
            files.append(names.setdefault(word, f"{len(names)}.bin"), records)
            hashes.setdefault(word, hashlib.sha256()).update(records)
        files.flush()
        return Converted({word: hashes[word].hexdigest() for word in names}, n_other, n_invalid, n_points, n_columns)

    def stop(self) -> None:
        """Ends what other threads convert; what they wrote is incomplete."""
        self._stopped = True

    def _why_no_class(self, word: str) -> str:
        """What is wrong with the word of a drawing; empty where it can be one of a dataset."""
        if not word:
            return "no word; a dataset needs one for each, in text files by the name `word`"
        if self._words is None and (reason := unprintable(word)):
            return f"the word {word!r:.60}, which {reason}; a class needs a word that can be"
        return ""


def _layouts_of(drawings: Records | Drawing) -> tuple[int, int]:
    """How many of them were written in points, and how many in columns."""
    if isinstance(drawings, Records):
        return drawings.n_points, drawings.n - drawings.n_points
    return int(drawings.source_layout == "points"), int(drawings.source_layout == "columns")


def as_prepared(drawing: Drawing) -> Drawing:
    """The drawing simplified, with what a dataset keeps of it: no country or time that a binary file cannot hold."""
    strokes = simplified_strokes(drawing)
    return dataclasses.replace(drawing, strokes=strokes, countrycode=UNKNOWN_COUNTRY, timestamp_us=0, times_ms=None)
