"""Products of compiled code against NumPy's, whatever the shapes, by every way that this processor has."""

import ctypes
import mmap
import os
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quickstroke.kernels import mkl, tiles, vectors

KINDS = torch.float32, torch.bfloat16
WAYS = [(vectors, kind) for kind in KINDS]
WAYS += [(mkl, torch.float32)] if mkl.IS_THERE else []
WAYS += [(tiles, torch.bfloat16)] if tiles.ARE_THERE else []

ways = pytest.mark.parametrize(("way", "kind"), WAYS, ids=lambda each: str(each).rsplit(".")[-1])
# Some are wider than a block, and not a whole number of blocks.
sizes = st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 90))


def matrix(n_rows: int, n_columns: int, kind: torch.dtype) -> tuple[NDArray[np.float64], NDArray]:
    """What it is, and as compiled code takes it: in rows of a wider array."""
    exact = torch.randn(n_rows, n_columns + 3).to(kind)
    array = exact.view(torch.uint16).numpy() if kind == torch.bfloat16 else exact.numpy()
    return exact[:, 1:-2].double().numpy(), array[:, 1:-2]


@ways
@given(sizes=sizes, seed=st.integers(0, 1000))
def test_products(way: ModuleType, kind: torch.dtype, sizes: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    n_rows, n_steps, n_columns = sizes
    (a, a_array), (b, b_array) = matrix(n_rows, n_steps, kind), matrix(n_steps, n_columns, kind)
    out = np.full((n_rows, n_columns), np.nan, np.float32)
    way.multiply(a_array, way.pack(b_array), out)
    np.testing.assert_allclose(out, a @ b, rtol=0, atol=1e-6 * (np.abs(a) @ np.abs(b) + 1).max())


@ways
@given(
    n_steps=st.integers(1, 3) | st.integers(500, 600),
    n_rows=st.integers(1, 40),
    n_columns=st.integers(1, 70),
    adds=st.booleans(),
)
def test_transposed(way: ModuleType, kind: torch.dtype, n_steps: int, n_rows: int, n_columns: int, adds: bool) -> None:
    torch.manual_seed(n_steps)
    (a, a_array), (b, b_array) = matrix(n_steps, n_rows, kind), matrix(n_steps, n_columns, kind)
    before = np.full((n_rows, n_columns), 0.5 if adds else np.nan, np.float32)
    out = before.copy()
    way.multiply_transposed(a_array, b_array, out, adds)
    expected = a.T @ b + (before if adds else 0)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6 * (np.abs(a.T) @ np.abs(b) + 1).max())


@pytest.mark.parametrize("n_rows", [1, 5, 16])
def test_each_by_its_own(n_rows: int) -> None:
    a, b = (np.random.default_rng(0).normal(size=(3, n, 40)).astype(np.float32) for n in (n_rows, 37))
    out = np.full((3, n_rows, 37), np.nan, np.float32)
    vectors.multiply_each(a, np.stack([vectors.pack(own.T) for own in b]), out)
    np.testing.assert_allclose(out, a @ b.transpose(0, 2, 1), rtol=0, atol=1e-4)


@ways
@pytest.mark.parametrize("n_steps", [21, 32])
def test_nothing_beside_the_product_is_read_or_written(way: ModuleType, kind: torch.dtype, n_steps: int) -> None:
    (_, a), (_, b) = matrix(13, n_steps, kind), matrix(n_steps, 37, kind)
    nan = np.float32(np.nan).view(np.uint32) >> 16 if kind == torch.bfloat16 else np.nan
    whole = np.full((15, 37), 7, np.float32)
    for array in (a, b):
        array.base[:, 0] = array.base[:, -2:] = nan
    way.multiply(a, way.pack(b), whole[1:14])
    assert np.isfinite(whole).all() and (whole[[0, 14]] == 7).all()
    whole = np.full((23, 37), 7, np.float32)
    (_, left), (_, right) = matrix(11, 21, kind), matrix(11, 37, kind)
    for array in (left, right):
        array.base[:, 0] = array.base[:, -2:] = nan
    way.multiply_transposed(left, right, whole[1:22], False)
    assert np.isfinite(whole).all() and (whole[[0, 22]] == 7).all()


