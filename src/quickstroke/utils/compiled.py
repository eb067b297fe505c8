"""Functions that numba compiles when they are first needed, for any thread, kept on disk for the next process.

Numba is imported with the first of them. A function may say what Python itself would take for its arguments: as long as
that is less than compiling would take, Python does it.
"""

import atexit
import functools
import hashlib
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from quickstroke.utils.system import lends_tiles

Function = TypeVar("Function", bound=Callable[..., Any])

# Steps that Python takes of one function before it is compiled: below a second.
FEW_STEPS = 500_000


class Compiled:
    """A function that is compiled when it is called, or when compiled code that calls it is.

    Attributes:
        function: the same in Python.
        takes_long: whether compiling it does.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        steps: Callable[..., int] | None,
        steers: bool,
        takes_long: bool,
        options: dict[str, Any],
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.takes_long = function, takes_long
        self._steps, self._steers, self._options = steps, steers, options
        self._gives_nothing = function.__annotations__.get("return", self) is None
        self._steps_taken = 0
        self._dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        calls = getattr(_here, "calls", None)
        if calls is not None and self._gives_nothing:
            calls.append(Call(self, tuple(map(self.dispatcher.typeof_pyval, args))))
            return self.function(*args) if self._steers else None
        if self._steps and not self.is_compiled and not getattr(_here, "compiles", False):
            steps_taken = self._steps_taken + self._steps(*args)
            if steps_taken <= FEW_STEPS:
                self._steps_taken = steps_taken
                return self.function(*args)
        return self.dispatcher(*args)

    @property
    def is_compiled(self) -> bool:
        """Whether this process has it compiled already."""
        return bool(getattr(self._dispatcher, "overloads", False))

    @property
    def dispatcher(self) -> Any:
        """Numba's own object, which Python calls."""
        if self._dispatcher is None:
            numba, classes = _numba()
            dispatcher = numba.njit(pipeline_class=classes.Compiler, **(_OPTIONS | self._options))(self.function)
            try:  # as `cache=True`, but for the class
                dispatcher._cache = classes.Cache(self.function, _sources, _note_nothing_is_kept)
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
                _note_nothing_is_kept()
            self._dispatcher = dispatcher
        return self._dispatcher

    @functools.cached_property
    def part(self) -> Any:
        """The same for compiled code, which it becomes part of."""
        return _numba()[0].njit(no_cpython_wrapper=True, **(_OPTIONS | self._options))(self.function)


# Nobody calls these functions from C, for which a wrapper would be compiled, too. What is not said here numba would
# take from whatever calls a function first, so that results would depend on what a process does first.
_OPTIONS = {"nogil": True, "no_cfunc_wrapper": True, "error_model": "python", "fastmath": False}


def jit(
    steps: Callable[..., int] | None = None, steers: bool = False, takes_long: bool = False, **options: Any
) -> Callable[[Function], Function]:
    """A decorator that compiles a function when it is first called, by `numba.njit` with these options.

    What was compiled is kept beside the module, else in the user's own cache, or where NUMBA_CACHE_DIR says. Where none
    of them can be written each process compiles anew, and a RuntimeWarning says so once, where `tell` does not.

    Args:
        steps: of the function's arguments, about how many steps Python would take. Up to `FEW_STEPS` in all it takes
            them, and nothing is compiled; the function has to give the same bits either way.
        steers: what it writes decides what is called after it, so that Python does it also in `calls_of`.
        takes_long: compiling it takes longer than that of others; where several processes compile, one begins with it.
        options: numba's.
    """

    def decorate(function: Function) -> Function:
        return cast(Function, Compiled(function, steps, steers, takes_long, options))

    return decorate


_here = threading.local()


@contextmanager
def compiling() -> Iterator[None]:
    """In here this thread compiles every function that it calls."""
    before = getattr(_here, "compiles", False)
    _here.compiles = True
    try:
        yield
    finally:
        _here.compiles = before


class Call(NamedTuple):
    """A call of a compiled function: numba's types of its arguments."""

    function: Compiled
    types: tuple[Any, ...]

    @property
    def is_kept(self) -> bool:
        """Whether its code is on disk."""
        dispatcher = self.function.dispatcher
        return self.can_be_kept and bool(dispatcher._cache.has(self.types, dispatcher.targetctx))

    @property
    def can_be_kept(self) -> bool:
        """Whether there is a folder for it."""
        return isinstance(self.function.dispatcher._cache, _numba()[1].Cache)

    def compile(self) -> None:
        """Compiles it, or loads what is on disk."""
        self.function.dispatcher.compile(self.types)


