"""The training loop that all recipes share: seeded, resumable after a kill at any moment, logged, watched.

Batch number s is a function of the seed and s alone, so a run that goes on from a snapshot sees what it would have
seen. A snapshot holds parameters, optimizers, the random state and all that the loop itself remembers, and replaces
its elder in one move. What the log says of later steps is cut off before a run goes on.
"""

from __future__ import annotations

import copy
import csv
import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from zoo.errors import BadParameter
from zoo.processor import computes_bf16
from zoo.training.dropout import hasten
from zoo.training.muon import Muon

COLUMNS = ("step", "seconds", "tokens", "kind", "loss", "rate")  # of log.csv; scores stand under "loss", without a rate


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, and a linear fall to zero over the last `fall` of the steps."""

    steps: int
    warmup: float = 0.06
    fall: float = 0.94

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied with at `step` (from 0)."""
        rising = (step + 1) / max(1.0, self.steps * self.warmup)
        falling = (self.steps - step) / max(1.0, self.steps * self.fall)
        return min(1.0, rising, falling)


def mean(scores: Mapping[str, float]) -> float:
    """The mean of all scores: what early stopping watches unless a recipe knows better."""
    return sum(scores.values()) / max(1, len(scores))


@dataclass(frozen=True)
class Plan:
    """What a run does beside computing losses."""

    schedule: Schedule
    out: Path  # the run's folder: snapshot, log, plot
    clip: float = 1.0
    evaluate_every: int = 500
    snapshot_seconds: float = 120.0
    autocast: bool = True  # bf16 where the processor has it; without it, emulated bf16 is a hundred times slower
    rate: Callable[[int, int], float] | None = None  # (step, parameter group) -> factor, instead of the schedule's
    # Groups are counted through all optimizers. A factor of 0 freezes a group: it gets no gradients in that step.
    worth: Callable[[Mapping[str, float]], float] = mean  # of the scores, the more the better: minus the loss of an LM
    patience: int | None = None  # stop after so many evaluations in a row that are worth no more than the best before
    keep: Literal["last", "best"] = "last"  # which weights and scores the run ends with


@dataclass
class Progress:
    """What the loop remembers from step to step; a part of every snapshot."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    means: dict[str, float] = field(default_factory=dict)  # kind -> running mean of its loss
    scores: dict[str, float] = field(default_factory=dict)  # of the last evaluation
    best: float = -math.inf  # what the best evaluation was worth
    best_scores: dict[str, float] = field(default_factory=dict)
    stale: int = 0  # evaluations since


def optimizers_for(
    network: nn.Module, learning_rate: float, decay: float, muon_rate: float | None = None
) -> list[torch.optim.Optimizer]:
    """AdamW, without decay on norms and biases; with `muon_rate`, Muon (Jordan et al. 2024) on the blocks' matrices."""
    matrices, plain, small = [], [], []
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            small.append(parameter)
        elif muon_rate is not None and ".blocks." in name:
            matrices.append(parameter)
        else:
            plain.append(parameter)
    groups = [{"params": plain, "weight_decay": decay}, {"params": small, "weight_decay": 0.0}]
    betas = (0.9, 0.95) if muon_rate is not None else (0.9, 0.999)
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)]
    if matrices and muon_rate is not None:
        made.append(Muon(matrices, lr=muon_rate, weight_decay=decay))
    return made


