"""What is laid out for the processor answers as the weights do as they lie: `exact` to 1e-5, `fast` nearly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from zoo import Engine, errors, load
from zoo.catalog import EMBEDDED
from zoo.engine import precision
from zoo.layers.activations import gelu_erf
from zoo.layers.int8 import Int8Linear, Int8RowLinear, has_fbgemm, multiplies_int8
from zoo.layers.packed import (
    HalfLstm,
    Kind,
    PackedLinear,
    PackedProjectedLstm,
    available,
    few_weights,
    pack,
    rows_alone,
)
from zoo.layers.trial import trial
from zoo.sampling import Sampling

NAMES = ("bert-mini", "gpt-mini", "ulmfit-mini", "elmo-mini", "xlnet-mini")
TEXTS = [
    ("The dogs are not sitting.", "Two dogs are running through a field."),
    ("Nobody has seen the lake, which lies in the far north.", "A lake."),
    ("Rain.", "It rains, and it will go on raining until the whole town is under water and everybody has left it."),
]
PASSAGE = "Ada Lovelace wrote the first program in 1843, for a machine that Charles Babbage never finished. " * 6
TOLERANCE = precision.WITHIN | {"small": 0.05}  # of a probability; these inputs are easier than 2,000 real ones
needs_fbgemm = pytest.mark.skipif(not has_fbgemm(), reason="this torch has no FBGEMM")
MADE_OF_INT8 = [Int8Linear, pytest.param(Int8RowLinear, marks=needs_fbgemm)]
needs_packing = pytest.mark.skipif(not available(), reason="this torch has no oneDNN")


@pytest.fixture(scope="module", params=precision.supported())
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(precision=request.param)


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ships is small: of the sizes that `exact` lays out there is little in it."""
    for line in ("WORTH_IT", "WORTH_IT_RECURRENT"):
        monkeypatch.setattr(f"zoo.layers.packed.{line}", 0)
    monkeypatch.setattr("zoo.layers.packed.rows_alone", lambda: True)


