"""The model against plain PyTorch: modules as the 2020 project wired them, and packed sequences."""

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from quickstroke.config.model import ModelConfig
from quickstroke.errors import ConfigError
from quickstroke.kernels import lstm as lstm_module
from quickstroke.kernels import threads
from quickstroke.models import image_branch
from quickstroke.models.classifier import StrokeClassifier, n_parameters
from quickstroke.models.normalization import RowBatchNorm

# Parameters with 100 classes, as the 2020 project's table states them, and by the arithmetic of PyTorch's modules.
N_PARAMETERS = {
    "simple_lay1_sz64": 24_170,
    "simple_lay1_sz256": 292_970,
    "simple_lay2_sz64": 57_450,
    "simple_lay2_sz128": 213_098,
    "simple_lay2_sz256": 819_306,
    "bilstm_lay1_sz64": 48_234,
    "bilstm_lay1_sz256": 585_834,
    "bilstm_lay2_sz64": 147_562,
    "bilstm_lay2_sz256": None,
    "lstm_cv1_128_5_lay1_sz64": 58_218,
    "lstm_cv1_128_5_lay1_sz256": 423_018,
    "lstm_cv1_128_5_lay2_sz128": 279_146,
    "bilstm_cv1_256_5_lay2_sz256": None,
    "bilstm_cv1_128_3_lay2_sz256": None,
    "bilstm_cv1_256_5_cv2_256_3_lay2_sz256": None,
}
SMALL = (
    "simple_lay1_sz5",
    "simple_lay2_sz4",
    "lstm_cv1_6_5_lay1_sz4",
    "lstm_cv1_6_3_cv2_4_2_lay2_sz3",
    "bilstm_lay1_sz4",
    "bilstm_lay2_sz3",
    "bilstm_cv1_5_4_lay1_sz3",
    "bilstm_cv1_5_3_cv2_4_2_lay2_sz3",
)
POOLED = (
    "bipool_lay1_sz4",
    "bipool_lay2_sz3",
    "bipool_cv1_6_5_lay1_sz4",
    "bipool_cv1_5_4_2_lay1_sz3",
    "bipool_cv1_6_3_cv2_4_2_3_lay2_sz3",
    "bipool_cv1_6_1_2_cv2_4_5_2_lay2_sz3",
    "bipool_img2_lay1_sz4",
    "bipool_cv1_5_4_2_img3_lay2_sz3",
)
MAX_PADDING = 12


pytestmark = pytest.mark.usefixtures("one_thread")


