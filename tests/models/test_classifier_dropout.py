"""Dropout on every path of the model, and logits that are adjusted."""

import itertools

import numpy as np
import pytest
import torch
from small_classifiers import assert_same, batch_of, build, gradients, random_drawing, random_drawings

from quickstroke.kernels import lstm as lstm_module

pytestmark = pytest.mark.usefixtures("one_thread")


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
