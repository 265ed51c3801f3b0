"""The readers on top of small bodies, of spans and of pairs: they read a text alone as beside others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests import nets
from zoo.contracts import Batch, Encoding
from zoo.errors import BadCheckpoint
from zoo.family import Model
from zoo.models import gpt2, xlnet
from zoo.models.reading import ReadingPair, matches, question_first
from zoo.weights.keymap import LoadReport

FAMILIES = ["gpt2", "xlnet", "ulmfit"]


def reader(family: str) -> Model:
    """A random model whose heads read; XLNet's question stands behind the passage, that of others before it. ULMFiT
    says by its first token that there is no answer, others by the last."""
    model = nets.FAMILIES[family]()
    if family != "xlnet":
        return model
    torch.manual_seed(0)
    config = replace(model.config, reader=8, pair_heads=("nli",))
    return replace(model, config=config, network=xlnet.build(config, model.heads).eval())


def asked(model: Model, question: str, passage: str) -> Encoding:
    return model.tokenizer.question(model.tokenizer.pieces(question), model.tokenizer.pieces(passage))


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_question_is_answered_alike_alone_and_beside_longer_and_shorter_ones(family: str) -> None:
    model = reader(family)
    encodings = [
        asked(model, "where is the cat ?", "the cat sat on a mat ."),
        asked(model, "is the dog asleep on the mat ?", "the dog is not asleep . " * 8),
        asked(model, "where ?", "a mat"),
        asked(model, "", "the dog is on the mat ."),
    ]
    together = Batch.of(encodings)
    found = together.split(model.network(together, "qa"))
    for encoding, beside in zip(encodings, found, strict=True):
        alone = model.network(Batch.of([encoding]), "qa")
        assert torch.allclose(alone, beside, atol=1e-5)
        assert len(set(alone.flatten().tolist())) > 2  # and says something


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_only_the_passage_and_the_summary_can_be_an_answer_and_the_question_matters(family: str) -> None:
    model = reader(family)
    one, other = (asked(model, question, "the cat sat on a mat .") for question in ("where ?", "is the dog ?"))
    scores = [model.network(Batch.of([encoding]), "qa") for encoding in (one, other)]
    for encoding, found in zip((one, other), scores, strict=True):
        lowest = torch.finfo(found.dtype).min
        possible = [source == 1 for source in encoding.sources]
        possible[encoding.summary] = True
        assert (found[:, 0] > lowest).tolist() == possible
    inside = [found[[source == 1 for source in e.sources]] for e, found in zip((one, other), scores, strict=True)]
    assert not torch.allclose(*inside, atol=1e-3)


def test_a_text_that_begins_with_its_passage_is_read_with_its_question_first() -> None:
    sources = torch.tensor([[1, 1, 1, -1, 0, -1, -1], [1, -1, 0, 0, -1, -9, -9], [-1, 0, -1, 1, 1, -1, -9]])
    order, back = question_first(sources, torch.tensor([7, 5, 6]))
    assert order.tolist() == [[3, 4, 5, 6, 0, 1, 2], [1, 2, 3, 4, 0, 5, 6], [0, 1, 2, 3, 4, 5, 6]]
    assert torch.equal(order.gather(1, back), torch.arange(7).expand(3, 7))


def test_what_is_known_of_equal_tokens() -> None:
    ids = torch.tensor([[5, 6, 7, 9, 6, 7, 8, 6, 5, 4]])
    sources = torch.tensor([[0, 0, 0, -1, 1, 1, 1, 1, 1, 1]])
    found = matches(ids, sources)[0]
    assert found[:, 0].tolist() == [1, 1, 1, 0, 1, 1, 0, 1, 1, 0]  # 4 and 8 stand in the passage only
    assert found[:, 1].tolist() == [0, 1, 1, 0, 1, 1, 0, 0, 0, 0]  # "6 7" is in both
    assert found[:, 2].tolist() == [1, 0.5, 1, 0, 0.5, 1, 0, 0.5, 1, 0]  # 6 stands in the passage twice


PAIRS = [
    ("the dog is asleep .", "the dog is not asleep ."),
    ("the cat sat on the mat . " * 5, "the cat sat"),
    ("is", ""),
    ("the dog is on a mat .", "where is the cat ? " * 3),
]


def pair(model: Model, one: str, other: str = "") -> Encoding:
    return model.tokenizer.assemble(model.tokenizer.pieces(one), model.tokenizer.pieces(other))


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_a_pair_is_judged_alike_alone_and_beside_longer_and_shorter_ones(family: str) -> None:
    model = reader(family)
    assert isinstance(model.network.heads["nli"], ReadingPair)
    together = model.network(Batch.of([pair(model, *texts) for texts in PAIRS]), "nli")  # [B, K]
    for texts, beside in zip(PAIRS, together, strict=True):
        alone = model.network(Batch.of([pair(model, *texts)]), "nli")[0]
        assert torch.allclose(alone, beside, atol=1e-5) and torch.isfinite(alone).all()


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_each_text_of_a_pair_matters_and_so_does_their_order(family: str) -> None:
    model = reader(family)
    texts = [("the dog", "the cat"), ("the dog", "the dog"), ("the cat", "the cat"), ("the cat", "the dog")]
    scores = model.network(Batch.of([pair(model, *one) for one in texts]), "nli")
    apart = torch.cdist(scores, scores) + torch.eye(len(texts))
    assert apart.min() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_reader_is_trained_in_half_precision_too(family: str) -> None:
    model = reader(family)
    model.network.train()
    with torch.autocast("cpu", torch.bfloat16):
        model.network(Batch.of([pair(model, *texts) for texts in PAIRS]), "nli").sum().backward()
    assert model.network.heads["nli"].get_submodule("align.key").weight.grad.abs().sum() > 0


@torch.inference_mode()
def test_xlnet_sums_up_a_text_as_its_config_says() -> None:
    model = reader("xlnet")
    pooled = {kind: xlnet.build(replace(model.config, summary_type=kind), model.heads) for kind in ("last", "mean")}
    for network in pooled.values():
        network.load_state_dict(model.network.state_dict())
    texts = map(model.tokenizer.pieces, ("the dog is asleep .", "a cat"))
    batch = Batch.of(list(map(model.tokenizer.assemble, texts)))
    rows = model.network.body(batch).last
    found = {kind: network.eval()(batch, "topic") for kind, network in pooled.items()}
    head = model.network.heads["topic"]
    by_hand = torch.stack([part.mean(0) for part in batch.split(rows)])
    assert torch.allclose(found["mean"], head.out(torch.tanh(head.pooler.dense(by_hand))), atol=1e-5)
    assert not torch.allclose(found["mean"], found["last"], atol=1e-3)


@pytest.mark.parametrize("wrong", [3, {"nli": 1}, "nli"])
def test_a_config_with_senseless_pair_heads_is_refused(wrong: object) -> None:
    raw = {"vocab_size": 9, "n_positions": 8, "n_embd": 4, "n_layer": 1, "n_head": 1, "pair_heads": wrong}
    with pytest.raises(BadCheckpoint, match="pair_heads"):
        gpt2.read_config(raw, LoadReport())
