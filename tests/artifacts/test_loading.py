"""Model files: what is written loads, what was tampered with does not, and no code in a file ever runs."""

import copy
import io
import json
import pickle
import shutil
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quickstroke.artifacts import cards, loading, runs, weight_files
from quickstroke.artifacts.lineage import TrainingsBefore, trainings_before
from quickstroke.artifacts.loading import LoadedModel, load_model, read_weights, write_model
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.drawings.categories import CATEGORIES_2020, read_classes
from quickstroke.errors import (
    ArgumentTypeError,
    CategoryError,
    ConfigError,
    ModelNameError,
    QuickstrokeError,
    WeightsError,
)
from quickstroke.export import safetensors
from quickstroke.inference.recognizer import Recognizer
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.utils.files import sha256_of

NAME = "simple_lay1_sz4"
CLASSES = ("cat", "flying saucer", "star")
FILES_2020 = (
    "bilstm_lay1_sz64",
    "lstm_cv1_128_5_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay1_sz64",
    "simple_lay2_sz256",
    "simple_lay2_sz64",
)


pytestmark = pytest.mark.usefixtures("one_thread")


def new_model(name=NAME, n_classes=3, seed=0, **options):
    torch.manual_seed(seed)
    return StrokeClassifier(ModelConfig.from_name(name, n_classes=n_classes, **options)).eval()


def publish(folder, name=NAME, seed=0, facts=None, classes=CLASSES, **options):
    model = new_model(name, len(classes), seed, **options)
    return write_model(folder, LoadedModel(model, classes, None, Path("unused")), facts or {})


def test_from_pretrained_is_the_module_and_can_be_trained(tmp_path):
    path = publish(tmp_path)
    model = StrokeClassifier.from_pretrained(path)
    assert (model.classes, model.training, model.config.name) == (CLASSES, False, NAME)
    assert torch.equal(logits(model), logits(load_model(path).model))
    before = logits(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train()(torch.ones(2, 5, 3), torch.tensor([5, 4])).sum().backward()
    optimizer.step()
    assert not torch.equal(logits(model.eval()), before)
    with pytest.raises(WeightsError, match=r"no\.model: no such model file"):
        StrokeClassifier.from_pretrained(str(tmp_path / "no.model"))
    with pytest.raises(ArgumentTypeError, match="model should be a path, got 3"):
        StrokeClassifier.from_pretrained(3)
    assert StrokeClassifier(model.config).classes == ()


def test_what_was_trained_further_is_saved_and_loaded(tmp_path):
    model = StrokeClassifier.from_pretrained(publish(tmp_path / "from"))
    words = ("cat", "dog")
    with pytest.raises(ConfigError, match="classes: 2 words were given, but the output layer has 3 outputs"):
        model.save_pretrained(tmp_path / "to", words)
    model.linear = torch.nn.Linear(model.linear.in_features, 2)
    with pytest.raises(ConfigError, match="classes: 3 words were given, but the output layer has 2 outputs"):
        model.save_pretrained(tmp_path / "to")
    path = model.save_pretrained(tmp_path / "to", words)
    assert path == tmp_path / "to" / f"{NAME}.model"
    loaded = load_model(path)
    assert loaded.classes == words
    assert torch.equal(logits(loaded.model), logits(model))
    assert StrokeClassifier.from_pretrained(tmp_path / "to").classes == words
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="exists already; give `replace` to replace it, or another folder"):
        model.save_pretrained(tmp_path / "to", words)
    with torch.no_grad():
        model.linear.bias[0] = float("nan")
    with pytest.raises(WeightsError, match=r"'linear\.bias' has numbers that are not finite"):
        model.save_pretrained(tmp_path / "to", words, replace=True)
    assert path.read_bytes() == before
    with torch.no_grad():
        model.linear.bias[0] = 5
    model.save_pretrained(str(tmp_path / "to"), words, replace=True)
    assert load_model(path).model.linear.bias[0] == 5


def test_a_default_model_for_other_words_is_saved_with_how_it_reads(tmp_path):
    model = StrokeClassifier(ModelConfig.from_name("bipool_cv1_8_5_2_img2_lay1_sz8", n_classes=2, max_padding=150))
    path = model.eval().save_pretrained(tmp_path, ["cat", "dog"])
    recognizer = Recognizer(load_model(path))
    assert (recognizer.classes, load_model(path).max_padding) == (("cat", "dog"), 150)
    assert recognizer.predict([[[1, 2], [30, 40], [50, 9]]]).unknown is None


