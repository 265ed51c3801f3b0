r"""Does company change what is said? Real texts through the engine, many at once with lookup and kept prompts, beside
the plain loop, token for token: a process for each core, which computes with one thread.

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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from itertools import islice, product
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from zoo import Engine, Model, load  # noqa: E402 (the checkout that this file is in)
from zoo.engine import reading  # noqa: E402
from zoo.generation import generate  # noqa: E402
from zoo.rows import read_rows  # noqa: E402
from zoo.sampling import Sampling  # noqa: E402

SAMPLING = Sampling(no_repeat=3)
ENDS = ("\nTL;DR:", "\nIn short:")
PART = 50  # texts that a process reads at once


def alone(name: str, texts: Sequence[str], new: int) -> list[list[tuple[int, ...]]]:
    """What the plain loop says after each text with each end."""
    model, made = opened(name), []
    for text in texts:
        said = []
        for end in ENDS:
            kept, tail, _ = reading.prompt(model, text, end, new)
            ids = model.tokenizer.prompt(kept + tail).ids
            steps = [step.token for step in generate(model, "lm", ids, new, SAMPLING)]
            said.append(tuple(token for token in steps if token != model.tokenizer.end))
        made.append(said)
    return made


@cache
def opened(name: str) -> Model:
    """The model, once a process."""
    return load(name)


def main() -> int:
    """Compare and print; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="rows with a document or a context")
    parser.add_argument("--models", nargs="+", default=["gpt-mini"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--new", type=int, default=40, help="tokens for each")
    parser.add_argument("--visitors", type=int, default=8, help="of each model")
    options = parser.parse_args()
    rows = (row for path in options.texts for row in read_rows(path))
    texts = list(islice(dict.fromkeys(str(row.get("document") or row["context"])[:2000] for row in rows), options.rows))
    engine = Engine(remember=len(ENDS))

    def through_engine(asked: tuple[str, str]) -> list[tuple[int, ...]]:
        text, name = asked
        said = []
        for end in ENDS:
            *_, last = engine.generate(name, "lm", text, end, options.new, SAMPLING)
            said.append(last.ids)
        return said

    began = time.perf_counter()
    asked = list(product(texts, options.models))
    with ThreadPoolExecutor(options.visitors * len(options.models)) as pool:
        made = dict(zip(asked, tqdm(pool.map(through_engine, asked), total=len(asked), desc="engine"), strict=True))
    spent = time.perf_counter() - began
    began, different = time.perf_counter(), Counter[str]()
    cores = torch.get_num_threads()
    with ProcessPoolExecutor(cores, get_context("spawn"), torch.set_num_threads, (1,)) as processes:
        parts = [(name, texts[at : at + PART]) for name in options.models for at in range(0, len(texts), PART)]
        plain = processes.map(alone, *zip(*parts, strict=True), [options.new] * len(parts))
        for (name, some), found in zip(bar := tqdm(parts, desc="plain loop"), plain, strict=True):
            pairs = [
                pair
                for text, said in zip(some, found, strict=True)
                for pair in zip(said, made[text, name], strict=True)
            ]
            different[name] += sum(one != other for one, other in pairs)
            bar.set_postfix(differ=different.total(), refresh=False)
    plainly = time.perf_counter() - began
    for name in options.models:
        print(f"{name}: {len(ENDS) * len(texts):,} continuations of {len(texts):,} texts, {different[name]} differ")
    print(f"{plainly / spent:.2f} times as fast as the plain loop in {cores} processes")
    return 1 if different.total() else 0


if __name__ == "__main__":
    sys.exit(main())
