"""Options in terminals that are narrow."""

import pytest

from quickstroke.cli import main


@pytest.mark.parametrize("columns", [20, 24, 29, 100])
def test_a_right_option_is_known_in_a_narrow_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    for option in ("--distillation-temperature", "--distillation_temperature"):
        assert main(["train", "x", "--data", "y", "--into", "z", option, "2", "--n-epochs", "many"]) == 2
        assert "train: --n-epochs many: expected a whole number; see" in capsys.readouterr().err
    assert main(["train", "x", "--distilation-temperature", "2"]) == 2
    told = "unknown option --distilation-temperature; did you mean --distillation-temperature?"
    assert told in capsys.readouterr().err
