"""ulmfit-mini: ULMFiT's three stages (Howard & Ruder 2018, section 3) for four tasks at once.

1. The general language model is the checkpoint that the run starts from (recipe `ulmfit-lm`).
2. It goes on with the texts of the four tasks, among general text so that it does not forget that (section 3.2).
3. A head for each task on ONE body, and the language model beside them (section 3.3).

The paper fine-tunes a body for each task; here all share one, so that one checkpoint answers them all, and every few
batches are ones of the language model, so that it lives on. Rates fall from layer to layer (discriminative
fine-tuning), rise and fall over the run (slanted triangular), and layers are set free from the top down (gradual
unfreezing). They fall by 2.6 in the paper, whose language model has read a hundred times more: what tells a good film
from a bad one lies in its embedding already. Here that has to be learnt, and 2.6 would hold the embedding still: after
150 batches sentiment stood at 68 % with 2.6, at 73 % with 1.3, at 80 % with 1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.contracts import Batch, HeadSpec
from zoo.errors import BadParameter
from zoo.family import Model, Network
from zoo.models import ulmfit
from zoo.training import awd, export, finetune, lessons, loop, ulmfit_lm
from zoo.training.awd import Carried, Trained
from zoo.training.finetune import Lesson
from zoo.training.recipes import Run
from zoo.training.ulmfit_lm import Columns, Size
from zoo.weights.load import load_folder

HEADS = {
    "topic": HeadSpec("classifier", lessons.TOPICS),
    "sentiment": HeadSpec("classifier", lessons.SENTIMENTS),
    "nli": HeadSpec("classifier", lessons.NLI),
    "qa": HeadSpec("span"),
    "lm": HeadSpec("lm"),
}
AMOUNTS = lessons.Amounts(questions=20_000, unanswered=False)
TINY_AMOUNTS = replace(AMOUNTS, snli_epochs=6, altered_epochs=0, question_epochs=6, topic_epochs=6, sentiment_epochs=6)
GENERAL, SUMMARIZED = 3_000_000, 60_000_000  # characters of text beside that of the tasks
TASKS_SHARE = 0.625  # of the columns in stage 2
ADAPTING_STEPS, TINY_ADAPTING_STEPS = 500, 12
ADAPTING_RATE, RATE, TINY_RATE = 2e-3, 2e-3, 1e-3  # of the highest layer
FALLING = 1.1  # from layer to layer in stage 3; in stage 2 the paper's
PAPERS_FALLING = 2.6  # section 3.2
CUT, RATIO = 0.1, 32  # of slanted triangular rates: the paper's
UNFREEZE_EVERY = 0.04  # of the steps of stage 3
SAMPLE = 512  # examples of a task that settle the norms of its head
LEAST_VARIANCE, TINY_VARIANCE = 1e-2, 1e-4  # what hardly varies is not blown up: states of an LSTM lie between -1 and 1
BATCH_TOKENS, TINY_BATCH_TOKENS = 2048, 256
LM_EVERY = 8  # batches of stage 3
LM_WEIGHT = 0.5
CLASSIFIER_DROPOUT, LM_DROPOUT = 0.3, 0.1  # of fastai's full ones


def slanted(step: int, steps: int) -> float:
    """Slanted triangular rates, section 3.2: a short rise and a long fall."""
    cut = max(1.0, steps * CUT)
    share = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / CUT - 1))
    return (1 + max(0.0, share) * (RATIO - 1)) / RATIO


def unfrozen(step: int, layer: int, steps: int) -> float:
    """The same, but nothing as long as a layer is frozen, section 3.3; layers are counted from the top."""
    return slanted(step, steps) if step >= layer * UNFREEZE_EVERY * steps else 0.0


def layers_of(network: Network) -> list[list[Tensor]]:
    """Parameters by layer, the highest first: heads, LSTMs, embedding."""
    body = awd.body_of(network)
    word = body.word.weight  # of the language model's head, too
    layers: list[list[Tensor]] = [[p for p in network.heads.parameters() if p is not word]]
    layers += [list(rnn.parameters()) for rnn in reversed(awd.recurrent(body))]
    return [*layers, [word]]


def optimizers_for(network: Network, rate: float, falling: float = FALLING) -> list[torch.optim.Optimizer]:
    """One group a layer, each with a lower rate than the one above it; the lowest is the embedding."""
    groups: list[dict[str, Any]] = [
        {"params": layer, "lr": rate / falling**depth, "weight_decay": 0.01}
        for depth, layer in enumerate(layers_of(network))
    ]
    word, betas = groups.pop(), (0.8, 0.99)
    return [
        torch.optim.AdamW(groups, betas=betas, fused=True),
        awd.RowAdam(word["params"], lr=word["lr"], betas=betas),
    ]


def start_from(run: Run, size: Size) -> tuple[Model, Network]:
    """The language model that the run starts from, and the network with new heads on it. Raises BadParameter."""
    if run.start is None:
        raise BadParameter("ulmfit-mini starts from a language model: name the checkpoint of an ulmfit-lm run.")
    model = load_folder(run.start, [ulmfit.FAMILY])
    if "lm" not in model.heads:
        raise BadParameter(f"{run.start} has no language model, only {', '.join(model.heads)}.")
    network = ulmfit.build(replace(model.config, pair_heads=("nli",), head_size=size.head_size), HEADS)
    network.body.load_state_dict(model.network.body.state_dict())
    for name, spec in model.heads.items():
        if HEADS.get(name) == spec:  # the language model; and all heads, of a checkpoint of this recipe
            network.heads[name].load_state_dict(model.network.heads[name].state_dict())
    return model, network


def adapt(run: Run, network: Network, size: Size, tasks: np.ndarray, general: np.ndarray) -> None:
    """Stage 2: the language model goes on with the tasks' texts in some columns and general text in the others."""
    of_tasks = round(size.columns * TASKS_SHARE)
    tables = [
        ulmfit_lm.in_columns(tasks, of_tasks),
        ulmfit_lm.in_columns(general, size.columns - of_tasks),
    ]
    length = min(table.shape[1] for table in tables)
    columns = Columns(np.concatenate([table[:, :length] for table in tables]), size.bptt)
    carried = Carried(network, size.columns).to(run.device)
    share = awd.FOR_LM.times(LM_DROPOUT)
    steps = max(1, round((TINY_ADAPTING_STEPS if run.tiny else ADAPTING_STEPS) * run.scale))

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        loss = ulmfit_lm.loss_on(carried, columns, step, share, size.softmax)
        return loss, "lm", size.columns * size.bptt

    plan = loop.Plan(
        loop.Schedule(steps),
        run.out / "stage2",
        clip=0.5,
        rate=lambda step, group: slanted(step, steps),
    )
    loop.run(carried, loss_of, optimizers_for(network, ADAPTING_RATE, PAPERS_FALLING), plan, None, run.resume)


