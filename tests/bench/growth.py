"""How cost grows: with the length of a text, the texts of a request, visitors, models in memory, and rows of a batch.

    python tests/bench/growth.py --plot docs/growth.svg     # needs matplotlib; --quick for a look whether it works

For each a table, and the exponent k of "cost is about n to the k" (1 is linear; the slope of a line through the
logarithms, of the larger half, since small requests cost what calling costs). Medians of a few rounds, in turn.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SENTENCE = "the old bridge over the river was built by a painter from the north and nobody knows when it fell"
FEW = 3  # sizes of a quick look
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Growth:
    """Seconds by size, and megabytes of memory held after each, of one kind of growth."""

    title: str
    unit: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    megabytes: tuple[float, ...]
    flat: bool = False  # whether it is to cost the same at any size

    @property
    def exponent(self) -> float:
        """The slope of a straight line through the logarithms of the larger half, by least squares."""
        half = len(self.sizes) // 2
        x = [math.log(size) for size in self.sizes[half:]]
        y = [math.log(value) for value in self.seconds[half:]]
        return statistics.linear_regression(x, y).slope

    def __str__(self) -> str:
        rows = [
            f"| {size:,} | {value:.3g} | {1000 * value / (1 if self.flat else size):.3g} | {held:,.0f} |"
            for size, value, held in zip(self.sizes, self.seconds, self.megabytes, strict=True)
        ]
        head = [
            f"{self.title}: about n to the {self.exponent:.2f}",
            "",
            f"| {self.unit} | seconds | {'ms' if self.flat else 'ms each'} | MB held |",
        ]
        return "\n".join([*head, "|---:|---:|---:|---:|", *rows, ""])


def grow(
    title: str,
    unit: str,
    sizes: Sequence[int],
    rounds: int,
    ask: Callable[[int, int], object],
    before: Callable[[int], object] | None = None,
) -> Growth:
    """`ask(size, round)`, the sizes in turn; with `before(size)`, which makes ready for a size and does not count, one
    size after the other."""
    from zoo.bench.serve import resident

    spent: dict[int, list[float]] = {size: [] for size in sizes}
    held: dict[int, float] = {}
    turns = [(turn, size) for turn in range(rounds) for size in sizes]
    if before is not None:
        turns.sort(key=lambda one: one[1])
    ready = None
    ask(sizes[0], -1)
    for turn, size in turns:
        if before is not None and size != ready:
            before(size)
            ready = size
        began = time.perf_counter()
        ask(size, turn)
        spent[size].append(time.perf_counter() - began)
        held[size] = resident()
    medians = tuple(statistics.median(spent[size]) for size in sizes)
    return Growth(title, unit, tuple(sizes), medians, tuple(held[size] for size in sizes), flat=before is not None)


def text(tokens: int, start: int) -> str:
    """About so many tokens, another text for another start."""
    words = SENTENCE.split()
    return " ".join([str(start), *(words[(start + i) % len(words)] for i in range(1, tokens))])


def measured(quick: bool) -> list[Growth]:
    """All of them."""
    from zoo.bench import serve

    made = _of_one_engine(quick)
    sizes, seconds, held = (1, 2, 4, 8, 16, 32)[: FEW if quick else None], [], []
    for visitors in sizes:
        served = serve.measure(visitors, 2 if quick else 20)
        seconds.append(visitors / served.together)  # until each has had one answer
        held.append(served.megabytes[-1])
    made.append(Growth("Visitors, mixed tasks", "visitors", tuple(sizes), tuple(seconds), tuple(held)))
    return made


def _of_one_engine(quick: bool) -> list[Growth]:
    """All but the visitors, who have an engine of their own."""
    from tasks import batch, intake
    from zoo import Engine
    from zoo.bench import serve
    from zoo.engine.precision import by_torch

    rounds, few = (1, FEW) if quick else (5, None)
    engine = Engine(prepare=by_torch)

    def length(tokens: int, turn: int) -> None:
        engine.spans("bert-mini", "qa", [("Who built the old bridge?", text(tokens, turn + 1))])

    def texts(count: int, turn: int) -> None:
        engine.classify("bert-mini", "topic", [(text(12 + i % 40, i + turn + 1), None) for i in range(count)])

    def company(count: int) -> None:
        for name in serve.MODELS[:count]:
            engine.classify(name, "topic", [(text(40, 50), None)])

    def alone(count: int, turn: int) -> None:
        engine.classify("bert-mini", "topic", [(text(40, 100 * count + turn + 1), None)])

    def rows(count: int, turn: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.csv"
            with path.open("w", encoding="utf-8", newline="") as file:
                out = csv.writer(file)
                out.writerow(["text"])
                out.writerows([f"{text(12 + i % 40, i)} {i}"] for i in range(count))
            work = batch.Batch(intake.read_file("classify", path, "", most=None), (batch.Chosen.of("bert-mini#topic"),))
            for _ in batch.run(engine, work):
                pass

    return [
        grow("Length of a passage, bert-mini", "tokens", LENGTHS[:few], rounds, length),
        grow("Texts in a request, bert-mini", "texts", (1, 4, 16, 64, 256, 1024)[:few], rounds, texts),
        grow("A text of bert-mini in company", "models in memory", (1, 2, 3, 4, 5)[:few], 4 * rounds, alone, company),
        grow("Rows of a batch, bert-mini", "rows", (100, 200, 300) if quick else (100, 1000, 10_000, 50_000), 1, rows),
    ]


def draw(growths: Sequence[Growth], path: Path) -> None:
    """A panel for each: seconds, both axes logarithmic, with a dotted line for what is hoped for, and on the right the
    megabytes of memory held."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    across = 3
    down = -(-len(growths) // across)
    figure, panels = plt.subplots(down, across, figsize=(3.6 * across, 3 * down), layout="constrained", squeeze=False)
    for panel in panels.flat[len(growths) :]:
        panel.remove()
    for index, (panel, one) in enumerate(zip(panels.flat[: len(growths)], growths, strict=True)):
        panel.loglog(one.sizes, one.seconds, marker="o", color="tab:blue")
        last = one.seconds[-1]
        hoped = [last if one.flat else last * size / one.sizes[-1] for size in one.sizes]
        panel.loglog(one.sizes, hoped, linestyle=":", color="grey")
        panel.set_ylim(min(*one.seconds, *hoped) / 2, 2 * max(*one.seconds, *hoped))
        panel.set_title(f"{one.title}\nn to the {one.exponent:.2f}", fontsize=10)
        panel.set_xlabel(one.unit)
        panel.set_xticks(one.sizes[:: 1 if len(one.sizes) < 7 else 2])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_minor_formatter(NullFormatter())
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        if index % across == 0:
            panel.set_ylabel("seconds", color="tab:blue")
        right = panel.twinx()
        right.plot(one.sizes, one.megabytes, marker=".", color="tab:orange", linewidth=1)
        right.set_ylim(0, 1.3 * max(one.megabytes))
        if index % across == across - 1 or index == len(growths) - 1:
            right.set_ylabel("MB held", color="tab:orange")
    figure.savefig(path)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="where the picture goes")
    parser.add_argument("--quick", action="store_true", help="small sizes, once")
    options = parser.parse_args()
    made = measured(options.quick)
    for one in made:
        print(one)
    if options.plot:
        draw(made, options.plot)


if __name__ == "__main__":
    main()
