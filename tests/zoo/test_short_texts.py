"""A short text by ONNX Runtime says what it says by torch, and only where it is faster."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import nets
from zoo import Engine, load
from zoo.contracts import Batch, Encoding, Trace
from zoo.engine import precision
from zoo.family import Model
from zoo.layers import short_texts
from zoo.layers.short_texts import AFTER, LENGTHS, ShortTexts, installed
from zoo.models import bert

pytestmark = pytest.mark.skipif(not installed(), reason="requirements-fast.txt is not installed")
KINDS = [kind for kind in precision.supported() if kind != "fast"]
ACTIVATIONS = ("gelu", "gelu_new", "relu")
TEXTS = ["Rain.", "A dull and lifeless film.", "Nobody has seen the lake, which lies in the far north of the country."]


@pytest.fixture(autouse=True)
def used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere in the tests it is as if it were not installed."""
    monkeypatch.setattr(short_texts, "installed", lambda: True)
    monkeypatch.setattr(short_texts, "_found", {})


def wide(activation: str = "gelu") -> Model:
    """Of maps that are large enough for int8."""
    small = nets.bert_model()
    config = replace(small.config, hidden_size=64, num_attention_heads=4, intermediate_size=96, hidden_act=activation)
    torch.manual_seed(1)
    network = bert.FAMILY.build(config, small.heads).eval()
    return replace(small, config=config, network=network)


def batch(*lengths: int) -> Batch:
    chance = torch.Generator().manual_seed(0)
    made = [torch.randint(4, 16, (length,), generator=chance).tolist() for length in lengths]
    return Batch.of([Encoding(tuple(ids), (0,) * len(ids), ((0, 0),) * len(ids), (0,) * len(ids)) for ids in made])


def of(model: Model) -> ShortTexts:
    short: Any = model.network.body.short_texts
    assert isinstance(short, ShortTexts)
    return short


def called(short: ShortTexts) -> list[int]:
    """How many tokens each text had that it reads from now on."""
    read: list[int] = []
    short.register_forward_hook(lambda module, given, made: read.append(len(made)))
    return read


def making() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zoo-short-texts"]


@torch.inference_mode()
def rows(model: Model, *lengths: int) -> Tensor:
    last: Tensor = model.network.body(batch(*lengths)).last
    return last


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_torch(kind: str, activation: str) -> None:
    model = precision.prepared(wide(activation), kind)
    plain = {length: rows(model, length) for length in (1, 2, 7, 32)}
    of(model).make()
    read = called(of(model))
    for length, wanted in plain.items():
        # one step of int8 more or less, where a number lies in the middle between two, is passed on from there
        torch.testing.assert_close(rows(model, length), wanted, rtol=0, atol=1e-5 if kind == "exact" else 0.05)
    assert read == list(plain)


