"""One head taught anew on a checkpoint whose body and other heads stay as they are, so that their answers do, too.

What a head can learn is seen in minutes this way, since nothing below it is computed backwards. It is how ELMo's
readers are trained (Peters et al. 2018, section 3.3), for a head of any family.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from zoo.contracts import Batch
from zoo.errors import BadParameter
from zoo.models.shelf import FAMILIES
from zoo.training import export, finetune, lessons, loop
from zoo.training.recipes import Run
from zoo.weights.load import load_folder

ABLE = ("nli", "qa")  # of the lessons; classifiers of one text have no network of their own
AMOUNTS = lessons.Amounts(unanswered=False)
TINY_AMOUNTS = replace(AMOUNTS, snli_epochs=6, question_epochs=6, longest_text=96, longest_passage=112)
BATCH_TOKENS, TINY_BATCH_TOKENS = 2048, 256
RATE = 4e-3
COUNTER = ".num_batches_tracked"  # of batch norms: torch looks for it where there is none, too
EVALUATE_EVERY = 500


def train(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the best score.

    Raises BadParameter without a checkpoint to start from, or where it has no such head.
    """
    torch.manual_seed(run.seed)
    if run.start is None:
        raise BadParameter("head teaches a checkpoint. Name its folder with --from.")
    model = load_folder(run.start, FAMILIES)
    name = run.only
    if name not in model.heads or name not in ABLE:
        able = [head for head in ABLE if head in model.heads]
        raise BadParameter(f"--only {name or '…'}: of {run.start} these can be taught: {', '.join(able) or 'none'}.")
    network = model.family.build(model.config, model.heads).to(run.device)
    kept = {key: value for key, value in model.network.state_dict().items() if not key.startswith(f"heads.{name}.")}
    left = network.load_state_dict(kept, strict=False)
    assert all(key.endswith(COUNTER) for key in left.unexpected_keys)
    assert all(key.startswith(f"heads.{name}.") for key in left.missing_keys)
    network.requires_grad_(False)
    body = {id(parameter) for parameter in network.body.parameters()}  # its embedding may be in the head, too
    taught_here = [parameter for parameter in network.heads[name].parameters() if id(parameter) not in body]
    for parameter in taught_here:
        parameter.requires_grad_(True)

    amounts = TINY_AMOUNTS if run.tiny else AMOUNTS
    every = lessons.teach(run.data, model.tokenizer, amounts, run.seed, run.soft)
    of_it = [lesson for lesson in every if lesson.head == name]
    watched = lessons.watch(run.data, model.tokenizer, amounts, run.seed)[name]
    batches = finetune.schedule_batches(of_it, TINY_BATCH_TOKENS if run.tiny else BATCH_TOKENS, run.seed)
    batches = batches[: max(1, round(len(batches) * run.scale))]

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        number, indices = batches[step]
        lesson = of_it[number]
        examples = [lesson.examples[i] for i in indices]
        batch = Batch.of([example.encoding for example in examples], run.device)
        network.body.eval()  # as it will be asked
        with torch.no_grad(), finetune.attention_for(batch):
            rows = network.body(batch).last
        loss = finetune.loss_from(network.heads[name](rows, batch), batch, examples, lesson.soft_weight)
        return loss, name, len(batch.ids)

    def evaluate() -> dict[str, float]:
        return {f"{name} dev": finetune.accuracy(network, name, watched)}

    optimizer = torch.optim.AdamW(taught_here, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    plan = loop.Plan(loop.Schedule(len(batches)), run.out, evaluate_every=EVALUATE_EVERY, keep="best")
    scores = loop.run(network, loss_of, [optimizer], plan, evaluate, run.resume)
    export.export_both(run.checkpoint, model.family, model.config, network, model.heads, model.tokenizer)
    return scores
