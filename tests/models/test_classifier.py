"""The model against plain PyTorch: modules as the 2020 project wired them, and packed sequences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_classifiers import (
    MAX_PADDING,
    POOLED,
    SMALL,
    assert_same,
    batch_of,
    build,
    gradients,
    random_drawing,
    random_drawings,
)
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from quickstroke.config.model import ModelConfig
from quickstroke.errors import ConfigError, QuickstrokeError
from quickstroke.models.classifier import StrokeClassifier, n_parameters

pytestmark = pytest.mark.usefixtures("one_thread")

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
    points, lengths = torch.zeros(2, 4, 3), torch.tensor([4, 1])
    for wrong, told in (
        ((points.double(), lengths), "points should be torch.float32, as the weights are, got torch.float64"),
        ((points, lengths.float()), "lengths should be int64, got torch.float32"),
        ((points.numpy(), lengths), "points should be a tensor, got array"),
        ((points, [4, 1]), r"lengths should be a tensor, got \[4, 1\]"),
    ):
        with pytest.raises(QuickstrokeError, match=told):
            model(*wrong)


def test_more_rows_than_a_padded_model_reads_are_refused():
    model = StrokeClassifier(ModelConfig.from_name("simple_lay1_sz4", n_classes=2, reading="padded", max_padding=9))
    with pytest.raises(ConfigError, match="points should be at most 9 rows, which a padded model reads, got 10"):
        model(torch.zeros(2, 10, 3), torch.tensor([10, 3]))


@pytest.mark.parametrize("name", ["simple_lay1_sz4", "bilstm_cv1_6_3_lay1_sz5", "bipool_cv1_4_3_2_img2_lay1_sz4"])
@pytest.mark.parametrize("length", [-1, 5])
def test_a_length_that_the_points_do_not_have_is_refused(name, length):
    # Compiled code would go beyond the memory of the points.
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=2))
    points, lengths = torch.rand(3, 4, len(model.bn.weight)), torch.tensor([4, length, 2])
    told = f"lengths should be from 0 to 4, the rows of points, got {length} for drawing 1, counted from 0"
    with pytest.raises(ConfigError, match=told):
        model(points, lengths)
    assert model(points, lengths.clamp(0, 4)).isfinite().all()


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