class Seed2020(nn.Module):
    """The 2020 project's model of plain modules: batch norm, convolutions, LSTM, the output at the last step."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(3)
        channels = 3
        self.convolutions = []
        for name, shape in (("conv1", config.conv1), ("conv2", config.conv2)):
            if shape:
                setattr(self, name, nn.Conv1d(channels, shape[0], kernel_size=shape[1]))
                self.convolutions.append(name)
                channels = shape[0]
        self.lstm = nn.LSTM(
            channels, config.hidden_size, config.n_layers, batch_first=True, bidirectional=config.bidirectional
        )
        self.linear = nn.Linear(config.hidden_size * (2 if config.bidirectional else 1), config.n_classes)

    def forward(self, points):
        x = self.bn(points.transpose(1, 2))
        for name in self.convolutions:
            x = getattr(self, name)(x)
        x, _ = self.lstm(x.transpose(1, 2))
        return self.linear(x[:, -1])


class Packed(Seed2020):
    """What length-aware reading means: every drawing by itself through the convolutions, then packed sequences."""

    def forward(self, drawings):
        rows = self.bn(torch.cat(drawings))
        parts = [part.mT for part in rows.split([len(drawing) for drawing in drawings])]
        for name in self.convolutions:
            parts = [getattr(self, name)(part) for part in parts]
        parts = [part.mT for part in parts]
        lengths = torch.tensor([len(part) for part in parts])
        packed = pack_padded_sequence(pad_sequence(parts, batch_first=True), lengths, True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        last = h[-2:] if self.lstm.bidirectional else h[-1:]
        return self.linear(torch.cat(list(last), dim=1))


def build(name, reading="length-aware", seed=0, n_classes=4, max_padding=MAX_PADDING, dropout=0.0):
    """A small model whose batch norm is not the identity."""
    torch.manual_seed(seed)
    config = ModelConfig.from_name(name, reading=reading, n_classes=n_classes, max_padding=max_padding)
    model = StrokeClassifier(config, dropout)
    n = model.bn.num_features
    with torch.no_grad():
        model.bn.weight.copy_(torch.tensor([1.5, 0.7, 1.1, 0.9, 1.2][:n]))
        model.bn.bias.copy_(torch.tensor([0.1, -0.4, 0.3, -0.2, 0.2][:n]))
        model.bn.running_mean.copy_(torch.tensor([0.05, -0.1, 0.2, 0.1, -0.3][:n]))
        model.bn.running_var.copy_(torch.tensor([0.5, 0.2, 0.1, 0.3, 0.4][:n]))
    return model


def random_drawing(length, rng, n_columns=3):
    return torch.from_numpy(rng.normal(0.02, 0.3, (length, n_columns)).astype(np.float32))


def random_drawings(model, lengths, rng):
    return [random_drawing(length, rng, model.bn.num_features) for length in lengths]


def batch_of(drawings, width=None):
    """Drawings (n, 3) as points (B, T, 3) and lengths."""
    lengths = torch.tensor([len(drawing) for drawing in drawings], dtype=torch.int64)
    points = torch.zeros(len(drawings), int(lengths.max()) if width is None else width, drawings[0].shape[1])
    for row, drawing in zip(points, drawings, strict=True):
        row[: len(drawing)] = drawing
    return points, lengths


def gradients(model, logits, labels):
    model.zero_grad()
    F.cross_entropy(logits, labels).backward()
    return {key: parameter.grad.clone() for key, parameter in model.named_parameters()}


def assert_same(ours, theirs, tolerance=1e-5):
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=tolerance, atol=tolerance, msg=lambda m, k=key: k + m)


# --- shapes


@pytest.mark.parametrize("name", [*N_PARAMETERS, *SMALL])
@pytest.mark.parametrize("reading", ["padded", "length-aware"])
def test_state_dict_is_the_2020_projects(name, reading):
    with torch.device("meta"):
        config = ModelConfig.from_name(name, reading=reading)
        ours, theirs = StrokeClassifier(config).state_dict(), Seed2020(config).state_dict()
    assert list(ours) == list(theirs)
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    assert {key: value.dtype for key, value in ours.items()} == {key: value.dtype for key, value in theirs.items()}


def test_what_is_no_batch_of_points_is_refused():
    model = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz4", n_classes=2))
    for shape, n, told in (
        ((2, 3), 2, r"points should be \(B, T, 3\), as the preprocessing delta3 gives them, got \(2, 3\)"),
        ((2, 4, 5), 2, r"got \(2, 4, 5\)"),
        ((2, 4, 3), 1, r"lengths should be \(2,\), one for each drawing, got \(1,\)"),
    ):
        with pytest.raises(ConfigError, match=told):
            model(torch.zeros(shape), torch.ones(n, dtype=torch.long))


def test_keys_of_every_part():
    keys = set(build("bilstm_cv1_5_3_cv2_4_2_lay2_sz3").state_dict())
    norm = {f"bn.{key}" for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    lstm = {
        f"lstm.{kind}_{side}_l{layer}{suffix}"
        for kind in ("weight", "bias")
        for side in ("ih", "hh")
        for layer in (0, 1)
        for suffix in ("", "_reverse")
    }
    rest = {f"{layer}.{kind}" for layer in ("conv1", "conv2", "linear") for kind in ("weight", "bias")}
    assert keys == norm | lstm | rest


def test_state_dicts_of_the_published_files(shared: Path):
    files = sorted((shared / "models" / "seed").glob("*.model"))
    assert len(files) == 6
    for path in files:
        published = torch.load(path, map_location="cpu", weights_only=True)
        model = StrokeClassifier(ModelConfig.from_name(path.stem, reading="padded"))
        assert list(model.state_dict()) == list(published), path.name
        assert {key: value.shape for key, value in model.state_dict().items()} == {
            key: value.shape for key, value in published.items()
        }
        model.load_state_dict(published, strict=True)


@pytest.mark.parametrize(("name", "expected"), N_PARAMETERS.items())
def test_number_of_parameters(name, expected):
    config = ModelConfig.from_name(name)
    with torch.device("meta"):
        model, reference = StrokeClassifier(config), Seed2020(config)
    assert n_parameters(model) == sum(p.numel() for p in reference.parameters())
    assert expected is None or n_parameters(model) == expected


def test_both_readings_begin_with_the_weights_of_plain_modules():
    """The same seed gives the weights that PyTorch's modules, made in the order of the keys, would begin with."""
    for name in SMALL:
        config = ModelConfig.from_name(name)
        for reading in ("padded", "length-aware"):
            torch.manual_seed(3)
            ours = StrokeClassifier(ModelConfig.from_name(name, reading=reading)).state_dict()
            torch.manual_seed(3)
            theirs = Seed2020(config).state_dict()
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


