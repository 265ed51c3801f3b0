"""Recipes' parts: a loop that learns and resumes to the same weights, exact quantization, honest data splits."""

from __future__ import annotations

import csv
import json
import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from tests import minis, tiny_data
from tests.zoo import kill_case
from zoo.contracts import Batch, HeadSpec
from zoo.errors import BadParameter
from zoo.models import bert
from zoo.rows import read_rows
from zoo.training import export, finetune, gpt_lm, heldout, lessons, loop, text
from zoo.training.finetune import Example, Lesson
from zoo.training.lessons import in_training_half, without
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


def read_log(out: Path) -> list[list[str]]:
    """The log without its clock."""
    with (out / "log.csv").open(newline="") as file:
        return [[cell for place, cell in enumerate(row) if place != 1] for row in csv.reader(file)]


@pytest.fixture
def threads() -> Iterator[None]:
    """Leaves the number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("moment", kill_case.MOMENTS)
def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights_and_the_same_log(tmp_path: Path, moment: str) -> None:
    straight = kill_case.train(tmp_path / "straight")
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.zoo.kill_case", str(tmp_path / "killed"), moment]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    before = torch.load(tmp_path / "killed" / "snapshot.pt", weights_only=True)["progress"]["step"]
    assert before == kill_case.KILLED_AT - (moment in kill_case.MOMENTS[1:3])
    resumed = kill_case.train(tmp_path / "killed", resume=True)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert read_log(tmp_path / "killed") == read_log(tmp_path / "straight")


def stepped(out: Path, resume: bool = False, **plan: object) -> tuple[nn.Linear, dict[str, float], list[int]]:
    """A run of 12 steps whose score rises until step 4 and falls again; which steps were computed."""
    torch.manual_seed(0)
    network, seen = nn.Linear(2, 1), []

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        seen.append(step)
        return network(torch.ones(1, 2)).square().mean(), "x", 2

    def evaluate() -> dict[str, float]:
        return {"score": -abs(len(seen) - 4)}

    values = {"schedule": loop.Schedule(12), "out": out, "evaluate_every": 1, **plan}
    optimizers = [torch.optim.SGD([{"params": [p], "lr": 0.1} for p in network.parameters()])]
    scores = loop.run(network, loss_of, optimizers, loop.Plan(**values), evaluate, resume)  # type: ignore[arg-type]
    return network, scores, seen


def test_a_run_stops_when_it_gets_no_better_and_ends_with_its_best_weights(tmp_path: Path) -> None:
    last, scores, seen = stepped(tmp_path / "last", patience=3)
    assert seen == list(range(7)) and scores == {"score": -3}
    best, scores, _ = stepped(tmp_path / "best", patience=3, keep="best")
    assert scores == {"score": 0}
    assert not torch.equal(best.weight, last.weight)
    again, scores, seen = stepped(tmp_path / "best", resume=True, patience=3, keep="best")
    assert seen == [] and scores == {"score": 0} and torch.equal(again.weight, best.weight)


def test_a_rate_of_nothing_freezes_a_group_and_rates_of_groups_are_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = nn.Linear(2, 1)
    frozen, _, _ = stepped(tmp_path / "a", rate=lambda step, group: float(group == 1))
    assert torch.equal(frozen.weight, start.weight) and not torch.equal(frozen.bias, start.bias)
    late, _, _ = stepped(tmp_path / "b", rate=lambda step, group: float(group == 1 or step >= 11))
    assert not torch.equal(late.weight, start.weight) and late.weight.requires_grad


def test_a_run_of_another_length_is_not_gone_on_with(tmp_path: Path) -> None:
    stepped(tmp_path)
    with pytest.raises(BadParameter, match="has 12 steps, not 13"):
        stepped(tmp_path, resume=True, schedule=loop.Schedule(13))


def test_a_loss_that_is_no_number_ends_the_run_in_words(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)
    plan = loop.Plan(loop.Schedule(3), tmp_path)
    with pytest.raises(BadParameter, match="loss of step 1 is nan"):
        loop.run(
            network, lambda step: (network.weight.sum() * torch.nan, "x", 1), loop.optimizers_for(network, 1.0, 0), plan
        )


def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with loop.replacing(path) as fresh:
        fresh.write_text("old")
    with pytest.raises(ZeroDivisionError), loop.replacing(path) as fresh:
        fresh.write_text("ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"


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


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("Rome () is old.", "Rome is old."),
        ("Rome (, , ) is old.", "Rome is old."),
        ("He (; 7 October 1900\xa0– 23 May 1945) led.", "He (7 October 1900\xa0– 23 May 1945) led."),
        ('It (, , "Sea of Helle"; , ) is wide.', 'It ("Sea of Helle") is wide.'),
        ("A list (one, two; three) stays (f(x) too), and so do 3 ( 4 ).", None),
    ],
)
def test_what_is_left_of_a_sound_is_taken_out(given: str, wanted: str | None) -> None:
    assert text.mended(given) == (wanted or given)


def test_holes_are_mended_in_all_that_is_read_but_in_no_figure(tmp_path: Path) -> None:
    """The held-out shard is scored as it is: a figure of today and one of before are of the same text."""
    data = tiny_data.write(tmp_path / "data")
    for shard in ("00", "07"):
        path = data / f"lm/enwiki2018_{shard}.jsonl.xz"
        rows = [row | {"text": row["text"].replace(" was a ", " (; , ) was a ", 1)} for row in read_rows(path)]
        with lzma.open(path, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    assert not any("(;" in document for document in text.reading(data, [data / "lm/enwiki2018_00.jsonl.xz"]))
    assert not any("(;" in pair.document + pair.summary for pair in gpt_lm.summaries(data))
    heldout.write(data, tmp_path / "heldout")
    assert any("(; , )" in row["text"] for row in read_rows(tmp_path / "heldout/wikipedia_text.jsonl"))


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
    logits = model.network(Batch.of([example.encoding]), "qa")
    start, end = example.target
    wanted = (F.cross_entropy(logits[:, 0], torch.tensor(start)) + F.cross_entropy(logits[:, 1], torch.tensor(end))) / 2
    assert float(loss) == pytest.approx(float(wanted), abs=1e-5)
    assert tokens == len(example.encoding)


def test_spans_of_texts_of_any_length_are_scored_at_once_as_they_are_one_by_one(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path))
    answers = {"text": ["cd"], "answer_start": [3]}
    rows = [{"question": "q" * n, "context": "ab cd" + " ef" * (7 * n % 5), "answers": answers} for n in range(1, 9)]
    taught = Lesson("qa", finetune.spans(rows, model.tokenizer, 64), weight=0.5)
    together, _ = finetune.loss_of(model.network, taught, range(8))
    alone = torch.stack([finetune.loss_of(model.network, taught, [i])[0] for i in range(8)])
    assert float(together) == pytest.approx(float(alone.mean()), abs=1e-6)


def test_a_teacher_is_mixed_with_the_label_and_stands_in_for_it() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0], [2.0, 2.0, 1.0]])
    teacher = (0.2, 0.5, 0.3)
    encoding = None
    examples = [Example(encoding, (1,)), Example(encoding, (2,), teacher), Example(encoding, (), teacher)]  # type: ignore[arg-type]
    logs = scores.log_softmax(-1)
    soft = -(torch.tensor(teacher) * logs).sum(-1)
    wanted = (-logs[0, 1] + 0.75 * soft[1] - 0.25 * logs[1, 2] + soft[2]) / 3
    loss = finetune.loss_from(scores, None, examples, 0.75)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(float(wanted), abs=1e-6)
    plain = [replace(e, soft=()) for e in examples[:2]]
    assert (
        float(finetune.loss_from(scores[:2], None, plain))
        == pytest.approx(  # type: ignore[arg-type]
            float(F.cross_entropy(scores[:2], torch.tensor([1, 2]))), abs=1e-6
        )
    )


def test_rows_learn_a_teachers_word_by_the_name_of_the_label(tmp_path: Path) -> None:
    model = zoo.load(minis.bert_checkpoint(tmp_path))
    told = {"Sports": 0.9, "World": 0.1}
    rows = [{"text": "a", "label": "World"}, {"text": "b", "probabilities": told}, {"text": "c", "label": "?"}]
    made = finetune.classification(rows, LABELS, model.tokenizer, 64)
    assert [(e.target, e.soft) for e in made] == [((0,), ()), ((), (0.1, 0.9))]


def test_soft_labels_go_to_their_rows_and_what_has_no_label_is_a_lesson_of_its_own(tmp_path: Path) -> None:
    data, soft = tiny_data.write(tmp_path / "data"), tmp_path / "soft"
    model = zoo.load(minis.bert_checkpoint(tmp_path / "model"))
    known = lessons.topic_rows(data)[0]
    told = dict.fromkeys(lessons.TOPICS, 0.25)
    tiny_data._jsonl(
        soft / "topic.jsonl.gz", [{**known, "probabilities": told}, {"text": "nobody said", "probabilities": told}]
    )
    for head in ("nli", "sentiment"):
        tiny_data._jsonl(soft / f"{head}.jsonl.gz", [])
    amounts = lessons.Amounts(soft_epochs=4.0)
    made = [e for e in lessons.teach(data, model.tokenizer, amounts, 0, soft) if e.head == "topic"]
    plain = [e for e in lessons.teach(data, model.tokenizer, amounts, 0) if e.head == "topic"]
    assert [e.epochs for e in made] == [amounts.topic_epochs, 4.0] and len(plain) == 1
    assert len(made[0].examples) == len(plain[0].examples) and len(made[1].examples) == 1
    assert made[1].examples[0].target == () and made[0].examples[0].target != ()
    assert all(bool(e.soft) == (e.encoding == made[0].examples[0].encoding) for e in made[0].examples)


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
