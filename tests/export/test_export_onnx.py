"""The ONNX graph: it computes what PyTorch computes, for every shape of model, length and batch."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import CLASSES, POOLED, random_model, random_points

from quickstroke import formats
from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import LoadedModel, load_model
from quickstroke.artifacts.unknown import Outputs
from quickstroke.config.model import ModelConfig
from quickstroke.config.naming import TYPES
from quickstroke.data import batches
from quickstroke.data.memory import from_drawings
from quickstroke.data.selection import LabelledDrawings
from quickstroke.drawings.categories import CATEGORIES_2020
from quickstroke.errors import WeightsError
from quickstroke.export import onnx as export
from quickstroke.inference.onnx_graph import graph_of
from quickstroke.inference.onnx_model import OnnxModel
from quickstroke.kernels import raster

NAMES = (
    "simple_lay1_sz6",
    "simple_lay2_sz5",
    "lstm_cv1_4_3_lay1_sz5",
    "lstm_cv1_4_5_cv2_3_3_lay2_sz4",
    "bilstm_lay1_sz4",
    "bilstm_lay2_sz3",
    "bilstm_cv1_5_3_cv2_4_4_lay1_sz3",
    "bilstm_cv1_5_3_cv2_4_4_lay2_sz3",
)
READINGS = ("length-aware", "padded")
NAMES_AND_READINGS = [
    *[(name, reading) for name in NAMES for reading in READINGS],
    *[(name, "length-aware") for name in POOLED],
]


def test_each_type_is_compared():
    assert {name.partition("_")[0] for name in (*NAMES, *POOLED)} == set(TYPES)


@st.composite
def shapes(draw):
    """Any small configuration."""
    pooled = draw(st.booleans())
    convolution = st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5))
    if pooled:
        convolution |= st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 4))
    conv1, conv2 = draw(convolution), draw(convolution)
    return ModelConfig(
        conv1=conv1,
        conv2=conv1 and conv2,
        n_classes=3,
        n_layers=draw(st.integers(1, 2)),
        hidden_size=draw(st.integers(1, 6)),
        bidirectional=pooled or draw(st.booleans()),
        readout="pool" if pooled else "last",
        reading="length-aware" if pooled else draw(st.sampled_from(READINGS)),
        max_padding=draw(st.integers(9, 24)),
    )


def loaded_model(config, seed):
    """A model that lies in no file."""
    card = cards.new_card(config, CLASSES, "0" * 64)
    return LoadedModel(random_model(config, seed), CLASSES, card, Path("model.model"))


def points_for(loaded, lengths, n_steps, seed=0):
    return random_points(np.array(lengths), n_steps, seed, loaded.preprocessing)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "reading"), NAMES_AND_READINGS)
def test_a_batch_of_mixed_lengths(publish, name, reading):
    loaded = publish(name, reading=reading, max_padding=30)
    exported = export.export(loaded)
    assert exported.max_difference < 1e-5
    lengths = np.array([30, 0, 1, 2, 3, 4, 5, 6, 7, 17, 0, 29])
    points = points_for(loaded, lengths, 30)
    probabilities = exported.model.outputs(points, lengths).probabilities
    close(probabilities, loaded.outputs(points, lengths).probabilities)
    assert probabilities.dtype == np.float64
    if reading == "length-aware":  # after many zeros a padded reading has forgotten a short drawing
        assert np.ptp(probabilities, axis=0).min() > 0.01


@given(
    config=shapes(),
    seed=st.integers(0, 99),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=9),
    data=st.data(),
)
def test_any_model_on_any_batch(config, seed, lengths, data):
    loaded = loaded_model(config, seed)
    lengths = np.array(lengths, dtype=np.int64)
    points = points_for(loaded, lengths, data.draw(st.integers(lengths.max(), config.max_padding)), seed)
    close(
        export.export(loaded).model.outputs(points, lengths).probabilities,
        loaded.outputs(points, lengths).probabilities,
    )


@pytest.mark.parametrize(
    ("name", "reading"),
    [pair for pair in NAMES_AND_READINGS if pair[0] in (NAMES[0], NAMES[-1], *POOLED)],
)
@pytest.mark.parametrize("n_steps", [0, 1, 2, 5, 6])
def test_few_steps_or_none(publish, name, reading, n_steps):
    """Fewer than the convolutions span, in the smallest batches."""
    loaded = publish(name, reading=reading)
    model = export.export(loaded).model
    for lengths in ([n_steps], [0], [0, n_steps]):
        points = points_for(loaded, lengths, n_steps)
        close(
            model.outputs(points, np.array(lengths)).probabilities,
            loaded.outputs(points, np.array(lengths)).probabilities,
        )


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("bilstm_cv1_5_3_lay2_sz3", "length-aware"),
        ("bilstm_cv1_5_3_lay2_sz3", "padded"),
        ("bipool_cv1_5_3_2_lay2_sz3", "length-aware"),
        ("bipool_img2_lay1_sz3", "length-aware"),
    ],
)
def test_neither_batch_mates_nor_padding_matter(publish, name, reading):
    loaded = publish(name, reading=reading, max_padding=30)
    model = export.export(loaded).model
    lengths = np.array([7, 0, 30, 2])
    points = points_for(loaded, lengths, 30)
    together = model.outputs(points, lengths).probabilities
    for i, length in enumerate(lengths):
        for n_steps in (length, 30):
            close(model.outputs(points[i : i + 1, :n_steps], lengths[i : i + 1]).probabilities[0], together[i])


@pytest.mark.parametrize("name", ["bilstm_cv1_5_3_lay2_sz3", "bipool_cv1_5_3_2_lay2_sz3", "bipool_img2_lay1_sz3"])
def test_the_file_is_valid_onnx_with_its_card(publish, name):
    loaded = publish(name, facts={"licence": "MIT", "figures": {"val": {"top1": 0.5}}})
    exported = export.export(loaded)
    proto = onnx.load_from_string(exported.data)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in proto.graph.input] == ["points", "lengths"]
    assert [value.name for value in proto.graph.output] == ["probabilities", "features"]
    assert all(value.doc_string for value in (*proto.graph.input, *proto.graph.output))
    assert exported.model.card == loaded.card | {"graph": 3}
    assert (exported.model.name, exported.model.classes, exported.model.note) == (loaded.name, CLASSES, "")
    # Written again by another program, it is the same file.
    assert proto.SerializeToString(deterministic=True) == exported.data


def test_the_same_model_gives_the_same_bytes(publish):
    assert export.export(publish()).data == export.export(publish()).data


def test_a_model_without_a_card_gets_one(publish):
    loaded = publish(reading="padded")
    loaded.path.with_suffix(".json").unlink()
    bare = load_model(loaded.path, CLASSES)
    card = export.export(bare).model.card
    assert (card["name"], card["classes"], card["config"]["reading"]) == (bare.name, list(CLASSES), "padded")
    assert card["sha256"] == loaded.card["sha256"]


@pytest.mark.parametrize("mistake", ["gates", "reading"])
def test_a_graph_that_computes_something_else_is_not_exported(publish, monkeypatch, mistake):
    loaded = publish("bilstm_lay1_sz4", reading="padded")
    if mistake == "gates":
        lstm = export._lstm
        monkeypatch.setattr(
            export, "_lstm", lambda *args: {key: value.roll(4, dims=1) for key, value in lstm(*args).items()}
        )
    else:
        other = replace(loaded.model.config, reading="length-aware")
        monkeypatch.setattr(export, "graph_of", lambda config, *options: graph_of(other, *options))
        monkeypatch.setattr("quickstroke.inference.onnx_graph.graph_of", export.graph_of)
    with pytest.raises(WeightsError, match=r"not exported: onnxruntime gives probabilities that differ by up to \d"):
        export.export(loaded)


def test_a_probability_that_is_no_number_is_no_agreement(publish):
    loaded = publish()

    class Broken:
        def outputs(self, points, lengths):
            return Outputs(np.full((len(points), 3), np.nan), None)

    assert export._largest_difference(loaded, Broken()) == np.inf


@pytest.mark.parametrize("name", ["simple_lay1_sz3", "bipool_img2_lay1_sz3"])
def test_any_number_of_drawings(publish, name, monkeypatch):
    monkeypatch.setattr(raster, "at_a_time", lambda n_steps: 4)
    loaded = publish(name, max_padding=30)
    model = export.export(loaded).model
    lengths = np.arange(11) % 7
    points = points_for(loaded, lengths, 9)
    for n in (0, 1, 4, 5, 11):
        probabilities = model.outputs(points[:n], lengths[:n]).probabilities
        assert probabilities.shape == (n, 3)
        close(probabilities, loaded.outputs(points, lengths).probabilities[:n])


# --- 8-bit weights


def measured(loaded, dataset):
    drawings = LabelledDrawings.of_split(dataset, "val", loaded.classes)
    return export.quantize(loaded, export.export(loaded), drawings)


@pytest.mark.parametrize(
    "name",
    [
        "simple_lay2_sz32",
        "bilstm_cv1_16_3_cv2_16_3_lay1_sz32",
        "bipool_cv1_16_3_cv2_16_3_2_lay1_sz32",
        "bipool_img8_lay1_sz32",
    ],
)
def test_8_bit_weights(publish, dataset, name, monkeypatch):
    monkeypatch.setattr(export, "MAX_LOSS", 1.0)  # random weights recognise nothing, so nothing hangs on the figures
    loaded = publish(name, facts={"figures": {"val": {"top1": 0.5}}, "licence": "MIT"})
    result = measured(loaded, dataset)
    assert result.refusal == "" and result.n == 30
    assert len(result.exported.data) < 0.5 * len(export.export(loaded).data)
    card = result.exported.model.card
    assert "figures" not in card and card["figures_float32"] == {"val": {"top1": 0.5}} and card["licence"] == "MIT"
    assert card["quantization"] == {
        "weights": "int8",
        "top1": result.top1,
        "top1_float32": result.top1_float32,
        "n": 30,
    }
    lengths = np.array([40, 3, 0, 25])
    points = points_for(loaded, lengths, 40)
    model = result.exported.model
    together = model.outputs(points, lengths).probabilities
    assert 1e-7 < np.abs(together - loaded.outputs(points, lengths).probabilities).max() < 0.1
    for i, length in enumerate(lengths):  # what is computed does not depend on the batch
        close(model.outputs(points[i : i + 1, :length], lengths[i : i + 1]).probabilities[0], together[i])


@pytest.mark.parametrize("name", ["bilstm_cv1_4_3_lay1_sz5", "bipool_cv1_4_3_2_lay1_sz5"])
def test_the_figures_of_8_bit_weights_are_those_of_pytorch(publish, dataset, name):
    from quickstroke.evaluation.evaluate import evaluate

    loaded = publish(name)
    result = measured(loaded, dataset)
    indices, label_map = dataset.indices("val"), dataset.label_map(CLASSES)
    assert result.top1_float32 == evaluate(loaded.model, LabelledDrawings(dataset, indices, CLASSES, label_map)).top(1)
    config = loaded.model.config
    rounded = random_model(config)
    with torch.no_grad():
        for key, weight in rounded.named_parameters():
            if weight.ndim > 1 and key != "attention.weight":
                axes = (1, 2) if key.startswith("conv") else (1,)
                scale = weight.abs().amax(axes, keepdim=True) / 127
                weight.copy_((weight / scale).round() * scale)
    assert result.top1 == evaluate(rounded, LabelledDrawings(dataset, indices, CLASSES, label_map)).top(1)


def test_8_bit_weights_that_lose_too_much(publish, dataset, monkeypatch):
    monkeypatch.setattr(export, "_top1", lambda *_: next(answers))
    answers = iter([0.80, 0.79])
    assert measured(publish("simple_lay1_sz32"), dataset).refusal == "they lose 1.00 points, more than 0.5"
    answers = iter([0.80, 0.796])
    assert measured(publish("simple_lay1_sz32"), dataset).refusal == ""


def test_8_bit_weights_of_a_model_too_small_to_gain(publish, dataset, monkeypatch):
    monkeypatch.setattr(export, "MAX_LOSS", 1.0)
    refusal = measured(publish("simple_lay1_sz1"), dataset).refusal
    assert refusal.startswith("the file would have") and "not fewer than" in refusal


def test_weights_of_zero_stay_zero_in_8_bits(publish, dataset):
    loaded = publish("simple_lay1_sz8")
    with torch.no_grad():
        loaded.model.linear.weight.zero_()
        loaded.model.lstm.weight_hh_l0.zero_()
    result = measured(loaded, dataset)
    lengths = np.array([9, 2])
    points = random_points(lengths, 9)
    close(result.exported.model.outputs(points, lengths).probabilities, loaded.outputs(points, lengths).probabilities)


# --- the 2020 project's weights on real drawings


@pytest.mark.parametrize("name", ["simple_lay1_sz64", "lstm_cv1_128_5_lay1_sz64", "bilstm_lay1_sz64"])
@pytest.mark.parametrize("reading", READINGS)
def test_real_weights_on_real_drawings(shared, name, reading):
    seed = load_model(shared / "models" / "seed" / f"{name}.model")
    config = replace(seed.model.config, reading=reading)
    model = type(seed.model)(config).eval()
    model.load_state_dict(seed.model.state_dict())
    loaded = LoadedModel(model, seed.classes, None, seed.path)
    exported = export.export(loaded)
    folder = shared / "data" / "quickdraw" / "binary"
    drawings = [drawing for word in CATEGORIES_2020 for drawing in islice(formats.read_file(folder / f"{word}.bin"), 4)]
    data, _ = from_drawings(drawings, CATEGORIES_2020)
    everything, label_map = np.arange(len(data)), np.arange(100)
    for rows in batches.by_length(everything, batches.n_points_of(data, everything), 64):
        batch = batches.batch_of(data, rows, label_map, config.max_padding)
        expected = loaded.outputs(batch.points, batch.lengths).probabilities
        found = exported.model.outputs(batch.points, batch.lengths).probabilities
        close(found, expected)
        clear = np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0] > 1e-4
        assert (found.argmax(axis=1) == expected.argmax(axis=1))[clear].all()
    assert OnnxModel.from_bytes(exported.data, Path("again.onnx")).classes == CATEGORIES_2020
