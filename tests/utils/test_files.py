"""Reading says what is damaged and where; writing leaves a whole file or none."""

import errno
import gzip
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from quickstroke.errors import FormatError
from quickstroke.formats.input import InputFile, refuse_html
from quickstroke.utils import files
from quickstroke.utils.files import (
    atomic_folder,
    atomic_write,
    lock,
    one_at_a_time,
    write_json,
    write_text,
    write_to_disk,
)

TEXT = b"first\nsecond\r\n\nlast"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["text", "text.gz", "TEXT.GZ"])
def test_reads_bytes_compressed_or_not(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, TEXT)
    with InputFile(path) as file:
        assert [file.read(7), file.read(1000), file.read(1)] == [TEXT[:7], TEXT[7:], b""]


@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_lines_are_counted_from_one(name: str, tmp_path: Path) -> None:
    with InputFile(written(tmp_path / name, TEXT)) as file:
        lines = list(file.lines(100))
    assert lines == [(1, b"first\n"), (2, b"second\r\n"), (3, b"\n"), (4, b"last")]


def test_gzip_members_one_after_the_other_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))
    with InputFile(path) as file:
        assert file.read(100) == b"onetwo"


def test_line_may_have_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    path = written(tmp_path / "text", b"1234\n12345\n")
    with InputFile(path) as file:
        assert next(file.lines(5)) == (1, b"1234\n")
    with InputFile(path) as file, pytest.raises(FormatError, match="more than 5 bytes") as caught:
        list(file.lines(5))
    assert (caught.value.path, caught.value.line) == (path, 2)


def test_missing_file_and_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(FormatError, match="cannot be opened") as caught:
            InputFile(path)
        assert caught.value.path == path


def test_gzip_cut_anywhere_is_called_truncated(tmp_path: Path) -> None:
    whole = gzip.compress(TEXT * 3, mtime=0)
    path = tmp_path / "text.gz"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        for reading in (lambda file: file.read(1 << 20), lambda file: list(file.lines(1 << 20))):
            with pytest.raises(FormatError, match="damaged or truncated gzip file"), InputFile(path) as file:
                reading(file)


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(TEXT, mtime=0) + b"more", b"\0" * 100])
def test_what_is_no_gzip_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="damaged or truncated gzip file"), InputFile(path) as file:
        file.read(1 << 20)


def test_flipped_byte_in_gzip_is_found(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(TEXT, mtime=0))
    whole[-6] ^= 1  # of the checksum
    path = tmp_path / "text.gz"
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="damaged or truncated gzip file"), InputFile(path) as file:
        file.read(1 << 20)


@pytest.mark.parametrize(
    "head", [b"<!DOCTYPE html>", b"\r\n  <html lang=en>", b"<?xml version='1.0'?><Error>", b"<HTML>"]
)
def test_web_page_is_refused(head: bytes) -> None:
    with pytest.raises(FormatError, match=r"^x\.bin: is a web page or XML"):
        refuse_html(head, Path("x.bin"))


@pytest.mark.parametrize("head", [b"", b"{}", b"<", b"html", b"word,drawing\n<html>"])
def test_other_beginnings_are_no_web_page(head: bytes) -> None:
    assert refuse_html(head, Path("x.bin")) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("name", ["out", "out.gz", "OUT.GZ"])
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / name
    with atomic_write(path) as file:
        file.write(TEXT)
    with InputFile(path) as read:
        assert read.read(1000) == TEXT
    assert names(path.parent) == [name]


