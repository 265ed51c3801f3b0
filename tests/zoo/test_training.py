"""Recipes' parts: a loop that learns and resumes to the same weights, exact quantization, honest data splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from tests import minis
from zoo.contracts import HeadSpec
from zoo.models import bert
from zoo.training import export, finetune, loop, text
from zoo.training.bert_mini import in_training_half, without
from zoo.training.finetune import Lesson
from zoo.weights.layout import Opened

LABELS = ("World", "Sports")


def lesson(tokenizer: zoo.Model) -> Lesson:
    rows = [{"text": f"goal goal {i}", "label": "Sports"} for i in range(20)]
    rows += [{"text": f"war and peace {i}", "label": "World"} for i in range(20)]
    return Lesson("topic", finetune.classification(rows, LABELS, tokenizer.tokenizer, 64), epochs=10)


def trained(model: zoo.Model, out: Path, stop_after: int | None = None, resume: bool = False) -> nn.Module:
    torch.manual_seed(3)
    network = bert.build(model.config, model.heads)
    taught = lesson(model)
    batches = finetune.schedule_batches([taught], 120, seed=1)

    class Stopped(Exception):
        pass

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        if step == stop_after:
            raise Stopped
        loss, tokens = finetune.loss_of(network, taught, batches[step][1])
        return loss, "topic", tokens

    plan = loop.Plan(loop.Schedule(len(batches)), out, snapshot_seconds=0, autocast=False)
    optimizers = loop.optimizers_for(network, 4e-3, 0.01)
    try:
        loop.run(network, loss_of, optimizers, plan, None, resume)
    except Stopped:
        assert stop_after is not None
    network.eval()
    return network


def test_a_run_learns_and_a_killed_one_resumes_to_the_same_weights(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path / "start"))
    straight = trained(model, tmp_path / "straight")
    assert finetune.accuracy(straight, "topic", lesson(model).examples) > 95
    trained(model, tmp_path / "killed", stop_after=11)
    resumed = trained(model, tmp_path / "killed", resume=True)
    for name, parameter in straight.named_parameters():
        assert torch.equal(parameter, resumed.get_parameter(name)), name
    assert (tmp_path / "straight" / "log.png").stat().st_size > 1000


def test_schedule_rises_stays_and_falls_to_zero() -> None:
    schedule = loop.Schedule(100, warmup=0.1, fall=0.5)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == factors[49] == 1.0
    assert factors[75] == pytest.approx(0.5) and 0 < factors[99] <= 0.02


def test_every_parameter_is_optimized_once(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    made = loop.optimizers_for(model.network, 1e-3, 0.01, muon_rate=0.02)
    held = [id(p) for optimizer in made for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.network.parameters())
    muon = made[1].param_groups[0]["params"]
    assert all(p.dim() == 2 and p is not model.network.body.word.weight for p in muon)


def test_export_loads_back_within_the_rounding_of_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "SHARD_BYTES", 4000)  # makes it split tensors and files
    torch.manual_seed(0)
    config = bert.BertConfig(len(minis.WORDS), 32, 2, 4, 64, "gelu", 256, 2)
    network = bert.build(config, minis.BERT_HEADS).eval()
    (tmp_path / "vocab.txt").write_text("\n".join(minis.WORDS) + "\n")
    tokenizer = bert.read_tokenizer(Opened(tmp_path), config)
    export.export(tmp_path, bert.FAMILY, config, network, minis.BERT_HEADS, tokenizer)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    names = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert "body.embeddings.position.weight@1" in names
    model = zoo.load(tmp_path)
    for name, parameter in network.named_parameters():
        loaded = model.network.get_parameter(name)
        allowed = parameter.abs().amax(-1, keepdim=True) / 254 if parameter.dim() == 2 else 0.0
        assert bool(((loaded - parameter).abs() <= allowed + 1e-7).all()), name
    assert model.heads == minis.BERT_HEADS
    export.export(tmp_path, bert.FAMILY, config, network, minis.BERT_HEADS, tokenizer, quantized=False)
    exact = zoo.load(tmp_path)
    assert all(torch.equal(p, exact.network.get_parameter(n)) for n, p in network.named_parameters())


def test_spans_point_at_the_answer_wherever_the_window_lies(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path))
    context = "ab " * 30 + "needle " + "cd " * 30
    start = context.index("needle")
    row = {"question": "what?", "context": context, "answers": {"text": ["needle"], "answer_start": [start]}}
    empty = {"question": "what?", "context": context, "answers": {"text": [], "answer_start": []}}
    for _ in range(5):
        (example,) = finetune.spans([row], model.tokenizer, 40)
        first, last = example.target
        begin, end = example.encoding.offsets[first][0], example.encoding.offsets[last][1]
        assert context[begin:end] == "needle" and len(example.encoding) <= 40
    assert finetune.spans([empty], model.tokenizer, 40)[0].target == (0, 0)


def test_a_span_head_learns_a_marked_word(tmp_path: Path) -> None:
    heads = {"qa": HeadSpec("span")}
    model = zoo.load(minis.bert_checkpoint(tmp_path / "start", heads))
    rows = []
    for i in range(60):
        context = "ab " * (i % 7) + "zz" + " cd" * (i % 5 + 1)
        answers = {"text": ["zz"], "answer_start": [context.index("zz")]}
        rows.append({"question": "q", "context": context, "answers": answers})
    taught = Lesson("qa", finetune.spans(rows, model.tokenizer, 64), epochs=15)
    network = bert.build(model.config, heads)
    batches = finetune.schedule_batches([taught], 200, 0)
    plan = loop.Plan(loop.Schedule(len(batches)), tmp_path / "run", autocast=False)
    torch.manual_seed(0)

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        loss, tokens = finetune.loss_of(network, taught, batches[step][1])
        return loss, "qa", tokens

    loop.run(network, loss_of, loop.optimizers_for(network, 3e-3, 0.0), plan)
    assert finetune.accuracy(network, "qa", taught.examples) > 90


def test_batches_hold_every_example_once_an_epoch_within_the_budget(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path))
    taught = lesson(model)
    batches = finetune.schedule_batches([taught], 120, seed=5)
    used = [i for _, indices in batches for i in indices]
    assert sorted(used) == sorted(list(range(40)) * 10)
    assert all(sum(len(taught.examples[i].encoding) for i in indices) <= 120 for _, indices in batches)
    assert batches == finetune.schedule_batches([taught], 120, seed=5)
    assert batches != finetune.schedule_batches([taught], 120, seed=6)


def test_rows_of_held_out_sets_are_left_out_whatever_their_punctuation() -> None:
    rows = [{"text": "A dull film."}, {"text": "Another"}]
    assert without(rows, [{"text": "a dull , film"}], "text") == [{"text": "Another"}]
    halves = {in_training_half({"title": title}) for title in ("Oxygen", "Steam_engine", "Normans", "Packet_switching")}
    assert halves == {True, False}


def test_leads_are_the_first_sentence_of_the_article() -> None:
    article = "Anne Smith (; 1900-1980) was a U.S. painter. She lived in Rome.\n\n" + "Her work is known. " * 60
    made = text.lead_of(article)
    assert made is not None
    assert made.summary == "Anne Smith (1900-1980) was a U.S. painter."
    assert made.document.startswith("Her work")
    assert text.lead_of("Too short.\n\nBody.") is None


def test_tldr_sequences_keep_every_summary_whole_after_its_prompt(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    end = model.tokenizer.end or 0
    pairs = [text.Summarized("word " * (5 + 11 * i), f"summary {i}") for i in range(30)]
    rows = text.tldr_sequences(model.tokenizer, pairs, "\nTL;DR:", end, 256, seed=0)
    assert rows.shape[1] == 256 and rows.dtype == np.uint16
    said = "|".join(model.tokenizer.decode([i if i != end else 91 for i in row]) for row in rows.tolist())
    for i in range(30):
        assert f"TL;DR: summary {i}" in said


def test_cross_entropy_of_a_span_is_over_tokens_not_texts(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path))
    row = {"question": "q", "context": "ab cd ef", "answers": {"text": ["cd"], "answer_start": [3]}}
    (example,) = finetune.spans([row], model.tokenizer, 64)
    taught = Lesson("qa", [example])
    loss, tokens = finetune.loss_of(model.network, taught, [0])
    from zoo.contracts import Batch

    logits = model.network(Batch.of([example.encoding]), "qa")
    start, end = example.target
    wanted = (F.cross_entropy(logits[:, 0], torch.tensor(start)) + F.cross_entropy(logits[:, 1], torch.tensor(end))) / 2
    assert float(loss) == pytest.approx(float(wanted), abs=1e-5)
    assert tokens == len(example.encoding)


def test_none_bias_refuses_the_part_of_answerable_questions_that_was_asked_for(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path, {"qa": HeadSpec("span")}))
    rows = [
        {"question": "q", "context": "ab " * n + "zz cd", "answers": {"text": ["zz"], "answer_start": [3 * n]}}
        for n in range(1, 15)
    ]
    examples = finetune.spans(rows, model.tokenizer, 64)
    margins = []
    for row in rows:
        (found,) = zoo.Engine().spans(str(tmp_path), "qa", [("q", row["context"])])
        (window,) = found.windows
        best = max(a + b for i, a in enumerate(window.start.tolist()) for b in window.end.tolist()[i : i + 30])
        margins.append(best - window.none)
    for part in (0.0, 0.25, 1.0):
        wanted = float(np.quantile(margins, part))
        assert finetune.none_bias(model.network, "qa", examples, part) == pytest.approx(wanted, abs=1e-4)
