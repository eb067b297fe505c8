"""Parts of files: a download that goes on behind what came, and the beginning of a file."""

from pathlib import Path

import pytest
from bucket import BODY, SIMPLIFIED, Answer, Bucket, Getter, binary_file, md5_header, names

from quickstroke.drawings import download as download_module
from quickstroke.errors import ConfigError, DownloadError


@pytest.mark.parametrize("breaks", [[4], [4, 7], [4, 0, 9]])
def test_goes_on_behind_what_came(bucket: Bucket, get: Getter, tmp_path: Path, breaks: list[int]) -> None:
    broken = [Answer(BODY, breaks_after=n, headers=[md5_header(BODY)]) for n in breaks]
    bucket.put("cat", *broken, Answer(BODY, headers=[md5_header(BODY)]))
    assert get().path.read_bytes() == BODY
    begins = [sum(breaks[:n]) for n in range(len(breaks) + 1)]
    assert [sent for _, sent in bucket.requests] == [f"bytes={n}-" if n else None for n in begins]
    assert names(tmp_path) == ["cat.bin"]


def test_another_command_goes_on(bucket: Bucket, get: Getter, tmp_path: Path) -> None:
    bucket.put("cat", Answer(BODY, breaks_after=20, headers=[md5_header(BODY)]))
    with pytest.raises(DownloadError, match=r"0 bytes came|bytes came; expected|broke"):
        get(n_tries=1)
    assert names(tmp_path) == [".cat.bin.md5", ".cat.bin.part"]
    bucket.put("cat", Answer(BODY, headers=[md5_header(BODY)]))
    assert get().path.read_bytes() == BODY
    assert bucket.requests[-1][1] == "bytes=20-"
    assert names(tmp_path) == ["cat.bin"]


@pytest.mark.parametrize(
    "then",
    [
        Answer(BODY[::-1], headers=[md5_header(BODY[::-1])]),  # it was changed in the meantime
        Answer(BODY, with_range=False, headers=[md5_header(BODY)]),  # the server knows no ranges
        Answer(BODY),  # it no longer announces anything
        Answer(BODY[:20], headers=[md5_header(BODY[:20])]),  # and has nothing behind what is there
        Answer(BODY, headers=[md5_header(BODY), ("Content-Range", f"bytes 9-{len(BODY) - 1}/{len(BODY)}")]),
    ],
)
def test_begins_again_where_a_part_does_not_fit(bucket: Bucket, get: Getter, tmp_path: Path, then: Answer) -> None:
    bucket.put("cat", Answer(BODY, breaks_after=20, headers=[md5_header(BODY)]), then)
    assert get().path.read_bytes() == then.body
    assert names(tmp_path) == ["cat.bin"]


def test_a_part_that_was_damaged_is_not_gone_on_with(bucket: Bucket, get: Getter, tmp_path: Path) -> None:
    answer = Answer(BODY, headers=[md5_header(BODY)])
    bucket.put("cat", Answer(BODY, breaks_after=20, headers=[md5_header(BODY)]))
    with pytest.raises(DownloadError):
        get(n_tries=1)
    (tmp_path / ".cat.bin.part").write_bytes(bytes(20))
    bucket.put("cat", answer)
    assert get().path.read_bytes() == BODY
    assert get.waits == [1]  # the MD5 told it, and all came anew


def test_without_an_md5_nothing_is_kept_of_a_broken_file(bucket: Bucket, get: Getter, tmp_path: Path) -> None:
    bucket.put("cat", Answer(BODY, breaks_after=20))
    with pytest.raises(DownloadError):
        get(n_tries=2)
    assert names(tmp_path) == []


@pytest.mark.parametrize("with_range", [True, False])
@pytest.mark.parametrize("with_length", [True, False])
def test_the_beginning_of_a_binary_file(bucket: Bucket, get: Getter, with_range: bool, with_length: bool) -> None:
    whole = binary_file(20000)
    # The hash is that of the whole file: it must not be held against a part.
    answer = Answer(whole, with_range=with_range, with_length=with_length, headers=[md5_header(whole)])
    bucket.put("cat", answer)
    ends = [len(binary_file(n)) for n in range(1, 30)]
    for first_bytes in (
        ends[0],
        ends[0] + 1,
        ends[4] - 1,
        ends[4],
        ends[4] + 16,
        ends[4] + 18,
        ends[20] + 19,
    ):
        file = get(first_bytes=first_bytes)
        assert not file.complete and not file.kept
        assert file.n_bytes == max(end for end in ends if end <= first_bytes)
        assert file.path.read_bytes() == whole[: file.n_bytes]
        assert bucket.requests[-1][1] == f"bytes=0-{first_bytes - 1}"


def test_a_beginning_is_not_mistaken_for_the_file(bucket: Bucket, get: Getter, tmp_path: Path) -> None:
    whole = binary_file(100)
    bucket.put("cat", Answer(whole, headers=[md5_header(whole)]))
    first = get(first_bytes=300)
    assert names(tmp_path) == [".cat.bin.partial", "cat.bin"]
    again = get(first_bytes=300)
    assert again.kept and not again.complete and again.n_bytes == first.n_bytes
    assert get(first_bytes=500).n_bytes > first.n_bytes
    full = get()
    assert full.complete and not full.kept and full.path.read_bytes() == whole
    assert names(tmp_path) == ["cat.bin"]
    assert get().kept
    assert len(bucket.requests) == 3


@pytest.mark.parametrize("with_range", [True, False])
def test_a_beginning_that_is_the_whole_file(bucket: Bucket, get: Getter, tmp_path: Path, with_range: bool) -> None:
    whole = binary_file(5)
    bucket.put("cat", Answer(whole, with_range=with_range))
    bucket.put("dog", Answer(whole, with_range=with_range, headers=[md5_header(b"else")]))
    assert get(first_bytes=len(whole)).complete
    assert names(tmp_path) == ["cat.bin"]
    with pytest.raises(DownloadError, match="MD5"):
        get("dog", first_bytes=1000)


def test_the_beginning_of_an_ndjson_file_ends_with_a_line(bucket: Bucket, get: Getter) -> None:
    bucket.put("cat", SIMPLIFIED, kind="simplified")
    n = len(SIMPLIFIED) // 5
    assert get(kind="simplified", first_bytes=3 * n - 1).path.read_bytes() == SIMPLIFIED[: 2 * n]
    assert get(kind="simplified", first_bytes=3 * n).path.read_bytes() == SIMPLIFIED[: 3 * n]


@pytest.mark.parametrize(("kind", "body"), [("binary", binary_file(9)), ("simplified", SIMPLIFIED)])
def test_too_few_bytes_for_one_drawing(
    bucket: Bucket,
    get: Getter,
    tmp_path: Path,
    kind: download_module.Kind,
    body: bytes,
) -> None:
    bucket.put("cat", body, kind=kind)
    with pytest.raises(ConfigError, match="first_bytes=20"):
        get(kind=kind, first_bytes=20)
    assert names(tmp_path) == []


def test_a_range_that_was_not_asked_for(bucket: Bucket, get: Getter) -> None:
    wrong = [("Content-Range", "bytes 100-199/500")]
    bucket.put("cat", Answer(binary_file(9), headers=wrong))
    bucket.put("dog", Answer(binary_file(9), status=206))
    with pytest.raises(DownloadError, match="from its beginning"):
        get(first_bytes=100)
    with pytest.raises(DownloadError, match="from its beginning"):
        get("dog")
