"""`quickstroke download`."""

from dataclasses import dataclass
from typing import Annotated

from rich.progress import TaskID
from tyro.conf import Positional, arg

from quickstroke.cli.answers import Answer
from quickstroke.cli.options import Json, optional
from quickstroke.cli.running import progress
from quickstroke.drawings.download import DEFAULT_URL, Kind, download
from quickstroke.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Official files from Google's public bucket, checked, whole or not at all; files that are there are kept.

    The same command resumes downloads that were interrupted.

    The Quick, Draw! Dataset is made available by Google, Inc. under CC BY 4.0.

    Attributes:
        categories: words, or `all`
        into: folder for the files
        kind: which of the official formats
        url: the bucket, or a mirror with the same folders
        first_bytes: only the whole drawings among the first N bytes of each file
        n_at_once: files that are fetched at a time
    """

    categories: Annotated[Positional[tuple[str, ...]], optional("CATEGORY...")]
    into: Annotated[str, arg(metavar="DIR")]
    kind: Kind = "binary"
    url: Annotated[str, arg(metavar="URL")] = DEFAULT_URL
    first_bytes: Annotated[int | None, optional("N")] = None
    n_at_once: Annotated[int, arg(metavar="N")] = 4
    json: Json = False


def run(options: Options) -> Answer:
    from quickstroke.drawings.categories import CATEGORIES

    if not options.categories:
        raise ConfigError("no CATEGORY was given; expected words such as 'cat', or 'all'")
    words = CATEGORIES if options.categories == ("all",) else options.categories
    with progress("bytes") as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(word: str, done: int, total: int | None) -> None:
            if word not in tasks:
                tasks[word] = bar.add_task(word, total=total)
            bar.update(tasks[word], completed=done, total=total, visible=done != total)

        files = download(
            words,
            options.into,
            kind=options.kind,
            url=options.url,
            first_bytes=options.first_bytes,
            on_progress=on_progress,
            n_at_once=options.n_at_once,
        )
    for file in files:
        part = "" if file.complete else ", the beginning only"
        print(f"{file.path}  {file.n_bytes:,} bytes{part}{'  (kept)' if file.kept else ''}")
    n_kept, n_bytes = sum(file.kept for file in files), sum(file.n_bytes for file in files)
    print(f"{len(files)} files, {n_bytes:,} bytes" + (f"; {n_kept} were there already" if n_kept else ""))
    rows = [
        {"word": f.word, "path": str(f.path), "bytes": f.n_bytes, "complete": f.complete, "kept": f.kept} for f in files
    ]
    return Answer({"files": rows})
