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
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Growth:
    """Seconds by size, and megabytes of memory held after each, of one kind of growth."""

    title: str
    unit: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    megabytes: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """The slope of a straight line through the logarithms of the larger half, by least squares."""
        half = len(self.sizes) // 2
        x = [math.log(size) for size in self.sizes[half:]]
        y = [math.log(value) for value in self.seconds[half:]]
        return statistics.linear_regression(x, y).slope

    def __str__(self) -> str:
        rows = [
            f"| {size:,} | {value:.3g} | {1000 * value / size:.3g} | {held:,.0f} |"
            for size, value, held in zip(self.sizes, self.seconds, self.megabytes, strict=True)
        ]
        head = [
            f"{self.title}: about n to the {self.exponent:.2f}",
            "",
            f"| {self.unit} | seconds | ms each | MB held |",
        ]
        return "\n".join([*head, "|---:|---:|---:|---:|", *rows, ""])


def grow(title: str, unit: str, sizes: Sequence[int], rounds: int, ask: Callable[[int, int], object]) -> Growth:
    """`ask(size, round)` in turn."""
    from zoo.bench.serve import resident

    spent: dict[int, list[float]] = {size: [] for size in sizes}
    held: dict[int, float] = {}
    ask(sizes[0], -1)
    for turn in range(rounds):
        for size in sizes:
            began = time.perf_counter()
            ask(size, turn)
            spent[size].append(time.perf_counter() - began)
            held[size] = resident()
    medians = tuple(statistics.median(spent[size]) for size in sizes)
    return Growth(title, unit, tuple(sizes), medians, tuple(held[size] for size in sizes))


def text(tokens: int, start: int) -> str:
    """About so many tokens, another text for another start."""
    words = SENTENCE.split()
    return " ".join([str(start), *(words[(start + i) % len(words)] for i in range(1, tokens))])


def measured(quick: bool) -> list[Growth]:
    """All of them."""
    from tasks import batch, intake
    from zoo import Engine
    from zoo.bench import serve

    rounds = 1 if quick else 5
    engine = Engine()

    def length(tokens: int, turn: int) -> None:
        engine.spans("bert-mini", "qa", [("Who built the old bridge?", text(tokens, turn + 1))])

    def texts(count: int, turn: int) -> None:
        engine.classify("bert-mini", "topic", [(text(12 + i % 40, i + turn + 1), None) for i in range(count)])

    def models(count: int, turn: int) -> None:
        for name in serve.MODELS[:count]:
            engine.classify(name, "topic", [(text(40, turn + 1), None)])

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

    few = 3 if quick else None
    made = [
        grow("Length of a passage, bert-mini", "tokens", LENGTHS[:few], rounds, length),
        grow("Texts in a request, bert-mini", "texts", (1, 4, 16, 64, 256, 1024)[:few], rounds, texts),
        grow("Models in memory, one text each", "models", (1, 2, 3, 4, 5)[:few], rounds, models),
        grow("Rows of a batch, bert-mini", "rows", (100, 200, 300) if quick else (100, 1000, 10_000, 50_000), 1, rows),
    ]
    sizes, seconds, held = (1, 2, 4, 8, 16, 32)[:few], [], []
    for visitors in sizes:
        served = serve.measure(visitors, 2 if quick else 20)
        seconds.append(visitors / served.together)  # until each has had one answer
        held.append(served.megabytes[-1])
    made.append(Growth("Visitors, mixed tasks", "visitors", tuple(sizes), tuple(seconds), tuple(held)))
    return made


def draw(growths: Sequence[Growth], path: Path) -> None:
    """A panel for each, both axes logarithmic, with a line for linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(growths), figsize=(3.2 * len(growths), 3), layout="constrained")
    for panel, one in zip(panels, growths, strict=True):
        panel.loglog(one.sizes, one.seconds, marker="o")
        last = one.seconds[-1] / one.sizes[-1]
        panel.loglog(one.sizes, [last * size for size in one.sizes], linestyle=":", color="grey")
        panel.set_title(f"{one.title}\nn to the {one.exponent:.2f}", fontsize=9)
        panel.set_xlabel(one.unit)
    panels[0].set_ylabel("seconds")
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
