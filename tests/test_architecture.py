"""The modules and folders of the package are ranked: each imports only from those before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "quickstroke"

# From the ground up; modules of one rank may import each other.
RANKS = (
    "errors",
    "compiled",
    "drawing",
    "categories",
    "files",
    "simplification",
    "pickles",
    "formats",
    "naming config",
    "intervals",
    "points",
    "documents",
    "synthetic download",
    "splitmix",
    "keys",
    "preparation spill",
    "batches",
    "dataset",
    "on_device",
    "augmentation",
    "bfloat16",
    "products",
    "gates",
    "threads",
    "packed_lstm",
    "packed_conv",
    "packed_pool",
    "parallel",
    "images image_reader",
    "models",
    "single single_image",
    "evaluation",
    "weight_files",
    "optimizer runs",
    "cards",
    "published",
    "render",
    "bitmap_teacher",
    "distillation",
    "training",
    "onnx_graph onnx_model",
    "recognizer",
    "report",
    "space",
    "tuning",
    "study_report",
    "export",
    "serve",
    "cli",
)


def ranked() -> dict[str, int]:
    """The rank of each module, of each folder of modules by its name."""
    return {name: rank for rank, names in enumerate(RANKS) for name in names.split()}


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


def test_every_module_is_ranked() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py") and path.name[0] != "_"}
    assert set(ranked()) == there


def test_a_module_imports_only_from_modules_before_it() -> None:
    ranks = ranked()
    wrong = [
        f"{module} imports {other}"
        for module, rank in ranks.items()
        for path in (*PACKAGE.glob(f"{module}.py"), *PACKAGE.glob(f"{module}/**/*.py"))
        for other in imported(path)
        if other in ranks and ranks[other] > rank
    ]
    assert not wrong