def logits(model):
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32))
    with torch.no_grad():
        return model(points, torch.tensor([20, 11]))


def change_card(path, change):
    """Rewrites a card: `change` is entries to update, or a function of the card; a value of None removes."""
    card = json.loads(path.read_text(encoding="utf-8"))
    if callable(change):
        change(card)
    else:
        card = {key: value for key, value in (card | change).items() if value is not None}
    if "card_sha256" in card and "card_sha256" not in (change if isinstance(change, dict) else ()):
        card["card_sha256"] = cards.card_hash(card)
    path.write_text(json.dumps(card), encoding="utf-8")


def saved(value, legacy=False):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def refused(path, match, kind=WeightsError, **options):
    """Loading says in one line what is wrong with which file."""
    with pytest.raises(kind, match=match) as error:
        load_model(path, **options)
    message = str(error.value)
    assert "\n" not in message and len(message) < 500
    assert str(path.with_suffix("")) in message


# --- published models


@pytest.mark.parametrize(
    ("name", "reading"),
    [(NAME, "length-aware"), ("bilstm_cv1_5_3_cv2_4_2_lay2_sz3", "length-aware"), ("lstm_cv1_4_3_lay1_sz3", "padded")],
)
def test_what_is_written_loads(tmp_path, name, reading):
    model = new_model(name, reading=reading, max_padding=50)
    path = write_model(tmp_path / "lstm", LoadedModel(model, CLASSES, None, Path("unused")), {"n": 3})
    assert path == tmp_path / "lstm" / f"{name}.model"
    assert sorted(file.name for file in path.parent.iterdir()) == [f"{name}.json", f"{name}.model"]
    loaded = load_model(path)
    assert (loaded.name, loaded.classes, loaded.path, loaded.note) == (name, CLASSES, path, "")
    assert loaded.model.config == model.config and not loaded.model.training
    assert torch.equal(logits(loaded.model), logits(model))
    assert loaded.card is not None and loaded.card["n"] == 3


def test_the_file_is_a_plain_state_dict(tmp_path):
    model = new_model("bilstm_lay2_sz3")
    path = write_model(tmp_path, LoadedModel(model, CLASSES, None, Path("unused")), {})
    weights = torch.load(path, weights_only=True)
    assert list(weights) == list(model.state_dict())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not any(value.requires_grad for value in weights.values())
    StrokeClassifier(model.config).load_state_dict(weights, strict=True)


def test_the_card_says_how_to_read_the_weights(tmp_path):
    facts = {"figures": {"val": {"top1": 0.5}}, "licence": "MIT", "word": "Ω"}
    path = publish(tmp_path, facts=facts)
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (card["format"], card["version"], card["name"]) == ("quickstroke model card", 1, NAME)
    assert card["classes"] == list(CLASSES)
    assert card["config"] == {
        "n_layers": 1,
        "hidden_size": 4,
        "conv1": None,
        "conv2": None,
        "bidirectional": False,
        "readout": "last",
        "n_classes": 3,
        "reading": "length-aware",
        "max_padding": 100,
    }
    assert card["preprocessing"] == {"name": "delta3", "max_padding": 100}
    assert {key: card[key] for key in facts} == facts
    assert len(card["sha256"]) == 64


def test_an_older_card_names_the_preprocessing_in_its_own_way(tmp_path):
    path = publish(tmp_path)
    change_card(path.with_suffix(".json"), {"preprocessing": {"name": "seed3", "max_padding": 100}})
    loaded = load_model(path)
    assert loaded.preprocessing == "delta3" and loaded.card["preprocessing"]["name"] == "seed3"


@pytest.mark.parametrize("n", [1, 8, 9])
def test_weights_that_change_are_seen_whatever_the_number_of_drawings(tmp_path, n):
    loaded = load_model(publish(tmp_path))
    points = np.random.default_rng(0).normal(size=(n, 12, 3)).astype(np.float32)
    lengths = np.full(n, 12)
    before = loaded.probabilities(points, lengths)
    loaded.model.adjust_logits(2.0, torch.tensor([1.0, 0.0, -1.0]))
    after = loaded.probabilities(points, lengths)
    assert np.abs(after - before).max() > 0.01
    with torch.inference_mode():
        expected = loaded.model(torch.from_numpy(points), torch.from_numpy(lengths)).softmax(1).numpy()
    np.testing.assert_allclose(after, expected, atol=1e-6)
    loaded.model.load_state_dict(load_model(loaded.path).model.state_dict())
    np.testing.assert_allclose(loaded.probabilities(points, lengths), before, atol=1e-12)


