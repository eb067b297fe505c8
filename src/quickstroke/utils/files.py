"""Files: whole under their final name or not at all; links, locks, hashes."""

import csv
import ctypes
import errno
import gzip
import hashlib
import io
import json
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

try:
    import fcntl

    _HAS_LOCKS = True
except ImportError:  # Windows
    _HAS_LOCKS = False


def followed(path: Path | str) -> Path:
    """Where a symbolic link leads, so that what it stands for is replaced and not the link; any other path as it is.

    Raises:
        OSError: links that lead to each other.
    """
    path = Path(path)
    if not path.is_symlink():
        return path
    # Of such links `Path.resolve` tells before Python 3.13 only; what this gives of them is one of them.
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def check_place(path: Path | str) -> None:
    """Tries whether a file or folder can be written there, so that work for it need not be done in vain.

    Raises:
        OSError: it names `path`.
    """
    path = followed(path)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        error.filename = str(path)  # not that of the trial
        raise


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Makes a folder where it is missing; at the end it goes again, with those above it that were made, if nothing has
    come into it.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # it is not empty
            for path in missing:
                path.rmdir()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """In here is one process at a time for a folder, which is made where it is missing; others wait for it.

    Where the system or the folder's disk has no locks, nobody waits.
    """
    with made(folder), ExitStack() as stack:
        if _HAS_LOCKS:
            with suppress(OSError):  # a folder that cannot be opened, or a file system without locks
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path`, or where that links to, only once it is whole and on the disk.

    It compresses when `path` ends in `.gz`, always to the same bytes. What killed writers of `path` left is removed.

    Raises:
        OSError: of this file; it names `path`.
    """
    is_packed = Path(path).suffix.lower() == ".gz"  # by the name that readers go by
    path = followed(path)
    with made(path.parent), _temporary(path) as temporary, _open_locked(temporary) as raw:
        _remove_leftovers(temporary, path)
        if is_packed:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                yield cast(IO[bytes], packed)
        else:
            yield raw
        raw.flush()
        os.fsync(raw.fileno())
        if not _HAS_LOCKS:  # Windows renames no open file
            raw.close()
        temporary.replace(path)  # still locked: a file that nobody holds would be taken for a leftover


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path`, of which nothing else stays, only once it is filled.

    What killed writers of `path` left is removed.

    Raises:
        OSError: of this folder and what is in it; it names what was to be under `path`.
    """
    path = followed(path)
    with made(path.parent), _temporary(path) as temporary, _locked_folder(temporary):
        _remove_leftovers(temporary, path)
        yield temporary
        if path.exists():
            exchange(temporary, path)
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.replace(path)


class GrowingFiles:
    """Files of a folder, however many, that grow side by side: a system lets few be open, so that what is appended is
    kept until it is much."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, list[bytes]] = {}
        self._n_bytes = 0

    def append(self, name: str, data: bytes) -> None:
        self._kept.setdefault(name, []).append(data)
        self._n_bytes += len(data)
        if self._n_bytes > _KEPT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is kept."""
        for name, parts in self._kept.items():
            with (self._folder / name).open("ab") as file:
                file.writelines(parts)
        self._kept, self._n_bytes = {}, 0


_KEPT_BYTES = 4 << 20


def write_to_disk(path: Path, data: bytes) -> None:
    """Writes a file of a folder that has another name yet.

    Raises:
        OSError: it names the file.
    """
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)  # a full disk names no file
        raise


# A file or folder has a name of its own while it is written, `.NAME.MACHINE.RANDOM.tmp`, and its writer holds a lock on
# it that ends with the writer, however that ends. So what nobody holds was left by a kill, and the next writer of NAME
# removes it. That is certain among the processes of one machine since its start, which MACHINE stands for. On a folder
# that machines share, some file systems keep locks to each machine: what another one left has to be old as well. So has
# what an older version left, which held no lock and named its files `.NAME.PID.tmp`.
_OLD_S = 86_400.0


@cache
def _machine() -> str:
    """Eight hexadecimal digits that all processes here share until the machine starts anew."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        identity = platform.node().encode()
    return f"{zlib.crc32(identity):08x}"


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """The name of what becomes `path`; when that fails nothing stays under it, and errors name what was to be."""
    temporary = path.with_name(f".{path.name}.{_machine()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    except BaseException as error:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            names = [str(name) for name in (error.filename2, error.filename) if name is not None]
            ours = [name for name in names if name.startswith(str(temporary))]
            if ours or not names:  # a full disk names no file
                error.filename = f"{path}{''.join(ours[:1]).removeprefix(str(temporary))}"
                error.filename2 = None
        raise


@contextmanager
def _open_locked(path: Path) -> Iterator[IO[bytes]]:
    """A new file, locked."""
    while True:  # again where another writer looked at it before it was locked, and takes it for a leftover
        with path.open("wb") as file:
            if lock(file) and _is_still(file.fileno(), path):
                yield file
                return


@contextmanager
def _locked_folder(path: Path) -> Iterator[None]:
    """A new folder, locked."""
    while True:
        path.mkdir()
        if not _HAS_LOCKS:
            yield
            return
        with suppress(FileNotFoundError):  # as in `_open_locked`
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if lock(descriptor) and _is_still(descriptor, path):
                    yield
                    return
            finally:
                os.close(descriptor)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_leftovers(temporary: Path, path: Path) -> None:
    """Removes what killed writers of `path` left; `temporary` is the file or folder of this one."""
    if not _HAS_LOCKS:
        return
    form = re.compile(rf"\.{re.escape(path.name)}\.(?:([0-9a-f]{{8}})\.[0-9a-f]{{8}}|[0-9]+)\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:
        now_s = temporary.stat().st_mtime  # by the clock of the file system, as the times of the others
        for entry in entries:
            match = form.fullmatch(entry.name)
            if not match or entry.name == temporary.name or entry.is_symlink():
                continue
            with suppress(OSError):
                if match[1] == _machine() or now_s - entry.stat().st_mtime > _OLD_S:
                    _remove_unheld(entry)


def _remove_unheld(entry: os.DirEntry[str]) -> None:
    """Removes a file or folder unless a process holds its lock, or nobody can tell.

    Raises:
        OSError: it cannot be told or removed.
    """
    is_folder = entry.is_dir()
    descriptor = os.open(entry.path, os.O_RDONLY if is_folder else os.O_RDWR)  # NFS locks what can be written
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_folder:
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()
    finally:
        os.close(descriptor)


def lock(file: int | IO[bytes]) -> bool:
    """Locks an open file or folder until it is closed; False where another process has it, True without locks."""
    if _HAS_LOCKS:
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


def write_bytes(path: Path | str, data: bytes | memoryview) -> None:
    """Writes a whole file through `atomic_write`."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Writes UTF-8 text through `atomic_write`."""
    # A path that is no UTF-8, as old archives have them, has surrogates; as escapes JSON gives the same path back.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_table(path: Path | str, rows: Iterable[Iterable[Any]]) -> None:
    """Writes rows as a CSV file through `atomic_write`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line_of(path: Path) -> str:
    """The first line of a text file, empty where there is none."""
    text = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return (text.splitlines() or [""])[0]


def write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
