"""PyTorch, imported for a command; signals."""

import builtins
import gc
import signal
import sys
from typing import Any

import pytest

from quickstroke.cli import running


def test_pytorch_is_imported_while_no_garbage_is_looked_for(monkeypatch):
    import_module, was_enabled = builtins.__import__, []

    def missing(name: str, *args: Any) -> Any:
        if name == "torch":
            was_enabled.append(gc.isenabled())
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return import_module(name, *args)

    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(builtins, "__import__", missing)
    running.import_torch("model.onnx")
    assert was_enabled == []
    running.import_torch()  # what needs it says so
    assert was_enabled == [False]
    assert gc.isenabled()


def test_threads_of_a_padded_training_sleep_while_they_wait_unless_told_otherwise(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("import os\nseen = os.environ.get('OMP_WAIT_POLICY')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is as before afterwards
    for given, is_padded, expected in ((None, False, None), (None, True, "passive"), ("active", True, "active")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        monkeypatch.delitem(sys.modules, "torch")
        running.import_torch(trains_padded=is_padded)
        assert sys.modules["torch"].seen == expected


def test_who_has_turned_the_garbage_collector_off_finds_it_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    gc.disable()
    try:
        running.import_torch()
        assert not gc.isenabled()
        assert "torch" not in sys.modules
    finally:
        gc.enable()


def test_sigterm_told_twice_is_one_wish_to_stop_and_ctrl_c_after_it_stops_at_once(capsys):
    with running.StopOnSignal() as stop:
        for _ in range(2):  # to every process of a job by Slurm, and once more by torchrun to its own
            signal.raise_signal(signal.SIGTERM)
            assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err == "stopping after this batch; Ctrl-C stops at once\n"
