"""`.safetensors` files: weights and card in one, with all the checks that published models have."""

import json
from importlib.metadata import version

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_models import CLASSES, random_model, random_points

import quickstroke as qs
from quickstroke.artifacts.loading import CARD_KEY, HASH_KEY, LoadedModel, content_hash, load_model
from quickstroke.config.model import ModelConfig
from quickstroke.errors import WeightsError
from quickstroke.export import safetensors

LENGTHS = np.array([20, 0, 1, 7])
writes_complex = pytest.mark.skipif(
    tuple(map(int, version("safetensors").split(".")[:2])) < (0, 7),
    reason="safetensors before 0.7 writes no complex numbers",
)


@pytest.fixture
def path(publish, tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.write(publish("bilstm_cv1_4_3_lay1_sz4"), path)
    return path


def probabilities(loaded):
    return loaded.outputs(random_points(LENGTHS, 20, preprocessing=loaded.preprocessing), LENGTHS).probabilities


def rewrite(path, weights=None, card=None, digest=None):
    """Writes the file anew as an author would, with the hash that belongs to it, or another."""
    with safe_open(path, framework="pt") as file:
        old = json.loads(file.metadata()[CARD_KEY])
    del old[HASH_KEY]
    card = {key: value for key, value in (old | (card or {})).items() if value is not None}
    weights = {key: value for key, value in (load_file(path) | (weights or {})).items() if value is not None}
    card[HASH_KEY] = digest or content_hash(card, weights)
    save_file(weights, path, {CARD_KEY: json.dumps(card)})


def refused(path, match):
    with pytest.raises(WeightsError, match=match) as error:
        load_model(path)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("bilstm_cv1_4_3_lay2_sz4", "length-aware"),
        ("bilstm_cv1_4_3_lay2_sz4", "padded"),
        ("bipool_cv1_4_3_2_lay2_sz4", "length-aware"),
        ("bipool_img2_lay1_sz4", "length-aware"),
    ],
)
def test_the_same_model_comes_back(publish, tmp_path, name, reading):
    loaded = publish(name, reading=reading, facts={"figures": {"val": {"top1": 0.5}}, "word": "Ω"})
    path = tmp_path / "any name.safetensors"
    safetensors.write(loaded, path)
    again = load_model(path)
    assert (again.name, again.classes, again.card, again.path) == (loaded.name, CLASSES, loaded.card, path)
    assert again.model.config == loaded.model.config and not again.model.training
    assert np.array_equal(probabilities(again), probabilities(loaded))
    recognizer = qs.load(path)
    assert recognizer.predict([[(0, 0), (9, 9)]]) == qs.load(loaded.path).predict([[(0, 0), (9, 9)]])


def test_the_same_model_gives_the_same_bytes(publish, tmp_path):
    files = [tmp_path / f"{n}.safetensors" for n in range(4)]
    for path in files:
        safetensors.write(publish("bilstm_cv1_4_3_lay1_sz4"), path)
    assert len({path.read_bytes() for path in files}) == 1


def test_other_programs_find_the_plain_state_dict(path, publish):
    weights, expected = load_file(path), publish("bilstm_cv1_4_3_lay1_sz4").model.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_a_run_or_a_bare_file_gets_a_card(publish, tmp_path):
    loaded = publish(reading="padded")
    loaded.path.with_suffix(".json").unlink()
    safetensors.write(load_model(loaded.path, CLASSES), tmp_path / "x.safetensors")
    again = load_model(tmp_path / "x.safetensors")
    assert again.card is not None and again.classes == CLASSES and again.note == ""
    assert again.model.config.reading == "padded"


def test_classes_may_be_said_again_but_not_otherwise(path):
    assert load_model(path, CLASSES).classes == CLASSES
    with pytest.raises(WeightsError, match="not those of its card"):
        load_model(path, CLASSES[::-1])


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_the_model(tmp_path_factory, position, bit):
    """It is noticed, or it hit a byte that says nothing, such as the space that fills the header."""
    model = random_model(ModelConfig.from_name("simple_lay1_sz4", n_classes=3))
    path = tmp_path_factory.mktemp("flipped") / "model.safetensors"
    path.with_suffix(".model").write_bytes(b"anything")
    loaded = LoadedModel(model, CLASSES, None, path.with_suffix(".model"))
    safetensors.write(loaded, path)
    card = load_model(path).card
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        again = load_model(path)
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert again.card == card and np.array_equal(probabilities(again), probabilities(loaded))


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"PK\x03\x04" * 9, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_files_of_other_kinds(path, data):
    path.write_bytes(data)
    refused(path, "damaged or not a safetensors file|has no card")


def test_truncated_missing_or_a_folder(path):
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, "damaged or not a safetensors file")
    path.unlink()
    refused(path, "no such model file")


def test_without_card_or_hash(path):
    weights = load_file(path)
    save_file(weights, path)
    refused(path, "has no card; expected a file of `quickstroke export --to safetensors`")
    save_file(weights, path, {CARD_KEY: "{"})
    refused(path, "damaged card")


def test_weights_under_the_hash_of_others(path):
    rewrite(path, {"linear.bias": torch.zeros(3)}, digest="0" * 64)
    refused(path, "damaged or changed since its export")


@pytest.mark.parametrize(
    ("weights", "card", "message"),
    [
        ({"linear.bias": torch.zeros(4)}, {}, "the weights do not fit bilstm_cv1_4_3_lay1_sz4 with 3 classes"),
        ({"linear.bias": None}, {}, "'linear.bias' is missing"),
        ({"extra": torch.zeros(1)}, {}, "'extra' is"),
        ({"linear.bias": torch.tensor([0, 1, float("nan")])}, {}, "numbers that are not finite"),
        ({"linear.bias": torch.zeros(3, dtype=torch.uint8)}, {}, "no plain dense tensor"),
        pytest.param(
            {"linear.bias": torch.zeros(3, dtype=torch.complex64)}, {}, "no plain dense tensor", marks=writes_complex
        ),
        ({"linear.bias": torch.zeros(3).to(torch.float8_e5m2)}, {}, "no plain dense tensor"),
        ({"bn.running_var": -torch.ones(3)}, {}, "negative variance"),
        ({}, {"classes": ["cat"]}, "1 classes for 3 outputs"),
        ({}, {"name": "gpt"}, "its name 'gpt'"),
        ({}, {"config": None}, "damaged card"),
        ({}, {"version": 9}, "card version 9"),
    ],
)
def test_what_does_not_fit_under_a_right_hash(path, weights, card, message):
    rewrite(path, weights, card)
    refused(path, message)
