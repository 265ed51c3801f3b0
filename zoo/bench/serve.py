"""`python -m zoo bench serve`: visitors of one engine, mixed tasks on what ships, at once and one after another.

Nothing is remembered, and no two requests are the same. The page itself, with Gradio around the engine, is measured by
tests/bench/visitors.py.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from zoo.engine import Engine
from zoo.engine.line import LINE
from zoo.engine.precision import by_torch
from zoo.sampling import Sampling

VISITORS = 32
PASSAGE = "Ada Lovelace wrote the first program in 1843, for a machine that Charles Babbage never finished. " * 3
MODELS = ("bert-mini", "gpt-mini", "ulmfit-mini", "elmo-mini", "xlnet-mini")
PAIRS = [(task, name) for name in MODELS for task in ("nli", "qa", "topic", "lm") if (task, name) != ("lm", MODELS[0])]
NEW_TOKENS = 20
SAMPLE = 0.1  # seconds between two looks at the memory


@dataclass(frozen=True)
class Served:
    """What came out."""

    visitors: int
    requests: int
    errors: tuple[str, ...]
    alone: float  # requests a second, one after another
    together: float  # requests a second, all at once
    median: float  # seconds until an answer, all at once
    late: float  # the 99th percentile
    longest: float
    longest_wait: float  # seconds until a request's first pass
    megabytes: tuple[float, float, float]  # of memory: from an answer each on, after a fifth of the time, at the end
    most: float  # megabytes, at any time


def asked(number: int) -> tuple[str, str]:
    """Task and model of a request: all pairs that there are, in turn."""
    return PAIRS[number % len(PAIRS)]


def ask(engine: Engine, number: int) -> None:
    """One request, like no other."""
    task, name = asked(number)
    if task == "nli":
        engine.classify(name, task, [(f"Visitor {number} eats soup.", "Somebody eats.")])
    elif task == "topic":
        engine.classify(name, task, [(f"Team {number} won the cup on Sunday.", None)])
    elif task == "qa":
        engine.spans(name, task, [("Who wrote the first program?", f"{PASSAGE}{number}")])
    else:
        for _ in engine.generate(name, task, f"{PASSAGE}{number}", "\nTL;DR:", NEW_TOKENS, Sampling()):
            pass


def one_after_another(engine: Engine, seconds: float, first: int) -> float:
    """Requests a second when each comes after the answer to the one before, numbered from `first` on; each pair of task
    and model as often as any other."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds or count % len(PAIRS):
        ask(engine, first + count)
        count += 1
    return count / (time.perf_counter() - began)


def measure(
    visitors: int = VISITORS, seconds: float = 20.0, say: Callable[[str], object] = lambda line: None
) -> Served:
    """All models come into memory; then visitors ask all at once, without a pause, and before and after that one after
    another, for a quarter of the time each: what a shared machine gives changes from one half minute to the next.

    All by torch: ONNX Runtime, where it is installed, would read short texts of those that come one after another."""
    engine = Engine(prepare=by_torch)
    for number in range(2 * len(MODELS) * 4):
        ask(engine, number)
    before = one_after_another(engine, seconds / 4, 1000)
    say(f"one after another: {before:.1f} requests a second")

    waits: list[float] = []
    errors: list[str] = []
    numbers, lock = iter(range(100_000, 10**9)), threading.Lock()
    LINE.longest_wait = 0.0
    memory: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE):
            if len(waits) >= visitors:
                memory.append(resident())

    def visit(until: float) -> None:
        while time.perf_counter() < until:
            with lock:
                number = next(numbers)
            started = time.perf_counter()
            try:
                ask(engine, number)
            except Exception as error:  # noqa: BLE001 (counted and printed)
                errors.append(f"{asked(number)}: {error}")
            waits.append(time.perf_counter() - started)

    with ThreadPoolExecutor(visitors + 1) as crowd:
        crowd.submit(watch)
        began = time.perf_counter()
        try:
            for one in [crowd.submit(visit, began + seconds) for _ in range(visitors)]:
                one.result()
        finally:
            over.set()
        spent = time.perf_counter() - began
    longest_wait = LINE.longest_wait
    after = one_after_another(engine, seconds / 4, 50_000)
    say(f"and afterwards: {after:.1f}")
    ordered = sorted(waits)
    return Served(
        visitors, len(waits), tuple(errors), (before + after) / 2, len(waits) / spent, statistics.median(waits),
        ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))], ordered[-1], longest_wait,
        held(memory or [resident()]), max(memory, default=resident()),
    )  # fmt: skip


def held(memory: Sequence[float]) -> tuple[float, float, float]:
    """Means of the first tenth, of the third and of the last: memory goes up and down by some hundredths between the
    moments in which it is given back."""
    tenth = -(-len(memory) // 10)
    parts = memory[:tenth], memory[2 * tenth : 3 * tenth] or memory, memory[-tenth:]
    return statistics.fmean(parts[0]), statistics.fmean(parts[1]), statistics.fmean(parts[2])


def table(made: Served) -> str:
    """All of it in words."""
    first, fifth, last = made.megabytes
    lines = [
        f"{made.visitors} visitors, {made.requests:,} requests, {len(made.errors)} errors",
        f"one after another {made.alone:.1f} requests a second, all at once {made.together:.1f}: "
        f"{made.together / made.alone:.2f} times",
        f"until an answer: {made.median:.2f} s in the middle, {made.late:.2f} s for 99 of 100 "
        f"({made.late / made.median:.1f} times the middle), {made.longest:.2f} s at most",
        f"until the first pass: {made.longest_wait:.2f} s at most",
        f"memory, means of a tenth of the time: {first:,.0f} MB from an answer each on, {fifth:,.0f} MB after a fifth, "
        f"{last:,.0f} MB at the end ({last / first - 1:+.1%} and {last / fifth - 1:+.1%}), {made.most:,.0f} MB at most",
        *made.errors[:5],
    ]
    return "\n".join(lines)


def resident() -> float:
    """Megabytes of memory that this process holds; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
