"""What a training compiles before its first epoch is all that it calls then, and nothing else has changed by it."""

from dataclasses import replace

import pytest
from small_runs import CONFIG, MODEL

from quickstroke.config.model import ModelConfig
from quickstroke.errors import RunError
from quickstroke.training import session
from quickstroke.training.loop import train
from quickstroke.utils.compiled import Call, Compiled

TYPES = [
    ("simple_lay1_sz5", {}),
    ("simple_lay2_sz6", {"precision": "bfloat16", "normalization": "fixed"}),
    ("bilstm_lay1_sz5", {"augment": "geometric"}),
    ("lstm_cv1_4_3_lay1_sz5", {"precision": "bfloat16", "augment": "strokes"}),
    ("bipool_cv1_6_5_cv2_8_5_4_lay2_sz8", {"normalization": "batch", "optimizer": "muon"}),
    ("bipool_cv1_6_5_img2_lay1_sz8", {"precision": "bfloat16", "augment": "strokes", "ema_decay": 0.9}),
]


@pytest.mark.parametrize(("name", "config"), TYPES)
def test_all_that_an_epoch_calls_was_compiled_before(dataset, tmp_path, monkeypatch, name, config):
    called, compiled = set(), set()
    compile_calls, call = session.compile_calls, Compiled.__call__

    def noted_call(self, *args):
        called.add(Call(self, tuple(map(self.dispatcher.typeof_pyval, args))))
        return call(self, *args)

    def noted(calls, later):
        compile_calls(calls, later)
        compiled.update(calls, later, called)  # what gives something was called
        called.clear()

    monkeypatch.setattr(Compiled, "__call__", noted_call)
    monkeypatch.setattr(session, "compile_calls", noted)
    options = replace(CONFIG, n_epochs=1, **config)
    train(ModelConfig.from_name(name), options, dataset, tmp_path / "run")
    assert called and called <= compiled


def test_a_folder_that_is_in_the_way_is_refused_before_anything_is_compiled(dataset, tmp_path, monkeypatch):
    def compile_calls(calls, later):
        raise AssertionError("compiled")

    monkeypatch.setattr(session, "compile_calls", compile_calls)
    (tmp_path / "something").touch()
    with pytest.raises(RunError, match="exists already; give --resume"):
        train(MODEL, CONFIG, dataset, tmp_path)
    with pytest.raises(RunError, match="is a file"):
        train(MODEL, CONFIG, dataset, tmp_path / "something")
    assert [path.name for path in tmp_path.iterdir()] == ["something"]
