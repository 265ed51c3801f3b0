"""Answers and prompts that are kept: the same as computed anew, bounded, and gone with their model."""

from __future__ import annotations

import gc
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import minis
from zoo import Engine
from zoo.engine.answers import Timings
from zoo.engine.cache import Cache, Prompts
from zoo.generation import Stream, advance, generate
from zoo.sampling import Sampling

TEXTS: list[tuple[str, str | None]] = [("one cat", "two cats"), ("abc", "def"), ("one cat", "two cats")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("models")
    minis.bert_checkpoint(base / "bert")
    minis.gpt2_checkpoint(base / "gpt")
    return base


def test_the_same_is_computed_once(folder: Path) -> None:
    engine, name = Engine(remember=10), str(folder / "bert")
    first, again, plain = Timings(), Timings(), Timings()
    said = engine.classify(name, "nli", TEXTS, first)
    assert (first.computed, first.remembered, first.cached) == (2, 1, False), "one of the three is asked twice"
    assert engine.classify(name, "nli", TEXTS, again) == said
    assert (again.computed, again.remembered, again.cached) == (0, 3, True)
    mixed = Timings()
    engine.classify(name, "nli", [TEXTS[0], ("new", "text")], mixed)
    assert (mixed.computed, mixed.remembered, mixed.cached) == (1, 1, False)
    engine.classify(name, "topic", [("one cat", None)], mixed)
    assert mixed.computed == 2, "another head is another question"
    Engine().classify(name, "nli", TEXTS, plain)
    assert (plain.computed, plain.cached) == (2, False)


def test_a_generated_text_is_said_again_and_goes_on_where_more_is_wanted(folder: Path) -> None:
    engine, name = Engine(remember=10), str(folder / "gpt")

    def say(engine: Engine, most: int, read: int, seed: int = 0) -> tuple[tuple[int, ...], Timings]:
        timings, ids = Timings(), ()
        sampling = Sampling(temperature=1.0, seed=seed, no_repeat=3)
        made = engine.generate(name, "lm", "abc de abc", "", most, sampling, timings)
        for one in islice(made, read):
            ids = one.ids
        made.close()  # type: ignore[attr-defined]
        return ids, timings

    wanted, _ = say(Engine(), 20, 20)
    part, first = say(engine, 20, 5)
    assert part == wanted[:5] and first.computed == 5
    whole, second = say(engine, 20, 20)
    assert whole == wanted
    assert (second.remembered, second.computed) == (5, len(wanted) - 5)
    again, third = say(engine, 20, 20)
    assert again == wanted and third.cached
    assert say(engine, 20, 20, seed=1)[1].remembered == 0
    assert say(engine, 19, 19)[1].remembered == 0


def test_it_is_bounded_and_forgets_the_oldest() -> None:
    model, cache = nn.Linear(1, 1), Cache(3)
    for number in range(4):
        cache.put(model, number, torch.zeros(2))
        cache.get(model, 0)
    assert [cache.get(model, number) is not None for number in range(4)] == [True, False, True, True]
    small = Cache(1000, megabytes=0.001)
    for number in range(50):
        small.put(model, number, torch.zeros(64))
    kept = [number for number in range(50) if small.get(model, number) is not None]
    assert kept == list(range(50 - len(kept), 50)) and 1 <= len(kept) <= 3


def test_what_belongs_to_a_model_goes_with_it(folder: Path) -> None:
    engine, name = Engine(remember=10), str(folder / "gpt")
    list(engine.generate(name, "lm", "abc de abc de abc", "", 5, Sampling()))
    assert len(engine._cache._models) == len(engine._prompts._models) == 1
    engine.unload(name)
    gc.collect()
    assert not engine._cache._models and not engine._prompts._models


@pytest.mark.parametrize("name", ["gpt-mini", "ulmfit-mini", "elmo-mini", "xlnet-mini"])
def test_a_prompt_is_read_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens of another end of it are those of the plain loop."""
    import zoo

    model = zoo.load(name)
    read: list[int] = []
    body = model.network.body
    body.register_forward_hook(lambda _, given, __: read.append(len(given[0].ids)))
    words = "The city council met on Monday to discuss the new bridge over the river, which will cost more. " * 4
    prompts, ids = Prompts(), [model.tokenizer.prompt(model.tokenizer.pieces(words + end)).ids for end in ("", "Why?")]
    for prompt in (ids[0], ids[1], ids[1]):
        wanted = [step.token for step in generate(model, "lm", prompt, 12, Sampling(no_repeat=3))]
        read.clear()
        begin = prompts.begin(model.network, prompt, len(prompt) + 12)
        stream = Stream(model, "lm", prompt, 12, Sampling(no_repeat=3), begin, lookup=True)
        while not stream.finished:
            advance([stream])
            if len(stream.said) <= 1:
                prompts.keep(model.network, stream.read, stream.state)
        prompts.keep(model.network, stream.read, stream.state)
        assert stream.said == wanted
        if prompt is not ids[0]:
            assert read[0] <= 64 + 3 < len(prompt), "most of it was known"


def test_states_are_bounded_in_number_and_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zoo

    model, prompts = zoo.load(folder / "gpt"), Prompts()

    def read(number: int) -> None:
        stream = Stream(model, "lm", [number] * 10, 5, Sampling())
        advance([stream])
        prompts.keep(model.network, stream.read, stream.state)

    def known() -> list[int]:
        begun = {number: prompts.begin(model.network, [number] * 10, 20)() for number in range(1, 8)}
        return [number for number, state in begun.items() if state is not None]

    for number in range(1, 8):
        read(number)
    assert known() == [4, 5, 6, 7]
    monkeypatch.setattr("zoo.engine.cache.MOST_STATE_BYTES", 1)
    read(1)
    assert known() == []
