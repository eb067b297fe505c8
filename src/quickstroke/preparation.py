"""A preparation under way, `.NAME.part` beside the dataset NAME: all that it takes to go on after a kill.

    plan.json      what was asked for; a preparation is only gone on with when the same is asked again
    journal.jsonl  a line for each source that was brought to binary files, and for each class that is written
    spilled/       those binary files, a folder a source
    dataset/       the array files, to which one class after the other is appended; at the end it gets its name
    offsets.wide   the offsets, uint64, until it is known how wide they have to be

A journal line says how long the array files were and what their SHA-256 was, so that what is behind it, half a class,
can be cut off, and what is damaged is found. A line that is not whole does not count.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawing import DrawingBlock
from quickstroke.errors import DatasetError
from quickstroke.files import followed, lock, write_text

FORMAT = "quickstroke preparation"
VERSION = 1

# From so many points on, offsets are uint64.
WIDE_POINTS = 2**32

# The array files of a dataset, with the types that each may have.
ARRAYS: dict[str, tuple[str, ...]] = {
    "points": ("<u1",),
    "pen_up": ("<u1",),
    "offsets": ("<u4", "<u8"),
    "labels": ("<u2",),
    "key_ids": ("<u8",),
    "splits": ("<u1",),
}

_PIECE_BYTES = 4 << 20


def folder_of(into: Path) -> Path:
    """Where the preparation of a dataset is while it is under way."""
    into = followed(into)
    return into.with_name(f".{into.name}.part")


class Preparation:
    """The folder of a preparation.

    Attributes:
        folder: the folder.
        into: the dataset that is made.
        sources: of each source that is done, by its position, what its journal line says.
        classes: the journal lines of the classes that are written, in order.
    """

    def __init__(self, into: Path, plan: Mapping[str, Any], resume: bool) -> None:
        """Makes the folder, or takes up the preparation in it.

        Raises:
            DatasetError: there is one and `resume` is false, or another process is at it, or it is damaged, or it was
                begun with another plan.
        """
        self.into, self.folder = into, folder_of(into)
        self.sources: dict[int, dict[str, Any]] = {}
        self.classes: list[dict[str, Any]] = []
        self._journal_path, self._plan_path = self.folder / "journal.jsonl", self.folder / "plan.json"
        self._journal = self._open_journal()
        try:
            is_begun = self._plan_path.exists()
            if is_begun and not resume:
                raise DatasetError(
                    f"{into}: a preparation of it was begun; give --resume to go on with it, or remove {self.folder}"
                )
            if is_begun:
                self._check_plan(plan)
                self._read_journal()
            else:  # whatever a kill left of the first moment, nothing of it was read
                self._journal.truncate(0)
                write_text(self._plan_path, json.dumps({"format": FORMAT, "version": VERSION, **plan}) + "\n")
        except BaseException:
            self._journal.close()
            raise

    def note(self, **line: Any) -> None:
        """Writes a line of the journal."""
        self._journal.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")
        self._journal.flush()
        self._take(line)

    def close(self, keep: bool) -> None:
        """Ends the work in the folder, and removes it unless it is to be kept and anything in it is done."""
        if not (keep and (self.sources or self.classes)):
            if os.name == "nt":  # it has no locks, and removes no open file
                self._journal.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        self._journal.close()

    def _open_journal(self) -> BinaryIO:
        """The journal, locked; what else is in the folder is for the process alone that holds the lock."""
        path = self._journal_path
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another process ended, and removed the folder
                journal = path.open("ab")
                try:
                    if not lock(journal):
                        raise DatasetError(f"{self.into}: another process is preparing it")
                    if os.path.samestat(os.fstat(journal.fileno()), path.stat()):
                        return journal
                except BaseException:
                    journal.close()
                    raise
                journal.close()

    def _check_plan(self, plan: Mapping[str, Any]) -> None:
        path = self._plan_path
        try:
            stored = json.loads(path.read_bytes())
            begun = stored["format"], stored["version"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(path, error) from error
        if begun != (FORMAT, VERSION):
            raise DatasetError(f"{path}: {begun[0]} version {begun[1]}; expected {FORMAT} {VERSION}")
        for key, now in json.loads(json.dumps(plan)).items():
            then = stored.get(key)
            if then != now:
                if isinstance(then, list) and isinstance(now, list):  # long ones: the first that differs
                    at = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), -1)
                    at = min(len(then), len(now)) if at < 0 else at
                    then, now = (one[at] if at < len(one) else None for one in (then, now))
                    key = f"{key}[{at}]"
                raise DatasetError(
                    f"{self.into}: was begun with {key} = {then!r:.80}, cannot resume with {now!r:.80}; "
                    f"remove {self.folder} to start anew"
                )

    def _read_journal(self) -> None:
        path = self._journal_path
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        self._journal.truncate(len(whole))
        try:
            for line in whole.splitlines():
                self._take(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged(path, error) from error

    def _take(self, line: dict[str, Any]) -> None:
        if "source" in line:
            self.sources[line["source"]] = line
        else:
            self.classes.append(line)
            self.sources |= {source["source"]: source for source in line["sources"]}

    def _damaged(self, path: Path, error: Exception) -> DatasetError:
        return DatasetError(f"{path}: damaged ({type(error).__name__}: {error}); remove {self.folder} to start anew")


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
        wide = self._n_points >= WIDE_POINTS
        self._hashes["offsets"] = hashlib.sha256()
        with self._paths["offsets"].open("rb") as source, (self._folder / "offsets.bin").open("wb") as target:
            while len(piece := np.fromfile(source, "<u8", _PIECE_BYTES // 8)):
                data = piece if wide else piece.astype("<u4")
                target.write(data.data)
                self._hashes["offsets"].update(data.data)
        # The disk takes all at once in little more than the time of the largest.
        with ThreadPoolExecutor(len(ARRAYS)) as pool:
            list(pool.map(_to_disk, [self._folder / f"{name}.bin" for name in ARRAYS]))
        shapes = {
            "points": (self._n_points, 2),
            "pen_up": ((self._n_points + 7) // 8,),
            "offsets": (self._n + 1,),
            "labels": (self._n,),
            "key_ids": (self._n,),
            "splits": (self._n,),
        }
        return {
            name: {
                "dtype": dtypes[-1] if wide else dtypes[0],
                "shape": list(shapes[name]),
                "sha256": self._hashes[name].hexdigest(),
            }
            for name, dtypes in ARRAYS.items()
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
