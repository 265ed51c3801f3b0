"""Fine-tuning any checkpoint on a user's own rows: `python -m zoo train classify --data FILE.csv --from bert-mini`.

The body of the checkpoint gets a new head for the labels of the file. How it is trained is what its family's paper
does: transformers whole, ULMFiT unfrozen layer by layer from the top, ELMo's body not at all.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from zoo.contracts import HeadSpec
from zoo.errors import BadData, Unsupported
from zoo.family import Model, Network
from zoo.heads import Pooler
from zoo.models.elmo import ElmoConfig
from zoo.models.elmo_readers import ReaderConfig
from zoo.opening import load
from zoo.pages import without_folders
from zoo.training import export, finetune, loop, own_rows
from zoo.training.finetune import Example, Lesson
from zoo.training.own_rows import Row
from zoo.training.recipes import Run

DEFAULT = "bert-mini"
KINDS = {"classify": "classifier", "nli": "classifier", "qa": "span"}
READERS = {"classify": "pooled", "nli": "esim", "qa": "spans"}  # of ELMo
LONGEST = {"classify": 256, "nli": 256, "qa": 384}  # tokens of an example
ROWS_A_STEP = 16
EPOCHS = (3, 20)  # least and most
ROWS_IN_ALL = 6000  # to show when the epochs allow it
SNAPSHOT_SECONDS = 60.0
PATIENCE = 5  # epochs without a better one


@dataclass(frozen=True)
class Method:
    """How a family is fine-tuned: the groups of its body from the bottom to the top, none for a frozen body.

    `rate` is that of the top group, or None for one by size; the head has `head` times as much, and each lower group
    is divided by `lower`. With `gradual` the groups are unfrozen one after the other. `off` are dropouts in the config
    that have no fast kernel on a processor. `config(config, task)` describes the new head where a family's config does.
    """

    groups: Callable[[Any], list[nn.Module]] = lambda body: [body]
    rate: float | None = None
    head: float = 5.0
    lower: float = 1.0
    gradual: bool = False
    off: tuple[str, ...] = ()
    config: Callable[[Any, str], Any] = lambda config, task: config


def with_reader(config: ElmoConfig, task: str) -> ElmoConfig:
    """ELMo's config with a reader for the head: as large as one of that kind that is there, else as in elmo-mini."""
    kind = READERS[task]
    there = [reader for reader in (config.readers or {}).values() if reader.kind == kind]
    return replace(config, readers={task: there[0] if there else ReaderConfig(kind, size=128, dropout=0.4)})


METHODS: dict[str, Method] = {
    "bert": Method(off=("attention_probs_dropout_prob",)),
    "gpt": Method(off=("attn_pdrop",)),
    "gpt2": Method(off=("attn_pdrop",)),
    "xlnet": Method(),
    # Howard & Ruder 2018, sections 3.2 and 3.3
    "ulmfit": Method(lambda body: [body.word, *body.rnns], 2e-3, head=2.5, lower=2.6, gradual=True),
    # Peters et al. 2018, section 3.3: the biLM is fixed
    "elmo": Method(lambda body: [], 1e-3, head=1.0, config=with_reader),
}


def classify(run: Run) -> dict[str, float]:
    """Rows of text and label."""
    return fit(run, "classify")


def nli(run: Run) -> dict[str, float]:
    """Rows of premise, hypothesis and label."""
    return fit(run, "nli")


def qa(run: Run) -> dict[str, float]:
    """Rows of question, context and answer."""
    return fit(run, "qa")


