"""What several commands share: reading options, one JSON line, a bar on a terminal, stopping on Ctrl-C."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar, cast

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from quickstroke.cli import printable, silence
from quickstroke.config import check_recipe
from quickstroke.errors import ConfigError

Options = TypeVar("Options")

# In fewer, tyro looks for a layout of its help without an end.
_LEAST_COLUMNS = 20

# The help of commands that run a model in any of its forms.
MODEL = (
    "a .model, .onnx or .safetensors file, a run folder, or the name of a published model (default: the default model)"
)

Json = Annotated[bool, tyro.conf.arg(help="print one JSON object on one line, the last of stdout")]


def words(help_text: str) -> Any:
    """The annotation of an option that takes one or more words, or a file; left out, it is None."""
    return optional(help_text, "WORD...")


def optional(help_text: str, metavar: str) -> Any:
    """The annotation of an option or argument that may be left out; its help says what that means."""
    return tyro.conf.arg(help=help_text, metavar=metavar, help_behavior_hint="")


TrainClasses = Annotated[
    tuple[str, ...] | None,
    words("words to train on, in the order of the output layer, or a file with one a line (default: all)"),
]


def refuse_former_recipes(args: Sequence[str]) -> None:
    """Raises ConfigError when `--recipe` has a name of an earlier version, which tyro would only call invalid."""
    for word, following in zip(args, [*args[1:], ""], strict=True):
        key, equals, value = word.partition("=")
        if key == "--recipe":
            check_recipe(value if equals else following)


def parse(kind: type[Options], command: str, args: Sequence[str], default: Options | None = None) -> Options:
    """The options of a command from its arguments.

    Raises:
        SystemExit: 0 after --help, 2 when the arguments are wrong; tyro has said how.
    """
    if shutil.get_terminal_size().columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    options = tyro.cli(
        kind,
        prog=f"quickstroke {command}",
        args=args,
        default=default,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
    )
    return cast(Options, options)


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on one line; what the encoding of stdout cannot hold is escaped as JSON does it."""
    text = json.dumps(values, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(values)
    print(text, flush=True)


def say(text: str) -> None:
    """A line of a long work, on stdout at once; where nobody reads it any more, the work goes on."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        silence()
        note("nobody reads stdout any more; going on without it")


def note(text: str) -> None:
    """A remark for the person, beside the results: on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def drawing_files(sources: Sequence[str]) -> tuple[Path, ...]:
    """The files of `formats.find_sources`; what it leaves out is told."""
    from quickstroke import formats

    found = formats.find_sources(sources)
    note_left_out([path.name for path in found.ignored], [path.name for path in found.repeated])
    return found.files


def checked_limit(limit: int | None) -> int | None:
    """The value of `--limit`, as `islice` takes it.

    Raises:
        ConfigError: it is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit should be 1 or more, got {limit}")
    return limit and min(limit, sys.maxsize)


def note_left_out(ignored: Sequence[str], repeated: Sequence[str]) -> None:
    """Tells of files that were given and are no drawing files, and of further names of those that are read."""
    for names, one, several in (
        (ignored, "file that is no drawing file", "files that are no drawing files"),
        (repeated, "name of a file that is read by another one", "names of files that are read by other ones"),
    ):
        if names:
            told = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            note(f"ignored {len(names)} {one if len(names) == 1 else several}: {told}")


def percent(fraction: float) -> str:
    """A fraction as a percentage with two digits."""
    return f"{100 * fraction:.2f}%"


class _Speed(ProgressColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self._unit}/s" if task.speed else "")


def progress(unit: str = "classes") -> Progress:
    """A bar on stderr with speed and time left; nothing at all when stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(unit),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class StopOnSignal:
    """Turns the first Ctrl-C (or SIGTERM) into a wish to stop; the second interrupts at once.

    Args:
        numbers: the signals.
        text: what is said to the first.
    """

    def __init__(
        self,
        numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
        text: str = "stopping after this batch; once more to stop at once",
    ) -> None:
        self.asked = False
        self._numbers, self._text = numbers, text

    def __enter__(self) -> "StopOnSignal":
        self._before = {number: signal.signal(number, self._ask) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._text:
            print(self._text, file=sys.stderr, flush=True)
