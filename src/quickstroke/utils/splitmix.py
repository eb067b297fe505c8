"""splitmix64 (Steele, Lea and Flood, OOPSLA 2014): 64 bits evenly spread, for hashes and random streams."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP = np.uint64(0x9E3779B97F4A7C15)


def mix(z: Any) -> Any:
    """The finaliser, of one uint64 or of an array; `jit()(mix)` is that of compiled code."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The first number of the stream that each value (N,) is the state of."""
    with np.errstate(over="ignore"):
        result: NDArray[np.uint64] = mix(values.astype(np.uint64) + STEP)
        return result