def test_a_model_loaded_in_inference_mode_answers(tmp_path):
    path = publish(tmp_path)
    points, lengths = np.ones((1, 12, 3), np.float32), np.array([12])
    expected = load_model(path).probabilities(points, lengths)
    with torch.inference_mode():
        loaded = load_model(path)
        assert np.array_equal(loaded.probabilities(points, lengths), expected)
    assert np.array_equal(loaded.probabilities(points, lengths), expected)


def test_publishing_again_replaces_both_files(tmp_path):
    publish(tmp_path, seed=1)
    path = publish(tmp_path, seed=2)
    assert torch.equal(logits(load_model(path).model), logits(new_model(seed=2)))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_card_that_could_not_be_read_is_not_written(tmp_path):
    publish(tmp_path / "there")
    before = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    for folder in ("there", "new"):
        with pytest.raises(WeightsError, match=r"more than 400,000; the longest of its 3 words, 'bbb.*, has 400,000$"):
            publish(tmp_path / folder, classes=("a", "b" * 400_000, "c"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_a_kill_between_the_two_writes_is_noticed(tmp_path, monkeypatch):
    """The new card is there, the old weights are: that is refused, not read wrongly."""
    path = publish(tmp_path, seed=1)
    before = path.read_bytes()

    class Killed(BaseException):
        pass

    def killed(self, target):
        raise Killed

    write_text = loading.write_text
    monkeypatch.setattr(
        loading, "write_text", lambda *args: (write_text(*args), monkeypatch.setattr(Path, "replace", killed))
    )
    with pytest.raises(Killed):
        publish(tmp_path, seed=2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    refused(path, "its hash .* is not the one in its card")


def test_classes_may_be_said_again_but_not_otherwise(tmp_path):
    path = publish(tmp_path)
    (tmp_path / "words.txt").write_text("cat\nflying_saucer\nstar\n")
    for classes in (CLASSES, list(CLASSES), ["cat", "flying_saucer", "star"], tmp_path / "words.txt"):
        assert load_model(path, classes).classes == CLASSES
    for classes in (("star", "flying saucer", "cat"), ("cat", "star"), ("cat", "flying saucer", "dog")):
        refused(path, "not those of its card", classes=classes)
    with pytest.raises(CategoryError, match="twice"):
        load_model(path, ["cat", "cat", "star"])


# --- tampering


@settings(max_examples=25)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_the_weights_is_noticed(tmp_path_factory, position, bit):
    path = publish(tmp_path_factory.mktemp("flipped"))
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    path.write_bytes(data)
    refused(path, "its hash .* is not the one in its card")


def test_a_truncated_or_longer_file_is_noticed(tmp_path):
    path = publish(tmp_path)
    whole = path.read_bytes()
    for data in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"\0"):
        path.write_bytes(data)
        refused(path, "its hash .* is not the one in its card")


def test_the_card_of_another_model(tmp_path):
    path, other = publish(tmp_path / "a"), publish(tmp_path / "b", seed=1)
    third = publish(tmp_path / "c", name="simple_lay1_sz5")
    shutil.copy(other.with_suffix(".json"), path.with_suffix(".json"))
    refused(path, "its hash")
    shutil.copy(third.with_suffix(".json"), path.with_suffix(".json"))
    refused(path, "its card names it 'simple_lay1_sz5'")


def test_a_renamed_model(tmp_path):
    path = publish(tmp_path)
    for name in ("simple_lay1_sz5", "bilstm_lay1_sz4", "my model"):
        renamed = tmp_path / name
        path.with_suffix(".json").rename(f"{renamed}.json")
        path = path.rename(f"{renamed}.model")
        refused(path, f"its card names it '{NAME}'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "its hash"),
        ({"sha256": 7}, "its hash"),
        ({"name": "simple_lay1_sz8"}, "'simple_lay1_sz8'"),
        ({"name": "gpt"}, "its name 'gpt'"),
        ({"name": ["x"]}, "its name"),
        ({"version": 2}, "card version 2, this program reads version 1"),
        ({"version": "1\n2"}, "card version"),
        ({"format": "recipe"}, "not a model card"),
        ({"classes": ["cat", "cat", "star"]}, "'cat' is listed twice"),
        ({"classes": ["cat", "star"]}, "2 classes for 3 outputs"),
        ({"classes": ["cat", "star", "dog", "sun"]}, "4 classes for 3 outputs"),
        ({"classes": ["cat", "star", ""]}, "empty name"),
        ({"classes": ["cat", "star", 3]}, "class 3 is 3; expected a word"),
        ({"classes": 3}, "damaged card"),
        ({"classes": []}, "no class"),
        ({"preprocessing": {"name": "seed4", "max_padding": 100}}, "preprocessing"),
        ({"preprocessing": {"name": "delta3", "max_padding": 50}}, "preprocessing"),
        ({"preprocessing": "delta3"}, "preprocessing"),
        ({"config": 3}, "config: should be an object"),
        ({"config": {}}, "its configuration is that of 'simple_lay1_sz64'"),
        *(({key: None}, "damaged card") for key in ("format", "version", "name", "sha256", "config", "classes")),
        ({"preprocessing": None}, "damaged card"),
    ],
)
def test_a_card_that_does_not_fit(tmp_path, change, message):
    path = publish(tmp_path)
    change_card(path.with_suffix(".json"), change)
    refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 8}, "its configuration is that of 'simple_lay1_sz8'"),
        ({"n_classes": 4}, "3 classes for 4 outputs"),
        ({"bidirectional": True}, "'bilstm_lay1_sz4'"),
        ({"max_padding": 50}, "preprocessing"),
        ({"max_padding": 0}, "max_padding should be above 0"),
        ({"hidden_size": "4"}, "hidden_size should be int"),
        ({"hidden_size": True}, "hidden_size should be int"),
        ({"reading": "sideways"}, "reading should be"),
        ({"conv1": [4]}, "conv1 should be"),
        ({"dropout": 0.5}, "unknown key 'dropout'"),
        ({"hidden_size": 10**30}, "hidden_size should be at most"),
    ],
)
def test_a_configuration_that_does_not_fit(tmp_path, change, message):
    path = publish(tmp_path)
    change_card(path.with_suffix(".json"), lambda card: card["config"].update(change))
    refused(path, message)


