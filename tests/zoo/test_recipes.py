"""Every recipe at toy size: its loss falls, a killed run goes on to the same weights, and what it made answers."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import zoo
from tasks import classify, nli, qa, summarize
from tests import minis, tiny_data
from zoo import own
from zoo.contracts import HeadSpec
from zoo.errors import BadParameter
from zoo.rows import read_rows
from zoo.training import distill, finetune, lessons, loop, own_data
from zoo.training.recipes import RECIPES, Run

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "classify": "classification/ag_news_train_pool.jsonl.gz",
    "nli": "nli/snli_subset_train_18k.jsonl.gz",
    "qa": "qa/squad_v1.1_train.json.xz",
}
FAMILIES = [name.removesuffix("-mini") for name in RECIPES if name.endswith("-mini")]
TEACHER_HEADS = {name: HeadSpec("classifier", labels) for name, labels in distill.HEADS.items()}
ITS_OWN = own_data.METHODS["bert"]
ASKED: dict[str, tuple[str, ...]] = {
    "classify": ("a dull film about a sailor .",),
    "nli": ("A sailor is in a house .", "Nobody is in the house ."),
    "qa": ("Where does Anna live?", "Anna lives in Rome. Ben lives in Oslo."),
    "summarize": ("Anna lives in Rome beside the old house.",),
}
RUN: dict[str, Any] = {"classify": classify.run, "nli": nli.run, "qa": qa.run, "summarize": summarize.run}


class Killed(BaseException):
    """Nothing catches it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder. A network of two layers with random weights wants larger steps than real ones."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(own_data.METHODS, "bert", own_data.Method(rate=5e-3, head=1.0))
        yield tiny_data.write(tmp_path_factory.mktemp("data"))


@dataclass
class Made:
    """A finished run, and how many steps it took in all its stages."""

    run: Run
    scores: dict[str, float]
    steps: int


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Recipe name -> its unbroken run, made when it is first asked for; a mini goes on from its language model."""
    folder, made = tmp_path_factory.mktemp("runs"), dict[str, Made]()

    def get(name: str) -> Made:
        if name not in made:
            run = planned(name, data, folder, get)
            with counted() as steps:
                made[name] = Made(run, RECIPES[name](run), 0)
            made[name].steps = len(steps)
        return made[name]

    return get


def planned(name: str, data: Path, folder: Path, get: Any) -> Run:
    """The run of a recipe in its own folder."""
    if name in FILES:
        start = get("bert-lm").run.checkpoint
        return Run(data / FILES[name], folder / name, source=str(start))
    if name == "head":
        return Run(data, folder / name, start=get("xlnet-mini").run.checkpoint, tiny=True, only="qa")
    start = None
    family, _, part = name.partition("-")
    if part == "mini" and f"{family}-lm" in RECIPES:
        start = get(f"{family}-lm").run.checkpoint
    return Run(data, folder / name, start=start, tiny=True)


class counted:
    """All steps that loops do in the block; the one of that number raises Killed."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.killed_at = killed_at
        self.patch = pytest.MonkeyPatch()

    def __enter__(self) -> list[int]:
        steps: list[int] = []
        whole = loop.set_rates

        def set_rates(optimizers: Any, rates: Any, plan: loop.Plan, step: int) -> float:
            if len(steps) == self.killed_at:
                raise Killed
            steps.append(step)
            return whole(optimizers, rates, plan, step)

        self.patch.setattr(loop, "set_rates", set_rates)
        return steps

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


