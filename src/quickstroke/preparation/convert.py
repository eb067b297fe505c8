"""Converts drawing files of any format to official binary files, one for each of their words.

Parsing text holds Python's lock, so a large file is converted in a process of its own, which ends when its parent does.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quickstroke import formats
from quickstroke.drawings.categories import unprintable
from quickstroke.drawings.drawing import UNKNOWN_COUNTRY, Drawing
from quickstroke.drawings.simplification import simplified_strokes
from quickstroke.errors import FormatError
from quickstroke.formats import binary
from quickstroke.utils.files import sha256_of

# The files of a source's words are kept open; an operating system allows few.
_MAX_OPEN_FILES = 200
# A file of this size or more is converted in a process of its own: that takes longer than Python takes to start.
_LARGE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Converted:
    """The result for one source: its words in their order, with the SHA-256 of the file `<index>.bin` of each.

    Attributes:
        words: word to SHA-256.
        n_other: drawings of words that were not asked for.
    """

    words: dict[str, str]
    n_other: int


class Converter:
    """Converts files, large ones in processes of their own; several threads may use it at a time."""

    def __init__(self, words: Iterable[str] | None, layout: str = "auto") -> None:
        """Takes the drawings of `words`, None for all, whose strokes are read in `layout`."""
        self._words = None if words is None else sorted(words)
        self._layout = layout
        self._running = set[subprocess.Popen[str]]()
        self._stopped = False
        self._lock = threading.Lock()

    def convert(self, path: Path, folder: Path) -> Converted:
        """Writes the binary files of one source into a folder, which it makes.

        Raises:
            FormatError: a file that breaks its format, or has a drawing without a word or one that no binary file
                can hold.
            OSError: the files cannot be written.
        """
        if path.stat().st_size < _LARGE_BYTES:
            return _convert(path, folder, self._words, self._layout)
        # The child finds what this process finds.
        program = f"import sys; sys.path[:] = {sys.path!r}; from quickstroke.preparation import convert; convert.main()"
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._running.add(process)
        with process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps([str(path), str(folder), self._words, self._layout]) + "\n")
            process.stdin.flush()
            # stdin stays open: closing it tells the child to end.
            answer = process.stdout.read()
        with self._lock:
            self._running.discard(process)
        try:
            values = json.loads(answer)
        except ValueError as error:
            raise ChildProcessError(f"{path}: the process that read it ended with {process.returncode}") from error
        match values:
            case {"format": [str(reason), offset, line]}:
                raise FormatError(reason, path, offset=offset, line=line)
            case {"system": [number, str(text), filename]}:
                raise OSError(number, text, filename)
        return Converted(**values)

    def stop(self) -> None:
        """Ends the processes; what they wrote is incomplete."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()


def _convert(path: Path, folder: Path, words: Iterable[str] | None, layout: str) -> Converted:
    """As `Converter.convert`, in this process."""
    folder.mkdir(parents=True)
    takes = None if words is None else set(words)
    targets: dict[str, Path] = {}
    writers: dict[str, IO[bytes]] = {}
    n_other = 0

    def check(drawing: Drawing) -> None:
        if takes is None and (reason := unprintable(drawing.word)):
            raise FormatError(f"the word {drawing.word!r:.60} {reason}; a class needs a word that can be")

    try:
        for number, drawing in enumerate(formats.read_file(path, check, layout=layout), start=1):
            if not drawing.word:
                raise FormatError(f"drawing {number} has no word; a dataset needs one for each", path)
            if takes is not None and drawing.word not in takes:
                n_other += 1
                continue
            target = targets.setdefault(drawing.word, folder / f"{len(targets)}.bin")
            if drawing.word not in writers:
                if len(writers) == _MAX_OPEN_FILES:
                    writers.pop(next(iter(writers))).close()
                writers[drawing.word] = target.open("ab")
            try:
                writers[drawing.word].write(binary.encode(_as_prepared(drawing)))
            except FormatError as error:
                raise FormatError(f"drawing {number}: {error.reason}", path) from error
    finally:
        for writer in writers.values():
            writer.close()
    return Converted({word: sha256_of(target) for word, target in targets.items()}, n_other)


def _as_prepared(drawing: Drawing) -> Drawing:
    """The drawing simplified, with what a dataset keeps of it: no country or time that a binary file cannot hold."""
    strokes = simplified_strokes(drawing)
    return dataclasses.replace(drawing, strokes=strokes, countrycode=UNKNOWN_COUNTRY, timestamp_us=0, times_ms=None)


def main() -> None:
    """The process of a large file: one JSON line in, one out."""
    # A terminal sends Ctrl-C to all processes. The parent handles it, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, folder, words, layout = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    values: dict[str, Any]
    try:
        values = dataclasses.asdict(_convert(Path(path), Path(folder), words, layout))
    except FormatError as error:
        values = {"format": [error.reason, error.offset, error.line]}
    except OSError as error:
        values = {"system": [error.errno, error.strerror or str(error), error.filename]}
    print(json.dumps(values), flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