# --- the padded reading


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_padded_reading_is_the_2020_projects(name, training):
    rng = np.random.default_rng(1)
    drawings = [random_drawing(n, rng) for n in (3, 9, MAX_PADDING, 1, 5)]
    labels = torch.tensor([0, 3, 1, 2, 2])
    model = build(name, "padded")
    reference = Seed2020(model.config)
    reference.load_state_dict(model.state_dict(), strict=True)
    model.train(training)
    reference.train(training)
    for _ in range(2):  # twice, so that running statistics are updated from other than their first values
        logits = model(*batch_of(drawings))
        expected = reference(batch_of(drawings, MAX_PADDING)[0])
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        assert_same(gradients(model, logits, labels), gradients(reference, expected, labels))
    assert_same(dict(model.bn.named_buffers()), dict(reference.bn.named_buffers()), 1e-6)
    assert int(model.bn.num_batches_tracked) == (2 if training else 0)


def test_padded_reading_at_every_width():
    """How far the batch at hand is padded makes no difference: the model fills it to max_padding."""
    model = build("lstm_cv1_6_5_lay1_sz4", "padded").eval()
    drawings = [random_drawing(n, np.random.default_rng(2)) for n in (2, 7)]
    expected = model(*batch_of(drawings, MAX_PADDING))
    for width in range(7, MAX_PADDING):
        torch.testing.assert_close(model(*batch_of(drawings, width)), expected, rtol=1e-6, atol=1e-6)


# --- the length-aware reading


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_length_aware_reading_is_that_of_packed_sequences(name, training):
    rng = np.random.default_rng(4)
    shortest = ModelConfig.from_name(name).receptive_field
    drawings = [random_drawing(n, rng) for n in (shortest + 2, MAX_PADDING, shortest, 9, shortest + 1)]
    labels = torch.tensor([0, 3, 1, 2, 2])
    model = build(name)
    reference = Packed(model.config)
    reference.load_state_dict(model.state_dict(), strict=True)
    model.train(training)
    reference.train(training)
    for width in (MAX_PADDING, MAX_PADDING + 3):
        logits, expected = model(*batch_of(drawings, width)), reference(drawings)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        assert_same(gradients(model, logits, labels), gradients(reference, expected, labels))
    assert_same(dict(model.bn.named_buffers()), dict(reference.bn.named_buffers()), 1e-6)


def test_a_bidirectional_layer_sees_the_whole_drawing_in_both_directions():
    """Every row moves the output, which the padded reading's backward half, one step long, does not achieve."""
    model = build("bilstm_lay1_sz4").eval()
    points, lengths = batch_of([random_drawing(6, np.random.default_rng(5))], 8)
    points.requires_grad_()
    h = model.config.hidden_size
    for half in (slice(0, h), slice(h, 2 * h)):
        model.linear.weight.data.zero_()[:, half] = 1
        features = model(points, lengths)
        (slope,) = torch.autograd.grad(features.sum(), points)
        assert (slope[0, :6].abs().sum(dim=1) > 0).all()
        assert (slope[0, 6:] == 0).all()


@given(
    name=st.sampled_from(SMALL + POOLED),
    lengths=st.lists(st.integers(0, MAX_PADDING), min_size=1, max_size=7),
    padding=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_length_aware_reading_depends_on_the_drawing_alone(name, lengths, padding, seed):
    """Not on padding, batch size, batch mates or order."""
    rng = np.random.default_rng(seed)
    model = build(name).eval()
    drawings = random_drawings(model, lengths, rng)
    with torch.no_grad():
        alone = torch.cat([model(*batch_of([drawing])) for drawing in drawings])
        together = model(*batch_of(drawings, max(lengths) + padding))
        order = torch.from_numpy(rng.permutation(len(drawings)))
        shuffled = model(*batch_of([drawings[i] for i in order]))
    assert torch.isfinite(alone).all()
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shuffled, alone[order], rtol=1e-5, atol=1e-5)


