"""A server of drawing files on this machine, and what is asked of it; for the tests of this folder."""

import base64
import hashlib
import io
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quickstroke.drawings import download as download_module
from quickstroke.drawings.download import DownloadedFile, download, file_url


def binary_file(n_drawings: int, key_id: int = 1) -> bytes:
    file = io.BytesIO()
    for index in range(n_drawings):
        file.write(struct.pack("<Q2sbIH", key_id + index, b"ZZ", 1, 0, 2))
        for n_points in (3 + index % 5, 2):
            file.write(struct.pack("<H", n_points) + bytes(range(2 * n_points)))
    return file.getvalue()


def line(*rows: list[int]) -> bytes:
    return json.dumps({"word": "cat", "drawing": [list(rows)]}).encode() + b"\n"


SIMPLIFIED = line([1, 2], [3, 4]) * 5
RAW = line([1, 2], [3, 4], [0, 9]) * 5


@dataclass
class Answer:
    """How the server answers one request for a path."""

    body: bytes = b""
    status: int = 200
    announce: int | None = None  # another Content-Length than the true one
    with_length: bool = True
    with_range: bool = True
    breaks_after: int | None = None  # bytes of the body, of which all are announced
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Bucket:
    """A server on localhost. The last answer of a path is given again and again."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def put(self, word: str, *answers: Answer | bytes, kind: download_module.Kind = "binary") -> None:
        path = file_url(word, kind, "")
        self.answers[path] = [Answer(answer) if isinstance(answer, bytes) else answer for answer in answers]


@dataclass
class Getter:
    """Downloads one file; `waits` are those that the last download asked for."""

    url: str
    folder: Path
    waits: list[float] = field(default_factory=list)

    def __call__(self, word: str = "cat", **options: Any) -> DownloadedFile:
        self.waits.clear()
        options = {"url": self.url, "sleep": self.waits.append} | options
        (file,) = download([word], self.folder, **options)
        return file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def md5_header(body: bytes) -> tuple[str, str]:
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return "x-goog-hash", f"crc32c=AAAAAA==,md5={md5}"


BODY = binary_file(3)
