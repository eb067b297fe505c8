"""A prepared dataset for the library `datasets` of Hugging Face, in the columns of its mirror of Quick, Draw!."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from quickstroke.data.batches import n_points_of
from quickstroke.data.memory import gathered
from quickstroke.utils.telemetry import import_datasets

if TYPE_CHECKING:
    from quickstroke.data.dataset import PreparedDataset

datasets = import_datasets()
# Drawings that are written at a time: what is only needed meanwhile takes some 100 MB.
_PIECE = 100_000


def to_datasets(data: "PreparedDataset") -> Any:
    """As `PreparedDataset.to_datasets`."""
    numbers = datasets.Value("uint8")
    features = datasets.Features(
        {
            "key_id": datasets.Value("string"),
            "word": datasets.ClassLabel(names=list(data.classes)),
            "drawing": datasets.List({"x": datasets.List(numbers), "y": datasets.List(numbers)}),
        }
    )
    info = datasets.DatasetInfo(features=features)
    made = datasets.DatasetDict()
    for split, n in data.n_by_split(data.classes).items():
        if n:
            table = pa.Table.from_batches(_pieces(data, data.indices(split)), features.arrow_schema)
            made[split] = datasets.Dataset(datasets.table.InMemoryTable(table), info=info, split=split)
    return made


def _pieces(data: "PreparedDataset", indices: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """The columns of some drawings, int64 (N,)."""
    for begin in range(0, len(indices), _PIECE):
        rows = indices[begin : begin + _PIECE]  # (n,)
        at, offsets, is_last = gathered(data, rows, n_points_of(data, rows))  # (P,), (n + 1,), (P,)
        strokes = np.concatenate([[0], np.flatnonzero(is_last) + 1])  # (S + 1,), where each begins
        columns = [
            pa.ListArray.from_arrays(strokes.astype(np.int32), pa.array(np.ascontiguousarray(data.points[at, axis])))
            for axis in (0, 1)
        ]
        drawings = np.searchsorted(strokes, offsets).astype(np.int32)  # (n + 1,) among the strokes
        arrays = [
            pa.array(data.key_ids[rows].astype(str)),
            pa.array(data.labels[rows].astype(np.int64)),
            pa.ListArray.from_arrays(drawings, pa.StructArray.from_arrays(columns, ["x", "y"])),
        ]
        yield pa.RecordBatch.from_arrays(arrays, ["key_id", "word", "drawing"])
