"""Tables as CSV files: each class's accuracy, the confusion matrix, and each drawing's guesses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickstroke.errors import ConfigError
from quickstroke.utils.files import write_table

if TYPE_CHECKING:
    from quickstroke.evaluation.metrics import Evaluation

# The first cell, by which a table is known as one of these.
_HEAD = "true word"
# Of a table of drawings, and where each came from.
_ORIGIN = (_HEAD, "source", "index", "key_id")


def check_names(given: dict[str, Sequence[str] | None]) -> None:
    """Raises ConfigError where what was given with an option is not the name of one table, but such as of drawings."""
    taken: dict[Path, str] = {}
    for option, names in given.items():
        if names and len(names) > 1:
            told = " ".join(names)
            raise ConfigError(f"{option} takes one FILE.csv, got {len(names)}: {told}; drawing files go before it")
        for name in names or ():
            path = Path(name)
            if path.suffix.lower() != ".csv":
                raise ConfigError(f"{option} {name}: expected a FILE.csv to write; drawing files go before it")
            if path in taken:
                raise ConfigError(f"{taken[path]} and {option} both name {name}; expected a file for each")
            taken[path] = option
            if path.exists() and not _is_table(path):
                raise ConfigError(f"{option} {name}: is there and is no such table; expected the name of a new file")


def _is_table(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HEAD)) == _HEAD.encode()


def write_per_class(path: Path | str, result: "Evaluation") -> None:
    """A row a class: drawings, recognised ones, and accuracy (recall), precision and F1, 0 to 1, empty for 0 of 0."""
    counts = (result.n_by_class(), result.n_right_by_class(), result.confusion().sum(0))

    def part(n: int, of: int) -> float | str:
        return round(n / of, 6) if of else ""

    rows = [
        [word, n, right, part(right, n), part(right, taken), part(2 * right, n + taken)]
        for word, n, right, taken in zip(result.classes, *(each.tolist() for each in counts), strict=True)
    ]
    write_table(path, [[_HEAD, "drawings", "recognised", "accuracy", "precision", "f1"], *rows])


def write_confusion(path: Path | str, result: "Evaluation") -> None:
    """A row a true class, a column each class that its drawings were taken for."""
    rows = zip(result.classes, result.confusion().tolist(), strict=True)
    write_table(path, [[_HEAD, *result.classes], *([word, *row] for word, row in rows)])


def write_predictions(path: Path | str, result: "Evaluation", source: Callable[[int], tuple[str, int, int]]) -> None:
    """A row a drawing, in the order of `result`: its dataset or file and its index there, from 0, and its key_id, empty
    for none, all by `source` of its index in the data; the first guess and its probability, at which place the true
    word is, from 1, and the loss in nats."""
    columns = (result.indices, result.labels, result.predicted, result.probability, result.ranks, result.losses)
    rows = []
    for index, label, guess, probability, rank, loss in zip(*(each.tolist() for each in columns), strict=True):
        where, at, key_id = source(index)
        word, said = result.classes[label], result.classes[guess]
        rows.append([word, where, at, key_id or "", said, round(probability, 6), rank + 1, round(loss, 6)])
    write_table(path, [[*_ORIGIN, "guess", "probability", "rank of true word", "loss"], *rows])


def write_guesses(path: Path | str, drawings: Sequence[dict[str, Any]], top: int) -> None:
    """A row a drawing, as `predict --json` has them: the word that its file says, its file and index there, from 0,
    key_id, empty for none, the `top` guesses with their probabilities, and how probable none of the words is."""
    rows = []
    for drawing in drawings:
        key_id = drawing["key_id"] if drawing["key_id"] != "0" else ""
        row: list[Any] = [drawing["word"], drawing["file"], drawing["number"] - 1, key_id]
        for guess in drawing["guesses"]:
            row += [guess["word"], round(guess["probability"], 6)]
        row += [""] * (len(_ORIGIN) + 2 * top - len(row))
        rows.append([*row, "" if drawing["unknown"] is None else round(drawing["unknown"], 6)])
    numbers = ["", *(f" {place}" for place in range(2, top + 1))]
    heads = [f"{what}{number}" for number in numbers for what in ("guess", "probability")]
    write_table(path, [[*_ORIGIN, *heads, "unknown"], *rows])