def test_gzip_holds_no_time_and_no_name(tmp_path: Path) -> None:
    contents = []
    for name in ("one.gz", "other.gz"):
        with atomic_write(tmp_path / name) as file:
            file.write(TEXT)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0][3:8] == bytes(5)  # flags and time


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["out", "out.gz"])
def test_failed_writing_leaves_what_was_there(name: str, failure: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(failure), atomic_write(path) as file:
        file.write(b"half of the ne")
        assert path.read_bytes() == b"old"
        raise failure
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == [name]


def test_failed_writing_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "out") as file:
        file.write(b"x")
        raise ZeroDivisionError
    assert names(tmp_path) == []


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_failed_writing_leaves_no_folder_that_it_made_but_those_with_something_in_them(
    write: Callable[[Path], AbstractContextManager[object]], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    for folder in ("there", "new/inner"):
        with pytest.raises(ZeroDivisionError), write(tmp_path / folder / "out"):
            raise ZeroDivisionError
    assert names(tmp_path) == ["there"]
    with pytest.raises(ZeroDivisionError), write(tmp_path / "new" / "inner" / "out"):
        (tmp_path / "new" / "of another").touch()
        raise ZeroDivisionError
    assert names(tmp_path / "new") == ["of another"]


@pytest.mark.skipif(not files._HAS_LOCKS, reason="nothing is locked here")
def test_one_at_a_time_is_in_a_folder_and_others_wait(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with one_at_a_time(tmp_path / "a"):
            entered.set()

    with one_at_a_time(tmp_path / "a"):
        thread = threading.Thread(target=enter, daemon=True)
        thread.start()
        with one_at_a_time(tmp_path / "b"):
            assert not entered.wait(0.2)
    thread.join()
    assert entered.is_set() and names(tmp_path) == []


def test_where_nothing_can_be_locked_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_HAS_LOCKS", False)
    with one_at_a_time(tmp_path), one_at_a_time(tmp_path):
        pass


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    files.check_place(tmp_path / "folder" / "a.txt")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "b.txt")
    files.check_place(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    (tmp_path / "file").touch()
    (tmp_path / "blocked").symlink_to(tmp_path / "file" / "b.txt")
    for name in ("file/folder/a.txt", "blocked"):
        with pytest.raises(NotADirectoryError) as raised:
            files.check_place(tmp_path / name)
        assert raised.value.filename == str(files.followed(tmp_path / name))


def test_text_is_utf_8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "é\n\r\n")
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa9\n\r\n"


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_link_leads_to_is_written_not_the_link(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "file"
    if is_there:
        target.touch()
    (tmp_path / "link").symlink_to(target)
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "text"
    assert names(tmp_path / "elsewhere") == ["file"]


def test_what_is_packed_goes_by_the_name_that_readers_know(tmp_path: Path) -> None:
    (tmp_path / "a.gz").symlink_to("blob")
    (tmp_path / "b").symlink_to("blob.gz")
    for name in ("a.gz", "b"):
        write_text(tmp_path / name, "text")
        with InputFile(tmp_path / name) as file:
            assert file.read(100) == b"text"


def test_links_that_lead_to_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        write_text(tmp_path / "one", "text")


def test_a_folder_is_locked_once_until_it_is_closed(tmp_path: Path) -> None:
    one, other = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert lock(one)
    assert not lock(other)
    os.close(one)
    assert lock(other)
    os.close(other)


# --- what a killed writer leaves

needs_fork = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks this process, which Linux can")


def killed_in(write: Callable[[], None]) -> None:
    """Lets a process of its own write until it is killed, which nothing can catch."""
    child = os.fork()
    if child == 0:
        write()
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def die_writing(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(TEXT)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def die_filling(path: Path) -> None:
    with atomic_folder(path) as fresh:
        write_to_disk(fresh / "file", TEXT)
        os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
@pytest.mark.parametrize("name", ["out", "out.gz", "what [is] this?"])
def test_the_next_write_removes_what_a_kill_left(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for _ in range(2):
        killed_in(lambda: die_writing(path))
        (left,) = names(tmp_path)
        assert left.startswith(f".{name}.") and left.endswith(".tmp")
        write_text(tmp_path / "other", "")
        assert left in names(tmp_path)
        write_text(path, "text")
        assert names(tmp_path) == sorted([name, "other"])
        (tmp_path / "other").unlink()
        path.unlink()


@needs_fork
def test_the_next_folder_takes_the_place_of_what_a_kill_left(tmp_path: Path) -> None:
    path = tmp_path / "out"
    killed_in(lambda: die_filling(path))
    (left,) = tmp_path.iterdir()
    assert names(left) == ["file"]
    for content in (b"one", b"other"):
        with atomic_folder(path) as fresh:
            write_to_disk(fresh / "file", content)
        assert names(tmp_path) == ["out"] and (path / "file").read_bytes() == content
    killed_in(lambda: die_filling(path))
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as fresh:
        raise ZeroDivisionError
    assert names(tmp_path) == ["out"] and (path / "file").read_bytes() == b"other"


def test_a_writer_that_lives_keeps_its_file_and_its_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "out") as slow, atomic_folder(tmp_path / "folder") as fresh:
        slow.write(b"slow")
        for name in names(tmp_path):  # nobody can say that it was not touched for long
            os.utime(tmp_path / name, (0, 0))
        write_text(tmp_path / "out", "quick")
        with atomic_folder(tmp_path / "folder") as other:
            write_to_disk(other / "file", b"quick")
        assert (tmp_path / "out").read_text() == "quick"
        write_to_disk(fresh / "file", b"slow")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "folder" / "file").read_bytes() == b"slow"
    assert names(tmp_path) == ["folder", "out"]


@pytest.mark.parametrize("name", [".out.01234567.89abcdef.tmp", ".out.4711.tmp"])
def test_what_may_be_of_another_machine_or_version_stays_for_a_day(name: str, tmp_path: Path) -> None:
    """There locks may be unknown here, or there are none."""
    (tmp_path / name).touch()
    now_s = (tmp_path / name).stat().st_mtime
    os.utime(tmp_path / name, (now_s - 80_000, now_s - 80_000))
    write_text(tmp_path / "out", "")
    assert names(tmp_path) == [name, "out"]
    os.utime(tmp_path / name, (now_s - 90_000, now_s - 90_000))
    write_text(tmp_path / "out", "")
    assert names(tmp_path) == ["out"]


def test_other_files_that_begin_with_a_dot_stay(tmp_path: Path) -> None:
    others = [".out.tmp", ".out.x.tmp", ".out.4711.tmp2", ".out2.4711.tmp", ".out", ".out.4711.part", "out.4711.tmp"]
    for name in others:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".out.1.tmp").symlink_to(tmp_path / ".out")
    write_text(tmp_path / "out", "")
    assert names(tmp_path) == sorted([*others, ".out.1.tmp", "out"])


def test_without_locks_nothing_is_taken_for_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f".out.{files._machine()}.01234567.tmp"
    left.touch()
    os.utime(left, (0, 0))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(files.fcntl, "flock", refuse)
        write_text(tmp_path / "out", "")
    with monkeypatch.context() as patch:
        patch.setattr(files, "_HAS_LOCKS", False)
        write_text(tmp_path / "out", "")
    assert names(tmp_path) == [left.name, "out"]
    write_text(tmp_path / "out", "")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_writer_that_was_taken_for_dead_in_its_first_moment_begins_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, taken = files.fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not taken:  # another writer locks it first, and removes it
            (one,) = tmp_path.iterdir()
            taken.append(one)
            one.rmdir() if one.is_dir() else one.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(files, "lock", lambda file: (late(getattr(file, "fileno", lambda: file)(), 2 | 4), True)[1])
    if kind == "file":
        write_text(tmp_path / "out", "text")
        assert (tmp_path / "out").read_text() == "text"
    else:
        with atomic_folder(tmp_path / "out") as fresh:
            write_to_disk(fresh / "file", b"text")
        assert names(tmp_path / "out") == ["file"]
    assert len(taken) == 1 and names(tmp_path) == ["out"]


# --- what the disk does not take


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_disk_that_takes_no_more_is_told_with_the_file(
    size: int, tmp_path: Path, files_of_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with files_of_at_most(5_000), pytest.raises(OSError, match="too large") as caught, atomic_write(path) as file:
        file.write(bytes(size))
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    with files_of_at_most(5_000), pytest.raises(OSError, match="too large") as caught, atomic_folder(path) as fresh:
        write_to_disk(fresh / "file", bytes(size))
    assert (caught.value.filename, caught.value.filename2) == (str(path / "file"), None)
    assert names(tmp_path) == ["out"] and path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["open", "replace"])
def test_an_error_names_the_file_not_what_it_is_called_until_then(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *others: object) -> None:
        assert path.name != "out"
        raise PermissionError(errno.EACCES, "Permission denied", str(path), None, *map(str, others))

    monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(PermissionError) as caught:
        write_text(tmp_path / "out", "text")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "out"), None)
    assert names(tmp_path) == []


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "out"):
        (tmp_path / "source").read_bytes()
    assert caught.value.filename == str(tmp_path / "source")


def test_folders_exchange_their_names_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    for platform in (sys.platform, "another"):
        monkeypatch.setattr(files.sys, "platform", platform)
        files.exchange(tmp_path / "a", tmp_path / "b")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["a"]


def test_a_path_that_is_no_utf8_comes_back_from_json(tmp_path: Path) -> None:
    told = {"data": b"\xe7\x8c\xab/\x83f\x81[\x83^".decode("utf-8", "surrogateescape")}  # 猫, and Shift JIS
    write_json(tmp_path / "told.json", told)
    assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8")) == told
