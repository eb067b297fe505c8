"""How commands answer people and scripts. It imports little: some commands have nothing else to do."""

import contextlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quickstroke.cli import printable, silence, tell

# In the JSON of a command: options that were tried, which another training takes as they are.
_EXACT = ("values",)
# Of every other number there that is not whole.
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended.

    Attributes:
        values: what `--json` prints; None where there is nothing to tell, as of a training that was stopped.
        code: the exit code.
    """

    values: dict[str, Any] | None
    code: int = 0


def answer(as_json: bool, body: Callable[[], Answer]) -> int:
    """Runs the body of a command and returns its exit code.

    With `as_json` what the body prints goes to stderr, and stdout gets its values, when it has ended, and nothing else.
    """
    if not as_json:
        return body().code
    with contextlib.redirect_stdout(sys.stderr):
        found = body()
    if found.values is not None:
        print_json(found.values)
    return found.code


def print_json(values: dict[str, Any]) -> None:
    """One JSON object on one line; what the encoding of stdout cannot hold is escaped as JSON does it.

    Numbers have six significant digits; those that are not finite, which JSON has not, are null.
    """
    values = _rounded(values)
    text = json.dumps(values, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(values)
    print(text, flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: part if key in _EXACT else _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


def say(text: str) -> None:
    """A line of a long work, on stdout at once; where nobody reads it any more, the work goes on."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        silence()
        note("nobody reads stdout any more; going on without it")


def note(text: str) -> None:
    """A remark for the person, beside the results: on stderr. An empty one is none."""
    if text:
        tell(printable(text))


def percent(fraction: float) -> str:
    """A fraction as a percentage with two digits."""
    return f"{100 * fraction:.2f}%"


def counted(n: int, what: str) -> str:
    """`1 drawing`, `2,000 drawings`, `3 classes`."""
    return f"{n:,} {what}{'' if n == 1 else 'es' if what.endswith('s') else 's'}"
