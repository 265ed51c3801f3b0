"""gpt-mini: gpt-lm fine-tuned on four tasks at once by the method of GPT (Radford et al. 2018, sections 3.2 and 3.3):
each task's texts in one row between tokens that are new to the model, and the language model learnt beside the task.
Its architecture is GPT-2's, so that it continues texts as well; that is kept alive by more of what taught it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from tokenizers import AddedToken

from zoo.contracts import Batch, HeadSpec, Tokenizer
from zoo.errors import BadParameter
from zoo.family import Network
from zoo.models import gpt2
from zoo.models.gpt import CLASSIFY, DELIMITER, START
from zoo.training import export, finetune, gpt_lm, lessons, loop, text
from zoo.training.finetune import Lesson
from zoo.training.recipes import Run
from zoo.weights.layout import Opened
from zoo.weights.load import load_folder

HEADS = {
    "lm": HeadSpec("lm"),
    "nli": HeadSpec("classifier", lessons.NLI),
    "qa": HeadSpec("span"),
    "topic": HeadSpec("classifier", lessons.TOPICS),
    "sentiment": HeadSpec("classifier", lessons.SENTIMENTS),
}
PAIR_HEADS = ("nli",)  # read word by word: the row of the last token says too little of the first text
DROPOUT = 0.0  # the paper has 0.1; with it all tasks were some points worse after a thousand batches
LANGUAGE_WEIGHT = 0.2  # of the auxiliary loss, which is some five times that of a task here; the paper has 0.5
LANGUAGE_ROWS = 256  # of a batch, drawn at random for it: scores of the whole vocabulary at each row are dear
LANGUAGE_SHARE = 0.08  # of the steps are of text alone
SUMMARIES = 8000  # documents with summaries to draw from, and as many rows of plain text as they make


@dataclass(frozen=True)
class Size:
    """How much to show at what rates, and the width of what reads the rows again for QA and NLI."""

    amounts: lessons.Amounts
    batch_tokens: int
    reader: int
    body_rate: float
    head_rate: float  # what is new learns faster


# About seven million tokens: an hour and a quarter on one core.
WHOLE = Size(
    lessons.Amounts(
        snli_epochs=3.0,
        altered_epochs=1.0,
        questions=26_000,
        unanswered=False,
        topic_epochs=1.5,
        sentiment_epochs=1.0,
        longest_passage=300,
    ),
    batch_tokens=2048,
    reader=128,
    body_rate=6e-4,
    head_rate=2e-3,
)
TINY = Size(replace(WHOLE.amounts, longest_text=96, longest_passage=112), 256, 16, 3e-3, 3e-3)


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores.

    Raises BadParameter without a checkpoint to start from.
    """
    torch.manual_seed(run.seed)
    size = TINY if run.tiny else WHOLE
    tokenizer, config, network = begin(run, size)
    network.to(run.device)
    taught = lessons.teach(run.data, tokenizer, size.amounts, run.seed, run.soft)
    watched = lessons.watch(run.data, tokenizer, size.amounts, run.seed)
    rows = language_rows(run.data, tokenizer, min(config.n_positions, gpt_lm.WHOLE.length), run.seed)
    held = torch.from_numpy(rows[: max(1, min(16, len(rows) // 8))]).to(run.device)
    rows = rows[len(held) :]
    batches = schedule(taught, len(rows), rows.shape[1], size.batch_tokens, run.seed)
    batches = batches[: max(1, round(len(batches) * run.scale))]

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        number, indices = batches[step]
        if number == len(taught):
            chosen = torch.from_numpy(rows[indices]).to(run.device)
            return gpt_lm.language_loss(network, chosen), "text", chosen.numel()
        chance = torch.Generator().manual_seed(run.seed * 1_000_003 + step)
        loss, tokens = task_loss(network, taught[number], indices, chance)
        return loss, taught[number].head, tokens

    def evaluate() -> dict[str, float]:
        found = {f"{head} dev": finetune.accuracy(network, head, examples) for head, examples in watched.items()}
        return found | {"text held-out loss": float(gpt_lm.language_loss(network, held))}

    plan = loop.Plan(loop.Schedule(len(batches)), run.out, evaluate_every=1000)
    scores = loop.run(network, loss_of, optimizers_for(network, size), plan, evaluate, run.resume)
    export.export_both(run.checkpoint, gpt2.FAMILY, config, network, HEADS, tokenizer)
    return scores


def begin(run: Run, size: Size) -> gpt_lm.Begun:
    """The network to fine-tune: a language model with three more tokens and fresh heads, or one of this recipe."""
    if run.start is None:
        if not run.tiny:
            raise BadParameter("gpt-mini goes on from a checkpoint of gpt-lm. Name its folder with --from.")
        plain, config, body = gpt_lm.begin(run, gpt_lm.TINY)
        state, heads = body.body.state_dict(), {}
    else:
        model = load_folder(run.start, [gpt2.FAMILY])
        plain, config, state = model.tokenizer, model.config, model.network.body.state_dict()
        heads = {n: h.state_dict() for n, h in model.network.heads.items() if model.heads[n] == HEADS.get(n)}
        heads = heads if (config.reader, config.pair_heads) == (size.reader, PAIR_HEADS) else {}
    tokenizer = with_inputs(plain, run.out, config)
    vocabulary = max(config.vocab_size, tokenizer.vocabulary)
    config = replace(config, vocab_size=vocabulary, reader=size.reader, pair_heads=PAIR_HEADS)
    network = gpt2.build(replace(config, resid_pdrop=DROPOUT, embd_pdrop=DROPOUT, attn_pdrop=0.0), HEADS)
    for name, parameter in network.named_parameters():
        if name in ("heads.topic.out.weight", "heads.sentiment.out.weight"):
            torch.nn.init.normal_(parameter, std=0.02)
    words = state["word.weight"]
    fresh = torch.randn(config.vocab_size - len(words), config.n_embd) * 0.02  # [3, D], or none
    network.body.load_state_dict(state | {"word.weight": torch.cat([words, fresh])})
    for name, values in heads.items():
        network.heads[name].load_state_dict(values)
    return gpt_lm.Begun(tokenizer, config, network)


def with_inputs(tokenizer: Tokenizer, folder: Path, config: gpt2.Gpt2Config) -> Tokenizer:
    """The tokenizer with GPT's three tokens behind its vocabulary, if it has not got them, and the inputs they make."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder)
    path = folder / "tokenizer.json"
    pipeline = tokenizers.Tokenizer.from_file(str(path))
    pipeline.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (START, DELIMITER, CLASSIFY)])
    pipeline.save(str(path))
    return gpt2.read_tokenizer(Opened(folder), config)


def language_rows(data: Path, tokenizer: Tokenizer, length: int, seed: int) -> np.ndarray:
    """What kept the language model busy before, so that it forgets nothing: documents that end in their summaries, and
    as many rows of plain text, mixed: [rows, length] of int64."""
    pairs = list(islice(gpt_lm.summaries(data), SUMMARIES))
    random.Random(seed).shuffle(pairs)
    end = tokenizer.end or 0
    tldr = text.tldr_sequences(tokenizer, pairs, gpt_lm.PROMPT, end, length, seed)
    documents = text.reading(data, [*text.shards(data, "enwiki2018_*"), *text.shards(data, "books_pd_*")])
    stream = text.token_stream(tokenizer, documents, end, most=tldr.size)
    plain = stream[: len(stream) // length * length].reshape(-1, length)
    return np.random.default_rng(seed).permutation(np.concatenate([tldr, plain])).astype(np.int64)


def schedule(taught: Sequence[Lesson], rows: int, length: int, tokens: int, seed: int) -> list[tuple[int, list[int]]]:
    """All batches of the lessons, and between them batches of rows of text alone, as one lesson more."""
    batches = finetune.schedule_batches(taught, tokens, seed)
    chance = random.Random(seed)
    size = min(rows, max(1, tokens // length))
    many = round(len(batches) * LANGUAGE_SHARE / (1 - LANGUAGE_SHARE)) if rows else 0
    batches += [(len(taught), chance.sample(range(rows), size)) for _ in range(many)]
    chance.shuffle(batches)
    return batches


def task_loss(
    network: Network, lesson: Lesson, indices: Sequence[int], chance: torch.Generator
) -> tuple[torch.Tensor, int]:
    """Section 3.2: the loss of the task, plus that of the language model on the same rows; and the batch's tokens."""
    examples = [lesson.examples[i] for i in indices]
    batch = Batch.of([e.encoding for e in examples], next(network.parameters()).device)
    with finetune.attention_for(batch):
        rows = network.body(batch).last  # [N, D]
    loss = lesson.weight * finetune.loss_from(
        network.heads[lesson.head](rows, batch), batch, examples, lesson.soft_weight
    )
    before = rows_before_text(batch)
    before = before[torch.randperm(len(before), generator=chance)[:LANGUAGE_ROWS]]
    logits = network.heads["lm"](rows[before], batch).float()  # [some, V]
    language = F.cross_entropy(logits, batch.ids[before + 1], reduction="sum") / max(1, len(before))
    return loss + LANGUAGE_WEIGHT * language, len(batch.ids)


def rows_before_text(batch: Batch) -> torch.Tensor:
    """The rows whose next token is of a text: the language model is not taught the tokens of the inputs, which it
    would say in its own texts. The original code teaches them."""
    assert batch.sources is not None
    return (batch.sources[1:] >= 0).nonzero()[:, 0]  # a text begins with a special token, so none follows another text


def optimizers_for(network: Network, size: Size) -> list[torch.optim.Optimizer]:
    """AdamW with two rates, and without decay on norms and biases."""
    body = dict(network.body.named_parameters())
    heads = {n: p for n, p in network.named_parameters() if n.startswith("heads.")}  # shared ones are the body's
    groups = [
        {"params": [p for p in part.values() if (p.dim() > 1) == matrices], "lr": rate, "weight_decay": decay}
        for part, rate in ((body, size.body_rate), (heads, size.head_rate))
        for matrices, decay in ((True, 0.01), (False, 0.0))
    ]
    return [torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]