def run(
    network: nn.Module,
    loss_of: Callable[[int], tuple[Tensor, str, int]],
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Plan,
    evaluate: Callable[[], dict[str, float]] | None = None,
    resume: bool = False,
) -> dict[str, float]:
    """Train for `plan.schedule.steps` steps, or until it gets no better, and return the last evaluation (or the best).

    `loss_of(step)` gives the mean loss of that step's batch, the name of its kind for the log, and its tokens.
    Raises BadParameter when the loss is no number any more, or the snapshot is of a run of another length.
    """
    keep_memory()
    hasten(network)
    plan.out.mkdir(parents=True, exist_ok=True)
    snapshot, log_path = plan.out / "snapshot.pt", plan.out / "log.csv"
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    done = Progress()
    best_weights: dict[str, Tensor] = {}
    if resume and snapshot.is_file():
        done, best_weights = restore(snapshot, network, optimizers, plan.schedule.steps)
    cut_log(log_path, done.step)
    device = next(network.parameters()).device
    began = saved = time.monotonic()
    earlier = (done.seconds, done.tokens)
    log_every = min(10, max(1, plan.schedule.steps // 100))
    network.train()
    with (
        log_path.open("a", newline="") as log,
        tqdm(total=plan.schedule.steps, initial=done.step, unit="step", dynamic_ncols=True, mininterval=5) as bar,
    ):
        writer = csv.writer(log)

        def note(kind: str, value: float, rate: str = "") -> None:
            writer.writerow([done.step, f"{done.seconds:.1f}", done.tokens, kind, f"{value:.4f}", rate])

        while done.step < plan.schedule.steps and (plan.patience is None or done.stale < plan.patience):
            factor = set_rates(optimizers, rates, plan, done.step)
            with torch.autocast(device.type, torch.bfloat16, enabled=plan.autocast and computes_bf16(device)):
                loss, kind, count = loss_of(done.step)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
            for optimizer in optimizers:
                optimizer.step()
            done.step += 1
            done.tokens += count
            done.seconds = earlier[0] + time.monotonic() - began
            value = loss.item()
            if not math.isfinite(value):
                raise BadParameter(f"The loss of step {done.step} is {value}. Lower the learning rate and start again.")
            done.means[kind] = value if kind not in done.means else 0.98 * done.means[kind] + 0.02 * value
            speed = (done.tokens - earlier[1]) / (time.monotonic() - began)
            shown = {k: f"{v:.3f}" for k, v in done.means.items()} | {"tok/s": f"{speed:.0f}"}
            bar.set_postfix(shown, refresh=False)
            bar.update()
            if done.step % log_every == 0:
                note(kind, value, f"{factor:.4f}")
            if evaluate and (done.step % plan.evaluate_every == 0 or done.step == plan.schedule.steps):
                network.eval()
                with torch.inference_mode():
                    done.scores = {name: float(score) for name, score in evaluate().items()}
                network.train()
                for name, score in done.scores.items():
                    note(name, score)
                bar.write(
                    f"step {done.step}: " + ", ".join(f"{k} {v:.2f}" for k, v in done.scores.items()), file=sys.stderr
                )
                worth = plan.worth(done.scores)
                done.stale = 0 if worth > done.best else done.stale + 1
                if worth >= done.best:  # of equals the later, which learnt for longer
                    done.best, done.best_scores = worth, done.scores
                    if plan.keep == "best":
                        best_weights = copy.deepcopy(network.state_dict())
            if time.monotonic() - saved > plan.snapshot_seconds:
                log.flush()  # before the snapshot, so that the log is never behind it
                save(snapshot, network, optimizers, done, best_weights, plan.schedule.steps)
                saved = time.monotonic()
    save(snapshot, network, optimizers, done, best_weights, plan.schedule.steps)
    for parameter in network.parameters() if plan.rate else ():
        parameter.requires_grad_(True)
    if best_weights:
        network.load_state_dict(best_weights)
    network.eval()
    plot(log_path, plan.out / "log.png")
    return done.best_scores if best_weights else done.scores


def set_rates(
    optimizers: Sequence[torch.optim.Optimizer], rates: Sequence[Sequence[float]], plan: Plan, step: int
) -> float:
    """Set every group's rate for this step and clear the gradients; the largest factor, for the log."""
    largest, index = 0.0, 0
    for optimizer, initial in zip(optimizers, rates, strict=True):
        optimizer.zero_grad(set_to_none=True)
        for group, rate in zip(optimizer.param_groups, initial, strict=True):
            factor = plan.rate(step, index) if plan.rate else plan.schedule.factor(step)
            group["lr"] = rate * factor
            if plan.rate:
                for parameter in group["params"]:
                    parameter.requires_grad_(factor != 0)
            largest, index = max(largest, factor), index + 1
    return largest


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what was written takes the place of `path` in one move, or not at all."""
    fresh = path.with_name(f"new-{path.name}")  # in front, because NumPy looks at the end of a name
    yield fresh
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    fresh.replace(path)


def keep_memory() -> None:
    """Ask the C library to keep freed memory: given back, it is faulted in anew at every step: a quarter of it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks, too, come from the heap
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def save(
    path: Path,
    network: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    done: Progress,
    best_weights: Mapping[str, Tensor],
    steps: int,
) -> None:
    """Write a snapshot beside the old one, then put it in its place."""
    state: dict[str, Any] = {
        "steps": steps,
        "progress": asdict(done),
        "network": network.state_dict(),
        "best": best_weights,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": torch.get_rng_state(),
        "random on GPUs": torch.cuda.get_rng_state_all(),  # an empty list without one
    }
    with replacing(path) as fresh:
        torch.save(state, fresh)


def restore(
    path: Path, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], steps: int
) -> tuple[Progress, dict[str, Tensor]]:
    """Go back to a snapshot, whatever device it was taken on; what the loop remembered, and the best weights."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["steps"] != steps:
        raise BadParameter(
            f"The run in {path.parent} has {state['steps']:,} steps, not {steps:,}. Resume it with the data and the "
            "options that it was started with."
        )
    network.load_state_dict(state["network"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    torch.set_rng_state(state["random"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random on GPUs"][: torch.cuda.device_count()])
    return Progress(**state["progress"]), state["best"]


def cut_log(path: Path, step: int) -> None:
    """Leave the header and what is said of steps up to `step`, whole lines only."""
    kept: list[Sequence[str]] = [COLUMNS]
    if step and path.is_file():
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdecimal()]
        kept += [row for row in rows if int(row[0]) <= step]
    with replacing(path) as fresh, fresh.open("w", newline="") as file:
        csv.writer(file).writerows(kept)


def plot(log: Path, image: Path) -> None:
    """Draw the log: losses above, scores below."""
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    table = pd.read_csv(log)
    figure, axes = plt.subplots(2, 1, figsize=(9, 8), sharex=True)
    for kind, rows in table.groupby("kind"):
        is_loss = rows["rate"].notna().all()
        values = rows["loss"].ewm(alpha=0.1).mean() if is_loss else rows["loss"]
        axes[0 if is_loss else 1].plot(rows["step"], values, label=str(kind), marker=None if is_loss else "o")
    axes[0].set_ylabel("loss")
    axes[1].set_ylabel("score on held-out rows")
    axes[1].set_xlabel("step")
    for axis in axes:
        if axis.lines:
            axis.legend()
    figure.savefig(image, dpi=110)
    plt.close(figure)