def fit(run: Run, task: str) -> dict[str, float]:
    """Read the rows, train, write the checkpoint with its card, and return the figures on the dev rows.

    Raises BadData for rows that cannot be learnt from, Unsupported for a family without the head.
    """
    torch.manual_seed(run.seed)
    rows = own_rows.read(run.data, task)
    labels = own_rows.labels_in(rows, run.data.name) if task != "qa" else ()
    if run.dev is not None:
        train, dev = rows, _fitting(own_rows.read(run.dev, task), labels, run.dev.name)
    else:
        train, dev = own_rows.split(rows, run.seed)
    if labels:
        _say(f"rows by label: {own_rows.balance(rows)}")
    model = load(run.source or DEFAULT, progress=True)
    method = METHODS[model.family.name]
    spec = HeadSpec(KINDS[task], labels)
    config = method.config(model.config, task)
    network = network_from(model, config, task, spec, method).to(run.device)
    longest = min(LONGEST[task], model.longest)
    lesson = Lesson(task, examples_of(train, task, spec, model, longest), epochs=epochs_for(len(train), run.scale))
    watched = examples_of(dev, task, spec, model, longest)
    if not lesson.examples or not watched:
        raise BadData(f"No row of {run.data.name} fits {longest} tokens of {model.name} with its question.")
    _say(f"{len(lesson.examples):,} rows to learn from, {len(watched):,} to watch by, {lesson.epochs:g} epochs")

    batches = finetune.schedule_batches([lesson], batch_tokens(lesson.examples), run.seed)
    batches = [batch for batch in batches if len(batch[1]) > 1] or batches  # a batch norm has no use for one text
    in_epoch = math.ceil(len(batches) / lesson.epochs)
    groups = groups_of(network, task, method, model.parameters)

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        loss, tokens = finetune.loss_of(network, lesson, batches[step][1])
        return loss, task, tokens

    def evaluate() -> dict[str, float]:
        return figures(network, task, watched, len(labels))

    plan = loop.Plan(
        loop.Schedule(len(batches), warmup=0.1, fall=0.9),
        run.out,
        evaluate_every=in_epoch,
        snapshot_seconds=SNAPSHOT_SECONDS,
        rate=gradually(len(batches), in_epoch, len(groups)) if method.gradual else None,
        patience=max(PATIENCE, len(groups) + 1),
        keep="best",
    )
    scores = loop.run(
        network, loss_of, [torch.optim.AdamW(groups, weight_decay=0.01, fused=True)], plan, evaluate, run.resume
    )
    write(run, task, model, config, network, spec, scores, train, dev)
    return scores


def network_from(model: Model, config: Any, task: str, spec: HeadSpec, method: Method) -> Network:
    """The body of the checkpoint with one head: its own, where it has just that one, else a new one. A pooler that
    was pre-trained is kept. Raises Unsupported where the family has no such head."""
    try:
        network = model.family.build(replace(config, **dict.fromkeys(method.off, 0.0)), {task: spec})
    except AssertionError as error:
        raise Unsupported(
            f"{model.name} cannot be fine-tuned for {task}: {error}. Choose another --from, such as {DEFAULT}."
        ) from None
    network.body.load_state_dict(model.network.body.state_dict())
    shapes = {name: value.shape for name, value in network.heads[task].state_dict().items()}
    for name, before in model.heads.items():
        state = model.network.heads[name].state_dict()
        if replace(before, none_bias=0.0) == spec and shapes == {key: value.shape for key, value in state.items()}:
            network.heads[task].load_state_dict(state)
            return network
    poolers = [part for part in model.network.heads.modules() if isinstance(part, Pooler)]
    for part in network.heads.modules():
        if isinstance(part, Pooler) and poolers:
            part.load_state_dict(poolers[0].state_dict())
    return network


def groups_of(network: Network, task: str, method: Method, parameters: int) -> list[dict[str, Any]]:
    """Parameter groups with their rates: the head, then the body's groups from the top to the bottom."""
    rate = method.rate or min(5e-4, max(1e-5, 5e-5 * math.sqrt(110e6 / parameters)))  # 5e-5: BERT base, section 4
    network.body.requires_grad_(False)
    own: list[nn.Parameter] = list(network.heads[task].parameters())
    shared = set(map(id, own))
    groups: list[dict[str, Any]] = [{"params": own, "lr": rate * method.head}]
    for depth, part in enumerate(reversed(method.groups(network.body))):
        part.requires_grad_(True)
        own = [p for p in part.parameters() if id(p) not in shared]
        groups.append({"params": own, "lr": rate / method.lower**depth})
    return groups


