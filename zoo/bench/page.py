"""`python -m zoo bench page`: the web page beside a bare Gradio page, in a browser. tests/bench/page.py measures; it is
run as a process of its own, from a checkout that has it.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "bench" / "page.py"
ROUNDS = 7  # until ready was 1.17 and 1.20 times as long as the bare page with three, 0.86 to 1.07 with seven
TAB, AGAIN = ", first", ", again"

Waits = Mapping[str, tuple[float, float]]  # what -> milliseconds of the bare page and of ours


def measure(rounds: int = ROUNDS) -> tuple[Waits, list[str]]:
    """Medians, and what is not installed. Raises RuntimeError where the page could not be measured."""
    if not SCRIPT.is_file():
        return {}, ["tests/bench/page.py"]
    if importlib.util.find_spec("playwright") is None:
        return {}, ["playwright"]
    made = subprocess.run(
        [sys.executable, str(SCRIPT), str(rounds), "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise RuntimeError(f"The page could not be measured:\n{made.stderr[-2000:]}")
    said = json.loads(made.stdout.splitlines()[-1])
    return {name: (bare, ours) for name, (bare, ours) in said.items()}, []


def table(waits: Waits) -> str:
    """Markdown."""
    lines = ["| the page | bare | ours | ratio |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {bare:.0f} ms | {ours:.0f} ms | {ours / bare:.2f} |" for name, (bare, ours) in waits.items()]
    return "\n".join(lines)


def ratios(waits: Waits) -> dict[str, tuple[float, str]]:
    """Of the first answer, readiness and a round trip, and that of the slowest tab with its name."""
    found = {name: (ours / bare, "") for name, (bare, ours) in waits.items()}
    tabs = {name: found.pop(name)[0] for name in list(found) if name.endswith((TAB, AGAIN))}
    if tabs:
        slowest = max(tabs, key=lambda name: tabs[name])
        found["slowest tab"] = tabs[slowest], f" ({slowest})"
    return found
