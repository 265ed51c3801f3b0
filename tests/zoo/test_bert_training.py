"""BERT as it is trained here: which words are masked and by what, which passages are put together, and both recipes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import zoo
from tasks import classify, nli, qa
from tests import minis, tiny_data
from tests.zoo.stopping import Killed, kill, same_weights
from zoo.contracts import Batch, Tokenizer
from zoo.engine import Engine
from zoo.errors import BadData, BadParameter
from zoo.models import bert
from zoo.training import bert_lm, bert_mini, finetune, pairs, text
from zoo.training.bert_lm import Masks, mask
from zoo.training.pairs import Document, Pairs
from zoo.training.recipes import Run


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return zoo.load(minis.bert_checkpoint(tmp_path_factory.mktemp("letters"))).tokenizer


def some_texts(masks: Masks, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts of different lengths with a special token at either end and one in the middle."""
    chance = np.random.default_rng(0)
    lengths = chance.integers(3, length, count)
    texts = [chance.choice(masks.others, n) for n in lengths]
    for ids in texts:
        ids[[0, len(ids) // 2, -1]] = masks.special[[2, 3, 3]]
    return np.concatenate(texts), lengths


def test_words_are_masked_in_the_papers_proportions_and_special_tokens_never(tokenizer: Tokenizer) -> None:
    masks = Masks.of(tokenizer)
    assert [tokenizer.token(i) for i in masks.special] == list(bert_lm.SPECIAL)
    assert len(masks.others) == tokenizer.vocabulary - 5 and not set(masks.others) & set(masks.special)
    ids, lengths = some_texts(masks, 3000, 120)
    read, rows = mask(ids, lengths, masks, np.random.default_rng(1))
    assert not np.isin(ids[rows], masks.special).any() and len(np.unique(rows)) == len(rows)
    changed = np.flatnonzero(read != ids)
    assert set(changed) <= set(rows)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    told = np.bincount(owner[rows], minlength=len(lengths))
    room = lengths - 3  # words that are not special
    assert (told == np.minimum(np.maximum(1, np.rint(0.15 * lengths)), room)).all()
    assert np.mean(read[rows] == masks.mask) == pytest.approx(0.8, abs=0.01)
    other = (read[rows] != masks.mask) & (read[rows] != ids[rows])
    assert np.mean(other) == pytest.approx(0.1 * (1 - 1 / len(masks.others)), abs=0.01)
    assert np.mean(read[rows] == ids[rows]) == pytest.approx(0.1, abs=0.01)
    assert not np.isin(read[rows][other], masks.special).any()
    places = np.concatenate([np.arange(n) / n for n in lengths])[rows]
    assert np.mean(places) == pytest.approx(0.5, abs=0.02)  # wherever they stand
    again, same = mask(ids, lengths, masks, np.random.default_rng(1))
    assert (again == read).all() and (same == rows).all()
    assert (mask(ids, lengths, masks, np.random.default_rng(2))[0] != read).any()


def made_up(count: int = 60, sentences: int = 40) -> list[Document]:
    """Documents whose tokens tell where they stand: 1000 times the document, and counting."""
    chance = np.random.default_rng(0)
    documents = []
    for number in range(count):
        ends = np.cumsum(chance.integers(4, 30, sentences))
        documents.append(Document((1000 * (number + 1) + np.arange(ends[-1])).astype(np.uint16), ends))
    return documents


def test_half_of_the_passages_follow_and_the_others_are_of_another_document(tokenizer: Tokenizer) -> None:
    documents = made_up()
    length = 96
    made = pairs.pairs_of(documents, tokenizer, length, seed=0)
    assert len(made) > 500 and made.lengths.max() == length
    assert np.mean(made.strange) == pytest.approx(0.5, abs=0.06)
    assert np.mean(made.lengths == length) > 0.75
    special = tokenizer.assemble(tokenizer.pieces(""), tokenizer.pieces("")).ids
    for index in range(len(made)):
        ids, first = made.ids_of(index).astype(int), int(made.firsts[index])
        assert (ids[0], ids[first - 1], ids[-1]) == special
        a, b = ids[1 : first - 1], ids[first:-1]
        assert len(a) and len(b)
        for passage in (a, b):
            assert (np.diff(passage) == 1).all()  # one run of a document
        same = a[0] // 1000 == b[0] // 1000
        assert same != made.strange[index]
        if same and len(ids) < length:  # nothing was cut
            assert b[0] == a[-1] + 1


def test_every_token_of_a_document_is_read_unless_it_was_cut(tokenizer: Tokenizer) -> None:
    """Sentences that gave way to a strange passage begin the next pair."""
    documents = made_up()
    made = pairs.pairs_of(documents, tokenizer, 128, seed=0)
    seen = {int(i) for index in range(len(made)) for i in made.ids_of(index)}
    every = {int(i) for document in documents for i in document.ids}
    assert len(every - seen) / len(every) < 0.08


def test_pairs_are_kept_and_a_seed_makes_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    one, two, other = (pairs.pairs_of(made_up(8), tokenizer, 64, seed) for seed in (3, 3, 4))
    one.save(tmp_path / "pairs.npz")
    kept = Pairs.load(tmp_path / "pairs.npz")
    for name in ("ids", "lengths", "firsts", "strange", "starts"):
        assert (getattr(kept, name) == getattr(two, name)).all()
    assert not np.array_equal(one.ids, other.ids)


def test_documents_are_cut_into_sentences(tokenizer: Tokenizer) -> None:
    assert text.sentences("One is here. Two is there!\n\n  Three, e.g. this. \n") == [
        "One is here.",
        "Two is there!",
        "Three, e.g. this.",
    ]
    (document,) = pairs.documents_of(tokenizer, ["ab cd. Ef", "", " \n "], 100)
    assert document.ends.tolist() == [5, 7] and document.start(1) == 5
    assert len(pairs.documents_of(tokenizer, ["abc."] * 9, 10)) == 3  # until there is enough


def test_a_batch_is_what_the_tokenizer_would_have_made(tokenizer: Tokenizer) -> None:
    """Ids but for the masks, segments, positions; the answers are those of its rows."""
    documents = pairs.documents_of(tokenizer, ["ab cd. Ef gh. Ij kl. Mn op."] * 2 + ["qr. St uv. Wx yz. 12."] * 2, 1000)
    made, masks = pairs.pairs_of(documents, tokenizer, 24, 0), Masks.of(tokenizer)
    drawn = bert_lm.draw(made, range(len(made)), masks, np.random.default_rng(0), "cpu")
    order = sorted(range(len(made)), key=lambda i: (made.lengths[i], i))
    assert drawn.batch.lengths == tuple(int(made.lengths[i]) for i in order)
    assert drawn.order.tolist() == [int(made.strange[i]) for i in order]
    ids = drawn.batch.ids.clone()
    ids[drawn.rows] = drawn.words
    texts = zip(*(drawn.batch.split(t) for t in (ids, drawn.batch.segments, drawn.batch.positions)), strict=True)
    for index, (words, segments, positions) in zip(order, texts, strict=True):
        first = int(made.firsts[index])
        assert words.tolist() == made.ids_of(index).tolist()
        assert segments.tolist() == [0] * first + [1] * (len(words) - first)
        assert positions.tolist() == list(range(len(words)))


def test_the_loss_is_that_of_masked_words_and_of_the_order(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    config = replace(bert_lm.TINY.config, vocab_size=tokenizer.vocabulary)
    network = bert_lm.fresh(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    made = pairs.pairs_of(pairs.documents_of(tokenizer, ["ab cd. Ef gh. Ij kl. Mn op."] * 4, 1000), tokenizer, 24, 0)
    drawn = bert_lm.draw(made, range(len(made)), Masks.of(tokenizer), np.random.default_rng(0), "cpu")
    words = F.cross_entropy(network(drawn.batch, "masked_lm")[drawn.rows], drawn.words)  # the whole table, then rows
    order = F.cross_entropy(network(drawn.batch, "next_sentence"), drawn.order)
    assert bert_lm.sum_of_losses(network, drawn).item() == pytest.approx((words + order).item(), rel=1e-5)


def test_every_pair_is_drawn_once_before_any_comes_again() -> None:
    order = bert_lm.order_of(5, 47, 6, 14, seed=0)
    assert sorted(np.concatenate(order[:7]).tolist()) == list(range(5, 47))
    assert sorted(np.concatenate(order[7:]).tolist()) == list(range(5, 47))


# The recipes.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("bert-data"))


@pytest.fixture(scope="module")
def lm(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bert-lm")
    scores = bert_lm.pretrain(Run(data, out, tiny=True))
    assert scores["held-out masked words loss"] < math.log(300) - 0.8
    return out


@pytest.fixture(scope="module")
def mini(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bert-mini")
    bert_mini.train(Run(data, out, tiny=True))
    return out


def test_pretraining_goes_on_after_a_kill(
    data: Path, lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, bert_lm, "sum_of_losses", 31)
        bert_lm.pretrain(Run(data, tmp_path, tiny=True))
    bert_lm.pretrain(Run(data, tmp_path, tiny=True, resume=True))
    same_weights(lm, tmp_path)


def test_a_pretrained_checkpoint_fills_in_words_and_can_be_gone_on_with(data: Path, lm: Path, tmp_path: Path) -> None:
    model = zoo.load(lm / "checkpoint")
    assert dict(model.heads) == bert_lm.HEADS
    found = Engine().classify(str(lm / "checkpoint"), "next_sentence", [("Anna lives in Paris.", "Ben lives in Rome.")])
    assert found[0].labels == ("is_next", "not_next")
    run = Run(data, tmp_path / "more", tiny=True, scale=0.02, start=lm / "checkpoint-float32")
    begun = bert_lm.begin(run, bert_lm.TINY)
    kept = zoo.load(lm / "checkpoint-float32").network.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in begun.network.state_dict().items())
    assert bert_lm.pretrain(run)["held-out masked words loss"] < math.log(300) - 0.8


def test_pretraining_can_go_on_from_a_checkpoint_of_other_heads(data: Path, mini: Path, tmp_path: Path) -> None:
    bert_lm.pretrain(Run(data, tmp_path / "out", tiny=True, scale=0.02, start=mini / "checkpoint"))
    assert set(zoo.load(tmp_path / "out/checkpoint").heads) == set(bert_lm.HEADS)


def test_too_little_text_and_a_vocabulary_without_mask_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "lm").mkdir()
    with pytest.raises(BadData, match="two documents"):
        bert_lm.pretrain(Run(tmp_path, tmp_path / "out", tiny=True))
    with pytest.raises(BadParameter, match="MASK"):
        Masks.of(zoo.load(minis.gpt2_checkpoint(tmp_path / "gpt2")).tokenizer)


def test_fine_tuning_goes_on_after_a_kill(
    data: Path, mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, finetune, "loss_of", 17)
        bert_mini.train(Run(data, tmp_path, tiny=True))
    bert_mini.train(Run(data, tmp_path, tiny=True, resume=True))
    same_weights(mini, tmp_path)


def test_fine_tuning_starts_from_what_was_pretrained_here_and_learns(data: Path, lm: Path, tmp_path: Path) -> None:
    begun = bert_mini.begin(Run(data, tmp_path, tiny=True, start=lm / "checkpoint-float32"))
    kept = zoo.load(lm / "checkpoint-float32").network.body.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in begun[2].body.state_dict().items())
    bert_mini.train(Run(data, tmp_path, tiny=True, scale=2.0, start=lm / "checkpoint-float32"))
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    losses = [float(row[4]) for row in rows if row[5]]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_checkpoint_answers_its_tasks(mini: Path) -> None:
    engine, name = Engine(), str(mini / "checkpoint")
    heads = engine.model(name).heads
    assert {n: replace(h, none_bias=0.0) for n, h in heads.items()} == bert_mini.HEADS
    found = nli.run(engine, name, "A baker is standing in a garden .", "Nobody is in the garden .", head="nli")
    assert len(found.scores) == 3
    assert len(classify.run(engine, name, "The coach of the team", head="topic").scores) == 4
    passage = "Anna lives in Paris. Ben lives in Rome."
    assert qa.run(engine, name, "Where does Ben live?", passage, allow_no_answer=False).answer in passage


def test_batches_of_pairs_are_read_as_texts_are(lm: Path) -> None:
    """The head on next passages reads [CLS], wherever a text lies in the batch."""
    model = zoo.load(lm / "checkpoint-float32")
    cut = [model.tokenizer.pieces(t) for t in ("Anna lives in Paris.", "Ben", "The old house.")]
    texts = [model.tokenizer.assemble(cut[i], cut[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    together = model.network(Batch.of(texts), "next_sentence")
    for text_, row in zip(texts, together, strict=True):
        assert torch.allclose(model.network(Batch.of([text_]), "next_sentence")[0], row, atol=1e-5)
    assert isinstance(model.config, bert.BertConfig)