@torch.no_grad()
def settle(
    network: Network, taught: Sequence[Lesson], seed: int, least: float = LEAST_VARIANCE
) -> list[nn.BatchNorm1d]:
    """Give every batch norm the statistics of a fair sample of its task, and return them: they keep these.

    Those of the batches of training would be of texts of one length each.
    """
    chance, found = random.Random(seed), []
    network.eval()
    for head in dict.fromkeys(lesson.head for lesson in taught):
        examples = [example for lesson in taught if lesson.head == head for example in lesson.examples]
        some = chance.sample(examples, min(SAMPLE, len(examples)))
        for norm in [part for part in network.heads[head].modules() if isinstance(part, nn.BatchNorm1d)]:
            seen: list[Tensor] = []
            with norm.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0])):
                finetune.accuracy(network, head, some)
            rows = torch.cat(seen)  # [SAMPLE, D]; of a higher norm as the lower ones, settled before, make them
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.copy_(rows.mean(0))
            norm.running_var.copy_(rows.var(0).clamp(min=least))
            found.append(norm)
    return found


def with_language_model(batches: int) -> list[int | None]:
    """The steps of stage 3 in order: the number of a batch, or None for one of the language model."""
    order: list[int | None] = []
    for number in range(batches):
        order += [number, None] if number % (LM_EVERY - 1) == LM_EVERY - 2 else [number]
    return order


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    size = ulmfit_lm.size_of(run)
    model, network = start_from(run, size)
    network.to(run.device)
    if not run.tiny:
        size = replace(size, characters=GENERAL, summarized=SUMMARIZED)
    tokenizer = ulmfit_lm.prepare(run, size)
    tasks = np.load(run.out / "tasks.npy")
    general, held = ulmfit_lm.split_held(np.load(run.out / "tldr.npy"), 8_000)
    adapt(run, network, size, tasks, general)

    amounts = TINY_AMOUNTS if run.tiny else AMOUNTS
    taught = lessons.teach(run.data, tokenizer, amounts, run.seed, run.soft)
    watched = lessons.watch(run.data, tokenizer, amounts, run.seed)
    batches = finetune.schedule_batches(taught, TINY_BATCH_TOKENS if run.tiny else BATCH_TOKENS, run.seed)
    batches = batches[: max(1, round(len(batches) * run.scale))]
    order = with_language_model(len(batches))
    columns = Columns(ulmfit_lm.in_columns(general, size.columns), size.bptt)
    trained = Trained(network, awd.NONE if run.tiny else awd.FOR_CLASSIFIER.times(CLASSIFIER_DROPOUT))
    lm_share = awd.FOR_LM.times(LM_DROPOUT)

    def lm_loss(step: int) -> Tensor:
        """Of a piece of general text that is read from zeros."""
        ids, targets, _ = columns.piece(step, run.device)
        rows = awd.read(awd.body_of(network), ids, None, lm_share)[1]
        return LM_WEIGHT * size.softmax.loss(awd.decoder_of(network), rows.flatten(0, 1), targets.reshape(-1))

    norms = settle(network, taught, run.seed, TINY_VARIANCE if run.tiny else LEAST_VARIANCE)

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        for norm in norms:  # a batch holds texts of one length, and so is no fair sample
            norm.eval()
        chosen = order[step]
        if chosen is None:
            return lm_loss(step // LM_EVERY), "lm", size.columns * size.bptt
        lesson, indices = batches[chosen]
        examples, head = [taught[lesson].examples[i] for i in indices], taught[lesson].head
        batch = Batch.of([e.encoding for e in examples], run.device)
        loss = finetune.loss_from(trained(batch, head), batch, examples, taught[lesson].soft_weight)
        return taught[lesson].weight * loss, head, len(batch.ids)

    def evaluate() -> dict[str, float]:
        scores = {f"{head} dev": finetune.accuracy(network, head, examples) for head, examples in watched.items()}
        return scores | {"lm held-out loss": ulmfit_lm.held_loss(network, held, size.columns)}

    plan = loop.Plan(
        loop.Schedule(len(order)),
        run.out,
        evaluate_every=500,
        rate=lambda step, group: unfrozen(step, group, len(order)),
    )
    scores = loop.run(
        trained, loss_of, optimizers_for(network, TINY_RATE if run.tiny else RATE), plan, evaluate, run.resume
    )
    config = replace(model.config, pair_heads=("nli",), head_size=size.head_size)
    export.export_both(run.checkpoint, ulmfit.FAMILY, config, network, HEADS, tokenizer)
    return scores
