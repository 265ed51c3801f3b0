"""ULMFiT as it is trained here: AWD-LSTM's dropouts, a state that is carried on, heads on pairs, and both recipes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from tasks import classify, nli, qa, summarize
from tests import tiny_data
from tests.zoo.stopping import Killed, kill, same_weights
from zoo.contracts import Batch, Encoding
from zoo.engine import Engine
from zoo.errors import BadCheckpoint, BadParameter
from zoo.family import Network
from zoo.heads import LanguageModel
from zoo.models import ulmfit
from zoo.tokenizers import fastai, words
from zoo.tokenizers.fastai import FastaiTokenizer
from zoo.training import awd, finetune, lessons, ulmfit_lm, ulmfit_mini
from zoo.training.awd import Carried, Softmax, Trained
from zoo.training.recipes import Run

WORDS = (*ulmfit_lm.MARKERS, *("who", "sat", "where", "a", "cat", "the", "dog", "on", "mat", "in"),
         *("paris", "ran", ",", ".", "?", "did"))  # fmt: skip


def tokenizer(pair: str | None = fastai.PAIR) -> FastaiTokenizer:
    return FastaiTokenizer(WORDS, "2", pair, "expression")


def network(words: int = len(WORDS), seed: int = 0) -> Network:
    """A network of the mini recipe, tiny, with every head; batch norms that have seen something."""
    torch.manual_seed(seed)
    made = ulmfit.build(ulmfit_lm.config_of(ulmfit_lm.TINY, words), ulmfit_mini.HEADS)
    for name, buffer in made.named_buffers():
        torch.nn.init.uniform_(buffer, 0.5, 1.5) if "var" in name else torch.nn.init.normal_(buffer)
    return made.eval()


def some_ids(columns: int, length: int, words: int = len(WORDS)) -> Tensor:
    return torch.randint(words, (columns, length), generator=torch.Generator().manual_seed(1))


def batch_of(ids: Tensor) -> Batch:
    return Batch.of(
        [Encoding(tuple(row), (0,) * len(row), ((0, 0),) * len(row), (0,) * len(row)) for row in ids.tolist()]
    )


def test_weight_drop_has_a_new_mask_each_time_and_leaves_the_weights_alone() -> None:
    made, ids = network(), some_ids(3, 9)
    only = replace(awd.NONE, weights=0.5)
    before = {name: p.clone() for name, p in made.named_parameters()}
    rows = [awd.read(awd.body_of(made), ids, None, only)[0] for _ in range(2)]
    assert not torch.allclose(*rows)
    assert torch.equal(rows[0][:, 0], rows[1][:, 0])  # the first step has no past, and so no recurrent weights
    trained = Trained(made, awd.FOR_CLASSIFIER)
    assert not torch.equal(*(trained.train()(batch_of(ids), "lm") for _ in range(2)))
    made.eval()
    assert torch.equal(trained.eval()(batch_of(ids), "lm"), made(batch_of(ids), "lm"))
    for name, parameter in made.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_every_weight_that_is_dropped_is_trained() -> None:
    made = network()
    awd.read(awd.body_of(made), some_ids(3, 9), None, replace(awd.NONE, weights=0.5))[1].sum().backward()
    for rnn in awd.recurrent(awd.body_of(made)):
        gradient = rnn.get_parameter("weight_hh_l0").grad
        assert gradient is not None and 0.3 < float((gradient == 0).float().mean()) < 0.7


def test_words_are_dropped_whole_and_wherever_they_stand() -> None:
    word = torch.nn.Embedding(40, 5)
    ids = some_ids(6, 50, 40)
    x = awd.embedded(word, ids, 0.5)
    gone = {int(i) for i in ids[(x == 0).all(-1)]}
    assert 5 < len(gone) < 35
    for index, row in zip(ids.flatten().tolist(), x.flatten(0, 1), strict=True):
        assert torch.allclose(row, torch.zeros(5) if index in gone else 2 * word.weight[index])


def test_a_mask_is_the_same_for_all_words_of_a_text() -> None:
    x = awd.locked(torch.ones(4, 30, 50), 0.5)
    assert torch.equal(x, x[:, :1].expand_as(x)) and not torch.equal(x[0], x[1])


def test_without_dropout_training_reads_as_the_zoo_does() -> None:
    made, ids = network(), some_ids(5, 17)
    theirs = made.body(batch_of(ids)).last
    assert torch.allclose(awd.read(awd.body_of(made), ids, None, awd.NONE)[1].flatten(0, 1), theirs, atol=1e-6)
    cut = uneven()
    trained = Trained(made, awd.NONE).train()
    made.heads.eval()
    for head in ulmfit_mini.HEADS:
        ours, right = trained(Batch.of(cut), head), made(Batch.of(cut), head)
        assert torch.allclose(ours, right, atol=1e-5), head


def uneven() -> list[Encoding]:
    made = tokenizer()
    pairs = [("who sat where ?", "a cat sat on the mat ."), ("did a dog", "The dog ran , in Paris ."), ("a", "cat")]
    return [made.question(made.pieces(a), made.pieces(b)) for a, b in pairs]


def test_two_pieces_with_the_state_carried_on_equal_a_long_one() -> None:
    made, ids = network(), some_ids(4, 20)
    whole = awd.read(awd.body_of(made), ids, None, awd.NONE)[0]
    carried = Carried(made, 4)
    parts = [carried.read(part, awd.NONE)[0] for part in ids.split([13, 7], dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-6)
    kept = {name for name in carried.state_dict() if not name.startswith("network.")}
    assert kept == {"output0", "cell0", "output1", "cell1"}  # and so a snapshot holds the state
    again = Carried(network(seed=5), 4)
    again.load_state_dict(carried.state_dict())
    assert torch.equal(again.read(ids, awd.NONE)[0], carried.read(ids, awd.NONE)[0])
    carried.forget()
    assert torch.allclose(carried.read(ids, awd.NONE)[0], whole, atol=1e-6)


def test_columns_go_on_where_the_piece_before_ended() -> None:
    columns = ulmfit_lm.Columns(ulmfit_lm.in_columns(np.arange(43, dtype=np.uint16), 2), 5)
    first, then, last = (columns.piece(number, "cpu") for number in (0, 1, 4))
    assert first[0].tolist() == [[0, 1, 2, 3, 4], [21, 22, 23, 24, 25]] and first[2]
    assert torch.equal(first[1], first[0] + 1)
    assert then[0][:, 0].tolist() == [5, 26] and not then[2]
    assert torch.equal(last[0], first[0]) and last[2]  # around again


def test_the_sampled_softmax_is_right_on_average() -> None:
    torch.manual_seed(0)
    decoder = LanguageModel(torch.nn.Embedding(400, 8), bias=True)
    torch.nn.init.normal_(decoder.embedding.weight, std=0.5)
    rows, targets = torch.randn(300, 8), torch.randint(400, (300,))
    full = F.cross_entropy(F.linear(rows, decoder.embedding.weight, decoder.bias), targets)
    sampled = [Softmax(100, 100).loss(decoder, rows, targets).item() for _ in range(60)]
    assert np.mean(sampled) == pytest.approx(float(full), abs=0.03)  # a little less: the logarithm of an estimate
    assert Softmax(100, 300).loss(decoder, rows, targets).item() == pytest.approx(float(full), abs=1e-5)
    assert awd.full_loss(decoder, rows, targets) == pytest.approx(float(full), abs=1e-5)


def test_rows_of_an_embedding_move_only_when_touched() -> None:
    """As Adam does on the steps in which a row has a gradient, and not at all on the others."""
    table, row = torch.nn.Parameter(torch.ones(3, 4)), torch.nn.Parameter(torch.ones(1, 4))
    ours, theirs = awd.RowAdam([table], 0.1, (0.9, 0.99)), torch.optim.Adam([row], 0.1, (0.9, 0.99))
    for step in range(6):
        touched = step % 2 == 0
        gradient = torch.randn(4, generator=torch.Generator().manual_seed(step))
        table.grad = torch.zeros(3, 4)
        if touched:
            table.grad[1], row.grad = gradient, gradient[None]
            theirs.step()
        ours.step()
        assert torch.allclose(table[1], row[0], atol=1e-6)
    assert torch.equal(table[::2], torch.ones(2, 4))


def test_rates_rise_for_a_tenth_and_fall_for_the_rest() -> None:
    factors = [ulmfit_mini.slanted(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 32) and max(factors) == factors[10] == 1.0
    assert factors[55] == pytest.approx((1 + 31 / 2) / 32) and 0 < factors[99] < 0.05


def test_every_parameter_is_in_one_layer_and_lower_ones_learn_slower() -> None:
    made = network()
    groups = [group for one in ulmfit_mini.optimizers_for(made, 1.0, 2.6) for group in one.param_groups]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in made.parameters())
    assert [group["lr"] for group in groups] == pytest.approx([1, 1 / 2.6, 2.6**-2, 2.6**-3])
    assert groups[-1]["params"][0] is awd.body_of(made).word.weight


def test_pairs_are_two_fields_with_their_places() -> None:
    made = tokenizer()
    question, passage = "Who sat where?", "A cat sat on the mat, the dog ran."
    encoding = made.question(made.pieces(question), made.pieces(passage))
    spelled = " ".join(made.token(i) for i in encoding.ids)
    assert spelled == ("xxbos xxfld 1 xxmaj who sat where ? xxfld 2 a cat sat on the mat , the dog ran .")
    assert encoding.sources == (-1,) * 3 + (0,) * 5 + (-1,) * 2 + (1,) * 11
    for index, (begin, end), source in zip(encoding.ids, encoding.offsets, encoding.sources, strict=True):
        text = (question, passage, "")[source]
        assert source < 0 or made.token(index) in (text[begin:end].lower(), "xxmaj")
    assert len(encoding) == len(made.pieces(question)) + len(made.pieces(passage)) + made.extras(True)
    assert made.assemble(made.pieces(question), made.pieces(passage)) == encoding
    assert made.extras(False) == 1 and made.assemble(made.pieces(question)).sources[0] == -1


def test_how_pairs_are_written_and_words_are_cut_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokenizer()
    made.save(tmp_path)
    again = fastai.fastai_tokenizer(tmp_path, (), None)
    monkeypatch.setattr(words, "split", lambda text: pytest.fail("words were cut by spaCy"))
    text = made.pieces("a cat, in Paris.")
    assert again.pieces("a cat, in Paris.") == text
    assert again.assemble(text, text) == made.assemble(text, text)
    assert "expression" in again.splitter()
    for pair, split in (("A:0 B:x", "expression"), (fastai.PAIR, "letters")):
        with pytest.raises(BadCheckpoint, match="Words are cut by spacy or expression"):
            FastaiTokenizer(WORDS, "2", pair, split)


@pytest.mark.parametrize("head", sorted(ulmfit_mini.HEADS))
def test_neighbours_change_nothing(head: str) -> None:
    made, encodings = network(), uneven()
    together = made(Batch.of(encodings), head)
    whole = ulmfit_mini.HEADS[head].kind == "classifier"
    parts = list(together[:, None]) if whole else together.split([len(e) for e in encodings])
    for encoding, part in zip(encodings, parts, strict=True):
        alone = made(Batch.of([encoding]), head)
        assert torch.allclose(part, alone, atol=1e-5)


def test_a_span_is_of_the_passage_and_sees_question_and_what_follows() -> None:
    made, (encoding, *_) = network(), uneven()
    scores = made(Batch.of([encoding]), "qa")
    inside = torch.tensor(encoding.sources) == 1
    assert scores[inside].isfinite().all() and scores[0].isfinite().all()  # there is no answer
    assert (scores[~inside][1:] == torch.finfo(scores.dtype).min).all()
    asked, first, last = encoding.sources.index(0), encoding.sources.index(1), len(encoding) - 1
    for place, seen_by in ((asked, first), (last, last - 1)):  # another word of the question, another last word
        ids = list(encoding.ids)
        ids[place] = WORDS.index("paris")
        other = made(Batch.of([replace(encoding, ids=tuple(ids))]), "qa")
        assert (other - scores)[seen_by].abs().max() > 1e-6  # little in a network that has learnt nothing, but there


def test_a_pair_is_compared_both_ways_and_one_text_alone_has_scores_too() -> None:
    made, tok = network(), tokenizer()
    first, second = tok.pieces("a cat sat"), tok.pieces("the dog ran")
    one, other = (made(Batch.of([tok.assemble(*way)]), "nli") for way in ((first, second), (second, first)))
    assert not torch.allclose(one, other)
    assert made(Batch.of([tok.assemble(first), tok.assemble(first, second)]), "nli").isfinite().all()
    assert made(Batch.of([tok.assemble(first, tok.pieces(""))]), "nli").isfinite().all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("ulmfit-data"))


@pytest.fixture(scope="module")
def lm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ulmfit-lm")
    scores = ulmfit_lm.pretrain(Run(data, out, tiny=True))
    known = fastai.fastai_tokenizer(out, (), None).vocabulary
    assert scores["text held-out loss"] < math.log(known) - 1 and scores["tldr held-out loss"] < math.log(known) - 1
    return out


@pytest.fixture(scope="module")
def mini(data: Path, lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ulmfit-mini")
    ulmfit_mini.train(Run(data, out, tiny=True, start=lm / "checkpoint-float32"))
    return out


@pytest.fixture(scope="module")
def short(data: Path, lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a part of the steps, to hold resumed ones against."""
    out = tmp_path_factory.mktemp("ulmfit-short")
    ulmfit_mini.train(short_run(data, lm, out))
    return out


