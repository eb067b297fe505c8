"""What several commands share: reading options, answering people and scripts, a bar, stopping on Ctrl-C."""

import contextlib
import dataclasses
import difflib
import gc
import io
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin

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

from quickstroke.cli.answers import Answer as Answer
from quickstroke.cli.answers import answer as answer
from quickstroke.cli.answers import note as note
from quickstroke.cli.answers import percent as percent
from quickstroke.cli.answers import print_json as print_json
from quickstroke.cli.answers import say as say
from quickstroke.config import former
from quickstroke.config.training import device_hint
from quickstroke.drawings.layouts import LayoutChoice
from quickstroke.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from quickstroke.drawings.drawing import Drawing

Options = TypeVar("Options")

# Of what is left out, told one by one.
_MOST_TOLD = 10
# Part of some drawings from which on it is told; of official ones 0.003 are so.
_FEW_UNSCALED = 0.1

# In fewer, tyro looks for a layout of its help without an end.
_LEAST_COLUMNS = 20

# Options of earlier versions that have no other name now.
_GONE = {"add": "was removed; prepare all sources anew", "tensorboard": "was renamed to --log tensorboard"}
_GONE |= dict.fromkeys(former.DELETED, former.GONE)

# The help of commands that run a model in any of its forms.
MODEL = (
    "a .model, .onnx, .safetensors or .quickstroke file, a run folder, the name of a published model, or "
    "hf://OWNER/NAME of the Hugging Face Hub (default: the default model)"
)

StrokeLayout = Annotated[
    LayoutChoice,
    tyro.conf.arg(
        help="how text and parquet files write strokes: `points` [[x, y], ..] or `columns` [[x..], [y..]]; `auto` sees "
        "it for each drawing, and reads columns where it may be both"
    ),
]

Json = Annotated[
    bool, tyro.conf.arg(help="print one JSON object on one line and nothing else on stdout; the rest goes to stderr")
]


def import_torch(model: str | None = None, *, trains_padded: bool = False) -> None:
    """Imports PyTorch where it is installed and `model` is no ONNX file, and has the garbage collector leave alone what
    stays of it.

    Looking through that again and again, and once more at the end, is a quarter of the time of a short command. Where
    PyTorch is missing, what needs it says so.

    Where padded models are trained, PyTorch's threads sleep while they wait for each other. Busy waiting, the default,
    saves a sixth of the time on idle cores, and takes many times as long while other programs have work.
    """
    if "torch" in sys.modules or not gc.isenabled() or (model or "").endswith(".onnx"):
        return
    if trains_padded:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when PyTorch is loaded
    gc.disable()
    try:
        with contextlib.suppress(ImportError):
            import torch  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def optional(metavar: str, help_text: str | None = None) -> Any:
    """The annotation of an option or argument that may be left out; its help says what that means."""
    return tyro.conf.arg(help=help_text, metavar=metavar, help_behavior_hint="")


TrainClasses = Annotated[
    tuple[str, ...] | None,
    optional(
        "WORD...", "words to train on, in the order of the output layer, or a file with one a line (default: all)"
    ),
]

ClassesFile = Annotated[
    str | None, optional("FILE", "classes of a model without a card, in the order of its output layer, one a line")
]

Files = Annotated[tyro.conf.Positional[tuple[str, ...]], optional("FILE...", "drawing files, folders or glob patterns")]

Limit = Annotated[int | None, optional("N", "only the first N drawings of each file")]

Words = Annotated[
    tuple[str, ...] | None,
    optional(
        "WORD...", "choose among these words alone, or those of a file with one a line, or `classes2020` (default: all)"
    ),
]

Taught = Annotated[
    str | None, optional("FILE", "a file of taught words (`quickstroke teach`), which count beside the model's own")
]

SkipInvalid = Annotated[
    bool,
    tyro.conf.arg(
        help="leave out each line, row or file of one drawing that is no drawing, and tell of it, where the command "
        "would end with its error"
    ),
]

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff)


def parse(kind: type[Options], command: str, args: Sequence[str], default: Options | None = None) -> Options:
    """The options of a command from its arguments; of an option that is given several times the last value counts.

    Raises:
        ConfigError: the arguments are wrong, or an option of several values is given several times.
        SystemExit: 0 after --help.
    """
    if shutil.get_terminal_size().columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            options = tyro.cli(kind, prog=f"quickstroke {command}", args=args, default=default, config=CONFIG)
    except SystemExit as error:
        if not error.code:
            raise
        raise ConfigError(f"{_mistake(kind, command, args)}; see `quickstroke {command} --help`") from None
    given = Counter(word.partition("=")[0].replace("_", "-") for word in takewhile(lambda word: word != "--", args))
    for option, hint in options_of(kind).items():
        # tyro would take the last ones and say nothing; of an option of one value that is the custom.
        if given[option] > 1 and any(get_origin(part) is tuple for part in (hint, *get_args(hint))):
            raise ConfigError(
                f"{option} is given {given[option]} times; expected it once, with all its values behind it"
            )
    return cast(Options, options)


