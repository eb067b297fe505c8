"""`quickstroke audit`."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from quickstroke.cli import printable
from quickstroke.cli.answers import Answer, note
from quickstroke.cli.options import Json, optional
from quickstroke.cli.running import import_torch, progress
from quickstroke.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.evaluation.audit import Doubts

# Of a word that loses more than this part of its drawings the list is likely to be wrong.
_MANY = 0.1
# So many times as many drawings of one word as of another are uneven.
_UNEVEN = 4


@dataclass(frozen=True)
class Options:
    """Which labels of a prepared dataset are doubtful: a page with pictures, and a list that `prepare` leaves out.

    The drawings are dealt into folds. For each fold a model is trained on all others, and judges the drawings of this
    one: none is judged by a model that has learnt it. DIR/index.html shows the most doubted ones, to keep, drop or
    relabel; it saves what was chosen as a list for `prepare --leave-out` and as drawings with their new words.
    DIR/leave-out.txt has all that are shown, DIR/doubts.csv the doubt about every label, the greatest first. What was
    stopped goes on by the same command.

    Attributes:
        data: a prepared dataset; all its splits are audited
        into: folder of the page, the list and the folds' trainings
        name: name of the models that are trained
        folds: folds: with more, each model learns from more drawings, and takes longer
        n_epochs: epochs of each training
        part: the most doubted part of all drawings is shown
        seed: of the trainings (default: 0)
    """

    data: Annotated[Positional[str], arg(metavar="DATA")]
    into: Annotated[str, arg(metavar="DIR")]
    name: Annotated[str, arg(metavar="NAME")] = "bipool_cv1_48_5_2_cv2_96_5_2_lay1_sz64"
    folds: Annotated[int, arg(metavar="N")] = 3
    n_epochs: Annotated[int, arg(metavar="N")] = 6
    part: Annotated[float, arg(metavar="PART")] = 0.02
    seed: Annotated[int | None, optional("N")] = None
    json: Json = False


def run(options: Options) -> Answer:
    if not 0 < options.part <= 1:
        raise ConfigError(f"--part should be above 0 and at most 1, got {options.part:g}")
    if options.n_epochs < 1:
        raise ConfigError(f"--n-epochs should be 1 or more, got {options.n_epochs}")

    import_torch()
    from quickstroke.artifacts import runs
    from quickstroke.data.dataset import PreparedDataset

    data, into = PreparedDataset(options.data), Path(options.into)
    if (into / "manifest.json").exists():
        raise DatasetError(f"{into}: is a dataset; expected another folder for the audit")
    with runs.held(into, "making"):
        return _audit(data, into, options)


def _audit(data: "PreparedDataset", into: Path, options: Options) -> Answer:
    """The audit in a folder that is this process's alone."""
    from quickstroke.evaluation.audit import most_doubted
    from quickstroke.preparation.leave_out import text_of
    from quickstroke.reports.audit_page import audit_page
    from quickstroke.utils.files import write_table, write_text

    if (into / "index.html").exists():
        raise DatasetError(f"{into}: an audit is there already; give another folder, or remove it first")
    ranked = most_doubted(_judged(data, options, into / "folds"), len(data))
    rows = list(zip(ranked.rows.tolist(), ranked.guess.tolist(), ranked.doubt.tolist(), strict=True))
    worst = rows[: max(round(options.part * len(data)), 1)]
    items = [_item(data, row, guess) for row, guess, _ in worst]
    write_text(into / "leave-out.txt", text_of((int(item["key_id"]), item["word"]) for item in items))
    write_table(into / "doubts.csv", [("key_id", "word", "guess", "doubt"), *(_doubt(data, *row) for row in rows)])
    write_text(into / "index.html", audit_page(items, data.classes))  # the last, by which an audit is known as ended
    shutil.rmtree(into / "folds")
    n_by_word = Counter(data.classes[i] for i in data.labels)
    for word, n in Counter(item["word"] for item in items).items():
        if n > _MANY * n_by_word[word]:
            note(
                f"{printable(word)}: {n} of its {n_by_word[word]} drawings are listed; look at them in index.html first"
            )
    n_all = f"{len(data):,}"
    print(f"{printable(str(into))}: {len(items):,} of {n_all} labels to look at in index.html, leave-out.txt")
    print(f"{printable(str(into / 'doubts.csv'))}: all {n_all}, the most doubted first")
    told = [
        {"key_id": item["key_id"], "word": item["word"], "guess": item["guess"], "doubt": doubt}
        for item, (_, _, doubt) in zip(items, worst, strict=True)
    ]
    return Answer({"n": len(data), "folds": options.folds, "doubtful": told})


def _judged(data: "PreparedDataset", options: Options, into: Path) -> "list[Doubts]":
    """The doubts of each fold, by a model that is trained on the others in the folder `into`."""
    import numpy as np

    from quickstroke.artifacts.loading import load_model
    from quickstroke.config.model import ModelConfig
    from quickstroke.config.training import TrainConfig
    from quickstroke.data.folds import check_folds, open_fold
    from quickstroke.evaluation.audit import doubts_on
    from quickstroke.training.loop import train
    from quickstroke.training.session import Watcher

    model = ModelConfig.from_name(options.name)
    counts = np.bincount(data.labels)
    # Otherwise rare words would be doubted for being rare.
    balance = 1.0 if counts.max() > _UNEVEN * counts.min() else 0.0
    config = TrainConfig(
        n_epochs=options.n_epochs, seed=options.seed or 0, select_by="balanced_loss", class_balance=balance
    )
    check_folds(data, options.folds)
    found = []
    with progress("drawings") as bar:
        for fold in range(options.folds):
            part = open_fold(data, fold, options.folds, into / f"{fold}-data")
            task = bar.add_task(f"fold {fold + 1} of {options.folds}", total=None)

            def show(epoch: int, done: int, total: int, task: Any = task) -> None:
                bar.update(task, completed=epoch * total + done, total=options.n_epochs * total)

            folder = into / f"{fold}-run"
            train(model, config, part, folder, resume=True, watcher=Watcher(on_step=show))
            found.append(doubts_on(load_model(folder), part, "test"))
    return found


def _doubt(data: "PreparedDataset", row: int, guess: int, doubt: float) -> tuple[int, str, str, float]:
    """A row of the table of all doubts."""
    return int(data.key_ids[row]), data.classes[data.labels[row]], data.classes[guess], round(doubt, 6)


def _item(data: "PreparedDataset", row: int, guess: int) -> dict[str, Any]:
    """What the page shows of a drawing."""
    return {
        "key_id": str(data.key_ids[row]),
        "word": data.classes[data.labels[row]],
        "guess": data.classes[guess],
        "drawing": [stroke.T.tolist() for stroke in data.strokes(row)],
    }
