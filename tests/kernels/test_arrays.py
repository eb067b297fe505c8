"""Arrays that compiled code makes are those of NumPy."""

from typing import Any

import numpy as np
import pytest

from quickstroke.kernels.arrays import bits_of, empty, numbers_of, zeros
from quickstroke.utils.compiled import jit


@jit()
def make(x: Any, n: Any) -> Any:
    one, two, like = zeros(n, np.float32), zeros((np.int32(2), n), np.uint8), empty((len(x), 1, n), x.dtype)
    like[:] = 7
    return one, two, like


@jit()
def see(x: Any) -> Any:
    bits = bits_of(x)
    bits[1] = np.uint32(0x40A00000)  # 5
    return bits, numbers_of(bits)


@jit()
def see_own(n: Any) -> Any:
    x = zeros(n, np.float32)
    x[0] = np.float32(-2)
    return bits_of(x)  # which alone holds the memory


@jit()
def take(n: Any) -> Any:
    return empty(n, np.float64)


@pytest.mark.parametrize("n", [0, 1, 5, 100_000])
def test_arrays_have_the_shape_and_type_asked_for(n: int) -> None:
    one, two, like = make(np.arange(3, dtype=np.int16), n)
    for array, shape, kind in ((one, (n,), np.float32), (two, (2, n), np.uint8), (like, (3, 1, n), np.int16)):
        assert array.shape == shape and array.dtype == kind and array.flags.c_contiguous and array.flags.writeable
    assert not one.any() and not two.any() and (like == 7).all()


def test_the_same_memory_is_seen_as_another_type() -> None:
    x = np.arange(4, dtype=np.float32)
    bits, numbers = see(x)
    assert bits.dtype == np.uint32 and bits.tolist() == x.view(np.uint32).tolist()
    assert x.tolist() == numbers.tolist() == [0, 5, 2, 3] and np.shares_memory(numbers, x)
    part = np.arange(8, dtype=np.float32)[::2]
    assert see(part)[1].tolist() == [0, 5, 4, 6]
    assert [see_own(n).tolist() for n in (1, 2)] == [[0xC0000000], [0xC0000000, 0]]


def test_memory_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MemoryError):
        take(2**48)
