"""PyTorch, imported for a command."""

import builtins
import gc
import sys
from typing import Any

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
