"""Which epoch's weights are kept, and when patience ends."""

from dataclasses import replace

import numpy as np
import pytest
from small_runs import CONFIG, MODEL, assert_equal_weights, weights_of

from quickstroke.data import selection
from quickstroke.errors import RunError
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.training import loop
from quickstroke.training.loop import train
from quickstroke.training.session import Watcher

pytestmark = pytest.mark.usefixtures("one_thread")


def accuracies(monkeypatch, values):
    """Makes the validation of each epoch come out as given, by the ranks of 30 drawings."""
    epochs = iter(values)

    def scored(*args, **kwargs):
        result = evaluate(*args, **kwargs)
        right = next(epochs)
        return replace(result, ranks=(np.arange(result.n) >= right).astype(np.int64))

    monkeypatch.setattr(loop, "evaluate", scored)


@pytest.mark.parametrize(
    ("patience", "right", "epochs", "best_epoch"),
    [
        (0, [9, 5, 5, 5, 5, 5], 6, 1),
        (1, [9, 9, 30, 30, 30, 30], 2, 1),  # as good is not better
        (2, [9, 8, 10, 10, 9, 30], 5, 3),
        (2, [1, 2, 3, 4, 5, 6], 6, 6),
        (2, [0, 0, 0, 1, 1, 1], 3, 1),  # even no drawing right is better than no epoch
    ],
)
def test_patience(dataset, tmp_path, monkeypatch, patience, right, epochs, best_epoch):
    accuracies(monkeypatch, right)
    config = replace(CONFIG, n_epochs=6, patience=patience, batch_size=120)
    kept = {}
    watcher = Watcher(on_epoch=lambda line: kept.setdefault(line["epoch"], weights_of(tmp_path / "run/last.model")))
    state = train(MODEL, config, dataset, tmp_path / "run", watcher=watcher)
    assert (state.epoch, state.best_epoch, state.best) == (epochs, best_epoch, right[best_epoch - 1] / 30)
    assert_equal_weights(weights_of(tmp_path / "run" / "best.model"), kept[best_epoch])
    assert_equal_weights(weights_of(tmp_path / "run" / "last.model"), kept[epochs])
    again = train(MODEL, config, dataset, tmp_path / "run", resume=True)  # patience is remembered
    assert again.epoch == epochs


def test_the_balanced_loss_may_select_the_epoch(dataset, tmp_path, monkeypatch):
    """Its least one is neither the highest accuracy nor the least mean loss; patience goes by it as well."""
    rows = dataset.indices("val")
    rows = rows[(dataset.labels[rows] > 0) | (np.arange(len(rows)) < 2)]  # the first class has two drawings
    monkeypatch.setattr(selection, "select", lambda data, split, *_: rows if split == "val" else data.indices(split))
    by_class = iter([[9.0, 1.0, 1.0], [1.0, 2.0, 2.0], [5.0, 2.0, 2.0], [5.0, 2.0, 2.0], [1.0, 1.0, 1.0]])
    right = iter([9, 5, 9, 5, 9])

    def scored(*args, **kwargs):
        result = evaluate(*args, **kwargs)
        ranks = (np.arange(result.n) >= next(right)).astype(np.int64)
        return replace(result, ranks=ranks, losses=np.array(next(by_class))[result.labels])

    monkeypatch.setattr(loop, "evaluate", scored)
    config = replace(CONFIG, n_epochs=6, select_by="balanced_loss", patience=2, batch_size=120)
    kept = {}
    watcher = Watcher(on_epoch=lambda line: kept.setdefault(line["epoch"], weights_of(tmp_path / "run/last.model")))
    state = train(MODEL, config, dataset, tmp_path / "run", watcher=watcher)
    assert (state.epoch, state.best_epoch, state.best) == (4, 2, 5 / 22)
    assert [line["val_balanced_loss"] for line in state.metrics] == pytest.approx([11 / 3, 5 / 3, 3, 3])
    assert state.metrics[0]["val_loss"] < state.metrics[1]["val_loss"]
    assert_equal_weights(weights_of(tmp_path / "run" / "best.model"), kept[2])
    with pytest.raises(RunError, match="select_by = 'balanced_loss', cannot resume with 'top1'"):
        train(MODEL, replace(config, select_by="top1"), dataset, tmp_path / "run", resume=True)
