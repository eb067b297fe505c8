"""Files: gzip where the name says so, whole under their final name or not at all; links, locks, hashes; and cores."""

import ctypes
import errno
import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from quickstroke.errors import FormatError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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


def followed(path: Path | str) -> Path:
    """Where a symbolic link leads, so that what it stands for is replaced and not the link; any other path as it is.

    Raises:
        OSError: links that lead to each other.
    """
    path = Path(path)
    try:
        return path.resolve() if path.is_symlink() else path
    except RuntimeError as error:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


@contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path`, or where that links to, only once it is whole and on the disk.

    It compresses when `path` ends in `.gz`, always to the same bytes.
    """
    is_packed = Path(path).suffix.lower() == ".gz"  # by the name that readers go by
    path = followed(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as raw:
            if is_packed:
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk names no file
        raise


def lock(file: int | IO[bytes]) -> bool:
    """Locks an open file or folder until it is closed; False where another process has it, True without locks."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


def exchange(one: Path, other: Path) -> None:
    """Gives each of two folders of one file system the other's name: at once on Linux, elsewhere one after the other.

    Raises:
        OSError: they cannot be renamed.
    """
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h and linux/fs.h; not every file system can.
    if renameat2 is not None and renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0:
        return
    aside = one.with_name(f"{one.name}.aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def write_text(path: Path | str, text: str) -> None:
    """Writes UTF-8 text through `atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def first_line_of(path: Path) -> str:
    """The first line of a text file, empty where there is none."""
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return (text.splitlines() or [""])[0]
