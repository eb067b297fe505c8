"""`quickstroke render`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from quickstroke.cli import printable
from quickstroke.cli.answers import Answer, counted, note
from quickstroke.cli.inputs import Invalid, drawing_files
from quickstroke.cli.options import (
    ClassesFile,
    Files,
    Json,
    Limit,
    SkipInvalid,
    StrokeLayout,
    check_output,
    checked_limit,
    optional,
)
from quickstroke.cli.running import import_torch, progress
from quickstroke.drawings.drawing import Drawing
from quickstroke.errors import ConfigError, FormatError

_ENDINGS = (".svg", ".png", ".gif", ".npy")
# By default a picture shows so many drawings, of all files together; browsers and GIFs can move fewer.
_N_STILL, _N_MOVING = 100, 24


@dataclass(frozen=True)
class Options:
    """Drawings become a picture, an animated replay, or the 28x28 bitmaps of Google's numpy files.

    OUT is a .svg (with --animate a replay), a .png, a .gif (always a replay) or a .npy. A picture shows the first
    drawings of each file; without --limit as many as make about 100 of all files together, or 24 in a replay. A replay
    takes the time that the pen took, where the file has it. A .npy has all drawings, uint8 (N, 784), raw ones
    simplified.

    Attributes:
        into: the file to write; an earlier one is replaced
        animate: replay how the drawings were drawn
        size: the side of a drawing in a picture (default: 192)
        columns: drawings in a row (default: 6, or as many as rows)
        no_captions: leave out each drawing's number in its file and its word
        model: show in the caption the guess of a model: a .model, .onnx, .safetensors or .quickstroke file, a run
            folder, the name of a published model, or hf://OWNER/NAME
    """

    files: Files
    into: Annotated[str, arg(metavar="OUT")]
    animate: bool = False
    limit: Limit = None
    layout: StrokeLayout = "auto"
    skip_invalid: SkipInvalid = False
    size: Annotated[int | None, optional("PIXELS")] = None
    columns: Annotated[int | None, optional("N")] = None
    no_captions: bool = False
    model: Annotated[str | None, optional("MODEL")] = None
    classes: ClassesFile = None
    json: Json = False


def run(options: Options) -> Answer:
    ending = Path(options.into).suffix.lower()
    _check(options, ending)
    options = replace(options, limit=checked_limit(options.limit))

    files = drawing_files(options.files, options.layout)
    check_output("--into", options.into, files)
    left_out: list[str] = []
    invalid = Invalid(options.skip_invalid)
    if ending == ".npy":
        n = _write_bitmaps(options, files, invalid)
    else:
        n, left_out = _write_picture(options, ending, files, invalid)
    invalid.tell()
    print(f"wrote {options.into}: {counted(n, 'drawing')}")
    if left_out:
        names = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more files" if len(left_out) > 5 else "")
        print(f"left out: later drawings of {printable(names)} (--limit N shows more)")
    return Answer({"into": options.into, "n": n, "left_out": left_out, "invalid": invalid.messages})


def _check(options: Options, ending: str) -> None:
    """Raises ConfigError for options that are wrong together, before anything is read."""
    if ending not in _ENDINGS:
        raise ConfigError(f"--into {options.into} should end in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}")
    if options.animate and ending in (".png", ".npy"):
        raise ConfigError(f"--animate has no effect on a {ending}; expected --into OUT.svg or OUT.gif")
    for name in ("size", "columns", "no_captions", "model"):
        if ending == ".npy" and getattr(options, name) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} has no effect on a .npy, which holds bitmaps of 28 x 28 pixels")
    if options.no_captions and options.model:
        raise ConfigError("--model has no effect with --no-captions")
    if options.classes and not options.model:
        raise ConfigError("--classes has no effect without --model")


def _write_bitmaps(options: Options, files: Sequence[Path], invalid: Invalid) -> int:
    """Writes a .npy; returns how many drawings it has."""
    from quickstroke.drawings import bitmap

    read = (islice(invalid.numbered(path, options.layout), options.limit) for path in files)
    drawings = (drawing for _, drawing in chain.from_iterable(read))
    with progress("drawings") as bar:
        return bitmap.write_bitmaps(options.into, bar.track(drawings, description="drawing"))


def _write_picture(options: Options, ending: str, files: Sequence[Path], invalid: Invalid) -> tuple[int, list[str]]:
    """Writes a picture; returns how many drawings it shows, and the files of which it could have shown more."""
    from quickstroke.drawings import render

    model = None
    if options.model:
        import_torch(options.model)
        from quickstroke.inference import recognizer

        model = recognizer.load(options.model, options.classes)
        note(model.note)
    size = render.SIZE if options.size is None else options.size
    default = _N_MOVING if options.animate or ending == ".gif" else _N_STILL
    limit = options.limit or max(default // len(files), 1)
    drawings: list[Drawing] = []
    captions: list[str] = []
    left_out: list[str] = []
    for path in files:
        rest = invalid.numbered(path, options.layout)
        for number, drawing in islice(rest, limit):
            drawings.append(drawing)
            captions.append(drawing.word if limit == 1 else f"{number}. {drawing.word}".rstrip())
            if model:
                guess = model.predict(drawing, top=1)[0]
                captions[-1] += f"\n{guess.word} {guess.probability:.0%}"
            if len(drawings) * size**2 > render.MAX_PIXELS:
                raise ConfigError(
                    f"{len(drawings):,} drawings and more, {size} x {size} pixels each, are too many for one picture; "
                    "expected a smaller --limit or --size"
                )
        try:
            has_more = options.limit is None and next(rest, None) is not None
        except FormatError:  # of what is not shown, as with --limit
            has_more = True
        if has_more:
            left_out.append(str(path))
    shown = None if options.no_captions else captions
    animated = {"animate": options.animate} if ending == ".svg" else {}
    render.write_picture(options.into, drawings, shown, columns=options.columns, size=size, **animated)
    return len(drawings), left_out
