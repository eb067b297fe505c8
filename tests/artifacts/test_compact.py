"""`.quickstroke` files: small, whole or refused, and the same model to every command."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstroke as qs
from quickstroke.artifacts import cards, compact
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.config.model import ModelConfig
from quickstroke.errors import WeightsError
from quickstroke.export import compact as export
from quickstroke.models.classifier import StrokeClassifier

CLASSES = ("cat", "flying saucer", "star")
NAMES = ("bilstm_cv1_4_3_lay2_sz4", "bipool_cv1_5_3_2_img2_lay1_sz3")


def published(folder, name=NAMES[1], facts=None, seed=0, **options):
    torch.manual_seed(seed)
    model = StrokeClassifier(ModelConfig.from_name(name, n_classes=len(CLASSES), **options)).eval()
    return load_model(write_model(folder, LoadedModel(model, CLASSES, None, Path("unused")), facts or {}))


@pytest.fixture
def data(tmp_path):
    return export.export(published(tmp_path)).data


def resealed(data, *, header=None, version=1):
    """The file as an author would write it with another header."""
    n = struct.unpack_from("<I", data, 12)[0]
    before = json.loads(data[24 : 24 + n])
    text = json.dumps(before if header is None else header(before)).encode()
    text += b" " * (-(24 + len(text)) % 16)
    body = data[24 + n : -32]
    content = struct.pack("<8sIIQ", compact.MAGIC, version, len(text), 24 + len(text) + len(body) + 32) + text + body
    return content + hashlib.sha256(content).digest()


def refused(data, match):
    path = Path("a.quickstroke")
    with pytest.raises(WeightsError, match=match) as error:
        text, _ = compact.from_bytes(data, path)
        cards.check_card(cards.parse_card(text, path), path)
    assert str(error.value).startswith("a.quickstroke: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("weights", "most"), [("int8", 0.012), ("float16", 0.0005)])
def test_the_same_model_comes_back_but_for_rounding(tmp_path, name, weights, most):
    loaded = published(tmp_path, name)
    found = export.export(loaded, weights).model
    assert (found.name, found.classes, found.model.config) == (loaded.name, CLASSES, loaded.model.config)
    for key, value in loaded.model.state_dict().items():
        own = found.model.state_dict()[key]
        exact = value.ndim < 2 or key.startswith("attention")
        assert (own - value).abs().max() <= (0 if exact else most * value.abs().max()), key
        assert exact or not torch.equal(own, value)


def test_rows_have_scales_of_their_own_and_the_least_error():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 3, 40)).astype(np.float32) * np.array([1e-6, 1, 300, 0, 1], np.float32)[:, None, None]
    rows[4, 0, 0] = 4.5  # needs a coarse scale, which the others do better without
    numbers, scales = compact.quantized(rows)
    assert numbers.dtype == np.int8 and numbers.shape == rows.shape and scales.dtype == np.float32
    assert numbers.min() >= -127
    error = np.square(numbers * scales[:, None, None] - rows).sum((1, 2))
    largest = np.abs(rows).max((1, 2)) / 127
    plain = np.square(np.rint(rows / np.maximum(largest, 1e-30)[:, None, None]) * largest[:, None, None] - rows)
    assert (error <= plain.sum((1, 2)) * (1 + 1e-5) + 1e-30).all() and not numbers[3].any()


def test_weights_too_large_for_16_bits_are_refused(tmp_path):
    loaded = published(tmp_path)
    with torch.no_grad():
        loaded.model.linear.weight[0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"linear\.weight has a weight of 1e\+06, too large for float16"):
        export.export(loaded, "float16")
    assert export.export(loaded).model.model.linear.weight[0, 0].item() == pytest.approx(1e6)


def test_the_card_has_what_a_recognizer_needs_and_no_figures_of_other_weights(tmp_path):
    facts = {
        "figures": {"val": {"top1": 0.5, "n": 7}},
        "training": {"lr": 1},
        "limits": "few",
        "unknown": {"intercept": 1.5, "slope": 2},
    }
    card = export.export(published(tmp_path, facts=facts)).model.card
    assert card["figures_float32"] == facts["figures"] and "figures" not in card and "training" not in card
    assert (card["limits"], card["unknown"], card["quantization"]) == ("few", facts["unknown"], {"weights": "int8"})


def test_it_is_loaded_by_its_name(tmp_path, data):
    path = tmp_path / "small.quickstroke"
    path.write_bytes(data)
    recognizer = qs.load(path)
    expected = qs.load(next(tmp_path.glob("*.model")))
    strokes = [[(10, 10), (60, 12), (35, 80), (10, 10)]]
    assert recognizer.classes == CLASSES and recognizer.name == NAMES[1]
    for (word, probability), (other, value) in zip(recognizer.predict(strokes), expected.predict(strokes), strict=True):
        assert word == other and probability == pytest.approx(value, abs=0.01)
    assert qs.load(path, CLASSES).classes == CLASSES
    with pytest.raises(WeightsError, match="the classes given are not those of its card"):
        qs.load(path, CLASSES[::-1])
    with pytest.raises(WeightsError, match="no such model file"):
        qs.load(tmp_path / "no.quickstroke")


def test_what_is_not_whole_is_refused(data):
    for n in (0, 7, 8, 23):
        refused(data[:n], "not a .quickstroke file")
    for n in (24, 100, len(data) - 1):
        refused(data[:n], f"cut off: it has {n:,} of {len(data):,} bytes")
    refused(data + b"\0", "damaged or changed since its export")
    refused(b"PK" + data[2:], "not a .quickstroke file")
    for at in (13, 30, len(data) // 2, len(data) - 5):
        refused(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], "damaged or changed since its export")
    for version in (0, 3):
        refused(
            resealed(data, version=version), f"version {version} of .quickstroke files, this program reads version 2"
        )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda header: [], "damaged"),
        (lambda header: {"card": header["card"]}, "KeyError: 'tensors'"),
        (lambda header: {"card": 5, "tensors": {}}, "damaged card"),
        (lambda header: header | {"tensors": {"a": {"dtype": "int4", "shape": [1], "at": 0}}}, "KeyError: 'int4'"),
        (lambda header: header | {"tensors": {"a": {"dtype": "int8", "shape": [1 << 60], "at": 0}}}, "not within"),
        (lambda header: header | {"tensors": {"a": {"dtype": "int8", "shape": [0], "at": 0}}}, "has the shape"),
        (lambda header: header | {"tensors": {"a": {"dtype": "float32", "shape": [2], "at": -1}}}, "not within"),
        (
            lambda header: header | {"tensors": {"a": {"dtype": "int8", "shape": [], "at": 0, "scales_at": 0}}},
            "damaged",
        ),
    ],
)
def test_a_header_that_lies_is_refused(data, change, match):
    refused(resealed(data, header=change), match)


def test_weights_that_do_not_fit_are_refused(tmp_path, data):
    path = tmp_path / "a.quickstroke"
    path.write_bytes(resealed(data, header=lambda header: header["tensors"].pop("linear.bias") and header))
    with pytest.raises(WeightsError, match=r"'linear\.bias' is missing, expected \(3,\)"):
        load_model(path)