def test_a_card_that_asks_for_far_too_much(tmp_path):
    """No configuration makes a reader build any number of layers."""
    path = publish(tmp_path)
    name = f"simple_lay{10**7}_sz4"
    change_card(path.with_suffix(".json"), lambda card: card["config"].update(n_layers=10**7))
    change_card(path.with_suffix(".json"), {"name": name})
    path.with_suffix(".json").rename(tmp_path / f"{name}.json")
    refused(path.rename(tmp_path / f"{name}.model"), "n_layers should be at most 64")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"3", b'"x"', b'{"format": "quickstroke model card"}', b"\xff\xfe", b"[" * 99_999],
)
def test_a_damaged_card(tmp_path, data):
    path = publish(tmp_path)
    path.with_suffix(".json").write_bytes(data)
    refused(path, "damaged card")


@pytest.mark.parametrize(
    "change",
    [{"figures": {"test": {"top1": 0.99}}}, {"classes": ["flying saucer", "cat", "star"]}, {"licence": "none"}],
)
def test_a_card_that_was_changed_by_hand(tmp_path, change):
    path = publish(tmp_path, facts={"figures": {"test": {"top1": 0.4}}})
    change_card(
        path.with_suffix(".json"),
        change | {"card_sha256": json.loads(path.with_suffix(".json").read_text())["card_sha256"]},
    )
    refused(path, "was changed since it was written")
    change_card(path.with_suffix(".json"), {"card_sha256": None})
    refused(path, "was changed since it was written")


def test_whole_numbers_are_no_weights(tmp_path):
    weights = new_model().state_dict()
    weights["lstm.weight_hh_l0"] = weights["lstm.weight_hh_l0"].to(torch.int64)
    path = tmp_path / f"{NAME}.model"
    torch.save(weights, path)
    refused(path, "'lstm.weight_hh_l0' holds whole numbers", classes=CLASSES)


def test_weights_of_another_shape_under_a_right_hash(tmp_path):
    """Someone writes the hash anew: the weights must still fit."""
    path = publish(tmp_path)
    path.write_bytes(saved(new_model("simple_lay1_sz5").state_dict()))
    change_card(path.with_suffix(".json"), {"sha256": sha256_of(path)})
    refused(path, f"do not fit {NAME} with 3 classes")


# --- bare files


def bare(tmp_path, data, name=NAME):
    path = tmp_path / f"{name}.model"
    path.write_bytes(data if isinstance(data, bytes) else saved(data))
    return path


