"""gpt-mini: a small GPT-2-style decoder with its own byte-level BPE, trained from scratch as a language model on
Wikipedia and public-domain books, then continued on documents that end in `TL;DR:` and a summary.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from tokenizers import decoders, models, pre_tokenizers, trainers

from zoo.contracts import Batch, HeadSpec
from zoo.family import Network
from zoo.models import gpt2
from zoo.rows import read_rows
from zoo.tokenizers.subword import SubwordTokenizer
from zoo.training import export, loop, text
from zoo.training.recipes import Run
from zoo.training.text import Summarized

END = "<|endoftext|>"
PROMPT = "\nTL;DR:"
HEADS = {"lm": HeadSpec("lm")}
LENGTH = 512
BATCH = 8  # sequences a step
STEPS = 2600
PLAIN_TOKENS = 10_649_600  # of plain text to draw from
CONFIG = gpt2.Gpt2Config(
    vocab_size=8192,
    n_positions=LENGTH,
    n_embd=256,
    n_layer=6,
    n_head=8,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    eos_token_id=0,
)


def train_tokenizer(data: Path, out: Path) -> SubwordTokenizer:
    """Byte-level BPE of the config's size on a tenth of the text; kept in `out` and used again when it is there."""
    path = out / "tokenizer.json"
    if not path.is_file():
        pipeline = tokenizers.Tokenizer(models.BPE())
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        pipeline.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=CONFIG.vocab_size,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        wiki, books = text.shards(data, "enwiki2018_*"), text.shards(data, "books_pd_*")
        sample = [t[:100_000] for t in islice(text.texts(wiki), 1200)] + [
            t[:100_000] for t in islice(text.texts(books), 20)
        ]
        pipeline.train_from_iterator(sample, trainer)
        out.mkdir(parents=True, exist_ok=True)
        pipeline.save(str(path))
    return SubwordTokenizer(tokenizers.Tokenizer.from_file(str(path)), "A:0", "A:0 B:0", end=CONFIG.eos_token_id)


def fresh_network() -> Network:
    """Initialised as in the GPT-2 paper, section 2.3: std 0.02, less on what is added to the residual stream."""
    network = gpt2.build(CONFIG, HEADS)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 2:
            added = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            torch.nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * CONFIG.n_layer) if added else 0.02)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return network


def summaries(data: Path) -> Iterator[Summarized]:
    """Training pairs: articles with their leads, papers with their TL;DRs."""
    for row in read_rows(data / "summarization" / "scitldr_a_train.jsonl.gz"):
        targets = row["target"] if isinstance(row["target"], list) else [row["target"]]
        for target in targets[:2]:
            yield Summarized(" ".join(row["source"]), target)
    for article in text.texts(text.shards(data, "enwiki2018_*")):
        pair = text.lead_of(article)
        if pair:
            yield pair


def sequences(
    data: Path, out: Path, tokenizer: SubwordTokenizer, tokens: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of plain text and rows that end in summaries, each [rows, LENGTH] of uint16; kept in `out`."""
    path = out / "sequences.npz"
    if not path.is_file():
        end = tokenizer.end or 0
        wiki, books = text.shards(data, "enwiki2018_*"), text.shards(data, "books_pd_*")
        stream = np.concatenate(
            [
                text.token_stream(tokenizer, text.texts(wiki), end, tokens * 3 // 4),
                text.token_stream(tokenizer, text.texts(books), end, tokens // 4),
            ]
        )
        plain = stream[: len(stream) // LENGTH * LENGTH].reshape(-1, LENGTH)
        pairs = list(summaries(data))
        random.Random(seed).shuffle(pairs)
        np.savez(path, plain=plain, tldr=text.tldr_sequences(tokenizer, pairs, PROMPT, end, LENGTH, seed))
    arrays = np.load(path)
    return arrays["plain"], arrays["tldr"]


def order_of(plain: int, tldr: int, batch: int, steps: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """The batches of a run: plain text alone for 55 % of the steps, then two thirds of them summaries."""
    chance = np.random.default_rng(seed)

    def endless(rows: int) -> Iterator[np.ndarray]:
        while True:
            order = chance.permutation(rows)
            yield from order[: rows // batch * batch].reshape(-1, batch)

    streams = {"text": endless(plain), "tldr": endless(tldr)}
    kinds = ["tldr" if step > 0.55 * steps and step % 3 else "text" for step in range(steps)]
    return [(kind, next(streams[kind])) for kind in kinds]


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    steps, device = max(1, round(STEPS * run.scale)), run.device
    tokenizer = train_tokenizer(run.data, run.out)
    plain, tldr = sequences(run.data, run.out, tokenizer, PLAIN_TOKENS, run.seed)
    held = {"text": plain[-16:], "tldr": tldr[-16:]}
    plain, tldr = plain[:-16], tldr[:-16]
    plan_of_batches = order_of(len(plain), len(tldr), BATCH, steps, run.seed)
    network = fresh_network().to(device)

    def loss_on(rows: torch.Tensor) -> torch.Tensor:
        count = rows.shape[0]
        flat = rows[:, :-1].reshape(-1)  # [N]
        positions = torch.arange(LENGTH - 1, device=rows.device).repeat(count)
        made = Batch(flat, torch.zeros_like(flat), positions, (LENGTH - 1,) * count)
        return F.cross_entropy(network(made, "lm").float(), rows[:, 1:].reshape(-1))

    can_compile = run.device != "cpu" or shutil.which("g++") is not None
    step_loss = torch.compile(loss_on) if can_compile else loss_on  # a quarter faster

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        kind, indices = plan_of_batches[step]
        rows = torch.from_numpy((plain if kind == "text" else tldr)[indices].astype(np.int64)).to(device)
        return step_loss(rows), kind, rows.numel()

    def evaluate() -> dict[str, float]:
        return {
            f"{kind} held-out loss": float(loss_on(torch.from_numpy(rows.astype(np.int64)).to(device)))
            for kind, rows in held.items()
        }

    plan = loop.Plan(loop.Schedule(steps, warmup=0.04, fall=0.5), run.out, evaluate_every=250)
    optimizers = loop.optimizers_for(network, 2e-3, decay=0.01, muon_rate=0.02)
    scores = loop.run(network, loss_of, optimizers, plan, evaluate, run.resume)
    export.export_both(run.checkpoint, gpt2.FAMILY, CONFIG, network, HEADS, tokenizer)
    return scores
