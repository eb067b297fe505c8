"""Results from run folders, published models and documents."""

from pathlib import Path

from quickstroke.artifacts import cards
from quickstroke.errors import RunError, WeightsError
from quickstroke.reports import documents
from quickstroke.reports.results import Result


def existing_source(source: Path | str) -> Path:
    """A source, or the file of a published model that is meant by its name."""
    try:
        path = cards.find_model(source)
    except WeightsError:
        path = Path(source)
    if not path.exists():
        raise RunError(f"{source}: no such run folder, model or results document")
    return path


def read_sections(path: Path) -> list[Result]:
    """The sections of a results document, as they stand there.

    Raises:
        DocumentError: the document cannot be read.
    """
    return [
        Result(source=path, config=section.config, log=section.log, ended=section.ended, section=section)
        for section in documents.read_document(path).sections
    ]