def before_a_guard(array: NDArray) -> NDArray:
    """A copy that ends where a page of memory begins that nobody may touch."""
    page, n_bytes = mmap.PAGESIZE, -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, n_bytes + page)
    end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + n_bytes
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(end), ctypes.c_size_t(page), 0) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, n_bytes - array.nbytes).reshape(array.shape)
    copy[:] = array
    return copy


@ways
@pytest.mark.parametrize("n_steps", [21, 22, 64])  # with pairs of rows, with one more, and what tiles take as it is
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_nothing_beyond_the_end_of_memory_is_touched(way: ModuleType, kind: torch.dtype, n_steps: int) -> None:
    shapes = (13, n_steps), (n_steps, 37), (n_steps, 21), (n_steps, 37)
    arrays = [matrix(*shape, kind)[1].copy() for shape in shapes]

    def run(a: NDArray, b: NDArray, left: NDArray, right: NDArray, out: NDArray, other: NDArray) -> None:
        way.multiply(a, way.pack(b), out)
        way.multiply_transposed(left, right, other, True)

    arrays += [np.zeros(shape, np.float32) for shape in ((13, 37), (21, 37))]
    run(*arrays)  # compiles, for which a forked child has no threads
    guarded = list(map(before_a_guard, arrays))
    child = os.fork()
    if not child:  # it would be ended by a signal
        run(*guarded)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not tiles.ARE_THERE, reason="this processor has no tiles")
def test_pytorch_finds_its_own_tiles_after_ours() -> None:
    """Both set them up for what they multiply; PyTorch's convolutions of bfloat16 are by tiles, too."""
    images, kernel = torch.randn(4, 32, 16, 16).bfloat16(), torch.randn(64, 32, 3, 3).bfloat16()
    (a, a_array), (b, b_array) = matrix(5, 70, torch.bfloat16), matrix(70, 9, torch.bfloat16)
    before = torch.conv2d(images, kernel, padding=1)
    for _ in range(3):
        out = np.full((5, 9), np.nan, np.float32)
        tiles.multiply(a_array, tiles.pack(b_array), out)
        np.testing.assert_allclose(out, a @ b, rtol=0, atol=1e-4)
        assert torch.equal(torch.conv2d(images, kernel, padding=1), before)


@ways
def test_what_is_not_finite_is_seen(way: ModuleType, kind: torch.dtype) -> None:
    (_, a), (_, b) = matrix(9, 5, kind), matrix(5, 33, kind)
    a[4, 2] = np.float32(np.inf).view(np.uint32) >> 16 if kind == torch.bfloat16 else np.inf
    out = np.zeros((9, 33), np.float32)
    way.multiply(a, way.pack(b), out)
    assert np.isinf(out[4]).all() and np.isfinite(np.delete(out, 4, axis=0)).all()


@settings(max_examples=30)
@given(sizes=sizes)
def test_bfloat16_is_widened_where_the_processor_cannot_multiply_it(sizes: tuple[int, int, int]) -> None:
    """By the code that such a processor runs, after the step that all of them share."""
    n_rows, n_steps, n_columns = sizes
    (a, a_array), (b, b_array) = matrix(n_rows, n_steps, torch.bfloat16), matrix(n_steps, n_columns, torch.bfloat16)
    out = np.empty((n_rows, n_columns), np.float32)
    widened = vectors._widened(a_array)
    np.testing.assert_array_equal(widened, a)
    vectors.multiply(a_array, vectors.pack(vectors._widened(b_array)), out)
    np.testing.assert_allclose(out, a @ b, rtol=0, atol=1e-6 * (np.abs(a) @ np.abs(b) + 1).max())
