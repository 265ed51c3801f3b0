"""Streams side by side, with lookup, and from kept states say what the plain loop says, token for token."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import zoo
from tests import minis
from zoo import Engine
from zoo.engine import reading
from zoo.generation import Step, Stream, advance, generate
from zoo.sampling import Sampling

NAMES = ("gpt-mini", "ulmfit-mini", "elmo-mini", "xlnet-mini")
DOCUMENTS = [
    "The city council met on Monday to discuss the new bridge. " * repeats + more
    for repeats, more in ((1, ""), (3, "It rained."), (8, "Nobody came to the meeting of the council."), (2, "Why?"))
]
SAMPLINGS = [Sampling(), Sampling(no_repeat=3), Sampling(temperature=0.8, top_k=20, seed=3), Sampling(no_repeat=2)]


def prompts(model: zoo.Model) -> list[tuple[int, ...]]:
    """As the engine makes them."""
    cut = [reading.prompt(model, text, "\nTL;DR:", 24) for text in DOCUMENTS]
    return [model.tokenizer.prompt(kept + tail).ids for kept, tail, _ in cut]


def plain(model: zoo.Model, prompt: tuple[int, ...], sampling: Sampling) -> list[int]:
    return [step.token for step in generate(model, "lm", prompt, 24, sampling)]


@pytest.mark.parametrize("name", NAMES)
def test_side_by_side(name: str) -> None:
    """Streams of all lengths, of which one begins later than the others."""
    model = zoo.load(name)
    asked = list(zip(prompts(model), SAMPLINGS, strict=True))
    streams = [Stream(model, "lm", prompt, 24, sampling, lookup=True) for prompt, sampling in asked]
    for turn in itertools.count():
        going = [stream for stream in streams[: 3 if turn < 4 else 4] if not stream.finished]
        if not going:
            break
        advance(going)
    for stream, (prompt, sampling) in zip(streams, asked, strict=True):
        assert stream.said == plain(model, prompt, sampling)


@pytest.mark.parametrize("name", NAMES)
def test_through_the_engine(name: str) -> None:
    engine = Engine()
    model = engine.model(name)

    def say(number: int) -> tuple[int, ...]:
        *_, last = engine.generate(name, "lm", DOCUMENTS[number], "\nTL;DR:", 24, SAMPLINGS[number])
        return last.ids

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(say, [0, 1, 2, 3, 3, 2, 1, 0]))
    for number, ids in zip([0, 1, 2, 3, 3, 2, 1, 0], made, strict=True):
        wanted = plain(model, prompts(model)[number], SAMPLINGS[number])
        assert list(ids) == [token for token in wanted if token != model.tokenizer.end]


def test_a_last_token_that_comes_while_its_reader_asks_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who sees nothing ready, and is so slow that the stream has ended before it goes on."""

    class Late(deque[Step]):
        stream: Stream

        def __len__(self) -> int:
            count = super().__len__()
            until = time.monotonic() + 5
            if not count and self.stream.said and threading.current_thread().name != "zoo-forward":
                while not self.stream.finished and time.monotonic() < until:
                    time.sleep(0.001)
            return count

    def slow(self: Stream, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        self.ready = Late()
        self.ready.stream = self

    engine = Engine()
    begin = Stream.__init__
    monkeypatch.setattr(Stream, "__init__", slow)
    (*_, last) = engine.generate("gpt-mini", "lm", DOCUMENTS[1], "\nTL;DR:", 24, Sampling())
    monkeypatch.undo()
    model = engine.model("gpt-mini")
    wanted = plain(model, prompts(model)[1], Sampling())
    assert last.finished and list(last.ids) == [token for token in wanted if token != model.tokenizer.end]


def test_lookup_saves_passes_where_a_text_repeats_itself(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    prompt = (1, 2, 3, 4, 5, 6, 7) * 4
    stream = Stream(model, "lm", prompt, 30, Sampling(), lookup=True)
    while not stream.finished:
        advance([stream])
    wanted = [step.token for step in generate(model, "lm", prompt, 30, Sampling())]
    assert stream.said == wanted
    assert len(set(wanted[-12:])) < 6, "this model goes round in a circle"
    assert stream.passes < 25


def test_a_wrong_guess_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is tried, what is said stays the same."""
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    monkeypatch.setattr("zoo.generation._Lookup.draft", lambda self, most: [9, 3, 1][:most])
    stream = Stream(model, "lm", (1, 2, 3), 30, Sampling(no_repeat=2), lookup=True)
    while not stream.finished:
        advance([stream])
    assert stream.said == [step.token for step in generate(model, "lm", (1, 2, 3), 30, Sampling(no_repeat=2))]
    assert stream.state.lengths == (len(stream.read),)


def test_sampling_and_states_that_cannot_go_back_try_nothing() -> None:
    model = zoo.load("ulmfit-mini")
    (prompt, *_) = prompts(model)
    for sampling in SAMPLINGS[:3]:
        stream = Stream(model, "lm", prompt, 5, sampling, lookup=True)
        while not stream.finished:
            advance([stream])
        assert stream.passes == 5 + (len(prompt) - 1) // 64
