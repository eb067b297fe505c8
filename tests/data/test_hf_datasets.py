"""A prepared dataset in the library `datasets`."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from quickstroke.data.dataset import PreparedDataset
from quickstroke.errors import MissingExtra


@pytest.mark.skipif(find_spec("datasets") is None, reason="datasets is not installed: quickstroke[datasets]")
def test_every_drawing_comes_out_in_its_split(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from quickstroke.data import hf_datasets

    monkeypatch.setattr(hf_datasets, "_PIECE", 7)  # several
    made = dataset.to_datasets()
    assert {split: len(rows) for split, rows in made.items()} == {"train": 120, "val": 30, "test": 30}
    for split, rows in made.items():
        assert rows.features["word"].names == list(dataset.classes) and str(rows.split) == split
        for row, i in zip(rows, dataset.indices(split), strict=True):
            strokes = [np.array([stroke["x"], stroke["y"]]).T for stroke in row["drawing"]]
            assert (row["word"], row["key_id"]) == (dataset.labels[i], str(dataset.key_ids[i]))
            for own, expected in zip(strokes, dataset.strokes(int(i)), strict=True):
                np.testing.assert_array_equal(own, expected)
    few = made["test"].filter(lambda row: row["word"] == 1).map(lambda row: {"n": len(row["drawing"])})
    assert len(few) == 10 and min(few["n"]) >= 1


def test_without_the_library_it_says_what_to_install(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "quickstroke.data.hf_datasets", raising=False)
    with pytest.raises(MissingExtra, match=r"to_datasets needs .*: pip install 'quickstroke\[datasets\]'"):
        dataset.to_datasets()