TRAINED = [name for name in RECIPES if name != "soft-labels"]


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_falls_and_the_scores_are_logged(name: str, runs: Any) -> None:
    made = runs(name)
    losses: dict[str, list[float]] = defaultdict(list)
    scores = set()
    for path in sorted(made.run.out.rglob("log.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["rate"]:
                    losses[f"{path.parent.name} {row['kind']}"].append(float(row["loss"]))
                else:
                    scores.add(row["kind"])
    assert scores >= made.scores.keys() and made.scores and made.steps > 10
    long = [values for values in losses.values() if len(values) >= 6]
    assert long, "no kind of loss was logged six times"
    thirds = [(sum(v[: len(v) // 3]) / (len(v) // 3), sum(v[-(len(v) // 3) :]) / (len(v) // 3)) for v in long]
    assert sum(last for _, last in thirds) < 0.99 * sum(first for first, _ in thirds)
    assert (made.run.out / "log.png").is_file() and (made.run.out / "snapshot.pt").is_file()


@pytest.mark.parametrize("name", TRAINED)
def test_a_killed_run_goes_on_to_the_same_weights(
    name: str, runs: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = runs(name)
    run = planned(name, data, tmp_path, runs)
    clock = iter(range(0, 10**9, 20))  # so that a snapshot is taken every few steps
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with pytest.raises(Killed), counted(killed_at=round(0.6 * straight.steps)):
        RECIPES[name](run)
    assert not run.checkpoint.exists()
    again = Run(**{**vars(run), "resume": True})
    with counted() as steps:
        scores = RECIPES[name](again)
    assert 0 < len(steps) < straight.steps, "nothing was gone on with"
    assert digest(run) == digest(straight.run)
    assert scores == straight.scores


def digest(run: Run) -> str:
    """Of all numbers before any rounding."""
    exact = run.checkpoint.with_name("checkpoint-float32")
    folder = exact if exact.is_dir() else run.checkpoint
    return json.loads((folder / "config.json").read_text())["zoo"]["revision"]


@pytest.mark.parametrize("name", TRAINED)
def test_what_a_recipe_made_loads_and_answers(name: str, runs: Any) -> None:
    folder = runs(name).run.checkpoint
    model = zoo.load(folder)
    assert model.family.name == RECIPES[name].family or not RECIPES[name].family
    tasks = own.tasks_of(model.heads)
    if name.endswith("-mini"):
        assert {"nli", "qa", "classify"} <= tasks.keys() and len(tasks["classify"]) == 2
    engine = zoo.Engine()
    for task, heads in tasks.items():
        for head in heads:
            more = {"max_new_tokens": 4} if task == "summarize" else {}
            assert RUN[task](engine, str(folder), *ASKED[task], head=head, **more).verdict


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_taught_alone_leaves_everything_else_as_it_was(
    family: str, runs: Any, data: Path, tmp_path: Path
) -> None:
    start = runs(f"{family}-mini").run.checkpoint.with_name("checkpoint-float32")
    run = Run(data, tmp_path, start=start, tiny=True, only="nli", scale=0.1)
    RECIPES["head"](run)
    before, after = (zoo.load(at).network.state_dict() for at in (start, run.checkpoint.with_name(start.name)))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("heads.nli.") for name in changed)
    assert not any("embedding" in name for name in changed)


def test_only_heads_with_networks_of_their_own_are_taught_alone(runs: Any, data: Path, tmp_path: Path) -> None:
    start = runs("xlnet-mini").run.checkpoint
    for only in ("", "topic", "nowhere"):
        with pytest.raises(BadParameter, match="can be taught: nli, qa"):
            RECIPES["head"](Run(data, tmp_path, start=start, tiny=True, only=only))
    with pytest.raises(BadParameter, match="--from"):
        RECIPES["head"](Run(data, tmp_path, tiny=True, only="qa"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", FILES)
def test_every_family_learns_own_rows(family: str, task: str, runs: Any, data: Path, tmp_path: Path) -> None:
    start = runs(f"{family}-mini").run.checkpoint
    run = Run(data / FILES[task], tmp_path / "own", scale=0.1, source=str(start))
    RECIPES[task](run)
    assert RUN[task](zoo.Engine(), str(run.checkpoint), *ASKED[task]).verdict
    before, after = zoo.load(start).network.body.state_dict(), zoo.load(run.checkpoint).network.body.state_dict()
    moved = any(not torch.equal(value, after[name]) for name, value in before.items())
    assert moved == (family != "elmo")


def test_a_teacher_labels_rows_and_unlabelled_texts_and_goes_on_after_a_kill(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = minis.bert_checkpoint(tmp_path / "teacher", TEACHER_HEADS, longest=128)
    run = Run(data, tmp_path / "straight", source=str(teacher), tiny=True)
    counts = RECIPES["soft-labels"](run)
    rows = {head: list(read_rows(run.out / f"{head}.jsonl.gz")) for head in distill.HEADS}
    assert counts == {f"{head} rows": len(made) for head, made in rows.items()}
    for head, labels in distill.HEADS.items():
        assert all(row["probabilities"].keys() == set(labels) for row in rows[head])
        assert all(abs(sum(row["probabilities"].values()) - 1) < 1e-3 for row in rows[head])
    said = zoo.Engine().classify(str(teacher), "topic", [(finetune.titled_text(rows["topic"][0]), None)])[0]
    told = list(rows["topic"][0]["probabilities"].values())
    assert told == pytest.approx(said.probabilities, abs=3e-3)  # computed in bf16 where that is faster
    unlabelled = [row for row in rows["nli"] if "label" not in row]
    together = {(row["premise"], row["hypothesis"]) for row in rows["nli"] if "label" in row}
    assert len(unlabelled) == 40
    assert not together & {(row["premise"], row["hypothesis"]) for row in unlabelled}
    held = {row["premise"] for row in lessons.rows_of(data, "nli/snli_dev.jsonl.gz", "nli/snli_test.jsonl.gz")}
    assert not held & {row["premise"] for row in unlabelled}
    held = {row["text"] for row in lessons.held_phrases(data)}
    assert not held & {row["text"] for row in rows["sentiment"]}
    assert 0 < sum("label" not in row for row in rows["sentiment"]) < len(rows["sentiment"])

    killed = Run(data, tmp_path / "killed", source=str(teacher), tiny=True)
    monkeypatch.setattr(distill, "CHUNK", 50)
    whole, calls = zoo.Engine.classify, []

    def classify_or_die(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return whole(*given)

    monkeypatch.setattr(zoo.Engine, "classify", classify_or_die)
    with pytest.raises(Killed):
        RECIPES["soft-labels"](killed)
    with (killed.out / "nli.part.jsonl").open("a") as file:
        file.write('{"premise": "half a li')
    RECIPES["soft-labels"](killed)
    assert {head: list(read_rows(killed.out / f"{head}.jsonl.gz")) for head in distill.HEADS} == rows


def test_a_command_that_is_killed_and_resumed_gives_what_an_unbroken_one_does(data: Path, tmp_path: Path) -> None:
    start = minis.bert_checkpoint(tmp_path / "bert", {"topic": HeadSpec("classifier", ("a", "b"))}, longest=96)
    command = [sys.executable, "-m", "zoo", "train", "classify", "--data", str(data / FILES["classify"])]
    command += ["--from", str(start), "--device", "cpu", "--threads", "1", "--scale", "0.2", "--out"]
    out = tmp_path / "killed"
    with subprocess.Popen([*command, str(out)], cwd=ROOT, stderr=subprocess.PIPE) as process:
        while not re.search(rb"step \d+: ", process.stderr.readline()):  # the first epoch is behind it
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (out / "checkpoint").exists()
    done = subprocess.run([*command, str(out), "--resume"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("classify: accuracy ") and done.stdout.count("\n") == 1
    straight = Run(data / FILES["classify"], tmp_path / "straight", scale=0.2, source=str(start))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(own_data.METHODS, "bert", ITS_OWN)
        own_data.classify(straight)
    assert digest(Run(data, out)) == digest(straight)