def weights(**changes):
    """The state dict of a small model with keys changed; `__` stands for a dot, None removes."""
    state = dict(new_model().state_dict())
    state.update({key.replace("__", "."): value for key, value in changes.items()})
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bare_file_is_read_as_the_2020_projects(tmp_path, legacy):
    expected = new_model(reading="padded")
    path = bare(tmp_path, saved(expected.state_dict(), legacy))
    (tmp_path / "words.txt").write_text("\n".join(CLASSES))
    for classes in (CLASSES, tmp_path / "words.txt", str(tmp_path / "words.txt")):
        loaded = load_model(path, classes)
        assert loaded.classes == CLASSES and loaded.card is None
        assert loaded.model.config == expected.config
        assert "no card" in loaded.note and "padded" in loaded.note
        assert torch.equal(logits(loaded.model), logits(expected))


@pytest.mark.parametrize("name", FILES_2020)
def test_the_2020_projects_files_load(shared: Path, name):
    """Written by an old PyTorch, on a GPU."""
    folder = shared / "models" / "seed"
    path = folder / f"{name}.model"
    listed = read_classes(folder / "classes.txt")
    loaded = load_model(path)
    assert loaded.name == name and loaded.classes == CATEGORIES_2020 == listed
    assert loaded.model.config == ModelConfig.from_name(name, reading="padded")
    assert "no card" in loaded.note and "100 classes" in loaded.note
    assert all(value.device.type == "cpu" for value in loaded.model.state_dict().values())
    expected = torch.load(path, map_location="cpu", weights_only=True)
    assert all(torch.equal(value, expected[key]) for key, value in loaded.model.state_dict().items())
    other = tuple(reversed(listed))
    assert load_model(path, other).classes == other
    assert load_model(path, folder / "classes.txt").classes == listed


def test_the_2020_projects_files_under_other_names(shared: Path, tmp_path):
    source = shared / "models" / "seed" / "simple_lay1_sz64.model"
    for name in ("simple_lay1_sz256", "simple_lay2_sz64", "bilstm_lay1_sz64", "lstm_cv1_128_5_lay1_sz64"):
        path = tmp_path / f"{name}.model"
        path.write_bytes(source.read_bytes())
        refused(path, rf"do not fit {name} with 100 classes: '\S+' is .*, expected")
    for name in ("model", "simple", "simple_lay1", "simple_lay1_sz064", "simple_lay1_sz64 (1)", "lstm_lay1_sz64"):
        path = tmp_path / f"{name}.model"
        path.write_bytes(source.read_bytes())
        refused(path, "has no card .*is no model name", ModelNameError)


def test_the_2020_projects_files_with_wrong_classes(shared: Path):
    path = shared / "models" / "seed" / "simple_lay1_sz64.model"
    for n in (1, 99):
        refused(path, f"has 100 outputs, but {n} classes were given", classes=CATEGORIES_2020[:n])
    with pytest.raises(CategoryError, match="twice"):
        load_model(path, [*CATEGORIES_2020[:99], CATEGORIES_2020[0]])
    with pytest.raises(CategoryError, match="no such class list"):
        load_model(path, "missing/words.txt")


def test_truncated_2020_files(shared: Path, tmp_path):
    data = (shared / "models" / "seed" / "simple_lay1_sz64.model").read_bytes()
    for n in (1, 2, 100, 1000, len(data) // 2, len(data) - 1):
        refused(bare(tmp_path, data[:n], "simple_lay1_sz64"), "damaged or not a PyTorch file")


def test_a_bare_file_of_type_bipool_needs_its_card(tmp_path):
    refused(
        bare(tmp_path, weights(), "bipool_lay1_sz4"), r"has no card \(bipool_lay1_sz4.json\), which .* bipool needs"
    )


def test_without_a_class_list_only_100_outputs_are_known(tmp_path):
    path = bare(tmp_path, weights())
    refused(path, "has 3 outputs and no card")
    refused(path, "has 3 outputs, but 2 classes were given", classes=("cat", "star"))


def test_convolutions_longer_than_a_drawing(tmp_path):
    path = bare(tmp_path, weights(), "lstm_cv1_4_101_lay1_sz4")
    refused(path, "span 101 steps", ModelNameError, classes=CLASSES)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_bare_file(tmp_path, legacy):
    data = saved(weights(), legacy)
    for n in (*range(1, 20), len(data) // 4, len(data) // 2, len(data) - 100, len(data) - 1):
        refused(bare(tmp_path, data[:n]), "damaged or not a PyTorch file|not a PyTorch file: it begins with")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "begins with b'<!DOCTYPE"),
        (b"Not found\n", "begins with b'Not found"),
        (b'{"weights": 3}', "not a PyTorch file"),
        (bytes(1000), "not a PyTorch file"),
        (b"PK\x03\x04" + bytes(1000), "damaged or not a PyTorch file"),
        (b"PK\x05\x06" + bytes(18), "not a PyTorch file"),
        (b"\x80" + bytes(1000), "refused|damaged"),
    ],
)
def test_files_of_another_kind(tmp_path, data, message):
    refused(bare(tmp_path, data), message)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04"]))
