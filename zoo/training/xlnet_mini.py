"""xlnet-mini: xlnet-lm fine-tuned on four tasks at once, with <cls> at the end as the token that stands for a text, and
rates that fall from layer to layer (Yang et al. 2019, appendix A.3 and A.4). The language model is kept alive by rows
of text, half of which end in summaries, read from left to right as in pre-training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from zoo.contracts import HeadSpec, Tokenizer
from zoo.errors import BadParameter
from zoo.family import Network
from zoo.models import xlnet
from zoo.training import export, finetune, gpt_mini, lessons, loop, xlnet_lm
from zoo.training.recipes import Run
from zoo.training.xlnet_lm import Begun, Teacher
from zoo.weights.load import load_folder

HEADS = {
    "lm": HeadSpec("lm"),
    "nli": HeadSpec("classifier", lessons.NLI),
    "qa": HeadSpec("span"),  # a reader on top; the paper's head, ends after starts, did not learn in so few steps
    "topic": HeadSpec("classifier", lessons.TOPICS),
    "sentiment": HeadSpec("classifier", lessons.SENTIMENTS),
}
PAIR_HEADS = gpt_mini.PAIR_HEADS
DROPOUT = 0.0  # but before the classifiers: with the paper's 0.1 everywhere sentiment was a guess for sixty batches
CLASSIFIER_DROPOUT = 0.1
LAYER_DECAY = 0.9  # of the rate from each layer to the one below; the paper's 0.75 is for 24 layers


@dataclass(frozen=True)
class Size:
    """How much to show, and at what rates."""

    amounts: lessons.Amounts
    batch_tokens: int
    length: int  # tokens of a row of text alone
    reader: int  # width of what reads the rows again for QA and NLI
    body_rate: float  # of the last layer
    head_rate: float  # what is new learns faster


# About twelve million tokens: an hour and a quarter on one core.
AMOUNTS = lessons.Amounts(questions=36_000, unanswered=False, topic_epochs=1.5)
WHOLE = Size(AMOUNTS, batch_tokens=2048, length=xlnet_lm.WHOLE.length, reader=128, body_rate=4e-4, head_rate=2e-3)
TINY = Size(replace(AMOUNTS, longest_text=96, longest_passage=112), 256, xlnet_lm.TINY.length, 16, 3e-3, 3e-3)


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores.

    Raises BadParameter without a checkpoint to start from.
    """
    torch.manual_seed(run.seed)
    size = TINY if run.tiny else WHOLE
    tokenizer, config, network = begin(run, size)
    taught = lessons.teach(run.data, tokenizer, size.amounts, run.seed, run.soft)
    watched = lessons.watch(run.data, tokenizer, size.amounts, run.seed)
    rows = torch.from_numpy(gpt_mini.language_rows(run.data, tokenizer, size.length, run.seed))
    count = min(16, len(rows) // 8)
    held, rows = rows[:count], rows[count:]
    batches = gpt_mini.schedule(taught, len(rows), size.length, size.batch_tokens, run.seed)
    batches = batches[: max(1, round(len(batches) * run.scale))]
    teacher = Teacher(network, tokenizer, run.seed, run.device)

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        number, indices = batches[step]
        if number == len(taught):
            return teacher.onward(rows[indices]), "text", len(indices) * size.length
        loss, tokens = finetune.loss_of(network, taught[number], indices)
        return loss, taught[number].head, tokens

    def evaluate() -> dict[str, float]:
        found = {f"{head} dev": finetune.accuracy(network, head, examples) for head, examples in watched.items()}
        return found | ({"text held-out loss": float(teacher.onward(held))} if count else {})

    plan = loop.Plan(loop.Schedule(len(batches)), run.out, evaluate_every=1000)
    scores = loop.run(network, loss_of, optimizers_for(network, size), plan, evaluate, run.resume)
    export.export_both(run.checkpoint, xlnet.FAMILY, config, network, HEADS, tokenizer)
    return scores


def begin(run: Run, size: Size) -> Begun:
    """The network to fine-tune: a language model with fresh heads, or one of this recipe."""
    if run.start is None:
        if not run.tiny:
            raise BadParameter("xlnet-mini goes on from a checkpoint of xlnet-lm. Name its folder with --from.")
        tokenizer, config, plain = xlnet_lm.begin(run, xlnet_lm.TINY)
        body, heads = plain.body.state_dict(), {"lm": plain.heads["lm"].state_dict()}
    else:
        model = load_folder(run.start, [xlnet.FAMILY])
        tokenizer, config, body = model.tokenizer, model.config, model.network.body.state_dict()
        heads = {n: h.state_dict() for n, h in model.network.heads.items() if model.heads[n] == HEADS.get(n)}
        alike = (config.reader, config.pair_heads) == (size.reader, PAIR_HEADS)
        heads = heads if alike else {"lm": heads["lm"]}
    config = replace(config, reader=size.reader, pair_heads=PAIR_HEADS, summary_type="mean")
    network = xlnet.build(replace(config, dropout=DROPOUT, summary_last_dropout=CLASSIFIER_DROPOUT), HEADS)
    for name, parameter in network.named_parameters():
        if name.startswith(("heads.topic.", "heads.sentiment.")):
            nn.init.normal_(parameter, std=0.02) if parameter.dim() == 2 else nn.init.zeros_(parameter)
        if name.endswith("pooler.dense.weight"):
            nn.init.orthogonal_(parameter)  # 0.02 makes all texts look alike at first
    network.body.load_state_dict(body)
    for name, values in heads.items():
        network.heads[name].load_state_dict(values)
    if "nli" not in heads:
        seat_separators(network, tokenizer)  # last: the language model's head brings the embedding once more
    return Begun(tokenizer, config, network)


def seat_separators(network: Network, tokenizer: Tokenizer) -> None:
    """Start <cls> as what a guess starts from, and <sep> as the end of a document.

    No text of the pretraining has either, but every softmax pushed their vectors away: they were three times as long as
    those of pieces. Begun as they were, sentiment was at 50 percent after a hundred batches; so begun, at 61.
    """
    body = network.body
    assert isinstance(body, xlnet.Xlnet) and tokenizer.end is not None
    ids = {tokenizer.token(index): index for index in range(tokenizer.vocabulary)}
    with torch.no_grad():
        body.word.weight[ids["<cls>"]] = body.masked
        body.word.weight[ids["<sep>"]] = body.word.weight[tokenizer.end]


def optimizers_for(network: Network, size: Size) -> list[torch.optim.Optimizer]:
    """AdamW, without decay on norms and biases; each layer's rate is a part of that of the layer above it."""
    blocks = network.body.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    heads = {n: p for n, p in network.named_parameters() if n.startswith("heads.")}  # shared ones are the body's
    levels = [(list(heads.values()), size.head_rate)]
    levels += [
        (list(block.parameters()), size.body_rate * LAYER_DECAY**below) for below, block in enumerate(reversed(blocks))
    ]
    known = {id(p) for parameters, _ in levels for p in parameters}
    embeddings = [p for p in network.parameters() if id(p) not in known]
    levels.append((embeddings, size.body_rate * LAYER_DECAY ** len(blocks)))
    groups = [
        {"params": [p for p in parameters if (p.dim() == 2) == matrices], "lr": rate, "weight_decay": decay}
        for parameters, rate in levels
        for matrices, decay in ((True, 0.01), (False, 0.0))
    ]
    return [torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]
