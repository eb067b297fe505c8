"""A prepared dataset: any drawing files brought into one folder of flat arrays, split once and for all.

    manifest.json   version, classes in order, sources with sizes and hashes, split rule, what was left out and why
    points.bin      uint8 (P, 2): x and y of every point, drawing after drawing
    pen_up.bin      bits, lowest first: whether point i ends its stroke
    offsets.bin     uint32, or uint64 from 2^32 points on, (N + 1,): drawing i has points offsets[i] to offsets[i + 1]
    labels.bin      uint16 (N,), index into the classes; ascending
    key_ids.bin     uint64 (N,); a drawing without one gets a hash of its strokes with the top bit set
    splits.bin      uint8 (N,), index into SPLITS

Drawings lie in the order of the classes, within a class in the order of the sources. All are little-endian and
memory-mapped on use. The same input gives the same bytes.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.model import ModelConfig
from quickstroke.data.manifest import ARRAYS, SPLITS, read_manifest
from quickstroke.data.splits import check_split
from quickstroke.drawings.drawing import Drawing, split_strokes
from quickstroke.errors import DatasetError, MissingExtra, expect, expect_path, shown
from quickstroke.utils.files import sha256_of

if TYPE_CHECKING:
    from quickstroke.config.training import TrainConfig
    from quickstroke.data.torch_data import SplitDataset

# So many drawings of a dataset are looked at in one piece.
_PIECE = 1 << 16


class PreparedDataset:
    """A prepared dataset on disk, its arrays memory-mapped.

    Attributes:
        path: its folder.
        manifest: the parsed manifest.json.
        classes: the words, in the order of the labels.
        points, pen_up, offsets, labels, key_ids, splits: read-only arrays as the module's text describes.
    """

    def __init__(self, path: Path | str) -> None:
        """Opens a dataset and checks its manifest, the sizes of its files, and that its offsets and labels can be.

        Raises:
            DatasetError: no dataset there, a damaged manifest, a version this program does not know, array files
                whose sizes are not the manifest's, or whose contents point outside the others.
            ArgumentTypeError: `path` is no path.
        """
        self.path = expect_path(path, "path")
        self._absolute = self.path.absolute()  # for copies, which may be made in another working folder
        self.manifest, self.manifest_sha256 = read_manifest(self.path)
        check_split(self.manifest, self.path / "manifest.json")
        self.classes = tuple(self.manifest["classes"])
        arrays = {name: self._map(name) for name in ARRAYS}
        self.points, self.pen_up, self.offsets = arrays["points"], arrays["pen_up"], arrays["offsets"]
        self.labels, self.key_ids, self.splits = arrays["labels"], arrays["key_ids"], arrays["splits"]
        self._check_contents()

    def __getstate__(self) -> dict[str, Any]:
        """All but the arrays: a copy, in another process too, maps the same files."""
        kept = {key: value for key, value in vars(self).items() if key not in (*ARRAYS, "n_points")}
        return kept | {"path": self._absolute}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        vars(self).update((name, self._map(name)) for name in ARRAYS)

    def _map(self, name: str) -> NDArray[Any]:
        described = self.manifest["arrays"][name]
        path = self.path / f"{name}.bin"
        shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
        expected = math.prod(shape) * dtype.itemsize
        actual = path.stat().st_size if path.is_file() else 0
        if actual != expected:
            raise DatasetError(f"{path}: has {actual} bytes, its manifest says {expected}; prepare the dataset again")
        if expected == 0:
            return np.empty(shape, dtype)
        # A plain array over the map: subclass checks of np.memmap cost time in every slice.
        return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))

    def _check_contents(self) -> None:
        # What reads the points looks neither left nor right: a wrong offset would have it read other memory.
        n, n_points = len(self), len(self.points)
        counted = np.zeros(len(self.classes) * len(SPLITS), dtype=np.int64)
        offset, label = np.zeros(1, dtype=self.offsets.dtype), np.zeros(1, dtype=self.labels.dtype)
        ascends = self._read("offsets", 0, 1)[0] == 0
        for begin in range(0, n, _PIECE):
            end = min(begin + _PIECE, n)
            offsets = np.concatenate([offset, self._read("offsets", begin + 1, end + 1)])
            labels = np.concatenate([label, self._read("labels", begin, end)])
            splits = self._read("splits", begin, end)
            ascends = ascends and bool((offsets[1:] > offsets[:-1]).all())
            if (labels[1:] < labels[:-1]).any():
                raise DatasetError(f"{self.path / 'labels.bin'}: does not ascend; prepare it again")
            if labels[-1] >= len(self.classes):
                raise DatasetError(f"{self.path / 'labels.bin'}: has a label beyond its {len(self.classes)} classes")
            if splits.max() >= len(SPLITS):
                raise DatasetError(f"{self.path / 'splits.bin'}: has a split beyond its {len(SPLITS)}")
            if ascends and offsets[-1] <= n_points and not self._end_strokes(offsets.astype(np.int64)):
                raise DatasetError(f"{self.path / 'pen_up.bin'}: has a drawing whose last point ends no stroke")
            pairs = labels[1:].astype(np.int64) * len(SPLITS) + splits
            counted += np.bincount(pairs, minlength=len(counted))
            offset, label = offsets[-1:], labels[-1:]
        if not ascends or offset[0] != n_points:
            raise DatasetError(f"{self.path / 'offsets.bin'}: does not ascend from 0 to {n_points}; prepare it again")
        told = [[self.manifest["n_by_class"][word][split] for split in SPLITS] for word in self.classes]
        if counted.reshape(-1, len(SPLITS)).tolist() != told:
            raise DatasetError(
                f"{self.path}: labels.bin or splits.bin has other counts than the manifest; prepare it again"
            )

    def _end_strokes(self, offsets: NDArray[np.int64]) -> bool:
        """Whether the last point of each drawing ends a stroke, by `offsets` (N + 1,): compiled code looks for it."""
        first, ends = offsets[0] >> 3, offsets[1:] - 1
        bits = self._read("pen_up", first, (ends[-1] >> 3) + 1)
        return bool((bits[(ends >> 3) - first] >> (ends & 7).astype(np.uint8) & 1).all())

    def _read(self, name: str, begin: int, end: int) -> NDArray[Any]:
        """Elements `begin` to `end` of a flat array: from its file, so that nothing stays mapped."""
        dtype = np.dtype(self.manifest["arrays"][name]["dtype"])
        return np.fromfile(self.path / f"{name}.bin", dtype, end - begin, offset=begin * dtype.itemsize)

    def n_of(self, word: str) -> int:
        """How many drawings a word has, 0 if it is no class."""
        return sum(self.manifest["n_by_class"].get(word, {}).values())

    def key_ids_not_trained_on(self, word: str) -> NDArray[np.uint64]:
        """The ascending key_ids of a word's drawings in the splits `reserved`, `val` and `test`."""
        label = self.classes.index(word) if word in self.classes else 0
        begin = sum(self.n_of(one) for one in self.classes[:label])
        end = begin + self.n_of(word)
        key_ids, splits = self._read("key_ids", begin, end), self._read("splits", begin, end)
        return np.sort(key_ids[splits != SPLITS.index("train")])

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {n:,}" for name, n in self.n_by_split(self.classes).items() if n)
        return f"<PreparedDataset {self.path}: {len(self):,} drawings of {len(self.classes)} words; {splits}>"

    def split(
        self,
        name: str,
        config: ModelConfig | None = None,
        *,
        classes: Sequence[str] | None = None,
        augment: "TrainConfig | None" = None,
    ) -> "SplitDataset":
        """The drawings of a split as a `torch.utils.data.Dataset` of `(points, label)`.

        Args:
            name: `reserved`, `train`, `val` or `test`.
            config: of the model that reads the points: its preprocessing and `max_padding` are taken. By default three
                columns (`delta3`) and at most 100 rows.
            classes: the words to take, in the order of the labels that come back; by default all of the dataset.
            augment: drawings are augmented as a training with these options augments them, anew each time that they are
                asked for, by PyTorch's random numbers. Of the options those of augmentation count.

        Raises:
            DatasetError: the split is unknown or has no drawing of these classes.
            CategoryError: a word that the dataset has not.
            ArgumentTypeError: an argument of another type.
            MissingExtra: PyTorch is not installed.
        """
        try:
            from quickstroke.data.torch_data import SplitDataset
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise MissingExtra("PreparedDataset.split", "torch") from error
        return SplitDataset(self, name, config, classes, augment)

    def to_datasets(self) -> Any:
        """The splits that have drawings as a `datasets.DatasetDict` of Hugging Face, in memory.

        Columns: `key_id`, `word` (a ClassLabel) and `drawing`, a list of strokes {"x": [..], "y": [..]}, integers
        from 0 to 255.

        Raises:
            MissingExtra: the library `datasets` is not installed.
        """
        try:
            from quickstroke.data.hf_datasets import to_datasets
        except ModuleNotFoundError as error:
            raise MissingExtra("PreparedDataset.to_datasets", "datasets") from error
        return to_datasets(self)

    @cached_property
    def n_points(self) -> NDArray[np.int32]:
        """Points of each drawing, int32 (N,)."""
        return np.diff(self.offsets).astype(np.int32)

    def indices(self, split: str, dtype: type[np.integer] = np.int64) -> NDArray[Any]:
        """Indices (N,) of the drawings of a split, ascending: by class, then in source order.

        Args:
            dtype: np.int64, or np.int32, in which millions of drawings take half the memory.

        Raises:
            DatasetError: the split is unknown or has no drawing.
        """
        if not isinstance(split, str) or split not in SPLITS:
            raise DatasetError(f"no split {shown(split)}; expected {', '.join(SPLITS)}")
        wanted, begins = SPLITS.index(split), range(0, len(self), _PIECE)
        parts = (np.flatnonzero(self.splits[begin : begin + _PIECE] == wanted) + begin for begin in begins)
        # Bit by bit: a large array of int64 beside it would leave its hole in the memory of a training.
        found = np.concatenate([np.empty(0, dtype), *(part.astype(dtype) for part in parts)])
        if not len(found):
            have = ", ".join(f"{name} {n}" for name, n in self.manifest["n_by_split"].items() if n)
            raise DatasetError(f"{self.path}: no drawing in split {split!r}; it has {have}")
        return found

    def strokes(self, index: int) -> list[NDArray[np.uint8]]:
        """The strokes, uint8 (n, 2), of one drawing.

        Raises:
            IndexError: `index` is not from 0 to below the number of drawings.
            ArgumentTypeError: `index` is no whole number.
        """
        expect(index, (int, np.integer), "index", "a whole number")
        if not 0 <= index < len(self):
            raise IndexError(f"no drawing {index}: there are {len(self)}")
        begin, end = int(self.offsets[index]), int(self.offsets[index + 1])
        bits = np.unpackbits(self.pen_up[begin >> 3 : (end + 7) >> 3], bitorder="little")
        first = begin - (begin >> 3 << 3)
        pen_up = bits[first : first + end - begin]
        return split_strokes(self.points[begin:end], pen_up)

    def drawings(self, split: str, classes: Sequence[str] | None = None) -> Iterator[Drawing]:
        """The drawings of a split one by one, in the order of `indices`; each has its word, strokes and key_id.

        Args:
            split: `reserved`, `train`, `val` or `test`.
            classes: the words whose drawings come; by default all.

        Raises:
            DatasetError: the split is unknown, or has no drawing of these words.
            CategoryError: a word that the dataset has not.
        """
        from quickstroke.data.selection import resolve_classes, select

        indices = select(self, split, self.label_map(resolve_classes(self, classes, "classes")))
        return (
            Drawing(self.classes[self.labels[i]], self.strokes(i), key_id=int(self.key_ids[i]))
            for i in indices.tolist()
        )

    def n_trained(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Training drawings of each of some classes that it has, int64 (K,)."""
        return np.array([self.manifest["n_by_class"][word]["train"] for word in classes], dtype=np.int64)

    @property
    def n_files_by_split(self) -> dict[str, int]:
        """How many source files went whole to a split, by split: those of `train_only` and the like."""
        sources = self.manifest["sources"]
        return dict(Counter(name for source in sources for name in SPLITS if f"{name}_only" in source))

    def n_train_by_word(self, classes: Sequence[str]) -> dict[str, int]:
        """Training drawings of a word, of those of some words that it has: the `least`, the `median` and the `most`."""
        n = sorted(self.n_trained([word for word in classes if word in self.classes]).tolist())
        return {"least": n[0], "median": n[len(n) // 2], "most": n[-1]} if n else {}

    def n_by_split(self, classes: Sequence[str]) -> dict[str, int]:
        """How many drawings it has of some words, or of those of them that it has, in each split."""
        of_words = [self.manifest["n_by_class"][word] for word in classes if word in self.classes]
        return {split: sum(n[split] for n in of_words) for split in self.manifest["n_by_split"]}

    def label_map(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """For each label of this dataset its index in `classes`, or -1 where `classes` lacks the word."""
        position = {word: i for i, word in enumerate(classes)}
        return np.array([position.get(word, -1) for word in self.classes], dtype=np.int64)

    def verify(self) -> None:
        """Reads everything and compares it with the hashes of the manifest.

        Raises:
            DatasetError: a file that is not what was prepared.
        """
        for name in ARRAYS:
            path = self.path / f"{name}.bin"
            if sha256_of(path) != self.manifest["arrays"][name]["sha256"]:
                raise DatasetError(f"{path}: its contents are not those that were prepared; prepare the dataset again")