def test_random_bytes_are_refused(tmp_path_factory, data, head):
    refused(bare(tmp_path_factory.mktemp("random"), head + data), "PyTorch file|refused|holds")


def test_a_zip_archive_of_something_else(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes/data.txt", "hello")
    refused(bare(tmp_path, buffer.getvalue()), "damaged or not a PyTorch file")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds a list"),
        ({}, "holds an empty dict"),
        (torch.zeros(3), "holds a Tensor"),
        (3, "holds a int"),
        ({"model": weights()}, "'model' is a dict"),
        (weights() | {"epoch": 3}, "'epoch' is a int"),
        (weights() | {"note": "best"}, "'note' is a str"),
        (weights() | {3: torch.zeros(1)}, "3 is a Tensor"),
        (weights(bn__weight=None), "'bn.weight' is missing"),
        (weights(linear__bias=None), r"no output layer \(linear.bias\)"),
        (weights(linear__bias=torch.tensor(1.0)), r"no output layer \(linear.bias\)"),
        (weights(linear__bias=torch.zeros(0)), r"no output layer \(linear.bias\)"),
        (weights(linear__bias=torch.zeros(5)), "'linear.weight' is .*with 5 classes|with 5 classes: 'linear.weight'"),
        (weights(extra=torch.zeros(2)), r"'extra' is \(2,\), expected none"),
        (weights(**{"a\nb": torch.zeros(2)}), "'a.*b' is"),
        (weights(bn__weight=torch.zeros(4)), r"'bn.weight' is \(4,\), expected \(3,\)"),
        (weights(bn__weight=torch.tensor([1, float("nan"), 1])), "'bn.weight' has numbers that are not finite"),
        (weights(bn__running_var=torch.tensor([1, float("inf"), 1])), "not finite"),
        (weights(bn__bias=torch.full((3,), 1e300, dtype=torch.float64)), "not finite"),
        (weights(bn__running_var=torch.tensor([1, -0.5, 1])), "negative variance"),
        (weights(bn__bias=torch.zeros(3).to_sparse()), "refused: no plain state dict"),
        (weights(bn__bias=torch.zeros(3, device="meta")), "refused: no plain state dict"),
        (weights(bn__bias=torch.zeros(3, dtype=torch.complex64)), "no plain dense tensor"),
        (weights(bn__bias=torch.zeros(3, dtype=torch.int8)), "no plain dense tensor"),
        (weights(bn__bias=torch.zeros(3).to(torch.float8_e4m3fn)), "refused: no plain state dict"),
    ],
)
def test_what_is_no_state_dict_of_the_model(tmp_path, value, message):
    refused(bare(tmp_path, value), message, classes=CLASSES)


@pytest.mark.parametrize("key", ["linear__bias", "bn__weight"])
def test_a_few_bytes_that_claim_a_huge_tensor(tmp_path, key):
    """Strides of 0 make one number a tensor of any shape: refused before memory is taken for it."""
    path = bare(tmp_path, weights(**{key: torch.zeros(1).expand(10**13)}))
    assert path.stat().st_size < 10_000
    refused(path, "no plain dense tensor", classes=CLASSES)


def test_other_precisions_load(tmp_path):
    """Half precision and views into larger storages are plain numbers all the same."""
    whole = torch.arange(12.0).reshape(4, 3)
    path = bare(tmp_path, weights(bn__weight=torch.full((3,), 0.5, dtype=torch.float16), bn__bias=whole[2]))
    model = load_model(path, CLASSES).model
    assert model.bn.weight.dtype == torch.float32 and model.bn.weight.tolist() == [0.5] * 3
    assert model.bn.bias.tolist() == [6, 7, 8]


def test_files_older_than_the_batch_counter_load(tmp_path):
    """PyTorch before 0.4.1 wrote no `num_batches_tracked`."""
    path = bare(tmp_path, OrderedDict(weights(bn__num_batches_tracked=None)))
    assert torch.equal(logits(load_model(path, CLASSES).model), logits(new_model(reading="padded")))


