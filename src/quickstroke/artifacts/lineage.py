"""The trainings before a training: whose weights it began with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quickstroke.artifacts import cards, runs
from quickstroke.artifacts.loading import load_model
from quickstroke.config.training import TrainConfig
from quickstroke.errors import QuickstrokeError


@dataclass(frozen=True, slots=True)
class TrainingsBefore:
    """The trainings that a training goes on from.

    Attributes:
        n: those that could be read.
        seconds: what these took.
        missing: weights, as the trainings name them, of which nothing is known.
    """

    n: int
    seconds: float
    missing: tuple[str, ...]


def trainings_before(train: TrainConfig, places: runs.Places | None = None) -> TrainingsBefore:
    """The trainings whose weights a training began with, and those that these began with, and so on, each run once.

    What the card of a published model tells of its training, and of those before that, is believed.

    Args:
        places: of the training's run, by which its paths are found; without it they are taken from the working folder.
    """
    known: dict[Path, TrainingsBefore] = {}
    paths, missing = [(path, places) for path in train.pretrained], []
    while paths:
        path, its_places = paths.pop(0)
        try:
            where, found, earlier, next_places = _training_of(Path(its_places.locate(path) if its_places else path))
        except (QuickstrokeError, ValueError, KeyError, TypeError, AttributeError):
            missing.append(path)
            continue
        if where not in known:
            known[where] = found
            paths += [(each, next_places) for each in earlier]
    missing += [path for found in known.values() for path in found.missing]
    seconds = sum(found.seconds for found in known.values())
    return TrainingsBefore(sum(found.n for found in known.values()), seconds, tuple(dict.fromkeys(missing)))


def _training_of(path: Path) -> tuple[Path, TrainingsBefore, Sequence[str], runs.Places | None]:
    """The run folder or card that tells of the training of some weights, what it tells, what it began with, and how
    the paths of that are found.

    Raises:
        QuickstrokeError, ValueError, KeyError, TypeError, AttributeError: nothing can be read there.
    """
    path = cards.find_model(path)
    if folder := runs.folder_of(path):
        spent = sum(line["seconds"] for line in runs.read_metrics(folder))
        config = runs.read_config(folder)
        return folder.resolve(), TrainingsBefore(1, spent, ()), config.train.pretrained, config.places
    training = (load_model(path).card or {})["training"]
    before = training.get("before") or {}
    spent = float(training["seconds"]) + float(before.get("seconds", 0))
    n = 1 + int(before.get("trainings", 0))
    missing = tuple(before.get("missing", ()))
    earlier = () if before else training.get("pretrained") or ()
    earlier = (earlier,) if isinstance(earlier, str) else tuple(earlier)  # the first cards have one path
    are_texts = all(isinstance(each, str) for each in (*earlier, *missing))
    if not (math.isfinite(spent) and spent >= 0 and n > 0 and are_texts):
        raise ValueError(f"{path}: its card tells no time, no number or no paths of its trainings")
    return path.resolve(), TrainingsBefore(n, spent, missing), earlier, None
