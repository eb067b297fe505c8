"""`quickstroke teach`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from quickstroke.cli import printable
from quickstroke.cli.answers import Answer, note
from quickstroke.cli.inputs import Invalid, drawing_files
from quickstroke.cli.options import MODEL, Files, Json, SkipInvalid, StrokeLayout, optional
from quickstroke.cli.running import import_torch


@dataclass(frozen=True)
class Options:
    """A word at once, from some drawings of it, in a small file that `predict`, `serve` and Python take.

    Nothing is trained: a drawing is of the word if it is near these drawings. All drawings of the files are taken,
    three or more; twenty are better than five. Words that the file of --taught has already stay in it. It goes with
    every form that the model is exported to.

    Attributes:
        into: the word that they show; no word that the model knows
        taught: the file of taught words (default: MODEL's name with .taught.json, in this folder)
        forget: first forget the word, where it was taught; without files that is all
    """

    model: Annotated[Positional[str], arg(metavar="MODEL", help=MODEL.partition(" (default")[0])]
    files: Files
    into: Annotated[str, arg(metavar="NAME")]
    taught: Annotated[str | None, optional("FILE")] = None
    forget: bool = False
    layout: StrokeLayout = "auto"
    skip_invalid: SkipInvalid = False
    json: Json = False


def run(options: Options) -> Answer:
    import_torch(options.model)
    from quickstroke import formats
    from quickstroke.drawings.categories import as_known, check_classes
    from quickstroke.inference import recognizer
    from quickstroke.utils.files import followed, one_at_a_time

    is_all = options.forget and not options.files
    files = () if is_all else drawing_files(options.files, options.layout)
    model = recognizer.load(options.model)
    model.compiles = False
    path = Path(options.taught or f"{model.name}.taught.json")
    invalid = Invalid(options.skip_invalid)
    read = [(file, drawing) for file in files for _, drawing in invalid.numbered(file, options.layout)]
    invalid.tell()
    with one_at_a_time(followed(path).parent):  # what another process adds meanwhile would be lost
        if path.exists():
            model.load(path)
        word = as_known(check_classes([options.into], "--into")[0], model.classes)
        if (options.forget and word in model.taught) or not files:
            model.forget(word)
        if files:
            said = Counter(drawing.word for file, drawing in read if not formats.is_named_by_folder(file, drawing))
            del said[""], said[word]
            for other, n in said.most_common(1):
                note(f"{n} of the drawings say that they show {other!r:.60}; they are taught as {word!r:.60}")
            model.teach(word, [drawing for _, drawing in read])
        model.save(path)
    told = ", ".join(f"{word} ({n})" for word, n in model.taught.items()) or "none"
    print(f"{printable(str(path))}: taught words of {model.name}, with their drawings: {printable(told)}")
    return Answer({"model": model.name, "taught": str(path), "words": model.taught, "invalid": invalid.messages})