def options_of(kind: type[Any]) -> dict[str, Any]:
    """The options of a command, each with the type of its value; those of a dataclass in it are options as well."""
    found: dict[str, Any] = {"--help": bool}
    for field in dataclasses.fields(kind):
        hint, *marks = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
        if dataclasses.is_dataclass(hint):
            found |= options_of(cast(type[Any], hint))
        elif tyro.conf.Positional not in marks:
            found[f"--{field.name.replace('_', '-')}"] = hint
    return found


def _mistake(kind: type[Any], command: str, args: Sequence[str]) -> str:
    """What is wrong with arguments in one line, from what tyro tells in a box of many."""
    known = options_of(kind)
    given = [word.partition("=")[0] for word in args if word.startswith("--") and word != "--"]
    for option in given:
        if option.replace("_", "-") not in known:
            return _unknown(option, [*known])
    lines = [line for line in _told(kind, command, args).splitlines() if re.match("│(?! ──)", line)]
    lines = [line.strip("│").rstrip() for line in lines]
    for end in ("For full helptext", "Argument helptext"):
        lines = lines[: next((k for k, line in enumerate(lines) if line.strip().startswith(end)), None)]
    text = " ".join(" ".join(lines).split())
    if "Missing from" in text:
        missing = [line.strip() for line in lines if re.match(r" {5}\S", line)]
        return f"missing {' and '.join(missing)}"
    if match := re.fullmatch(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\) ?\.", text):
        if gone := former.what_became(match[2].removeprefix("--"), match[1]):
            return f"{match[2]}: {gone}"
        choices = sorted(set(re.findall(r"'([^']*)'", match[3])) - {"None"})
        hint = device_hint(match[1]) if match[2] == "--device" else ""
        return f"{match[2]} {match[1]}: expected {', '.join(choices[:-1])} or {choices[-1]}{hint}"
    if match := re.fullmatch(r"Unrecognized options: (.*)", text):
        return f"unexpected argument {match[1]}"
    text = text.removeprefix("Error parsing ")
    for pattern, expected in (
        (r"(\S+): invalid literal for int\(\) with base 10: '(.*)'", "a whole number"),
        (r"(\S+): could not convert string to float: '(.*)'", "a number"),
        (r"(\S+): no type matching \{None\}\|\{?([^}]*?)\}? could be instantiated from \[(.*?)\]\..*", ""),
        (r"Missing value for argument '(.*)'\. Expected ()\d+ values\.", "a value"),
    ):
        if match := re.fullmatch(pattern, text):
            name, value, *words = match.groups()
            if words:
                value, kind_of = words[0].replace("'", "").replace(",", ""), value
                known_kinds = {"INT": "a whole number", "FLOAT": "a number", "FLOAT FLOAT FLOAT": "three numbers"}
                expected = known_kinds.get(kind_of, kind_of)
            return f"{name}{value and ' '}{value}: expected {expected}"
    return text or "the arguments cannot be read"


def _unknown(option: str, known: Sequence[str]) -> str:
    """What is wrong with an option that a command has not, of the options that are known."""
    key = option.removeprefix("--").replace("-", "_")
    now = f"--{former.RENAMED.get(key, '').replace('_', '-')}"
    if now in known:
        return f"{option} was renamed to {now}"
    if key in _GONE:
        return f"{option} {_GONE[key]}"
    by_initials = [each for each in known if "".join(part[:1] for part in each[2:].split("-")) == key]
    like = by_initials if len(by_initials) == 1 else difflib.get_close_matches(option.replace("_", "-"), known, 1)
    return f"unknown option {option}" + (f"; did you mean {like[0]}?" if like else "")


def _told(kind: type[Any], command: str, args: Sequence[str]) -> str:
    """What tyro says to arguments that end a command, drawn as for a terminal with UTF-8, without colours."""
    screen = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen), contextlib.suppress(SystemExit):
        tyro.cli(kind, prog=f"quickstroke {command}", args=args, config=CONFIG)
    screen.flush()
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.buffer.getvalue().decode())


def drawing_files(sources: Sequence[str], layout: str = "auto") -> tuple[Path, ...]:
    """The files of `formats.find_sources`; what it leaves out is told, and a `--layout` without effect."""
    from quickstroke import formats

    if not sources:
        raise ConfigError(
            "no FILE was given; expected drawing files, folders or glob patterns, before an option of several values"
        )
    found = formats.find_sources(sources)
    note_left_out(found.ignored_names, found.repeated_names)
    note_layout_without_effect(layout, found.files)
    return found.files


