"""Official files from Google's public bucket, checked while they come, whole or not at all.

Where the files lie: github.com/googlecreativelab/quickdraw-dataset, "Get the data".
"""

import base64
import hashlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from quickstroke.drawings.categories import CATEGORIES, canonical_word, closest_words
from quickstroke.errors import CategoryError, ConfigError, DownloadError, QuickstrokeError
from quickstroke.utils.files import write_bytes, write_text

DEFAULT_URL = "https://storage.googleapis.com/quickdraw_dataset"

Kind = Literal["binary", "simplified", "raw", "sketchrnn"]
OnProgress = Callable[[str, int, int | None], None]

_FOLDERS: dict[Kind, tuple[str, str]] = {
    "binary": ("full/binary", ".bin"),
    "simplified": ("full/simplified", ".ndjson"),
    "raw": ("full/raw", ".ndjson"),
    "sketchrnn": ("sketchrnn", ".npz"),
}
_CHUNK_BYTES = 1 << 18
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)
# What urllib raises where no answer comes, ValueError for a host's name that cannot be one.
_NO_ANSWER = (OSError, http.client.HTTPException, ValueError)


class _TryAgain(Exception):
    """What went wrong with one try, where another may do better."""


class _NoAnswer(_TryAgain):
    """Nothing came from the server."""


class _WrongFile(_TryAgain):
    """All of it came, and it is not what the server announced."""


class _NoConnection(DownloadError):
    """The server never answered."""


class _Stopped(Exception):
    """Another file has shown that there is no use in going on, or somebody has asked to stop."""


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """One category's file after a download.

    Attributes:
        word: the category.
        path: where the file is.
        n_bytes: its size.
        complete: whether it is all of the official file, not only its beginning.
        kept: whether it was there before and nothing was fetched.
    """

    word: str
    path: Path
    n_bytes: int
    complete: bool
    kept: bool


def file_url(word: str, kind: Kind = "binary", url: str = DEFAULT_URL) -> str:
    """The address of a category's official file."""
    folder, suffix = _FOLDERS[kind]
    return f"{url.rstrip('/')}/{folder}/{quote(word, safe='')}{suffix}"


