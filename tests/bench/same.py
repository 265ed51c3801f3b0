"""Does speed change what is said? Real texts through the engine in `exact`, hundreds at once, packed and with weights
laid out, beside the weights as they lie in the file, one text a request. With --short the engine reads one at a time,
too, the short ones by ONNX Runtime (requirements-fast.txt), in `exact` or the precision that is named.

    python tests/bench/same.py --data DATA --heldout HELDOUT --rows 2000
    python tests/bench/same.py --data DATA --heldout HELDOUT --rows 2000 --models bert-mini --short small

Printed for each model and file: the largest difference of a probability (of a start or end score, for answers in a
passage), and how many answers are another. What `fast` and `small` change, `python -m tasks precision` prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
if TYPE_CHECKING:
    from tasks.measures import Measure
    from zoo import Engine
CHUNK = 256


def numbers(engine: Engine, model: str, one: Measure, rows: list[dict[str, Any]]) -> Iterator[list[list[float]]]:
    """For every row the probabilities of its labels, or the start scores of its windows and the end scores."""
    from tasks.evaluate import titled

    if one.run == "qa":
        asked = [(row["question"], row["context"]) for row in rows]
        for spanned in engine.spans(model, one.head, asked):
            kinds = ([part.start for part in spanned.windows], [part.end for part in spanned.windows])
            yield [[float(score) for scores in kind for score in scores] for kind in kinds]
        return
    texts: list[tuple[str, str | None]]
    if one.run == "nli":
        texts = [(row["premise"], row["hypothesis"]) for row in rows]
    else:
        texts = [(titled(row, i), None) for i, row in enumerate(rows)]
    for classified in engine.classify(model, one.head, texts):
        yield [list(classified.probabilities)]


def apart(some: list[list[float]], others: list[list[float]]) -> tuple[float, bool]:
    """The largest difference, and whether another one is the largest number."""
    pairs = list(zip(some, others, strict=True))
    far = max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
    return far, any(one.index(max(one)) != other.index(max(other)) for one, other in pairs)


def main() -> int:
    """Compare and print; 1 where a probability differs by more than the tolerance."""
    from tasks.measures import MEASURES, able
    from zoo import Engine
    from zoo.bench.serve import MODELS
    from zoo.engine.precision import WITHIN
    from zoo.rows import read_rows

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--heldout", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--short", nargs="?", const="exact", metavar="PRECISION")
    options = parser.parse_args()
    plain, worst = Engine(prepare=lambda model, precision: model), 0.0
    kind, chunk = options.short or "exact", 1 if options.short else CHUNK
    for name in options.models:
        engine, read = Engine(precision=kind), list[object]()
        if options.short:
            short = engine.model(name).network.body.short_texts
            short.make()
            short.register_forward_hook(lambda *_, read=read: read.append(None))
        for one in {one.task: one for one in reversed(MEASURES) if one.run in ("classify", "nli", "qa")}.values():
            if one.refusals or not able(engine.model(name), one):
                continue
            path = (options.heldout if one.heldout else options.data) / one.file
            rows = list(islice(read_rows(path), options.rows))
            fast = (
                made for i in range(0, len(rows), chunk) for made in numbers(engine, name, one, rows[i : i + chunk])
            )
            slow = (made for row in tqdm(rows, f"{name}, {one.title}") for made in numbers(plain, name, one, [row]))
            found = [apart(*both) for both in zip(fast, slow, strict=True)]
            far, other = max(far for far, _ in found), sum(other for _, other in found)
            told = f", {len(read):,} texts by ONNX Runtime" if options.short else ""
            read.clear()
            print(
                f"{name}, {one.title}: {len(rows):,} rows, {far:.1e} apart at most, {other} other answers{told}",
                flush=True,
            )
            worst = max(worst, far if one.run != "qa" else 0.0)
    return 1 if worst > WITHIN[kind] else 0


if __name__ == "__main__":
    sys.exit(main())
