"""What can go wrong with a user's input, as a tree of exceptions with one root.

    QuickstrokeError
    ├── FormatError     a drawing file says something its format does not allow
    ├── CategoryError   a word, or a list of words, that cannot be used
    ├── DatasetError    a prepared dataset that is missing, damaged or unfit, or cannot be made as asked
    ├── ModelNameError  a model name outside the convention
    ├── ConfigError     a configuration value that is unknown, of the wrong type, or contradicts another
    ├── WeightsError    a model file that cannot be read, or does not fit its name, classes or card
    ├── RunError        a run folder that cannot be written, resumed or read
    ├── TrainingError   a training that cannot go on
    ├── DownloadError   a file that a server does not give, or gives damaged, or that cannot be stored
    ├── DocumentError   a results document that does not have the expected form
    ├── MissingExtra    a feature whose optional packages are not installed
    └── ArgumentTypeError   an argument of a type that the function does not take; also a TypeError

Every message says what was given, what was expected and where; the command line prints it as one line and
exits with 2.
"""

import errno
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# They can be gone through, too.
_NO_LISTS = (str, bytes, bytearray, Mapping)


class QuickstrokeError(Exception):
    """Root of everything that quickstroke raises for its user's input."""


class FormatError(QuickstrokeError):
    """A drawing file that breaks its format.

    Attributes:
        path: the file, or None when the bytes came from memory.
        offset: where in it, in bytes from its (decompressed) beginning, or None.
        line: the line, counted from 1, or None.
        stroke: which stroke of a drawing it is about, counted from 0, or None.
        reason: what is wrong and what was expected.
    """

    def __init__(
        self,
        reason: str,
        path: Path | str | None = None,
        *,
        offset: int | None = None,
        line: int | None = None,
        stroke: int | None = None,
    ) -> None:
        self.reason, self.path, self.offset, self.line, self.stroke = reason, path, offset, line, stroke
        where = str(path) if path is not None else ""
        if line is not None:
            where += f", line {line}"
        if offset is not None:
            where += f", byte {offset}"
        where = where.removeprefix(", ")
        super().__init__(f"{where}: {reason}" if where else reason)


# What is done with the error of a drawing that is left out; None where it is raised.
OnInvalid = Callable[[FormatError], None] | None


class CategoryError(QuickstrokeError):
    """A word that is no category of the data or model at hand, or a list that names one twice."""


class DatasetError(QuickstrokeError):
    """A prepared dataset that is missing, damaged, too new, too small or not what was asked for."""


class ModelNameError(QuickstrokeError):
    """A model name outside the convention; the message names the part that is wrong."""


class ConfigError(QuickstrokeError):
    """A configuration with an unknown key, a wrong type, an impossible value or a contradiction."""


class WeightsError(QuickstrokeError):
    """A model file that cannot be read safely, or does not fit its name, its classes or its card."""


class RunError(QuickstrokeError):
    """A run folder that exists already, cannot be resumed, or lacks what was asked of it."""


class DownloadError(QuickstrokeError):
    """A file that a server does not give, or gives damaged, or that cannot be stored."""


class DocumentError(QuickstrokeError):
    """A results document, or a configuration block in it, outside the form it should have."""


class TrainingError(QuickstrokeError):
    """A training that cannot go on, such as a loss that is not finite."""


class MissingExtra(QuickstrokeError):
    """A feature whose optional packages are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, extra)  # what pickling, between processes, makes it from again

    def __str__(self) -> str:
        what, extra = self.args
        return f"{what} needs packages that are not installed: pip install 'quickstroke[{extra}]'"


class ArgumentTypeError(QuickstrokeError, TypeError):
    """An argument of a type that a function of the Python interface does not take."""


@contextmanager
def located(path: Path | str | None, part: str = "", *, line: int | None = None) -> Iterator[None]:
    """A FormatError in here says where: the file, the line, and which part of it, such as `drawing 3`."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{part}: {error.reason}" if part else error.reason, path, line=line) from error


def leave_out(error: FormatError, on_invalid: OnInvalid) -> None:
    """Hands the error of a drawing that is left out to `on_invalid`, or raises it where that is None."""
    if on_invalid is None:
        raise error
    on_invalid(error)


@contextmanager
def leaving_out(on_invalid: OnInvalid) -> Iterator[None]:
    """A FormatError in here goes where `leave_out` has it go."""
    try:
        yield
    except FormatError as error:
        leave_out(error, on_invalid)


def expect(value: object, kinds: type | tuple[type, ...], name: str, expected: str) -> None:
    """Raises ArgumentTypeError unless the argument `name` is of one of some types; `expected` says these in words."""
    if not isinstance(value, kinds):
        raise ArgumentTypeError(f"{name} should be {expected}, got {shown(value)}")


def expect_path(value: object, name: str) -> Path:
    """The argument `name` as a path.

    Raises:
        ArgumentTypeError: it is none.
    """
    if isinstance(value, (str, os.PathLike)) and isinstance(path := os.fspath(value), str):
        return Path(path)
    raise ArgumentTypeError(f"{name} should be a path, got {shown(value)}")


def expect_items(value: Any, name: str, expected: str) -> list[Any]:
    """The items of the argument `name`; a text, bytes and a mapping are no lists, though they can be gone through.

    Raises:
        ArgumentTypeError: it is none of several items.
    """
    if not isinstance(value, Iterable) or isinstance(value, _NO_LISTS):
        raise ArgumentTypeError(f"{name} should be {expected}, got {shown(value)}")
    return list(value)


def expect_list(value: object, name: str, expected: str) -> None:
    """Raises ArgumentTypeError unless the argument `name` is a list of any type, such as an array, but no stream."""
    if not isinstance(value, Collection) or isinstance(value, _NO_LISTS):
        raise ArgumentTypeError(f"{name} should be {expected}, got {shown(value)}")


def first_line(error: BaseException) -> str:
    """The first line of what a foreign exception says, in at most 200 characters; its kind where it says nothing."""
    return f"{(str(error).strip() or type(error).__name__).splitlines()[0]:.200}"


# What PyTorch, the system's loader of libraries and oneDNN say where there is no more memory.
_NO_MEMORY = ("DefaultCPUAllocator", "failed to map segment from shared object", "could not create a primitive")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that there was no more memory: Python's, the system's or PyTorch's, of a CPU or a GPU."""
    return (
        isinstance(error, MemoryError)
        or getattr(error, "errno", None) == errno.ENOMEM
        or type(error).__name__ == "OutOfMemoryError"
        or any(sign in str(error) for sign in _NO_MEMORY)
    )


def shown(value: object) -> str:
    """A value of any size and depth as a few characters, for a message."""
    return " ".join(reprlib.repr(value).split())
