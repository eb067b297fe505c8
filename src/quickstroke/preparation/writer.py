"""The array files of a dataset that is being prepared, written class after class."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.data import manifest
from quickstroke.data.manifest import ARRAYS
from quickstroke.drawings.drawing import DrawingBlock
from quickstroke.errors import DatasetError
from quickstroke.preparation.journal import Preparation

_PIECE_BYTES = 4 << 20


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


class Writer:
    """Appends the drawings of one class after the other to the array files of a preparation."""

    def __init__(self, preparation: Preparation) -> None:
        """Opens the files at what the last journal line says that they hold.

        Raises:
            DatasetError: they do not hold it.
        """
        self._folder = preparation.folder / "dataset"
        self._folder.mkdir(exist_ok=True)
        self._paths = {name: self._folder / f"{name}.bin" for name in ARRAYS}
        self._paths["offsets"] = preparation.folder / "offsets.wide"
        self._n_points = self._n = 0
        self._bits = np.empty(0, dtype=np.uint8)  # fewer than eight pen flags that do not fill a byte yet
        self._hashes = {name: hashlib.sha256() for name in ARRAYS}
        self._sizes = dict.fromkeys(ARRAYS, 0)
        self._files: dict[str, IO[bytes]] = {}
        written = preparation.classes[-1]["written"] if preparation.classes else None
        try:
            for name, path in self._paths.items():
                self._files[name] = path.open("r+b" if written else "wb")
            if written is None:
                self._write("offsets", np.zeros(1, "<u8"))
            else:
                self._take_up(written, preparation.folder)
        except BaseException:
            self.close()
            raise

    def append(
        self,
        label: int,
        block: DrawingBlock,
        keep: NDArray[np.int64],
        key_ids: NDArray[np.uint64],
        splits: NDArray[np.uint8],
    ) -> None:
        """Appends the drawings `keep` (N,) of a block, with their key_ids (N,) and splits (N,)."""
        points, pen_up = block.points, block.pen_up
        lengths = np.diff(block.offsets)
        if len(keep) < len(block):
            kept = np.zeros(len(block), dtype=bool)
            kept[keep] = True
            rows = np.repeat(kept, lengths)
            points, pen_up, lengths = points[rows], pen_up[rows], lengths[keep]
        ends = self._n_points + np.cumsum(lengths)
        bits = np.concatenate([self._bits, pen_up])
        whole = len(bits) // 8 * 8
        self._bits = bits[whole:]
        for name, data in (
            ("points", points),
            ("pen_up", np.packbits(bits[:whole], bitorder="little")),
            ("offsets", ends.astype("<u8")),
            ("labels", np.full(len(keep), label, dtype="<u2")),
            ("key_ids", key_ids.astype("<u8")),
            ("splits", splits),
        ):
            self._write(name, data)
        self._n_points += len(points)
        self._n += len(keep)

    def written(self) -> dict[str, Any]:
        """What a journal line says of the files: all that it takes to go on from here."""
        for file in self._files.values():
            file.flush()
        return {
            "n": self._n,
            "n_points": self._n_points,
            "bits": self._bits.tolist(),
            "bytes": dict(self._sizes),
            "sha256": {name: value.hexdigest() for name, value in self._hashes.items()},
        }

    def key_ids(self) -> Iterator[NDArray[np.uint64]]:
        """The key_ids of all drawings that are there, in pieces."""
        self._files["key_ids"].flush()
        with self._paths["key_ids"].open("rb") as file:
            while len(piece := np.fromfile(file, "<u8", _PIECE_BYTES // 8)):
                yield piece

    def finish(self) -> dict[str, dict[str, Any]]:
        """Brings everything to the disk and tells the type, shape and hash of each file."""
        self._write("pen_up", np.packbits(self._bits, bitorder="little"))
        self.close()
        wide = self._n_points >= manifest.WIDE_POINTS
        self._hashes["offsets"] = hashlib.sha256()
        with self._paths["offsets"].open("rb") as source, (self._folder / "offsets.bin").open("wb") as target:
            while len(piece := np.fromfile(source, "<u8", _PIECE_BYTES // 8)):
                data = piece if wide else piece.astype("<u4")
                target.write(data.data)
                self._hashes["offsets"].update(data.data)
        # The disk takes all at once in little more than the time of the largest.
        with ThreadPoolExecutor(len(ARRAYS)) as pool:
            list(pool.map(_to_disk, [self._folder / f"{name}.bin" for name in ARRAYS]))
        return {
            name: {
                "dtype": ARRAYS[name][-1 if wide else 0],
                "shape": shape,
                "sha256": self._hashes[name].hexdigest(),
            }
            for name, shape in manifest.shapes(self._n, self._n_points).items()
        }

    def close(self) -> None:
        """Closes the files; nothing can be appended any more."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()

    def _write(self, name: str, data: NDArray[Any]) -> None:
        content = data.ravel().data
        self._files[name].write(content)
        self._hashes[name].update(content)
        self._sizes[name] += content.nbytes

    def _take_up(self, written: Mapping[str, Any], folder: Path) -> None:
        for name, file in self._files.items():
            left = self._sizes[name] = written["bytes"][name]
            while left and (piece := file.read(min(left, _PIECE_BYTES))):
                self._hashes[name].update(piece)
                left -= len(piece)
            if self._hashes[name].hexdigest() != written["sha256"][name]:
                raise DatasetError(
                    f"{self._paths[name]}: does not hold what was written to it; remove {folder} to start anew"
                )
            file.truncate()
        self._n, self._n_points = written["n"], written["n_points"]
        self._bits = np.array(written["bits"], dtype=np.uint8)
