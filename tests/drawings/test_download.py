"""Downloads from a server on this machine: whole files, what is tried again, and what is refused."""

import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bucket import BODY, RAW, SIMPLIFIED, Answer, Bucket, Getter, binary_file, md5_header, names

from quickstroke.drawings import download as download_module
from quickstroke.drawings.categories import CATEGORIES
from quickstroke.drawings.download import download, file_url, reachable
from quickstroke.errors import CategoryError, ConfigError, DownloadError, QuickstrokeError


def test_addresses() -> None:
    assert file_url("The Eiffel Tower") == (
        "https://storage.googleapis.com/quickdraw_dataset/full/binary/The%20Eiffel%20Tower.bin"
    )
    assert file_url("cat", "simplified").endswith("/full/simplified/cat.ndjson")
    assert file_url("cat", "raw").endswith("/full/raw/cat.ndjson")
    assert file_url("t-shirt", "sketchrnn", "http://mirror/").endswith("mirror/sketchrnn/t-shirt.npz")
    assert all(quote(word) in file_url(word) for word in CATEGORIES)


def test_fetches_whole_files_in_order(bucket: Bucket, tmp_path: Path) -> None:
    cat, ice_cream = binary_file(2000), binary_file(3)
    bucket.put("cat", Answer(cat, headers=[md5_header(cat)]))
    bucket.put("ice cream", ice_cream)
    seen: list[tuple[str, int, int | None]] = []
    files = download(
        ["ice_cream", "CAT", "cat"],
        tmp_path / "new",
        url=bucket.url + "/",
        on_progress=lambda *a: seen.append(a),
    )
    assert [(file.word, file.n_bytes, file.complete, file.kept) for file in files] == [
        ("ice cream", len(ice_cream), True, False),
        ("cat", len(cat), True, False),
    ]
    assert files[1].path == tmp_path / "new" / "cat.bin"
    assert files[1].path.read_bytes() == cat
    assert names(tmp_path / "new") == ["cat.bin", "ice cream.bin"]
    last = {word: (n, total) for word, n, total in seen}  # side by side: in whichever order
    assert last == {"ice cream": (len(ice_cream), len(ice_cream)), "cat": (len(cat), len(cat))}
    assert [sent_range for _, sent_range in bucket.requests] == [None, None]


def test_keeps_a_complete_file_without_asking(bucket: Bucket, get: Getter) -> None:
    bucket.put("cat", binary_file(3))
    get()
    again = get()
    assert again.kept and again.complete and again.n_bytes == len(binary_file(3))
    assert get(first_bytes=60).kept
    assert len(bucket.requests) == 1


def test_a_server_without_content_length(bucket: Bucket, get: Getter) -> None:
    body = binary_file(3)
    bucket.put("cat", Answer(body, with_length=False))
    seen: list[tuple[str, int, int | None]] = []
    assert get(on_progress=lambda *a: seen.append(a)).path.read_bytes() == body
    assert seen == [("cat", len(body), None)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Answer(status=503), "503"),
        (Answer(status=429), "429"),
        (Answer(binary_file(3)[:40], announce=len(binary_file(3))), "40 bytes came; expected"),
        (Answer(b""), "0 bytes came"),
        (Answer(binary_file(3), headers=[md5_header(b"else")]), "MD5"),
        (Answer(binary_file(3), with_length=False, headers=[md5_header(b"else")]), "MD5"),
    ],
)
def test_tries_again_and_gives_up(bucket: Bucket, get: Getter, tmp_path: Path, broken: Answer, reason: str) -> None:
    bucket.put("cat", broken, broken, binary_file(3))
    assert get().path.read_bytes() == binary_file(3)
    assert get.waits == [1, 2]
    (tmp_path / "cat.bin").unlink()

    bucket.put("cat", broken)
    with pytest.raises(DownloadError, match=rf"'cat'.*/full/binary/cat\.bin.*{reason}.*tried 4 times"):
        get()
    assert get.waits == [1, 2, 4]
    assert names(tmp_path) == []


