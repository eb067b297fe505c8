"""Results documents: markdown headings, and under each a configuration block and the log of its run."""

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

from quickstroke.config import naming
from quickstroke.errors import DocumentError
from quickstroke.reports.document_config import KEYS, MAX_BLOCK_CHARACTERS, Config, parse_config, syntax_tree

MAX_DOCUMENT_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One epoch of a log; `validation_accuracy` in percent."""

    epoch: int
    n_epochs: int
    loss: float
    validation_accuracy: float
    seconds: float

    @classmethod
    def of(cls, line: Mapping[str, Any], n_epochs: int) -> Self:
        """That of a line of metrics.jsonl."""
        return cls(line["epoch"], n_epochs, line["loss"], 100 * line["val_top1"], line["seconds"])


@dataclass(frozen=True, slots=True)
class EndLine:
    """The closing line of a log: epochs trained, and the best validation accuracy in percent."""

    epoch: int
    best_validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Section:
    """One run of a document.

    Attributes:
        path: the headings above it, outermost first.
        line: first line of its configuration block in the file (of its log where it has none), from 1.
        config: what the configuration block assigns to known keys, as it is written there (`conv2` is kept
            where `conv1` is None); lists are tuples. None without such a block.
        code: text of the configuration block, empty where there is none.
        log: its epochs, empty for a run that has not logged yet.
        ended: the closing line, None for a run that has not ended.
        n_ignored_lines: lines in the log block that are neither, such as progress bars.
        damaged: such lines that begin as one of an epoch does, by their numbers in the file.
        recipe: that the text above the configuration block tells, None where it tells none.
    """

    path: tuple[str, ...]
    line: int
    config: Config | None = None
    code: str = ""
    log: tuple[EpochLine, ...] = ()
    ended: EndLine | None = None
    n_ignored_lines: int = 0
    damaged: tuple[int, ...] = ()
    recipe: str | None = None

    @property
    def name(self) -> str | None:
        """The model name that the configuration implies, None where it does not say enough."""
        if self.config is None or not self.config.keys() >= _NAMING_KEYS:
            return None
        return implied_name(self.config)

    def __str__(self) -> str:
        headings = " > ".join(self.path) or "(no heading)"
        return f"{headings} ({self.name + ', ' if self.name else ''}line {self.line})"


@dataclass(frozen=True, slots=True)
class Document:
    """A results document; `sections` are its runs in the order of the file."""

    path: Path
    sections: tuple[Section, ...]

    def find(self, key: str) -> Section:
        """The one section that `key` means.

        Args:
            key: the model name that its configuration implies, or its headings in order, separated by `/` or
                `>`; headings may be left out while one section alone fits. Case does not matter.

        Raises:
            DocumentError: no section fits, or more than one; the message lists those to choose from.
        """
        wanted = _heading_parts(key)
        for fits in (_is_whole, _is_end, _is_ordered_part):
            found = [section for section in self.sections if wanted and fits(wanted, section)]
            if len(found) == 1:
                return found[0]
            if found:
                choices = "; ".join(map(str, found))
                raise DocumentError(f"{self.path}: {key!r} fits {len(found)} sections, expected one: {choices}")
        choices = "; ".join(map(str, self.sections))
        raise DocumentError(f"{self.path}: no section {key!r}, expected one of: {choices}")


def read_document(path: Path | str) -> Document:
    """Reads a results document.

    Every code block under a heading belongs to that heading. A configuration block (one that assigns a known key)
    begins a section, and the log block after it belongs to it; a log block without one before it is a section of
    its own. Other blocks, such as an example of use, are passed over.

    Raises:
        DocumentError: the file cannot be read, is no UTF-8 text or larger than 16 MiB, holds no section, or
            one of its configuration blocks is refused.
    """
    path = Path(path)
    sections: list[Section] = []
    open_heading = -1  # the heading whose last section still waits for its log
    for block in _code_blocks(_read_text(path), path):
        if log := _parse_log(block):
            if open_heading != block.heading_line:
                sections.append(Section(block.headings, block.line))
            sections[-1] = replace(sections[-1], **log)
            open_heading = -1
        elif _is_config(block):
            config = parse_config(block.text, str(path), block.line)
            told = _RECIPE.search(block.prose)
            sections.append(Section(block.headings, block.line, config, block.text, recipe=told and told[1]))
            open_heading = block.heading_line
    if not sections:
        raise DocumentError(
            f"{path}: no results in it; expected headings, under each a fenced block that configures a model "
            "(`hidden_size = 64` ...), then one with its log (`Epoch: 1/10, loss: ...`)"
        )
    return Document(path, tuple(sections))


def implied_name(config: Mapping[str, Any]) -> str:
    """The name of the model that a configuration in the document's spelling describes.

    Raises:
        DocumentError: `n_layers` or `hidden_size` is missing.
    """
    missing = sorted(_NAMING_KEYS - config.keys())
    if missing:
        raise DocumentError(f"the configuration implies no model name: {' and '.join(missing)} missing")
    shape = naming.Shape(
        bidirectional=bool(config.get("bidirectional")),
        conv1=config.get("conv1"),
        conv2=config.get("conv2") if config.get("conv1") else None,
        n_layers=config["n_layers"],
        hidden_size=config["hidden_size"],
        readout=config.get("readout", "last"),
        image=config.get("image"),
    )
    return naming.format_name(shape)


@dataclass(frozen=True, slots=True)
class _CodeBlock:
    headings: tuple[str, ...]
    heading_line: int
    tag: str
    line: int
    text: str
    prose: str  # between it and the heading, or the block before it


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # A read takes memory for all that it may give.
            data = b"".join(islice(iter(partial(file.read, 2**16), b""), MAX_DOCUMENT_BYTES // 2**16 + 1))
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise DocumentError(f"{path}: cannot be read as a results document: {reason}") from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"{path}: larger than {MAX_DOCUMENT_BYTES >> 20} MiB, expected a results document")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path}, byte {error.start}: expected a results document in UTF-8") from error
    if "\0" in text:
        raise DocumentError(f"{path}, byte {data.index(0)}: binary, expected a results document")
    return text


# Headings and fences as CommonMark has them (spec.commonmark.org/0.31.2, 4.2 and 4.5).
_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}+(?!.*`)|~{3,})(.*)")


def _code_blocks(text: str, path: Path) -> Iterator[_CodeBlock]:
    headings: list[tuple[int, str]] = []
    heading_line = 0
    prose: list[str] = []
    # str.splitlines would also split at form feeds and the like, which no editor counts as lines.
    lines = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1)
    for number, line in lines:
        if heading := _HEADING.match(line):
            depth = len(heading[1])
            headings = [*(outer for outer in headings if outer[0] < depth), (depth, _title(line[heading.end() :]))]
            heading_line = number
            prose = []
        elif fence := _FENCE.match(line):
            content: list[str] = []
            for _, inner in lines:
                if _closes(inner, fence[1]):
                    break
                content.append(inner)
            else:
                raise DocumentError(f"{path}, line {number}: the block that {fence[1]} opens here is not closed")
            titles = tuple(title for _, title in headings)
            tag = (fence[2].split() or [""])[0].casefold()
            text = textwrap.dedent("\n".join(content))
            yield _CodeBlock(titles, heading_line, tag, number + 1, text, "\n".join(prose))
            prose = []
        else:
            prose.append(line)


def _title(text: str) -> str:
    title = text.strip()
    without_hashes = title.rstrip("#")
    return title if without_hashes.strip() and without_hashes[-1] not in " \t" else without_hashes.strip()


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and not mark.strip(fence[0]) and len(line) - len(line.lstrip(" ")) <= 3


def _heading_parts(text: str) -> tuple[str, ...]:
    parts = (" ".join(part.split()).casefold() for part in re.split("[/>]", text))
    return tuple(part for part in parts if part)


def _is_whole(wanted: tuple[str, ...], section: Section) -> bool:
    return wanted in (_heading_parts("/".join(section.path)), (section.name,))


def _is_end(wanted: tuple[str, ...], section: Section) -> bool:
    return _heading_parts("/".join(section.path))[-len(wanted) :] == wanted


def _is_ordered_part(wanted: tuple[str, ...], section: Section) -> bool:
    remaining = iter(_heading_parts("/".join(section.path)))
    return all(part in remaining for part in wanted)


_NUMBER = r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?|[-+]?inf|nan)"
_COUNT = r"([0-9]{1,18})"
_EPOCH = re.compile(
    rf"Epoch:\s*{_COUNT}\s*/\s*{_COUNT}\s*,\s*loss:\s*{_NUMBER}\s*,"
    rf"\s*validation accuracy:\s*{_NUMBER}\s*%\s*took:\s*{_NUMBER}\s*seconds",
    re.IGNORECASE,
)
_END = re.compile(rf"Training ended after\s+{_COUNT}\s*!\s*Best validation accuracy:\s*{_NUMBER}\s*%", re.IGNORECASE)


# As the reports of this program begin to tell how a model was trained.
_RECIPE = re.compile(r"\bRecipe `(\w+)`")


def _parse_log(block: _CodeBlock) -> dict[str, Any] | None:
    """What a `Section` has of a block that is its log; None for another block."""
    epochs: list[EpochLine] = []
    ended = None
    n_ignored_lines = 0
    damaged: list[int] = []
    for number, line in enumerate(map(str.strip, block.text.split("\n")), start=block.line):
        if match := _EPOCH.fullmatch(line):
            epoch, n_epochs, loss, accuracy, seconds = match.groups()
            epochs.append(EpochLine(int(epoch), int(n_epochs), float(loss), float(accuracy), float(seconds)))
        elif match := _END.fullmatch(line):
            ended = EndLine(int(match[1]), float(match[2]))
        elif line:
            n_ignored_lines += 1
            if line.casefold().startswith("epoch:"):
                damaged.append(number)
    if not epochs and not ended:
        return None
    return {"log": tuple(epochs), "ended": ended, "n_ignored_lines": n_ignored_lines, "damaged": tuple(damaged)}


def format_epoch(line: EpochLine, is_short: bool = False) -> str:
    """The log line of an epoch, without a newline; a short one has as many digits as a person reads."""
    four, two = (".4f", ".2f") if is_short else ("", "")
    return (
        f"Epoch: {line.epoch}/{line.n_epochs}, loss: {line.loss:{four}}, "
        f"validation accuracy: {line.validation_accuracy:{two}}% took: {line.seconds:{two}} seconds"
    )


def format_end(line: EndLine, is_short: bool = False) -> str:
    """The closing line of a log, as `format_epoch`."""
    best = f"{line.best_validation_accuracy:{'.2f' if is_short else ''}}"
    return f"Training ended after {line.epoch} ! Best validation accuracy: {best}%"


_NAMING_KEYS = {"n_layers", "hidden_size"}
_ASSIGNMENT = re.compile(rf"^[ \t]*(?:{'|'.join(KEYS)})[ \t]*=(?!=)", re.MULTILINE)


def _is_config(block: _CodeBlock) -> bool:
    """Whether a block assigns a known key, or was meant to: a Python block that cannot be read, but has such a line."""
    try:
        if len(block.text) > MAX_BLOCK_CHARACTERS:
            raise MemoryError
        statements = syntax_tree(block.text).body
    except (SyntaxError, RecursionError, MemoryError):
        return block.tag in ("python", "python3", "py") and bool(_ASSIGNMENT.search(block.text))
    return any(not KEYS.keys().isdisjoint(_assigned_names(statement)) for statement in statements)


def _assigned_names(statement: ast.stmt) -> set[str]:
    """The names that an assignment of any form gives a value, whether or not a configuration may have that form."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return set()
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}
