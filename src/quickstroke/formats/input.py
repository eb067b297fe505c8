"""Input files: gzip where the name says so, errors that say where; HTML is refused."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from quickstroke.errors import FormatError

# What zlib and gzip raise for damaged or truncated input.
_GZIP_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)


class InputFile:
    """Bytes of a drawing file, decompressed when its name ends in `.gz`; its errors name the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        except _GZIP_ERRORS as error:
            raise FormatError(f"damaged or truncated gzip file: {error}", self.path) from error
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror}", self.path) from error

    def lines(self, max_bytes: int) -> Iterator[tuple[int, bytes]]:
        """Each line with its number, counted from 1.

        Raises:
            FormatError: as `read`, or a line of more than `max_bytes`.
        """
        number = 0
        while True:
            try:
                line = self._file.readline(max_bytes + 1)
            except _GZIP_ERRORS as error:
                raise FormatError(f"damaged or truncated gzip file: {error}", self.path) from error
            except OSError as error:
                raise FormatError(f"cannot be read: {error.strerror}", self.path) from error
            if not line:
                return
            number += 1
            if len(line) > max_bytes:
                raise FormatError(f"a line of more than {max_bytes} bytes", self.path, line=number)
            yield number, line

    def __enter__(self) -> "InputFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()


def refuse_html(head: bytes, path: Path) -> None:
    """Raises FormatError when a file begins as a web page does (a failed download saved as data)."""
    start = head.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise FormatError("is a web page or XML, not a drawing file (a failed download?)", path)
