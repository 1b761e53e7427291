"""Known vulnerabilities in what we ship: `make audit`, to be run once a week.

Every requirements file goes through pip-audit and the dashboard's packages through `npm audit`. An
index that cannot be asked is said, and never taken for an all-clear.

Exit codes: 0 everything was checked and is clean, 1 something has a known vulnerability, 3 nothing
was found, but not everything could be checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 1800


@dataclass
class Finding:
    """What was learned about one list of packages."""

    name: str
    checked: int = 0
    vulnerable: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Packages, or the whole list, that could not be checked, each with the reason."""


def of_pip_audit(name: str, output: str) -> Finding:
    """From the JSON of pip-audit; what is no JSON is its complaint that it could not work."""
    finding = Finding(name)
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        finding.unknown.append((output.strip().splitlines() or ["no answer"])[-1])
        return finding
    for package in packages:
        if "skip_reason" in package:
            finding.unknown.append(package["skip_reason"])
            continue
        finding.checked += 1
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            which = f"{package['name']} {package['version']}: {found['id']}"
            finding.vulnerable.append(f"{which}, fixed in {fixed}")
    return finding


def of_npm(output: str) -> Finding:
    """From the JSON of `npm audit`."""
    finding = Finding("frontend/package-lock.json")
    try:
        answer = json.loads(output)
        packages = answer["vulnerabilities"]
        finding.checked = answer["metadata"]["dependencies"]["total"]
    except (ValueError, KeyError, TypeError):
        finding.unknown.append("npm audit: the registry did not answer")
        return finding
    for package in packages.values():
        finding.vulnerable.append(f"{package['name']} {package['range']}: {package['severity']}")
    return finding


def report(findings: Sequence[Finding]) -> int:
    """Print all of it; the exit code."""
    for finding in findings:
        print(f"{finding.name}: {finding.checked} checked, {len(finding.vulnerable)} vulnerable")
        for line in finding.vulnerable:
            print(f"  {line}")
        if finding.unknown:
            print(f"  NOT CHECKED: {len(finding.unknown)}, for example: {finding.unknown[0]}")
    if any(finding.vulnerable for finding in findings):
        return 1
    if any(finding.unknown for finding in findings):
        print("Not everything could be checked: is the package index reachable from here?")
        return 3
    return 0


def _output(argv: Sequence[str], cwd: Path) -> str:
    """What it prints. Its status only says what the output says too."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    return done.stdout if done.stdout.strip() else done.stderr


def main() -> int:
    pip_audit = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    pip_audit += ["--progress-spinner", "off", "--format", "json", "-r"]
    files = sorted((ROOT / "requirements").glob("*.txt"))
    findings = [
        of_pip_audit(f"requirements/{file.name}", _output([*pip_audit, str(file)], ROOT))
        for file in files
        if not file.name.endswith(".overrides.txt")
    ]
    findings.append(of_npm(_output(["npm", "audit", "--json"], ROOT / "frontend")))
    return report(findings)


if __name__ == "__main__":
    sys.exit(main())
