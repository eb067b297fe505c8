"""Running `.onnx` files: without PyTorch, and no other file than one that `export` wrote, unchanged."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from small_models import CLASSES, random_model

import quickstroke as qs
from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import LoadedModel, load_model
from quickstroke.config.model import ModelConfig
from quickstroke.errors import CategoryError, MissingExtra, WeightsError
from quickstroke.export import onnx as export
from quickstroke.inference import onnx_model
from quickstroke.inference.onnx_model import CARD_KEY, HASH_KEY, OnnxModel, seal
from quickstroke.inference.recognizer import Recognizer

HOUSE = [[[0, 100], [0, 255], [200, 255], [200, 100], [0, 100]], [[0, 100], [100, 0], [200, 100]]]
DOT = [[[5, 5]]]


@pytest.fixture(scope="module")
def exported():
    """The bytes of one small model, and its model for PyTorch."""
    config = ModelConfig.from_name("bilstm_cv1_4_3_lay1_sz4", n_classes=3)
    card = cards.new_card(config, CLASSES, "0" * 64)
    loaded = LoadedModel(random_model(config), CLASSES, card, Path("model.model"))
    return export.export(loaded).data, loaded


@pytest.fixture
def path(exported, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported[0])
    return path


def refused(path, match):
    """Loading says in one line what is wrong with which file."""
    for load in (OnnxModel.load, qs.load):
        with pytest.raises(WeightsError, match=match) as error:
            load(path)
        message = str(error.value)
        assert "\n" not in message and len(message) < 500 and message.startswith(str(path))


def changed(data, change):
    """The model with a change to its message, sealed again as its author would."""
    proto = onnx.load_from_string(data)
    kept = [entry for entry in proto.metadata_props if entry.key != HASH_KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    change(proto)
    return seal(proto.SerializeToString())


# --- what it gives


def test_it_chooses_among_given_words_as_pytorch_does(path, exported):
    guesses = qs.load(path, words=["star", "house"]).predict(HOUSE, simplified=True)
    expected = Recognizer(exported[1]).predict(HOUSE, simplified=True, words=["house", "star"])
    assert [guess.word for guess in guesses] == [guess.word for guess in expected]
    assert guesses[0].probability == pytest.approx(expected[0].probability, rel=1e-5) != 1
    with pytest.raises(CategoryError, match="not among the 3"):
        qs.load(path, words=["whale"])


def test_it_names_drawings_as_pytorch_does(path, exported):
    recognizer, expected = qs.load(path), Recognizer(exported[1])
    assert (recognizer.name, recognizer.classes, recognizer.note) == (exported[1].name, CLASSES, "")
    assert recognizer.card == exported[1].card | {"graph": 3}
    drawings = [HOUSE, DOT, HOUSE[:1]] * 100  # more than one batch
    answers = recognizer.predict_many(drawings, simplified=True)
    for found, wanted in zip(answers, expected.predict_many(drawings, simplified=True), strict=True):
        assert [guess.word for guess in found] == [guess.word for guess in wanted]
        np.testing.assert_allclose([g.probability for g in found], [g.probability for g in wanted], atol=1e-5)
    assert answers[0] != answers[1]
    assert recognizer.predict_many([]) == []


def test_no_pytorch_is_needed(path, exported):
    """In an environment that has neither PyTorch nor what exporting takes."""
    code = """
import json, sys
for name in ("torch", "onnx", "safetensors"):
    sys.modules[name] = None