def download(
    words: Iterable[str],
    into: Path | str,
    *,
    kind: Kind = "binary",
    url: str = DEFAULT_URL,
    first_bytes: int | None = None,
    on_progress: OnProgress = lambda word, done, total: None,
    n_at_once: int = 4,
    n_tries: int = 4,
    timeout_s: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> list[DownloadedFile]:
    """Fetches the files of categories, a few at a time, under their official names.

    A complete file that is there already is kept. What came of a file whose connection broke stays beside its place as
    `.NAME.part`, where the server announced the MD5 of all of it, and the next try, of this call or another, goes on
    behind it. A file made with `first_bytes` is kept only where the same beginning is asked for again: a small note
    beside it, `.NAME.partial`, says that it is no complete file.

    One file that cannot be fetched does not stop the others, but without any connection no more are begun.

    Args:
        words: official categories; one that is named twice is fetched once.
        into: the folder, made where it is missing.
        kind: which official form.
        url: the bucket or a mirror of it, with the same folders.
        first_bytes: fetch only about so many bytes of each file; the drawing or line cut in two at the end
            is left out, so the file is one of whole drawings.
        on_progress: called with the word, the bytes that are there and the bytes that will be (None where the
            server does not say), by several threads; a new try may begin at 0 again.
        n_at_once: files that are fetched at a time.
        n_tries: how often a file is tried when the connection or the server fails; waits are 1, 2, 4 ... s.
        timeout_s: how long the server may be silent.
        sleep: how to wait.

    Raises:
        CategoryError: a word that is no official category (before anything is fetched) or, alone, that the server
            does not have.
        ConfigError: an unknown kind, an address that is not http, `first_bytes` or `n_at_once` below 1, too few bytes
            for one drawing, or `first_bytes` with `.npz` files, which cannot be cut.
        DownloadError: the server cannot be reached, refuses, or sends something else than the file; the file
            cannot be stored; or a file of the other ndjson kind has its name. Of several words it says how many
            are missing, and why.
    """
    _check_url(url)
    _check_options(kind, first_bytes, n_at_once)
    official = list(dict.fromkeys([_official_word(word) for word in words]))
    stop = threading.Event()
    failures: dict[str, QuickstrokeError] = {}

    def one(word: str) -> DownloadedFile | None:
        fetch = _Fetch(word, file_url(word, kind, url), kind, first_bytes, on_progress, timeout_s, stop)
        path = Path(into) / f"{word}{_FOLDERS[kind][1]}"
        try:
            kept = _kept(fetch, path)
            return kept or (None if stop.is_set() else _fetched(fetch, path, n_tries, sleep))
        except OSError as error:
            failures[word] = DownloadError(f"{path}: cannot be stored: {error.strerror or error}")
        except _NoConnection as error:
            failures[word] = error
            stop.set()
        except QuickstrokeError as error:
            failures[word] = error
        except _Stopped:
            pass
        return None

    with ThreadPoolExecutor(n_at_once, "quickstroke-download") as pool:
        try:
            files = [file for file in pool.map(one, official) if file is not None]
        except BaseException:  # asked to stop: what has come of each file stays
            stop.set()
            raise
    if failures:
        raise _failed(failures, len(official) - len(files), len(official))
    return files


def _failed(failures: dict[str, QuickstrokeError], n_missing: int, n_files: int) -> QuickstrokeError:
    reasons = list(failures.values())
    if n_files == 1:
        return reasons[0]
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return DownloadError(
        f"{n_missing} of {n_files} files are missing, the others are there; the same again fetches what is missing. "
        + "; ".join(map(str, reasons[:3]))
        + more
    )


def reachable(url: str = DEFAULT_URL, timeout_s: float = 4.0) -> bool:
    """Whether the bucket, or a mirror of it, answers within `timeout_s`.

    Raises:
        ConfigError: an address that is not http.
    """
    _check_url(url)
    answers: list[bool] = []

    def ask() -> None:
        try:
            request = Request(file_url("circle", url=url), headers={"Range": "bytes=0-0"})
            with urlopen(request, timeout=timeout_s) as response:
                answers.append(not _is_html(response))
        except HTTPError as error:
            with error:
                answers.append(error.code == 404)  # a mirror need not have this category
        except _NO_ANSWER:
            answers.append(False)

    # A thread, because no timeout of the socket bounds the look-up of the host's name.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_s)
    return answers == [True]


@dataclass(frozen=True, slots=True)
class _Fetch:
    word: str
    url: str
    kind: Kind
    first_bytes: int | None
    on_progress: OnProgress
    timeout_s: float
    stop: threading.Event


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"url={url!r}: expected an address that begins with http:// or https://")


def _check_options(kind: Kind, first_bytes: int | None, n_at_once: int) -> None:
    if kind not in _FOLDERS:
        raise ConfigError(f"kind={kind!r}: expected one of {', '.join(get_args(Kind))}")
    if first_bytes is not None and first_bytes < 1:
        raise ConfigError(f"first_bytes={first_bytes}: expected at least 1")
    if first_bytes is not None and kind == "sketchrnn":
        raise ConfigError("first_bytes: a sketch-rnn file (.npz) cannot be cut; expected another kind, or all of it")
    if n_at_once < 1:
        raise ConfigError(f"n_at_once={n_at_once}: expected at least 1")


def _official_word(name: str) -> str:
    word = canonical_word(name)
    if word not in CATEGORIES:
        raise CategoryError(f"{name!r} is no official category{closest_words(name)}")
    return word


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _kept(fetch: _Fetch, path: Path) -> DownloadedFile | None:
    """What is there already, where it is what is asked for."""
    if not path.is_file():
        return None
    _refuse_other_kind(fetch, path)
    size, note = path.stat().st_size, _note(path)
    if not note.exists():
        return DownloadedFile(fetch.word, path, size, complete=True, kept=True)
    if note.read_bytes() == _note_text(fetch, size).encode():
        return DownloadedFile(fetch.word, path, size, complete=False, kept=True)
    return None


def _note_text(fetch: _Fetch, n_bytes: int) -> str:
    return json.dumps({"url": fetch.url, "first_bytes": fetch.first_bytes, "n_bytes": n_bytes}) + "\n"


