"""One drawing at a time against the same model in PyTorch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from quickstroke.artifacts import loading
from quickstroke.config.model import ModelConfig
from quickstroke.config.naming import TYPES
from quickstroke.kernels import threads
from quickstroke.models import single
from quickstroke.models.classifier import StrokeClassifier

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = (
    "simple_lay1_sz16",
    "simple_lay3_sz5",
    "bilstm_lay2_sz7",
    "lstm_cv1_6_5_lay2_sz9",
    "bilstm_cv1_6_3_cv2_5_4_lay2_sz8",
    "bipool_lay1_sz5",
    "bipool_cv1_7_4_3_lay1_sz6",
    "bipool_cv1_16_5_cv2_24_5_2_lay2_sz16",
    "bipool_cv1_7_4_3_img3_lay1_sz6",
)


def test_each_type_is_compared() -> None:
    assert {name.partition("_")[0] for name in NAMES} == set(TYPES)


def model_of(name: str, **values: object) -> StrokeClassifier:
    """A model whose every number counts."""
    torch.manual_seed(len(name))
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=9, **values)).eval().requires_grad_(False)  # type: ignore[arg-type]
    for key, value in model.state_dict().items():
        if key.startswith(("norm", "image.norm")) or key in ("bn.weight", "bn.bias", "bn.running_mean"):
            value += 0.3 * torch.randn(value.shape)
        elif key == "bn.running_var":
            value *= 1.7
    return model


def drawing(model: StrokeClassifier, n_steps: int) -> torch.Tensor:
    return torch.randn(1, n_steps, len(model.bn.weight))


@pytest.mark.parametrize("n_steps", [1, 2, 9, 40])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_the_model(name: str, n_steps: int) -> None:
    model = model_of(name, max_padding=40)
    points = drawing(model, n_steps)
    expected = model(points, torch.tensor([n_steps]))[0]
    logits = single.SingleReader(model).logits(points[0].numpy())
    assert logits.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("n_steps", [0, 1, 9, 40])
@pytest.mark.parametrize("name", [name for name in NAMES if "pool" not in name])
def test_padded_models_see_their_padding(name: str, n_steps: int) -> None:
    model = model_of(name, max_padding=40, reading="padded")
    points = drawing(model, n_steps)
    expected = model(points, torch.tensor([n_steps]))[0]
    logits = single.SingleReader(model).logits(points[0].numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_without_a_row_is_read_as_the_model_reads_it(name: str) -> None:
    model = model_of(name)
    points = drawing(model, 0)
    expected = model(points, torch.tensor([0]))[0]
    logits = single.SingleReader(model).logits(points[0].numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-5, atol=2e-6)


def test_a_loaded_model_gives_the_same_probabilities_alone_and_in_company(tmp_path) -> None:
    model = model_of("bipool_cv1_16_5_cv2_24_5_2_lay2_sz16", max_padding=40)
    loaded = loading.LoadedModel(model, tuple("abcdefghi"), None, tmp_path)
    points = drawing(model, 30).numpy()
    by_pytorch = loaded.outputs(points, np.array([25])).probabilities
    several = loaded.outputs(np.repeat(points, 9, axis=0), np.array([25] * 9)).probabilities
    loaded.compile()
    alone = loaded.outputs(points, np.array([25])).probabilities
    np.testing.assert_allclose(by_pytorch, alone, rtol=1e-5)
    np.testing.assert_allclose(several, np.repeat(alone, 9, axis=0), rtol=1e-5)
    assert alone.shape == (1, 9) and alone.dtype == np.float64 and alone.sum() == pytest.approx(1)
    for n in (2, 40):
        together = loaded.outputs(np.repeat(points, n, axis=0), np.array([25, 30] * (n // 2))).probabilities
        assert together.shape == (n, 9) and together.dtype == np.float64
        np.testing.assert_allclose(together[::2], np.repeat(alone, n // 2, axis=0), rtol=1e-4)
        assert not np.allclose(together[0], together[1], rtol=1e-4)  # rows beyond a drawing's end are not read


@pytest.mark.parametrize("name", ["simple_lay1_sz5", "bipool_cv1_7_4_3_img3_lay1_sz6"])
@pytest.mark.parametrize("n", [1, 3])
def test_weights_that_are_changed_in_place_are_read_anew(name: str, n: int, tmp_path) -> None:
    model = model_of(name)
    loaded = loading.LoadedModel(model, tuple("abcdefghi"), None, tmp_path)
    given = np.repeat(drawing(model, 12).numpy(), n, axis=0), np.full(n, 12)
    loaded.compile()
    before = loaded.outputs(*given).probabilities
    for parameter in model.parameters():
        parameter.mul_(-2)
    expected = loading.LoadedModel(model, loaded.classes, None, tmp_path).outputs(*given).probabilities
    assert not np.allclose(before, expected, atol=1e-3)
    np.testing.assert_allclose(loaded.outputs(*given).probabilities, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_alone_gives_the_same_logits(name: str) -> None:
    model = model_of(name, max_padding=40)
    points, lengths = torch.randn(3, 40, len(model.bn.weight)), torch.tensor([40, 1, 9])
    points *= (torch.arange(40) < lengths[:, None])[..., None]
    torch.testing.assert_close(model(points, lengths, plain=True), model(points, lengths), rtol=1e-4, atol=1e-5)


def test_pytorch_has_its_threads_back_after_a_guess(tmp_path) -> None:
    loaded = loading.LoadedModel(model_of("bipool_lay1_sz5"), tuple("abcdefghi"), None, tmp_path)
    torch.set_num_threads(2)  # the fixture sets it back
    loaded.outputs(drawing(loaded.model, 3).numpy(), np.array([3]))
    assert torch.get_num_threads() == 2


def test_two_threads_give_the_bits_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("bipool_cv1_7_4_3_img3_lay1_sz6")
    reader, drawings = single.SingleReader(model), [drawing(model, n)[0].numpy() for n in range(1, 40)]
    monkeypatch.setattr(threads, "n_cores", lambda: 1)
    features, logits = map(np.stack, zip(*map(reader.read, drawings), strict=True))
    monkeypatch.setattr(threads, "n_cores", lambda: 2)
    with ThreadPoolExecutor(4) as pool:
        for read in (list(map(reader.read, drawings)), list(pool.map(reader.read, drawings))):
            for expected, found in zip((features, logits), zip(*read, strict=True), strict=True):
                np.testing.assert_array_equal(np.stack(found), expected)


@pytest.mark.parametrize("large", [1e3, -1e3])
def test_scores_of_any_size_are_weighed(large: float) -> None:
    model = model_of("bipool_lay1_sz5")
    model.attention.weight.mul_(large)
    reader = single.SingleReader(model)
    for n in (1, 2, 9):
        points = drawing(model, n)
        expected = model(points, torch.tensor([n]))[0]
        torch.testing.assert_close(torch.from_numpy(reader.logits(points[0].numpy())), expected, rtol=1e-4, atol=1e-5)


def test_points_that_hardly_vary_are_normalised_as_by_the_model() -> None:
    model = model_of("bipool_lay1_sz5")
    model.bn.running_var.fill_(1e-5)
    points = drawing(model, 9) / 100
    expected = model(points, torch.tensor([9]))[0]
    logits = single.SingleReader(model).logits(points[0].numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)


def test_a_change_of_the_statistics_is_seen() -> None:
    model = model_of("bipool_lay1_sz5")
    reader, points = single.SingleReader(model), drawing(model, 3)[0].numpy()
    reader.read(points)
    assert not reader.is_outdated
    model.bn.running_mean.add_(1)
    reader.read(points)
    assert reader.is_outdated


def test_a_model_of_inference_mode_is_read() -> None:
    with torch.inference_mode():
        model = model_of("bipool_lay1_sz5")
        points = drawing(model, 9)
        expected = model(points, torch.tensor([9]))[0]
    logits = single.SingleReader(model).logits(points[0].numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-5, atol=2e-6)


def test_the_weights_are_copies() -> None:
    model = model_of("bipool_lay1_sz5")
    points = drawing(model, 12)[0].numpy()
    reader = single.SingleReader(model)
    before = reader.logits(points)
    for parameter in model.parameters():
        parameter.zero_()
    assert np.array_equal(reader.logits(points), before)
