"""What lies in memory that was just taken changes no result: neither zeros nor NaNs."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from quickstroke.config.model import ModelConfig
from quickstroke.kernels import lstm, vectors
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.models.single import SingleReader

pytestmark = pytest.mark.usefixtures("one_thread")

M_PERTURB = -6  # of GNU's malloc.h


@contextmanager
def filled(value: int) -> Iterator[None]:
    """In here memory has the bits of the lowest byte of `value`, inverted, when it is taken, and of its lowest byte
    when it is given back; blocks of up to a kilobyte that are taken anew keep the latter."""
    mallopt = ctypes.CDLL(None).mallopt
    for block in lstm._free:
        block.fill_(255)
    assert mallopt(M_PERTURB, value)
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)


def of_a_model(name: str, precision: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=5, max_padding=30), precision=precision)
    points, lengths = torch.randn(9, 30, len(model.bn.weight)), torch.tensor([30, 30, 17, 12, 5, 2, 1, 1, 29])
    points *= (torch.arange(30) < lengths[:, None])[..., None]
    logits = model.train()(points, lengths)
    found = [logits.detach(), *torch.autograd.grad(logits.square().sum(), list(model.parameters()))]
    with torch.no_grad():
        found.append(model.eval()(points, lengths))
    reader = SingleReader(model)
    return found + [torch.from_numpy(reader.logits(points[b, :n].numpy())) for b, n in enumerate(lengths.tolist())]


def of_products(kind: torch.dtype) -> list[Tensor]:
    """Those made here, whatever the processor; of rows that fill no pairs, blocks or chunks."""
    torch.manual_seed(0)
    a, b, c = (torch.randn(shape).to(kind) for shape in ((13, 401), (401, 37), (401, 13)))
    a_array, b_array, c_array = ((x.view(torch.uint16) if kind == torch.bfloat16 else x).numpy() for x in (a, b, c))
    out, other = (np.empty((13, 37), np.float32) for _ in range(2))
    vectors.multiply(a_array, vectors.pack(b_array), out)
    vectors.multiply_transposed(c_array, b_array, other, False)
    return [torch.from_numpy(each) for each in (out, other)]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="of GNU's C library")
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_memory_that_nobody_wrote_changes_no_bit(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm, "_free", [])  # blocks of its own, to be filled

    def results() -> list[Tensor]:
        names = "bipool_cv1_16_5_cv2_24_5_2_img3_lay2_sz16", "bilstm_cv1_6_3_cv2_5_4_lay2_sz9"
        return [*of_products(kind), *(each for name in names for each in of_a_model(name, kind))]

    results()  # compiles
    with filled(255):
        expected = results()
    with filled(256):
        assert np.isnan(np.empty(100_000, np.float32)).all()
        found = results()
    assert all(each.isfinite().all() for each in expected)
    assert all(map(torch.equal, found, expected))