def _refuse_other_kind(fetch: _Fetch, path: Path) -> None:
    # Raw and simplified files have the same name; a raw stroke has times beside x and y.
    if fetch.kind not in ("raw", "simplified"):
        return
    with path.open("rb") as file:
        line = file.readline()
    try:
        n_rows = len(json.loads(line)["drawing"][0])
    except (ValueError, LookupError, TypeError):
        return
    there: Kind = "raw" if n_rows == 3 else "simplified"
    if there != fetch.kind:
        raise DownloadError(f"{path}: holds {there} drawings already; expected {fetch.kind}, or another folder")


def _fetched(fetch: _Fetch, path: Path, n_tries: int, sleep: Callable[[float], None]) -> DownloadedFile:
    n_tried = 0
    while True:
        try:
            return _one_try(fetch, path)
        except _TryAgain as error:
            n_tried += 1
            if n_tried >= n_tries:
                kind = _NoConnection if isinstance(error, _NoAnswer) else DownloadError
                raise kind(f"{fetch.word!r}: {fetch.url}: {error} (tried {n_tried} times)") from error
            if fetch.stop.is_set():
                raise _Stopped from error
            sleep(2.0 ** (n_tried - 1))


def _one_try(fetch: _Fetch, path: Path) -> DownloadedFile:
    if fetch.first_bytes is None:
        return _whole(fetch, path)
    with _opened(fetch, {"Range": f"bytes=0-{fetch.first_bytes - 1}"}) as response:
        total = _total_bytes(fetch, response)
        data = b"".join(_chunks(fetch, response, total, 0, hashlib.md5(usedforsecurity=False)))
    complete = len(data) < fetch.first_bytes if total is None else len(data) == total
    if not complete:
        data = data[: _whole_records(data) if fetch.kind == "binary" else data.rfind(b"\n") + 1]
        if not data:
            raise ConfigError(f"first_bytes={fetch.first_bytes}: expected enough for one drawing of {fetch.url}")
        write_text(_note(path), _note_text(fetch, len(data)))
    write_bytes(path, data)
    if complete:
        _note(path).unlink(missing_ok=True)
    return DownloadedFile(fetch.word, path, len(data), complete=complete, kept=False)


def _whole(fetch: _Fetch, path: Path) -> DownloadedFile:
    """All of a file, going on behind what an earlier try left of it.

    Only where the server announces the MD5 of the whole: it says whether what is there belongs to what comes.
    """
    part, promise = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.md5")
    path.parent.mkdir(parents=True, exist_ok=True)
    promised = promise.read_text(encoding="utf-8") if promise.is_file() and part.is_file() else ""
    n_there = part.stat().st_size if promised else 0
    keeps = bool(promised)
    try:
        with _opened(fetch, {"Range": f"bytes={n_there}-"} if n_there else {}, n_there) as response:
            announced, md5 = _official_md5(response), hashlib.md5(usedforsecurity=False)
            if n_there and response.status == 206:
                goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {n_there}-")
                if announced != promised or not goes_on:
                    raise _WrongFile("the server has another file than that of which there is a part")
                with part.open("rb") as file:
                    md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            else:
                _total_bytes(fetch, response)
                n_there, keeps = 0, bool(announced)
                part.unlink(missing_ok=True)
                if announced:
                    write_text(promise, announced)
            with part.open("ab") as file:
                for chunk in _chunks(fetch, response, None, n_there, md5):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                n_bytes = file.tell()
        part.replace(path)
        keeps = False
    except (_WrongFile, OSError, QuickstrokeError):
        keeps = False
        raise
    finally:
        if not keeps:
            part.unlink(missing_ok=True)
            promise.unlink(missing_ok=True)
    # After the file: whatever interrupts us, no beginning is ever without its note.
    _note(path).unlink(missing_ok=True)
    return DownloadedFile(fetch.word, path, n_bytes, complete=True, kept=False)


