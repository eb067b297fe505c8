"""`quickstroke download`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from quickstroke.cli.common import Json, optional, parse, print_json, progress
from quickstroke.download import DEFAULT_URL, Kind, download
from quickstroke.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Official files from Google's public bucket, checked, whole or not at all; files that are there are kept.

    The Quick, Draw! Dataset is made available by Google, Inc. under CC BY 4.0.
    """

    categories: Annotated[Positional[tuple[str, ...]], optional("words, or `all`", "CATEGORY...")]
    into: Annotated[str, arg(metavar="DIR", help="folder for the files")]
    kind: Annotated[Kind, arg(help="which of the official formats")] = "binary"
    url: Annotated[str, arg(metavar="URL", help="the bucket, or a mirror with the same folders")] = DEFAULT_URL
    first_bytes: Annotated[
        int | None, optional("only the whole drawings among the first N bytes of each file", "N")
    ] = None
    json: Json = False


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    from quickstroke.categories import CATEGORIES

    options = parse(Options, "download", args)
    if not options.categories:
        raise ConfigError("no CATEGORY was given; expected words such as 'cat', or 'all'")
    words = CATEGORIES if options.categories == ("all",) else options.categories
    with progress("bytes") as bar:
        task = bar.add_task("downloading", total=None)
        files = download(
            words,
            options.into,
            kind=options.kind,
            url=options.url,
            first_bytes=options.first_bytes,
            on_progress=lambda word, done, total: bar.update(task, description=word, completed=done, total=total),
        )
    for file in files:
        part = "" if file.complete else ", the beginning only"
        print(f"{file.path}  {file.n_bytes:,} bytes{part}{'  (kept)' if file.kept else ''}")
    if options.json:
        rows = [
            {"word": f.word, "path": str(f.path), "bytes": f.n_bytes, "complete": f.complete, "kept": f.kept}
            for f in files
        ]
        print_json({"files": rows})
