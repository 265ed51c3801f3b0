"""The training loop that all recipes share: seeded, resumable after a kill at any moment, logged, watched.

Batch number s is a function of the seed and s alone, so a run that goes on from a snapshot sees what it would have
seen. A snapshot holds parameters, optimizers, step and the random state, and replaces its elder in one move.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm


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


@dataclass(frozen=True)
class Plan:
    """What a run does beside computing losses."""

    schedule: Schedule
    out: Path  # the run's folder: snapshot, log, plot
    clip: float = 1.0
    evaluate_every: int = 500
    snapshot_seconds: float = 120.0
    autocast: bool = True  # bf16 where the processor has it


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
        made.append(torch.optim.Muon(matrices, lr=muon_rate, weight_decay=decay))
    return made


def run(
    network: nn.Module,
    loss_of: Callable[[int], tuple[Tensor, str, int]],
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Plan,
    evaluate: Callable[[], dict[str, float]] | None = None,
    resume: bool = False,
) -> dict[str, float]:
    """Train for `plan.schedule.steps` steps and return the last evaluation.

    `loss_of(step)` gives the mean loss of that step's batch, the name of its kind for the log, and its tokens.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    snapshot, log_path = plan.out / "snapshot.pt", plan.out / "log.csv"
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    step = 0
    if resume and snapshot.is_file():
        step = restore(snapshot, network, optimizers)
    else:
        log_path.write_text("step,seconds,tokens,kind,loss,rate\n")
    device = next(network.parameters()).device
    scores: dict[str, float] = {}
    means: dict[str, float] = {}
    started = saved = time.monotonic()
    tokens = 0
    network.train()
    with (
        log_path.open("a", newline="") as log,
        tqdm(total=plan.schedule.steps, initial=step, unit="step", dynamic_ncols=True, mininterval=5) as bar,
    ):
        writer = csv.writer(log)
        while step < plan.schedule.steps:
            factor = plan.schedule.factor(step)
            for optimizer, initial in zip(optimizers, rates, strict=True):
                for group, rate in zip(optimizer.param_groups, initial, strict=True):
                    group["lr"] = rate * factor
                optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=plan.autocast):
                loss, kind, count = loss_of(step)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            tokens += count
            value = loss.item()
            if not math.isfinite(value):
                raise RuntimeError(f"the loss of step {step} is {value}; lower the learning rate and resume")
            means[kind] = value if kind not in means else 0.98 * means[kind] + 0.02 * value
            bar.update()
            bar.set_postfix(
                {k: f"{v:.3f}" for k, v in means.items()} | {"tok/s": f"{tokens / (time.monotonic() - started):.0f}"}
            )
            if step % 10 == 0:
                writer.writerow(
                    [step, f"{time.monotonic() - started:.1f}", tokens, kind, f"{value:.4f}", f"{factor:.4f}"]
                )
            if evaluate and (step % plan.evaluate_every == 0 or step == plan.schedule.steps):
                network.eval()
                with torch.inference_mode():
                    scores = evaluate()
                network.train()
                for kind_of_score, score in scores.items():
                    writer.writerow(
                        [step, f"{time.monotonic() - started:.1f}", tokens, kind_of_score, f"{score:.4f}", ""]
                    )
                bar.write(f"step {step}: " + ", ".join(f"{k} {v:.2f}" for k, v in scores.items()))
            if time.monotonic() - saved > plan.snapshot_seconds or step == plan.schedule.steps:
                log.flush()
                save(snapshot, network, optimizers, step)
                saved = time.monotonic()
    network.eval()
    plot(log_path, plan.out / "log.png")
    return scores


def save(path: Path, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    """Write a snapshot beside the old one, then put it in its place."""
    state: dict[str, Any] = {
        "step": step,
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": torch.get_rng_state(),
        "random on GPUs": torch.cuda.get_rng_state_all(),  # an empty list without one
    }
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def restore(path: Path, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Go back to a snapshot; returns its step."""
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    torch.set_rng_state(state["random"])
    torch.cuda.set_rng_state_all(state["random on GPUs"])
    return int(state["step"])


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
