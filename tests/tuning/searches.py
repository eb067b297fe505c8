"""Short searches, and trainings that train nothing; for the tests of this folder."""

import optuna

from quickstroke.training import session
from quickstroke.training.checkpoint import State
from quickstroke.tuning import space, study
from quickstroke.tuning.study import Search

MODEL = "simple_lay1_sz8"


def tune(dataset, into, *options, space_file=None) -> list[str]:
    """The words of a short search."""
    declared = [] if space_file is None else ["--space", space_file]
    words = ["tune", MODEL, "--data", dataset.path, "--into", into, "--n-epochs", 1, "--device", "cpu", *declared]
    return [str(word) for word in (*words, *options)]


def search_of(dataset, folder, declared=None, *, n_trials, pruner="median") -> Search:
    declared = declared or {"learning_rate": {"low": 0.001, "high": 0.1}, "n_epochs": 3}
    return Search(
        space=space.declare([MODEL], declared, {}, "x"),
        data=str(dataset.path),
        classes=None,
        folder=folder,
        storage=None,
        n_trials=n_trials,
        pruner=pruner,
        seed=0,
    )


def started(dataset, folder, declared=None, **options) -> Search:
    """A search as `search_of` makes it; its study has begun, and its trials wait."""
    return study.start(search_of(dataset, folder, declared, **options), resume=False)[0]


def stored_study(folder) -> optuna.Study:
    return optuna.load_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="quickstroke")


def follow(curve):
    """A `loop.train` that trains nothing: its validation top-1 follows `curve(config, epoch)`."""

    def train(model_config, config, data, into, *, watcher, **_):
        metrics = []
        watcher.on_start(State(), False)
        for epoch in range(1, config.n_epochs + 1):
            metrics.append({"epoch": epoch, "val_top1": curve(config, epoch)})
            if watcher.should_stop():
                raise session.Interrupted(State())
            watcher.on_epoch(metrics[-1])
        return State(epoch=config.n_epochs, best=max(line["val_top1"] for line in metrics))

    return train


def one_line(result, *parts: str) -> None:
    code, _, err = result
    lines = err.strip().splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("quickstroke tune: "), err
    for part in parts:
        assert part in lines[0]
