"""Run a load generator in a process of its own."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import load_pop3, load_smtp
from bench.errors import LoadFailed

_ROOT = Path(__file__).resolve().parents[1]


def smtp(job: load_smtp.Job) -> load_smtp.Outcome:
    """Send mail."""
    return load_smtp.Outcome(**_run("bench.load_smtp", asdict(job)))


def pop3(job: load_pop3.Job) -> load_pop3.Outcome:
    """Collect mail."""
    return load_pop3.Outcome(**_run("bench.load_pop3", asdict(job)))


def _run(module: str, job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", module, json.dumps(job)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise LoadFailed(f"The load failed: {job}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome
