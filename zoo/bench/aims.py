"""`python -m zoo bench all`: every piece of work beside its peer, what was aimed at, and whether it was reached."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from zoo.bench.decode import Own
from zoo.bench.load import Result as Loaded
from zoo.bench.race import Result
from zoo.bench.serve import Served
from zoo.bench.short import OR
from zoo.errors import BadData


@dataclass(frozen=True)
class Aim:
    """`ours` is to be `times` as fast as `peer`, of several the fastest, on the work whose title begins with `work`."""

    work: str
    ours: str
    peer: str | tuple[str, ...]
    times: float


SORTED = ", sorted"  # how a peer is called that is given texts by length
FULL = ("transformers sdpa" + SORTED, "OpenVINO" + SORTED, "ONNX Runtime" + SORTED)
HALF = ("transformers bf16" + SORTED, "OpenVINO bf16" + SORTED)
INT8 = ("OpenVINO int8" + SORTED, "ONNX Runtime int8" + SORTED)
FULL_ALONE = (("transformers sdpa", 2.0), ("ONNX Runtime", 1.0))
INT8_ALONE = (("ONNX Runtime int8", 1.0), ("OpenVINO int8", 0.85))
AIMS = (
    Aim("BERT-base, 1 x 32 ", "ours exact", "transformers sdpa", 2.0),
    Aim("BERT-base, 1 x 128 ", "ours exact", "transformers sdpa", 1.7),
    Aim("BERT-base, 1 x 384 ", "ours exact", "transformers sdpa", 1.4),
    *(Aim(f"BERT-base, 1 x {n} ", "ours exact", "ONNX Runtime", 1.0) for n in (32, 128, 384)),
    *(Aim(f"BERT-base, 1 x {n} ", "ours fast", "transformers bf16", 1.4) for n in (32, 128, 384)),
    *(Aim(f"BERT-base, 1 x {n} ", "ours small", "ONNX Runtime int8", 1.0) for n in (32, 128, 384)),
    *(Aim(f"BERT-base, 1 x {n} ", "ours small", "OpenVINO int8", 0.85) for n in (32, 128, 384)),
    *(Aim("BERT-base, 1 x 32 ", "ours exact" + OR, peer, times) for peer, times in FULL_ALONE),
    *(Aim("BERT-base, 1 x 32 ", "ours small" + OR, peer, times) for peer, times in INT8_ALONE),
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
# By how much one run is off, as a standard deviation of the logarithm of a gain, where one run alone does not tell; and
# how many standard errors of the mean lie between it and the aim where something is decided.
NOISE, SURE = 0.05, 2.0
NOT_MEASURED = "-"
HEAD = ("run", "work", "peer", "aim", "found", "gain")


@dataclass(frozen=True)
class Verdict:
    """One row: the work, the peer, what was aimed at, and what was found; `gain` is that as a share of the aim, more
    being better, None where the peer is missing."""

    work: str
    peer: str
    aim: str
    found: str
    gain: float | None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it has in common with the same row of other runs."""
        return self.work, self.peer, self.aim


def noise(runs: Sequence[Sequence[Verdict]]) -> float:
    """By how much a run of a machine is off: the standard deviation of the logarithm of a gain around the mean of its
    row, over all rows of its runs together. Single rows have too few runs to tell."""
    squares, free = 0.0, 0
    rows = [row for rows in runs for row in rows]
    for key in {row.key for row in rows}:
        logs = _logs([row for row in rows if row.key == key])
        if len(logs) > 1:
            squares += statistics.variance(logs) * (len(logs) - 1)
            free += len(logs) - 1
    return math.sqrt(squares / free) if free else NOISE


def decided(gains: Sequence[float], off: float = NOISE) -> str:
    """Whether an aim was reached on the (geometric) mean of some runs, each of which is `off` by so much: yes, no,
    about where the mean is within SURE standard errors of the aim, or - where nothing was measured.

    So more runs decide more, and settle it: with a band of one width around the aim, a row with its true
    gain at one end of the band would go to and fro for ever.
    """
    if not gains:
        return NOT_MEASURED
    mean = statistics.fmean(map(math.log, gains))
    if abs(mean) < SURE * off / math.sqrt(len(gains)):
        return "about"
    return "yes" if mean > 0 else "no"


