"""While a command runs: a bar, stopping on Ctrl-C, and PyTorch imported without what slows a short command."""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from quickstroke.cli import tell
from quickstroke.utils.system import keep_freed_memory


def import_torch(model: str | None = None, *, trains_padded: bool = False) -> None:
    """Imports PyTorch where it is installed and `model` is no ONNX file. The garbage collector leaves alone what stays
    of it, and the C library keeps what a batch frees.

    Looking through that again and again, and once more at the end, is a quarter of the time of a short command. Where
    PyTorch is missing, what needs it says so.

    Where padded models are trained, PyTorch's threads sleep while they wait for each other. Busy waiting, the default,
    saves a sixth of the time on idle cores, and takes many times as long while other programs have work.
    """
    if "torch" in sys.modules or not gc.isenabled() or (model or "").endswith(".onnx"):
        return
    if trains_padded:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when PyTorch is loaded
    keep_freed_memory()
    gc.disable()
    try:
        with contextlib.suppress(ImportError):
            import torch  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


class _Speed(ProgressColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self._unit}/s" if task.speed else "")


def progress(unit: str = "classes") -> Progress:
    """A bar on stderr with speed and time left; nothing at all when stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(unit), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class StopOnSignal:
    """Turns the first Ctrl-C (or SIGTERM) into a wish to stop; a Ctrl-C after it interrupts at once.

    Args:
        numbers: the signals.
        text: what is said to the first.
    """

    def __init__(
        self,
        numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
        text: str = "stopping after this batch; Ctrl-C stops at once",
    ) -> None:
        self.asked = False
        self._numbers, self._text = numbers, text

    def __enter__(self) -> "StopOnSignal":
        self._before = {number: signal.signal(number, self._ask) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            # Slurm sends SIGTERM to every process of a job, and torchrun hands its own on: that is the same wish again.
            if number == signal.SIGTERM:
                return
            raise KeyboardInterrupt
        self.asked = True
        if self._text:
            tell(self._text)