@settings(max_examples=30)
@given(
    name=st.sampled_from(SMALL),
    lengths=st.lists(st.integers(0, MAX_PADDING), min_size=1, max_size=7),
    seed=st.integers(0, 2**32 - 1),
)
def test_padded_reading_in_evaluation_mode_depends_on_the_drawing_alone(name, lengths, seed):
    rng = np.random.default_rng(seed)
    drawings = [random_drawing(n, rng) for n in lengths]
    model = build(name, "padded").eval()
    with torch.no_grad():
        alone = torch.cat([model(*batch_of([drawing])) for drawing in drawings])
        order = torch.from_numpy(rng.permutation(len(drawings)))
        together = model(*batch_of([drawings[i] for i in order]))
    torch.testing.assert_close(together, alone[order], rtol=1e-5, atol=1e-5)


@given(
    name=st.sampled_from(SMALL + POOLED),
    lengths=st.lists(st.integers(0, MAX_PADDING), min_size=2, max_size=6),
    padding=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_training_does_not_depend_on_padding_or_order(name, lengths, padding, seed):
    """In training mode batch mates matter, by batch norm; how they lie in the batch does not."""
    rng = np.random.default_rng(seed)
    one, other = build(name).train(), build(name).train()
    drawings = random_drawings(one, lengths, rng)
    labels = torch.from_numpy(rng.integers(0, 4, len(drawings)))
    order = torch.from_numpy(rng.permutation(len(drawings)))
    a = one(*batch_of(drawings))
    b = other(*batch_of([drawings[i] for i in order], max(lengths) + padding))
    torch.testing.assert_close(b, a[order], rtol=1e-4, atol=1e-5)
    assert_same(gradients(other, b, labels[order]), gradients(one, a, labels), 1e-4)
    assert_same(dict(other.bn.named_buffers()), dict(one.bn.named_buffers()))


@pytest.mark.parametrize("name", [name for name in SMALL if "cv1" in name])
def test_a_drawing_shorter_than_the_convolutions_is_extended_with_zeros(name):
    model = build(name).eval()
    needed = model.config.receptive_field
    rng = np.random.default_rng(6)
    for n in range(needed):
        drawing = random_drawing(n, rng)
        extended = torch.cat([drawing, torch.zeros(needed - n, 3)])
        expected = model(*batch_of([extended]))
        torch.testing.assert_close(model(*batch_of([drawing])), expected, rtol=1e-6, atol=1e-6)
        with_others = model(*batch_of([random_drawing(MAX_PADDING, rng), drawing]))[1:]
        torch.testing.assert_close(with_others, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        *[(name, reading) for name in SMALL for reading in ("padded", "length-aware")],
        *[(name, "length-aware") for name in POOLED],
    ],
)
def test_extreme_lengths(name, reading):
    model = build(name, reading).eval()
    n = model.bn.num_features
    dot = model(torch.zeros(1, 0, n), torch.tensor([0]))
    assert dot.shape == (1, 4) and torch.isfinite(dot).all()
    dots = model(torch.zeros(3, 5, n), torch.tensor([0, 0, 0]))
    torch.testing.assert_close(dots, dot.expand(3, 4), rtol=1e-5, atol=1e-5)
    full = random_drawings(model, [MAX_PADDING], np.random.default_rng(7))
    assert torch.isfinite(model(*batch_of(full))).all()
    long, lengths = batch_of([*full, torch.zeros(0, n)])
    torch.testing.assert_close(model(long, lengths)[1:], dot, rtol=1e-5, atol=1e-5)


# --- readout pool


