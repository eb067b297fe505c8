"""The options of commands: those that several have, and reading arguments, whose mistakes are told in one line."""

import contextlib
import dataclasses
import difflib
import io
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

import tyro

from quickstroke.config import former
from quickstroke.config.training import device_hint
from quickstroke.drawings.layouts import LayoutChoice
from quickstroke.errors import ConfigError

Options = TypeVar("Options")

# In fewer, tyro looks for a layout of its help without an end.
_LEAST_COLUMNS = 20

# Options of earlier versions that have no other name now.
_GONE = {
    "add": "was removed; prepare all sources anew",
    "ort": "was removed; the page needs no onnxruntime-web",
    "tensorboard": "was renamed to --log tensorboard",
}
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

Split = Annotated[Literal["train", "val", "test", "reserved"] | None, optional("{train,val,test,reserved}")]

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


def checked_limit(limit: int | None) -> int | None:
    """The value of `--limit`, as `islice` takes it.

    Raises:
        ConfigError: it is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit should be 1 or more, got {limit}")
    return limit and min(limit, sys.maxsize)


def check_output(option: str, name: str | None, files: Sequence[Path] = ()) -> None:
    """Raises ConfigError where a file cannot be written, before the work for it, or is one of those that are read."""
    if name is None:
        return
    path = Path(name)
    if path.resolve() in {file.resolve() for file in files}:
        raise ConfigError(f"{option} {name}: is read by this command; expected the name of another file")
    if path.is_dir():
        raise ConfigError(f"{option} {name}: is a folder; expected the name of a file")
    from quickstroke.utils.files import check_place

    try:
        check_place(path)
    except OSError as error:
        raise ConfigError(f"{option} {name}: cannot be written: {error.strerror}") from error
