"""The steps of the Dockerfile without Docker: the wheel in a fresh environment, a user without rights, its command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from quickstroke.cli import main

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
TRIANGLE = [[[105, 60, 12, 70, 140, 200, 150, 105], [10, 90, 172, 175, 172, 170, 88, 10]]]


def listed(instruction: str) -> list[str]:
    """The words of an instruction that has them as JSON."""
    return json.loads(re.search(rf"^{instruction} (\[.*\])$", DOCKERFILE, re.M)[1])


def test_the_image_runs_as_a_user_without_rights():
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert "useradd --system" in last and "\nUSER quickstroke\n" in last
    assert listed("CMD")[:2] == ["quickstroke", "serve"] and listed("HEALTHCHECK CMD")[0] == "python"


def test_its_python_is_one_that_the_tests_are_run_with():
    (number,) = set(re.findall(r"^FROM python:([\d.]+)-slim\b", DOCKERFILE, re.M))
    assert f'"Programming Language :: Python :: {number}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_steps(tmp_path):
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    wheels, env = tmp_path / "wheels", tmp_path / "env"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", env], check=True)
    subprocess.run([env / "bin/pip", "install", "-q", f"{wheel}[serve,onnx]"], check=True)
    model = tmp_path / "model.onnx"
    default = (ROOT / "lstm/default.txt").read_text().strip()
    assert main(["export", str(ROOT / f"lstm/{default}.model"), "--to", "onnx", "--into", str(model)]) == 0
    model.chmod(0o644)
    home = tmp_path / "home"
    home.mkdir()
    user = {}
    real = Path(sys.executable).resolve()
    if os.getuid() == 0 and all(parent.stat().st_mode & 0o001 for parent in real.parents):  # others may run Python, too
        user = {"user": "nobody", "group": "nogroup", "extra_groups": ()}
        os.chown(home, 65534, 65534)
    command = [str(model) if word == "/srv/model.onnx" else word for word in listed("CMD")]
    port = 8000
    process = subprocess.Popen(
        [env / "bin" / command[0], *command[1:]],
        env={"HOME": str(home), "PATH": str(env / "bin")},
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
        **user,
    )
    try:
        assert f":{port}/" in process.stdout.readline()
        python, *rest = listed("HEALTHCHECK CMD")
        subprocess.run([env / "bin" / python, *rest], check=True, timeout=60)
        answer = httpx.post(
            f"http://127.0.0.1:{port}/api/v1/recognize", json={"strokes": TRIANGLE, "top": 1}, timeout=60
        )
        assert answer.json()["guesses"][0]["word"] == "triangle"
        assert (
            "torch" not in subprocess.run([env / "bin/pip", "list"], capture_output=True, text=True, check=True).stdout
        )
    finally:
        process.terminate()
        process.wait()
