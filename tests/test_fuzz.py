"""The fuzz targets still run, and the audit says what it should; `make fuzz` is the long way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "fuzz"
sys.path.append(str(FOLDER))

import audit  # noqa: E402
from fuzz import TARGETS  # noqa: E402

# One process for all of them: to start one takes longer than what most of them do.
ALL = f"""
import sys
import fuzz

for target in {TARGETS}:
    sys.argv[1:2] = [target]
    assert fuzz.main() == 0, target
"""


def said(*command: object) -> list[dict[str, object]]:
    """What each target says at its end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, *map(str, command)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=600, env=environment)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_function_of_targets_is_run() -> None:
    assert set(re.findall(r"^def (\w+)_target\(", (FOLDER / "targets.py").read_text(), re.M)) == set(TARGETS)


def test_a_few_hundred_inputs_find_nothing(tmp_path: Path) -> None:
    found = said("-c", ALL, "TARGET", "--compiled", "--n", 300, "--into", tmp_path)
    assert [each["target"] for each in found] == list(TARGETS)
    for each in found:
        assert (each["n"], each["finding"]) == (300, 0), each
        assert each["read"] and each["refused"], each


def test_inputs_by_coverage(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    found = said(FOLDER / "fuzz.py", "name", "--n", 300, "--into", tmp_path)[-1]
    assert (found["n"], found["finding"], found["mode"]) == (300, 0, "plain")


REPORT = {
    "dependencies": [
        {"name": "pillow", "version": "10.2.0", "vulns": [{"id": "PYSEC-0", "fix_versions": ["10.3.0"]}]},
        {"name": "pip", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": []}]},
        {"name": "numpy", "version": "2.0", "vulns": []},
        {"name": "torch", "skip_reason": "not on PyPI"},
    ]
}


def audited(monkeypatch, report: object, reachable: bool = True) -> int:
    result = subprocess.CompletedProcess([], 1, json.dumps(report), "")
    monkeypatch.setattr(audit, "is_reachable", lambda: reachable)
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: result)
    return audit.main()


def test_a_known_hole_fails(monkeypatch, capsys) -> None:
    assert audited(monkeypatch, REPORT) == 1
    assert capsys.readouterr().out == "pillow 10.2.0: PYSEC-0, fixed in 10.3.0\n"


def test_no_known_hole(monkeypatch, capsys) -> None:
    assert audited(monkeypatch, {"dependencies": REPORT["dependencies"][2:]}) == 0
    assert capsys.readouterr().out == "audit: 1 packages, no hole known\n"


def test_no_network_is_said_and_no_failure(monkeypatch, capsys) -> None:
    assert audited(monkeypatch, REPORT, reachable=False) == 0
    assert "cannot be reached" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(audit, "PROBE", "http://127.0.0.1:9/")
    assert not audit.is_reachable()
