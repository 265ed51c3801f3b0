"""`python -m zoo bench all`: every piece of work beside its peer, what was aimed at, and whether it was reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zoo.bench.decode import Own
from zoo.bench.load import Result as Loaded
from zoo.bench.race import Result
from zoo.bench.serve import Served


@dataclass(frozen=True)
class Aim:
    """`ours` is to be `times` as fast as `peer`, of several the fastest, on the work whose title begins with `work`."""

    work: str
    ours: str
    peer: str | tuple[str, ...]
    times: float


FULL = ("transformers sdpa, sorted", "OpenVINO, sorted", "ONNX Runtime, sorted")
HALF = ("transformers bf16, sorted", "OpenVINO bf16, sorted")
INT8 = ("OpenVINO int8, sorted", "ONNX Runtime int8, sorted")
AIMS = (
    Aim("BERT-base, 1 x 32 ", "ours exact", "transformers sdpa", 2.0),
    Aim("BERT-base, 1 x 128 ", "ours exact", "transformers sdpa", 1.7),
    Aim("BERT-base, 1 x 384 ", "ours exact", "transformers sdpa", 1.4),
    *(Aim(f"BERT-base, 1 x {n} ", "ours exact", "ONNX Runtime", 1.0) for n in (32, 128, 384)),
    *(Aim(f"BERT-base, 1 x {n} ", "ours fast", "transformers bf16", 1.4) for n in (32, 128, 384)),
    *(Aim(f"BERT-base, 1 x {n} ", "ours small", "ONNX Runtime int8", 1.0) for n in (32, 128, 384)),
    *(Aim(f"BERT-base, 1 x {n} ", "ours small", "OpenVINO int8", 0.85) for n in (32, 128, 384)),
    Aim("BERT-base, 256 texts", "ours exact", FULL, 1.5),
    Aim("BERT-base, 256 texts", "ours fast", HALF, 1.5),
    Aim("BERT-base, 256 texts", "ours small", INT8, 1.5),
    Aim("GPT-2 124M, 1 x ", "ours exact", "transformers", 2.6),
    Aim("GPT-2 124M, 1 x ", "ours exact", "CTranslate2", 1.5),
    Aim("GPT-2 124M, 1 x ", "ours small", "CTranslate2 int8", 1.5),
    Aim("GPT-2 124M, 8 x ", "ours exact", "CTranslate2", 1.5),
    Aim("GPT-2 124M, 8 x ", "ours small", "CTranslate2 int8", 1.3),
    Aim("biLSTM of ELMo", "ours exact", "torch nn.LSTM", 2.0),
    Aim("AWD-LSTM", "ours exact", "torch nn.LSTM", 1.0),
    Aim("AWD-LSTM", "ours fast", "torch nn.LSTM", 3.0),
    Aim("XLNet-base", "ours exact", "transformers", 1.6),
)
NOISE = 0.1  # around an aim, within which nothing is decided: two runs on one shared machine differ by as much


@dataclass(frozen=True)
class Verdict:
    """One row: the work, the peer, what was aimed at, and what was measured (None where the peer is missing)."""

    work: str
    peer: str
    aim: str
    found: str
    reached: str  # yes, no, about, or - where nothing was measured


def decided(gain: float) -> str:
    """Whether an aim was reached; `gain` is what was found as a share of it, more being better."""
    if abs(gain - 1) < NOISE:
        return "about"
    return "yes" if gain > 1 else "no"


def verdicts(
    results: Iterable[Result],
    loaded: Sequence[Loaded] = (),
    served: Served | None = None,
    own: Own | None = None,
    memory: float = 0.0,
    page: Mapping[str, float] | None = None,
) -> list[Verdict]:
    """Of every aim of which there is a result; `memory` is what can be read at most, 10^9 bytes a second, `page` how
    many times as long as a bare Gradio page ours takes."""
    made = []
    for result in results:
        for aim in AIMS:
            if not result.work.startswith(aim.work):
                continue
            work, wanted = f"{result.work}, {aim.ours.removeprefix('ours ')}", f"{aim.times:g} times as fast"
            peers = (aim.peer,) if isinstance(aim.peer, str) else aim.peer
            there = [peer for peer in peers if peer in result.seconds]
            if not there or aim.ours not in result.seconds:
                made.append(Verdict(work, peers[0], wanted, "not measured", "-"))
                continue
            peer = min(there, key=result.median)
            found = result.against(aim.ours, peer)
            made.append(Verdict(work, peer, wanted, f"{found:.2f}", decided(found / aim.times)))
    if own is not None:
        share, work = own.share(memory), f"TL;DR of {own.model}, first token after {1000 * own.first:.0f} ms"
        peer = f"{memory:.0f} GB of weights read a second"
        made.append(
            Verdict(
                work, peer, "60 % of it", f"{share:.0%}, {1 / own.seconds:.0f} tokens a second", decided(share / 0.6)
            )
        )
    for one in loaded:
        if (ahead := one.ahead()) is not None:
            peer = "transformers from_pretrained"
            made.append(Verdict(f"{one.model}, first answer of a new process", peer, "2.5 times as soon",
                                f"{ahead:.2f}", decided(ahead / 2.5)))  # fmt: skip
        found = one.ratios("read").seconds
        made.append(Verdict(f"load {one.model}", "import torch and map the file", "1.15 times as long", f"{found:.2f}",
                            decided(1.15 / found)))  # fmt: skip
    for name, found in (page or {}).items():
        made.append(
            Verdict(f"page: {name}", "a bare Gradio page", "1.3 times as long", f"{found:.2f}", decided(1.3 / found))
        )
    if served is not None:
        more, late = served.together / served.alone, served.late / served.median
        crowd = f"{served.visitors} visitors, mixed tasks"
        made.append(Verdict(crowd, "one after another", "2 times the answers", f"{more:.2f}", decided(more / 2)))
        made.append(
            Verdict(crowd, "the median wait", "99th percentile under 4 times", f"{late:.1f}", decided(4 / late))
        )
    return made


def table(rows: Sequence[Verdict]) -> str:
    """Markdown."""
    lines = ["| work | peer | aim | here | reached |", "|---|---|---|---:|---|"]
    lines += [f"| {row.work} | {row.peer} | {row.aim} | {row.found} | {row.reached} |" for row in rows]
    return "\n".join(lines)
