"""Fine-tuning one encoder on several tasks at once, one head each (the MT-DNN way, Liu et al. 2019, section 3)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import pad_sequence

from zoo.contracts import Batch, Encoding, Tokenizer
from zoo.family import Network

FUSED_FROM = 192  # tokens of a text from which the fused attention of CPUs is the faster one in training


@dataclass(frozen=True)
class Example:
    """An encoded row: for a classifier `target` is the label's index, for a span (start, end) token indices.

    `soft` are a teacher's probabilities in the order of the head's labels; a row with them may do without a target.
    """

    encoding: Encoding
    target: tuple[int, ...]
    soft: tuple[float, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """The training rows of one head."""

    head: str
    examples: Sequence[Example]
    epochs: float = 1.0
    weight: float = 1.0  # of its loss
    soft_weight: float = 0.5  # of the teacher's word, where a row has a label too


def classification(
    rows: Iterable[Mapping[str, Any]], labels: Sequence[str], tokenizer: Tokenizer, longest: int
) -> list[Example]:
    """Rows {text, label} or {premise, hypothesis, label}, with a teacher's {label: probability} under `probabilities`
    beside the label or instead of it; overlong texts are cut at the end."""
    examples = []
    for row in rows:
        soft = tuple(row["probabilities"][label] for label in labels) if "probabilities" in row else ()
        target = (labels.index(row["label"]),) if row.get("label") in labels else ()
        if not target and not soft:
            continue
        pair = "premise" in row
        first = tokenizer.pieces(row["premise"] if pair else titled_text(row))
        second = tokenizer.pieces(row["hypothesis"]) if pair else None
        room = longest - tokenizer.extras(pair) - (len(second) if second else 0)
        encoding = tokenizer.assemble(first[: max(room, 1)], second)
        examples.append(Example(encoding, target, soft))
    return examples


def titled_text(row: Mapping[str, Any]) -> str:
    """The text of a row, after its title when it has one (news)."""
    return f"{row['title']} {row['text']}" if row.get("title") else row["text"]


def spans(rows: Iterable[Mapping[str, Any]], tokenizer: Tokenizer, longest: int) -> list[Example]:
    """Rows {question, context, answers}; a long context is cut to a window around the answer, whose place in it
    varies; without an answer, both ends point at the token that stands for the whole text."""
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
        encoding = tokenizer.question(question, context[start : start + room])
        if not answered:
            examples.append(Example(encoding, (encoding.summary, encoding.summary)))
            continue
        shift = encoding.sources.index(1) - start
        if last + shift < len(encoding):
            examples.append(Example(encoding, (first + shift, last + shift)))
    return examples


def schedule_batches(lessons: Sequence[Lesson], tokens: int, seed: int) -> list[tuple[int, list[int]]]:
    """All batches of a run, in order: (lesson, indices of its examples), each of at most about `tokens` tokens.

    Within an epoch of a lesson, neighbours in a shuffled pool are sorted by length, so that texts of equal length meet
    in a batch and are computed together; batches of all lessons are then mixed. Pools are a part of the examples, so
    that other texts meet in every epoch.
    """
    chance = random.Random(seed)
    batches: list[tuple[int, list[int]]] = []
    for number, lesson in enumerate(lessons):
        left, many = round(len(lesson.examples) * lesson.epochs), len(lesson.examples)
        pools: list[list[int]] = []
        size = min(2048, max(64, many // 4))
        while left > 0:
            epoch = chance.sample(range(many), many)[:left]
            pools += [epoch[begin : begin + size] for begin in range(0, len(epoch), size)]
            left -= len(epoch)
        for pool in pools:
            pool.sort(key=lambda i: len(lesson.examples[i].encoding))
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


def attention_for(batch: Batch) -> AbstractContextManager[None]:
    """The kernel of attention that is faster for a batch: on a CPU the fused one takes twice as long over short texts,
    most of it on the way back."""
    short = batch.ids.device.type == "cpu" and max(batch.lengths) < FUSED_FROM
    return sdpa_kernel(SDPBackend.MATH) if short else nullcontext()


def loss_of(network: Network, lesson: Lesson, indices: Sequence[int]) -> tuple[Tensor, int]:
    """Mean loss of one batch, and its tokens."""
    examples = [lesson.examples[i] for i in indices]
    batch = Batch.of([e.encoding for e in examples], next(network.parameters()).device)
    with attention_for(batch):
        loss = loss_from(network(batch, lesson.head), batch, examples, lesson.soft_weight)
    return lesson.weight * loss, len(batch.ids)


def loss_from(scores: Tensor, batch: Batch, examples: Sequence[Example], soft_weight: float = 0.5) -> Tensor:
    """Mean loss of scores of a classifier [B, K] or of a span head [N, 2]: cross entropy with the target, and with
    the teacher's probabilities (Hinton et al. 2015, section 2, at temperature 1)."""
    scores = scores.float()
    if max(len(e.target) for e in examples) == 2:
        padded = pad_sequence(list(batch.split(scores)), batch_first=True, padding_value=-torch.inf)  # [B, T, 2]
        ends = torch.tensor([e.target for e in examples], device=scores.device)  # [B, 2]
        return F.cross_entropy(padded, ends)
    hard = torch.tensor([e.target[0] if e.target else -1 for e in examples], device=scores.device)  # [B]
    if not any(e.soft for e in examples):
        return F.cross_entropy(scores, hard)
    logs = scores.log_softmax(-1)  # [B, K]
    nothing = (0.0,) * scores.shape[1]
    soft = torch.tensor([e.soft or nothing for e in examples], device=scores.device)  # [B, K]
    from_teacher = -(soft * logs).sum(-1)  # [B]
    from_label = F.nll_loss(logs, hard, ignore_index=-1, reduction="none")  # [B]
    share = torch.tensor(
        [(soft_weight if e.target else 1.0) if e.soft else 0.0 for e in examples], device=scores.device
    )  # [B]
    return (share * from_teacher + (1 - share) * from_label).mean()


def predict(network: Network, head: str, examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """The best label, or the best start and the best end, of every example."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].encoding))
    said: list[tuple[int, ...]] = [()] * len(examples)
    for begin in range(0, len(order), 32):
        indices = order[begin : begin + 32]
        batch = Batch.of([examples[i].encoding for i in indices], next(network.parameters()).device)
        with torch.inference_mode():
            scores = network(batch, head)
        if len(scores) == len(indices):  # [B, K]
            found = [(label,) for label in scores.argmax(-1).tolist()]
        else:  # [N, 2]
            found = [tuple(rows[:, :2].argmax(0).tolist()) for rows in batch.split(scores)]
        for index, one in zip(indices, found, strict=True):
            said[index] = one
    return said


def accuracy(network: Network, head: str, examples: Sequence[Example]) -> float:
    """Percent of examples whose best label, or best start and end, is right. A quick look while training."""
    said = predict(network, head, examples)
    return 100 * sum(one == e.target for one, e in zip(said, examples, strict=True)) / len(examples)


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
        margins.append(float(pairs[allowed].max() - scores[example.encoding.summary].sum()))
    return float(torch.tensor(margins).quantile(refused))
