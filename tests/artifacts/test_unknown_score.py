"""The probability that a drawing shows none of the words: from a card to each answer."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel, load_model, write_model
from quickstroke.artifacts.unknown import UnknownScore, outputs_by_compiled_code, outputs_of
from quickstroke.cli import main
from quickstroke.errors import WeightsError
from quickstroke.export import onnx as export

CLASSES = ("star", "cat", "circle")
ENTRY = {"intercept": 1.5, "slope": 0.5, "entropy": 0.4}
OF_WORDS = ENTRY | {"floor": -0.3, "words": [0.7, -0.2, 0.4]}
SQUARE = [[[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]]]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("lstm")
    model = qs.StrokeClassifier(qs.ModelConfig.from_name("simple_lay1_sz8", n_classes=3)).eval()
    return write_model(folder, LoadedModel(model, CLASSES, None, folder), {"unknown": OF_WORDS})


def test_it_falls_with_the_log_sum_exp_and_rises_with_the_entropy():
    logits = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [900.0, 0.0, 0.0]])
    outputs = outputs_of(logits, UnknownScore(**ENTRY))
    assert outputs.unknown is not None
    np.testing.assert_allclose(outputs.unknown[0], 1 / (1 + math.exp(0.1 * math.log(3) - 1.5)))
    assert outputs.unknown[0] > outputs.unknown[1] > outputs.unknown[2] >= 0
    np.testing.assert_allclose(outputs.probabilities.sum(1), 1)
    same_sum = np.array([[5.0, 5.0], [5.0 + math.log(2), -900.0]])
    even, clear = outputs_of(same_sum, UnknownScore(**ENTRY)).unknown
    np.testing.assert_allclose(math.log(even / (1 - even)) - math.log(clear / (1 - clear)), 0.4 * math.log(2))
    assert outputs_of(logits, None).unknown is None


@pytest.mark.parametrize("entry", [None, ENTRY, OF_WORDS, ENTRY | {"slope": 900.0}])
def test_compiled_code_gives_the_same(entry):
    rows = [
        *np.random.default_rng(0).normal(0, 6, (20, 3)),
        [0, 0, 0],
        [900, -900, 0],
        [-900, -900, -901],
        [np.nan, 1, 2],
    ]
    logits, features = np.array(rows), np.ones((len(rows), 2), np.float32)
    score = UnknownScore(**entry | {"words": tuple(entry.get("words", ()))}) if entry else None
    found, expected = outputs_by_compiled_code(logits, score, features), outputs_of(logits, score, features)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-13)
    assert found.features is features and (found.unknown is None) == (score is None)
    if score:
        np.testing.assert_allclose(found.unknown, expected.unknown, rtol=1e-12)


def test_a_card_without_entropy_means_none():
    older = UnknownScore.of_card({"unknown": {"intercept": 1.5, "slope": 0.5}, "classes": CLASSES}, Path("m.json"))
    assert older == UnknownScore(1.5, 0.5, 0.0)


def test_each_answer_has_it(path):
    recognizer = qs.load(path)
    guesses = recognizer.predict(SQUARE)
    assert guesses.unknown == recognizer.unknown(SQUARE) is not None
    loaded = load_model(path)
    points = torch.tensor([[[90 / 255, 0.0, 0.0]]])
    with torch.inference_mode():
        logits = loaded.model(points, torch.tensor([1])).double()  # (1, 3)
    total = float(logits.logsumexp(1))
    entropy = float(-(logits.softmax(1) * logits.log_softmax(1)).sum())
    outputs = loaded.outputs(points.numpy(), np.array([1]))
    raised = logits.clamp(min=-0.3)[0].tolist()
    assert raised.count(raised[1]) == 1 and logits[0, 1] < -0.3  # one is below the floor
    of_words = sum(weight * logit for weight, logit in zip(OF_WORDS["words"], raised, strict=True))
    expected = 1 / (1 + math.exp(0.5 * total - 0.4 * entropy - of_words - 1.5))
    np.testing.assert_allclose(outputs.unknown, [expected], rtol=1e-5)
    many = recognizer.predict_many([SQUARE] * 12)  # read by the other path
    np.testing.assert_allclose([each.unknown for each in many], guesses.unknown, rtol=1e-4)
    assert recognizer.predict_many([]) == []


def test_what_is_sure_is_probably_one_of_the_words():
    assert qs.Guesses([qs.Guess("cat", 0.9)], None, 0.1).is_sure
    assert qs.Guesses([qs.Guess("cat", 0.9)]).is_sure
    assert not qs.Guesses([qs.Guess("cat", 0.9)], None, 0.2).is_sure
    assert not qs.Guesses().is_sure


def test_an_exported_model_gives_the_same(path):
    exported = export.export(load_model(path))
    points = np.random.default_rng(0).normal(0, 0.2, (4, 9, 3)).astype(np.float32)
    lengths = np.array([9, 9, 9, 9])
    expected = load_model(path).outputs(points, lengths)
    found = exported.model.outputs(points, lengths)
    np.testing.assert_allclose(found.unknown, expected.unknown, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert exported.model.outputs(points[:0], lengths[:0]).unknown.shape == (0,)


@pytest.mark.parametrize(
    "entry",
    [
        {"intercept": 1.0},
        {"intercept": 1.0, "slope": -1.0},
        {"intercept": "a", "slope": 1.0},
        [1.0, 2.0],
        ENTRY | {"entropy": -1},
        ENTRY | {"words": [0.1, 0.2]},
        ENTRY | {"words": [0.1, 0.2, "b"]},
        ENTRY | {"words": {"cat": 0.1}},
        OF_WORDS | {"floor": None},
    ],
)
def test_a_damaged_entry_is_refused(entry):
    with pytest.raises(
        WeightsError, match=r"m\.json: unknown is .*; expected finite numbers `intercept`, `slope` above 0"
    ):
        UnknownScore.of_card({"unknown": entry, "classes": CLASSES}, Path("m.json"))
    assert UnknownScore.of_card({}, Path("m.json")) is UnknownScore.of_card(None, Path("m.json")) is None


def test_the_command_line_tells_it(path, tmp_path, capsys):
    file = tmp_path / "square.ndjson"
    file.write_text(json.dumps({"word": "cat", "key_id": "1", "drawing": [[[0, 90, 90], [0, 0, 90]]]}) + "\n")
    assert main(["predict", str(file), "--model", str(path)]) == 0
    assert "(none of these words: " in capsys.readouterr().out
    assert main(["predict", str(file), "--model", str(path), "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["drawings"][0]["unknown"] < 1
