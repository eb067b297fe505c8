"""Input files: gzip where the name says so, errors that say where; HTML is refused."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from quickstroke.errors import FormatError, OnInvalid, leave_out

# What zlib and gzip raise for damaged or truncated input.
_GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
_BLOCK_BYTES = 1 << 19


class InputFile:
    """Bytes of a drawing file, decompressed when its name ends in `.gz`; its errors name the file.

    Attributes:
        n_lines: lines before the block that comes next.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.n_lines = path, 0
        try:
            raw = path.open("rb")
        except OSError as error:
            raise FormatError(f"cannot be opened: {error.strerror}", path) from error
        self._raw = raw
        self._file: BinaryIO = raw
        if path.suffix.lower() == ".gz":
            self._file = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))
            # For gzip nothing at all is nothing compressed, which no program writes.
            if not raw.peek(1):
                raw.close()
                raise FormatError("damaged or truncated gzip file: it is empty", path)

    def read(self, n_bytes: int) -> bytes:
        """At most `n_bytes` (fewer only at the end of the file).

        Raises:
            FormatError: the file cannot be read, or is damaged or truncated gzip.
        """
        try:
            return self._file.read(n_bytes)
        except (*_GZIP_ERRORS, OSError) as error:
            raise self._unreadable(error) from error

    def lines(self, max_bytes: int, on_invalid: OnInvalid = None) -> Iterator[tuple[int, bytes]]:
        """Each line with its number, counted from 1; `on_invalid` is called with the error of one that is too long.

        Raises:
            FormatError: as `read`, or a line of more than `max_bytes`.
        """
        number = 0
        while True:
            line = self._line(max_bytes + 1)
            if not line:
                return
            number += 1
            if len(line) <= max_bytes:
                yield number, line
                continue
            leave_out(self.too_long(max_bytes, number), on_invalid)
            while line and not line.endswith(b"\n"):
                line = self._line(max_bytes)

    def _line(self, n_bytes: int) -> bytes:
        try:
            return self._file.readline(n_bytes)
        except (*_GZIP_ERRORS, OSError) as error:
            raise self._unreadable(error) from error

    def blocks(self, max_bytes: int, on_invalid: OnInvalid = None) -> Iterator[tuple[memoryview, bool]]:
        """The same lines many at a time, each with its end, and whether the last end was added here.

        A block is to be used before the next one is asked for, which takes its place: new memory for each would cost
        more than reading it. Who uses it counts its lines in `n_lines`, which an error tells.

        Raises:
            FormatError: as `read`, after the lines before it; or a line of more than `max_bytes` that fills a block,
                unless `on_invalid` takes its error: shorter ones may come within one.
        """
        buffer = bytearray(_BLOCK_BYTES + max_bytes + 1)
        view, n = memoryview(buffer), 0
        is_within = False  # a line that is left out
        while True:
            damage: FormatError | None = None
            n_read, full = 1, n + _BLOCK_BYTES
            while n_read and n < full:
                try:  # what comes before any damage
                    n_read = cast(io.BufferedReader, self._file).readinto1(view[n:full])
                except (*_GZIP_ERRORS, OSError) as error:
                    damage = self._unreadable(error)
                    break
                n += n_read
            is_end = not n_read
            if is_within:
                begin = buffer.find(b"\n", 0, n) + 1
                is_within = not begin
                self.n_lines += bool(begin)
                begin = begin or n
                view[: n - begin] = bytes(view[begin:n])
                n -= begin
            end = buffer.rfind(b"\n", 0, n) + 1
            is_cut = is_end and end < n
            if is_cut:
                end = n = n + 1
                buffer[n - 1 : n] = b"\n"
            if end:
                yield view[:end], is_cut
            view[: n - end] = bytes(view[end:n])
            n -= end
            if n > max_bytes:
                leave_out(self.too_long(max_bytes, self.n_lines + 1), on_invalid)
                n, is_within = 0, True
            if damage:
                raise damage
            if is_end:
                return

    def too_long(self, max_bytes: int, number: int) -> FormatError:
        """The error of a line of more than `max_bytes`."""
        return FormatError(f"a line of more than {max_bytes} bytes", self.path, line=number)

    def _unreadable(self, error: Exception) -> FormatError:
        if isinstance(error, _GZIP_ERRORS):
            return FormatError(f"damaged or truncated gzip file: {error}", self.path)
        return FormatError(f"cannot be read: {getattr(error, 'strerror', error)}", self.path)

    def __enter__(self) -> "InputFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, "np.dtype[Any]"]:
    """Shape, whether in Fortran's order, and dtype of an array in numpy's format; a damaged one raises anything."""
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def check_archive(path: Path) -> None:
    """Raises FormatError for what cannot be an archive, which is read from its end: a pipe, a device, a web page."""
    if path.exists() and not path.is_file():
        raise FormatError("is a pipe or a device; this format is read from its end, which takes a file", path)
    with InputFile(path) as file:
        refuse_html(file.read(64), path)


def refuse_html(head: bytes, path: Path) -> None:
    """Raises FormatError when a file begins as a web page does (a failed download saved as data)."""
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise FormatError("is a web page or XML, not a drawing file (a failed download?)", path)


def refuse_utf16(head: bytes, path: Path) -> None:
    """Raises FormatError when a text file begins as those that Excel and PowerShell write in UTF-16."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FormatError("is text in UTF-16; expected UTF-8", path)