@pytest.mark.skipif("small" not in KINDS, reason="no int8 here")
def test_a_row_of_zeros_in_int8() -> None:
    model = precision.prepared(wide(), "small")
    short = of(model)
    short.make()
    x = torch.randn(3, 64) * torch.tensor([[1.0], [0.0], [100.0]])
    wanted = x
    with torch.inference_mode():
        for block in model.network.body.blocks:  # type: ignore[union-attr]
            wanted = block(wanted, batch(3))
        torch.testing.assert_close(short(x), wanted, rtol=0, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_within_the_tolerance(kind: str) -> None:
    texts = [(text, None) for text in TEXTS]
    engine = Engine(precision=kind)
    of(engine.model("bert-mini")).make()
    read = called(of(engine.model("bert-mini")))
    plain = Engine(prepare=lambda model, precision: model)
    for text in texts:
        one, other = (which.classify("bert-mini", "sentiment", [text])[0] for which in (engine, plain))
        far = torch.tensor(one.probabilities).sub(torch.tensor(other.probabilities)).abs().max()
        assert far <= {"exact": 1e-5, "small": 0.05}[kind]
    assert len(read) == len(texts)


def test_it_is_for_a_short_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = precision.prepared(wide())
    of(model).make()
    of(model).longest = 9
    read = called(of(model))
    body = model.network.body
    rows(model, 9)
    assert read.pop() == 9
    rows(model, 10)
    rows(model, 4, 4)
    body(batch(9))  # derivatives may be wanted
    trace = Trace()
    with torch.inference_mode():
        body(batch(9), None, trace)
    assert trace.layers and trace.attention
    monkeypatch.setattr(torch, "get_num_threads", lambda: of(model).cores + 1)
    rows(model, 9)
    assert not read


@pytest.mark.parametrize("gain, longest", [(0.5, LENGTHS[0]), (1.0, 0)])
def test_it_is_made_after_some_texts_and_kept_where_it_is_faster(
    gain: float, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_texts, "trial", lambda *given: gain)
    model = precision.prepared(wide())
    read = called(of(model))
    for cores in (1, 3, 2):  # those count that have the most cores so far
        with monkeypatch.context() as crowd:
            crowd.setattr(torch, "get_num_threads", lambda cores=cores: cores)
            for _ in range(AFTER if cores == 2 else AFTER - 1):
                rows(model, 3)
    assert not making() and of(model).longest == LENGTHS[0]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(short_texts, "use_cores", lambda cores: None)
    rows(model, 3)
    for thread in making():
        thread.join()
    rows(model, 3)
    assert read == ([3] if longest else [])
    assert of(model).longest == longest

    monkeypatch.setattr(short_texts, "trial", lambda *given: pytest.fail("tried once a process for each shape"))
    again = precision.prepared(wide())
    of(again).choose()
    assert of(again).longest == longest
    assert again.bytes == model.bytes


def test_the_longest_text_is_the_longest_at_which_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(maps: Any, others: Any, x: Tensor, tries: int) -> float:
        near = others[0](x).sub(maps[0](x)).abs().max()
        assert near < 1e-5, "both compute the same"
        return 1.1 if len(x) > LENGTHS[1] else 0.8

    monkeypatch.setattr(short_texts, "trial", torch.inference_mode()(trial))
    model = precision.prepared(wide())
    of(model).choose()
    assert of(model).longest == LENGTHS[1]


def test_where_it_cannot_be_made_torch_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: Any) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(short_texts.onnx_blocks, "write", fail)
    model = precision.prepared(wide())
    with caplog.at_level(logging.WARNING, short_texts.__name__):
        of(model)._chosen()
    assert "ONNX Runtime cannot read short texts here; torch does." in caplog.text and "no such operator" in caplog.text
    assert of(model).longest == 0
    assert rows(model, 3).shape == (3, 64)


def test_who_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(model: Model) -> Any:
        return getattr(model.network.body, "short_texts", None)

    assert short(precision.prepared(wide())) is not None
    assert short(precision.by_torch(wide())) is None
    if "fast" in precision.supported():
        assert short(precision.prepared(wide(), "fast")) is None
    assert short(precision.prepared(nets.gpt2_model())) is None
    monkeypatch.setattr(short_texts, "physical_memory", lambda: 1_000_000)
    assert short(precision.prepared(wide())) is None
    monkeypatch.undo()
    monkeypatch.setattr(short_texts, "installed", lambda: False)
    assert short(precision.prepared(wide())) is None


def test_its_weights_count_as_memory_but_not_as_parameters_and_go_with_the_model() -> None:
    engine, plain = Engine(), load("bert-mini")
    model = engine.model("bert-mini")
    before = model.bytes
    of(model).make()
    blocks = sum(part.weight.numel() for part in plain.network.body.modules() if isinstance(part, torch.nn.Linear))
    assert model.bytes - before == 4 * blocks
    assert model.parameters == plain.parameters
    session = weakref.ref(of(model)._session)
    engine.unload("bert-mini")
    del model
    gc.collect()
    assert session() is None
