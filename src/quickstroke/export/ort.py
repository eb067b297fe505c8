"""onnxruntime-web: one pinned version of the npm package, verified every time, so that no Node.js is needed."""

import base64
import hashlib
import http.client
import io
import os
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from quickstroke.errors import DownloadError
from quickstroke.utils.files import atomic_write

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
# `npm view onnxruntime-web@1.30.0 dist.integrity`; the hash is in base64.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="

# What running a model on the CPU in WebAssembly needs.
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

_CHUNK_BYTES = 1 << 18
_MOST_BYTES = 200_000_000
_TIMEOUT_S = 60.0

# github.com/microsoft/onnxruntime, LICENSE; the npm package names its licence but does not hold the text.
LICENCE = """MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def ort_files(
    tarball: Path | str | None = None,
    *,
    url: str = URL,
    integrity: str = INTEGRITY,
    on_bytes: Callable[[int, int | None], None] = lambda n, total: None,
) -> dict[str, bytes]:
    """The files of onnxruntime-web that a page needs, by name, with their licence.

    They come from `tarball`, else from the user's cache, else from `url`, with the proxies that the environment names.

    Args:
        tarball: the npm package, downloaded already.
        url: where it is.
        integrity: its SHA-512, as npm writes it.
        on_bytes: called with the bytes that came and those that will come (None where the server does not say).

    Raises:
        DownloadError: it is not there, or not the package that is expected.
    """
    if tarball is not None:
        try:
            data = Path(tarball).read_bytes()
        except OSError as error:
            raise DownloadError(f"{tarball}: cannot be read: {error.strerror}") from error
        _verify(data, integrity, str(tarball))
    else:
        data = _cached(url, integrity, on_bytes)
    files = {"LICENSE": LICENCE.encode()}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for name in FILES:
                member = archive.extractfile(f"package/dist/{name}")
                if member is None:
                    raise KeyError(name)
                files[name] = member.read()
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise DownloadError(f"{tarball or url}: not the npm package onnxruntime-web {VERSION}: {error}") from error
    return files


def cache_folder() -> Path:
    """Where this user's programs keep what they could fetch again."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "quickstroke"


def _cached(url: str, integrity: str, on_bytes: Callable[[int, int | None], None]) -> bytes:
    path = cache_folder() / url.rsplit("/", 1)[-1]
    with suppress(OSError, DownloadError):  # not there, or damaged: it comes again
        data = path.read_bytes()
        _verify(data, integrity, str(path))
        return data
    data = _fetched(url, on_bytes)
    _verify(data, integrity, url)
    with suppress(OSError), atomic_write(path) as file:  # a folder that cannot be written costs only time
        file.write(data)
    return data


def _fetched(url: str, on_bytes: Callable[[int, int | None], None]) -> bytes:
    advice = "; fetch it elsewhere and give it with --ort FILE"
    data = bytearray()
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response:
            total = response.length
            while chunk := response.read(_CHUNK_BYTES):
                data += chunk
                on_bytes(len(data), total)
                if len(data) > _MOST_BYTES:
                    raise DownloadError(f"{url}: sends more than {_MOST_BYTES:,} bytes{advice}")
            if total is not None and len(data) < total:
                raise DownloadError(f"{url}: the connection broke after {len(data):,} of {total:,} bytes{advice}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"{url}: cannot be fetched: {error}{advice}") from error
    return bytes(data)


def _verify(data: bytes, integrity: str, where: str) -> None:
    algorithm, _, expected = integrity.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    if found != expected:
        raise DownloadError(
            f"{where}: not onnxruntime-web {VERSION}: {len(data):,} bytes whose {algorithm} is {found[:12]}.., "
            f"expected {expected[:12]}.."
        )
