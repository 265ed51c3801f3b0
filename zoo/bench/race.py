"""Several programs that do the same work, timed in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from zoo.bench.apart import Run
from zoo.bench.limits import Limits

PAUSE = 0.25  # seconds
OURS = "ours "  # how our runners are called, before the precision
LONG = 2.0
LEAST = 45.0  # seconds for a piece of work: two runs of 3 rounds differed by a tenth, as far as many are from an aim


@dataclass(frozen=True)
class Result:
    """One piece of work: seconds of every round by runner; `first` is the peer that the others are divided by."""

    work: str
    first: str
    seconds: Mapping[str, Sequence[float]]
    worst: Mapping[str, float]  # largest difference of a runner's numbers from those of `first`
    floor: Callable[[str, Limits], float] | None = None  # seconds that this machine needs at least, by precision

    def shares(self, most: Limits) -> dict[str, float]:
        """Of each of our precisions, how much of what the machine can do at most is done."""
        if self.floor is None:
            return {}
        kinds = {name: kind for name in self.seconds if (kind := name.removeprefix(OURS)) in most.products}
        return {kind: self.floor(kind, most) / self.median(name) for name, kind in kinds.items()}

    def median(self, runner: str) -> float:
        """Seconds."""
        return statistics.median(self.seconds[runner])

    def ratio(self, runner: str) -> float:
        """How many times as fast as the first one: the median over rounds, each round under its own load."""
        return self.against(runner, self.first)

    def against(self, runner: str, peer: str) -> float:
        """How many times as fast as another one, in the same way."""
        rounds = zip(self.seconds[peer], self.seconds[runner], strict=True)
        return statistics.median(other / own for other, own in rounds)

    def spread(self, runner: str) -> tuple[float, float]:
        """The middle half of the ratios."""
        rounds = zip(self.seconds[self.first], self.seconds[runner], strict=True)
        ratios = sorted(first / own for first, own in rounds)
        quarter = len(ratios) // 4
        return ratios[quarter], ratios[-1 - quarter]


Runners = Mapping[str, Callable[[], object]]


def race(runners: Runners, rounds: int, least: float = 0.0, first_counts: bool = False) -> dict[str, list[float]]:
    """Seconds by runner, one for each of `rounds`, and of more until all have taken `least` seconds; a round before
    them is not counted, unless `first_counts`.

    Before each call that counts there is a pause, and a call that does not count: threads of the runner before go on
    spinning for a while after their work (of ONNX Runtime that took half of the next one's speed), and its weights have
    thrown this one's out of the processor's caches. Work of more than LONG seconds has no such call: of that, what the
    one before left behind is a small part.
    """
    return races([runners], rounds, least, first_counts)[0]


def races(
    works: Sequence[Runners], rounds: int, least: float = 0.0, first_counts: bool = False
) -> list[dict[str, list[float]]]:
    """The same of several pieces of work, a round of each in turn, each until it has had `least` seconds of its own. A
    shared machine is slow for minutes, some libraries more so than others; so all have their part of it."""
    seconds: list[dict[str, list[float]]] = [{name: [] for name in runners} for runners in works]
    known = [dict.fromkeys(runners, LONG if first_counts else 0.0) for runners in works]
    spent = [0.0] * len(works)
    for turn in count(int(first_counts)):
        going = [number for number in range(len(works)) if turn <= rounds or spent[number] < least]
        if not going:
            break
        for number in going:
            began = time.perf_counter()
            for name, run in works[number].items():
                time.sleep(PAUSE)
                if known[number][name] < LONG:
                    _seconds(run)
                known[number][name] = _seconds(run)
                if turn:
                    seconds[number][name].append(known[number][name])
            spent[number] += time.perf_counter() - began
    return seconds


def _seconds(run: Callable[[], object]) -> float:
    if isinstance(run, Run):
        return run.seconds()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def table(results: Sequence[Result], notes: Sequence[str] = ()) -> str:
    """All results as Markdown: for each runner how many times as fast as the first, and the first in milliseconds."""
    runners = list(dict.fromkeys(name for result in results for name in result.seconds))
    lines = ["| work | " + " | ".join(runners) + " |", "|---|" + "---:|" * len(runners)]
    for result in results:
        cells = [_cell(result, name) for name in runners]
        lines.append(f"| {result.work} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes])


def shares(results: Sequence[Result], most: Limits) -> str:
    """Markdown: how much of the machine's limits is reached, where the least that it needs is known."""
    kinds = list(most.products)
    lines = [f"| of what this machine can do at most | {' | '.join(kinds)} |", "|---|" + "---:|" * len(kinds)]
    for result in results:
        if found := result.shares(most):
            lines.append(f"| {result.work} | " + " | ".join(f"{found[kind]:.0%}" for kind in kinds) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def write(results: Sequence[Result], path: Path) -> None:
    """Every figure as a row of a CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["work", "runner", "rounds", "milliseconds", "ratio", "low", "high", "worst_difference"])
        for result in results:
            for name, seconds in result.seconds.items():
                low, high = result.spread(name)
                figures = [1000 * result.median(name), result.ratio(name), low, high]
                worst = result.worst.get(name, float("nan"))
                out.writerow([result.work, name, len(seconds), *(f"{x:.4g}" for x in figures), f"{worst:.1e}"])


def draw(results: Sequence[Result], path: Path) -> None:
    """A panel for each piece of work with a bar for each runner, and a whisker over the middle half of its ratios."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    across = 3
    down = -(-len(results) // across)
    figure, panels = plt.subplots(down, across, figsize=(4.2 * across, 2.6 * down), layout="constrained", squeeze=False)
    for panel in panels.flat[len(results) :]:
        panel.remove()
    for panel, result in zip(panels.flat, results, strict=False):
        names = [name for name, seconds in result.seconds.items() if seconds]
        ratios = [result.ratio(name) for name in names]
        spreads = [result.spread(name) for name in names]
        low = [max(0.0, ratio - spread[0]) for ratio, spread in zip(ratios, spreads, strict=True)]
        high = [max(0.0, spread[1] - ratio) for ratio, spread in zip(ratios, spreads, strict=True)]
        colours = ["tab:blue" if name.startswith("ours") else "lightgrey" for name in names]
        panel.barh(names, ratios, xerr=[low, high], color=colours)
        panel.axvline(1, color="grey", linestyle=":")
        panel.invert_yaxis()
        panel.set_title(result.work, fontsize=9)
        panel.tick_params(labelsize=8)
    figure.supxlabel("times as fast as the first; more is better", fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def _cell(result: Result, name: str) -> str:
    if name not in result.seconds:
        return "-"
    if name == result.first:
        return f"1.00 ({1000 * result.median(name):.0f} ms)"
    low, high = result.spread(name)
    return f"{result.ratio(name):.2f} ({low:.2f} to {high:.2f})"