def short_run(data: Path, lm: Path, out: Path) -> Run:
    return Run(data, out, tiny=True, start=lm / "checkpoint-float32", scale=0.2)


def test_pretraining_goes_on_after_a_kill(
    data: Path, lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill(patch, ulmfit_lm, "loss_on", 31)
        with pytest.raises(Killed):
            ulmfit_lm.pretrain(Run(data, tmp_path, tiny=True))
    ulmfit_lm.pretrain(Run(data, tmp_path, tiny=True, resume=True))
    same_weights(lm, tmp_path)


@pytest.mark.parametrize(("name", "calls"), [("slanted", 2 * 4), ("with_language_model", 0), ("loss_from", 20)])
def test_fine_tuning_goes_on_after_a_kill(
    name: str, calls: int, data: Path, lm: Path, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in stage 2, between the stages, and in stage 3."""
    run = short_run(data, lm, tmp_path)
    with monkeypatch.context() as patch:
        kill(patch, finetune if name == "loss_from" else ulmfit_mini, name, calls)
        with pytest.raises(Killed):
            ulmfit_mini.train(run)
    ulmfit_mini.train(replace(run, resume=True))
    same_weights(short, tmp_path)


def test_layers_are_set_free_from_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first steps of stage 3 heads learn alone, then the layers below, one after the other."""
    rates = [[ulmfit_mini.unfrozen(step, group, 100) > 0 for group in range(4)] for step in (0, 4, 8, 12)]
    assert rates == [[group <= free for group in range(4)] for free in range(4)]


def test_a_run_needs_a_language_model_to_start_from(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="starts from a language model"):
        ulmfit_mini.train(Run(data, tmp_path, tiny=True))


def test_fine_tuning_learns(data: Path, mini: Path) -> None:
    """Asked of rows that it never saw."""
    model = zoo.load(mini / "checkpoint-float32")
    pairs = lessons.rows_of(data, "nli/snli_dev.jsonl.gz", "nli/snli_test.jsonl.gz")
    phrases = lessons.held_phrases(data)
    right = [
        finetune.accuracy(model.network, head, finetune.classification(rows, labels, model.tokenizer, 96))
        for head, rows, labels in (("nli", pairs, lessons.NLI), ("sentiment", phrases, lessons.SENTIMENTS))
    ]
    assert sum(right) / 2 > 55, right  # chance gives 42


def test_a_checkpoint_answers_all_tasks(mini: Path) -> None:
    engine, name = Engine(), str(mini / "checkpoint")
    model = engine.model(name)
    assert dict(model.heads) == ulmfit_mini.HEADS
    assert model.config.pair_heads == ("nli",)
    found = nli.run(engine, name, "A baker is standing in a garden .", "Nobody is in the garden .", head="nli")
    assert {s.label for s in found.scores} == set(lessons.NLI)
    topic = classify.run(engine, name, "The coach of the team", head="topic")
    assert {s.label for s in topic.scores} == set(lessons.TOPICS)
    passage = "Anna lives in Paris. Ben lives in Rome."
    answer = qa.run(engine, name, "Where does Ben live?", passage, allow_no_answer=False)
    assert answer.answer and answer.answer in passage
    assert summarize.run(engine, name, "Anna lives in Paris. Ben lives in Rome.", max_new_tokens=5).tokens == 5
