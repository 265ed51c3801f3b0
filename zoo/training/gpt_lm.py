"""gpt-lm: a small GPT-2-style decoder with its own byte-level BPE, trained as a language model on Wikipedia and
public-domain books (Radford et al. 2019), then on documents that end in `TL;DR:` and a summary.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from tokenizers import decoders, models, pre_tokenizers, trainers

from zoo.contracts import Batch, HeadSpec, Tokenizer
from zoo.errors import BadData, BadParameter
from zoo.family import Network
from zoo.models import gpt2
from zoo.rows import read_rows
from zoo.tokenizers.subword import SubwordTokenizer
from zoo.training import export, loop, text
from zoo.training.recipes import Run
from zoo.training.text import Summarized
from zoo.weights.load import load_folder

END = "<|endoftext|>"
PROMPT = "\nTL;DR:"
HEADS = {"lm": HeadSpec("lm")}
PLAIN_SHARE = 0.7  # of the steps, before summaries are mixed in; until then rows are halved, which is faster


@dataclass(frozen=True)
class Size:
    """How large a network, and how much to show it."""

    config: gpt2.Gpt2Config
    steps: int
    batch: int  # sequences a step
    held: int  # sequences of each kind that are kept to watch the run by

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return self.config.n_positions


# Without dropout: no text is seen twice.
WHOLE = Size(gpt2.Gpt2Config(8192, 512, 256, 6, 8, None, "gelu_new", 1e-5, 0.0, 0.0, 0.0, True, 0), 3200, 8, 16)
TINY = Size(replace(WHOLE.config, vocab_size=400, n_positions=128, n_embd=32, n_layer=2, n_head=2), 60, 4, 4)


class Begun(NamedTuple):
    """What a run begins with."""

    tokenizer: Tokenizer
    config: gpt2.Gpt2Config
    network: Network


def pretrain(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    size = TINY if run.tiny else WHOLE
    steps, device = max(1, round(size.steps * run.scale)), run.device
    tokenizer, config, network = begin(run, size)
    length = min(size.length, config.n_positions)
    plain, tldr = sequences(run.data, run.out, tokenizer, length, run.seed)
    held = {"text": plain[-size.held :], "tldr": tldr[-size.held :]}
    plain, tldr = plain[: -size.held], tldr[: -size.held]
    if not len(plain):
        raise BadData(f"{run.data / 'lm'} holds too little text: less than {size.held + 1} times {length} tokens.")
    plan_of_batches = order_of(len(plain), len(tldr), size.batch, steps, run.seed)
    network.to(device)

    def loss_on(rows: torch.Tensor) -> torch.Tensor:
        return language_loss(network, rows)

    can_compile = not run.tiny and (run.device != "cpu" or shutil.which("g++") is not None)
    step_loss = torch.compile(loss_on) if can_compile else loss_on  # a quarter faster

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        kind, indices = plan_of_batches[step]
        rows = torch.from_numpy((plain if kind == "text" else tldr)[indices].astype(np.int64)).to(device)
        if step < PLAIN_SHARE * steps and length % 2 == 0:
            rows = rows.view(2 * len(rows), -1)
        return step_loss(rows), kind, rows.numel()

    def evaluate() -> dict[str, float]:
        return {
            f"{kind} held-out loss": float(loss_on(torch.from_numpy(rows.astype(np.int64)).to(device)))
            for kind, rows in held.items()
            if len(rows)
        }

    plan = loop.Plan(
        loop.Schedule(steps, warmup=0.04, fall=0.5), run.out, evaluate_every=250, worth=lambda s: -loop.mean(s)
    )
    optimizers = loop.optimizers_for(network, 2e-3, decay=0.01, muon_rate=0.02)
    scores = loop.run(network, loss_of, optimizers, plan, evaluate, run.resume)
    export.export_both(run.checkpoint, gpt2.FAMILY, config, network, HEADS, tokenizer)
    return scores


def language_loss(network: Network, rows: torch.Tensor) -> torch.Tensor:
    """Mean loss of the next token over rows of equal length, [B, T] of ids."""
    count, length = rows.shape
    flat = rows[:, :-1].reshape(-1)  # [N]
    positions = torch.arange(length - 1, device=rows.device).repeat(count)
    made = Batch(flat, torch.zeros_like(flat), positions, (length - 1,) * count)
    return F.cross_entropy(network(made, "lm").float(), rows[:, 1:].reshape(-1))


def begin(run: Run, size: Size) -> Begun:
    """A fresh network and a vocabulary of the run's own text, or those of the checkpoint to go on from."""
    run.out.mkdir(parents=True, exist_ok=True)
    if run.start is None:
        return Begun(train_tokenizer(run.data, run.out, size.config.vocab_size), size.config, fresh(size.config))
    model = load_folder(run.start, [gpt2.FAMILY])
    if model.tokenizer.vocabulary > 2**16:
        raise BadParameter(f"{run.start} has {model.tokenizer.vocabulary:,} pieces; this recipe takes at most 65,536.")
    config = replace(model.config, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    network = fresh(config)
    network.body.load_state_dict(model.network.body.state_dict())
    if not config.tie_word_embeddings and "lm" in model.network.heads:
        network.heads["lm"].load_state_dict(model.network.heads["lm"].state_dict())
    return Begun(model.tokenizer, config, network)


def train_tokenizer(data: Path, out: Path, vocabulary: int) -> SubwordTokenizer:
    """Byte-level BPE of that size on a tenth of the text; kept in `out` and used again when it is there."""
    path = out / "tokenizer.json"
    if not path.is_file():
        pipeline = tokenizers.Tokenizer(models.BPE())
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        pipeline.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        pipeline.train_from_iterator(text.sample(data), trainer)
        with loop.replacing(path) as fresh_path:
            pipeline.save(str(fresh_path))
    return SubwordTokenizer(tokenizers.Tokenizer.from_file(str(path)), "A:0", "A:0 B:0", end=WHOLE.config.eos_token_id)


def fresh(config: gpt2.Gpt2Config) -> Network:
    """Initialised as in the GPT-2 paper, section 2.3: std 0.02, less on what is added to the residual stream."""
    network = gpt2.build(config, HEADS)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 2:
            added = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            torch.nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layer) if added else 0.02)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return network


