"""The image of one drawing against the same convolutions in PyTorch."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quickstroke.kernels import raster, threads
from quickstroke.models import image_branch, single_image
from quickstroke.models.image_branch import ImageReader
from quickstroke.models.single_image import SingleImageReader, in_one_block

pytestmark = pytest.mark.usefixtures("one_thread")


def reader_of(n_filters: int) -> ImageReader:
    """Convolutions whose every number counts."""
    torch.manual_seed(n_filters)
    reader = ImageReader(n_filters).eval().requires_grad_(False)
    for norm in reader.norms:
        norm.weight.add_(0.3 * torch.randn_like(norm.weight))
        norm.bias.add_(0.3 * torch.randn_like(norm.bias))
    return reader


def features_of(reader: SingleImageReader, points: torch.Tensor) -> NDArray[np.float32]:
    """Features of one drawing."""
    return reader.features(points.numpy()[None], np.full(1, len(points)))[0]


def drawing(n_steps: int) -> torch.Tensor:
    """Points (T, 5): a way of `n_steps` that comes near the edges of the image and leaves it, pens up now and then."""
    points = torch.randn(n_steps, 5)
    points[:, 2:4] = (points[:, 2:4] / 3).clamp(-0.6, 0.6)
    points[:, 4] = (torch.arange(n_steps) % 7 == 6).float()
    return points


@pytest.mark.parametrize("n_steps", [0, 1, 2, 40, 300])
@pytest.mark.parametrize("n_filters", [3, 14, 32, 33])
def test_features_are_those_of_the_reader(n_filters: int, n_steps: int) -> None:
    reader, points = reader_of(n_filters), drawing(n_steps)
    expected = reader(points[None], torch.tensor([n_steps]), torch.float32)[0]
    features = features_of(SingleImageReader(reader), points)
    assert features.dtype == np.float32 and features.shape == (raster.n_features(n_filters),)
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-5, atol=5e-6)


def test_rounding_is_no_worse_than_pytorch_s() -> None:
    """Sums of neighbours are multiplied in place of the pixels: in float32 that must not cost accuracy."""
    reader, points = reader_of(32), drawing(60)
    exact = reader.double()(points.double()[None], torch.tensor([60]), torch.float64)[0]
    reader.float()
    theirs = reader(points[None], torch.tensor([60]), torch.float32)[0]
    ours = torch.from_numpy(features_of(SingleImageReader(reader), points))
    assert (ours - exact).abs().max() < 3 * (theirs - exact).abs().max()


def test_the_weights_are_copies() -> None:
    reader, points = reader_of(3), drawing(12)
    single = SingleImageReader(reader)
    before = features_of(single, points)
    for parameter in reader.parameters():
        parameter.zero_()
    assert np.array_equal(features_of(single, points), before)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_what_is_not_a_number_is_not_swallowed(layer: int) -> None:
    reader = reader_of(3)
    reader.convs[layer].bias[1] = torch.nan
    assert np.isnan(features_of(SingleImageReader(reader), drawing(12))).all()


def batch(lengths: torch.Tensor) -> torch.Tensor:
    """Drawings of so many points, zeros after them."""
    points = torch.zeros(len(lengths), int(lengths.max()), 5)
    for own, n in zip(points, lengths.tolist(), strict=True):
        own[:n] = drawing(n)
    return points


def test_a_batch_without_gradient_is_read_by_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """And as PyTorch does with the weights as they are: after a step, in a copy, with any number of threads."""
    reader, lengths = reader_of(4), torch.tensor([40, 1, 300, 0, 7])
    points = batch(lengths)

    def check(reader: ImageReader) -> None:
        expected = reader(points, lengths, torch.float32)
        with torch.no_grad():
            torch.testing.assert_close(reader(points, lengths, torch.float32), expected, rtol=1e-5, atol=5e-6)

    check(reader)
    own = features_of(SingleImageReader(reader), points[4, :7])
    monkeypatch.setattr(image_branch, "multiplies_bfloat16", lambda: False)
    with torch.inference_mode():
        for kind in (torch.float32, torch.bfloat16):  # a processor without instructions for it computes in float32
            assert np.array_equal(reader(points, lengths, kind)[4].numpy(), own)
    reader.convs[2].weight.numpy()[:] *= 2  # of which PyTorch knows nothing
    check(reader)
    check(copy.deepcopy(reader))
    monkeypatch.setattr(threads, "_n_threads", 3)
    check(reader)
    with torch.no_grad():
        assert reader(points[:0], lengths[:0], torch.float32).shape == (0, raster.n_features(4))
        exact = reader.double()(points.double(), lengths, torch.float64)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact, reader(points.double(), lengths, torch.float64), rtol=1e-12, atol=1e-12)


def test_an_evaluation_in_bfloat16_computes_as_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, lengths = reader_of(4), torch.tensor([40, 1, 300, 0, 7])
    points = batch(lengths)
    trained = reader(points, lengths, torch.bfloat16).detach()
    monkeypatch.setattr(image_branch, "multiplies_bfloat16", lambda: True)
    with torch.inference_mode():
        assert torch.equal(reader(points, lengths, torch.bfloat16), trained)
        exact = reader(points, lengths, torch.float32)
    assert 0 < float((trained - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_what_compiled_code_reads_of_the_weights_does_not_go_to_another_process() -> None:
    reader, points = reader_of(3), drawing(12)[None]
    before = len(pickle.dumps(reader))
    with torch.no_grad():
        reader(points, torch.tensor([12]), torch.float32)
    assert reader._single is not None and len(pickle.dumps(reader)) == before


@pytest.mark.parametrize("is_training", [False, True])
def test_a_part_of_a_batch_compiles_nothing_more(is_training: bool) -> None:
    """A step's points may be a part of wider rows, those of an evaluation are not."""
    reader, lengths = reader_of(3), torch.tensor([5, 9])
    points = batch(torch.tensor([5, 30]))
    part = points[:, :9]
    assert not part.is_contiguous()
    function = raster.draw if is_training else single_image._features
    with torch.set_grad_enabled(is_training):
        expected = reader(part.clone(memory_format=torch.contiguous_format), lengths, torch.float32)
        n_compiled = len(function.dispatcher.signatures)
        assert torch.equal(reader(part, lengths, torch.float32), expected)
    assert len(function.dispatcher.signatures) == n_compiled > 0


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 21])
def test_those_read_together_change_no_bit(n: int) -> None:
    single, lengths = SingleImageReader(reader_of(14)), torch.arange(3, 3 + n)
    points = batch(lengths) if n else torch.zeros(0, 4, 5)
    features = single.features(points.numpy(), lengths.numpy())
    assert features.shape == (n, raster.n_features(14))
    for own, its_points, length in zip(features, points, lengths.tolist(), strict=True):
        assert np.array_equal(own, features_of(single, its_points[:length]))