def calls_of(run: Callable[[], object]) -> list[Call]:
    """The compiled functions that `run` calls on this thread, each once for each types of its arguments.

    Those that only write into their arguments are not called, so that `run` works with whatever these had before.
    """
    calls: list[Call] = []
    _here.calls = calls
    try:
        run()
    finally:
        del _here.calls
    return list(dict.fromkeys(calls))


def beside(work: Callable[[], None]) -> threading.Thread:
    """Starts work that compiles, on a thread of its own; where the process ends first, it ends after a function."""

    def run() -> None:
        _here.is_beside = True
        try:
            with suppress(SystemExit), compiling():
                work()
        except RuntimeError as error:
            # What the work shares out among threads, nobody takes any more when the process ends.
            if "interpreter shutdown" not in str(error):
                raise

    thread = threading.Thread(target=run, name="quickstroke-compile", daemon=True)
    thread.start()
    # While LLVM compiles, Python must not take it apart.
    atexit.register(_end, thread)
    return thread


def _end(thread: threading.Thread) -> None:
    global _is_ending
    _is_ending = True
    thread.join()


_is_ending = False
_is_kept = True
_on_compile: Callable[[bool], None] | None = None


def tell(on_compile: Callable[[bool], None]) -> None:
    """From now on `on_compile` is called before each function that is compiled, since it is not kept on disk; with
    whether it will be, which nothing else warns of then."""
    global _on_compile
    _on_compile = on_compile


def compiler_lock() -> AbstractContextManager[Any]:
    """In here no thread compiles."""
    return cast(AbstractContextManager[Any], importlib.import_module("numba.core.compiler_lock").global_compiler_lock)


@functools.cache
def _numba() -> tuple[Any, Any]:
    """The package, and what is otherwise here."""
    # Where colorama is installed numba, to colour messages that nobody sees, would replace sys.stdout and sys.stderr
    # for moments while it compiles: what another thread prints meanwhile, or redirects, would go astray.
    os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")
    numba: Any = importlib.import_module("numba")
    errors: Any = importlib.import_module("numba.core.errors")
    if hasattr(errors, "ColorShell"):  # somebody had imported it before
        errors.ColorShell = nullcontext
    events: Any = importlib.import_module("numba.core.event")
    classes: Any = importlib.import_module("quickstroke.utils.numba_classes")

    @importlib.import_module("numba.extending").typeof_impl.register(Compiled)  # type: ignore[untyped-decorator]
    def type_of(function: Compiled, context: Any) -> Any:
        return numba.typeof(function.part)

    class Listener(events.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            if _is_ending and getattr(_here, "is_beside", False):
                raise SystemExit
            if _on_compile:
                _on_compile(_is_kept)

        def on_end(self, event: Any) -> None:
            pass

    events.register("numba:compile", Listener())
    return numba, classes


@functools.cache
def _sources(package: Path = Path(__file__).parents[1]) -> str:
    """A hash of all that compiled code depends on.

    Numba keeps what it compiled of a function while that one's file is as it was, also where functions and numbers of
    other files are compiled into it. These are in modules that compile something or import numba, or change with the
    version. What calls MKL would end the process where another PyTorch has none, and what uses tiles where the system
    lends none.
    """
    from quickstroke import __version__

    digest = hashlib.sha256(f"{__version__} {lends_tiles()}".encode())
    for path in sorted(package.rglob("*.py")):
        if b"jit(" in (source := path.read_bytes()) or b"from numba" in source:
            digest.update(source)
    torch = importlib.util.find_spec("torch")
    if torch and torch.origin:
        digest.update(str(Path(torch.origin).stat().st_mtime_ns).encode())
    return digest.hexdigest()


NOT_KEPT = (
    "no folder for compiled code can be written, so each process compiles it anew, which takes up to a minute; the "
    "environment variable NUMBA_CACHE_DIR may name one"
)


def _note_nothing_is_kept() -> None:
    global _is_kept
    if _is_kept and not _on_compile:
        warnings.warn(NOT_KEPT, RuntimeWarning, stacklevel=1)
    _is_kept = False
