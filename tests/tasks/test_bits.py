"""Bits per byte: probabilities that add up to 1 for every family, texts charged once, strange words spelled."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks import bits
from tasks.bits import Reading, windows_of
from tasks.spelling import BEGIN, SYMBOLS, Speller
from tests import minis
from zoo import load
from zoo.contracts import HeadSpec
from zoo.errors import Unsupported
from zoo.family import Family, Model
from zoo.models import elmo, gpt2, ulmfit, xlnet
from zoo.tokenizers.chars import CharacterRows, CharacterTokenizer
from zoo.tokenizers.fastai import FastaiTokenizer
from zoo.training import heldout
from zoo.weights.keymap import LoadReport

WORDS = ("xxunk", "xxpad", "xxbos", "xxmaj", "xxup", "the", "cat", "sat", ".")
ELMO_WORDS = ("<S>", "</S>", "<UNK>", "the", "cat", "sat", ".")


def model_of(family: Family, config: Any, tokenizer: Any = None) -> Model:
    """A random network without files."""
    torch.manual_seed(0)
    heads = {"lm": HeadSpec("lm")}
    network = family.build(config, heads).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Model("tiny", family, config, network, tokenizer, heads, "tiny", "local", LoadReport())


def gpt2_model() -> Model:
    return model_of(gpt2.FAMILY, gpt2.Gpt2Config(9, 8, 16, 2, 2, eos_token_id=0))


def xlnet_model(continue_type: str = "bi") -> Model:
    config = xlnet.XlnetConfig(vocab_size=9, d_model=16, n_layer=2, n_head=2, d_inner=32, continue_type=continue_type)
    return model_of(xlnet.FAMILY, config)


def ulmfit_model() -> Model:
    config = ulmfit.UlmfitConfig(
        vocab_size=len(WORDS), emb_sz=16, n_hid=24, n_layers=2, pad_token=1, tie_weights=True, out_bias=True,
        lin_ftrs=(8,), lin_bias=True, bptt=70, max_len=None, pair_heads=(), head_size=0,
    )  # fmt: skip
    return model_of(ulmfit.FAMILY, config, FastaiTokenizer(WORDS, "2"))


def elmo_model() -> Model:
    config = elmo.ElmoConfig(
        n_characters=262, max_characters_per_token=12, char_dim=4, filters=[[1, 4], [2, 8]], activation="relu", dim=16,
        projection_dim=8, use_skip_connections=True, n_layers=2, n_highway=1, cell_clip=3, proj_clip=3,
        vocab_size=len(ELMO_WORDS),
    )  # fmt: skip
    return model_of(elmo.FAMILY, config, CharacterTokenizer(CharacterRows(12), ELMO_WORDS, generates=True))


def inputs_of(model: Model, ids: list[int]) -> list[Any]:
    """Ids as the model reads them: rows of characters for ELMo."""
    return [model.tokenizer.reread(i) for i in ids] if model.family is elmo.FAMILY else ids


def cost(model: Model, *texts: list[int]) -> list[float]:
    """Bits of texts of ids after id 0."""
    readings = [Reading(inputs_of(model, [0, *ids]), ids, []) for ids in texts]
    with torch.inference_mode():
        return bits.WAYS[model.family.name].bits(model, "lm", readings, lambda tokens: None)


MODELS: list[Callable[[], Model]] = [
    gpt2_model, xlnet_model, lambda: xlnet_model("uni"), ulmfit_model, elmo_model,
]  # fmt: skip
NAMES = ["gpt2", "xlnet", "xlnet, no look ahead", "ulmfit", "elmo"]


@pytest.fixture(params=MODELS, ids=NAMES)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(bits, "CHUNK", 3)  # so that a few tokens are several chunks, lanes and windows
    monkeypatch.setattr(bits, "LANES", 2)
    monkeypatch.setattr(xlnet, "LONGEST", 8)
    return request.param()


def test_every_family_that_continues_texts_has_a_way() -> None:
    from zoo.models.shelf import FAMILIES

    assert set(bits.WAYS) == {family.name for family in FAMILIES if family.new_state is not None}


@pytest.mark.parametrize("length", [0, 2, 7, 13])
def test_what_may_come_next_adds_up_to_one(model: Model, length: int) -> None:
    prefix = [(3 * i) % 5 + 2 for i in range(length)]
    vocabulary = 7 if model.family is elmo.FAMILY else 9
    before, *after = cost(model, prefix, *([*prefix, token] for token in range(vocabulary)))
    assert sum(2 ** (before - one) for one in after) == pytest.approx(1, abs=2e-4)


def test_texts_cost_the_same_alone_and_in_company(model: Model) -> None:
    texts = [[2, 3, 4] * 5, [5], [4, 2], [6, 5, 4, 3, 2] * 4]
    assert cost(model, *texts) == pytest.approx([cost(model, text)[0] for text in texts], abs=1e-4)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 12, 13, 40])
@pytest.mark.parametrize("first", [0, 1])
def test_windows_charge_every_token_once_with_half_a_window_before(first: int, length: int) -> None:
    if length <= first:
        return
    windows = list(windows_of(0, first, length, 8))
    assert [i for w in windows for i in range(w.fresh, w.end)] == list(range(first, length))
    assert all(w.length <= 8 and (w.begin == 0 or w.known >= 4) for w in windows)


def test_bits_of_bytes_by_hand(tmp_path: Path) -> None:
    model = load(minis.gpt2_checkpoint(tmp_path / "m"))
    text = "a cät."
    (charged,) = bits.charge(model, [text])
    ids = [model.tokenizer.end, *model.tokenizer.pieces(text).ids]
    from zoo.contracts import Batch

    with torch.inference_mode():
        scores = model.network(Batch.continuing([ids[:-1]], [0]), "lm").log_softmax(-1)
    by_hand = -scores.gather(1, torch.tensor(ids[1:])[:, None]).sum().item() / math.log(2)
    assert charged.bytes == 7 and charged.bits == pytest.approx(by_hand, rel=1e-5)
    assert bits.ratio([charged, charged]) == pytest.approx(by_hand / 7, rel=1e-5)


@pytest.mark.parametrize("make", [ulmfit_model, elmo_model])
def test_words_outside_of_the_vocabulary_are_spelled_too(make: Callable[[], Model]) -> None:
    model = make()
    known, strange, again = bits.charge(model, ["the cat sat.", "the zebra sat.", "the zebra sat."])
    reading = bits.WAYS[model.family.name].reading(model, "the zebra sat.")
    assert reading.strange == ["zebra"] and len(reading.inputs) == len(reading.targets) + 1
    spelled = strange.bits - cost_of(model, reading)
    assert spelled == pytest.approx(Speller().bits("zebra"), abs=1e-3) and spelled > 5 * 7
    assert again.bits < strange.bits - 10, "a word that came before is cheaper to spell"
    assert known.bits > 0


def cost_of(model: Model, reading: Reading) -> float:
    with torch.inference_mode():
        return bits.WAYS[model.family.name].bits(model, "lm", [reading], lambda tokens: None)[0]


def test_spelling_is_a_probability_distribution_whatever_was_learnt() -> None:
    speller = Speller(order=3)
    for word in ["cat", "cats", "catalogue", "zoö", "", "cat"]:
        speller.bits(word)
    for before in (BEGIN, BEGIN + b"c", b"cat", b"at", b"xyz", BEGIN + "ö".encode()):
        total = sum(speller.probability(symbol, before) for symbol in range(SYMBOLS))
        assert total == pytest.approx(1, abs=1e-12)
    assert speller.probability(ord("t"), BEGIN + b"ca") > 0.5


def test_spelling_starts_from_nothing_and_learns() -> None:
    speller = Speller()
    first = speller.bits("q")
    assert first == pytest.approx(math.log2(257) + math.log2(257), rel=0.2)
    costs = [speller.bits("nomenclature") for _ in range(5)]
    assert costs == sorted(costs, reverse=True) and costs[-1] < costs[0] / 4


def test_models_without_language_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no probability of a text"):
        bits.charge(load(minis.bert_checkpoint(tmp_path / "m")), ["a"])


def test_texts_of_a_file(tmp_path: Path) -> None:
    wikitext = " \n = A = \n \n One . \n = = Part = = \n \n 1 \n = 2 + 2 = \n no title \n = B = \n \n Two . \n"
    path = tmp_path / "wikitext.txt.gz"
    path.write_bytes(gzip.compress(wikitext.encode()))
    texts = bits.texts_of(path)
    assert len(texts) == 2 and "".join(texts) == wikitext and texts[1].startswith(" = B = ")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n{"text": ""}\n{"text": "b"}\n')
    assert bits.texts_of(rows) == ["a", "b"]
    plain = tmp_path / "plain.txt"
    plain.write_text("all of it\n\nat once")
    assert bits.texts_of(plain) == ["all of it\n\nat once"]


def test_wikitext_as_prose() -> None:
    article = (
        " \n = A Title = \n \n He said : \" Teddy 's well @-@ known <unk> don 't cost $ 1 @,@ 000 ( 2 @.@ 5 % ) ; see "
        "the dogs ' home . \" \n = = Part = = \n \n Two . \n"
    )
    assert heldout.prose(article) == (
        "A Title\n\nHe said: \"Teddy's well-known <unk> don't cost $1,000 (2.5%); see the dogs' home.\"\n\nPart\n\nTwo."
    )
