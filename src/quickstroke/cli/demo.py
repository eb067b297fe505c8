"""`quickstroke demo`."""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from quickstroke.cli.answers import Answer
from quickstroke.cli.options import Json
from quickstroke.errors import QuickstrokeError

# Marks a folder that the demo made, and may make again.
_MARK = ".quickstroke-demo"
_MODEL = "bipool_cv1_48_5_2_cv2_96_5_2_lay1_sz64"
# About 2,000 drawings a category, 3.6 MB in all.
_FIRST_BYTES = 300_000
_N_SYNTHETIC = 300


@dataclass(frozen=True)
class Options:
    """From drawings to recognised drawings in about a minute, with the commands that do it.

    Takes the first drawings of a dozen categories from Google's bucket (3.6 MB), or, where it does not answer within
    four seconds, synthetic drawings that this program makes.

    Attributes:
        into: the folder for all it makes; what a former one made there is replaced
        offline: take the synthetic drawings without asking the network
    """

    into: Annotated[str, arg(metavar="DIR")] = "demo"
    offline: bool = False
    json: Json = False


def run(options: Options) -> Answer:
    from quickstroke.drawings.synthetic import SYNTHETIC_WORDS

    folder = Path(options.into)
    drawings, data, training, published = parts = [folder / part for part in ("drawings", "data", "run", "lstm/demo")]
    if folder.exists():
        if not (folder / _MARK).exists():
            raise QuickstrokeError(f"{folder}: exists already and is no former demo; give another --into")
        for made in parts:  # what else is there stays
            shutil.rmtree(made, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()

    real = not options.offline and _fetch(SYNTHETIC_WORDS, drawings)
    if not real:
        _make(SYNTHETIC_WORDS, drawings)
    kind = "real drawings from Quick, Draw!" if real else "synthetic drawings, made by a program"
    n_epochs = "4" if real else "12"
    for command in (
        ["prepare", drawings, "--into", data],
        ["train", _MODEL, "--data", data, "--into", training, "--n-epochs", n_epochs],
        ["evaluate", training, "--data", data, "--split", "test"],
        ["publish", training, "--into", published],
    ):  # fmt: skip
        _do(command)
    examples = folder / "examples.ndjson"
    _write_examples(data, examples)
    print(f"\nOne drawing of each category that the model has not seen ({kind}):")
    model = published / f"{_MODEL}.model"
    _do(["predict", examples, "--model", model, "--top", "3"])
    print(f"\nAll of this was learnt from {kind}, and is in {folder}/.")
    return Answer({"into": str(folder), "real_drawings": real, "run": str(training), "model": str(model)})


def _do(command: Sequence[object]) -> None:
    from quickstroke.cli import main

    words = [str(word) for word in command]
    print(f"\n$ quickstroke {shlex.join(words)}", flush=True)
    code = main(words)
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise QuickstrokeError(f"the demo stopped at `quickstroke {words[0]}`")


def _fetch(words: Sequence[str], into: Path) -> bool:
    """Downloads the first drawings of each word; False where the network or the bucket does not answer."""
    from quickstroke.drawings.download import download, reachable
    from quickstroke.errors import DownloadError

    if not reachable():
        print(
            "Google's bucket does not answer: taking synthetic drawings, made by this program, in place of real ones."
        )
        return False
    print(f"Downloading the first real drawings of {len(words)} categories of Quick, Draw! (CC BY 4.0, Google) ...")
    try:
        download(words, into, first_bytes=_FIRST_BYTES)
    except DownloadError as error:
        print(f"{error}\nTaking synthetic drawings, made by this program, in place of real ones.")
        shutil.rmtree(into, ignore_errors=True)
        return False
    return True


def _make(words: Sequence[str], into: Path) -> None:
    from quickstroke.drawings.synthetic import synthetic_drawings
    from quickstroke.formats import binary

    for word in words:
        binary.write(into / f"{word}.bin", synthetic_drawings(_N_SYNTHETIC, words=(word,)))


def _write_examples(data: Path, path: Path) -> None:
    """The first test drawing of each class, as simplified ndjson."""
    import numpy as np

    from quickstroke.data.dataset import PreparedDataset
    from quickstroke.drawings.drawing import Drawing
    from quickstroke.formats import ndjson

    prepared = PreparedDataset(data)
    indices = prepared.indices("test")
    firsts = indices[np.unique(prepared.labels[indices], return_index=True)[1]]
    ndjson.write(
        path,
        (Drawing(prepared.classes[prepared.labels[i]], prepared.strokes(i), int(prepared.key_ids[i])) for i in firsts),
    )
