r"""Does company change what is said? Real texts through the engine, many at once with lookup and kept prompts, beside
the plain loop, token for token.

    python tests/bench/streams.py --model gpt-mini --rows 2000 --texts HELDOUT/wikipedia_leads.jsonl \
        HELDOUT/scitldr_test.jsonl DATA/qa/squad_v1.1_dev.json.gz

Every text is asked twice: with its prompt, and with another end, for which the beginning is known.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tqdm import tqdm

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
    parser.add_argument("--model", default="gpt-mini")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--new", type=int, default=40, help="tokens for each")
    parser.add_argument("--visitors", type=int, default=8)
    options = parser.parse_args()
    rows = (row for path in options.texts for row in read_rows(path))
    texts = list(islice(dict.fromkeys(str(row.get("document") or row["context"])[:2000] for row in rows), options.rows))
    sampling = Sampling(no_repeat=3)
    engine, plain = Engine(remember=len(ENDS)), load(options.model)

    def through_engine(text: str) -> list[tuple[int, ...]]:
        said = []
        for end in ENDS:
            *_, last = engine.generate(options.model, "lm", text, end, options.new, sampling)
            said.append(last.ids)
        return said

    def alone(text: str, end: str) -> tuple[int, ...]:
        kept, tail, _ = reading.prompt(plain, text, end, options.new)
        ids = plain.tokenizer.prompt(kept + tail).ids
        said = tuple(step.token for step in generate(plain, "lm", ids, options.new, sampling))
        return tuple(token for token in said if token != plain.tokenizer.end)

    began = time.perf_counter()
    with ThreadPoolExecutor(options.visitors) as pool:
        made = list(tqdm(pool.map(through_engine, texts), total=len(texts), desc="engine"))
    spent = time.perf_counter() - began
    began = time.perf_counter()
    different = 0
    for text, said in zip(bar := tqdm(texts, desc="plain loop"), made, strict=True):
        different += sum(alone(text, end) != ids for end, ids in zip(ENDS, said, strict=True))
        bar.set_postfix(differ=different, refresh=False)
    plainly = time.perf_counter() - began
    print(
        f"{options.model}: {len(ENDS) * len(texts):,} continuations of {len(texts):,} texts, {different} differ; "
        f"{plainly / spent:.2f} times as fast as the plain loop"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
