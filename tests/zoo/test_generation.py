"""Choosing tokens: greedy, temperature, top-k, nucleus, seeds, and no repeated n-grams."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
import torch

import zoo
from tests import minis
from zoo.errors import BadParameter
from zoo.generation import choose, generate, repeated
from zoo.sampling import Sampling

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


def draw(sampling: Sampling, times: int = 4000) -> Counter[int]:
    chance = torch.Generator().manual_seed(0)
    return Counter(choose(LOGITS.clone(), sampling, chance).token for _ in range(times))


def test_temperature_zero_takes_the_best_and_tells_its_probability() -> None:
    step = choose(LOGITS, Sampling(), torch.Generator())
    assert step.token == 0
    assert step.log_probability == pytest.approx(float(LOGITS.log_softmax(-1)[0]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_follows_the_tempered_distribution(temperature: float) -> None:
    wanted = (LOGITS / temperature).softmax(-1)
    found = draw(Sampling(temperature=temperature))
    for token in range(4):
        assert found[token] / 4000 == pytest.approx(float(wanted[token]), abs=0.03)


def test_top_k_and_top_p_keep_only_the_likely() -> None:
    assert set(draw(Sampling(temperature=1.0, top_k=2))) == {0, 1}
    assert set(draw(Sampling(temperature=1.0, top_p=0.6))) == {0}  # the best alone has 0.64
    assert set(draw(Sampling(temperature=1.0, top_p=0.7))) == {0, 1}  # the token that crosses 0.7 stays


def test_repeated_names_the_tokens_that_would_close_an_ngram_again() -> None:
    assert repeated([1, 2, 3, 1, 2], 3) == {3}
    assert repeated([1, 2, 3, 1, 2], 2) == {3}
    assert repeated([1, 2], 3) == set()
    assert repeated([5, 6], 1) == {5, 6}
    assert repeated([5, 6], 0) == set()


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.5}, {"seed": -1}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadParameter):
        Sampling(**wrong)


def test_seeds_repeat_and_differ(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))

    def say(seed: int) -> list[int]:
        return [s.token for s in generate(model, "lm", (1, 2, 3), 20, Sampling(temperature=1.0, seed=seed))]

    assert say(1) == say(1)
    assert say(1) != say(2)


def test_closing_stops_the_work(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    passes = []
    model.network.body.register_forward_hook(lambda *_: passes.append(1))
    steps = generate(model, "lm", (1, 2, 3), 40, Sampling())
    next(steps)
    next(steps)
    steps.close()
    assert len(passes) == 2


def test_the_caller_is_not_in_inference_mode_between_tokens(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    for _ in generate(model, "lm", (1, 2, 3), 3, Sampling()):
        assert not torch.is_inference_mode_enabled()


def test_no_ngram_is_said_twice(tmp_path: Path) -> None:
    model = zoo.load(minis.gpt2_checkpoint(tmp_path))
    said = [s.token for s in generate(model, "lm", (1, 2), 50, Sampling(no_repeat=2))]
    pairs = list(itertools.pairwise(said))
    assert len(pairs) == len(set(pairs))
