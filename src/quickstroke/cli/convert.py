"""`quickstroke convert`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from quickstroke.cli import printable
from quickstroke.cli.answers import Answer, counted
from quickstroke.cli.inputs import Invalid, drawing_files, note_layouts
from quickstroke.cli.options import Files, Json, Limit, SkipInvalid, StrokeLayout, checked_limit


@dataclass(frozen=True)
class Options:
    """Drawing files of any format become files of another one.

    ndjson, parquet: one file, OUT.ndjson (or .ndjson.gz) or OUT.parquet. svg: a folder with a folder for each word and
    a file for each drawing in it, or one sheet OUT.svg, which is read back as its drawings. binary, npz (sketch-rnn): a
    folder with a file for each word, which is the file's name.

    Drawings are simplified as `prepare` does it, and their order stays. Words, key_ids, countries, times and what the
    game recognised stay as far as the format has them: binary drops fractions of a second, and npz has words alone.

    Attributes:
        to: the format
        into: file or folder to make; it must not exist yet
    """

    files: Files
    to: Literal["binary", "ndjson", "npz", "svg", "parquet"]
    into: Annotated[str, arg(metavar="OUT")]
    limit: Limit = None
    layout: StrokeLayout = "auto"
    skip_invalid: SkipInvalid = False
    json: Json = False


def run(options: Options) -> Answer:
    limit = checked_limit(options.limit)

    from quickstroke.formats import conversion

    conversion.check_target(options.to, Path(options.into))
    files = drawing_files(options.files, options.layout)
    into, invalid = Path(options.into), Invalid(options.skip_invalid)
    try:
        words = conversion.convert(
            files,
            options.to,
            into,
            layout=options.layout,
            limit=limit,
            on_invalid=invalid.add,
            on_file=lambda path, *counts: note_layouts(str(path), *counts) if options.layout == "auto" else None,
        )
    finally:
        invalid.tell()
    n, n_words = sum(words.values()), len(words)
    print(f"wrote {printable(options.into)}: {counted(n, 'drawing')} of {counted(n_words, 'word')}")
    return Answer({"into": options.into, "to": options.to, "n": n, "words": words, "invalid": invalid.messages})
