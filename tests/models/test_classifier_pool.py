"""The readout that pools all steps, against plain PyTorch."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_classifiers import MAX_PADDING, POOLED, assert_same, batch_of, build, gradients, random_drawings

from quickstroke.kernels import threads
from quickstroke.models import image_branch
from quickstroke.models.classifier import StrokeClassifier, n_parameters

pytestmark = pytest.mark.usefixtures("one_thread")


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
