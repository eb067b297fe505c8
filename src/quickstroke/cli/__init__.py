"""The command line: one small file a command, each imported only when it runs.

A file has a dataclass `Options` and `run`, which takes them, runs the command and returns an `Answer`; or `main`, which
takes the arguments and returns an exit code.

Exit codes: 0 done, 2 the user's input is wrong (one line on stderr), 3 a rerun did not come out the same, 130
interrupted, 1 our fault.
"""

import functools
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from quickstroke.errors import MissingExtra, QuickstrokeError, first_line, is_out_of_memory
from quickstroke.utils import compiled

# In the order in which a user meets them.
COMMANDS = {
    "download": "official files from Google's public bucket",
    "prepare": "drawings in any official format -> one prepared dataset",
    "convert": "drawings in any format -> official files, SVG, parquet",
    "audit": "which labels of a dataset are doubtful -> a page and a list to leave out",
    "train": "a model on a prepared dataset -> a run folder",
    "tune": "a search for better options of a training",
    "rerun": "a run once more, and whether it comes out the same",
    "evaluate": "a model's accuracy on a dataset or on files",
    "predict": "ranked words for each drawing of some files",
    "teach": "a word at once, from a few drawings -> a small file beside the model",
    "report": "runs, models or documents -> a results document with plots",
    "publish": "the best weights of a run -> NAME.model and NAME.json",
    "models": "what is published here, and which is the default",
    "export": "a model -> ONNX, safetensors, or a page that recognises in the browser",
    "serve": "draw on a page and see the guesses change; HTTP API",
    "render": "drawings -> SVG, PNG, 28x28 bitmaps, animated replays",
    "completion": "a script by which a shell completes commands and options",
    "demo": "all of it in a minute, on real drawings or built-in synthetic ones",
}

# The extra that brings a module.
_EXTRAS = {
    "PIL": "render",
    "fastapi": "serve",
    "huggingface_hub": "hub",
    "matplotlib": "report",
    "onnx": "export",
    "onnxruntime": "onnx",
    "optuna": "tune",
    "prometheus_client": "serve",
    "pyarrow": "parquet",
    "safetensors": "export",
    "tensorboard": "tensorboard",
    "torch": "torch",
    "uvicorn": "serve",
}


def usage() -> str:
    """The text of `quickstroke --help`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    return (
        "usage: quickstroke COMMAND ...\n\nPen strokes become words: train, evaluate, publish and run stroke "
        f"classifiers.\n\ncommands:\n{commands}\n\n`quickstroke COMMAND --help` describes a command; "
        "`quickstroke --version` tells the version."
    )


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):  # a word or a path may have what a terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    command = arguments[0] if arguments else ""
    compiled.tell(functools.cache(_tell_compiling))
    try:
        try:
            code = _run(arguments)
        except SystemExit as error:  # tyro's, after --help or a wrong option
            code = error.code if isinstance(error.code, int) else 2
        sys.stdout.flush()
        return code
    except QuickstrokeError as error:
        return _fail(command, str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if (command, extra) == ("export", "torch"):  # which has the others as well
            extra = "export"
        if extra is None:
            raise
        return _fail(command, str(MissingExtra(f"quickstroke {command}", extra)))
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does: nothing is wrong, and nothing more can be said.
        silence()
        return 0
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if str(error) == "can't start new thread":
            return _fail(
                command, "no more threads can be started: a limit of processes or memory is reached (`ulimit`)"
            )
        if is_out_of_memory(error):
            advice = "; a smaller --batch-size takes less" if command == "train" else ""
            return _fail(command, f"out of memory{advice} ({first_line(error)})")
        if not isinstance(error, OSError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        try:
            sys.stdout.flush()
        except OSError:  # a full disk, which would be told once more at the end
            silence()
        return _fail(command, f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        tell("interrupted")
        return 130


def _tell_compiling(is_kept: bool) -> None:
    kept = "compiling for this processor what this needs, which takes up to a minute; it is kept for the next time"
    tell(kept if is_kept else f"compiling: {compiled.NOT_KEPT}")


def tell(text: str) -> None:
    """A line on stderr at once; where it cannot be written, as to a pipe that nobody reads, the work goes on."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def silence(stream: TextIO | None = None) -> None:
    """Nothing that is written to a stream, by default stdout, from now on goes anywhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from quickstroke import __version__

        print(f"quickstroke {__version__}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        return _fail("", f"unknown command {command!r}; expected one of {', '.join(COMMANDS)}")
    module = importlib.import_module(f"quickstroke.cli.{command}")
    if hasattr(module, "main"):  # it reads its arguments itself
        return int(module.main(rest) or 0)
    from quickstroke.cli.answers import answer
    from quickstroke.cli.options import parse

    options = parse(module.Options, command, rest)
    return answer(options.json, functools.partial(module.run, options))


def printable(text: str) -> str:
    """A text from a file or of its name, what a terminal would obey in it written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fail(command: str, message: str) -> int:
    tell(f"quickstroke {command}: ".replace(" :", ":") + printable(" ".join(message.split("\n"))))
    return 2
