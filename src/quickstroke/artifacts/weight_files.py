"""Files that `torch.save` wrote, held against their own size before PyTorch reads them.

PyTorch believes what such a file says of its tensors: a few hundred bytes make it take gigabytes, or read numbers that
are not there. Both forms (torch/serialization.py) are pickles that name storages by how many numbers they have: a zip
archive of `data.pkl` and an entry for each storage, uncompressed; and, before PyTorch 1.6, five pickles, of which the
fourth is the state dict, then the numbers of each storage.
"""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstroke.errors import WeightsError, first_line
from quickstroke.utils import pickles
from quickstroke.utils.files import write_bytes

# Bytes of a number in the storages that a pickle can name (torch/storage.py).
_ITEM_BYTES = {
    f"{kind}Storage": n_bytes
    for n_bytes, kinds in {
        1: "Char Byte Bool",
        2: "Short Half BFloat16",
        4: "Int Float",
        8: "Long Double ComplexFloat",
        16: "ComplexDouble",
    }.items()
    for kind in kinds.split()
}
# A checkpoint of the largest model has some 2,000; each takes far more memory than its opcodes.
_MAX_TENSORS = 4096


def load(path: Path) -> Any:
    """What a file holds, tensors on the CPU, whichever device and PyTorch wrote it; no code in the file ever runs.

    Raises:
        WeightsError: it cannot be read, is damaged, names anything but tensors, or claims more than it has.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    if not data.startswith((b"PK\x03\x04", b"\x80")):
        head = data[:16]
        raise WeightsError(f"{path}: not a PyTorch file: it {f'begins with {head!r}' if head else 'is empty'}")
    try:
        (_check_archive if data.startswith(b"PK") else _check_pickles)(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: such a file is refused or fits
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # for a damaged file both raise anything; the cause is told by its first line
        if isinstance(error, pickle.UnpicklingError):
            raise WeightsError(
                f"{path}: refused: no plain state dict of tensors; damaged, or it may hold code"
            ) from error
        raise WeightsError(f"{path}: damaged or not a PyTorch file ({first_line(error):.120})") from error


def _check_archive(data: bytes) -> None:
    """Raises ValueError, or what zipfile and pickle raise, unless an archive has what it claims."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        sizes = {entry.filename.lower(): entry.file_size for entry in entries}  # PyTorch does not tell case apart
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed; expected an archive as PyTorch writes it")
        if len(sizes) < len(entries) or sum(sizes.values()) > len(data):
            raise ValueError("its entries overlap")
        root = entries[0].filename.partition("/")[0]
        claims = _Claims(archive.read(f"{root}/data.pkl"))
    for key, n_bytes in claims.n_bytes.items():
        if sizes.get(f"{root}/data/{key}".lower(), -1) < n_bytes:
            raise ValueError(f"a tensor claims {n_bytes} bytes that it has not")


def _check_pickles(data: bytes) -> None:
    """As `_check_archive`, for the older form."""
    at, n_bytes = 0, 0
    for _ in range(5):
        end = pickles.check(data, at)
        n_bytes += sum(_Claims(data[at:end]).n_bytes.values())
        at = end
    if n_bytes > len(data) - at:
        raise ValueError(f"its tensors claim {n_bytes} bytes, of which it has {len(data) - at}")


class _Storage:
    def __init__(self, n: int) -> None:
        self.n = n


class _Anything:
    """Stands for an object that is not looked at."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...


class _Claims(pickle.Unpickler):
    """Notes down what a pickle says of storages and tensors, and makes none.

    Attributes:
        n_bytes: of each storage, by its key.

    Raises:
        ValueError: a tensor is larger than its storage, or there are too many; or as `pickles.check`.
        pickle.UnpicklingError: it names something else than a state dict has.
    """

    def __init__(self, data: bytes) -> None:
        pickles.check(data)
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.n_bytes: dict[Any, int] = {}
        self._n_tensors = 0
        self.load()

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "torch", _ if name in _ITEM_BYTES:
                return _ITEM_BYTES[name]
            case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2":
                return self._tensor
            case ("torch._utils", "_rebuild_parameter") | ("collections", "OrderedDict"):
                return _Anything
        raise pickle.UnpicklingError(f"it names {f'{module}.{name}':.60}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, item_bytes, key, _, n, *view = pid
        if kind != "storage" or not (type(n) is int and n >= 0) or any(part is not None for part in view):
            raise ValueError("a storage of a kind that PyTorch does not write")
        self.n_bytes[key] = max(self.n_bytes.get(key, 0), n * item_bytes)
        return _Storage(n)

    def _tensor(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Anything:
        self._n_tensors += 1
        if self._n_tensors > _MAX_TENSORS:
            raise ValueError(f"more than {_MAX_TENSORS} tensors")
        if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
            raise ValueError("a tensor without a shape")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if 0 not in shape and last >= storage.n:
            raise ValueError(f"a tensor of {last + 1} numbers in a storage of {storage.n}")
        return _Anything()


def on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors of a state dict, on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in weights.items()}


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Writes a plain state dict on the CPU, whole or not at all."""
    write_bytes(path, torch_bytes(on_cpu(weights)))


def torch_bytes(value: Any) -> memoryview:
    """What `torch.load` reads, in memory: of a full disk `torch.save` says nothing that a user understands."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getbuffer()
