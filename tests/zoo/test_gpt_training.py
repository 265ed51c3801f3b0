"""GPT as it is trained here: the inputs of its tasks, the loss of the language model beside them, the span head that
reads twice, and both recipes."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import zoo
from tasks import classify, nli, qa, summarize
from tests import minis, tiny_data
from tests.zoo.stopping import Killed, kill, same_weights
from zoo.contracts import Batch, Encoding, HeadSpec, Tokenizer
from zoo.engine import Engine
from zoo.engine.explain import watched
from zoo.errors import BadData, BadParameter
from zoo.family import Network
from zoo.models import gpt2
from zoo.models.gpt import CLASSIFY, DELIMITER, START
from zoo.training import export, finetune, gpt_lm, gpt_mini, lessons
from zoo.training.finetune import Example, Lesson
from zoo.training.recipes import Run

ASKED = (("who sat where?", "a cat sat on the mat"), ("did a dog", "the dog ran, in Paris, a day later"), ("a", "b"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = minis.gpt2_checkpoint(tmp_path_factory.mktemp("plain"))
    model = zoo.load(folder)
    return gpt_mini.with_inputs(model.tokenizer, tmp_path_factory.mktemp("grown"), model.config)


def network(tokenizer: Tokenizer, seed: int = 0) -> Network:
    """A network with all heads, tiny, whose parameters are large enough that every part counts."""
    torch.manual_seed(seed)
    config = replace(gpt_lm.TINY.config, vocab_size=tokenizer.vocabulary, reader=8)
    made = gpt2.build(config, gpt_mini.HEADS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def questions(tokenizer: Tokenizer) -> list[Encoding]:
    return [tokenizer.question(tokenizer.pieces(a), tokenizer.pieces(b)) for a, b in ASKED]


def test_inputs_are_those_of_the_paper(tokenizer: Tokenizer, tmp_path: Path) -> None:
    start, delimiter, classify_ = (tokenizer.vocabulary - 3 + i for i in range(3))
    assert [tokenizer.token(i) for i in (start, delimiter, classify_)] == [START, DELIMITER, CLASSIFY]
    a, b = tokenizer.pieces("the cat"), tokenizer.pieces("sat é")
    for pair in (tokenizer.assemble(a, b), tokenizer.question(a, b)):
        assert pair.ids == (start, *a.ids, delimiter, *b.ids, classify_)
        assert pair.sources == (-1, *[0] * len(a), -1, *[1] * len(b), -1)
        assert pair.offsets == ((0, 0), *a.offsets, (0, 0), *b.offsets, (0, 0))
        assert pair.summary == len(pair) - 1
    single = tokenizer.assemble(a)
    assert (single.ids, single.summary) == ((start, *a.ids, classify_), len(a) + 1)
    assert (tokenizer.extras(False), tokenizer.extras(True)) == (2, 3)
    assert tokenizer.prompt(a).ids == a.ids  # what is continued stands as it did in pre-training
    assert tokenizer.decode(pair.ids) == "the catsat é"
    again = gpt_mini.with_inputs(tokenizer, tmp_path, gpt_lm.TINY.config)  # adds nothing twice
    assert again.assemble(a, b) == tokenizer.assemble(a, b) and again.vocabulary == tokenizer.vocabulary


def test_published_gpt2_keeps_its_inputs_and_its_span_head(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    a, b = model.tokenizer.pieces("the cat"), model.tokenizer.pieces("sat")
    assert model.tokenizer.assemble(a, b).ids == a.ids + b.ids
    assert model.config.reader == 0
    made = gpt2.build(model.config, {"span": HeadSpec("span")})
    assert {n for n, _ in made.heads.named_parameters()} == {"span.out.weight", "span.out.bias"}


@pytest.mark.parametrize("head", sorted(gpt_mini.HEADS))
def test_a_text_in_company_is_a_text_alone(tokenizer: Tokenizer, head: str) -> None:
    made, texts = network(tokenizer), [*questions(tokenizer), questions(tokenizer)[0]]
    together = made(Batch.of(texts), head)
    parts = together if gpt_mini.HEADS[head].kind == "classifier" else Batch.of(texts).split(together)
    for text, part in zip(texts, parts, strict=True):
        alone = made(Batch.of([text]), head)
        assert torch.allclose(part.view_as(alone), alone, atol=1e-5, rtol=1e-5)


def test_the_body_sees_nothing_to_come_and_the_span_head_does(tokenizer: Tokenizer) -> None:
    made = network(tokenizer)
    text = questions(tokenizer)[1]
    other = replace(text, ids=(*text.ids[:-3], text.ids[-3] + 1, *text.ids[-2:]))
    one, two = Batch.of([text]), Batch.of([other])
    assert torch.equal(made.body(one).last[:-3], made.body(two).last[:-3])
    assert not torch.allclose(made(one, "qa")[-5:-3], made(two, "qa")[-5:-3])


def test_only_the_passage_and_the_summary_can_answer(tokenizer: Tokenizer) -> None:
    text = questions(tokenizer)[0]
    scores = network(tokenizer)(Batch.of([text]), "qa")
    able = [s == 1 or i == text.summary for i, s in enumerate(text.sources)]
    assert (scores[:, 0] > -1000).tolist() == able and (scores[:, 1] > -1000).tolist() == able


def test_the_span_head_knows_which_tokens_are_of_the_question(tokenizer: Tokenizer) -> None:
    text = questions(tokenizer)[2]
    both = [text, replace(text, ids=(*text.ids[:3], text.ids[1], text.ids[-1]))]  # "a" and "b", "a" and "a"
    batch = Batch.of(both)
    made = network(tokenizer).eval()
    with watched(made.get_submodule("heads.qa.dropout")) as seen:
        made(batch, "qa")
    loud = math.sqrt(2 * made.body.get_submodule("word").weight.shape[1])
    assert seen[0][:, 3, -3].tolist() == [0, loud]


def test_a_question_without_a_token_is_answered_all_the_same(tokenizer: Tokenizer) -> None:
    empty = tokenizer.question(tokenizer.pieces(""), tokenizer.pieces("a cat"))
    made = network(tokenizer)
    alone = made(Batch.of([empty]), "qa")
    assert bool(alone.isfinite().all())
    assert torch.allclose(made(Batch.of([empty, questions(tokenizer)[0]]), "qa")[: len(empty)], alone, atol=1e-5)


def test_the_language_model_learns_texts_and_not_the_tokens_of_inputs(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, texts = network(tokenizer), questions(tokenizer)
    batch = Batch.of(texts)
    rows = gpt_mini.rows_before_text(batch)
    assert len(rows) == sum(source >= 0 for text in texts for source in text.sources)
    assert {int(i) for i in batch.ids[rows + 1]} == {i for a, b in ASKED for i in tokenizer.pieces(a + b).ids}
    lesson = Lesson("nli", [Example(text, (0,)) for text in texts])
    chance = torch.Generator().manual_seed(0)
    loss, tokens = gpt_mini.task_loss(made, lesson, range(3), chance)
    each = []
    for text in texts:  # by hand, text by text
        logits = made(Batch.of([text]), "lm")
        each += [
            F.cross_entropy(logits[i], torch.tensor(text.ids[i + 1]))
            for i in range(len(text) - 1)
            if text.sources[i + 1] >= 0
        ]
    task, _ = finetune.loss_of(made, lesson, range(3))
    wanted = task + gpt_mini.LANGUAGE_WEIGHT * torch.stack(each).mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4) and tokens == len(batch.ids)
    monkeypatch.setattr(gpt_mini, "LANGUAGE_ROWS", 5)  # a sample is right on average
    drawn = [gpt_mini.task_loss(made, lesson, range(3), chance)[0].item() for _ in range(300)]
    assert len(set(drawn)) > 100 and np.mean(drawn) == pytest.approx(wanted.item(), rel=0.03)


def test_what_is_new_learns_faster_and_every_parameter_once(tokenizer: Tokenizer) -> None:
    made = network(tokenizer)
    (optimizer,) = gpt_mini.optimizers_for(made, replace(gpt_mini.TINY, body_rate=1.0, head_rate=2.0))
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(held) == len(list(made.parameters()))
    assert held[id(made.body.word.weight)]["lr"] == 1.0  # type: ignore[union-attr]
    assert held[id(made.get_parameter("heads.qa.out.weight"))]["lr"] == 2.0
    assert held[id(made.get_parameter("heads.qa.out.bias"))]["weight_decay"] == 0


# The recipes.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("gpt-data"))


@pytest.fixture(scope="module")
def lm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpt-lm")
    scores = gpt_lm.pretrain(Run(data, out, tiny=True))
    assert all(scores[f"{kind} held-out loss"] < math.log(400) - 1 for kind in ("text", "tldr"))
    return out


@pytest.fixture(scope="module")
def mini(data: Path, lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpt-mini")
    gpt_mini.train(Run(data, out, tiny=True, start=lm / "checkpoint-float32"))
    return out


def test_pretraining_goes_on_after_a_kill(
    data: Path, lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, gpt_lm, "language_loss", 31)
        gpt_lm.pretrain(Run(data, tmp_path, tiny=True))
    gpt_lm.pretrain(Run(data, tmp_path, tiny=True, resume=True))
    same_weights(lm, tmp_path)


def test_pretraining_goes_on_from_a_checkpoint(data: Path, lm: Path, mini: Path, tmp_path: Path) -> None:
    """From its own, with the pieces that it has; from a fine-tuned one too, whose heads are left."""
    run = Run(data, tmp_path / "more", tiny=True, scale=0.02, start=lm / "checkpoint-float32")
    scores = gpt_lm.pretrain(run)
    assert scores["text held-out loss"] < 4.6
    assert gpt_lm.begin(run, gpt_lm.TINY).config == zoo.load(lm / "checkpoint").config
    gpt_lm.pretrain(Run(data, tmp_path / "back", tiny=True, scale=0.02, start=mini / "checkpoint"))
    assert set(zoo.load(tmp_path / "back/checkpoint").heads) == {"lm"}


def test_text_alone_is_enough_to_pretrain_on_and_no_text_is_not(tmp_path: Path, data: Path) -> None:
    (tmp_path / "lm").mkdir()
    with pytest.raises(BadData, match="too little text"):
        gpt_lm.pretrain(Run(tmp_path, tmp_path / "out", tiny=True))
    (tmp_path / "lm/books_pd_00.jsonl.xz").write_bytes((data / "lm/books_pd_00.jsonl.xz").read_bytes())
    scores = gpt_lm.pretrain(Run(tmp_path, tmp_path / "books", tiny=True, scale=0.1))
    assert set(scores) == {"text held-out loss"}


def test_fine_tuning_goes_on_after_a_kill(
    data: Path, lm: Path, mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(data, tmp_path, tiny=True, start=lm / "checkpoint-float32")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, gpt_mini, "task_loss", 23)
        gpt_mini.train(run)
    gpt_mini.train(replace(run, resume=True))
    same_weights(mini, tmp_path)


def test_fine_tuning_goes_on_from_its_own_checkpoint_with_its_heads(data: Path, mini: Path, tmp_path: Path) -> None:
    begun = gpt_mini.begin(Run(data, tmp_path, tiny=True, start=mini / "checkpoint-float32"), gpt_mini.TINY)
    before = zoo.load(mini / "checkpoint-float32")
    assert begun.config == before.config
    assert all(torch.equal(v, begun.network.state_dict()[n]) for n, v in before.network.state_dict().items())


def test_the_three_tokens_are_new_rows_and_the_others_stay(data: Path, lm: Path, tmp_path: Path) -> None:
    begun = gpt_mini.begin(Run(data, tmp_path, tiny=True, start=lm / "checkpoint-float32"), gpt_mini.TINY)
    before = zoo.load(lm / "checkpoint-float32")
    words = begun.network.get_parameter("body.word.weight")
    assert len(words) == before.config.vocab_size + 3 == begun.tokenizer.vocabulary
    assert torch.equal(words[:-3], before.network.body.word.weight)  # type: ignore[union-attr]


def test_fine_tuning_needs_a_language_model_unless_it_is_tiny(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="goes on from a checkpoint"):
        gpt_mini.train(Run(data, tmp_path))
    gpt_mini.train(Run(data, tmp_path, tiny=True, scale=0.05))
    assert set(zoo.load(tmp_path / "checkpoint").heads) == set(gpt_mini.HEADS)


def test_fine_tuning_learns(mini: Path) -> None:
    """Each kind of batch by itself: a span among eighty tokens costs more than one of two labels, whenever it comes."""
    with (mini / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rate"]]
    by_kind = [[float(row["loss"]) for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}]
    falls = [np.mean(one[: len(one) // 2]) - np.mean(one[len(one) // 2 :]) for one in by_kind if len(one) > 3]
    assert len(falls) > 1 and np.mean(falls) > 0.1


def test_a_checkpoint_answers_all_tasks(mini: Path) -> None:
    engine, name = Engine(), str(mini / "checkpoint")
    assert dict(engine.model(name).heads) == gpt_mini.HEADS
    found = nli.run(engine, name, "A baker is standing in a garden .", "Nobody is in the garden .", head="nli")
    assert {s.label for s in found.scores} == set(lessons.NLI)
    topic = classify.run(engine, name, "The coach of the team", head="topic")
    assert {s.label for s in topic.scores} == set(lessons.TOPICS)
    passage = "Anna lives in Paris. Ben lives in Rome."
    for context in (passage, passage * 12):  # in one window, and in many
        answer = qa.run(engine, name, "Where does Ben live?", context, allow_no_answer=False)
        assert answer.answer and answer.answer in context
    assert summarize.run(engine, name, passage, max_new_tokens=5).tokens == 5


def test_a_checkpoint_is_the_network_that_was_trained(mini: Path, tmp_path: Path) -> None:
    """What was saved and read again gives the same scores, LSTMs and shared embedding included."""
    model = zoo.load(mini / "checkpoint-float32")
    export.export(tmp_path, gpt2.FAMILY, model.config, model.network, model.heads, model.tokenizer, quantized=False)
    again = zoo.load(tmp_path)
    batch = Batch.of(questions(model.tokenizer))
    for head in gpt_mini.HEADS:
        assert torch.equal(model.network(batch, head), again.network(batch, head)), head
