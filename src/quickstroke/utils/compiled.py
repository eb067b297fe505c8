"""Functions compiled by numba, for any thread, and kept on disk for the next process."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(**options: Any) -> Callable[[Function], Function]:
    """A decorator that compiles a function when it is first called, by `numba.njit` with these options.

    What was compiled is kept beside the module, else in the user's own cache, or where NUMBA_CACHE_DIR says. Where none
    of them can be written each process compiles anew, and a RuntimeWarning says so once.
    """

    def decorate(function: Function) -> Function:
        try:
            return cast(Function, numba.njit(cache=True, nogil=True, **options)(function))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _warn()
            return cast(Function, numba.njit(nogil=True, **options)(function))

    return decorate


@functools.cache
def _warn() -> None:
    warnings.warn(
        "no folder for compiled code can be written, so each process compiles it anew, which takes up to a minute; the "
        "environment variable NUMBA_CACHE_DIR may name one",
        RuntimeWarning,
        stacklevel=1,
    )
