"""What numba does otherwise here: how it keeps compiled code on disk, and what it makes of functions inside others.

Imported with the first function that is compiled, as numba is.
"""

import gc
import glob
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from numba.core import caching, codegen, compiler
from numba.core.compiler_lock import global_compiler_lock

from quickstroke.utils.compiling import wait_for_others

# Numba's own, which have no types.
_Files: Any = caching.IndexDataCacheFile
_Cache: Any = caching.FunctionCache
_Library: Any = codegen.JITCodeLibrary
_Compiler: Any = compiler.Compiler


class Files(_Files):  # type: ignore[misc]
    """One file for each signature, found by its name. Numba's own way has an index: of two processes that add to it at
    once one writes over what the other has added."""

    def __init__(self, folder: str, name: str, source_stamp: Any, sources: Callable[[], str]) -> None:
        super().__init__(folder, name, source_stamp)
        self._sources = sources

    def _prefix(self) -> str:
        return f"{self._index_name.removesuffix('.nbi')}.{self._sources()[:8]}."

    def _name(self, key: Any) -> str:
        what = repr((self._version, self._source_stamp, key)).encode()
        return f"{self._prefix()}{hashlib.sha256(what).hexdigest()[:16]}.nbc"

    def has(self, key: Any) -> bool:
        return Path(self._cache_path, self._name(key)).exists()

    def load(self, key: Any) -> Any:
        return self._load_data(self._name(key))

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name(key), data)
        name, _, line = self._index_name.removesuffix("nbi").rpartition("-")
        of_function = f"{glob.escape(name)}-*.{glob.escape(line.partition('.')[2])}*"
        for path in Path(self._cache_path).glob(of_function):
            if f".{self._sources()[:8]}." not in path.name:  # of sources before, when it was at another line, too
                with suppress(OSError):
                    path.unlink()


class Cache(_Cache):  # type: ignore[misc]
    """Keeps a function's compiled code.

    Args:
        sources: gives a hash of all that compiled code depends on; what was kept for another one is removed.
        on_failure: called where nothing can be written.

    Raises:
        RuntimeError: there is no folder that can be written.
    """

    def __init__(
        self, function: Callable[..., Any], sources: Callable[[], str], on_failure: Callable[[], None]
    ) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = Files(self._cache_path, self._impl.filename_base, stamp, sources)
        self._on_failure = on_failure

    def has(self, signature: Any, context: Any) -> bool:
        """Whether something was kept."""
        return self._cache_file.has(self._index_key(signature, context.codegen()))

    def load_overload(self, signature: Any, context: Any) -> Any:
        if not self.has(signature, context):
            wait_for_others()  # one of which may have it in hand
        try:
            return super().load_overload(signature, context)
        except Exception:  # nothing was kept, or something is wrong with it: it is compiled anew
            return None

    def save_overload(self, *given: Any) -> None:
        try:
            super().save_overload(*given)
        except OSError:  # such as a full disk
            self._on_failure()


# --- Functions inside others ------------------------------------------------------------------------------------------
#
# Numba makes machine code of every function, and again of what it calls, which becomes part of it. Of a function that
# only compiled code calls nobody needs the first, which took nearly half of all compiling.


class _Part(_Library):  # type: ignore[misc]
    """What a function is before it is optimized, which it will be in the functions that it becomes part of."""

    # It has no address, and so no place for that of its environment, which only functions of Python need.
    codegen = SimpleNamespace(set_env=lambda *_: None)

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@contextmanager
def _frozen() -> Iterator[None]:
    """Python's garbage collector leaves alone what there is already. Compiling makes so many objects that it would go
    through those of PyTorch again and again, which took a fifth of the time."""
    is_own = not gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if is_own:
            gc.unfreeze()


class Compiler(_Compiler):  # type: ignore[misc]
    """Compiles a function for Python, and what it calls as part of it."""

    def _compile_core(self) -> Any:
        with global_compiler_lock, _frozen():
            own = self.state.targetctx.codegen()
            self.state.library = _Library(own, self.state.func_id.func_qualname)
            self.state.library.enable_object_caching()
            own._library_class, before = _Part, own._library_class
            try:
                return super()._compile_core()
            finally:
                own._library_class = before
