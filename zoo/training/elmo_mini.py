"""elmo-mini: task networks on a frozen ELMo (Peters et al. 2018, section 3.3): each reads its own mix of the layers,
beside vectors of words that it learns itself. Without those, and with twice the dropout, sentiment stood at 69 % and
topic at 76 % after 2,000 steps: a small language model has not learnt what tells a good film from a bad one, and is not
allowed to learn it here.

The language model of the recipe `elmo-lm` is never trained here, so that one body serves all heads; the readers are
those of zoo/models/elmo_readers.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contracts import HeadSpec
from zoo.errors import BadParameter
from zoo.family import Network
from zoo.models import elmo
from zoo.models.elmo import ElmoConfig
from zoo.models.elmo_readers import ReaderConfig
from zoo.training import export, finetune, lessons, loop
from zoo.training.recipes import Run
from zoo.weights.load import load_folder

TAUGHT = {
    "nli": HeadSpec("classifier", lessons.NLI),
    "qa": HeadSpec("span"),
    "topic": HeadSpec("classifier", lessons.TOPICS),
    "sentiment": HeadSpec("classifier", lessons.SENTIMENTS),
}
HEADS = {"lm": HeadSpec("lm"), **TAUGHT}
OWN, BUCKETS = 64, 30_000
READERS = {
    "nli": ReaderConfig("esim", 128, 0.2, OWN, BUCKETS),
    "qa": ReaderConfig("spans", 128, 0.2, OWN, BUCKETS),
    "topic": ReaderConfig("pooled", 128, 0.2, OWN, BUCKETS),
    "sentiment": ReaderConfig("pooled", 128, 0.2, OWN, BUCKETS),
}
TINY_READER: dict[str, Any] = {"size": 16, "dropout": 0.1, "own": 4, "buckets": 99}
AMOUNTS = lessons.Amounts(questions=28_000, unanswered=False)
TINY_AMOUNTS = replace(AMOUNTS, snli_epochs=6, altered_epochs=0, question_epochs=6, topic_epochs=6, sentiment_epochs=6)
BATCH_TOKENS, TINY_BATCH_TOKENS = 4096, 512
RATE, TINY_RATE = 3e-3, 1e-2
OWN_RATE = 2e-2  # a word is seen a few times only: at 2e-3 topic is 6 points behind after 70 batches
EVALUATE_EVERY = 500


def network_from(start: Network, config: ElmoConfig) -> Network:
    """The body and softmax of a language model, which stay as they are, and fresh readers."""
    network = elmo.build(config, HEADS)
    network.body.load_state_dict(start.body.state_dict())
    network.heads["lm"].load_state_dict(start.heads["lm"].state_dict())
    for part in (network.body, network.heads["lm"]):
        part.requires_grad_(False)  # so that nothing below the readers is kept for a gradient
    return network


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the best scores. Raises BadParameter without a start."""
    torch.manual_seed(run.seed)
    if run.start is None:
        raise BadParameter("elmo-mini trains readers on a language model. Give --from the checkpoint of elmo-lm.")
    model = load_folder(run.start, [elmo.FAMILY])
    readers = {name: replace(reader, **TINY_READER) if run.tiny else reader for name, reader in READERS.items()}
    config = replace(model.config, readers=readers)
    network = network_from(model.network, config).to(run.device)
    amounts, tokens = (TINY_AMOUNTS, TINY_BATCH_TOKENS) if run.tiny else (AMOUNTS, BATCH_TOKENS)
    taught = lessons.teach(run.data, model.tokenizer, amounts, run.seed, run.soft)
    watched = lessons.watch(run.data, model.tokenizer, amounts, run.seed)
    batches = finetune.schedule_batches(taught, tokens, run.seed)
    batches = batches[: max(1, round(len(batches) * run.scale))]

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        number, indices = batches[step]
        loss, tokens = finetune.loss_of(network, taught[number], indices)
        return loss, taught[number].head, tokens

    def evaluate() -> dict[str, float]:
        return {f"{head} dev": finetune.accuracy(network, head, examples) for head, examples in watched.items()}

    plan = loop.Plan(loop.Schedule(len(batches)), run.out, evaluate_every=EVALUATE_EVERY, keep="best")
    trained = nn.ModuleDict({name: network.heads[name] for name in TAUGHT})
    optimizers = optimizers_for(trained, TINY_RATE if run.tiny else RATE)
    scores = loop.run(network, loss_of, optimizers, plan, evaluate, run.resume)
    export.export_both(run.checkpoint, elmo.FAMILY, config, network, HEADS, model.tokenizer)
    return scores


def optimizers_for(readers: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """AdamW for the readers, and a faster one without decay for their own vectors of words."""
    own = [p for name, p in readers.named_parameters() if name.endswith("words.own.weight")]
    known = {id(p) for p in own}
    rest = [p for p in readers.parameters() if id(p) not in known]
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "lr": rate, "weight_decay": 0.01},
        {"params": [p for p in rest if p.dim() < 2], "lr": rate, "weight_decay": 0.0},
        {"params": own, "lr": OWN_RATE, "weight_decay": 0.0},
    ]
    return [torch.optim.AdamW(groups, fused=True)]
