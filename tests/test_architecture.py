"""docs/architecture.md lists the modules so that each imports only from those above it: it is held to that here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "quickstroke"


def listed() -> dict[str, int]:
    """The row of each module, of each folder of modules by its name."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", text.split("## Decisions")[0], re.MULTILINE)
    names = (re.findall(r"`(\w+)(?:\.py|/)`", row) for row in rows)
    return {name: row for row, found in enumerate(names) for name in found}


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a module imports when it runs, the folder for those in one."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "quickstroke":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


def test_every_module_is_listed() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py") and path.name[0] != "_"}
    assert set(listed()) == there


def test_a_module_imports_only_from_modules_above_it() -> None:
    rows = listed()
    wrong = [
        f"{module} imports {other}"
        for module, row in rows.items()
        for path in (*PACKAGE.glob(f"{module}.py"), *PACKAGE.glob(f"{module}/**/*.py"))
        for other in imported(path)
        if other in rows and rows[other] > row
    ]
    assert not wrong