import quickstroke as qs
recognizer = qs.load(sys.argv[1])
guesses = recognizer.predict_many(json.loads(sys.argv[2]), simplified=True)
print(json.dumps([recognizer.name, guesses]))
"""
    arguments = [str(path), json.dumps([HOUSE, DOT])]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    name, answers = json.loads(result.stdout)
    assert name == exported[1].name
    expected = Recognizer(exported[1]).predict_many([HOUSE, DOT], simplified=True)
    for found, wanted in zip(answers, expected, strict=True):
        assert [word for word, _ in found] == [guess.word for guess in wanted]
        np.testing.assert_allclose([p for _, p in found], [guess.probability for guess in wanted], atol=1e-5)


def test_what_is_missing_says_so(path, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "quickstroke.inference.onnx_model")
    with pytest.raises(MissingExtra, match=r"model.onnx needs .* pip install 'quickstroke\[onnx\]'"):
        qs.load(path)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "quickstroke.artifacts.loading")
    monkeypatch.delattr("quickstroke.artifacts.loading")
    for name, extra in (("x.model", "torch"), ("x.safetensors", "export")):
        with pytest.raises(MissingExtra, match=rf"{name} needs .* pip install 'quickstroke\[{extra}\]'"):
            qs.load(tmp_path / name)


def test_classes_may_be_said_again_but_not_otherwise(path, tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(CLASSES))
    for classes in (CLASSES, list(CLASSES), tmp_path / "words.txt", str(tmp_path / "words.txt")):
        assert qs.load(path, classes).classes == CLASSES
    for classes in (CLASSES[::-1], CLASSES[:2]):
        with pytest.raises(WeightsError, match="not those of its card"):
            qs.load(path, classes)
    with pytest.raises(CategoryError, match="twice"):
        qs.load(path, ["circle", "circle", "star"])


def test_it_is_found_by_its_path_only(path, tmp_path, monkeypatch):
    assert cards.find_model(path) == cards.find_model(str(path)) == path
    for name in ("no.onnx", "no.safetensors"):
        assert cards.find_model(name) == Path(name)
        with pytest.raises(WeightsError, match=f"^{name}: "):
            qs.load(name)
    folder = tmp_path / "lstm"
    folder.mkdir()
    path.rename(folder / "model.onnx")
    monkeypatch.setattr(cards, "model_folders", lambda: [folder])
    assert cards.find_published()[0] == []


def test_pytorch_does_not_load_it(path):
    with pytest.raises(WeightsError, match=r"is not for PyTorch; expected the \.model file"):
        load_model(path)


# --- damage


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(exported, tmp_path_factory, position, bit):
    data = bytearray(exported[0])
    data[int(position * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "model.onnx"
    path.write_bytes(data)
    refused(path, "damaged or changed since its export|the hash that ends it is missing")


@pytest.mark.parametrize("cut", [0, 1, 30, 100, 0.5, -1])
def test_a_truncated_file(path, exported, cut):
    data = exported[0]
    path.write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    refused(path, "the hash that ends it is missing")


def test_a_longer_file(path, exported):
    path.write_bytes(exported[0] + b"\0")
    refused(path, "the hash that ends it is missing")


def test_files_of_other_kinds(path, tmp_path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    refused(path, "no .onnx file of `quickstroke export`")
    path.write_text("<!doctype html>" * 50)
    refused(path, "no .onnx file of `quickstroke export`")
    path.unlink()
    refused(path, "No such file")
    with pytest.raises(WeightsError, match="Is a directory"):
        OnnxModel.load(tmp_path)


def test_another_programs_model(path, exported):
    proto = onnx.load_from_string(exported[0])
    del proto.metadata_props[:]
    path.write_bytes(proto.SerializeToString())
    refused(path, "no .onnx file of `quickstroke export`")


# --- files whose author wrote the hash anew


def test_a_message_that_is_none(path):
    for body in (
        b"",
        b"\x08",
        b"\xff" * 20,
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x0d1234",
        b"\x72\x00",
        b"\x72\x02\x0a\x00",
    ):
        path.write_bytes(seal(body))
        refused(path, "not an ONNX model of `quickstroke export`: ")


@given(body=st.binary(max_size=60))
def test_any_message_is_refused(tmp_path_factory, body):
    path = tmp_path_factory.mktemp("any") / "model.onnx"
    path.write_bytes(seal(body))
    refused(path, "not an ONNX model|damaged card")


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_under_a_right_hash_never_crashes(exported, tmp_path_factory, position, bit):
    body = bytearray(exported[0][: -len(onnx_model._HASH_HEAD) - 64])
    body[int(position * len(body))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "model.onnx"
    path.write_bytes(seal(bytes(body)))
    try:
        model = OnnxModel.load(path)
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert len(model.classes) == 3


def a_loop(proto):
    body = helper.make_graph([], "forever", [], [])
    proto.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], "loop", body=body))


def another_operator(proto):
    proto.graph.node.append(helper.make_node("ConstantOfShape", ["pads"], ["x"], "x"))


def a_foreign_operator(proto):
    proto.graph.node[0].domain = "com.example"


def a_function(proto):
    proto.functions.append(helper.make_function("d", "f", [], [], [], []))


def a_tensor_in_another_file(proto):
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def a_sparse_tensor(proto):
    values = numpy_helper.from_array(np.ones(1, dtype=np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "indices")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))


def training(proto):
    proto.training_info.add()


def tensor_of(proto, name):
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def far_too_much_padding(proto):
    pads = np.array([0, 10**9, 0, 0, 3, 0])
    tensor_of(proto, "pads").CopyFrom(numpy_helper.from_array(pads, "pads"))


def a_tensor_of_another_size(proto):
    tensor_of(proto, "linear.weight").dims[0] += 1


def fewer_outputs(proto):
    for name in ("linear.weight", "linear.bias"):
        tensor = tensor_of(proto, name)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:2], name))


def twice_the_same_tensor(proto):
    proto.graph.initializer.append(proto.graph.initializer[0])


def another_attribute(proto):
    proto.graph.node[-1].attribute[0].i = 0


def another_input(proto):
    proto.graph.node[0].input[0] = "nothing"


def another_order(proto):
    proto.graph.node.append(proto.graph.node[0])
    del proto.graph.node[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (a_loop, "the attribute has a field 6 that no export writes"),
        (
            another_operator,
            "its graph is not that of .* as its card describes it: it has the operator 'ConstantOfShape'",
        ),
        (a_foreign_operator, "the operator has a field 7 that no export writes"),
        (a_function, "the model has a field 25 that no export writes"),
        (a_tensor_in_another_file, "the tensor has a field 1[34] that no export writes"),
        (a_sparse_tensor, "the graph has a field 15 that no export writes"),
        (training, "the model has a field 20 that no export writes"),
        (far_too_much_padding, "it has a constant or an order of its operators"),
        (a_tensor_of_another_size, "a tensor has 96 bytes, expected 128"),
        (fewer_outputs, "it has a constant or an order of its operators"),
        (twice_the_same_tensor, "two of its tensors have the same name"),
        (another_attribute, "it has the operator 'Softmax'"),
        (another_input, "it has the operator 'Pad'"),
        (another_order, "it has a constant or an order of its operators"),
    ],
)
def test_what_is_not_the_graph_of_its_card_never_runs(path, exported, monkeypatch, change, message):
    monkeypatch.setattr(onnx_model.onnxruntime, "InferenceSession", None)
    path.write_bytes(changed(exported[0], change))
    refused(path, message)


def another_version_of_onnx(proto):
    proto.opset_import[0].version = 10**6


def no_output(proto):
    proto.graph.output[0].name = "something"


def another_rank(proto):
    proto.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 4


@pytest.mark.parametrize("change", [another_version_of_onnx, no_output, another_rank])
def test_a_graph_that_cannot_run(path, exported, change, capfd):
    path.write_bytes(changed(exported[0], change))
    refused(path, "onnxruntime cannot run it: ")
    assert capfd.readouterr() == ("", "")  # nor does onnxruntime print anything


def test_weights_that_give_no_probabilities(path, exported):
    def no_numbers(proto):
        nothing = np.full(3, np.nan, dtype=np.float32)
        tensor_of(proto, "linear.bias").CopyFrom(numpy_helper.from_array(nothing, "linear.bias"))

    path.write_bytes(changed(exported[0], no_numbers))
    refused(path, r"gives no probabilities of its 3 classes")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "card version 2, this program reads version 1"),
        ({"format": "recipe"}, "not a model card"),
        ({"name": "gpt"}, "its name 'gpt'"),
        ({"classes": ["cat", "cat", "star"]}, "'cat' is listed twice"),
        ({"classes": ["cat", "star"]}, "2 classes for 3 outputs"),
        ({"preprocessing": {"name": "seed4", "max_padding": 100}}, "preprocessing"),
        ({"config": 3}, "config: should be an object"),
        ({"config": None}, "damaged card"),
        ({"figures": 3}, "damaged card"),
        ({"graph": 4}, "graph version 4, this program reads up to version 3; export the model again"),
        ({"graph": None}, "graph version None"),
    ],
)
def test_a_card_that_does_not_fit(path, exported, change, message):
    def rewrite(proto):
        (entry,) = (entry for entry in proto.metadata_props if entry.key == CARD_KEY)
        card = json.loads(entry.value) | change
        entry.value = json.dumps({key: value for key, value in card.items() if value is not None})

    path.write_bytes(changed(exported[0], rewrite))
    refused(path, message)


def test_no_card(path, exported):
    path.write_bytes(changed(exported[0], lambda proto: proto.ClearField("metadata_props")))
    refused(path, "it has no card")
