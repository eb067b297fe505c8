"""The optimizers: Adam is PyTorch's, Muon moves matrices along their momentum made orthogonal."""

import copy
from dataclasses import replace

import pytest
import torch
from small_runs import assert_equal_weights
from torch import nn

from quickstroke.config.model import ModelConfig
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.training.optimizer import Adam, Muon, orthogonal

MODEL = replace(ModelConfig.from_name("bipool_cv1_8_5_cv2_6_3_2_lay2_sz5", n_classes=3), max_padding=30)
LEARNING_RATE, DECAY = 0.1, 0.2
NOT_SKIPPED = torch.tensor(False)


def pair():
    """Two models of the same weights."""
    torch.manual_seed(0)
    model = StrokeClassifier(MODEL)
    return model, copy.deepcopy(model)


def random_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}


def step(optimizer, model, gradients, is_skipped=NOT_SKIPPED):
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name].clone()
    optimizer.step(is_skipped)


def is_matrix_of_muon(name, parameter):
    return name.startswith(("lstm", "conv")) and parameter.ndim > 1


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_the_optimizer_is_pytorchs_with_a_decay_of_matrices_alone(decay):
    torch.manual_seed(0)
    ours, theirs = StrokeClassifier(MODEL), StrokeClassifier(MODEL)
    theirs.load_state_dict(ours.state_dict())
    parts = [[p for p in theirs.parameters() if (p.ndim > 1) is is_matrix] for is_matrix in (True, False)]
    groups = [{"params": part, "weight_decay": own} for part, own in zip(parts, (decay, 0.0), strict=True)]
    expected, optimizer = torch.optim.AdamW(groups, lr=0.1), Adam(ours.parameters(), 0.1, decay)
    for step in range(5):
        optimizer.learning_rate = expected.param_groups[0]["lr"] = expected.param_groups[1]["lr"] = 0.1 / (step + 1)
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        optimizer.step(NOT_SKIPPED)
        expected.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_an_optimizer_goes_on_where_its_state_was_kept():
    torch.manual_seed(0)
    model, again = nn.Linear(3, 2), nn.Linear(3, 2)
    grads = [[torch.randn_like(parameter) for parameter in model.parameters()] for _ in range(4)]

    def steps(optimizer, of, some):
        for row in some:
            for parameter, grad in zip(of.parameters(), row, strict=True):
                parameter.grad = grad
            optimizer.step(NOT_SKIPPED)

    first = Adam(model.parameters(), 0.1, 0.02)
    steps(first, model, grads[:2])
    again.load_state_dict(model.state_dict())
    second = Adam(again.parameters(), 0.1, 0.02)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(first, model, grads[2:])
    steps(second, again, grads[2:])
    assert_equal_weights(model.state_dict(), again.state_dict())
    with pytest.raises(ValueError, match="it is of 2 parameters, not of 1"):
        Adam([nn.Parameter(torch.zeros(3))], 0.1).load_state_dict(first.state_dict())


@pytest.mark.parametrize("shape", [(4, 7, 7), (2, 12, 5), (3, 5, 40), (1, 1, 9)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_orthogonal_takes_singular_values_to_about_one(shape, scale):
    torch.manual_seed(1)
    left, _, right = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    n = min(shape[1:])
    values = torch.linspace(0.02, 1, n, dtype=torch.float64)
    found = orthogonal((scale * left * values @ right).float())
    # In the same directions, and no others.
    core = left.mT @ found.double() @ right.mT
    torch.testing.assert_close(left @ core @ right, found.double(), rtol=0, atol=1e-4)
    diagonal = core.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(core, torch.diag_embed(diagonal), rtol=0, atol=1e-4)
    assert diagonal.min() > 0.5 and diagonal.max() < 1.3


def test_orthogonal_leaves_zeros_and_halves_precision_where_asked():
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))
    matrices = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(2))
    rough = orthogonal(matrices, torch.bfloat16)
    assert rough.dtype == torch.float32 and torch.equal(rough, rough.bfloat16().float())
    difference = (rough - orthogonal(matrices)).norm() / rough.norm()
    assert 0 < difference < 0.05