def test_a_closed_port_is_tried_again(get: Getter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(download_module, "urlopen", refuse)
    with pytest.raises(DownloadError, match=r"no connection.*refused.*tried 2 times"):
        get(n_tries=2)


def test_a_broken_connection_is_tried_again(get: Getter, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("cat", binary_file(3))
    opened = download_module._opened
    n_opened = 0

    def fragile(*arguments: Any) -> object:
        nonlocal n_opened
        response = opened(*arguments)
        n_opened += 1
        if n_opened == 1:

            def read(amount: int) -> bytes:
                raise TimeoutError("timed out")

            response.read = read  # type: ignore[method-assign,assignment]
        return response

    monkeypatch.setattr(download_module, "_opened", fragile)
    assert get().path.read_bytes() == binary_file(3)
    assert get.waits == [1]


def test_several_at_once_are_there_in_order(bucket: Bucket, tmp_path: Path) -> None:
    words = CATEGORIES[:30]
    for number, word in enumerate(words):
        bucket.put(word, binary_file(1 + number % 7, key_id=number))
    seen: set[str] = set()
    files = download(words, tmp_path, url=bucket.url, n_at_once=7, on_progress=lambda word, n, total: seen.add(word))
    assert [file.word for file in files] == list(words) and seen == set(words)
    for number, file in enumerate(files):
        assert file.path.read_bytes() == binary_file(1 + number % 7, key_id=number)


def test_one_that_fails_does_not_stop_the_others(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("cat", BODY)
    bucket.put("dog", Answer(status=403))
    bucket.put("bee", BODY)
    options: dict[str, Any] = {"url": bucket.url, "sleep": lambda seconds: None, "n_at_once": 1}
    with pytest.raises(DownloadError, match=r"2 of 4 files are missing.*'dog'.*403.*'pear'.*no such file"):
        download(["cat", "dog", "pear", "bee"], tmp_path, **options)
    assert names(tmp_path) == ["bee.bin", "cat.bin"]
    bucket.put("dog", BODY)
    bucket.put("pear", BODY)
    kept = {file.word: file.kept for file in download(["cat", "dog", "pear", "bee"], tmp_path, **options)}
    assert kept == {"cat": True, "dog": False, "pear": False, "bee": True}


def test_without_a_connection_no_more_are_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def refuse(request: Any, **_: object) -> None:
        asked.append(request.full_url)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(download_module, "urlopen", refuse)
    with pytest.raises(DownloadError, match=r"345 of 345 files are missing.*no connection"):
        download(CATEGORIES, tmp_path, url="http://localhost:1", sleep=lambda seconds: None, n_at_once=2, n_tries=2)
    assert len(set(asked)) <= 3
    assert names(tmp_path) == []


def test_a_request_to_stop_ends_them_all(bucket: Bucket, tmp_path: Path) -> None:
    for word in CATEGORIES[:20]:
        bucket.put(word, binary_file(50))

    def stop(word: str, n: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(CATEGORIES[:20], tmp_path, url=bucket.url, n_at_once=2, on_progress=stop)
    assert names(tmp_path) == []


def test_hashes_in_two_headers_or_of_a_packed_file(bucket: Bucket, get: Getter) -> None:
    body = binary_file(3)
    crc32c, md5 = md5_header(body)[1].split(",")
    bucket.put("cat", Answer(body, headers=[("x-goog-hash", crc32c), ("x-goog-hash", md5)]))
    get()
    packed = [md5_header(b"packed"), ("x-goog-stored-content-encoding", "gzip")]
    bucket.put("dog", Answer(body, headers=packed))
    get("dog")


@pytest.mark.parametrize("first_bytes", [None, 50])
@pytest.mark.parametrize(
    "page",
    [
        Answer(binary_file(3), headers=[("Content-Type", "text/html; charset=utf-8")]),
        Answer(b"\n<!DOCTYPE html><title>Log in to this network</title>" + b" " * 100),
    ],
)
def test_refuses_a_web_page(bucket: Bucket, get: Getter, tmp_path: Path, page: Answer, first_bytes: int | None) -> None:
    bucket.put("cat", page)
    with pytest.raises(DownloadError, match=r"'cat'.*web page"):
        get(first_bytes=first_bytes)
    assert get.waits == []
    assert names(tmp_path) == []


def test_a_binary_file_may_begin_with_the_byte_of_a_tag(bucket: Bucket, get: Getter) -> None:
    body = binary_file(2, key_id=int.from_bytes(b"<html>\0\0", "little"))
    bucket.put("cat", body)
    assert get().path.read_bytes() == body


def test_a_file_that_the_server_lacks(get: Getter, tmp_path: Path) -> None:
    with pytest.raises(CategoryError, match=r"'cat'.*http://127.0.0.1:\d+/full/binary/cat\.bin"):
        get()
    assert get.waits == [] and names(tmp_path) == []


def test_a_server_that_refuses(bucket: Bucket, get: Getter) -> None:
    bucket.put("cat", Answer(status=403))
    with pytest.raises(DownloadError, match="403"):
        get()
    assert get.waits == []
    assert issubclass(DownloadError, QuickstrokeError)


def test_words_are_checked_before_anything_is_fetched(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("cat", binary_file(3))
    with pytest.raises(CategoryError, match=r"'bicicle' .*did you mean 'bicycle'"):
        download(["cat", "bicicle"], tmp_path, url=bucket.url)
    assert bucket.requests == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "png"}, "kind='png'.*binary, simplified, raw, sketchrnn"),
        ({"url": "file:///etc"}, "url='file:///etc'.*http"),
        ({"first_bytes": 0}, "first_bytes=0"),
        ({"first_bytes": 10, "kind": "sketchrnn"}, "npz"),
    ],
)
def test_options_that_cannot_be(get: Getter, options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        get(**options)


def test_other_kinds_and_their_common_name(bucket: Bucket, get: Getter) -> None:
    bucket.put("cat", RAW, kind="raw")
    bucket.put("cat", SIMPLIFIED, kind="simplified")
    bucket.put("cat", b"PK\x03\x04", kind="sketchrnn")
    assert get(kind="raw").path.read_bytes() == RAW
    assert get(kind="raw").kept
    assert get(kind="sketchrnn").path.name == "cat.npz"
    with pytest.raises(DownloadError, match=r"cat\.ndjson: holds raw drawings already"):
        get(kind="simplified")


def test_a_folder_that_cannot_be_made(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("cat", binary_file(3))
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cat\.bin: cannot be stored"):
        download(["cat"], tmp_path / "file", url=bucket.url)


def test_an_interrupted_download_leaves_nothing(bucket: Bucket, get: Getter, tmp_path: Path) -> None:
    bucket.put("cat", binary_file(3))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(on_progress=interrupt)
    assert names(tmp_path) == []


def test_reachable(bucket: Bucket) -> None:
    assert reachable(bucket.url, timeout_s=600)  # a mirror without circles
    bucket.put("circle", binary_file(3))
    assert reachable(bucket.url, timeout_s=600)
    bucket.put("circle", Answer(b"<html>", headers=[("Content-Type", "text/html")]))
    assert not reachable(bucket.url, timeout_s=600)
    bucket.put("circle", Answer(status=403))
    assert not reachable(bucket.url, timeout_s=600)
    with pytest.raises(ConfigError):
        reachable("storage.googleapis.com")


def test_reachable_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def no_name(*_: object, **__: object) -> None:
        ended.wait(600)
        raise OSError("no such host")

    monkeypatch.setattr(download_module, "urlopen", no_name)
    assert not reachable(timeout_s=0.05)
    ended.set()
    assert not reachable(timeout_s=600)
