"""What an evaluation compiles before its first batch is all that it calls then."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from quickstroke.config.model import ModelConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation import calibration
from quickstroke.evaluation import evaluate as evaluation
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.utils.compiled import Call, Compiled

NAMES = "simple_lay2_sz6", "bilstm_lay1_sz5", "bipool_cv1_6_5_cv2_8_5_4_lay2_sz8", "bipool_cv1_6_5_img2_lay1_sz8"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What was compiled before, in each evaluation."""
    compiled: list[Call] = []
    compile_calls = evaluation.compile_calls

    def noted(calls: list[Call]) -> None:
        compile_calls(calls)
        compiled.extend(calls)

    monkeypatch.setattr(evaluation, "compile_calls", noted)
    return compiled


def classifier(name: str, dataset: PreparedDataset, **options: Any) -> StrokeClassifier:
    return StrokeClassifier(ModelConfig.from_name(name, n_classes=len(dataset.classes), **options))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_called_was_compiled_before(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch, compiled: list[Call], name: str, precision: torch.dtype
) -> None:
    drawings = LabelledDrawings.of_split(dataset, "train", dataset.classes)
    model = classifier(name, dataset)
    expected = evaluation.evaluate(model, drawings, precision=precision)
    compiled.clear()
    call: Callable[..., Any] = Compiled.__call__
    called: set[Call] = set()

    def noted_call(self: Compiled, *args: Any) -> Any:
        called.add(Call(self, tuple(map(self.dispatcher.typeof_pyval, args))))
        return call(self, *args)

    monkeypatch.setattr(Compiled, "__call__", noted_call)
    scores = evaluation.evaluate(model, drawings, precision=precision)
    assert compiled and called <= set(compiled)
    assert np.array_equal(scores.losses, expected.losses)


def test_a_calibration_compiles_before(dataset: PreparedDataset, compiled: list[Call]) -> None:
    drawings = LabelledDrawings.of_split(dataset, "val", dataset.classes)
    calibration.logits_on(classifier("simple_lay1_sz5", dataset), drawings)
    assert compiled


def test_padded_models_and_no_drawings_compile_nothing(dataset: PreparedDataset, compiled: list[Call]) -> None:
    drawings = LabelledDrawings.of_split(dataset, "val", dataset.classes)
    evaluation.evaluate(classifier("simple_lay1_sz5", dataset, reading="padded"), drawings)
    evaluation.compile_scoring(classifier("simple_lay1_sz5", dataset), dataset, drawings.indices[:0])
    assert compiled == []
