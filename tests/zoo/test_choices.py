"""Pairs read both ways round, and answers to choose from: the engine's part, on a small random GPT."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import zoo
from tests.published import gpt as published
from zoo import Engine
from zoo.contracts import Batch, HeadSpec
from zoo.engine.answers import Timings
from zoo.errors import BadParameter, InputEmpty, Unsupported
from zoo.models import gpt
from zoo.training.export import export


@pytest.fixture(scope="module")
def choosing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with a choice head, as published."""
    return str(published.repository(tmp_path_factory.mktemp("choice"), "choice"))


@pytest.fixture(scope="module")
def comparing(choosing: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with a similarity head, in this project's own layout."""
    model = zoo.load(choosing)
    heads = {"similarity": HeadSpec("similarity", ("no", "yes"))}
    torch.manual_seed(1)
    network = gpt.build(model.config, heads).eval()
    folder = tmp_path_factory.mktemp("similarity")
    export(folder, gpt.FAMILY, model.config, network, heads, model.tokenizer, quantized=False)
    return str(folder)


def sentences(count: int, seed: int) -> list[str]:
    """Made of letters and words of the small vocabulary."""
    chance = random.Random(seed)
    words = ["the", "cat", "sat", "on", "x", "a"]
    return [" ".join(chance.choices(words, k=chance.randint(1, 9))) for _ in range(count)]


def test_company_and_order_of_pairs_change_nothing(comparing: str) -> None:
    engine, pairs = Engine(), list(zip(sentences(30, 0), sentences(30, 1), strict=True))
    together = engine.similar(comparing, None, pairs)
    for (a, b), found in zip(pairs, together, strict=True):
        for way in ((a, b), (b, a)):
            assert engine.similar(comparing, None, [way])[0].scores == pytest.approx(found.scores, abs=1e-5)
    assert {found.labels for found in together} == {("no", "yes")}
    assert len({found.scores for found in together}) > 25


def test_the_bias_counts_once(comparing: str) -> None:
    model = zoo.load(comparing)
    engine = Engine(open_model=lambda name, progress: model)
    (before,) = engine.similar(comparing, None, [("the cat", "on")])
    with torch.no_grad():
        model.network.heads["similarity"].out.bias += torch.tensor([1.0, 5.0])
    (after,) = engine.similar(comparing, None, [("the cat", "on")])
    assert [b - a for a, b in zip(before.scores, after.scores, strict=True)] == pytest.approx([1, 5], abs=1e-5)


@pytest.mark.parametrize(("first", "second"), [(100, 3), (3, 100), (100, 101), (100, 100)])
def test_long_pairs_are_cut_once_for_both_ways(first: int, second: int, comparing: str) -> None:
    """64 positions less three special tokens; both orders read the same part of each text."""
    model = zoo.load(comparing)
    a, b = "cat " * first, "sat " * second
    (found,) = Engine().similar(comparing, None, [(a, b)])
    assert sum(read.tokens for read in found.read) == 61
    kept = [text[: read.characters] for text, read in zip((a, b), found.read, strict=True)]
    cut = [model.tokenizer.pieces(text) for text in kept]
    with torch.no_grad():
        ways = [model.network(Batch.of([model.tokenizer.assemble(*way)]), "similarity")[0] for way in (cut, cut[::-1])]
    assert found.scores == pytest.approx((ways[0] + ways[1]).tolist(), abs=1e-5)


def rows(count: int) -> list[tuple[str, Sequence[str]]]:
    """Contexts with one to five answers."""
    return [(context, sentences(1 + index % 5, index)) for index, context in enumerate(sentences(count, 2))]


def test_answers_are_weighed_against_those_of_their_row(choosing: str) -> None:
    engine = Engine()
    together = engine.choose(choosing, None, rows(20))
    for (context, answers), found in zip(rows(20), together, strict=True):
        assert len(found.probabilities) == len(found.read) == len(answers)
        assert sum(found.probabilities) == pytest.approx(1)
        assert engine.choose(choosing, None, [(context, answers)])[0].probabilities == pytest.approx(
            found.probabilities, abs=1e-5
        )
        turned = engine.choose(choosing, None, [(context, answers[::-1])])[0].probabilities
        assert turned[::-1] == pytest.approx(found.probabilities, abs=1e-5)


def test_long_answers_are_cut_and_say_so(choosing: str) -> None:
    (found,) = Engine().choose(choosing, None, [("cat " * 100, ["sat", "on " * 100])])
    assert [[read.cut for read in pair] for pair in found.read] == [[True, False], [True, True]]
    assert all(sum(read.tokens for read in pair) == 61 for pair in found.read)


def test_nothing_to_do_and_nothing_to_choose_from(choosing: str, comparing: str) -> None:
    assert Engine().choose(choosing, None, []) == Engine().similar(comparing, None, []) == []
    with pytest.raises(BadParameter, match="at least one"):
        Engine().choose(choosing, None, [("the cat", ["sat"]), ("the cat", [])])


def test_models_without_the_head_say_what_they_have(choosing: str, comparing: str) -> None:
    with pytest.raises(Unsupported, match=r"no similarity head.*choice \(choice\)"):
        Engine().similar(choosing, None, [("a", "b")])
    with pytest.raises(Unsupported, match=r"no choice head.*similarity \(similarity\)"):
        Engine().choose(comparing, None, [("a", ["b"])])


def test_timings_name_the_stages(choosing: str, comparing: str) -> None:
    for ask in (
        lambda timings: Engine().similar(comparing, None, [("a", "b")], timings),
        lambda timings: Engine().choose(choosing, None, [("a", ["b"])], timings),
    ):
        timings = Timings()
        ask(timings)
        assert set(timings.seconds) == {"load", "tokenize", "forward", "decode"}


def test_a_text_that_is_nothing_to_the_model_is_refused(tmp_path: Path) -> None:
    """GPT's tokenizer drops a zero-width space; without special tokens nothing is left to read."""
    folder = str(published.repository(tmp_path, "classifier"))
    with pytest.raises(InputEmpty, match="no character"):
        Engine().classify(folder, None, [("the cat", None), ("\u200b", None)])
