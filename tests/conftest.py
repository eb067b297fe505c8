"""What several tests share: the folder of real drawings, and small synthetic ones made here."""

import gc
import os
import random
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from quickstroke import cli
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings
from quickstroke.errors import QuickstrokeError
from quickstroke.formats import binary
from quickstroke.inference.recognizer import Recognizer
from quickstroke.preparation.prepare import prepare

# What these modules assert for several files is told as what a test asserts: with both sides.
pytest.register_assert_rewrite("kept_models", "searches", "small_classifiers", "typed_commands")

# A third of the time that importing all tests takes would go into looking for garbage among what stays.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on garbage is looked for, but not among what has been imported and collected."""
    gc.freeze()
    gc.enable()


# No clock decides about a test, as generating examples takes as long as the machine is slow. Nor does chance: the
# examples are the same each time, and few; `make fuzz` and `pytest --hypothesis-profile many` look for new ones.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("few", max_examples=40, derandomize=True, database=None, **_PATIENT)
settings.register_profile("many", max_examples=1000, **_PATIENT)
settings.load_profile("few")
# Nor may it be a matter of the clock when compiled code takes over from PyTorch, nor what is told one of what an
# earlier run has left compiled.
Recognizer.compiles = False
_tell_compiling, cli._tell_compiling = cli._tell_compiling, lambda is_kept: None


@pytest.fixture
def tell_compiling() -> Callable[[bool], None]:
    """What the command line tells when something is compiled; tests in general do not."""
    return _tell_compiling


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before a test, and before what it shares with others is made, every global generator starts anew."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


# What takes long, or they would leave one process after another without work at the end. One of the first four has
# most of what is compiled compiled, where nothing is yet, while the three others mostly wait for a browser.
LONG_FILES = (
    "test_strong.py",
    "test_page_drawing.py",
    "test_page_words.py",
    "test_page_files.py",
    "test_study.py",
    "test_page_parity.py",
    "test_distributed.py",
    "test_page_states.py",
    "test_cli.py",
    "test_cli_train.py",
    "test_page_game.py",
    "test_tune.py",
    "test_serve_process.py",
    "test_faults.py",
    "test_fuzz.py",
    "test_notebooks.py",
    "test_page_offline.py",
    "test_page_guesser.py",
    "test_resuming.py",
    "test_on_device.py",
    "test_augmentation.py",
    "test_weight_files.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; each keeps its order and stays together."""
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a test by the place of packed or long bytes, not by themselves: a gzip file holds the time, and processes
    that share the tests must agree on their names."""
    return argname if isinstance(val, bytes) and not (len(val) < 40 and val.isascii()) else None


ROOT = Path(__file__).resolve().parent.parent
WORDS = ("circle", "house", "star")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch on one thread for a file's tests and what they share, so that sums are made in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process and gives its `typed_commands.Result`."""
    from typed_commands import Result

    monkeypatch.setenv("COLUMNS", "100")

    def go(*args: object) -> Result:
        capsys.readouterr()
        code = cli.main([str(arg) for arg in args])
        return Result(code, *capsys.readouterr())

    return go


@pytest.fixture(scope="session")
def is_small() -> Callable[[Callable[[], object], int], bool]:
    """Whether a call, refused or not, takes no more than for a file of `n_bytes` it may: ten times that, and 16 MB."""

    def measured(call: Callable[[], object], n_bytes: int) -> bool:
        tracemalloc.start()
        try:
            with suppress(QuickstrokeError):
                call()
            return tracemalloc.get_traced_memory()[1] <= 10 * n_bytes + 16_000_000
        finally:
            tracemalloc.stop()

    return measured


@contextmanager
def _limited(resource_number: int, n: int) -> Iterator[None]:
    """In here this process has no more of a resource."""
    before = resource.getrlimit(resource_number)
    resource.setrlimit(resource_number, (n, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource_number, before)


@pytest.fixture(scope="session")
def memory_limit() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which so many bytes can be taken beyond what the process has, touched or not; then MemoryError."""

    def limit(n_bytes: int) -> AbstractContextManager[None]:
        n_pages = int(Path("/proc/self/statm").read_text().split()[0])
        return _limited(resource.RLIMIT_AS, n_pages * resource.getpagesize() + n_bytes)

    return limit


@pytest.fixture(scope="session")
def files_of_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which no file may have more bytes: a write beyond that fails as on a full disk, with another
    number."""
    return partial(_limited, resource.RLIMIT_FSIZE)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real drawings and published weights; the test is skipped where it is absent, but not in CI."""
    path = Path(os.environ.get("QUICKSTROKE_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        message = f"no real drawings at {path}; set QUICKSTROKE_SHARED"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def drawings() -> dict[str, list[Drawing]]:
    """60 simplified synthetic drawings of each of three words."""
    return {word: list(synthetic_drawings(60, seed=7, words=(word,))) for word in WORDS}


@pytest.fixture(scope="session")
def binary_folder(drawings: dict[str, list[Drawing]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one official binary file for each of the three words."""
    folder = tmp_path_factory.mktemp("binary")
    for word, items in drawings.items():
        binary.write(folder / f"{word}.bin", items)
    return folder


@pytest.fixture(scope="session")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """All real drawings, split by the default rule."""
    path = tmp_path_factory.mktemp("real") / "dataset"
    prepare(shared / "data/quickdraw/binary", path)
    return PreparedDataset(path)


@pytest.fixture(scope="session")
def dataset(binary_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """A prepared dataset of the three words: 40 drawings each to train on, 10 to validate, 10 to test."""
    path = tmp_path_factory.mktemp("prepared") / "dataset"
    prepare(binary_folder, path, split=PositionSplit(40, 10, 10))
    return PreparedDataset(path)