def _opened(fetch: _Fetch, headers: dict[str, str], n_there: int = 0) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urlopen(Request(fetch.url, headers=headers), timeout=fetch.timeout_s)
    except HTTPError as error:
        with error:
            says = f"the server says {error.code} {error.reason}"
        if error.code == 416 and n_there:
            raise _WrongFile(says) from error
        if error.code in _TRY_AGAIN:
            raise _TryAgain(says) from error
        if error.code == 404:
            raise CategoryError(f"{fetch.word!r}: no such file on the server: {fetch.url}") from error
        raise DownloadError(f"{fetch.word!r}: {fetch.url}: {says}; expected the file") from error
    except _NO_ANSWER as error:
        raise _NoAnswer(f"no connection: {getattr(error, 'reason', None) or error!r}") from error
    return response


def _total_bytes(fetch: _Fetch, response: http.client.HTTPResponse) -> int | None:
    """The size of the whole file, where the server says it."""
    if response.status == 200:
        return response.length
    sent = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes 0-\d+/(\d+|\*)", sent)
    if response.status != 206 or fetch.first_bytes is None or match is None:
        raise DownloadError(
            f"{fetch.word!r}: {fetch.url}: the server sent status {response.status}, Content-Range {sent!r}; "
            "expected the file from its beginning"
        )
    return None if match[1] == "*" else int(match[1])


def _chunks(
    fetch: _Fetch, response: http.client.HTTPResponse, total: int | None, n_before: int, md5: "hashlib._Hash"
) -> Iterator[bytes]:
    """The body, no more than `first_bytes` of it, checked against all that the server said about it.

    `n_before` bytes are there of the file already, whose MD5 so far is `md5`.
    """
    announced = expected = response.length
    if fetch.first_bytes is not None:
        expected = fetch.first_bytes if expected is None else min(expected, fetch.first_bytes)
    n_bytes = 0
    while expected is None or n_bytes < expected:
        if fetch.stop.is_set():
            raise _Stopped
        try:
            chunk = response.read(_CHUNK_BYTES if expected is None else min(_CHUNK_BYTES, expected - n_bytes))
        except _NO_ANSWER as error:
            raise _TryAgain(f"the connection broke after {n_before + n_bytes} bytes: {error!r}") from error
        if not chunk:
            break
        begins_here = n_bytes == n_before == 0
        if begins_here and (_is_html(response) or _begins_as_page(chunk, fetch.kind)):
            raise DownloadError(f"{fetch.word!r}: {fetch.url}: the server sent a web page; expected the file")
        n_bytes += len(chunk)
        md5.update(chunk)
        fetch.on_progress(fetch.word, n_before + n_bytes, None if expected is None else n_before + expected)
        yield chunk
    if n_bytes == 0 or (announced is not None and expected is not None and n_bytes < expected):
        raise _TryAgain(f"{n_bytes} bytes came; expected {expected or 'more'}")
    official = _official_md5(response)
    is_whole = fetch.first_bytes is None or n_bytes == total
    if is_whole and official is not None and base64.b64encode(md5.digest()).decode() != official:
        raise _WrongFile("what came does not have the MD5 that the server announced")


def _is_html(response: http.client.HTTPResponse) -> bool:
    return response.headers.get_content_type() == "text/html"


def _begins_as_page(head: bytes, kind: Kind) -> bool:
    # A key_id may begin with the byte `<`; but byte 10 of a binary file is 0 or 1, which no page has there.
    return head.lstrip().startswith(b"<") and not (kind == "binary" and head[10:11] in (b"\0", b"\1"))


def _official_md5(response: http.client.HTTPResponse) -> str | None:
    """The MD5 of the whole file in base64, where the bucket announces it.

    The header: cloud.google.com/storage/docs/xml-api/reference-headers, x-goog-hash.
    """
    # Where the bucket unpacks a file on its way to us, the hash is of the packed one.
    if response.headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return None
    for said in ",".join(response.headers.get_all("x-goog-hash", [])).split(","):
        name, _, value = said.strip().partition("=")
        if name == "md5":
            return value
    return None


def _whole_records(data: bytes) -> int:
    """Where the last whole drawing of a binary file's beginning ends (the format: `formats/binary.py`)."""
    end = 0
    while (at := end + 17) <= len(data):
        for _ in range(int.from_bytes(data[at - 2 : at], "little")):
            if at + 2 > len(data):
                return end
            at += 2 + 2 * int.from_bytes(data[at : at + 2], "little")
        if at > len(data):
            return end
        end = at
    return end
