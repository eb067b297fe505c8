"""Commands that are typed, and what they answer."""

import json
from pathlib import Path
from typing import Any, NamedTuple

MODEL = "simple_lay1_sz16"


class Result(NamedTuple):
    """Exit code, stdout and stderr of a command, and its JSON line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def one_line(result: Result, *parts: str) -> None:
    """A user's mistake: exit code 2, one line on stderr with these parts, no traceback."""
    assert result.code == 2, result.err
    lines = [line for line in result.err.splitlines() if line]
    assert len(lines) == 1, result.err
    assert lines[0].startswith("quickstroke")
    for part in parts:
        assert part in lines[0]


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())