def test_a_missing_file_and_other_endings(tmp_path):
    refused(tmp_path / f"{NAME}.model", "no such model file")
    (tmp_path / "weights.pt").write_bytes(saved(weights()))
    refused(tmp_path / "weights.pt", "expected a .model file or a run folder")


# --- code in a file never runs


class Touch:
    """Pickles as a call that makes a file."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def as_pickle(value, marker):
    return pickle.dumps(value, protocol=2)


def as_new_pickle(value, marker):
    return pickle.dumps(value, protocol=4)


def as_legacy(value, marker):
    return saved(value, legacy=True)


def as_zip(value, marker):
    return saved(value)


def as_tampered_zip(value, marker):
    """A good file whose pickle was exchanged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(weights()))) as good, zipfile.ZipFile(buffer, "w") as bad:
        for item in good.infolist():
            is_pickle = item.filename.endswith("data.pkl")
            bad.writestr(item, pickle.dumps(value, protocol=2) if is_pickle else good.read(item))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [as_pickle, as_new_pickle, as_legacy, as_zip, as_tampered_zip])
@pytest.mark.parametrize("inside", [False, True])
def test_no_code_in_a_file_runs(tmp_path, pack, inside):
    marker = tmp_path / "marker"
    value = weights() | {"extra": Touch(marker)} if inside else Touch(marker)
    data = pack(value, marker)
    refused(bare(tmp_path, data), "refused: no plain state dict", classes=CLASSES)
    assert not marker.exists()
    # The same bytes in careless hands: the test would notice if code had run.
    try:
        torch.load(io.BytesIO(data), weights_only=False)
    except Exception:
        pickle.loads(data)
    assert marker.exists()


def test_no_code_in_a_published_file_runs(tmp_path):
    """Not even where the card's hash is that of the file."""
    path = publish(tmp_path)
    marker = tmp_path / "marker"
    path.write_bytes(saved(weights() | {"extra": Touch(marker)}))
    change_card(path.with_suffix(".json"), {"sha256": sha256_of(path)})
    refused(path, "refused: no plain state dict")
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    for legacy in (False, True):
        refused(bare(tmp_path, saved(new_model(), legacy)), "refused: no plain state dict", classes=CLASSES)


def test_reading_warns_of_nothing(tmp_path, recwarn):
    with pytest.raises(WeightsError):
        read_weights(bare(tmp_path, pickle.dumps({"x": 1}, protocol=4)))
    read_weights(bare(tmp_path, saved(weights(), legacy=True)))
    assert not recwarn.list


# --- run folders


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    model = new_model("lstm_cv1_4_3_lay1_sz3", max_padding=40)
    data = {"path": "data", "manifest_sha256": "0", "split": {"rule": "key_id"}, "n_by_split": {"train": 4}}
    config = RunConfig(model.config, TrainConfig(max_padding=40), CLASSES, data)
    runs.write_config(folder, config)
    weight_files.save_weights(folder / "best.model", model.state_dict())
    weight_files.save_weights(folder / "last.model", new_model("lstm_cv1_4_3_lay1_sz3", seed=5).state_dict())
    return folder


def test_a_run_folder_is_a_model(run_folder):
    loaded = load_model(run_folder)
    expected = new_model("lstm_cv1_4_3_lay1_sz3", max_padding=40)
    assert (loaded.name, loaded.classes, loaded.card) == ("lstm_cv1_4_3_lay1_sz3", CLASSES, None)
    assert loaded.model.config == expected.config and not loaded.model.training
    assert torch.equal(logits(loaded.model), logits(expected))
    last = load_model(run_folder / "last.model")
    assert torch.equal(logits(last.model), logits(new_model("lstm_cv1_4_3_lay1_sz3", seed=5)))
    assert load_model(run_folder, list(CLASSES)).classes == CLASSES
    with pytest.raises(WeightsError, match="not those of its run"):
        load_model(run_folder, ("star", "cat", "flying saucer"))


def test_run_folders_that_are_no_model(run_folder, tmp_path):
    (run_folder / "config.json").write_text("{}")
    with pytest.raises(QuickstrokeError, match=r"config\.json: damaged"):
        load_model(run_folder)
    (run_folder / "best.model").unlink()
    with pytest.raises(WeightsError, match=r"best\.model: no such model file"):
        load_model(run_folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="no such model file"):
        load_model(tmp_path / "empty")


def test_weights_of_another_run(run_folder):
    weight_files.save_weights(run_folder / "best.model", new_model().state_dict())
    with pytest.raises(WeightsError, match="do not fit lstm_cv1_4_3_lay1_sz3"):
        load_model(run_folder)


