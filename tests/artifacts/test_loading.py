"""Model files: what is written loads, and what was tampered with does not."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_models import CLASSES, NAME, change_card, logits, new_model, publish, refused, saved

from quickstroke.artifacts import loading, runs, weight_files
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.artifacts.runs import RunConfig
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.errors import ArgumentTypeError, CategoryError, ConfigError, QuickstrokeError, WeightsError
from quickstroke.inference.recognizer import Recognizer
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.utils.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_a_subclass_whose_code_no_file_has_is_not_saved(tmp_path):
    class Negated(StrokeClassifier):
        def forward(self, *given):
            return -super().forward(*given)

    model = Negated(ModelConfig.from_name("simple_lay1_sz4", n_classes=2))
    with pytest.raises(ConfigError, match="Negated is a subclass of StrokeClassifier: the file would have its weights"):
        model.save_pretrained(tmp_path, ["cat", "dog"])
    assert not list(tmp_path.iterdir())


def test_a_default_model_for_other_words_is_saved_with_how_it_reads(tmp_path):
    model = StrokeClassifier(ModelConfig.from_name("bipool_cv1_8_5_2_img2_lay1_sz8", n_classes=2, max_padding=150))
    path = model.eval().save_pretrained(tmp_path, ["cat", "dog"])
    recognizer = Recognizer(load_model(path))
    assert (recognizer.classes, load_model(path).max_padding) == (("cat", "dog"), 150)
    assert recognizer.predict([[[1, 2], [30, 40], [50, 9]]]).unknown is None


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
    before = loaded.outputs(points, lengths).probabilities
    loaded.model.adjust_logits(2.0, torch.tensor([1.0, 0.0, -1.0]))
    after = loaded.outputs(points, lengths).probabilities
    assert np.abs(after - before).max() > 0.01
    with torch.inference_mode():
        expected = loaded.model(torch.from_numpy(points), torch.from_numpy(lengths)).softmax(1).numpy()
    np.testing.assert_allclose(after, expected, atol=1e-6)
    loaded.model.load_state_dict(load_model(loaded.path).model.state_dict())
    np.testing.assert_allclose(loaded.outputs(points, lengths).probabilities, before, atol=1e-12)


def test_a_model_loaded_in_inference_mode_answers(tmp_path):
    path = publish(tmp_path)
    points, lengths = np.ones((1, 12, 3), np.float32), np.array([12])
    expected = load_model(path).outputs(points, lengths).probabilities
    with torch.inference_mode():
        loaded = load_model(path)
        assert np.array_equal(loaded.outputs(points, lengths).probabilities, expected)
    assert np.array_equal(loaded.outputs(points, lengths).probabilities, expected)


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
    with pytest.raises(WeightsError, match="its training has ended no epoch yet"):
        load_model(run_folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="empty: is no run folder"):
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
