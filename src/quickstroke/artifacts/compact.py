"""`.quickstroke` files: card and weights, small, in one file, for the npm package and for `loading.load_model`.

All numbers are little-endian.

    offset  bytes
    0       8      "QSTROKE" and a line feed
    8       4      version, 2; in files of version 1 `unknown` has no `words`
    12      4      length of the header; from the file's beginning to its end is a multiple of 16 bytes
    16      8      length of the file
    24             header, JSON in UTF-8: {"card": .., "tensors": {NAME: {"dtype", "shape", "at", "scales_at"}, ..}}
                   tensors, each from its `at` bytes after the header on
    -32     32     SHA-256 of everything before

Tensors have the names of the state dict, and are `float32`, `float16`, or `int8` with a float32 scale for each row
(for each output channel), by which its numbers are multiplied. The JavaScript that reads it is js/src/model-file.js.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.errors import WeightsError, first_line

SUFFIX = ".quickstroke"
MAGIC = b"QSTROKE\n"
VERSION = 2

Weights = Literal["int8", "float16"]

_HEAD = struct.Struct("<8sIIQ")
_ALIGNMENT = 16
_TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "int8": np.dtype("i1")}
# More than any card and list of tensors; a damaged length is not memory to take.
_MOST_HEADER_BYTES = 1 << 24
# What these are scaled by is added up over all weights: they stay exact, and have few numbers.
_EXACT = ("bn.", "norm", "image.norms.", "attention.")


class Tensors(NamedTuple):
    """A state dict as a file has it: what its header says of each tensor, and the bytes behind the header."""

    entries: dict[str, dict[str, Any]]
    body: bytes


def packed(arrays: Mapping[str, NDArray[np.float32]], weights: Weights) -> Tensors:
    """A state dict for a file; matrices become `weights`, the others stay float32.

    Raises:
        WeightsError: a number is too large for float16.
    """
    blocks: list[bytes] = []
    entries: dict[str, dict[str, Any]] = {}
    at = 0

    def put(array: NDArray[Any]) -> int:
        nonlocal at
        data = array.tobytes()
        begin, padding = at, -len(data) % _ALIGNMENT
        blocks.append(data + bytes(padding))
        at += len(data) + padding
        return begin

    for name, array in arrays.items():
        entry: dict[str, Any] = {"dtype": "float32", "shape": list(array.shape)}
        if array.ndim < 2 or name.startswith(_EXACT):
            entry["at"] = put(array.astype("<f4"))
        elif weights == "int8":
            numbers, scales = quantized(array)
            entry |= {"dtype": "int8", "at": put(numbers), "scales_at": put(scales.astype("<f4"))}
        else:
            with np.errstate(over="ignore"):
                halves = array.astype("<f2")
            if not np.isfinite(halves).all():
                raise WeightsError(f"{name} has a weight of {np.abs(array).max():g}, too large for float16")
            entry |= {"dtype": "float16", "at": put(halves)}
        entries[name] = entry
    return Tensors(entries, b"".join(blocks))


def to_bytes(card: Mapping[str, Any], tensors: Tensors) -> bytes:
    """The file of a card and tensors."""
    described = {"card": card, "tensors": tensors.entries}
    header = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-(_HEAD.size + len(header)) % _ALIGNMENT)
    n_bytes = _HEAD.size + len(header) + len(tensors.body) + hashlib.sha256().digest_size
    content = _HEAD.pack(MAGIC, VERSION, len(header), n_bytes) + header + tensors.body
    return content + hashlib.sha256(content).digest()


def quantized(array: NDArray[np.float32], most: int = 127) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers from -most to most of the shape of `array` (N, ..), and a scale (N,) by which each row is to be
    multiplied.

    Of some scales at and below the one that the largest weight of a row needs, each row has the one with the least
    squared error: a single large weight else makes all others coarse.
    """
    rows = array.reshape(len(array), -1).astype(np.float64)  # (N, R)
    largest = np.maximum(np.abs(rows).max(1, initial=0), np.finfo(np.float32).tiny)  # (N,)
    best, scales = np.full(len(rows), np.inf), (largest / most).astype(np.float32)  # (N,)
    for part in np.linspace(1, 0.7, 31):
        scale = (part * largest / most).astype(np.float32)
        error = np.square(_rounded(rows, scale, most) * scale[:, None] - rows).sum(1)
        is_better = error < best
        best[is_better], scales[is_better] = error[is_better], scale[is_better]
    return _rounded(rows, scales, most).astype(np.int8).reshape(array.shape), scales


def _rounded(rows: NDArray[np.float64], scale: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    return np.clip(np.rint(rows / scale[:, None]), -most, most)


def from_bytes(data: bytes, path: Path) -> tuple[str, dict[str, NDArray[np.float32]]]:
    """The card's text and the state dict of a file's bytes, weights as float32; `path` says whose they are.

    Raises:
        WeightsError: it is no such file, cut off, damaged, or of a newer version.
    """
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise WeightsError(f"{path}: not a {SUFFIX} file; expected one of `quickstroke export --to quickstroke`")
    _, version, n_header, n_bytes = _HEAD.unpack_from(data)
    if not 1 <= version <= VERSION:
        raise WeightsError(f"{path}: version {version} of {SUFFIX} files, this program reads version {VERSION}")
    if len(data) < n_bytes:
        raise WeightsError(f"{path}: cut off: it has {len(data):,} of {n_bytes:,} bytes")
    n_hash = hashlib.sha256().digest_size
    if len(data) > n_bytes or hashlib.sha256(data[:-n_hash]).digest() != data[-n_hash:]:
        raise WeightsError(f"{path}: damaged or changed since its export: its hash is not the one that it states")
    try:
        if n_header > min(len(data), _MOST_HEADER_BYTES):
            raise ValueError(f"its header has {n_header} bytes")
        header = json.loads(data[_HEAD.size : _HEAD.size + n_header])
        body = memoryview(data)[_HEAD.size + n_header : -n_hash]
        arrays = {str(name): _array(body, entry) for name, entry in header["tensors"].items()}
        return json.dumps(header["card"], ensure_ascii=False), arrays
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged ({type(error).__name__}: {first_line(error)})") from error


def _array(body: memoryview, entry: Mapping[str, Any]) -> NDArray[np.float32]:
    shape = tuple(entry["shape"])
    if any(type(size) is not int or size < 1 for size in shape):
        raise ValueError(f"a tensor has the shape {shape!r:.60}")
    values = _numbers(body, _TYPES[entry["dtype"]], entry["at"], int(np.prod(shape, dtype=object))).astype(np.float32)
    if entry["dtype"] == "int8":
        scales = _numbers(body, _TYPES["float32"], entry["scales_at"], shape[0])
        with np.errstate(invalid="ignore", over="ignore"):  # weights that are no numbers are refused later
            values = (values.reshape(shape[0], -1) * scales[:, None]).astype(np.float32)
    return values.reshape(shape)


def _numbers(body: memoryview, dtype: np.dtype[Any], at: Any, n: int) -> NDArray[Any]:
    if type(at) is not int or at < 0 or at + n * dtype.itemsize > len(body):
        raise ValueError("a tensor is not within the file")
    return np.frombuffer(body, dtype, n, at)
