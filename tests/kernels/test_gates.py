"""The gates of a step against their definition, in numbers of 32 bits and as fractions of 16."""

import numpy as np
import pytest

from quickstroke.kernels.gates import activate_rows, activate_rows_backward
from quickstroke.kernels.vectors import LANES

N_ROWS = 5
STEPS = 65535
ALL = np.empty(0, np.int64)  # rows have no owner: all of them are asked for


def activated(sums, gates, c, tanh_c, h, state, n_next):
    activate_rows(sums, gates, c, tanh_c, h, state, ALL, 0, N_ROWS, 0, 0, n_next)


def backward_of_gates(gates, dh, following, tanh_c, dc, c, n_next):
    activate_rows_backward(gates, dh, following, tanh_c, dc, c, ALL, N_ROWS, 2 * N_ROWS, 0, n_next)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bfloat16(x):
    """Its bits, cut off: for numbers that it has exactly."""
    return (np.asarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def number(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def fractions(gates):
    """Gates i, f, g, o of rows (R, 4H), and their tanh (R, H), as numbers."""
    i, f, g, o = np.split(gates / STEPS, 4, axis=1)
    return np.concatenate([i, f, 2 * g - 1, o], axis=1)


@pytest.mark.parametrize("n", [1, LANES, LANES + 3, 3 * LANES])
@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_a_step_and_its_gradient_are_their_definition(n, kind):
    rng = np.random.default_rng(n)
    is_narrow = kind == np.uint16
    sums = (3 * rng.standard_normal((N_ROWS, 4 * n))).astype(np.float32)
    sums[0] = [-90, -20, 0, 20] * n  # as far as gates go
    sums[1] = [-60, -40, -30, 60] * n
    c = rng.standard_normal((2 * N_ROWS + 1, n)).astype(np.float32)
    c[-1] = 0
    gates, tanh_c = np.zeros((2 * N_ROWS, 4 * n), kind), np.zeros((2 * N_ROWS, n), kind)
    h, state = np.zeros((N_ROWS, n), kind), np.zeros((N_ROWS, n), kind)
    activated(sums, gates, c, tanh_c, h, state, 3)

    i, f, g, o = np.split(sums.astype(np.float64), 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    new = f * c[:N_ROWS] + i * g
    own = gates[N_ROWS:]
    kept = fractions(own) if is_narrow else own
    of_tanh = 2 * (tanh_c[N_ROWS:] / STEPS) - 1 if is_narrow else tanh_c[N_ROWS:]
    error = 1.01 / STEPS if is_narrow else 1e-6
    np.testing.assert_allclose(kept, np.concatenate([i, f, g, o], axis=1), rtol=0, atol=error)
    for k, gate in ((0, i), (1, f), (3, o)):
        its = kept[:, k * n : (k + 1) * n]
        if is_narrow:  # rounded to the nearest fraction
            np.testing.assert_allclose(its, gate, rtol=0, atol=0.52 / STEPS)
        else:  # to the last digits, however small
            np.testing.assert_allclose(its, gate, rtol=1e-5, atol=2e-38)
    np.testing.assert_allclose(of_tanh, np.tanh(new), rtol=0, atol=error)
    np.testing.assert_allclose(c[N_ROWS:-1], new, rtol=1e-5, atol=1e-6)
    hidden = number(h) if is_narrow else h
    np.testing.assert_allclose(hidden, o * np.tanh(new), rtol=2**-8 if is_narrow else 1e-5, atol=1e-6)
    np.testing.assert_array_equal(state[:3], h[:3])  # of those that go on
    assert not state[3:].any() and not gates[:N_ROWS].any()

    dh_exact = np.round(4 * rng.standard_normal((N_ROWS, n))) / 4
    dh = np.zeros((2 * N_ROWS, n), kind)
    dh[N_ROWS:] = bfloat16(dh_exact) if is_narrow else dh_exact
    following, dc = (rng.standard_normal((N_ROWS, n)).astype(np.float32) for _ in range(2))
    dc_before = dc.astype(np.float64)
    backward_of_gates(gates, dh, following, tanh_c, dc, c, 2)
    both = dh_exact.copy()
    both[:2] += following[:2]
    tanh = np.tanh(new)
    de = dc_before + both * o * (1 - tanh**2)
    expected = [de * g * i * (1 - i), de * c[:N_ROWS] * f * (1 - f), de * i * (1 - g**2), both * tanh * o * (1 - o)]
    found = number(own) if is_narrow else own
    np.testing.assert_allclose(
        found, np.concatenate(expected, axis=1), rtol=2**-8 if is_narrow else 1e-4, atol=3e-4 if is_narrow else 1e-5
    )
    np.testing.assert_allclose(dc, de * f, rtol=1e-4, atol=3e-4 if is_narrow else 1e-5)
