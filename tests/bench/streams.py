r"""Does company change what is said? Real texts through the engine, many at once with lookup and kept prompts, beside
the plain loop, token for token.

    python tests/bench/streams.py --models gpt-mini xlnet-mini --rows 2000 --texts HELDOUT/wikipedia_leads.jsonl \
        HELDOUT/scitldr_test.jsonl DATA/qa/squad_v1.1_dev.json.gz

Every text is asked twice: with its prompt, and with another end, for which the beginning is known. All models are asked
at once, each by as many visitors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from zoo.family import Model

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
ENDS = ("\nTL;DR:", "\nIn short:")


def main() -> int:
    """Compare and print; 1 where something differs."""
    from zoo import Engine, load
    from zoo.engine import reading
    from zoo.generation import generate
    from zoo.rows import read_rows
    from zoo.sampling import Sampling

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="rows with a document or a context")
    parser.add_argument("--models", nargs="+", default=["gpt-mini"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--new", type=int, default=40, help="tokens for each")
    parser.add_argument("--visitors", type=int, default=8, help="of each model")
    options = parser.parse_args()
    rows = (row for path in options.texts for row in read_rows(path))
    texts = list(islice(dict.fromkeys(str(row.get("document") or row["context"])[:2000] for row in rows), options.rows))
    sampling = Sampling(no_repeat=3)
    engine = Engine(remember=len(ENDS))

    def through_engine(asked: tuple[str, str]) -> list[tuple[int, ...]]:
        text, name = asked
        said = []
        for end in ENDS:
            *_, last = engine.generate(name, "lm", text, end, options.new, sampling)
            said.append(last.ids)
        return said

    def alone(model: Model, text: str, end: str) -> tuple[int, ...]:
        kept, tail, _ = reading.prompt(model, text, end, options.new)
        ids = model.tokenizer.prompt(kept + tail).ids
        said = tuple(step.token for step in generate(model, "lm", ids, options.new, sampling))
        return tuple(token for token in said if token != model.tokenizer.end)

    began = time.perf_counter()
    asked = list(product(texts, options.models))
    with ThreadPoolExecutor(options.visitors * len(options.models)) as pool:
        made = dict(zip(asked, tqdm(pool.map(through_engine, asked), total=len(asked), desc="engine"), strict=True))
    spent = time.perf_counter() - began
    began, different = time.perf_counter(), Counter[str]()
    for name in options.models:
        model = load(name)
        for text in (bar := tqdm(texts, desc=f"{name}, plain loop")):
            said = made[text, name]
            different[name] += sum(alone(model, text, end) != ids for end, ids in zip(ENDS, said, strict=True))
            bar.set_postfix(differ=different[name], refresh=False)
        print(f"{name}: {len(ENDS) * len(texts):,} continuations of {len(texts):,} texts, {different[name]} differ")
    plainly = time.perf_counter() - began
    print(f"{plainly / spent:.2f} times as fast as the plain loop")
    return 1 if different.total() else 0


if __name__ == "__main__":
    sys.exit(main())