def note_layout_without_effect(layout: str, files: Sequence[Path]) -> None:
    """Tells of a `--layout` where no file may be written in more than one."""
    from quickstroke.formats import has_layouts

    if layout != "auto" and not any(map(has_layouts, files)):
        note("--layout has no effect: none of the files is .ndjson, .csv, .parquet or .json")


def check_output(option: str, name: str | None, files: Sequence[Path] = ()) -> None:
    """Raises ConfigError where a file cannot be written, before the work for it, or is one of those that are read."""
    if name is None:
        return
    path = Path(name)
    if path.resolve() in {file.resolve() for file in files}:
        raise ConfigError(f"{option} {name}: is read by this command; expected the name of another file")
    if path.is_dir():
        raise ConfigError(f"{option} {name}: is a folder; expected the name of a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"{option} {name}: cannot be written: {folder} is no folder that may be written to")


def checked_limit(limit: int | None) -> int | None:
    """The value of `--limit`, as `islice` takes it.

    Raises:
        ConfigError: it is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit should be 1 or more, got {limit}")
    return limit and min(limit, sys.maxsize)


def counted(n: int, what: str) -> str:
    """`1 drawing`, `2,000 drawings`, `3 classes`."""
    return f"{n:,} {what}{'' if n == 1 else 'es' if what.endswith('s') else 's'}"


class Invalid:
    """What is left out by `--skip-invalid`.

    Attributes:
        messages: of each its error.
        add: takes the error of each; None where the option was not given, and the first is to be raised.
    """

    def __init__(self, is_skipped: bool) -> None:
        self.messages: list[str] = []
        self.add = self._add if is_skipped else None

    def _add(self, error: FormatError) -> None:
        self.messages.append(str(error))

    def numbered(self, path: Path, layout: str, tells: bool = True) -> "Iterator[tuple[int, Drawing]]":
        """The drawings of a file, each with its number in it, counted from 1, in which those left out count, too; where
        it `tells`, their layouts are told. Those that are taken as simplified and do not look it are told always.

        Raises:
            FormatError: as `formats.read_file`.
        """
        import numpy as np

        from quickstroke.drawings.drawing import n_unscaled
        from quickstroke.formats import read_numbered

        layouts, n_small = Counter[Any](), 0
        try:
            for number, drawing in read_numbered(path, layout, self.add):
                layouts[drawing.source_layout] += 1
                if drawing.is_simplified:
                    n_small += n_unscaled(np.concatenate(drawing.strokes), np.zeros(1, np.int64))
                yield number, drawing
        finally:  # also where no more are asked for
            if not isinstance(sys.exception(), FormatError):  # which is the one line to tell then
                note_unscaled(str(path), n_small, layouts.total())
            if tells and layout == "auto":
                note_layouts(str(path), layouts["points"], layouts["columns"])

    def tell(self) -> None:
        """Tells of the first of them, and how many there are."""
        for message in self.messages[:_MOST_TOLD]:
            note(f"left out: {message}")
        if len(self.messages) > _MOST_TOLD:
            note(f"left out: {len(self.messages) - _MOST_TOLD:,} more, which --json has all of")


def note_layouts(name: str, n_points: int, n_columns: int) -> None:
    """Tells of a file whose drawings were read in both layouts, which hardly any file has."""
    if n_points and n_columns:
        read = f"{counted(n_points, 'drawing')} read as points"
        note(f"{name}: {read}, the other {n_columns:,} as columns (--layout decides)")


def note_unscaled(name: str, n: int, n_all: int) -> None:
    """Tells of `n` of some drawings that were taken as simplified, and do not fill 0 to 255 as simplified ones do."""
    if n > _FEW_UNSCALED * n_all:
        note(
            f"{name}: {percent(n / n_all)} of the drawings are taken as simplified, but do not fill 0 to 255 as "
            "simplified ones do; a pen's own strokes need times, or the name 'strokes' in place of 'drawing'"
        )


def note_left_out(ignored: Sequence[str], repeated: Sequence[str]) -> None:
    """Tells of files and folders that were given and not read, and of further names of files that are."""
    from quickstroke.formats import ending_of

    folders = [name for name in ignored if name.endswith("/")]
    unknown = [name for name in ignored if name not in folders and ending_of(Path(name)) is None]
    others = [name for name in ignored if name not in folders and name not in unknown]
    for names, one, several in (
        (folders, "folder with drawing files", "folders with drawing files"),
        (unknown, "file that is no drawing file", "files that are no drawing files"),
        (others, "file of another kind than those read beside it", "files of other kinds than those read beside them"),
        (repeated, "name of a file that is read by another one", "names of files that are read by other ones"),
    ):
        if names:
            told = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            note(f"ignored {len(names)} {one if len(names) == 1 else several}: {told}")
            if names is folders or names is others:
                pattern = "*.png" if names is others else "**/*.svg"
                note(f"what is named, or matches a pattern of its own such as {pattern!r}, is read, too")


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
