"""Commands that are typed, and what they answer; for the tests of this folder."""

import json
from pathlib import Path
from typing import Any

MODEL = "simple_lay1_sz16"


class Result:
    """Exit code, stdout and stderr of a command, and its JSON line."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
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
