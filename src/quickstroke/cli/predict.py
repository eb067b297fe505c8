"""`quickstroke predict`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from tyro.conf import Positional, arg

from quickstroke.cli import printable
from quickstroke.cli.common import (
    MODEL,
    Answer,
    Json,
    StrokeLayout,
    Taught,
    Words,
    answer,
    checked_limit,
    drawing_files,
    note,
    optional,
    parse,
    percent,
)
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import ConfigError

# PyTorch takes the first drawings. Compiling what is quicker takes as long as some thousands of them.
_FEW_DRAWINGS = 1000


@dataclass(frozen=True)
class Options:
    """Ranked words for each drawing of some files.

    A line has the file, the drawing's number in it, the word it was drawn for in brackets where the file says one, and
    the guesses; then, where that was fitted, how probable it is that the drawing shows none of the model's words. Files
    are read by their format; strokes with three rows (x, y, time), or three numbers a point, are raw and are simplified
    first.
    """

    files: Annotated[Positional[tuple[str, ...]], optional("drawing files, folders or glob patterns", "FILE...")]
    model: Annotated[
        str | None,
        optional(MODEL, "MODEL"),
    ] = None
    classes: Annotated[
        str | None,
        optional("classes of a model without a card, in the order of its output layer, one a line", "FILE"),
    ] = None
    words: Words = None
    taught: Taught = None
    top: Annotated[int, arg(metavar="N", help="words for each drawing")] = 5
    limit: Annotated[int | None, optional("only the first N drawings of each file", "N")] = None
    layout: StrokeLayout = "auto"
    json: Json = False


def run(args: Sequence[str]) -> int:
    """Runs the command."""
    options = parse(Options, "predict", args)
    return answer(options.json, partial(_predict, options))


def _predict(options: Options) -> Answer:
    if not options.files:
        raise ConfigError("no FILE was given; expected drawing files, folders or glob patterns")
    limit = checked_limit(options.limit)

    from itertools import islice

    from quickstroke import formats
    from quickstroke.inference import recognizer

    files = drawing_files(options.files, options.layout)
    words = options.words and parse_classes(options.words)
    model = recognizer.load(options.model, options.classes, words=words, taught=options.taught)
    model.compiles, n_left = False, _FEW_DRAWINGS  # beside the guesses, their last digits would depend on a clock
    if model.note:
        note(model.note)
    drawings = []
    for path in files:
        number = n_points = 0
        for number, drawing in enumerate(islice(formats.read_file(path, layout=options.layout), limit), start=1):
            if not n_left:
                model.compile()
            n_left -= 1
            n_points += drawing.source_layout == "points"
            guesses = model.predict_drawing(drawing, top=options.top)
            ranked = "  ".join(f"{guess.word} {percent(guess.probability)}" for guess in guesses)
            drawn = f" [{printable(drawing.word)}]" if drawing.word else ""
            unknown = "" if guesses.unknown is None else f"  (none of these words: {percent(guesses.unknown)})"
            print(f"{printable(str(path))}:{number}{drawn}  {ranked}{unknown}")
            if options.json:
                drawings.append(
                    {
                        "file": str(path),
                        "number": number,
                        "word": drawing.word,
                        "key_id": str(drawing.key_id),
                        "layout": drawing.source_layout,
                        "guesses": [guess._asdict() for guess in guesses],
                        "unknown": guesses.unknown,
                    }
                )
        if not number:
            note(f"{path}: holds no drawing")
        if n_points and options.layout == "auto":
            rest = f", the other {number - n_points:,} as columns" * (number > n_points)
            note(f"{path}: {n_points:,} drawing{'s' * (n_points != 1)} read as points{rest} (--layout decides)")
    chosen = {"words": list(model.classes)} if options.words else {}
    return Answer({"model": model.name, **chosen, "drawings": drawings})
