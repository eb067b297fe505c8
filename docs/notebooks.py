"""Runs the notebooks of the documentation, each from its first cell to its last, in a kernel of its own.

python docs/notebooks.py INTO    writes them with their outputs into the folder INTO
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent / "notebooks"
TIMEOUT_S = 600


def run(path: Path, folder: Path, further: Sequence[str] = ()) -> Any:
    """The notebook with its outputs; `further` cells come after its own, and `folder` is where it works.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in further]
    client = NotebookClient(
        notebook, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    # What IPython and Jupyter write beside the notebook is of no use afterwards.
    with tempfile.TemporaryDirectory() as scratch:
        env = os.environ | {"IPYTHONDIR": f"{scratch}/ipython", "JUPYTER_RUNTIME_DIR": f"{scratch}/runtime"}
        return client.execute(env=env)


def main() -> None:
    """Runs all of them."""
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), into / path.name)


if __name__ == "__main__":
    main()
