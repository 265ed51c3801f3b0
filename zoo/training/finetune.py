"""Fine-tuning one encoder on several tasks at once, one head each (the MT-DNN way, Liu et al. 2019, section 3)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.contracts import Batch, Encoding, Tokenizer
from zoo.family import Network
from zoo.rows import read_rows


@dataclass(frozen=True)
class Example:
    """An encoded row: for a classifier `target` is the label's index, for a span (start, end) token indices."""

    encoding: Encoding
    target: tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
    """The training rows of one head."""

    head: str
    examples: Sequence[Example]
    epochs: float = 1.0
    weight: float = 1.0  # of its loss


def classification(
    rows: Iterable[Mapping[str, Any]], labels: Sequence[str], tokenizer: Tokenizer, longest: int
) -> list[Example]:
    """Rows {text, label} or {premise, hypothesis, label}; overlong texts are cut at the end."""
    examples = []
    for row in rows:
        if row["label"] not in labels:
            continue
        pair = "premise" in row
        first = tokenizer.pieces(row["premise"] if pair else titled_text(row))
        second = tokenizer.pieces(row["hypothesis"]) if pair else None
        room = longest - tokenizer.extras(pair) - (len(second) if second else 0)
        encoding = tokenizer.assemble(first[: max(room, 1)], second)
        examples.append(Example(encoding, (labels.index(row["label"]),)))
    return examples


def titled_text(row: Mapping[str, Any]) -> str:
    """The text of a row, after its title when it has one (news)."""
    return f"{row['title']} {row['text']}" if row.get("title") else row["text"]


def spans(rows: Iterable[Mapping[str, Any]], tokenizer: Tokenizer, longest: int) -> list[Example]:
    """Rows {question, context, answers}; a long context is cut to a window around the answer, whose place in it
    varies; without an answer, (0, 0) points at the first special token."""
    examples = []
    chance = random.Random(0)
    contexts: dict[str, Any] = {}
    for row in rows:
        question = tokenizer.pieces(row["question"])
        context = contexts.setdefault(row["context"], None) or tokenizer.pieces(row["context"])
        contexts[row["context"]] = context
        room = longest - len(question) - tokenizer.extras(True)
        if room < 16:
            continue
        answered = bool(row["answers"]["text"])
        first = last = 0
        if answered:
            begin = row["answers"]["answer_start"][0]
            end = begin + len(row["answers"]["text"][0])
            inside = [i for i, (a, b) in enumerate(context.offsets) if a < end and b > begin]
            if not inside:
                continue
            first, last = inside[0], inside[-1]
        start = 0
        if len(context) > room:
            lowest, highest = max(0, last - room + 1), min(first, len(context) - room)
            start = chance.randint(min(lowest, highest), max(lowest, highest)) if answered else 0
        encoding = tokenizer.assemble(question, context[start : start + room])
        if not answered:
            examples.append(Example(encoding, (0, 0)))
            continue
        shift = encoding.sources.index(1) - start
        if last + shift < len(encoding):
            examples.append(Example(encoding, (first + shift, last + shift)))
    return examples


def schedule_batches(lessons: Sequence[Lesson], tokens: int, seed: int) -> list[tuple[int, list[int]]]:
    """All batches of a run, in order: (lesson, indices of its examples), each of at most about `tokens` tokens.

    Within a lesson, neighbours in a shuffled pool are sorted by length, so that texts of equal length meet in a batch
    and are computed together; batches of all lessons are then mixed.
    """
    chance = random.Random(seed)
    batches: list[tuple[int, list[int]]] = []
    for number, lesson in enumerate(lessons):
        order: list[int] = []
        left = round(len(lesson.examples) * lesson.epochs)
        while left > 0:
            epoch = list(range(len(lesson.examples)))
            chance.shuffle(epoch)
            order += epoch[:left]
            left -= len(epoch)
        for begin in range(0, len(order), 2048):
            pool = sorted(order[begin : begin + 2048], key=lambda i: len(lesson.examples[i].encoding))
            batch: list[int] = []
            used = 0
            for index in pool:
                length = len(lesson.examples[index].encoding)
                if batch and used + length > tokens:
                    batches.append((number, batch))
                    batch, used = [], 0
                batch.append(index)
                used += length
            if batch:
                batches.append((number, batch))
    chance.shuffle(batches)
    return batches


def loss_of(network: Network, lesson: Lesson, indices: Sequence[int]) -> tuple[Tensor, int]:
    """Mean loss of one batch, and its tokens."""
    examples = [lesson.examples[i] for i in indices]
    batch = Batch.of([e.encoding for e in examples], next(network.parameters()).device)
    logits = network(batch, lesson.head).float()
    if len(examples[0].target) == 1:  # a classifier: [B, K]
        target = torch.tensor([e.target[0] for e in examples], device=logits.device)
        return lesson.weight * F.cross_entropy(logits, target), len(batch.ids)
    losses = []  # a span head: [N, 2]
    for rows, example in zip(batch.split(logits), examples, strict=True):
        target = torch.tensor(example.target, device=logits.device)  # [2]
        losses.append(F.cross_entropy(rows.t(), target))
    return lesson.weight * torch.stack(losses).mean(), len(batch.ids)


def accuracy(network: Network, head: str, examples: Sequence[Example]) -> float:
    """Percent of examples whose best label, or best start and end, is right. A quick look while training."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].encoding))
    right = 0
    for begin in range(0, len(order), 32):
        chosen = [examples[i] for i in order[begin : begin + 32]]
        batch = Batch.of([e.encoding for e in chosen], next(network.parameters()).device)
        logits = network(batch, head)
        if len(chosen[0].target) == 1:
            right += sum(int(row.argmax()) == e.target[0] for row, e in zip(logits, chosen, strict=True))
        else:
            for rows, example in zip(batch.split(logits), chosen, strict=True):
                right += tuple(rows.argmax(0).tolist()) == example.target
    return 100 * right / len(examples)


def none_bias(
    network: Network, head: str, examples: Sequence[Example], refused: float = 0.05, longest: int = 30
) -> float:
    """What to add to the score of "no answer" so that this part of answerable questions is refused.

    A span head that saw few unanswerable questions scores "no answer" too low; this is SQuAD 2.0's threshold, set
    by questions that have an answer.
    """
    margins = []
    for example in examples:
        batch = Batch.of([example.encoding], next(network.parameters()).device)
        with torch.inference_mode():
            scores = network(batch, head).float()  # [T, 2]
        inside = [i for i, source in enumerate(example.encoding.sources) if source == 1]
        pairs = scores[inside, 0, None] + scores[None, inside, 1]  # [T, T]: start, end
        allowed = torch.ones_like(pairs, dtype=torch.bool).triu().tril(longest - 1)
        margins.append(float(pairs[allowed].max() - scores[0].sum()))
    return float(torch.tensor(margins).quantile(refused))


def rows_of(folder: Path, *names: str) -> list[dict[str, Any]]:
    """The rows of several files."""
    return [row for name in names for row in read_rows(folder / name)]
