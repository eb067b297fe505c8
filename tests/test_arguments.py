"""Everything public, given something of another type: an error of the one root that says what was expected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quickstroke as qs
from quickstroke.artifacts.loading import LoadedModel
from quickstroke.errors import ArgumentTypeError, CategoryError, ConfigError, FormatError

# Of each kind of mistake one; where a function takes one of them, it is left out below.
WRONG: dict[str, Any] = {
    "int": 5,
    "float": 3.2,
    "None": None,
    "bytes": b"cat",
    "text": "cat",
    "dict": {"a": 1},
    "list": [1, 2],
    "object": object(),
    "array": np.zeros(3),
}
NO_DRAWINGS = "int float None bytes text dict list object array"
NO_PATH = "int float None bytes dict list object array"
NO_PATH_OR_NONE = "int float bytes dict list object array"
NO_FLAG = "int float None bytes text dict list object array"
NO_FUNCTION = NO_FLAG
SQUARE = [[(0, 0), (9, 0), (9, 9), (0, 9)]]


@pytest.fixture(scope="module")
def recognizer() -> qs.Recognizer:
    model = qs.StrokeClassifier(qs.ModelConfig.from_name("simple_lay1_sz4", n_classes=2)).eval()
    return qs.Recognizer(LoadedModel(model, ("cat", "dog"), None, Path("none.model")))


def calls(data: qs.PreparedDataset, folder: Path, known: qs.Recognizer) -> dict[str, tuple[Callable[[Any], Any], str]]:
    """Name of a function and of its argument: a call with one value for it, and what it does not take."""
    model, config, drawing = qs.ModelConfig(), qs.TrainConfig(), qs.Drawing("cat", [np.zeros((2, 2), np.uint8)])
    into, source = folder / "into", data.path.parent

    def trained(**options: Any) -> Any:
        arguments = {"model_config": model, "config": config, "data": data, "into": into} | options
        return qs.train(**arguments)

    def prepared(**options: Any) -> Any:
        return qs.prepare(**({"sources": source, "into": into} | options))

    def published(**options: Any) -> Any:
        return qs.publish(**({"run": folder, "into": into} | options))

    found: dict[str, tuple[Callable[[Any], Any], str]] = {
        "Drawing word": (lambda x: qs.Drawing(x, []), NO_PATH),
        "Drawing strokes": (lambda x: qs.Drawing("cat", x), "int float None bytes text dict object"),
        "ModelConfig n_layers": (lambda x: qs.ModelConfig(n_layers=x), NO_FLAG.replace("int ", "")),
        "ModelConfig.from_name": (qs.ModelConfig.from_name, NO_FLAG),
        "ModelConfig.from_name n_classes": (
            lambda x: qs.ModelConfig.from_name("simple_lay1_sz4", n_classes=x),
            NO_FLAG.replace("int ", ""),
        ),
        "layout_of": (qs.layout_of, "int float None bytes text dict object"),
        "FractionSplit": (qs.FractionSplit, NO_FLAG),
        "PositionSplit": (lambda x: qs.PositionSplit(x, 1, 1), NO_FLAG.replace("int ", "")),
        "PreparedDataset": (qs.PreparedDataset, NO_PATH),
        "PreparedDataset.indices": (data.indices, NO_FLAG),
        "PreparedDataset.strokes": (data.strokes, NO_FLAG.replace("int ", "")),
        "PreparedDataset.split": (data.split, NO_FLAG),
        "PreparedDataset.split config": (lambda x: data.split("val", x), NO_FLAG.replace("None ", "")),
        "PreparedDataset.split classes": (lambda x: data.split("val", classes=x), NO_FLAG.replace("None ", "")),
        "Recognizer": (qs.Recognizer, NO_FLAG),
        "Recognizer.predict": (known.predict, NO_DRAWINGS),
        "Recognizer.predict simplified": (
            lambda x: known.predict(SQUARE, simplified=x),
            NO_FLAG.replace("None ", ""),
        ),
        "Recognizer.predict top": (lambda x: known.predict(SQUARE, top=x), NO_FLAG.replace("int ", "")),
        "Recognizer.predict_many": (known.predict_many, NO_DRAWINGS),
        "Recognizer.predict_many one": (lambda x: known.predict_many([SQUARE, x]), NO_DRAWINGS),
        "Recognizer.probabilities": (known.probabilities, NO_DRAWINGS),
        "StrokeClassifier": (qs.StrokeClassifier, NO_FLAG),
        "StrokeClassifier dropout": (lambda x: qs.StrokeClassifier(model, x), NO_FLAG),
        "StrokeClassifier.from_pretrained": (qs.StrokeClassifier.from_pretrained, NO_PATH_OR_NONE),
        "widget": (qs.widget, NO_PATH_OR_NONE),
        "widget top": (lambda x: qs.widget(top=x), NO_FLAG.replace("int ", "")),
        "TrainConfig n_epochs": (lambda x: qs.TrainConfig(n_epochs=x), NO_FLAG.replace("int ", "")),
        "TrainConfig recipe": (lambda x: qs.TrainConfig(recipe=x), NO_FLAG),
        "Evaluation.of probabilities": (lambda x: qs.Evaluation.of(x, [0], ["cat"]), NO_FLAG),
        "Evaluation.of labels": (lambda x: qs.Evaluation.of([[1.0]], x, ["cat"]), NO_FLAG),
        "Evaluation.of classes": (lambda x: qs.Evaluation.of([[1.0]], [0], x), NO_FLAG),
        "evaluate model": (lambda x: qs.evaluate(x, data), NO_PATH_OR_NONE),
        "evaluate data": (lambda x: qs.evaluate(known, x), NO_FLAG),
        "evaluate split": (lambda x: qs.evaluate(known, data, x), NO_FLAG),
        "load": (qs.load, NO_PATH_OR_NONE),
        "load classes": (lambda x: qs.load(folder / "no.model", x), NO_FLAG.replace("None ", "")),
        "prepare sources": (lambda x: qs.prepare(x, into), NO_FLAG),
        "read_drawings": (qs.read_drawings, NO_FLAG),
        "read_drawings one": (lambda x: qs.read_drawings([x]), NO_FLAG),
        "read_drawings on_invalid": (
            lambda x: qs.read_drawings(folder, on_invalid=x),
            NO_FUNCTION.replace("None ", ""),
        ),
        "StrokeClassifier.save_pretrained": (qs.StrokeClassifier(model).save_pretrained, NO_PATH),
        "StrokeClassifier.save_pretrained classes": (
            lambda x: qs.StrokeClassifier(model).save_pretrained(into, x),
            NO_FLAG.replace("None ", ""),
        ),
        "simplify": (qs.simplify, NO_DRAWINGS),
        "simplify one": (lambda x: qs.simplify([x]), NO_DRAWINGS),
        "trace": (qs.trace, NO_FLAG),
        "Recognizer.embed": (known.embed, NO_DRAWINGS),
        "Recognizer.teach word": (lambda x: known.teach(x, [SQUARE] * 3), NO_PATH),
        "Recognizer.teach drawings": (lambda x: known.teach("sun", x), NO_FLAG),
        "Recognizer.forget": (known.forget, NO_FLAG),
        "train of swapped arguments": (lambda x: qs.train(config, model, data, into), "None"),
        "train of a path": (lambda x: qs.train(model, config, data.path, into), "None"),
        "Drawing of a Drawing": (lambda x: known.predict([drawing]), "None"),
    }
    options: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
        "Watcher": (qs.Watcher, dict.fromkeys(("on_epoch", "on_step", "should_stop"), NO_FUNCTION)),
        "prepare": (
            prepared,
            {
                "into": NO_PATH,
                "classes": NO_FLAG.replace("None ", ""),
                "split": NO_FLAG.replace("None ", ""),
                "limit": NO_FLAG.replace("int ", "").replace("None ", ""),
                "held_out": NO_PATH_OR_NONE,
                **dict.fromkeys(("recognized_only", "drop_duplicates", "resume"), NO_FLAG),
                **dict.fromkeys(("on_start", "on_source", "on_class"), NO_FUNCTION),
                "on_invalid": NO_FUNCTION.replace("None ", ""),
            },
        ),
        "train": (
            trained,
            {
                "model_config": NO_FLAG,
                "config": NO_FLAG,
                "data": NO_FLAG,
                "into": NO_PATH,
                "train_classes": NO_FLAG.replace("None ", ""),
                "resume": NO_FLAG,
                "command": "int float None bytes text dict object",
                "log": NO_FLAG,
                "watcher": NO_FLAG.replace("None ", ""),
                "group": NO_FLAG,
            },
        ),
        "publish": (
            published,
            {
                "run": NO_FLAG,
                "into": NO_PATH,
                "data": NO_PATH_OR_NONE,
                "test_data": NO_PATH_OR_NONE,
                "hub": NO_FLAG.replace("None ", ""),
                **dict.fromkeys(("replace", "calibrate", "without_data"), NO_FLAG),
            },
        ),
    }
    for name, (function, arguments) in options.items():
        for argument, wrong in arguments.items():
            found[f"{name} {argument}"] = (lambda x, f=function, a=argument: f(**{a: x})), wrong
    return found


def test_whatever_is_given_the_error_is_ours(dataset, recognizer, tmp_path):
    wrong = []
    for name, (call, kinds) in calls(dataset, tmp_path, recognizer).items():
        for kind in kinds.split():
            try:
                call(WRONG[kind])
            except qs.QuickstrokeError as error:
                if "\n" in str(error) or len(str(error)) > 600:
                    wrong.append(f"{name} with {kind} says {error}")
            except Exception as error:
                wrong.append(f"{name} with {kind} raises {type(error).__name__}: {error}")
            else:
                wrong.append(f"{name} takes {kind}")
    assert not wrong, "\n".join(wrong)
    assert not (tmp_path / "into").exists()


def test_every_public_function_is_tried(dataset, recognizer, tmp_path):
    tried = {name.split()[0].split(".")[0] for name in calls(dataset, tmp_path, recognizer)}
    # A constant, a tuple of names, a list, an exception.
    assert tried == set(qs.__all__) - {"CATEGORIES", "Guess", "Guesses", "QuickstrokeError"}


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: qs.load(5), ArgumentTypeError, "path should be a path, got 5"),
        (lambda: qs.load(classes=5, path="no.model"), CategoryError, "classes: expected words, got 5"),
        (lambda: qs.read_drawings(3.2), ArgumentTypeError, "sources should be paths, got 3.2"),
        (lambda: qs.read_drawings("no such file.bin"), FormatError, "no such file"),
        (lambda: qs.simplify("x"), FormatError, "the drawing is 'x'; expected a list of strokes"),
        (lambda: qs.prepare(None, "into"), ArgumentTypeError, "sources should be paths, got None"),
        (lambda: qs.ModelConfig.from_name(7), ArgumentTypeError, "a model name should be a text .*, got 7"),
        (lambda: qs.TrainConfig(n_epochs="3"), ConfigError, "n_epochs should be int, got '3'"),
        (
            lambda: qs.StrokeClassifier("simple_lay1_sz4"),
            ArgumentTypeError,
            "config should be a ModelConfig, got 'simp",
        ),
        (
            lambda: qs.train(qs.TrainConfig(), qs.ModelConfig(), None, "x"),
            ArgumentTypeError,
            "model_config should be a",
        ),
        (lambda: qs.train(qs.ModelConfig(), qs.TrainConfig(), "data", "x"), ArgumentTypeError, "data should be a Prep"),
        (lambda: qs.publish(None, "lstm"), ArgumentTypeError, "run should be a path, got None"),
    ],
)
def test_what_the_errors_say(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, TypeError) == (kind is ArgumentTypeError)


def test_a_recognizer_says_what_it_takes(recognizer):
    with pytest.raises(FormatError, match="the drawing is 'cat'; expected a list of strokes"):
        recognizer.predict("cat")
    with pytest.raises(ArgumentTypeError, match="drawings should be a list of drawings, got 'cat'"):
        recognizer.predict_many("cat")
    with pytest.raises(ArgumentTypeError, match="simplified should be True, False or None, got 'no'"):
        recognizer.predict(SQUARE, simplified="no")