def test_weights_are_copied_into_one_block() -> None:
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.full(17, 7, np.float32)
    (a, n, [b]), nothing = moved = in_one_block(((first, 5, [second]), []))
    assert isinstance(moved, tuple) and n == 5 and nothing == []
    assert np.array_equal(a, first) and np.array_equal(b, second) and a.shape == first.shape
    assert a.base is b.base and not np.shares_memory(a, b) and not np.shares_memory(a, first)
    assert a.flags.c_contiguous and a.ctypes.data % 64 == b.ctypes.data % 64 == 0


WAYS = [
    *itertools.product(("tiles",), (3,), (False, True)),
    *itertools.product(("at once",), (3, 5), (False,)),
]


@pytest.mark.parametrize(("way", "width", "is_halved"), WAYS)
def test_convolutions_are_those_of_pytorch(way: str, width: int, is_halved: bool) -> None:
    torch.manual_seed(width)
    images, kernel = torch.randn(2, 8, 8, 3), torch.randn(6, 3, width, width)
    images[0, :, 3:] = 0  # columns that are empty, and one with an empty end
    images[0, 5:, 2] = 0
    expected = torch.nn.functional.conv2d(images.permute(0, 3, 1, 2), kernel, padding="same")
    expected = torch.nn.functional.max_pool2d(expected, 2) if is_halved else expected
    packed, side = single_image._in_one(kernel), 4 if is_halved else 8
    made = np.full((2, side, side, 6), np.nan, np.float32)
    if way == "tiles":
        made = single_image._convolve_tiles(images.numpy(), single_image._tiled(kernel), 6, is_halved)
    else:
        made = single_image._convolve_at_once(images.numpy(), packed, 6)
    torch.testing.assert_close(torch.from_numpy(made), expected.permute(0, 2, 3, 1), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("n_filters", [1, 6, 32])
@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_the_convolution_of_a_drawing_is_that_of_pytorch(part: float, width: int, n_filters: int) -> None:
    generator = torch.Generator().manual_seed(width)
    image, kernel = torch.rand(2, 12, 12, generator=generator), torch.randn(n_filters, 2, width, width)
    image *= torch.rand(12, 12, generator=generator) < part
    image[1, :, :6] = 0  # what is drawn first
    expected = torch.nn.functional.max_pool2d(torch.nn.functional.conv2d(image[None], kernel, padding="same"), 2)[0]
    out = np.full((6, 6, n_filters), np.nan, np.float32)
    single_image._convolve_drawn(image.numpy(), single_image._spread(kernel), out)
    torch.testing.assert_close(torch.from_numpy(out), expected.permute(1, 2, 0), rtol=1e-5, atol=2e-5)


def test_products_of_a_drawing_are_added_in_the_order_of_the_filters() -> None:
    generator = torch.Generator().manual_seed(0)
    image, kernel = torch.rand(2, 8, 8, generator=generator), torch.randn(1, 2, 5, 5, generator=generator)
    out = np.empty((4, 4, 1), np.float32)
    single_image._convolve_drawn(image.numpy(), single_image._spread(kernel), out)
    seen = torch.nn.functional.unfold(image[:, None], 5, padding=2).numpy()  # (2, 25, 64)
    exact = seen.astype(np.float64) * kernel[0].flatten(1)[:, :, None].numpy()
    fused, apart = np.zeros((2, 64), np.float32)
    for k in range(25):
        for c in range(2):
            fused = np.float32(fused + exact[c, k])
            apart = apart + np.float32(exact[c, k])
    made = [each.reshape(4, 2, 4, 2).max((1, 3)) for each in (fused, apart)]
    assert any(np.array_equal(out[:, :, 0], each) for each in made)