def verdicts(
    results: Iterable[Result],
    loaded: Sequence[Loaded] = (),
    served: Served | None = None,
    own: Own | None = None,
    memory: float = 0.0,
    page: Mapping[str, tuple[float, str]] | None = None,
) -> list[Verdict]:
    """Of every aim of which there is a result; `memory` is what can be read at most, 10^9 bytes a second, `page` how
    many times as long as a bare Gradio page ours takes, and what is to be said beside it."""
    made: list[Verdict] = []
    for result in results:
        for aim in AIMS:
            if not result.work.startswith(aim.work):
                continue
            work, wanted = f"{result.work}, {aim.ours.removeprefix('ours ')}", f"{aim.times:g} times as fast"
            peers = (aim.peer,) if isinstance(aim.peer, str) else aim.peer
            named = peers[0] if len(peers) == 1 else "the fastest, sorted"
            there = [peer for peer in peers if peer in result.seconds]
            if not there or aim.ours not in result.seconds:
                made.append(Verdict(work, named, wanted, "not measured", None))
                continue
            peer = min(there, key=result.median)
            found = result.against(aim.ours, peer)
            told = f" ({peer.removesuffix(SORTED)})" if len(peers) > 1 else ""
            made.append(Verdict(work, named, wanted, f"{found:.2f}{told}", found / aim.times))
    if own is not None:
        share = own.share(memory)
        told = f"{share:.0%} of {memory:.0f} GB/s: {1 / own.seconds:.0f} tokens a second, the first after "
        told += f"{1000 * own.first:.0f} ms"
        made.append(
            Verdict(f"TL;DR of {own.model}", "its weights, read from memory", "60 % of the speed", told, share / 0.6)
        )
    for one in loaded:
        if (ahead := one.ahead()) is not None:
            work, peer = f"{one.model}, first answer of a new process", "transformers from_pretrained"
            made.append(Verdict(work, peer, "2.5 times as soon", f"{ahead:.2f}", ahead / 2.5))
        found = one.ratios("read").seconds
        work, peer = f"load {one.model}", "import torch and map the file"
        made.append(Verdict(work, peer, "1.15 times as long", f"{found:.2f}", 1.15 / found))
    for name, (found, told) in (page or {}).items():
        told = f"{found:.2f}{told}"
        made.append(Verdict(f"page: {name}", "a bare Gradio page", "1.3 times as long", told, 1.3 / found))
    if served is not None:
        more, late = served.together / served.alone, served.late / served.median
        crowd, wanted = f"{served.visitors} visitors, mixed tasks", "99th percentile under 4 times"
        made.append(Verdict(crowd, "one after another", "2 times the answers", f"{more:.2f}", more / 2))
        made.append(Verdict(crowd, "the median wait", wanted, f"{late:.1f}", 4 / late))
    return made


def read(path: Path) -> dict[str, list[Verdict]]:
    """The runs in a CSV file by their names, the oldest first; none where there is no file. Raises BadData."""
    runs: dict[str, list[Verdict]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for row in csv.DictReader(lines, strict=True):
            gain = float(row["gain"]) if row["gain"] else None
            runs.setdefault(row["run"], []).append(Verdict(row["work"], row["peer"], row["aim"], row["found"], gain))
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise BadData(f"{path} is no file of --aims: {error!r}. Name one of an earlier run, or a new one.") from None
    return runs


def write(path: Path, runs: Mapping[str, Sequence[Verdict]]) -> None:
    """What `read` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEAD)
        for name, rows in runs.items():
            out.writerows([name, *astuple(row)[:-1], "" if row.gain is None else f"{row.gain:.4f}"] for row in rows)


def table(runs: Sequence[Sequence[Verdict]]) -> str:
    """Markdown: of every aim of the newest run what each has found, and the verdict on their mean; below, where there
    were runs before, which verdicts are other ones than without the newest."""
    lines = ["| work | peer | aim | here | reached |", "|---|---|---|---:|---|"]
    others = []
    off, off_before = noise(runs), noise(runs[:-1])
    for row in runs[-1]:
        same = [one for rows in runs for one in rows if one.key == row.key]
        now, before = reached(same, off), reached(same[:-1], off_before)
        found = "; ".join(one.found for one in same)
        lines.append(f"| {row.work} | {row.peer} | {row.aim} | {found} | {now} |")
        if before not in (now, NOT_MEASURED):
            others.append(f"{row.work}, beside {row.peer}: {before} before, now {now}")
    if len(runs) > 1:
        lines += ["", f"Of {len(runs[-1])} verdicts this run changed {len(others)}.", *others]
    if missing := sum(row.gain is None for row in runs[-1]):
        lines += ["", f"{missing} of {len(runs[-1])} were not measured, for want of a peer: do not keep this run."]
    return "\n".join(lines)


def reached(rows: Sequence[Verdict], off: float) -> str:
    """The verdict on one row of several runs, each of which is `off` by so much."""
    return decided([math.exp(log) for log in _logs(rows)], off)


def _logs(rows: Sequence[Verdict]) -> list[float]:
    return [math.log(row.gain) for row in rows if row.gain]
