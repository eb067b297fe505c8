"""The rooms of the package: each imports only from those before it, and no file or function is too long to read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "quickstroke"

# From the ground up. Beside them stand errors.py, which imports nothing, and __init__.py and __main__.py, which may
# import everything.
ROOMS = (
    "utils",
    "config",
    "kernels",
    "drawings",
    "runtime",
    "formats",
    "data",
    "preparation",
    "models",
    "artifacts",
    "inference",
    "evaluation",
    "training",
    "reports",
    "tuning",
    "export",
    "serve",
    "notebook",
    "cli",
)
# StrokeClassifier.from_pretrained and save_pretrained are where users of PyTorch look; a later room does the work.
UPWARDS = {("models/classifier.py", "artifacts")}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 500, 80


def imported(path: Path) -> Iterator[str]:
    """The rooms, or "errors", that a module imports from when it runs."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "quickstroke":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("quickstroke."))


def test_every_module_is_in_a_room() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there == set(ROOMS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "errors.py"}
    assert all((PACKAGE / room / "__init__.py").is_file() for room in ROOMS)


def test_a_room_imports_only_from_those_before_it() -> None:
    ranks = {room: rank for rank, room in enumerate(ROOMS)}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for room, rank in ranks.items()
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for other in imported(path)
        if ranks.get(other, -1) > rank and (path.relative_to(PACKAGE).as_posix(), other) not in UPWARDS
    ]
    assert not wrong
    assert not list(imported(PACKAGE / "errors.py"))


def test_tests_stand_in_the_same_rooms() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert folders <= {*ROOMS, "page"}


@pytest.mark.parametrize("folder", [*(f"src/quickstroke/{room}" for room in ROOMS), "js/src", "benchmarks", "fuzz"])
def test_no_file_and_no_function_is_too_long(folder: str) -> None:
    files = [path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".py", ".js", ".ts", ".css")]
    assert files
    lines = {path.relative_to(ROOT): path.read_text().count("\n") for path in files}
    assert not {path: n for path, n in lines.items() if n > MOST_LINES}
    functions = {
        f"{path.relative_to(ROOT)}: {node.name}": node.end_lineno - node.lineno + 1
        for path in files
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert not {name: n for name, n in functions.items() if n > MOST_LINES_OF_A_FUNCTION}