def test_muon_is_adam_but_for_matrices_of_lstms_and_convolutions():
    model, other = pair()
    before = copy.deepcopy(model.state_dict())
    muon, adam = Muon(model, LEARNING_RATE, DECAY), Adam(other.parameters(), LEARNING_RATE, DECAY)
    for seed in range(3):
        step(muon, model, random_gradients(model, seed))
        step(adam, other, random_gradients(model, seed))
    theirs, n_own = dict(other.named_parameters()), 0
    for name, parameter in model.named_parameters():
        is_own = is_matrix_of_muon(name, parameter)
        n_own += is_own
        assert torch.equal(parameter, theirs[name]) != is_own, name
        assert not torch.equal(parameter, before[name]), name
    assert n_own == 10  # two convolutions, and twice two directions in two layers


def test_muon_follows_its_formula():
    model, other = pair()
    optimizer = Muon(model, LEARNING_RATE, DECAY)
    momenta = {name: torch.zeros_like(parameter) for name, parameter in other.named_parameters()}
    for seed in range(3):
        gradients = random_gradients(model, seed)
        step(optimizer, model, gradients)
        for name, parameter in other.named_parameters():
            momenta[name] = 0.95 * momenta[name] + gradients[name]
            direction = gradients[name] + 0.95 * momenta[name]
            with torch.no_grad():
                if name.startswith("lstm.weight"):
                    parameter.mul_(1 - LEARNING_RATE * DECAY)
                    for gate, part in zip(parameter.chunk(4), direction.chunk(4), strict=True):
                        gate -= LEARNING_RATE * 0.2 * max(gate.shape) ** 0.5 * orthogonal(part[None])[0]
                elif is_matrix_of_muon(name, parameter):
                    parameter.mul_(1 - LEARNING_RATE * DECAY)
                    rows = direction.flatten(1)
                    move = LEARNING_RATE * 0.2 * max(rows.shape) ** 0.5 * orthogonal(rows[None])[0]
                    parameter -= move.view_as(parameter)
    for (name, parameter), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        if is_matrix_of_muon(name, parameter):
            torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-5)


def test_muon_moves_as_far_as_adam():
    """Of a first step a fifth of the learning rate, in the root mean square: as far as Adam does once it has begun."""
    model, other = pair()
    step(Muon(model, LEARNING_RATE), model, random_gradients(model, 0))
    for (name, parameter), before in zip(model.named_parameters(), other.parameters(), strict=True):
        if is_matrix_of_muon(name, parameter):
            assert 0.15 < (parameter - before).square().mean().sqrt() / LEARNING_RATE < 0.25, name


def test_a_step_of_muon_does_not_depend_on_how_long_gradients_are():
    model, other = pair()
    gradients = random_gradients(model, 0)
    longer = dict(gradients)
    longer["lstm.weight_hh_l0"] = gradients["lstm.weight_hh_l0"].clone()
    longer["lstm.weight_hh_l0"][:5] *= 1000  # one gate
    longer["conv1.weight"] = gradients["conv1.weight"] / 1000
    step(Muon(model, LEARNING_RATE), model, gradients)
    step(Muon(other, LEARNING_RATE), other, longer)
    for name in ("lstm.weight_hh_l0", "conv1.weight"):
        torch.testing.assert_close(model.state_dict()[name], other.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_muon_skips_a_step_that_is_lost():
    model, other = pair()
    optimizer, unhurt = Muon(model, LEARNING_RATE, DECAY), Muon(other, LEARNING_RATE, DECAY)
    gradients = random_gradients(model, 0)
    step(optimizer, model, gradients)
    step(optimizer, model, {name: g * torch.nan for name, g in gradients.items()}, torch.tensor(True))
    step(unhurt, other, gradients)
    assert_equal_weights(model.state_dict(), other.state_dict())
    for mine, expected in zip(optimizer.tensors, unhurt.tensors, strict=True):
        assert torch.equal(mine, expected)


def test_muon_moves_only_what_has_a_gradient():
    model, other = pair()
    for parameter in model.parameters():
        parameter.grad = None
    Muon(model, LEARNING_RATE, DECAY).step(NOT_SKIPPED)
    assert_equal_weights(model.state_dict(), other.state_dict())


def test_muon_goes_on_where_its_state_was_kept():
    model, other = pair()
    first = Muon(model, LEARNING_RATE, DECAY)
    for seed in range(2):
        step(first, model, random_gradients(model, seed))
    other.load_state_dict(model.state_dict())
    second = Muon(other, LEARNING_RATE, DECAY)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in range(2, 4):
        step(first, model, random_gradients(model, seed))
        step(second, other, random_gradients(model, seed))
    assert_equal_weights(model.state_dict(), other.state_dict())
