"""`python -m zoo bench load`: a new process until the weights are there, beside the least that any program needs.

Both sides are new processes, run in turn, and read the same model.safetensors out of the system's file cache:

- floor: `import torch`, open the file with `safetensors`, take every tensor of a model (GPT-2's causal masks are left
  out, since nobody needs them);
- ours: `import zoo; model = zoo.load(folder)`: config, network, key table, checks and tokenizer, too.

Each is measured twice. "read": both touch every page of every tensor before the clock stops, since a mapped file costs
nothing until it is read. "mapped": nothing is touched but what loading itself has to read, which is nothing for the
floor and queries, keys and values for BERT, since they become one; the rest is paid at the first forward pass.
"first answer" is ours, and `from_pretrained` of transformers where it is installed, until one text of 32 tokens has
gone through the body.

Seconds are from starting the process to its word that it is ready. Memory is the most that was resident until then
(VmHWM): all of the process, with libraries and with those pages of mapped files that it has touched, which the system
may take back at any time. Both sides map the file, so both count them.

A first run of each, which is not counted, brings the files into the system's cache and lets Python keep the bytecode
of this project, as that of torch is kept since it was installed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from zoo.bench.fullsize import MODELS
from zoo.bench.peers import installed
from zoo.errors import BadParameter
from zoo.models.shelf import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.2  # what the ratios of "read" are promised to stay under

FLOOR = """
import torch
from safetensors import safe_open
with safe_open(folder + "/model.safetensors", "pt") as file:
    tensors = [file.get_tensor(key) for key in file.keys() if len(file.get_slice(key).get_shape()) < 4]
"""
OURS = """
import zoo
model = zoo.load(folder)
tensors = list(model.network.parameters())
"""
TOUCH = """
import torch
for t in tensors:  # one number of each page, in the order of memory, whatever the order of dimensions
    torch.as_strided(t.detach(), (t.numel(),), (1,))[:: 4096 // t.element_size()].sum()
"""
ANSWER = """
import torch
from zoo.contracts import Batch, Encoding
ids = tuple(range(10, 42))
encoding = Encoding(ids, (0,) * 32, ((0, 0),) * 32, (0,) * 32)
with torch.inference_mode():
    model.network.body(Batch.of([encoding])).last.sum().item()
"""
READY = """
import os, json, resource, time
try:
    peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
except OSError:  # no Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(json.dumps([time.process_time(), peak / 1024]), flush=True)
os._exit(0)
"""
PEER = """
import torch, transformers
model = transformers.AutoModel.from_pretrained(folder).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    model(torch.arange(10, 42)[None]).last_hidden_state.sum().item()
"""
FIRST, THEIRS = "ours, first answer", "transformers, first answer"
PROGRAMS = {
    "floor, read": FLOOR + TOUCH,
    "ours, read": OURS + TOUCH,
    "floor, mapped": FLOOR,
    "ours, mapped": OURS,
    FIRST: OURS + ANSWER,
}
if installed("transformers"):
    PROGRAMS[THEIRS] = PEER


@dataclass(frozen=True)
class Run:
    """One process until it was ready."""

    seconds: float
    processor: float  # seconds of processor time, which says more on a busy machine
    mebibytes: float


@dataclass(frozen=True)
class Result:
    """What each program took of one model, round by round."""

    model: str
    runs: dict[str, list[Run]]

    def medians(self) -> dict[str, Run]:
        """Of each program."""
        return {name: _median(runs) for name, runs in self.runs.items()}

    def ahead(self) -> float | None:
        """How many times sooner ours answers than transformers, None where that is not installed."""
        if THEIRS not in self.runs:
            return None
        rounds = zip(self.runs[THEIRS], self.runs[FIRST], strict=True)
        return statistics.median(their.seconds / own.seconds for their, own in rounds)

    def ratios(self, kind: str) -> Run:
        """What ours takes in units of the floor; `kind` is "read" or "mapped".

        The median of the ratios of all rounds: the two of a round ran one after the other, under the same load.
        """
        rounds = zip(self.runs[f"ours, {kind}"], self.runs[f"floor, {kind}"], strict=True)
        return _median(
            [Run(a.seconds / b.seconds, a.processor / b.processor, a.mebibytes / b.mebibytes) for a, b in rounds]
        )


def models() -> list[str]:
    """The models of which the zoo has the family."""
    known = {kind for family in FAMILIES for kind in family.model_types}
    return [name for name, model in MODELS.items() if model.config["model_type"] in known]


def measure(model: str, rounds: int = 5) -> Result:
    """Write a checkpoint of that size into a temporary folder and load it `rounds` times in each way, in turn.

    Raises BadParameter for a model that is not there, or fewer rounds than one.
    """
    if model not in models():
        raise BadParameter(f"{model!r} is not measured; choose from {', '.join([*models(), 'all'])}.")
    if rounds < 1:
        raise BadParameter(f"--rounds is {rounds}; it must be at least 1.")
    with tempfile.TemporaryDirectory() as folder:
        MODELS[model].write(Path(folder))
        for name in {"floor, read", "ours, read", THEIRS} & PROGRAMS.keys():  # not counted
            _run(PROGRAMS[name], folder)
        runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
        for _ in range(rounds):
            for name, program in PROGRAMS.items():
                runs[name].append(_run(program, folder))
    return Result(MODELS[model].title, runs)


def table(result: Result) -> str:
    """Medians and ratios, for people."""
    rounds = len(result.runs["ours, read"])
    lines = [f"{result.model}, medians of {rounds} rounds:"]
    for name, run in result.medians().items():
        lines.append(f"  {name:20} {run.seconds:6.2f} s  {run.processor:6.2f} s of processor  {run.mebibytes:6.0f} MiB")
    for kind in ("read", "mapped"):
        r = result.ratios(kind)
        promise = f"  (promised: {LIMIT})" if kind == "read" else ""
        lines.append(f"  ratio, {kind:13} {r.seconds:6.2f}    {r.processor:6.2f}{'':16}{r.mebibytes:6.2f}{promise}")
    if (ahead := result.ahead()) is not None:
        lines.append(f"  answers {ahead:.2f} times as soon as transformers")
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> str:
    """Medians and ratios, for programs."""
    rows = [
        {
            "model": result.model,
            "medians": {name: asdict(run) for name, run in result.medians().items()},
            "ratios": {kind: asdict(result.ratios(kind)) for kind in ("read", "mapped")},
            "runs": {name: [asdict(run) for run in runs] for name, runs in result.runs.items()},
        }
        for result in results
    ]
    return json.dumps({"promised": {"read": LIMIT}, "models": rows}, indent=2)


def _run(program: str, folder: str) -> Run:
    code = f"import sys; folder = sys.argv[1]{program}{READY}"
    command = [sys.executable, "-c", code, folder]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=around, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"the measured program failed:{program}")
    processor, mebibytes = json.loads(line)
    return Run(seconds, processor, mebibytes)


def _median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(column) for column in zip(*(asdict(r).values() for r in runs), strict=True)))