def pooled_plainly(model, drawing):
    """The logits (K,) of one drawing (n, 5), without padding, by PyTorch's own modules."""
    bn = model.bn
    x = F.batch_norm(drawing, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
    for number, convolution in (("1", model.conv1), ("2", model.conv2)):
        if convolution:
            size, stride = convolution.kernel_size[0], convolution.stride[0]
            n_steps = -(-len(x) // stride)
            x = F.conv1d(x.mT[None], convolution.weight, convolution.bias, stride, size // 2)[0, :, :n_steps].mT
            x = getattr(model, f"norm{number}")(x).relu()
    steps, _ = model.lstm(x[None])
    attention = model.attention(steps).softmax(1)
    read = [steps.mean(1), steps.amax(1), (attention * steps).sum(1)]
    if model.image is not None:
        x = image_branch.drawn(drawing[None], torch.tensor([len(drawing)]))
        for convolution, norm, after in zip(model.image.convs, model.image.norms, (2, 1, 2, 1, 2, 1), strict=True):
            x = norm(F.max_pool2d(convolution(x), after)).relu()
        assert x.shape[2:] == (4, 4)
        read += [x.mean((2, 3)), x.amax((2, 3))]
    return model.linear(torch.cat(read, dim=1))[0]


@pytest.mark.parametrize("name", POOLED)
def test_readout_pool_is_its_definition(name):
    model = build(name).eval()
    drawings = random_drawings(model, (3, MAX_PADDING, 1, 9, 7), np.random.default_rng(12))
    expected = torch.stack([pooled_plainly(model, drawing) for drawing in drawings]).detach()
    torch.testing.assert_close(model(*batch_of(drawings)).detach(), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model(*batch_of(drawings)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_parts", [1, 2])
@pytest.mark.parametrize("name", POOLED)
def test_readout_pool_trains_the_same_packed_or_not(name, n_parts, monkeypatch):
    """On a CPU a float32 model is packed where there are gradients, one of float64 is not."""
    monkeypatch.setattr(threads, "n_threads", lambda: n_parts)
    model = build(name).train()
    plain = copy.deepcopy(model).double()
    points, lengths = batch_of(random_drawings(model, (3, MAX_PADDING, 1, 9, 7, 12), np.random.default_rng(13)), 15)
    labels = torch.arange(6) % 4
    logits, expected = model(points, lengths), plain(points.double(), lengths)
    torch.testing.assert_close(logits, expected.float(), rtol=1e-5, atol=1e-5)
    wanted = {key: value.float() for key, value in gradients(plain, expected, labels).items()}
    assert_same(gradients(model, logits, labels), wanted)
    assert all(value.abs().max() > 0 for value in wanted.values())


def test_readout_pool_in_bfloat16_is_near_and_only_where_it_trains():
    model = build("bipool_cv1_16_5_2_lay2_sz16").eval()
    batch = batch_of(random_drawings(model, (3, MAX_PADDING, 1, 9), np.random.default_rng(14)))
    trained = StrokeClassifier(model.config, precision=torch.bfloat16).eval()
    trained.load_state_dict(model.state_dict())
    with torch.no_grad():
        exact = model(*batch)
        assert torch.equal(trained(*batch), exact)
    rounded = trained(*batch).detach()
    assert rounded.dtype == torch.float32
    assert 1e-6 < float((rounded - exact).abs().max()) < 0.03


def test_keys_of_readout_pool():
    keys = set(build("bipool_cv1_6_3_cv2_4_2_3_lay2_sz3").state_dict())
    others = set(build("bilstm_cv1_6_3_cv2_4_2_lay2_sz3").state_dict())
    norms = {f"norm{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")}
    assert keys == others | norms | {"attention.weight"}
    assert set(build("bipool_lay1_sz4").state_dict()) == set(build("bilstm_lay1_sz4").state_dict()) | {
        "attention.weight"
    }


def test_number_of_parameters_of_readout_pool():
    model = build("bipool_cv1_8_5_cv2_6_3_2_lay2_sz7")
    parts = {
        "bn": 2 * 5,
        "conv1": 8 * (5 * 5 + 1),
        "norm1": 2 * 8,
        "conv2": 6 * (8 * 3 + 1),
        "norm2": 2 * 6,
        "lstm": 2 * 4 * 7 * (6 + 7 + 2) + 2 * 4 * 7 * (14 + 7 + 2),
        "attention": 14,
        "linear": 4 * (3 * 14 + 1),
    }
    assert {name: n_parameters(part) for name, part in model.named_children() if name != "dropout"} == parts
    assert n_parameters(model) == sum(parts.values())


def test_an_image_adds_its_convolutions_and_what_they_read():
    with_image, without = build("bipool_lay1_sz4"), build("bipool_img2_lay1_sz4")
    names = [f"image.{part}.{i}.{kind}" for part in ("convs", "norms") for i in range(6) for kind in ("weight", "bias")]
    assert set(without.state_dict()) - set(with_image.state_dict()) == set(names)
    assert without.linear.in_features - with_image.linear.in_features == 2 * 4 * 2
    assert n_parameters(build("bipool_cv1_64_5_cv2_128_5_2_img32_lay2_sz112", n_classes=100)) == 963_118


def test_apart_are_the_logits_and_those_of_points_and_image_alone():
    model = build("bipool_cv1_6_3_img2_lay1_sz4").eval()
    batch = batch_of(random_drawings(model, (3, 9, 12), np.random.default_rng(17)))
    together, points, image = model(*batch, auxiliary=True).unbind(1)
    torch.testing.assert_close(together, model(*batch), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((points + image) / 2, together, rtol=1e-5, atol=1e-6)
    without = build("bipool_cv1_6_3_lay1_sz4").eval()
    assert torch.equal(without(*batch, auxiliary=True), without(*batch))
    with torch.no_grad():
        for parameter in model.image.parameters():
            parameter.zero_()
        _, still, nothing = model(*batch, auxiliary=True).unbind(1)
    assert torch.equal(still, points)
    torch.testing.assert_close(nothing, model.linear.bias.expand(3, 4))


def test_readout_pool_sees_every_step():
    model = build("bipool_cv1_6_3_lay1_sz4").eval()
    points, lengths = batch_of(random_drawings(model, [6], np.random.default_rng(15)), 8)
    (slope,) = torch.autograd.grad(model(points.requires_grad_(), lengths).sum(), points)
    assert (slope[0, :6].abs().sum(dim=1) > 0).all()
    assert (slope[0, 6:] == 0).all()


# --- dropout and temperature


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("bipool_cv1_6_3_lay2_sz8", "length-aware"),
        *itertools.product(["bilstm_lay2_sz8", "simple_lay1_sz8", "simple_lay2_sz8"], ["length-aware", "padded"]),
    ],
)
def test_dropout_is_of_training_alone(name, reading):
    model, without = build(name, reading, dropout=0.5), build(name, reading)
    batch = batch_of(random_drawings(model, (3, 9, 12), np.random.default_rng(16)))
    assert list(model.state_dict()) == list(without.state_dict())
    assert torch.equal(model.eval()(*batch), without.eval()(*batch))
    model.train()
    torch.manual_seed(1)
    first, second = model(*batch), model(*batch)
    torch.manual_seed(1)
    assert not torch.equal(first, second)
    assert torch.equal(model(*batch), first)


class Forced(torch.nn.Module):
    """In the place of `nn.Dropout`: masks (B, 1, D * H) or (B, F) that a test knows, one call after the other."""

    def __init__(self, p, masks):
        super().__init__()
        self.p, self.masks, self.n_calls = p, masks, 0

    def forward(self, x):
        if not self.training:
            return x
        mask = self.masks[self.n_calls]
        self.n_calls += 1
        return x * (mask.unsqueeze(1) if x.dim() == 3 else mask).to(x) / (1 - self.p)


ONE_WAY_AND_TWO = ["simple_lay1_sz8", "simple_lay2_sz8", "lstm_cv1_6_3_lay3_sz5", "bilstm_lay2_sz8", "bipool_lay3_sz4"]


@pytest.mark.parametrize("name", ONE_WAY_AND_TWO)
def test_dropout_of_the_plain_path_is_that_of_the_packed_one(name):
    """The plain path is a GPU's; here it is taken with float64."""
    packed, plain = build(name, dropout=0.5).train(), build(name, dropout=0.5).double().train()
    drawings = random_drawings(packed, (3, 9, 12, 5), np.random.default_rng(18))
    labels, (points, lengths) = torch.tensor([0, 3, 1, 2]), batch_of(drawings)
    width, layers = packed.linear.in_features, packed.config.n_layers
    n_outputs = (1 + packed.config.bidirectional) * packed.config.hidden_size
    rng = np.random.default_rng(19)
    masks = [torch.from_numpy(rng.random((4, n)) < 0.5) for n in [n_outputs] * (layers - 1) + [width]]
    packed.dropout, plain.dropout = Forced(0.5, masks), Forced(0.5, masks)
    ours, theirs = packed(points, lengths), plain(points.double(), lengths)
    assert packed.dropout.n_calls == plain.dropout.n_calls == layers
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    expected = {key: value.float() for key, value in gradients(plain, theirs, labels).items()}
    assert_same(gradients(packed, ours, labels), expected, 1e-5)
    torch.testing.assert_close(
        packed.eval()(points, lengths).double(), plain.eval()(points.double(), lengths), rtol=1e-5, atol=1e-5
    )


class Counting(torch.nn.Dropout):
    """Dropout that notes of each call the shape, and which fraction of what it was given it dropped."""

    def __init__(self, p):
        super().__init__(p)
        self.calls = []

    def forward(self, x):
        dropped = super().forward(torch.ones_like(x)) if self.training else torch.ones_like(x)
        self.calls.append((tuple(x.shape), (dropped == 0).double().mean().item()))
        return x * dropped


@pytest.mark.parametrize("path", ["packed", "plain", "padded"])
@pytest.mark.parametrize("name", ["simple_lay2_sz64", "lstm_cv1_6_3_lay3_sz64", "bilstm_lay2_sz64"])
def test_the_same_fraction_is_dropped_on_every_path(name, path):
    model = build(name, "padded" if path == "padded" else "length-aware", dropout=0.3).train()
    model.dropout = Counting(0.3)
    points, lengths = batch_of([random_drawing(9, np.random.default_rng(20))] * 40)
    if path == "plain":
        model, points = model.double(), points.double()
    torch.manual_seed(2)
    model(points, lengths)
    width, layers = model.linear.in_features, model.config.n_layers
    between = (40, width) if path == "packed" else (40, 1, width)
    assert [shape for shape, _ in model.dropout.calls] == [between] * (layers - 1) + [(40, width)]
    assert [fraction for _, fraction in model.dropout.calls] == pytest.approx([0.3] * layers, abs=0.03)
    model.dropout.calls.clear()
    model.eval()(points, lengths)
    assert all(fraction == 0 for _, fraction in model.dropout.calls)


@pytest.mark.parametrize("name", ["simple_lay2_sz8", "bilstm_lay2_sz8"])
def test_padded_reading_with_dropout_that_drops_nothing_is_that_without(name):
    """Layer by layer, or all in one call of PyTorch."""
    model, without = build(name, "padded", dropout=0.5).train(), build(name, "padded").train()
    batch = batch_of(random_drawings(model, (3, 9, 12), np.random.default_rng(21)))
    n = model.linear.in_features
    model.dropout = Forced(0.5, [torch.full((3, n), 0.5), torch.full((3, n), 0.5)])
    logits, expected, labels = model(*batch), without(*batch), torch.tensor([0, 3, 1])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert_same(gradients(model, logits, labels), gradients(without, expected, labels))


def test_dropout_between_layers_is_one_choice_for_all_steps_of_a_drawing():
    model = build("bipool_lay2_sz16", dropout=0.5).train()
    packing = lstm_module.pack(torch.tensor([5, 3, 4]), 6, 2)
    dropped = model._drop_units(torch.ones(12, 32), packing)
    of_drawing = [dropped[packing.drawing == b] for b in range(3)]
    assert [len(rows) for rows in of_drawing] == [5, 3, 4]
    assert all(torch.equal(rows, rows[:1].expand_as(rows)) for rows in of_drawing)
    assert not torch.equal(of_drawing[0][0], of_drawing[1][0])
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("name", ["bipool_lay1_sz4", "simple_lay1_sz5"])
def test_adjusted_logits_are_in_the_weights(name):
    model, again = build(name).eval(), build(name, seed=1).eval()
    batch = batch_of(random_drawings(model, (3, 9), np.random.default_rng(17)))
    shift = torch.randn(model.config.n_classes)
    expected = 0.4 * model(*batch) + shift
    model.adjust_logits(0.4, shift)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(*batch), expected, rtol=1e-5, atol=1e-6)


# --- batch norm over true rows


def numpy_batch_norm(rows, weight, bias, eps=1e-5):
    """Batch norm of rows (R, C) in float64 with their own statistics."""
    mean, var = rows.mean(axis=0), rows.var(axis=0)
    return (rows - mean) / np.sqrt(var + eps) * weight + bias, mean, var


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda lengths: sum(lengths) > 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_batch_norm_counts_true_rows_only(lengths, seed):
    rng = np.random.default_rng(seed)
    bn = build("simple_lay1_sz5").bn
    old_mean, old_var = bn.running_mean.double().numpy(), bn.running_var.double().numpy()
    points, n = batch_of([random_drawing(length, rng) for length in lengths], 9)
    mask = torch.arange(9) < n[:, None]
    points[~mask] = 77.0  # what stands in the padding must not count
    out = bn(points, mask).detach().double().numpy()
    rows = points[mask].double().numpy()
    expected, mean, var = numpy_batch_norm(rows, bn.weight.tolist(), bn.bias.tolist())
    np.testing.assert_allclose(out[mask.numpy()], expected, rtol=1e-4, atol=1e-4)
    unbiased = var * len(rows) / (len(rows) - 1)
    np.testing.assert_allclose(bn.running_mean.numpy(), 0.9 * old_mean + 0.1 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bn.running_var.numpy(), 0.9 * old_var + 0.1 * unbiased, rtol=1e-5, atol=1e-6)
    assert int(bn.num_batches_tracked) == 1


def test_running_statistics_move_as_torchs_do():
    torch.manual_seed(8)
    ours, theirs = RowBatchNorm(3), nn.BatchNorm1d(3)
    for rows in (4, 1000, 2, 37):
        x = torch.randn(rows, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, -3.0, 0.2])
        torch.testing.assert_close(ours(x[None])[0], theirs(x), rtol=1e-4, atol=1e-5)
    assert_same(dict(ours.named_buffers()), dict(theirs.named_buffers()), 1e-6)


def test_a_single_true_row_has_no_variance():
    bn = RowBatchNorm(3)
    row = torch.tensor([[[0.5, -0.25, 1.0]]])
    out = bn(row, torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(out, torch.zeros(1, 1, 3))
    torch.testing.assert_close(bn.running_mean, 0.1 * row[0, 0])
    torch.testing.assert_close(bn.running_var, torch.full((3,), 0.9))


@pytest.mark.parametrize("name", SMALL + POOLED)
def test_a_batch_of_dots_keeps_the_statistics(name):
    model = build(name).train()
    before = {key: value.clone() for key, value in model.bn.named_buffers()}
    logits = model(torch.zeros(4, 0, model.bn.num_features), torch.zeros(4, dtype=torch.int64))
    grads = gradients(model, logits, torch.tensor([0, 1, 2, 3]))
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert all(torch.equal(value, before[key]) for key, value in model.bn.named_buffers())


def test_evaluation_mode_keeps_the_statistics():
    for reading in ("padded", "length-aware"):
        model = build("simple_lay1_sz5", reading).eval()
        before = {key: value.clone() for key, value in model.bn.named_buffers()}
        model(*batch_of([random_drawing(5, np.random.default_rng(9))]))
        assert all(torch.equal(value, before[key]) for key, value in model.bn.named_buffers())


def test_an_evaluation_leaves_the_model_as_it_was():
    model = build("simple_lay1_sz5").train()
    batch = batch_of([random_drawing(5, np.random.default_rng(9))])
    before = {key: value.clone() for key, value in model.bn.named_buffers()}
    with torch.no_grad():
        with model.evaluating():
            exact = model(*batch)
            assert not model.training and not model.bn.training
        with model.evaluating(torch.bfloat16):
            assert 0 < float((model(*batch) - exact).abs().max()) < 0.02
        with pytest.raises(RuntimeError, match="amid"), model.evaluating(batch_statistics=True):
            assert not model.training and model.bn.training
            assert not torch.allclose(model(*batch), exact)
            raise RuntimeError("amid it")
        assert model.training and model.bn.training
        assert all(torch.equal(value, before[key]) for key, value in model.bn.named_buffers())
        assert torch.equal(model.eval()(*batch), exact)


def test_the_two_readings_are_not_the_same():
    drawing = [random_drawing(5, np.random.default_rng(10))]
    padded, aware = (build("simple_lay1_sz5", reading).eval() for reading in ("padded", "length-aware"))
    aware.load_state_dict(padded.state_dict())
    assert (padded(*batch_of(drawing)) - aware(*batch_of(drawing))).abs().max() > 1e-3
    full = [random_drawing(MAX_PADDING, np.random.default_rng(11))]
    torch.testing.assert_close(padded(*batch_of(full)), aware(*batch_of(full)))


@pytest.mark.parametrize("name", ["simple_lay2_sz5", "bipool_cv1_4_3_lay1_sz6"])
def test_orthogonal_beginning(name: str) -> None:
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=4))
    n = model.config.hidden_size
    model.initialize_orthogonally()
    for key, value in model.lstm.named_parameters():
        if key.startswith("weight_hh"):
            for gate in value.chunk(4):
                torch.testing.assert_close(gate @ gate.T, torch.eye(n), rtol=0, atol=1e-5)
        elif key.startswith("bias_ih"):
            assert value.tolist() == [0.0] * n + [1.0] * n + [0.0] * 2 * n
        elif key.startswith("bias_hh"):
            assert not value.any()