def test_a_loaded_model_is_independent_of_the_file(tmp_path):
    """The same file loaded twice gives two models."""
    path = publish(tmp_path)
    one, other = load_model(path), load_model(path)
    with torch.no_grad():
        one.model.linear.bias.add_(1)
    assert not torch.equal(logits(one.model), logits(other.model))
    assert copy.deepcopy(one.model.config) == other.model.config
    assert replace(one, note="x").note == "x"


# --- the trainings that weights come from


def run_of(folder, seconds, *pretrained):
    """A run folder of one epoch that took so long, and began with those weights."""
    folder.mkdir()
    data = {"path": "data", "manifest_sha256": "ab" * 32, "split": {"rule": "position"}, "n_by_split": {"train": 4}}
    config = TrainConfig(pretrained=tuple(map(str, pretrained)))
    runs.write_config(folder, RunConfig(new_model().config, config, CLASSES, data))
    runs.write_metrics(folder, [{**dict.fromkeys((*runs.METRICS, "val_top1"), 1.0), "seconds": seconds}])
    return folder


def test_of_the_trainings_before_each_counts_once(tmp_path):
    first = run_of(tmp_path / "first", 1)
    second = run_of(tmp_path / "second", 20, first)
    third = run_of(tmp_path / "third", 300, first / "last.model", second / "best.model")
    paths = (str(second), str(third), str(third / "last.model"))
    assert trainings_before(TrainConfig(pretrained=paths)) == TrainingsBefore(3, 321, ())
    assert trainings_before(TrainConfig()) == TrainingsBefore(0, 0, ())


def test_a_published_model_tells_its_training_and_what_that_began_with(tmp_path):
    first = run_of(tmp_path / "first", 1)
    path = publish(tmp_path / "lstm", facts={"training": {"seconds": 20.0, "pretrained": [str(first)]}})
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(2, 21, ())


def test_a_safetensors_file_tells_as_much(tmp_path):
    first = run_of(tmp_path / "first", 1)
    path = publish(tmp_path / "lstm", facts={"training": {"seconds": 20.0, "pretrained": [str(first)]}})
    single = tmp_path / f"{NAME}.safetensors"
    safetensors.write(load_model(path), single)
    assert trainings_before(TrainConfig(pretrained=(str(single),))) == TrainingsBefore(2, 21, ())


def test_a_card_is_believed_where_what_it_began_with_is_gone(tmp_path):
    before = {"trainings": 2, "seconds": 500.0, "missing": ["runs/x"]}
    path = publish(tmp_path, facts={"training": {"seconds": 20.0, "pretrained": ["runs/gone"], "before": before}})
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(3, 520, ("runs/x",))


def test_the_first_cards_name_one_path_as_a_text(tmp_path):
    first = run_of(tmp_path / "first", 1)
    path = publish(tmp_path / "lstm", facts={"training": {"seconds": 20.0, "pretrained": str(first)}})
    assert trainings_before(TrainConfig(pretrained=(str(path),))) == TrainingsBefore(2, 21, ())


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"seconds": "long"},
        {"seconds": float("nan")},
        {"seconds": -1.0},
        {"seconds": 1.0, "pretrained": [3]},
        {"seconds": 1.0, "before": {"trainings": 1, "seconds": float("inf"), "missing": []}},
        {"seconds": 1.0, "before": {"trainings": -1, "seconds": 1.0, "missing": []}},
        {"seconds": 1.0, "before": [1]},
        [],
    ],
)
def test_a_card_that_tells_nothing_of_use_is_named(tmp_path, training):
    path = publish(tmp_path, facts={"training": training})
    for text in (str(path), ".", ""):
        assert trainings_before(TrainConfig(pretrained=(text,))) == TrainingsBefore(0, 0, (text,))


def test_what_is_not_known_of_the_trainings_before_is_named(tmp_path):
    bare = tmp_path / "simple_lay1_sz3.model"
    weight_files.save_weights(bare, new_model(bare.stem, n_classes=100).state_dict())
    damaged = run_of(tmp_path / "damaged", 1)
    (damaged / "metrics.jsonl").write_text("{")
    gone = tmp_path / "gone"
    whole = run_of(tmp_path / "whole", 4, gone, bare)
    before = trainings_before(TrainConfig(pretrained=tuple(map(str, (whole, damaged, gone)))))
    assert before == TrainingsBefore(1, 4, tuple(map(str, (damaged, gone, bare))))