def as_they_lie(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(precision.packed, "available", lambda: False)
    return Engine()


@needs_packing
@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_within_the_tolerance(engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = [said.probabilities for said in engine.classify(name, "nli", TEXTS)]
    plain = [said.probabilities for said in as_they_lie(monkeypatch).classify(name, "nli", TEXTS)]
    assert torch.tensor(packed).sub(torch.tensor(plain)).abs().max() <= TOLERANCE[engine.precision]


@needs_packing
@pytest.mark.parametrize("name", NAMES)
def test_spans_are_within_the_tolerance(engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def chances(which: Engine) -> torch.Tensor:
        (said,) = which.spans(name, "qa", [("Who wrote the first program?", PASSAGE)])
        return torch.cat([torch.cat([window.start.softmax(0), window.end.softmax(0)]) for window in said.windows])

    packed = chances(engine)
    assert packed.sub(chances(as_they_lie(monkeypatch))).abs().max() <= TOLERANCE[engine.precision]


@needs_packing
@pytest.mark.parametrize("name", NAMES[1:])
def test_exact_writes_the_same_tokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(which: Engine) -> tuple[int, ...]:
        *_, last = which.generate(name, "lm", PASSAGE, "", 20, Sampling())
        return last.ids

    assert written(Engine()) == written(as_they_lie(monkeypatch))


@needs_packing
@pytest.mark.parametrize("name", NAMES)
def test_memory_and_parameters_are_those_of_the_checkpoint(name: str) -> None:
    packed, plain = Engine().model(name), load(name)
    copies = [head.packed for head in packed.network.heads.values() if getattr(head, "packed", None) is not None]
    beside = sum(p.numel() * p.element_size() for copy in copies for p in copy.parameters())
    assert packed.parameters == plain.parameters
    assert packed.bytes == plain.bytes + beside
    assert packed.network.body.input_embedding is not None


@needs_packing
@pytest.mark.skipif("small" not in precision.supported(), reason="no int8 here")
@pytest.mark.parametrize("name", NAMES)
def test_small_takes_less_memory(name: str) -> None:
    small, plain = Engine(precision="small").model(name), load(name)
    assert small.parameters == plain.parameters
    if name == "bert-mini":  # of the others most is the embedding, of which a copy is laid out
        assert small.bytes < 0.75 * plain.bytes


@needs_packing
@pytest.mark.skipif("small" not in precision.supported(), reason="no int8 here")
@pytest.mark.parametrize("name", ["bert-mini", "gpt-mini", "elmo-mini", "xlnet-mini"])
@pytest.mark.parametrize("by_fbgemm", [False, pytest.param(True, marks=needs_fbgemm)])
def test_int8_of_a_file_is_computed_with_as_it_is(name: str, by_fbgemm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a file in int8 are made float32 and rounded again, which gives the same numbers."""
    monkeypatch.setattr("zoo.layers.packed.fbgemm_reads_rows", lambda: by_fbgemm)
    folder = EMBEDDED / name
    stored = {key: rows for path in folder.glob("*.safetensors") for key, rows in load_file(path).items()}
    checked = 0
    for path, module in precision.prepared(load(name), "small").network.named_modules():
        rows = stored.get(f"{path}.weight")
        if isinstance(module, Int8Linear) and rows is not None and rows.dtype == torch.int8:
            assert torch.equal(module.rounded(), rows), path
            checked += 1
    assert checked > 5


@needs_packing
def test_what_is_worth_it_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(engine: Engine, name: str) -> int:
        return sum(isinstance(part, PackedLinear) for part in engine.model(name).network.body.modules())

    assert packed(Engine(), "bert-mini") > 0
    if "fast" in precision.supported():
        assert all(packed(Engine(precision="fast"), name) > 0 for name in NAMES if name != "ulmfit-mini")
        assert any(
            isinstance(part, HalfLstm) for part in Engine(precision="fast").model("ulmfit-mini").network.modules()
        )
    assert packed(as_they_lie(monkeypatch), "bert-mini") == 0


@needs_packing
def test_an_lstm_is_laid_out_where_a_single_row_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_alone() in (True, False)
    for gains in (True, False):
        monkeypatch.setattr("zoo.layers.packed.rows_alone", lambda gains=gains: gains)
        network = Engine().model("elmo-mini").network
        assert any(isinstance(part, PackedProjectedLstm) for part in network.modules()) is gains


def test_a_trial_takes_the_best_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], [0]

    def takes(seconds: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            calls[0] += 1
            clock[0] += seconds * (1 + calls[0] // 10)  # slower and slower
            return x

        return run

    monkeypatch.setattr("zoo.layers.trial.time.perf_counter", lambda: clock[0])
    assert trial([takes(1), takes(2)], [takes(3), takes(9)], torch.ones(1)) == pytest.approx(0.25)


@pytest.mark.parametrize(("seconds", "tries"), [(0.001, 12), (0.1, 3), (5, 2)])
def test_a_trial_on_a_busy_machine_takes_what_was_not_interrupted_and_stops(
    monkeypatch: pytest.MonkeyPatch, seconds: float, tries: int
) -> None:
    """Of each map alone the best: of two, one is interrupted in even tries and the other in odd ones."""
    clock, calls = [0.0], [0, 0, 0]

    def takes(number: int, interrupted: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            clock[0] += seconds * (0.5 if calls[number] % 2 != interrupted else 0.75)
            calls[number] += 1
            return x

        return run

    monkeypatch.setattr("zoo.layers.trial.time.perf_counter", lambda: clock[0])
    assert trial([takes(0, 0), takes(1, 1)], [takes(2, 2)], torch.ones(1)) == pytest.approx(2)
    assert calls == [tries] * 3


@needs_packing
@pytest.mark.parametrize("few", [True, False])
def test_smaller_weights_are_laid_out_where_that_gains(monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    """In float32, of 2**17 numbers; those of 2**19 always, and smaller ones never."""
    assert few_weights() in (True, False)
    monkeypatch.setattr("zoo.layers.packed.WORTH_IT", 2**19)
    monkeypatch.setattr("zoo.layers.packed.few_weights", lambda: few)
    made = nn.Sequential(*(nn.Linear(wide, 1024) for wide in (512, 128, 64)))
    pack(made, Kind(torch.float32))
    assert [isinstance(part, PackedLinear) for part in made] == [True, few, False]


@needs_packing
def test_derivatives_are_those_of_the_plain_map() -> None:
    plain = nn.Sequential(nn.Linear(512, 1024), nn.Tanh())
    packed = nn.Sequential(*plain)
    pack(packed, Kind(torch.float32))
    assert isinstance(packed[0], PackedLinear)
    x = torch.randn(5, 512)
    slopes = [torch.autograd.functional.jacobian(lambda x, f=f: f(x).sum(0)[:9], x) for f in (plain, packed)]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.skipif(not multiplies_int8(), reason="no int8 here")
@pytest.mark.parametrize("after", [None, gelu_erf])
@pytest.mark.parametrize("kind", MADE_OF_INT8)
def test_int8_is_near_and_its_derivatives_are_those_of_the_rounded_weights(kind: type[Int8Linear], after: Any) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(96, 128) * torch.linspace(0.01, 3, 96)[:, None], torch.randn(96), torch.randn(7, 128)
    made = kind(weight, bias, after=after)
    wanted = nn.functional.linear(x, weight, bias)
    wanted = after(wanted) if after else wanted
    with torch.no_grad():
        far = (made(x) - wanted).abs().amax(0) / weight.norm(dim=1)  # a row of its own scale each
    assert far.max() < 0.05 * x.norm(dim=1).max() / 128**0.5
    x.requires_grad_()
    slope = torch.autograd.grad(made(x).sum(), x)[0]
    rounded = made.rounded() * made.scales[:, None]
    assert (rounded - weight).abs().max(1).values.le(0.51 * made.scales).all()
    plain = torch.autograd.grad((after or nn.Identity())(nn.functional.linear(x, rounded, bias)).sum(), x)[0]
    torch.testing.assert_close(slope, plain)


@pytest.mark.skipif(not multiplies_int8(), reason="no int8 here")
@pytest.mark.parametrize("bias", [None, torch.randn(96)])
@pytest.mark.parametrize("kind", MADE_OF_INT8)
def test_a_row_in_int8_does_not_depend_on_those_beside_it(kind: type[Int8Linear], bias: torch.Tensor | None) -> None:
    """Or what a visitor is told would depend on who else asks. A row of zeros, and one a thousand times as large."""
    made = kind(torch.randn(96, 128), bias)
    x = torch.randn(7, 128) * torch.tensor([1, 0, 1000, 1, 1, 0.001, 1])[:, None]
    with torch.inference_mode():
        together, alone = made(x), torch.cat([made(x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)
    assert torch.equal(together[1], torch.zeros(96) if bias is None else bias)


@needs_packing
@needs_fbgemm
@pytest.mark.skipif(not multiplies_int8(), reason="no int8 here")
@pytest.mark.parametrize("gains", [True, False])
def test_models_that_write_take_fbgemm_where_a_single_row_gains(monkeypatch: pytest.MonkeyPatch, gains: bool) -> None:
    """And say nearly the same with it: sums are exact in both."""
    monkeypatch.setattr("zoo.layers.packed.fbgemm_reads_rows", lambda: gains)
    writes, reads = (precision.prepared(load(name), "small").network for name in ("gpt-mini", "bert-mini"))
    taken = {
        network: [type(part) for part in network.modules() if isinstance(part, Int8Linear)]
        for network in (writes, reads)
    }
    assert set(taken[writes]) == {Int8RowLinear if gains else Int8Linear}
    assert set(taken[reads]) == {Int8Linear}


@needs_fbgemm
@pytest.mark.skipif(not multiplies_int8(), reason="no int8 here")
def test_both_libraries_give_nearly_the_same_in_int8() -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(96, 128), torch.randn(96), torch.randn(7, 128)
    one, other = Int8Linear(weight, bias), Int8RowLinear(weight, bias)
    assert torch.equal(one.rounded(), other.rounded())
    with torch.inference_mode():
        torch.testing.assert_close(one(x), other(x), rtol=1e-4, atol=1e-4)


@needs_packing
@pytest.mark.skipif(precision.supported() == ("exact",), reason="this processor has one precision")
def test_auto_is_the_fastest_and_of_two_about_as_fast_the_more_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(**seconds: float) -> str:
        def trial(maps: Any, others: Any, x: torch.Tensor) -> float:
            takes = {torch.float32: seconds["exact"], torch.bfloat16: seconds["fast"], torch.int8: seconds["small"]}
            return takes[maps[0].weight.dtype] / takes[others[0].weight.dtype]

        monkeypatch.setattr(precision, "trial", trial)
        precision.fastest.cache_clear()
        return Engine(precision="auto").precision

    assert found(exact=1, fast=0.95, small=0.95) == "exact"
    if precision.supported() == precision.NAMES:
        assert found(exact=1, fast=0.5, small=0.49) == "fast"
        assert found(exact=1, fast=0.5, small=0.4) == "small"
        assert found(exact=1, fast=2, small=0.5) == "small"
    precision.fastest.cache_clear()
    monkeypatch.undo()
    engine = Engine(precision="auto")
    assert engine.precision in precision.supported()
    (said,) = engine.classify("bert-mini", "nli", TEXTS[:1])
    (wanted,) = Engine(precision=engine.precision).classify("bert-mini", "nli", TEXTS[:1])
    assert said.probabilities == wanted.probabilities


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(errors.BadParameter, match=r"'sloppy' is unknown; choose from exact, fast, small, auto"):
        Engine(precision="sloppy")


def test_what_the_processor_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda device: False)
    with pytest.raises(errors.BadParameter, match="no instructions for 'fast'"):
        Engine(precision="fast")
    assert Engine().precision == "exact"