def gradually(steps: int, in_epoch: int, groups: int) -> Callable[[int, int], float]:
    """The slanted triangular schedule (Howard & Ruder 2018, section 3.2), and 0 for groups that are still frozen: one
    more is unfrozen each epoch, or sooner, so that half of the steps train all."""
    period = max(1, min(in_epoch, steps // (2 * groups)))
    top, ratio = max(1.0, 0.1 * steps), 32.0

    def factor(step: int, group: int) -> float:
        if group > step // period:
            return 0.0
        part = min((step + 1) / top, (steps - step) / max(1.0, steps - top))
        return (1 + min(1.0, part) * (ratio - 1)) / ratio

    return factor


def examples_of(rows: Sequence[Row], task: str, spec: HeadSpec, model: Model, longest: int) -> list[Example]:
    """The rows as the model reads them."""
    if task == "qa":
        return finetune.spans(rows, model.tokenizer, longest)
    return finetune.classification(rows, spec.labels, model.tokenizer, longest)


def epochs_for(rows: int, scale: float) -> float:
    """More for fewer rows, and the part of them that --scale asks for."""
    least, most = EPOCHS
    return max(1.0, round(scale * max(least, min(most, ROWS_IN_ALL / rows))))


def batch_tokens(examples: Sequence[Example]) -> int:
    """Tokens of a step: as many as some rows of middle length have, and two of the longest."""
    lengths = sorted(len(e.encoding) for e in examples)
    return max(ROWS_A_STEP * lengths[len(lengths) // 2], 2 * lengths[-1])


def figures(network: Network, task: str, examples: Sequence[Example], labels: int) -> dict[str, float]:
    """Scores on rows that were not learnt from, in percent."""
    said = finetune.predict(network, task, examples)
    right = 100 * sum(p == e.target for p, e in zip(said, examples, strict=True)) / len(examples)
    if task == "qa":
        shared = [_overlap(p, e.target) for p, e in zip(said, examples, strict=True)]
        return {"exact span": right, "F1 of tokens": 100 * sum(shared) / len(shared)}
    return {"accuracy": right, "macro F1": 100 * _macro_f1([p[0] for p in said], [e.target[0] for e in examples])}


def _overlap(said: Sequence[int], wanted: Sequence[int]) -> float:
    both = min(said[1], wanted[1]) - max(said[0], wanted[0]) + 1
    return max(0.0, 2 * both / (said[1] - said[0] + 1 + wanted[1] - wanted[0] + 1)) if said[0] <= said[1] else 0.0


def _macro_f1(said: Sequence[int], wanted: Sequence[int]) -> float:
    """The mean F1 of the labels that occur."""
    each = []
    for label in {*said, *wanted}:
        hit = sum(s == w == label for s, w in zip(said, wanted, strict=True))
        each.append(2 * hit / (said.count(label) + wanted.count(label)))
    return sum(each) / len(each)


def write(
    run: Run,
    task: str,
    model: Model,
    config: Any,
    network: Network,
    spec: HeadSpec,
    scores: Mapping[str, float],
    train: Sequence[Row],
    dev: Sequence[Row],
) -> None:
    """The checkpoint in float32, named after the run's folder, and its card."""
    refuses = task == "qa" and any(not row["answers"]["text"] for row in train)
    name = run.out.resolve().name
    about = f"{without_folders(model.name)}, fine-tuned on {run.data.name}."
    facts = {"name": name, "unanswerable": refuses, "about": about}
    export.export(
        run.checkpoint, model.family, config, network, {task: spec}, model.tokenizer, quantized=False, facts=facts
    )
    said = "".join(f"| {figure} | {value:.1f} |\n" for figure, value in scores.items())
    watched = run.dev.name if run.dev else f"rows split off {run.data.name}"
    (run.checkpoint / "README.md").write_text(
        f"# {name}\n\n{model.family.title}, made from `{without_folders(model.source)}` (revision {model.revision}) by "
        f"fine-tuning on `{run.data.name}`: {len(train):,} rows to learn from, {len(dev):,} to watch by.\n\n"
        + (f"Labels: {', '.join(spec.labels)}. Rows by label: {own_rows.balance(train)}.\n\n" if spec.labels else "")
        + f"| on {watched} | percent |\n|---|---:|\n{said}\n"
        f"The weights are the best of the run by these figures, so on new texts they will be a little worse.\n\n"
        f"Made on {datetime.now(UTC).date().isoformat()} with seed {run.seed} by\n\n```sh\n{run.command}\n```\n",
        encoding="utf-8",
    )


def _fitting(rows: list[Row], labels: Sequence[str], name: str) -> list[Row]:
    """Dev rows whose labels all occur in the training rows. Raises BadData."""
    strange = sorted({row["label"] for row in rows} - set(labels)) if labels else []
    if strange:
        raise BadData(f"{name} has labels that --data has not: {', '.join(strange[:10])}. Compare their spelling.")
    return rows


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
