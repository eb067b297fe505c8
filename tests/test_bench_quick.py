"""The quick benchmark compares figures with the last ones; measuring itself is no test."""

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(FOLDER))

import quick  # noqa: E402


def run(kept: Path, figures: dict[str, float], *options: str) -> int:
    words = ["bin", "simplified", "--kept", str(kept), *options]
    return quick.main(words, lambda *folders: figures)


def test_figures_are_compared_with_the_last_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "quick.json"
    assert run(kept, {"ratio": 10.0, "start_s": 1.0}, "--write") == 0
    assert json.loads(capsys.readouterr().out)["figures"]["ratio"] == {"now": 10.0}
    assert run(kept, {"ratio": 20.0, "start_s": 2.0, "guess_ms": 1.0}) == 1
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert said["worse"] == ["start_s"] and "start_s: 2, was 1" in printed.err
    assert said["figures"] == {
        "ratio": {"now": 20.0, "before": 10.0, "better": 2.0},
        "start_s": {"now": 2.0, "before": 1.0, "better": 0.5},
        "guess_ms": {"now": 1.0},
    }
    assert json.loads(kept.read_text()) == {"ratio": 10.0, "start_s": 1.0}


def test_the_figures_in_the_repository_are_those_that_are_measured() -> None:
    source = (FOLDER / "quick.py").read_text()
    assert all(name in source or name.startswith("prepare_") for name in json.loads(quick.KEPT.read_text()))
