"""Tells whether an installed package has a hole that is known.

    python fuzz/audit.py

Asks pip-audit, which asks the advisories of PyPI. Where they cannot be reached it says so and ends well: a check that
needs the network would fail for other reasons than its own. With a known hole the exit code is 1.
"""

import json
import subprocess
import sys
import urllib.request
from typing import Any

# One release with advisories of its own shows whether they are given here at all.
PROBE = "https://pypi.org/pypi/pillow/10.2.0/json"
PROBE_S, AUDIT_S = 3, 120
# Installs the others, and is none of them.
NOT_OURS = frozenset(["pip", "quickstroke"])


def is_reachable() -> bool:
    """Whether PyPI gives advisories."""
    try:
        with urllib.request.urlopen(PROBE, timeout=PROBE_S) as answer:
            return bool(json.load(answer)["vulnerabilities"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def holes(report: dict[str, Any]) -> list[str]:
    """A line for each hole in pip-audit's report."""
    return [
        f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'none'}"
        for package in report["dependencies"]
        if package["name"] not in NOT_OURS
        for hole in package.get("vulns", ())
    ]


def main() -> int:
    """Prints what is known."""
    if not is_reachable():
        print("audit: PyPI's advisories cannot be reached, so that holes in packages were not looked for")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S, check=False)
        report = json.loads(result.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        print(
            f"audit: pip-audit gave no report ({type(error).__name__}), so that holes in packages were not looked for"
        )
        return 0
    found = holes(report)
    audited = sum("skip_reason" not in package for package in report["dependencies"])
    print("\n".join(found) or f"audit: {audited} packages, no hole known")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
