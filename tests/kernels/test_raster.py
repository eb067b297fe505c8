"""Images of drawings: compiled, by PyTorch, and pixel by pixel here."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quickstroke.kernels import raster, threads
from quickstroke.models import image_branch
from quickstroke.models.image_branch import ImageReader, _drawn, drawn

pytestmark = pytest.mark.usefixtures("one_thread")

MIDDLE = (raster.SIDE - 1) / 2


def points_of(*strokes: list[tuple[float, float]]) -> NDArray[np.float32]:
    """Points (1, T, 5) with these positions; the differences, which no image shows, are not numbers."""
    rows = [(np.nan, np.nan, x, y, i == len(stroke) - 1) for stroke in strokes for i, (x, y) in enumerate(stroke)]
    return np.array([rows], dtype=np.float32)


def image_of(*strokes: list[tuple[float, float]]) -> NDArray[np.float32]:
    points = torch.from_numpy(points_of(*strokes))
    return drawn(points, torch.tensor([points.shape[1]]))[0].numpy()


def random_batch(lengths: list[int], n_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(len(lengths), n_steps, 5, generator=generator) - 0.5
    points[:, :, 4] = (points[:, :, 4] > 0.3).float()
    for row, length in zip(points, lengths, strict=True):
        row[length:] = 0
    return points, torch.tensor(lengths)


def test_a_line_covers_its_pixels_and_none_beyond_its_soft_edge() -> None:
    ink, late = image_of([(-0.5, 0.0), (0.5, 0.0)])
    rows, columns = np.nonzero(ink)
    # From 2 to 29 with a reach of 1.25 pixels; the middle lies between the rows 15 and 16.
    assert (columns.min(), columns.max()) == (1, 30)
    assert (rows.min(), rows.max()) == (15, 16)
    assert ink[15, 16] == pytest.approx(0.75)
    np.testing.assert_array_equal(late, ink)  # all ink comes with the second and last point


def test_positions_are_from_the_middle_and_y_goes_down() -> None:
    ink, _ = image_of([((30 - MIDDLE) / raster.LENGTH, (9 - MIDDLE) / raster.LENGTH)])
    assert ink[9, 30] == 1
    assert ink[:, 28].max() == ink[7].max() == ink[11].max() == 0


def test_nothing_is_drawn_between_strokes() -> None:
    two = image_of([(-0.5, -0.5), (-0.5, 0.5)], [(0.5, -0.5), (0.5, 0.5)])
    one = image_of([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])
    assert two[0, :, 12:20].max() == 0
    assert one[0, :, 12:20].max() == 1


def test_a_pen_that_is_half_up_still_draws() -> None:
    points, length = torch.from_numpy(points_of([(-0.5, 0.0)], [(0.5, 0.0)])), torch.tensor([2])
    points[:, :, 4] = raster.PEN_UP
    for plain in (False, True):
        np.testing.assert_allclose(drawn(points, length, plain)[0, 0, 15, 2:30], 0.75)


def test_order_and_direction_show_in_the_second_channel_alone() -> None:
    first, second = [(-0.5, -0.4), (0.1, 0.5), (0.3, 0.2)], [(0.5, -0.5), (0.4, 0.4)]
    forth, back = image_of(first, second), image_of(second[::-1], first[::-1])
    np.testing.assert_allclose(forth[0], back[0], atol=1e-5)
    assert np.abs(forth[1] - back[1]).max() > 0.5


def test_later_ink_counts_more() -> None:
    _, late = image_of([(-0.5, 0.0)], [(0.0, 0.0)], [(0.5, 0.0), (0.5, 0.5)])
    ink, _ = image_of([(-0.5, 0.0)], [(0.0, 0.0)], [(0.5, 0.0), (0.5, 0.5)])
    for column, part in ((2, 0.25), (15, 0.5), (29, 1.0)):
        np.testing.assert_allclose(late[15:17, column], part * ink[15:17, column], rtol=1e-6)


def test_every_pixel_is_as_near_to_the_pen_as_it_says() -> None:
    points, lengths = random_batch([9], 9)
    ink, late = drawn(points, lengths)[0].numpy()
    xy = MIDDLE + raster.LENGTH * points[0, :, 2:4].double().numpy()
    up = points[0, :, 4].numpy()
    for row in range(raster.SIDE):
        for column in range(raster.SIDE):
            cover, cover_late, pixel = 0.0, 0.0, np.array([column, row])
            for t, to in enumerate(xy):
                begin = to if t == 0 or up[t - 1] else xy[t - 1]
                way = to - begin
                part = np.clip((pixel - begin) @ way / max(way @ way, 1e-12), 0, 1)
                near = np.clip(raster.REACH - np.linalg.norm(pixel - begin - part * way), 0, 1)
                cover, cover_late = max(cover, near), max(cover_late, near * (t + 1) / len(xy))
            assert ink[row, column] == pytest.approx(cover, abs=1e-4)
            assert late[row, column] == pytest.approx(cover_late, abs=1e-4)


def test_points_outside_of_the_box_are_cut_off() -> None:
    wide = image_of([(-3.0, 0.0), (3.0, 0.0)])
    assert np.isfinite(wide).all()
    assert (wide[0, 15:17] > 0.7).all()
    assert not image_of([(2.0, 2.0)]).any()


@pytest.mark.parametrize("size", [0.002, 1.0, 1.3])  # strokes within a pixel, and such as go beyond each edge
@pytest.mark.parametrize("lengths", [[0], [1], [0, 1, 2, 17, 30], [30] * 70])
def test_pytorch_draws_the_same(lengths: list[int], size: float) -> None:
    points, true = random_batch(lengths, 30)
    points[:, :, 2:4] *= size
    torch.testing.assert_close(_drawn(points, true), drawn(points, true), rtol=0, atol=1e-5)
    of_double = drawn(points.double(), true)
    assert of_double.dtype == torch.float64
    torch.testing.assert_close(of_double.float(), drawn(points, true), rtol=0, atol=1e-5)


def test_lengths_beyond_the_points_add_nothing() -> None:
    points, _ = random_batch([5, 9], 9)
    lengths = torch.tensor([5, 2_000_000_000])
    torch.testing.assert_close(drawn(points, lengths), _drawn(points, lengths), rtol=0, atol=1e-5)


def test_long_drawings_are_drawn_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [raster.at_a_time(n) for n in (0, 1, 100, 8192, 10_000)] == [8192, 8192, 81, 1, 1]
    points, lengths = random_batch([1, 2, 3, 4, 5], 5)
    n_together: list[int] = []

    def draw(points: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        n_together.append(len(points))
        return _drawn(points, lengths)

    monkeypatch.setattr(raster, "at_a_time", lambda n_steps: 2)
    monkeypatch.setattr(image_branch, "_drawn", draw)
    torch.testing.assert_close(drawn(points, lengths, plain=True), _drawn(points, lengths), rtol=0, atol=0)
    assert n_together == [2, 2, 1]


# --- what is read of them


def reader(n_filters: int = 3) -> ImageReader:
    torch.manual_seed(0)
    return ImageReader(n_filters)


def test_features_are_a_mean_and_a_maximum_of_each_filter() -> None:
    points, lengths = random_batch([5, 30, 0], 30)
    features = reader()(points, lengths, torch.float32)
    assert features.shape == (3, raster.n_features(3)) == (3, 24)
    assert features.dtype == torch.float32
    assert (features[:, :12] <= features[:, 12:] + 1e-6).all()
    assert (features >= 0).all() and (features > 0).any()


@pytest.mark.parametrize("is_training", [False, True])
def test_pytorch_alone_reads_the_same(is_training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    points, lengths = random_batch([5, 30, 1], 30)
    model = reader()
    monkeypatch.setattr(threads, "n_threads", lambda: 2)
    with torch.set_grad_enabled(is_training):
        expected = model(points, lengths, torch.float32)
        for owner, name in ((raster, "draw"), (ImageReader, "_by_compiled_code"), (threads, "in_threads")):
            monkeypatch.setattr(owner, name, None)
        plain = model(points, lengths, torch.float32, plain=True)
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-5)


def test_no_drawing_sees_those_beside_it() -> None:
    points, lengths = random_batch([5, 30, 1], 30)
    model = reader()
    together = model(points, lengths, torch.float32)
    for i, n in enumerate(lengths.tolist()):
        alone = model(points[i : i + 1, :n], lengths[i : i + 1], torch.float32)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near() -> None:
    points, lengths = random_batch([5, 30, 12, 20], 30)
    model = reader()
    exact, rounded = (model(points, lengths, kind).detach() for kind in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.float32
    assert 1e-4 < float((exact - rounded).abs().max()) < 0.1 * float(exact.abs().max())


@pytest.mark.parametrize("n_shared", [2, 4])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_several_threads_give_the_same_gradients(
    kind: torch.dtype, n_shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, lengths = random_batch([5, 30, 12, 20, 7], 30)

    def gradients(n_threads: int) -> list[torch.Tensor]:
        monkeypatch.setattr("quickstroke.kernels.threads.n_threads", lambda: n_threads)
        model = reader()
        features = model(points, lengths, kind)
        (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
        return [features.detach(), *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]

    alone, shared = gradients(1), gradients(n_shared)
    assert len(alone) == len(shared) == 1 + 4 * 6
    for one, other in zip(alone, shared, strict=True):
        scale = float(one.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=scale * (1e-5 if kind == torch.float32 else 0.05))


def test_gradients_are_those_of_finite_differences() -> None:
    points, lengths = random_batch([5, 9], 9)
    points = points.double()
    model = reader(1).double()
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]

    def total(*values: torch.Tensor) -> torch.Tensor:
        names = [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
        named = dict(zip(names, values, strict=True))
        features: torch.Tensor = torch.func.functional_call(model, named, (points, lengths, torch.float64))
        return features.sum()

    assert torch.autograd.gradcheck(total, tuple(weights), fast_mode=True)
