"""What is killed goes on to the same end; `make faults` kills two hundred times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills forks of one process, which is safe on Linux")
def test_a_few_kills() -> None:
    script = Path(__file__).with_name("faults.py")
    process = subprocess.run(
        [sys.executable, str(script), "--kills", "12", "--seed", "1"], capture_output=True, text=True, timeout=600
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout.splitlines()[-1])
    assert result["kills"] == 12
    # The points are those of the writing code, not of something that has ceased to be called.
    assert all(points >= 10 for points in result["points"].values())