def summaries(data: Path) -> Iterator[Summarized]:
    """Training pairs: papers with their TL;DRs, where the data have them, and articles with their leads."""
    papers = data / "summarization" / "scitldr_a_train.jsonl.gz"
    for row in read_rows(papers) if papers.is_file() else ():
        targets = row["target"] if isinstance(row["target"], list) else [row["target"]]
        for target in targets[:2]:
            yield Summarized(" ".join(row["source"]), target)
    for article in text.texts(text.shards(data, "enwiki2018_*")):
        pair = text.lead_of(text.mended(article))
        if pair:
            yield pair


def sequences(data: Path, out: Path, tokenizer: Tokenizer, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of plain text and rows that end in summaries, each [rows, length] of uint16; kept in `out`."""
    path = out / "sequences.npz"
    if not path.is_file():
        end = tokenizer.end or 0
        wiki, books = text.shards(data, "enwiki2018_*"), text.shards(data, "books_pd_*")
        stream = text.token_stream(tokenizer, text.reading(data, [*wiki, *books]), end)
        plain = stream[: len(stream) // length * length].reshape(-1, length)
        pairs = list(summaries(data))
        random.Random(seed).shuffle(pairs)
        tldr = text.tldr_sequences(tokenizer, pairs, PROMPT, end, length, seed)
        with loop.replacing(path) as fresh_path, fresh_path.open("wb") as file:
            np.savez(file, plain=plain, tldr=tldr)
    arrays = np.load(path)
    return arrays["plain"], arrays["tldr"]


def order_of(plain: int, tldr: int, batch: int, steps: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """The batches of a run: plain text alone for most of the steps, then every other one of summaries."""
    chance = np.random.default_rng(seed)
    streams = {"text": text.endless(plain, batch, chance), "tldr": text.endless(tldr, batch, chance)}
    kinds = ["tldr" if tldr and step > PLAIN_SHARE * steps and step % 2 else "text" for step in range(steps)]
    return [(kind, next(streams[kind])) for kind in kinds]
