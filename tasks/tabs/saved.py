"""Saved results of the examples, so that something true is on the screen before any model is loaded.

`python -m tasks.tabs.saved` computes them with the real models and writes saved.json; `--check` only compares.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import TASKS
from tasks.results import Result, Score, Span, Truncation
from tasks.tabs.examples import EXAMPLES
from zoo import catalog

if TYPE_CHECKING:
    from zoo.engine import Engine

FILE = Path(__file__).with_name("saved.json")
NEAR = 0.01  # how far a probability may be off on another processor


@cache
def read() -> Mapping[str, Mapping[str, Result]]:
    """Task -> name of the example -> result, without timings. Empty when the file was never made."""
    if not FILE.is_file():
        return {}
    raw = json.loads(FILE.read_text(encoding="utf-8"))
    return {task: {name: _result(made) for name, made in of.items()} for task, of in raw.items()}


def compute(engine: Engine) -> dict[str, dict[str, Result]]:
    """Every example through the first model of its task."""
    made: dict[str, dict[str, Result]] = {}
    for task, examples in EXAMPLES.items():
        model = catalog.by_task(task)[0].name
        made[task] = {}
        for example in examples:
            result = TASKS[task].run(engine, model, *example.texts, head=example.head or None)
            made[task][example.name] = replace(result, timings={}, pieces=())
    return made


def differences(old: Mapping[str, Mapping[str, Result]], new: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """What changed between two sets of results, one sentence each."""
    found = []
    for task in EXAMPLES:
        for example in EXAMPLES[task]:
            before, after = old.get(task, {}).get(example.name), new.get(task, {}).get(example.name)
            if before is None or after is None:
                found.append(f"{task}, {example.name}: only in one of the two")
            elif before.revision != after.revision:
                found.append(f"{task}, {example.name}: of revision {before.revision}, now {after.revision}")
            elif _said(before) != _said(after):
                found.append(f"{task}, {example.name}: {before.answer!r}, now {after.answer!r}")
            else:
                was = {score.label: score.score for score in before.scores}
                now = {score.label: score.score for score in after.scores}
                if was.keys() != now.keys() or any(abs(was[label] - now[label]) > NEAR for label in was):
                    found.append(f"{task}, {example.name}: scores {was}, now {now}")
    return found


def _said(made: Result) -> str:
    """The answer; of a generated one the beginning, since one token near a tie changes all that follow."""
    return " ".join(made.answer.split()[:3]) if made.prompt else made.answer


def _result(raw: dict[str, Any]) -> Result:
    return Result(
        **raw
        | {
            "scores": tuple(Score(**one) for one in raw["scores"]),
            "spans": tuple(Span(**one) for one in raw["spans"]),
            "truncated": Truncation(**raw["truncated"]) if raw["truncated"] else None,
            "warnings": tuple(raw["warnings"]),
            "pieces": (),
        }
    )


def main() -> int:
    """Write saved.json, or compare with it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tasks.tabs.saved", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the file is out of date")
    options = parser.parse_args()
    from zoo.engine import Engine

    made = compute(Engine())
    changed = differences(read(), made)
    sys.stderr.write("\n".join(changed or ["saved.json is up to date"]) + "\n")
    if options.check:
        return 1 if changed else 0
    raw = {task: {name: asdict(result) for name, result in of.items()} for task, of in made.items()}
    FILE.write_text(json.dumps(raw, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
