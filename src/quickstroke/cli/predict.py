"""`quickstroke predict`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from quickstroke.cli import printable, tables
from quickstroke.cli.answers import Answer, counted, note, percent
from quickstroke.cli.inputs import Invalid, drawing_files
from quickstroke.cli.options import (
    MODEL,
    ClassesFile,
    Files,
    Json,
    Limit,
    SkipInvalid,
    StrokeLayout,
    Taught,
    Words,
    check_output,
    checked_limit,
    optional,
)
from quickstroke.cli.running import import_torch
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from quickstroke.drawings.drawing import Drawing
    from quickstroke.inference.recognizer import Guesses

# PyTorch takes the first drawings. Compiling what is quicker takes as long as some thousands of them.
_FEW_DRAWINGS = 1000


@dataclass(frozen=True)
class Options:
    """Ranked words for each drawing of some files.

    A line has the file, the drawing's number in it, the word it was drawn for in brackets where the file says one, and
    the guesses; then, where that was fitted, how probable it is that the drawing shows none of the model's words. Files
    are read by their format; strokes with three rows (x, y, time), or three numbers a point, are raw and are simplified
    first. The lines of a picture (.png, .jpg, .webp, Google's bitmaps .npy) are traced to strokes, and it is told how
    many were found.

    Attributes:
        top: words for each drawing
        show: also write what was read, with its guesses, as a picture: .svg, .png or .gif
        predictions: also write a table with a row for each drawing: what the file says, the file (`source`) and the
            drawing's place there counted from 0 (`index`), key_id, the guesses and their probabilities
    """

    files: Files
    model: Annotated[str | None, optional("MODEL", MODEL)] = None
    classes: ClassesFile = None
    words: Words = None
    taught: Taught = None
    top: Annotated[int, arg(metavar="N")] = 5
    limit: Limit = None
    layout: StrokeLayout = "auto"
    skip_invalid: SkipInvalid = False
    show: Annotated[str | None, optional("FILE")] = None
    predictions: Annotated[str | None, optional("FILE.csv")] = None
    json: Json = False


def run(options: Options) -> Answer:
    limit = checked_limit(options.limit)
    import_torch(options.model)
    from itertools import islice

    from quickstroke.drawings import render
    from quickstroke.inference import recognizer

    tables.check_names({"--predictions": (options.predictions,) if options.predictions else None})
    if options.show:
        render.check_picture(options.show)
    files = drawing_files(options.files, options.layout)
    check_output("--show", options.show, files)
    check_output("--predictions", options.predictions, files)
    words = options.words and parse_classes(options.words)
    model = recognizer.load(options.model, options.classes, words=words, taught=options.taught)
    model.compiles, n_left = False, _FEW_DRAWINGS  # beside the guesses, their last digits would depend on a clock
    note(model.note)
    answers: list[dict[str, Any]] = []
    n_read, invalid = 0, Invalid(options.skip_invalid)
    shown: list[Drawing] = []
    captions: list[str] = []
    for path in files:
        layouts: Counter[str] = Counter()
        for number, drawing in islice(invalid.numbered(path, options.layout, tells=False), limit):
            if not n_left:
                model.compile()
            n_left -= 1
            layouts[_layout_of(drawing)] += 1
            guesses = model.predict(drawing, top=options.top)
            answer = _answer(path, number, drawing, guesses, model.classes)
            _show(answer, path, drawing)
            if options.show:
                shown.append(drawing)
                captions.append(f"{path.name}:{number}\n{guesses[0].word} {guesses[0].probability:.0%}")
                if len(shown) * render.SIZE**2 > render.MAX_PIXELS:
                    raise ConfigError("--show: too many drawings for one picture; expected a smaller --limit")
            if options.json or options.predictions:
                answers.append(answer)
        n_read += layouts.total()
        if not layouts and len(files) > 1:
            note(f"{path}: holds no drawing")
        if options.layout == "auto":
            _tell_layouts(path, layouts)
    invalid.tell()
    if not n_read:
        where = files[0] if len(files) == 1 else f"{len(files)} files"
        raise FormatError("holds no drawing" if len(files) == 1 else "hold no drawing", where)
    if options.show:
        render.write_picture(options.show, shown, captions)
        note(f"wrote {options.show}")
    if options.predictions:
        tables.write_guesses(options.predictions, answers, options.top)
        note(f"wrote {options.predictions}")
    chosen = {"words": list(model.classes)} if options.words else {}
    return Answer({"model": model.name, **chosen, "drawings": answers, "invalid": invalid.messages})


def _answer(
    path: "Path", number: int, drawing: "Drawing", guesses: "Guesses", classes: Sequence[str]
) -> dict[str, Any]:
    """What is said of the drawing `number` of a file, as JSON."""
    from quickstroke import formats

    # A picture is in some folder; that this is a word is known where the model knows it.
    is_word = drawing.word in classes or not formats.is_named_by_folder(path, drawing)
    return {
        "file": str(path),
        "number": number,
        "word": drawing.word if is_word else "",
        "key_id": str(drawing.key_id),
        "layout": drawing.source_layout,
        "guesses": [guess._asdict() for guess in guesses],
        "unknown": guesses.unknown,
    }


def _show(answer: dict[str, Any], path: "Path", drawing: "Drawing") -> None:
    """The same for people."""
    from quickstroke import formats

    where, unknown = f"{path}:{answer['number']}", answer["unknown"]
    drawn = f" [{printable(answer['word'])}]" if answer["word"] else ""
    ranked = "  ".join(f"{guess['word']} {percent(guess['probability'])}" for guess in answer["guesses"])
    none = "" if unknown is None else f"  (none of these words: {percent(unknown)})"
    print(f"{printable(where)}{drawn}  {ranked}{none}")
    if formats.is_picture(path):
        strokes = counted(len(drawing.strokes), "stroke")
        note(f"{where}: traced {strokes} of {counted(drawing.n_points, 'point')}")


def _layout_of(drawing: "Drawing") -> str:
    """The layout that a drawing was read in; "either" for columns that may be points as well."""
    may_be_points = all(len(stroke) in (2, 3) for stroke in drawing.strokes)
    return "either" if may_be_points and drawing.source_layout == "columns" else str(drawing.source_layout)


def _tell_layouts(path: "Path", layouts: Counter[str]) -> None:
    """Tells how many drawings of a file were read as points, and how many may have been."""
    n, n_points, n_ambiguous = layouts.total(), layouts["points"], layouts["either"]
    if n_points:
        rest = f", the other {n - n_points:,} as columns" * (n > n_points)
        note(f"{path}: {counted(n_points, 'drawing')} read as points{rest} (--layout decides)")
    if n_ambiguous:
        were = "was" if n_ambiguous == 1 else "were"
        may_be = f"{counted(n_ambiguous, 'drawing')} may be written in points or in columns"
        note(f"{path}: {may_be}, and {were} read as columns (--layout decides)")
